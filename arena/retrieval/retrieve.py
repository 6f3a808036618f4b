"""One model's rankings of one data set: by vectors, by BM25, or read from a run file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from arena.config import RETRIEVAL_DEPTH, ModelConfig
from arena.data.trec import read_run, separate_ties
from arena.errors import ApiError, UsageError
from arena.records import Dataset, Document, RetrievalStats, Run
from arena.retrieval.bm25 import Bm25Index
from arena.retrieval.embed import Embedder
from arena.retrieval.embed_api import ApiEmbedder
from arena.retrieval.top_k import CosineIndex
from arena.retrieval.vector_store import StoredVectors, VectorStore
from arena.retrieval.vectors import embed_cached

LATENCY_SAMPLES = 200
"""Queries that are embedded and searched one at a time; any more go in batches."""

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""

_Rankings = dict[str, list[tuple[str, float]]]


def retrieve(  # noqa: PLR0913  the last three are options
    model: ModelConfig,
    dataset: Dataset,
    query_ids: Sequence[str],
    *,
    depth: int = RETRIEVAL_DEPTH,
    cache: Path,
    progress: Progress | None = None,
) -> tuple[Run, RetrievalStats]:
    """Rank the corpus for each query, and say what that took.

    Documents are searched by title, space, text. One that has no text at all is never found;
    nor does BM25 find one that shares no word with the query, so a ranking may be short.
    Latency is measured one query at a time, after a warm-up: embedding, plus search. Where the
    cache has the query, its embedding took what it took when it was embedded.

    Args:
        model: what ranks.
        dataset: its corpus is searched.
        query_ids: for these queries.
        depth: documents kept of each ranking.
        cache: the folder of the vector cache, see `arena.retrieval.vectors.cache_folder`.
        progress: told of documents and queries together.

    Raises:
        ApiError: an endpoint failed, or gave unusable vectors.
        DataError: a run file does not fit the data set.
        UsageError: a query is unknown, or the corpus has no text.
    """
    if unknown := [query_id for query_id in query_ids if query_id not in dataset.queries]:
        raise UsageError(f"{dataset.name}: unknown query {unknown[0]!r}; see queries.jsonl")
    n_documents = len(dataset.corpus)
    total = n_documents + len(query_ids)
    if model.run is not None:
        run = _from_file(model, model.run, dataset, query_ids, depth)
        return run, RetrievalStats(n_documents=n_documents)
    job = _Job(
        {doc_id: text for doc_id, d in dataset.corpus.items() if (text := passage(d)).strip()},
        {query_id: dataset.queries[query_id].text for query_id in query_ids},
        depth,
        _counter(progress, 0, total),
        _counter(progress, n_documents, total),
    )
    if not job.corpus:
        raise UsageError(f"{dataset.name}: no document of the corpus has any text")
    if model.provider == "bm25":
        rankings, stats = _by_words(job)
    else:
        with _open_embedder(model, dataset.corpus) as embedder:
            rankings, stats = _by_vectors(job, embedder, cache)
    run = Run(dataset.name, model.name, {q: separate_ties(r) for q, r in rankings.items()})
    price = model.price_per_1m_tokens
    return run, replace(
        stats,
        n_documents=n_documents,
        cost_usd=None if price is None or stats.tokens is None else stats.tokens * price / 1e6,
        measured_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if stats.latency_ms else None,
    )


def passage(document: Document) -> str:
    """What a document is found by: title, space, text, as BEIR joins them."""
    return f"{document.title} {document.text}".strip() if document.title else document.text


@dataclass(frozen=True, slots=True)
class _Job:
    corpus: Mapping[str, str]  #: doc_id → the text it is found by
    queries: Mapping[str, str]  #: query_id → text
    depth: int
    embedded: Callable[[int], None]  #: told how many documents are embedded
    searched: Callable[[int], None]  #: told how many queries are done, after all documents


def _from_file(
    model: ModelConfig, pattern: str, dataset: Dataset, query_ids: Sequence[str], depth: int
) -> Run:
    path = Path(pattern.replace("{dataset}", dataset.name))
    run = read_run(path, dataset=dataset, model=model.name, query_ids=query_ids)
    kept = {query_id: ranking[:depth] for query_id, ranking in run.rankings.items()}
    return replace(run, rankings=kept)


def _by_words(job: _Job) -> tuple[_Rankings, RetrievalStats]:
    index = Bm25Index(job.corpus)
    rankings: _Rankings = {}
    latency_ms = []
    for number, (query_id, text) in enumerate(job.queries.items()):
        if number == 0:
            index.search(text, job.depth)
        started = time.perf_counter()
        rankings[query_id] = index.search(text, job.depth)
        latency_ms.append((time.perf_counter() - started) * 1000)
        job.searched(number + 1)
    return rankings, RetrievalStats(tuple(latency_ms))


def _by_vectors(job: _Job, embedder: Embedder, cache: Path) -> tuple[_Rankings, RetrievalStats]:
    texts = list(job.corpus.values())
    store = VectorStore(cache, embedder.settings, "document")
    documents, n_documents = embed_cached(
        embedder, texts, store, progress=lambda done, _: job.embedded(done)
    )
    queries, n_queries = _embed_queries(embedder, list(job.queries.values()), cache)
    dimension = documents.vectors.shape[1]
    if queries.vectors.shape[1] not in (0, dimension):
        detail = f"{queries.vectors.shape[1]} numbers for a query, {dimension} for a document"
        raise ApiError("garbage", f"{embedder.settings.get('model')}: {detail}")
    index = CosineIndex(documents.vectors, list(job.corpus))
    rankings, search_ms = _search(index, job, queries)
    latency_ms = queries.latency_ms[: len(search_ms)] + search_ms
    known = documents.tokens is not None and queries.tokens is not None
    return rankings, RetrievalStats(
        latency_ms=tuple(latency_ms[~np.isnan(latency_ms)].tolist()),
        dimension=dimension,
        embedded=n_documents + n_queries,
        tokens=(documents.tokens or 0) + (queries.tokens or 0) if known else None,
    )


def _embed_queries(
    embedder: Embedder, texts: Sequence[str], cache: Path
) -> tuple[StoredVectors, int]:
    """The first few one at a time, to measure them; then all, of which those are cached."""
    store = VectorStore(cache, embedder.settings, "query")
    _, alone = embed_cached(embedder, texts[:LATENCY_SAMPLES], store, alone=True)
    queries, together = embed_cached(embedder, texts, store)
    return queries, alone + together


def _search(index: CosineIndex, job: _Job, queries: StoredVectors) -> tuple[_Rankings, np.ndarray]:
    """Rankings of all queries, and the milliseconds that each of the first ones took."""
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


@contextmanager
def _open_embedder(model: ModelConfig, corpus: Mapping[str, Document]) -> Iterator[Embedder]:
    if model.provider == "openai":
        with ApiEmbedder(model) as embedder:
            yield embedder
    else:
        from arena.retrieval.local import local_embedder  # noqa: PLC0415

        yield local_embedder(model, corpus)


def _counter(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(before + done, total) if progress else None
