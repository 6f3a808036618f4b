"""Rows of any file, as documents and queries: what is checked is the same wherever they are from.

A row is a mapping with the fields of BEIR: ``_id`` (or ``id``), ``text``, and ``title`` where there
is one; further fields are ignored. It comes with its file and its number there, from 1, so that
whatever is wrong with it is an error that says where.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import orjson

from arena.data.json_text import parse_json
from arena.data.lines import numbered_lines
from arena.errors import DataError
from arena.records import Document, Query

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
    """The JSON object of every line that is not blank, from .jsonl or .jsonl.gz.

    Half a character in a text becomes U+FFFD, and NaN an empty text, as `parse_json` has it.

    Args:
        path: the file.
        remedy: what to do where it is missing.
        notes: gets a line, once all is read, if anything was mended.

    Raises:
        DataError: the file is missing, or a line is no object.
    """
    n_mended = 0
    for line, text in numbered_lines(path, remedy):
        try:
            fields, mended = parse_json(text.encode())
        except orjson.JSONDecodeError as error:
            what = f"not valid JSON: {error.msg} at column {error.colno}"
            raise DataError(path, line, what, "expected one object a line: _id, text") from None
        if not isinstance(fields, dict):
            raise DataError(path, line, "not a JSON object", 'expected {"_id": ..., "text": ...}')
        n_mended += mended > 0
        yield Row(path, line, fields)
    if n_mended and notes is not None:
        what = "half a character or a NaN, which no JSON may hold: read as U+FFFD and as empty"
        notes.append(f"{path.name}: lines with {what}: {n_mended}")


def documents(rows: Iterable[Row]) -> Iterator[tuple[Row, str, Document]]:
    """Row, doc_id and document; a document may lack a title, or any text at all.

    Raises:
        DataError: a field is missing or of another kind.
    """
    for row in rows:
        doc_id = row_id(row)
        title = "" if row.fields.get("title") is None else row_text(row, "title")
        yield row, doc_id, Document(doc_id, row_text(row, "text"), title)


def queries(rows: Iterable[Row]) -> Iterator[tuple[Row, str, Query]]:
    """Row, query_id and query; a query without words is an error.

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
    """Items by id, in their order.

    Raises:
        DataError: an id occurs twice, or there is nothing in ``path`` at all.
    """
    found: dict[str, T] = {}
    for row, item_id, item in items:
        if found.setdefault(item_id, item) is not item:
            what = f"_id {item_id!r} occurs twice"
            raise DataError(row.path, row.number, what, "ids must be unique")
    if not found:
        raise DataError(path, None, "is empty", "expected one JSON object a line: _id, text")
    return found


def row_id(row: Row, keys: tuple[str, ...] = ("_id", "id")) -> str:
    """The row's id; an integer is its digits.

    Raises:
        DataError: there is none, or none that a TREC file could carry.
    """
    found = next((row.fields[key] for key in keys if row.fields.get(key) is not None), None)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if found is None:
        raise DataError(row.path, row.number, f'missing "{keys[0]}"', _FIELDS)
    if not isinstance(found, str) or not found:
        remedy = "expected a string that is not empty"
        raise DataError(row.path, row.number, f"{keys[0]} {_shown(found)}", remedy)
    if _NO_ID.search(found):
        remedy = "TREC files cannot hold white space or control characters in ids; use _ instead"
        raise DataError(row.path, row.number, f"{keys[0]} {_shown(found)}", remedy)
    return found


def row_text(row: Row, key: str) -> str:
    """A field that must be there and be text.

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
    """A value of any size, fit for an error's one line."""
    words = repr(value)
    return words if len(words) <= 80 else words[:79] + "…"
