"""Battle files from any tool, read once into columns of integer codes.

JSONL (our own log, and the field's), CSV, TSV, Parquet and data frames all become a
`BattleTable`; what the columns mean is decided in `arena.battles.load`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, islice, repeat, takewhile
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.battles.duckdb_reader import learn, read_parts
from arena.battles.large_files import (
    csv_source,
    has_long_line,
    has_trailing_comma,
    is_ended,
    jsonl_source,
    packing_of,
)
from arena.battles.own_log import line_of_row, unfinished
from arena.battles.parquet import opened_parquet
from arena.battles.rows import (
    begins_as_array,
    kind_of,
    read_json_file,
    read_rows,
    rows_of_frame,
    table_of_rows,
)
from arena.battles.table import (
    HINT,
    OPTIONAL,
    OWN_COLUMNS,
    OWN_OPTIONAL,
    REQUIRED,
    BattleTable,
    CodedColumn,
    Coder,
    OtherColumnsError,
    check_header,
    checked_table,
    coded_columns,
    hashable,
    is_query_text,
    query_columns,
)
from arena.data.csv_file import csv_records
from arena.data.rows import (
    LONGEST_LINE,
    UNREADABLE,
    file_lines,
    opened,
    unreadable,
)
from arena.errors import DataError, UsageError
from arena.json_text import parse_json

if TYPE_CHECKING:
    import pandas as pd

KNOWN = frozenset((*REQUIRED, *OPTIONAL))
"""The columns by which the separator of a CSV file is found."""

_CHUNK_ROWS = 1 << 14


def read_table(path: Path, *, with_ids: bool = False) -> BattleTable:
    """Read one battle file, as `kind_of` tells how.

    Args:
        path: the file.
        with_ids: whether the ids of a log that arena wrote are needed: then one pass reads them.

    Raises:
        DataError: the file is missing, empty, malformed or lacks a required column.
        UsageError: neither the suffix nor the content tells the kind.
    """
    jsonl, csv = (partial(read, with_ids=with_ids) for read in (read_jsonl, _read_csv))
    readers: dict[str, Callable[[Path], BattleTable]] = {
        ".jsonl": jsonl,
        ".ndjson": jsonl,
        ".json": read_json_file,
        ".csv": csv,
        ".tsv": csv,
        ".parquet": _read_parquet,
    }
    if not path.exists():
        raise DataError(path, None, "No such file or directory")
    if not path.is_file():
        what = "not a regular file, and arena reads a log more than once"
        raise DataError(path, None, what, "write the battles to a file first")
    try:
        kind = kind_of(path)
        if kind not in readers:
            raise UsageError(
                f"{path}: cannot tell what kind of file this is; "
                f"give an experiment folder or a file ending in {', '.join(readers)}"
            )
        if readers[kind] is jsonl and begins_as_array(path):
            return read_json_file(path)
        return readers[kind](path)
    except OtherColumnsError as error:
        return _read_other(path, error)
    except UNREADABLE as error:
        raise unreadable(path, None, error) from None
    except MemoryError:
        what = "takes more memory than this process may have"
        raise DataError(path, None, what, "write the battles as JSON Lines or Parquet") from None


def _read_other(path: Path, header: OtherColumnsError) -> BattleTable:
    """Read a file whose columns have other names than arena's."""
    try:
        return read_rows(path, KNOWN, header)
    except UNREADABLE as error:
        raise unreadable(path, None, error) from None


