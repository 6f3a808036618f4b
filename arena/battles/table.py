"""A battle file as columns of integer codes, before anything is made of it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, overload

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.battles.extra_columns import changes_rows
from arena.battles.foreign_columns import is_nothing
from arena.data.queries import query_id_of
from arena.errors import DataError
from arena.records import Battle

REQUIRED = ("model_a", "model_b", "winner")
OPTIONAL = ("dataset", "query_id", "judge", "order_swapped", "swapped")
OWN_COLUMNS = frozenset(column.name for column in fields(Battle) if column.default is MISSING)
"""What every line of a log that arena wrote has: its ids are unique by construction.

Some of them would not do: others call columns ``id``, ``prompt`` and ``source``, too.
"""

PROBS = ("first", "second", "tie")
"""The parts of a judge's probabilities."""

OWN_OPTIONAL = ("source", "cost_usd", "kind")
"""Read in logs of ours alone: elsewhere these names may mean anything."""

HINT = "expected columns model_a, model_b, winner"

_QUERY_ID = re.compile(
    r"(query|question|prompt|topic|instruction|q)[\W_]*(id|uid|no|num|number|idx|index)"
    r"|(task|example)[\W_]*id|uid",
    re.IGNORECASE,
)
_QUERY_TEXT = re.compile(
    r"(user[\W_]*|0[\W_]+)?(query|question|prompt|instruction|topic)([\W_]*text)?", re.IGNORECASE
)
_HEX_ID = re.compile("[0-9a-f]{32}")
_HALF = 16
_MOST_NAMES = 20
"""Of the columns that an error lists."""


class OtherColumnsError(DataError):
    """A file lacks a required column, so its columns may have the names that others use."""


@dataclass(frozen=True, slots=True)
class CodedColumn:
    """One column, each distinct value held once."""

    codes: NDArray[np.integer[Any]]  #: (n_rows,), indices into distinct
    distinct: tuple[Any, ...]  #: as written in the file; None if the cell is missing


