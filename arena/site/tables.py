"""The leaderboard's rows, with every key filled and a rank by each headline figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from arena.rating.leaderboard_files import METRICS, row_to_json
from arena.rating.leaderboard_records import LeaderboardRow, ModelFacts
from arena.site.records import TableRow

_ABSENT = dict.fromkeys((*METRICS, "latency_ms", *(fact.name for fact in fields(ModelFacts))))
_FIGURES = 6
"""Significant figures: more than anyone reads, fewer bytes than a float has."""


def ranked_rows(rows: Sequence[LeaderboardRow]) -> list[TableRow]:
    """Return the rows of one table as in leaderboard.json, with null for unknown values.

    Beside them: how many models the table has, whether a model may be the best, and its place by
    Elo, win rate, nDCG@10 and mean latency. The first place is 1, and equal values share a place.
    """
    ranks: dict[str, Sequence[int | None]] = {
        "elo_rank": _ranks(rows, lambda row: row.elo),
        "win_rate_rank": _ranks(rows, lambda row: row.record.win_rate),
        "ndcg_rank": _ranks(rows, lambda row: row.metrics.get("ndcg@10")),
        "latency_rank": _ranks(rows, lambda row: -row.latency.mean_ms if row.latency else None),
    }
    return [
        {
            **_ABSENT,
            **{key: six_digits(cell) for key, cell in row_to_json(row).items()},
            "tied_with_first": row.rank_lower == 1,
            **{key: places[number] for key, places in ranks.items()},
            "n_models": len(rows),
        }
        for number, row in enumerate(rows)
    ]


def six_digits(cell: Any) -> Any:
    """Return a figure, or a mapping of figures, to six significant digits; others unchanged."""
    if isinstance(cell, float):
        return float(f"{cell:.{_FIGURES}g}")
    if isinstance(cell, dict):
        return {key: six_digits(value) for key, value in cell.items()}
    return cell


def _ranks(
    rows: Sequence[LeaderboardRow], figure: Callable[[LeaderboardRow], float | None]
) -> list[int | None]:
    """Return 1 + how many have a greater figure; None for a row without one."""
    values = [figure(row) for row in rows]
    known = [value for value in values if value is not None]
    return [
        None if value is None else 1 + sum(other > value for other in known) for value in values
    ]
