"""A battle file as columns of integer codes, before anything is made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.errors import DataError

REQUIRED = ("model_a", "model_b", "winner")
OPTIONAL = ("dataset", "query_id", "judge", "order_swapped", "swapped")
OWN = frozenset({"id", "prompt", "source"})
"""A file with these columns is a log that arena wrote: its ids are unique by construction."""

OWN_OPTIONAL = ("source", "cost_usd")
"""Read in logs of ours alone: elsewhere these names may mean anything."""

HINT = "expected columns model_a, model_b, winner"


@dataclass(frozen=True, slots=True)
class Column:
    """One column, each distinct value held once."""

    codes: NDArray[np.int32]  #: (n_rows,), indices into distinct
    distinct: tuple[Any, ...]  #: as written in the file; None where the cell is missing


@dataclass(frozen=True, slots=True)
class BattleTable:
    """What a file says, before anything is made of it."""

    source: str  #: the file's path, for messages
    columns: dict[str, Column]  #: the required ones, and the optional ones that it has
    line_of: Callable[[int], int]  #: row, from 0 → its line in the file
    ids: Sequence[Any] = ()  #: per row, if arena itself wrote the file; else empty
    probs: Sequence[Any] = ()  #: per row, what a JSONL log has under "probs"; empty if nothing
    notes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """How many battles the file holds."""
        return int(self.columns["model_a"].codes.size)


class Coder:
    """Codes columns chunk by chunk: a value's code is its place among the values seen."""

    def __init__(self, names: Iterable[str]) -> None:
        self._indexes: dict[str, defaultdict[Any, int]] = {}
        self._codes: dict[str, list[NDArray[np.int32]]] = {}
        for name in names:
            index: defaultdict[Any, int] = defaultdict()
            index.default_factory = index.__len__
            self._indexes[name], self._codes[name] = index, []

    def add(self, name: str, cells: Iterable[Any] | None, count: int) -> None:
        """Code the next ``count`` cells of a column; None stands for cells that are missing."""
        index = self._indexes[name]
        if cells is None:
            codes = np.full(count, index[None], np.int32)
        else:
            codes = np.fromiter(map(index.__getitem__, cells), np.int32, count)
        self._codes[name].append(codes)

    def columns(self) -> dict[str, Column]:
        """The columns; an optional one without any value is none."""
        return {
            name: Column(np.concatenate(self._codes[name]), tuple(index))
            for name, index in self._indexes.items()
            if self._codes[name] and (name in REQUIRED or index.keys() != {None})
        }


def join_columns(parts: Sequence[tuple[Mapping[str, Column], int]]) -> dict[str, Column]:
    """Put the columns of (columns, number of rows) end to end; a missing one holds None."""
    if len(parts) == 1:
        return dict(parts[0][0])
    names = dict.fromkeys(name for columns, _ in parts for name in columns)
    joined = {}
    for name in names:
        place: dict[Any, int] = {}
        codes = []
        for columns, n_rows in parts:
            column = columns.get(name) or Column(np.zeros(n_rows, np.int32), (None,))
            places = [place.setdefault(value, len(place)) for value in column.distinct]
            codes.append(np.array(places, np.int32)[column.codes])
        joined[name] = Column(np.concatenate(codes), tuple(place))
    return joined


def coded_columns(names: Iterable[str]) -> tuple[str, ...]:
    """The columns, of those that a file has, that are read into codes."""
    present = set(names)
    own = OWN_OPTIONAL if present >= OWN else ()
    return tuple(name for name in (*REQUIRED, *OPTIONAL, *own) if name in present)


def check_header(source: str, line: int | None, names: Iterable[str]) -> None:
    """See that the required columns are there, once each.

    Raises:
        DataError: naming those that are missing or double.
    """
    present = list(names)
    missing = [name for name in REQUIRED if name not in present]
    if not present:
        raise DataError(source, None, "empty", HINT)
    if missing:
        what = "missing " + ", ".join(f'"{name}"' for name in missing)
        raise DataError(source, line, what, HINT)
    twice = [name for name in (*REQUIRED, *OPTIONAL) if present.count(name) > 1]
    if twice:
        raise DataError(source, line, f'two columns are called "{twice[0]}"', "rename one")


def checked(table: BattleTable) -> BattleTable:
    """The table, if it holds any battles.

    Raises:
        DataError: it holds none.
    """
    if "model_a" not in table.columns or not table.n_rows:
        raise DataError(table.source, None, "holds no battles", HINT)
    return table
