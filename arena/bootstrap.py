"""The Bayesian bootstrap of Bradley-Terry ratings, by query, in one batch of refits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from arena.bradley_terry import BradleyTerry, sigmoid
from arena.counts import Comparisons, Counts, Floats, Ints, count, tally
from arena.errors import UsageError
from arena.paired import Fit, Layout, maximise, regular

Singles = npt.NDArray[np.float32]

_MAX_GROUPS = 800
"""More queries than this are pooled at random, which leaves the variance as it is and makes
its estimate little noisier than a thousand draws do."""

_CELLS = 4_000_000
"""Draws times pairs refitted at once: 32 MB a table."""

_CHORD_STEPS = 15
_TOLERANCE = 1e-4
"""Logits; 0.02 Elo."""


@dataclass(frozen=True, slots=True)
class _Tables:
    """Battles and points of each query on each ordered pair that was played.

    In single precision, which halves the time and errs by less than the tolerance.
    """

    played: Ints  #: pair codes, (c,)
    battles: Singles  #: (q, c)
    points: Singles  #: (q, c)


def bootstrap(comparisons: Comparisons, fit: Fit, *, n: int = 1000, seed: int) -> Floats:
    """Draw ``n`` Bayesian bootstrap refits of theta, (n, m), each centred.

    Each query gets an Exp(1) weight (Rubin 1981, doi:10.1214/aos/1176345338), so no draw loses
    a pair and every draw is finite. A prior of the fit is drawn anew too. Refits are chord
    steps with the Hessian of ``fit``, and full Newton where fifteen of them are not enough.

    Raises:
        UsageError: a fit with a tie parameter; those have the sandwich.
    """
    if fit.tie is not None:
        raise UsageError("the bootstrap is for Bradley-Terry; use the sandwich with tie models")
    rng = np.random.default_rng(seed)
    counts = count(comparisons)
    layout = Layout(len(fit.theta), position=fit.position_fitted, tie=False, prior=fit.prior)
    tables = _tabulate(comparisons, counts, rng)
    size = max(_CELLS // len(tables.played), 1)
    parts = []
    for start in range(0, n, size):
        shape = (min(size, n - start), len(tables.battles))
        weights = rng.standard_exponential(shape, dtype=np.float32)
        centre = np.zeros((len(weights), layout.size))
        if fit.prior > 0:
            theta = rng.standard_normal((len(weights), layout.n_models))
            centre[:, : layout.n_models] = theta / np.sqrt(fit.prior)
        parts.append(_refit(_reweigh(tables, weights), centre, layout, fit))
    theta = np.concatenate(parts)[:, : layout.n_models]
    centred: Floats = theta - theta.mean(axis=1, keepdims=True)
    return centred


def _tabulate(comparisons: Comparisons, counts: Counts, rng: np.random.Generator) -> _Tables:
    """Count every query's battles, or those of at most ``_MAX_GROUPS`` random groups of them."""
    played = np.flatnonzero(counts.battles)
    column = np.zeros(counts.battles.size, dtype=np.intp)
    column[played] = np.arange(len(played))
    cluster = np.asarray(comparisons.cluster, dtype=np.intp)
    n = int(cluster.max()) + 1
    if n > _MAX_GROUPS:
        group = rng.permutation(n) % _MAX_GROUPS
        cluster, n = group[cluster], _MAX_GROUPS
    cell = cluster * len(played) + column[counts.pair]
    size, shape = n * len(played), (n, len(played))
    weight = comparisons.weight
    points = comparisons.score if weight is None else comparisons.score * weight
    return _Tables(
        played=played,
        battles=tally(cell, weight, size).reshape(shape).astype(np.float32),
        points=tally(cell, points, size).reshape(shape).astype(np.float32),
    )


def _reweigh(tables: _Tables, weights: Singles) -> _Tables:
    """The tables of weighted draws: one row a draw instead of one a query."""
    return _Tables(tables.played, weights @ tables.battles, weights @ tables.points)


def _refit(draws: _Tables, centre: Floats, layout: Layout, fit: Fit) -> Floats:
    """The parameters of every draw, (n, size)."""
    m, precision = layout.n_models, layout.precision
    first, second = np.divmod(draws.played, m)
    design = np.zeros((len(first), layout.size), dtype=np.float32)
    cells = np.arange(len(first))
    design[cells, first], design[cells, second] = 1.0, -1.0
    if layout.position:
        design[:, m] = 1.0
    start = np.append(fit.theta, fit.position)[: layout.size]
    expected = sigmoid(design @ start)
    curvature = draws.battles.mean(axis=0) * expected * (1 - expected)
    chord = np.linalg.inv(regular(design.T @ (design * curvature[:, None]), layout))
    beta = np.tile(start, (len(centre), 1))
    active = np.arange(len(centre))
    for _ in range(_CHORD_STEPS):
        residual = _residuals(draws, active, beta[active].astype(np.float32) @ design.T)
        step = (residual @ design - precision * (beta[active] - centre[active])) @ chord
        beta[active] += step
        active = active[np.abs(step).max(axis=1) > _TOLERANCE]
        if not len(active):
            break
    for draw in active:
        counts = [np.zeros(m * m), np.zeros(m * m)]
        counts[0][draws.played], counts[1][draws.played] = draws.battles[draw], draws.points[draw]
        battles, points = (table.reshape(m, m) for table in counts)
        beta[draw], _ = maximise(BradleyTerry(battles, points), layout, centre=centre[draw])
    return beta


def _residuals(draws: _Tables, active: Ints, margin: Singles) -> Singles:
    """Points minus expected points of the active draws; overwrites ``margin``."""
    margin *= 0.5
    np.tanh(margin, out=margin)
    margin += 1
    margin *= draws.battles[active]
    margin *= -0.5
    margin += draws.points[active]
    return margin
