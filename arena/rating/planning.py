"""How many more queries it takes to tell two models apart.

The variance of a difference of two ratings has a part that more battles per query reduce, σ²/n
over n battles, and one that only more queries reduce, σ_q²/Q: Var ≈ σ²/n + σ_q²/Q. Played as
before, n/Q battles on each query, both fall as 1/Q.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from arena.rating.counts import Floats
from arena.rating.fitting import Fit
from arena.rating.uncertainty import difference_se

POWER = 0.8
"""How often a difference of the size seen now shall separate, once the queries are played."""


def queries_to_separate(
    fit: Fit, pairs: Sequence[tuple[int, int]], *, critical: float, limit: float
) -> Floats:
    """How many queries in all would separate each pair of models, (n_pairs,); inf if equal.

    Two ratings separate when they differ by c standard errors, and the standard error is now
    s√(Q/Q') after Q' queries, so that with probability `POWER`, if they differ by d as it seems,

        Q' = Q ((c + z_power) s / d)²

    which is the usual formula for the size of a sample (Chow, Shao and Wang 2008, *Sample Size
    Calculations in Clinical Research*, chapter 3) with max-t's c in place of z. c falls from
    ``critical`` after Q queries to ``limit``, nearly linearly in the inverse degrees of freedom.

    Args:
        fit: ratings and their clustered covariance, of at least two queries.
        pairs: codes of models.
        critical: c now, as `arena.rating.certainty.Certainty` has it.
        limit: c after ever more queries.
    """
    now = fit.n_clusters
    distance, se = fit.theta[:, None] - fit.theta[None, :], difference_se(fit)
    needed = np.full(len(pairs), np.inf)
    for place, pair in enumerate(pairs):
        if distance[pair] == 0:
            continue
        one = now * float(se[pair] / distance[pair]) ** 2
        queries = float(now)
        for _ in range(50):
            reach = limit + (critical - limit) * (now - 1) / max(queries - 1, 1)
            queries = one * (reach + NormalDist().inv_cdf(POWER)) ** 2
        needed[place] = queries
    return needed


def query_shares(fit: Fit) -> Floats:
    """Which part of the variance of each difference only more queries reduce, (m, m).

    σ_q²/Q over the whole, 0 to 1: what clustering by query adds to independent battles.
    """
    whole = difference_se(fit)
    if fit.independent is None:
        return np.ones_like(whole)
    alone = difference_se(replace(fit, covariance=fit.independent))
    ratio = np.divide(alone, whole, out=np.zeros_like(whole), where=whole > 0)
    shares: Floats = 1 - np.minimum(ratio**2, 1)
    return shares
