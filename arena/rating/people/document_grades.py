"""Mean DCG of models from grades of single documents: a judge's of all, people's of a sample.

A_u is what document u adds to each model's list less the mean over models (`DocumentWeights`). f(g)
= α + β g predicts people's gain from the judge's; the sample corrects the prediction: D_q = Σ_u A_u
{f(g_judge) + r (g_people − f(g_judge))}, r = 1/π. This is the generalised regression estimator
(Särndal, Swensson and Wretman 1992, *Model Assisted Survey Sampling*, chapter 6); for DCG see
arXiv:2407.02464.

A list is worth Σ gain / log2(rank + 1) over its first ``top_k`` ranks, divided by what a perfect
list is worth. A document's weight in a list is its share of that sum. A document that all lists
hold at the same rank adds the same to each: no grade of it changes the order of the models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.data.metrics import discounted
from arena.rating.comparisons import Floats, Ints
from arena.rating.people.label_estimates import PeoplesLabels, meat


@dataclass(frozen=True, slots=True)
class DocumentWeights:
    """The distinct documents of each query in the lists of one data set, n of them.

    Weights are held as entries (document, model, weight); all others are 0.
    """

    models: tuple[str, ...]  #: the contenders; codes index into it
    query_ids: tuple[str, ...]  #: codes index into it
    doc_ids: tuple[str, ...]  #: of each document, (n,)
    query: Ints  #: of each document, (n,)
    document: Ints  #: of each entry
    model: Ints  #: of each entry
    weight: Floats  #: of each entry: discount in the model's list / sum of all discounts

    @property
    def size(self) -> Floats:
        """Return the length |A_u| of each document's weights less their mean over models, (n,).

        0 for a document that all lists hold at the same rank.
        """
        n, m = len(self.doc_ids), len(self.models)
        total = np.bincount(self.document, self.weight, n)
        listed = np.bincount(self.document, minlength=n)
        mean = total / max(m, 1)
        away = np.bincount(self.document, (self.weight - mean[self.document]) ** 2, n)
        squares = away + (m - listed) * mean**2
        # What is left of equal weights is rounding.
        size: Floats = np.sqrt(np.where(squares > 1e-24, squares, 0.0))
        return size

    def by_query(self, value: Floats) -> Floats:
        """Return Σ A_u value_u over the documents of each query, (n_queries, n_models).

        Args:
            value: of each document, (n,).
        """
        n, m = len(self.query_ids), len(self.models)
        cell = self.query[self.document] * m + self.model
        total = np.bincount(cell, self.weight * value[self.document], n * m).reshape(n, m)
        centred: Floats = total - total.mean(axis=1, keepdims=True)
        return centred

    def outer(self, value: Floats) -> Floats:
        """Return Σ value_u A_u A_uᵀ over all documents, (n_models, n_models).

        Args:
            value: of each document, (n,).
        """
        m, used = len(self.models), np.flatnonzero(value)
        row = np.full(len(self.doc_ids), -1, dtype=np.intp)
        row[used] = np.arange(len(used))
        listed = row[self.document] >= 0
        dense = np.zeros((len(used), m))
        np.add.at(dense, (row[self.document[listed]], self.model[listed]), self.weight[listed])
        dense -= dense.mean(axis=1, keepdims=True)
        outer: Floats = dense.T @ (dense * value[used, None])
        return outer


def document_weights(
    lists: Mapping[str, Mapping[str, Sequence[str]]], query_ids: Iterable[str], *, top_k: int
) -> DocumentWeights:
    """Return the weights of the distinct documents in the contenders' lists of one data set.

    Args:
        lists: model → query_id → doc_ids, best first. A query that a model lacks is an empty list.
        query_ids: the queries that count, such as those that were judged; each once.
        top_k: ranks that count; the experiment's ``top_k``.
    """
    queries = tuple(query_ids)
    share = np.array([discounted(1.0, rank) for rank in range(1, top_k + 1)])
    shares = (share / share.sum()).tolist()
    doc_ids: list[str] = []
    query: list[int] = []
    entries: list[tuple[int, int, float]] = []
    for code, query_id in enumerate(queries):
        units: dict[str, int] = {}
        for model, rankings in enumerate(lists.values()):
            for doc_id, weight in zip(rankings.get(query_id, ()), shares, strict=False):
                unit = units.setdefault(doc_id, len(doc_ids) + len(units))
                entries.append((unit, model, weight))
        doc_ids += units
        query += [code] * len(units)
    document, models, weights = zip(*entries, strict=True) if entries else ((), (), ())
    return DocumentWeights(
        models=tuple(lists),
        query_ids=queries,
        doc_ids=tuple(doc_ids),
        query=np.array(query, dtype=np.intp),
        document=np.array(document, dtype=np.intp),
        model=np.array(models, dtype=np.intp),
        weight=np.array(weights, dtype=np.float64),
    )


_RIDGE = 1e-12
"""Keeps the slope finite where the judge gave one grade to all."""


@dataclass(frozen=True, slots=True)
class GradedDocuments:
    """The documents of one data set with their grades; arrays of length n."""

    weights: DocumentWeights
    judge: Floats  #: gain by the judge, or anything else that is known of all documents
    people: Floats  #: gain by people, 0 to 1; ignored where ``inverse`` is 0
    inverse: Floats  #: 1 / probability of being asked where people answered, else 0

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Return which documents have a label, (n,)."""
        known: NDArray[np.bool_] = self.inverse > 0
        return known

    @property
    def asked(self) -> Floats:
        """Return the labels of each query, (n_queries,)."""
        n = len(self.weights.query_ids)
        return np.bincount(self.weights.query[self.labelled], minlength=n).astype(np.float64)


