"""Rank by vectors: embed through the cache, build an index, search it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from arena.config.models import Precision
from arena.embedding.embedder import CutCounter, Embedder
from arena.errors import ApiError
from arena.records import RetrievalStats
from arena.retrieval.job import LATENCY_SAMPLES, Job, Rankings
from arena.vectors.cache import embed_cached, embed_missing
from arena.vectors.digests import DistinctTexts
from arena.vectors.indexes import Index, open_index
from arena.vectors.store import StoredVectors, VectorStore


def rank_by_vectors(
    job: Job,
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
        dimensions: so many numbers of each vector, the first ones, are searched; all if None.

    Raises:
        ApiError: the embedder failed, or gave vectors that are unusable, or shorter than
            ``dimensions``.
    """
    store = VectorStore(cache, embedder.settings, "document")
    digests, n_embedded = embed_missing(
        embedder, job.corpus.texts, store, progress=lambda done, _: job.embedded(done)
    )
    texts = DistinctTexts(store.find(digests), job.corpus.doc_ids)
    queries, n_queries = _embed_queries(embedder, list(job.queries.values()), cache)
    whole, of_query = store.dimension, queries.vectors.shape[1]
    if of_query not in (0, whole):
        detail = f"{of_query} numbers for a query, {whole} for a document"
        raise ApiError("garbage", detail)
    dimension = whole if dimensions is None else dimensions
    if dimension > whole:
        what = f"dimensions = {dimension}, but its vectors have {whole}"
        raise ApiError("garbage", f"{what}; give a smaller number, or none")
    vectors = store.rows(texts.rows, dimension)
    queries = replace(queries, vectors=queries.vectors[:, :dimension])
    index = open_index(vectors, texts.doc_ids, precision=precision, memory_mb=job.memory_mb)
    rankings, search_ms = _search(index, job, queries)
    latency_ms = queries.latency_ms[: len(search_ms)] + search_ms
    tokens = store.tokens(texts.rows)
    return _of_documents(rankings, texts, job.depth), RetrievalStats(
        latency_ms=tuple(latency_ms[~np.isnan(latency_ms)].tolist()),
        dimension=dimension,
        embedded=n_embedded + n_queries,
        tokens=None if tokens is None or queries.tokens is None else tokens + queries.tokens,
        tokens_per_document=_ratio(tokens, len(texts.rows)),
        tokens_per_query=_ratio(queries.tokens, len({*job.queries.values()})),
        documents_per_s=store.texts_per_s(texts.rows),
        bytes_per_vector=index.n_bytes / len(vectors),
        index_bytes=index.n_bytes,
        n_cut=embedder.n_cut["document"]
        if n_embedded and isinstance(embedder, CutCounter)
        else None,
    )


def _ratio(tokens: int | None, n_texts: int) -> float | None:
    return tokens / n_texts if tokens is not None and n_texts else None


def _of_documents(rankings: Rankings, texts: DistinctTexts, depth: int) -> Rankings:
    return {query_id: texts.expanded(found, depth) for query_id, found in rankings.items()}


def _embed_queries(
    embedder: Embedder, texts: Sequence[str], cache: Path
) -> tuple[StoredVectors, int]:
    """Embed the first few one at a time, to measure them; then all, of which those are cached."""
    store = VectorStore(cache, embedder.settings, "query")
    _, alone = embed_cached(embedder, texts[:LATENCY_SAMPLES], store, alone=True)
    queries, together = embed_cached(embedder, texts, store)
    return queries, alone + together


def _search(index: Index, job: Job, queries: StoredVectors) -> tuple[Rankings, np.ndarray]:
    """Return rankings of all queries, and the milliseconds of each of the first ones."""
    vectors = queries.vectors
    n_alone = min(LATENCY_SAMPLES, len(vectors))
    if n_alone:
        index.search(vectors[:1], job.depth)
    found = []
    search_ms = np.empty(n_alone)
    for number in range(n_alone):
        started = time.perf_counter()
        found += index.search(vectors[number : number + 1], job.depth)
        search_ms[number] = (time.perf_counter() - started) * 1000
        job.searched(number + 1)
    found += index.search(vectors[n_alone:], job.depth)
    job.searched(len(vectors))
    return dict(zip(job.queries, found, strict=True)), search_ms
