"""What people say of battles and documents, and what the estimates that use it have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from arena.rating.comparisons import Floats, Ints

Correct = Literal["auto", "battles", "documents", "shrink", "none"]
"""Which labels correct ratings, and how; ``auto``: documents where a judge graded them, else
battles, else documents."""


@dataclass(frozen=True, slots=True)
class SampledLabel:
    """What people say of one item, and how many items it stands for."""

    value: float  #: battle: score of the model that sorts first; document: gain, 0 to 1
    inverse: float  #: 1 / probability of being asked and answered


@dataclass(frozen=True, slots=True)
class PeoplesLabels:
    """Labels of known probability, and what lies beside them."""

    people: int = 0  #: who answered
    battles: Mapping[tuple[str, str, str, str], SampledLabel] = field(default_factory=dict)
    """(data set, query_id, two models, sorted) → answer."""
    documents: Mapping[tuple[str, str, str], SampledLabel] = field(default_factory=dict)
    """(data set, query_id, doc_id) → answer."""
    lists: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]] = field(default_factory=dict)
    """Data set → model → query_id → doc_ids shown, best first; needed for documents."""
    gains: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    """(data set, query_id, doc_id) → gain by the judge, 0 to 1; empty for a judge of lists."""
    top_k: int = 0  #: documents of a list that count
    notes: tuple[str, ...] = ()  #: what a reader should know, such as how many did not answer


GREATEST_ERROR = 300 * np.log(10) / 400
"""Largest standard deviation of a judge's error that `shrink` allows, logits: 300 Elo."""

_GRID = 301
"""Standard deviations from 0 to the greatest that `shrink` tries."""

_FLOOR = 0.01
"""Share of the mean variance that no direction of a rectifier falls below."""


@dataclass(frozen=True, slots=True)
class LabelEstimate:
    """Ratings that people's labels correct."""

    theta: Floats  #: mean 0, (m,)
    covariance: Floats  #: of theta, clustered by query, (m, m)
    df: float  #: degrees of freedom of the covariance
    judge_weight: float  #: λ: 0 uses people alone, 1 the judge with its mean error removed
    label_part: Floats  #: the part of the covariance that comes from labelling a sample, (m, m)
    one_step: bool = False  #: no finite solution exists: one Newton step from the judge's ratings


@dataclass(frozen=True, slots=True)
class JudgeError:
    """The standard deviation of a judge's systematic errors over models, logits."""

    sd: float  #: root of the posterior mean of its square
    lower: float  #: of a central 95% posterior interval
    upper: float


def meat(scores: Floats, stratum: Ints | None = None) -> Floats:
    """Return Σ_s Q_s/(Q_s − 1) Σ_q (s_q − s̄)(s_q − s̄)ᵀ, (m, m).

    Args:
        scores: of each query, (n_queries, m).
        stratum: the data set of each query; one if absent.
    """
    total = np.zeros((scores.shape[1], scores.shape[1]))
    for part in _parts(scores, stratum):
        total += _scatter(part)
    return total


def degrees_of_freedom(moves: Floats, labelled: Floats, stratum: Ints | None = None) -> float:
    """Return the degrees of freedom of the clustered variance: labelled queries less one.

    Several data sets are put together by Satterthwaite's rule (1946, doi:10.2307/3002019). A data
    set without labels counts all its queries: what varies there is the judge's part.

    Args:
        moves: what each query adds to the ratings, (n_queries, m).
        labelled: labels of each query, (n_queries,).
        stratum: the data set of each query; one if absent.
    """
    shares, doubts = 0.0, 0.0
    counts = _parts(labelled, stratum)
    for part, own in zip(_parts(moves, stratum), counts, strict=True):
        n = int(np.count_nonzero(own)) or len(own)
        share = float(np.trace(_scatter(part)))
        shares += share
        doubts += share**2 / max(n - 1, 1)
    return max(shares**2 / doubts, 1.0) if doubts > 0 else 1.0


def shrink(
    theta: Floats,
    covariance: Floats,
    rectifier: Floats,
    *,
    stratum: Ints | None = None,
    greatest: float = GREATEST_ERROR,
) -> tuple[Floats, Floats, JudgeError]:
    """Add the shrunk rectifier to the judge's ratings (empirical Bayes, arXiv:2502.14166).

    Assumes that the judge's errors are exchangeable over models, normal with mean 0: a judge
    that favours one known group of models breaks it. The variance s² is its posterior mean, with
    s uniform on 0 to 300 Elo.

    Args:
        theta: the judge's ratings, mean 0, (m,).
        covariance: of theta, (m, m).
        rectifier: of each query, (n_queries, m); its sum estimates people minus judge.
        stratum: the data set of each query; one if absent.
        greatest: the largest s that is thought possible, in the unit of theta.

    Returns:
        The ratings, their covariance, and the size of the judge's error.
    """
    m = len(theta)
    centre = np.eye(m) - 1 / m
    delta = centre @ rectifier.sum(axis=0)
    noise = meat(rectifier, stratum)
    error = judge_error(delta, noise, greatest=greatest)
    squared = error.sd**2
    ridge = (squared + _FLOOR * np.trace(noise) / m) * np.eye(m)
    weight = squared * centre @ np.linalg.inv(noise + ridge) @ centre if squared else 0 * centre
    return theta + weight @ delta, covariance + weight @ noise, error


def judge_error(delta: Floats, noise: Floats, *, greatest: float = GREATEST_ERROR) -> JudgeError:
    """Estimate how large a judge's systematic errors are, from people minus judge.

    Args:
        delta: estimated errors of the judge, with the sign of people minus judge, (m,).
        noise: their covariance, (m, m).
        greatest: the largest standard deviation that is thought possible.
    """
    m = len(delta)
    centre = np.eye(m) - 1 / m
    values, vectors = np.linalg.eigh(centre @ noise @ centre)
    values = np.maximum(values[1:], _FLOOR * values.mean())
    squares = (vectors.T @ delta)[1:] ** 2
    sd = np.linspace(0, greatest, _GRID)
    variance = values + sd[:, None] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):  # no noise and no error: 0/0 at s = 0
        log = -0.5 * (np.log(variance) + squares / variance).sum(axis=1)
    log = np.where(np.isfinite(log), log, -np.inf)
    mass = np.exp(log - log.max())
    mass /= mass.sum()
    lower, upper = np.interp([0.025, 0.975], np.cumsum(mass), sd)
    return JudgeError(float(np.sqrt(mass @ sd**2)), float(lower), float(upper))


def per_query(
    value: Floats, first: Ints, second: Ints, query: Ints, shape: tuple[int, int]
) -> Floats:
    """Return Σ value (e_first − e_second) over the rows of each query, (n_queries, n_models)."""
    n, m = shape
    won = np.bincount(query * m + first, value, n * m)
    lost = np.bincount(query * m + second, value, n * m)
    return np.asarray((won - lost).reshape(n, m), dtype=np.float64)


def _parts(values: Floats, stratum: Ints | None) -> list[Floats]:
    if stratum is None:
        return [values]
    return [values[stratum == code] for code in np.unique(stratum)]


def _scatter(scores: Floats) -> Floats:
    n = len(scores)
    if n < 2:
        return np.asarray(scores.T @ scores, dtype=np.float64)
    away = scores - scores.mean(axis=0)
    return np.asarray(n / (n - 1) * away.T @ away, dtype=np.float64)
