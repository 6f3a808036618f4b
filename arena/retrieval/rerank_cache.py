"""Scores that were paid for, kept for every experiment: one SQLite file for all rerankers.

Each query's scores are on disk before the next are awaited, so a run that is killed goes on where
it was. Several processes may use the file at once.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import orjson

from arena.digest import digest
from arena.errors import DataError
from arena.files import open_database
from arena.retrieval.rerankers import Candidates, Reranker, Scores

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS scores (passage BLOB PRIMARY KEY, score REAL, tokens REAL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS times (request BLOB PRIMARY KEY, latency_ms REAL) WITHOUT ROWID;
"""


class Kept(NamedTuple):
    """A passage's score, and its share of the request's tokens, None if none are reported."""

    score: float
    tokens: float | None


class RerankCache:
    """The scores of one reranker; a context manager.

    The reranker's settings, the query and the passage address a score. For a reranker that looks at
    the whole list, all other passages do so, too.

    Args:
        folder: of the cache; created where it is missing.
        reranker: whose scores.

    Raises:
        DataError: the file in it is no such cache, or cannot be opened; the remedy is in the
            message.
    """

    def __init__(self, folder: Path, reranker: Reranker) -> None:
        self.path = folder / "rerank.sqlite"
        self._listwise = reranker.listwise
        self._settings = orjson.dumps(dict(reranker.settings), option=orjson.OPT_SORT_KEYS)
        try:
            self._db = open_database(self.path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._db.close()

    def get(self, candidates: Candidates) -> dict[str, Kept]:
        """Return the stored scores of a query's passages."""
        scores: dict[str, Kept] = {}
        for passage in candidates.passages:
            row = self._one(
                "SELECT score, tokens FROM scores WHERE passage = ?", candidates, passage
            )
            if row:
                scores[passage] = Kept(*row)
        return scores

    def missing(self, candidates: Candidates) -> Candidates:
        """Return the same query with the passages that have no stored score."""
        found = self.get(candidates)
        return Candidates(candidates.query, tuple(p for p in candidates.passages if p not in found))

    def latency_ms(self, candidates: Candidates) -> float | None:
        """Return how long it took to score just these passages, with no other request meanwhile."""
        row = self._one("SELECT latency_ms FROM times WHERE request = ?", candidates)
        return row[0] if row else None

    def put(self, candidates: Candidates, scores: Scores, *, part: Candidates, alone: bool) -> None:
        """Keep what a reranker said, for good when this returns.

        Args:
            candidates: all passages of the query.
            scores: of those that were not known yet.
            part: these.
            alone: whether nothing else was asked meanwhile.
        """
        lengths = [len(candidates.query) + len(passage) + 1 for passage in part.passages]
        shares = [
            None if scores.tokens is None else scores.tokens * length / sum(lengths)
            for length in lengths
        ]
        rows = [
            (self._key(candidates, passage), score, tokens)
            for passage, score, tokens in zip(part.passages, scores.scores, shares, strict=True)
        ]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)
                if alone and part == candidates:
                    time = (self._key(candidates), scores.latency_ms)
                    self._db.execute("INSERT OR REPLACE INTO times VALUES (?, ?)", time)
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _one(self, select: str, candidates: Candidates, *passage: str) -> Any:
        try:
            return self._db.execute(select, (self._key(candidates, *passage),)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _key(self, candidates: Candidates, *passage: str) -> bytes:
        """Return the key of a passage, or of the whole request if there is none."""
        beside = candidates.passages if self._listwise or not passage else ()
        return digest(self._settings, candidates.query, str(len(passage)), *passage, *beside)

    def _unusable(self, error: Exception) -> DataError:
        remedy = "delete it, or set ARENA_CACHE to another folder; it only saves calls"
        return DataError(self.path, None, f"cannot be used as a cache of scores: {error}", remedy)
