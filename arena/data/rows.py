"""Check rows of any file as documents and queries, with the same rules for all sources.

A row is a mapping with the fields of BEIR: ``_id`` (or ``id``), ``text``, and ``title`` if there is
one. Further fields are ignored. A row comes with its file and its number there, from 1, so that
every error names both.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, TypeVar, cast

import orjson

from arena.errors import DataError
from arena.json_text import parse_json
from arena.records import Document, Query
from arena.terminal import flat, shortened

_FIELDS = "expected BEIR fields _id, text"
_NO_ID = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""White space, control characters, and halves of characters."""


class Row(NamedTuple):
    """One row of a file."""

    path: Path
    number: int  #: of the line, or of the row where a file has no lines
    fields: Mapping[str, object]


T = TypeVar("T")


def json_rows(path: Path, remedy: str = "", notes: list[str] | None = None) -> Iterator[Row]:
    """Yield the JSON object of every line that is not blank, from .jsonl or .jsonl.gz.

    An unpaired surrogate in a text becomes U+FFFD, and NaN an empty text, as in `parse_json`.

    Args:
        path: the file.
        remedy: what to do where it is missing.
        notes: gets a line, once all is read, if anything was repaired.

    Raises:
        DataError: the file is missing, or a line is no object.
    """
    n_repaired = 0
    for line, text in numbered_lines(path, remedy):
        try:
            fields, repaired = parse_json(text.encode())
        except orjson.JSONDecodeError as error:
            what = f"not valid JSON: {error.msg} at column {error.colno}"
            raise DataError(path, line, what, "expected one object a line: _id, text") from None
        if not isinstance(fields, dict):
            raise DataError(path, line, "not a JSON object", 'expected {"_id": ..., "text": ...}')
        n_repaired += repaired > 0
        yield Row(path, line, fields)
    if n_repaired and notes is not None:
        what = "half a character or a NaN, which no JSON may hold: read as U+FFFD and as empty"
        notes.append(f"{path.name}: lines with {what}: {n_repaired}")


def documents(rows: Iterable[Row]) -> Iterator[tuple[Row, str, Document]]:
    """Yield row, doc_id and document; a document may lack a title, or any text at all.

    Raises:
        DataError: a field is missing or of another kind.
    """
    for row in rows:
        doc_id = row_id(row)
        title = "" if row.fields.get("title") is None else row_text(row, "title")
        yield row, doc_id, Document(doc_id, row_text(row, "text"), title)


def queries(rows: Iterable[Row]) -> Iterator[tuple[Row, str, Query]]:
    """Yield row, query_id and query; a query without words is an error.

    Raises:
        DataError: a field is missing, empty or of another kind.
    """
    for row in rows:
        query_id = row_id(row)
        text = row_text(row, "text")
        if not text.strip():
            remedy = "a query needs words; delete the line or complete it"
            what = f"query {query_id!r} has an empty text"
            raise DataError(row.path, row.number, what, remedy)
        yield row, query_id, Query(query_id, text)


def unique(items: Iterable[tuple[Row, str, T]], path: Path) -> dict[str, T]:
    """Return items by id, in their order.

    Raises:
        DataError: an id occurs twice, or there is nothing in ``path`` at all.
    """
    by_id: dict[str, T] = {}
    for row, item_id, item in items:
        if by_id.setdefault(item_id, item) is not item:
            what = f"_id {item_id!r} occurs twice"
            raise DataError(row.path, row.number, what, "ids must be unique")
    if not by_id:
        raise DataError(path, None, "is empty", "expected one JSON object a line: _id, text")
    return by_id


def row_id(row: Row, keys: tuple[str, ...] = ("_id", "id")) -> str:
    """Return the row's id; an integer becomes its digits.

    Raises:
        DataError: there is none, or none that a TREC file could carry.
    """
    value = next((row.fields[key] for key in keys if row.fields.get(key) is not None), None)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        raise DataError(row.path, row.number, f'missing "{keys[0]}"', _FIELDS)
    if not isinstance(value, str) or not value:
        remedy = "expected a string that is not empty"
        raise DataError(row.path, row.number, f"{keys[0]} {_shown(value)}", remedy)
    if _NO_ID.search(value):
        remedy = "TREC files cannot hold white space or control characters in ids; use _ instead"
        raise DataError(row.path, row.number, f"{keys[0]} {_shown(value)}", remedy)
    return value


def row_text(row: Row, key: str) -> str:
    """Return a field that must be text.

    Raises:
        DataError: it is neither.
    """
    if key not in row.fields:
        raise DataError(row.path, row.number, f'missing "{key}"', _FIELDS)
    found = row.fields[key]
    if not isinstance(found, str):
        raise DataError(row.path, row.number, f'"{key}" is {_shown(found)}', "expected a string")
    return found


