"""How many calls a server of one's own takes at once, found by doubling their number.

A server with one slot answers two calls at once no sooner than one after the other; one that works
on many at once answers twice as many in the same time. So the number in flight doubles as long as
that is worth its while, and goes back where it is not.
"""

from __future__ import annotations

import math
import statistics
from typing import Final

LEAST: Final = 4
"""Answers that a number in flight is judged by where the first round leaves doubts; else one for
each call in flight."""
CLEARLY: Final = 1.2
"""A first round that takes no longer than so many times what it took before decides at once."""
WORTH: Final = 1.43
"""Twice as many in flight must take no longer than so many times: 1.4 times as many a second."""
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
        """Forget how long calls took; judge the number in flight after so many rounds."""
        self._began_at = -math.inf
        self._rounds = rounds
        self._half_s: float | None = None  # what a call took with half as many in flight
        self._latencies_s: list[float] = []

    def answered(self, latency_s: float, now: float, limit: int) -> int:
        """The number in flight after one more answer, given what it is now."""
        if now - latency_s < self._began_at:
            return limit  # sent before the last change, it says nothing about it
        self._latencies_s.append(latency_s)
        n, half_s = len(self._latencies_s), self._half_s
        if n == limit and self._rounds == 1:
            took_s = statistics.median(self._latencies_s)
            if half_s is None or took_s <= max(NEGLIGIBLE_S, CLEARLY * half_s):
                return self._double(limit, now)
        # The first of them found the queue of before the change, or a server that still slept.
        if n < limit + self._rounds * max(LEAST, limit):
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
