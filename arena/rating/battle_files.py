"""Battle files of any make, read once into columns of integer codes.

JSONL (our own log, and the field's), CSV, TSV, Parquet and data frames all become a
`BattleTable`; what the columns mean is decided in `arena.rating.battles`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, repeat
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.errors import DataError, UsageError
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
)

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_BYTES = 1 << 16  # parsed rows should still be in the processor's cache when coded
_CHUNK_ROWS = 1 << 14
_LONGEST_CELL = (1 << 31) - 1


def read_table(path: Path) -> BattleTable:
    """Read one battle file; its suffix says how.

    Raises:
        DataError: the file is missing, empty, malformed or lacks a required column.
        UsageError: the suffix is not known, or pyarrow is needed and not installed.
    """
    readers: dict[str, Callable[[Path], BattleTable]] = {
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".csv": partial(_read_csv, delimiter=","),
        ".tsv": partial(_read_csv, delimiter="\t"),
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
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
    for name in (*REQUIRED, *OPTIONAL):
        if name not in names:
            continue
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


def _read_jsonl(path: Path) -> BattleTable:
    own, n_lines, notes = False, 0, []
    coded = (*REQUIRED, *OPTIONAL)
    coder = Coder(coded)
    ids: list[Any] = []
    probs: list[Any] = []
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES) + file.readline():
            if n_lines == 0:
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
                own = OWN.issubset(_first_row(path, chunk))
            lines = chunk.split(b"\n")
            tail = lines.pop()
            if tail and own:
                # The log cuts such a tail off and judges the battle again: so it is not there.
                notes.append(f"{path}: the last line is unfinished and was not read")
            elif tail:
                lines.append(tail)
            wanted = (*coded, "probs", "id") if own else (*coded, "probs")
            present = [n for n in wanted if n in REQUIRED or n.encode() in chunk]
            try:
                columns, n_rows = _cells(lines, present)
                for name in coded:
                    coder.add(name, columns.get(name) or repeat(None), n_rows)
            except (orjson.JSONDecodeError, AttributeError, TypeError):
                raise _bad_line(path, lines, n_lines) from None
            ids += columns.get("id", ())
            probs += columns.get("probs") or repeat(None, n_rows)
            n_lines += len(lines)
    table = BattleTable(
        str(path),
        coder.columns(),
        line_of=partial(_jsonl_line, path),
        ids=ids,
        probs=probs if any(probs) else (),
        notes=tuple(notes),
    )
    return checked(table)


def _cells(lines: list[bytes], names: list[str]) -> tuple[dict[str, tuple[Any, ...]], int]:
    """Some columns of some lines, None where a row lacks the key; and the number of rows."""
    get = itemgetter(*names)
    try:
        rows = [get(orjson.loads(line)) for line in lines if line.strip()]
    except KeyError:
        parsed = [orjson.loads(line) for line in lines if line.strip()]
        rows = [tuple(map(row.get, names)) for row in parsed]
    return dict(zip(names, zip(*rows, strict=True), strict=bool(rows))), len(rows)


def _first_row(path: Path, chunk: bytes) -> dict[str, Any]:
    """The first row: its keys tell a log of ours from others."""
    for number, line in enumerate(chunk.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            raise DataError(path, number, "not a JSON object", "expected one battle to a line")
        check_header(str(path), number, row)
        return row
    return {}


def _bad_line(path: Path, lines: Iterable[bytes], before: int) -> DataError:
    """Find what a chunk of lines stumbled over."""
    for number, line in enumerate(lines, before + 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            # Its own "line 1 column 5" would be taken for a line of the file.
            what = f"not valid JSON: {str(error).partition(':')[0]}"
            return DataError(path, number, what, "mend or remove the line")
        if not isinstance(row, dict):
            return DataError(path, number, "not a JSON object", HINT)
        for name in (*REQUIRED, *OPTIONAL):
            if isinstance(row.get(name), list | dict):
                return DataError(path, number, f'"{name}" is a list or an object', "give a word")
    return DataError(path, None, "cannot be read as battles", HINT)


def _jsonl_line(path: Path, row: int) -> int:
    with path.open("rb") as file:
        filled = (number for number, line in enumerate(file, 1) if not line.isspace())
        return next(islice(filled, row, None), 0)


def _read_csv(path: Path, *, delimiter: str) -> BattleTable:
    limit = csv.field_size_limit(_LONGEST_CELL)  # logs of the field carry whole conversations
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = _csv_records(path, file, delimiter)
            _, header = next(records, (0, []))
            check_header(str(path), 1, header)
            places = {n: header.index(n) for n in (*REQUIRED, *OPTIONAL) if n in header}
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
        wanted = [name for name in (*REQUIRED, *OPTIONAL, *OWN) if name in names]
        frame = parquet.read_table(path, columns=list(dict.fromkeys(wanted))).to_pandas()
    except ArrowException as error:
        raise DataError(path, None, f"not readable as Parquet: {error}") from None
    return table_from_frame(frame, str(path))
