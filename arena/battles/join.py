"""Several coded logs as one sequence of battles: common words, one order, each battle once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from arena.battles import row_blocks
from arena.battles.coded_columns import Mask
from arena.battles.coded_log import WORDS, CodedLog
from arena.battles.order import IdOrder
from arena.battles.table import HexIds, UniqueIds

Columns = dict[str, NDArray[Any]]
"""By the names of `arena.battles.load.Battles`, one row a battle. "row" is that of the battle among
the rows of all logs, "high" and "low" are the halves of its id."""

_DEFAULTS: Final[dict[str, tuple[Any, type[np.generic]]]] = {
    "winner": (0, np.int8),
    "probs": (np.nan, np.float64),
    "cost_usd": (np.nan, np.float64),
    "identical": (False, np.bool_),
    "placed": (True, np.bool_),
}
"""Column → what a battle has in it whose log lacks the column, and the type."""

_WIDTH: Final = {"probs": (3,)}
"""Column → shape of what a battle has in it, where that is not a single value."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The battles of all logs, without those that repeat one or have one model on both sides."""

    columns: Columns
    words: dict[str, tuple[str, ...]]  #: by `WORDS`; sorted
    n_repeated: int
    n_same: int  #: battles of a model against itself
    is_by_id: bool  #: whether the battles are in the order of their ids


def join(logs: MutableSequence[CodedLog], *, with_rows: bool = False) -> Joined:
    """Put logs together, and empty the list meanwhile, so that no battle is held twice for long.

    Several logs that arena wrote are in the order of the battles' ids: no order of play joins the
    logs of shards. The order of the ids does not depend on when or where a shard was played, and is
    as good as random. Other logs are one after the other, as given.

    Args:
        logs: not empty. If there are several, those that arena wrote have all their ids.
        with_rows: whether to return the column "row".
    """
    is_by_id = len(logs) > 1 and all(log.ids for log in logs)
    by_number = is_by_id and all(isinstance(log.ids, HexIds) for log in logs)
    ids = [] if by_number else [log.ids for log in logs]
    sizes = [len(log) for log in logs]
    words = _Words(logs)
    result = _JoinedBattles(words, logs, with_rows=with_rows or (is_by_id and not by_number))
    columns = _emptied(logs, words, result.names, by_number=by_number)
    if by_number:
        for block in _ranges(columns, result.n_rows):
            result.add(block, IdOrder.of([HexIds(block.pop("high"), block.pop("low"))]))
    else:
        for block in columns:
            result.add(block)
    nothing = np.zeros(0, np.intp)
    result.close(*((nothing, nothing) if by_number else _same_ids(ids, sizes)))
    if is_by_id and not by_number:
        result.keep(_in_text_order(result.columns["row"], ids))
    return Joined(result.columns, words.lists, result.n_repeated, result.n_same, is_by_id)


class _Words:
    """The words of all logs, and the codes that they have in common."""

    def __init__(self, logs: Sequence[CodedLog]) -> None:
        self.lists = {
            name: tuple(sorted({word for log in logs for word in log.words[name]}))
            for name in dict.fromkeys(WORDS.values())
        }
        self.blank = 0 if "" in self.lists["query_id"] else -1  # it is the first of sorted words
        self._codes = {
            name: {word: code for code, word in enumerate(words)}
            for name, words in self.lists.items()
        }
        used = np.zeros((len(self.lists["dataset"]), len(self.lists["query_id"])), np.bool_)
        for log in logs:
            dataset, query_id = self.map("dataset", log), self.map("query_id", log)
            for block in row_blocks.blocks(len(log)):
                datasets = dataset[log.columns["dataset"][block]]
                used[datasets, query_id[log.columns["query_id"][block]]] = True
        if self.blank >= 0:
            used[:, self.blank] = False
        self._query = (np.cumsum(used, dtype=np.int32) - 1).reshape(used.shape)

    def kind(self, name: str) -> np.dtype[Any]:
        """Return the smallest type that holds the codes of a column."""
        return np.min_scalar_type(-max(len(self.lists[WORDS[name]]), 1))

    def map(self, name: str, log: CodedLog) -> NDArray[Any]:
        """Return the common code of each word of a log, by the log's own code."""
        codes = self._codes[WORDS[name]]
        return np.array([codes[word] for word in log.words[WORDS[name]]], self.kind(name))

    def queries(self, block: Columns, n_alone: int) -> NDArray[np.int32]:
        """Return the query of each battle, by data set and query_id.

        Args:
            block: the battles; those without query_id are a query each.
            n_alone: such battles of other blocks before.
        """
        query: NDArray[np.int32] = self._query[block["dataset"], block["query_id"]]
        if self.blank >= 0:
            alone = np.flatnonzero(block["query_id"] == self.blank)
            first = int(self._query[-1, -1]) + 1 + n_alone
            query[alone] = np.arange(first, first + len(alone))
        return query


def _emptied(
    logs: MutableSequence[CodedLog], words: _Words, names: Iterable[str], *, by_number: bool
) -> Iterator[Columns]:
    """Yield the columns of each log with the common codes, and leave no log behind."""
    start = 0
    while logs:
        log = logs.pop(0)
        columns: Columns = {}
        for name in names:
            if name in WORDS:
                columns[name] = words.map(name, log)[log.columns[name]]
            elif name == "row":
                columns[name] = np.arange(start, start + len(log))
            elif name in log.columns:
                columns[name] = log.columns[name]
            else:
                default, kind = _DEFAULTS[name]
                columns[name] = np.full((len(log), *_WIDTH.get(name, ())), default, kind)
        if by_number and isinstance(log.ids, HexIds):
            columns["high"], columns["low"] = log.ids.keys
        start += len(log)
        del log
        yield columns


