"""Measure runs by relevance grades with ir_measures, and summarize latency samples.

The ideal ranking uses all graded documents of a query, not only the retrieved ones. A query without
any relevant document has no ideal: it is left out and counted. Relevant means a grade of 1 or more.
Zero and negative grades add no gain, but their documents count as judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arena.data.json_files import read_kept
from arena.records import Qrels, Run


@dataclass(frozen=True, slots=True)
class Metrics:
    """Means over the queries that have a relevant document; all within 0 and 1."""

    ndcg_at_5: float  #: gain = grade, discount = log2(1 + rank), as trec_eval has it
    ndcg_at_10: float
    recall_at_5: float  #: share of the relevant documents that were found
    recall_at_10: float
    judged_at_10: (
        float  #: share of the first ten that have a grade; if it is low, nDCG is unreliable
    )
    n_queries: int  #: averaged over
    n_left_out: int  #: queries of the run without a relevant document, in no mean


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds a query takes, from samples taken one query at a time."""

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    n_samples: int


def dcg(gains: Iterable[float]) -> float:
    """Return the discounted cumulative gain of a list: Σ gain / log2(rank + 1).

    Source: Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418.

    Args:
        gains: of the documents, best rank first.
    """
    return math.fsum(discounted(gain, rank) for rank, gain in enumerate(gains, start=1))


def discounted(gain: float, rank: int) -> float:
    """Return what a gain at a rank, counted from 1, adds to the DCG."""
    return gain / math.log2(rank + 1)


def measure_run(run: Run, qrels: Qrels) -> Metrics | None:
    """Score a run; return None if no query of it has a relevant document.

    Source: ir_measures (doi:10.1007/978-3-030-99739-7_38), which calls trec_eval. nDCG as defined
    by Järvelin and Kekäläinen (doi:10.1145/582415.582418).
    """
    values = _values(run, qrels, ("nDCG@5", "nDCG@10", "R@5", "R@10", "Judged@10"))
    if not values:
        return None

    def mean(name: str) -> float:
        return math.fsum(row[name] for row in values.values()) / len(values)

    return Metrics(
        ndcg_at_5=mean("nDCG@5"),
        ndcg_at_10=mean("nDCG@10"),
        recall_at_5=mean("R@5"),
        recall_at_10=mean("R@10"),
        judged_at_10=mean("Judged@10"),
        n_queries=len(values),
        n_left_out=len(run.rankings) - len(values),
    )


def read_metrics(path: Path) -> dict[str, Metrics]:
    """Read model → metrics from the metrics.json of a data set; empty where there is none.

    Raises:
        DataError: the file is something else.
    """
    return read_kept(dict[str, Metrics], path, "metrics") if path.exists() else {}


def per_query_ndcg(run: Run, qrels: Qrels, top_k: int = 10) -> dict[str, float]:
    """Return query_id → nDCG@top_k of every query that has a relevant document."""
    name = f"nDCG@{top_k}"
    return {query_id: row[name] for query_id, row in _values(run, qrels, [name]).items()}


def latency_summary(samples_ms: Sequence[float]) -> Latency | None:
    """Return mean and percentiles (linear between samples); None without samples."""
    if not samples_ms:
        return None
    p50, p90, p99 = (float(p) for p in np.percentile(samples_ms, (50, 90, 99)))
    return Latency(math.fsum(samples_ms) / len(samples_ms), p50, p90, p99, len(samples_ms))


def _values(run: Run, qrels: Qrels, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return query_id → metric → value, in the run's order of queries."""
    import ir_measures  # noqa: PLC0415

    graded = {
        # trec_eval gives a negative grade no gain; arena does the same with every tool.
        query_id: {doc_id: max(grade, 0) for doc_id, grade in qrels[query_id].items()}
        for query_id in run.rankings
        if any(grade >= 1 for grade in qrels.get(query_id, {}).values())
    }
    if not graded:
        return {}
    # Ranks instead of scores, so that the metrics measure the order that the judge sees.
    places: dict[str, dict[str, float]] = {
        query_id: {place.doc_id: -float(rank) for rank, place in enumerate(run.rankings[query_id])}
        for query_id in graded
        if run.rankings[query_id]
    }
    measures: list[Any] = [ir_measures.parse_measure(name) for name in names]
    # trec_eval omits a query without any match: its values are 0.
    values = {query_id: dict.fromkeys(names, 0.0) for query_id in graded}
    for metric in ir_measures.iter_calc(measures, graded, places):
        values[metric.query_id][str(metric.measure)] = float(metric.value)
    return values
