"""What ratings allow to say, from the sandwich or from bootstrap draws: one record for both."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from arena.rating.counts import Floats, Ints
from arena.rating.fitting import Fit
from arena.rating.uncertainty import (
    critical_values,
    difference_se,
    intervals,
    student_quantile,
    win_probabilities,
)


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure ratings are; models are codes, as in the fit."""

    lower: Floats  #: pointwise intervals of theta, logits, (m,)
    upper: Floats
    p_better: Floats  #: how sure it is that the row is better than the column, (m, m)
    better: NDArray[np.bool_]  #: the row is surely better, all pairs at once, (m, m)
    critical: float  #: standard errors by which two ratings must differ for that
    critical_limit: float  #: what this falls to with ever more queries

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


def from_sandwich(fit: Fit, *, level: float, seed: int) -> Certainty:
    """By the clustered covariance and Student's t."""
    lower, upper = intervals(fit, level=level)
    critical, limit = critical_values(fit, level=level, seed=seed)
    better = _differences(fit.theta) > critical * difference_se(fit)
    return Certainty(lower, upper, win_probabilities(fit), better, critical, limit)


def from_draws(fit: Fit, draws: Floats, *, level: float) -> Certainty:
    """By Bayesian bootstrap draws of theta, (n, m).

    Percentiles are expanded for few queries, so that normal draws would give Student's interval
    (Hesterberg 2015, arXiv:1411.5279); P(better) is the share of draws. The largest
    studentised difference is taken over draws, and expanded in the same way.
    """
    reach = student_quantile(fit.n_clusters - 1, level)
    # Exp(1) weights give Q/(Q+1) of the plain variance, of which Q/(Q−1) is the unbiased one.
    reach *= np.sqrt((fit.n_clusters + 1) / (fit.n_clusters - 1))
    tail = NormalDist().cdf(-reach)
    lower, upper = np.quantile(draws, [tail, 1 - tail], axis=0)
    m = draws.shape[1]
    difference, p_better, se = _differences(fit.theta), np.full((m, m), 0.5), np.zeros((m, m))
    largest = np.zeros(len(draws))
    for j in range(m - 1):
        drawn = draws[:, j, None] - draws[:, j + 1 :]
        p_better[j, j + 1 :] = np.mean(drawn > 0, axis=0)
        se[j, j + 1 :] = drawn.std(axis=0, ddof=1)
        away = np.abs(drawn - difference[j, j + 1 :]) / np.maximum(se[j, j + 1 :], 1e-300)
        np.maximum(largest, away.max(axis=1), out=largest)
    above = np.triu_indices(m, 1)
    p_better.T[above] = 1 - p_better[above]
    expand = reach / NormalDist().inv_cdf((1 + level) / 2)
    limit = float(np.quantile(largest, level))
    better = difference > limit * expand * (se + se.T)
    return Certainty(lower, upper, p_better, better, limit * expand, limit)


def _differences(theta: Floats) -> Floats:
    difference: Floats = theta[:, None] - theta[None, :]
    return difference
