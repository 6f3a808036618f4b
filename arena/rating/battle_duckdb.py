"""Battle files as DuckDB reads them: JSON Lines and CSV where they are large, and all Parquet.

DuckDB parses a file in a quarter of the time of Python objects. It gives texts alone, and only the
distinct ones become values here. Where it refuses a large file, or leaves something to doubt, the
row loop reads the file and names the line.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.errors import DataError
from arena.json_text import parse_json
from arena.rating.battle_table import (
    REQUIRED,
    Column,
    hashable,
    is_query_text,
)

if TYPE_CHECKING:
    import duckdb

    from arena.data.csv_file import Layout

_MEMORY = "2GB"
"""DuckDB holds no more; a file that needs more is read by the row loop."""

_MOST_THREADS = 8
_COST = "cost_usd"
Packing = Literal["none", "gzip"]
"""How a file is compressed."""

_SAMPLED_PLACES = 64
_SAMPLED_BYTES = 1 << 15
"""From each of so many places of the file arena learns the values that its columns have."""

_MOST_LEARNED = 255
"""Values of a column with more are not learned; one byte codes this many."""


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


@dataclass(frozen=True, slots=True)
class _Source:
    """How DuckDB reads a file."""

    rows: str  #: SQL of its rows
    cells: Mapping[str, str]  #: column → SQL of its text, null where it is missing
    values: Callable[[duckdb.DuckDBPyConnection, str, Sequence[str]], list[Any]]
    """Gives the values that the texts of a column stand for."""
    odd: str = "false"  #: SQL of whether only the row loop can read a row
    ids: str = ""  #: SQL of the text of a battle's id; empty if arena did not write the file
    is_id: str = ""  #: SQL of whether it is one
    costs: str = ""  #: SQL of what a battle cost, where it is no column
    probs: str = ""  #: SQL of the text of the probabilities; empty if the file can have none


class _DoubtError(Exception):
    """The row loop must read this file."""


class _UnlearnedError(Exception):
    """A column has a value that the sample has not."""


def read_jsonl_parts(
    path: Path, packing: Packing, names: Sequence[str], *, own: bool
) -> Parts | None:
    """Read a file of UTF-8 with a JSON object on each line.

    A comma before a closing bracket is ignored, as DuckDB ignores it.

    Args:
        path: the file.
        packing: how it is compressed.
        names: the columns to code.
        own: whether arena wrote the file; then every line must have an id.

    Returns:
        What the row loop would give; None where only the row loop can say what is in the file.
    """
    coded = [name for name in names if name != _COST]
    types = dict.fromkeys([*coded, "probs"], "JSON")
    if own:
        types |= {"id": "JSON", _COST: "DOUBLE"}
    columns = ", ".join(f"{_name(name)}: '{kind}'" for name, kind in types.items())
    source = _Source(
        rows=f"read_json({_file(path)}, format = 'newline_delimited', hive_partitioning = false, "
        f"compression = '{packing}', columns = {{{columns}}})",
        cells={name: f"{_name(name)}::VARCHAR" for name in coded},
        values=lambda _, __, texts: _values(texts),
        ids="coalesce(id::VARCHAR, 'null')" if own else "",
        is_id="id LIKE '\"_%\"'",
        costs=f"coalesce({_COST}, 'nan'::DOUBLE)" if own else "",
        probs="probs::VARCHAR",
    )
    return _read_parts(path, source, _learned(path, coded) if packing == "none" else {})


def read_csv_parts(
    path: Path, packing: Packing, header: Sequence[str], names: Sequence[str], layout: Layout
) -> Parts | None:
    """Read a CSV file of UTF-8, as `read_jsonl_parts` reads JSON.

    Args:
        path: the file.
        packing: how it is compressed.
        header: the names of all its columns.
        names: the columns to code; with "id", if arena wrote the file.
        layout: where the header stands, and the separator.
    """
    # DuckDB ignores an empty cell too many. So there is a column more, which must stay missing, as
    # no other may: an empty cell is none of these.
    columns = ", ".join(f"k{place}: 'VARCHAR'" for place in range(len(header) + 1))
    own = f"k{header.index('id')}" if "id" in names else ""
    read = {len(header) - 1, *map(header.index, names)}
    source = _Source(
        rows=f"read_csv({_file(path)}, delim = {_text(layout.separator)}, skip = {layout.before}, "
        "header = true, auto_detect = false, quote = '\"', escape = '\"', strict_mode = true, "
        "null_padding = true, nullstr = '\x01', parallel = false, "
        f"hive_partitioning = false, compression = '{packing}', "
        f"columns = {{{columns}}})",
        cells={name: f"k{header.index(name)}" for name in names if name != "id"},
        values=lambda _, __, texts: [text or None for text in texts],
        odd=" OR ".join([f"k{len(header)} IS NOT NULL", *(f"k{place} IS NULL" for place in read)]),
        ids=own,
        is_id=f"{own} <> ''",
    )
    return _read_parts(path, source, {})


def _read_parts(path: Path, source: _Source, learned: Mapping[str, Sequence[str]]) -> Parts | None:
    import duckdb  # noqa: PLC0415 - a tenth of a second, and only large files need it

    try:
        try:
            return _read(path, source, learned)
        except _UnlearnedError:
            return _read(path, source, {})
    except (duckdb.Error, ValueError, _DoubtError):
        return None


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


def _learned(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the JSON of the values that columns have in a sample of the file.

    A cell that is missing has the value null. A column with many values, or with lists and objects,
    is left out.
    """
    rows: list[Any] = []
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for place in range(_SAMPLED_PLACES):
            file.seek(size * place // _SAMPLED_PLACES)
            # The first line and the last one are parts of lines, if the file is large.
            lines = file.read(_SAMPLED_BYTES).split(b"\n")[1:-1]
            with suppress(orjson.JSONDecodeError):
                rows += map(orjson.loads, filter(bytes.strip, lines))
    rows = [row for row in rows if isinstance(row, dict)]
    learned = {}
    for name in (*names, "probs"):
        values = [row.get(name) for row in rows]
        if any(isinstance(value, list | dict) for value in values):
            continue
        texts = {orjson.dumps(value).decode() for value in set(values)}
        if 0 < len(texts) <= _MOST_LEARNED:
            learned[name] = sorted(texts)
    if learned.get("probs") != ["null"]:
        learned.pop("probs", None)
    return learned


def _read(path: Path, source: _Source, learned: Mapping[str, Sequence[str]]) -> Parts:
    """Read a file whose columns have only the values learned.

    Raises:
        _UnlearnedError: one has another.
        _DoubtError: only the row loop can say what is in the file.
        duckdb.Error: DuckDB cannot read the file.
    """
    with _connected(path) as connection:
        _create_table(connection, source, learned)
        return _coded(connection, path, source, learned)


def _create_table(
    connection: duckdb.DuckDBPyConnection, source: _Source, learned: Mapping[str, Sequence[str]]
) -> None:
    """Read the file into the table t: for each column a code c0, c1 ... or a text r0, r1 ...

    A column of which one value was learned is not held; "odd" is where it has another.
    """
    selected, odd = [], [source.odd]
    for i, (name, cell) in enumerate(source.cells.items()):
        texts = [*map(_text, learned.get(name, ()))]
        known = f"coalesce({cell}, 'null')"
        if not texts:
            selected.append(f"{cell} AS r{i}")
        elif len(texts) == 1:
            odd.append(f"{known} <> {texts[0]}")
        else:
            connection.execute(f"CREATE TYPE e{i} AS ENUM ({', '.join(texts)})")
            selected.append(f"enum_code(try_cast({known} AS e{i})) AS c{i}")
    if source.probs and "probs" in learned:
        odd.append(f"coalesce({source.probs}, 'null') <> 'null'")
    elif source.probs:
        selected.append(f"{source.probs} AS probs")
    selected.append(f"{' OR '.join(odd)} AS odd")
    if source.ids:
        # An id that is no string, or an empty one, is for the row loop to judge: it has no hash.
        selected.append(f"CASE WHEN {source.is_id} THEN hash({source.ids}) ELSE 0 END AS id")
    selected += [f"{source.costs} AS costs"] if source.costs else []
    connection.execute(f"CREATE TEMP TABLE t AS SELECT {', '.join(selected)} FROM {source.rows}")  # noqa: S608


def _coded(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    source: _Source,
    learned: Mapping[str, Sequence[str]],
) -> Parts:
    """Return the table t as columns of codes.

    Raises:
        _UnlearnedError: a column has a value that was not learned.
        _DoubtError: only the row loop can say what is in the file.
    """
    names = [*source.cells]
    coded = [i for i, name in enumerate(names) if len(learned.get(name, ())) != 1]
    unlearned = " OR ".join(["odd", *(f"c{i} IS NULL" for i in coded if names[i] in learned)])
    if connection.execute(f"SELECT 1 FROM t WHERE {unlearned} LIMIT 1").fetchall():  # noqa: S608
        raise _UnlearnedError if learned else _DoubtError
    texts, selected = {name: [*each] for name, each in learned.items()}, ["odd"]
    for i in coded:
        code = f"c{i}"
        if names[i] not in learned:
            texts[names[i]] = known = _create_type(connection, i)
            code = f"coalesce(enum_code(r{i}::e{i})::INTEGER, {len(known)})" if known else "0"
        selected.append(f"{code} AS y{i}")
    selected += ["id"] if source.ids else []
    selected += ["costs"] if source.costs else []
    query = f"SELECT {', '.join(selected)} FROM t"  # noqa: S608
    fetched: dict[str, Any] = connection.execute(query).fetchnumpy()
    constant = np.zeros(len(fetched["odd"]), np.uint8)
    columns = {}
    for i, name in enumerate(names):
        values = [*source.values(connection, name, texts[name]), None]
        if values != [None] * len(values):
            columns[name] = _column(name, fetched.get(f"y{i}", constant), values)
    if not columns.keys() >= set(REQUIRED):
        raise _DoubtError
    if None in columns["model_a"].distinct:  # a line of JSON null has no columns at all
        raise _DoubtError
    costs = fetched.get("costs")
    return Parts(
        columns,
        ids=_ids(path, source, fetched["id"]) if source.ids else (),
        probs=_probs(connection) if source.probs and "probs" not in learned else (),
        costs=None if costs is None or np.isnan(costs).all() else costs,
    )


def _create_type(connection: duckdb.DuckDBPyConnection, place: int) -> list[str]:
    """Make the type e of the texts in a column r, and return them in the order of their codes."""
    texts = f"SELECT DISTINCT r{place} FROM t WHERE r{place} IS NOT NULL"  # noqa: S608
    if not connection.execute(f"SELECT count(r{place}) FROM t").fetchall()[0][0]:  # noqa: S608
        return []
    connection.execute(f"CREATE TYPE e{place} AS ENUM ({texts})")
    rows = connection.execute(f"SELECT unnest(enum_range(NULL::e{place}))").fetchall()
    return [text for (text,) in rows]


def _column(name: str, codes: NDArray[np.integer[Any]], values: Sequence[Any]) -> Column:
    """Return a column with its values in the order in which they first occur.

    Values that Python calls equal share a code, and the first of them stands for all, as with
    the dictionaries of the row loop.

    Args:
        name: of the column.
        codes: (n_rows,), indices into ``values``.
        values: as the file has them.

    Raises:
        _DoubtError: one is a list or an object.
    """
    first = np.full(len(values), len(codes), np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last to be assigned stays
    occurring = [place for place in np.argsort(first).tolist() if first[place] < len(codes)]
    cells = [values[place] for place in occurring]
    if is_query_text(name):
        cells = list(map(hashable, cells))
    elif any(isinstance(cell, list | dict) for cell in cells):
        raise _DoubtError
    index: dict[Any, int] = {}
    of_value = np.zeros(len(values), np.int32)
    of_value[occurring] = [index.setdefault(cell, len(index)) for cell in cells]
    return Column(of_value[codes], tuple(index))


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


def _ids(path: Path, source: _Source, hashes: NDArray[np.uint64]) -> Sequence[str]:
    """Return the ids that have these hashes.

    Raises:
        _DoubtError: one has none.
    """
    n_rows, hashes = len(hashes), np.sort(hashes)
    if not hashes[0]:
        raise _DoubtError
    if (hashes[1:] == hashes[:-1]).any():
        return _read_ids(path, source, n_rows)
    return UniqueIds(n_rows, lambda: _read_ids(path, source, n_rows))


def _read_ids(path: Path, source: _Source, n_rows: int) -> list[str]:
    """Return the ids of the first rows: a log that is being written may have more by now."""
    import duckdb  # noqa: PLC0415

    try:
        with _connected(path) as connection:
            query = f"SELECT {source.ids} FROM {source.rows} LIMIT {n_rows}"  # noqa: S608
            texts = [text for (text,) in connection.execute(query).fetchall()]
            ids = source.values(connection, "id", texts)
    except (duckdb.Error, _DoubtError):
        ids = []
    if len(ids) < n_rows:
        raise DataError(path, None, "changed while arena read it", "run the command again")
    return ids


def _file(path: Path) -> str:
    """Return a path as SQL without patterns."""
    return _text(glob.escape(str(path)))


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
