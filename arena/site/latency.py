"""Latencies of each run for the site: samples, and a histogram of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from arena.records import RetrievalStats
from arena.site.records import LatencyInfo
from arena.site.tables import six_digits

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
