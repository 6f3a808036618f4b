"""The leaderboard as text for a terminal: colours only where one reads it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from arena.cost.recommend import rounded_dollars
from arena.cost.table import cost_table
from arena.rating.leaderboard_cost import Ownership, ownership
from arena.rating.leaderboard_notes import separation_lines, summary_lines, with_half_width
from arena.rating.leaderboard_records import Leaderboard, LeaderboardRow, Pair
from arena.rating.metric_differences import MetricDifference
from arena.terminal import (
    Column,
    Screen,
    count,
    fitted_table,
    plain_console,
    printable,
    short_names,
    stdout_console,
    wrapped,
)

if TYPE_CHECKING:
    from rich.table import Table

DEFAULT_WIDTH = 100
"""Columns of a table that nobody reads on a terminal; whole names may make it wider."""

_ANY_WIDTH = 10_000
_NOTHING = {"", "0"}
"""What no column is shown for, such as a price where everything runs right here."""

_HEAD = 20
"""Cells that the name of a data set may take above its column."""


@dataclass(frozen=True, slots=True)
class _LeaderboardColumn:
    """One column; shown where it fits and where any row has something to say in it."""

    head: str
    cell: Callable[[LeaderboardRow], str]
    gives_way: int = 0  #: the highest is left out first where not all fit; 0 never is
    kind: Literal["figure", "name"] = "figure"


@dataclass(frozen=True, slots=True)
class Shown:
    """What to show besides the overall table."""

    by_dataset: bool = False  #: a full table for each data set, instead of its ratings alone
    matrix: bool = False  #: every model against every other
    cost: bool = False  #: dollars a month by their parts, and a recommendation


def print_leaderboard(leaderboard: Leaderboard, *, shown: Shown | None = None) -> None:
    """Print to stdout, in colour and as wide as the terminal if it is one."""
    sys.stdout.write(render_leaderboard(leaderboard, on=stdout_console(), shown=shown))


def render_leaderboard(
    leaderboard: Leaderboard, *, on: Screen | None = None, shown: Shown | None = None
) -> str:
    """Render the overall table, the ratings per data set, the battles that it lacks, and the notes.

    Args:
        leaderboard: what to show.
        on: the screen; without one tables take 100 columns, and lines are whole.
        shown: what more to show.
    """
    from rich.text import Text  # noqa: PLC0415

    on, shown = on or Screen(), shown or Shown()
    console = plain_console(on.width or _ANY_WIDTH, colour=on.colour)
    with console.capture() as capture:
        for line in summary_lines(leaderboard):
            console.print(Text(wrapped(line, on)), soft_wrap=True)
        for title, table in _tables(leaderboard, on, shown):
            console.print()
            if title:
                console.print(Text(wrapped(title, on)), soft_wrap=True)
            console.print(table)
        notes = [
            *_recommendation(leaderboard, shown),
            *separation_lines(leaderboard),
            *map(printable, leaderboard.notes),
        ]
        if notes:
            console.print()
        for note in notes:
            console.print(Text(wrapped(note, on, lead="• ")), soft_wrap=True)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _tables(leaderboard: Leaderboard, on: Screen, shown: Shown) -> Iterator[tuple[str, Table]]:
    """Yield each table with its title; the overall one has none."""
    owned = _owned(leaderboard)
    yield "", _table(leaderboard.overall, on, owned)
    if shown.cost and owned is not None:
        yield "", cost_table(owned.costs.values(), on, default_width=DEFAULT_WIDTH)
    if leaderboard.metric_differences:
        yield _differences(leaderboard, on)
    if len(leaderboard.datasets) > 1 and not shown.by_dataset:
        yield "", _by_dataset(leaderboard, on)
    if shown.by_dataset:
        for name, rows in leaderboard.datasets.items():
            place = leaderboard.position_by_dataset.get(name)
            worth = f": shown first is worth {with_half_width(place)} Elo" if place else ""
            yield printable(name) + worth, _table(rows, on)
    if shown.matrix:
        yield from matrices(leaderboard, on, default_width=DEFAULT_WIDTH)


def _owned(leaderboard: Leaderboard) -> Ownership | None:
    return None if leaderboard.usage is None else ownership(leaderboard, leaderboard.usage)


def _recommendation(leaderboard: Leaderboard, shown: Shown) -> list[str]:
    owned = _owned(leaderboard) if shown.cost else None
    return [] if owned is None else [printable(line) for line in owned.recommendation.sentences]


def _table(rows: Sequence[LeaderboardRow], on: Screen, owned: Ownership | None = None) -> Table:
    columns = [
        Column(column.head, cells, column.kind, column.gives_way)
        for column in [*_columns(rows), *([] if owned is None else [_per_month(owned)])]
        if {*(cells := [column.cell(row) for row in rows])} - _NOTHING
    ]
    return fitted_table(columns, on, default_width=DEFAULT_WIDTH)


def _columns(rows: Sequence[LeaderboardRow]) -> list[_LeaderboardColumn]:
    """Return the columns of a table; the metrics of arena.toml take the place of the usual ones."""
    named = [
        _LeaderboardColumn(name, _named_metric(name), gives_way=5 + place)
        for place, name in enumerate(dict.fromkeys(n for row in rows for n in row.named_metrics))
    ]
    return [*_HEAD_COLUMNS, *(named or _METRIC_COLUMNS), *_TAIL_COLUMNS]


def _differences(leaderboard: Leaderboard, on: Screen) -> tuple[str, Table]:
    """Return each model's difference from the best by each metric, with its interval."""
    found = leaderboard.metric_differences
    behind = {(each.metric, each.b): each for each in found}
    best = {each.metric: each.a for each in found}

    def cell(metric: str, model: str) -> str:
        if best[metric] == model:
            return "best"
        each = behind.get((metric, model))
        if each is None:
            return ""
        return f"{-each.difference:z.3f}{_reach(each)}{'*' if each.is_sure else ' '}"

    models = [row.model for row in leaderboard.overall]
    columns = [Column("", models, "name")]
    columns += [
        Column(metric, [cell(metric, model) for model in models], gives_way=place)
        for place, metric in enumerate(best)
    ]
    level = f"{leaderboard.settings.level:.0%}"
    title = f"difference from the best, paired by query; {level} intervals for all of them at once"
    table = fitted_table(columns, on, default_width=DEFAULT_WIDTH)
    if hidden := len(columns) - len(table.columns):
        table.caption = f"and {count(hidden, 'more metric')}: widen the terminal, or --json"
        table.caption_justify = "left"
    return f"{title} (* surely worse)", table


