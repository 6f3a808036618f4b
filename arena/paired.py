"""Maximum likelihood for paired outcomes: Newton on counts and a query-clustered sandwich.

A rating model is an `OutcomeRule`: how likely a win, a tie and a loss are at a margin
d = θ_first − θ_second + γ, perhaps with one tie parameter. Everything else (the position term
γ, priors, step halving, the variance) is the same for all of them and lives here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from arena.counts import (
    Comparisons,
    Counts,
    DisconnectedError,
    Floats,
    Ints,
    connected_groups,
    tally,
)
from arena.errors import UsageError

POSITION_PRECISION = 0.01
"""A normal prior on γ with sd 10 (1,700 Elo): keeps γ finite if the first list always wins."""

_MAX_ITERATIONS = 100

_BLOCK_CELLS = 4_000_000
"""Clusters times parameters held at once: 32 MB, however many queries there are."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """A log-likelihood and its derivatives at one point; cells are ordered pairs, (m, m)."""

    value: float  #: the log-likelihood
    margin: Floats  #: ∂ℓ/∂d of each cell
    curvature: Floats  #: −∂²ℓ/∂d² of each cell
    tie: float = 0.0  #: ∂ℓ/∂η
    tie_margin: Floats | float = 0.0  #: −∂²ℓ/∂d∂η of each cell
    tie_tie: float = 0.0  #: −∂²ℓ/∂η²


class OutcomeRule(Protocol):
    """The likelihood of counted battles, given margins and the tie parameter η."""

    @property
    def tie_start(self) -> float | None:
        """Where the search for η starts; None for a rule without one."""

    def slopes(self, margin: Floats, eta: float) -> Slopes:
        """The log-likelihood of the battles and its derivatives; −inf where η is out of range."""

    def row_scores(
        self, pair: Ints, score: Floats, margin: Floats, eta: float
    ) -> tuple[Floats, Floats | None]:
        """∂ℓ/∂d and ∂ℓ/∂η of each single battle, unweighted, (n,); None without η."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Ratings on the logit scale, and how sure they are."""

    theta: Floats  #: strengths, mean 0, (m,)
    covariance: Floats  #: of theta, clustered by query, rows sum to 0, (m, m)
    position: float  #: γ, logits that the first place adds; 0 if not fitted
    position_se: float  #: standard error of γ; 0 if not fitted
    position_fitted: bool  #: False if not asked for, or if the design cannot tell γ from θ
    n_clusters: int  #: distinct queries
    n_battles: int
    prior: float  #: precision of the normal prior on each θ; 0 for none
    log_likelihood: float  #: at the estimate, without priors
    tie: float | None = None  #: Davidson's ν or Rao-Kupper's e^h; None in Bradley-Terry

    @property
    def standard_error(self) -> Floats:
        """Standard errors of theta, (m,)."""
        se: Floats = np.sqrt(np.diagonal(self.covariance))
        return se


@dataclass(frozen=True, slots=True)
class Layout:
    """Which parameters there are: θ (m), then γ if fitted, then η if the rule has one."""

    n_models: int
    position: bool
    tie: bool
    prior: float

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.n_models + self.position + self.tie

    def margins(self, beta: Floats) -> Floats:
        """Every ordered pair's margin θ_first − θ_second + γ, (m, m)."""
        theta = beta[: self.n_models]
        gamma = beta[self.n_models] if self.position else 0.0
        margin: Floats = theta[:, None] - theta[None, :] + gamma
        return margin

    @property
    def precision(self) -> Floats:
        """The diagonal that the priors add to the Hessian, (size,)."""
        diagonal = np.zeros(self.size)
        diagonal[: self.n_models] = self.prior
        if self.position:
            diagonal[self.n_models] = POSITION_PRECISION
        return diagonal

    def gradient(self, slopes: Slopes) -> Floats:
        """Of the log-likelihood without priors, (size,)."""
        parts = [slopes.margin.sum(axis=1) - slopes.margin.sum(axis=0)]
        if self.position:
            parts.append(np.array([slopes.margin.sum()]))
        if self.tie:
            parts.append(np.array([slopes.tie]))
        return np.concatenate(parts)

    def hessian(self, slopes: Slopes) -> Floats:
        """Of the negative log-likelihood without priors, (size, size)."""
        m, cells = self.n_models, slopes.curvature
        out = np.zeros((self.size, self.size))
        out[:m, :m] = -(cells + cells.T)
        out[np.arange(m), np.arange(m)] += cells.sum(axis=0) + cells.sum(axis=1)
        if self.position:
            out[:m, m] = out[m, :m] = cells.sum(axis=1) - cells.sum(axis=0)
            out[m, m] = cells.sum()
        if self.tie:
            cross = np.broadcast_to(slopes.tie_margin, cells.shape)
            out[:m, -1] = out[-1, :m] = cross.sum(axis=1) - cross.sum(axis=0)
            out[-1, -1] = slopes.tie_tie
            if self.position:
                out[m, -1] = out[-1, m] = cross.sum()
        return out


