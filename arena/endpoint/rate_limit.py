"""Limit the requests in flight at an endpoint, and their rate, adaptively.

Quick increase until the first cut, slow increase from then on, as TCP does it. Only a share of
refusals cuts the limits, and only a storm pauses everyone. To pause at every refusal costs nine
tenths of the speed where refusals are mixed with other faults.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from arena.endpoint.concurrency import Climb


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """The settings of a `ConcurrencyLimiter`."""

    start: int = 16  #: requests in flight at first
    floor: int = 1  #: requests in flight at least
    ceiling: int = 1024  #: requests in flight at most
    window: int = 100  #: how many of the last calls are looked at
    cut_share: float = 0.08  #: cut the rate when so many were refused, the limit when so late
    cut_factor: float = 0.7  #: and to no less than this part
    settle_s: float = 1.0  #: no second cut of a rate so soon after the first
    growth: float = 0.05  #: grow by this part of the limit in a round trip, by 1 at least
    storm_share: float = 0.40  #: hold everyone back when so many were refused
    pause_s: float = 5.0  #: how long, where the endpoint does not say
    slow_s: float = 22.5  #: a reply that took longer shows a queue: grow no further
    overdue_s: float = 45.0  #: a reply that took longer counts as none in time
    climbs: bool = False  #: double the limit only as long as that answers more calls a second

    @classmethod
    def fixed(cls, limit: int) -> LimiterSettings:
        """Return settings of ``limit`` requests in flight; only the rate adapts."""
        return cls(start=limit, floor=limit, ceiling=limit)

    @classmethod
    def own(cls) -> LimiterSettings:
        """Return settings for your own server, which may queue calls and work on one at a time."""
        return cls(start=2, slow_s=math.inf, overdue_s=math.inf, climbs=True)


class SlidingWindow:
    """How many of the last so many calls were of a kind."""

    def __init__(self, window: int) -> None:
        self._last: deque[bool] = deque(maxlen=window)
        self._window = window
        self._n = 0

    def __len__(self) -> int:
        return len(self._last)

    @property
    def of_window(self) -> float:
        """Return the share of the whole window, however few calls there were."""
        return self._n / self._window

    @property
    def of_seen(self) -> float:
        """Return the share of the calls seen; 0 if there were none."""
        return self._n / len(self._last) if self._last else 0.0

    def note(self, yes: bool) -> None:  # noqa: FBT001, the one thing there is to say
        """Record one more call."""
        if len(self._last) == self._window:
            self._n -= self._last[0]
        self._last.append(yes)
        self._n += yes

    def clear(self) -> None:
        """Forget all calls."""
        self._last.clear()
        self._n = 0


class ConcurrencyLimiter:
    """Lets so many calls through at once as the endpoint takes; use it as ``async with gate:``.

    A call keeps its place while it waits for a retry, so refused calls lower the pressure by
    themselves. A call without an answer in time gives its place back (`leave`) and takes it again
    (`enter`) under the limit of that moment.
    """

    def __init__(self, settings: LimiterSettings, rate: Rate | None = None) -> None:
        self.rate = rate or Rate()  #: of the requests that pass
        self._clock = self.rate.clock
        self._settings = settings
        self._limit = float(settings.start)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._since_cut = SlidingWindow(settings.window)
        self._lately = SlidingWindow(settings.window)
        self._since_late = SlidingWindow(settings.window)
        self._rate_cut_at = self._limit_cut_at = -math.inf
        self._cut_limit = math.inf
        self._climb = Climb(settings.ceiling) if settings.climbs else None

    @property
    def limit(self) -> int:
        """Return the maximum of requests in flight, right now."""
        return max(1, int(self._limit))

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.leave()

    async def enter(self, *, first: bool = False) -> None:
        """Take a place as soon as there is one; ``first`` goes before all others that wait."""
        if self._in_flight < self.limit and (first or not self._waiting):
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        if first:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Release a place."""
        self._in_flight -= 1
        self._admit()

    async def step_aside(self, wait: Awaitable[None]) -> None:
        """Keep a place free for as long as ``wait`` takes, then take the next free one."""
        self.leave()
        try:
            await wait
            await self.enter(first=True)
        except BaseException:
            self._in_flight += 1  # whoever entered will leave
            raise

    def gives_way(self, *, late: bool, refused: bool) -> bool:
        """Return whether a call with this failure leaves its place free until it is sent again."""
        # Of the few places on a server of one's own, none may wait out a rate limit.
        return late or (refused and self._climb is not None)

    async def clear(self, n_bytes: int = 0) -> None:
        """Wait out a storm, if there is one, and for the turn of a request of this size."""
        await self.rate.turn(n_bytes)

    def answered(self, latency_s: float) -> None:
        """Record an answered call: raise the limit, unless the answer was slow."""
        if latency_s > self._settings.overdue_s:
            self.overdue(latency_s)
            return
        self._since_cut.note(False)
        self._since_late.note(False)
        self._lately.note(False)
        self.rate.answered(self._clock())
        # A limit that nobody is waiting at says nothing about the endpoint.
        if not self._waiting or self.rate.busy:
            return
        if self._climb:
            self._limit = self._climb.answered(latency_s, self._clock(), self.limit)
            self._admit()
        elif latency_s <= self._settings.slow_s:
            # Doubles in a round trip up to where it was cut; from there on it feels its way.
            low = self._limit < self._cut_limit * self._settings.cut_factor
            step = 1.0 if low else max(1 / self._limit, self._settings.growth)
            self._limit = min(self._settings.ceiling, self._limit + step)
            self._admit()

    def refused(self, retry_after_s: float | None = None, *, latency_s: float = 0.0) -> None:
        """Record a rate-limited call: cut the rate at several, and pause at a storm.

        Endpoints limit the rate. A limit on the requests in flight looks like one, because both are
        the same but for the latency (Little's law).
        """
        now = self._clock()
        self._lately.note(True)
        if self._lately.of_window >= self._settings.storm_share:
            wait_s = self._settings.pause_s if retry_after_s is None else retry_after_s
            self.rate.pause(now + wait_s)
            self._lately.clear()
        # A call that began before the last cut took effect says nothing about the rate since.
        if now - latency_s >= self._rate_cut_at:
            self._since_cut.note(True)
            if self._since_cut.of_window >= self._settings.cut_share:
                self._cut_rate(now)

    def overdue(self, latency_s: float) -> None:
        """Record a call without an answer in time; if it is not alone, too many are in flight."""
        now = self._clock()
        if now - latency_s < self._limit_cut_at:
            return
        self._since_late.note(True)
        if self._since_late.of_window >= self._settings.cut_share:
            self._limit_cut_at, self._cut_limit = now, self._limit
            self._limit = max(self._settings.floor, self._limit * self._settings.cut_factor)
            self._since_late.clear()
            if self._climb:
                self._climb.restart()

    def _cut_rate(self, now: float) -> None:
        """Reduce the rate, then wait for the effect before another reduction."""
        if self.rate.holds:
            factor, settle_s = 1 - self._lately.of_seen, self._settings.settle_s
        else:
            factor, settle_s = 1 - self._since_cut.of_seen, 0.0
        self.rate.cut(max(self._settings.cut_factor, factor))
        self._rate_cut_at = now + settle_s
        self._since_cut.clear()

    def _admit(self) -> None:
        while self._waiting and self._in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)


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
