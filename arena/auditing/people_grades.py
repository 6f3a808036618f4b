"""Compare the judge's grades of single documents with people's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from arena.auditing.audit_input import AuditInput
from arena.auditing.estimates import (
    LEVEL,
    Floats,
    clustered_mean,
    coefficient,
    relative,
    share,
    sums_by_cluster,
)
from arena.auditing.people import shared_figures, standing_for
from arena.auditing.records import AuditMetric, Estimate, missing_metric, of_hundred
from arena.rating.leaderboard_records import Correction
from arena.store.labels import GRADES, Item, Label

_N_GRADES = int(GRADES[1]) + 1
_RELEVANT = 2
"""The grade from which a document counts as relevant where one threshold is used."""

_BALANCED = "grade_accuracy", "tells relevant documents as people do (balanced accuracy)"
_ERROR = "grade_error", "grades higher than people (mean, on 0 to 3)"
_SHARED = (
    ("grade_agreement", "two people agree whether a document is relevant"),
    ("grade_alpha", "people agree on relevance beyond chance (Krippendorff's alpha)"),
    ("grade_among_ac1", "people agree on relevance beyond chance (Gwet's AC1)"),
    ("grader_as_person", "agrees with a person on relevance more than another person does"),
)
_SD = "judge_error", "is off by (sd of its systematic error over models)"


@dataclass(frozen=True, slots=True)
class GradedLabels:
    """Labels of documents that the judge graded, n of them; grades are from 0 to 3."""

    people: Floats  #: (n,)
    judge: Floats  #: (n,)
    weight: Floats  #: 1 / probability of being asked over the item's labels; mean 1, (n,)
    query: np.ndarray  #: code of the query, (n,)
    item: np.ndarray  #: code of the document, (n,)


def graded_labels(evidence: AuditInput) -> GradedLabels | None:
    """Match people's labels of documents with the judge's grades; None if there are none."""
    gains = evidence.known.gains if evidence.known else {}
    answers: dict[Item, list[Label]] = defaultdict(list)
    for label in evidence.labels:
        key = label.dataset, label.query_id, label.doc_id or ""
        if label.unit == "document" and label.value is not None and key in gains:
            answers[label.item].append(label)
    if not answers:
        return None
    queries: dict[tuple[str, str], int] = {}
    rows = []
    for code, (item, own) in enumerate(answers.items()):
        query = queries.setdefault((item.dataset, item.query_id), len(queries))
        judge = GRADES[1] * gains[item.dataset, item.query_id, item.doc_id]
        weight = standing_for(own) / len(own)
        rows += [(label.value, judge, weight, query, code) for label in own]
    people, judged, weights, query_codes, item_codes = np.array(rows, dtype=np.float64).T
    codes = query_codes.astype(np.intp), item_codes.astype(np.intp)
    return GradedLabels(people, judged, relative(weights), *codes)


def grade_figures(labels: GradedLabels | None, evidence: AuditInput) -> list[AuditMetric]:
    """Return sensitivity, specificity, mean error and agreement of grades of documents."""
    if labels is None:
        because = (
            "the judge graded no document that people labelled"
            if any(label.unit == "document" for label in evidence.labels)
            else "people labelled no documents (arena label)"
        )
        names = [_BALANCED, *(n for grade in (2, 1) for n in _rates(grade)), _ERROR, *_SHARED]
        return [missing_metric(*own, because) for own in names]
    return [
        _balanced(labels),
        *(figure for grade in (2, 1) for figure in _rate_figures(labels, grade)),
        _error(labels),
        *_among(labels),
    ]


def error_figure(correction: Correction | None, why: str) -> AuditMetric:
    """Return how far the judge's ratings are off, beside what is known of such judges.

    Args:
        correction: of the leaderboard by people's labels; None if they correct nothing.
        why: they do not.
    """
    if correction is None or correction.error_sd is None:
        return missing_metric(
            *_SD, why or "the judge graded no documents that people labelled", "elo sd"
        )
    sd, lower, upper = correction.error_sd, correction.error_lower, correction.error_upper
    estimate = Estimate(sd, lower, upper, correction.labels, correction.queries)
    meaning = f"GPT-4-class graders were off by 0 to 21 Elo (sd) on TREC topics; yours by {sd:.0f}"
    if lower is not None and upper is not None:
        meaning += f" ({lower:.0f} to {upper:.0f})"
    return AuditMetric(*_SD, "elo sd", estimate, "labels", meaning)


def _rates(grade: int) -> tuple[tuple[str, str], tuple[str, str]]:
    return (
        (f"sensitivity_{grade}", f"finds documents of grade {grade} or more (sensitivity)"),
        (f"specificity_{grade}", f"rejects documents below grade {grade} (specificity)"),
    )


def _at_least(grades: Floats, grade: int) -> np.ndarray:
    """Return whether grades, rounded, reach one; a judge may give fractions."""
    reached: np.ndarray = grades >= grade - 0.5
    return reached


def _rate_figures(labels: GradedLabels, grade: int) -> list[AuditMetric]:
    people, judge = _at_least(labels.people, grade), _at_least(labels.judge, grade)
    figures = []
    for names, rows, hits, wording in zip(
        _rates(grade),
        (people, ~people),
        (judge, ~judge),
        (f"at {grade} or more get as much", f"below {grade} stay below"),
        strict=True,
    ):
        weight = relative(labels.weight[rows])
        estimate = share(hits[rows] * weight, labels.query[rows], weight)
        if estimate is None:
            because = f"people gave no grade {'from' if rows is people else 'below'} {grade}"
            figures.append(missing_metric(*names, because))
            continue
        meaning = (
            f"of documents that people grade {wording} from the judge, {of_hundred(estimate.value)}"
        )
        figures.append(AuditMetric(*names, "share", estimate, "labels", meaning))
    return figures


def _balanced(labels: GradedLabels) -> AuditMetric:
    people, judge = (_at_least(g, _RELEVANT) for g in (labels.people, labels.judge))
    cells = np.stack([people & judge, people, ~people & ~judge, ~people], axis=1)
    sums = sums_by_cluster(cells * labels.weight[:, None], labels.query)
    estimate = coefficient(sums, _mean_rate, n=len(people))
    if estimate is None:
        because = "people call all of the labelled documents relevant, or none"
        return missing_metric(*_BALANCED, because)
    meaning = f"mean of sensitivity and specificity at grade {_RELEVANT}; a coin gives 50%"
    return AuditMetric(*_BALANCED, "share", estimate, "labels", meaning)


def _mean_rate(sums: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        rate: Floats = (sums[:, 0] / sums[:, 1] + sums[:, 2] / sums[:, 3]) / 2
    return rate


def _error(labels: GradedLabels) -> AuditMetric:
    apart = (labels.judge - labels.people) / GRADES[1]
    estimate = clustered_mean(apart, labels.query, labels.weight, level=LEVEL)
    if estimate is None:
        raise ValueError("there are labels, so there is a mean")
    size = float(np.average(np.abs(apart), weights=labels.weight)) * GRADES[1]
    rounded = [np.floor(g + 0.5).astype(np.intp) for g in (labels.people, labels.judge)]
    cells = np.bincount(rounded[0] * _N_GRADES + rounded[1], labels.weight, _N_GRADES**2)
    table = (cells / cells.sum()).reshape(_N_GRADES, _N_GRADES)
    meaning = f"0: neither strict nor generous; a single grade is off by {size:.2f} on average"
    return AuditMetric(
        *_ERROR,
        "coefficient",
        _times(estimate, GRADES[1]),
        "labels",
        meaning,
        table=tuple(tuple(row) for row in table.tolist()),
    )


def _times(estimate: Estimate, factor: float) -> Estimate:
    lower, upper = (None if e is None else factor * e for e in (estimate.lower, estimate.upper))
    return replace(estimate, value=factor * estimate.value, lower=lower, upper=upper)


def _among(labels: GradedLabels) -> list[AuditMetric]:
    n = int(labels.item.max()) + 1
    relevant = _at_least(labels.people, _RELEVANT)
    counts = np.stack([np.bincount(labels.item, own, n) for own in (relevant, ~relevant)], axis=1)
    shared = np.flatnonzero(counts.sum(axis=1) >= 2)
    if not shared.size:
        return [
            missing_metric(*names, "no document was labelled by two people") for names in _SHARED
        ]
    _, first = np.unique(labels.item, return_index=True)
    judge = np.where(_at_least(labels.judge[first], _RELEVANT), 0, 1)[shared]
    weight = np.bincount(labels.item, labels.weight)[shared]
    query = labels.query[first][shared]
    return shared_figures(
        counts[shared].astype(np.float64),
        np.eye(2)[judge],
        query,
        relative(weight),
        _SHARED,
        of="documents",
    )
