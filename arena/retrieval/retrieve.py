"""Rank one data set by one model of any kind."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from arena.config import RETRIEVAL_DEPTH, ModelConfig
from arena.data.passage_corpus import run_by_parent, searched_corpus
from arena.data.run_file import read_run, separate_ties
from arena.data.searchable_text import Passages, queries_in_corpus
from arena.embedding.open import open_embedder
from arena.errors import ApiError, UsageError
from arena.progress import OnProgress
from arena.records import Dataset, RetrievalStats, Run, ScoredDoc, now
from arena.retrieval.bm25 import Bm25Index
from arena.retrieval.command import rank_by_command
from arena.retrieval.dense import rank_by_vectors
from arena.retrieval.fuse import rank_by_fusion
from arena.retrieval.job import RankingJob, Rankings
from arena.retrieval.partitioned import PartitionRanker, by_partition
from arena.retrieval.rerank import rank_by_reranker

ScoredDocs = tuple[ScoredDoc, ...]
"""Best first."""

_PASSAGES_PER_DOCUMENT: Final = 10
"""Passages that are ranked for each whole document that a ranking keeps."""


def retrieve(  # noqa: PLR0913  the last seven are options
    model: ModelConfig,
    dataset: Dataset,
    query_ids: Sequence[str],
    *,
    depth: int = RETRIEVAL_DEPTH,
    cache: Path,
    bases: Sequence[Run] = (),
    ranker: PartitionRanker | None = None,
    memory_mb: int = 1024,
    place: str | None = None,
    progress: OnProgress | None = None,
) -> tuple[Run, RetrievalStats]:
    """Rank the corpus for each query; return the run with its latency and cost.

    Documents are searched by title, space, text. A document without any text is never found. BM25
    finds only documents that share a word with the query, so a ranking may be short. A query that
    is a document itself is left out of its own ranking. Latency is measured one query at a time,
    after a warm-up: embedding, plus search. For a cached query, it is the time of its first
    embedding.

    Args:
        model: what ranks.
        dataset: its corpus is searched.
        query_ids: for these queries.
        depth: documents kept of each ranking.
        cache: the folder of the vector cache, see `arena.files.cache_folder`.
        bases: the run that a reranker reorders, or those that a fusion merges. Where weights are
            tuned, they also rank queries that are not in ``query_ids``.
        ranker: ranks a corpus that is in partitions, for models that can do so; this process
            ranks it as one corpus if absent.
        memory_mb: the most that a search may hold in memory; rankings do not depend on it.
        place: where latencies are measured, for people; this machine's processor if absent.
        progress: told of documents and queries together.

    Raises:
        ApiError: an endpoint failed, or gave unusable vectors.
        DataError: a run file does not fit the data set.
        UsageError: a query is unknown, the corpus has no text, or the bases do not fit the model.
    """
    if unknown := [query_id for query_id in query_ids if query_id not in dataset.queries]:
        raise UsageError(f"{dataset.name}: unknown query {unknown[0]!r}; see queries.jsonl")
    if model.run is not None:
        return _read(model.run, model.name, dataset, query_ids, depth)
    by_document = model.cutting is not None and model.returns == "document"
    searched = _searched(dataset, model)

    def rank(job: RankingJob) -> tuple[Rankings, RetrievalStats]:
        if ranker is not None and dataset.partitions and by_partition(model):
            return ranker(job, model, dataset.partitions)
        return _ranked(job, model, searched, bases=bases, cache=cache)

    run, stats = ranked_run(
        rank,
        model.name,
        searched,
        query_ids,
        depth=depth * _PASSAGES_PER_DOCUMENT if by_document else depth,
        memory_mb=memory_mb,
        place=place,
        progress=progress,
    )
    if by_document:
        whole = run_by_parent(run, dataset.corpus)
        run = replace(run, rankings={q: docs[:depth] for q, docs in whole.rankings.items()})
    return run, replace(stats, cost_usd=cost_usd(model, stats.tokens))


def _read(
    pattern: str, name: str, dataset: Dataset, query_ids: Sequence[str], depth: int
) -> tuple[Run, RetrievalStats]:
    """Return the run in a file; ``{dataset}`` in its path stands for the name of the data set."""
    path = Path(pattern.replace("{dataset}", dataset.name))
    run = read_run(path, dataset=dataset, model=name, query_ids=query_ids)
    rankings = _without_own(run.rankings, queries_in_corpus(dataset, query_ids), depth)
    stats = RetrievalStats(n_documents=len(dataset.corpus), notes=run.notes)
    return replace(run, rankings=rankings), stats


def _searched(dataset: Dataset, model: ModelConfig) -> Dataset:
    """Return the data set with the corpus that a model searches."""
    corpus = dataset.corpus  # has all passages, which the runs below a model may hold
    if not model.below:
        corpus = searched_corpus(corpus, model.cutting)
    return dataset.with_corpus(corpus)


def ranked_run(  # noqa: PLR0913  the last four are options
    rank: Callable[[RankingJob], tuple[Rankings, RetrievalStats]],
    name: str,
    dataset: Dataset,
    query_ids: Sequence[str],
    *,
    depth: int = RETRIEVAL_DEPTH,
    memory_mb: int = 1024,
    place: str | None = None,
    progress: OnProgress | None = None,
) -> tuple[Run, RetrievalStats]:
    """Rank the corpus by any function, under the rules that hold for every model.

    Args:
        rank: gives the rankings of a job, and what that took.
        name: of the model.
        dataset: as of `retrieve`, like all that follow.
        query_ids: for these queries.
        depth: documents kept of each ranking.
        memory_mb: the most that a search may hold in memory.
        place: where latencies are measured, for people.
        progress: told of documents and queries together.

    Raises:
        ApiError: as ``rank`` raises it, with the model's name.
        UsageError: the corpus has no text.
    """
    n_documents = len(dataset.corpus)
    total = n_documents + len(query_ids)
    queries_as_documents = queries_in_corpus(dataset, query_ids)
    job = RankingJob(
        Passages(dataset.corpus),
        {query_id: dataset.queries[query_id].text for query_id in query_ids},
        depth + bool(queries_as_documents),
        _counter(progress, 0, total),
        _counter(progress, n_documents, total),
        memory_mb,
    )
    if not job.corpus:
        raise UsageError(f"{dataset.name}: no document of the corpus has any text")
    try:
        rankings, stats = rank(job)
    except ApiError as error:
        # Of several models, whose endpoint it was that refused.
        raise type(error)(error.reason, f"{name}: {error.detail}") from None
    cut_rankings = {query_id: separate_ties(ranking) for query_id, ranking in rankings.items()}
    run = Run(dataset.name, name, _without_own(cut_rankings, queries_as_documents, depth))
    measured = bool(stats.latency_ms)
    return run, replace(
        stats,
        n_documents=n_documents,
        measured_at=now("seconds") if measured else None,
        place=(place or stats.place or _this_machine()) if measured else None,
    )


def cost_usd(model: ModelConfig, tokens: int | None) -> float | None:
    """Return the cost of some tokens in US dollars; None if they or their price are unknown."""
    price = model.price_per_1m_tokens
    return None if price is None or tokens is None else tokens * price / 1e6


def _ranked(
    job: RankingJob, model: ModelConfig, dataset: Dataset, *, bases: Sequence[Run], cache: Path
) -> tuple[Rankings, RetrievalStats]:
    if model.command is not None:
        return rank_by_command(job, model, dataset)
    if model.rerank is not None:
        if len(bases) != 1:
            raise UsageError(f"{model.name}: reranks the run of {model.base}; give that as base")
        return rank_by_reranker(job, model, bases[0], cache=cache)
    if model.fuse is not None:
        return rank_by_fusion(job, model, bases, dataset)
    if model.provider == "bm25":
        return _by_words(job, model)
    if model.provider in ("splade", "colbert"):
        from arena.retrieval.sparse_and_late_interaction import rank_by_tokens  # noqa: PLC0415

        return rank_by_tokens(job, model, cache=cache)
    with open_embedder(model, dataset.corpus) as embedder:
        return rank_by_vectors(
            job,
            embedder,
            cache=cache,
            precision=model.precision,
            # How many lsa finds depends on the corpus, too: fewer are no mistake.
            dimensions=None if model.provider == "lsa" else model.dimensions,
        )


def _without_own(
    rankings: Mapping[str, ScoredDocs], own_queries: Collection[str], depth: int
) -> dict[str, ScoredDocs]:
    """Return rankings cut to ``depth``, without the queries that are documents themselves."""
    return {
        query_id: tuple(p for p in ranking if query_id not in own_queries or p.doc_id != query_id)[
            :depth
        ]
        for query_id, ranking in rankings.items()
    }


def _by_words(job: RankingJob, model: ModelConfig) -> tuple[Rankings, RetrievalStats]:
    began = time.perf_counter()
    index = Bm25Index(job.corpus, language=model.language)
    documents_per_s = len(job.corpus) / (time.perf_counter() - began)
    rankings: Rankings = {}
    latency_ms = []
    for number, (query_id, text) in enumerate(job.queries.items()):
        if number == 0:
            index.search(text, job.depth)
        started = time.perf_counter()
        rankings[query_id] = index.search(text, job.depth)
        latency_ms.append((time.perf_counter() - started) * 1000)
        job.searched(number + 1)
    return rankings, RetrievalStats(tuple(latency_ms), documents_per_s=documents_per_s)


def _this_machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def _counter(progress: OnProgress | None, before: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(before + done, total) if progress else None
