"""How sure ratings are: intervals, what separates all at once, win probabilities.

Everything is clustered by query. Variances and degrees of freedom are those of each comparison by
itself, `arena.rating.contrasts`: they go by the queries that it rests on.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from arena.errors import UsageError
from arena.rating.contrasts import of_matrix
from arena.rating.counts import Floats
from arena.rating.fitting import Fit
from arena.rating.student import student_cdf, student_quantile

_LEAST_TAIL = 1e-12
"""A level so near to 1 that the simulation has nothing beyond it is no certainty."""


def intervals(fit: Fit, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Pointwise confidence intervals of theta: lower and upper, logits, (m,) each."""
    half = _reach(fit, level)[: len(fit.theta)] * fit.standard_error
    return fit.theta - half, fit.theta + half


def position_interval(fit: Fit, *, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the first-position advantage γ, logits; (0, 0) if not fitted."""
    half = float(_reach(fit, level)[-1]) * fit.position_se
    return fit.position - half, fit.position + half


def win_probabilities(fit: Fit) -> Floats:
    """How sure it is that the row is better than the column, (m, m); 0.5 on the diagonal."""
    difference, se = fit.theta[:, None] - fit.theta[None, :], fit.difference_se
    t = np.divide(difference, se, out=np.zeros_like(difference), where=se > 0)
    return student_cdf(t, fit.difference_df)


def simultaneous_tail(fit: Fit, *, level: float, seed: int) -> float:
    """The probability on either side of each difference that holds all of them, at ``level``.

    What the largest studentised difference of normal ratings exceeds, by simulation (Mogstad,
    Romano, Shaikh and Wilhelm 2024, doi:10.1093/restud/rdad006), read as a probability of the
    normal: each difference then takes it by its own Student's t. How differences hang together
    is taken from the plan: a covariance from few queries would make them seem fewer than they are.
    """
    _check_level(level)
    rng = np.random.default_rng(seed)
    m = len(fit.theta)
    n = int(np.clip(100_000_000 // max(m * m, 1), 1000, 10_000))
    values, vectors = np.linalg.eigh(fit.design)
    draws = (vectors * np.sqrt(np.maximum(values, 0))) @ rng.standard_normal((m, n))
    se = np.sqrt(of_matrix(fit.design))
    largest = np.zeros(n)
    for j in range(m - 1):
        scaled = np.abs(draws[j + 1 :] - draws[j]) / np.maximum(se[j, j + 1 :, None], 1e-300)
        np.maximum(largest, scaled.max(axis=0), out=largest)
    return max(NormalDist().cdf(-float(np.quantile(largest, level))), _LEAST_TAIL)


def tail_of(level: float) -> float:
    """What an interval of this level leaves on either side.

    Raises:
        UsageError: a level that is none.
    """
    _check_level(level)
    return (1 - level) / 2


def _reach(fit: Fit, level: float) -> Floats:
    """Standard errors to either side of each parameter, (s,)."""
    return student_quantile(tail_of(level), np.diagonal(fit.contrasts.df))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"level must be between 0 and 1, got {level}")
