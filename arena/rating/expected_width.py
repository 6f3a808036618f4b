"""How wide intervals will be that a plan leads to, before anything is judged.

A verdict y on models i and j, which the ratings expect to be p, is off by r = y − p for two
reasons. Models do better or worse on a query than on average, by u with variance σ² for each model
and query. This moves r by p(1−p)(u_i − u_j). The rest has the variance φ p(1−p); verdicts on the
same two lists in both orders share ψ of it. So the scores of a query have the covariance

    B_q = σ² A_q² + N_q

A_q is the Laplacian of its battles with weights p(1−p). N_q is that of its pairs with weights φ
p(1−p), or 2(φ + ψ) p(1−p) where both orders are played. The ratings have V = A⁺ (Σ B_q) A⁺ with A =
Σ A_q, and the same guard for sparse data and Student's t as a leaderboard's
(`arena.rating.sandwich`). Where all pairs play in one order and all models are equal, that is the
formula Var = (σ² + 4φ/m)(1 − 1/m)/Q.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.rating.bradley_terry import fit, sigmoid
from arena.rating.comparisons import Comparisons, Floats, Ints
from arena.rating.inference import tail_of
from arena.rating.student import student_quantile

PILOT_PRIOR: Final = 1.0
"""Precision of the prior of the ratings that residuals are taken from, in logits⁻²."""

BETWEEN: Final = 1.5
"""σ² over φ where a log cannot tell them apart; 1.3 to 2.3 in logs of pairwise judges."""

LEAST_MET: Final = 200
"""Pairs of battles of one model with two rivals on a query that tell σ² from φ."""

SHARED: Final = 0.6
"""ψ over φ where no two lists were judged in both orders."""

LEAST_QUERIES: Final = 10
"""Queries of a pilot below which it tells too little of what varies from query to query."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far verdicts are from what the ratings expect, and why."""

    between: float  #: σ², of a model's strength from query to query, logits²
    within: float  #: φ, the rest of a verdict's variance, over p(1−p)
    shared: float  #: ψ, the part of φ that both orders of two lists share, at most φ


@dataclass(frozen=True, slots=True)
class Design:
    """The battles of a plan, or of a sample of its queries."""

    first: Ints  #: codes of models, one row a battle
    second: Ints
    query: Ints  #: counted from 0
    stratum: Ints  #: the data set of each query, counted from 0, (n_queries,)
    n_models: int
    n_queries: Ints  #: of each data set in the whole plan, (n_datasets,)


@dataclass(frozen=True, slots=True)
class QueryMatrices:
    """What each query of a design adds, (n_queries, m, m)."""

    information: Floats  #: A_q
    scores: Floats  #: B_q, the covariance of its scores


def expected_half_widths(
    design: Design, spread: Spread, theta: Floats | None = None, *, level: float = 0.95
) -> Floats:
    """Return the half-width of each rating's interval that a plan leads to, in logits, (m,).

    Infinite where the plan does not connect all models.

    Args:
        design: the battles; each data set has at least one query.
        spread: of verdicts.
        theta: the ratings, in logits; all equal if absent.
        level: of the intervals.
    """
    m = design.n_models
    matrices = query_matrices(design, spread, theta)
    weight, copies = _weights(design)
    total = np.tensordot(weight * copies, matrices.information, 1)
    values = np.linalg.eigvalsh(total)
    if values[1] <= 1e-9 * values[-1]:
        return np.full(m, np.inf)
    centre = np.eye(m) - 1 / m
    bread = centre @ np.linalg.inv(total + np.trace(total) / m**2) @ centre
    covariance = bread @ np.tensordot(weight**2 * copies, matrices.scores, 1) @ bread
    shares = np.einsum("qik,ki->qi", bread @ matrices.information, bread) * weight[:, None] ** 2
    squares = np.maximum(copies @ shares**2, 1e-300)
    effective = np.maximum((copies @ shares) ** 2 / squares, 2.0)
    touched = np.diagonal(matrices.information, axis1=1, axis2=2) > 0
    root = 1 / np.sqrt(np.maximum(copies @ touched, 1.0))
    squared = np.tensordot(weight**2 * copies, matrices.information, 1)
    guard = bread @ (squared * root[:, None] * root) @ bread
    half: Floats = student_quantile(tail_of(level), effective - 1) * np.sqrt(
        np.diagonal(covariance + guard)
    )
    return half


def query_matrices(design: Design, spread: Spread, theta: Floats | None = None) -> QueryMatrices:
    """Return what each query of a design adds, by the ratings; all equal if absent."""
    m, n = design.n_models, len(design.stratum)
    strengths = np.zeros(m) if theta is None else theta
    low, high = np.minimum(design.first, design.second), np.maximum(design.first, design.second)
    battles = np.bincount((design.query * m + low) * m + high, minlength=n * m * m)
    played = battles.reshape(n, m, m).astype(np.float64)
    p = sigmoid(strengths[:, None] - strengths[None, :])
    information = _laplacians(played * p * (1 - p))
    # k verdicts on the same two lists: their sum has the variance k φ + k(k − 1) ψ.
    noise = spread.within + np.maximum(played - 1, 0) * spread.shared
    scores = spread.between * (information @ information)
    return QueryMatrices(information, scores + _laplacians(played * p * (1 - p) * noise))


