"""Space the requests to an endpoint, by the limits that it states and those that it shows."""

from __future__ import annotations

import asyncio
import email.utils
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

SPAN_S: Final = 1.0
"""The rate of requests is measured over one to two of these."""

LATE_S: Final = 0.1
"""A slot that was missed by no more than this is made up for: timers are never exact."""

GROWTH: Final = 0.02
"""A learnt limit grows by this part in a second: a refusal now and then shows where it is."""

CATCH_UP: Final = 1.0
"""And by this part below the limit that was found, or until one is."""

SLOWEST_PER_S: Final = 0.1
"""A learnt limit is no lower."""

HEADERS_EVERY_S: Final = 1.0
"""How often the headers of a reply are looked at."""

TOKENS_PER_BYTE: Final = 0.3
"""Of a request, with its reply; corrected by what the endpoint counts."""

MOST_TOKENS_PER_BYTE: Final = 10.0
"""No tokenizer, and no thinking, produces more; arena ignores a higher count."""

FEWEST_TOKENS: Final = 100.0
"""A minute: nobody sells fewer, and no request needs fewer."""

LONGEST_S: Final = 600.0
"""No limit and no pause stops all requests for longer, even if an endpoint asks for it."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_DURATION: Final = 64
"""Characters of a duration; a header of digits is none."""

_DATE: Final = 64
"""Characters of the longest date."""

_UNITS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Rate:
    """Spaces requests; ``await rate.turn(n_bytes)`` before each one.

    Args:
        rpm: requests a minute that are known to be allowed.
        tpm: tokens a minute, those of the replies included.
        clock: seconds, by which everything is timed.
    """

    def __init__(
        self,
        *,
        rpm: float | None = None,
        tpm: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._told_per_s = rpm / 60 if rpm else math.inf
        self._told_tokens_per_s = tpm / 60 if tpm else math.inf
        self._seen_per_s = math.inf
        self._seen_tokens_per_s = math.inf
        self._learnt_per_s = math.inf
        self._known_per_s = 0.0
        self._grown_at = 0.0
        self._tokens_per_byte = TOKENS_PER_BYTE
        self._next_at = self._paused_until = -math.inf
        self._headers_at = -math.inf
        self._turn = asyncio.Lock()
        self._span_began = self._last_began = clock()
        self._in_span = self._in_last = 0

    @property
    def per_s(self) -> float:
        """Return the maximum of requests a second; infinite if no limit is known."""
        return min(self._told_per_s, self._seen_per_s, self._learnt_per_s)

    @property
    def learnt(self) -> bool:
        """Return whether refusals have shown a limit, or hinted at one."""
        return self._learnt_per_s < math.inf

    @property
    def holds(self) -> bool:
        """Return whether a learnt limit holds requests back."""
        return self.learnt and self.busy

    @property
    def busy(self) -> bool:
        """Return whether requests are waiting for their turn."""
        return self._turn.locked()

    async def turn(self, n_bytes: int) -> None:
        """Wait until a request of this size may be sent."""
        self._count()
        if self.per_s == self._tokens_per_s == math.inf and self._paused_until <= self.clock():
            return
        async with self._turn:  # one waits for the clock, the others for it: first come, first go
            slot = max(self._next_at, self.clock() - LATE_S)
            tokens_s = n_bytes * self._tokens_per_byte / self._tokens_per_s
            self._next_at = slot + min(max(1 / self.per_s, tokens_s), LONGEST_S)
            while (wait_s := max(slot, self._paused_until) - self.clock()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(wait_s)  # the end of a pause may move meanwhile

    def pause(self, until: float) -> None:
        """Delay all requests until this time of the clock, or `LONGEST_S` from now."""
        until = min(until, self.clock() + LONGEST_S)
        self._paused_until = max(self._paused_until, until)

    def answered(self, now: float) -> None:
        """Record an answer: a learnt limit that requests wait for grows a little."""
        if self.holds:
            growth = CATCH_UP if self._learnt_per_s < self._known_per_s else GROWTH
            self._learnt_per_s *= 1 + growth * min(0.1, now - self._grown_at)
        self._grown_at = now

    def cut(self, factor: float) -> None:
        """Reduce the rate of requests by this factor.

        Where no request waited for its turn this is but a guess: their bursts alone may be what
        was refused. The limit then climbs quickly until it is cut while it holds.
        """
        now = self.clock()
        measured = (self._in_last + self._in_span) / max(now - self._last_began, 0.05)
        holds = self.holds
        base = self._learnt_per_s if holds else min(self._learnt_per_s, measured)
        self._learnt_per_s = max(base * factor, SLOWEST_PER_S)
        self._known_per_s = self._learnt_per_s * factor if holds else math.inf

    def read(self, headers: Mapping[str, str], now: float, n_bytes: int = 0) -> None:
        """Read the limits from ``x-ratelimit-limit-*``; absent, 0 and -1 mean unknown.

        A limit below one request a minute, or below the tokens of the request of ``n_bytes``
        that was just answered, is none: nobody could use the endpoint.
        """
        if now - self._headers_at < HEADERS_EVERY_S:
            return
        self._headers_at = now
        self._seen_per_s = _per_s(headers, "requests", at_least=1)
        n_tokens = max(n_bytes * self._tokens_per_byte, FEWEST_TOKENS)
        self._seen_tokens_per_s = _per_s(headers, "tokens", at_least=n_tokens)

    def spent(self, n_bytes: int, n_tokens: int) -> None:
        """Record how many tokens a request of this size uses, from its reply."""
        if n_tokens > 0:
            seen = min(n_tokens / max(1, n_bytes), MOST_TOKENS_PER_BYTE)
            self._tokens_per_byte += 0.1 * (seen - self._tokens_per_byte)

    def _count(self) -> None:
        now = self.clock()
        if now - self._span_began > SPAN_S:
            self._last_began, self._in_last = self._span_began, self._in_span
            self._span_began, self._in_span = now, 0
        self._in_span += 1

    @property
    def _tokens_per_s(self) -> float:
        return min(self._told_tokens_per_s, self._seen_tokens_per_s)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long an endpoint asks to wait: ``retry-after-ms``, seconds, or an HTTP date.

    None if it says nothing that makes sense; else finite, and however long it likes.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            asked = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= asked < float("inf"):
            return asked
    try:
        date = email.utils.parsedate_tz(headers.get("retry-after", "")[:_DATE])
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None
    except (IndexError, OverflowError, TypeError, ValueError):
        return None  # the year 99999, or the 31st of June


def reset_s(headers: Mapping[str, str]) -> float | None:
    """Return when a spent limit is renewed, by ``x-ratelimit-reset-*``; None if unknown."""
    waits = [
        duration_s(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0"
    ]
    known = [wait for wait in waits if wait]
    return max(known) if known else None


def duration_s(text: str) -> float | None:
    """Return ``6m0s``, ``20ms``, ``1.5s`` or ``12`` in seconds; None for anything else."""
    text = text.strip()
    if len(text) > _LONGEST_DURATION:
        return None
    try:
        seconds = float(text)
    except ValueError:
        parts = _DURATION.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            return None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return seconds if 0 <= seconds < math.inf else None


def _per_s(headers: Mapping[str, str], kind: str, *, at_least: float) -> float:
    """Return a limit a minute as one a second; infinite if it is unknown."""
    try:
        limit = float(headers.get(f"x-ratelimit-limit-{kind}", ""))
    except ValueError:
        return math.inf
    renewed_s = duration_s(headers.get(f"x-ratelimit-reset-{kind}", "")) or 0.0
    # Some endpoints state the limit of a day under this name; only its reset gives that away.
    usable = max(at_least, 0.0) <= limit < math.inf and limit > 0
    return limit / 60 if usable and renewed_s <= 60 else math.inf
