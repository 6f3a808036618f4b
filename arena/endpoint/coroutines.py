"""Run coroutines: several at a time, or one to its end, in this thread or in one of its own."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final, TypeVar

from arena.errors import ArenaError, UnforeseenError
from arena.progress import OnProgress

K = TypeVar("K")
T = TypeVar("T")

_ASLEEP_S: Final = 0.25


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
        ArenaError: the first error, at the end; an `UnforeseenError` for any other.
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
        ApiError: the first failure, at the end; an `UnforeseenError` for any other.
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


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, on uvloop if it is installed."""
    with new_runner() as runner:
        return runner.run(coroutine)


def run_apart(
    coroutine: Coroutine[Any, Any, T], *, on_interrupt: Callable[[], None] | None = None
) -> T:
    """Run a coroutine in a thread of its own, and wait for it.

    The waiting thread gets Ctrl-C, also while the coroutine is busy.

    Args:
        coroutine: what to run.
        on_interrupt: is called in the loop at the first Ctrl-C, and the coroutine may then end by
            itself; a second Ctrl-C cancels it. Where absent, the first one does.
    """
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def told() -> T:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await coroutine

    def call_in_loop(callback: Callable[[], object]) -> None:
        # Ctrl-C may come before the loop runs, and after it is closed.
        def call(_: object) -> None:
            with suppress(RuntimeError):
                started.result()[0].call_soon_threadsafe(callback)

        started.add_done_callback(call)

    def cancel() -> None:
        if task := started.result()[1]:
            task.cancel()

    def interrupt() -> None:
        if on_interrupt is None:
            raise KeyboardInterrupt
        call_in_loop(on_interrupt)

    with _interrupt(interrupt):
        try:
            return result_of(in_thread(lambda: run_here(told())))
        except KeyboardInterrupt:
            call_in_loop(cancel)
            raise


def call_apart(work: Callable[[OnProgress], T], progress: OnProgress) -> T:
    """Call what runs an event loop of its own: in this thread, or in another if one runs here.

    Ctrl-C ends the work in another thread at its next report of progress.

    Args:
        work: is given what to report progress to.
        progress: told how many are done, of how many.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work(progress)
    stopped = threading.Event()

    def told(done: int, total: int) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        progress(done, total)

    with raised_at_ctrl_c():
        try:
            return result_of(in_thread(lambda: work(told)))
        finally:
            stopped.set()


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Call something in a thread of its own; return its future result.

    The thread is a daemon: code of the user's that never returns must not keep the interpreter
    alive.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()

    def call() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001, it is raised again where it is waited for
            result.set_exception(error)

    threading.Thread(target=call, name="arena", daemon=True).start()
    return result


def result_of(future: Future[T]) -> T:
    """Wait for a result, and let Ctrl-C through at any moment.

    A signal that comes just before a thread falls asleep does not wake it, so it sleeps in short
    intervals.
    """
    while not wait([future], timeout=_ASLEEP_S).done:
        pass
    return future.result()


def raised_at_ctrl_c() -> AbstractContextManager[None]:
    """Raise KeyboardInterrupt at Ctrl-C, also where another handler would not."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    return _interrupt(interrupt)


@contextmanager
def _interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Call something at the first Ctrl-C; the second one raises KeyboardInterrupt.

    A handler does so, because KeyboardInterrupt may be raised at any place. Raised between the
    start of a thread and the wait for it, it would leave a thread behind that nobody stops. And
    the handler of `asyncio.run` would only cancel its task, which waits for this very call.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # Only the main thread gets Ctrl-C; a program may ignore it.
        return

    def handle(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        act()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
