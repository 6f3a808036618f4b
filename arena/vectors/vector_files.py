"""Store vectors on disk: one folder for each model's settings and role.

A query and a document with the same words never share a vector. In a folder, two files only grow:
``vectors.f32`` with raw float32 rows, and ``keys.bin`` with a record for each row, written after
it. A crash leaves at most a torn tail, which the next writer cuts. A row that does not match its
checksum counts as missing, and is embedded again. ``pace.bin`` stores how long each batch took.

Rows are always float32, and indexes of fewer bits are made of them. You therefore pay once for one
model in four precisions.
"""

from __future__ import annotations

import logging
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import eq
from pathlib import Path
from typing import Self

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.embedding.embedder import Embedding
from arena.errors import ApiError, DataError, WriteError
from arena.files import locked, write_atomically
from arena.records import Role
from arena.vectors.cache_key import name_and_address
from arena.vectors.digests import DigestIndex, Digests, Rows, VectorRows

_log = logging.getLogger(__name__)
Append = Callable[[Digests, Embedding, NDArray[np.uint32], float | None], None]
"""Stores a batch: of which texts, their vectors, how long the texts are (for each one's share
of the tokens), and the milliseconds that it took if it is one text alone."""

_CHECKED = 2**16
"""Rows whose checksums are compared at a time."""


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """The vectors of some texts, and what they took when they were embedded."""

    vectors: NDArray[np.float32]  #: (n_texts, dim), as the embedder gave them; read-only
    latency_ms: NDArray[np.float64]  #: (n_texts,), NaN for a text that was not embedded alone
    tokens: int | None  #: of the distinct texts; None if the model does not report them


