"""Read TOML, write files whole or not at all, lock them, and name the folder of the cache."""

from __future__ import annotations

import codecs
import errno
import functools
import os
import re
import sqlite3
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from arena.errors import WriteError


def cache_folder() -> Path:
    """Return the cache folder: ``ARENA_CACHE``, or ``~/.cache/arena``."""
    given = os.environ.get("ARENA_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "arena"


def safe_filename(name: str) -> str:
    """Return a model's or data set's name as a file name: slashes and the like are underscores."""
    return re.sub(r"[^\w.+@-]", "_", name)


def parse_toml(raw: bytes) -> dict[str, Any]:
    """Parse TOML, with or without a byte order mark.

    Raises:
        ValueError: it is no TOML, or holds what nobody writes by hand.
    """
    is_utf_16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if is_utf_16 else "utf-8-sig")
        return tomllib.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("its tables are nested too deeply") from None
    except ValueError:  # Python's message suggests an interpreter setting
        raise ValueError("a number has thousands of digits") from None


def write_atomically(path: Path, chunks: Iterable[bytes], *, sync: bool = True) -> None:
    """Write a file atomically, so that no reader and no crash ever sees half of it.

    Args:
        path: of the file; its folder is made where it is missing.
        chunks: its content.
        sync: wait until it is on the disk; without, a power cut may lose what can be made again.

    Raises:
        WriteError: the folder cannot be written; the file is as it was.
    """
    unfinished = path.with_name(f"{path.name}.{threading.get_native_id()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in _leftovers(path.parent.resolve()).pop(path.name, ()):
            leftover.unlink(missing_ok=True)
        try:
            with unfinished.open("wb") as file:
                file.writelines(chunks)
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(path, error) from None


_LEFT_OVER_S: Final = 3600.0
"""Age from which an unfinished file is that of a process that was killed, here or elsewhere."""


@functools.cache
def _leftovers(folder: Path) -> dict[str, list[Path]]:
    """Return the unfinished files that killed processes left in a folder: name → files.

    A folder may have many files, so a process looks once.
    """
    files: dict[str, list[Path]] = {}
    for entry in os.scandir(folder):
        match = re.fullmatch(r"(.+)\.\d+\.tmp", entry.name)
        with suppress(FileNotFoundError):  # another process finishes it right now
            if match and time.time() - entry.stat().st_mtime > _LEFT_OVER_S:
                files.setdefault(match[1], []).append(Path(entry.path))
    return files


@contextmanager
def locked(path: Path, *, wait_s: float) -> Iterator[None]:
    """Hold a lock that one process has at a time; a killed process releases it.

    Args:
        path: of the lock's file; the file and its folder are made where they are missing.
        wait_s: longest wait for another process; below 0 there is no limit.

    Raises:
        TimeoutError: another process holds it.
        OSError: the folder cannot be written, or its file system has no locks.
    """
    import filelock  # noqa: PLC0415

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=wait_s)
    except NotImplementedError:
        raise OSError(errno.ENOLCK, "this file system has no locks") from None
    try:
        yield
    finally:
        lock.release()


_WAIT_S: Final = 10.0
"""Maximum wait for another writing process, in seconds."""


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open a database in write-ahead mode, and create it and its folder if needed.

    A killed process loses nothing that it has written. A power cut may lose the last writes, but
    never the file.

    Args:
        path: of the file.
        schema: statements that change nothing if it is there already.

    Raises:
        OSError: the folder cannot be written.
        sqlite3.Error: the file is no database, or cannot be opened.
    """
    # SQLite waits for other writers, but not while another process switches to write-ahead mode.
    with locked(path.with_name(f"{path.name}.lock"), wait_s=_WAIT_S):
        database = sqlite3.connect(path, timeout=_WAIT_S)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.executescript(schema)
        except BaseException:
            database.close()
            raise
    return database
