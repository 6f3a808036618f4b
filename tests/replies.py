"""The replies of a log, read as arena reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from arena.records import Reply
from arena.store.log_lines import parse_reply, reply_places


def read_replies(path: Path) -> Iterator[Reply]:
    """Yield everything that was paid for, in the order in which it came."""
    with path.open("rb") as file:
        for place in reply_places(path):
            file.seek(place.offset)
            yield parse_reply(file.readline(), path, None)
