"""Run processes that cut files into passages, several at a time, with bounded time and memory.

Files come from anyone, and their readers are partly foreign code in C. They run in processes of
their own: the system bounds the time and the memory of one file, and a crash costs that file alone.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import struct
import subprocess
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import IO, Final, Self

from arena.data.documents.file_passages import Cut, cut_file, packed
from arena.errors import UsageError

BASE_S: Final = 30.0
"""Seconds of computing that any file may take."""

PER_MB_S: Final = 10.0
"""And for each megabyte that it has; ordinary ones take one or two."""

MEMORY: Final = 4 * 2**30
"""Bytes of memory of the process that reads it."""

_MB: Final = 2**20
_LENGTH: Final = struct.Struct("<Q")

_CHILD: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from arena.data.documents.reader_processes import cut_files_from_stdin as cut; cut()"
)

_TOO_LARGE: Final = "takes more memory than a document may; cut it into several files"


class Cutter:
    """A process that cuts one file after the other, used as ``with Cutter() as cutter:``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def stop(self) -> None:
        """Stop waiting for this process, from another thread."""
        process, self._stopped = self._process, True
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Close the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def cut(self, raw: bytes, suffix: str, words: int) -> tuple[bytes, bool]:
        """Run `cut_file` in the process.

        Returns:
            What was made of the file, `packed`; and whether it would be the same another time.

        Raises:
            UsageError: a package is not installed.
        """
        if self._stopped:
            raise CancelledError
        seconds = BASE_S + PER_MB_S * len(raw) / _MB
        process = self._process = self._process or _started()
        assert process.stdin is not None  # noqa: S101  for the type checker
        assert process.stdout is not None  # noqa: S101
        answer = None
        with suppress(BrokenPipeError):
            _send(process.stdin, pickle.dumps((raw, suffix, words, seconds)))
            answer = _receive(process.stdout)
        if answer is None:
            return self._ended(process, seconds)
        kind, content = pickle.loads(answer)  # noqa: S301  from a process of our own
        if kind == "usage":
            raise UsageError(content)
        return content, kind == "cut"

    def _ended(self, process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bool]:
        """Return the problem of a file that ended the process."""
        self.close()
        if process.returncode == -getattr(signal, "SIGXCPU", 0):
            problem = f"takes more than {seconds:.0f} s to read; cut it into several files"
            return packed(Cut(problem=problem)), True
        problem = f"ends its reader ({_status(process.returncode)}); leave it out, or save it again"
        return packed(Cut(problem=problem)), False


def cut_files_from_stdin() -> None:
    """Read files from stdin and write their cuts to stdout, until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent ends this process
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    _bound_memory()
    while (request := _receive(source)) is not None:
        raw, suffix, words, seconds = pickle.loads(request)  # noqa: S301
        _bound_time(seconds)
        _send(sink, pickle.dumps(_answer(raw, suffix, words)))


def _answer(raw: bytes, suffix: str, words: int) -> tuple[str, bytes | str]:
    try:
        return "cut", packed(cut_file(raw, suffix, words))
    except UsageError as error:
        return "usage", str(error)
    except MemoryError:
        return "cut", packed(Cut(problem=_TOO_LARGE))
    except Exception as error:  # noqa: BLE001  the other files are read in any case
        what = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        return "failed", packed(Cut(problem=f"cannot be read ({what}); leave it out"))


def _started() -> subprocess.Popen[bytes]:
    """Start a process with this one's modules; multiprocessing would rerun the main module."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", _CHILD, json.dumps([str(path) for path in sys.path])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _bound_memory() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _bound_time(seconds: float) -> None:
    """Set the limit after which the system ends this process, in seconds of computing."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415

        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = math.ceil(used.ru_utime + used.ru_stime + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _send(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_LENGTH.pack(len(message)) + message)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    """Return a whole message; None if the other side has ended."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = pipe.read(length)
    return message if len(message) == length else None


def _status(returncode: int) -> str:
    if returncode >= 0:
        return f"status {returncode}"
    with suppress(ValueError):
        return signal.Signals(-returncode).name
    return f"signal {-returncode}"
