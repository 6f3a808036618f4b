"""Read files by programs that you name: ``reader = "pandoc -t markdown {file}"``.

A program gets a copy of the file under a plain name, so that no name of a file reaches a command.
arena starts it without a shell, and bounds its time and its output. What it writes is Markdown from
anyone, as the content of any file is.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from threading import Lock, Timer
from typing import IO, Final

from arena.data.documents.file_text import UnreadableError
from arena.digest import digest
from arena.errors import UsageError
from arena.terminal import one_line

LONGEST_S: Final = 300.0
"""Seconds that a program may take for one file."""

MOST_BYTES: Final = 64 * 2**20
"""Bytes that it may write."""

FILE: Final = "{file}"
ANY: Final = ""
"""Stands for all suffixes that nothing else reads."""

_SHOWN: Final = 120
_LAST_BYTES: Final = 4096


class ReaderCommands:
    """The programs that read files, by the suffixes of the files.

    Args:
        commands: suffix in lower case, or `ANY`, → a command with ``{file}``.
        folder: where the programs run; here where it is None.

    Raises:
        UsageError: a program is not found.
    """

    def __init__(self, commands: Mapping[str, str], folder: Path | None = None) -> None:
        self._words = {suffix: shlex.split(command) for suffix, command in commands.items()}
        self._folder = folder
        self._stamps = {suffix: self._stamp(words) for suffix, words in self._words.items()}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._stopped = False

    def key(self, suffix: str, *, known: bool) -> bytes | None:
        """Return a hash of the command that reads such files; None if none does.

        The program and every file that the command names count by size and time.

        Args:
            suffix: of the file, in lower case.
            known: whether arena itself reads such files.
        """
        return self._stamps.get(suffix, None if known else self._stamps.get(ANY))

    def text_of(self, raw: bytes, suffix: str) -> bytes:
        """Return what the program writes about a file.

        Raises:
            UnreadableError: it fails, or takes too long or writes too much.
            CancelledError: `stop` was called.
        """
        words = self._words.get(suffix) or self._words[ANY]
        with tempfile.TemporaryDirectory(prefix="arena-", ignore_cleanup_errors=True) as folder:
            path = Path(folder, "document" + (suffix if suffix[1:].isalnum() else ""))
            path.write_bytes(raw)
            errors = Path(folder, "errors")
            with errors.open("wb") as stderr:
                process = self._started([word.replace(FILE, str(path)) for word in words], stderr)
                return self._written(process, words[0], errors)

    def stop(self) -> None:
        """Stop all programs, from another thread; none can be started afterwards."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill(process)

    def _started(self, words: list[str], stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program, unless all are being stopped: none may begin after that."""
        with self._lock:
            if self._stopped:
                raise CancelledError
            try:
                process = subprocess.Popen(  # noqa: S603  your own command, and no shell
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    cwd=self._folder,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                what = one_line(str(error), most=_SHOWN)
                raise UsageError(f"reader {words[0]!r} cannot be started: {what}") from None
            self._running.add(process)
            return process

    def _written(self, process: subprocess.Popen[bytes], name: str, errors: Path) -> bytes:
        """Return the whole output of a program, which is gone afterwards."""
        late = Timer(LONGEST_S, _kill, [process])
        late.start()
        try:
            assert process.stdout is not None  # noqa: S101  for the type checker
            raw = process.stdout.read(MOST_BYTES + 1)
            if len(raw) > MOST_BYTES:
                raise UnreadableError(f"{name} writes more than {MOST_BYTES // 2**20} MB about it")
            status = process.wait()
        finally:
            timely = late.is_alive()
            late.cancel()
            _kill(process)
            with self._lock:
                self._running.discard(process)
            with process:
                pass
        if self._stopped:
            raise CancelledError
        if not timely:
            raise UnreadableError(f"{name} takes more than {LONGEST_S:g} s to read it")
        if status:
            raise UnreadableError(f"{name} ends with status {status}{_last_words(errors)}")
        return raw

    def _stamp(self, words: list[str]) -> bytes:
        """Return a hash of the command and of the files that it names."""
        folder = self._folder or Path()
        program = shutil.which(words[0] if "/" not in words[0] else folder / words[0])
        if program is None:
            raise UsageError(f"reader {words[0]!r} is not found; install it, or give its path")
        states = [_state(Path(program)), *(_state(folder / word) for word in words[1:])]
        return digest(*words, *states)


def _state(path: Path) -> str:
    with suppress(OSError, ValueError):
        if path.is_file():
            status = path.stat()
            return f"{status.st_size} {status.st_mtime_ns}"
    return ""


def _last_words(errors: Path) -> str:
    with errors.open("rb") as file:
        file.seek(max(0, errors.stat().st_size - _LAST_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return f": {one_line(lines[-1], most=_SHOWN)}" if lines else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Stop a program and all that it started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
