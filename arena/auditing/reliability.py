"""Decide from the figures whether the judge is reliable, to be used with caution, or unreliable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from arena.auditing.records import FLIP_RATE, AuditMetric, Estimate, Level, Trust

ENOUGH, ENOUGH_QUERIES = 20, 5
"""Observations, and queries that they are of, below which a figure decides nothing."""

TESTS = (FLIP_RATE, "qrels_accuracy", "people_accuracy", "grade_accuracy")
"""Without one of these nothing in a log has put the judge to a test."""


@dataclass(frozen=True, slots=True)
class ReliabilityLimit:
    """How far a figure may go."""

    side: Literal["above", "below", "from half"]  #: which way is bad
    care: float  #: beyond this, use with caution
    refuse: float | None  #: beyond this, unreliable; None: this figure alone never decides so
    sentence: str  #: what the figure means for people, ``{}`` in the value's place

    def excess(self, value: float, limit: float) -> float:
        """Return how far a value exceeds a limit; 0 or less is within it."""
        if self.side == "above":
            return value - limit
        if self.side == "below":
            return limit - value
        return abs(value - 0.5) - limit

    def settles(self, estimate: Estimate) -> bool:
        """Return whether the whole interval is on this side of ``refuse``."""
        ends = [e for e in (estimate.lower, estimate.upper) if e is not None]
        return self.refuse is None or all(self.excess(end, self.refuse) <= 0 for end in ends)

    def level(self, estimate: Estimate) -> Level:
        """Return the level of a figure; refuse only if its whole interval is beyond ``care``."""
        ends = [e for e in (estimate.lower, estimate.upper) if e is not None]
        sure = all(self.excess(end, self.care) > 0 for end in ends)
        if self.refuse is not None and sure and self.excess(estimate.value, self.refuse) > 0:
            return "unreliable"
        if self.excess(estimate.value, self.care) > 0:
            return "use with caution"
        return "reliable"


LIMITS: Mapping[str, ReliabilityLimit] = {
    FLIP_RATE: ReliabilityLimit(
        "above", 0.20, 0.40, "{} of verdicts flip when the lists are swapped"
    ),
    "first_preference": ReliabilityLimit(
        "from half", 0.10, 0.25, "the list shown first wins {} of decided battles"
    ),
    "qrels_accuracy": ReliabilityLimit(
        "below", 0.65, 0.55, "{} of winners agree with the relevance grades"
    ),
    "people_accuracy": ReliabilityLimit("below", 0.75, 0.60, "{} of winners agree with people"),
    "grade_accuracy": ReliabilityLimit(
        "below", 0.65, 0.55, "{} is the balanced accuracy of grades against people's"
    ),
    "repeat_consistency": ReliabilityLimit(
        "below", 0.90, 0.70, "{} of repeats give the same verdict"
    ),
    "panel_alpha": ReliabilityLimit("below", 0.67, 0.0, "Krippendorff's alpha of the panel is {}"),
    "cyclic_triads": ReliabilityLimit("above", 0.10, 0.25, "{} of triads of models are cycles"),
    "failure_rate": ReliabilityLimit("above", 0.02, 0.10, "{} of matchups have no verdict"),
    "longer_preference": ReliabilityLimit(
        "from half", 0.20, None, "the longer list wins {} of decided battles"
    ),
}
"""A coin flips 50% of swapped pairs, is right in 50%, and makes 25% of triads cycles."""


def trust(figures: Sequence[AuditMetric], *, by_construction: bool) -> Trust:
    """Return the worst level of any figure.

    Args:
        figures: of the card.
        by_construction: the judge is the relevance grades themselves.
    """
    enough = {
        figure.key: figure
        for figure in figures
        if figure.decides and (estimate := figure.estimate) is not None
        if estimate.n >= ENOUGH and estimate.n_queries >= ENOUGH_QUERIES
    }
    says = {
        key: limit.level(estimate)
        for key, limit in LIMITS.items()
        if key in enough and (estimate := enough[key].estimate) is not None
    }
    if by_construction:
        reason = "the judge is the relevance grades themselves, not an LLM; nothing is to be proved"
        return Trust("reliable", (), reason)
    for level in ("unreliable", "use with caution"):
        if keys := tuple(key for key, said in says.items() if said == level):
            return Trust(level, keys, "; ".join(_why(enough[key], level) for key in keys))
    if not any(key in enough for key in TESTS):
        reason = (
            f"nothing here tests it: no {ENOUGH} pairs in both orders on {ENOUGH_QUERIES} queries, "
            "no relevance grades and no labels of people for as many"
        )
        return Trust("use with caution", (), reason)
    tested = tuple(key for key in TESTS if key in enough)
    if not any(LIMITS[key].settles(_estimate(enough[key])) for key in tested):
        reason = "; ".join(map(_open, (enough[key] for key in tested)))
        return Trust("use with caution", tested, f"too few to tell: {reason}")
    return Trust("reliable", tested, "every figure that can be computed is within its limits")


def _estimate(figure: AuditMetric) -> Estimate:
    if figure.estimate is None:
        raise ValueError(f"{figure.key} has no estimate")
    return figure.estimate


def _open(figure: AuditMetric) -> str:
    estimate = _estimate(figure)
    sentence = LIMITS[figure.key].sentence.format(f"{estimate.value:.0%}")
    return f"{sentence} (95% interval {estimate.lower:.0%} to {estimate.upper:.0%})"


def _why(figure: AuditMetric, level: Level) -> str:
    limit = LIMITS[figure.key]
    bound = limit.refuse if level == "unreliable" else limit.care
    if bound is None:
        raise ValueError(f"{figure.key} alone makes no judge {level}")
    # One decimal more than the limit: otherwise 20.4% reads as 20% where 20% is allowed.
    spec, digits = (".0%", ".1%") if figure.unit == "share" else (".2f", ".3f")
    if limit.side == "from half":
        allowed = f"limits {0.5 - bound:{spec}} and {0.5 + bound:{spec}}"
    elif limit.side == "above":
        allowed = f"limit {bound:{spec}}"
    else:
        allowed = f"minimum {bound:{spec}}"
    return f"{limit.sentence.format(f'{_estimate(figure).value:{digits}}')} ({allowed})"
