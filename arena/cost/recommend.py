"""Choose a model by rating and dollars a month, and say so in sentences.

``static/cost.js`` of the site writes the same sentences in a browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

from arena.cost.formula import Cost

if TYPE_CHECKING:
    from arena.config.usage import UsageConfig

MANY_DIGITS: Final = 1e15
"""A greater number is written with an exponent: nobody reads its digits."""

ELO_SCALE: Final = 400.0
"""Elo points that make the odds of a battle ten to one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that one may take."""

    cost: Cost
    rating: float | None  #: on the Elo scale; None without a finite one
    may_be_best: bool  #: its rank interval contains 1

    @property
    def model(self) -> str:
        """Return its name."""
        return self.cost.model


@dataclass(frozen=True, slots=True)
class Gap:
    """The rating of ``a`` minus that of ``b``, Elo points; its interval holds for all pairs."""

    a: str
    b: str
    elo: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Step:
    """Another model, seen from the one that is recommended."""

    model: str
    usd_per_month: float  #: more than the recommended model; negative: less
    gap: Gap | None  #: from the recommended model to this one; None without intervals

    @property
    def preferred(self) -> float | None:
        """Return the expected share of battles that it wins, a tie counted as half."""
        return None if self.gap is None else 1 / (1 + 10 ** (-self.gap.elo / ELO_SCALE))


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The model to take, and what more or less money buys."""

    take: str | None  #: the cheapest model that may be best; None if no cost of those is known
    usd_per_month: float | None
    step_up: Step | None  #: the cheapest model that may be best, costs more and is rated higher
    step_down: Step | None  #: the best rated one of the cheaper models
    sentences: tuple[str, ...]  #: for people; the last one names the assumptions


def recommend(
    candidates: Sequence[Candidate], gaps: Sequence[Gap], usage: UsageConfig
) -> Recommendation:
    """Return the cheapest of the models that may be best, and the steps from it.

    May be best: no other model is significantly better, with all pairs tested at once. So the best
    model is among them with the confidence level of the leaderboard.

    Args:
        candidates: all models.
        gaps: of all pairs of them, in either order; none where there are no intervals.
        usage: the load of the costs.
    """
    between = {(gap.a, gap.b): gap for gap in gaps}
    between |= {(g.b, g.a): Gap(g.b, g.a, -g.elo, -g.upper, -g.lower) for g in gaps}
    best = [candidate for candidate in candidates if candidate.may_be_best]
    take = min((c for c in best if c.cost.per_month is not None), key=_cheapest, default=None)
    ending = (*_unknown(candidates), _assumed(candidates, usage))
    if take is None:
        return Recommendation(None, None, None, None, (_nothing(best), *ending))
    up = _step(take, min(_above(take, best), key=_cheapest, default=None), between)
    down = _step(take, min(_below(take, candidates), key=_worst_last, default=None), between)
    sentences = [_take(take, len(best), len(candidates))]
    sentences.append(_upwards(take, up))
    if down is not None:
        sentences.append(_downwards(take, down))
    return Recommendation(take.model, take.cost.per_month, up, down, (*sentences, *ending))


def _cheapest(candidate: Candidate) -> tuple[float, float, str]:
    cost = candidate.cost.per_month
    return cost or 0.0, -(candidate.rating or 0.0), candidate.model


def _worst_last(candidate: Candidate) -> tuple[float, float, str]:
    return -(candidate.rating or 0.0), candidate.cost.per_month or 0.0, candidate.model


def _above(take: Candidate, best: Sequence[Candidate]) -> list[Candidate]:
    return [c for c in best if _more(c, take) > 0 and (c.rating or 0.0) > (take.rating or 0.0)]


def _below(take: Candidate, candidates: Sequence[Candidate]) -> list[Candidate]:
    return [c for c in candidates if c.rating is not None and _more(c, take) < 0]


def _more(candidate: Candidate, take: Candidate) -> float:
    """Return how many dollars a month a model costs more; 0 if that is unknown."""
    cost, own = candidate.cost.per_month, take.cost.per_month
    return 0.0 if cost is None or own is None else cost - own


def _step(
    take: Candidate, candidate: Candidate | None, between: Mapping[tuple[str, str], Gap]
) -> Step | None:
    if candidate is None:
        return None
    return Step(candidate.model, _more(candidate, take), between.get((candidate.model, take.model)))


