"""Parquet files of battles: their columns, their rows, and how DuckDB codes them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from arena.battles.duckdb_reader import Source, connected, sql_file
from arena.errors import DataError

_FETCHED_ROWS: Final = 1 << 10


def parquet_source(path: Path, header: Sequence[str], names: Sequence[str]) -> Source:
    """Return how DuckDB reads a Parquet file, whose values never become numbers that round them.

    Args:
        path: the file.
        header: the names of all its columns.
        names: the columns to code; with "id", if arena wrote the file.

    Raises:
        DataError: the file is not readable.
    """
    place = {name: f"k{header.index(name)}" for name in names}
    rows = _parquet(path, header)
    query = f"SELECT {', '.join(f'typeof({k})' for k in place.values())} FROM {rows} LIMIT 1"  # noqa: S608
    types = dict(zip(names, next(_fetched(path, query), names), strict=True))
    # The text of a list would not tell whether a comma is in a word or between two.
    nested = {name for name, kind in types.items() if kind.endswith(("]", ")"))}
    cells = {
        name: f"to_json({k})::VARCHAR" if name in nested else f"{k}::VARCHAR"
        for name, k in place.items()
    }

    def values(name: str, texts: Sequence[str]) -> list[Any]:
        if types[name] == "VARCHAR":
            return list(texts)
        query = f"SELECT {cells[name]}, any_value({place[name]}) FROM {rows} GROUP BY 1"  # noqa: S608
        native = dict(_fetched(path, query))
        return [native[text] for text in texts]

    own = cells.pop("id", "")
    return Source(rows, cells, values, ids=own, is_id=f"{own} <> ''")


def parquet_header(path: Path) -> list[str]:
    """Return the names of the columns of a Parquet file.

    Raises:
        DataError: it is not readable.
    """
    query = f"SELECT name, num_children FROM parquet_schema({sql_file(path)})"  # noqa: S608
    names, n_inside = list[str](), 0
    for name, n_children in islice(_fetched(path, query), 1, None):
        if not n_inside:
            names.append(name)
        n_inside = max(n_inside - 1, 0) + (n_children or 0)
    return names


def parquet_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the cells of some columns of each row of a Parquet file.

    Raises:
        DataError: it is not readable.
    """
    header = parquet_header(path)
    places = ", ".join(f"k{header.index(name)}" for name in names)
    yield from _fetched(path, f"SELECT {places} FROM {_parquet(path, header)}")  # noqa: S608


def _parquet(path: Path, header: Sequence[str]) -> str:
    """Return SQL for a Parquet file, with its columns renamed to k0, k1 ..."""
    columns = ", ".join(f"k{place}" for place in range(len(header)))
    return f"read_parquet({sql_file(path)}, hive_partitioning = false) AS t({columns})"


def _fetched(path: Path, query: str) -> Iterator[tuple[Any, ...]]:
    import duckdb  # noqa: PLC0415

    try:
        with connected(path) as connection:
            cursor = connection.execute(query)
            while rows := cursor.fetchmany(_FETCHED_ROWS):
                yield from (tuple(map(_plain, row)) for row in rows)
    except duckdb.Error as error:
        words = " ".join(str(error).split())
        raise DataError(path, None, f"not readable as Parquet: {words}") from None
    except UnicodeDecodeError as error:
        raise DataError(path, None, f"not readable as Parquet: {error}") from None


def _plain(cell: Any) -> Any:
    if isinstance(cell, bytes):  # words that were not declared as such
        return cell.decode("utf-8")
    return None if isinstance(cell, float) and math.isnan(cell) else cell