def estimate(
    comparisons: Comparisons, counts: Counts, rule: OutcomeRule, *, position: bool, prior: float
) -> Fit:
    """Fit a rule to counted battles and attach the clustered covariance.

    Raises:
        DisconnectedError: without a prior, if the win graph is not strongly connected.
        UsageError: a negative prior, or no finite estimate.
    """
    if not prior >= 0:
        raise UsageError(f"prior must be 0 or more, got {prior}")
    if prior == 0 and len(groups := connected_groups(counts)) > 1:
        raise DisconnectedError(groups)
    layout = Layout(
        n_models=comparisons.n_models,
        position=position and position_identifiable(counts.battles),
        tie=rule.tie_start is not None,
        prior=prior,
    )
    beta, slopes = maximise(rule, layout)
    covariance, n_clusters = sandwich(comparisons, counts.pair, rule, layout, beta)
    m = layout.n_models
    return Fit(
        theta=beta[:m] - beta[:m].mean(),
        covariance=covariance[:m, :m],
        position=float(beta[m]) if layout.position else 0.0,
        position_se=float(np.sqrt(covariance[m, m])) if layout.position else 0.0,
        position_fitted=layout.position,
        n_clusters=n_clusters,
        n_battles=len(comparisons.first),
        prior=prior,
        log_likelihood=slopes.value,
        tie=math.exp(beta[-1]) if layout.tie else None,
    )


def position_identifiable(battles: Floats) -> bool:
    """Whether the position term can be told from the ratings.

    It cannot if some θ has θ_first − θ_second = 1 on every pair that was played: two models
    always in the same order, or one half of the pool always first against the other half.
    """
    played = (battles > 0).astype(np.float64)
    cross = played.sum(axis=1) - played.sum(axis=0)
    laplacian = np.diag(played.sum(axis=1) + played.sum(axis=0)) - played - played.T
    theta = np.linalg.solve(laplacian + 1e-9 * np.eye(len(played)), cross)
    return bool(played.sum() - cross @ theta > 1e-6 * played.sum())


def maximise(
    rule: OutcomeRule, layout: Layout, *, centre: Floats | float = 0.0
) -> tuple[Floats, Slopes]:
    """Newton's method with step halving from θ = 0: the parameters and the slopes there.

    ``centre`` is the mean of the priors, (size,) or 0.

    Raises:
        UsageError: the likelihood has no finite maximum.
    """
    precision = layout.precision
    beta = np.zeros(layout.size)
    if rule.tie_start is not None:
        beta[-1] = rule.tie_start
    slopes = _slopes(rule, layout, beta)
    for _ in range(_MAX_ITERATIONS):
        gradient = layout.gradient(slopes) - precision * (beta - centre)
        step = np.linalg.solve(regular(layout.hessian(slopes), layout), gradient)
        value = slopes.value - precision @ (beta - centre) ** 2 / 2
        for _halving in range(40):
            trial = beta + step
            slopes = _slopes(rule, layout, trial)
            if slopes.value - precision @ (trial - centre) ** 2 / 2 >= value - 1e-12 * abs(value):
                break
            step /= 2
        beta = trial
        if np.abs(step).max() < 1e-10:
            return beta, slopes
        if np.abs(beta).max() > 100:
            break
    raise UsageError(
        "no finite ratings: the outcomes can be explained ever better by ratings ever further "
        "apart; play more battles, give a prior, or use Bradley-Terry without a tie parameter"
    )


