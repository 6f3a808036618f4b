"""Read a log of searches: CSV or JSON lines with a query, and perhaps its count, time and clicks.

A log is an export of another program, and anyone may have typed what is in it. A row that cannot be
read is counted by its reason, with its first line; it never ends the reading.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from arena.data.csv_file import first_line
from arena.data.rows import UNREADABLE, opened, unreadable
from arena.errors import DataError, UsageError
from arena.progress import Reporter
from arena.terminal import one_line

LONGEST_QUERY: Final = 1000
"""Characters above which a text was pasted, and is no query."""

_TABLES: Final = (".csv", ".tsv", ".txt")
_JSON_LINES: Final = (".jsonl", ".ndjson")
_LONGEST_LINE: Final = 2**20
_LONGEST_CELL: Final = 10_000
_MOST_CLICKS: Final = 1000
_MOST_FIELDS: Final = 1000
_MOST_COUNT: Final = 10**12

USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "text": (
        *("query", "text", "question", "q", "search_query", "search_term", "search_terms"),
        *("query_text", "searchterm", "search_phrase", "term", "keyword", "keywords", "search"),
        *("top_queries", "queries", "searched_for"),
    ),
    "count": (
        *("count", "n", "frequency", "freq", "searches", "total_searches", "query_count"),
        *("num_searches", "times", "occurrences", "volume", "search_volume", "impressions"),
        *("total_unique_searches", "total"),
    ),
    "time": (
        *("time", "timestamp", "datetime", "date", "query_time", "querytime", "event_time"),
        *("created_at", "searched_at", "ts", "day"),
    ),
    "clicks": (
        *("clicked_ids", "clicked_id", "clicked_docs", "clicked_doc", "clicked_documents"),
        *("clicked_document", "clicked_doc_ids", "clicked_doc_id", "clicked", "click_ids"),
        *("click_id", "clicked_url", "clickurl", "clicked_results", "doc_id", "document_id"),
    ),
}
"""Names of columns, in small letters with _ for blanks, the usual ones first."""

_NOT_NAME = re.compile(r"[^a-z0-9]+")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_BETWEEN_IDS = re.compile(r"[\s,;|]+")


class LoggedSearch(NamedTuple):
    """One row of a log."""

    text: str
    n_searches: int
    day: str  #: ISO 8601; empty if the log does not tell
    clicks: tuple[str, ...]  #: ids of documents


@dataclass(slots=True)
class QueryLog:
    """A log while it is read, and afterwards what is known of it.

    Args:
        path: a .csv, .tsv, .txt or .jsonl file, or one of them compressed by gzip.
        columns: kind of `USUAL` → the name of its column, where it is not a usual one.
    """

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    n_rows: int = 0
    bad: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Reason → rows ignored for it, and the line of the first."""
    found: dict[str, str] = field(default_factory=dict)
    """Kind → the name of its column in the file."""

    def searches(self, reporter: Reporter) -> Iterator[LoggedSearch]:
        """Yield the rows that can be read, and report how much of the file is read.

        Raises:
            DataError: the file is missing, compressed wrongly, or has no column of queries.
            UsageError: a column that was named is not there.
        """
        kinds = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() != ".gz"][-1:]
        if kinds and kinds[0] not in (*_TABLES, *_JSON_LINES):
            remedy = f"export it as {', '.join((*_TABLES, *_JSON_LINES))}, or one of them as .gz"
            raise DataError(self.path, None, f"logs cannot be read from {kinds[0]!r}", remedy)
        is_json = any(kind in _JSON_LINES for kind in kinds)
        try:
            size = -(-self.path.stat().st_size // 1024)
            with opened(self.path) as file, reporter.stage("kB of the log read", size) as stage:
                text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
                lines = _bounded(text, lambda done: stage.update(min(-(-done // 1024), size)))
                yield from self._json_lines(lines) if is_json else self._table(lines)
                stage.update(size)
        except UNREADABLE as error:
            raise unreadable(self.path, None, error, "give a CSV or JSONL file") from None

    def _json_lines(self, lines: Iterator[str]) -> Iterator[LoggedSearch]:
        seen: dict[str, str] = {}  # name of a field → as `USUAL` has it
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            self.n_rows += 1
            try:
                row = orjson.loads(line)
            except (orjson.JSONDecodeError, UnicodeEncodeError):
                row = None
            if not isinstance(row, dict):
                self._leave(number, "not a JSON object")
                continue
            if row.keys() - seen and len(seen) < _MOST_FIELDS:
                seen |= {name: _plain(name) for name in row}
                self.found = self._places(seen)
            if search := self._search(number, {k: row.get(n) for k, n in self.found.items()}):
                yield search
        self._check_columns(list(seen))

    def _table(self, lines: Iterator[str]) -> Iterator[LoggedSearch]:
        before, first, separators = first_line(lines)
        header, separator = _header(first, separators)
        self.found = self._places({name: _plain(name) for name in header})
        self._check_columns(header)
        places = {kind: header.index(name) for kind, name in self.found.items()}
        limit = csv.field_size_limit(_LONGEST_CELL)
        try:
            for number, cells in self._records(lines, before + 1, separator, len(header)):
                if search := self._search(number, {k: cells[n] for k, n in places.items()}):
                    yield search
        finally:
            csv.field_size_limit(limit)

    def _records(
        self, lines: Iterator[str], number: int, separator: str, width: int
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield line and cells of each record after the header, which ends on line ``number``.

        Many exports quote nothing. A record that is no CSV is its first line without any quoting.
        The lines that its quotation mark would take in are read again.
        """
        peeked: deque[str] = deque()
        while True:
            taken: list[str] = []
            try:
                cells = next(
                    csv.reader(_fed(peeked, lines, taken), _Quoted, delimiter=separator), []
                )
            except csv.Error:
                cells = []
            if not taken:
                return
            if len(cells) != width and taken[0].strip():
                peeked.extendleft(reversed(taken[1:]))
                del taken[1:]
                cells = taken[0].rstrip("\r\n").split(separator)
            if any(cells):
                self.n_rows += 1
                if len(cells) == width:
                    yield number + 1, cells
                else:
                    self._leave(number + 1, "with another number of cells than the header")
            number += len(taken)

    def _search(self, number: int, cells: Mapping[str, object]) -> LoggedSearch | None:
        search = _search_or_fault(cells)
        if isinstance(search, str):
            self._leave(number, search)
            return None
        return search

    def _leave(self, number: int, reason: str) -> None:
        n_rows, first = self.bad.get(reason, (0, number))
        self.bad[reason] = n_rows + 1, first

    def _places(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return kind → name of its column, of those that the file has."""
        by_plain: dict[str, str] = {}
        for name, plain in names.items():
            by_plain.setdefault(plain, name)
        places = {
            kind: by_plain[plain]
            for kind, usual in USUAL.items()
            if (plain := next((u for u in usual if u in by_plain), ""))
        }
        given = {kind: name for kind, name in self.columns.items() if name in names}
        return {**places, **given}

    def _check_columns(self, header: Sequence[str]) -> None:
        listed = one_line(", ".join(header), most=120) or "none"
        missing = [name for name in self.columns.values() if name not in header]
        if missing:
            raise UsageError(f"{self.path}: no column {missing[0]!r}; its columns are {listed}")
        if "text" not in self.found:
            what = f"no column of queries is found; its columns are {listed}"
            raise DataError(self.path, 1, what, "name it with --text-column")


def _search_or_fault(cells: Mapping[str, object]) -> LoggedSearch | str:
    """Return the search of a row, or why it has none."""
    text = cells.get("text")
    if not isinstance(text, str) or not any(map(str.isalnum, text)):
        return "without a query"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "not UTF-8"
    text = " ".join(text.replace("\0", " ").split())
    if len(text) > LONGEST_QUERY:
        return f"with more than {LONGEST_QUERY:,} characters"
    count = _count(cells.get("count"))
    if count is None:
        return "with a count that is no whole number above 0"
    return LoggedSearch(text, count, _day(cells.get("time")), _ids(cells.get("clicks")))


class _Quoted(csv.excel):
    """CSV whose quotation marks are in order."""

    strict = True


def _fed(peeked: deque[str], lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    """Yield lines that are read again, then new ones, and note each in ``taken``."""
    while (line := peeked.popleft() if peeked else next(lines, None)) is not None:
        taken.append(line)
        yield line


def _bounded(text: io.TextIOWrapper, on_read: Callable[[int], None]) -> Iterator[str]:
    """Yield lines; what a line has beyond a megabyte is left out, so that it is no row."""
    n_read = n_told = 0
    while line := text.readline(_LONGEST_LINE):
        rest = line
        n_read += len(line)
        while not rest.endswith("\n") and len(rest) == _LONGEST_LINE:
            rest = text.readline(_LONGEST_LINE)
            n_read += len(rest)
        yield line
        if n_read - n_told > _LONGEST_LINE:
            n_told = n_read
            on_read(n_read)


def _header(first: str, separators: str) -> tuple[list[str], str]:
    """Return the cells of the first line, and the separator that finds the most usual names."""
    known = {name for names in USUAL.values() for name in names}

    def cells(separator: str) -> list[str]:
        return [cell.strip() for cell in next(csv.reader([first], delimiter=separator), [])]

    def rating(separator: str) -> tuple[int, int]:
        found = cells(separator)
        return sum(_plain(cell) in known for cell in found), len(found)

    try:
        separator = max(separators, key=rating)
    except csv.Error:
        return [first.strip()], separators[0]
    return cells(separator), separator


def _plain(name: str) -> str:
    """Return a column's name as `USUAL` has it: ``Search Term`` → ``search_term``."""
    return _NOT_NAME.sub("_", name.casefold()).strip("_")


def _count(value: object) -> int | None:
    """Return how often a query was searched; 1 if a row does not say."""
    if value is None or value == "":
        return 1
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and _THOUSANDS.fullmatch(value):
        value = value.replace(",", "")
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 1 <= number <= _MOST_COUNT else None


def _day(value: object) -> str:
    """Return the day of a time in ISO 8601 or in seconds or milliseconds since 1970."""
    try:
        if isinstance(value, str) and not value.replace(".", "").isdigit():
            return datetime.fromisoformat(value.strip()).date().isoformat()
        seconds = float(str(value))
        seconds = seconds / 1000 if seconds > 1e11 else seconds
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return ""


def _ids(value: object) -> tuple[str, ...]:
    """Return clicked ids: a list, JSON in a cell, or ids between blanks, commas or bars."""
    if isinstance(value, str):
        value = _listed(value.strip())
    elif isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list):
        return ()
    ids = (str(each).strip() for each in value[:_MOST_CLICKS] if isinstance(each, str | int))
    return tuple(dict.fromkeys(each for each in ids if each and not _unfit(each)))


def _listed(cell: str) -> list[object]:
    if cell.startswith("["):
        try:
            found = orjson.loads(cell)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            cell = cell.strip("[]").replace("'", "").replace('"', "")
        else:
            return found if isinstance(found, list) else []
    return [part for part in _BETWEEN_IDS.split(cell) if part]


def _unfit(doc_id: str) -> bool:
    """Return whether no qrels file can hold an id."""
    return not doc_id.isprintable() or any(map(str.isspace, doc_id))
