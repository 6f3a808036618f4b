"""Large JSONL battle files, read by DuckDB into the columns that the row loop would give.

DuckDB parses a file in a quarter of the time of Python objects. It is used for nothing but that:
values come out of it as JSON, and only the distinct ones are parsed here. Where it refuses a file,
or leaves something to doubt, the row loop reads the file and names the line.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

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

_MEMORY = "2GB"
"""DuckDB holds no more; a file that needs more is read by the row loop."""

_MOST_THREADS = 8
_COST = "cost_usd"

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


class _DoubtError(Exception):
    """The row loop must read this file."""


class _UnlearnedError(Exception):
    """A column has a value that the sample has not."""


def read_parts(path: Path, names: Sequence[str], *, own: bool) -> Parts | None:
    """Read a file of UTF-8 with a JSON object on each line.

    A comma before a closing bracket is ignored, as DuckDB ignores it.

    Args:
        path: the file.
        names: the columns to code.
        own: whether arena wrote the file; then every line must have an id.

    Returns:
        What the row loop would give; None where only the row loop can say what is in the file.
    """
    import duckdb  # noqa: PLC0415 - a tenth of a second, and only large files need it

    coded = [name for name in names if name != _COST]
    try:
        try:
            return _read(path, coded, _learned(path, coded), own=own)
        except _UnlearnedError:
            return _read(path, coded, {}, own=own)
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


def _read(
    path: Path, names: Sequence[str], learned: Mapping[str, Sequence[str]], *, own: bool
) -> Parts:
    """Read a file whose columns have only the values learned.

    Raises:
        _UnlearnedError: one has another.
        _DoubtError: only the row loop can say what is in the file.
        duckdb.Error: the file is no JSON.
    """
    with _connected(path) as connection:
        _create_table(connection, path, names, learned, own=own)
        return _coded(connection, path, names, learned, own=own)


def _create_table(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    names: Sequence[str],
    learned: Mapping[str, Sequence[str]],
    *,
    own: bool,
) -> None:
    """Read the file into the table t: for each column a code c0, c1 ... or a text r0, r1 ...

    A column of which one value was learned is not held; "odd" is where it has another.
    """
    selected, odd = [], ["false"]
    for i, name in enumerate((*names, "probs")):
        texts = [*map(_text, learned.get(name, ()))]
        cell = f"coalesce({_name(name)}::VARCHAR, 'null')"
        if not texts:
            selected.append(f"{cell} AS r{i}")
        elif len(texts) == 1:
            odd.append(f"{cell} <> {texts[0]}")
        else:
            connection.execute(f"CREATE TYPE e{i} AS ENUM ({', '.join(texts)})")
            selected.append(f"enum_code(try_cast({cell} AS e{i})) AS c{i}")
    selected.append(f"{' OR '.join(odd)} AS odd")
    types = dict.fromkeys([*names, "probs"], "JSON")
    if own:
        types |= {"id": "JSON", _COST: "DOUBLE"}
        # An id that is no string, or an empty one, is for the row loop to judge: it has no hash.
        selected.append("CASE WHEN id LIKE '\"_%\"' THEN hash(id) ELSE 0 END AS id")
        selected.append(f"coalesce({_COST}, 'nan'::DOUBLE) AS {_COST}")
    rows = f"SELECT {', '.join(selected)} FROM {_lines(path, types)}"  # noqa: S608
    connection.execute(f"CREATE TEMP TABLE t AS {rows}")


def _coded(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    names: Sequence[str],
    learned: Mapping[str, Sequence[str]],
    *,
    own: bool,
) -> Parts:
    """Return the table t as columns of codes.

    Raises:
        _UnlearnedError: a column has a value that was not learned.
        _DoubtError: only the row loop can say what is in the file.
    """
    coded = [i for i, name in enumerate(names) if len(learned.get(name, ())) != 1]
    unlearned = " OR ".join(["odd", *(f"c{i} IS NULL" for i in coded if names[i] in learned)])
    if connection.execute(f"SELECT 1 FROM t WHERE {unlearned} LIMIT 1").fetchall():  # noqa: S608
        raise _UnlearnedError
    texts, selected = dict(learned), ["id", _COST] if own else ["odd"]
    for i in coded:
        code = f"c{i}"
        if names[i] not in learned:
            connection.execute(f"CREATE TYPE e{i} AS ENUM (SELECT DISTINCT r{i} FROM t)")  # noqa: S608
            rows = connection.execute(f"SELECT unnest(enum_range(NULL::e{i}))").fetchall()
            texts[names[i]] = [text for (text,) in rows]
            code = f"enum_code(r{i}::e{i})"
        selected.append(f"{code} AS y{i}")
    query = f"SELECT {', '.join(selected)} FROM t"  # noqa: S608
    fetched: dict[str, Any] = connection.execute(query).fetchnumpy()
    constant = np.zeros(len(next(iter(fetched.values()))), np.uint8)
    columns = {
        name: _column(name, fetched.get(f"y{i}", constant), texts[name])
        for i, name in enumerate(names)
        if texts[name] != ["null"]
    }
    if not columns.keys() >= set(REQUIRED):
        raise _DoubtError
    if None in columns["model_a"].distinct:  # a line of null has no columns at all
        raise _DoubtError
    return Parts(
        columns,
        ids=_ids(path, fetched["id"]) if own else (),
        probs=[] if "probs" in learned else _probs(connection, len(names)),
        costs=fetched[_COST] if own and not np.isnan(fetched[_COST]).all() else None,
    )


def _column(name: str, codes: NDArray[np.integer[Any]], texts: Sequence[str]) -> Column:
    """Return a column with its values in the order in which they first occur.

    Values that Python calls equal share a code, and the first of them stands for all, as with
    the dictionaries of the row loop.

    Args:
        name: of the column.
        codes: (n_rows,), indices into ``texts``.
        texts: the JSON of values.
    """
    first = np.full(len(texts), len(codes), np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last to be assigned stays
    occurring = [place for place in np.argsort(first).tolist() if first[place] < len(codes)]
    values = _values([texts[place] for place in occurring])
    if is_query_text(name):
        values = list(map(hashable, values))
    elif any(isinstance(value, list | dict) for value in values):
        raise _DoubtError
    index: dict[Any, int] = {}
    of_text = np.zeros(len(texts), np.int32)
    of_text[occurring] = [index.setdefault(value, len(index)) for value in values]
    return Column(of_text[codes], tuple(index))


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


def _probs(connection: duckdb.DuckDBPyConnection, place: int) -> list[Any]:
    """Return what each row has under "probs", which is r``place``; nothing if no row has any."""
    rows = connection.execute(f"SELECT r{place} FROM t").fetchall()  # noqa: S608
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


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
