"""Text as a language model is shown it: cut by words, without anything that could mislead it."""

from __future__ import annotations

import re
from itertools import islice

_TAG = re.compile(r"[<＜](?=\s*+(?:/\s*+)?(?:document|query)\b)", re.IGNORECASE)
# C0 and C1 controls but for tab and newline, lone surrogates, marks that reorder text on screen,
# and the invisible tag characters in which instructions can be hidden.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)
# What counts as one word: two Han or kana characters, five of a script that writes no spaces,
# or a run of anything else; a run of more than 60 characters is nobody's word.
_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]{1,2}"
    "|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{1,5}"
    "|[^\\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{1,60}"
)
_CUT = " […]"


def count_words(text: str, *, most: int | None = None) -> int:
    """How many words a text has, counted no further than ``most``.

    Scripts without spaces are counted in characters.
    """
    return sum(1 for _ in islice(_WORD.finditer(text), most))


def cut(text: str, words: int) -> str:
    """The first so many words of a text, with the cut marked.

    Scripts without spaces are counted in characters, so that no text gets by uncut.
    """
    for count, word in enumerate(_WORD.finditer(text), start=1):
        if count > words:
            return text[: word.start()].rstrip() + _CUT
    return text


def clean(text: str) -> str:
    """Text without control characters, runs of empty lines, or anything that looks like a tag."""
    text = _UNPRINTABLE.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return re.sub(r"\n\s*\n", "\n\n", _TAG.sub("‹", text)).strip()
