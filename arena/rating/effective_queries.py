"""How many queries each comparison of ratings rests on, and what its variance is then worth.

A difference of two ratings may rest on few of many queries: those of a small data set that weighs
as much as a large one, those that a late model was played on. The number of queries of the whole
log says nothing of it; the information on this difference that each single query holds does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from arena.rating.comparisons import Floats, Ints, sums_by_code
from arena.rating.likelihood import Parameters

_MOST_GROUPS: Final = 1000
"""More queries than this are pooled: it makes a number in the thousands one of a thousand."""

_LEAST_GROUPS: Final = 60
_MODELS_CUBED: Final = 4e9
"""What groups of queries times models³ may come to, so that hundreds of models take seconds."""

_BLOCK_CELLS: Final = 4_000_000
"""Groups times pairs of models held at once: 32 MB."""

_LEAST: Final = 2.0
"""Effective queries are taken to be at least so many, which is one degree of freedom."""


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
    group = rows.query % groups
    squared = None if rows.weight is None else rows.weight**2
    step = max(_BLOCK_CELLS // cells.size, 1)
    for start in range(0, groups, step):
        size = min(step, groups - start)
        code, weight = group * cells.size + rows.pair, squared
        if size < groups:
            here = np.flatnonzero((group >= start) & (group < start + size))
            code = code[here] - start * cells.size
            weight = None if squared is None else squared[here]
        sums = sums_by_code(code, weight, size * cells.size).reshape(size, *cells.shape)
        yield layout.information(sums * cells)


def effective_queries(
    information: Iterator[Floats], bread: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return each comparison's variance by design, its effective queries, and Σ information.

    With e_q = Σ w² p(1−p)(xᵀA c)² over the battles of query q, what the query would add to the
    variance of comparison c if verdicts were independent, these are (Σ e_q)² / Σ e_q² (Kish 1965,
    *Survey Sampling*): the number itself where all queries hold as much.
    """
    total, expected, squares = np.zeros((3, *bread.shape))
    for some in information:
        share = of_matrix(bread @ some @ bread)
        expected += share.sum(axis=0)
        squares += (share * share).sum(axis=0)
        total += some.sum(axis=0)
    effective = np.divide(expected**2, squares, out=np.ones_like(expected), where=squares > 0)
    return expected, effective, total
