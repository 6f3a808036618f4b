"""Every model against every other, as two compact tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from arena.rating.leaderboard_records import Leaderboard, Pair
from arena.rating.terminal import count, empty_table, printable, text

if TYPE_CHECKING:
    from rich.table import Table

_NAME = 30
"""Columns that a model's name may take."""


def matrices(leaderboard: Leaderboard, width: int) -> Iterator[tuple[str, Table]]:
    """Wins/losses/ties of row against column, and how sure the row is to be better, in percent."""
    yield "wins/losses/ties of row against column", _matrix(leaderboard, width, _counts)
    if any(pair.p_better is not None for pair in leaderboard.pairs):
        yield "% sure that row is better than column", _matrix(leaderboard, width, _percent)


def _matrix(leaderboard: Leaderboard, width: int, cell: Callable[[Pair], str]) -> Table:
    models = [row.model for row in leaderboard.overall]
    both = (side for pair in leaderboard.pairs for side in (pair, _turned(pair)))
    cells = {(side.a, side.b): cell(side) for side in both}
    widest = max(map(len, [*cells.values(), str(len(models))]))
    name_width = min(max(len(printable(model)) for model in models) + 4, _NAME, width // 2)
    fitting = max((width - name_width) // (widest + 2), 1)
    table = empty_table()
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=name_width - 2)
    for place in range(1, min(fitting, len(models)) + 1):
        table.add_column(str(place), justify="right", no_wrap=True)
    for place, row in enumerate(models, 1):
        line = [cells.get((row, column), "·") for column in models[:fitting]]
        table.add_row(*map(text, [f"{place} {printable(row)}", *line]))
    if len(models) > fitting:
        hidden = count(len(models) - fitting, "more model")
        table.caption, table.caption_justify = (
            f"and {hidden}: widen the terminal, or --json",
            "left",
        )
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
