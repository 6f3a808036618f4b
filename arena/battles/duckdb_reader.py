"""Battle files as DuckDB reads them: JSON Lines and CSV where they are large, and Parquet.

DuckDB parses a file in a quarter of the time of Python objects. It gives texts alone, and only the
distinct ones become values here. Where it refuses a large file, or leaves something to doubt, the
row loop reads the file and names the line.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.battles.row_blocks import blocks
from arena.battles.table import (
    PROBS,
    REQUIRED,
    CodedColumn,
    HexIds,
    UniqueIds,
    hashable,
    is_query_text,
)
from arena.errors import DataError
from arena.json_text import parse_json

if TYPE_CHECKING:
    import duckdb

_MEMORY = "2GB"
"""DuckDB holds no more; what needs more is in a temporary file meanwhile."""

_MOST_THREADS = 8

_SAMPLED_PLACES = 64
_SAMPLED_BYTES = 1 << 15
"""arena learns the values of the columns from this many places of the file."""

_MOST_LEARNED = 255
"""Values of a column with more are not learned; one byte codes this many."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a file holds, as a `BattleTable` has it."""

    columns: dict[str, CodedColumn]
    ids: Sequence[Any]
    probs: NDArray[np.float64] | None
    costs: NDArray[np.float64] | None


Values: TypeAlias = Callable[["duckdb.DuckDBPyConnection", str, Sequence[str]], list[Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """How DuckDB reads a file."""

    rows: str  #: SQL of its rows
    cells: Mapping[str, str]  #: column → SQL of its text, null if it is missing
    values: Values  #: the values of texts of a column
    odd: str = "false"  #: SQL of whether only the row loop can read a row
    ids: str = ""  #: SQL of the text of a battle's id; empty if arena did not write the file
    is_id: str = ""  #: SQL of whether it is one
    with_ids: bool = False  #: whether the ids are needed, and not only whether they differ
    costs: str = ""  #: SQL of what a battle cost, where it is no column
    has_probs: bool = False  #: whether there is a column "probs", a STRUCT of `PROBS`


class _DoubtError(Exception):
    """The row loop must read this file."""


class _OtherIdsError(Exception):
    """An id is none that arena gives."""


class _UnlearnedError(Exception):
    """A column has a value that the sample has not."""


def read_parts(
    path: Path,
    source: Source,
    learned: Mapping[str, Sequence[str]] = MappingProxyType({}),
    connection: duckdb.DuckDBPyConnection | None = None,
) -> Parts | None:
    """Return what the row loop would give; None if only the row loop can read the file.

    Args:
        path: the file.
        source: how DuckDB reads it.
        learned: the values that columns should have, as `learn` gives them.
        connection: one that is `connected` to the file; a new one where it is None.
    """
    import duckdb  # noqa: PLC0415 - a tenth of a second, and only some files need it

    try:
        with connected(path) if connection is None else nullcontext(connection) as reader:
            while True:
                reader.begin()
                try:
                    return _read(reader, path, source, learned)
                except _UnlearnedError:
                    learned = {}
                except _OtherIdsError:
                    source = replace(source, with_ids=False)
                finally:  # else the connection would answer nothing more after an error
                    with suppress(duckdb.Error):
                        reader.rollback()
    except (duckdb.Error, ValueError, _DoubtError):
        return None


@contextmanager
def connected(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection that can read this one file and load no extension.

    It writes into a temporary folder of its own alone, what does not fit into its memory.
    """
    import duckdb  # noqa: PLC0415

    with ExitStack() as stack:
        folder = ""
        with suppress(OSError):  # where nothing can be written, memory has to do
            folder = stack.enter_context(TemporaryDirectory(prefix="arena-"))
        connection = stack.enter_context(
            duckdb.connect(
                config={
                    "threads": str(min(len(_processors()), _MOST_THREADS)),
                    "memory_limit": _MEMORY,
                    "temp_directory": folder,
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "allow_community_extensions": "false",
                }
            )
        )
        both = ", ".join(sql_text(each) for each in (str(path), glob.escape(str(path))))
        connection.execute(f"SET allowed_paths = [{both}]")
        connection.execute("SET enable_external_access = false")
        # Without a script, as in a worker of a cluster, it would draw a bar on stdout.
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def _processors() -> Sequence[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return range(os.cpu_count() or 1)


def learn(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
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


def _read(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    source: Source,
    learned: Mapping[str, Sequence[str]],
) -> Parts:
    """Read a file whose columns have only the values learned.

    Raises:
        _UnlearnedError: one has another.
        _OtherIdsError: an id is none that arena gives, where they are needed.
        _DoubtError: only the row loop can say what is in the file.
        duckdb.Error: DuckDB cannot read the file.
    """
    _create_table(connection, source, learned)
    return _coded(connection, path, source, learned)


def _create_table(
    connection: duckdb.DuckDBPyConnection, source: Source, learned: Mapping[str, Sequence[str]]
) -> None:
    """Read the file into the table t: for each column a code c0, c1 ... or a text r0, r1 ...

    A column of which one value was learned is not held; "odd" is where it has another.
    """
    selected, odd = [], [source.odd]
    for i, (name, cell) in enumerate(source.cells.items()):
        texts = [*map(sql_text, learned.get(name, ()))]
        text = f"coalesce({cell}, 'null')"
        if not texts:
            selected.append(f"{cell} AS r{i}")
        elif len(texts) == 1:
            odd.append(f"{text} <> {texts[0]}")
        else:
            connection.execute(f"CREATE TYPE e{i} AS ENUM ({', '.join(texts)})")
            selected.append(f"enum_code(try_cast({text} AS e{i})) AS c{i}")
    if source.has_probs and "probs" in learned:
        odd.append("probs IS NOT NULL")
    elif source.has_probs:
        cells = {name: f"probs.{sql_name(name)}" for name in PROBS}
        unknown = " OR ".join(f"{cell} IS NULL OR isnan({cell})" for cell in cells.values())
        odd.append(f"probs IS NOT NULL AND ({unknown})")
        selected += [f"coalesce({cell}, 'nan'::DOUBLE) AS {name}" for name, cell in cells.items()]
    selected.append(f"{' OR '.join(odd)} AS odd")
    selected += [f"{cell} AS {name}" for name, cell in _id_columns(source).items()]
    selected += [f"{source.costs} AS costs"] if source.costs else []
    connection.execute(f"CREATE TEMP TABLE t AS SELECT {', '.join(selected)} FROM {source.rows}")  # noqa: S608


def _coded(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    source: Source,
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
    selected += _id_columns(source)
    selected += ["costs"] if source.costs else []
    probs = PROBS if source.has_probs and "probs" not in learned else ()
    selected += map(sql_name, probs)
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
        ids=_ids(path, source, [fetched[name] for name in _id_columns(source)]),
        probs=_probs([fetched[name] for name in probs]),
        costs=None if costs is None or np.isnan(costs).all() else costs,
    )


def _create_type(connection: duckdb.DuckDBPyConnection, number: int) -> list[str]:
    """Make the type e of the texts in a column r, and return them in the order of their codes."""
    texts = f"SELECT DISTINCT r{number} FROM t WHERE r{number} IS NOT NULL"  # noqa: S608
    if not connection.execute(f"SELECT count(r{number}) FROM t").fetchall()[0][0]:  # noqa: S608
        return []
    connection.execute(f"CREATE TYPE e{number} AS ENUM ({texts})")
    rows = connection.execute(f"SELECT unnest(enum_range(NULL::e{number}))").fetchall()
    return [text for (text,) in rows]


def _column(name: str, codes: NDArray[np.integer[Any]], values: Sequence[Any]) -> CodedColumn:
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
    for block in reversed([*blocks(len(codes))]):
        rows = np.arange(block.start, block.stop)
        first[codes[block][::-1]] = rows[::-1]  # the last to be assigned stays
    occurring = [place for place in np.argsort(first).tolist() if first[place] < len(codes)]
    cells = [values[place] for place in occurring]
    if is_query_text(name):
        cells = list(map(hashable, cells))
    elif any(isinstance(cell, list | dict) for cell in cells):
        raise _DoubtError
    index: dict[Any, int] = {}
    of_value = np.zeros(len(values), np.min_scalar_type(-len(values)))
    of_value[occurring] = [index.setdefault(cell, len(index)) for cell in cells]
    return CodedColumn(of_value[codes], tuple(index))


def json_values(fragments: Sequence[str]) -> list[Any]:
    """Parse texts of JSON, all at once.

    Raises:
        _DoubtError: one of them is something that DuckDB alone takes for JSON, such as ``inf``.
    """
    try:
        values: list[Any] = parse_json(f"[{','.join(fragments)}]".encode()).value
    except orjson.JSONDecodeError:
        raise _DoubtError from None
    return values


def _probs(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64] | None:
    """Return the probabilities of each row, (n_rows, 3); None if no row has any."""
    if not columns or np.isnan(columns[0]).all():
        return None
    return np.column_stack(columns)


def _id_columns(source: Source) -> dict[str, str]:
    """Return name → SQL of what is read of an id: both halves as numbers, or its hash."""
    if source.ids and source.with_ids:
        return dict(zip(("high", "low"), _halves(source), strict=True))
    # An id that is no string, or an empty one, is for the row loop to judge: it has no hash.
    hashed = f"CASE WHEN {source.is_id} THEN hash({source.ids}) ELSE 0 END"
    return {"id": hashed} if source.ids else {}


def _halves(source: Source) -> Iterator[str]:
    """Yield SQL of the halves of an id as numbers; null if arena did not give it."""
    digits = f"regexp_extract({source.ids}, '^\"?([0-9a-f]{{32}})\"?$', 1)"
    for half in ("1:16", "17:32"):
        yield f"try_cast('0x' || {digits}[{half}] AS UBIGINT)"


def _ids(path: Path, source: Source, columns: Sequence[NDArray[np.uint64]]) -> Sequence[str]:
    """Return the ids of which these columns were read.

    Raises:
        _DoubtError: a battle has none.
        _OtherIdsError: one is none that arena gives, where they are needed.
    """
    if columns and source.with_ids:
        if np.ma.is_masked(columns[0]):
            raise _OtherIdsError
        return HexIds(*map(np.asarray, columns))
    if not columns:
        return ()
    n_rows, hashes = len(columns[0]), np.sort(columns[0])
    if not hashes[0]:
        raise _DoubtError
    if (hashes[1:] == hashes[:-1]).any():
        return _read_ids(path, source, n_rows)
    return UniqueIds(n_rows, lambda: _read_ids(path, source, n_rows))


def _read_ids(path: Path, source: Source, n_rows: int) -> Sequence[str]:
    """Return the ids of the first rows: a log that is being written may have more by now."""
    import duckdb  # noqa: PLC0415

    high, low = _halves(source)
    rows = f"FROM {source.rows} LIMIT {n_rows}"
    try:
        with connected(path) as connection:
            keys = [*connection.execute(f"SELECT {high}, {low} {rows}").fetchnumpy().values()]
            if not np.ma.is_masked(keys[0]):
                ids: Sequence[str] = HexIds(*map(np.asarray, keys))
            else:
                texts = connection.execute(f"SELECT {source.ids} {rows}").fetchall()
                ids = source.values(connection, "id", [text for (text,) in texts])
    except (duckdb.Error, _DoubtError):
        ids = []
    if len(ids) < n_rows:
        raise DataError(path, None, "changed while arena read it", "run the command again")
    return ids


def sql_file(path: Path) -> str:
    """Return a path as SQL without patterns."""
    return sql_text(glob.escape(str(path)))


def sql_name(name: str) -> str:
    """Return the name of a column as SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"
