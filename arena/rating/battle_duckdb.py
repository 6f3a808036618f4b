"""Large JSONL battle files, read by DuckDB into the columns that the row loop would give.

DuckDB parses a file in a quarter of the time of Python objects. It is used for nothing but that:
values come out of it as JSON, and only the distinct ones are parsed here. Where it refuses a file,
or leaves something to doubt, the row loop reads the file and names the line.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.errors import DataError
from arena.json_text import parse_json
from arena.rating.battle_table import (
    OPTIONAL,
    REQUIRED,
    Column,
    hashable,
    is_query_text,
)

if TYPE_CHECKING:
    import duckdb

_MEMORY = "2GB"
"""DuckDB holds no more; a file that needs more is read by the row loop."""

_MOST_THREADS = 8
_COST = "cost_usd"

_FEW_VALUES = frozenset((*REQUIRED, *OPTIONAL, "source", "kind")) - {"query_id"}
"""Columns with few distinct values, which are cheapest to code together."""


class UniqueIds(Sequence[str]):
    """The ids of a log that arena wrote, known to differ; the file is read for them when needed."""

    def __init__(self, n_rows: int, read: Callable[[], list[str]]) -> None:
        self._n_rows, self._read = n_rows, read
        self._ids: list[str] | None = None

    def __len__(self) -> int:
        return self._n_rows

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._all()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def _all(self) -> list[str]:
        if self._ids is None:
            self._ids = self._read()
        return self._ids


@dataclass(frozen=True, slots=True)
class Parts:
    """What a file holds, as a `BattleTable` has it."""

    columns: dict[str, Column]
    ids: Sequence[Any]
    probs: Sequence[Any]
    costs: NDArray[np.float64] | None


class _DoubtError(Exception):
    """The row loop must read this file."""


def read_parts(
    path: Path, names: Sequence[str], first: Collection[str], *, own: bool
) -> Parts | None:
    """Read a file of UTF-8 with a JSON object on each line.

    A comma before a closing bracket is ignored, as DuckDB ignores it.

    Args:
        path: the file.
        names: the columns to code.
        first: the columns that the first line has.
        own: whether arena wrote the file; then every line must have an id.

    Returns:
        What the row loop would give; None where only the row loop can say what is in the file.
    """
    import duckdb  # noqa: PLC0415 - a tenth of a second, and only large files need it

    few = tuple(name for name in names if name in _FEW_VALUES and name in first)
    others = [(name,) for name in names if name not in (*few, _COST)]
    try:
        with _connected(path) as connection:
            _create_table(connection, path, [few, *others], own=own)
            parts = _coded(connection, path, [few, *others], own=own)
    except (duckdb.Error, ValueError, _DoubtError):
        return None
    columns = parts.columns
    kept = [n for n in names if n in columns and (n in REQUIRED or columns[n].distinct != (None,))]
    return replace(parts, columns={name: columns[name] for name in kept})


def _connected(path: Path) -> duckdb.DuckDBPyConnection:
    """Return a connection that can read this one file, write none, and load no extension."""
    import duckdb  # noqa: PLC0415

    connection = duckdb.connect(
        config={
            "threads": str(min(len(_processors()), _MOST_THREADS)),
            "memory_limit": _MEMORY,
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
        }
    )
    both = ", ".join(_text(each) for each in (str(path), glob.escape(str(path))))
    connection.execute(f"SET allowed_paths = [{both}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def _processors() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def _create_table(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    groups: Sequence[Sequence[str]],
    *,
    own: bool,
) -> None:
    """Read the file into the table t, a column g0, g1 ... for each group of columns."""
    selected = [f"{_joined(group)} AS g{i}" for i, group in enumerate(groups)]
    selected.append("probs::VARCHAR AS probs")
    types = dict.fromkeys([*(name for group in groups for name in group), "probs"], "JSON")
    if own:
        types |= {"id": "JSON", _COST: "DOUBLE"}
        # An id that is no string, or an empty one, is for the row loop to judge: it has no hash.
        selected.append("CASE WHEN id LIKE '\"_%\"' THEN hash(id) ELSE 0 END AS id")
        selected.append(f"coalesce({_COST}, 'nan'::DOUBLE) AS {_COST}")
    rows = _lines(path, types)
    connection.execute(f"CREATE TEMP TABLE t AS SELECT {', '.join(selected)} FROM {rows}")  # noqa: S608


def _coded(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    groups: Sequence[Sequence[str]],
    *,
    own: bool,
) -> Parts:
    """Return the table t as columns of codes.

    Raises:
        _DoubtError: only the row loop can say what is in the file.
    """
    counted = ", ".join(
        f"count({name})" for name in [*(f"g{i}" for i in range(len(groups))), "probs"]
    )
    *counts, n_probs = connection.execute(f"SELECT {counted} FROM t").fetchall()[0]  # noqa: S608
    filled = {f"g{i}": groups[i] for i, count in enumerate(counts) if count}
    for g in filled:
        values = f"SELECT DISTINCT coalesce({g}, 'null') FROM t"  # noqa: S608
        connection.execute(f"CREATE TYPE e{g} AS ENUM ({values})")
    selected = [f"enum_code(coalesce({g}, 'null')::e{g}) AS {g}" for g in filled]
    selected += ["id", _COST] if own else []
    query = f"SELECT {', '.join(selected)} FROM t"  # noqa: S608
    fetched: dict[str, Any] = connection.execute(query).fetchnumpy()
    columns: dict[str, Column] = {}
    for g, names in filled.items():
        fragments = connection.execute(f"SELECT unnest(enum_range(NULL::e{g}))").fetchall()
        columns |= _columns(names, fetched[g], [text for (text,) in fragments])
    if None in columns["model_a"].distinct:  # a line of null has no columns at all
        raise _DoubtError
    return Parts(
        columns,
        ids=_ids(path, fetched["id"]) if own else (),
        probs=_probs(connection) if n_probs else (),
        costs=fetched[_COST] if own and not np.isnan(fetched[_COST]).all() else None,
    )


def _columns(
    names: Sequence[str], codes: NDArray[np.unsignedinteger[Any]], fragments: Sequence[str]
) -> dict[str, Column]:
    """Take columns apart that were coded together.

    Args:
        names: of the columns.
        codes: (n_rows,), indices into ``fragments``.
        fragments: the JSON of the columns' values, a line for each.
    """
    first = np.empty(len(fragments), np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last to be assigned stays
    order = np.argsort(first)
    lines = zip(*(fragments[place].split("\n") for place in order.tolist()), strict=True)
    columns = {}
    for name, cells in zip(names, lines, strict=True):
        # Values that Python calls equal share a code, the first of them stands for all: as
        # with the row loop's dictionaries.
        place: dict[Any, int] = {}
        texts = list(dict.fromkeys(cells))
        values = _values(texts)
        if is_query_text(name):
            values = list(map(hashable, values))
        elif any(isinstance(value, list | dict) for value in values):
            raise _DoubtError
        of_text = {
            text: place.setdefault(value, len(place))
            for text, value in zip(texts, values, strict=True)
        }
        of_fragment = np.empty(len(fragments), np.int32)
        of_fragment[order] = [of_text[text] for text in cells]
        columns[name] = Column(of_fragment[codes], tuple(place))
    return columns


def _values(fragments: Sequence[str]) -> list[Any]:
    """Parse texts of JSON, all at once.

    Raises:
        _DoubtError: one of them is something that DuckDB alone takes for JSON, such as ``inf``.
    """
    try:
        values: list[Any] = parse_json(f"[{','.join(fragments)}]".encode()).value
    except orjson.JSONDecodeError:
        raise _DoubtError from None
    return values


def _probs(connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """Return what each row has under "probs"; nothing if no row has any."""
    rows = connection.execute("SELECT coalesce(probs, 'null') FROM t").fetchall()
    probs = _values([text for (text,) in rows])
    return probs if any(probs) else []


def _ids(path: Path, hashes: NDArray[np.uint64]) -> Sequence[str]:
    """Return the ids that have these hashes.

    Raises:
        _DoubtError: one has none.
    """
    n_rows, hashes = len(hashes), np.sort(hashes)
    if not hashes[0]:
        raise _DoubtError
    if (hashes[1:] == hashes[:-1]).any():
        return _read_ids(path, n_rows)
    return UniqueIds(n_rows, lambda: _read_ids(path, n_rows))


def _read_ids(path: Path, n_rows: int) -> list[str]:
    """Return the ids of the first rows: a log that is being written may have more by now."""
    import duckdb  # noqa: PLC0415

    try:
        with _connected(path) as connection:
            query = (
                f"SELECT coalesce(id, 'null') FROM {_lines(path, {'id': 'JSON'})} LIMIT {n_rows}"  # noqa: S608
            )
            ids = _values([text for (text,) in connection.execute(query).fetchall()])
    except (duckdb.Error, _DoubtError):
        ids = []
    if len(ids) < n_rows:
        raise DataError(path, None, "changed while arena read it", "run the command again")
    return ids


def _lines(path: Path, types: Mapping[str, str]) -> str:
    """Return SQL for the rows of a file, without patterns in the path.

    Args:
        path: the file.
        types: column → what DuckDB gives it as.
    """
    columns = ", ".join(f"{_name(name)}: '{kind}'" for name, kind in types.items())
    file = _text(glob.escape(str(path)))
    return (
        f"read_json({file}, format = 'newline_delimited', compression = 'none', "
        f"hive_partitioning = false, columns = {{{columns}}})"
    )


def _joined(names: Sequence[str]) -> str:
    """Return SQL for the JSON of some columns, a line for each."""
    if len(names) == 1:
        return f"{_name(names[0])}::VARCHAR"
    cells = (f"coalesce({_name(name)}::VARCHAR, 'null')" for name in names)
    return f"concat_ws(chr(10), {', '.join(cells)})"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
