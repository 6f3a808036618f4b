"""Rank by several weights or vectors a text: sparse encoders, and late interaction."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from arena.config import ModelConfig
from arena.embedding.local.token_models import EncodeTokens, TokenModel, open_token_model
from arena.errors import ApiError
from arena.records import RetrievalStats, Role
from arena.retrieval.job import LATENCY_SAMPLES, RankingJob, Rankings
from arena.vectors.exact import places
from arena.vectors.token_files import TokenStore

Scores = NDArray[np.float64]
"""(n_documents,) of one query; a document that is not found has 0 or less."""

_ENCODED: Final = 64
"""Documents whose vectors are stored together."""

_BLOCK: Final = 64 * 2**20
"""Bytes of vectors that are searched at once. It never changes, so that sums never do."""


def rank_by_tokens(
    job: RankingJob, model: ModelConfig, *, cache: Path
) -> tuple[Rankings, RetrievalStats]:
    """Score every document for each query, after encoding the texts that the cache lacks.

    A sparse encoder scores by the sum over words of both weights. Late interaction scores by
    MaxSim: the sum over the query's tokens of their largest product with a token of the document
    (Khattab and Zaharia 2020, arXiv:2004.12832). Both are exact: nothing is left out by an index.

    Args:
        job: what is searched, and for what.
        model: its provider is ``splade`` or ``colbert``.
        cache: the folder of the cache.

    Raises:
        ApiError: the model gave unusable vectors.
        DataError: the cache is unusable.
        UsageError: the model cannot be loaded.
    """
    encoder = _LazyModel(open_token_model(model))
    texts = list(job.queries.values())
    with (
        TokenStore(cache, encoder.settings, "document") as documents,
        TokenStore(cache, encoder.settings, "query") as queries,
    ):
        n_encoded = encoder.encode_missing(job.corpus.texts, documents, "document", job)
        n_encoded += encoder.encode_missing(texts[:LATENCY_SAMPLES], queries, "query", alone=True)
        n_encoded += encoder.encode_missing(texts, queries, "query")
        of_queries = queries.vectors(texts)
        search = _BlockSearch(job, of_queries, sparse=model.provider == "splade")
        for names, vectors in _blocks(job, documents):
            search.add(names, vectors)
        rankings, search_ms = search.finished()
        encode_ms = queries.latency_ms(texts[:LATENCY_SAMPLES])
        seconds = documents.seconds(list(dict.fromkeys(job.corpus.texts)))
    return rankings, RetrievalStats(
        latency_ms=tuple(
            own + searching
            for own, searching in zip(encode_ms, search_ms, strict=True)
            if own is not None
        ),
        dimension=search.width if model.provider == "colbert" else None,
        embedded=n_encoded,
        documents_per_s=len(job.corpus) / seconds if seconds else None,
        bytes_per_vector=search.n_bytes / len(job.corpus),
        index_bytes=search.n_bytes,
    )


class _LazyModel:
    """A model that is loaded when there is a text to encode."""

    def __init__(self, local: TokenModel) -> None:
        self.settings = local.settings
        self._local = local
        self._width = 0

    @cached_property
    def _encode(self) -> EncodeTokens:
        return self._local.load()

    def encode_missing(
        self,
        texts: Sequence[str],
        store: TokenStore,
        role: Role,
        job: RankingJob | None = None,
        *,
        alone: bool = False,
    ) -> int:
        """Store the vectors of the texts that have none yet; return how many these are."""
        missing = store.missing(texts)
        if alone and missing:
            self._encode(["warm-up"], role)
        size = 1 if alone else _ENCODED
        for first in range(0, len(missing), size):
            batch = [texts[place] for place in missing[first : first + size]]
            encode = self._encode  # its loading is no latency
            began = time.perf_counter()
            vectors = encode(batch, role)
            seconds = time.perf_counter() - began
            _check(vectors, len(batch), self._width)
            self._width = vectors[0].shape[1]
            store.put(batch, vectors, seconds, alone=alone)
            if job is not None:
                job.embedded(len(texts) - len(missing) + first + len(batch))
        return len(missing)


def _check(vectors: Sequence[NDArray[np.float32]], n_texts: int, width: int) -> None:
    if len(vectors) != n_texts:
        raise ApiError("garbage", f"vectors of {len(vectors)} texts for {n_texts}")
    for part in vectors:
        if part.ndim != 2 or not part.shape[1]:
            raise ApiError("garbage", f"vectors of shape {part.shape} for one text")
        width = width or part.shape[1]
        if part.shape[1] != width:
            raise ApiError("garbage", f"{part.shape[1]} numbers in a vector, {width} in others")
        if not np.isfinite(part).all():
            raise ApiError("garbage", "a vector holds NaN or an infinity")


def _blocks(
    job: RankingJob, store: TokenStore
) -> Iterator[tuple[list[str], list[NDArray[np.float32]]]]:
    """Yield doc_ids with their vectors, about `_BLOCK` bytes at once."""
    names: list[str] = []
    block: list[NDArray[np.float32]] = []
    size = 0
    for first in range(0, len(job.corpus), _ENCODED):
        part = slice(first, first + _ENCODED)
        names += job.corpus.doc_ids[part]
        block += store.vectors(job.corpus.texts[part])
        size += sum(vectors.nbytes for vectors in block[-_ENCODED:])
        if size >= _BLOCK:
            yield names, block
            names, block, size = [], [], 0
    if names:
        yield names, block


class TokenBlock(Protocol):
    """Some documents that can be scored."""

    def scores(self, query: NDArray[np.float32]) -> Scores:
        """Return the score of each document for a query's vectors."""


