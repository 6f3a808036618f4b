"""Two judges compared, as text for a terminal and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from arena.auditing.between import Between
from arena.auditing.report import figure_json, known_figures, listed_notes, unknown_figures
from arena.rating.leaderboard_table import DEFAULT_WIDTH
from arena.terminal import (
    Column,
    Screen,
    count,
    encodable,
    fitted_table,
    plain_console,
    printable,
    stdout_console,
)

SHOWN_MODELS: Final = 20
_VERDICTS: Final = ("first", "second", "tie")


def to_json(comparison: Between) -> dict[str, Any]:
    """Return the comparison as ``arena audit --between A B --json`` prints it."""
    return {
        "judges": list(comparison.judges),
        "conclusion": comparison.conclusion,
        "reason": comparison.reason,
        "battles": comparison.battles,
        "queries": comparison.queries,
        "figures": {figure.key: figure_json(figure) for figure in comparison.figures},
        "models": [{**asdict(row), "moved": row.is_sure} for row in comparison.models],
        "verdicts": {
            verdict: dict(zip(_VERDICTS, row, strict=True))
            for verdict, row in zip(_VERDICTS, comparison.table, strict=True)
        },
        "notes": list(comparison.notes),
    }


def print_between(between: Between) -> None:
    """Print to stdout, in colour and as wide as the terminal if it is one."""
    sys.stdout.write(render_between(between, on=stdout_console()))


def render_between(comparison: Between, *, on: Screen) -> str:
    """Return the conclusion, the figures, each model's ratings, and what verdicts become."""
    console = plain_console(on.width or DEFAULT_WIDTH, colour=on.colour)
    with console.capture() as capture:
        for line in _head(comparison):
            text = encodable(printable(line), on.encoding)
            console.print(text, markup=False, highlight=False)
        console.print()
        console.print(known_figures(comparison.figures, on.encoding))
        if any(figure.estimate is None for figure in comparison.figures):
            console.print()
            console.print(unknown_figures(comparison.figures, on.encoding))
        console.print()
        console.print(fitted_table(_models(comparison), on, default_width=DEFAULT_WIDTH))
        console.print()
        console.print(fitted_table(_table(comparison), on, default_width=DEFAULT_WIDTH))
        if comparison.notes:
            console.print()
            console.print(listed_notes(comparison.notes, on.encoding))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _head(comparison: Between) -> Iterator[str]:
    first, second = comparison.judges
    yield f"first judge:  {first}"
    yield f"second judge: {second}"
    n_queries = count(comparison.queries, "query", "queries")
    yield (
        f"{count(comparison.battles, 'battle')} that both judged, {n_queries}; "
        "95% intervals, paired by query"
    )
    yield f"{comparison.conclusion.upper()}: {comparison.reason}"


def _models(between: Between) -> list[Column]:
    listed = between.models[:SHOWN_MODELS]
    return [
        Column("model", [printable(row.model) for row in listed], "name"),
        Column("first", [f"{row.first:.0f}" for row in listed]),
        Column("second", [f"{row.second:.0f}" for row in listed]),
        Column("difference", [f"{row.difference:+.0f}" for row in listed]),
        Column("interval", [f"{row.lower:+.0f} to {row.upper:+.0f}" for row in listed]),
        Column("", ["moved" if row.is_sure else "" for row in listed], "word"),
    ]


def _table(between: Between) -> list[Column]:
    columns = zip(*between.table, strict=True)
    return [
        Column("first judge", [f"{verdict} wins" for verdict in _VERDICTS[:2]] + ["tie"], "word"),
        *(
            Column(f"second: {verdict}", [f"{n:,}" for n in column])
            for verdict, column in zip(_VERDICTS, columns, strict=True)
        ),
    ]
