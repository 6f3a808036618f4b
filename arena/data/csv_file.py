"""Read CSV files of any separator and encoding."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from arena.data.rows import (
    LONGEST_LINE,
    UNREADABLE,
    numbered_lines,
    opened,
    too_long,
    unreadable,
)
from arena.errors import DataError

SEPARATORS: Final = ",;\t|"
LONGEST_CELL: Final = LONGEST_LINE  # logs of the field carry whole conversations

_DECLARED = re.compile(r"sep=([,;\t|])\s*")
"""The first line with which some spreadsheets tell each other the separator."""


def declared_separator(line: str) -> str:
    """Return the separator that a spreadsheet declares in the first line; empty if none."""
    declared = _DECLARED.fullmatch(line)
    return declared[1] if declared else ""


class Layout(NamedTuple):
    """How a CSV file is laid out."""

    before: int  #: lines before the header
    separator: str
    first: str  #: the first line of the header


def csv_records(
    path: Path, names: Collection[str], remedy: str = ""
) -> Iterator[tuple[int, list[str]]]:
    """Yield line and cells of each record, the header first; all are as wide as the header.

    The separator is the one of comma, semicolon, tab and bar that gives the most known columns.
    Blanks around the header's cells are removed.

    Args:
        path: the file.
        names: of columns, in lower case, that the file may have.
        remedy: what to do where there is no such file.

    Raises:
        DataError: naming file and line.
    """
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        with opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            yield from _records(path, _lines(path, text), names)
    except UnicodeDecodeError as error:
        deque(numbered_lines(path), 0)  # text is decoded by the block, which tells no line
        raise unreadable(path, None, error) from None
    except UNREADABLE as error:
        raise unreadable(path, None, error, remedy) from None
    finally:
        csv.field_size_limit(limit)


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    lines = iter(partial(text.readline, LONGEST_LINE + 1), "")
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST_LINE:
            raise too_long(path, number)
        yield line


def _records(
    path: Path, text: Iterator[str], names: Collection[str]
) -> Iterator[tuple[int, list[str]]]:
    """Yield the line and the cells of each record, the header first."""
    before, separator, first = csv_layout(text, names)
    reader = csv.reader(chain([first], text), delimiter=separator, strict=True)
    width, start = 0, before + 1
    try:
        for cells in reader:
            start = before + reader.line_num + 1
            if not cells:
                continue
            line_number = start - 1
            if width and len(cells) != width:
                what = f"{len(cells)} cells where the header has {width}"
                raise DataError(path, line_number, what, "quote cells that hold separators")
            yield line_number, cells if width else [cell.strip() for cell in cells]
            width = len(cells)
    except csv.Error as error:
        what = f"the record that begins here is not readable as CSV: {error}"
        raise DataError(
            path, start, what, "quote cells that hold quotes, and double these"
        ) from None


def first_line(lines: Iterable[str]) -> tuple[int, str, str]:
    """Return the first line of a header, and leave the lines after it unread.

    Returns:
        The number of lines before it, the line itself, and the separators that it may have.
    """
    before, separators = 0, SEPARATORS
    for line in lines:
        declared = declared_separator(line)
        if line.strip() and not declared:
            return before, line, separators
        separators = declared or separators
        before += 1
    return before, "", separators


def csv_layout(text: Iterable[str], names: Collection[str]) -> Layout:
    """Return how a file is laid out, and leave the lines after the header's first one unread."""
    before, first, separators = first_line(text)
    return Layout(before, max(separators, key=lambda each: _known(first, each, names)), first)


def _known(line: str, separator: str, names: Collection[str]) -> tuple[int, int]:
    """Return how many columns are known with this separator, and how many there are."""
    try:
        cells = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return 0, 0
    return sum(cell.strip().lower() in names for cell in cells), len(cells)