class UniqueIds(Sequence[str]):
    """The ids of a log that arena wrote, known to differ; the file is read for them when needed."""

    def __init__(self, n_rows: int, read: Callable[[], Sequence[str]]) -> None:
        self._n_rows, self._read = n_rows, read
        self._ids: Sequence[str] | None = None

    def __len__(self) -> int:
        return self._n_rows

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self.known[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    @property
    def known(self) -> Sequence[str]:
        """Return the ids as they were read: `HexIds` where they all are such."""
        if self._ids is None:
            self._ids = self._read()
        return self._ids


class HexIds(Sequence[str]):
    """Ids of 32 hexadecimal digits, as arena gives them, in 16 bytes each."""

    def __init__(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> None:
        self.keys = high, low
        """The numbers that each half of the digits writes, (n,) each."""

    def __len__(self) -> int:
        return len(self.keys[0])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        high, low = self.keys
        if isinstance(index, slice):
            return HexIds(high[index], low[index])
        return f"{high[index]:016x}{low[index]:016x}"

    def among(self, names: AbstractSet[Any]) -> set[str]:
        """Return those of the names that are ids of these."""
        wanted = [name for name in names if isinstance(name, str) and _HEX_ID.fullmatch(name)]
        first = np.array([int(name[:_HALF], 16) for name in wanted], np.uint64)
        return {self[row] for row in np.flatnonzero(np.isin(self.keys[0], first)).tolist()} & names


def hex_ids(ids: Sequence[Any]) -> HexIds | None:
    """Return ids as `HexIds`; None if one is something else."""
    if isinstance(ids, HexIds):
        return ids
    if not all(isinstance(name, str) and _HEX_ID.fullmatch(name) for name in ids):
        return None
    halves = np.frombuffer(bytes.fromhex("".join(ids)), ">u8").astype(np.uint64)
    return HexIds(halves[::2], halves[1::2])


@dataclass(frozen=True, slots=True)
class BattleTable:
    """What a file says, before anything is made of it."""

    source: str  #: the file's path, for messages
    columns: dict[str, CodedColumn]  #: the required ones, and the optional ones that it has
    line_of: Callable[[int], int]  #: row, from 0 → its line in the file
    ids: Sequence[Any] = ()  #: per row, if arena itself wrote the file; else empty
    probs: Sequence[Any] = ()  #: per row, what a JSONL log has under "probs"; empty if nothing
    known_probs: NDArray[np.float64] | None = None
    """(n_rows, 3) by `PROBS`, NaN if a row has none, if they are known to be numbers."""
    notes: tuple[str, ...] = ()
    costs: NDArray[np.float64] | None = None
    """What each battle cost in USD, NaN if not known, where it is no column of codes."""
    kinds: Mapping[str, str] = field(default_factory=dict)
    """Judge → kind, by the manifest beside a log of ours: logs of before do not say it."""

    @property
    def n_rows(self) -> int:
        """Return how many battles the file holds."""
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
        """Add the next ``count`` cells of a column as codes; None stands for missing cells."""
        index = self._indexes[name]
        if cells is None:
            codes = np.full(count, index[None], np.int32)
        else:
            codes = np.fromiter(map(index.__getitem__, cells), np.int32, count)
        self._codes[name].append(codes)

    def columns(self) -> dict[str, CodedColumn]:
        """Return the columns; an optional one without any value is none."""
        return {
            name: CodedColumn(np.concatenate(self._codes[name]), tuple(index))
            for name, index in self._indexes.items()
            if self._codes[name] and (name in REQUIRED or index.keys() != {None})
        }


def query_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return the columns that may tell queries apart, the best first: ids before texts."""
    candidates = [name for name in names if is_query_text(name) or _QUERY_ID.fullmatch(name)]

    def order(name: str) -> tuple[bool, ...]:
        # A uid may be that of the user, or of the row: it is used where nothing else tells.
        is_sure = re.match(r"task|example|uid", name, re.IGNORECASE) is None
        return name != "query_id", not is_sure, is_query_text(name)

    return tuple(sorted(candidates, key=order))


def is_query_text(name: str) -> bool:
    """Return whether a column of this name holds what was asked, rather than an id of it."""
    return _QUERY_TEXT.fullmatch(name) is not None


def coded_columns(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of a file's columns that are read into codes."""
    present = dict.fromkeys(names)
    own = present.keys() >= OWN_COLUMNS
    others = (*OPTIONAL, *OWN_OPTIONAL) if own else (*OPTIONAL, *query_columns(present))
    return tuple(dict.fromkeys(name for name in (*REQUIRED, *others) if name in present))


def check_header(source: str, line: int | None, names: Iterable[str]) -> None:
    """Check that the file has each required column exactly once.

    Raises:
        DataError: naming those that are missing or double, and those that there are.
    """
    present = list(names)
    missing = [name for name in REQUIRED if name not in present]
    if not present:
        raise DataError(source, None, "empty", HINT)
    if missing:
        what = "missing " + ", ".join(f'"{name}"' for name in missing)
        raise OtherColumnsError(source, line, f"{what}; the file has {listed(present)}", HINT)
    if not OWN_COLUMNS.issubset(present) and any(map(changes_rows, present)):
        raise OtherColumnsError(source, line, "a column may change what a row means", HINT)
    twice = [name for name in coded_columns(present) if present.count(name) > 1]
    if twice:
        raise DataError(source, line, f'two columns are called "{twice[0]}"', "rename one")


def checked_table(table: BattleTable) -> BattleTable:
    """Return the table if it holds battles, with the column that tells queries apart as query_id.

    A text that was asked is known by the hash of its words, as `query_id_of` has it.

    Rows without a verdict are left out, and a note counts them.

    Raises:
        DataError: it holds none.
    """
    if "model_a" not in table.columns or not table.n_rows:
        raise DataError(table.source, None, "holds no battles", HINT)
    table = _with_verdicts(table)
    candidates = query_columns(table.columns)
    filled = (name for name in candidates if not _is_empty(table.columns[name]))
    name = next(filled, "query_id")
    if name == "query_id":
        return table
    columns = {key: column for key, column in table.columns.items() if key not in candidates}
    column = table.columns[name]
    if is_query_text(name):
        column = replace(column, distinct=tuple(map(_asked, column.distinct)))
    note = f'{table.source}: queries are told apart by the column "{name}"'
    return replace(table, columns={**columns, "query_id": column}, notes=(*table.notes, note))


def _with_verdicts(table: BattleTable) -> BattleTable:
    """Return the rows in which a judge gave a verdict; in arena's own log each row must have one.

    Raises:
        DataError: no row has a verdict.
    """
    missing = np.zeros(table.n_rows, np.bool_)
    for code, value in enumerate(table.columns["winner"].distinct):
        if table.ids or not is_nothing(value):
            continue
        rows = table.columns["winner"].codes == code
        for name in ("model_a", "model_b"):
            column = table.columns[name]  # a model may be called "null", or have no name at all
            named = [bool(model) and model != value for model in column.distinct]
            rows &= np.array(named, np.bool_)[column.codes]
        missing |= rows
    if not missing.any():
        return table
    if missing.all():
        raise DataError(table.source, None, "no row has a verdict", "judge the battles first")
    kept = np.flatnonzero(~missing)
    counted = f"{table.n_rows - len(kept):,} of {table.n_rows:,} verdicts are missing"
    note = f"{table.source}: {counted} and are left out; an empty winner is not a tie"
    return replace(
        table,
        columns={name: replace(c, codes=c.codes[kept]) for name, c in table.columns.items()},
        line_of=lambda row: table.line_of(int(kept[row])),
        probs=[table.probs[row] for row in kept.tolist()] if table.probs else (),
        known_probs=None if table.known_probs is None else table.known_probs[kept],
        notes=(*table.notes, note),
    )


def hashable(cell: Any) -> Any:
    """Return the cell, or its JSON if it is a list or an object."""
    if isinstance(cell, list | dict):
        return orjson.dumps(cell, default=str, option=orjson.OPT_SORT_KEYS).decode()
    return cell


def _asked(text: Any) -> Any:
    words = isinstance(text, str) and len(text.split()) > 1
    return query_id_of(text) if words else text


def _is_empty(column: CodedColumn) -> bool:
    return all(value is None or not str(value).strip() for value in column.distinct)


def listed(names: Sequence[str]) -> str:
    """Return names for an error's one line; they may hold any text."""
    shown = [name if name.isprintable() and len(name) <= 40 else repr(name[:40]) for name in names]
    more = len(names) - _MOST_NAMES
    return ", ".join(shown[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
