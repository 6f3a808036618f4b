"""How far two judges' ratings of the same battles agree: order, pairs, and each model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.auditing.estimates import LEVEL, kendall_tau
from arena.auditing.records import AuditMetric, Estimate, Subgroup, missing_metric
from arena.battles.load import Battles
from arena.rating import bradley_terry
from arena.rating.bootstrap import bootstrap
from arena.rating.bradley_terry import ELO_PER_LOGIT, to_elo
from arena.rating.comparisons import (
    Comparisons,
    DisconnectedError,
    Floats,
)
from arena.rating.fit import Fit
from arena.rating.inference import Certainty, from_sandwich, tail_of
from arena.rating.influence import influences
from arena.rating.leaderboard import dataset_weights
from arena.rating.rate_rows import comparisons_of
from arena.rating.sequential_tests import SEARCH_PRIOR
from arena.rating.student import student_quantile

DRAWS: Final = 1000


@dataclass(frozen=True, slots=True)
class JudgeRatings:
    """The ratings that one judge's verdicts give."""

    comparisons: Comparisons
    fit: Fit
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class Moved:
    """A model's rating by both judges; Elo points."""

    model: str
    first: float  #: by the first judge
    second: float
    difference: float  #: second less first
    lower: float  #: of its interval, which holds for all models at once
    upper: float

    @property
    def is_sure(self) -> bool:
        """Return whether the rating differs by more than chance explains."""
        return self.lower > 0 or self.upper < 0


@dataclass(frozen=True, slots=True)
class PairCounts:
    """What the second judge does with the pairs of models that the first one surely separates."""

    separated: int  #: by the first judge, with certainty over all pairs at once
    confirmed: int  #: of them, surely in the same order by the second
    other_way: int  #: surely separated by either judge, and in the other order by the other one
    contradicted: tuple[tuple[str, str], ...]
    """Surely in the other order: the model that is better by the first judge, then the other."""


def rate_both(battles: Battles, second: Battles) -> tuple[JudgeRatings, JudgeRatings]:
    """Return the ratings by both judges' verdicts on the same battles, row by row.

    Where one of them has no finite ratings, both are fitted with the same weak prior.
    """
    models, weight = battles.models, dataset_weights(battles)
    both = [comparisons_of(each, models, weight) for each in (battles, second)]
    try:
        fits = [bradley_terry.fit(comparisons) for comparisons in both]
    except DisconnectedError:
        fits = [bradley_terry.fit(comparisons, prior=SEARCH_PRIOR) for comparisons in both]
    first, other = (
        JudgeRatings(comparisons, fit, from_sandwich(fit, level=LEVEL))
        for comparisons, fit in zip(both, fits, strict=True)
    )
    return first, other


def moved_models(
    models: tuple[str, ...], first: JudgeRatings, second: JudgeRatings, *, level: float = LEVEL
) -> tuple[Moved, ...]:
    """Return each model's two ratings, those that differ most first.

    The variance of a difference is that of the sums over queries of both judges' influence
    functions (Liang and Zeger 1986, doi:10.1093/biomet/73.1.13). It is taken query by query, so
    what both judges share cancels out. Student's t at the queries that a rating rests on; the level
    is shared out over the models (Bonferroni).
    """
    influence = influences(second.comparisons, second.fit) - influences(
        first.comparisons, first.fit
    )
    effective = np.minimum(first.fit.rating_df, second.fit.rating_df) + 1
    variance = (influence**2).sum(axis=0) * effective / np.maximum(effective - 1, 1e-9)
    tail = tail_of(level) / len(models)
    reach = student_quantile(tail, np.maximum(effective - 1, 1.0)) * np.sqrt(variance)
    difference = second.fit.theta - first.fit.theta
    columns = (
        to_elo(first.fit.theta),
        to_elo(second.fit.theta),
        ELO_PER_LOGIT * difference,
        ELO_PER_LOGIT * (difference - reach),
        ELO_PER_LOGIT * (difference + reach),
    )
    rows = [
        Moved(model, *values)
        for model, *values in zip(models, *(column.tolist() for column in columns), strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (-abs(row.difference), row.model)))


