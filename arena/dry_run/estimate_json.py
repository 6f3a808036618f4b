"""A dry run as JSON, with the same numbers as the lines that people read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from arena.dry_run.estimate import JudgeEstimate, RunEstimate
from arena.dry_run.plans import PlanEstimate, PlanTable
from arena.dry_run.search_forecast import Forecast, SearchForecast

Tree = dict[str, Any]


def to_json(estimate: RunEstimate) -> Tree:
    """Return the estimate as ``arena battle --dry-run --json`` prints it; None if unknown."""
    return {
        "battles": estimate.n_battles,
        "in_log": estimate.n_battles - estimate.n_unplayed,
        "calls": estimate.n_calls,
        "input_tokens": estimate.input_tokens,
        "output_tokens": estimate.output_tokens,
        "cost_usd": estimate.cost_usd,
        "max_usd": estimate.max_usd,
        "spent_usd": estimate.spent_usd,
        "judges": [_judge(each) for each in estimate.judges],
        "to_retrieve": [
            {
                "dataset": run.dataset,
                "model": run.model,
                "calls": run.calls,
                "tokens": run.tokens,
                "cost_usd": run.cost_usd,
            }
            for run in estimate.unretrieved
        ],
        "plans": estimate.plans and _plans(estimate.plans),
        "search": estimate.search and _search(estimate.search),
    }


def _judge(estimate: JudgeEstimate) -> Tree:
    return {
        "judge": estimate.judge,
        "kind": estimate.kind,
        "battles": estimate.n_battles,
        "in_log": estimate.n_battles - estimate.n_unplayed,
        "free": estimate.n_free,
        "under_way": estimate.n_under_way,
        "calls": estimate.n_calls,
        "controls": estimate.n_controls,
        "input_tokens": estimate.input_tokens,
        "output_tokens": estimate.output_tokens,
        "cost_usd": estimate.cost_usd,
        "tokenizer": estimate.tokenizer,
        "seconds": estimate.time.seconds,
        "seconds_by": estimate.time.why,
    }


def _plans(table: PlanTable) -> Tree:
    return {
        "queries": table.plans[0].n_queries,
        "variance_by": "log" if table.pilot else "public logs",
        "options": [_plan(each) for each in table.plans],
        "advice": table.advice,
    }


def _plan(estimate: PlanEstimate) -> Tree:
    option = estimate.option
    return {
        "plan": option.plan,
        "orders": option.orders,
        "top_k": option.top_k,
        "pairs_per_query": option.pairs_per_query,
        "is_present": estimate.is_present,
        "calls": estimate.n_calls,
        "tokens": estimate.tokens,
        "cost_usd": estimate.cost_usd,
        "half_width_elo": estimate.half_width_elo
        if math.isfinite(estimate.half_width_elo)
        else None,
    }


def _search(search: SearchForecast) -> Tree:
    return {
        "option": search.rule.option.strip(),
        "forecasts": [_forecast(each) for each in search.forecasts],
    }


def _forecast(forecast: Forecast) -> Tree:
    outcomes = forecast.outcomes
    return {
        "assumption": forecast.assumption,
        "simulations": len(outcomes),
        "decided": forecast.decided,
        "calls": _ends(outcome.calls for outcome in outcomes),
        "cost_usd": _ends(outcome.cost_usd for outcome in outcomes) if forecast.priced else None,
        "models_left": _ends(
            outcome.n_left for outcome in outcomes if not outcome.decided and forecast.of_best
        ),
    }


def _ends(values: Iterable[float]) -> Tree | None:
    """Return the 10th and the 90th percentile; None of no values."""
    numbers = list(values)
    if not numbers:
        return None
    low, high = np.quantile(numbers, [0.1, 0.9])
    return {"p10": float(low), "p90": float(high)}
