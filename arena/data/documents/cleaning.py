"""Remove what is not text from documents: embedded pictures, machine-made strings, marks.

Each rule describes a thing, not its source, and takes time in proportion to the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from arena.data.documents.splitting import markdown_blocks

_LINK_TARGET: Final = 500
"""Characters above which what a link points to is data, and no address."""

_UNBROKEN: Final = 200
"""Characters without white space above which a mixture of signs is no word, address or name."""

_LONG_LINE: Final = 1000
"""Characters above which nothing but white space within them makes a text of them."""

_LONG_WORDS: Final = 25
"""Characters that the words of a long line have on average, above which they are none."""

_MIXED: Final = 3 / 8
"""Changes between capitals, small letters, digits and signs for each character. Random letters as
in base64 have .6, hexadecimal digits .5, and words, paths and names less than .25."""

_URI: Final = "\0"
"""Where something was whose marks go with it; no text that is read holds this character."""

_DATA_URI = re.compile(
    r"data:(?:[a-z]++/[\w.+-]++)?+(?:;[\w-]++(?:=[\w.-]++)?+)*+,"
    r"[^\s\"'<>()\[\]`]{40,}+(?:\s*+[A-Za-z0-9+/=]{40,}+)*+(?:\s++[A-Za-z0-9+/]++=++)?+",
    re.IGNORECASE,
)

_LONG_TARGET = re.compile(rf"(?<=\]\()<?[^\s()<>\[\]]{{{_LINK_TARGET},}}+>?")

_AROUND_URI = [
    (re.compile(rf"!?\[([^\[\]]*)\]\([ \t]*<?{_URI}[^()\n]*\)"), r"\1"),
    (re.compile(rf"^ {{0,3}}\[[^\[\]\n]+\]:[ \t]*<?{_URI}.*\n?", re.MULTILINE), ""),
    (re.compile(rf"<[a-zA-Z][^<>{_URI}]*{_URI}[^<>]*>"), ""),
    (re.compile(rf"url\([\"']?{_URI}[\"']?\)"), ""),
    (re.compile(_URI), ""),
]

_RUN = re.compile(rf"[!-+\--:<-{{}}~]{{{_UNBROKEN},}}+")
"""ASCII without white space and what parts the cells of a table; no script is written so."""

_WRAPPED = re.compile(
    r"(?:^[ \t>]*+[A-Za-z0-9+/]{50,}+={0,2}+[ \t]*+$\n?){3,}+(?:^[ \t>]*+[A-Za-z0-9+/]++=++$\n?)?+",
    re.MULTILINE,
)

_UNBROKEN_LINE = re.compile(rf"[!-{{}}~]{{{_LONG_LINE},}}+")
_LONG = re.compile(rf"^.{{{_LONG_LINE},}}+$", re.MULTILINE)
_KIND = re.compile(r"[a-z]+|[A-Z]+|[0-9]+|[^a-zA-Z0-9]+")

_NOT_SHOWN = re.compile(
    r"<!--|<(script|style|svg|template|noscript|iframe|object)(?=[\s>/])", re.IGNORECASE
)
"""Begins what a browser shows nothing of, or nothing that is text."""

_SIGNS = re.compile(
    r"\[[^\[\]\w]*\]\(#[^()\s]*(?:[ \t]+\"[^\"\n()]*\")?\)"
    r"|<a(?=[\s>])(?![^<>]*\shref=[\"']?[^\"'#])[^<>]*>[^<>\w]*</a>",
    re.IGNORECASE,
)
"""A link to a place of the same page that holds no word, or such a place itself."""

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t][^\n]*\}[ \t]*#*[ \t]*$", re.MULTILINE)
_HEADING_ID = re.compile(r"\{:?[ \t]*#[^\s{}]+[ \t]*\}[ \t]*#*[ \t]*$")


def without_data(text: str) -> str:
    """Remove machine-made data from any kind of text.

    That is ``data:`` addresses with the marks around them, lines of base64, lines with almost no
    white space, and long strings of mixed signs.
    """
    text = _DATA_URI.sub(_URI, text.replace(_URI, ""))
    text = _LONG_TARGET.sub(_URI, text)
    if _URI in text:
        for pattern, words in _AROUND_URI:
            text = pattern.sub(words, text)
    text = _WRAPPED.sub(_unless_words, text)
    text = _UNBROKEN_LINE.sub(_unless_rule, text)
    text = _LONG.sub(_unless_sentences, text)
    return _RUN.sub(_unless_words, text)


def without_marks(text: str) -> str:
    """Remove from Markdown what a browser would not show, except in quoted code.

    That is comments, scripts, styles and drawings in HTML, and the signs in headings that link to
    the headings themselves.
    """
    if not (_NOT_SHOWN.search(text) or _SIGNS.search(text) or _HEADING.search(text)):
        return text
    code = _code_spans(text)
    pieces, end = [], 0
    for start, stop in sorted(_marks(text)):
        while code and code[-1][1] <= start:
            code.pop()
        if start < end or (code and code[-1][0] <= start):
            continue
        pieces.append(text[end:start])
        end = _with_blank(text, start, stop)
    return "".join([*pieces, text[end:]])


def is_sign(words: str) -> bool:
    """Return whether a link shows only a sign."""
    return not any(character.isalnum() for character in words)


def _unless_words(found: re.Match[str]) -> str:
    """Return an empty text for a string that changes kinds of characters too often."""
    run = found[0]
    n_parts = sum(1 for _ in _KIND.finditer(run)) - run.count("\n")
    return "" if n_parts > _MIXED * len(run) else run


def _unless_rule(found: re.Match[str]) -> str:
    """Return an empty text for a string without white space, except for a line drawn with signs."""
    return "" if any(map(str.isalnum, found[0])) else found[0]


def _unless_sentences(found: re.Match[str]) -> str:
    """Return an empty text for a line of ASCII with almost no white space; table rows stay."""
    line = found[0]
    foreign = len(line) - len(line.encode("ascii", "ignore"))
    if line.lstrip().startswith("|") or foreign > len(line) / 20:
        return line
    words = [word for word in line.split() if any(map(str.isalnum, word))]
    return "" if sum(map(len, words)) > _LONG_WORDS * len(words) else line


def _marks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of everything that a browser would not show."""
    yield from _unshown(text)
    for sign in _SIGNS.finditer(text):
        yield sign.span()
    for heading in _HEADING.finditer(text):
        opening = heading[0].rfind("{")
        if _HEADING_ID.match(heading[0], opening):
            start = heading.start() + len(heading[0][:opening].rstrip())
            yield start, heading.end()


