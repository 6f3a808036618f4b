"""How many more queries it takes to tell two models apart.

The variance of a difference of two ratings has a part that more battles per query reduce, σ²/n
over n battles, and one that only more queries reduce, σ_q²/Q: Var ≈ σ²/n + σ_q²/Q. Played as
before, n/Q battles on each query, both fall as 1/Q.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from arena.rating.contrasts import of_matrix
from arena.rating.counts import Floats
from arena.rating.fitting import Fit
from arena.rating.student import student_quantile

POWER = 0.8
"""How often a difference of the size seen now shall separate, once the queries are played."""

_STEPS = 20
"""Of the search for Q', in which c depends on Q' a little."""


def queries_to_separate(fit: Fit, pairs: Sequence[tuple[int, int]], *, tail: float) -> Floats:
    """How many queries in all would separate each pair of models, (n_pairs,); inf if equal.

    Two ratings separate when they differ by c standard errors, and the standard error is now
    s√(Q/Q') after Q' queries, so that with probability `POWER`, if they differ by d as it seems,

        Q' = Q ((c + z_power) s / d)²

    which is the usual formula for the size of a sample (Chow, Shao and Wang 2008, *Sample Size
    Calculations in Clinical Research*, chapter 3) with the c of all differences at once in place
    of z. c falls with Q' as Student's t does, whose degrees of freedom grow as the queries do.

    Args:
        fit: ratings and their clustered covariance, of at least two queries.
        pairs: codes of models.
        tail: what c leaves on either side, as `arena.rating.certainty.Certainty` has it.
    """
    places = tuple(np.array(pairs, dtype=np.intp).T)
    distance = np.abs(fit.theta[places[0]] - fit.theta[places[1]])
    se, effective = fit.difference_se[places], fit.difference_df[places] + 1
    needed = np.full(len(pairs), np.inf)
    # Beyond this no number of queries is worth naming, and its square may be too large for one.
    apart = np.flatnonzero(distance > 1e-9 * se)
    one = fit.n_clusters * (se[apart] / distance[apart]) ** 2
    growth = np.ones(len(apart))
    for _ in range(_STEPS):
        reach = student_quantile(tail, effective[apart] * growth - 1)
        growth = one * (reach + NormalDist().inv_cdf(POWER)) ** 2 / fit.n_clusters
    needed[apart] = growth * fit.n_clusters
    return needed


def query_shares(fit: Fit) -> Floats:
    """Which part of the variance of each difference only more queries reduce, (m, m).

    σ_q²/Q over the whole, 0 to 1: what clustering by query adds to independent battles.
    """
    whole = of_matrix(fit.covariance)
    if fit.independent is None:
        return np.ones_like(whole)
    alone = of_matrix(fit.independent)
    ratio = np.divide(alone, whole, out=np.zeros_like(whole), where=whole > 0)
    shares: Floats = 1 - np.minimum(ratio, 1)
    return shares
