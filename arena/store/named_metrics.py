"""named_metrics.json: the metrics that arena.toml names, query by query, beside the runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from arena.data.json_files import read_kept
from arena.data.metrics import QueryMetrics
from arena.files import write_atomically


@dataclass(frozen=True, slots=True)
class NamedMetrics:
    """The values of all models on one data set."""

    query_ids: tuple[str, ...] = ()  #: queries with a grade above 0
    models: Mapping[str, Mapping[str, tuple[float | None, ...]]] = field(default_factory=dict)
    """Model → metric → a value for each query; None if the metric is not defined."""

    def of(self, model: str) -> dict[str, dict[str, float]]:
        """Return metric → query_id → value of one model; empty without it."""
        return {
            name: {
                query_id: value
                for query_id, value in zip(self.query_ids, values, strict=True)
                if value is not None
            }
            for name, values in self.models.get(model, {}).items()
        }


def write_named_metrics(by_model: Mapping[str, QueryMetrics], path: Path) -> None:
    """Write the values of some models, whole or not at all."""
    query_ids = tuple(
        dict.fromkeys(
            query_id
            for metrics in by_model.values()
            for values in metrics.by_query.values()
            for query_id in values
        )
    )
    models = {
        model: {
            name: tuple(values.get(query_id) for query_id in query_ids)
            for name, values in metrics.by_query.items()
        }
        for model, metrics in by_model.items()
    }
    write_atomically(path, [orjson.dumps(asdict(NamedMetrics(query_ids, models))), b"\n"])


def read_named_metrics(path: Path) -> NamedMetrics:
    """Read what `write_named_metrics` wrote; empty if there is none.

    Raises:
        DataError: the file is something else.
    """
    return read_kept(NamedMetrics, path, "metrics by query") if path.exists() else NamedMetrics()