@dataclass(frozen=True, slots=True)
class GradeEstimate:
    """Mean DCG of each model, less the mean over models; a perfect list has 1."""

    by_query: Floats  #: D_q, (n_queries, m)
    judge_by_query: Floats  #: the same by the judge's grades alone
    slope: float  #: β, people's gain for a gain of the judge
    intercept: float  #: α
    label_part: Floats  #: the part of the covariance of the mean that comes from sampling, (m, m)

    @property
    def mean(self) -> Floats:
        """Return the mean over queries, (m,)."""
        mean: Floats = self.by_query.mean(axis=0)
        return mean

    @property
    def covariance(self) -> Floats:
        """Return the covariance of the mean, clustered by query, (m, m)."""
        return meat(self.by_query) / len(self.by_query) ** 2


def graded_documents(
    weights: DocumentWeights,
    dataset: str,
    people: PeoplesLabels,
    *,
    otherwise: Floats | None = None,
) -> GradedDocuments | None:
    """Join the documents of a data set with people's labels and the judge's grades.

    Args:
        weights: of its documents.
        dataset: its name.
        people: labels, and the judge's grades.
        otherwise: stands for the judge's grades where it did not grade all of the documents.

    Returns:
        None if the judge did not grade all, and nothing stands for its grades.
    """
    keys = [
        (dataset, weights.query_ids[query], doc_id)
        for query, doc_id in zip(weights.query.tolist(), weights.doc_ids, strict=True)
    ]
    if people.gains and all(key in people.gains for key in keys):
        judge = np.array([people.gains[key] for key in keys])
    elif otherwise is not None:
        judge = otherwise
    else:
        return None
    answers = [people.documents.get(key) for key in keys]
    value, inverse = (
        np.array([0.0 if a is None else getattr(a, name) for a in answers])
        for name in ("value", "inverse")
    )
    return GradedDocuments(weights, judge, value, inverse)


def estimate_grades(documents: GradedDocuments) -> GradeEstimate:
    """Return the mean DCG of each model by the generalised regression estimator."""
    weights, labelled = documents.weights, documents.labelled
    people = np.where(labelled, documents.people, 0.0)
    importance = documents.inverse * weights.size**2
    intercept, slope = _line(documents.judge[labelled], people[labelled], importance[labelled])
    predicted = intercept + slope * documents.judge
    residual = np.where(labelled, people - predicted, 0.0)
    value = predicted + documents.inverse * residual
    noise = documents.inverse * np.maximum(documents.inverse - 1, 0) * residual**2
    return GradeEstimate(
        by_query=weights.by_query(value),
        judge_by_query=weights.by_query(documents.judge),
        slope=slope,
        intercept=intercept,
        label_part=weights.outer(noise) / len(weights.query_ids) ** 2,
    )


def grade_rectifiers(documents: GradedDocuments) -> Floats:
    """Return Σ_u A_u r (g_people − g_judge − c) of each query, (n_queries, m).

    c, the weighted mean of the differences, changes nothing on average: the weights of a query sum
    to the same for all models. Without it a constant difference would look like noise.
    """
    known = documents.labelled
    apart = np.where(known, documents.people - documents.judge, 0.0)
    importance = documents.inverse * documents.weights.size**2
    mean = np.average(apart[known], weights=importance[known])
    return documents.weights.by_query(documents.inverse * np.where(known, apart - mean, 0.0))


def implied_gains(weights: DocumentWeights, points: Floats) -> Floats:
    """Return what verdicts on lists suggest of their documents, (n,): Σ_i w_ui points_i.

    A judge of pairs grades no document. Documents of lists that win are better than others, so
    this predicts people's grades; a poor prediction only widens intervals.

    Args:
        weights: of n documents.
        points: mean of score − ½ of each model on each query, (n_queries, m).
    """
    value = weights.weight * points[weights.query[weights.document], weights.model]
    gains = np.bincount(weights.document, value, len(weights.doc_ids))
    return np.asarray(gains, dtype=np.float64)


def _line(x: Floats, y: Floats, weight: Floats) -> tuple[float, float]:
    """Fit y = α + β x by weighted least squares."""
    design = np.stack([np.ones_like(x), x], axis=1)
    normal = design.T @ (design * weight[:, None]) + _RIDGE * np.eye(2)
    intercept, slope = np.linalg.solve(normal, design.T @ (weight * y)).tolist()
    return intercept, slope
