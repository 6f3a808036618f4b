"""Battle files of any make, read once into columns of integer codes.

JSONL (our own log, and the field's), CSV, TSV, Parquet and data frames all become a
`BattleTable`; what the columns mean is decided in `arena.rating.battles`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arena.data.csv_file import csv_records
from arena.data.lines import UNREADABLE, unreadable
from arena.errors import DataError, UsageError
from arena.rating.battle_jsonl import read_jsonl
from arena.rating.battle_table import (
    HINT,
    OPTIONAL,
    OWN,
    REQUIRED,
    BattleTable,
    Coder,
    Column,
    check_header,
    checked,
    coded_columns,
    hashable,
    is_query_text,
)

if TYPE_CHECKING:
    import pandas as pd

KNOWN = frozenset((*REQUIRED, *OPTIONAL))
"""The columns by which the separator of a CSV file is found."""

_CHUNK_ROWS = 1 << 14


def read_table(path: Path) -> BattleTable:
    """Read one battle file; its suffix says how, and ``.gz`` after it is no matter.

    Raises:
        DataError: the file is missing, empty, malformed or lacks a required column.
        UsageError: the suffix is not known, or pyarrow is needed and not installed.
    """
    readers: dict[str, Callable[[Path], BattleTable]] = {
        ".jsonl": read_jsonl,
        ".ndjson": read_jsonl,
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".parquet": _read_parquet,
    }
    reader = readers.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if not path.exists():
        raise DataError(path, None, "No such file or directory")
    if reader is None:
        raise UsageError(
            f"{path}: cannot tell what kind of file this is; "
            f"give an experiment folder or a file ending in {', '.join(readers)}"
        )
    try:
        return reader(path)
    except UNREADABLE as error:
        raise unreadable(path, None, error) from None


def table_from_frame(frame: pd.DataFrame, source: str = "DataFrame") -> BattleTable:
    """Read a data frame; "lines" in messages are row positions, from 0.

    Raises:
        DataError: no rows, or a required column is missing or holds unhashable values.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, and only data frames need it

    names = [str(name) for name in frame.columns]
    check_header(source, None, names)
    columns = {}
    for name in coded_columns(names):
        try:
            codes, values = pd.factorize(frame[name])
        except (TypeError, ValueError) as error:
            raise DataError(source, None, f"column {name!r}: {error}", HINT) from None
        distinct = (*np.asarray(values, dtype=object).tolist(), None)
        # pandas marks a missing cell with -1: here it is the last value, None.
        coded: NDArray[np.int32] = np.where(codes < 0, len(distinct) - 1, codes).astype(np.int32)
        columns[name] = Column(coded, distinct)
    ids = frame["id"].tolist() if OWN.issubset(names) else ()
    return checked(BattleTable(source, columns, line_of=int, ids=ids))


def _read_csv(path: Path) -> BattleTable:
    records = csv_records(path, KNOWN)
    line, header = next(records, (0, []))
    check_header(str(path), line, header)
    places = {name: header.index(name) for name in coded_columns(header)}
    coder, ids = Coder(places), list[str]()
    while rows := list(islice(records, _CHUNK_ROWS)):
        for name, place in places.items():
            coder.add(name, (row[place] or None for _, row in rows), len(rows))
        if OWN.issubset(header):
            ids += [row[header.index("id")] for _, row in rows]
    return checked(BattleTable(str(path), coder.columns(), partial(_csv_line, path), ids))


def _csv_line(path: Path, row: int) -> int:
    return next(islice(csv_records(path, KNOWN), row + 1, None), (0, []))[0]


def _read_parquet(path: Path) -> BattleTable:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            f'{path}: reading Parquet needs pyarrow; pip install "retrieval-arena[parquet]"'
        ) from None
    try:
        names = parquet.read_schema(path).names
        check_header(str(path), None, names)
        own = OWN.issubset(names)
        coded = coded_columns(names)
        table = parquet.read_table(path, columns=[*coded, *(["id"] if own else [])])
        columns = {name: _parquet_column(table.column(name), name) for name in coded}
        ids = table.column("id").to_pylist() if own else ()
    except (ArrowException, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())
        raise DataError(path, None, f"not readable as Parquet: {words}") from None
    return checked(BattleTable(str(path), columns, line_of=lambda row: row + 1, ids=ids))


def _parquet_column(column: Any, name: str) -> Column:
    """A column of Parquet, never by way of numbers that could round it.

    Args:
        column: a ``pyarrow.ChunkedArray``.
        name: what it is called.
    """
    if is_query_text(name):  # which may be a list of turns, or an object
        coder = Coder([name])
        coder.add(name, map(hashable, column.to_pylist()), len(column))
        return coder.columns().get(name) or Column(np.zeros(len(column), np.int32), (None,))
    chunks = column.dictionary_encode().unify_dictionaries().chunks
    values = chunks[0].dictionary.to_pylist() if chunks else []
    # A missing cell has no index: here it is the last value, None.
    codes = [
        chunk.indices.fill_null(len(values)).to_numpy(zero_copy_only=False) for chunk in chunks
    ]
    return Column(
        np.concatenate([*codes, np.zeros(0)]).astype(np.int32), (*map(_cell, values), None)
    )


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):  # words that were not declared as such
        return value.decode("utf-8")
    return None if isinstance(value, float) and math.isnan(value) else value