def spread_of(comparisons: Comparisons) -> Spread | None:
    """Return the spread of verdicts in a log by its moments; None if it has too few queries.

    What two battles of a model on a query have in common tells σ², single verdicts tell φ, and the
    two orders of the same lists tell ψ. Each data set has ratings of its own here, because what
    differs between data sets is no difference between queries. Where models hardly ever meet two
    rivals on a query, σ² is taken to be `BETWEEN` times φ.
    """
    stratum = comparisons.stratum
    strata = np.zeros(len(comparisons.first), np.intp) if stratum is None else stratum
    parts = [_moments(_only(comparisons, strata == code)) for code in np.unique(strata)]
    if sum(part.n_queries for part in parts) < LEAST_QUERIES:
        return None
    value, of_between, of_rest = (
        sum(getattr(part, name) for part in parts) for name in ("value", "of_between", "of_rest")
    )
    if sum(part.n_met for part in parts) < LEAST_MET:
        within = value[1] / (of_rest[1] + BETWEEN * of_between[1])
        between = BETWEEN * within
    else:
        between = max(value[0] / of_between[0], 0.0)
        within = max((value[1] - between * of_between[1]) / of_rest[1], 0.0)
    if of_rest[2] <= 0:
        return Spread(between, within, SHARED * within)
    shared = (value[2] - between * of_between[2]) / of_rest[2]
    return Spread(between, within, float(np.clip(shared, 0.0, within)))


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums of products of residuals, and what they are expected to be.

    Of two battles of a model with different rivals on a query; of single battles; of two battles
    on the same lists. The expectation is ``of_between`` σ² plus ``of_rest`` times φ or ψ.
    """

    value: Floats  #: (3,)
    of_between: Floats
    of_rest: Floats
    n_queries: int
    n_met: int  #: pairs of battles of a model with different rivals on a query


def _moments(comparisons: Comparisons) -> _Moments:
    """Return the moments of one data set."""
    fitted = fit(comparisons, prior=PILOT_PRIOR)
    first, second, m = comparisons.first, comparisons.second, comparisons.n_models
    placed = 1.0 if comparisons.placed is None else comparisons.placed.astype(np.float64)
    p = sigmoid(fitted.theta[first] - fitted.theta[second] + fitted.position * placed)
    residual, information = comparisons.score - p, p * (1 - p)
    queries, query = np.unique(comparisons.cluster, return_inverse=True)
    low, high = np.minimum(first, second), np.maximum(first, second)
    sign = np.where(first < second, 1.0, -1.0)
    cells, cell = np.unique((query * m + low) * m + high, return_inverse=True)
    shape = len(cells)
    lead = np.bincount(cell, sign * residual, shape)
    weight = np.bincount(cell, information, shape)
    squares = np.bincount(cell, residual**2, shape)
    weights = np.bincount(cell, information**2, shape)
    # Of each model and query: the sum over its battles, and over pairs of them with two rivals.
    places = [cells // (m * m) * m + cells // m % m, cells // (m * m) * m + cells % m]
    n_places = len(queries) * m
    score = np.bincount(places[0], lead, n_places) - np.bincount(places[1], lead, n_places)
    counts = np.bincount(places[0], weight, n_places) + np.bincount(places[1], weight, n_places)
    rivals = np.bincount(places[0], minlength=n_places) + np.bincount(places[1], minlength=n_places)
    n = len(queries)
    few = n / (n - 1) if n > 1 else 1.0  # residuals are smaller than errors, by the fit
    value = [score @ score - 2 * lead @ lead, squares.sum(), lead @ lead - squares.sum()]
    same = weight @ weight - weights.sum()
    return _Moments(
        value=np.array(value) * few,
        of_between=np.array([counts @ counts - 2 * weight @ weight, 2 * weights.sum(), 2 * same]),
        of_rest=np.array([0.0, weight.sum(), _of_pairs(cell, information)]),
        n_queries=n,
        n_met=int((rivals * (rivals - 1)).sum()) // 2,
    )


def _of_pairs(cell: Ints, information: Floats) -> float:
    """Return the sum of p(1−p) over ordered pairs of battles on the same lists."""
    n_battles = np.bincount(cell)
    return float(((n_battles - 1) * np.bincount(cell, information)).sum())


def _only(comparisons: Comparisons, rows: NDArray[np.bool_]) -> Comparisons:
    """Return some battles, as if they were all."""
    placed = comparisons.placed
    return Comparisons(
        first=comparisons.first[rows],
        second=comparisons.second[rows],
        score=comparisons.score[rows],
        cluster=comparisons.cluster[rows],
        n_models=comparisons.n_models,
        placed=None if placed is None else placed[rows],
    )


def _weights(design: Design) -> tuple[Floats, Floats]:
    """Return the weight of each query's battles, and how many queries each one stands for.

    Data sets weigh the same, as in a leaderboard.
    """
    n_datasets = len(design.n_queries)
    sampled = np.bincount(design.stratum, minlength=n_datasets)
    copies = (design.n_queries / sampled)[design.stratum]
    n_battles = np.bincount(
        design.stratum[design.query], copies[design.query], minlength=n_datasets
    )
    weight = n_battles.sum() / (n_datasets * n_battles)
    return weight[design.stratum], copies


def _laplacians(weights: Floats) -> Floats:
    """Return the Laplacian of each graph, from the weights of its pairs above the diagonal."""
    both = weights + weights.swapaxes(1, 2)
    degrees = both.sum(axis=2)
    laplacians: Floats = -both
    each = np.arange(weights.shape[-1])
    laplacians[:, each, each] += degrees
    return laplacians
