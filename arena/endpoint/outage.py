"""Detect outages, wait until a probe is answered, and go on."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from arena.terminal import duration


@dataclass(frozen=True, slots=True)
class OutagePolicy:
    """The settings of a `CircuitBreaker`."""

    enough: int = 12  #: failures since the last answer, at least
    pause_s: float = 30.0  #: before the first probe; doubles from probe to probe
    longest_pause_s: float = 600.0  #: up to this
    quiet_s: float = 5.0  #: since the last answer, at least; or twice the time that it took
    longest_quiet_s: float = 20.0  #: but no longer than this


class CircuitBreaker:
    """Holds every request back while the endpoint is down.

    A probe asks again what was answered last: a request that the endpoint cannot digest must
    not make a working endpoint look down for good. One reply for each outage is so paid twice.

    Args:
        outage: the settings.
        probe: sends one request; True if the endpoint answered it.
        on_event: is told when requests are held back, and when they go on.
    """

    def __init__(
        self,
        outage: OutagePolicy,
        *,
        probe: Callable[[], Awaitable[bool]],
        on_event: Callable[[str], None] | None,
    ) -> None:
        self._outage = outage
        self._probe = probe
        self._on_event = on_event
        self._n_failed = 0
        self._answered_at, self._took_s = -math.inf, 0.0
        self._working = asyncio.Event()
        self._working.set()
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Return whether requests are held back."""
        return not self._working.is_set()

    async def clear(self) -> None:
        """Wait until the endpoint works."""
        await self._working.wait()

    def answered(self, latency_s: float = 0.0) -> None:
        """Record an answered request, with its latency."""
        self._n_failed = 0
        self._answered_at, self._took_s = time.monotonic(), latency_s

    def failed(self, why: str) -> None:
        """Record a failed request, except for a rate limit."""
        if self.is_open:
            return
        self._n_failed += 1
        if self._n_failed >= self._outage.enough and self._is_quiet:
            self._working.clear()
            self._probing = asyncio.get_running_loop().create_task(self._wait_out(why))

    def release(self) -> None:
        """Release all waiting requests, and stop probing: the run is over."""
        if self._probing:
            self._probing.cancel()
        self._working.set()

    @property
    def _is_quiet(self) -> bool:
        """Return whether the last answer is too old for mere overload."""
        usual_s = min(2 * self._took_s, self._outage.longest_quiet_s)
        return time.monotonic() - self._answered_at >= max(self._outage.quiet_s, usual_s)

    async def _wait_out(self, why: str) -> None:
        began, pause_s = time.monotonic(), self._outage.pause_s
        while True:
            self._say(f"the endpoint is down ({why}); trying again in {duration(pause_s)}")
            await asyncio.sleep(pause_s)
            works = await self._probe()
            if not self.is_open:
                return  # released meanwhile: the run is over
            if works:
                break
            pause_s = min(2 * pause_s, self._outage.longest_pause_s)
        self._n_failed = 0
        self._working.set()
        self._say(f"the endpoint works again after {duration(time.monotonic() - began)}")

    def _say(self, line: str) -> None:
        if self._on_event:
            self._on_event(line)
