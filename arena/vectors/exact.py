"""Find the exact nearest documents by cosine, in bounded memory, with exact ties.

A matrix product in single precision finds the candidates. Its rounding depends on the shapes of its
blocks, so two copies of one document may differ. arena then scores the candidates within the error
bound again in double precision, each by itself, and rounds to single precision. A score therefore
depends on the two vectors alone, and equal vectors tie.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_BLOCK_QUERIES = 1024
_BLOCK_SCORES = 2**21
"""Scores of one matrix product, and numbers of its documents: 8 MB, about what caches hold."""

_BLOCK_EXACT = 4096
"""Documents that are scored in double precision at a time."""

_ROUNDING = 2.0**-23


class Vectors(Protocol):
    """Vectors in rows: an array, a memory map, or rows gathered from one when they are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return documents and numbers of each: ``(n_documents, dim)``."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the numbers."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Rows, /) -> NDArray[Any]: ...


class CosineIndex:
    """A corpus of vectors that can be searched; it holds no copy of them.

    Args:
        vectors: ``(n_documents, dim)``, finite, of any length, in single or half precision. A
            zero vector has no direction: it is never found, and as a query it finds nothing.
        doc_ids: the documents' names; ties are ordered by them.
        memory_mb: the most that a search may take beside the vectors themselves.
    """

    def __init__(self, vectors: Vectors, doc_ids: Sequence[str], *, memory_mb: int = 1024) -> None:
        self._vectors = vectors
        self._doc_ids = doc_ids
        self._scale = _all_inverse_norms(vectors)
        self._zeros = np.flatnonzero(self._scale == 0)
        lengths = self._scale[self._scale > 0]
        # Products of such numbers leave the range of single precision.
        self._extreme = bool(lengths.size and (lengths.min() < 1e-15 or lengths.max() > 1e15))
        # Standard bound for a dot product, doubled, with room for the rounding of its factors.
        self._error = (vectors.shape[1] + 8) * _ROUNDING
        self._memory = max(memory_mb * 2**20 - self._scale.nbytes, 2**24)

    @property
    def n_bytes(self) -> int:
        """Return the bytes of all vectors."""
        return len(self._vectors) * self._vectors.shape[1] * self._vectors.dtype.itemsize

    def search(self, queries: Floats, top_k: int) -> list[list[tuple[str, float]]]:
        """Return the ``top_k`` best documents of each query with their cosine, best first.

        Equal to sorting all documents by descending score and ascending doc_id.

        Args:
            queries: ``(n_queries, dim)``.
            top_k: fewer are found only where fewer documents have a direction.
        """
        ranked: list[list[tuple[str, float]]] = []
        # A query holds its scores of a block, who waits, and who is kept: 32 bytes a place.
        size = min(_BLOCK_QUERIES, max(1, self._memory // (64 * (4096 + 4 * top_k))))
        for first in range(0, len(queries), size):
            ranked += self._search_block(queries[first : first + size], top_k)
        return ranked

    def _search_block(self, queries: Floats, top_k: int) -> Iterator[list[tuple[str, float]]]:
        unit = queries * _inverse_norms(queries)[:, None]  # float64
        directed = np.flatnonzero(unit.any(axis=1)).tolist()
        rows = dict(zip(directed, self._candidates(unit[directed], top_k), strict=True))
        for query in range(len(queries)):
            best = self._best(unit[query], rows[query], top_k) if query in rows else []
            yield [(doc_id, -minus) for minus, doc_id, _ in best]

    def _candidates(self, unit: NDArray[np.float64], top_k: int) -> list[Rows]:
        """Return for each query every row that may be among its ``top_k`` best."""
        if not len(unit):
            return []
        single = unit.astype(np.float32)
        width = max(1, _BLOCK_SCORES // max(unit.shape))
        starts = range(0, len(self._vectors), width)
        waiting = iter(starts)  # of all threads: who is done takes the next

        def settle(query: int, rows: Rows) -> tuple[Rows, float]:
            best = self._best(unit[query], rows, top_k)
            return np.array([row for _, _, row in best]), -best[-1][0]

        def work(_: object) -> Shortlist:
            shortlist = Shortlist(len(unit), top_k, self._error, settle)
            scores = np.empty(len(unit) * width, np.float32)
            for first in waiting:
                shortlist.offer(first, self._rough(single, slice(first, first + width), scores))
            return shortlist

        needed = width * (6 * len(unit) + 8 * unit.shape[1])
        n_threads = min(len(starts), os.cpu_count() or 1, self._memory // needed)
        # One thread of the matrix library in each of arena's threads: choosing also runs in
        # parallel, and no block waits for a suspended thread.
        with _matrix_library().limit(limits=1, user_api="blas"):
            if n_threads < 2:
                return work(None).rows()
            with ThreadPoolExecutor(n_threads) as pool:
                return join_shortlists(list(pool.map(work, range(n_threads))))

    def _rough(self, single: Floats, part: slice, scores: Floats) -> Floats:
        """Return cosines in single precision, ``(n_queries, n_rows)``, written over ``scores``."""
        block = self._vectors[part]
        scale = self._scale[part]
        if self._extreme:
            block = block * scale[:, None]
        rough = scores[: len(single) * len(block)].reshape(len(single), len(block))
        np.matmul(single, block.astype(np.float32, copy=False).T, out=rough)
        if not self._extreme:
            rough *= scale.astype(np.float32)
        first, last = np.searchsorted(self._zeros, [part.start, part.stop])
        rough[:, self._zeros[first:last] - part.start] = -np.inf
        return rough

    def _best(
        self, unit: NDArray[np.float64], rows: Rows, top_k: int
    ) -> list[tuple[float, str, int]]:
        """Return the ``top_k`` best of some rows: minus the score, doc_id, row; best first."""
        scores = np.empty(len(rows), np.float32)
        for first in range(0, len(rows), _BLOCK_EXACT):
            part = slice(first, first + _BLOCK_EXACT)
            products = self._vectors[rows[part]] * unit
            scores[part] = products.sum(axis=1) * self._scale[rows[part]]
        if len(rows) > top_k:
            kept = np.flatnonzero(scores >= np.partition(scores, -top_k)[-top_k])
            rows, scores = rows[kept], scores[kept]
        named = (
            (-score, self._doc_ids[row], row)
            for score, row in zip(scores.tolist(), rows.tolist(), strict=True)
        )
        return heapq.nsmallest(top_k, named)


def places(doc_ids: Sequence[str]) -> Rows:
    """Return for each document its place in the order of doc_ids."""
    order = sorted(range(len(doc_ids)), key=doc_ids.__getitem__)
    place = np.empty(len(doc_ids), np.int64)
    place[order] = np.arange(len(doc_ids))
    return place


def _all_inverse_norms(vectors: Vectors) -> NDArray[np.float64]:
    inverse = np.empty(len(vectors))
    for first in range(0, len(vectors), _BLOCK_EXACT):
        block = vectors[first : first + _BLOCK_EXACT]
        inverse[first : first + len(block)] = _inverse_norms(block)
    return inverse


def _inverse_norms(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Return one over each row's length; 0 for a zero vector."""
    double = vectors.astype(np.float64)
    norms: NDArray[np.float64] = np.sqrt((double * double).sum(axis=1))
    return np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)


@cache
def _matrix_library() -> Any:
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415

    return ThreadpoolController()


Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
_CROWD = 4096
"""This many rows within the error bound of one place are told apart at once, not at the end."""

_MANY = 2**18
"""This many of one block are taken query by query, so that they are never in memory all at once."""

_LOWEST = np.finfo(np.float32).min
"""Below every score, and above that of a row that is never to be found."""


class Shortlist:
    """Rows whose rough score is within the error bound of the ``top_k`` best of a query.

    Args:
        n_queries: the number of queries.
        top_k: of each.
        error: how far a rough score may be from the exact one.
        settle: given a query's number and rows, the exactly best ``top_k`` of the rows and the
            exact score of the last of them.
    """

    def __init__(
        self,
        n_queries: int,
        top_k: int,
        error: float,
        settle: Callable[[int, Rows], tuple[Rows, float]],
    ) -> None:
        self._top_k = top_k
        self._error = error
        self._settle = settle
        self._cutoffs = np.full(n_queries, _LOWEST, np.float32)
        self._rows = [np.empty(0, np.int64) for _ in range(n_queries)]
        self._rough = [np.empty(0, np.float32) for _ in range(n_queries)]
        self._waiting: list[tuple[NDArray[np.int64], Rows, Floats]] = []
        self._n_waiting = 0

    def offer(self, first: int, rough: Floats) -> None:
        """Take what may be among the best; a score of minus infinity never is.

        Args:
            first: the row of the first column.
            rough: ``(n_queries, n_rows)``.
        """
        if rough.shape[1] >= self._top_k and (self._cutoffs == _LOWEST).any():
            best = np.partition(rough, -self._top_k, axis=1)[:, -self._top_k]
            self._raise_cutoffs(slice(None), best)
        promising = rough >= self._cutoffs[:, None]
        n_promising = int(np.count_nonzero(promising))
        if n_promising > _MANY:
            self._sort_in()
            for query, row in enumerate(promising):
                columns = np.flatnonzero(row)
                self._add(query, first + columns, rough[query, columns])
        elif n_promising:
            queries, columns = np.divmod(np.flatnonzero(promising), rough.shape[1])
            self._waiting.append((queries, first + columns, rough[queries, columns]))
            self._n_waiting += n_promising
        if self._n_waiting > len(self._rows) * self._top_k:
            self._sort_in()

    def rows(self) -> list[Rows]:
        """Return for each query the rows that may be among its best."""
        self._sort_in()
        return self._rows

    def _sort_in(self) -> None:
        """Merge each query's waiting rows, and drop those below its cutoff."""
        if not self._waiting:
            return
        queries, rows, rough = map(np.concatenate, zip(*self._waiting, strict=True))
        self._waiting, self._n_waiting = [], 0
        order = np.argsort(queries, kind="stable")
        rows, rough = rows[order], rough[order]
        bounds = np.searchsorted(queries[order], np.arange(len(self._rows) + 1))
        for query in np.flatnonzero(np.diff(bounds)).tolist():
            new = slice(bounds[query], bounds[query + 1])
            self._add(query, rows[new], rough[new])

    def _add(self, query: int, rows: Rows, rough: Floats) -> None:
        rows = np.concatenate([self._rows[query], rows])
        rough = np.concatenate([self._rough[query], rough])
        if len(rows) > self._top_k:
            best = np.partition(rough, -self._top_k)[-self._top_k]
            self._raise_cutoffs(query, best)
            near = np.flatnonzero(rough >= self._cutoffs[query])
            if len(near) > max(_CROWD, 2 * self._top_k):
                # This many ties: only exact scores and names tell which of them may go.
                settled, last = self._settle(query, rows[near])
                near = np.flatnonzero(np.isin(rows, settled))
                self._raise_cutoffs(query, np.float32(last), exact=True)
            rows, rough = rows[near], rough[near]
        self._rows[query], self._rough[query] = rows, rough

    def _raise_cutoffs(
        self, queries: int | slice, best: Floats | np.float32, *, exact: bool = False
    ) -> None:
        margin = self._error if exact else 2 * self._error
        cutoffs = np.nextafter(np.float32(best - margin), np.float32(-np.inf))
        self._cutoffs[queries] = np.maximum(self._cutoffs[queries], cutoffs)


def join_shortlists(shortlists: Sequence[Shortlist]) -> list[Rows]:
    """Return for each query the rows of all shortlists."""
    return [np.concatenate(rows) for rows in zip(*(s.rows() for s in shortlists), strict=True)]
