"""Keep paid replies by the content of their request, for every experiment.

It is one SQLite file in write-ahead mode. Several processes may use it at once, and a killed
process loses nothing that it has written. The file holds the replies and not the verdicts, so a
better reader or another tie margin needs no new call.
"""

from __future__ import annotations

import functools
import logging
import sqlite3
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

import orjson
from pydantic import TypeAdapter, ValidationError

from arena.errors import DataError
from arena.files import open_database
from arena.judging.chat_reply import ChatReply, Token
from arena.records import Usage
from arena.store.folder import verdict_cache

_log = logging.getLogger(__name__)
_USAGE: Final = tuple(field.name for field in fields(Usage))
_SURE: Final = tuple(name for name in _USAGE if name != "estimated")
_GROUP: Final = 64
"""Replies that are written together, at most."""

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
        self.path = verdict_cache(folder)
        self._broken = False
        self._waiting: dict[bytes, bytes] = {}  #: request → reply, not written yet
        try:
            self._db = open_database(self.path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            remedy = "delete it, or set ARENA_CACHE to another folder; it only saves calls"
            raise DataError(
                self.path, None, f"cannot be used as a cache of verdicts: {error}", remedy
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def get(self, request_key: str) -> ChatReply | None:
        """Return the reply to a request, or None; a damaged one counts as missing."""
        if waiting := self._waiting.get(bytes.fromhex(request_key)):
            return _reply(waiting)
        try:
            row = self._db.execute(
                "SELECT reply FROM replies WHERE request = ?", (bytes.fromhex(request_key),)
            ).fetchone()
        except sqlite3.Error as error:
            self._complain(error)
            return None
        return _reply(row[0]) if row else None

    def put(self, request_key: str, reply: ChatReply, *, later: bool = False) -> None:
        """Keep a reply; a second one to the same request changes nothing.

        A cache that cannot be written costs calls, not verdicts: it is reported once.

        Args:
            request_key: of the request.
            reply: that was paid for.
            later: write it together with others, as a log of the caller's has it already.
        """
        value = orjson.dumps(
            {
                "text": reply.text.encode("utf-8", "replace").decode(),
                "tokens": [[token.text, token.alternatives] for token in reply.tokens],
                "finish": reply.finish,
                "usage": _usage(reply.usage),
            }
        )
        self._waiting[bytes.fromhex(request_key)] = value
        if not later or len(self._waiting) >= _GROUP:
            self.flush()

    def close(self) -> None:
        """Write waiting replies, and close the file."""
        self.flush()
        self._db.close()

    def flush(self) -> None:
        """Write waiting replies."""
        if not self._waiting:
            return
        rows, self._waiting = list(self._waiting.items()), {}
        try:
            with self._db:
                self._db.executemany("INSERT OR IGNORE INTO replies VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            self._complain(error)

    def _complain(self, error: sqlite3.Error) -> None:
        if not self._broken:
            _log.warning("%s: %s; going on without it", self.path, error)
        self._broken = True


def _usage(usage: Usage) -> dict[str, Any]:
    """Return a usage as stored; an estimate is marked, a reported figure is not."""
    kept = _USAGE if usage.estimated else _SURE
    return {name: getattr(usage, name) for name in kept}


def _reply(raw: object) -> ChatReply | None:
    """Return the reply in a row; None for anything else."""
    try:
        row = _row().validate_json(raw, strict=True)  # type: ignore[arg-type]
    except (ValidationError, TypeError):
        return None
    return ChatReply(
        text=row.text,
        tokens=tuple(Token(text, others) for text, others in row.tokens),
        finish=row.finish,
        usage=row.usage,
    )


@dataclass(frozen=True, slots=True)
class _CachedReply:
    """What is kept of a reply."""

    text: str
    tokens: tuple[tuple[str, dict[str, float]], ...]
    finish: str
    usage: Usage


@functools.cache
def _row() -> TypeAdapter[_CachedReply]:
    return TypeAdapter(_CachedReply)
