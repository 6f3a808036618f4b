"""How fast an endpoint may be asked: an adaptive limit on the requests in flight.

Slow increase, quick decrease, as TCP does it. Only a share of refusals cuts the limit and only a
storm pauses everyone: to pause at every refusal costs nine tenths of the speed where refusals
are mixed with other faults.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Pace:
    """The settings of a `Gate`."""

    start: int = 16  #: requests in flight at first
    ceiling: int = 1024  #: requests in flight at most
    window: int = 100  #: how many of the last calls are looked at
    cut_share: float = 0.08  #: cut the limit when so many of them were refused
    cut_factor: float = 0.7  #: and to which part of it
    growth: float = 0.05  #: grow by this part of the limit in a round trip, by 1 at least
    storm_share: float = 0.40  #: hold everyone back when so many were refused
    pause_s: float = 5.0  #: how long, where the endpoint does not say
    slow_s: float = 22.5  #: a reply that took longer shows a queue: grow no further
    overdue_s: float = 45.0  #: a reply that took longer counts as refused

    @classmethod
    def fixed(cls, limit: int) -> Pace:
        """Always ``limit`` requests in flight; only a storm still pauses everyone."""
        return cls(start=limit, ceiling=limit, cut_factor=1.0)


class Gate:
    """Lets so many calls through at once as the endpoint takes; use it as ``async with gate:``.

    A call keeps its place while it waits for a retry, so that refused calls lower the pressure
    by themselves.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._limit = float(pace.start)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._refusals: deque[bool] = deque(maxlen=pace.window)
        self._ever_cut = False
        self._paused_until = 0.0

    @property
    def limit(self) -> int:
        """Requests in flight at most, right now."""
        return max(1, int(self._limit))

    async def __aenter__(self) -> Self:
        if self._in_flight < self.limit and not self._waiting:
            self._in_flight += 1
            return self
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    async def clear(self) -> None:
        """Wait out a storm, if there is one."""
        while (wait_s := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110, the end may move
            await asyncio.sleep(wait_s)

    def answered(self, latency_s: float) -> None:
        """Note a call that was answered: room for more, unless the answer was slow."""
        if latency_s > self._pace.overdue_s:
            self.refused()
            return
        self._refusals.append(False)
        # A limit that nobody is waiting at says nothing about the endpoint.
        if latency_s <= self._pace.slow_s and self._waiting:
            # Doubles in a round trip until the first cut; from then on it feels its way.
            step = max(1 / self._limit, self._pace.growth) if self._ever_cut else 1
            self._limit = min(self._pace.ceiling, self._limit + step)
            self._admit()

    def refused(self, retry_after_s: float | None = None) -> None:
        """Note a call that was too much for the endpoint: cut in a shower, pause in a storm."""
        self._refusals.append(True)
        share = sum(self._refusals) / self._pace.window
        if share < self._pace.cut_share:
            return
        if share >= self._pace.storm_share:
            wait_s = self._pace.pause_s if retry_after_s is None else retry_after_s
            self._paused_until = max(self._paused_until, time.monotonic() + wait_s)
        self._limit = max(1.0, self._limit * self._pace.cut_factor)
        self._ever_cut = True
        self._refusals.clear()

    def _leave(self) -> None:
        self._in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._in_flight < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)
