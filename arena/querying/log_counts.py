"""Count the queries of a log in a file on disk, and merge those that are spelt differently.

A log may have more distinct queries than memory. SQLite holds them in a temporary file; memory
holds the distinct words and the queries that are merged.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from arena.errors import WriteError
from arena.querying.spelling_variants import normal_form, respelt, spellings

_AT_ONCE: Final = 20_000
"""Rows that are counted in memory before they go to the file."""

_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -65536;
CREATE TABLE spelling (key TEXT, text TEXT, n INTEGER, PRIMARY KEY (key, text)) WITHOUT ROWID;
CREATE TABLE click (key TEXT, doc_id TEXT, n INTEGER, PRIMARY KEY (key, doc_id)) WITHOUT ROWID;
"""

_MERGE: Final = """
CREATE TABLE query AS SELECT key, SUM(n) AS n, key AS root FROM spelling GROUP BY key;
CREATE UNIQUE INDEX by_key ON query (key);
"""

_TOTALS: Final = """
CREATE TABLE total AS
    SELECT root, SUM(n) AS n, COUNT(*) AS forms FROM query GROUP BY root ORDER BY root;
CREATE INDEX by_root ON query (root);
CREATE INDEX by_n ON total (n DESC, root);
"""


class Counted(NamedTuple):
    """A query of a log, with all its spellings."""

    key: str  #: its normal form
    n_searches: int


class LogCounts:
    """The queries of a log, counted; a context manager whose file is gone afterwards.

    Raises:
        WriteError: the temporary file cannot be written, or the disk is full.
    """

    def __init__(self) -> None:
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._clicked: Counter[tuple[str, str]] = Counter()
        self._stack = ExitStack()
        self.n_spellings = 0  #: queries that were merged into another because of one word

    def __enter__(self) -> Self:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="arena-")))
        self._database = sqlite3.connect(self._folder / "log.sqlite", isolation_level=None)
        self._stack.callback(self._database.close)
        self._database.executescript(_SCHEMA)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        folder = self._folder
        self._stack.close()
        if isinstance(error, sqlite3.Error):
            raise WriteError(folder, OSError(0, str(error))) from None

    def add(self, text: str, n_searches: int, clicks: Sequence[str]) -> None:
        """Count a search."""
        key = normal_form(text)
        self._waiting[key, text] += n_searches
        for doc_id in clicks:
            self._clicked[key, doc_id] += n_searches
        if len(self._waiting) + len(self._clicked) >= _AT_ONCE:
            self._flush()

    def merge(self) -> None:
        """Merge each query into a more frequent one that differs in the spelling of one word."""
        self._flush()
        self._database.executescript(_MERGE)
        keys = (key for (key,) in self._rows("SELECT key FROM query"))
        near = spellings(word for key in keys for word in key.split(" "))
        merged: dict[str, str] = {}
        for key, n in self._rows("SELECT key, n FROM query ORDER BY n DESC, key"):
            others = [other for other in respelt(key, near) if other not in merged]
            ranks = [rank for rank in map(self._rank, others) if rank and rank < (-n, key)]
            if ranks:
                merged[key] = min(ranks)[1]
        self.n_spellings = len(merged)
        roots = ((root, key) for key, root in merged.items())
        self._database.execute("BEGIN")
        self._database.executemany("UPDATE query SET root = ? WHERE key = ?", roots)
        self._database.execute("COMMIT")
        self._database.executescript(_TOTALS)

    def totals(self) -> Iterator[Counted]:
        """Yield the merged queries, the most frequent first."""
        return map(Counted._make, self._rows("SELECT root, n FROM total ORDER BY n DESC, root"))

    def text(self, key: str) -> str:
        """Return the most frequent spelling of a query, as people typed it."""
        best = "SELECT text FROM spelling WHERE key = ? ORDER BY n DESC, text LIMIT 1"
        return str(next(self._rows(best, key))[0])

    def n_forms(self, key: str) -> int:
        """Return how many spellings were merged into a query, itself included."""
        return int(next(self._rows("SELECT forms FROM total WHERE root = ?", key))[0])

    def clicks(self, key: str) -> dict[str, int]:
        """Return doc_id → clicks after a query, most first."""
        rows = self._rows(
            "SELECT doc_id, SUM(click.n) AS clicks FROM click JOIN query USING (key) "
            "WHERE root = ? GROUP BY doc_id ORDER BY clicks DESC, doc_id",
            key,
        )
        return dict(rows)

    def _rank(self, key: str) -> tuple[int, str] | None:
        row = next(self._rows("SELECT n FROM query WHERE key = ?", key), None)
        return None if row is None else (-row[0], key)

    def _flush(self) -> None:
        added = "ON CONFLICT DO UPDATE SET n = n + excluded.n"
        self._database.execute("BEGIN")
        for table, counted in (("spelling", self._waiting), ("click", self._clicked)):
            rows = [(*pair, n) for pair, n in sorted(counted.items())]
            self._database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?) {added}", rows)  # noqa: S608
            counted.clear()
        self._database.execute("COMMIT")

    def _rows(self, statement: str, *values: str) -> Iterator[Any]:
        return iter(self._database.execute(statement, values))
