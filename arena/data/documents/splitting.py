"""Split texts into passages (chunks): Markdown at headings, other text at sentences and lines.

The semantic-text-splitter package cuts at the largest unit (section, paragraph, sentence, word)
whose parts fit. A passage therefore begins and ends at the author's own boundaries.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any, Final

from arena.optional import needed

_BLOCK: Final = 100_000
"""Characters that are cut at once."""

_UNBROKEN = re.compile(r"\S{5000}+")
"""Where a block ends early: the splitter's time grows with the square of a text without any white
space."""

_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, which put no space between words."""

_WORD = re.compile(rf"[{_UNSPACED}]{{1,2}}|[^\s{_UNSPACED}]{{1,20}}")
_Path = tuple[tuple[int, str], ...]
"""Level and words of headings, outermost first."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text."""

    text: str
    headings: tuple[str, ...]  #: that all of it stands under, outermost first
    top: bool  #: whether the outermost of them is of the first level, as a text's title is


def count_words(text: str) -> int:
    """Return the number of words between white space; two characters count as one in other scripts.

    A string of twenty characters counts as at most one word, so no address or code is a short
    passage.
    """
    return len(_WORD.findall(text))


def split_text(text: str, *, markdown: bool, words: int, overlap: int = 0) -> Iterator[Passage]:
    """Yield passages of at most ``words`` words; white space around them is left out.

    Args:
        text: with line feeds alone as line ends.
        markdown: whether headings, lists and code are to be seen in it.
        words: as `count_words` counts them.
        overlap: words at most that a passage repeats of the one before it.
    """
    library = needed("semantic_text_splitter", "cutting documents into passages")
    kind = library.MarkdownSplitter if markdown else library.TextSplitter
    splitter = kind.from_callback(count_words, words, overlap=overlap)
    paths = list(_heading_paths(text)) if markdown else []
    starts = [start for start, _ in paths]
    for begin, end in _blocks(text):
        for offset, chunk in splitter.chunk_indices(text[begin:end]):
            if chunk.strip():
                start = begin + offset
                first, last = bisect_right(starts, start), bisect_left(starts, start + len(chunk))
                path = _common(
                    [paths[first - 1][1] if first else (), *(path for _, path in paths[first:last])]
                )
                names = tuple(name for _, name in path)
                yield Passage(chunk.strip(), names, top=bool(path) and path[0][0] == 1)


def split_words(text: str, *, words: int, overlap: int = 0) -> Iterator[Passage]:
    """Yield passages of ``words`` words each, wherever they end; the last one may be shorter.

    Args:
        text: any.
        words: as `count_words` counts them.
        overlap: words that a passage repeats of the one before it; less than ``words``.
    """
    found = [(word.start(), word.end()) for word in _WORD.finditer(text)]
    for first in range(0, len(found), words - overlap):
        part = found[first : first + words]
        yield Passage(text[part[0][0] : part[-1][1]], (), top=False)
        if first + words >= len(found):
            return


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of blocks, each cut at the emptiest place near its end."""
    begin = 0
    while begin < len(text):
        end = min(begin + _BLOCK, len(text))
        if end < len(text):
            found = (
                text.rfind(gap, begin + _BLOCK // 2, end) for gap in ("\n#", "\n\n", "\n", " ")
            )
            end = next((place for place in found if place > 0), end - 1) + 1
        if unbroken := _UNBROKEN.search(text, begin, end):
            end = unbroken.end()
        yield begin, end
        begin = end


def _common(paths: Sequence[_Path]) -> _Path:
    """Return the common beginning of all paths."""
    same = takewhile(lambda step: len(set(step)) == 1, zip(*paths, strict=False))
    return tuple(step[0] for step in same)


def _heading_paths(text: str) -> Iterator[tuple[int, _Path]]:
    """Yield the start of each heading, with level and words of it and of its parents."""
    starts, tokens = markdown_blocks(text)
    path: _Path = ()
    for token, words in pairwise(tokens):
        if token.type == "heading_open" and token.map:
            level = int(token.tag[1:])
            above = tuple(heading for heading in path if heading[0] < level)
            path = (*above, (level, " ".join(words.content.split())))
            yield starts[token.map[0]], path


def markdown_blocks(text: str) -> tuple[list[int], list[Any]]:
    """Return the start of each line of a Markdown text, and its blocks from markdown-it."""
    parser = needed("markdown_it", "reading Markdown").MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts, parser.parse(text)
