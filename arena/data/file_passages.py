"""Cut one file into passages, once for each content."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import orjson

from arena.data import chunking as split
from arena.data import cleaning as junk
from arena.data import document_files, html_text
from arena.data.chunking import Passage, split_text
from arena.data.document_files import UnreadableError, read_text
from arena.digest import digest

PACKAGES: Final = (
    "semantic-text-splitter",
    "markdown-it-py",
    "markdownify",
    "beautifulsoup4",
    "selectolax",
    "pypdfium2",
)
"""What decides, beside arena, which passages a file has."""

_MODULES: Final = (document_files, html_text, junk, split)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


@dataclass(frozen=True, slots=True)
class Cut:
    """What a file has been made into."""

    title: str = ""  #: as the file gives it; empty where it does not
    passages: tuple[Passage, ...] = ()
    right_to_left: bool = False  #: it has letters of Arabic or Hebrew
    problem: str = ""  #: why it cannot be read, and what to do


def cut_file(raw: bytes, suffix: str, words: int) -> Cut:
    """Cut the content of a file into passages.

    Args:
        raw: all of it.
        suffix: what its name ends in, one of `arena.data.document_files.READERS`.
        words: the most words of a passage.

    Raises:
        UsageError: a package is not installed.
    """
    try:
        found = read_text(raw, suffix)
    except UnreadableError as error:
        return Cut(problem=str(error))
    passages = tuple(split_text(found.text, markdown=found.markdown, words=words))
    return Cut(found.title, passages, bool(_RIGHT_TO_LEFT.search(found.text)))


def cut_key(raw: bytes, suffix: str, words: int) -> bytes:
    """Return the cache key of what `cut_file` makes of this content with this version."""
    return digest(_readers(), suffix, str(words), raw)


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
