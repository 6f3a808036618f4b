"""What each query adds to the ratings of a Bradley-Terry fit."""

from __future__ import annotations

import numpy as np

from arena.rating.bradley_terry import BradleyTerry
from arena.rating.comparisons import Comparisons, Floats, clusters, count_battles, sums_by_code
from arena.rating.fit import Fit
from arena.rating.likelihood import Parameters, regularized
from arena.rating.sandwich import row_scores


def influences(comparisons: Comparisons, fit: Fit) -> Floats:
    """Return what each query adds to the ratings, (n_queries, m): A⁻¹ (g_q − ḡ), θ centred.

    ḡ is the mean score over the queries of the data set, as in `arena.rating.sandwich`. To first
    order the ratings without a query are lower by what it adds (Cook and Weisberg 1982, *Residuals
    and Influence in Regression*, chapter 5).

    Args:
        comparisons: the battles; the rows are their queries as `clusters` counts them.
        fit: of these battles, without a tie parameter.
    """
    m, counts = comparisons.n_models, count_battles(comparisons)
    layout = Parameters(
        m, fit.position_fitted, tie=False, prior=fit.prior, n_layers=comparisons.n_layers
    )
    beta = np.append(fit.theta, fit.position)[: layout.size]
    rule = BradleyTerry(counts.battles, counts.points)
    bread = np.linalg.inv(regularized(layout.hessian(layout.slopes(rule, beta)), layout))
    margin, _ = row_scores(comparisons, counts, rule, layout, beta)
    by_query = clusters(comparisons)
    first, second = (by_query.code * m + side for side in (comparisons.first, comparisons.second))
    scores = (
        sums_by_code(first, margin, by_query.n * m) - sums_by_code(second, margin, by_query.n * m)
    ).reshape(-1, m)
    if layout.position:
        placed = margin if comparisons.placed is None else margin * comparisons.placed
        scores = np.hstack([scores, sums_by_code(by_query.code, placed, by_query.n)[:, None]])
    for start, size in zip(by_query.starts, by_query.sizes, strict=False):
        if size > 1:
            scores[start : start + size] -= scores[start : start + size].mean(axis=0)
    theta = (scores @ bread)[:, :m]
    centred: Floats = theta - theta.mean(axis=1, keepdims=True)
    return centred