def _reach(each: MetricDifference) -> str:
    """Return the interval of the difference as a half-width, or by its ends if it is lopsided."""
    if each.lower is None or each.upper is None:
        return ""
    below, above = each.difference - each.lower, each.upper - each.difference
    if math.isclose(below, above, rel_tol=1e-3):
        return f" ±{above:.3f}"
    return f" ({-each.upper:.2f} to {-each.lower:.2f})"


def _by_dataset(leaderboard: Leaderboard, on: Screen) -> Table:
    """Return the rating (or Elo, if that ranks) per data set: as many data sets as fit."""
    rated = any(row.rating is not None for rows in leaderboard.datasets.values() for row in rows)
    by_rating = rated and leaderboard.settings.rank_by == "rating"
    values = {
        name: {row.model: row.rating if by_rating else row.elo for row in rows}
        for name, rows in leaderboard.datasets.items()
    }
    heads = short_names(leaderboard.datasets, _HEAD, on.encoding)
    models = [row.model for row in leaderboard.overall]
    columns = [Column("rating by data set" if by_rating else "Elo by data set", models, "name")]
    columns += [
        Column(heads[name], [_number(own.get(model)) for model in models], gives_way=number)
        for number, (name, own) in enumerate(values.items())
    ]
    table = fitted_table(columns, on, default_width=DEFAULT_WIDTH)
    hidden = len(columns) - len(table.columns)
    if hidden:
        table.caption = f"and {count(hidden, 'more data set')}: widen the terminal"
        table.caption_justify = "left"
    return table


def _place(row: LeaderboardRow) -> str:
    return f"{row.rank}{'*' if row.rank_lower == 1 and row.rank_upper != 1 else ''}"


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _rating(row: LeaderboardRow) -> str:
    if row.rating is None or row.lower is None or row.upper is None:
        return _number(row.rating)
    return f"{row.rating:.0f} ±{(row.upper - row.lower) / 2:.0f}"


