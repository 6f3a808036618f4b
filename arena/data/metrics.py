"""Measure runs by relevance grades with ir_measures, and summarize latency samples.

The ideal ranking uses all graded documents of a query, not only the retrieved ones. A query without
any grade above 0 has no ideal: it is left out and counted. Zero and negative grades add no gain,
but their documents count as judged. nDCG takes the grade as the gain. To the other metrics a
document is relevant from the grade ``rel`` on, which is 1 if the metric's name has none.

Grades may be fractions. trec_eval, which ir_measures calls, refuses them, so nDCG of fractions is
computed here, and other metrics get the grades as 0 and 1, cut at the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Final

import numpy as np

from arena.data.json_files import read_kept
from arena.errors import UsageError
from arena.metric_names import depth_of, parse_metric, threshold_of
from arena.records import Qrels, Run
from arena.terminal import one_line


@dataclass(frozen=True, slots=True)
class Metrics:
    """Means over the queries that have a relevant document; all within 0 and 1."""

    ndcg_at_5: float  #: gain = grade, discount = log2(1 + rank), as trec_eval has it
    ndcg_at_10: float
    recall_at_5: float  #: share of the relevant documents that were found
    recall_at_10: float
    judged_at_10: float
    """Share of the first ten that have a grade; if it is low, nDCG is unreliable."""
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
    values = _values(run, qrels, _STANDARD)
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
    """Read model → metrics from the metrics.json of a data set; empty if there is none.

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


@dataclass(frozen=True, slots=True)
class QueryMetrics:
    """Metrics of one run, query by query."""

    by_query: Mapping[str, Mapping[str, float]]  #: metric's name → query_id → value
    left_out: tuple[str, ...] = ()  #: metrics that take whole grades, where grades have fractions

    def mean(self, name: str) -> float | None:
        """Return the mean of a metric over its queries; None if it has none."""
        values = self.by_query.get(name, {}).values()
        return math.fsum(values) / len(values) if values else None


def measure_queries(run: Run, qrels: Qrels, names: Sequence[str]) -> QueryMetrics:
    """Compute metrics by their names, for each query with a grade above 0.

    A query for which a metric is not defined, such as Accuracy where all documents are relevant,
    is left out of that metric.

    Args:
        run: the rankings, best first.
        qrels: grades; whole or with fractions.
        names: metrics of ir_measures, such as ``RR(rel=2)@10``.

    Raises:
        UsageError: a name is unknown, or the program behind a metric failed.
    """
    graded = _graded(run, qrels)
    values: dict[str, dict[str, float]] = {}
    left_out = []
    for name in names:
        computed = _computed(name, run, graded)
        if computed is None:
            left_out.append(name)
        else:
            values[name] = {
                query_id: value for query_id, value in computed.items() if math.isfinite(value)
            }
    return QueryMetrics(values, tuple(left_out))


