"""Several models' runs in one: by ranks, or by scores, with weights that may be tuned."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.config import ModelConfig
from arena.data.metrics import per_query_ndcg
from arena.data.passage_corpus import qrels_by_parent, run_by_parent
from arena.errors import UsageError
from arena.records import Dataset, Document, Qrels, RetrievalStats, Run, ScoredDoc, by_score
from arena.retrieval.job import LATENCY_SAMPLES, RankingJob, Rankings

Scores = Mapping[str, float]
"""doc_id → what one member gives a document, before its weight."""

FEWEST_HELD_OUT: Final = 10
"""Fewer queries than these say nothing about weights."""

_STEPS: Final = 10
"""Tuned weights are tenths: finer ones would follow the noise of a hundred queries."""


@dataclass(frozen=True, slots=True)
class TunedWeights:
    """The weights that do best on queries which nobody is rated on."""

    weights: tuple[float, ...]  #: one for each member; they sum to 1
    ndcg: float  #: mean nDCG@10 of the held-out queries
    ndcg_equal: float  #: the same with equal weights
    n_queries: int  #: held-out queries


def rank_by_fusion(
    job: RankingJob, model: ModelConfig, members: Sequence[Run], dataset: Dataset
) -> tuple[Rankings, RetrievalStats]:
    """Merge the rankings of several runs for each query.

    Weights are ``model.weights``, equal if absent. ``"tuned"`` takes them from the members'
    queries that the job does not rank: see `tune_weights`. Latency is that of merging alone;
    `with_members` adds that of the runs.

    Args:
        job: the queries to rank.
        model: has the members' names in ``fuse``, and says how to merge.
        members: one run for each name; a query that a run lacks has an empty ranking.
        dataset: has the relevance grades of the held-out queries.

    Raises:
        UsageError: the runs are not those of ``fuse``, or too few graded queries are held out.
    """
    if [run.model for run in members] != list(model.fuse or ()):
        names = ", ".join(run.model for run in members) or "none"
        raise UsageError(
            f"{model.name}: fuses the runs of {', '.join(model.fuse or ())}, in this order; "
            f"the runs that are given: {names}"
        )
    notes: tuple[str, ...] = ()
    refuse_untunable(model, dataset, job.queries)
    if model.weights == "tuned":
        qrels = qrels_by_parent(dataset.qrels, dataset.corpus)
        held_out = {query_id: qrels[query_id] for query_id in qrels if query_id not in job.queries}
        tuned = tune_weights(model, members, held_out, dataset.corpus)
        clicks = " by clicks" if dataset.from_clicks else ""
        weights, notes = tuned.weights, (_weights_note(model, tuned, clicks),)
    else:
        weights = model.weights or (1.0,) * len(members)
    rankings: Rankings = {}
    latency_ms = []
    for number, query_id in enumerate(job.queries, start=1):
        began = time.perf_counter()
        scores = [member_scores(model, run.rankings.get(query_id, ())) for run in members]
        rankings[query_id] = fuse_rankings(scores, weights)[: job.depth]
        latency_ms.append((time.perf_counter() - began) * 1000)
        job.searched(number)
    return rankings, RetrievalStats(tuple(latency_ms[:LATENCY_SAMPLES]), notes=notes)


def member_scores(model: ModelConfig, ranking: Sequence[ScoredDoc]) -> dict[str, float]:
    """Return what one member's ranking gives each of its first ``fuse_depth`` documents.

    ``rrf`` gives 1 / (rrf_k + rank), with ranks from 1 (Cormack, Clarke and Büttcher 2009,
    doi:10.1145/1571941.1572114). ``scores`` gives the score on a scale from 0, the last document
    of the ranking, to 1, the first (min-max, as compared by Bruch, Gai and Ingber 2023,
    arXiv:2210.11934). Where all scores are equal, each document gets 1.
    """
    top = ranking[: model.fuse_depth]
    if model.fuse_by == "rrf":
        return {scored.doc_id: 1 / (model.rrf_k + rank) for rank, scored in enumerate(top, 1)}
    if not top:
        return {}
    highest, lowest = top[0].score, top[-1].score
    span = highest - lowest
    return {scored.doc_id: (scored.score - lowest) / span if span else 1.0 for scored in top}


def fuse_rankings(scores: Sequence[Scores], weights: Sequence[float]) -> list[tuple[str, float]]:
    """Return each document with the weighted sum of its scores, best first, ties by doc_id.

    A member that did not find a document gives it 0. A member of weight 0 adds no document.
    """
    sums: dict[str, float] = {}
    for of_member, weight in zip(scores, weights, strict=True):
        if weight:
            for doc_id, score in of_member.items():
                sums[doc_id] = sums.get(doc_id, 0.0) + weight * score
    return sorted(sums.items(), key=by_score)


def graded_queries(qrels: Qrels) -> tuple[str, ...]:
    """Return the queries with a grade above 0, on which weights can be tuned."""
    return tuple(
        query_id for query_id, grades in qrels.items() if max(grades.values(), default=0) > 0
    )


def refuse_untunable(model: ModelConfig, dataset: Dataset, sampled: Iterable[str]) -> None:
    """Refuse to tune on a data set with too few graded queries outside the sample.

    arena asks before it embeds anything: each member would rank the sample first, at its price.

    Raises:
        UsageError: fewer than `FEWEST_HELD_OUT` are left.
    """
    if model.weights == "tuned":
        graded = frozenset(graded_queries(dataset.qrels)) & dataset.queries.keys()
        refuse_too_few(model, dataset.name, len(graded.difference(sampled)), len(graded))


def refuse_too_few(model: ModelConfig, dataset: str, n_held_out: int, n_graded: int) -> None:
    """Refuse fewer held-out queries than tell anything about weights.

    Raises:
        UsageError: there are fewer than `FEWEST_HELD_OUT`.
    """
    if n_held_out >= FEWEST_HELD_OUT:
        return
    lower = n_graded >= FEWEST_HELD_OUT
    raise UsageError(
        f'{model.name}: weights = "tuned" needs {FEWEST_HELD_OUT} or more queries with relevance '
        f"grades outside the experiment, and {dataset} has {n_held_out}; "
        f"{'set queries in [experiment] lower, or ' if lower else ''}give weights"
    )


def tune_weights(
    model: ModelConfig,
    members: Sequence[Run],
    held_out: Qrels,
    corpus: Mapping[str, Document],
) -> TunedWeights:
    """Return the weights, in tenths, with the best mean nDCG@10 over held-out queries.

    Of equally good weights those nearest to equal ones are taken.

    Args:
        model: says how scores are made.
        members: runs that rank the held-out queries.
        held_out: query_id → doc_id → grade, of whole documents; queries that no run ranks are
            left out.
        corpus: tells the whole document of a passage.

    Raises:
        UsageError: fewer than `FEWEST_HELD_OUT` queries have a relevant document.
    """
    query_ids = [
        query_id
        for query_id in graded_queries(held_out)
        if any(query_id in run.rankings for run in members)
    ]
    refuse_too_few(model, members[0].dataset, len(query_ids), len(query_ids))
    scores = {
        query_id: [member_scores(model, run.rankings.get(query_id, ())) for run in members]
        for query_id in query_ids
    }

    def ndcg(weights: Sequence[float]) -> float:
        rankings = {
            query_id: tuple(ScoredDoc(*scored) for scored in fuse_rankings(of_query, weights))
            for query_id, of_query in scores.items()
        }
        run = run_by_parent(Run(members[0].dataset, model.name, rankings), corpus)
        values = per_query_ndcg(run, held_out)
        return float(np.mean([values[query_id] for query_id in query_ids]))

    equal = np.full(len(members), 1 / len(members))

    def goodness(weights: NDArray[np.float64]) -> tuple[float, float]:
        return round(ndcg(weights.tolist()), 12), -float(np.abs(weights - equal).sum())

    best = max(_tenths(len(members)), key=goodness)
    weights = tuple(best.tolist())
    return TunedWeights(weights, ndcg(weights), ndcg(equal.tolist()), len(query_ids))


def with_members(
    stats: RetrievalStats,
    members: Mapping[str, RetrievalStats],
    *,
    latency: str,
    n_queries: int,
) -> RetrievalStats:
    """Return a fusion's stats with the latency of its members added, query by query.

    Args:
        stats: of the fusion alone.
        members: model → stats of its run, all of the same queries in the same order.
        latency: ``"slowest"``: the members run side by side, and the slowest decides; ``"sum"``:
            they run one after the other.
        n_queries: of each run.
    """
    n_samples = min(LATENCY_SAMPLES, n_queries)
    stored = {
        name: of_member.latency_ms[:n_samples]
        for name, of_member in members.items()
        if len(of_member.latency_ms) in (n_samples, n_queries) and of_member.latency_ms
    }
    unknown = [name for name in members if name not in stored]
    unknown += [part.latency_without for part in members.values() if part.latency_without]
    if not stored:
        return replace(stats, latency_ms=(), latency_without=None)
    together = max if latency == "slowest" else sum
    times = zip(*stored.values(), strict=True)
    return replace(
        stats,
        latency_ms=tuple(
            own + together(below) for own, below in zip(stats.latency_ms, times, strict=True)
        ),
        latency_without=", ".join(dict.fromkeys(unknown)) or None,
    )


def _tenths(n_members: int) -> Iterator[NDArray[np.float64]]:
    """Yield all weights in tenths that sum to 1."""
    for cuts in itertools.combinations(range(_STEPS + n_members - 1), n_members - 1):
        ends = (-1, *cuts, _STEPS + n_members - 1)
        yield np.diff(ends).astype(np.float64) / _STEPS - 1 / _STEPS


def _weights_note(model: ModelConfig, tuned: TunedWeights, clicks: str) -> str:
    weights = ", ".join(
        f"{name} {weight:.1f}" for name, weight in zip(model.fuse or (), tuned.weights, strict=True)
    )
    return (
        f"weights tuned on {tuned.n_queries} held-out queries{clicks}: {weights}; nDCG@10 there "
        f"{tuned.ndcg:.3f}, with equal weights {tuned.ndcg_equal:.3f}"
    )
