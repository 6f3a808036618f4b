"""Read tables (.csv, .tsv, .xlsx, .xls, .ods) as one record for each row.

A row of a table is what people search for: one question with its answer, one product. Each value
keeps the name of its column. A row without a value is left out, and so is an empty cell.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from itertools import islice
from statistics import median
from typing import Any, Final

from arena.data.csv_file import LONGEST_CELL, SEPARATORS, declared_separator
from arena.data.documents.file_text import FileRecord, FileText, UnreadableError, decoded
from arena.data.documents.office_files import check_encryption
from arena.optional import needed
from arena.terminal import one_line

_SAMPLE: Final = 50
"""Rows by which arena finds the separator and the header."""

_LONGEST_NAME: Final = 100
"""Characters of a cell above which it is no name of a column."""

_UNPACKED: Final = 2**30
"""Bytes that the parts of a workbook may unpack to."""

_NO_NAME = re.compile(r"[\d\s.,:;/%+\-−€$£()]*")
"""A number, an amount or a date: a value, and no name of a column."""


def read_csv(raw: bytes) -> FileText:
    """Read a .csv or .tsv file: its rows with the names of their columns.

    Raises:
        UnreadableError: it is no text, or not readable as CSV.
    """
    text = decoded(raw)
    first, _, rest = text.partition("\n")
    separator = declared_separator(first)
    if separator:
        text = rest
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator or _separator(text))
        return FileText("", "", markdown=False, records=tuple(_records(list(rows), ())))
    except csv.Error as error:
        raise UnreadableError(f"is not readable as CSV: {error}") from None
    finally:
        csv.field_size_limit(limit)


def read_workbook(raw: bytes) -> FileText:
    """Read the rows of all visible sheets; a sheet's name is the heading of its rows.

    Raises:
        UnreadableError: it is no workbook, damaged, encrypted, or unpacks to too much.
        UsageError: a package is not installed.
    """
    calamine = needed("python_calamine", "reading workbooks")
    check_encryption(raw)
    _check_unpacked(raw)
    try:
        with calamine.CalamineWorkbook.from_filelike(io.BytesIO(raw)) as workbook:
            visible = calamine.SheetVisibleEnum.Visible
            names = [sheet.name for sheet in workbook.sheets_metadata if sheet.visible == visible]
            records = [
                record
                for name in names
                for record in _records(_values(workbook.get_sheet_by_name(name)), (name,))
            ]
    except (calamine.CalamineError, OSError) as error:
        what = one_line(str(error), most=80)
        raise UnreadableError(f"is no whole workbook ({what}); save it again") from None
    return FileText("", "", markdown=False, records=tuple(records))


def _check_unpacked(raw: bytes) -> None:
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        return  # the format before 2007
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as parts:
            size = sum(part.file_size for part in parts.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableError(f"is no whole workbook ({error}); save it again") from None
    if size > _UNPACKED:
        raise UnreadableError(f"unpacks to more than {_UNPACKED // 2**20} MB; cut it into several")


def _values(sheet: Any) -> list[list[str]]:
    return [[_shown(value) for value in row] for row in sheet.iter_rows()]


def _shown(value: object) -> str:
    """Return a value as people write it: 3 and not 3.0, a day without its midnight."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _separator(text: str) -> str:
    """Return the separator that cuts the most of the first rows into equally many cells."""

    def rating(separator: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        widths = Counter(len(row) for row in islice(reader, _SAMPLE) if len(row) > 1)
        return max(((n, width) for width, n in widths.items()), default=(0, 0))

    return max(SEPARATORS, key=rating)


def _records(rows: Sequence[Sequence[str]], headings: tuple[str, ...]) -> Iterator[FileRecord]:
    """Yield the rows of a table; lines above its header are a record of their own."""
    filled = [tuple(map(str.strip, row)) for row in rows]
    filled = [row for row in filled if any(row)]
    header_row = _header(filled[:_SAMPLE])
    names = filled[header_row] if header_row is not None else ()
    if header_row and (
        above := "\n".join(" ".join(filter(None, row)) for row in filled[:header_row])
    ):
        yield FileRecord(headings, above)
    for row in filled[0 if header_row is None else header_row + 1 :]:
        named = (*names, *[""] * (len(row) - len(names)))
        cells = zip(named, row, strict=False)
        yield FileRecord(headings, cells=tuple((name, value) for name, value in cells if value))
    if header_row is not None and header_row + 1 == len(filled):
        yield FileRecord(headings, "\n".join(names))  # nothing but a header is a text after all


def _header(rows: Sequence[Sequence[str]]) -> int | None:
    """Return the place of the row that names the columns; None if no row does.

    It is the first row that is as full as most rows are, if its cells are distinct names.
    """
    if not rows:
        return None
    usual = max(2, median(sum(map(bool, row)) for row in rows))
    number = next((n for n, row in enumerate(rows) if sum(map(bool, row)) >= usual), None)
    if number is None:
        return None
    names = [cell for cell in rows[number] if cell]
    fit = all(len(name) <= _LONGEST_NAME and not _NO_NAME.fullmatch(name) for name in names)
    return number if fit and len(set(names)) == len(names) else None
