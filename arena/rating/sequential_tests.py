"""Test ratings again and again while battles come in, with one level for all looks.

`may_be_best` is successive elimination (Even-Dar, Mannor and Mansour 2006, *JMLR* 7, 1079-1105): a
model that is surely worse than another one is dropped. The level is shared by m − 1 one-sided
comparisons, not by m(m−1)/2. The best model is lost only if its own bound against some rival fails.
The bounds hold at all moments at once (`sequence_width`).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.rating.comparisons import Floats
from arena.rating.fit import Fit

TIGHTEST_AT: Final = 50
"""Queries at which the sequence is narrowest; it is hardly wider at half or four times as many."""

FIRST_LOOK: Final = 20
"""Queries before which nothing is concluded: the sequence is asymptotic in their number."""


def sequence_width(n_queries: Floats, *, level: float = 0.95) -> Floats:
    """Return the half-width of the confidence sequence after this many queries, in standard errors.

    √(2(tρ²+1)/(tρ²) · ln(√(tρ²+1)/α)) for t queries, with ρ chosen so that it is narrowest at
    `TIGHTEST_AT` (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Theorem 2.2 and Eq. 24,
    arXiv:2103.06476). Infinite before `FIRST_LOOK`.
    """
    alpha = 1 - level
    rho_squared = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / TIGHTEST_AT
    grown = n_queries * rho_squared + 1
    width: Floats = np.sqrt(2 * grown / (grown - 1) * np.log(np.sqrt(grown) / alpha))
    # Effective queries of a design that is even in all but rounding are no fewer than its own.
    return np.where(n_queries < FIRST_LOOK - 1e-6, np.inf, width)


def all_separated(fit: Fit, *, level: float = 0.95) -> bool:
    """Return whether each model is surely better than the next one in the ranking.

    The same data tell which models are neighbours, so all pairs share the level (Bonferroni). The
    whole order is right with probability ``level``, at the first moment at which this is true. Of
    queries those count that a difference rests on.
    """
    m = len(fit.theta)
    order = np.argsort(-fit.theta)
    neighbours = order[:-1], order[1:]
    queries = fit.difference_df[neighbours] + 1
    width = sequence_width(queries, level=1 - (1 - level) / (m * (m - 1) / 2))
    gaps = fit.theta[order[:-1]] - fit.theta[order[1:]]
    return bool(np.all(gaps > width * fit.difference_se[neighbours]))


def sequence_half_widths(fit: Fit, *, level: float = 0.95) -> Floats:
    """Return half-widths of all ratings, valid at all moments and for all models; logits, (m,)."""
    level = 1 - (1 - level) / len(fit.theta)
    halves: Floats = sequence_width(fit.rating_df + 1, level=level) * fit.standard_error
    return halves


SEARCH_PRIOR: Final = 1.0
"""Precision of the prior of the ratings that a look goes by, in logits⁻².

A model that lost every battle has no finite rating without one, and could never be dropped. From
twenty queries on it shrinks a lead by a few percent, and so drops nobody too early.
"""


def may_be_best(
    fit: Fit, among: NDArray[np.bool_], *, n_at_start: int, level: float = 0.95
) -> NDArray[np.bool_]:
    """Return which of some models no other one of them surely beats, (m,).

    With probability ``level`` the best model is among them at every look, if each look starts
    from what the one before it returned.

    Args:
        fit: the ratings of all models, from all battles so far, with `SEARCH_PRIOR`.
        among: the models that may be the best by the looks so far, (m,).
        n_at_start: how many models there were before the first look, at least 2.
        level: probability that the best model is never dropped.
    """
    bound = _bound(fit, n_at_start=n_at_start, level=level)
    lead = fit.theta[:, None] - fit.theta[None, :]
    beats = (lead > bound) & among[:, None] & among[None, :]
    kept: NDArray[np.bool_] = among & ~beats.any(axis=0)
    return kept


def shortfall(
    fit: Fit, among: NDArray[np.bool_], *, n_at_start: int, level: float = 0.95
) -> tuple[int, float]:
    """Return the leader of some models, and how far below the best it can be at most, in logits.

    0 if it is alone; infinite before the first look. The arguments are those of `may_be_best`.
    """
    leader = int(np.argmax(np.where(among, fit.theta, -np.inf)))
    rivals = among.copy()
    rivals[leader] = False
    if not rivals.any():
        return leader, 0.0
    bound = _bound(fit, n_at_start=n_at_start, level=level)
    most = fit.theta - fit.theta[leader] + bound[:, leader]
    return leader, max(float(most[rivals].max()), 0.0)


def _bound(fit: Fit, *, n_at_start: int, level: float) -> Floats:
    """Return how much of each rating difference may be chance, at all looks, logits, (m, m)."""
    queries = fit.difference_df + 1
    each = 1 - 2 * (1 - level) / (n_at_start - 1)
    se = fit.difference_se.copy()
    np.fill_diagonal(se, np.inf)
    bound: Floats = sequence_width(queries, level=each) * se
    return bound
