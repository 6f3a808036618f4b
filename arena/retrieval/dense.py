"""Rank by vectors: embed through the cache, build an index, search it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.config.models import Precision
from arena.embedding.embedder import CutCounter, Embedder
from arena.errors import ApiError
from arena.records import RetrievalStats
from arena.retrieval.job import LATENCY_SAMPLES, RankingJob, Rankings
from arena.vectors.cache import embed_cached, embed_missing
from arena.vectors.digests import DistinctTexts
from arena.vectors.exact import Vectors
from arena.vectors.indexes import Index, open_index
from arena.vectors.quantized import Ranges
from arena.vectors.vector_files import StoredVectors, VectorStore

_ALONE_S: Final = 60.0
"""Longest time of searches for one query at a time, if there were enough to measure."""

_LEAST_ALONE: Final = 10
"""Queries that are searched one at a time, however long that takes."""


def rank_by_vectors(
    job: RankingJob,
    embedder: Embedder,
    *,
    cache: Path,
    precision: Precision = "float32",
    dimensions: int | None = None,
) -> tuple[Rankings, RetrievalStats]:
    """Embed the texts that the cache lacks, and search the corpus for each query.

    Args:
        job: what is searched, and for what.
        embedder: gives the vectors, which the cache keeps whole.
        cache: its folder.
        precision: of the index.
        dimensions: this many numbers of each vector, the first ones, are searched; all if None.

    Raises:
        ApiError: the embedder failed, or gave vectors that are unusable, or shorter than
            ``dimensions``.
    """
    corpus = embed_corpus(job, embedder, cache)
    queries, n_queries = embed_queries(embedder, list(job.queries.values()), cache)
    search = search_vectors(job, corpus, queries, precision=precision, dimensions=dimensions)
    latency_ms = queries.latency_ms[: len(search.search_ms)] + search.search_ms
    tokens, n_texts = corpus.tokens, len(corpus.texts.rows)
    return search.rankings, RetrievalStats(
        latency_ms=measured_latencies(latency_ms),
        dimension=search.dimension,
        embedded=corpus.embedded + n_queries,
        tokens=None if tokens is None or queries.tokens is None else tokens + queries.tokens,
        tokens_per_document=share_of_total(tokens, n_texts),
        tokens_per_query=share_of_total(queries.tokens, len({*job.queries.values()})),
        documents_per_s=corpus.texts_per_s,
        bytes_per_vector=search.index_bytes / n_texts,
        index_bytes=search.index_bytes,
        n_cut=corpus.n_cut,
    )


@dataclass(frozen=True, slots=True)
class EmbeddedCorpus:
    """Texts whose vectors are in a store."""

    store: VectorStore
    texts: DistinctTexts
    embedded: int  #: texts that were embedded now
    n_cut: int | None  #: of these, how many the model cut; None if unknown

    @property
    def tokens(self) -> int | None:
        """Return the billed tokens of the distinct texts; None if the model does not report any."""
        return self.store.tokens(self.texts.rows)

    @property
    def texts_per_s(self) -> float | None:
        """Return how fast the texts were embedded; None if not known."""
        return self.store.texts_per_s(self.texts.rows)

    def vectors(self, dimensions: int | None) -> Vectors:
        """Return the first numbers of the distinct texts' vectors, all if None.

        Raises:
            ApiError: the vectors are shorter.
        """
        whole = self.store.dimension
        if dimensions is not None and dimensions > whole:
            what = f"dimensions = {dimensions}, but its vectors have {whole}"
            raise ApiError("garbage", f"{what}; give a smaller number, or none")
        return self.store.rows(self.texts.rows, whole if dimensions is None else dimensions)


def embed_corpus(job: RankingJob, embedder: Embedder, cache: Path) -> EmbeddedCorpus:
    """Embed the texts of a corpus that the cache lacks.

    Raises:
        ApiError: the embedder failed; every batch that succeeded is kept.
    """
    before = embedder.n_cut["document"] if isinstance(embedder, CutCounter) else 0
    store = VectorStore(cache, embedder.settings, "document")
    digests, embedded = embed_missing(
        embedder, job.corpus.texts, store, progress=lambda done, _: job.embedded(done)
    )
    texts = DistinctTexts(store.find(digests), job.corpus.doc_ids)
    n_cut = None
    if embedded and isinstance(embedder, CutCounter):
        n_cut = embedder.n_cut["document"] - before
    return EmbeddedCorpus(store, texts, embedded, n_cut)


def embed_queries(
    embedder: Embedder, texts: Sequence[str], cache: Path
) -> tuple[StoredVectors, int]:
    """Embed the first few one at a time, to measure them; then all, of which those are cached.

    Returns:
        The vectors of all texts, and how many of these were embedded now.

    Raises:
        ApiError: the embedder failed.
    """
    store = VectorStore(cache, embedder.settings, "query")
    _, alone = embed_cached(embedder, texts[:LATENCY_SAMPLES], store, alone=True)
    queries, together = embed_cached(embedder, texts, store)
    return queries, alone + together


@dataclass(frozen=True, slots=True)
class VectorSearch:
    """What the search of a corpus has found."""

    rankings: Rankings
    search_ms: NDArray[np.float64]  #: of each of the first queries, one at a time
    dimension: int  #: numbers of each vector that were compared
    index_bytes: int


def search_vectors(  # noqa: PLR0913  the last is what is known of a larger corpus
    job: RankingJob,
    corpus: EmbeddedCorpus,
    queries: StoredVectors,
    *,
    precision: Precision,
    dimensions: int | None,
    ranges: Ranges | None = None,
) -> VectorSearch:
    """Find the best documents of an embedded corpus for each query.

    Args:
        job: its queries are searched for.
        corpus: the texts.
        queries: the vectors of the queries, whole.
        precision: of the index.
        dimensions: this many numbers of each vector are compared; all if None.
        ranges: of ``int8``, those of a larger corpus that this one is a part of.

    Raises:
        ApiError: queries and documents have vectors of different lengths, or shorter than
            ``dimensions``.
    """
    whole, of_query = corpus.store.dimension, queries.vectors.shape[1]
    if of_query not in (0, whole):
        detail = f"{of_query} numbers for a query, {whole} for a document"
        raise ApiError("garbage", detail)
    vectors = corpus.vectors(dimensions)
    queries = replace(queries, vectors=queries.vectors[:, : vectors.shape[1]])
    index = open_index(
        vectors,
        corpus.texts.doc_ids,
        precision=precision,
        memory_mb=job.memory_mb,
        ranges=ranges,
    )
    of_texts, search_ms = _search(index, job, queries)
    rankings = {
        query_id: corpus.texts.expanded(ranking, job.depth)
        for query_id, ranking in of_texts.items()
    }
    return VectorSearch(rankings, search_ms, vectors.shape[1], index.n_bytes)


def measured_latencies(latency_ms: NDArray[np.float64]) -> tuple[float, ...]:
    """Return latencies without those of queries that were not embedded alone."""
    return tuple(latency_ms[~np.isnan(latency_ms)].tolist())


def share_of_total(total: int | None, n_texts: int) -> float | None:
    """Return what one of some texts has of a total; None if unknown."""
    return total / n_texts if total is not None and n_texts else None


def _search(index: Index, job: RankingJob, queries: StoredVectors) -> tuple[Rankings, np.ndarray]:
    """Return rankings of all queries, and the milliseconds of each of the first ones."""
    vectors = queries.vectors
    if len(vectors):
        index.search(vectors[:1], job.depth)
    rankings = []
    search_ms: list[float] = []
    for number in range(min(LATENCY_SAMPLES, len(vectors))):
        # Each of these reads all vectors, where a batch reads them once.
        if number >= _LEAST_ALONE and sum(search_ms) > 1000 * _ALONE_S:
            break
        started = time.perf_counter()
        rankings += index.search(vectors[number : number + 1], job.depth)
        search_ms.append((time.perf_counter() - started) * 1000)
        job.searched(number + 1)
    rankings += index.search(vectors[len(search_ms) :], job.depth)
    job.searched(len(vectors))
    return dict(zip(job.queries, rankings, strict=True)), np.array(search_ms)
