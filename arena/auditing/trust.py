"""From figures to one sentence: believe the judge, believe it with care, or do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from arena.auditing.records import AuditMetric, Estimate, Level, Trust

ENOUGH, ENOUGH_QUERIES = 20, 5
"""Observations, and queries that they are of, below which a figure decides nothing."""

TESTS = ("reversal", "qrels_accuracy", "people_accuracy")
"""Without one of these nothing in a log has put the judge to a test."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How far a figure may go."""

    side: Literal["above", "below", "from half"]  #: which way is bad
    care: float  #: beyond this, believe with care
    refuse: float | None  #: beyond this, do not believe; None: this figure alone never says so

    def excess(self, value: float, limit: float) -> float:
        """How far a value is beyond a limit; 0 or less is within."""
        if self.side == "above":
            return value - limit
        if self.side == "below":
            return limit - value
        return abs(value - 0.5) - limit

    def settles(self, estimate: Estimate) -> bool:
        """Whether the whole interval is on this side of ``refuse``."""
        ends = [e for e in (estimate.lower, estimate.upper) if e is not None]
        return self.refuse is None or all(self.excess(end, self.refuse) <= 0 for end in ends)

    def level(self, estimate: Estimate) -> Level:
        """What a figure says. It refuses only if its whole interval is beyond ``care``."""
        ends = [e for e in (estimate.lower, estimate.upper) if e is not None]
        sure = all(self.excess(end, self.care) > 0 for end in ends)
        if self.refuse is not None and sure and self.excess(estimate.value, self.refuse) > 0:
            return "do not believe"
        if self.excess(estimate.value, self.care) > 0:
            return "believe with care"
        return "believable"


LIMITS: Mapping[str, Limit] = {
    "reversal": Limit("above", 0.20, 0.40),
    "first_preference": Limit("from half", 0.10, 0.25),
    "qrels_accuracy": Limit("below", 0.65, 0.55),
    "people_accuracy": Limit("below", 0.75, 0.60),
    "repeat_consistency": Limit("below", 0.90, 0.70),
    "panel_alpha": Limit("below", 0.67, 0.0),
    "cyclic_triads": Limit("above", 0.10, 0.25),
    "failure_rate": Limit("above", 0.02, 0.10),
    "longer_preference": Limit("from half", 0.20, None),
}
"""A coin reverses 50% of swapped pairs, is right in 50%, and closes 25% of triads to a circle."""


def trust(figures: Sequence[AuditMetric], *, by_construction: bool) -> Trust:
    """The worst that any figure says decides.

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
        return Trust("believable", (), reason)
    for level in ("do not believe", "believe with care"):
        if keys := tuple(key for key, said in says.items() if said == level):
            return Trust(level, keys, "; ".join(_why(enough[key], level) for key in keys))
    if not any(key in enough for key in TESTS):
        reason = (
            f"nothing here tests it: no {ENOUGH} pairs in both orders on {ENOUGH_QUERIES} queries, "
            "no relevance grades and no labels of people for as many"
        )
        return Trust("believe with care", (), reason)
    tested = tuple(key for key in TESTS if key in enough)
    if not any(LIMITS[key].settles(_estimate(enough[key])) for key in tested):
        reason = "; ".join(map(_open, (enough[key] for key in tested)))
        return Trust("believe with care", tested, f"too few to tell: {reason}")
    return Trust("believable", tested, "every figure that can be computed is within its limits")


def _estimate(figure: AuditMetric) -> Estimate:
    if figure.estimate is None:
        raise ValueError(f"{figure.key} has no estimate")
    return figure.estimate


def _open(figure: AuditMetric) -> str:
    estimate = _estimate(figure)
    span = f"anything from {estimate.lower:.0%} to {estimate.upper:.0%}"
    return f"{figure.title}: {estimate.value:.0%}, which may be {span}"


def _why(figure: AuditMetric, level: Level) -> str:
    limit, estimate = LIMITS[figure.key], figure.estimate
    refused = level == "do not believe"
    bound = limit.refuse if refused else limit.care
    if estimate is None or bound is None:
        return figure.title
    # One decimal more than the limit, lest 20.4% be shown as 20% where 20% is allowed.
    shown, digits = (".0%", ".1%") if figure.unit == "share" else (".2f", ".3f")
    if limit.side == "from half":
        ends = f"{0.5 - bound:{shown}} to {0.5 + bound:{shown}}"
        rule = f"outside {ends} is not believable" if refused else f"{ends} is believable"
    elif refused:
        more = "more" if limit.side == "above" else "less"
        rule = f"{more} than {bound:{shown}} is not believable"
    else:
        most = "most" if limit.side == "above" else "least"
        rule = f"at {most} {bound:{shown}} is believable"
    return f"{figure.title}: {estimate.value:{digits}} ({rule})"