def _corrected(row: LeaderboardRow) -> str:
    if row.corrected is None or row.corrected_lower is None or row.corrected_upper is None:
        return _number(row.corrected)
    return f"{row.corrected:.0f} ±{(row.corrected_upper - row.corrected_lower) / 2:.0f}"


def _ranks(row: LeaderboardRow) -> str:
    return "" if row.rank_lower is None else f"{row.rank_lower}–{row.rank_upper}"


def _elo(row: LeaderboardRow) -> str:
    return _number(row.elo) + ("" if row.elo_order_sd is None else f" ~{row.elo_order_sd:.0f}")


def _record(row: LeaderboardRow) -> str:
    return f"{row.record.wins}/{row.record.losses}/{row.record.ties}"


def _metric(name: str) -> Callable[[LeaderboardRow], str]:
    return lambda row: _number(row.metrics.get(name), 3)


def _named_metric(name: str) -> Callable[[LeaderboardRow], str]:
    return lambda row: _number(row.named_metrics.get(name), 3)


def _latency(name: str) -> Callable[[LeaderboardRow], str]:
    return lambda row: "" if row.latency is None else _milliseconds(getattr(row.latency, name))


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _price(row: LeaderboardRow) -> str:
    price = row.facts.price_per_1m_tokens
    return "" if price is None else f"{price:g}"


def _per_month(owned: Ownership) -> _LeaderboardColumn:
    def cell(row: LeaderboardRow) -> str:
        per_month = owned.costs[row.model].per_month
        return "" if per_month is None else rounded_dollars(per_month)

    return _LeaderboardColumn("$ a month", cell, gives_way=1)


_HEAD_COLUMNS = (
    _LeaderboardColumn("#", _place),
    _LeaderboardColumn("model", lambda row: row.model, kind="name"),
    _LeaderboardColumn("rating", _rating),
    _LeaderboardColumn("by people", _corrected),
    _LeaderboardColumn("ranks", _ranks, gives_way=1),
    _LeaderboardColumn("Elo ~sd", _elo, gives_way=4),
    _LeaderboardColumn("W/L/T", _record, gives_way=3),
    _LeaderboardColumn("win", lambda row: f"{row.record.win_rate:.1%}", gives_way=2),
)
_METRIC_COLUMNS = (
    _LeaderboardColumn("nDCG@10", _metric("ndcg@10"), gives_way=5),
    _LeaderboardColumn("nDCG@5", _metric("ndcg@5"), gives_way=10),
    _LeaderboardColumn("recall@5", _metric("recall@5"), gives_way=12),
    _LeaderboardColumn("recall@10", _metric("recall@10"), gives_way=9),
    _LeaderboardColumn("judged@10", _metric("judged@10"), gives_way=13),
)
_TAIL_COLUMNS = (
    _LeaderboardColumn("p50 ms", _latency("p50_ms"), gives_way=6),
    _LeaderboardColumn("p90 ms", _latency("p90_ms"), gives_way=11),
    _LeaderboardColumn("p99 ms", _latency("p99_ms"), gives_way=14),
    _LeaderboardColumn("$/1M", _price, gives_way=7),
    _LeaderboardColumn("dim", lambda row: str(row.facts.dimension or ""), gives_way=8),
)


def matrices(
    leaderboard: Leaderboard, on: Screen, *, default_width: int
) -> Iterator[tuple[str, Table]]:
    """Yield wins/losses/ties of row against column, and P(row is better) in percent."""
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
        Column("", [str(number) for number in range(1, len(models) + 1)]),
        Column("", models, "name"),
    ]
    columns += [
        Column(str(number), [cells.get((row, column), "·") for row in models], gives_way=number)
        for number, column in enumerate(models, 1)
    ]
    table = fitted_table(columns, on, default_width=default_width)
    hidden = len(columns) - len(table.columns)
    if hidden:
        more = count(hidden, "more model")
        table.caption = f"and {more}: widen the terminal, or --json"
        table.caption_justify = "left"
    return table


def _turned(pair: Pair) -> Pair:
    """Return the same pair, from the side of the lower-ranked model."""
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
