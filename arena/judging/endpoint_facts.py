"""Keep the facts about endpoints beside an experiment: no run pays to find them again.

One small JSON file is shared by all runs and shards of a folder. For each model at each endpoint,
by a hash, it has a table of facts for each subject. It holds nothing that the endpoint would not
teach again, so it may be deleted, and a damaged one counts as empty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from arena.errors import ArenaError
from arena.files import locked, write_atomically

_log = logging.getLogger(__name__)

_WAIT_S: Final = 5.0
"""Longest wait for another shard that writes."""

Facts = Mapping[str, Any]
"""What is known of one subject; anything that JSON can hold."""


class Learned:
    """The facts in one file.

    Args:
        path: of the file; it appears with the first fact. None keeps nothing.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._broken = False

    def facts(self, endpoint: str, subject: str) -> Facts:
        """Return what is known of an endpoint about a subject; empty if nothing is.

        Args:
            endpoint: a hash of the model and its endpoint.
            subject: what the facts are about, such as ``cost``.
        """
        return _part(_part(self._read(), endpoint), subject)

    def change(self, endpoint: str, subject: str, change: Callable[[Facts], Facts]) -> Facts:
        """Replace what is known about a subject by what ``change`` makes of it.

        The file is read again and locked meanwhile, so that nothing is lost that another shard
        found out. Where it cannot be written a run goes on, and the next one learns it again.

        Returns:
            What is known now.
        """
        if self._path is None:
            return change({})
        try:
            with locked(self._path.with_name(f".{self._path.name}.lock"), wait_s=_WAIT_S):
                known = self._read()
                mine = _part(known, endpoint)
                before = _part(mine, subject)
                if (facts := change(before)) != before:
                    tree = {**known, endpoint: {**mine, subject: dict(facts)}}
                    option = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
                    write_atomically(self._path, [orjson.dumps(tree, option=option)])
                return facts
        except (ArenaError, OSError) as error:
            self._warn_once(f"cannot be written: {error}")
            return change({})

    def _read(self) -> Facts:
        if self._path is None:
            return {}
        try:
            facts = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, orjson.JSONDecodeError) as error:
            self._warn_once(f"cannot be read: {error}")
            return {}
        return facts if isinstance(facts, dict) else {}

    def _warn_once(self, problem: str) -> None:
        if not self._broken:
            _log.warning("%s: %s; what it held is learned again", self._path, problem)
        self._broken = True


def _part(facts: Facts, name: str) -> Facts:
    found = facts.get(name)
    return found if isinstance(found, dict) else {}
