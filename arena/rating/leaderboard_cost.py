"""Dollars a month beside the ratings of a leaderboard, and the model that both recommend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from arena.cost.formula import UNKNOWN_COST, Cost, Rates, monthly_costs
from arena.cost.recommend import Candidate, Gap, Recommendation, recommend
from arena.rating.leaderboard_records import Leaderboard, LeaderboardRow

if TYPE_CHECKING:
    from arena.config.usage import UsageConfig


@dataclass(frozen=True, slots=True)
class Ownership:
    """What each model of a leaderboard costs to own under one load."""

    usage: UsageConfig
    costs: Mapping[str, Cost]  #: by model, in the order of the overall table
    recommendation: Recommendation


def ownership(leaderboard: Leaderboard, usage: UsageConfig) -> Ownership:
    """Return what each model costs a month, and which one to take.

    Args:
        leaderboard: ratings, and what models take.
        usage: the load, and the prices beside the models.
    """
    costs = monthly_costs(all_rates(leaderboard), usage)
    candidates = [
        Candidate(costs[row.model], _rating(row), row.rank_lower == 1)
        for row in leaderboard.overall
    ]
    return Ownership(
        usage,
        {row.model: costs[row.model] for row in leaderboard.overall},
        recommend(candidates, leaderboard.gaps, usage),
    )


def all_rates(leaderboard: Leaderboard) -> dict[str, Rates]:
    """Return the rates of every model; of a log alone, all that a model costs is unknown."""
    return {row.model: UNKNOWN_COST for row in leaderboard.overall} | dict(leaderboard.rates)


def cost_inputs(leaderboard: Leaderboard) -> dict[str, Any]:
    """Return what a page needs to compute costs and recommendation for any load."""
    usage = leaderboard.usage
    return {
        "usage": None if usage is None else usage.model_dump(),
        "rates": {model: asdict(rates) for model, rates in all_rates(leaderboard).items()},
        "candidates": [
            {"model": row.model, "rating": _rating(row), "may_be_best": row.rank_lower == 1}
            for row in leaderboard.overall
        ],
        "gaps": _gaps(leaderboard),
    }


def _gaps(leaderboard: Leaderboard) -> list[list[Any]]:
    return [[gap.a, gap.b, gap.elo, gap.lower, gap.upper] for gap in leaderboard.gaps]


def _rating(row: LeaderboardRow) -> float | None:
    return row.rating if row.corrected is None else row.corrected


def cost_block(leaderboard: Leaderboard) -> dict[str, Any]:
    """Return the block ``cost`` of leaderboard.json; empty without a usage."""
    if leaderboard.usage is None:
        return {}
    owned = ownership(leaderboard, leaderboard.usage)
    step = {name: getattr(owned.recommendation, name) for name in ("step_up", "step_down")}
    return {
        "cost": {
            "usage": leaderboard.usage.model_dump(),
            "models": [asdict(cost) for cost in owned.costs.values()],
            "recommendation": {
                **asdict(owned.recommendation),
                **{
                    name: known and {**asdict(known), "preferred": known.preferred}
                    for name, known in step.items()
                },
            },
            "rates": {model: asdict(rates) for model, rates in leaderboard.rates.items()},
            "gaps": _gaps(leaderboard),
        }
    }


def with_cost_block(leaderboard: Leaderboard, tree: Mapping[str, Any]) -> Leaderboard:
    """Return a leaderboard with what `cost_block` wrote; unchanged if it wrote nothing."""
    if "cost" not in tree:
        return leaderboard
    # Importing pydantic takes time.
    from arena.config.section import checked_section  # noqa: PLC0415
    from arena.config.usage import UsageConfig  # noqa: PLC0415

    block = tree["cost"]
    return replace(
        leaderboard,
        rates={
            model: Rates(**{**rates, "below": tuple(rates["below"])})
            for model, rates in block["rates"].items()
        },
        usage=checked_section(UsageConfig, block["usage"], "leaderboard.json: cost.usage"),
        gaps=tuple(Gap(*gap) for gap in block["gaps"]),
    )
