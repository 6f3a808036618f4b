"""Compute intervals of ratings, win probabilities, and which models may be the best.

Everything is clustered by query. Variances and degrees of freedom are those of each comparison by
itself, `arena.rating.sandwich`: they go by the queries that it rests on.

`may_be_best` is asked again and again while battles come in. It is successive elimination
(Even-Dar, Mannor and Mansour 2006, *JMLR* 7, 1079-1105): a model that is surely worse than another
one is dropped. The level is shared by m − 1 one-sided comparisons, not by m(m−1)/2. The best model
is lost only if its own bound against some rival fails. The bounds hold at all moments at once
(`sequence_width`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.errors import UsageError
from arena.rating.comparisons import Floats, Ints
from arena.rating.fit import Fit
from arena.rating.sandwich import of_matrix


def intervals(fit: Fit, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return pointwise confidence intervals of theta: lower and upper, logits, (m,) each."""
    half = _reach(fit, level)[: len(fit.theta)] * fit.standard_error
    return fit.theta - half, fit.theta + half


def position_interval(fit: Fit, *, level: float = 0.95) -> tuple[float, float]:
    """Return the confidence interval of the advantage γ, logits; (0, 0) if it is not fitted."""
    half = float(_reach(fit, level)[-1]) * fit.position_se
    return fit.position - half, fit.position + half


def tail_of(level: float) -> float:
    """Return what an interval of this level leaves on either side.

    Raises:
        UsageError: a level that is none.
    """
    _check_level(level)
    return (1 - level) / 2


def _reach(fit: Fit, level: float) -> Floats:
    """Return standard errors to either side of each parameter, (s,)."""
    return student_quantile(tail_of(level), np.diagonal(fit.contrasts.df))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise UsageError(f"level must be between 0 and 1, got {level}")


@dataclass(frozen=True, slots=True)
class Certainty:
    """How sure ratings are; models are codes, as in the fit."""

    lower: Floats  #: pointwise intervals of theta, logits, (m,)
    upper: Floats
    p_better: Floats  #: how sure it is that the row is better than the column, (m, m)
    better: NDArray[np.bool_]  #: the row is surely better, all pairs at once, (m, m)
    tail: float  #: below it falls P(T beyond) of a further difference that would be sure, too
    reach: Floats
    """Half of the interval of each difference, logits, (m, m); the intervals hold for all pairs."""

    @property
    def rank_lower(self) -> Ints:
        """Return the best rank of each model that no sure difference rules out, (m,)."""
        lower: Ints = 1 + self.better.sum(axis=0)
        return lower

    @property
    def rank_upper(self) -> Ints:
        """Return the worst such rank, (m,)."""
        upper: Ints = len(self.better) - self.better.sum(axis=1)
        return upper


def from_sandwich(fit: Fit, *, level: float) -> Certainty:
    """Return certainty by the clustered covariance and Student's t."""
    lower, upper = intervals(fit, level=level)
    beyond = _tails(fit, fit.difference_se)
    better, tail = _surely_better(fit, beyond, level)
    reach = _difference_reach(fit, fit.difference_se, level)
    return Certainty(lower, upper, _p_better(fit, beyond), better, tail, reach)


def from_draws(fit: Fit, draws: Floats, *, level: float) -> Certainty:
    """Return the certainty by Bayesian bootstrap draws of theta, (n, m).

    Draws of few queries spread too little, and normal ones would need Student's t. So the distance
    of each percentile from the mean draw is stretched by the ratio of the two (after Hesterberg
    2015, arXiv:1411.5279). Each comparison is stretched by the queries that it rests on. P(better)
    is the share of draws, taken for a normal one and made Student's in the same way.
    """
    m, tail = draws.shape[1], tail_of(level)
    known = fit.contrasts
    widening = np.sqrt(known.variance / np.maximum(known.drawn, 1e-300))[:m, :m]
    reach = student_quantile(tail, np.diagonal(known.df)[:m])
    stretch = reach / NormalDist().inv_cdf(1 - tail) * np.diagonal(widening)
    middle = draws.mean(axis=0)
    lower, upper = middle + stretch * (np.quantile(draws, [tail, 1 - tail], axis=0) - middle)
    above, se = np.zeros((m, m)), np.zeros((m, m))
    for j in range(m - 1):
        drawn = draws[:, j, None] - draws[:, j + 1 :]
        above[j, j + 1 :] = np.count_nonzero(drawn > 0, axis=0)
        se[j, j + 1 :] = drawn.std(axis=0, ddof=1)
    p_better = _student_share(above, len(draws), widening, fit.difference_df)
    se = widening * (se + se.T)
    better, at_once = _surely_better(fit, _tails(fit, se), level)
    reach = _difference_reach(fit, se, level)
    return Certainty(lower, upper, p_better, better, at_once, reach)


