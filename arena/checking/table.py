"""The findings of `arena check` as one table, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from arena.checking.check import Report
from arena.checking.rows import CheckRow
from arena.terminal import (
    Column,
    Screen,
    count,
    dollars,
    fitted_table,
    plain_console,
    printable,
    wrapped,
)

_STYLES = {"ok": "green", "failed": "bold red", "not tried": "yellow"}
_ANY_WIDTH: Final = 10_000


def render_report(
    report: Report, *, width: int | None = None, colour: bool = False, encoding: str = "utf-8"
) -> str:
    """Return one row for each test, and below the table what is wrong, in whole sentences.

    Args:
        report: what was found.
        width: of the terminal; None for as much as the longest row takes.
        colour: emphasise with ANSI escapes; else the text is plain.
        encoding: what the terminal can show.
    """
    on = Screen(width, colour, encoding)
    console = plain_console(width or _ANY_WIDTH, colour=colour)
    with console.capture() as capture:
        console.print(fitted_table(_columns(report.rows), on, default_width=_ANY_WIDTH))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([*lines, "", *(wrapped(line, on) for line in _lines(report))])


def _columns(rows: Sequence[CheckRow]) -> list[Column]:
    states = [_STYLES[row.outcome] for row in rows]
    prices = [" / ".join(f"{price:g}" for price in row.prices) for row in rows]
    return [
        Column("name", [row.name for row in rows], "name"),
        Column("kind", [row.kind for row in rows], "word", gives_way=1),
        Column("state", [row.state for row in rows], "word", styles=states),
        Column("dim", [_whole(row.dimension) for row in rows], gives_way=3),
        Column("ms", [_milliseconds(row.latency_ms) for row in rows], gives_way=2),
        Column("$/1M tokens", prices, gives_way=4),
        Column("", [_note(row) for row in rows], "prose"),
    ]


def _note(row: CheckRow) -> str:
    return printable(", ".join(row.notes[:1] if row.kind == "data set" else row.notes))


def _lines(report: Report) -> Iterator[str]:
    """Yield the lines that no cell has room for."""
    alike: dict[str, list[str]] = {}
    for row in report.rows:
        for line in (row.problem, *(row.notes[1:] if row.kind == "data set" else ())):
            alike.setdefault(line, []).append(row.name)
    for line, names in alike.items():
        if line:
            yield printable(f"{', '.join(names)}: {line}")
    if report.missing_keys:
        yield f"set the keys: {', '.join(report.missing_keys)}"
    n_failed = sum(row.outcome == "failed" for row in report.rows)
    n_untried = sum(row.outcome == "not tried" for row in report.rows)
    works = f"{n_failed} of {len(report.rows)} do not work" if n_failed else "all work"
    untried = f", {n_untried} not tried" if n_untried else ""
    unpriced = (
        f" and {count(report.n_unpriced, 'row')} without a price" if report.n_unpriced else ""
    )
    yield f"{works}{untried}; the check cost {dollars(report.cost_usd)}{unpriced}"


def to_json(report: Report) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "ok": report.ok,
        "cost_usd": report.cost_usd,
        "missing_keys": list(report.missing_keys),
        "rows": [asdict(row) for row in report.rows],
    }


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
