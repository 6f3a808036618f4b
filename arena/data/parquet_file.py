"""Read the rows of Parquet and Arrow files without holding a row group in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from arena.data.rows import Row
from arena.errors import DataError
from arena.optional import needed

ROWS_AT_ONCE: Final = 1024
"""Rows that are Python's values at once."""

_BUFFER: Final = 1 << 16
"""Bytes that are read of a column at once."""


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file with those of some columns that it has.

    Raises:
        DataError: it is damaged, naming file and row.
        UsageError: pyarrow is not installed.
    """
    parquet = needed("pyarrow.parquet", str(path))

    def batches() -> Iterator[Any]:
        # Without a buffer ahead, memory holds a page of each column and not the row group.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            yield from file.iter_batches(ROWS_AT_ONCE, columns=present, use_threads=False)

    yield from rows_of_batches(path, batches(), form="Parquet", remedy="fetch the file again")


def rows_of_batches(path: Path, batches: Iterable[Any], *, form: str, remedy: str) -> Iterator[Row]:
    """Yield the rows of a file that pyarrow reads batch by batch.

    Args:
        path: of the file.
        batches: what pyarrow reads of it.
        form: of the file, such as ``Parquet``.
        remedy: what to do about a damaged file.

    Raises:
        DataError: it is damaged, naming file and row.
    """
    arrow = needed("pyarrow", str(path))
    number = 0
    try:
        for batch in batches:
            for fields in batch.to_pylist():
                number += 1
                yield Row(path, number, fields)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"not readable as {form}: {' '.join(str(error).split())}"
        raise DataError(path, number + 1, what, remedy) from None
