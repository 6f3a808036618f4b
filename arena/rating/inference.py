"""Compute intervals of ratings, win probabilities, ranks, and how many queries more would separate.

Everything is clustered by query. Variances and degrees of freedom are those of each comparison by
itself, `arena.rating.sandwich`: they go by the queries that it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from arena.errors import UsageError
from arena.rating.comparisons import Floats, Ints
from arena.rating.fit import Fit
from arena.rating.sandwich import of_matrix
from arena.rating.student import student_cdf, student_quantile


def intervals(fit: Fit, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return pointwise confidence intervals of theta: lower and upper, logits, (m,) each."""
    half = _reach(fit, level)[: len(fit.theta)] * fit.standard_error
    return fit.theta - half, fit.theta + half


def position_interval(fit: Fit, *, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the advantage γ, logits; (0, 0) if it is not fitted."""
    half = float(_reach(fit, level)[-1]) * fit.position_se
    return fit.position - half, fit.position + half


def tail_of(level: float) -> float:
    """Return what an interval of this level leaves on either side.

    Raises:
        UsageError: a level that is none.
    """
    _check_level(level)
    return (1 - level) / 2


def _reach(fit: Fit, level: float) -> Floats:
    """Return standard errors to either side of each parameter, (s,)."""
    return student_quantile(tail_of(level), np.diagonal(fit.contrasts.df))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"level must be between 0 and 1, got {level}")


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure ratings are; models are codes, as in the fit."""

    lower: Floats  #: pointwise intervals of theta, logits, (m,)
    upper: Floats
    p_better: Floats  #: how sure it is that the row is better than the column, (m, m)
    better: NDArray[np.bool_]  #: the row is surely better, all pairs at once, (m, m)
    tail: float  #: below it falls P(T beyond) of a further difference that would be sure, too
    reach: Floats
    """Half of the interval of each difference, logits, (m, m); the intervals hold for all pairs."""

    @property
    def rank_lower(self) -> Ints:
        """Return the best rank of each model that no sure difference rules out, (m,)."""
        lower: Ints = 1 + self.better.sum(axis=0)
        return lower

    @property
    def rank_upper(self) -> Ints:
        """Return the worst such rank, (m,)."""
        upper: Ints = len(self.better) - self.better.sum(axis=1)
        return upper


def from_sandwich(fit: Fit, *, level: float) -> Certainty:
    """Return certainty by the clustered covariance and Student's t."""
    lower, upper = intervals(fit, level=level)
    beyond = _tails(fit, fit.difference_se)
    better, tail = _surely_better(fit, beyond, level)
    reach = _difference_reach(fit, fit.difference_se, level)
    return Certainty(lower, upper, _p_better(fit, beyond), better, tail, reach)


def from_draws(fit: Fit, draws: Floats, *, level: float) -> Certainty:
    """Return the certainty by Bayesian bootstrap draws of theta, (n, m).

    Draws of few queries spread too little, and normal ones would need Student's t. So the distance
    of each percentile from the mean draw is stretched by the ratio of the two (after Hesterberg
    2015, arXiv:1411.5279). Each comparison is stretched by the queries that it rests on. P(better)
    is the share of draws, taken for a normal one and made Student's in the same way.
    """
    m, tail = draws.shape[1], tail_of(level)
    known = fit.contrasts
    widening = np.sqrt(known.variance / np.maximum(known.drawn, 1e-300))[:m, :m]
    reach = student_quantile(tail, np.diagonal(known.df)[:m])
    stretch = reach / NormalDist().inv_cdf(1 - tail) * np.diagonal(widening)
    middle = draws.mean(axis=0)
    lower, upper = middle + stretch * (np.quantile(draws, [tail, 1 - tail], axis=0) - middle)
    above, se = np.zeros((m, m)), np.zeros((m, m))
    for j in range(m - 1):
        drawn = draws[:, j, None] - draws[:, j + 1 :]
        above[j, j + 1 :] = np.count_nonzero(drawn > 0, axis=0)
        se[j, j + 1 :] = drawn.std(axis=0, ddof=1)
    p_better = _student_share(above, len(draws), widening, fit.difference_df)
    se = widening * (se + se.T)
    better, at_once = _surely_better(fit, _tails(fit, se), level)
    reach = _difference_reach(fit, se, level)
    return Certainty(lower, upper, p_better, better, at_once, reach)


def _difference_reach(fit: Fit, se: Floats, level: float) -> Floats:
    """Return half of the interval of each difference of two ratings, (m, m).

    All pairs share the level (Bonferroni), so that the intervals hold at once. `_surely_better`
    tests no pair more strictly: where a difference is not sure its interval contains 0. Its
    step-down levels make no intervals: those of far pairs would hold too rarely.
    """
    pairs, reach = np.triu_indices(len(fit.theta), 1), np.zeros_like(se)
    df = fit.difference_df[pairs]
    reach[pairs] = student_quantile(tail_of(level) / max(len(df), 1), df) * se[pairs]
    both: Floats = reach + reach.T
    return both


def _tails(fit: Fit, se: Floats) -> Floats:
    """Return P(T ≤ −|t|) of each pair's difference, (n_pairs,), as `np.triu_indices` has them."""
    difference, pairs = _differences(fit.theta), np.triu_indices(len(fit.theta), 1)
    t = np.divide(difference, se, out=np.zeros_like(difference), where=se > 0)
    return student_cdf(-np.abs(t[pairs]), fit.difference_df[pairs])


def _p_better(fit: Fit, beyond: Floats) -> Floats:
    """Return how sure it is that the row is better than the column, (m, m)."""
    p_better = np.full((len(fit.theta), len(fit.theta)), 0.5)
    pairs = np.triu_indices(len(fit.theta), 1)
    p_better[pairs] = np.where(_differences(fit.theta)[pairs] > 0, 1 - beyond, beyond)
    p_better.T[pairs] = 1 - p_better[pairs]
    return p_better


def _surely_better(fit: Fit, beyond: Floats, level: float) -> tuple[NDArray[np.bool_], float]:
    """Return who is surely better than whom, all pairs at once, and the tail left for others.

    Each difference is tested by its own Student's t. The largest has the level shared over all
    pairs, the next that shared over those left, until one fails (Holm 1979, *Scandinavian Journal
    of Statistics* 6, 65-70). This needs no assumption on how the differences depend on each other.
    Ranks that leave out all sure differences are those of Mogstad, Romano, Shaikh and Wilhelm
    (2024, doi:10.1093/restud/rdad006).
    """
    difference, pairs = _differences(fit.theta), np.triu_indices(len(fit.theta), 1)
    order, n = np.argsort(beyond, kind="stable"), len(beyond)
    shared = tail_of(level) / (n - np.arange(n))
    n_sure = int(np.argmin(np.append(beyond[order] <= shared, False)))
    sure = np.zeros(difference.shape, np.bool_)
    first, second = (side[order[:n_sure]] for side in pairs)
    sure[first, second] = sure[second, first] = True
    return sure & (difference > 0), tail_of(level) / max(n - n_sure, 1)


def _student_share(above: Floats, n: int, widening: Floats, df: Floats) -> Floats:
    """Convert counts of n normal draws above 0, (m, m), rows before columns, to P(better)."""
    p_better = np.full(above.shape, 0.5)
    pairs = np.triu_indices(len(above), 1)
    # Not one of n draws means fewer than one in n, not never.
    share = np.clip(above[pairs], 0.5, n - 0.5) / n
    normal = np.array([NormalDist().inv_cdf(one) for one in share.tolist()])
    p_better[pairs] = student_cdf(normal / widening[pairs], df[pairs])
    p_better.T[pairs] = 1 - p_better[pairs]
    return p_better


def _differences(theta: Floats) -> Floats:
    difference: Floats = theta[:, None] - theta[None, :]
    return difference


POWER = 0.8
"""How often a difference of the size seen now separates, once the queries are played."""

_STEPS = 20
"""Of the search for Q', in which c depends on Q' a little."""


def queries_to_separate(fit: Fit, pairs: Sequence[tuple[int, int]], *, tail: float) -> Floats:
    """Return how many queries in all would separate each pair of models, (n_pairs,); inf if equal.

    Two ratings separate when they differ by c standard errors. After Q' queries the standard error
    is s√(Q/Q'). If the ratings differ by d, as it seems, they separate with probability `POWER` for

        Q' = Q ((c + z_power) s / d)²

    This is the usual formula for the size of a sample (Chow, Shao and Wang 2008, *Sample Size
    Calculations in Clinical Research*, chapter 3) with the c of all differences at once in place of
    z. c falls with Q' as Student's t does. Its degrees of freedom grow with the queries.

    Args:
        fit: ratings and their clustered covariance, of at least two queries.
        pairs: codes of models.
        tail: what c leaves on either side, as `arena.rating.inference.Certainty` has it.
    """
    codes = tuple(np.array(pairs, dtype=np.intp).T)
    distance = np.abs(fit.theta[codes[0]] - fit.theta[codes[1]])
    se, effective = fit.difference_se[codes], fit.difference_df[codes] + 1
    needed = np.full(len(pairs), np.inf)
    # Beyond this no number of queries is worth naming, and its square may be too large for one.
    distinct = np.flatnonzero(distance > 1e-9 * se)
    per_width = fit.n_clusters * (se[distinct] / distance[distinct]) ** 2
    growth = np.ones(len(distinct))
    for _ in range(_STEPS):
        reach = student_quantile(tail, effective[distinct] * growth - 1)
        growth = per_width * (reach + NormalDist().inv_cdf(POWER)) ** 2 / fit.n_clusters
    needed[distinct] = growth * fit.n_clusters
    return needed


def query_shares(fit: Fit) -> Floats:
    """Return which part of the variance of each difference only more queries reduce, (m, m).

    σ_q²/Q over the whole, 0 to 1: what clustering by query adds to independent battles.
    """
    whole = of_matrix(fit.covariance)
    if fit.independent is None:
        return np.ones_like(whole)
    alone = of_matrix(fit.independent)
    ratio = np.divide(alone, whole, out=np.zeros_like(whole), where=whole > 0)
    shares: Floats = 1 - np.minimum(ratio, 1)
    return shares