def table_from_frame(frame: pd.DataFrame, source: str = "DataFrame") -> BattleTable:
    """Read a data frame; "lines" in messages are row positions, from 0.

    Raises:
        DataError: no rows, or a required column is missing or holds unhashable values.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, and only data frames need it

    names = [str(name) for name in frame.columns]
    try:
        check_header(source, None, names)
    except OtherColumnsError as error:
        return table_of_rows(source, rows_of_frame(frame), header=error)
    columns = {}
    for name in coded_columns(names):
        try:
            codes, values = pd.factorize(frame[name])
        except (TypeError, ValueError) as error:
            raise DataError(source, None, f"column {name!r}: {error}", HINT) from None
        distinct = (*np.asarray(values, dtype=object).tolist(), None)
        # pandas marks a missing cell with -1: here it is the last value, None.
        coded: NDArray[np.int32] = np.where(codes < 0, len(distinct) - 1, codes).astype(np.int32)
        columns[name] = CodedColumn(coded, distinct)
    ids = frame["id"].tolist() if OWN_COLUMNS.issubset(names) else ()
    return checked_table(BattleTable(source, columns, line_of=int, ids=ids))


def _read_csv(path: Path, *, with_ids: bool) -> BattleTable:
    records = csv_records(path, KNOWN)
    line, header = next(records, (0, []))
    check_header(str(path), line, header)
    names = coded_columns(header)
    is_own = OWN_COLUMNS.issubset(header)
    packing = packing_of(path)
    if packing and not (packing == "none" and has_long_line(path)):
        source = csv_source(path, packing, header, [*names, *["id"] * is_own], KNOWN)
        parts = read_parts(path, replace(source, with_ids=with_ids))
        if parts:
            line_of = partial(_csv_line, path)
            return checked_table(BattleTable(str(path), parts.columns, line_of, parts.ids))
    places = {name: header.index(name) for name in names}
    coder, ids = Coder(places), list[str]()
    while rows := list(islice(records, _CHUNK_ROWS)):
        for name, place in places.items():
            coder.add(name, (row[place] or None for _, row in rows), len(rows))
        if is_own:
            ids += [row[header.index("id")] for _, row in rows]
    return checked_table(BattleTable(str(path), coder.columns(), partial(_csv_line, path), ids))


def _csv_line(path: Path, row: int) -> int:
    return next(islice(csv_records(path, KNOWN), row + 1, None), (0, []))[0]


def _read_parquet(path: Path) -> BattleTable:
    with opened_parquet(path) as file:
        check_header(str(path), None, file.header)
        id_column = ["id"] if OWN_COLUMNS.issubset(file.header) else []
        names = coded_columns(file.header)
        parts = read_parts(path, file.source([*names, *id_column]), connection=file.connection)
        if parts:
            return checked_table(
                BattleTable(str(path), parts.columns, lambda row: row + 1, parts.ids)
            )
        coder, ids = Coder(names), list[Any]()
        rows = enumerate(file.rows([*names, *id_column]), 1)
        while chunk := list(islice(rows, _CHUNK_ROWS)):
            for place, name in enumerate(names):
                cells = ((number, row[place]) for number, row in chunk)
                coder.add(name, (_word(path, name, *cell) for cell in cells), len(chunk))
            ids += [row[-1] for _, row in chunk] if id_column else []
    return checked_table(BattleTable(str(path), coder.columns(), lambda row: row + 1, ids))


def _word(path: Path, name: str, number: int, cell: Any) -> Any:
    """Return a cell that can be coded.

    Raises:
        DataError: it is a list or an object where a word is needed.
    """
    if isinstance(cell, list | dict) and not is_query_text(name):
        raise DataError(path, number, f'"{name}" is a list or an object', "give a word")
    return hashable(cell)


_CHUNK_BYTES = 1 << 16  # parsed rows should still be in the processor's cache when coded
_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it
_ROUNDED = float(1 << 63)
"""From here on orjson gives a whole number that is not exact."""


def read_jsonl(path: Path, *, with_ids: bool) -> BattleTable:
    """Read a log of one JSON object to a line.

    Raises:
        DataError: a line is no battle; names it.
        OSError: the file cannot be read.
    """
    first = _first_row(path)
    is_own = OWN_COLUMNS.issubset(first)
    more = OWN_OPTIONAL if is_own else query_columns(first)
    names = tuple(dict.fromkeys((*REQUIRED, *OPTIONAL, *more)))
    packing, parts = packing_of(path), None
    # The row loop knows what to do with a line of our own log that was cut off.
    if packing and (is_ended(path, packing) if is_own else not has_trailing_comma(path)):
        coded = [name for name in names if name != "cost_usd"]
        learned = learn(path, coded) if packing == "none" else {}
        source = jsonl_source(path, packing, coded, own=is_own)
        parts = read_parts(path, replace(source, with_ids=with_ids), learned)
    if parts:
        table = BattleTable(str(path), parts.columns, partial(line_of_row, path), parts.ids)
        return checked_table(replace(table, costs=parts.costs, known_probs=parts.probs))
    table = _read_rows(path, names, own=is_own, exact=False)
    if _is_rounded(table):
        table = _read_rows(path, names, own=is_own, exact=True)
    return checked_table(table)


def _read_rows(path: Path, names: Sequence[str], *, own: bool, exact: bool) -> BattleTable:
    """Read a log row by row.

    Args:
        path: the file.
        names: the columns to code.
        own: whether arena wrote the file.
        exact: whether some whole number is too long for the fast parser.
    """
    present = (*names, "probs", "id") if own else (*names, "probs")
    coder, start, is_cut = Coder(names), 0, False
    ids: list[Any] = []
    probs: list[Any] = []
    with opened(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            if not chunk.endswith(b"\n"):
                chunk += file.readline(LONGEST_LINE)
            if len(chunk) > LONGEST_LINE:
                _refuse_long_lines(path)
            lines = (chunk if start else chunk.removeprefix(_MARK)).split(b"\n")
            if own and lines[-1]:
                # The log cuts such a tail off and judges the battle again: so it is not there.
                is_cut = True
                lines.pop()
            try:
                columns, count = _cells(_rows(lines, exact=exact), present)
                for name in names:
                    cells = columns.get(name)
                    asked = cells is not None and is_query_text(name)
                    coder.add(name, map(hashable, cells or ()) if asked else cells, count)
            except (orjson.JSONDecodeError, AttributeError, TypeError):
                raise _bad_line(path, lines, start) from None
            if own:
                ids += columns.get("id") or [None] * count
            probs += columns.get("probs") or [None] * count
            start += len(chunk)
    return BattleTable(
        str(path),
        coder.columns(),
        line_of=partial(line_of_row, path),
        ids=ids,
        probs=probs if any(probs) else (),
        notes=(unfinished(path),) if is_cut else (),
    )


def _refuse_long_lines(path: Path) -> None:
    with opened(path) as file:
        deque(file_lines(path, file), 0)


def _rows(lines: Iterable[bytes], *, exact: bool) -> list[dict[str, Any]]:
    filled = list(filter(bytes.strip, lines))
    if not exact:
        with contextlib.suppress(orjson.JSONDecodeError):
            return list(map(orjson.loads, filled))
    return [parse_json(line).value for line in filled]


def _is_rounded(table: BattleTable) -> bool:
    """Return whether a whole number was too long to stay exact."""
    return any(
        type(value) is float and abs(value) >= _ROUNDED
        for column in table.columns.values()
        for value in column.distinct
    )


def _cells(
    rows: Sequence[dict[str, Any]], names: Sequence[str]
) -> tuple[dict[str, tuple[Any, ...]], int]:
    """Return the columns of all rows, with None if a row lacks one; and the number of rows."""
    present = [n for n in names if n in REQUIRED or any(map(dict.__contains__, rows, repeat(n)))]
    try:
        cells = list(map(itemgetter(*present), rows))
    except KeyError:
        cells = [tuple(map(row.get, present)) for row in rows]
    return dict(zip(present, zip(*cells, strict=True), strict=bool(rows))), len(rows)


def _first_row(path: Path) -> dict[str, Any]:
    """Return the first row: its keys tell a log of ours from others."""
    with opened(path) as file:
        for number, line in file_lines(path, file):
            text = line.removeprefix(_MARK) if number == 1 else line
            if not text.strip():
                continue
            expected = "expected one battle to a line"
            try:
                row = parse_json(text).value
            except orjson.JSONDecodeError as error:
                raise DataError(path, number, _not_json(error), expected) from None
            if not isinstance(row, dict):
                raise DataError(path, number, "not a JSON object", expected)
            names = [name for name, cell in row.items() if not isinstance(cell, dict)]
            # An object is no name: its own cells may have one.
            check_header(str(path), number, names if {*REQUIRED} <= row.keys() else row)
            return row
    return {}


def _not_json(error: orjson.JSONDecodeError) -> str:
    # The error's own "line 1 column 5" would be taken for a line of the file.
    what = str(error).partition(":")[0]
    return "not UTF-8" if "UTF-8" in what else f"not valid JSON: {what}"


def _bad_line(path: Path, lines: Iterable[bytes], start: int) -> DataError:
    """Find what a chunk of lines, that starts at this byte of the file, stumbled over."""
    with opened(path) as file:
        sizes = accumulate(map(len, file))
        before = sum(1 for _ in takewhile(start.__ge__, sizes)) if start else 0
    for number, line in enumerate(lines, before + 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line.removeprefix(_MARK)).value
        except orjson.JSONDecodeError as error:
            return DataError(path, number, _not_json(error), "correct or remove the line")
        if not isinstance(row, dict):
            return DataError(path, number, "not a JSON object", HINT)
        for name in coded_columns(row):
            if not is_query_text(name) and isinstance(row.get(name), list | dict):
                return DataError(path, number, f'"{name}" is a list or an object', "give a word")
    return DataError(path, None, "cannot be read as battles", HINT)
