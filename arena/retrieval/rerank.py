"""Rank another model's run again: its first documents get new scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from arena.config import ModelConfig
from arena.endpoint.attempts import Retry
from arena.records import RetrievalStats, Run, by_score
from arena.retrieval.job import LATENCY_SAMPLES, RankingJob, Rankings
from arena.retrieval.rerank_cache import RerankCache
from arena.retrieval.rerankers import ApiReranker, Candidates, Reranker

_WARM_UP = Candidates("warm-up", ("warm-up",))
"""Connections, caches and lazy loading are not latency."""


def rank_by_reranker(
    job: RankingJob, model: ModelConfig, base: Run, *, cache: Path
) -> tuple[Rankings, RetrievalStats]:
    """Score the first ``rerank_depth`` documents of each of a run's rankings, and order them.

    The rest of a ranking is left out. No passage is scored twice for the same query, whichever
    run or experiment it is met in. Latency is that of the reranker alone, of the first queries,
    one at a time, after a warm-up; `with_base` adds that of the run.

    Args:
        job: passages and queries; the run's documents that it lacks are left out.
        model: what reranks.
        base: the run that is reranked; a query that it lacks has an empty ranking.
        cache: the folder of the cache of scores.

    Raises:
        ApiError: the reranker failed, or gave unusable scores; what succeeded is kept.
        DataError: the cache is unusable.
        UsageError: a local model cannot be loaded.
    """
    passages_of = {query_id: _passages(job, model, base, query_id) for query_id in job.queries}
    candidates = {
        query_id: Candidates(
            (model.query_prefix or "") + job.queries[query_id],
            tuple(dict.fromkeys(passages.values())),
        )
        for query_id, passages in passages_of.items()
    }
    rankings: Rankings = {}
    tokens: list[float | None] = []
    with open_reranker(model) as reranker, RerankCache(cache, reranker) as score_cache:
        n_scored = _score_missing(job, candidates, reranker, score_cache)
        times = [
            score_cache.latency_ms(candidates[query_id])
            for query_id in list(candidates)[:LATENCY_SAMPLES]
        ]
        for query_id, passages in passages_of.items():
            score_of = score_cache.get(candidates[query_id])
            scored = [(doc_id, score_of[text].score) for doc_id, text in passages.items()]
            rankings[query_id] = sorted(scored, key=by_score)[: job.depth]
            tokens += [score.tokens for score in score_of.values()]
    billed = [count for count in tokens if count is not None]
    n_tokens = round(sum(billed)) if billed and len(billed) == len(tokens) else None
    return rankings, RetrievalStats(
        latency_ms=tuple(time for time in times if time is not None),
        embedded=n_scored,
        tokens=n_tokens,
        tokens_per_query=n_tokens / len(candidates) if n_tokens is not None else None,
    )


@contextmanager
def open_reranker(model: ModelConfig, *, retry: Retry | None = None) -> Iterator[Reranker]:
    """Open the reranker of a model.

    Args:
        model: its ``rerank`` says which.
        retry: how patient an endpoint is asked; as ever if absent.

    Raises:
        ApiError: the endpoint's address or key is missing.
        UsageError: a local model cannot be loaded.
    """
    if model.rerank == "cross-encoder":
        from arena.retrieval.rerankers import CrossEncoderReranker  # noqa: PLC0415

        yield CrossEncoderReranker(model)
    else:
        with ApiReranker(model, retry=retry) as reranker:
            yield reranker


def with_base(
    stats: RetrievalStats, base: RetrievalStats, *, base_model: str, n_queries: int
) -> RetrievalStats:
    """Return a reranker's stats with the latency of the base run added, query by query.

    Where that is not known of the same queries, the samples stay those of the reranker alone, and
    ``latency_without`` says so.

    Args:
        stats: of the reranker.
        base: of the run that was reranked.
        base_model: the name of the model that made it.
        n_queries: of either run.
    """
    n_samples = min(LATENCY_SAMPLES, n_queries)
    of_all = base.latency_without is None and len(base.latency_ms) in (n_samples, n_queries)
    if not of_all or len(stats.latency_ms) != n_samples:
        return replace(stats, latency_without=base_model if stats.latency_ms else None)
    both = zip(stats.latency_ms, base.latency_ms[:n_samples], strict=True)
    return replace(stats, latency_ms=tuple(own + below for own, below in both))


def _passages(job: RankingJob, model: ModelConfig, base: Run, query_id: str) -> dict[str, str]:
    """Return doc_id → the text that the reranker reads, in the run's order."""
    ranking = base.rankings.get(query_id, ())[: model.rerank_depth]
    prefix = model.document_prefix or ""
    return {
        place.doc_id: prefix + job.corpus[place.doc_id]
        for place in ranking
        if place.doc_id in job.corpus
    }


def _score_missing(
    job: RankingJob, candidates: Mapping[str, Candidates], reranker: Reranker, cache: RerankCache
) -> int:
    """Score missing passages: the first queries one at a time, to measure them, then the rest.

    Returns:
        How many passages were scored.
    """
    names = list(candidates)
    missing = {name: part for name in names if (part := cache.missing(candidates[name])).passages}
    done, n_scored = len(names) - len(missing), 0
    for part_of, alone in ((names[:LATENCY_SAMPLES], True), (names[LATENCY_SAMPLES:], False)):
        parts = [(name, missing[name]) for name in part_of if name in missing]
        if alone and parts:
            list(reranker.score([_WARM_UP], alone=True))
        for place, scores in reranker.score([part for _, part in parts], alone=alone):
            name, part = parts[place]
            cache.put(candidates[name], scores, part=part, alone=alone)
            n_scored += len(part.passages)
            done += 1
            job.searched(done)
    return n_scored
