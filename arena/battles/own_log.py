"""Logs that arena itself wrote, each read in one pass: every line is a whole `Battle`."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from arena.battles.table import BattleTable, Coder
from arena.data.rows import opened
from arena.records import Battle
from arena.store.log_lines import finished_lines, parsed_line

_CODED: Final = ("dataset", "query_id", "model_a", "model_b", "winner", "judge", "source", "kind")
_CHUNK_ROWS: Final = 1 << 14


def read_own_log(
    file: Path, taken: Callable[[Sequence[Battle]], None] | None = None
) -> BattleTable | None:
    """Return what ratings read in a log, as `arena.battles.readers` would.

    Args:
        file: the log.
        taken: called with the battles in log order, some thousand at a time.

    Returns:
        The table; None if no battle was judged yet.

    Raises:
        DataError: a line is no battle; names file and line.
    """
    coder, ids, costs = Coder(_CODED), list[str](), array("d")
    probs: list[dict[str, float] | None] = []
    lines = _BattleLines(file)
    battles = iter(lines)
    while chunk := list(islice(battles, _CHUNK_ROWS)):
        for name in _CODED:
            coder.add(name, (getattr(battle, name) for battle in chunk), len(chunk))
        ids += (battle.id for battle in chunk)
        probs += (None if battle.probs is None else asdict(battle.probs) for battle in chunk)
        costs.extend(battle.cost_usd for battle in chunk)
        if taken:
            taken(chunk)
    if not ids:
        return None
    return BattleTable(
        str(file),
        coder.columns(),
        line_of=partial(line_of_row, file),
        ids=ids,
        probs=probs if any(probs) else (),
        notes=(unfinished(file),) if lines.is_cut else (),
        costs=np.array(costs),
    )


class _BattleLines:
    """The battles in the lines of a log, and whether its last line is whole."""

    def __init__(self, file: Path) -> None:
        self.is_cut = False
        self._file = file

    def __iter__(self) -> Iterator[Battle]:
        end = 0
        for number, offset, line in finished_lines(self._file):
            end = offset + len(line)
            yield parsed_line(Battle, line, self._file, number)
        self.is_cut = end < self._file.stat().st_size and not _ends(self._file)


def _ends(file: Path) -> bool:
    """Return whether the last line of a log is whole."""
    with file.open("rb") as lines:
        lines.seek(-1, os.SEEK_END)
        return lines.read() == b"\n"


def unfinished(path: Path) -> str:
    """Return the note on a log whose last line was cut off."""
    return f"{path}: the last line is unfinished and was not read"


def line_of_row(path: Path, row: int) -> int:
    """Return the number of the line that holds a row of a JSONL file; blank lines are no rows."""
    with opened(path) as file:
        filled = (number for number, line in enumerate(file, 1) if not line.isspace())
        return next(islice(filled, row, None), 0)
