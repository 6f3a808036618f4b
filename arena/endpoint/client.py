"""Requests to any OpenAI-compatible endpoint: the only user of ``openai`` and ``tenacity``.

It has one retry layer, one limit on the requests in flight and one breaker. It takes the cheapest
path through the client that still uses its authentication, base_url and transport: bytes in, bytes
out.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self, TypeVar

import orjson
import tenacity

from arena.endpoint.address_and_key import (
    Endpoint,
    find_base_url,
    identity,
    is_own,
    key_place,
    without_query,
)
from arena.endpoint.attempt_cost import UNCOUNTED, AttemptCost, Payer
from arena.endpoint.attempts import Retry
from arena.endpoint.concurrency import ConcurrencyLimiter, LimiterSettings
from arena.endpoint.coroutines import run_apart, run_here
from arena.endpoint.http_errors import TransientApiError, refusal, wrapped_refusal
from arena.endpoint.outage import CircuitBreaker
from arena.endpoint.rate_limit import Rate
from arena.endpoint.transport import Transport
from arena.errors import ApiError, BudgetSpentError, FatalApiError
from arena.json_text import read_json, token_count
from arena.redaction import blank_parsed
from arena.terminal import duration, one_line

T = TypeVar("T")

LARGEST_REPLY: Final = 8_000_000
"""Bytes of an answer at most, to which come those that a request asks for."""
PER_ITEM: Final = 262_144
"""Bytes for each vector asked for: 8,192 numbers in full precision."""
_NOBODY_ASKED_S: Final = 21_600.0
"""Time without a failed request after which nobody has asked: waits and timeouts are shorter."""
_LOOKED_AT: Final = 65_536
"""Bytes of an answer that is none, at most, among which words are looked for."""


@dataclass(frozen=True, slots=True)
class _Post:
    """A request that may be sent more than once."""

    path: str  #: under base_url
    content: bytes
    most: int  #: bytes of the answer, at most
    payer: Payer  #: what each attempt is paid with


@dataclass(frozen=True, slots=True)
class ApiReply:
    """What an endpoint answered."""

    body: dict[str, Any]  #: the parsed JSON object
    latency_ms: float  #: of the successful attempt alone, retries and waits excluded
    attempts: int  #: how many it took


class Api:
    """One endpoint, to be used as ``async with Api(endpoint) as api:``.

    Args:
        endpoint: where requests go, and how many at most.
        retry: attempts and waits.
        on_event: is told, in one line each, when an outage begins, lasts and ends, and what else
            people are to know.

    Raises:
        FatalApiError: on entering, if base_url is none or the key's variable holds no key.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        retry: Retry | None = None,
        on_event: Callable[[str], None] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._on_event = on_event
        self._retry = retry or Retry()
        self._wire: Transport | None = None
        self._sample: _Post | None = None
        self._n_unusable = 0
        self._fatal: FatalApiError | None = None
        self._key_place = "the key"
        self._stopped = asyncio.Event()
        self._silence: tuple[float, float] | None = None  # first and last failure since an answer
        self._is_silence_told = False
        rate = Rate(rpm=endpoint.rpm, tpm=endpoint.tpm)
        self._limiter = ConcurrencyLimiter(
            replace(_limiter_settings(endpoint), pause_s=self._retry.storm_s), rate
        )
        self._breaker = CircuitBreaker(self._retry.outage, probe=self._probe, on_event=on_event)

    @property
    def base_url(self) -> str:
        """Return the address without the query: safe to show."""
        return without_query(find_base_url(self._endpoint))

    @property
    def identity(self) -> str:
        """Return the identity of this endpoint: its whole address."""
        return identity(find_base_url(self._endpoint))

    async def __aenter__(self) -> Self:
        self._key_place = key_place(self._endpoint)
        self._wire = Transport(self._endpoint)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._breaker.release()
        if self._wire is not None:
            await self._wire.close()

    async def post(
        self, path: str, body: Mapping[str, Any], *, n_items: int = 0, payer: Payer = UNCOUNTED
    ) -> ApiReply:
        """Send a JSON body; retry while that may help.

        Args:
            path: under base_url.
            body: of the request.
            n_items: how many vectors the answer is to hold; longer answers are no answers.
            payer: pays for each attempt, and may refuse to.

        Raises:
            ApiError: this request failed for good; others may do better.
            FatalApiError: every request would fail; raised for all later ones too.
            BudgetSpentError: another attempt cannot be paid for.
        """
        content = orjson.dumps(body)
        call = _Post(path, content, LARGEST_REPLY + len(content) + n_items * PER_ITEM, payer)
        async with self._limiter:
            try:
                try:
                    return await self._attempt(call)
                except TransientApiError as error:
                    return await self._again(error, call)
            except FatalApiError as error:
                self._stop(error)
                raise

    def log(self, line: str) -> None:
        """Report an outage, or a silence."""
        if self._on_event:
            self._on_event(line)

    def halt(self) -> None:
        """Stop sending: calls on the wire finish, waiting calls fail.

        They raise a `FatalApiError` with the reason ``halted``.
        """
        self._stop(FatalApiError("halted", "the run was stopped before this call was sent"))

    async def _again(self, first: TransientApiError, call: _Post) -> ApiReply:
        """Send all attempts after the first, whose result is given."""
        made = counted = late = empty = 0
        last = first

        async def attempt() -> ApiReply:
            nonlocal made, counted, late, empty, last
            made += 1
            try:
                if made == 1:
                    raise first
                return await self._attempt(call)
            except TransientApiError as error:
                counted += not error.excused
                late += error.late
                empty += error.reason == "empty"
                last = error
                raise

        def gives_up(state: tenacity.RetryCallState) -> bool:
            # What is not answered in time, or with nothing, is worth one more try.
            few = late >= self._allowed_late or empty >= self._retry.late
            return few or counted >= self._allowed(_error(state))

        async def sleep(seconds: float) -> None:
            if self._limiter.gives_way(late=last.late, refused=last.reason == "rate_limit"):
                await self._limiter.step_aside(self._sleep(seconds))
            else:
                await self._sleep(seconds)

        retrying = tenacity.AsyncRetrying(
            sleep=sleep,
            stop=gives_up,
            wait=lambda state: self._wait_s(_error(state), counted),
            retry=tenacity.retry_if_exception_type(TransientApiError),
            reraise=True,
        )
        try:
            reply: ApiReply = await retrying(attempt)
        except TransientApiError as error:
            raise self._last_word(error, made) from None
        return replace(reply, attempts=made)

    async def _attempt(self, call: _Post) -> ApiReply:
        """Send one request, as soon as the limits and the budget allow it."""
        if self._breaker.is_open:
            await self._breaker.clear()
        await self._limiter.clear(len(call.content))
        async with call.payer.attempt(len(call.content)) as attempt_cost:
            if self._fatal:
                attempt_cost.free()
                raise self._fatal
            return await self._send(call, attempt_cost)

    async def _send(self, call: _Post, attempt_cost: AttemptCost) -> ApiReply:
        """Send one request now."""
        started = time.perf_counter()
        try:
            reply = await self._request(call, attempt_cost)
        except TransientApiError as error:
            self._failed(error, time.perf_counter() - started)
            raise
        except ApiError:
            self._answered(time.perf_counter() - started)
            raise
        latency_s = time.perf_counter() - started
        self._sample = call
        self._answered(latency_s)
        self._limiter.answered(latency_s)
        return ApiReply(reply, latency_s * 1000, attempts=1)

    async def _request(self, call: _Post, attempt_cost: AttemptCost) -> dict[str, Any]:
        """Return the endpoint's reply, or raise the meaning of its refusal."""
        status, headers, raw = await self._exchange(call, attempt_cost)
        self._limiter.rate.read(headers, time.monotonic(), len(call.content))
        if status >= 400:
            raise refusal(status, raw, headers, key=self._key_place)
        reply = _json_object(raw, bare_lists=self._endpoint.bare_lists)
        if reply is None:
            shown = one_line(raw[:_LOOKED_AT].decode("utf-8", "replace")) or "nothing"
            raise TransientApiError("garbage", f"HTTP {status} without a JSON object: {shown}")
        attempt_cost.answered(reply)
        if wrapped := wrapped_refusal(reply, path=call.path, key=self._key_place):
            raise wrapped
        usage = reply.get("usage")
        n_tokens = token_count(usage.get("total_tokens")) if isinstance(usage, dict) else None
        if n_tokens is not None:
            self._limiter.rate.spent(len(call.content), n_tokens)
        return blank_parsed(reply, raw)

    async def _exchange(
        self, call: _Post, attempt_cost: AttemptCost
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and body; an attempt that is surely not billed is free."""
        if self._wire is None:
            raise RuntimeError("an Api is used inside `async with`")
        try:
            answer = await self._wire.exchange(call.path, call.content, most=call.most)
        except ApiError as error:
            if isinstance(error, FatalApiError) or error.reason == "unreachable":
                attempt_cost.free()
            raise
        status, _, raw = answer
        # A page for people comes from what stands before the model.
        if status >= 300 or raw[:_LOOKED_AT].lstrip().startswith(b"<"):
            attempt_cost.free()
        return answer

    def _answered(self, latency_s: float) -> None:
        """Report an answer of any content to the breaker."""
        self._silence, self._is_silence_told = None, False
        self._breaker.answered(latency_s)

    def _stop_if_silent(self, error: TransientApiError) -> None:
        """Report why nothing is answered; stop the run where nobody should wait on."""
        began = last = now = time.monotonic()
        if self._silence:
            began, last = self._silence
        if now - last > _NOBODY_ASKED_S:
            began = now
        self._silence = began, now
        silence_s = now - began
        is_told = self._is_silence_told or self._breaker.is_open
        if silence_s >= self._retry.told_silence_s and not is_told:
            self._is_silence_told = True
            self.log(f"no answer for {duration(silence_s)} ({error}); arena tries again")
        if silence_s >= self._retry.longest_silence_s:
            detail = f"{self.base_url} answered no request for {duration(silence_s)} ({error})"
            self._stop(FatalApiError("down", detail))

    def _failed(self, error: TransientApiError, latency_s: float) -> None:
        """Report the outcome to the limiter and the breaker."""
        if error.reason == "rate_limit":
            asked_s = error.retry_after_s
            if asked_s is not None:
                asked_s = min(asked_s, self._retry.longest_asked_s)
            self._limiter.refused(asked_s, latency_s=latency_s)
        elif error.late:
            self._limiter.overdue(latency_s)
        # What never worked is not down.
        if error.reason != "rate_limit" and self._sample is not None:
            self._breaker.failed(str(error))
        error.excused = self._breaker.is_open
        self._stop_if_silent(error)

    async def _probe(self) -> bool:
        """Return whether the endpoint still answers its last answered request."""
        call = self._sample
        if call is None:
            return True
        try:
            async with call.payer.attempt(len(call.content)) as attempt_cost:
                await self._request(call, attempt_cost)
        except BudgetSpentError:
            return True  # nothing that costs can be asked any more, and all others find that out
        except TransientApiError as error:
            self._stop_if_silent(error)
            return error.reason == "rate_limit"
        except FatalApiError as error:
            self._stop(error)
        except ApiError:
            return True
        return True

    def _allowed(self, error: TransientApiError) -> int:
        if self._sample is None and not error.busy:
            return min(self._retry.first_contact, self._retry.attempts)
        return self._retry.attempts

    @property
    def _allowed_late(self) -> int:
        # A server of your own that never answered anything was waited for long enough.
        if self._sample is None and is_own(self._endpoint):
            return 1
        return self._retry.late

    def _wait_s(self, error: ApiError, counted: int) -> float:
        if isinstance(error, TransientApiError) and error.retry_after_s is not None:
            # A little later than asked, and not all at the same moment.
            asked_s = min(error.retry_after_s, self._retry.longest_asked_s)
            return asked_s + random.uniform(0, self._retry.base_s)  # noqa: S311
        longest_s = min(self._retry.base_s * 2 ** max(0, counted - 1), self._retry.longest_s)
        return random.uniform(longest_s / 2, longest_s)  # noqa: S311

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless another request finds out meanwhile that there is nothing to wait for."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return

    def _last_word(self, error: TransientApiError, attempts: int) -> ApiError:
        detail = f"{error.detail} (after {attempts} attempt{'s' * (attempts > 1)})"
        if error.late:
            detail += "; timeout_s waits longer"
        never = self._sample is None
        if never and error.reason == "unreachable":
            message = f"{self.base_url}: {error.detail}; check base_url, and that it runs"
            return FatalApiError("unreachable", message)
        if never and error.reason == "garbage":
            # Whoever answers there, and always has, speaks another language.
            # One request alone may be what the endpoint cannot digest.
            message = f"{self.base_url}: no reply was usable, the last one: {error.detail}"
            self._n_unusable += 1
            stop = self._n_unusable >= self._retry.unusable
            return (FatalApiError if stop else ApiError)("unusable", f"{message}; check base_url")
        if never and error.late:
            return FatalApiError("timeout", f"{self.base_url}: {detail}, if it is at work at all")
        return ApiError(error.reason, detail, words=error.words)

    def _stop(self, error: FatalApiError) -> None:
        self._fatal = self._fatal or error
        self._stopped.set()
        self._breaker.release()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop if there is one; in another thread if a loop already runs.

    A notebook runs its cells inside an event loop, and a thread holds only one loop that runs.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run_here(coroutine)
    return run_apart(coroutine)


def _limiter_settings(endpoint: Endpoint) -> LimiterSettings:
    """Return the initial speed of requests to an endpoint."""
    if endpoint.concurrency != "auto":
        return LimiterSettings.fixed(endpoint.concurrency)
    if is_own(endpoint):
        return LimiterSettings.own()
    return LimiterSettings(slow_s=endpoint.timeout_s / 4, overdue_s=endpoint.timeout_s / 2)


def _error(state: tenacity.RetryCallState) -> TransientApiError:
    """Return the error of the last attempt; tenacity asks only after one."""
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, TransientApiError) else TransientApiError("none", "")


def _json_object(raw: bytes, *, bare_lists: bool) -> dict[str, Any] | None:
    found = read_json(raw)
    if bare_lists and isinstance(found, list):
        return {"data": found}
    return found if isinstance(found, dict) else None
