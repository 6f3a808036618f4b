"""The leaderboard's rows, with every key filled and a rank by each headline figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.rating.leaderboard_files import METRICS, row_to_json
from arena.rating.leaderboard_records import LeaderboardRow, ModelFacts
from arena.records import RetrievalStats
from arena.site.records import LatencyInfo, TableRow

_ABSENT = dict.fromkeys((*METRICS, "latency_ms", *(fact.name for fact in fields(ModelFacts))))
_FIGURES = 6
"""Significant figures: more than anyone reads, fewer bytes than a float has."""


def ranked_rows(rows: Sequence[LeaderboardRow]) -> list[TableRow]:
    """Return the rows of one table as in leaderboard.json, with null for unknown values.

    Beside them: how many models the table has, whether a model may be the best, and its place by
    Elo, win rate, nDCG@10 and mean latency. The first place is 1, and equal values share a place.
    """
    ranks: dict[str, Sequence[int | None]] = {
        "elo_rank": _ranks(rows, lambda row: row.elo),
        "win_rate_rank": _ranks(rows, lambda row: row.record.win_rate),
        "ndcg_rank": _ranks(rows, lambda row: row.metrics.get("ndcg@10")),
        "latency_rank": _ranks(rows, lambda row: -row.latency.mean_ms if row.latency else None),
    }
    return [
        {
            **_ABSENT,
            **{key: six_digits(cell) for key, cell in row_to_json(row).items()},
            "tied_with_first": row.rank_lower == 1,
            **{key: places[number] for key, places in ranks.items()},
            "n_models": len(rows),
        }
        for number, row in enumerate(rows)
    ]


def six_digits(cell: Any) -> Any:
    """Return a figure, or a mapping of figures, to six significant digits; others unchanged."""
    if isinstance(cell, float):
        return float(f"{cell:.{_FIGURES}g}")
    if isinstance(cell, dict):
        return {key: six_digits(value) for key, value in cell.items()}
    return cell


def _ranks(
    rows: Sequence[LeaderboardRow], figure: Callable[[LeaderboardRow], float | None]
) -> list[int | None]:
    """Return 1 + how many have a greater figure; None for a row without one."""
    values = [figure(row) for row in rows]
    known = [value for value in values if value is not None]
    return [
        None if value is None else 1 + sum(other > value for other in known) for value in values
    ]


Floats = NDArray[np.float64]
MOST_SAMPLES = 200
"""Of one run; fewer where there are many runs, because every page loads them."""

_ALL_SAMPLES = 12_000
_BINS = 20
_FAR = 5
"""Times the median, from where on one sample would squeeze all others into a bin or two."""


def latencies(
    stats: Mapping[tuple[str, str], RetrievalStats],
) -> dict[str, dict[str, LatencyInfo]]:
    """Return data set → model → the latency of its search.

    Args:
        stats: of each (data set, model).
    """
    most = max(min(MOST_SAMPLES, _ALL_SAMPLES // max(len(stats), 1)), 2)
    found: dict[str, dict[str, LatencyInfo]] = {}
    for (dataset, model), one in stats.items():
        found.setdefault(dataset, {})[model] = latency_info(one, most=most)
    return found


def latency_info(stats: RetrievalStats, *, most: int = MOST_SAMPLES) -> LatencyInfo:
    """Return one run's samples, up to a limit, and their histogram."""
    samples = np.sort(np.array(stats.latency_ms, np.float64))
    return LatencyInfo(
        samples_ms=_short(samples if len(samples) <= most else _quantiles(samples, most)),
        n_samples=len(samples),
        histogram=_histogram(samples) if len(samples) else None,
        documents_per_s=six_digits(stats.documents_per_s),
        bytes_per_vector=six_digits(stats.bytes_per_vector),
        index_bytes=stats.index_bytes,
        n_documents=stats.n_documents,
        tokens=stats.tokens,
        cost_usd=stats.cost_usd,
        measured_at=stats.measured_at,
        place=stats.place,
        without=stats.latency_without,
    )


def _quantiles(samples: Floats, count: int) -> Floats:
    quantiles: Floats = np.quantile(samples, np.linspace(0, 1, count))
    return quantiles


def _histogram(samples: Floats) -> dict[str, list[float]]:
    """Count samples in bins of equal width, or of equal ratio if a few samples are far from all."""
    n_bins = min(_BINS, len(samples))
    least, median, most = samples[0], np.median(samples), samples[-1]
    far = least > 0 and most > _FAR * median
    bins = np.geomspace(least, most, n_bins + 1) if far else n_bins
    counts, edges = np.histogram(samples, bins=bins)
    return {"edges": _short(edges), "counts": counts.tolist()}


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]