def _difference_reach(fit: Fit, se: Floats, level: float) -> Floats:
    """Return half of the interval of each difference of two ratings, (m, m).

    All pairs share the level (Bonferroni), so that the intervals hold at once. `_surely_better`
    tests no pair more strictly: where a difference is not sure its interval contains 0. Its
    step-down levels make no intervals: those of far pairs would hold too rarely.
    """
    pairs, reach = np.triu_indices(len(fit.theta), 1), np.zeros_like(se)
    df = fit.difference_df[pairs]
    reach[pairs] = student_quantile(tail_of(level) / max(len(df), 1), df) * se[pairs]
    both: Floats = reach + reach.T
    return both


def _tails(fit: Fit, se: Floats) -> Floats:
    """Return P(T ≤ −|t|) of each pair's difference, (n_pairs,), as `np.triu_indices` has them."""
    difference, pairs = _differences(fit.theta), np.triu_indices(len(fit.theta), 1)
    t = np.divide(difference, se, out=np.zeros_like(difference), where=se > 0)
    return student_cdf(-np.abs(t[pairs]), fit.difference_df[pairs])


def _p_better(fit: Fit, beyond: Floats) -> Floats:
    """Return how sure it is that the row is better than the column, (m, m)."""
    p_better = np.full((len(fit.theta), len(fit.theta)), 0.5)
    pairs = np.triu_indices(len(fit.theta), 1)
    p_better[pairs] = np.where(_differences(fit.theta)[pairs] > 0, 1 - beyond, beyond)
    p_better.T[pairs] = 1 - p_better[pairs]
    return p_better


def _surely_better(fit: Fit, beyond: Floats, level: float) -> tuple[NDArray[np.bool_], float]:
    """Return who is surely better than whom, all pairs at once, and the tail left for others.

    Each difference is tested by its own Student's t. The largest has the level shared over all
    pairs, the next that shared over those left, until one fails (Holm 1979, *Scandinavian Journal
    of Statistics* 6, 65-70). This needs no assumption on how the differences depend on each other.
    Ranks that leave out all sure differences are those of Mogstad, Romano, Shaikh and Wilhelm
    (2024, doi:10.1093/restud/rdad006).
    """
    difference, pairs = _differences(fit.theta), np.triu_indices(len(fit.theta), 1)
    order, n = np.argsort(beyond, kind="stable"), len(beyond)
    shared = tail_of(level) / (n - np.arange(n))
    n_sure = int(np.argmin(np.append(beyond[order] <= shared, False)))
    sure = np.zeros(difference.shape, np.bool_)
    first, second = (side[order[:n_sure]] for side in pairs)
    sure[first, second] = sure[second, first] = True
    return sure & (difference > 0), tail_of(level) / max(n - n_sure, 1)


def _student_share(above: Floats, n: int, widening: Floats, df: Floats) -> Floats:
    """Convert counts of n normal draws above 0, (m, m), rows before columns, to P(better)."""
    p_better = np.full(above.shape, 0.5)
    pairs = np.triu_indices(len(above), 1)
    # Not one of n draws means fewer than one in n, not never.
    share = np.clip(above[pairs], 0.5, n - 0.5) / n
    normal = np.array([NormalDist().inv_cdf(one) for one in share.tolist()])
    p_better[pairs] = student_cdf(normal / widening[pairs], df[pairs])
    p_better.T[pairs] = 1 - p_better[pairs]
    return p_better


def _differences(theta: Floats) -> Floats:
    difference: Floats = theta[:, None] - theta[None, :]
    return difference


POWER = 0.8
"""How often a difference of the size seen now separates, once the queries are played."""

_STEPS = 20
"""Of the search for Q', in which c depends on Q' a little."""


