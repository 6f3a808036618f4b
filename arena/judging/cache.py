"""Replies that were paid for, kept by the content of their request, for every experiment.

One SQLite file in write-ahead mode: several processes may use it at once, and a process that is
killed loses nothing that it had put there. It holds what judges wrote, not what was made of it,
so a better reader or another tie margin needs no new call.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson

from arena.errors import DataError
from arena.judging.reply import ChatReply, Token
from arena.records import Usage

_log = logging.getLogger(__name__)

_WAIT_S: Final = 10.0
"""Longest wait for another process that is writing."""
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS replies (request BLOB PRIMARY KEY, reply BLOB) WITHOUT ROWID"
)


class VerdictCache:
    """The replies in one folder; a context manager.

    Args:
        folder: of the cache; created where it is missing.

    Raises:
        DataError: the file in it is no such cache, or cannot be opened; the remedy is in the
            message.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "verdicts.sqlite"
        self._broken = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            # A killed process loses nothing; a power cut may lose the last replies, never the file.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            remedy = "delete it, or set ARENA_CACHE to another folder; it only saves calls"
            raise DataError(
                self.path, None, f"cannot be used as a cache of verdicts: {error}", remedy
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def get(self, request_key: str) -> ChatReply | None:
        """The reply to a request, or None; what is damaged counts as missing."""
        try:
            row = self._db.execute(
                "SELECT reply FROM replies WHERE request = ?", (bytes.fromhex(request_key),)
            ).fetchone()
        except sqlite3.Error as error:
            self._complain(error)
            return None
        return _reply(row[0]) if row else None

    def put(self, request_key: str, reply: ChatReply) -> None:
        """Keep a reply; a second one to the same request changes nothing.

        A cache that cannot be written costs calls, not verdicts: it is reported once.
        """
        value = orjson.dumps(
            {
                "text": reply.text.encode("utf-8", "replace").decode(),
                "tokens": [[token.text, token.alternatives] for token in reply.tokens],
                "finish": reply.finish,
                "usage": reply.usage,
            }
        )
        try:
            self._db.execute(
                "INSERT OR IGNORE INTO replies VALUES (?, ?)", (bytes.fromhex(request_key), value)
            )
        except sqlite3.Error as error:
            self._complain(error)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _complain(self, error: sqlite3.Error) -> None:
        if not self._broken:
            _log.warning("%s: %s; going on without it", self.path, error)
        self._broken = True


def _reply(raw: bytes) -> ChatReply | None:
    try:
        found = orjson.loads(raw)
        return ChatReply(
            text=found["text"],
            tokens=tuple(Token(text, others) for text, others in found["tokens"]),
            finish=found["finish"],
            usage=Usage(**found["usage"]),
        )
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