def _computed(name: str, run: Run, graded: Qrels) -> dict[str, float] | None:
    """Return query_id → value; None for a metric that needs whole grades, and has none."""
    try:
        measure = parse_metric(name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    whole = all(isinstance(grade, int) for grades in graded.values() for grade in grades.values())
    threshold = threshold_of(measure)
    if measure.NAME == "nDCG" and not measure.params.get("gains"):
        # ir_measures has exponential gains from a Perl program, with five digits.
        if not whole or measure["dcg"] != "log2":
            return _ndcg(measure, run, graded)
    elif threshold is not None and not (whole and isinstance(threshold, int)):
        return _by_library(measure(rel=1), run, _binary(graded, threshold))
    elif measure.NAME == "Judged":
        return _by_library(measure, run, _binary(graded, 0))
    elif not whole:
        return None
    return _by_library(measure, run, graded)


def _graded(run: Run, qrels: Qrels) -> dict[str, dict[str, float]]:
    """Return the grades of the run's queries that have one above 0; a negative one becomes 0."""
    return {
        # trec_eval gives a negative grade no gain; arena does the same with every tool.
        query_id: {doc_id: max(grade, 0) for doc_id, grade in qrels[query_id].items()}
        for query_id in run.rankings
        if any(grade > 0 for grade in qrels.get(query_id, {}).values())
    }


def _binary(graded: Qrels, threshold: float) -> dict[str, dict[str, int]]:
    return {
        query_id: {doc_id: int(grade >= threshold) for doc_id, grade in grades.items()}
        for query_id, grades in graded.items()
    }


def _ndcg(measure: Any, run: Run, graded: Qrels) -> dict[str, float]:
    """Compute nDCG of any gains: Σ gain / log2(rank + 1), over that of the ideal ranking.

    The gain is the grade, or 2^grade - 1 for ``dcg="exp-log2"`` (Burges et al. 2005,
    doi:10.1145/1102351.1102363).
    """
    cutoff = depth_of(measure)
    exponential = measure["dcg"] == "exp-log2"
    values = {}
    for query_id, grades in graded.items():
        gains = {d: 2**grade - 1 if exponential else grade for d, grade in grades.items()}
        ranking = [place.doc_id for place in run.rankings[query_id]]
        if measure["judged_only"]:
            ranking = [doc_id for doc_id in ranking if doc_id in gains]
        ideal = dcg(sorted(gains.values(), reverse=True)[:cutoff])
        values[query_id] = dcg(gains.get(doc_id, 0) for doc_id in ranking[:cutoff]) / ideal
    return values


def _by_library(measure: Any, run: Run, graded: Qrels) -> dict[str, float]:
    """Compute a metric with ir_measures; a query that it tells nothing of has the value of none."""
    import ir_measures  # noqa: PLC0415

    # Some of the programs behind ir_measures take ids apart, so they get numbers for queries.
    query_ids = list(graded)
    qrels: Any = {str(number): dict(graded[q]) for number, q in enumerate(query_ids)}
    places = {str(number): _places(run, query_id) for number, query_id in enumerate(query_ids)}
    values = dict.fromkeys(query_ids, float(measure.DEFAULT))
    ranked = [(query, own) for query, own in places.items() if own]
    if not ranked:
        return values
    try:
        computed = list(
            ir_measures.iter_calc([measure], qrels, {q: p for q, p in places.items() if p})
        )
    except (OSError, ValueError, RuntimeError, AssertionError, SubprocessError) as error:
        raise UsageError(f"{measure}: cannot be computed: {one_line(str(error))}") from None
    values |= {query_ids[int(metric.query_id)]: float(metric.value) for metric in computed}
    return values


def _places(run: Run, query_id: str) -> dict[str, float]:
    # Ranks instead of scores, so that the metrics measure the order that the judge sees.
    return {place.doc_id: -float(rank) for rank, place in enumerate(run.rankings[query_id])}


_STANDARD: Final = ("nDCG@5", "nDCG@10", "R@5", "R@10", "Judged@10")


def _values(run: Run, qrels: Qrels, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return query_id → metric → value of standard metrics, in the run's order of queries."""
    import ir_measures  # noqa: PLC0415

    graded = _graded(run, qrels)
    if not graded:
        return {}
    values = {query_id: dict.fromkeys(names, 0.0) for query_id in graded}
    if not all(isinstance(grade, int) for grades in graded.values() for grade in grades.values()):
        for name, computed in measure_queries(run, qrels, names).by_query.items():
            for query_id, value in computed.items():
                values[query_id][name] = value
        return values
    places = {query_id: _places(run, query_id) for query_id in graded if run.rankings[query_id]}
    measures: list[Any] = [ir_measures.parse_measure(name) for name in names]
    # trec_eval omits a query without any match: its values are 0.
    qrels_of: Any = graded
    for metric in ir_measures.iter_calc(measures, qrels_of, places):
        values[metric.query_id][str(metric.measure)] = float(metric.value)
    return values