class SparseBlock:
    """Documents of a sparse encoder.

    Args:
        documents: (n_words, 2) of each: a word's number, and its weight.
    """

    def __init__(self, documents: Sequence[NDArray[np.float32]]) -> None:
        from scipy.sparse import csc_array  # noqa: PLC0415

        lengths = [len(part) for part in documents]
        rows = np.repeat(np.arange(len(documents)), lengths)
        pairs = np.concatenate([part.reshape(-1, 2) for part in documents])
        words, weights = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.float64)
        self._n_words = int(words.max(initial=-1)) + 1
        self._weights = csc_array((weights, (rows, words)), shape=(len(documents), self._n_words))

    def scores(self, query: NDArray[np.float32]) -> Scores:
        """Return the sum over common words of the products of both weights."""
        words, weights = query[:, 0].astype(np.int64), query[:, 1].astype(np.float64)
        known = words < self._n_words
        scores: Scores = self._weights[:, words[known]] @ weights[known]
        return scores


class LateBlock:
    """Documents of a model of late interaction.

    Args:
        documents: (n_tokens, dim) of each.
    """

    def __init__(self, documents: Sequence[NDArray[np.float32]]) -> None:
        lengths = np.array([len(part) for part in documents])
        self._filled = np.flatnonzero(lengths)
        self._n_documents = len(documents)
        self._starts = np.concatenate([[0], np.cumsum(lengths[self._filled])[:-1]]).astype(int)
        self._tokens = np.concatenate(documents)

    def scores(self, query: NDArray[np.float32]) -> Scores:
        """Return MaxSim, shifted so that every document with a token is above 0."""
        scores = np.zeros(self._n_documents)
        if len(self._filled) and len(query):
            products = query @ self._tokens.T
            best = np.maximum.reduceat(products, self._starts, axis=1)
            # Products of unit vectors are at least -1.
            scores[self._filled] = best.sum(axis=0, dtype=np.float64) + 2 * len(query)
        return scores


@dataclass(slots=True)
class _Best:
    """The best documents of a query so far."""

    doc_ids: list[str]
    scores: Scores

    def add(self, names: Sequence[str], scores: Scores, depth: int) -> None:
        rows = np.flatnonzero(scores > 0)
        if len(rows) > depth:
            cutoff = np.partition(scores[rows], -depth)[-depth]
            rows = rows[scores[rows] >= cutoff]
        doc_ids = self.doc_ids + [names[row] for row in rows.tolist()]
        joined = np.concatenate([self.scores, scores[rows]])
        order = np.lexsort((places(doc_ids), -joined))[:depth]
        self.doc_ids = [doc_ids[place] for place in order.tolist()]
        self.scores = joined[order]


class _BlockSearch:
    """Every query against one block of documents after the other."""

    def __init__(
        self, job: RankingJob, queries: Sequence[NDArray[np.float32]], *, sparse: bool
    ) -> None:
        self._job = job
        self._sparse = sparse
        self._queries = queries
        self._best = [_Best([], np.empty(0)) for _ in queries]
        self._ms = np.zeros(min(LATENCY_SAMPLES, len(queries)))
        self.n_bytes = 0
        self.width = 0

    def add(self, names: Sequence[str], vectors: Sequence[NDArray[np.float32]]) -> None:
        self.n_bytes += sum(part.nbytes for part in vectors)
        self.width = vectors[0].shape[1]
        block: TokenBlock = SparseBlock(vectors) if self._sparse else LateBlock(vectors)
        for number, query in enumerate(self._queries):
            began = time.perf_counter()
            scores = block.scores(query)
            self._best[number].add(names, scores, self._job.depth)
            if number < len(self._ms):
                self._ms[number] += (time.perf_counter() - began) * 1000

    def finished(self) -> tuple[Rankings, list[float]]:
        shift = [0 if self._sparse else 2 * len(query) for query in self._queries]
        rankings = {
            query_id: [
                (doc_id, score - less)
                for doc_id, score in zip(best.doc_ids, best.scores.tolist(), strict=True)
            ]
            for query_id, best, less in zip(self._job.queries, self._best, shift, strict=True)
        }
        self._job.searched(len(rankings))
        return rankings, self._ms.tolist()
