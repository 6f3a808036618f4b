"""Parquet files of battles: their columns, their rows, and how DuckDB codes them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arena.battles.duckdb_reader import Source, connected, sql_file
from arena.errors import DataError

if TYPE_CHECKING:
    import duckdb

_FETCHED_ROWS: Final = 1 << 10


class ParquetFile:
    """A Parquet file that DuckDB has open, from `opened_parquet`.

    Attributes:
        header: the names of its columns.
        connection: reads this file alone.
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._path = path
        self.connection = connection
        self.header = self._header()
        columns = ", ".join(f"k{place}" for place in range(len(self.header)))
        self._rows = f"read_parquet({sql_file(path)}, hive_partitioning = false) AS t({columns})"

    def rows(self, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the cells of some columns of each row.

        Raises:
            DataError: the file is not readable.
        """
        places = ", ".join(f"k{self.header.index(name)}" for name in names)
        return _fetched(self._path, self.connection, f"SELECT {places} FROM {self._rows}")  # noqa: S608

    def source(self, names: Sequence[str]) -> Source:
        """Return how DuckDB reads the file, whose values never become numbers that round them.

        Args:
            names: the columns to code; with "id", if arena wrote the file.

        Raises:
            DataError: the file is not readable.
        """
        reference = {name: f"k{self.header.index(name)}" for name in names}
        kinds = ", ".join(f"typeof({k})" for k in reference.values())
        query = f"SELECT {kinds} FROM {self._rows} LIMIT 1"  # noqa: S608
        types = dict(
            zip(names, next(_fetched(self._path, self.connection, query), names), strict=True)
        )
        # The text of a list would not tell whether a comma is in a word or between two.
        nested = {name for name, kind in types.items() if kind.endswith(("]", ")"))}
        cells = {
            name: f"to_json({k})::VARCHAR" if name in nested else f"{k}::VARCHAR"
            for name, k in reference.items()
        }

        id_cell = cells.get("id", "")

        def values(
            connection: duckdb.DuckDBPyConnection, name: str, texts: Sequence[str]
        ) -> list[Any]:
            if types[name] == "VARCHAR":
                return list(texts)
            query = (
                f"SELECT {cells[name]}, any_value({reference[name]}) FROM {self._rows} GROUP BY 1"  # noqa: S608
            )
            native = dict(_fetched(self._path, connection, query))
            return [native[text] for text in texts]

        coded = {name: cell for name, cell in cells.items() if name != "id"}
        return Source(self._rows, coded, values, ids=id_cell, is_id=f"{id_cell} <> ''")

    def _header(self) -> list[str]:
        query = f"SELECT name, num_children FROM parquet_schema({sql_file(self._path)})"  # noqa: S608
        names, n_inside = list[str](), 0
        for name, n_children in islice(_fetched(self._path, self.connection, query), 1, None):
            if not n_inside:
                names.append(name)
            n_inside = max(n_inside - 1, 0) + (n_children or 0)
        return names


@contextmanager
def opened_parquet(path: Path) -> Iterator[ParquetFile]:
    """Yield a file, open.

    Raises:
        DataError: it is not readable.
    """
    with connected(path) as connection:
        yield ParquetFile(path, connection)


def _fetched(
    path: Path, connection: duckdb.DuckDBPyConnection, query: str
) -> Iterator[tuple[Any, ...]]:
    import duckdb  # noqa: PLC0415

    try:
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
