"""Shares and coefficients with 95% intervals that are clustered by query.

Battles on one query are not independent, so formulas for independent ones give intervals that
are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arena.auditing.records import Estimate, Subgroup
from arena.battles.load import Battles

Floats = NDArray[np.float64]
LEVEL = 0.95
_DRAWS = 1000


def share(
    hits: ArrayLike,
    cluster: ArrayLike,
    total: ArrayLike | None = None,
    *,
    level: float = LEVEL,
) -> Estimate | None:
    """Return Σ hits / Σ total with Wilson's interval at the effective number of observations.

    The variance of the ratio comes from the sums per query (linearisation, with Q/(Q−1)). The
    effective number is p(1−p) over it, never above the real one. The quantile is Student's with Q−1
    degrees of freedom. At 0 and 1, where no variance shows, each query counts as one observation
    and the quantile is the normal one. After Wilson 1927 (doi:10.1080/01621459.1927.10502953) and
    Korn and Graubard 1998. A share near 0 or 1 keeps an interval within 0 and 1 that is not empty.

    Args:
        hits: per observation, or sums of several, (n,).
        cluster: the query of each, codes from 0, (n,).
        total: how many observations each stands for, (n,); 1 if absent.
        level: of the interval.

    Returns:
        None if there are no observations.
    """
    hits = np.asarray(hits, dtype=np.float64)
    totals = np.ones_like(hits) if total is None else np.asarray(total, dtype=np.float64)
    if not totals.sum() > 0:
        return None
    code = np.asarray(cluster, dtype=np.intp)
    x, n = np.bincount(code, hits), np.bincount(code, totals)
    x, n = x[n > 0], n[n > 0]
    p, n_queries = float(x.sum() / n.sum()), len(n)
    if n_queries < 2:
        return Estimate(p, None, None, round(n.sum()), n_queries)
    variance = n_queries / (n_queries - 1) * float(((x - p * n) ** 2).sum()) / n.sum() ** 2
    if 0 < p < 1:
        effective = min(p * (1 - p) / max(variance, 1e-300), float(n.sum()))
        lower, upper = _wilson(p, effective, _student_quantile(n_queries - 1, level))
    else:
        lower, upper = _wilson(p, n_queries, NormalDist().inv_cdf((1 + level) / 2))
    return Estimate(p, lower, upper, round(n.sum()), n_queries)


def coefficient(
    sums: Floats, statistic: Callable[[Floats], Floats], *, n: int, seed: int = 0
) -> Estimate | None:
    """Return a statistic of sums over queries, with the interval of a Bayesian bootstrap by query.

    Each of 1,000 draws weighs each query by Exp(1) (Rubin 1981, doi:10.1214/aos/1176345338).

    Args:
        sums: what the statistic depends on, summed within each query, (n_queries, d).
        statistic: (draws, d) sums over the queries → (draws,); NaN if it is not defined.
        n: observations behind the sums.
        seed: of the draws.

    Returns:
        None if the statistic is not defined.
    """
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0]) if len(sums) else np.nan
    if not np.isfinite(value):
        return None
    if len(sums) < 2:
        return Estimate(value, None, None, n, len(sums))
    weights = np.random.default_rng(seed).standard_exponential((_DRAWS, len(sums)))
    draws = statistic(weights @ sums)
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    lower, upper = np.quantile(draws[np.isfinite(draws)], tails)
    return Estimate(value, float(lower), float(upper), n, len(sums))


def clustered_mean(
    values: ArrayLike, cluster: ArrayLike, weight: ArrayLike | None = None, *, level: float = LEVEL
) -> Estimate | None:
    """Return the mean of values from −1 to 1, with Student's interval clustered by query.

    The variance is that of a ratio, as in `share`. Where all values are the same, no variance
    shows: each query then counts as one observation that could have been otherwise.

    Args:
        values: of each observation, (n,).
        cluster: the query of each, codes from 0, (n,).
        weight: of each, (n,); 1 if absent.
        level: of the interval.

    Returns:
        None if there are no observations.
    """
    values = np.asarray(values, dtype=np.float64)
    if not values.size:
        return None
    own = np.ones_like(values) if weight is None else np.asarray(weight, dtype=np.float64)
    _, code = np.unique(np.asarray(cluster), return_inverse=True)
    x, n = np.bincount(code, own * values), np.bincount(code, own)
    value, n_queries = float(x.sum() / n.sum()), len(n)
    if n_queries < 2:
        return Estimate(value, None, None, len(values), n_queries)
    variance = n_queries / (n_queries - 1) * float(((x - value * n) ** 2).sum()) / n.sum() ** 2
    if np.ptp(values) > 0:
        half = _student_quantile(n_queries - 1, level) * float(np.sqrt(variance))
    else:
        half = _wilson(0.0, n_queries, NormalDist().inv_cdf((1 + level) / 2))[1]
    ends = max(value - half, -1.0), min(value + half, 1.0)
    return Estimate(value, *ends, len(values), n_queries)


def relative(weight: ArrayLike) -> Floats:
    """Return weights with mean 1, so that they sum to the number of observations."""
    weight = np.asarray(weight, dtype=np.float64)
    return np.asarray(weight / weight.mean(), dtype=np.float64) if weight.size else weight


def sums_by_cluster(values: Floats, cluster: ArrayLike) -> Floats:
    """Sum the rows of each cluster: (n, d) → (n_clusters, d)."""
    _, code = np.unique(np.asarray(cluster), return_inverse=True)
    out = np.zeros((int(code.max()) + 1 if code.size else 0, values.shape[1]))
    np.add.at(out, code, values)
    return out


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return float(max(min(middle - half, p), 0.0)), float(min(max(middle + half, p), 1.0))


def _student_quantile(df: int, level: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415

    return float(stdtrit(df, (1 + level) / 2))


def kendall_tau(first: Floats, second: Floats) -> Floats:
    """Return τ_b of each row of two tables of ratings, (n, m) each → (n,).

    Σ sgn(a_i − a_j) sgn(b_i − b_j) over pairs, over the root of the product of the pairs that are
    not tied on either side (Kendall 1945, doi:10.2307/2332303). NaN if all of one are tied.
    """
    n, m = first.shape
    agree, untied = np.zeros(n), np.zeros((2, n))
    for j in range(m - 1):
        signs = [np.sign(side[:, j, None] - side[:, j + 1 :]) for side in (first, second)]
        agree += (signs[0] * signs[1]).sum(axis=1)
        untied += [np.abs(each).sum(axis=1) for each in signs]
    with np.errstate(invalid="ignore", divide="ignore"):
        tau: Floats = agree / np.sqrt(untied[0] * untied[1])
    return tau


def spearman_rho(first: Floats, second: Floats) -> float:
    """Return ρ of two lists of ratings: the correlation of their ranks; NaN if all of one are tied.

    A rating's rank, doubled and centred, is Σ_j sgn(a_i − a_j); ties share the mean of their
    ranks (Spearman 1904, doi:10.2307/1412159).
    """
    ranks = [np.sign(side[:, None] - side).sum(axis=1) for side in (first, second)]
    with np.errstate(invalid="ignore"):
        rho = (ranks[0] * ranks[1]).sum() / np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(rho)


def cohen_kappa(tables: Floats) -> Floats:
    """Return κ = (p_o − p_e) / (1 − p_e) of square tables, (draws, c·c) → (draws,).

    p_o is the share on the diagonal, p_e what it would be if the raters' verdicts were
    independent (Cohen 1960, doi:10.1177/001316446002000104). NaN if both raters only ever say
    one and the same word.
    """
    c = round(np.sqrt(tables.shape[1]))
    total = tables.sum(axis=1)
    p = tables.reshape(-1, c, c) / np.where(total > 0, total, np.nan)[:, None, None]
    observed = np.einsum("dii->d", p)
    expected = (p.sum(axis=1) * p.sum(axis=2)).sum(axis=1)
    return _beyond_chance(1 - observed, 1 - expected)


def krippendorff_alpha(sums: Floats) -> Floats:
    """Return α = 1 − D_o / D_e of nominal verdicts, (draws, 1 + c) of `alpha_sums` → (draws,).

    D_e is the disagreement of two verdicts drawn from all verdicts on all units, without
    replacement (Hayes and Krippendorff 2007, doi:10.1080/19312450709336664). NaN if all
    verdicts are the same word.
    """
    disagreement, counts = sums[:, 0], sums[:, 1:]
    n = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (n**2 - (counts**2).sum(axis=1)) / (n - 1)
    return _beyond_chance(disagreement, expected)


def gwet_ac1(sums: Floats) -> Floats:
    """Return AC1 = (p_a − p_e) / (1 − p_e), (draws, 2 + c) of `ac1_sums` → (draws,).

    p_e = Σ π_k (1 − π_k) / (c − 1), where π_k is the share of verdict k. Unlike kappa and alpha it
    stays high where people agree and nearly all verdicts are the same (Gwet 2008,
    doi:10.1348/000711006X126600). NaN if no item has two verdicts.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = sums[:, 0] / sums[:, 1]
        usual = sums[:, 2:] / sums[:, 2:].sum(axis=1, keepdims=True)
    expected = (usual * (1 - usual)).sum(axis=1) / (usual.shape[1] - 1)
    return _beyond_chance(1 - observed, 1 - expected)


