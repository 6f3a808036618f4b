"""The battles of one table as people label them: an entry for each pair of models on a query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arena.battles.load import Battles
from arena.rating.bradley_terry import sigmoid
from arena.rating.comparisons import Floats, Ints
from arena.rating.fit import Fit
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.people.label_estimates import JudgeError, LabelEstimate
from arena.rating.people.prediction_powered import LabelledBattles
from arena.rating.rate_rows import comparisons_of


@dataclass(frozen=True, slots=True)
class LabelledTable:
    """The battles of one table, an entry for each pair of models on a query."""

    battles: Battles
    labelled: LabelledBattles  #: without people's labels yet
    fit: Fit
    models: tuple[str, ...]
    units: Ints  #: code of (query, lower model, upper model) of each entry, rising
    clusters: Ints  #: code of each query in ``battles.query``
    names: tuple[tuple[str, str], ...]  #: (data set, query_id) of each query


@dataclass(frozen=True, slots=True)
class CorrectedRatings:
    """Corrected ratings, and what a reader is told of them."""

    estimate: LabelEstimate
    error: JudgeError | None
    asked: Floats  #: labels of each query
    factor: float | None = None  #: logits for a unit of DCG


def labelled_table(
    fit: Fit,
    models: tuple[str, ...],
    battles: Battles,
    settings: RatingSettings,
    weight: Floats | None,
) -> LabelledTable:
    """Return one entry for both orders and repeats of a pair on a query, as people see it once."""
    rows, m = comparisons_of(battles, models, weight), len(models)
    score, first, second = np.asarray(rows.score), rows.first, rows.second
    if fit.position_fitted:
        margin = fit.theta[first] - fit.theta[second]
        gain = sigmoid(margin + fit.position) - sigmoid(margin)
        score = score - (gain if rows.placed is None else gain * rows.placed)
    low, high = np.minimum(first, second), np.maximum(first, second)
    clusters, query = np.unique(rows.cluster, return_inverse=True)
    units, entry = np.unique((query * m + low) * m + high, return_inverse=True)
    own = np.ones(len(score)) if weight is None else weight
    total = np.bincount(entry, own)
    judge = np.bincount(entry, own * np.where(first == low, score, 1 - score)) / total
    stratum = np.zeros(len(clusters), np.intp)
    stratum[query] = battles.dataset
    certain = np.zeros(len(units), np.bool_)
    if battles.identical is not None:
        certain = np.bincount(entry, ~battles.identical) == 0
    labelled = LabelledBattles(
        first=units // m % m,
        second=units % m,
        query=units // (m * m),
        judge=judge,
        people=np.where(certain, judge, 0.0),
        inverse=certain.astype(np.float64),
        n_models=m,
        weight=total.astype(np.float64),
        stratum=stratum if len(np.unique(stratum)) > 1 else None,
        prior=settings.prior,
        certain=certain,
    )
    return LabelledTable(battles, labelled, fit, models, units, clusters, _names(battles, clusters))


def _names(battles: Battles, clusters: Ints) -> tuple[tuple[str, str], ...]:
    _, rows = np.unique(battles.query, return_index=True)
    if battles.query_id is None:
        return (("", ""),) * len(clusters)
    return tuple(
        (battles.datasets[battles.dataset[row]], battles.query_ids[battles.query_id[row]])
        for row in rows.tolist()
    )