def _take(take: Candidate, n_best: int, n_models: int) -> str:
    lead = f"Take {take.model}: {dollars_per_month(take.cost.per_month)}"
    if n_best == 1:
        return f"{lead}, the only one of {n_models} models that may be best."
    return f"{lead}, the cheapest of the {n_best} models that may be best."


def _nothing(best: Sequence[Candidate]) -> str:
    if not best:
        return "No recommendation: there are no rank intervals yet; judge more queries."
    return "No recommendation: the cost of every model that may be best is unknown."


def _unknown(candidates: Sequence[Candidate]) -> list[str]:
    """Return who may be cheaper than it seems, and what to set in the arena.toml to find out."""
    unknown = [c for c in candidates if c.cost.per_month is None]
    best, others = (
        [_needs(c) for c in unknown if c.may_be_best is may_be] for may_be in (True, False)
    )
    lines = [f"May be best at an unknown cost: {', '.join(best)}."] if best else []
    return [*lines, f"Cost unknown: {', '.join(others)}."] if others else lines


def _needs(candidate: Candidate) -> str:
    return f"{candidate.model} (set {', '.join(candidate.cost.needs)})"


def _upwards(take: Candidate, step: Step | None) -> str:
    if step is None:
        return f"No model that may be best costs more and is rated higher than {take.model}."
    return (
        f"+{dollars_per_month(step.usd_per_month)} buys {step.model} with "
        f"{_rating_change(step, take.model)}."
    )


def _downwards(take: Candidate, step: Step) -> str:
    return (
        f"-{dollars_per_month(-step.usd_per_month)} is {step.model} with "
        f"{_rating_change(step, take.model)}."
    )


def _rating_change(step: Step, take: str) -> str:
    gap, preferred = step.gap, step.preferred
    if gap is None or preferred is None:
        return "another rating, whose interval is unknown"
    return (
        f"{signed(gap.elo)} Elo ({signed(gap.lower)} to {signed(gap.upper)}): its list is "
        f"preferred to that of {take} for {half_rounded_up(100 * preferred)}% of queries "
        "instead of 50%"
    )


def _assumed(candidates: Sequence[Candidate], usage: UsageConfig) -> str:
    per_document = usage.passages_per_document or 1.0
    passages = "" if per_document == 1 else f" of {number(per_document)} passages each"
    parts = [
        f"{number(usage.documents)} documents{passages}",
        f"{number(usage.queries_per_month)} queries a month",
        f"re-indexed {_times(usage.reindex_per_year)}",
        f"${number(usage.price_per_gb_month)} for a GB of vectors a month",
    ]
    if any(candidate.cost.machine_is_free for candidate in candidates):
        parts.append("no cost for the machine of local models (price_per_hour is not set)")
    return f"Assumed: {', '.join(parts)}."


def _times(per_year: float) -> str:
    if per_year in (0, 1):
        return "once a year" if per_year else "never"
    return f"{number(per_year)} times a year"


def half_rounded_up(value: float, digits: int = 0) -> str:
    """Return a number with this many decimals and commas between thousands, half rounded up."""
    if abs(value) >= MANY_DIGITS:
        return f"{value:.2e}"
    exact = Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{abs(exact) if exact == 0 else exact:,}"


def number(value: float) -> str:
    """Return a number as people write it: ``1000000.0`` → ``1,000,000``, ``0.330`` → ``0.33``."""
    whole, _, decimals = half_rounded_up(value, 6).partition(".")
    decimals = decimals.rstrip("0")
    return f"{whole}.{decimals}" if decimals else whole


def signed(value: float) -> str:
    """Return Elo points with their sign: ``+35``, ``-4``, ``0``."""
    text = half_rounded_up(value)
    return f"+{text}" if value > 0 and text != "0" else text


def rounded_dollars(value: float) -> str:
    """Return dollars: cents below a hundred, none above, never 0 for less than a cent."""
    if 0 < value < 0.005:
        return "under $0.01"
    return f"${half_rounded_up(value, 2 if value < 99.995 else 0)}"


def dollars_per_month(value: float | None) -> str:
    """Return dollars a month, or that they are unknown."""
    return "unknown" if value is None else f"{rounded_dollars(value)} a month"
