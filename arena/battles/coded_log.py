"""One log as integer codes and words: what its cells mean, by this log alone.

A log can be read and coded where it is. What several logs make together is decided in
`arena.battles.join`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.battles.coded_columns import (
    TIE,
    check_ids,
    merge,
    read_costs,
    read_identical,
    read_names,
    read_placed,
    read_probs,
    read_swapped,
    read_winners,
    read_words,
    refuse_self_battles,
)
from arena.battles.readers import read_table
from arena.battles.table import BattleTable, HexIds, UniqueIds, hex_ids
from arena.store.folder import Folder

NO_DATASET: Final = "all"
"""The data set of battles whose log names none."""

WORDS: Final = {
    "model_a": "model",
    "model_b": "model",
    "dataset": "dataset",
    "query_id": "query_id",
    "judge": "judge",
}
"""Column of codes → the list of words that it indexes."""


@dataclass(frozen=True, slots=True, eq=False)
class CodedLog:
    """The battles of one log, in the order of its lines, swapped back where swapped."""

    source: str  #: the file's path, for messages
    columns: Mapping[str, NDArray[Any]]
    """Of `arena.battles.load.Battles`, by its names, (n_battles, ...) each: those that the log has.
    Codes index into ``words``."""
    words: Mapping[str, tuple[str, ...]]  #: by `WORDS`; sorted, those that occur
    ids: Sequence[Any] = ()  #: of the battles, if arena wrote the log
    spellings: frozenset[str] = frozenset()  #: of models, before aliases
    n_swapped: int = 0  #: battles that showed model_b first
    tells_order: bool = True  #: whether it says whose list was shown first
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["winner"])

    def take(self, rows: NDArray[np.intp] | slice) -> CodedLog:
        """Return some of the battles, in this order."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        ids = self.ids
        if isinstance(ids, HexIds):
            ids = HexIds(*(key[rows] for key in ids.keys))
        return replace(self, columns=columns, ids=ids)


def read_log(path: Path, aliases: Mapping[str, str], *, with_ids: bool) -> CodedLog:
    """Read one battle file.

    Args:
        path: the file.
        aliases: spelling → model.
        with_ids: whether the ids of a log that arena wrote are needed, even where they are known to
            differ.

    Raises:
        DataError: the file is missing, empty or malformed, or a cell cannot be read.
        UsageError: the suffix is not known.
    """
    table = replace(read_table(path, with_ids=with_ids), kinds=judge_kinds(path.parent))
    return code_table(table, aliases, with_ids=with_ids)


def code_table(table: BattleTable, aliases: Mapping[str, str], *, with_ids: bool) -> CodedLog:
    """Return what the cells of a table mean.

    Raises:
        DataError: a cell cannot be read; names file and line.
    """
    swapped = read_swapped(table)
    first, second = (read_names(table, side, aliases) for side in ("model_a", "model_b"))
    winner = read_winners(table, first, second, aliases)
    both, models = merge([first, second])
    left, right = np.split(both, 2)
    dataset, datasets = merge([read_words(table, "dataset", NO_DATASET)])
    query_id, query_ids = merge([read_words(table, "query_id", "")])
    judge, judges = merge([read_words(table, "judge", "")])
    probs = read_probs(table)
    columns = {
        "model_a": np.where(swapped, right, left),
        "model_b": np.where(swapped, left, right),
        "winner": np.where(swapped & (winner != TIE), 1 - winner, winner),
        "dataset": dataset,
        "query_id": query_id,
        "judge": judge,
        "probs": None if probs is None else np.where(swapped[:, None], probs[:, [1, 0, 2]], probs),
        "cost_usd": read_costs(table),
        "identical": read_identical(table),
        "placed": read_placed(table),
    }
    check_ids(table)
    refuse_self_battles(table, left == right)
    return CodedLog(
        table.source,
        {name: column for name, column in columns.items() if column is not None},
        {"model": models, "dataset": datasets, "query_id": query_ids, "judge": judges},
        ids=_ids(table, with_ids=with_ids),
        spellings=frozenset(_spellings(table)),
        n_swapped=int(np.count_nonzero(swapped)),
        tells_order=bool(table.ids) or not {"order_swapped", "swapped"}.isdisjoint(table.columns),
        notes=table.notes,
    )


def judge_kinds(folder: Path) -> dict[str, str]:
    """Return judge → kind by the manifest of an experiment; empty without a manifest."""
    try:
        judges = orjson.loads(Folder(folder).manifest.read_bytes())["judges"]
        return {judge["name"]: judge["kind"] for judge in judges}
    except (OSError, ValueError, LookupError, TypeError):
        return {}  # the code that needs the manifest reports what is wrong


def _ids(table: BattleTable, *, with_ids: bool) -> Sequence[Any]:
    """Return the ids, as numbers where arena gave them all."""
    if isinstance(table.ids, UniqueIds) and not with_ids:
        return table.ids
    ids = table.ids.known if isinstance(table.ids, UniqueIds) else table.ids
    return hex_ids(ids) or ids if ids else ()


def _spellings(table: BattleTable) -> set[str]:
    return {
        value.strip()
        for side in ("model_a", "model_b")
        for value in table.columns[side].distinct
        if isinstance(value, str)
    }
