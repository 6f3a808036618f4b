"""The leaderboard as text for a terminal: colours only where one reads it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arena.rating.leaderboard_records import Leaderboard, Row
from arena.rating.matrix import matrices
from arena.rating.sentences import separation_lines, summary_lines, with_half_width
from arena.rating.terminal import count, empty_table, plain_console, printable, text

if TYPE_CHECKING:
    from rich.table import Table

DEFAULT_WIDTH = 100


@dataclass(frozen=True, slots=True)
class _Column:
    """One column; shown where it fits and where any row has something to say in it."""

    head: str
    cell: Callable[[Row], str]
    least_width: int = 0  #: terminal width from which it is shown
    align: str = "right"


@dataclass(frozen=True, slots=True)
class Shown:
    """What to show besides the overall table."""

    by_dataset: bool = False  #: a full table for each data set, instead of its ratings alone
    matrix: bool = False  #: every model against every other


def render_leaderboard(
    leaderboard: Leaderboard,
    *,
    width: int | None = None,
    colour: bool = False,
    shown: Shown | None = None,
) -> str:
    """The overall table, the ratings per data set, what would separate neighbours, and the notes.

    Args:
        leaderboard: what to show.
        width: of the terminal, in columns; 100 where there is none.
        colour: emphasise with ANSI escapes; else the text is plain.
        shown: what more to show.
    """
    from rich.text import Text  # noqa: PLC0415

    console = plain_console(width or DEFAULT_WIDTH, colour=colour)
    width, shown = width or DEFAULT_WIDTH, shown or Shown()
    with console.capture() as capture:
        for line in summary_lines(leaderboard):
            console.print(Text(line), soft_wrap=True)
        for title, table in _tables(leaderboard, width, shown):
            console.print()
            if title:
                console.print(Text(title))
            console.print(table)
        notes = [*separation_lines(leaderboard), *map(printable, leaderboard.notes)]
        if notes:
            console.print()
        for note in notes:
            console.print(Text(f"• {note}"), soft_wrap=True)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def print_leaderboard(leaderboard: Leaderboard, *, shown: Shown | None = None) -> None:
    """Print to stdout, in colour and as wide as the terminal if it is one."""
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else None
    colour = is_terminal and not os.environ.get("NO_COLOR")
    sys.stdout.write(render_leaderboard(leaderboard, width=width, colour=colour, shown=shown))


def _tables(leaderboard: Leaderboard, width: int, shown: Shown) -> Iterator[tuple[str, Table]]:
    """Each table with its title; the overall one has none."""
    yield "", _table(leaderboard.overall, width)
    if len(leaderboard.datasets) > 1 and not shown.by_dataset:
        yield "", _by_dataset(leaderboard, width)
    if shown.by_dataset:
        for name, rows in leaderboard.datasets.items():
            place = leaderboard.position_by_dataset.get(name)
            worth = f": shown first is worth {with_half_width(place)} Elo" if place else ""
            yield printable(name) + worth, _table(rows, width)
    if shown.matrix:
        yield from matrices(leaderboard, width)


def _table(rows: Sequence[Row], width: int) -> Table:
    shown = [
        column
        for column in _COLUMNS
        if width >= column.least_width and any(column.cell(row) for row in rows)
    ]
    table = empty_table()
    for column in shown:
        if column.align == "left":
            # The one column that may be squeezed: a long name must not hide the figures.
            table.add_column(column.head, justify="left", overflow="ellipsis")
        else:
            table.add_column(column.head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(text(column.cell(row)) for column in shown))
    return table


def _by_dataset(leaderboard: Leaderboard, width: int) -> Table:
    """The rating (or Elo, if that ranks) per data set: as many data sets as fit."""
    rated = any(row.rating is not None for rows in leaderboard.datasets.values() for row in rows)
    by_rating = rated and leaderboard.settings.rank_by == "rating"
    values = {
        name: {row.model: row.rating if by_rating else row.elo for row in rows}
        for name, rows in leaderboard.datasets.items()
    }
    longest = max(len(printable(row.model)) for row in leaderboard.overall)
    room = max(width - min(longest, 40), 12)
    names = []
    for name in leaderboard.datasets:
        room -= max(len(printable(name)), 4) + 2
        if room < 0:
            break
        names.append(name)
    table = empty_table()
    table.add_column("rating by data set" if by_rating else "Elo by data set", overflow="ellipsis")
    for name in names:
        table.add_column(printable(name), justify="right", no_wrap=True)
    for row in leaderboard.overall:
        cells = [_number(values[name].get(row.model)) for name in names]
        table.add_row(*map(text, [printable(row.model), *cells]))
    hidden = len(values) - len(names)
    if hidden:
        table.caption = f"and {count(hidden, 'more data set')}: widen the terminal"
        table.caption_justify = "left"
    return table


def _place(row: Row) -> str:
    return f"{row.rank}{'*' if row.rank_lower == 1 and row.rank_upper != 1 else ''}"


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _rating(row: Row) -> str:
    if row.rating is None or row.lower is None or row.upper is None:
        return _number(row.rating)
    return f"{row.rating:.0f} ±{(row.upper - row.lower) / 2:.0f}"


def _ranks(row: Row) -> str:
    return "" if row.rank_lower is None else f"{row.rank_lower}–{row.rank_upper}"


def _elo(row: Row) -> str:
    return _number(row.elo) + ("" if row.elo_order_sd is None else f" ~{row.elo_order_sd:.0f}")


def _record(row: Row) -> str:
    return f"{row.record.wins}/{row.record.losses}/{row.record.ties}"


def _metric(name: str) -> Callable[[Row], str]:
    return lambda row: _number(row.metrics.get(name), 3)


def _latency(name: str) -> Callable[[Row], str]:
    return lambda row: "" if row.latency is None else _milliseconds(getattr(row.latency, name))


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _price(row: Row) -> str:
    price = row.facts.price_per_1m_tokens
    return "" if price is None else f"{price:g}"


_COLUMNS = (
    _Column("#", _place),
    _Column("model", lambda row: printable(row.model), align="left"),
    _Column("rating", _rating),
    _Column("ranks", _ranks),
    _Column("Elo ~sd", _elo),
    _Column("W/L/T", _record),
    _Column("win", lambda row: f"{row.record.win_rate:.1%}", least_width=90),
    _Column("nDCG@10", _metric("ndcg@10")),
    _Column("nDCG@5", _metric("ndcg@5"), least_width=120),
    _Column("recall@5", _metric("recall@5"), least_width=140),
    _Column("recall@10", _metric("recall@10"), least_width=120),
    _Column("judged@10", _metric("judged@10"), least_width=150),
    _Column("p50 ms", _latency("p50_ms"), least_width=100),
    _Column("p90 ms", _latency("p90_ms"), least_width=140),
    _Column("p99 ms", _latency("p99_ms"), least_width=150),
    _Column("$/1M", _price, least_width=120),
    _Column("dim", lambda row: str(row.facts.dimension or ""), least_width=120),
)
