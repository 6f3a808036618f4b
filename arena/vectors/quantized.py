"""Search indexes that hold few bits of each vector: cheaper to store, at some loss.

They rank by the stored codes, without a second scoring by the full vectors. All of their arithmetic
is exact, so that equal codes tie in any corpus.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.vectors.exact import Floats, Rows, Shortlist, Vectors

Doubles = NDArray[np.float64]
Words = NDArray[np.unsignedinteger[Any]]

Ranges = tuple[Doubles, Doubles]
"""The least and the greatest number of each dimension; infinities where there is no vector."""

Score = Callable[[slice, slice | Rows], Floats]
"""Of some queries and some documents, ``(n_queries, n_documents)``."""

_BLOCK_QUERIES = 64
_BLOCK_NUMBERS = 2**18
"""Numbers of a block of documents in double precision: 2 MB, which stay near the processor."""
_BLOCK_SIGNS = 2**16
"""Documents whose signs are compared at a time."""
_QUERY_BITS = 24


class Int8Index:
    """One byte a dimension: in which of 256 steps of the corpus' range a number lies.

    The steps of a dimension go from the least to the greatest number that the corpus has there,
    as in ``quantize_embeddings`` of Sentence Transformers. A query keeps its precision, and a
    document counts as the middle of its steps, as in the scalar quantizer of Faiss
    (arXiv:2401.08281). Vectors are brought to length 1 first.

    Args:
        vectors: ``(n_documents, dim)``, finite; none of it is kept.
        doc_ids: the documents' names; ties are ordered by them.
        ranges: `ranges_of` a larger corpus that these vectors are a part of; if None, their own.
    """

    def __init__(
        self, vectors: Vectors, doc_ids: Sequence[str], *, ranges: Ranges | None = None
    ) -> None:
        self._doc_ids = doc_ids
        self._undirected = _undirected(vectors)
        low, high = ranges_of(vectors) if ranges is None else ranges
        known = np.isfinite(low)
        self._low, high = np.where(known, low, 0), np.where(known, high, 0)
        self._step = (high - self._low) / 255
        divisor = np.where(self._step > 0, self._step, 1)
        self._codes = np.empty(vectors.shape, np.uint8)
        for first, block in _blocks(vectors):
            steps = (_unit(block) - self._low) / divisor
            self._codes[first : first + len(block)] = steps.clip(0, 255)

    @property
    def n_bytes(self) -> int:
        """Return one byte for each number of each document."""
        return self._codes.nbytes

    def search(self, queries: Floats, top_k: int) -> list[list[tuple[str, float]]]:
        """Return the ``top_k`` best documents of each query with their score, best first.

        The score is the cosine, except for the rounding of the document.

        Args:
            queries: ``(n_queries, dim)``.
            top_k: fewer are found only where fewer documents have a direction.
        """
        width = max(_BLOCK_NUMBERS // self._codes.shape[1], top_k)
        found: list[list[tuple[str, float]]] = []
        for first in range(0, len(queries), _BLOCK_QUERIES):
            score = self._score(_unit(queries[first : first + _BLOCK_QUERIES]))
            found += _nearest(score, self._doc_ids, top_k=top_k, width=width)
        return found

    def _score(self, unit: Doubles) -> Score:
        """Return the function that scores these queries.

        A query becomes whole numbers of 24 bits. Its products with codes and their sums are whole
        numbers below 2^53, which double precision adds without rounding.
        """
        weights = unit * self._step
        scale = np.maximum(np.abs(weights).max(axis=1, keepdims=True), 1e-300) / 2**_QUERY_BITS
        whole = np.rint(weights / scale)
        middle = (unit * (self._low + self._step / 2)).sum(axis=1, keepdims=True)
        nowhere: NDArray[np.bool_] = np.logical_not(unit.any(axis=1))

        def score(some: slice, documents: slice | Rows) -> Floats:
            sums = whole[some] @ self._codes[documents].astype(np.float64).T
            scores = (middle[some] + scale[some] * sums).astype(np.float32)
            scores[nowhere[some]] = -np.inf
            return _buried(scores, documents, self._undirected)

        return score


class BinaryIndex:
    """One bit a dimension: whether a number is above zero.

    Documents and queries keep only their signs. The nearest documents differ in the fewest signs
    (Hamming distance), as in ``IndexBinaryFlat`` of Faiss and in the first step of BPR
    (arXiv:2106.00882). The score is the cosine of the signs, 1 - 2 · distance / dimension. There
    are few distances, so that documents often tie.

    Args:
        vectors: ``(n_documents, dim)``, finite; none of it is kept.
        doc_ids: the documents' names; ties are ordered by them.
    """

    def __init__(self, vectors: Vectors, doc_ids: Sequence[str]) -> None:
        self._doc_ids = doc_ids
        self._undirected = _undirected(vectors)
        n, self._dimension = vectors.shape
        like = _signs(vectors[:1])
        # One word of all documents lies together, so that each step runs through whole registers.
        self._words = np.empty((like.shape[1], n), like.dtype)
        for first, block in _blocks(vectors):
            self._words[:, first : first + len(block)] = _signs(block).T

    @property
    def n_bytes(self) -> int:
        """Return one byte for every eight numbers of a document."""
        return self._words.nbytes

    def search(self, queries: Floats, top_k: int) -> list[list[tuple[str, float]]]:
        """Return the ``top_k`` best documents of each query with their score, best first.

        Args:
            queries: ``(n_queries, dim)``.
            top_k: fewer are found only where fewer documents have a direction.
        """
        found: list[list[tuple[str, float]]] = []
        for first in range(0, len(queries), _BLOCK_QUERIES):
            score = self._score(queries[first : first + _BLOCK_QUERIES])
            found += _nearest(score, self._doc_ids, top_k=top_k, width=_BLOCK_SIGNS)
        return found

    def _score(self, queries: Floats) -> Score:
        signs = _signs(queries)
        nowhere: NDArray[np.bool_] = np.logical_not(queries.any(axis=1))

        def score(some: slice, documents: slice | Rows) -> Floats:
            words = self._words[:, documents]
            distance = np.zeros((len(signs[some]), words.shape[1]), np.uint16)
            for row, query in enumerate(signs[some]):
                for word, sign in zip(words, query, strict=True):
                    distance[row] += _count_bits(word ^ sign)
            scores = (1 - distance * (2 / self._dimension)).astype(np.float32)
            scores[nowhere[some]] = -np.inf
            return _buried(scores, documents, self._undirected)

        return score


def halved(vectors: Vectors) -> NDArray[Any]:
    """Return the vectors in two bytes a number, scaled to length 1 so that none is out of range."""
    half = np.empty(vectors.shape, np.float16)
    for first, block in _blocks(vectors):
        half[first : first + len(block)] = _unit(block)
    return half


def _nearest(
    score: Score, doc_ids: Sequence[str], *, top_k: int, width: int
) -> list[list[tuple[str, float]]]:
    """Return the best documents of each query by ``score``, ``width`` documents at a time."""

    def best(query: int, rows: Rows) -> list[tuple[float, str, int]]:
        scores = score(slice(query, query + 1), rows)[0]
        named = (
            (-value, doc_ids[row], row)
            for value, row in zip(scores.tolist(), rows.tolist(), strict=True)
        )
        return heapq.nsmallest(top_k, named)

    def settle(query: int, rows: Rows) -> tuple[Rows, float]:
        settled = best(query, rows)
        return np.array([row for _, _, row in settled]), -settled[-1][0]

    parts = (slice(first, first + width) for first in range(0, len(doc_ids), width))
    blocks = ((part.start, score(slice(None), part)) for part in parts)
    first, scores = next(blocks)
    shortlist = Shortlist(len(scores), top_k, 0.0, settle)
    shortlist.offer(first, scores)
    for first, scores in blocks:
        shortlist.offer(first, scores)
    return [
        [(doc_id, -minus) for minus, doc_id, _ in best(query, rows)]
        for query, rows in enumerate(shortlist.rows())
    ]


def _buried(scores: Floats, documents: slice | Rows, undirected: Rows) -> Floats:
    """Return the scores, lowered for documents without a direction so that none is found."""
    if isinstance(documents, slice):
        first, last = np.searchsorted(undirected, [documents.start, documents.stop])
        scores[:, undirected[first:last] - documents.start] = -np.inf
    return scores


def _blocks(vectors: Vectors) -> Iterator[tuple[int, NDArray[Any]]]:
    width = max(_BLOCK_NUMBERS // max(vectors.shape[1], 1), 1)
    for first in range(0, len(vectors), width):
        yield first, vectors[first : first + width]


def _unit(vectors: NDArray[Any]) -> Doubles:
    """Return vectors of length 1; one without a direction stays zero."""
    double = vectors.astype(np.float64)
    norms: Doubles = np.sqrt((double * double).sum(axis=1, keepdims=True))
    return np.divide(double, norms, out=np.zeros_like(double), where=norms > 0)


def _undirected(vectors: Vectors) -> Rows:
    rows = [first + np.flatnonzero(~block.any(axis=1)) for first, block in _blocks(vectors)]
    return np.concatenate([np.empty(0, np.int64), *rows])


def ranges_of(vectors: Vectors) -> Ranges:
    """Return the range of each dimension, over vectors with a direction, at length 1."""
    low, high = (np.full(vectors.shape[1], edge) for edge in (np.inf, -np.inf))
    for _, block in _blocks(vectors):
        unit = _unit(block[block.any(axis=1)])
        low = np.minimum(low, unit.min(axis=0, initial=np.inf))
        high = np.maximum(high, unit.max(axis=0, initial=-np.inf))
    return low, high


def joined_ranges(ranges: Sequence[Ranges]) -> Ranges:
    """Return the ranges of a corpus from those of its parts."""
    lows, highs = zip(*ranges, strict=True)
    return np.minimum.reduce(lows), np.maximum.reduce(highs)


def _signs(vectors: NDArray[Any]) -> Words:
    """Return the packed signs, ``(n_vectors, n_words)``, in the longest words that fit."""
    packed = np.packbits(vectors > 0, axis=1)
    size = next(size for size in (8, 4, 2, 1) if packed.shape[1] % size == 0)
    return packed.view(f"u{size}")


def _counted_by_table(words: Words) -> NDArray[np.uint8]:
    """Return the number of set bits of each word, for NumPy before 2.0, which lacks it."""
    table = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, words.itemsize)
    counts: NDArray[np.uint8] = table[octets].sum(axis=-1, dtype=np.uint8)
    return counts


_count_bits: Callable[[Words], NDArray[np.uint8]] = getattr(np, "bitwise_count", _counted_by_table)
