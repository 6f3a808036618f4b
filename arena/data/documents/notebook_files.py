"""Read Jupyter notebooks (.ipynb) as Markdown: their cells in order, with what they print.

Code stands between fences. Of the results only text is read: no picture, no page, no traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from arena.data.documents.cleaning import without_data, without_marks
from arena.data.documents.file_text import FileText, UnreadableError, decoded

_PRINTED: Final = 5000
"""Characters of one result above which the rest is left out: a log, and no text."""

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_REWRITTEN = re.compile(r"^[^\n]*\r(?=[^\n])", re.MULTILINE)
"""What a bar of progress showed before."""

_FENCE = re.compile("`{3,}")


def read_notebook(raw: bytes) -> FileText:
    """Read a notebook of any version of its format.

    Raises:
        UnreadableError: it is no notebook.
    """
    try:
        notebook = orjson.loads(decoded(raw))
    except orjson.JSONDecodeError as error:
        raise UnreadableError(f"is no notebook: {error.msg}; save it again") from None
    if not isinstance(notebook, dict):
        raise UnreadableError("is no notebook; save it again")
    sheets = [sheet for sheet in _items(notebook.get("worksheets")) if isinstance(sheet, dict)]
    cells = [cell for each in (notebook, *sheets) for cell in _items(each.get("cells"))]
    if not cells and "cells" not in notebook and not sheets:
        raise UnreadableError("is no notebook: it has no cells; save it again")
    metadata = notebook.get("metadata")
    title = metadata.get("title") if isinstance(metadata, dict) else ""
    blocks = [block for cell in cells if isinstance(cell, dict) for block in _blocks(cell)]
    text = "\n\n".join(block for block in blocks if block.strip())
    text = without_marks(without_data(text.replace("\r", "\n")))
    return FileText(title if isinstance(title, str) else "", text, markdown=True)


def _blocks(cell: dict[str, Any]) -> Iterator[str]:
    source = _text(cell.get("source", cell.get("input")))
    kind = cell.get("cell_type")
    if kind == "heading":  # of the format before 2014
        level = cell.get("level")
        yield f"{'#' * (level if isinstance(level, int) and 1 <= level <= 6 else 1)} {source}"
    elif kind != "code":
        yield source
    else:
        yield _fenced(source)
        for output in _items(cell.get("outputs")):
            if isinstance(output, dict):
                yield _result(output)


def _result(output: dict[str, Any]) -> str:
    """Return what a cell printed or returned; Markdown is not fenced."""
    kinds = output.get("data", output)
    if not isinstance(kinds, dict):
        return ""
    if markdown := _text(kinds.get("text/markdown")):
        return markdown[:_PRINTED]
    printed = _text(kinds.get("text/plain", output.get("text")))
    printed = _REWRITTEN.sub("", _COLOURS.sub("", printed))
    return _fenced(printed[:_PRINTED])


def _fenced(text: str) -> str:
    if not text.strip():
        return ""
    longest = max(map(len, _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{text.strip(chr(10))}\n{fence}"


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a text, which a notebook may hold as a list of lines."""
    if isinstance(value, list):
        value = "".join(line for line in value if isinstance(line, str))
    return value.replace("\r\n", "\n") if isinstance(value, str) else ""
