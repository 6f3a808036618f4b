"""Cut many files into passages: from the cache if possible, else in parallel processes."""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Final, Self

from arena.data.documents.file_passages import Cut, cut_key, packed, unpacked
from arena.data.documents.file_text import UnreadableError
from arena.data.documents.files import READERS
from arena.data.documents.passage_cache import CutCache
from arena.data.documents.reader_commands import ReaderCommands
from arena.data.documents.reader_processes import Cutter
from arena.digest import digest
from arena.progress import Reporter, Stage

LARGEST: Final = 256 * 2**20
"""Bytes of a file above which it is no document that anyone reads."""

_AHEAD: Final = 32 * 2**20
"""Bytes of files that wait to be cut, at most, unless it is one file alone."""

_MOST_PROCESSES: Final = 8
_SILENT_S: Final = 1.0
"""Seconds before the first report of progress."""

_SHOWN_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class _Begun:
    """A file that is cut, or will be."""

    path: Path
    size: int  #: bytes that wait
    key: bytes
    done: Cut | Future[tuple[bytes, bool]]


def cut_all(
    paths: Sequence[Path], words: int, reporter: Reporter, commands: ReaderCommands
) -> Iterator[tuple[Path, Cut]]:
    """Yield each file with its passages, in order.

    The cache is addressed by the whole content of a file: arena reads each file, and cuts it again
    only if it changed. An unreadable file has a problem instead of passages.

    Args:
        paths: the files, of kinds that `arena.data.documents.files.READERS` names or a command
            reads.
        words: the most words of a passage.
        reporter: told how many files are done, if it takes long.
        commands: read some files in place of arena's own readers.

    Raises:
        UsageError: a package is not installed, or a command cannot be started.
    """
    progress = _Progress(reporter, len(paths))
    with CutCache() as cache, _Cutters(commands) as cutters, progress:
        waiting: deque[_Begun] = deque()
        size = 0
        for path in paths:
            begun = _begun(path, words, cache, cutters)
            progress.watch(begun.done)
            waiting.append(begun)
            size += begun.size
            while waiting and (size > _AHEAD or isinstance(waiting[0].done, Cut)):
                size -= waiting[0].size
                yield _finished(waiting.popleft(), cache, progress)
        for begun in waiting:
            yield _finished(begun, cache, progress)


def _begun(path: Path, words: int, cache: CutCache, cutters: _Cutters) -> _Begun:
    raw = _content(path)
    if isinstance(raw, Cut):
        return _Begun(path, 0, b"", raw)
    suffix = path.suffix.lower()
    command = cutters.commands.key(suffix, known=suffix in READERS)
    key = cut_key(raw, suffix, words) if command is None else digest(command, str(words), raw)
    if (known := cache.get(key)) is not None:
        return _Begun(path, 0, key, known)
    cut = cutters.cut if command is None else cutters.cut_by_command
    return _Begun(path, len(raw), key, cut(raw, suffix, words))


def _finished(begun: _Begun, cache: CutCache, progress: _Progress) -> tuple[Path, Cut]:
    if isinstance(begun.done, Cut):
        progress.show()
        return begun.path, begun.done
    while not wait([begun.done], timeout=_SHOWN_EVERY_S).done:
        progress.show()
    progress.show()
    raw, same_again = begun.done.result()
    if same_again:
        cache.put(begun.key, raw)
    return begun.path, unpacked(raw) or Cut(problem="cannot be read")


def _content(path: Path) -> bytes | Cut:
    """Return the bytes of a regular file, or the reason why they cannot be read."""
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123  a descriptor has no path
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                return Cut(problem="is no file")
            raw = b"" if status.st_size > LARGEST else file.read(LARGEST + 1)
    except OSError as error:
        return Cut(problem=f"cannot be read: {error.strerror}")
    if status.st_size > LARGEST or len(raw) > LARGEST:
        limit = f"{LARGEST // 2**20} MB"
        return Cut(problem=f"has more than {limit}; cut it into several files")
    return raw


class _Cutters:
    """Run as many processes as there are processors, started as they are needed."""

    def __init__(self, commands: ReaderCommands) -> None:
        number = min(_n_processors(), _MOST_PROCESSES)
        self.commands = commands
        self._threads = ThreadPoolExecutor(number)
        self._all = [Cutter() for _ in range(number)]
        self._idle: SimpleQueue[Cutter] = SimpleQueue()
        for cutter in self._all:
            self._idle.put(cutter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.commands.stop()
        for cutter in self._all:
            cutter.stop()
        self._threads.shutdown()
        for cutter in self._all:
            cutter.close()

    def cut(self, raw: bytes, suffix: str, words: int) -> Future[tuple[bytes, bool]]:
        """Start to cut a file."""
        return self._threads.submit(self._cut, raw, suffix, words)

    def cut_by_command(self, raw: bytes, suffix: str, words: int) -> Future[tuple[bytes, bool]]:
        """Start to cut what a command writes about a file."""
        return self._threads.submit(self._cut_by_command, raw, suffix, words)

    def _cut_by_command(self, raw: bytes, suffix: str, words: int) -> tuple[bytes, bool]:
        try:
            written = self.commands.text_of(raw, suffix)
        except UnreadableError as error:
            return packed(Cut(problem=str(error))), False  # another time it may succeed
        return self._cut(written, ".md", words)

    def _cut(self, raw: bytes, suffix: str, words: int) -> tuple[bytes, bool]:
        cutter = self._idle.get()
        try:
            return cutter.cut(raw, suffix, words)
        finally:
            self._idle.put(cutter)


class _Progress:
    """How many files are done, said once it takes long."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self._reporter = reporter
        self._total = total
        self._done = 0
        self._lock = Lock()
        self._began = time.monotonic()
        self._stack = ExitStack()
        self._stage: Stage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def watch(self, done: Cut | Future[tuple[bytes, bool]]) -> None:
        """Count a file when it is cut, in any order."""
        if isinstance(done, Cut):
            self._count()
        else:
            done.add_done_callback(lambda _: self._count())

    def _count(self) -> None:
        with self._lock:
            self._done += 1

    def show(self) -> None:
        """Report the progress."""
        if self._stage is None and time.monotonic() - self._began > _SILENT_S:
            stage = self._reporter.stage("files read", self._total)
            self._stage = self._stack.enter_context(stage)
        if self._stage is not None:
            self._stage.update(self._done)


def _n_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