def queries_to_separate(fit: Fit, pairs: Sequence[tuple[int, int]], *, tail: float) -> Floats:
    """Return how many queries in all would separate each pair of models, (n_pairs,); inf if equal.

    Two ratings separate when they differ by c standard errors. After Q' queries the standard error
    is s√(Q/Q'). If the ratings differ by d, as it seems, they separate with probability `POWER` for

        Q' = Q ((c + z_power) s / d)²

    This is the usual formula for the size of a sample (Chow, Shao and Wang 2008, *Sample Size
    Calculations in Clinical Research*, chapter 3) with the c of all differences at once in place of
    z. c falls with Q' as Student's t does. Its degrees of freedom grow with the queries.

    Args:
        fit: ratings and their clustered covariance, of at least two queries.
        pairs: codes of models.
        tail: what c leaves on either side, as `arena.rating.inference.Certainty` has it.
    """
    codes = tuple(np.array(pairs, dtype=np.intp).T)
    distance = np.abs(fit.theta[codes[0]] - fit.theta[codes[1]])
    se, effective = fit.difference_se[codes], fit.difference_df[codes] + 1
    needed = np.full(len(pairs), np.inf)
    # Beyond this no number of queries is worth naming, and its square may be too large for one.
    distinct = np.flatnonzero(distance > 1e-9 * se)
    per_width = fit.n_clusters * (se[distinct] / distance[distinct]) ** 2
    growth = np.ones(len(distinct))
    for _ in range(_STEPS):
        reach = student_quantile(tail, effective[distinct] * growth - 1)
        growth = per_width * (reach + NormalDist().inv_cdf(POWER)) ** 2 / fit.n_clusters
    needed[distinct] = growth * fit.n_clusters
    return needed


def query_shares(fit: Fit) -> Floats:
    """Return which part of the variance of each difference only more queries reduce, (m, m).

    σ_q²/Q over the whole, 0 to 1: what clustering by query adds to independent battles.
    """
    whole = of_matrix(fit.covariance)
    if fit.independent is None:
        return np.ones_like(whole)
    alone = of_matrix(fit.independent)
    ratio = np.divide(alone, whole, out=np.zeros_like(whole), where=whole > 0)
    shares: Floats = 1 - np.minimum(ratio, 1)
    return shares


TIGHTEST_AT: Final = 50
"""Queries at which the sequence is narrowest; it is hardly wider at half or four times as many."""

FIRST_LOOK: Final = 20
"""Queries before which nothing is concluded: the sequence is asymptotic in their number."""


def sequence_width(n_queries: Floats, *, level: float = 0.95) -> Floats:
    """Return the half-width of the confidence sequence after this many queries, in standard errors.

    √(2(tρ²+1)/(tρ²) · ln(√(tρ²+1)/α)) for t queries, with ρ chosen so that it is narrowest at
    `TIGHTEST_AT` (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Theorem 2.2 and Eq. 24,
    arXiv:2103.06476). Infinite before `FIRST_LOOK`.
    """
    alpha = 1 - level
    rho_squared = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / TIGHTEST_AT
    grown = n_queries * rho_squared + 1
    width: Floats = np.sqrt(2 * grown / (grown - 1) * np.log(np.sqrt(grown) / alpha))
    # Effective queries of a design that is even in all but rounding are no fewer than its own.
    return np.where(n_queries < FIRST_LOOK - 1e-6, np.inf, width)


def all_separated(fit: Fit, *, level: float = 0.95) -> bool:
    """Return whether each model is surely better than the next one in the ranking.

    The same data tell which models are neighbours, so all pairs share the level (Bonferroni). The
    whole order is right with probability ``level``, at the first moment at which this is true. Of
    queries those count that a difference rests on.
    """
    m = len(fit.theta)
    order = np.argsort(-fit.theta)
    neighbours = order[:-1], order[1:]
    queries = fit.difference_df[neighbours] + 1
    width = sequence_width(queries, level=1 - (1 - level) / (m * (m - 1) / 2))
    gaps = fit.theta[order[:-1]] - fit.theta[order[1:]]
    return bool(np.all(gaps > width * fit.difference_se[neighbours]))


def sequence_half_widths(fit: Fit, *, level: float = 0.95) -> Floats:
    """Return half-widths of all ratings, valid at all moments and for all models; logits, (m,)."""
    level = 1 - (1 - level) / len(fit.theta)
    halves: Floats = sequence_width(fit.rating_df + 1, level=level) * fit.standard_error
    return halves


