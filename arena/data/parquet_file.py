"""Read the rows of a Parquet file without holding a row group in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from arena.data.rows import Row
from arena.errors import DataError
from arena.optional import needed

_ROWS_AT_ONCE: Final = 1024
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
    arrow = needed("pyarrow", str(path))
    number = 0
    try:
        # Without a buffer ahead, memory holds a page of each column and not the row group.
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
            known = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=known, use_threads=False):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(path, number, fields)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"not readable as Parquet: {' '.join(str(error).split())}"
        raise DataError(path, number + 1, what, "fetch the file again") from None
