"""`arena` as a process that tests stop, kill and let run out of room.

Each process is forked from one that has everything imported, so that a start costs little time.
A test of the start itself, or of what the interpreter prints at its end, starts a Python instead.

::

    with start_arena("battle", config, cwd=folder) as process:
        process.send_signal(signal.SIGINT)
        printed, complaint = process.communicate()
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from types import TracebackType
from typing import Final, Self

PATIENCE_S = 60
"""A process that has not ended by then hangs, and is killed."""

_IMPORTED: Final = (
    "arena.cli",
    "arena.cluster.judge",
    "arena.commands.queries",
    "arena.commands.report",
    "arena.cost.model_rates",
    "arena.experiment.live",
    "arena.rating.rate_files",
    "arena.site.watch",
    "aiohttp",
    "distributed",
    "filelock",
    "httpcore2",
    "hypothesis",
    "ir_measures",
    "numpy.ma",
    "numpy.random",
    "openai",
    "pytest",
    "pytrec_eval",
    "rich.console",
    "rich.live",
    "rich.progress",
    "rich.table",
    "scipy.special",
    "spenders",
    "uvloop",
)


@functools.cache
def forks() -> ForkServerContext:
    """Return what forks processes from one that has everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


@dataclass(frozen=True, slots=True)
class _Start:
    words: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    room: int | None  #: no file may grow beyond so many bytes
    terminal: str | None = None  #: the path of one that it reads and writes, instead of pipes
    own_group: bool = False  #: signals to its group reach it and what it starts, and no others


class Program:
    """A process of `arena`, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, start: _Start) -> None:
        ours, theirs = forks().Pipe(duplex=False)
        with ours, theirs, tempfile.NamedTemporaryFile(delete=False) as printed:
            self._printed = Path(printed.name)
            self._process = forks().Process(target=_run, args=(start, printed.name, theirs))
            self._process.start()
            self.stderr = open(os.dup(ours.fileno()), encoding="utf-8")  # noqa: SIM115, PTH123

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind:
            self._process.kill()
        self.wait()
        self.stderr.close()
        self._printed.unlink(missing_ok=True)

    @property
    def returncode(self) -> int | None:
        """The exit status; negative: the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """Wait for the end; returns the exit status."""
        self._process.join(PATIENCE_S)
        if self._process.exitcode is None:
            self._process.kill()
            raise TimeoutError(f"the process did not end within {PATIENCE_S} s")
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None and self._process.pid:
            os.kill(self._process.pid, number)

    def interrupt_group(self) -> None:
        """Press Ctrl-C in its terminal, which sends it to all processes of its group."""
        if self.poll() is None and self._process.pid:
            os.killpg(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def first_line(self) -> str:
        """Wait for the first line that it prints; returns it, or nothing if it ends without one."""
        while "\n" not in (printed := self._printed.read_text("utf-8")) and self.poll() is None:
            time.sleep(0.005)
        return printed.partition("\n")[0]

    def read_until(self, words: str) -> str:
        """Wait until it complains with these words; returns the lines up to there.

        Raises:
            EOFError: it ended without them; it is killed if it takes too long.
        """
        lines = []
        with self._guarded():
            for line in self.stderr:
                lines.append(line)
                if words in line:
                    return "".join(lines)
        raise EOFError(f"it ended without {words!r}: {''.join(lines)}")

    def communicate(self) -> tuple[str, str]:
        """Wait for the end; returns what it printed, and the rest of what it complained."""
        with self._guarded():
            complaint = self.stderr.read()
        self.wait()
        return self._printed.read_text("utf-8"), complaint

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        guard = threading.Timer(PATIENCE_S, self._process.kill)
        guard.start()
        try:
            yield
        finally:
            guard.cancel()


def start_arena(
    *words: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    room: int | None = None,
    terminal: str | None = None,
    own_group: bool = False,
) -> Program:
    """Start ``arena`` with these words.

    ``env`` is set on top of this process's own; no file may grow beyond ``room`` bytes. All is read
    from and written to the ``terminal`` of this path, if there is one. With an ``own_group`` it can
    get Ctrl-C as in a terminal, with all that it starts.
    """
    own = {**os.environ, **(env or {})}
    where = str(cwd or Path.cwd())
    return Program(_Start(tuple(map(str, words)), where, own, room, terminal, own_group))


def _run(start: _Start, stdout: str, stderr: Connection) -> None:
    gc.freeze()  # what is imported
    if start.own_group:
        os.setsid()
    if start.terminal:
        for number in range(3):
            os.dup2(os.open(start.terminal, os.O_RDWR), number)
    else:
        os.dup2(os.open(stdout, os.O_WRONLY), 1)
        os.dup2(stderr.fileno(), 2)
    stderr.close()
    encoding = start.env.get("PYTHONIOENCODING", "utf-8")
    sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", encoding=encoding, errors="backslashreplace", buffering=1, closefd=False
    )
    os.chdir(start.cwd)
    os.environ.clear()
    os.environ.update(start.env)
    sys.argv = ["arena", *start.words]
    if start.room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (start.room, start.room))
    from arena.cli import main

    main(start.words, prog_name="arena")
