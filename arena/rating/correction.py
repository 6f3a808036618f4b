"""A table's ratings, corrected by people's labels.

Labels of battles correct the ratings as `arena.rating.prediction_powered` says. Grades of documents
are on the scale of DCG. One factor converts them to the scale of the ratings, in Elo points for a
unit of DCG. It is the least-squares slope of the judge's ratings on its own mean DCG. The rating is
then the judge's plus the factor times people's DCG minus the judge's. A judge of lists has no DCG:
then the rating is people's DCG times the factor that gives it the spread of the judge's ratings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from arena.battles.load import Battles
from arena.errors import UsageError
from arena.rating.bradley_terry import ELO_PER_LOGIT, sigmoid, to_elo
from arena.rating.comparisons import Floats, Ints
from arena.rating.document_grades import (
    GradedDocuments,
    GradeEstimate,
    document_weights,
    estimate_grades,
    grade_rectifiers,
    graded_documents,
    implied_gains,
)
from arena.rating.fit import Fit
from arena.rating.inference import from_sandwich
from arena.rating.label_estimates import (
    Correct,
    JudgeError,
    LabelEstimate,
    PeoplesLabels,
    degrees_of_freedom,
    judge_error,
    meat,
    shrink,
)
from arena.rating.leaderboard_records import Correction, RatingSettings
from arena.rating.prediction_powered import (
    LabelledBattles,
    prediction_powered,
    rectifiers,
    shrunk_battles,
)
from arena.rating.rate_rows import Rated, comparisons_of, ranked
from arena.rating.sandwich import Contrasts, of_matrix

Unit = Literal["battle", "document"]
REFUSED = "people's labels do not correct the ratings: "
"""Begins the note that says why."""

LEAST_LABELS = 5
"""Fewer answers correct nothing."""


@dataclass(frozen=True, slots=True)
class _Table:
    """The battles of one table, an entry for each pair of models on a query."""

    battles: Battles
    labelled: LabelledBattles  #: without people's labels yet
    fit: Fit
    models: tuple[str, ...]
    units: Ints  #: code of (query, lower model, upper model) of each entry, rising
    clusters: Ints  #: code of each query in ``battles.query``
    names: tuple[tuple[str, str], ...]  #: (data set, query_id) of each query


@dataclass(frozen=True, slots=True)
class _Corrected:
    """Corrected ratings, and what a reader is told of them."""

    estimate: LabelEstimate
    error: JudgeError | None
    asked: Floats  #: labels of each query
    factor: float | None = None  #: logits for a unit of DCG


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
        weight: of each battle; 1 where absent.

    Raises:
        UsageError: the labels or the rating method do not allow for what is asked.
    """
    if how == "none":
        return rated, None
    unit = _unit(people, how)
    if unit is None or rated.fit is None or settings.method != "bt":
        return _refused(rated, _why_not(people, rated, settings, how), how)
    table = _table(rated.fit, rated.models, battles, settings, weight)
    labelled, n_labels = _with_labels(table, people)
    if unit == "battle":
        estimate = _by_battles(table, labelled, shrunk=how == "shrink")
    else:
        estimate, n_labels = _by_documents(table, people, shrunk=how == "shrink")
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


def _table(
    fit: Fit,
    models: tuple[str, ...],
    battles: Battles,
    settings: RatingSettings,
    weight: Floats | None,
) -> _Table:
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
    return _Table(battles, labelled, fit, models, units, clusters, _names(battles, clusters))


def _names(battles: Battles, clusters: Ints) -> tuple[tuple[str, str], ...]:
    _, rows = np.unique(battles.query, return_index=True)
    if battles.query_id is None:
        return (("", ""),) * len(clusters)
    return tuple(
        (battles.datasets[battles.dataset[row]], battles.query_ids[battles.query_id[row]])
        for row in rows.tolist()
    )


def _with_labels(table: _Table, people: PeoplesLabels) -> tuple[LabelledBattles, int]:
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


