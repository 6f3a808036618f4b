"""The variance of ratings, clustered by query.

Battles on one query are not independent: they share how well each model happens to do on it.
The sandwich adds up their scores within a query before it squares them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from arena.rating.counts import Comparisons, Counts, Floats, Ints, dense_clusters, tally
from arena.rating.paired import Layout, OutcomeRule, Slopes, regular

_BLOCK_CELLS = 4_000_000
"""Clusters times parameters held at once: 32 MB, however many queries there are."""


@dataclass(frozen=True, slots=True)
class Covariances:
    """Of all parameters, θ centred, (size, size)."""

    clustered: Floats  #: battles on a query hang together
    independent: Floats  #: what it would be if they did not: the share of single verdicts
    n_clusters: int  #: distinct queries


def sandwich(
    comparisons: Comparisons, counts: Counts, rule: OutcomeRule, layout: Layout, beta: Floats
) -> Covariances:
    """Covariance of all parameters, clustered by query.

    V = A⁻¹ B A⁻¹ with A the Hessian (priors included) and B = Q/(Q−1) Σ_q g_q g_qᵀ over the
    score vectors g_q of the queries (Liang and Zeger 1986, doi:10.1093/biomet/73.1.13). Two
    guards keep sparse data from looking certain. Without a prior each model is given one more
    query's worth of the model's own variance, B + D^−½ H D^−½ with D the number of queries of
    each model: nothing where there are many, honest where there is one. With a prior V is never
    narrower than the posterior, since a model that only wins shows no variance to measure.
    """
    hessian = layout.hessian(layout.slopes(rule, beta))
    margin, tie = row_scores(comparisons, counts, rule, layout, beta)
    outer, queries, n_clusters = score_outer(comparisons, layout, margin, tie)
    bread = np.linalg.inv(regular(hessian, layout))
    meat = outer * (n_clusters / max(n_clusters - 1, 1))
    if layout.prior == 0:
        scale = 1 / np.sqrt(np.maximum(queries, 1))
        spread = 1.0 if counts.weight is None else float(np.mean(counts.weight**2))
        meat += spread * hessian * scale[:, None] * scale
        covariance = bread @ meat @ bread
    else:
        root = np.linalg.cholesky(bread)
        values, vectors = np.linalg.eigh(root.T @ meat @ root)
        half = root @ vectors * np.sqrt(np.maximum(values, 1.0))
        covariance = half @ half.T
    alone = bread @ _squares(counts, layout, margin, tie) @ bread
    centre = np.eye(layout.size)
    centre[: layout.n_models, : layout.n_models] -= 1 / layout.n_models
    return Covariances(centre @ covariance @ centre, centre @ alone @ centre, n_clusters)


def row_scores(
    comparisons: Comparisons, counts: Counts, rule: OutcomeRule, layout: Layout, beta: Floats
) -> tuple[Floats, Floats | None]:
    """∂ℓ/∂d and ∂ℓ/∂η of each battle, times its weight, (n,); None without η."""
    margins, eta = layout.margins(beta), layout.eta(beta)
    margin, tie = rule.row_scores(counts.pair, comparisons.score, margins, eta)
    if counts.weight is None:
        return margin, tie
    return margin * counts.weight, None if tie is None else tie * counts.weight


def _squares(counts: Counts, layout: Layout, margin: Floats, tie: Floats | None) -> Floats:
    """Σ g gᵀ over single battles, (size, size).

    A battle's g is a number times e_first − e_second, so the sum has the form of a Hessian.
    """

    def cells(value: Floats) -> Floats:
        return tally(counts.pair, value, counts.battles.size).reshape(counts.battles.shape)

    curvature = cells(margin**2)
    slopes = Slopes(value=0.0, margin=np.zeros_like(curvature), curvature=curvature)
    if tie is not None:
        slopes = replace(slopes, tie_margin=cells(margin * tie), tie_tie=float(tie @ tie))
    return layout.hessian(slopes)


def score_outer(
    comparisons: Comparisons, layout: Layout, margin: Floats, tie: Floats | None
) -> tuple[Floats, Ints, int]:
    """Σ_q g_q g_qᵀ, the number of queries that touch each parameter, and of all queries."""
    outer = np.zeros((layout.size, layout.size))
    queries = np.zeros(layout.size, dtype=np.intp)
    n_clusters = 0
    m = layout.n_models
    for rows, cluster, n in _blocks(comparisons):
        base = cluster * m
        first = base + comparisons.first[rows].astype(np.intp, copy=False)
        second = base + comparisons.second[rows].astype(np.intp, copy=False)
        g = tally(first, margin[rows], n * m) - tally(second, margin[rows], n * m)
        columns = [g.reshape(n, m)]
        if layout.position:
            columns.append(tally(cluster, margin[rows], n)[:, None])
        if tie is not None:
            columns.append(tally(cluster, tie[rows], n)[:, None])
        scores = np.hstack(columns)
        outer += scores.T @ scores
        seen = np.zeros(n * m, dtype=bool)
        seen[first] = seen[second] = True
        queries[:m] += seen.reshape(n, m).sum(axis=0)
        n_clusters += int(seen.reshape(n, m).any(axis=1).sum())
    queries[m:] = n_clusters
    return outer, queries, n_clusters


def _blocks(comparisons: Comparisons) -> Iterator[tuple[slice | Ints, Ints, int]]:
    """Rows of whole clusters, their clusters counted from 0, and how many clusters."""
    cluster, n = dense_clusters(comparisons)
    size = max(_BLOCK_CELLS // comparisons.n_models, 1)
    if n <= size:
        yield slice(None), cluster, n
        return
    order = np.argsort(cluster, kind="stable")
    for rows in np.split(order, np.searchsorted(cluster[order], np.arange(size, n, size))):
        if len(rows):
            block = cluster[rows] - cluster[rows[0]]
            yield rows, block, int(block[-1]) + 1