def student_cdf(t: Floats, df: Floats) -> Floats:
    """Return P(T ≤ t) of Student's t, of arrays that broadcast together."""
    if (df >= _MANY_DF).all():
        return _expanded_cdf(t, df)
    from scipy.special import stdtr  # noqa: PLC0415 - a fifth of a second to import

    out: Floats = stdtr(df, t)
    return out


def student_quantile(tail: float, df: Floats) -> Floats:
    """Return how far out t leaves ``tail``, between 0 and ½, beyond it; one for each ``df``."""
    if (df >= _MANY_DF).all():
        return _expanded_quantile(tail, df)
    from scipy.special import stdtrit  # noqa: PLC0415 - a fifth of a second to import

    reach: Floats = -stdtrit(df, tail)
    return reach


_MANY_DF: Final = 500
"""From here on the series are as good as scipy, to nine digits, and need no import."""

_FAR: Final = 40.0
"""So far out nothing is left of a t with many degrees of freedom."""


def _expanded_cdf(t: Floats, df: Floats) -> Floats:
    """Return P(T ≤ t) in powers of 1/df (Fisher 1925, Metron 5)."""
    t = np.asarray(np.clip(t, -_FAR, _FAR), np.float64)
    terms = (
        (t**2 + 1) / 4,
        (3 * t**6 - 7 * t**4 - 5 * t**2 - 3) / 96,
        (t**10 - 11 * t**8 + 14 * t**6 + 6 * t**4 - 3 * t**2 - 15) / 384,
    )
    series = sum(term / df ** (power + 1) for power, term in enumerate(terms))
    normal = np.vectorize(NormalDist().cdf, otypes=[float])(t)
    density = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    below: Floats = np.clip(normal - density * t * series, 0.0, 1.0)
    return below


def _expanded_quantile(tail: float, df: Floats) -> Floats:
    """Return the same in powers of 1/df (Abramowitz and Stegun 1964, 26.7.5)."""
    z = -NormalDist().inv_cdf(tail)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    reach: Floats = np.polyval(terms[::-1], 1 / df)
    return reach


SEARCH_PRIOR: Final = 1.0
"""Precision of the prior of the ratings that a look goes by, in logits⁻².

A model that lost every battle has no finite rating without one, and could never be dropped. From
twenty queries on it shrinks a lead by a few percent, and so drops nobody too early.
"""


def may_be_best(
    fit: Fit, among: NDArray[np.bool_], *, n_at_start: int, level: float = 0.95
) -> NDArray[np.bool_]:
    """Return which of some models no other one of them surely beats, (m,).

    With probability ``level`` the best model is among them at every look, if each look starts
    from what the one before it returned.

    Args:
        fit: the ratings of all models, from all battles so far, with `SEARCH_PRIOR`.
        among: the models that may be the best by the looks so far, (m,).
        n_at_start: how many models there were before the first look, at least 2.
        level: probability that the best model is never dropped.
    """
    bound = _bound(fit, n_at_start=n_at_start, level=level)
    lead = fit.theta[:, None] - fit.theta[None, :]
    beats = (lead > bound) & among[:, None] & among[None, :]
    kept: NDArray[np.bool_] = among & ~beats.any(axis=0)
    return kept


def shortfall(
    fit: Fit, among: NDArray[np.bool_], *, n_at_start: int, level: float = 0.95
) -> tuple[int, float]:
    """Return the leader of some models, and how far below the best it can be at most, in logits.

    0 if it is alone; infinite before the first look. The arguments are those of `may_be_best`.
    """
    leader = int(np.argmax(np.where(among, fit.theta, -np.inf)))
    rivals = among.copy()
    rivals[leader] = False
    if not rivals.any():
        return leader, 0.0
    bound = _bound(fit, n_at_start=n_at_start, level=level)
    most = fit.theta - fit.theta[leader] + bound[:, leader]
    return leader, max(float(most[rivals].max()), 0.0)


def _bound(fit: Fit, *, n_at_start: int, level: float) -> Floats:
    """Return how much of each rating difference may be chance, at all looks, logits, (m, m)."""
    queries = fit.difference_df + 1
    each = 1 - 2 * (1 - level) / (n_at_start - 1)
    se = fit.difference_se.copy()
    np.fill_diagonal(se, np.inf)
    bound: Floats = sequence_width(queries, level=each) * se
    return bound
