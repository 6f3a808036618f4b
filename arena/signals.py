"""Handle Ctrl-C and SIGTERM: finish the calls under way, or exit at once without losing a reply."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from arena.progress import Reporter


@contextmanager
def interruptible(reporter: Reporter) -> Iterator[asyncio.Event]:
    """Yield an event that SIGINT and SIGTERM set; a second signal cancels the work under way."""
    stop = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = 0

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals > 1 and task:
            task.cancel()
        else:
            reporter.log(
                "stopping: finishing the calls under way; press Ctrl-C again to exit at once"
            )
            stop.set()

    handled = []
    # Unavailable on some platforms and in threads, which keep the default handlers.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
            handled.append(number)
    try:
        yield stop
    except asyncio.CancelledError:
        # The replies file contains every verdict that had arrived.
        if signals < 2 or task is None:
            raise
        task.uncancel()
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGTERM, as at SIGINT; only the main thread can handle both."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back until this ends; processes that are started inside never get it.

    A terminal sends Ctrl-C to all processes of a command, but this one alone knows how to stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending = []
    before = signal.signal(signal.SIGINT, lambda *_: pending.append(True))
    with _blocked(signal.SIGINT):
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
    if pending:
        raise KeyboardInterrupt


@contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """Hold a signal back from this thread, and in the threads and processes that it starts."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker  # noqa: PLC0415

    resource_tracker.ensure_running()  # its start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
