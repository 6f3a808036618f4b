"""The one leaderboard that the terminal, the files and the report all show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arena.data.metrics import Metrics
from arena.errors import UsageError
from arena.rating.battles import TIE, Battles
from arena.rating.bradley_terry import (
    ELO_PER_LOGIT,
    Comparisons,
    DisconnectedError,
    Fit,
    fit,
    to_elo,
)
from arena.rating.elo import elo_order_samples, elo_ratings, tally
from arena.rating.leaderboard_records import (
    Facts,
    Leaderboard,
    Measured,
    ModelFacts,
    PositionAdvantage,
    RatingSettings,
    Row,
    aggregate,
)
from arena.rating.uncertainty import intervals, position_interval, rank_intervals

__all__ = [
    "Facts",
    "Leaderboard",
    "Measured",
    "ModelFacts",
    "PositionAdvantage",
    "RatingSettings",
    "Row",
    "aggregate",
    "build_leaderboard",
]

_FIRST_SCORE = np.array([1.0, 0.0, 0.5])
"""What the model shown first scores, by winner code."""


def build_leaderboard(
    battles: Battles, *, facts: Facts | None = None, settings: RatingSettings | None = None
) -> Leaderboard:
    """Rate battles, per data set and overall.

    Overall, Elo, metrics and latency are unweighted means over the data sets that have them,
    wins, losses and ties are sums, and the rating is one fit in which data sets weigh the same.
    Where no finite rating exists the rows have none, are ranked by Elo, and a note says why.

    Raises:
        UsageError: settings out of range.
    """
    facts, settings = facts or Facts(), settings or RatingSettings()
    if settings.rank_by not in ("rating", "elo"):
        raise UsageError(f"rank_by is {settings.rank_by!r}; expected rating or elo")
    tables: dict[str, tuple[Row, ...]] = {}
    samples, notes = [], list(battles.notes)
    for code in np.unique(battles.dataset):
        name, part = battles.datasets[code], battles.only(int(code))
        orders = _order_samples(part, settings, int(code))
        samples.append(orders)
        rows = _dataset_rows(part, name, facts, settings)
        rated, _, why = _rated(_with_spread(rows, battles.models, orders), part, settings)
        notes += [f"{name}: {reason}" for reason in why]
        tables[name] = rated
    by_model: dict[str, list[Row]] = defaultdict(list)
    for table in tables.values():
        for row in table:
            by_model[row.model].append(row)
    rows = [aggregate(by_model[model]) for model in battles.models if model in by_model]
    rows = _with_spread(rows, battles.models, _mean_over_datasets(samples))
    overall, advantage, why = _rated(rows, battles, settings, weight=_dataset_weights(battles))
    if len(tables) > 1:
        notes += [f"overall: {reason}" for reason in why]
    notes += _coverage_notes(tables)
    return Leaderboard(
        overall=overall,
        datasets=tables,
        position_advantage=advantage,
        battles=len(battles),
        ties=int(np.count_nonzero(battles.winner == TIE)),
        failures=battles.failures,
        queries=battles.n_queries,
        judges=tuple(battles.judges[code] for code in np.unique(battles.judge)),
        settings=settings,
        notes=tuple(notes),
    )


def _dataset_rows(
    battles: Battles, dataset: str, facts: Facts, settings: RatingSettings
) -> list[Row]:
    elo = elo_ratings(battles, settings.elo)
    rows = []
    for code, record in enumerate(tally(battles)):
        if not record.battles:
            continue
        model = battles.models[code]
        measured = facts.measured.get((dataset, model), Measured())
        rows.append(
            Row(
                model=model,
                elo=float(elo[code]),
                record=record,
                metrics=_metric_values(measured.metrics),
                latency=measured.latency,
                facts=facts.models.get(model, ModelFacts()),
            )
        )
    return rows


def _metric_values(metrics: Metrics | None) -> dict[str, float]:
    if metrics is None:
        return {}
    return {
        "ndcg@5": metrics.ndcg_at_5,
        "ndcg@10": metrics.ndcg_at_10,
        "recall@5": metrics.recall_at_5,
        "recall@10": metrics.recall_at_10,
        "judged@10": metrics.judged_at_10,
    }


def _order_samples(
    battles: Battles, settings: RatingSettings, dataset: int
) -> NDArray[np.float64] | None:
    if settings.n_permutations < 2:
        return None
    return elo_order_samples(
        battles,
        settings.elo,
        n_permutations=settings.n_permutations,
        seed=(settings.seed, dataset),
    )


def _mean_over_datasets(
    samples: Sequence[NDArray[np.float64] | None],
) -> NDArray[np.float64] | None:
    """The overall Elo of each permutation, (n_permutations, n_models)."""
    present = [sample for sample in samples if sample is not None]
    if not present:
        return None
    stacked = np.stack(present)
    played = ~np.isnan(stacked)
    counts = np.maximum(played.sum(axis=0), 1)
    mean: NDArray[np.float64] = np.where(played, stacked, 0).sum(axis=0) / counts
    return mean


def _with_spread(
    rows: Sequence[Row], models: Sequence[str], samples: NDArray[np.float64] | None
) -> list[Row]:
    if samples is None:
        return list(rows)
    place = {model: code for code, model in enumerate(models)}
    return [
        replace(row, elo_order_sd=float(samples[:, place[row.model]].std(ddof=1))) for row in rows
    ]


def _dataset_weights(battles: Battles) -> NDArray[np.float64] | None:
    """Per battle, so that every data set weighs the same and the mean weight is 1."""
    counts = np.bincount(battles.dataset)
    n_datasets = np.count_nonzero(counts)
    if n_datasets == 1:
        return None
    return len(battles) / (n_datasets * counts[battles.dataset].astype(np.float64))


def _rated(
    rows: Sequence[Row],
    battles: Battles,
    settings: RatingSettings,
    *,
    weight: NDArray[np.float64] | None = None,
) -> tuple[tuple[Row, ...], PositionAdvantage | None, list[str]]:
    """The rows with rating, interval and rank, best first; the first place's worth; notes."""
    place = {model: code for code, model in enumerate(row.model for row in rows)}
    code = np.array([place.get(model, -1) for model in battles.models])
    comparisons = Comparisons(
        first=code[battles.model_a],
        second=code[battles.model_b],
        score=_FIRST_SCORE[battles.winner],
        cluster=battles.query.astype(np.intp),
        n_models=len(rows),
        weight=weight,
    )
    try:
        fitted = fit(comparisons, position=settings.position, prior=settings.prior)
    except DisconnectedError as error:
        why = f"{error.named([row.model for row in rows])} (--prior); ranked by Elo instead"
        return _ranked(rows, "elo"), None, [why]
    notes = []
    if fitted.n_clusters < 2:
        notes.append("one query says nothing of another: no intervals; judge more queries")
    if settings.position and not fitted.position_fitted:
        notes.append("who was shown first cannot be told from who is better: not corrected for")
    rated = _with_ratings(rows, fitted, settings)
    return _ranked(rated, settings.rank_by), _advantage(fitted, settings), notes


