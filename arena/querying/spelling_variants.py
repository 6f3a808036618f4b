"""Find queries that differ only in how they are written: case, marks, or the spelling of a word.

Words that are one edit apart share a string with one letter deleted from either, so candidates are
found without comparing each word with each: time and memory grow with the number of distinct words.
(Symmetric deletion, as in SymSpell by W. Garbe; the distance is that of optimal string alignment.)
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Final

import numpy as np

LEAST_LETTERS: Final = 6
"""A shorter word that differs in one letter is likely another word: black and blank."""

_LONGEST_WORD: Final = 30
_MOST_ALIKE: Final = 50
"""Words that share a string, above which nothing is concluded from it."""


class _Marks(dict[int, str]):
    """Code point → what normal form it has: a blank for punctuation, blanks and controls."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = unicodedata.category(character)[0] not in "PZC" or character == "#"
        self[code] = character if kept else " "
        return self[code]


_MARKS = _Marks()


def normal_form(text: str) -> str:
    """Return the words of a query: case, punctuation, width of letters and blanks are one.

    Symbols stay, and so does ``#``: C, C++ and C# are three languages.
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().translate(_MARKS).split())


def spellings(words: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the words that are one edit from another, each with those.

    An edit inserts, deletes or replaces a letter, or swaps two neighbours. Both words have at least
    `LEAST_LETTERS` letters, no digit, and begin alike: a mistake is rarely in the first letter.

    Args:
        words: in normal form; each is looked at once.
    """
    from rapidfuzz.distance import OSA  # noqa: PLC0415

    kept = sorted({word for word in words if _may_be_misspelt(word)})
    near: dict[str, set[str]] = {}
    for group in _sharing_a_deletion(kept):
        for one, other in combinations(group, 2):
            a, b = kept[one], kept[other]
            if a[0] == b[0] and OSA.distance(a, b, score_cutoff=1) <= 1:
                near.setdefault(a, set()).add(b)
                near.setdefault(b, set()).add(a)
    return {word: tuple(sorted(others)) for word, others in near.items()}


def respelt(query: str, near: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield a query with one of its words spelt in another way.

    Args:
        query: in normal form.
        near: of `spellings`.
    """
    words = query.split(" ")
    for place, word in enumerate(words):
        for other in near.get(word, ()):
            yield " ".join((*words[:place], other, *words[place + 1 :]))


def _may_be_misspelt(word: str) -> bool:
    return (
        LEAST_LETTERS <= len(word) <= _LONGEST_WORD
        and word.isalpha()
        and not any(map(_is_whole_word, word))
    )


def _is_whole_word(character: str) -> bool:
    """Return whether it may be a word of its own: Chinese, Japanese, Thai and their like."""
    return unicodedata.category(character) == "Lo" and not "\u0590" <= character <= "\u08ff"


def _sharing_a_deletion(words: list[str]) -> Iterator[list[int]]:
    """Yield the places of words that are equal once each has lost one letter or none."""
    hashes, places = array("q"), array("I")
    for place, word in enumerate(words):
        parts = {word, *(word[:n] + word[n + 1 :] for n in range(len(word)))}
        hashes.extend(map(hash, parts))
        places.extend([place] * len(parts))
    if not hashes:
        return
    values = np.frombuffer(hashes, np.int64)
    order = np.argsort(values, kind="stable")
    ordered, owners = values[order], np.frombuffer(places, np.uint32)[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, len(ordered)])
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        if size <= _MOST_ALIKE:
            yield sorted(set(owners[start : start + size].tolist()))
