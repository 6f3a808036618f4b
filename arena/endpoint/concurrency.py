"""Run several requests at a time, and yield each result as it arrives."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from arena.errors import ArenaError, UnforeseenError

K = TypeVar("K")
T = TypeVar("T")


def new_runner() -> asyncio.Runner:
    """Return a runner that keeps one loop and its connections open; on uvloop if there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.Runner()
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def work_off(
    items: Iterable[T],
    settle: Callable[[T], Awaitable[None]],
    *,
    workers: int,
    stop: asyncio.Event,
) -> None:
    """Run items, several at a time; after an error, finish those under way first.

    Args:
        items: one is taken only when it may begin.
        settle: does the work; it is awaited for each item.
        workers: how many are under way at most.
        stop: nothing is begun once it is set, as the first error sets it.

    Raises:
        ArenaError: the first error, at the end; an `UnforeseenError` in the place of any other.
    """
    waiting = iter(items)
    errors: list[ArenaError] = []

    async def work() -> None:
        n_settled = 0
        try:
            for item in waiting:
                await settle(item)
                if stop.is_set():
                    return
                n_settled += 1
                if n_settled % 64 == 0:
                    # Work that never waits would keep signals and other tasks from running.
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001, all are raised, once the others are done
            errors.append(foreseen(error))
            stop.set()

    await asyncio.gather(*(work() for _ in range(workers)))
    if errors:
        raise errors[0]


def foreseen(error: Exception) -> ArenaError:
    """Return an error in one line, for any exception."""
    return error if isinstance(error, ArenaError) else UnforeseenError(error)


def as_done(
    runner: asyncio.Runner, requests: Iterable[tuple[K, Coroutine[Any, Any, T]]], *, at_once: int
) -> Iterator[tuple[K, T]]:
    """Run requests, several at a time; yield each name and result as soon as it arrives.

    After a failure nothing new is asked, but what is already on its way is still yielded.

    Args:
        runner: whose loop the requests belong to.
        requests: name and coroutine; one is taken only when it may begin.
        at_once: how many at most.

    Raises:
        ApiError: the first failure, at the end; an `UnforeseenError` in the place of any other.
    """
    waiting = iter(requests)
    pending: dict[asyncio.Task[T], K] = {}
    failure: ArenaError | None = None
    try:
        while True:
            while failure is None and len(pending) < at_once:
                if (request := next(waiting, None)) is None:
                    break
                pending[runner.get_loop().create_task(request[1])] = request[0]
            if not pending:
                break
            for task in runner.run(_some(list(pending))):
                name = pending.pop(task)
                error = task.exception()
                if error is None:
                    yield name, task.result()
                elif isinstance(error, Exception):
                    failure = failure or foreseen(error)
                else:
                    raise error
    finally:
        runner.run(_cancelled(list(pending)))
    if failure:
        raise failure


async def _some(tasks: Sequence[asyncio.Task[T]]) -> set[asyncio.Task[T]]:
    return (await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))[0]


async def _cancelled(tasks: Sequence[asyncio.Task[T]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
