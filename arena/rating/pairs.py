"""Every model against every other: who won, how sure that is, and what would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.rating.battles import MODEL_A, MODEL_B, TIE, Battles
from arena.rating.leaderboard_records import MoreQueries, Pair
from arena.rating.planning import queries_to_separate, query_shares
from arena.rating.rated import Rated


def all_pairs(battles: Battles, rated: Rated) -> tuple[Pair, ...]:
    """Each pair of models once, in the order of the table."""
    wins, ties = head_to_head(battles)
    places = [battles.models.index(row.model) for row in rated.rows]
    codes = [rated.models.index(row.model) for row in rated.rows]
    wins, ties = (matrix[np.ix_(places, places)].tolist() for matrix in (wins, ties))
    sure = rated.certainty
    p_better = None if sure is None else sure.p_better[np.ix_(codes, codes)].tolist()
    better = None if sure is None else (sure.better | sure.better.T)[np.ix_(codes, codes)].tolist()
    return tuple(
        Pair(
            a=rated.rows[i].model,
            b=rated.rows[j].model,
            wins=wins[i][j],
            losses=wins[j][i],
            ties=ties[i][j],
            p_better=None if p_better is None else p_better[i][j],
            separated=better is not None and better[i][j],
        )
        for i, j in combinations(range(len(rated.rows)), 2)
    )


_MOST_QUERIES: Final = 1e12
"""Ratings that it would take more to separate are equal but for rounding."""


def more_queries(
    rated: Rated,
    *,
    battles_per_query: float,
    usd_per_battle: float | None,
) -> tuple[MoreQueries, ...]:
    """What would separate the neighbours by rating that do not, best first.

    Models of equal rating are left out: no number of queries separates them.
    """
    fit, sure = rated.fit, rated.certainty
    if fit is None or sure is None:
        return ()
    order = np.argsort(-fit.theta, kind="stable").tolist()
    open_pairs = [(i, j) for i, j in pairwise(order) if not sure.better[i, j]]
    if not open_pairs:
        return ()
    needed = queries_to_separate(fit, open_pairs, tail=sure.tail)
    plans, shares = [], query_shares(fit)
    for pair, queries in zip(open_pairs, needed.tolist(), strict=True):
        if queries > _MOST_QUERIES:
            continue
        more = max(math.ceil(queries) - fit.n_clusters, 1)
        battles = math.ceil(more * battles_per_query)
        plans.append(
            MoreQueries(
                a=rated.models[pair[0]],
                b=rated.models[pair[1]],
                queries=more,
                battles=battles,
                cost_usd=None if usd_per_battle is None else battles * usd_per_battle,
                query_share=float(shares[pair]),
            )
        )
    return tuple(plans)


def head_to_head(battles: Battles) -> Sequence[NDArray[np.int64]]:
    """Wins of the row against the column, and ties between them, (m, m) each."""
    m = len(battles.models)
    cell = battles.model_a.astype(np.int64) * m + battles.model_b
    first, second, ties = (
        np.bincount(cell[battles.winner == code], minlength=m * m).reshape(m, m)
        for code in (MODEL_A, MODEL_B, TIE)
    )
    return first + second.T, ties + ties.T
