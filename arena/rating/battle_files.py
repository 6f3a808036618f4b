"""Battle files of any make, read once into columns of integer codes.

JSONL (our own log, and the field's), CSV, TSV, Parquet and data frames all become a
`BattleTable`; what the columns mean is decided in `arena.rating.battles`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from numpy.typing import NDArray

from arena.errors import DataError, UsageError
from arena.rating.battle_jsonl import read_jsonl
from arena.rating.battle_table import (
    HINT,
    OWN,
    BattleTable,
    Coder,
    Column,
    check_header,
    checked,
    coded_columns,
)

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 1 << 14
_LONGEST_CELL = (1 << 31) - 1


def read_table(path: Path) -> BattleTable:
    """Read one battle file; its suffix says how.

    Raises:
        DataError: the file is missing, empty, malformed or lacks a required column.
        UsageError: the suffix is not known, or pyarrow is needed and not installed.
    """
    readers: dict[str, Callable[[Path], BattleTable]] = {
        ".jsonl": read_jsonl,
        ".ndjson": read_jsonl,
        ".csv": partial(_read_csv, delimiter=","),
        ".tsv": partial(_read_csv, delimiter="\t"),
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if not path.exists():
        raise DataError(path, None, "No such file or directory")
    if reader is None:
        raise UsageError(
            f"{path}: cannot tell what kind of file this is; "
            f"give an experiment folder or a file ending in {', '.join(readers)}"
        )
    try:
        return reader(path)
    except OSError as error:
        raise DataError(path, None, error.strerror or str(error)) from None


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


def _read_csv(path: Path, *, delimiter: str) -> BattleTable:
    limit = csv.field_size_limit(_LONGEST_CELL)  # logs of the field carry whole conversations
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = _csv_records(path, file, delimiter)
            _, header = next(records, (0, []))
            check_header(str(path), 1, header)
            places = {name: header.index(name) for name in coded_columns(header)}
            coder, ids = Coder(places), []
            while rows := list(islice(records, _CHUNK_ROWS)):
                for name, place in places.items():
                    coder.add(name, (row[place] or None for _, row in rows), len(rows))
                if OWN.issubset(header):
                    ids += [row[header.index("id")] for _, row in rows]
    finally:
        csv.field_size_limit(limit)
    line_of = partial(_csv_line, path, delimiter)
    return checked(BattleTable(str(path), coder.columns(), line_of, ids))


def _csv_records(path: Path, file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of each record, the header first; every record is as wide as the header."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    width = None
    try:
        for cells in reader:
            if not cells:
                continue
            width = width or len(cells)
            if len(cells) != width:
                what = f"{len(cells)} cells where the header has {width}"
                raise DataError(path, reader.line_num, what, "quote cells that hold separators")
            yield reader.line_num, cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(path, reader.line_num + 1, f"not readable: {error}") from None


def _csv_line(path: Path, delimiter: str, row: int) -> int:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(islice(_csv_records(path, file, delimiter), row + 1, None), (0, []))[0]


def _read_parquet(path: Path) -> BattleTable:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            f'{path}: reading Parquet needs pyarrow; pip install "retrieval-arena[parquet]"'
        ) from None
    try:
        names = parquet.read_schema(path).names
        wanted = {*coded_columns(names), *OWN.intersection(names)}
        frame = parquet.read_table(path, columns=[n for n in names if n in wanted]).to_pandas()
    except ArrowException as error:
        raise DataError(path, None, f"not readable as Parquet: {error}") from None
    return table_from_frame(frame, str(path))
