"""BM25 over words of any language, or stems of one, and over the parts of code identifiers."""

from __future__ import annotations

import importlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain, groupby, pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from arena.errors import UsageError
from arena.vectors.exact import places

K1: Final = 1.2
"""How soon more occurrences of a word stop to count."""

B: Final = 0.75
"""How much a long document has to hold more of them."""

Stem = Callable[[str], str]
"""A term to what it has in common with its other forms."""

_POINTS = re.compile(
    "[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]"
)
"""Accents, Hebrew and Arabic points and the tatweel: one word with and without them."""

_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+)"
)
"""Scripts without spaces between words, and Hangul, whose endings stick to the words."""

_ARABIC = re.compile("[\u0620-\u06ff]+")
"""Letters whose hamza goes before their stemming, as in Lucene's ArabicAnalyzer."""

_SEAM = re.compile(r"_+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where an identifier's parts meet: ``snake_case``, ``camelCase``, ``HTTPServer``."""

_SHORT: Final = 40
"""Letters of a word whose terms are remembered: words are foreign text, and some are megabytes."""


def tokenize(text: str, stem: Stem | None = None) -> list[str]:
    """Cut a text into the terms that BM25 counts.

    A term is a run of letters, digits and marks, case folded, without accents and points.
    Scripts that put no space between words give overlapping pairs of characters, as Lucene's
    CJKAnalyzer does. An identifier gives itself and its parts. There are no stopwords: those of
    one language (``die``, ``for``) are words of another, and the idf makes frequent words light
    in all of them.

    Args:
        text: in any language, or in several.
        stem: what each term becomes; terms stay as they are if absent.
    """
    if stem is not None:
        text = _POINTS.sub("", unicodedata.normalize("NFKC", text))
        words = _words().findall(_ARABIC.sub(lambda run: _bare(run[0]), text))
        return [stem(term) for word in words for term in _terms(word)]
    return [term for word in _words().findall(_bare(text)) for term in _terms(word)]


def stemmer(language: str) -> Stem:
    """Return the Snowball stemmer of a language (https://snowballstem.org).

    It sees the accents of a term, which tell one ending from another; what it leaves loses them.

    Args:
        language: a name of `arena.config.languages.LANGUAGES`.

    Raises:
        UsageError: PyStemmer is missing, or too old for this language.
    """
    try:
        snowball = importlib.import_module("Stemmer").Stemmer(language)
    except (ImportError, KeyError):
        raise UsageError(
            f'language = "{language}" needs PyStemmer; pip install --upgrade PyStemmer'
        ) from None
    return cache(lambda term: _bare(snowball.stemWord(term)))


class Bm25Index:
    """A corpus that can be searched for words.

    Lucene's form of BM25 with k1 = 1.2 and b = 0.75, computed by bm25s (arXiv 2407.03618).

    Args:
        corpus: doc_id → the text to find it by.
        language: whose stems are counted; words as they are if absent.

    Raises:
        UsageError: there is no stemmer of this language.
    """

    def __init__(self, corpus: Mapping[str, str], *, language: str | None = None) -> None:
        import bm25s  # noqa: PLC0415

        self._stem = None if language is None else stemmer(language)

        self._doc_ids = list(corpus)
        self._place = places(self._doc_ids)  # in the order of doc_ids
        vocabulary: dict[str, int] = {}
        documents = [
            [vocabulary.setdefault(term, len(vocabulary)) for term in tokenize(text, self._stem)]
            for text in corpus.values()
        ]
        self._index = None
        if vocabulary:
            self._index = bm25s.BM25(method="lucene", k1=K1, b=B)
            self._index.index((documents, vocabulary), show_progress=False)

    def search(self, query: str, top_k: int) -> list[tuple[str, float]]:
        """Return the ``top_k`` best documents with their scores, best first, ties by doc_id.

        A document that shares no term with the query is not found.
        """
        terms = tokenize(query, self._stem)
        if self._index is None or not terms:
            return []
        return best_scored(self._index.get_scores(terms), self._doc_ids, self._place, top_k)


def best_scored(
    scores: NDArray[Any], doc_ids: Sequence[str], position: NDArray[np.int64], top_k: int
) -> list[tuple[str, float]]:
    """Return the ``top_k`` documents with the highest scores above 0, best first, ties by doc_id.

    Args:
        scores: of each document.
        doc_ids: their names.
        position: of each in the order of doc_ids, as `arena.vectors.exact.places` gives it.
        top_k: fewer are found where fewer have a score.
    """
    rows = np.flatnonzero(scores > 0)
    if len(rows) > top_k:
        cutoff = np.partition(scores[rows], -top_k)[-top_k]
        rows = rows[scores[rows] >= cutoff]
    order = np.lexsort((position[rows], -scores[rows]))[:top_k]
    return [(doc_ids[row], float(scores[row])) for row in rows[order]]


def _bare(text: str) -> str:
    """Return a text without the accents and points that do not make another word."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _POINTS.sub("", unicodedata.normalize("NFKD", text)))


def _terms(word: str) -> Sequence[str]:
    """Return the terms of a word; few words make up most of a corpus, so they are remembered."""
    return _terms_of_short(word) if len(word) <= _SHORT else tuple(_cut(word))


@lru_cache(maxsize=2**15)
def _terms_of_short(word: str) -> tuple[str, ...]:
    return tuple(_cut(word))


def _cut(word: str) -> Iterator[str]:
    for place, piece in enumerate(_UNSPACED.split(word)):
        if place % 2:
            yield from (map("".join, pairwise(piece)) if piece[1:] else piece)
        elif piece:
            parts = [part.casefold() for part in _SEAM.split(piece) if part]
            yield piece.casefold()
            if len(parts) > 1:
                yield from parts


@cache
def _words() -> re.Pattern[str]:
    r"""Return the pattern of words; ``\w`` alone breaks words at vowel signs of many scripts."""
    planes = chain(range(0x20000), range(0xE0000, 0xE1000))  # the others have no marks
    marks = [code for code in planes if unicodedata.category(chr(code))[0] == "M"]
    ranges = []
    for _, group in groupby(enumerate(marks), key=lambda pair: pair[1] - pair[0]):
        codes = [code for _, code in group]
        ranges.append(f"{chr(codes[0])}-{chr(codes[-1])}")
    return re.compile(rf"[\w{''.join(ranges)}]+")
