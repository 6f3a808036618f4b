"""Run a coroutine to its end, in this thread or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, on uvloop if it is installed."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(coroutine)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
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
    result: Future[T] = Future()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

    async def told() -> T:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        return await coroutine

    def work() -> None:
        try:
            result.set_result(run_here(told()))
        except BaseException as error:  # noqa: BLE001, it is raised again where it is waited for
            result.set_exception(error)

    # A daemon: code of the user's that never returns must not keep the interpreter alive.
    threading.Thread(target=work, name="arena", daemon=True).start()
    try:
        return result.result()
    except KeyboardInterrupt:
        if result.done():
            raise
        loop, task = started.result()
        if on_interrupt is None:
            _cancel(loop, task)
            raise
        loop.call_soon_threadsafe(on_interrupt)
    try:
        return result.result()
    except KeyboardInterrupt:
        _cancel(loop, task)
        raise


def call_apart(work: Callable[[Progress], T], progress: Progress) -> T:
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
    result: Future[T] = Future()

    def told(done: int, total: int) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        progress(done, total)

    def call() -> None:
        try:
            result.set_result(work(told))
        except BaseException as error:  # noqa: BLE001, it is raised again where it is waited for
            result.set_exception(error)

    threading.Thread(target=call, name="arena", daemon=True).start()
    try:
        return result.result()
    finally:
        stopped.set()


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> None:
    if task is not None and not loop.is_closed():
        loop.call_soon_threadsafe(task.cancel)
