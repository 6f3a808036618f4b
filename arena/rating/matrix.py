"""Every model against every other, as two compact tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from arena.rating.leaderboard_records import Leaderboard, Pair
from arena.rating.terminal import Column, Screen, count, fitted_table

if TYPE_CHECKING:
    from rich.table import Table


def matrices(
    leaderboard: Leaderboard, on: Screen, *, default_width: int
) -> Iterator[tuple[str, Table]]:
    """Wins/losses/ties of row against column, and how sure the row is to be better, in percent."""
    both = [side for pair in leaderboard.pairs for side in (pair, _turned(pair))]
    yield (
        "wins/losses/ties of row against column",
        _matrix(leaderboard, {(p.a, p.b): _counts(p) for p in both}, on, default_width),
    )
    if any(pair.p_better is not None for pair in leaderboard.pairs):
        yield (
            "% sure that row is better than column",
            _matrix(leaderboard, {(p.a, p.b): _percent(p) for p in both}, on, default_width),
        )


def _matrix(
    leaderboard: Leaderboard, cells: Mapping[tuple[str, str], str], on: Screen, default_width: int
) -> Table:
    models = [row.model for row in leaderboard.overall]
    columns = [
        Column("", [str(place) for place in range(1, len(models) + 1)]),
        Column("", models, "name"),
    ]
    columns += [
        Column(str(place), [cells.get((row, column), "·") for row in models], gives_way=place)
        for place, column in enumerate(models, 1)
    ]
    table = fitted_table(columns, on, default_width=default_width)
    hidden = len(columns) - len(table.columns)
    if hidden:
        more = count(hidden, "more model")
        table.caption = f"and {more}: widen the terminal, or --json"
        table.caption_justify = "left"
    return table


def _turned(pair: Pair) -> Pair:
    """The same pair, from the side of the lower-ranked model."""
    p_better = None if pair.p_better is None else 1 - pair.p_better
    return replace(pair, a=pair.b, b=pair.a, wins=pair.losses, losses=pair.wins, p_better=p_better)


def _counts(pair: Pair) -> str:
    if not pair.wins + pair.losses + pair.ties:
        return "–"
    return f"{pair.wins}/{pair.losses}/{pair.ties}"


def _percent(pair: Pair) -> str:
    if pair.p_better is None:
        return ""
    # Never certain: an estimate of 99.97% is not 100%.
    sure = 100 * pair.p_better
    return "<1" if sure < 0.5 else ">99" if sure >= 99.5 else f"{sure:.0f}"
