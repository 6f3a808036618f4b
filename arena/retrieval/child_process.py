"""A child process that is asked lines and answers lines, and never outlives its use."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shlex
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

from arena.config import ModelConfig
from arena.errors import CommandError, UsageError
from arena.redaction import blank, keep_environment
from arena.terminal import one_line

_log = logging.getLogger(__name__)
_LONGEST_LINE: Final = 32 * 2**20
"""Bytes of one answer: a ranking of a thousand documents takes a few dozen kilobytes."""

_LAST_LINES: Final = 3
"""Of what a program wrote to stderr: shown when it fails."""

_LAST_BYTES: Final = 2**16
"""Of what it wrote to stderr, among which they are looked for."""

_FAREWELL_S: Final = 5.0
"""How long a program may take to end once its stdin is closed."""

_SHOWN: Final = 80
"""Characters of a line that is no answer."""


class Program:
    """A started program; `started` makes and ends it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("a Program talks through pipes")
        self.n_lines = 0  #: read so far, blank ones included
        self._name = name
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._last_bytes = b""
        self._listening = asyncio.create_task(self._listen())

    def send(self, lines: Iterable[bytes]) -> None:
        """Send lines, without waiting until they are read.

        `read` still reads the output of a program that has closed its stdin.
        """
        self._stdin.write(b"".join(lines))

    def close(self) -> None:
        """Close its stdin once everything is sent."""
        self._stdin.close()

    async def read(self, timeout_s: float) -> bytes | None:
        """Return the next line that is not blank; None if none arrives in time.

        Raises:
            CommandError: the program ended, or closed its stdout, or writes without end.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while raw := await self._stdout.readline():
                    self.n_lines += 1
                    if raw.strip():
                        return raw
        except TimeoutError:
            if self._process.returncode is not None:  # what it left running keeps its stdout open
                raise self._ended_early(await self._end()) from None
            return None
        except ValueError:
            what = f"line {self.n_lines + 1} of its output is longer than {_LONGEST_LINE:,} bytes"
            raise self.failure(what, "expected one ranking a line") from None
        raise self._ended_early(await self._end())

    def failure(self, what: str, remedy: str) -> CommandError:
        """Return an error about the program, with its last words on stderr."""
        words = " | ".join(self._last_lines())
        said = f"; its stderr ends: {words}" if words else ""
        return CommandError(f"{self._name}: {what}; {remedy}{said}")

    async def finish(self) -> None:
        """Close it; if it has answered all and then fails, log its complaint."""
        self.close()
        ended = await self._end()
        if self._process.returncode:
            _log.warning("%s", self.failure(ended, "all of its answers are kept"))

    async def kill(self) -> None:
        """Stop it and all processes that it has started, at once."""
        # Its own group: a shell script's children would live on, and hold the pipes.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._listening.cancel()
        # A daemon that left the group may hold the pipes; no public call closes them.
        self._process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001

    def _ended_early(self, ended: str) -> CommandError:
        return self.failure(f"{ended} before it had answered all", "run it by hand")

    async def _end(self) -> str:
        """Return how it ended, if it does so soon."""
        ending = asyncio.create_task(self._process.wait())
        await asyncio.wait([ending, self._listening], timeout=_FAREWELL_S)
        status = self._process.returncode
        if status is None:
            return "closed its stdout"
        if status < 0:
            return f"was ended by a signal ({signal.strsignal(-status)})"
        return f"ended with exit status {status}"

    async def _listen(self) -> None:
        """Read all that it writes to stderr, and keep the end of it."""
        while raw := await self._stderr.read(_LAST_BYTES):
            self._last_bytes = (self._last_bytes + raw)[-_LAST_BYTES:]

    def _last_lines(self) -> list[str]:
        """Return the last whole lines on stderr; a part of a secret is not recognised."""
        said = self._last_bytes
        if len(said) == _LAST_BYTES:
            said = said.partition(b"\n")[2]
        keep_environment()  # which the program was given
        text = blank(said.decode("utf-8", "replace"))
        return [line for line in map(one_line, text.splitlines()) if line][-_LAST_LINES:]


@asynccontextmanager
async def started(model: ModelConfig, dataset: str) -> AsyncIterator[Program]:
    """Start a model's command without a shell, and kill it at the end in any case.

    ``{dataset}`` in the command is the data set's name, which ARENA_DATASET holds too. The
    rest of the environment is passed on. Python's output is unbuffered unless the environment
    sets this.

    Raises:
        UsageError: there is no such program or folder, or it is not executable.
    """
    folder = model.folder
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{model.name}: folder {str(folder)!r} does not exist; see arena.toml")
    words = [word.replace("{dataset}", dataset) for word in shlex.split(model.command or "")]
    environment = {"PYTHONUNBUFFERED": "1", **os.environ, "ARENA_DATASET": dataset}
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=folder,
            env=environment,
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{model.name}: {_unstarted(words[0], error)}") from None
    program = Program(model.name, process)
    try:
        yield program
    finally:
        await program.kill()


def beginning(raw: bytes) -> str:
    """Return the beginning of a line of a program's output, safe to show."""
    keep_environment()  # which the program was given
    return one_line(raw[:4096].decode("utf-8", "replace"), most=_SHOWN)


def _unstarted(program: str, error: OSError | ValueError) -> str:
    """Return why a program could not be started, and what to do about it."""
    if isinstance(error, FileNotFoundError):
        return f"command {program!r} is not found; give its path, such as ./search"
    if isinstance(error, PermissionError):
        return f'command {program!r} is not executable; `chmod +x` it, or "python {program}"'
    if isinstance(error, OSError) and error.errno == errno.ENOEXEC:
        return f"command {program!r} is no program; begin it with #!, as in #!/usr/bin/env python3"
    return f"command {program!r} cannot be started: {one_line(str(error))}; run it by hand"
