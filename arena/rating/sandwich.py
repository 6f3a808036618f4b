"""The variance of ratings, clustered by query, and how many queries each comparison rests on.

Battles on one query are not independent: they share how well each model happens to do on it.
The sandwich adds up their scores within a query before it squares them.

A difference of two ratings may rest on few of many queries: those of a small data set that weighs
as much as a large one, or those of a late model. The number of queries of the whole log says
nothing of it; the information on this difference that each single query holds does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from arena.battles.row_blocks import blocks
from arena.rating.comparisons import Comparisons, Counts, Floats, Ints, clusters, sums_by_code
from arena.rating.likelihood import Derivatives, OutcomeRule, Parameters, regularized

_MOST_GROUPS: Final = 1000
"""More queries than this are pooled: it makes a number in the thousands one of a thousand."""

_LEAST_GROUPS: Final = 60
_BLOCK_CELLS: Final = 4_000_000
"""Clusters times parameters, or groups times pairs of models, held at once: 32 MB."""

_MODELS_CUBED: Final = 4e9
"""What groups of queries times models³ may come to, so that hundreds of models take seconds."""

_LEAST: Final = 2.0
"""Effective queries are taken to be at least this many, which is one degree of freedom."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The battles of one data set, with what each adds to the score vector of its query."""

    first: Ints
    second: Ints
    pair: Ints  #: the cell of the counts
    query: Ints  #: counted from 0 within the data set
    n_queries: int
    margin: Floats  #: ∂ℓ/∂d, times the weight
    tie: Floats | None  #: ∂ℓ/∂η, times the weight
    weight: Floats | None

    def take(self, part: slice | Ints) -> Rows:
        """Return some of the battles, with the queries counted as before."""
        tie = None if self.tie is None else self.tie[part]
        weight = None if self.weight is None else self.weight[part]
        both, query = (self.first[part], self.second[part]), self.query[part]
        return Rows(*both, self.pair[part], query, self.n_queries, self.margin[part], tie, weight)


@dataclass(frozen=True, slots=True)
class Contrasts:
    """What is known of each comparison of two parameters, (s, s): θ first, then γ if fitted.

    Off the diagonal of a difference, θ_row − θ_column; on it of each parameter by itself.
    """

    variance: Floats
    df: Floats  #: degrees of freedom of the variance; one less than the effective queries
    drawn: Floats  #: the variance of Bayesian bootstrap draws, to first order


@dataclass(slots=True)
class Gathering:
    """Data sets taken in one by one, and what all of them say together."""

    size: int
    _wider: Floats = field(init=False)
    _drawn: Floats = field(init=False)
    _expected: Floats = field(init=False)
    _doubt: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Start with nothing."""
        self._wider, self._drawn, self._expected, self._doubt = np.zeros((4, self.size, self.size))

    def add(self, covariance: Floats, expected: Floats, effective: Floats, n_queries: int) -> None:
        """Take in a data set.

        Args:
            covariance: of the parameters, by its scores as they are, without any correction.
            expected: its share in the variance of each comparison, as the design has it.
            effective: its queries, for each comparison.
            n_queries: that it has.
        """
        raw = of_matrix(covariance)
        k = np.maximum(effective, _LEAST)
        self._wider += raw / (k - 1)  # k/(k−1) of it in all
        self._drawn += raw * (n_queries / (n_queries + 1) if n_queries > 1 else 1.0)
        self._expected += expected
        self._doubt += expected**2 / (k - 1)

    def contrasts(self, covariance: Floats, guard: Floats) -> Contrasts:
        """Return all of it, given the covariance of all data sets together, and the guard in it.

        The degrees of freedom are those of Satterthwaite (1946, doi:10.2307/3002019) and Welch.
        """
        df = np.divide(
            self._expected**2, self._doubt, out=np.ones_like(self._doubt), where=self._doubt > 0
        )
        variance = of_matrix(covariance) + self._wider
        return Contrasts(variance, df, self._drawn + of_matrix(guard))


def of_matrix(covariance: Floats) -> Floats:
    """Return variances of all differences, and on the diagonal of the parameters themselves."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    out = variance[..., :, None] + variance[..., None, :] - covariance - covariance.swapaxes(-1, -2)
    each = np.arange(out.shape[-1])
    out[..., each, each] = variance
    found: Floats = np.maximum(out, 0)
    return found


