"""Bound and measure the cost of chat calls, by what an endpoint reports.

arena reserves the most that a call can cost before it sends it: a token for each byte of the
request, and a reply as long as the limit sent. But many endpoints ignore such a limit, or count a
model's thoughts beside it. So arena trusts a limit only once an endpoint has kept to it often
enough, and as long as it always did. Until then, and where none can be sent, a reply may be far
longer.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from arena.config import JudgeConfig
from arena.endpoint.attempt_cost import AttemptCost
from arena.json_text import token_count
from arena.judging.budget import Budget, Price, Reservation
from arena.judging.endpoint_facts import Facts, Learned
from arena.records import Usage
from arena.terminal import dollars

MOST_TOKENS: Final = 10_000_000
"""No request and no reply of a chat has more: a higher count is of something else."""
LONGEST: Final = 16_384
"""Tokens of a reply that no trusted limit bounds, at most, as long as none was longer."""
TIMES_LONGER: Final = 16
"""The same for a judge that is given much room: this many times ``max_tokens``."""
TRUSTED: Final = 64
"""Replies within a limit after which it is trusted; one that was cut off at it proves as much."""
SLACK: Final = 16
"""Tokens beyond a limit that are only another way of counting."""

_TOKENS_PER_BYTE: Final = 1 / 4
_TOKENS_PER_REPLY: Final = 150
"""What a call likely takes, before anything is known of the endpoint."""
_SUBJECT: Final = "cost"
"""The subject under which `Learned` keeps what an endpoint taught."""


@dataclass(frozen=True, slots=True)
class ObservedUsage:
    """What the replies of an endpoint have taught of their cost."""

    tokens_per_byte: float = 0.0  #: of a request, the most that were billed; 0 before the first
    output_tokens: int = 0  #: of the longest reply
    limit: int = 0  #: the limit on the length that was sent last
    n_within: int = 0  #: replies that kept to it, up to `TRUSTED`
    beyond: bool = False  #: one did not keep to the limit that was sent
    input_untold: bool = False  #: one did not report, or misreported, what the request took
    output_untold: bool = False  #: or what the reply took

    def trusts(self, limit: int) -> bool:
        """Return whether replies to requests with this limit will be no longer."""
        return not self.beyond and self.limit == limit and self.n_within >= TRUSTED

    def joined(self, other: ObservedUsage) -> ObservedUsage:
        """Return what two runs have learned together."""
        n_within = self.n_within if self.limit == other.limit else 0
        return ObservedUsage(
            max(self.tokens_per_byte, other.tokens_per_byte),
            max(self.output_tokens, other.output_tokens),
            other.limit,
            max(n_within, other.n_within),
            self.beyond or other.beyond,
            self.input_untold or other.input_untold,
            self.output_untold or other.output_untold,
        )


class Meter:
    """Counts what the calls of one judge cost.

    Args:
        config: the judge's prices, and the room for its replies.
        budget: what is paid from.
        learned: what earlier runs found out.
        endpoint: what they know the judge's endpoint by.
        log: told, once each, what cannot be known of the costs.
    """

    def __init__(
        self,
        config: JudgeConfig,
        budget: Budget,
        learned: Learned,
        endpoint: str,
        log: Callable[[str], None],
    ) -> None:
        self.budget = budget
        self._name = config.log_name
        self._max_tokens = config.max_tokens
        self._input_price = config.price_per_1m_input_tokens or 0.0
        self._output_price = config.price_per_1m_output_tokens or 0.0
        cached = config.price_per_1m_cached_tokens
        self._cached_price = self._input_price if cached is None else cached
        self._priced = max(self._input_price, self._output_price, self._cached_price) > 0
        self._learned = learned
        self._endpoint = endpoint
        self._log = log
        self._logged: set[str] = set()
        self.observed = _observed(learned.facts(endpoint, _SUBJECT))

    def payer(self, limit: int | None) -> ChatPayer:
        """Return the payer of one request.

        Args:
            limit: on the tokens of the reply, as it is sent; None if none can be.
        """
        return ChatPayer(self, limit)

    def price(self, n_bytes: int, limit: int | None, *, refresh: bool = False) -> Price:
        """Return what an attempt may cost.

        Args:
            n_bytes: of the request.
            limit: on the tokens of the reply; None for none.
            refresh: look first at what other processes have found out.
        """
        if refresh:
            self.observed = self.observed.joined(
                _observed(self._learned.facts(self._endpoint, _SUBJECT))
            )
        observed = self.observed
        most_input, most_output = self._most_input(n_bytes), self._most_output(limit)
        n_input = n_bytes * (observed.tokens_per_byte or _TOKENS_PER_BYTE)
        n_output = observed.output_tokens or min(limit or LONGEST, _TOKENS_PER_REPLY)
        most_usd = self._usd(most_input, most_output)
        likely_usd = self._usd(
            most_input if observed.input_untold else n_input,
            most_output if observed.output_untold else n_output,
        )
        return Price(most_usd, min(most_usd, likely_usd))

    def batch_usd(self, n_bytes: int, limit: int | None) -> float:
        """Return what a request in a batch job may cost at the usual price.

        All of a job is reserved at once and for a day. So a limit counts as kept unless one was
        not, and tokens count as in the requests before.
        """
        free = limit is None or self.observed.beyond
        n_output = self._most_output(None) if free else limit or 0
        return self._usd(n_bytes * (self.observed.tokens_per_byte or 1.0), n_output)

    def usage(self, body: Mapping[str, Any], limit: int | None, *, n_bytes: int = 0) -> Usage:
        """Return the usage in a reply, at the configured prices.

        What it does not report, or misreports, is taken to be the most that it can be.

        Args:
            body: of the reply.
            limit: that was sent on its length; None for none.
            n_bytes: of the request; 0 if unknown.
        """
        n_input, n_output, n_cached = reported_tokens(body)
        if (n_input is None or n_output is None) and _is_refusal(body):
            return Usage()
        self._measure(body, n_bytes, limit, (n_input, n_output))
        most_input = self._most_input(n_bytes) if n_input is None else n_input
        most_output = self._most_output(limit) if n_output is None else n_output
        cost_usd = (
            (most_input - n_cached) * self._input_price
            + n_cached * self._cached_price
            + most_output * self._output_price
        ) / 1e6
        estimated = self._priced and (n_input is None or n_output is None)
        if estimated:
            self.log_once(
                "estimated",
                "the endpoint does not report, or misreports, how many tokens it bills; "
                f"such a reply counts as the most that it may cost ({dollars(cost_usd)}), "
                "an estimate",
            )
        return Usage(n_input or 0, n_output or 0, n_cached, cost_usd, estimated=estimated)

    def log_once(self, kind: str, line: str) -> None:
        """Report what people should know, but each kind of thing once."""
        if kind not in self._logged:
            self._logged.add(kind)
            self._log(f"note: judge {self._name}: {line}")

    def _measure(
        self,
        body: Mapping[str, Any],
        n_bytes: int,
        limit: int | None,
        tokens: tuple[int | None, int | None],
    ) -> None:
        """Update the estimates from the tokens that a reply reports or omits."""
        observed, (n_input, n_output) = self.observed, tokens
        per_byte = n_input / n_bytes if n_input and n_bytes else 0.0
        if (
            per_byte <= observed.tokens_per_byte
            and n_input is not None
            and n_output is not None
            and n_output <= observed.output_tokens
            and (limit is None or (observed.trusts(limit) and n_output <= limit + SLACK))
        ):
            return  # nothing new, as after nearly every call
        n_within, beyond = observed.n_within, observed.beyond
        if limit is not None and n_output is not None:
            beyond = beyond or n_output > limit + SLACK
            n_within = (n_within if limit == observed.limit else 0) + 1
            if beyond:
                n_within = 0
            elif _finish(body) == "length":
                n_within = TRUSTED  # it was cut off there, which proves that the limit is kept
        self._learn(
            ObservedUsage(
                max(observed.tokens_per_byte, per_byte),
                max(observed.output_tokens, n_output or 0),
                observed.limit if limit is None or n_output is None else limit,
                min(n_within, TRUSTED),
                beyond,
                observed.input_untold or n_input is None,
                observed.output_untold or n_output is None,
            )
        )

    def _learn(self, observed: ObservedUsage) -> None:
        if observed == self.observed:
            return
        before, self.observed = self.observed, observed
        # A few of the counts on the way are kept: each is a write to the disk.
        kept = observed.n_within in (8, 16, 32, TRUSTED)
        news = replace(before, n_within=observed.n_within) != observed
        if self._priced and (news or (kept and before.n_within != observed.n_within)):
            self._learned.change(
                self._endpoint, _SUBJECT, lambda facts: asdict(_observed(facts).joined(observed))
            )

    def _most_input(self, n_bytes: int) -> int:
        return math.ceil(n_bytes * max(1.0, self.observed.tokens_per_byte))

    def _most_output(self, limit: int | None) -> int:
        if limit is not None and self.observed.trusts(limit):
            return limit + SLACK
        return max(LONGEST, TIMES_LONGER * self._max_tokens, 2 * self.observed.output_tokens)

    def _usd(self, n_input: float, n_output: float) -> float:
        dearest = max(self._input_price, self._cached_price)
        return (n_input * dearest + n_output * self._output_price) / 1e6


class ChatPayer:
    """Pays for one request of a chat model; see `arena.endpoint.attempt_cost.Payer`."""

    def __init__(self, meter: Meter, limit: int | None) -> None:
        self.usage = Usage()
        """What all attempts that were answered took."""
        self._meter = meter
        self._limit = limit

    @asynccontextmanager
    async def attempt(self, n_bytes: int) -> AsyncIterator[AttemptCost]:
        """Yield the cost of an attempt; see `arena.endpoint.attempt_cost.Payer`."""
        meter = self._meter
        async with meter.budget.hold(partial(meter.price, n_bytes, self._limit)) as reservation:
            try:
                yield _ChatAttemptCost(self, reservation, n_bytes)
            finally:
                if reservation.usd and reservation.cost_usd is None:
                    meter.log_once(
                        "lost",
                        "a call got no usable reply, but may still be billed; such a call "
                        f"counts as the most that it may cost ({dollars(reservation.usd)})",
                    )

    def answered(self, body: Mapping[str, Any], reservation: Reservation, n_bytes: int) -> None:
        """Record what one attempt cost."""
        usage = self._meter.usage(body, self._limit, n_bytes=n_bytes)
        reservation.paid(usage.cost_usd, estimated=usage.estimated)
        self.usage += usage


@dataclass(frozen=True, slots=True)
class _ChatAttemptCost:
    payer: ChatPayer
    reservation: Reservation
    n_bytes: int

    def free(self) -> None:
        self.reservation.free()

    def answered(self, body: Mapping[str, Any]) -> None:
        self.payer.answered(body, self.reservation, self.n_bytes)


def reported_tokens(body: Mapping[str, Any]) -> tuple[int | None, int | None, int]:
    """Return the tokens of the request, of the reply, and of the cached part; None if unknown."""
    found = body.get("usage")
    usage = found if isinstance(found, dict) else {}
    n_input = _count(usage, "prompt_tokens", "input_tokens") or None
    n_output = _count(usage, "completion_tokens", "output_tokens")
    total = _count(usage, "total_tokens")
    if n_input and total is not None and total > n_input:
        # Some count a model's thoughts in the total alone.
        n_output = max(n_output or 0, total - n_input)
    if not n_output and _wrote(body):
        n_output = None
    n_cached = _count(usage.get("prompt_tokens_details"), "cached_tokens") or 0
    return n_input, n_output, min(n_input or 0, n_cached)


def _count(usage: object, *fields: str) -> int | None:
    """Return a number of tokens by the first of these names that has one that can be true."""
    for field in fields:
        value = usage.get(field) if isinstance(usage, dict) else None
        if value == 0 and not isinstance(value, bool):
            return 0
        count = token_count(value)
        if count and count <= MOST_TOKENS:
            return count
    return None


def _wrote(body: Mapping[str, Any]) -> bool:
    """Return whether a reply holds anything that its model wrote."""
    message = _choice(body).get("message")
    fields = message.items() if isinstance(message, dict) else ()
    return any(value for name, value in fields if name != "role")


def _finish(body: Mapping[str, Any]) -> object:
    return _choice(body).get("finish_reason")


def _choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _is_refusal(body: Mapping[str, Any]) -> bool:
    """Return whether a reply is an error in disguise, and no reply of a model."""
    return bool(body.get("error")) and not body.get("choices")


def _observed(facts: Facts) -> ObservedUsage:
    try:
        observed = _OBSERVED.validate_python(facts)
    except ValidationError:
        return ObservedUsage()
    return (
        observed
        if 0 <= observed.tokens_per_byte < math.inf and observed.output_tokens >= 0
        else ObservedUsage()
    )


_OBSERVED: Final = TypeAdapter(ObservedUsage)
