"""Append whole lines to a file that one process locks; cut off a torn last line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

from arena.errors import LogError
from arena.files import locked

LOCK_WAIT_S: Final = 1.0
"""Longest wait for another writer that is just leaving."""

_TAIL_BYTES: Final = 1 << 16


class LineFile:
    """A file open for appending; unbuffered, so a line is with the system once it is written.

    Raises:
        LogError: the file cannot be opened or repaired.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unwritten = b""
        self._synced = True
        try:
            self._file = FileIO(path, "a+")
            self._size = _end_of_last_line(self._file)
            self._file.truncate(self._size)
        except OSError as error:
            raise unwritable(path, error) from None

    def append(self, line: bytes) -> int:
        """Write a line; return where in the file it begins.

        Raises:
            LogError: it cannot be written; it is kept, and comes first at the next attempt.
        """
        start = self._size + len(self._unwritten)
        self._unwritten += line
        self.write()
        return start

    def write(self) -> None:
        """Write what an earlier error left over.

        Raises:
            LogError: it cannot be written now either.
        """
        while self._unwritten:
            try:
                n_bytes = self._file.write(self._unwritten)
            except OSError as error:
                raise unwritable(self.path, error) from None
            self._synced = False
            self._size += n_bytes
            self._unwritten = self._unwritten[n_bytes:]

    def sync(self) -> None:
        """Flush to the disk what was written.

        Raises:
            LogError: the disk does not take it.
        """
        if self._synced:
            return
        self._synced = True  # first, so that a line written meanwhile is synced next time
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            self._synced = False
            raise unwritable(self.path, error) from None

    def close(self) -> None:
        """Close the file, as it is."""
        self._file.close()


def sync_names(folder: Path) -> None:
    """Flush the names of a folder's files; without its name a new file's lines are lost.

    Raises:
        LogError: the disk does not take it.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows, which neither can nor needs to
        return
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        raise unwritable(folder, error) from None


@contextmanager
def locked_log(lock: Path, *, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Make sure that no other process writes a log meanwhile.

    Raises:
        LogError: another one does, or the folder cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(lock, wait_s=wait_s))
        except TimeoutError:
            raise LogError(
                f"{lock.parent}: another arena is writing this log; wait until it is done, or "
                "stop it"
            ) from None
        except OSError as error:
            if error.errno == errno.ENOLCK:
                raise LogError(
                    f"{lock.parent}: {error.strerror}; put the experiment on a local disk"
                ) from None
            raise unwritable(lock.parent, error) from None
        yield


def unwritable(path: Path, error: OSError) -> LogError:
    """Return the error for a file or folder that arena may not write."""
    return LogError(
        f"{path}: cannot be written: {error.strerror}; free the disk or the permissions, "
        "then run the same command again"
    )


def _end_of_last_line(file: FileIO) -> int:
    """Return where a torn last line begins; the file's size if there is none."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
