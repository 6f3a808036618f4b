"""A table's ratings, corrected by people's labels.

Labels of battles correct the ratings as `arena.rating.people.prediction_powered` says, and grades
of documents as `arena.rating.people.correction_by_documents` says.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from arena.battles.load import Battles
from arena.errors import UsageError
from arena.rating.bradley_terry import ELO_PER_LOGIT, to_elo
from arena.rating.comparisons import Floats
from arena.rating.inference import from_sandwich
from arena.rating.leaderboard_records import Correction, RatingSettings
from arena.rating.people.correction_by_documents import correct_by_documents
from arena.rating.people.label_estimates import Correct, PeoplesLabels, judge_error, meat
from arena.rating.people.labelled_table import CorrectedRatings, LabelledTable, labelled_table
from arena.rating.people.prediction_powered import (
    LabelledBattles,
    prediction_powered,
    rectifiers,
    shrunk_battles,
)
from arena.rating.rate_rows import Rated, ranked
from arena.rating.sandwich import Contrasts, of_matrix

Unit = Literal["battle", "document"]
REFUSED = "people's labels do not correct the ratings: "
"""Begins the note that says why."""

LEAST_LABELS = 5
"""Fewer answers correct nothing."""


def correct_ratings(  # noqa: PLR0913  the last two are options
    rated: Rated,
    battles: Battles,
    people: PeoplesLabels,
    settings: RatingSettings,
    *,
    how: Correct = "auto",
    weight: Floats | None = None,
) -> tuple[Rated, Correction | None]:
    """Correct a table; where that cannot be, return it as it is with a note that says why.

    Args:
        rated: the table by the judge.
        battles: what it was made of.
        people: labels.
        settings: of the table.
        how: which labels, and which estimate.
        weight: of each battle; 1 if absent.

    Raises:
        UsageError: the labels or the rating method do not allow for what is asked.
    """
    if how == "none":
        return rated, None
    unit = _unit(people, how)
    if unit is None or rated.fit is None or settings.method != "bt":
        return _refused(rated, _why_not(people, rated, settings, how), how)
    table = labelled_table(rated.fit, rated.models, battles, settings, weight)
    labelled, n_labels = _with_labels(table, people)
    if unit == "battle":
        estimate = _by_battles(table, labelled, shrunk=how == "shrink")
    else:
        estimate, n_labels = correct_by_documents(table, people, shrunk=how == "shrink")
    if estimate is None or n_labels < LEAST_LABELS:
        what = f"{n_labels} labels of {unit}s of this table count; {LEAST_LABELS} are the least"
        if n_labels >= LEAST_LABELS:
            what = f"{n_labels} labels show no difference between the models yet; label more"
        return _refused(rated, what, how)
    correction = _record(estimate, unit, how, people, n_labels)
    return _with_estimate(rated, estimate, settings), correction


def _unit(people: PeoplesLabels, how: Correct) -> Unit | None:
    """Return which labels correct the ratings; None if there are none that can."""
    documents = bool(people.documents and people.lists)
    if how == "documents":
        return "document" if documents else None
    if how == "battles":
        return "battle" if people.battles else None
    if documents and (people.gains or not people.battles):
        return "document" if how == "auto" or people.gains else None
    return "battle" if people.battles else None


def _why_not(people: PeoplesLabels, rated: Rated, settings: RatingSettings, how: Correct) -> str:
    if rated.fit is None:
        return "the judge's ratings are not finite"
    if settings.method != "bt":
        return f"the method is {settings.method}; only bt can be corrected"
    if how == "shrink" and people.documents and not people.gains:
        return "the judge gave no grades to shrink towards; label battles, or use auto"
    return "no label of this kind has a known probability of being asked; label with `arena label`"


def _refused(rated: Rated, why: str, how: Correct) -> tuple[Rated, None]:
    message = f"{REFUSED}{why}"
    if how != "auto":
        raise UsageError(f"--correct {how}: {why}")
    return replace(rated, notes=(*rated.notes, message)), None


def _with_labels(table: LabelledTable, people: PeoplesLabels) -> tuple[LabelledBattles, int]:
    """Return the entries with people's answers, and how many there are."""
    m, labelled = len(table.models), table.labelled
    model = {name: code for code, name in enumerate(table.models)}
    query = {name: code for code, name in enumerate(table.names)}
    answers, inverse, n_labels = labelled.people.copy(), labelled.inverse.copy(), 0
    for (dataset, query_id, first, second), answer in people.battles.items():
        q, i, j = query.get((dataset, query_id)), model.get(first), model.get(second)
        if q is None or i is None or j is None:
            continue
        unit = (q * m + min(i, j)) * m + max(i, j)
        entry = int(np.searchsorted(table.units, unit))
        if entry == len(table.units) or table.units[entry] != unit or inverse[entry]:
            continue
        answers[entry] = answer.value if i < j else 1 - answer.value
        inverse[entry] = answer.inverse
        n_labels += 1
    return replace(labelled, people=answers, inverse=inverse), n_labels