def _shown(value: object) -> str:
    """Return a value of any size, shortened for a one-line error."""
    return shortened(flat(repr(value)), 80)


_GZIP: Final = b"\x1f\x8b"
"""How every gzip file begins (RFC 1952)."""

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_NULS: Final[Mapping[tuple[bool, ...], str]] = {
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
    (True, False, True, False): "utf-16-be",
    (False, True, False, True): "utf-16-le",
}
"""Where NULs are in the first four bytes, two characters of ASCII (RFC 4627, section 3)."""

UNREADABLE: Final = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What reading a file that `opened` opens may raise; `unreadable` puts it into words."""

_RECODED_AT_ONCE: Final = 1 << 16

LONGEST_LINE: Final = 1 << 26
"""Bytes of a line, or characters of a cell; a whole conversation is far shorter."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a text file as the bytes of its UTF-8.

    gzip is decompressed, with any file name; UTF-16 and UTF-32 are recoded. A byte order mark of
    UTF-8 stays.

    Raises:
        OSError, EOFError, zlib.error, UnicodeDecodeError: while it is opened or read.
    """
    with path.open("rb") as raw:
        compressed = raw.peek(len(_GZIP)).startswith(_GZIP)
        file = gzip.GzipFile(fileobj=raw) if compressed else raw
        encoding = _encoding(file.peek(4)[:4])
        if encoding == "utf-8":
            yield cast("BinaryIO", file)
        else:
            yield cast("BinaryIO", io.BufferedReader(_Recoded(cast("BinaryIO", file), encoding)))


def compression(path: Path) -> Literal["none", "gzip"] | None:
    """Return how the UTF-8 of a file is compressed; None if its text has another encoding.

    Raises:
        OSError, EOFError, zlib.error: it cannot be read.
    """
    with path.open("rb") as raw:
        packed = raw.peek(len(_GZIP)).startswith(_GZIP)
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        if _encoding(file.peek(4)[:4]) != "utf-8":
            return None
    return "gzip" if packed else "none"


def unreadable(path: Path, line: int | None, error: Exception, remedy: str = "") -> DataError:
    """Return the error for a file that cannot be read.

    Args:
        path: the file.
        line: the last one that was read, from 1.
        error: one of `UNREADABLE`.
        remedy: what to do where there is no such file.
    """
    if isinstance(error, FileNotFoundError):
        return DataError(path, None, "no such file", remedy)
    if isinstance(error, UnicodeDecodeError):
        if error.encoding != "utf-8":
            return DataError(path, None, f"is not {error.encoding.upper()} throughout", _AS_UTF_8)
        byte = error.object[error.start : error.start + 1]
        likely = byte.decode("cp1252", "ignore")
        what = f"not UTF-8 at byte {error.start + 1}"
        what += f" (Windows-1252? There it is {likely!r})" if likely.isprintable() else ""
        return DataError(path, line, what, _AS_UTF_8)
    if isinstance(error, EOFError | gzip.BadGzipFile | zlib.error):
        where = None if line is None else line + 1
        return DataError(path, where, "its gzip data ends or breaks here", "copy it again")
    reason = error.strerror if isinstance(error, OSError) else None
    return DataError(path, None, f"cannot be read: {' '.join((reason or str(error)).split())}")


def file_lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of every line of a file that `opened` gave.

    Raises:
        DataError: a line is longer than `LONGEST_LINE`, so that no memory may hold it.
    """
    for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE + 1), b""), 1):
        if len(line) > LONGEST_LINE:
            raise too_long(path, number)
        yield number, line


def too_long(path: Path, number: int) -> DataError:
    """Return the error for a line that is longer than `LONGEST_LINE`."""
    return DataError(
        path, number, f"a line of more than {LONGEST_LINE:,} bytes", "correct or remove the line"
    )


def numbered_lines(path: Path, remedy: str = "") -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not blank, without a byte order mark.

    Raises:
        DataError: the file is missing (``remedy`` says what to do about it), cannot be read, or
            is neither UTF-8 nor another form of Unicode that says so.
    """
    line = 0
    try:
        with opened(path) as file:
            for line, raw in file_lines(path, file):
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
                if text.strip():
                    yield line, text
    except UNREADABLE as error:
        raise unreadable(path, line, error, remedy) from None


_AS_UTF_8: Final = "save the file as UTF-8"


def _encoding(begin: bytes) -> str:
    """Return the encoding of a file that begins with these bytes; UTF-8 if none is evident."""
    for mark, encoding in _MARKS:
        if begin.startswith(mark):
            return encoding
    return _NULS.get(tuple(byte == 0 for byte in begin), "utf-8")


class _Recoded(io.RawIOBase):
    """The text of a file in another encoding, as UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._text = io.TextIOWrapper(file, encoding, newline="")
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = memoryview(self._text.read(_RECODED_AT_ONCE).encode())
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