def _ranges(logs: Iterable[Columns], n_rows: int) -> Iterator[Columns]:
    """Yield the battles of all logs by ranges of their ids, in their order; some may be empty."""
    n_ranges = -(-n_rows // row_blocks.BLOCK)
    bounds = np.array([(number << 64) // n_ranges for number in range(1, n_ranges)], np.uint64)
    parts: list[list[Columns]] = [[] for _ in range(n_ranges)]
    for columns in logs:
        range_of = np.searchsorted(bounds, columns["high"], "right").astype(np.uint16)
        order = np.argsort(range_of, kind="stable")
        ends = np.searchsorted(range_of[order], np.arange(n_ranges + 1))
        for number, range_parts in enumerate(parts):
            rows = order[ends[number] : ends[number + 1]]
            range_parts.append({name: column[rows] for name, column in columns.items()})
        columns.clear()
    parts.reverse()
    while parts:
        pieces = parts.pop()
        yield {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


class _JoinedBattles:
    """The columns of the battles of all logs."""

    def __init__(self, words: _Words, logs: Sequence[CodedLog], *, with_rows: bool) -> None:
        self.n_rows = sum(map(len, logs))
        self.n_repeated = self.n_same = 0
        self._n, self._n_alone, self._words = 0, 0, words
        kinds = {name: words.kind(name) for name in WORDS}
        for name, (_, kind) in _DEFAULTS.items():
            if any(name in log.columns for log in logs):
                kinds[name] = np.dtype(kind)
        if with_rows:
            kinds["row"] = np.dtype(np.intp)
        self.names = tuple(kinds)
        kinds["query"] = np.dtype(np.int32)
        self.columns: Columns = {
            name: np.empty((self.n_rows, *_WIDTH.get(name, ())), kind)
            for name, kind in kinds.items()
        }

    def add(self, block: Columns, order: IdOrder | None = None) -> None:
        """Add battles, in an order of their ids that leaves out those that repeat one."""
        block["query"] = self._words.queries(block, self._n_alone)
        if self._words.blank >= 0:
            self._n_alone += int(np.count_nonzero(block["query_id"] == self._words.blank))
        rows: NDArray[np.intp] | slice = slice(None)
        if order is not None:
            repeated = _are_repeated(block, *order.repeated())
            self.n_repeated += int(np.count_nonzero(repeated))
            rows = order.rows[~repeated[order.rows]]
        begin, self._n = self._n, self._n + len(block["winner"][rows])
        for name, column in self.columns.items():
            column[begin : self._n] = block[name][rows]

    def close(self, repeats: NDArray[np.intp], first: NDArray[np.intp]) -> None:
        """Remove what repeats a battle, and battles of a model against itself.

        Args:
            repeats: rows with the id of an earlier one.
            first: the first row of each of these ids.
        """
        self.columns = {name: column[: self._n] for name, column in self.columns.items()}
        repeated = _are_repeated(self.columns, repeats, first)
        self.n_repeated += int(np.count_nonzero(repeated))
        same: Mask = (self.columns["model_a"] == self.columns["model_b"]) & ~repeated
        self.n_same = int(np.count_nonzero(same))
        if self.n_same or repeated.any():
            self.keep(np.flatnonzero(~(repeated | same)))

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Keep these battles, in this order."""
        self.columns = {name: column[rows] for name, column in self.columns.items()}


def _are_repeated(columns: Columns, repeats: NDArray[np.intp], first: NDArray[np.intp]) -> Mask:
    """Return which rows are about the same as the first with their id.

    A row about something else is a battle of its own, in a log from any tool.
    """
    low, high = (side(columns["model_a"], columns["model_b"]) for side in (np.minimum, np.maximum))
    repeated = np.zeros(len(low), np.bool_)
    same = [codes[repeats] == codes[first] for codes in (columns["query"], low, high)]
    repeated[repeats] = np.logical_and.reduce(same)
    return repeated


def _in_text_order(rows: NDArray[np.intp], ids: Iterable[Iterable[Any]]) -> NDArray[np.intp]:
    """Return the places of rows in the order of their ids."""
    names = list(chain.from_iterable(ids))
    own = [names[row] for row in rows.tolist()]
    return np.array(sorted(range(len(own)), key=own.__getitem__), np.intp)


def _same_ids(
    ids: Sequence[Sequence[Any]], sizes: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of logs with the id of an earlier row, and the first row of that id.

    Args:
        ids: of the battles of each log; empty if arena did not write it.
        sizes: of the logs.
    """
    starts = np.cumsum([0, *sizes])
    plain = [number for number, each in enumerate(ids) if each and not isinstance(each, UniqueIds)]
    known = [each for number in plain if isinstance(each := ids[number], HexIds)]
    if plain and len(known) == len(plain):
        rows = np.concatenate([np.arange(starts[number], starts[number + 1]) for number in plain])
        again, first = IdOrder.of(known).repeated()
        return rows[again], rows[first]
    row_of: dict[Any, int] = {}
    repeats = [
        (row, before)
        for number in plain
        for row, battle_id in enumerate(ids[number], starts[number].item())
        if (before := row_of.setdefault(battle_id, row)) != row
    ]
    pairs = np.array(repeats, np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
