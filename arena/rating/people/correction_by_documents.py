"""A table's ratings, corrected by people's grades of documents.

Grades of documents are on the scale of DCG. One factor converts them to the scale of the ratings,
in Elo points for a unit of DCG. It is the least-squares slope of the judge's ratings on its own
mean DCG. The rating is then the judge's plus the factor times people's DCG minus the judge's. A
judge of lists has no DCG: then the rating is people's DCG times the factor that gives it the spread
of the judge's ratings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from arena.rating.comparisons import Floats, Ints
from arena.rating.people.document_grades import (
    GradedDocuments,
    GradeEstimate,
    document_weights,
    estimate_grades,
    grade_rectifiers,
    graded_documents,
    implied_gains,
)
from arena.rating.people.label_estimates import (
    LabelEstimate,
    PeoplesLabels,
    degrees_of_freedom,
    judge_error,
    meat,
    shrink,
)
from arena.rating.people.labelled_table import CorrectedRatings, LabelledTable
from arena.rating.people.prediction_powered import LabelledBattles


def correct_by_documents(
    table: LabelledTable, people: PeoplesLabels, *, shrunk: bool
) -> tuple[CorrectedRatings | None, int]:
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
    labels_by_query = np.zeros(labelled.shape[0])
    for part in documents:
        labels_by_query[part.queries] = part.graded.asked
    share = _shares(documents, labelled.shape)
    people_dcg = _spread([e.by_query for e in estimates], documents, labelled.shape) * share
    judge_dcg = _spread([e.judge_by_query for e in estimates], documents, labelled.shape) * share
    noise = _label_noise(estimates, documents, len(theta))
    if not graded:
        return _by_people_alone(table, people_dcg, labels_by_query, noise), n_labels
    # Least squares through 0, because ratings and DCG are both centred.
    mean_dcg = judge_dcg.sum(axis=0)
    factor = float(theta @ mean_dcg / (mean_dcg @ mean_dcg))
    psi = labelled.scores(labelled.judge - labelled.expected(theta))
    psi = psi @ labelled.bread(np.ones(len(labelled.first)), labelled.expected(theta))
    rectifier = [grade_rectifiers(part.graded) for part in documents]
    difference = factor * _spread(rectifier, documents, labelled.shape) * share
    error = judge_error(difference.sum(axis=0), meat(difference, labelled.stratum))
    slope = float(np.mean([e.slope for e in estimates]))
    if shrunk:
        alone = meat(psi, labelled.stratum)
        rating, covariance, error = shrink(theta, alone, difference, stratum=labelled.stratum)
        df = degrees_of_freedom(difference, labels_by_query, labelled.stratum)
        estimate = LabelEstimate(rating, covariance, df, 1.0, covariance - alone)
    else:
        difference = people_dcg - judge_dcg
        rating = theta + factor * difference.sum(axis=0)
        estimate = _estimate(psi + factor * difference, rating, labelled, labels_by_query, slope)
        estimate = _noisy(estimate, factor, noise)
    return CorrectedRatings(estimate, error, labels_by_query, factor), n_labels


def _by_people_alone(
    table: LabelledTable, people_dcg: Floats, labels_by_query: Floats, noise: Floats
) -> CorrectedRatings | None:
    """Return ratings by people's grades, where the judge graded no documents to be corrected."""
    labelled = table.labelled
    factor = _spread_factor(table.fit.theta, table.fit.covariance, people_dcg, labelled.stratum)
    if factor is None:
        return None
    moves = factor * people_dcg
    estimate = _estimate(moves, moves.sum(axis=0), labelled, labels_by_query, 0.0)
    return CorrectedRatings(_noisy(estimate, factor, noise), None, labels_by_query, factor)


@dataclass(frozen=True, slots=True)
class _DatasetDocuments:
    graded: GradedDocuments
    queries: Ints  #: code of each query in the table
    columns: Ints  #: code of each model in the table
    by_judge: bool  #: whether the judge graded all of the documents


def _documents(table: LabelledTable, people: PeoplesLabels) -> Iterator[_DatasetDocuments]:
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

    From both spreads that of chance is taken away. None if nothing is left of one.
    """
    mean = moves.sum(axis=0)
    real = float(mean @ mean - np.trace(meat(moves, stratum)))
    judged = float(theta @ theta - np.trace(covariance))
    if real <= 0 or judged <= 0:
        return None
    return math.sqrt(judged / real)


def _estimate(
    moves: Floats,
    theta: Floats,
    labelled: LabelledBattles,
    labels_by_query: Floats,
    judge_weight: float,
) -> LabelEstimate:
    return LabelEstimate(
        theta=theta - theta.mean(),
        covariance=meat(moves, labelled.stratum),
        df=degrees_of_freedom(moves, labels_by_query, labelled.stratum),
        judge_weight=judge_weight,
        label_part=np.zeros((len(theta), len(theta))),
    )


def _noisy(estimate: LabelEstimate, factor: float, noise: Floats) -> LabelEstimate:
    return replace(estimate, label_part=factor**2 * noise)
