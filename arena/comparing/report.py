"""A comparison as text for a terminal, and as JSON."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from arena.comparing.compare import Comparison
from arena.rating.head_to_head import Change, QueryOutcome, split_by_outcome
from arena.terminal import (
    Column,
    Screen,
    count,
    fitted_table,
    plain_console,
    printable,
    stdout_console,
    wrapped,
)

SHOWN_QUERIES: Final = 10
_ANY_WIDTH: Final = 10_000


def to_json(comparison: Comparison, *, tolerance: float) -> dict[str, Any]:
    """Return the comparison as ``arena compare --json`` prints it."""
    result = comparison.result
    won, tied, lost = split_by_outcome(result.outcomes)
    difference = asdict(result.difference)
    finite = {k: v if math.isfinite(v) else None for k, v in difference.items()}
    return {
        "a": result.a,
        "b": result.b,
        "change": change_of(comparison, tolerance),
        "tolerance": tolerance,
        "difference": finite,
        "battles": {"won": result.wins, "tied": result.ties, "lost": result.losses},
        "queries": {"won": won, "tied": tied, "lost": lost},
        "groups": [
            {"column": group.column, "group": group.group, **asdict(group.points)}
            for group in comparison.groups
        ],
        "lost_queries": [
            {**asdict(outcome), "text": comparison.texts.get((outcome.dataset, outcome.query_id))}
            for outcome in _lost(comparison)[:SHOWN_QUERIES]
        ],
        **({"metrics": list(map(asdict, comparison.metrics))} if comparison.metrics else {}),
        "changed": list(comparison.changed),
        "notes": list(comparison.notes),
    }


def change_of(comparison: Comparison, tolerance: float) -> Change | str:
    """Return worse, not worse, undecided, or "data changed" where the baseline's data differ."""
    if comparison.changed:
        return "data changed"
    return comparison.result.change(tolerance)


def print_comparison(comparison: Comparison, *, tolerance: float) -> None:
    """Print to stdout, in colour and as wide as the terminal if it is one."""
    sys.stdout.write(render_comparison(comparison, tolerance=tolerance, on=stdout_console()))


def render_comparison(comparison: Comparison, *, tolerance: float, on: Screen) -> str:
    """Return the finding, the groups of queries, and the queries that weigh most against B."""
    result = comparison.result
    lines = [wrapped(printable(line), on) for line in _head(comparison, tolerance)]
    if comparison.metrics:
        level = f"{result.difference.level:.0%}"
        title = f"B - A by metric, paired by query ({level} intervals for all of them at once):"
        lines += ["", wrapped(title, on), _table(_metric_columns(comparison), on)]
    if comparison.groups:
        title = f"{result.b}'s share of the points by kind of query (50% is even):"
        lines += ["", wrapped(printable(title), on), _table(_group_columns(comparison), on)]
    if lost := _lost(comparison):
        weighty = [outcome for outcome in lost if round(outcome.weight_elo, 1) < 0]
        listed = (weighty or lost)[:SHOWN_QUERIES]
        some = f"{len(listed)} of {len(lost):,}"
        title = (
            f"queries that weigh most against {result.b}, {some} that it lost:"
            if weighty
            else f"{some} queries that {result.b} lost; none moves the difference by 0.1 Elo:"
        )
        columns = _query_columns(comparison, listed, with_weight=bool(weighty))
        lines += ["", wrapped(printable(title), on), _table(columns, on)]
    if comparison.notes:
        lines += ["", *(wrapped(printable(f"note: {note}"), on) for note in comparison.notes)]
    return "\n".join(lines) + "\n"


def _head(comparison: Comparison, tolerance: float) -> Iterator[str]:
    result = comparison.result
    difference = result.difference
    yield f"A {result.a}"
    yield f"B {result.b}"
    yield ""
    yield (
        f"B - A: {difference.elo:+.0f} Elo, {difference.level:.0%} interval "
        f"{difference.lower:+.0f} to {difference.upper:+.0f}; "
        f"P(B better) {difference.p_better:.1%}"
    )
    yield (
        f"battles: B won {result.wins:,}, tied {result.ties:,}, lost {result.losses:,}; queries: "
        "won {:,}, tied {:,}, lost {:,}".format(*split_by_outcome(result.outcomes))
    )
    yield sentence(comparison, tolerance)


