"""Ctrl-C and SIGTERM: finish what is under way, or leave at once; nothing paid for is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from arena.progress import Reporter


@contextmanager
def interruptible(reporter: Reporter) -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set; the second signal cancels what is under way."""
    stop = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    signals = 0

    def interrupt() -> None:
        nonlocal signals
        signals += 1
        if signals > 1 and task:
            task.cancel()
        else:
            reporter.say("stopping: finishing the calls under way; again to leave at once")
            stop.set()

    handled = []
    # Not on every platform, and not in a thread: the default handlers stay there.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
            handled.append(number)
    try:
        yield stop
    except asyncio.CancelledError:
        # Every verdict that had arrived is in the replies file, and will be read from there.
        if signals < 2 or task is None:
            raise
        task.uncancel()
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
