"""Handle Ctrl-C and SIGTERM: finish the calls under way, or exit at once without losing a reply."""

from __future__ import annotations

import asyncio
import signal
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