def _unshown(text: str) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of comments and of elements without text; unclosed ones stay."""
    lower, end = text.lower(), 0
    unclosed: set[str] = set()
    for opening in _NOT_SHOWN.finditer(text):
        name = (opening[1] or "").lower()
        if opening.start() < end or name in unclosed:
            continue
        closing = f"</{name}>" if name else "-->"
        place = lower.find(closing, opening.end()) if len(lower) == len(text) else -1
        if place < 0:
            unclosed.add(name)
            continue
        end = place + len(closing)
        yield opening.start(), end


def _with_blank(text: str, start: int, stop: int) -> int:
    """Return the end of a mark, with the line end or the space that would remain of it."""
    before = text[start - 1] if start else "\n"
    after = text[stop : stop + 1]
    gone = after in ("\n", " ") and (before == "\n" or before == after == " ")
    return stop + 1 if gone else stop


def _code_spans(text: str) -> list[tuple[int, int]]:
    """Return the begin and end of the code that Markdown quotes, the last one first."""
    starts, tokens = markdown_blocks(text)
    spans: list[tuple[int, int]] = []
    for token in tokens:
        if token.map is None:
            continue
        begin, end = starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]
        if token.type in ("fence", "code_block"):
            spans.append((begin, end))
        elif token.type == "inline":
            spans += _quoted(text, begin, end)
    return sorted(spans, reverse=True)


def _quoted(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of code within a paragraph: as many backticks close as open it."""
    ticks = list(re.compile("`+").finditer(text, begin, end))
    later: dict[int, list[int]] = {}
    for number in range(len(ticks) - 1, -1, -1):
        later.setdefault(len(ticks[number][0]), []).append(number)
    number = 0
    while number < len(ticks):
        same = later[len(ticks[number][0])]
        while same and same[-1] <= number:
            same.pop()
        if same:
            closing = same.pop()
            yield ticks[number].start(), ticks[closing].end()
            number = closing
        number += 1
