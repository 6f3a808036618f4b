"""How sure ratings are: intervals, simultaneous rank sets, win probabilities, a bootstrap.

Everything is clustered by query, and corrected for having few of them: variances carry
Q/(Q−1), and quantiles are Student's with Q−1 degrees of freedom, Q the number of queries.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from arena.errors import UsageError
from arena.rating.counts import Floats, Ints
from arena.rating.fitting import Fit

_MAX_DF = 10_000
"""Above this Student's t and the normal differ by less than the figures that are shown."""


def intervals(fit: Fit, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Pointwise confidence intervals of theta: lower and upper, logits, (m,) each."""
    half = student_quantile(_df(fit), level) * fit.standard_error
    return fit.theta - half, fit.theta + half


def position_interval(fit: Fit, *, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the first-position advantage γ, logits; (0, 0) if not fitted."""
    half = student_quantile(_df(fit), level) * fit.position_se
    return fit.position - half, fit.position + half


def win_probabilities(fit: Fit) -> Floats:
    """How sure it is that the row is better than the column, (m, m); 0.5 on the diagonal."""
    difference = fit.theta[:, None] - fit.theta[None, :]
    se = difference_se(fit)
    t = np.divide(difference, se, out=np.zeros_like(difference), where=se > 0)
    df, phi, cdf = _student(_df(fit))
    out: Floats = np.interp(np.arctan(t / np.sqrt(df)), phi, cdf)
    return out


def rank_intervals(fit: Fit, *, level: float = 0.95, seed: int = 0) -> tuple[Ints, Ints]:
    """Ranks, 1 the best, that hold for all models at once: lower and upper, (m,) each.

    A rank leaves out the places of all models that are surely better or surely worse, by
    differences beyond `critical_value` standard errors (Mogstad, Romano, Shaikh and Wilhelm
    2024, doi:10.1093/restud/rdad006; Student's t in place of the normal is the correction for
    few queries).
    """
    critical = critical_value(fit, level=level, seed=seed)
    t = fit.theta[:, None] - fit.theta[None, :]
    margin = critical * difference_se(fit)
    lower: Ints = 1 + (t < -margin).sum(axis=1)
    upper: Ints = len(t) - (t > margin).sum(axis=1)
    return lower, upper


def difference_se(fit: Fit) -> Floats:
    """Standard errors of all differences of two ratings, (m, m); 0 on the diagonal."""
    variance = np.diagonal(fit.covariance)
    squared = variance[:, None] + variance[None, :] - 2 * fit.covariance
    se: Floats = np.sqrt(np.maximum(squared, 0))
    return se


def critical_value(fit: Fit, *, level: float = 0.95, seed: int = 0) -> float:
    """How many standard errors hold all differences of two ratings at once, at ``level``.

    The quantile of the largest studentised difference under a multivariate t with Q−1 degrees
    of freedom, by simulation.
    """
    return critical_values(fit, level=level, seed=seed)[0]


def critical_values(fit: Fit, *, level: float, seed: int) -> tuple[float, float]:
    """`critical_value` at the queries of the fit, and what it falls to with ever more of them."""
    _check_level(level)
    rng = np.random.default_rng(seed)
    m = len(fit.theta)
    n = int(np.clip(100_000_000 // max(m * m, 1), 1000, 10_000))
    values, vectors = np.linalg.eigh(fit.covariance)
    half = vectors * np.sqrt(np.maximum(values, 0))
    draws = half @ rng.standard_normal((m, n))
    se = difference_se(fit)
    largest = np.zeros(n)
    for j in range(m - 1):
        scaled = np.abs(draws[j + 1 :] - draws[j]) / np.maximum(se[j, j + 1 :, None], 1e-300)
        np.maximum(largest, scaled.max(axis=0), out=largest)
    student = largest / np.sqrt(rng.chisquare(_df(fit), n) / _df(fit))
    return float(np.quantile(student, level)), float(np.quantile(largest, level))


def student_quantile(df: int, level: float) -> float:
    """How far Student's t with ``df`` degrees of freedom reaches on either side, at ``level``."""
    _check_level(level)
    df, phi, cdf = _student(max(df, 1))
    return float(np.sqrt(df) * np.tan(np.interp((1 + level) / 2, cdf, phi)))


def _df(fit: Fit) -> int:
    return max(fit.n_clusters - 1, 1)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"level must be between 0 and 1, got {level}")


@lru_cache(maxsize=32)
def _student(df: int) -> tuple[int, Floats, Floats]:
    """Student's t: its degrees of freedom, a grid of φ, and P(T ≤ √df·tan φ) there.

    The density of φ is proportional to cos^(df−1) φ on [−π/2, π/2]; good to six digits.
    """
    df = min(df, _MAX_DF)
    phi = np.linspace(-np.pi / 2, np.pi / 2, 100_001)
    density = np.cos(phi) ** (df - 1)
    cdf = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return df, phi, cdf / cdf[-1]
