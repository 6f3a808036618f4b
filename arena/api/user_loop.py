"""Run the async functions of a user in one event loop, in a thread of its own.

Clients, sessions, locks and semaphores belong to the loop that they were first used in. So all
calls of a process share one loop: a client that one comparison has used serves the next one too.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from arena.endpoint.coroutines import new_runner, raised_at_ctrl_c, result_of
from arena.errors import UsageError


class _Loop:
    """A loop that runs in a daemon thread until the process ends."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.loop = new_runner().get_loop()
        self.thread = threading.Thread(target=self._run, name="arena-user", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            # A SystemExit of the user's code leaves the loop; the one who waits for it gets it.
            with suppress(BaseException):
                self.loop.run_forever()


_making = threading.Lock()
_made: list[_Loop] = []


def _the_loop() -> _Loop:
    with _making:
        if not _made or _made[-1].process != os.getpid():  # a fork has no threads
            _made[:] = [_Loop()]
        return _made[-1]


def check_thread(function: str) -> None:
    """Check that a function that waits for the user's loop is not called inside it.

    Raises:
        UsageError: it is, and would wait for itself.
    """
    if _made and threading.current_thread() is _made[-1].thread:
        remedy = "give it a thread: await asyncio.to_thread(...)"
        raise UsageError(f"{function}: called inside an async function that arena runs; {remedy}")


async def settled(answer: Any) -> Any:
    """Return what a user's function returned, or what its coroutine returns in the user's loop."""
    if inspect.iscoroutine(answer):
        return await asyncio.wrap_future(_started(answer))
    return await answer if inspect.isawaitable(answer) else answer


def waited_for(answer: Any) -> Any:
    """Return what a user's function returned; block until its coroutine has returned it.

    Ctrl-C cancels the coroutine.
    """
    if not inspect.iscoroutine(answer):
        return answer
    with raised_at_ctrl_c():
        future = _started(answer)
        try:
            return result_of(future)
        finally:
            future.cancel()


def _started(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run_coroutine_threadsafe(coroutine, _the_loop().loop)