def _by_battles(
    table: LabelledTable, labelled: LabelledBattles, *, shrunk: bool
) -> CorrectedRatings | None:
    """Return ratings that labels of battles correct; None without a label of this table."""
    if not labelled.asked.any():
        return None
    theta = table.fit.theta
    if shrunk:
        estimate, error = shrunk_battles(labelled, judge_theta=theta)
        return CorrectedRatings(estimate, error, labelled.asked)
    moves = rectifiers(labelled, theta)
    error = judge_error(moves.sum(axis=0), meat(moves, labelled.stratum))
    return CorrectedRatings(prediction_powered(labelled, judge_theta=theta), error, labelled.asked)


def _record(
    correction: CorrectedRatings, unit: Unit, how: Correct, people: PeoplesLabels, n_labels: int
) -> Correction:
    """Return what the leaderboard's files and notes hold of a correction."""
    estimate, error = correction.estimate, correction.error
    whole = float(np.trace(estimate.covariance))
    by_labels = min(float(np.trace(estimate.label_part)), whole)
    left = whole / 4 - (whole - by_labels)
    return Correction(
        method="shrink" if how == "shrink" else "battles" if unit == "battle" else "documents",
        unit=unit,
        labels=n_labels,
        people=people.people,
        queries=int(np.count_nonzero(correction.asked)),
        judge_weight=estimate.judge_weight,
        one_step=estimate.one_step,
        error_sd=None if error is None else ELO_PER_LOGIT * error.sd,
        error_lower=None if error is None else ELO_PER_LOGIT * error.lower,
        error_upper=None if error is None else ELO_PER_LOGIT * error.upper,
        labels_to_halve=math.ceil(n_labels * by_labels / left) if left > 0 else None,
        elo_per_dcg=None if correction.factor is None else ELO_PER_LOGIT * correction.factor,
    )


def _with_estimate(rated: Rated, corrected: CorrectedRatings, settings: RatingSettings) -> Rated:
    """Return the table with the corrected ratings, their ranks and their covariance."""
    estimate = corrected.estimate
    m = len(estimate.theta)
    variance = of_matrix(estimate.covariance)
    if rated.fit is None:
        raise ValueError("a table without ratings has none to correct")
    fit = replace(
        rated.fit,
        theta=estimate.theta,
        covariance=estimate.covariance,
        contrasts=Contrasts(variance, np.full((m, m), estimate.df), variance),
        position=0.0,
        position_fitted=False,
        independent=estimate.label_part,
        guard=np.zeros((m, m)),
    )
    certainty = from_sandwich(fit, level=settings.level)
    columns = [
        to_elo(values, mean=settings.elo.start).tolist()
        for values in (estimate.theta, certainty.lower, certainty.upper)
    ]
    columns += [certainty.rank_lower.tolist(), certainty.rank_upper.tolist()]
    names = ("corrected", "corrected_lower", "corrected_upper", "rank_lower", "rank_upper")
    by_model = {
        model: dict(zip(names, values, strict=True))
        for model, *values in zip(rated.models, *columns, strict=True)
    }
    rows = [replace(row, **by_model[row.model]) for row in rated.rows]
    return Rated(ranked(rows, settings.rank_by), rated.models, fit, certainty, rated.notes)