def informations(rows: Rows, layout: Parameters, cells: Floats) -> Iterator[Floats]:
    """Yield Σ w² p(1−p) x xᵀ of each query, (some queries, s, s) at a time.

    Args:
        rows: the battles of a data set.
        layout: of the parameters.
        cells: p(1−p), or what stands for it, of one battle in each cell of the counts.
    """
    most = int(np.clip(_MODELS_CUBED // layout.n_models**3, _LEAST_GROUPS, _MOST_GROUPS))
    groups = min(rows.n_queries, most)
    step = max(_BLOCK_CELLS // cells.size, 1)
    for start in range(0, groups, step):
        size = min(step, groups - start)
        sums = np.zeros(size * cells.size)
        for block in blocks(len(rows.query)):
            group = rows.query[block] % groups - start
            code = group * cells.size + rows.pair[block]
            weight = None if rows.weight is None else rows.weight[block] ** 2
            if size < groups:
                here = np.flatnonzero((group >= 0) & (group < size))
                code, weight = code[here], None if weight is None else weight[here]
            sums += np.bincount(code, weight, sums.size)
        yield layout.information(sums.reshape(size, *cells.shape) * cells)


def effective_queries(
    information: Iterator[Floats], bread: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return each comparison's variance by design, its effective queries, and Σ information.

    e_q = Σ w² p(1−p)(xᵀA c)² over the battles of query q is what the query would add to the
    variance of comparison c if verdicts were independent. The effective queries are (Σ e_q)² / Σ
    e_q² (Kish 1965, *Survey Sampling*): their number itself where all queries hold as much.
    """
    total, expected, squares = np.zeros((3, *bread.shape))
    for some in information:
        share = of_matrix(bread @ some @ bread)
        expected += share.sum(axis=0)
        squares += (share * share).sum(axis=0)
        total += some.sum(axis=0)
    effective = np.divide(expected**2, squares, out=np.ones_like(expected), where=squares > 0)
    return expected, effective, total


@dataclass(frozen=True, slots=True)
class Covariances:
    """Of all parameters, θ centred, (size, size)."""

    clustered: Floats  #: battles on a query hang together; without a correction for few queries
    independent: Floats  #: what it would be if they did not: the share of single verdicts
    guard: Floats  #: the part of the clustered one that is there for sparse data
    contrasts: Contrasts
    n_clusters: int  #: distinct queries


def sandwich(
    comparisons: Comparisons, counts: Counts, rule: OutcomeRule, layout: Parameters, beta: Floats
) -> Covariances:
    """Return the covariance of all parameters, clustered by query.

    V = A⁻¹ B A⁻¹ with A the Hessian (priors included) and B = Σ_q g_q g_qᵀ. The g_q are the score
    vectors of the queries, less the mean score of their data set (Liang and Zeger 1986,
    doi:10.1093/biomet/73.1.13; data sets are strata, Binder 1983, doi:10.2307/1402588). The
    correction for few queries is in ``contrasts``: it is another one for each comparison. Two
    guards keep sparse data from looking certain. Without a prior each model gets one more query's
    worth of the model's own variance: B + D^−½ S D^−½. D is the number of queries of each model,
    and S = Σ w² p(1−p) x xᵀ. This adds nothing if there are many queries, and much where there
    is one. With a prior V is never narrower than the posterior, since a model that only wins shows
    no variance to measure.
    """
    slopes = layout.slopes(rule, beta)
    hessian = layout.hessian(slopes)
    bread = np.linalg.inv(regularized(hessian, layout)).astype(np.float64, copy=False)
    margin, tie = row_scores(comparisons, counts, rule, layout, beta)
    played = counts.battles > 0
    own = np.divide(slopes.curvature, counts.battles, out=np.zeros(played.shape), where=played)
    gathered = _gather(_by_dataset(comparisons, counts, margin, tie), layout, own, bread)
    s = layout.n_models + layout.position
    # Of the tie parameter, which has no interval, the information is near enough with weights.
    weight = counts.weight if layout.tie else None
    squares = hessian * (1.0 if weight is None else float(np.mean(weight**2)))
    squares[:s, :s] = gathered.squares
    covariance, guard = _guarded(
        gathered.meat, squares, bread, gathered.queries, prior=layout.prior
    )
    alone = bread @ _squares(counts, layout, margin, tie) @ bread
    centre = np.eye(layout.size)
    centre[: layout.n_models, : layout.n_models] -= 1 / layout.n_models
    covariance, alone, guard = (centre @ part @ centre for part in (covariance, alone, guard))
    contrasts = gathered.contrasts.contrasts(covariance[:s, :s], guard[:s, :s])
    return Covariances(covariance, alone, guard, contrasts, gathered.n_clusters)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the battles of all data sets add up to."""

    meat: Floats  #: B, (size, size)
    squares: Floats  #: S, of θ and γ alone, (s, s)
    queries: Floats  #: how many touch each parameter, (size,)
    n_clusters: int
    contrasts: Gathering


def _gather(
    datasets: Iterator[Rows], layout: Parameters, cell_information: Floats, bread: Floats
) -> _Found:
    """Add up the data sets; ``cell_information`` is the information of one battle in each cell."""
    s, n_clusters = layout.n_models + layout.position, 0
    meat, squares, queries = np.zeros(bread.shape), np.zeros((s, s)), np.zeros(layout.size)
    contrasts = Gathering(s)
    for rows in datasets:
        n_clusters += rows.n_queries
        outer, seen = score_outer(rows, layout)
        meat += outer
        queries += seen
        expected, effective, total = effective_queries(
            informations(rows, layout, cell_information), bread[:s, :s]
        )
        squares += total
        contrasts.add((bread @ outer @ bread)[:s, :s], expected, effective, rows.n_queries)
        del rows  # before the battles of the next data set are gathered
    return _Found(meat, squares, queries, n_clusters, contrasts)


def row_scores(
    comparisons: Comparisons, counts: Counts, rule: OutcomeRule, layout: Parameters, beta: Floats
) -> tuple[Floats, Floats | None]:
    """Return ∂ℓ/∂d and ∂ℓ/∂η of each battle, times its weight, (n,); None without η."""
    margins, eta = layout.margins(beta), layout.eta(beta)
    margin = np.empty(len(counts.pair))
    tie = np.empty(len(counts.pair)) if layout.tie else None
    for block in blocks(len(margin)):
        scores = rule.row_scores(counts.pair[block], comparisons.score[block], margins, eta)
        for column, part in zip((margin, tie), scores, strict=True):
            if column is not None and part is not None:
                column[block] = part if counts.weight is None else part * counts.weight[block]
    return margin, tie


def _squares(counts: Counts, layout: Parameters, margin: Floats, tie: Floats | None) -> Floats:
    """Return Σ g gᵀ over single battles, (size, size).

    A battle's g is a number times e_first − e_second, so the sum has the form of a Hessian.
    """

    def cells(value: Floats, times: Floats) -> Floats:
        sums = sums_by_code(counts.pair, value, counts.battles.size, times=times)
        return sums.reshape(counts.battles.shape)

    curvature = cells(margin, margin)
    slopes = Derivatives(value=0.0, margin=np.zeros_like(curvature), curvature=curvature)
    if tie is not None:
        slopes = replace(slopes, tie_margin=cells(margin, tie), tie_tie=float(tie @ tie))
    return layout.hessian(slopes)


def _guarded(
    meat: Floats, squares: Floats, bread: Floats, queries: Floats, *, prior: float
) -> tuple[Floats, Floats]:
    """Return the covariance with the guard for sparse data, and the guard."""
    if prior == 0:
        scale = 1 / np.sqrt(np.maximum(queries, 1))
        guard = bread @ (squares * scale[:, None] * scale) @ bread
        return bread @ meat @ bread + guard, guard
    root = np.linalg.cholesky(bread)
    values, vectors = np.linalg.eigh(root.T @ meat @ root)
    half = root @ vectors * np.sqrt(np.maximum(values, 1.0))
    return half @ half.T, np.zeros_like(bread)


def score_outer(rows: Rows, layout: Parameters) -> tuple[Floats, Floats]:
    """Return Σ_q (g_q − ḡ)(g_q − ḡ)ᵀ, and the number of queries that touch each parameter.

    ḡ is the mean over the queries of the data set: nothing for a single one.
    """
    outer, total, queries = np.zeros((layout.size, layout.size)), 0.0, np.zeros(layout.size)
    m = layout.n_models
    for part, query, n in _blocks(rows, m):
        scores, seen = _query_scores(rows.take(part), query, n, layout)
        outer += scores.T @ scores
        total = total + scores.sum(axis=0)
        queries[:m] += seen.sum(axis=0)
    queries[m:] = rows.n_queries
    if rows.n_queries > 1:
        outer -= np.outer(total, total) / rows.n_queries
    return outer, queries


def _query_scores(
    rows: Rows, query: Ints, n_queries: int, layout: Parameters
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the score vector of each query, and which models it touches, (n_queries, m).

    Args:
        rows: the battles of these queries.
        query: of each battle, counted from 0.
        n_queries: their number.
        layout: of the parameters.
    """
    m = layout.n_models
    won, lost = np.zeros((2, n_queries * m))
    placed, tied = np.zeros((2, n_queries))
    seen = np.zeros(n_queries * m, np.bool_)
    for block in blocks(len(query)):
        code, margin = query[block], rows.margin[block]
        sides = (side[block].astype(np.intp) for side in (rows.first, rows.second))
        first, second = (code * m + side for side in sides)
        won += np.bincount(first, margin, won.size)
        lost += np.bincount(second, margin, lost.size)
        seen[first] = seen[second] = True
        if layout.position:
            counts = margin if layout.n_layers == 1 else margin * (rows.pair[block] < m * m)
            placed += np.bincount(code, counts, n_queries)
        if rows.tie is not None:
            tied += np.bincount(code, rows.tie[block], n_queries)
    columns = [(won - lost).reshape(n_queries, m)]
    columns += [placed[:, None]] if layout.position else []
    columns += [] if rows.tie is None else [tied[:, None]]
    return np.hstack(columns), seen.reshape(n_queries, m)


def _by_dataset(
    comparisons: Comparisons, counts: Counts, margin: Floats, tie: Floats | None
) -> Iterator[Rows]:
    """Yield the battles of each data set."""
    queries = clusters(comparisons)
    first, second = map(np.asarray, (comparisons.first, comparisons.second))
    whole = Rows(first, second, counts.pair, queries.code, queries.n, margin, tie, counts.weight)
    if len(queries.sizes) == 1:
        yield whole
        return
    for start, size in zip(queries.starts, queries.sizes, strict=False):
        yield _of_queries(whole, start, size)


def _of_queries(rows: Rows, start: int, n_queries: int) -> Rows:
    """Return the battles of some queries that follow each other."""
    is_own = (rows.query >= start) & (rows.query < start + n_queries)
    own = rows.take(np.flatnonzero(is_own))
    return replace(own, query=own.query - start, n_queries=n_queries)


def _blocks(rows: Rows, n_models: int) -> Iterator[tuple[slice | Ints, Ints, int]]:
    """Yield the places of some queries' battles, their queries from 0, and how many queries."""
    size = max(_BLOCK_CELLS // n_models, 1)
    if rows.n_queries <= size:
        yield slice(None), rows.query, rows.n_queries
        return
    order = np.argsort(rows.query, kind="stable")
    starts = range(0, rows.n_queries, size)
    ends = np.cumsum(sums_by_code(rows.query, None, rows.n_queries)).astype(np.intp)
    bounds = [0, *(ends[min(start + size, rows.n_queries) - 1].item() for start in starts)]
    for start, (low, high) in zip(starts, pairwise(bounds), strict=True):
        part = order[low:high]
        yield part, rows.query[part] - start, min(size, rows.n_queries - start)
