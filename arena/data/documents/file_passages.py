"""Cut one file into passages, once for each content."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import orjson

from arena.data import csv_file
from arena.data.documents import (
    cleaning,
    file_text,
    files,
    html_text,
    mail_files,
    notebook_files,
    office_files,
    pdf_files,
    rst_files,
    splitting,
    table_files,
)
from arena.data.documents.file_text import FileRecord, FileText, UnreadableError
from arena.data.documents.files import read_text
from arena.data.documents.splitting import Passage, count_words, split_text
from arena.digest import digest

PACKAGES: Final = (
    "docutils",
    "firecrawl-anydoc",
    "python-calamine",
    "semantic-text-splitter",
    "markdown-it-py",
    "markdownify",
    "beautifulsoup4",
    "selectolax",
    "pypdfium2",
)
"""What decides, beside arena, which passages a file has."""

_MODULES: Final = (
    csv_file,
    files,
    file_text,
    html_text,
    cleaning,
    mail_files,
    notebook_files,
    office_files,
    pdf_files,
    rst_files,
    splitting,
    table_files,
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


@dataclass(frozen=True, slots=True)
class Cut:
    """What a file has been made into."""

    title: str = ""  #: as the file gives it; empty if it does not
    passages: tuple[Passage, ...] = ()
    right_to_left: bool = False  #: it has letters of Arabic or Hebrew
    problem: str = ""  #: why it cannot be read, and what to do


def cut_file(raw: bytes, suffix: str, words: int) -> Cut:
    """Cut the content of a file into passages.

    Args:
        raw: all of it.
        suffix: what its name ends in, one of `arena.data.documents.files.READERS`.
        words: the most words of a passage.

    Raises:
        UsageError: a package is not installed.
    """
    try:
        found = read_text(raw, suffix)
    except UnreadableError as error:
        return Cut(problem=str(error))
    passages = tuple(_passages(found, words))
    return Cut(found.title, passages, bool(_RIGHT_TO_LEFT.search(found.text)))


def _passages(file_text: FileText, words: int) -> Iterator[Passage]:
    yield from split_text(file_text.text, markdown=file_text.markdown, words=words)
    for record in file_text.records:
        if record.cells:
            for text in row_texts(record.cells, words):
                yield Passage(text, record.headings, top=False)
        else:
            for passage in split_text(record.text, markdown=record.markdown, words=words):
                yield _under(record, passage)


def _under(record: FileRecord, passage: Passage) -> Passage:
    return Passage(passage.text, (*record.headings, *passage.headings), top=False)


def row_texts(cells: Sequence[tuple[str, str]], words: int) -> Iterator[str]:
    """Yield the passages of a row: one, unless it has more than ``words`` words.

    Each value is on a line of its own behind the name of its column. A value that is longer
    than a passage is cut, and each part repeats the name.
    """
    lines: list[str] = []
    free = words
    for line in (line for name, value in cells for line in _cell_lines(name, value, words)):
        size = count_words(line)
        if lines and size > free:
            yield "\n".join(lines)
            lines, free = [], words
        lines.append(line)
        free -= size
    if lines:
        yield "\n".join(lines)


def _cell_lines(name: str, value: str, words: int) -> Iterator[str]:
    prefix = f"{name}: " if name else ""
    free = words - count_words(prefix)
    if free < words // 2:
        prefix, free = "", words  # a name as long as a passage
    if count_words(value) <= free:
        yield prefix + value
        return
    for part in split_text(value, markdown=False, words=free):
        yield prefix + part.text


def cut_key(raw: bytes, suffix: str, words: int) -> bytes:
    """Return the cache key of what `cut_file` makes of this content with this version."""
    return digest(_readers(), suffix, str(words), raw)


def text_key(text: str, splitter: str, words: int, overlap: int) -> bytes:
    """Return the cache key of the passages of a document's text."""
    return digest(_readers(), "text", splitter, str(words), str(overlap), text)


def packed(cut: Cut) -> bytes:
    """Return the bytes that arena stores and sends."""
    passages = [(passage.text, passage.headings, passage.top) for passage in cut.passages]
    return zlib.compress(
        orjson.dumps((cut.title, passages, cut.right_to_left, cut.problem)), level=1
    )


def unpacked(raw: bytes) -> Cut | None:
    """Return the cut from its `packed` bytes; None if they are damaged."""
    try:
        title, passages, right_to_left, problem = orjson.loads(zlib.decompress(raw))
        found = tuple(Passage(text, tuple(headings), top) for text, headings, top in passages)
    except (zlib.error, orjson.JSONDecodeError, TypeError, ValueError):
        return None
    return Cut(title, found, right_to_left, problem)


@cache
def _readers() -> bytes:
    """Return a hash of the readers: their source and the versions of their packages.

    A version number kept by hand would be forgotten, and outdated passages would stay in use.
    """
    sources = [Path(str(module.__file__)).read_bytes() for module in (*_MODULES,)]
    return digest(*sources, *map(_version, PACKAGES))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
