"""Differences between models in a metric, paired by query, with intervals.

Two models answer the same queries, so the difference is taken query by query. Its mean has
Student's t interval with n - 1 degrees of freedom. The interval holds its level on metrics of
rankings at usual numbers of queries (Urbano, Lima and Hanjalic 2019, doi:10.1145/3331184.3331259;
Smucker, Allan and Carterette 2007, doi:10.1145/1321440.1321528). Over several data sets the
difference is the mean of theirs, with the degrees of freedom of Welch (1947,
doi:10.1093/biomet/34.1-2.28).

The best model is chosen by the same figures, so any pair might have been shown. All pairs of models
and all metrics share the level (Bonferroni; Carterette 2012, doi:10.1145/2094072.2094076).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arena.rating.student import student_quantile

Values = Mapping[str, Mapping[str, float]]
"""Metric → query_id → value of one model on one data set."""

_LEAST_QUERIES: Final = 2


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """How much better one model is than another by one metric."""

    metric: str
    a: str
    b: str
    difference: float  #: a - b: mean over queries, and over data sets where there are several
    lower: float | None  #: interval, which holds for all that are shown at once; None: one query
    upper: float | None
    queries: int

    @property
    def is_sure(self) -> bool:
        """Return whether the interval leaves out 0."""
        return self.lower is not None and self.upper is not None and self.lower * self.upper > 0


def from_the_best(
    values: Mapping[tuple[str, str], Values], models: Sequence[str], *, level: float
) -> tuple[MetricDifference, ...]:
    """Return the best model's lead over each other one, by each metric.

    The best has the highest mean over the data sets. A metric that one model alone has is left out.

    Args:
        values: (data set, model) → metric → query_id → value.
        models: the models to compare.
        level: of all intervals together.
    """
    by_model = {model: _of_model(values, model) for model in models}
    metrics = list(dict.fromkeys(chain.from_iterable(_metrics(v) for v in by_model.values())))
    n_pairs = len(models) * (len(models) - 1) // 2
    each = 1 - (1 - level) / max(n_pairs * len(metrics), 1)
    return tuple(
        difference for metric in metrics for difference in _from_the_best(by_model, metric, each)
    )


def pair_differences(
    values: Mapping[tuple[str, str], Values], a: str, b: str, *, level: float
) -> tuple[MetricDifference, ...]:
    """Return the difference of two models that were chosen beforehand, by each metric.

    Args:
        values: (data set, model) → metric → query_id → value.
        a: the model whose value counts.
        b: the model whose value is subtracted.
        level: of all metrics together.
    """
    first, second = _of_model(values, a), _of_model(values, b)
    metrics = [metric for metric in _metrics(first) if metric in _metrics(second)]
    each = 1 - (1 - level) / max(len(metrics), 1)
    pairs = (_difference(metric, (a, first), (b, second), each) for metric in metrics)
    return tuple(pair for pair in pairs if pair is not None)


_OfModel = Mapping[str, Values]
"""Data set → metric → query_id → value."""


def _of_model(values: Mapping[tuple[str, str], Values], model: str) -> _OfModel:
    return {dataset: own for (dataset, name), own in values.items() if name == model and own}


def _metrics(by_dataset: _OfModel) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(by_dataset.values())))


def _from_the_best(
    by_model: Mapping[str, _OfModel], metric: str, level: float
) -> list[MetricDifference]:
    """Return the best model's lead over each other one by a metric, where both have values."""
    means = {
        model: mean for model, own in by_model.items() if (mean := _mean(own, metric)) is not None
    }
    if len(means) < 2:
        return []
    best = max(means, key=lambda model: means[model])
    pairs = [
        _difference(metric, (best, by_model[best]), (model, by_model[model]), level)
        for model in means
        if model != best
    ]
    return [pair for pair in pairs if pair is not None]


def _mean(by_dataset: _OfModel, metric: str) -> float | None:
    """Return the mean over data sets of the means over queries."""
    means = [
        math.fsum(own[metric].values()) / len(own[metric])
        for own in by_dataset.values()
        if own.get(metric)
    ]
    return math.fsum(means) / len(means) if means else None


def _difference(
    metric: str, first: tuple[str, _OfModel], second: tuple[str, _OfModel], level: float
) -> MetricDifference | None:
    """Return the difference on the queries that both have; None if there is none."""
    (a, of_a), (b, of_b) = first, second
    parts = []
    for dataset in of_a:
        one, other = of_a[dataset].get(metric, {}), of_b.get(dataset, {}).get(metric, {})
        if shared := [query_id for query_id in one if query_id in other]:
            parts.append(np.array([one[query_id] - other[query_id] for query_id in shared]))
    if not parts:
        return None
    interval = _interval(parts, (1 - level) / 2)
    return MetricDifference(
        metric=metric,
        a=a,
        b=b,
        difference=float(np.mean([part.mean() for part in parts])),
        lower=None if interval is None else interval.lower,
        upper=None if interval is None else interval.upper,
        queries=sum(map(len, parts)),
    )


class _Interval(NamedTuple):
    lower: float
    upper: float


def _interval(parts: Sequence[NDArray[np.float64]], tail: float) -> _Interval | None:
    """Return the interval of the mean over data sets of the mean differences.

    Args:
        parts: the differences of each data set, each between -1 and 1.
        tail: what may be outside on each side.
    """
    if min(map(len, parts)) < _LEAST_QUERIES:
        return None
    middle = float(np.mean([part.mean() for part in parts]))
    of_means = np.array([part.var(ddof=1) / len(part) for part in parts])
    if of_means.sum() <= _ROUNDING:
        return _of_constants(parts, tail)
    df = of_means.sum() ** 2 / (of_means**2 / [len(part) - 1 for part in parts]).sum()
    error = math.sqrt(of_means.sum()) / len(parts)
    reach = float(student_quantile(tail, np.array([df]))[0]) * error
    return _Interval(max(middle - reach, -1.0), min(middle + reach, 1.0))


_ROUNDING: Final = 1e-24


def _of_constants(parts: Sequence[NDArray[np.float64]], tail: float) -> _Interval:
    """Return the interval where all queries of a data set have one difference.

    No variance shows then, and Student's interval would be a point. At most a share of
    1 - tail^(1/n) of all queries may have another difference, from -1 to 1 (Clopper and Pearson
    1934, doi:10.1093/biomet/26.4.404).
    """
    tail /= len(parts)
    bounds = []
    for part in parts:
        middle, others = float(part[0]), 1 - tail ** (1 / len(part))
        bounds.append((middle - others * (1 + middle), middle + others * (1 - middle)))
    lower, upper = np.mean(bounds, axis=0).tolist()
    return _Interval(lower, upper)