def sentence(comparison: Comparison, tolerance: float) -> str:
    """Return the finding in one sentence."""
    result, difference = comparison.result, comparison.result.difference
    change = change_of(comparison, tolerance)
    by = f" by more than {tolerance:g} Elo" if tolerance else ""
    if change == "data changed":
        return (
            f"data changed: {'; '.join(comparison.changed)}. The difference may come from the "
            "data: run the baseline's model on the new data, then compare again"
        )
    if result.same_lists:
        return f"the same: {result.a} and {result.b} show the same documents for every query"
    if change == "worse":
        return f"worse: {result.b} is surely worse than {result.a}{by}"
    if change == "not worse":
        return f"not worse: {result.b} is surely not worse than {result.a}{by}"
    if not math.isfinite(difference.most):
        return (
            f"undecided: the difference rests on {difference.queries:.0f} queries; "
            "nothing is concluded from fewer than 20"
        )
    return (
        f"undecided: at all looks together, B - A is {difference.least:+.0f} to "
        f"{difference.most:+.0f} Elo; judge more queries"
        + ("" if tolerance else ", or allow for a tolerance (--tolerance 20)")
    )


def _table(columns: list[Column], on: Screen) -> str:
    console = plain_console(on.width or _ANY_WIDTH, colour=on.colour)
    with console.capture() as capture:
        console.print(fitted_table(columns, on, default_width=_ANY_WIDTH))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _group_columns(comparison: Comparison) -> list[Column]:
    groups = comparison.groups
    words = {"B loses": "loses", "B wins": "wins", "": ""}
    return [
        Column("by", [group.column for group in groups], "word"),
        Column("group", [printable(group.group) for group in groups], "name"),
        Column("queries", [f"{group.points.n_queries:,}" for group in groups]),
        Column("share", [f"{group.points.value:.0%}" for group in groups]),
        Column("interval", [_interval(group.points.lower, group.points.upper) for group in groups]),
        Column("", [words[group.verdict] for group in groups], "word"),
    ]


def _metric_columns(comparison: Comparison) -> list[Column]:
    metrics = comparison.metrics
    verdicts = ["" if not m.is_sure else "worse" if m.difference < 0 else "better" for m in metrics]
    return [
        Column("metric", [metric.metric for metric in metrics], "name"),
        Column("queries", [f"{metric.queries:,}" for metric in metrics]),
        Column("B - A", [f"{metric.difference:+z.3f}" for metric in metrics]),
        Column("interval", [_bounds(metric.lower, metric.upper) for metric in metrics]),
        Column("", verdicts, "word"),
    ]


def _bounds(lower: float | None, upper: float | None) -> str:
    return "" if lower is None or upper is None else f"{lower:+z.3f} to {upper:+z.3f}"


def _interval(lower: float | None, upper: float | None) -> str:
    return "" if lower is None or upper is None else f"{lower:.0%} to {upper:.0%}"


def _lost(comparison: Comparison) -> list[QueryOutcome]:
    """Return the queries that B lost, those that weigh most against it first."""
    return [outcome for outcome in comparison.result.outcomes if outcome.points < 0.5]


def _query_columns(
    comparison: Comparison, lost: Sequence[QueryOutcome], *, with_weight: bool
) -> list[Column]:
    weights = [f"{outcome.weight_elo:+.1f}" for outcome in lost]
    return [
        Column("data set", [outcome.dataset for outcome in lost], "name", gives_way=1),
        Column("query_id", [outcome.query_id for outcome in lost], "name"),
        *([Column("Elo", weights)] if with_weight else []),
        Column("share", [f"{outcome.points:.0%}" for outcome in lost]),
        Column("of", [count(outcome.n_battles, "battle") for outcome in lost], gives_way=2),
        Column(
            "query",
            [printable(comparison.texts.get((o.dataset, o.query_id), ""))[:200] for o in lost],
            "prose",
        ),
    ]
