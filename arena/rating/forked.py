"""Work shared with forked processes, where forking is known to be safe."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST = 8
"""Processes; beyond these, taking over what they did is most of the work."""


def usable_processes() -> int:
    """How many processes may share the work.

    1 where this process has several threads: a fork would copy a lock that one of them holds.
    """
    threads = Path("/proc/self/task")
    if sys.platform != "linux" or not threads.is_dir() or len(list(threads.iterdir())) > 1:
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST)


def map_forked(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``[work(item) for item in items]``, each but the first in a forked process of its own.

    What a process cannot do, for whatever reason, is done again here: so results and errors are
    those of the plain loop.
    """
    children: list[tuple[int, BinaryIO]] = []
    try:
        with contextlib.suppress(OSError):  # no more processes are to be had
            children.extend(_fork(work, item) for item in items[1:])
        results = [work(item) for item in items[:1]]
        for item, (_, pipe) in zip(items[1:], children, strict=False):
            try:
                results.append(pickle.load(pipe))  # noqa: S301
            except (EOFError, pickle.UnpicklingError):
                results.append(work(item))
        results += [work(item) for item in items[len(results) :]]
    finally:
        for process, pipe in children:
            pipe.close()
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)  # it has ended, unless we leave by an error
                os.waitpid(process, 0)
    return results


def _fork(work: Callable[[Item], Result], item: Item) -> tuple[int, BinaryIO]:
    """Start a process; return its number, and the pipe that its result comes through."""
    receiver, sender = os.pipe()
    try:
        process = os.fork()
    except OSError:
        os.close(receiver)
        os.close(sender)
        raise
    if process:
        os.close(sender)
        return process, os.fdopen(receiver, "rb")
    try:
        os.close(receiver)
        with os.fdopen(sender, "wb") as pipe:
            pickle.dump(work(item), pipe, pickle.HIGHEST_PROTOCOL)
    finally:
        # Without the clean-up of an ordinary exit: buffers and files here are the parent's.
        os._exit(0)
