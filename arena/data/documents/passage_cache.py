"""Cache the passages of files, by the content of the file and the way it is cut.

One SQLite file in the cache's folder holds them. Several processes may use it at once, and a killed
process does not damage it. You may delete it; it only saves time.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Final, Self

from arena.data.documents.file_passages import Cut, unpacked
from arena.files import cache_folder, open_database

_log = logging.getLogger(__name__)
_EVERY_S: Final = 1.0
"""Seconds of work that a killed process may lose."""

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS cuts (key BLOB PRIMARY KEY, cut BLOB) WITHOUT ROWID"


class CutCache:
    """Cache what files were cut into, used as ``with CutCache() as cache:``.

    An unusable cache only costs time; arena warns once.
    """

    def __init__(self) -> None:
        self.path = cache_folder() / "passages.sqlite"
        self._database: sqlite3.Connection | None = None
        self._waiting: dict[bytes, bytes] = {}
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        try:
            self._database = open_database(self.path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()
        if self._database is not None:
            self._database.close()

    def get(self, key: bytes) -> Cut | None:
        """Return the stored cut; None if it is missing or damaged."""
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT cut FROM cuts WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return unpacked(row[0]) if row else None

    def put(self, key: bytes, cut: bytes) -> None:
        """Store a cut, written together with others of the same second."""
        self._waiting[key] = cut
        if time.monotonic() - self._written >= _EVERY_S:
            self._flush()

    def _flush(self) -> None:
        """Write what waits; a cache that cannot be written is given up, and the run goes on."""
        rows, self._waiting = list(self._waiting.items()), {}
        self._written = time.monotonic()
        if not rows or self._database is None:
            return
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO cuts VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        remedy = "arena reads the documents again; delete it, or set ARENA_CACHE to another folder"
        _log.warning("%s: cannot be used: %s; %s", self.path, error, remedy)
        if self._database is not None:
            self._database.close()
            self._database = None
