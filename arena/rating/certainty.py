"""What ratings allow to say, from the sandwich or from bootstrap draws: one record for both."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from arena.rating.counts import Floats, Ints
from arena.rating.fitting import Fit
from arena.rating.student import student_cdf, student_quantile
from arena.rating.uncertainty import (
    intervals,
    tail_of,
    win_probabilities,
)


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure ratings are; models are codes, as in the fit."""

    lower: Floats  #: pointwise intervals of theta, logits, (m,)
    upper: Floats
    p_better: Floats  #: how sure it is that the row is better than the column, (m, m)
    better: NDArray[np.bool_]  #: the row is surely better, all pairs at once, (m, m)
    tail: float  #: below it falls P(T beyond) of a further difference that would be sure, too

    @property
    def rank_lower(self) -> Ints:
        """The best rank of each model that no sure difference rules out, (m,)."""
        lower: Ints = 1 + self.better.sum(axis=0)
        return lower

    @property
    def rank_upper(self) -> Ints:
        """The worst such rank, (m,)."""
        upper: Ints = len(self.better) - self.better.sum(axis=1)
        return upper


def from_sandwich(fit: Fit, *, level: float) -> Certainty:
    """By the clustered covariance and Student's t."""
    lower, upper = intervals(fit, level=level)
    better, tail = _surely_better(fit, fit.difference_se, level)
    return Certainty(lower, upper, win_probabilities(fit), better, tail)


def from_draws(fit: Fit, draws: Floats, *, level: float) -> Certainty:
    """By Bayesian bootstrap draws of theta, (n, m).

    Draws of few queries spread too little, and normal ones would want Student's t: so what each
    percentile is away from the mean draw is stretched by the ratio of the two (after Hesterberg
    2015, arXiv:1411.5279), for each comparison by the queries that it rests on. P(better) is the
    share of draws, taken for a normal one and made Student's in the same way.
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
    better, at_once = _surely_better(fit, widening * (se + se.T), level)
    return Certainty(lower, upper, p_better, better, at_once)


def _surely_better(fit: Fit, se: Floats, level: float) -> tuple[NDArray[np.bool_], float]:
    """Who is surely better than whom, all pairs at once, and the tail that is left for others.

    Each difference by its own Student's t, the largest against the level shared out over all
    pairs, the next over those that are left, until one fails (Holm 1979, *Scandinavian Journal
    of Statistics* 6, 65-70): right however the differences hang together, which few queries
    cannot tell. Ranks that leave out all sure differences are those of Mogstad, Romano, Shaikh
    and Wilhelm (2024, doi:10.1093/restud/rdad006).
    """
    difference, pairs = _differences(fit.theta), np.triu_indices(len(fit.theta), 1)
    t = np.divide(difference, se, out=np.zeros_like(difference), where=se > 0)
    beyond = student_cdf(-np.abs(t[pairs]), fit.difference_df[pairs])
    order, n = np.argsort(beyond, kind="stable"), len(beyond)
    shared = tail_of(level) / (n - np.arange(n))
    n_sure = int(np.argmin(np.append(beyond[order] <= shared, False)))
    sure = np.zeros(difference.shape, np.bool_)
    first, second = (side[order[:n_sure]] for side in pairs)
    sure[first, second] = sure[second, first] = True
    return sure & (difference > 0), tail_of(level) / max(n - n_sure, 1)


def _student_share(above: Floats, n: int, widening: Floats, df: Floats) -> Floats:
    """From counts of n normal draws above 0, (m, m), rows before columns, to P(better)."""
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
