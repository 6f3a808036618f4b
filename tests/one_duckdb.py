"""One DuckDB connection for many small files: to connect takes longer than to read one of them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import duckdb
import pytest

from arena.battles import duckdb_reader, parquet


@functools.cache
def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": "1"})


@contextmanager
def one_duckdb() -> Iterator[None]:
    """Read all files of the block, or of the test below, by the same connection."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (duckdb_reader, parquet):
            patch.setattr(module, "connected", lambda _: nullcontext(_connection()))
        yield