def _by_battles(table: _Table, labelled: LabelledBattles, *, shrunk: bool) -> _Corrected | None:
    """Return ratings that labels of battles correct; None without a label of this table."""
    if not labelled.asked.any():
        return None
    theta = table.fit.theta
    if shrunk:
        estimate, error = shrunk_battles(labelled, judge_theta=theta)
        return _Corrected(estimate, error, labelled.asked)
    moves = rectifiers(labelled, theta)
    error = judge_error(moves.sum(axis=0), meat(moves, labelled.stratum))
    return _Corrected(prediction_powered(labelled, judge_theta=theta), error, labelled.asked)


def _by_documents(
    table: _Table, people: PeoplesLabels, *, shrunk: bool
) -> tuple[_Corrected | None, int]:
    """Return ratings that grades of documents correct, and how many grades count.

    People's and the judge's grades each give every list a DCG. What people's mean DCG adds to the
    judge's moves the ratings, by as many logits for a unit of DCG as explain the ratings best.
    """
    documents = list(_documents(table, people))
    n_labels = sum(int(part.graded.labelled.sum()) for part in documents)
    if any(part.graded.labelled.sum() < 2 for part in documents) or not documents:
        return None, n_labels
    graded = all(part.by_judge for part in documents)
    labelled, theta = table.labelled, table.fit.theta
    estimates = [estimate_grades(part.graded) for part in documents]
    asked = np.zeros(labelled.shape[0])
    for part in documents:
        asked[part.queries] = part.graded.asked
    share = _shares(documents, labelled.shape)
    people_dcg = _spread([e.by_query for e in estimates], documents, labelled.shape) * share
    judge_dcg = _spread([e.judge_by_query for e in estimates], documents, labelled.shape) * share
    noise = _label_noise(estimates, documents, len(theta))
    if not graded:
        return _by_people_alone(table, people_dcg, asked, noise), n_labels
    # Least squares through 0, because ratings and DCG are both centred.
    own = judge_dcg.sum(axis=0)
    factor = float(theta @ own / (own @ own))
    psi = labelled.scores(labelled.judge - labelled.expected(theta))
    psi = psi @ labelled.bread(np.ones(len(labelled.first)), labelled.expected(theta))
    rectifier = [grade_rectifiers(part.graded) for part in documents]
    apart = factor * _spread(rectifier, documents, labelled.shape) * share
    error = judge_error(apart.sum(axis=0), meat(apart, labelled.stratum))
    slope = float(np.mean([e.slope for e in estimates]))
    if shrunk:
        alone = meat(psi, labelled.stratum)
        rating, covariance, error = shrink(theta, alone, apart, stratum=labelled.stratum)
        df = degrees_of_freedom(apart, asked, labelled.stratum)
        estimate = LabelEstimate(rating, covariance, df, 1.0, covariance - alone)
    else:
        apart = people_dcg - judge_dcg
        rating = theta + factor * apart.sum(axis=0)
        estimate = _estimate(psi + factor * apart, rating, labelled, asked, slope)
        estimate = _noisy(estimate, factor, noise)
    return _Corrected(estimate, error, asked, factor), n_labels


def _by_people_alone(
    table: _Table, people_dcg: Floats, asked: Floats, noise: Floats
) -> _Corrected | None:
    """Return ratings by people's grades, where the judge graded no documents to be corrected."""
    labelled = table.labelled
    factor = _spread_factor(table.fit.theta, table.fit.covariance, people_dcg, labelled.stratum)
    if factor is None:
        return None
    moves = factor * people_dcg
    estimate = _estimate(moves, moves.sum(axis=0), labelled, asked, 0.0)
    return _Corrected(_noisy(estimate, factor, noise), None, asked, factor)


@dataclass(frozen=True, slots=True)
class _DatasetDocuments:
    graded: GradedDocuments
    queries: Ints  #: code of each query in the table
    columns: Ints  #: code of each model in the table
    by_judge: bool  #: whether the judge graded all of the documents


