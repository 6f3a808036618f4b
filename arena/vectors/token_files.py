"""Store the word weights or token vectors of texts: one SQLite file for each model and role.

A killed process loses at most the batch under way. Several processes may use a file at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from arena.digest import digest
from arena.errors import DataError
from arena.files import open_database
from arena.records import Role
from arena.vectors.cache_key import name_and_address

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS texts (
    text BLOB PRIMARY KEY, width INTEGER, vectors BLOB, seconds REAL, latency_ms REAL
) WITHOUT ROWID
"""
_AT_ONCE: Final = 500
"""Texts that one statement looks up."""


class TokenStore:
    """The vectors of one model in one role, used as ``with TokenStore(...) as store:``.

    Args:
        cache: the folder of the whole cache.
        settings: of the model; with the role they address the file.
        role: what the texts are.

    Raises:
        DataError: the file is no such store.
    """

    def __init__(self, cache: Path, settings: Mapping[str, object], role: Role) -> None:
        name, _ = name_and_address(settings, role)
        self.path = cache / "vectors" / f"{name}.sqlite"
        try:
            self._database = open_database(self.path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def missing(self, texts: Sequence[str]) -> list[int]:
        """Return the place of the first of each distinct text that is not stored."""
        keys = [key_of(text) for text in texts]
        known = {row[0] for row in self._rows("text", keys)}
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        return sorted(place for key, place in first.items() if key not in known)

    def put(
        self,
        texts: Sequence[str],
        vectors: Sequence[NDArray[np.float32]],
        seconds: float,
        *,
        alone: bool,
    ) -> None:
        """Store the vectors of some texts, for good when this returns.

        Args:
            texts: different ones.
            vectors: (n, width) of each.
            seconds: that encoding all of them took.
            alone: whether that is the latency of the one text.
        """
        rows = [
            (
                key_of(text),
                part.shape[1],
                np.ascontiguousarray(part, "<f4").tobytes(),
                seconds / len(texts),
                seconds * 1000 if alone else None,
            )
            for text, part in zip(texts, vectors, strict=True)
        ]
        try:
            with self._database:
                self._database.executemany(
                    "INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?, ?)", rows
                )
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the stored vectors of texts, in their order."""
        keys = [key_of(text) for text in texts]
        found = {
            key: np.frombuffer(raw, "<f4").reshape(-1, width)
            for key, width, raw in self._rows("text, width, vectors", keys)
        }
        return [found[key] for key in keys]

    def seconds(self, texts: Sequence[str]) -> float:
        """Return how long it took to encode all of these distinct texts."""
        return float(sum(row[0] for row in self._rows("seconds", map(key_of, texts))))

    def latency_ms(self, texts: Sequence[str]) -> list[float | None]:
        """Return how long each text took alone; None if it was not measured."""
        keys = [key_of(text) for text in texts]
        found = dict(self._rows("text, latency_ms", keys))
        return [found.get(key) for key in keys]

    def _rows(self, columns: str, keys: Any) -> Iterator[Any]:
        distinct = list(dict.fromkeys(keys))
        for first in range(0, len(distinct), _AT_ONCE):
            part = distinct[first : first + _AT_ONCE]
            marks = ",".join("?" * len(part))
            select = f"SELECT {columns} FROM texts WHERE text IN ({marks})"  # noqa: S608
            try:
                yield from self._database.execute(select, part)
            except sqlite3.Error as error:
                raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> DataError:
        remedy = "delete it, and its texts will be encoded again"
        return DataError(self.path, None, f"cannot be used as a store of vectors: {error}", remedy)


def key_of(text: str) -> bytes:
    """Return the key of a text."""
    return digest(text)