def _with_ratings(rows: Sequence[Row], fitted: Fit, settings: RatingSettings) -> list[Row]:
    ratings = to_elo(fitted.theta, mean=settings.elo.start).tolist()
    rated = [replace(row, rating=rating) for row, rating in zip(rows, ratings, strict=True)]
    if fitted.n_clusters < 2:
        return rated
    ends = [to_elo(x, mean=settings.elo.start) for x in intervals(fitted, level=settings.level)]
    ranks = rank_intervals(fitted, level=settings.level, seed=settings.seed)
    columns = [column.tolist() for column in (*ends, *ranks)]
    return [
        replace(row, lower=lower, upper=upper, rank_lower=best, rank_upper=worst)
        for row, lower, upper, best, worst in zip(rated, *columns, strict=True)
    ]


def _advantage(fitted: Fit, settings: RatingSettings) -> PositionAdvantage | None:
    if not fitted.position_fitted or fitted.n_clusters < 2:
        return None
    lower, upper = position_interval(fitted, level=settings.level)
    return PositionAdvantage(
        elo=ELO_PER_LOGIT * fitted.position,
        lower=ELO_PER_LOGIT * lower,
        upper=ELO_PER_LOGIT * upper,
    )


def _ranked(rows: Sequence[Row], by: Literal["rating", "elo"]) -> tuple[Row, ...]:
    def value(row: Row) -> float:
        return row.elo if by == "elo" or row.rating is None else row.rating

    best_first = sorted(rows, key=lambda row: (-value(row), row.model))
    values = [value(row) for row in best_first]
    return tuple(replace(row, rank=1 + values.index(value(row))) for row in best_first)


def _coverage_notes(tables: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Where the overall means of some models are over other data sets than those of others."""
    yield from _coverage("Elo", {name: {r.model for r in rows} for name, rows in tables.items()})
    metrics = {n: {r.model for r in rows if r.metrics} for n, rows in tables.items()}
    yield from _coverage("nDCG and recall", metrics)
    latency = {n: {r.model for r in rows if r.latency} for n, rows in tables.items()}
    yield from _coverage("latency", latency)


def _coverage(what: str, models_by_dataset: Mapping[str, set[str]]) -> Iterator[str]:
    having = {name: models for name, models in models_by_dataset.items() if models}
    everyone = set().union(*models_by_dataset.values())
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for model in sorted(everyone):
        missing = tuple(name for name, models in having.items() if model not in models)
        if missing:
            lacking[missing].append(model)
    if lacking:
        without = "; ".join(f"{', '.join(m)} not on {', '.join(d)}" for d, m in lacking.items())
        yield f"overall {what} averages different data sets for different models: {without}"
    if having and len(having) < len(models_by_dataset):
        yield f"overall {what}: only {', '.join(having)} of {len(models_by_dataset)} data sets"