class VectorStore:
    """The vectors of one model in one role.

    Args:
        cache: the folder of the whole cache.
        settings: of the embedder; with the role they address the folder inside.
        role: what the texts are.
    """

    def __init__(self, cache: Path, settings: Mapping[str, object], role: Role) -> None:
        self.role: Role = role
        name, self._address = name_and_address(settings, role)
        self._folder = cache / "vectors" / name
        self._rows_path = self._folder / "vectors.f32"
        self._keys_path = self._folder / "keys.bin"
        self._pace_path = self._folder / "pace.bin"
        self._dimension = 0
        self._keys = np.empty(0, KEY)
        self._rows = np.empty((0, 0), np.float32)
        self._index = DigestIndex(self._keys["digest"])

    def find(self, digests: Digests) -> Rows:
        """Return the row of each text; -1 if there is none."""
        self._load()
        return self._index.find(digests)

    def find_sound(self, digests: Digests) -> Rows:
        """Return the row of each text; -1 if there is none, or none that matches its checksum."""
        rows = self.find(digests)
        for first in range(0, len(rows), _CHECKED):
            part = rows[first : first + _CHECKED]  # a view: what is set here is set in rows
            known = np.flatnonzero(part >= 0)
            crcs = self._keys["crc"][part[known]].tolist()
            found = (zlib.crc32(self._rows[row]) for row in part[known].tolist())
            sound = np.fromiter(map(eq, found, crcs), bool, len(known))
            part[known[~sound]] = -1
        return rows

    def lookup(self, digests: Digests) -> StoredVectors:
        """Return the vectors of stored texts, without a copy if they are in this order."""
        rows = self.find(digests)
        side_by_side = len(rows) and (np.diff(rows) == 1).all()
        vectors = self._rows[rows[0] : rows[-1] + 1] if side_by_side else self._rows[rows]
        vectors.flags.writeable = False
        latency_ms = self._keys["latency_ms"][rows].astype(float)
        return StoredVectors(vectors, latency_ms, self.tokens(np.unique(rows)))

    @property
    def dimension(self) -> int:
        """Return how many numbers each vector has; 0 before there is one."""
        return self._rows.shape[1]

    def rows(self, rows: Rows, dimension: int) -> VectorRows:
        """Return the first numbers of these rows' vectors, on the disk; rows ascend."""
        return VectorRows(self._rows[:, :dimension], rows)

    def tokens(self, rows: Rows) -> int | None:
        """Return the billed tokens of these rows' texts; None if the model does not report them."""
        tokens = float(self._keys["tokens"][rows].sum())
        return None if np.isnan(tokens) else round(tokens)

    def texts_per_s(self, rows: Rows) -> float | None:
        """Return how fast these rows were embedded, with retries and waits; None if not known."""
        return pace_of(self._pace_path, rows)

    @contextmanager
    def writing(self) -> Iterator[Append]:
        """Lock the folder, cut torn tails, and yield the function that stores a batch.

        Raises:
            ApiError: by the function, of vectors that cannot be those of this model.
            WriteError: there is no room.
        """
        with ExitStack() as stack:
            lock = self._folder / "lock"
            try:
                stack.enter_context(locked(lock, wait_s=0))
            except TimeoutError:
                _log.warning("waiting for another process that embeds with %s", self._folder.name)
                stack.enter_context(locked(lock, wait_s=-1))
            self._cut()
            with Growing(self._rows_path, self._keys_path, self._pace_path) as files:
                yield self._appender(files)

    def _appender(self, files: Growing) -> Append:
        began = time.perf_counter()
        n_rows = size_of(self._keys_path) // KEY.itemsize

        def append(
            digests: Digests,
            embedding: Embedding,
            lengths: NDArray[np.uint32],
            latency_ms: float | None,
        ) -> None:
            nonlocal began, n_rows
            vectors = checked_vectors(embedding, len(digests), self._folder.name)
            self._describe(vectors.shape[1])
            now = time.perf_counter()
            pace = np.array((n_rows, len(digests), now - began), PACE)
            keys = keys_of(digests, vectors)
            if latency_ms is not None:
                keys["latency_ms"] = latency_ms
            if embedding.tokens is not None:
                weights = lengths + 1.0
                keys["tokens"] = weights * (embedding.tokens / weights.sum())
            files.append(vectors.tobytes(), keys.tobytes(), pace.tobytes())
            began, n_rows = now, n_rows + len(digests)

        return append

    def _load(self) -> None:
        """Map the complete rows, if there are more than before; another process may be writing."""
        n = self._complete()
        if n != len(self._keys):
            shape = (n, self._dimension)
            self._keys = np.memmap(self._keys_path, KEY, "r", shape=(n,)).view(np.ndarray)
            self._rows = np.memmap(self._rows_path, "<f4", "r", shape=shape).view(np.ndarray)
            self._index = DigestIndex(self._keys["digest"])

    def _complete(self) -> int:
        """Return how many rows have both their vector and their key on disk."""
        described = self._folder / "model.json"
        if not described.exists():
            if size_of(self._rows_path):
                remedy = f"delete {self._folder}, and its texts will be embedded again"
                raise DataError(described, None, "missing beside vectors.f32", remedy)
            return 0
        try:
            found = orjson.loads(described.read_bytes())
            address = {"role": found["role"], "settings": found["settings"]}
            self._dimension = int(found["dimension"])
        except (OSError, TypeError, KeyError, ValueError):
            address = {}
        if address != self._address or self._dimension < 1:
            remedy = f"delete {self._folder}, and its texts will be embedded again"
            raise DataError(described, None, "describes another model", remedy)
        row_bytes = 4 * self._dimension
        return min(size_of(self._keys_path) // KEY.itemsize, size_of(self._rows_path) // row_bytes)

    def _describe(self, dimension: int) -> None:
        """Write the description of the folder, with its first vectors.

        Raises:
            ApiError: the vectors are of another length than those from before.
        """
        if self._dimension not in (0, dimension):
            detail = f"{dimension} numbers in a vector, but {self._dimension} in those from before"
            remedy = f"if the model behind the endpoint has changed, delete {self._folder}"
            raise ApiError("garbage", f"{self._folder.name}: {detail}; {remedy}")
        if not self._dimension:
            self._dimension = dimension
            description = orjson.dumps({**self._address, "dimension": dimension})
            write_atomically(self._folder / "model.json", [description])

    def _cut(self) -> None:
        n = self._complete()
        for path, size in (
            (self._rows_path, n * 4 * self._dimension),
            (self._keys_path, n * KEY.itemsize),
            (self._pace_path, size_of(self._pace_path) // PACE.itemsize * PACE.itemsize),
        ):
            if size_of(path) > size:
                os.truncate(path, size)


KEY = np.dtype([("digest", "<u8", (2,)), ("crc", "<u4"), ("latency_ms", "<f4"), ("tokens", "<f8")])
"""Of the text; of the row's bytes; NaN if not measured; its share of the request's tokens."""

PACE = np.dtype([("first", "<u8"), ("rows", "<u8"), ("seconds", "<f8")])
"""Of each batch: where its rows begin, how many there are, and seconds since the one before."""

_SYNC_S = 1.0
"""Seconds between two times that the disk is told to keep what was written."""


def checked_vectors(embedding: Embedding, n_texts: int, model: str) -> NDArray[np.float32]:
    """Return the vectors of a batch, as they are stored.

    Raises:
        ApiError: they are not one finite vector for each text.
    """
    vectors = np.ascontiguousarray(embedding.vectors, "<f4")
    if vectors.ndim != 2 or len(vectors) != n_texts or not vectors.shape[1]:
        detail = f"vectors of shape {vectors.shape} for {n_texts} texts"
        raise ApiError("garbage", f"{model}: {detail}")
    if not np.isfinite(vectors).all():
        raise ApiError("garbage", f"{model}: a vector holds NaN or an infinity")
    return vectors


def keys_of(digests: Digests, vectors: NDArray[np.float32]) -> NDArray[np.void]:
    """Return the records of a batch, before its latency and tokens are known."""
    keys = np.empty(len(digests), KEY)
    keys["digest"] = digests
    keys["crc"] = [zlib.crc32(row) for row in vectors]
    keys["latency_ms"] = keys["tokens"] = np.nan
    return keys


def pace_of(path: Path, rows: NDArray[np.int64]) -> float | None:
    """Return the rows a second of the batches that hold these rows; None if not known."""
    n_batches = size_of(path) // PACE.itemsize
    if not n_batches:
        return None
    pace = np.fromfile(path, PACE, n_batches)[::-1]
    firsts, places = np.unique(pace["first"], return_index=True)  # if written again, the last
    pace = pace[places]
    batch = np.searchsorted(firsts, rows.astype(np.uint64), "right") - 1
    known = rows < (pace["first"] + pace["rows"])[batch].astype(np.int64)
    own = pace[np.unique(batch[known & (batch >= 0)])]
    seconds = float(own["seconds"].sum())
    return float(own["rows"].sum()) / seconds if seconds > 0 else None


class Growing:
    """Files that only grow, used as ``with Growing(first, second) as files:``.

    Appended data survives the end of the process. A failure of the machine costs at most the last
    second: a thread of its own flushes to the disk, so that nothing waits.

    Raises:
        WriteError: a file cannot be written.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._stack = ExitStack()
        self._sync: Future[None] | None = None
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        self._files = [
            self._stack.enter_context(path.open("ab", buffering=0)) for path in self._paths
        ]
        self._thread = self._stack.enter_context(ThreadPoolExecutor(1))
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._stack:
            if kind is None or not issubclass(kind, WriteError):
                self._sync_all()

    def append(self, *parts: bytes) -> None:
        """Append to each file, to the first one first."""
        for path, file, raw in zip(self._paths, self._files, parts, strict=True):
            left = memoryview(raw)
            try:
                while left:
                    left = left[file.write(left) :]
            except OSError as error:
                raise WriteError(path, error) from None
        if time.monotonic() - self._synced > _SYNC_S and (self._sync is None or self._sync.done()):
            self._synced = time.monotonic()
            if self._sync:
                self._sync.result()
            self._sync = self._thread.submit(self._sync_all)

    def _sync_all(self) -> None:
        for path, file in zip(self._paths, self._files, strict=True):
            try:
                os.fsync(file.fileno())
            except OSError as error:
                raise WriteError(path, error) from None


def size_of(path: Path) -> int:
    """Return the bytes in a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0
