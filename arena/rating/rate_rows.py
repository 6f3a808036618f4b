"""Rows of one table with their ratings, intervals and ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arena.battles.load import Battles
from arena.errors import UsageError
from arena.rating import bradley_terry
from arena.rating.bootstrap import bootstrap
from arena.rating.bradley_terry import ELO_PER_LOGIT, fit_davidson, to_elo
from arena.rating.comparisons import Comparisons, DisconnectedError
from arena.rating.fit import Fit
from arena.rating.inference import Certainty, from_draws, from_sandwich, position_interval
from arena.rating.leaderboard_records import (
    LeaderboardRow,
    Method,
    PositionAdvantage,
    RatingSettings,
)
from arena.rating.panel_votes import first_scores

_FIT: Mapping[Method, Callable[..., Fit]] = {
    "bt": bradley_terry.fit,
    "davidson": fit_davidson,
}


@dataclass(frozen=True, slots=True)
class Rated:
    """A table, and what it was made of."""

    rows: tuple[LeaderboardRow, ...]  #: best first
    models: tuple[str, ...]  #: by their code in the fit
    fit: Fit | None = None  #: None if no finite rating exists; the rows are ranked by Elo then
    certainty: Certainty | None = None  #: None if one query, or no fit, allows for none
    notes: tuple[str, ...] = ()


def rate_rows(
    rows: Sequence[LeaderboardRow],
    battles: Battles,
    settings: RatingSettings,
    *,
    weight: NDArray[np.float64] | None = None,
) -> Rated:
    """Rate the models of the rows by the battles, and rank the rows.

    Raises:
        UsageError: probabilities in the log that are none.
    """
    models = tuple(row.model for row in rows)
    comparisons = comparisons_of(battles, models, weight)
    try:
        fit = _FIT[settings.method](comparisons, position=settings.position, prior=settings.prior)
    except DisconnectedError as error:
        why = f"{error.named(models)} (--prior); ranked by Elo instead"
        return Rated(ranked(rows, "elo"), models, notes=(why,))
    except UsageError as error:
        # What a tie model cannot fit, Bradley-Terry often can; the other tables stand.
        return Rated(ranked(rows, "elo"), models, notes=(f"{error}; ranked by Elo instead",))
    certainty = _certainty(comparisons, fit, settings)
    rated = _with_ratings(rows, fit, certainty, settings)
    placed = battles.placed is None or bool(battles.placed.any())
    notes = tuple(_notes(fit, settings, placed=placed))
    return Rated(ranked(rated, settings.rank_by), models, fit, certainty, notes)


def position_advantage(fit: Fit | None, settings: RatingSettings) -> PositionAdvantage | None:
    """Return what the first place is worth, with its interval; None if it was not fitted."""
    if fit is None or not fit.position_fitted or fit.n_clusters < 2:
        return None
    lower, upper = position_interval(fit, level=settings.level)
    return PositionAdvantage(
        elo=ELO_PER_LOGIT * fit.position,
        lower=ELO_PER_LOGIT * lower,
        upper=ELO_PER_LOGIT * upper,
    )


def comparisons_of(
    battles: Battles, models: Sequence[str], weight: NDArray[np.float64] | None = None
) -> Comparisons:
    """Return the battles with models as codes, which are places in ``models``."""
    code_of = {model: code for code, model in enumerate(models)}
    kind = np.min_scalar_type(-4 * max(len(models), 1) ** 2)  # holds the code of a pair, too
    code = np.array([code_of.get(model, -1) for model in battles.models], kind)
    return Comparisons(
        first=code[battles.model_a],
        second=code[battles.model_b],
        score=first_scores(battles),
        cluster=battles.query,
        n_models=len(models),
        weight=weight,
        stratum=battles.dataset,
        placed=battles.placed,
    )


def _certainty(comparisons: Comparisons, fit: Fit, settings: RatingSettings) -> Certainty | None:
    if fit.n_clusters < 2:
        return None
    if not settings.bootstrap:
        return from_sandwich(fit, level=settings.level)
    draws = bootstrap(comparisons, fit, n=settings.bootstrap, seed=settings.seed)
    return from_draws(fit, draws, level=settings.level)


def _with_ratings(
    rows: Sequence[LeaderboardRow], fit: Fit, certainty: Certainty | None, settings: RatingSettings
) -> list[LeaderboardRow]:
    start = settings.elo.start
    ratings = to_elo(fit.theta, mean=start).tolist()
    rated = [replace(row, rating=rating) for row, rating in zip(rows, ratings, strict=True)]
    if certainty is None:
        return rated
    ends = [to_elo(end, mean=start) for end in (certainty.lower, certainty.upper)]
    ranks = (certainty.rank_lower, certainty.rank_upper)
    columns = [column.tolist() for column in (*ends, *ranks, fit.effective_queries)]
    names = ("lower", "upper", "rank_lower", "rank_upper", "effective_queries")
    return [
        replace(row, **dict(zip(names, values, strict=True)))
        for row, *values in zip(rated, *columns, strict=True)
    ]


def _notes(fit: Fit, settings: RatingSettings, *, placed: bool) -> list[str]:
    notes = []
    if fit.n_clusters < 2:
        notes.append("one query shows no variance: no intervals; judge more queries")
    if settings.position and not fit.position_fitted and placed:
        notes.append("who was shown first cannot be told from who is better: not corrected for")
    return notes


def ranked(
    rows: Sequence[LeaderboardRow], by: Literal["rating", "elo"]
) -> tuple[LeaderboardRow, ...]:
    """Return the rows best first, by the corrected rating where there is one."""

    def value(row: LeaderboardRow) -> float:
        if by == "elo" or row.rating is None:
            return row.elo
        return row.rating if row.corrected is None else row.corrected

    best_first = sorted(rows, key=lambda row: (-value(row), row.model))
    values = [value(row) for row in best_first]
    return tuple(replace(row, rank=1 + values.index(value(row))) for row in best_first)