def pair_counts(models: tuple[str, ...], first: JudgeRatings, second: JudgeRatings) -> PairCounts:
    """Return what the second judge does with the pairs that the first one surely separates."""
    better = first.certainty.better
    reversed_ = better & _below(second) | second.certainty.better & _below(first)
    surely = np.argwhere(better & second.certainty.better.T)
    return PairCounts(
        separated=int(better.sum()),
        confirmed=int((better & second.certainty.better).sum()),
        other_way=int((reversed_ | reversed_.T).sum()) // 2,
        contradicted=tuple((models[i], models[j]) for i, j in surely.tolist()),
    )


def _below(rated: JudgeRatings) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = rated.fit.theta[:, None] < rated.fit.theta[None, :]
    return below


def rank_correlation(
    first: JudgeRatings, second: JudgeRatings, *, seed: int = 0
) -> tuple[Estimate | None, Estimate | None]:
    """Return Kendall's tau-b of the two rankings, and the slope of the second ratings.

    The slope is what the second judge sees of a difference that the first one sees, on average.
    Each draw of the Bayesian bootstrap (Rubin 1981, doi:10.1214/aos/1176345338) weighs the queries
    alike for both judges and fits both again. A draw is noisier than the data, and noise only
    lowers both figures, so the draws lie too low. The lower end is still their percentile. The
    upper end is the percentile, or the lower one reflected at the value if that is higher (Efron
    and Tibshirani 1993, *An Introduction to the Bootstrap*, chapter 13). So it is rather too wide.

    Returns:
        None instead of a figure that needs models of different ratings.
    """
    draws = None
    if first.fit.n_clusters > 1:
        draws = tuple(
            bootstrap(each.comparisons, each.fit, n=DRAWS, seed=seed) for each in (first, second)
        )
    estimates: list[Estimate | None] = []
    for statistic, highest in ((kendall_tau, 1.0), (slope, np.inf)):
        value = float(statistic(first.fit.theta[None], second.fit.theta[None])[0])
        lower = upper = None
        if draws is not None:
            drawn = statistic(*draws)
            ends = np.quantile(drawn[np.isfinite(drawn)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            lower = float(ends[0])
            upper = float(min(max(ends[1], 2 * value - lower), highest))
        estimate = Estimate(value, lower, upper, len(first.fit.theta), first.fit.n_clusters)
        estimates.append(estimate if np.isfinite(value) else None)
    return estimates[0], estimates[1]


def slope(first: Floats, second: Floats) -> Floats:
    """Return Σ a b / Σ a² of each row of two tables of centred ratings, (n, m) each → (n,)."""
    squares = (first**2).sum(axis=1)
    along = np.divide(
        (first * second).sum(axis=1), squares, out=np.full(len(first), np.nan), where=squares > 0
    )
    found: Floats = along
    return found


def model_order_figures(
    first: JudgeRatings, second: JudgeRatings, pairs: PairCounts
) -> tuple[AuditMetric, ...]:
    """Return how stable the order of the models is, and how much of it the second judge sees."""
    tau, along = rank_correlation(first, second)
    named = (
        (
            ("rank_tau", "both rank the models alike (Kendall's tau)"),
            tau,
            "1: the same order of models; 0: unrelated; −1: the opposite order",
        ),
        (
            ("slope", "what the second sees of the first's differences"),
            along,
            "1: all of it; 0.5: half, so it needs about four times the battles; 0: nothing",
        ),
    )
    ranks = [
        missing_metric(*names, "all ratings are the same", "coefficient")
        if estimate is None
        else AuditMetric(*names, "coefficient", estimate, "models", meaning)
        for names, estimate, meaning in named
    ]
    title, n_queries = "sure pairs stay sure and in order", first.fit.n_clusters
    confirmed = missing_metric(
        "pairs_confirmed", title, "the first judge surely separates no two models"
    )
    if pairs.separated:
        value = Estimate(pairs.confirmed / pairs.separated, None, None, pairs.separated, n_queries)
        parts = (
            Subgroup("in the other order", pairs.other_way / pairs.separated, pairs.separated),
            Subgroup(
                "surely in the other order",
                len(pairs.contradicted) / pairs.separated,
                pairs.separated,
            ),
        )
        meaning = "of the pairs that the first judge surely separates"
        confirmed = AuditMetric(
            "pairs_confirmed", title, "share", value, "sure pairs", meaning, parts
        )
    return *ranks, confirmed
