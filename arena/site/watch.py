"""Update a site while its log grows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from arena.errors import ArenaError
from arena.site.build import build_site, input_files
from arena.store.folder import Folder

INTERVAL_S: Final = 3.0
"""Shortest wait between two builds."""
_REST: Final = 9
"""Times that a build took, to wait after it: at most a tenth of one processor is spent on it."""
_PATIENCE_S: Final = 5.0
"""Longest wait for a process that is told to stop."""


def watch(
    path: Path, out: Path | None, *, stop: threading.Event, log: Callable[[str], None]
) -> None:
    """Build whenever something has changed on disk, until told to stop.

    What cannot be built now (no battle yet, half a file) is said, and tried again later.

    Args:
        path: an experiment, or a file of battles.
        out: as for `build_site`.
        stop: ends it.
        log: told of each build, and of what keeps one from succeeding.
    """
    seen: object = None
    took_s = 0.0
    while not stop.is_set():
        state = _state(path)
        if state != seen:
            began = time.monotonic()
            try:
                build_site(path, out, log=log)
            except ArenaError as error:
                log(f"note: the site is not up to date: {error}")
            seen, took_s = state, time.monotonic() - began
        stop.wait(max(INTERVAL_S, _REST * took_s))


@contextmanager
def keep_current(path: Path, log: Callable[[str], None]) -> Iterator[None]:
    """Keep the site of an experiment up to date while battles are played, and when they end.

    A process of its own does it, with low priority: it takes no time of the run's event loop, and
    nothing that happens to it can stop the run.

    Args:
        path: the experiment's folder.
        log: told where the site is, or why there is none.
    """
    try:
        with _follower(path):
            yield
    except ArenaError:
        _build_last(path, log)
        raise
    _build_last(path, log)


@contextmanager
def _follower(path: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "arena.site.watch", str(path)]
    child = subprocess.Popen(  # noqa: S603 - ourselves
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the run
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    try:
        yield
    finally:
        # However this process ends, its end of the pipe is closed, and the other one stops.
        if child.stdin:
            child.stdin.close()
        child.terminate()  # a build is cut short, too: the last one is made here
        try:
            child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _build_last(path: Path, log: Callable[[str], None]) -> None:
    if not Folder(path).is_experiment:
        return  # the run came to its end before there was anything to show
    try:
        log(f"site: {build_site(path)}")
    except ArenaError as error:
        log(f"note: no site: {error}")


def _state(path: Path) -> list[tuple[str, int, int]]:
    """Return what tells whether anything was written since."""
    states = []
    for file in input_files(path):
        try:
            stat = file.stat()
        except FileNotFoundError:  # being moved or written right now
            continue
        states.append((str(file), stat.st_mtime_ns, stat.st_size))
    return states


def _main() -> None:
    """Watch the folder that the command line names for as long as standard input is open.

    SIGTERM ends it at once; no file is left unfinished.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    if hasattr(os, "nice"):
        os.nice(10)
    stop = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        stop.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    watch(Path(sys.argv[1]), None, stop=stop, log=lambda _: None)


if __name__ == "__main__":
    _main()
