"""Several requests at a time, their results as soon as they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from arena.errors import ArenaError, UnforeseenError

K = TypeVar("K")
T = TypeVar("T")


def new_runner() -> asyncio.Runner:
    """A runner that keeps one loop, and so its connections, open; on uvloop where there is one."""
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
    """Settle items, several at a time; whatever goes wrong, what is under way is finished first.

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
    """An error that people can read in one line, whatever it was."""
    return error if isinstance(error, ArenaError) else UnforeseenError(error)


def as_done(
    runner: asyncio.Runner, requests: Iterable[tuple[K, Coroutine[Any, Any, T]]], *, at_once: int
) -> Iterator[tuple[K, T]]:
    """Await requests, several at a time; yield each name and result as soon as it is there.

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