def _slopes(rule: OutcomeRule, layout: Layout, beta: Floats) -> Slopes:
    return rule.slopes(layout.margins(beta), float(beta[-1]) if layout.tie else 0.0)


def regular(hessian: Floats, layout: Layout) -> Floats:
    """Add the priors, and what fixes the mean of θ, to a Hessian that is blind to it."""
    m = layout.n_models
    out = hessian + np.diag(layout.precision)
    out[:m, :m] += np.trace(hessian[:m, :m]) / m**2
    out[np.diag_indices(len(out))] += 1e-13 * np.trace(out)
    return out


def sandwich(
    comparisons: Comparisons, pair: Ints, rule: OutcomeRule, layout: Layout, beta: Floats
) -> tuple[Floats, int]:
    """Covariance of all parameters, clustered by query, and the number of clusters.

    V = A⁻¹ B A⁻¹ with A the Hessian (priors included) and B = Q/(Q−1) Σ_q g_q g_qᵀ over the
    score vectors g_q of the queries (Liang and Zeger 1986, doi:10.1093/biomet/73.1.13). Two
    guards keep sparse data from looking certain. Without a prior each model is given one more
    query's worth of the model's own variance, B + D^−½ H D^−½ with D the number of queries of
    each model: nothing where there are many, honest where there is one. With a prior V is never
    narrower than the posterior, since a model that only wins shows no variance to measure.
    """
    hessian = layout.hessian(_slopes(rule, layout, beta))
    outer, queries, n_clusters = score_outer(comparisons, pair, rule, layout, beta)
    bread = np.linalg.inv(regular(hessian, layout))
    meat = outer * (n_clusters / max(n_clusters - 1, 1))
    if layout.prior == 0:
        scale = 1 / np.sqrt(np.maximum(queries, 1))
        meat += hessian * scale[:, None] * scale
        covariance = bread @ meat @ bread
    else:
        root = np.linalg.cholesky(bread)
        values, vectors = np.linalg.eigh(root.T @ meat @ root)
        half = root @ vectors * np.sqrt(np.maximum(values, 1.0))
        covariance = half @ half.T
    centre = np.eye(layout.size)
    centre[: layout.n_models, : layout.n_models] -= 1 / layout.n_models
    return centre @ covariance @ centre, n_clusters


def score_outer(
    comparisons: Comparisons, pair: Ints, rule: OutcomeRule, layout: Layout, beta: Floats
) -> tuple[Floats, Ints, int]:
    """Σ_q g_q g_qᵀ, the number of queries that touch each parameter, and of all queries."""
    eta = float(beta[-1]) if layout.tie else 0.0
    margin, tie = rule.row_scores(pair, comparisons.score, layout.margins(beta), eta)
    if comparisons.weight is not None:
        margin = margin * comparisons.weight
        tie = None if tie is None else tie * comparisons.weight
    outer = np.zeros((layout.size, layout.size))
    queries = np.zeros(layout.size, dtype=np.intp)
    n_clusters = 0
    m = layout.n_models
    for rows, cluster, n in _blocks(comparisons):
        base = cluster * m
        first, second = base + comparisons.first[rows], base + comparisons.second[rows]
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
    cluster = np.asarray(comparisons.cluster, dtype=np.intp)
    size = max(_BLOCK_CELLS // comparisons.n_models, 1)
    n = int(cluster.max()) + 1
    if n <= size:
        yield slice(None), cluster, n
        return
    _, cluster = np.unique(cluster, return_inverse=True)
    order = np.argsort(cluster, kind="stable")
    starts = np.arange(0, int(cluster.max()) + 1, size)
    for rows in np.split(order, np.searchsorted(cluster[order], starts[1:])):
        block = cluster[rows] - cluster[rows[0]]
        yield rows, block, int(block[-1]) + 1
