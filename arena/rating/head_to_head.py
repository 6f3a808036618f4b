"""One model against another: the difference of their ratings, and their battles query by query.

A is the model that is there, B the one that may replace it: a difference above 0 is in B's favour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arena.battles.coded_columns import MODEL_A, MODEL_B
from arena.battles.load import Battles
from arena.errors import UsageError
from arena.rating import bradley_terry
from arena.rating.bradley_terry import ELO_PER_LOGIT
from arena.rating.comparisons import Comparisons, DisconnectedError, clusters
from arena.rating.fit import Fit
from arena.rating.inference import from_sandwich, tail_of
from arena.rating.influence import influences
from arena.rating.leaderboard import as_rated, dataset_weights
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.panel_votes import first_scores, only_judge
from arena.rating.rate_rows import comparisons_of
from arena.rating.sequential_tests import FIRST_LOOK, SEARCH_PRIOR, sequence_width
from arena.rating.student import student_quantile
from arena.terminal import listing

Change = Literal["worse", "not worse", "undecided"]


@dataclass(frozen=True, slots=True)
class Difference:
    """B's rating minus A's, Elo points, from all battles of all models."""

    elo: float
    lower: float  #: of its interval, for one look
    upper: float
    p_better: float  #: how sure it is that B is better, 0 to 1
    queries: float  #: that it rests on, effectively
    least: float  #: B is no worse than this, and
    most: float  #: no better than this, each with probability `level` at all looks together
    level: float

    def change(self, tolerance: float = 0.0) -> Change:
        """Return whether B is surely worse than A by more than ``tolerance`` Elo points.

        You may ask after every battle. However often you look, at most 1 − `level` of all runs
        call a B worse that is not.
        """
        if self.most < -tolerance:
            return "worse"
        return "not worse" if self.least >= -tolerance else "undecided"


@dataclass(frozen=True, slots=True)
class QueryOutcome:
    """How B did against A on one query."""

    dataset: str
    query_id: str  #: "" where the log names none
    points: float  #: mean over the battles: 1 all won, 0.5 even, 0 all lost
    n_battles: int
    weight_elo: float = 0.0
    """By how much the query moves B's rating minus A's, with its battles against other models."""


@dataclass(frozen=True, slots=True)
class HeadToHead:
    """Two models against each other."""

    a: str
    b: str
    difference: Difference
    wins: int  #: battles that B won against A
    ties: int
    losses: int
    outcomes: tuple[QueryOutcome, ...]  #: by query, those that weigh most against B first
    same_lists: bool = False  #: both show the same documents for every query
    notes: tuple[str, ...] = ()

    def change(self, tolerance: float = 0.0) -> Change:
        """Return whether B is surely worse than A; with the same lists it is not."""
        return "not worse" if self.same_lists else self.difference.change(tolerance)


def head_to_head(
    verdicts: Battles, a: str, b: str, *, settings: RatingSettings | None = None
) -> HeadToHead:
    """Return how B differs from A, by the ratings of the whole log and by their own battles.

    Args:
        verdicts: of all models; those that are neither A nor B help to rate both.
        a: the model that is there.
        b: the model that may replace it.
        settings: of the rating; its method is always Bradley-Terry.

    Raises:
        UsageError: a model is not in the log, or both are the same.
    """
    settings = settings or RatingSettings()
    settings.check()
    _check_models(verdicts, a, b)
    if settings.judge is not None:
        verdicts = only_judge(verdicts, settings.judge)
    battles = as_rated(verdicts, settings)
    _check_models(battles, a, b)
    comparisons = comparisons_of(battles, battles.models, dataset_weights(battles))
    fitted, notes = _fit(comparisons, settings)
    code_a, code_b = (battles.models.index(model) for model in (a, b))
    difference = _difference(fitted, code_a, code_b, settings.level)
    met = np.flatnonzero(_between(battles, code_a, code_b) | _between(battles, code_b, code_a))
    direct = battles.take(met)
    b_first = direct.model_a == code_b
    added = influences(comparisons, fitted)
    weight = (added[:, code_b] - added[:, code_a]) * ELO_PER_LOGIT
    won = (direct.winner == MODEL_A) & b_first | (direct.winner == MODEL_B) & ~b_first
    lost = (direct.winner == MODEL_B) & b_first | (direct.winner == MODEL_A) & ~b_first
    if not len(direct):
        notes = (*notes, f"{a} and {b} never met: their difference rests on battles with others")
    return HeadToHead(
        a,
        b,
        difference,
        wins=int(won.sum()),
        ties=int((~won & ~lost).sum()),
        losses=int(lost.sum()),
        outcomes=_outcomes(direct, b_first, weight[clusters(comparisons).code[met]]),
        same_lists=bool(len(direct) and direct.identical is not None and direct.identical.all()),
        notes=(*battles.notes, *notes),
    )


def _check_models(battles: Battles, a: str, b: str) -> None:
    if a == b:
        raise UsageError(f"{a!r} is compared with itself; name two models")
    for model in (a, b):
        if model not in battles.models:
            known = listing(list(battles.models))
            raise UsageError(f"no battle of {model!r}; the models of the log: {known}")


def _fit(comparisons: Comparisons, settings: RatingSettings) -> tuple[Fit, tuple[str, ...]]:
    """Return ratings that are finite even if a model lost everything, and what was done for it."""
    try:
        fitted = bradley_terry.fit(comparisons, position=settings.position, prior=settings.prior)
    except DisconnectedError:
        fitted = bradley_terry.fit(comparisons, position=settings.position, prior=SEARCH_PRIOR)
        why = "some models won or lost everything"
        return fitted, (f"{why}: ratings are finite by a prior of {SEARCH_PRIOR:g}",)
    return fitted, ()


def _difference(fitted: Fit, a: int, b: int, level: float) -> Difference:
    """Return B minus A in Elo, with its interval now and its bounds at all looks."""
    elo = float(fitted.theta[b] - fitted.theta[a]) * ELO_PER_LOGIT
    se = float(fitted.difference_se[b, a]) * ELO_PER_LOGIT
    df = fitted.difference_df[b, a]
    reach = float(student_quantile(tail_of(level), np.array([df]))[0]) * se
    always = np.inf
    if df + 1 >= FIRST_LOOK - 1e-6:
        # One side each: either bound alone may fail in 1 − level of all runs.
        always = float(sequence_width(np.array([df + 1]), level=2 * level - 1)[0]) * se
    return Difference(
        elo=elo,
        lower=elo - reach,
        upper=elo + reach,
        p_better=float(from_sandwich(fitted, level=level).p_better[b, a]),
        queries=float(df) + 1,
        least=elo - always,
        most=elo + always,
        level=level,
    )


def _between(battles: Battles, first: int, second: int) -> NDArray[np.bool_]:
    rows: NDArray[np.bool_] = (battles.model_a == first) & (battles.model_b == second)
    return rows


def _outcomes(
    direct: Battles, b_first: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[QueryOutcome, ...]:
    """Return each query's outcome, those that weigh most against B first."""
    score = first_scores(direct)
    points = np.where(b_first, score, 1 - score)
    queries, query_code = np.unique(direct.query, return_inverse=True)
    count = np.bincount(query_code, minlength=len(queries))
    mean = np.bincount(query_code, points, minlength=len(queries)) / np.maximum(count, 1)
    first_row = np.zeros(len(queries), dtype=np.intp)
    first_row[query_code[::-1]] = np.arange(len(query_code))[::-1]
    outcomes = [
        QueryOutcome(
            dataset=direct.datasets[direct.dataset[row]],
            query_id=_query_id(direct, row),
            points=float(mean[number]),
            n_battles=int(count[number]),
            weight_elo=float(weight[row]),
        )
        for number, row in enumerate(first_row.tolist())
    ]
    return tuple(sorted(outcomes, key=_order))


def _order(outcome: QueryOutcome) -> tuple[float, float, str, str]:
    # Equal weights may differ by rounding.
    weight = round(outcome.weight_elo, 6)
    return weight, outcome.points, outcome.dataset, outcome.query_id


def _query_id(battles: Battles, row: int) -> str:
    return "" if battles.query_id is None else battles.query_ids[battles.query_id[row]]


def split_by_outcome(outcomes: Sequence[QueryOutcome]) -> tuple[int, int, int]:
    """Return on how many queries B won, tied and lost."""
    won = sum(outcome.points > 0.5 for outcome in outcomes)
    lost = sum(outcome.points < 0.5 for outcome in outcomes)
    return won, len(outcomes) - won - lost, lost
