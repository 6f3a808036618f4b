"""Limit the requests in flight at an endpoint: adaptively, or to a fixed number.

Quick increase until the first cut, slow increase from then on, as TCP does it. Only a share of
refusals cuts the limits, and only a storm pauses everyone. To pause at every refusal costs nine
tenths of the speed where refusals are mixed with other faults.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, Self

from arena.endpoint.rate_limit import Rate


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """The settings of a `ConcurrencyLimiter`."""

    start: int = 16  #: requests in flight at first
    floor: int = 1  #: requests in flight at least
    ceiling: int = 1024  #: requests in flight at most
    window: int = 100  #: how many of the last calls are looked at
    cut_share: float = (
        0.08  #: cut the rate at this share of refused calls, the limit at this share of late ones
    )
    cut_factor: float = 0.7  #: and to no less than this share of it
    settle_s: float = 1.0  #: no second cut of a rate so soon after the first
    growth: float = 0.05  #: grow by this part of the limit in a round trip, by 1 at least
    storm_share: float = 0.40  #: hold all calls back at this share of refused ones
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
    """Count how many of the last calls were of a kind."""

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
    """Let as many calls through at once as the endpoint takes; use it as ``async with gate:``.

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
        # Of the few places on your own server, none may wait out a rate limit.
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


LEAST_ANSWERS: Final = 4
"""Answers that a number in flight is judged by where the first round leaves doubts; else one for
each call in flight."""

CLEARLY: Final = 1.2
"""A first round decides at once if it takes no longer than this many times the one before."""

WORTH: Final = 1.43
"""Twice as many in flight may take this many times as long: 1.4 times as many a second."""

NEGLIGIBLE_S: Final = 0.05
"""Calls this short queue nowhere for long: here the client is as likely to be what is slow."""

REST: Final = 8
"""Rounds until a number that was worth nothing is tried again: servers change their load."""


class Climb:
    """Says how many calls may be in flight.

    Args:
        ceiling: the most.
    """

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self.restart()

    def restart(self, rounds: int = 1) -> None:
        """Forget how long calls took; judge the number in flight after this many rounds."""
        self._began_at = -math.inf
        self._rounds = rounds
        self._half_s: float | None = None  # what a call took with half as many in flight
        self._latencies_s: list[float] = []

    def answered(self, latency_s: float, now: float, limit: int) -> int:
        """Return the number in flight after one more answer, given the present number."""
        if now - latency_s < self._began_at:
            return limit  # sent before the last change, it says nothing about it
        self._latencies_s.append(latency_s)
        n, half_s = len(self._latencies_s), self._half_s
        if n == limit and self._rounds == 1:
            took_s = statistics.median(self._latencies_s)
            if half_s is None or took_s <= max(NEGLIGIBLE_S, CLEARLY * half_s):
                return self._double(limit, now)
        # The first of them found the queue of before the change, or a server that still slept.
        if n < limit + self._rounds * max(LEAST_ANSWERS, limit):
            return limit
        took_s = statistics.median(self._latencies_s[limit:])
        if half_s is not None and took_s > max(NEGLIGIBLE_S, WORTH * half_s):
            self.restart(REST)
            self._began_at = now
            return max(1, limit // 2)
        return self._double(limit, now)

    def _double(self, limit: int, now: float) -> int:
        if limit == self._ceiling:
            self.restart(REST)
            return limit
        half_s = statistics.median_low(self._latencies_s)
        self.restart()
        self._began_at, self._half_s = now, half_s
        return min(self._ceiling, 2 * limit)
