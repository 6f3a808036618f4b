"""The Bayesian bootstrap of Bradley-Terry ratings, by query, in one batch of refits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from arena.errors import UsageError
from arena.rating.bradley_terry import BradleyTerry
from arena.rating.comparisons import (
    Comparisons,
    Floats,
    Ints,
    check_battles,
    clusters,
    mean_one,
    sums_by_code,
)
from arena.rating.fit import Fit
from arena.rating.likelihood import Parameters, maximise, regularized

Singles = npt.NDArray[np.float32]

_MAX_GROUPS = 800
"""More queries than this are pooled at random, those of a large data set first. The variance stays
the same. Its estimate gets little noisier than a thousand draws make it."""

_TABLE_CELLS = 40_000_000
"""Queries times pairs held at once, 160 MB: large pools are resampled in fewer groups."""

_BATCH_CELLS = 4_000_000
"""Draws times pairs refitted at once, 16 MB a table."""

_CHORD_STEPS = 50
_TOLERANCE = 1e-4
"""Logits; 0.02 Elo."""


@dataclass(frozen=True, slots=True)
class _Tables:
    """Battles and points per cell of the counts, one row for each query or for each draw.

    In single precision, which halves the time and errs by less than the tolerance.
    """

    battles: Singles  #: (rows, layers * m * m)
    points: Singles  #: of the model shown first, (rows, layers * m * m)


def bootstrap(comparisons: Comparisons, fit: Fit, *, n: int = 1000, seed: int) -> Floats:
    """Draw ``n`` Bayesian bootstrap refits of theta, (n, m), each centred.

    Each query gets an Exp(1) weight (Rubin 1981, doi:10.1214/aos/1176345338), so no draw loses a
    pair and every draw is finite. Weights have the same mean in each data set, because data sets
    themselves are not drawn. A prior of the fit is drawn again too, and its guard for sparse data
    is in the draws. Refits are chord steps with the Hessian of ``fit``, and full Newton where fifty
    of them are not enough.

    Raises:
        UsageError: a fit with a tie parameter; those have the sandwich.
    """
    if fit.tie is not None:
        raise UsageError("the bootstrap is for Bradley-Terry; use the sandwich with tie models")
    if n < 1:
        raise UsageError(f"the bootstrap needs at least 1 draw, got {n}")
    check_battles(comparisons)
    rng = np.random.default_rng(seed)
    m = len(fit.theta)
    layout = Parameters(
        m, fit.position_fitted, tie=False, prior=fit.prior, n_layers=comparisons.n_layers
    )
    tables, starts = _tabulate(comparisons, rng)
    size = max(_BATCH_CELLS // m**2, 1)
    parts = []
    for start in range(0, n, size):
        shape = (min(size, n - start), len(tables.battles))
        weights = rng.standard_exponential(shape, dtype=np.float32)
        for first, last in pairwise(starts):
            if last - first > 1:
                weights[:, first:last] /= weights[:, first:last].mean(axis=1, keepdims=True)
        centre = np.zeros((len(weights), layout.size))
        if fit.prior > 0:
            centre[:, :m] = rng.standard_normal((len(weights), m)) / np.sqrt(fit.prior)
        draws = _Tables(weights @ tables.battles, weights @ tables.points)
        parts.append(_refit(draws, centre, layout, fit))
    theta = np.concatenate(parts)[:, :m]
    if fit.guard is not None:
        theta = theta + rng.standard_normal(theta.shape) @ _root(fit.guard).T
    centred: Floats = theta - theta.mean(axis=1, keepdims=True)
    return centred


def _root(covariance: Floats) -> Floats:
    """Return a matrix R with R Rᵀ the covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0))
    return root


def _tabulate(
    comparisons: Comparisons, rng: np.random.Generator
) -> tuple[_Tables, tuple[int, ...]]:
    """Count the battles of every query, or of random groups of queries where there are many.

    Returns:
        The tables, and the first row of each data set with the number of all rows at the end.
    """
    cells = comparisons.n_layers * comparisons.n_models**2
    queries = clusters(comparisons)
    row, starts = queries.code, queries.starts
    most = min(_MAX_GROUPS, max(_TABLE_CELLS // cells, 1))
    if queries.n > most:
        sizes = [min(size, max(most // len(queries.sizes), 2)) for size in queries.sizes]
        starts = (0, *np.cumsum(sizes).tolist())
        parts = zip(queries.sizes, sizes, starts, strict=False)
        row = np.concatenate([start + rng.permutation(n) % size for n, size, start in parts])[row]
    cell = row * cells + comparisons.pair
    weight = mean_one(comparisons.weight)
    points = comparisons.score if weight is None else comparisons.score * weight
    size = starts[-1] * cells
    tables = _Tables(
        battles=sums_by_code(cell, weight, size).reshape(-1, cells).astype(np.float32),
        points=sums_by_code(cell, points, size).reshape(-1, cells).astype(np.float32),
    )
    return tables, starts


def _refit(draws: _Tables, centre: Floats, layout: Parameters, fit: Fit) -> Floats:
    """Return the parameters of every draw, (n, size)."""
    shape, precision = (layout.n_layers, layout.n_models, layout.n_models), layout.precision
    start = np.append(fit.theta, fit.position)[: layout.size]
    mean = draws.battles.mean(axis=0).reshape(shape).astype(np.float64)
    slopes = BradleyTerry(mean, np.zeros(shape)).slopes(layout.margins(start), 0.0)
    chord = np.linalg.inv(regularized(layout.hessian(slopes), layout))
    beta = np.tile(start, (len(centre), 1))
    active = np.arange(len(centre))
    for _ in range(_CHORD_STEPS):
        gradient = _gradient(draws, active, beta[active], layout)
        step = (gradient - precision * (beta[active] - centre[active])) @ chord
        beta[active] += step
        active = active[np.abs(step).max(axis=1) > _TOLERANCE]
        if not len(active):
            return beta
    for draw in active:
        tables = (draws.battles[draw], draws.points[draw])
        battles, points = (table.reshape(shape).astype(np.float64) for table in tables)
        beta[draw], _slopes = maximise(BradleyTerry(battles, points), layout, centre=centre[draw])
    return beta


def _gradient(draws: _Tables, active: Ints, beta: Floats, layout: Parameters) -> Floats:
    """Return the gradient of the active draws' log-likelihood, (active, size), without priors."""
    m = layout.n_models
    half = beta.astype(np.float32) / 2  # σ(d) = (1 + tanh(d/2)) / 2, and tanh is the fast one
    theta = half[:, :m]
    rows = slice(None) if len(active) == len(draws.battles) else active  # a view where possible
    battles, points = draws.battles[rows], draws.points[rows]
    residual = np.empty((len(beta), layout.n_layers, m, m), np.float32)
    residual[:] = (theta[:, :, None] - theta[:, None, :])[:, None]
    if layout.position:
        residual[:, 0] += half[:, m:, None]
    np.tanh(residual, out=residual)
    residual += 1
    residual *= battles.reshape(residual.shape)
    residual *= -0.5
    residual += points.reshape(residual.shape)
    parts = [residual.sum(axis=(1, 3)) - residual.sum(axis=(1, 2))]
    if layout.position:
        parts.append(residual[:, 0].sum(axis=(1, 2))[:, None])
    return np.hstack(parts).astype(np.float64)
