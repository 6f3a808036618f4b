"""What each model's run took: the table that `arena retrieve` prints, and the same as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from arena.data.metrics import Latency, latency_summary
from arena.records import RetrievalStats
from arena.terminal import Column, Screen, dollars, fitted_table, plain_console, printable, wrapped

_ANY_WIDTH: Final = 10_000


@dataclass(frozen=True, slots=True)
class Retrieved:
    """One model's run on one data set."""

    dataset: str
    model: str
    path: Path  #: the TREC file
    stats: RetrievalStats

    @property
    def latency(self) -> Latency | None:
        """Return the latency of its queries, one at a time; None if none was measured."""
        return latency_summary(self.stats.latency_ms)


def to_json(runs: Sequence[Retrieved]) -> list[dict[str, Any]]:
    """Return one object for each run; unknown values are null."""
    rows = []
    for run in runs:
        figures = asdict(run.stats)
        del figures["latency_ms"], figures["key"]
        latency = run.latency
        row = {"dataset": run.dataset, "model": run.model, "run": str(run.path), **figures}
        rows.append({**row, "latency_ms": None if latency is None else _latency(latency)})
    return rows


def render_table(
    runs: Sequence[Retrieved],
    *,
    width: int | None = None,
    colour: bool = False,
    encoding: str = "utf-8",
) -> str:
    """Return one row for each run; below it where and when latencies were measured.

    Args:
        runs: in the order of the rows.
        width: of the terminal; None for as much as the longest row takes.
        colour: emphasise with ANSI escapes; else the text is plain.
        encoding: what the terminal can show.
    """
    on = Screen(width, colour, encoding)
    columns = [
        Column(head, cells, kind, gives_way)
        for head, kind, gives_way, cell in _COLUMNS
        if any(cells := [cell(run) for run in runs]) or not gives_way
    ]
    console = plain_console(width or _ANY_WIDTH, colour=colour)
    with console.capture() as capture:
        console.print(fitted_table(columns, on, default_width=_ANY_WIDTH))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    return "\n".join([*lines, "", *(wrapped(note, on) for note in _notes(runs))]).rstrip()


def _notes(runs: Sequence[Retrieved]) -> list[str]:
    """Return where and when latencies were measured, and where the runs are."""
    notes = []
    measured = [run.stats for run in runs if run.stats.measured_at is not None]
    for place in dict.fromkeys(stats.place for stats in measured):
        times = sorted(s.measured_at for s in measured if s.place == place and s.measured_at)
        when = times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"
        notes.append(printable(f"latency: one query at a time, at {place or 'one place'}, {when}"))
    notes += [
        printable(f"{run.dataset}: {run.model} without the time of {run.stats.latency_without}")
        for run in runs
        if run.stats.latency_without is not None
    ]
    folders = dict.fromkeys(run.path.parent for run in runs)
    return notes + [f"runs: {folder}" for folder in folders]


def _latency(latency: Latency) -> dict[str, float]:
    return {
        "mean": latency.mean_ms,
        "p50": latency.p50_ms,
        "p90": latency.p90_ms,
        "p99": latency.p99_ms,
        "samples": latency.n_samples,
    }


def _percentiles(run: Retrieved) -> str:
    if (found := run.latency) is None:
        return ""
    shown = "/".join(f"{ms:.3g}" if ms < 100 else f"{ms:,.0f}" for ms in _three(found))
    return f"{shown} ({found.n_samples})"


def _three(latency: Latency) -> tuple[float, float, float]:
    return latency.p50_ms, latency.p90_ms, latency.p99_ms


def _number(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _megabytes(run: Retrieved) -> str:
    size = run.stats.index_bytes
    if size is None:
        return ""
    return f"{size / 1e6:.2g}" if size < 1e6 else _number(size / 1e6, 1 if size < 1e8 else 0)


def _rate(run: Retrieved) -> str:
    rate = run.stats.documents_per_s
    return "" if rate is None else _number(rate, 0 if rate >= 10 else 1)


def _cost(run: Retrieved) -> str:
    return "" if run.stats.cost_usd is None else dollars(run.stats.cost_usd)


_COLUMNS: Sequence[tuple[str, Literal["figure", "name"], int, Callable[[Retrieved], str]]] = (
    ("dataset", "name", 0, lambda run: run.dataset),
    ("model", "name", 0, lambda run: run.model),
    ("documents", "figure", 0, lambda run: _number(run.stats.n_documents)),
    ("dim", "figure", 4, lambda run: _number(run.stats.dimension)),
    ("bytes/vector", "figure", 7, lambda run: _number(run.stats.bytes_per_vector)),
    ("index MB", "figure", 5, _megabytes),
    ("docs/s", "figure", 3, _rate),
    ("p50/p90/p99 ms (n)", "figure", 1, _percentiles),
    ("tokens", "figure", 6, lambda run: _number(run.stats.tokens)),
    ("cost", "figure", 2, _cost),
)
"""Head, kind, what gives way first on a narrow terminal, and the cell of a run."""
