"""Render an audit as text for a terminal, and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from arena.auditing.records import Audit, AuditMetric, Estimate, Subgroup, Unit
from arena.rating.leaderboard_table import DEFAULT_WIDTH
from arena.terminal import count, encodable, plain_console, printable, stdout_console

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_COLOURS = {"reliable": "green", "use with caution": "yellow", "unreliable": "red"}
_PARTS_SHOWN = 8
_FORMATS: Mapping[Unit, str] = {
    "share": "{:.1%}",
    "difference": "{:+.1%}",
    "elo": "{:+.0f} Elo",
    "elo sd": "{:.0f} Elo",
    "coefficient": "{:.2f}",
}
_ENDS: Mapping[Unit, tuple[int, str]] = {
    "share": (100, ".0f"),
    "difference": (100, "+.0f"),
    "elo": (1, "+.0f"),
    "elo sd": (1, ".0f"),
    "coefficient": (1, ".2f"),
}
"""Factor and format of an interval's ends."""


def to_json(audit: Audit) -> dict[str, Any]:
    """Return the audit as ``arena audit --json`` prints it; null if a figure is not known."""
    return {
        "trust": {**asdict(audit.trust), "decided_by": list(audit.trust.decided_by)},
        "judges": list(audit.judges),
        "battles": audit.battles,
        "queries": audit.queries,
        "datasets": list(audit.datasets),
        "figures": {figure.key: figure_json(figure) for figure in audit.figures},
        "notes": list(audit.notes),
    }


def print_audit(audit: Audit) -> None:
    """Print to stdout, in colour and as wide as the terminal if it is one."""
    on = stdout_console()
    sys.stdout.write(render_audit(audit, width=on.width, colour=on.colour, encoding=on.encoding))


def render_audit(
    audit: Audit, *, width: int | None = None, colour: bool = False, encoding: str = "utf-8"
) -> str:
    """Render the verdict on the judge, each figure with its meaning, and what is unknown."""
    console = plain_console(width or DEFAULT_WIDTH, colour=colour)
    with console.capture() as capture:
        for line in _head(audit, encoding):
            console.print(line)
        console.print()
        console.print(known_figures(audit.figures, encoding))
        console.print()
        console.print(unknown_figures(audit.figures, encoding))
        if audit.notes:
            console.print()
            console.print(listed_notes(audit.notes, encoding))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def _head(audit: Audit, encoding: str) -> Iterator[Text]:
    styled = partial(_text, encoding)
    names = ", ".join(judge or "not named in the log" for judge in audit.judges)
    judges = "judges" if len(audit.judges) > 1 else "judge"
    yield styled(f"How far to trust the {judges}: {names}", "bold")
    counts = (
        count(audit.battles, "battle"),
        count(audit.queries, "query", "queries"),
        count(len(audit.datasets), "data set"),
    )
    yield styled(f"{', '.join(counts)}; 95% intervals, clustered by query")
    level = styled(audit.trust.level.upper(), f"bold {_COLOURS[audit.trust.level]}")
    yield styled("").append(level).append(styled(f": {audit.trust.reason}"))


def known_figures(figures: Sequence[AuditMetric], encoding: str) -> Table:
    """Return a row for each figure: value, interval, and what it means."""
    styled = partial(_text, encoding)
    grid = _grid("right", "left", "left")
    for figure in figures:
        estimate = figure.estimate
        if estimate is not None:
            said = styled("").append(styled(f"{figure.title} ", "bold"))
            said.append(styled(f"({estimate.n:,} {figure.of})")).append("\n")
            said.append(styled(_meaning(figure), "dim"))
            value = styled(_value(estimate.value, figure), "bold")
            grid.add_row(value, styled(_interval(estimate, figure)), said)
    return grid


def unknown_figures(figures: Sequence[AuditMetric], encoding: str) -> Table:
    """Return what cannot be computed, a row for each reason."""
    styled = partial(_text, encoding)
    reasons: dict[str, list[str]] = {}
    for figure in figures:
        if figure.estimate is None:
            reasons.setdefault(figure.meaning, []).append(figure.title)
    grid = _grid("left", "left")
    for because, titles in reasons.items():
        grid.add_row(styled("–"), styled(f"{'; '.join(titles)}: because {because}"))
    return grid


def listed_notes(notes: Sequence[str], encoding: str) -> Table:
    """Return a row for each note."""
    styled = partial(_text, encoding)
    grid = _grid("left", "left")
    for note in notes:
        grid.add_row(styled("•"), styled(note))
    return grid


def _meaning(figure: AuditMetric) -> str:
    # One part that is the whole says nothing new.
    sentences = [
        part
        for part in figure.parts
        if figure.estimate is None or part.n < figure.estimate.n or part.lower is not None
    ]
    parts = [_part(part, figure) for part in sentences[:_PARTS_SHOWN]]
    hidden = len(sentences) - len(parts)
    more = [f"{hidden} more in --json"] if hidden else []
    return "; ".join([figure.meaning, ", ".join(parts + more)] if parts else [figure.meaning])


def _part(part: Subgroup, figure: AuditMetric) -> str:
    shown = f"{part.name} {_short(part.value, figure)}"
    if part.lower is None or part.upper is None:
        return shown
    return f"{shown} ({_ends(part.lower, part.upper, figure)})"


def _grid(*justify: Literal["left", "right"]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2, 0, 0))
    for side in justify:
        grid.add_column(justify=side, no_wrap=side == "right")
    return grid


def _value(value: float, figure: AuditMetric) -> str:
    return _FORMATS[figure.unit].format(value)


def _interval(estimate: Estimate, figure: AuditMetric) -> str:
    if estimate.lower is None or estimate.upper is None:
        return ""
    return _ends(estimate.lower, estimate.upper, figure)


def _ends(lower: float, upper: float, figure: AuditMetric) -> str:
    scale, shown = _ENDS[figure.unit]
    return f"{scale * lower:{shown}} to {scale * upper:{shown}}"


def _short(value: float, figure: AuditMetric) -> str:
    return f"{value:.0%}" if figure.unit == "share" else _value(value, figure)


def _text(encoding: str, text: str, style: str = "") -> Text:
    from rich.text import Text  # noqa: PLC0415 - a Text is never read as markup

    return Text(encodable(printable(text), encoding), style)


def figure_json(figure: AuditMetric) -> dict[str, Any]:
    """Return a figure as a JSON object."""
    estimate = figure.estimate
    return {
        "title": figure.title,
        "unit": figure.unit,
        "value": estimate and estimate.value,
        "lower": estimate and estimate.lower,
        "upper": estimate and estimate.upper,
        "n": estimate.n if estimate else 0,
        "of": figure.of,
        "queries": estimate.n_queries if estimate else 0,
        "meaning": figure.meaning if estimate else None,
        "because": None if estimate else figure.meaning,
        "parts": [_part_json(part) for part in figure.parts],
        **({"table": [list(row) for row in figure.table]} if figure.table else {}),
    }


def _part_json(part: Subgroup) -> dict[str, Any]:
    """Return a part as a JSON object; its interval only where it has one."""
    return {name: value for name, value in asdict(part).items() if value is not None}