def _documents(table: _Table, people: PeoplesLabels) -> Iterator[_DatasetDocuments]:
    """Yield the documents of each data set, with their labels and grades."""
    for dataset in dict.fromkeys(dataset for dataset, _ in table.names):
        lists = {m: people.lists.get(dataset, {}).get(m, {}) for m in table.models}
        columns = np.array([code for code, m in enumerate(table.models) if lists[m]], np.intp)
        queries = [code for code, (own, _) in enumerate(table.names) if own == dataset]
        if len(columns) < 2:
            continue
        weights = document_weights(
            {table.models[code]: lists[table.models[code]] for code in columns},
            [table.names[code][1] for code in queries],
            top_k=people.top_k,
        )
        graded = graded_documents(weights, dataset, people)
        by_judge = graded is not None
        if graded is None:
            points = _points(table.labelled)[queries][:, columns]
            implied = implied_gains(weights, points)
            graded = graded_documents(weights, dataset, people, otherwise=implied)
        if graded is not None:
            yield _DatasetDocuments(graded, np.array(queries, np.intp), columns, by_judge)


def _points(labelled: LabelledBattles) -> Floats:
    """Return the mean of score − ½ of each model on each query, (n_queries, m)."""
    n, m = labelled.shape
    won = replace(labelled, weight=None).scores(labelled.judge - 0.5)
    played = sum(
        np.bincount(labelled.query * m + side, minlength=n * m)
        for side in (labelled.first, labelled.second)
    )
    points: Floats = won / np.maximum(played, 1).reshape(n, m)
    return points


def _spread(
    parts: list[Floats], documents: list[_DatasetDocuments], shape: tuple[int, int]
) -> Floats:
    """Put rows of data sets at their queries, and columns at their models, of the table."""
    out = np.zeros(shape)
    for part, own in zip(parts, documents, strict=True):
        out[np.ix_(own.queries, own.columns)] = part
    return out


def _shares(documents: list[_DatasetDocuments], shape: tuple[int, int]) -> Floats:
    """Return what each query weighs in a model's mean: data sets weigh the same, (n_queries, m)."""
    sets = np.bincount(np.concatenate([own.columns for own in documents]), minlength=shape[1])
    share = np.zeros(shape)
    for own in documents:
        share[np.ix_(own.queries, own.columns)] = 1 / len(own.queries)
    return share / np.maximum(sets, 1)


def _label_noise(
    estimates: list[GradeEstimate], documents: list[_DatasetDocuments], m: int
) -> Floats:
    """Return the covariance of the mean DCG that comes from sampling documents, (m, m)."""
    noise = np.zeros((m, m))
    for estimate, own in zip(estimates, documents, strict=True):
        noise[np.ix_(own.columns, own.columns)] += estimate.label_part
    return noise / len(documents) ** 2


def _spread_factor(
    theta: Floats, covariance: Floats, moves: Floats, stratum: Ints | None
) -> float | None:
    """Return logits for a unit of DCG that give people's DCG the spread of the judge's ratings.

    From both spreads that of chance is taken away. None where nothing is left of one.
    """
    mean = moves.sum(axis=0)
    real = float(mean @ mean - np.trace(meat(moves, stratum)))
    judged = float(theta @ theta - np.trace(covariance))
    if real <= 0 or judged <= 0:
        return None
    return math.sqrt(judged / real)


def _estimate(
    moves: Floats, theta: Floats, labelled: LabelledBattles, asked: Floats, judge_weight: float
) -> LabelEstimate:
    return LabelEstimate(
        theta=theta - theta.mean(),
        covariance=meat(moves, labelled.stratum),
        df=degrees_of_freedom(moves, asked, labelled.stratum),
        judge_weight=judge_weight,
        label_part=np.zeros((len(theta), len(theta))),
    )


def _noisy(estimate: LabelEstimate, factor: float, noise: Floats) -> LabelEstimate:
    return replace(estimate, label_part=factor**2 * noise)


def _record(
    correction: _Corrected, unit: Unit, how: Correct, people: PeoplesLabels, n_labels: int
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


def _with_estimate(rated: Rated, corrected: _Corrected, settings: RatingSettings) -> Rated:
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
