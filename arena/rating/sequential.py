"""When enough has been played: intervals that stay true however often one looks at them.

A 95% interval holds at one moment that was fixed beforehand. Who looks after every round and
stops when two models separate gives chance many tries: looking every 10 battles gave 46% false
stops. A confidence sequence holds at all moments at once, at about 1.6 times the width.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from arena.rating.counts import Floats
from arena.rating.fitting import Fit

TIGHTEST_AT: Final = 50
"""Queries at which the sequence is narrowest; it is hardly wider at half or four times as many."""

FIRST_LOOK: Final = 20
"""Queries before which nothing is concluded: the sequence is asymptotic in their number."""


def sequence_width(n_queries: Floats, *, level: float = 0.95) -> Floats:
    """Half-width of the confidence sequence after so many queries, in standard errors.

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
    """Whether each model is surely better than the next one in the ranking.

    Who is next to whom is read from the same data, so the level is shared out over all pairs
    (Bonferroni): the whole order is right with probability ``level``, at whatever moment this
    first says so. Of queries those count that a difference rests on.
    """
    m = len(fit.theta)
    order = np.argsort(-fit.theta)
    neighbours = order[:-1], order[1:]
    queries = fit.difference_df[neighbours] + 1
    width = sequence_width(queries, level=1 - (1 - level) / (m * (m - 1) / 2))
    gaps = fit.theta[order[:-1]] - fit.theta[order[1:]]
    return bool(np.all(gaps > width * fit.difference_se[neighbours]))


def sequence_half_widths(fit: Fit, *, level: float = 0.95) -> Floats:
    """Half-widths of all ratings, at all moments and for all models at once; logits, (m,)."""
    level = 1 - (1 - level) / len(fit.theta)
    halves: Floats = sequence_width(fit.rating_df + 1, level=level) * fit.standard_error
    return halves
