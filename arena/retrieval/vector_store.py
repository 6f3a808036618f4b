"""The files of the vector cache: one folder for each model's settings and role.

So a query and a document with the same words never share a vector. In a folder, two files only
ever grow: ``vectors.f32`` with raw float32 rows, and ``keys.bin`` with a record for each of them,
written after its row. A crash leaves at most a torn tail, which the next writer cuts; a row that
does not fit its checksum counts as missing, and is embedded again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.config import safe_filename
from arena.errors import ApiError, DataError
from arena.records import Role
from arena.retrieval.embed import Embedding

_log = logging.getLogger(__name__)

_KEY = np.dtype([("digest", "V16"), ("crc", "<u4"), ("latency_ms", "<f4"), ("tokens", "<f8")])
"""Of the text; of the row's bytes; NaN where not measured; its share of the request's tokens."""


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """The vectors of some texts, and what they took when they were embedded."""

    vectors: NDArray[np.float32]  #: (n_texts, dim), as the embedder gave them; read-only
    latency_ms: NDArray[np.float64]  #: (n_texts,), NaN for a text that was not embedded alone
    tokens: int | None  #: of the distinct texts; None where the model does not report them


def text_digest(text: str) -> bytes:
    """Sixteen bytes that stand for a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class VectorStore:
    """The vectors of one model in one role.

    Args:
        cache: the folder of the whole cache.
        settings: of the embedder; with the role they address the folder inside.
        role: what the texts are.
    """

    def __init__(self, cache: Path, settings: Mapping[str, object], role: Role) -> None:
        self.role: Role = role
        other = "document_" if role == "query" else "query_"
        own = {key: value for key, value in settings.items() if not key.startswith(other)}
        address = {"role": role, "settings": own}
        raw = orjson.dumps(address, option=orjson.OPT_SORT_KEYS)
        model = safe_filename(str(own.get("model", own.get("provider", "model"))))[-48:]
        name = f"{model}-{role}-{hashlib.blake2b(raw, digest_size=8).hexdigest()}"
        self._folder = cache / "vectors" / name
        self._address = orjson.loads(raw)
        self._rows_path = self._folder / "vectors.f32"
        self._keys_path = self._folder / "keys.bin"
        self._dimension = 0
        self._keys = np.empty(0, _KEY)
        self._rows = np.empty((0, 0), np.float32)
        self._index: dict[bytes, int] = {}
        self._stale = True

    def missing(self, wanted: Iterable[bytes]) -> list[bytes]:
        """The digests that have no row here, or none that fits its checksum."""
        self._load()
        return [digest for digest in wanted if not self._holds(digest)]

    def lookup(self, digests: Sequence[bytes]) -> StoredVectors:
        """The rows of texts that are all here, without a copy where they lie in this order."""
        if self._stale:
            self._load()
        rows = np.array([self._index[digest] for digest in digests], np.int64)
        n = len(rows)
        if n and (np.diff(rows) == 1).all():
            vectors = self._rows[rows[0] : rows[0] + n]
        else:
            vectors = np.empty((n, self._dimension), np.float32)
            if n:
                np.take(self._rows, rows, axis=0, out=vectors, mode="clip")
            vectors.flags.writeable = False
        latency_ms = self._keys["latency_ms"][rows].astype(float)
        tokens = float(self._keys["tokens"][np.unique(rows)].sum())
        return StoredVectors(
            vectors,
            latency_ms,
            None if np.isnan(tokens) else round(tokens),
        )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer; torn tails are cut first."""
        import filelock  # noqa: PLC0415

        self._folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self._folder / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            _log.warning("waiting for another process that embeds with %s", self._folder.name)
            lock.acquire()
        try:
            self._cut()
            yield
        finally:
            lock.release()

    def append(
        self, digests: Sequence[bytes], texts: Sequence[str], embedding: Embedding, *, alone: bool
    ) -> None:
        """Store a batch, for good when this returns."""
        vectors = np.ascontiguousarray(embedding.vectors, "<f4")
        shape = vectors.shape
        if len(shape) != 2 or shape[0] != len(texts) or not shape[1]:
            detail = f"vectors of shape {shape} for {len(texts)} texts"
            raise ApiError("garbage", f"{self._folder.name}: {detail}")
        if not np.isfinite(vectors).all():
            raise ApiError("garbage", f"{self._folder.name}: a vector holds NaN or an infinity")
        self._describe(vectors.shape[1])
        keys = np.empty(len(texts), _KEY)
        keys["digest"] = np.array(digests, "V16")
        keys["crc"] = [zlib.crc32(row) for row in vectors]
        keys["latency_ms"] = embedding.seconds * 1000 if alone else np.nan
        weights = np.array([len(text) + 1 for text in texts], float)
        known = embedding.tokens is not None
        keys["tokens"] = weights * (embedding.tokens or 0) / weights.sum() if known else np.nan
        _append(self._rows_path, vectors.tobytes())
        _append(self._keys_path, keys.tobytes())
        self._stale = True

    def _holds(self, digest: bytes) -> bool:
        row = self._index.get(digest)
        return row is not None and zlib.crc32(self._rows[row]) == self._keys["crc"][row]

    def _load(self) -> None:
        """Map what is complete; another process may be writing beyond it."""
        n = self._complete()
        if n:
            keys = np.fromfile(self._keys_path, _KEY, n)
            shape = (n, self._dimension)
            self._keys = keys
            self._rows = np.memmap(self._rows_path, "<f4", "r", shape=shape).view(np.ndarray)
            raw = np.ascontiguousarray(keys["digest"]).tobytes()
            self._index = {raw[16 * row : 16 * row + 16]: row for row in range(n)}
        self._stale = False

    def _complete(self) -> int:
        """How many rows have both their vector and their key on disk."""
        described = self._folder / "model.json"
        if not described.exists():
            if self._rows_path.exists():
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
        return min(_size(self._keys_path) // _KEY.itemsize, _size(self._rows_path) // row_bytes)

    def _describe(self, dimension: int) -> None:
        """Write down what the folder holds, with its first vectors.

        Raises:
            ApiError: the vectors are of another length than those from before.
        """
        if self._dimension not in (0, dimension):
            detail = f"{dimension} numbers in a vector, but {self._dimension} in those from before"
            remedy = f"if the model behind the endpoint has changed, delete {self._folder}"
            raise ApiError("garbage", f"{self._folder.name}: {detail}; {remedy}")
        if not self._dimension:
            self._dimension = dimension
            unfinished = self._folder / "model.json.tmp"
            unfinished.unlink(missing_ok=True)
            _append(unfinished, orjson.dumps({**self._address, "dimension": dimension}))
            unfinished.replace(self._folder / "model.json")

    def _cut(self) -> None:
        n = self._complete()
        for path, size in (
            (self._rows_path, n * 4 * self._dimension),
            (self._keys_path, n * _KEY.itemsize),
        ):
            if _size(path) > size:
                os.truncate(path, size)


def _append(path: Path, raw: bytes) -> None:
    with path.open("ab") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
