"""Metrics of runs for a notebook: differences between models, paired by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from arena.api.arguments import real_number
from arena.api.runs import ModelRun, runs_in
from arena.errors import UsageError
from arena.experiment.named_metrics import measure_named
from arena.rating.metric_differences import MetricDifference, from_the_best

if TYPE_CHECKING:
    import pandas as pd


def metric_differences(
    runs: Sequence[ModelRun], metrics: Sequence[str] = ("nDCG@10",), *, level: float = 0.95
) -> pd.DataFrame:
    """Return how much better the best run is than each other one, by each metric.

    The differences are paired by query. All intervals hold at once, for all pairs of models and
    all metrics. No judge is needed, but relevance grades are.

    Args:
        runs: of `retrieve` and `read_run`; several data sets weigh the same.
        metrics: names of ir_measures, such as ``"RR(rel=2)@10"``.
        level: of all intervals together.

    Returns:
        One row for each metric and model but the best: ``metric``, ``a`` (the best), ``b``,
        ``difference`` (a - b), ``lower``, ``upper`` and ``queries``.

    Raises:
        UsageError: a metric is unknown, or the level is not between 0 and 1.
    """
    import pandas as pd  # noqa: PLC0415

    runs = runs_in(runs, "runs")
    if not 0 < real_number(level, "level") < 1:
        raise UsageError(f"level is {level}; expected a number between 0 and 1")
    if isinstance(metrics, str):
        raise UsageError(f"metrics is {metrics!r}; expected a list of names")
    values = {
        (run.dataset, run.model): measure_named(run.run, run.data, metrics).by_query for run in runs
    }
    models = list(dict.fromkeys(run.model for run in runs))
    found = from_the_best(values, models, level=level)
    columns = [field.name for field in fields(MetricDifference)]
    return pd.DataFrame([asdict(difference) for difference in found], columns=columns)
