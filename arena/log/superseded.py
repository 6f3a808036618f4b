"""Battles that an experiment's present configuration would not play."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import orjson

from arena.files import write_atomically
from arena.log.append import LineFile
from arena.log.battle_log import lock_log, read_battles
from arena.log.lines import row
from arena.records import Battle

SUPERSEDED = "superseded.jsonl"


def set_aside(folder: Path, planned: Container[str]) -> int:
    """Move battles that are not planned out of the log, into superseded.jsonl beside it.

    They are written there before they leave the log: a crash in between leaves them in both,
    and the next run moves them again.

    Args:
        folder: the experiment's.
        planned: ids of the battles that stay.

    Returns:
        How many were moved.

    Raises:
        LogError: another process writes this log, or the folder cannot be written.
        DataError: a line of the log is damaged.
    """
    moved = 0
    with lock_log(folder, ""):
        for path in sorted(folder.glob("battles*.jsonl")):
            battles = list(read_battles(path))
            stale = [battle for battle in battles if battle.id not in planned]
            if not stale:
                continue
            aside = LineFile(folder / SUPERSEDED)
            for battle in stale:
                aside.append(_line(battle))
            aside.sync()
            aside.close()
            write_atomically(path, (_line(b) for b in battles if b.id in planned))
            moved += len(stale)
    return moved


def _line(battle: Battle) -> bytes:
    return orjson.dumps(row(battle), option=orjson.OPT_APPEND_NEWLINE)
