"""How sure ratings are: intervals and win probabilities.

Everything is clustered by query. Variances and degrees of freedom are those of each comparison by
itself, `arena.rating.contrasts`: they go by the queries that it rests on.
"""

from __future__ import annotations

import numpy as np

from arena.errors import UsageError
from arena.rating.counts import Floats
from arena.rating.fitting import Fit
from arena.rating.student import student_cdf, student_quantile


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