def ac1_sums(counts: NDArray[np.int64] | Floats, weight: ArrayLike | None = None) -> Floats:
    """Return per item: its agreement, 1 if it has two verdicts, and its share of each verdict.

    Args:
        counts: how many raters gave an item each verdict of the scale, (n_items, c).
        weight: of each item, (n_items,); 1 if absent.
    """
    counts = np.asarray(counts, dtype=np.float64)
    raters = counts.sum(axis=1)
    paired = raters >= 2
    agreement = (counts * (counts - 1)).sum(axis=1) / np.maximum(raters * (raters - 1), 1)
    usual = counts / np.maximum(raters, 1)[:, None]
    sums = np.column_stack([np.where(paired, agreement, 0), paired, usual])
    own = np.ones(len(counts)) if weight is None else np.asarray(weight, dtype=np.float64)
    return np.asarray(sums * own[:, None], dtype=np.float64)


def alpha_sums(counts: NDArray[np.int64] | Floats) -> Floats:
    """Count, per unit, disagreeing ordered pairs over (verdicts − 1), and verdicts by word.

    Args:
        counts: how many raters gave a unit each word, (n_units, c). Units with fewer than two
            verdicts say nothing of agreement and are rows of 0.
    """
    counts = np.asarray(counts, dtype=np.float64)
    m = counts.sum(axis=1, keepdims=True)
    paired = np.where(m >= 2, counts, 0)
    disagreeing = (paired.sum(axis=1) ** 2 - (paired**2).sum(axis=1)) / np.maximum(m[:, 0] - 1, 1)
    return np.column_stack([disagreeing, paired])


def _beyond_chance(observed: Floats, expected: Floats) -> Floats:
    possible = expected > 1e-12
    out: Floats = np.where(possible, 1 - observed / np.where(possible, expected, 1), np.nan)
    return out


def parts_by(battles: Battles, hits: ArrayLike) -> tuple[Subgroup, ...]:
    """Return the share of each judge of a panel; of one judge, the share on each of its data sets.

    Args:
        battles: the rows that count.
        hits: whether each is one, (n_battles,).
    """
    if np.unique(battles.judge).size > 1:
        return shares_by_code(battles.judge, battles.judges, hits)
    if np.unique(battles.dataset).size > 1:
        return shares_by_code(battles.dataset, battles.datasets, hits)
    return ()


def shares_by_code(
    code: ArrayLike, names: tuple[str, ...], hits: ArrayLike
) -> tuple[Subgroup, ...]:
    """Return the share of hits for each code that occurs, in the order of the codes."""
    code, hits = np.asarray(code), np.asarray(hits, dtype=np.float64)
    total = np.bincount(code, minlength=len(names))
    found = np.bincount(code, hits, minlength=len(names))
    return tuple(
        Subgroup(names[c] or "(not named)", float(found[c] / total[c]), int(total[c]))
        for c in np.flatnonzero(total)
    )
