"""Report the progress of long work: a live bar on a terminal, plain lines anywhere else.

Everything goes to stderr, so that stdout contains only results. A log file gets a line every few
seconds, without carriage returns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

from arena.terminal import can_redraw, duration, encodable, printable

OnProgress = Callable[[int, int], None]
"""Told how many units are done, of how many."""

PLAIN_INTERVAL_S = 10.0
"""Seconds between two plain lines of one stage."""


class Stage(Protocol):
    """One stage of long work."""

    def update(self, done: int, detail: str = "") -> None:
        """Report how many units are done; ``detail`` is a short text beside the number."""


class Reporter(Protocol):
    """The place where arena shows progress."""

    def log(self, line: str) -> None:
        """Print one line that stays."""

    def stage(self, title: str, total: int) -> AbstractContextManager[Stage]:
        """Open a stage of ``total`` units; its end prints the final state."""


def reporter(*, quiet: bool = False) -> Reporter:
    """Return a reporter on stderr: live on a terminal that can redraw a line, or plain lines.

    Args:
        quiet: show nothing.
    """
    if quiet:
        return _Quiet()
    live = can_redraw(sys.stderr)
    return _Live() if live else Plain(_to_stderr)


def _to_stderr(line: str) -> None:
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


class _Pace:
    """The rate and remaining time of a stage, from the work since it opened."""

    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self.total = total
        self.done = 0
        self._clock = clock
        self._began = clock()
        self._first: int | None = None

    def update(self, done: int) -> None:
        # Work of an earlier run says nothing about the rate of this one.
        if self._first is None:
            self._first = done
        self.done = done

    @property
    def elapsed_s(self) -> float:
        return self._clock() - self._began

    @property
    def rate(self) -> float:
        """Return units per second of this session; 0 before the first."""
        fresh = self.done - (self._first or 0)
        return fresh / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def __str__(self) -> str:
        if self.done >= self.total:
            return duration(self.elapsed_s)
        if not self.rate:
            return ""
        return f"{self.rate:,.1f}/s, {duration((self.total - self.done) / self.rate)} left"


class Plain:
    """A reporter for log files: the first update, one every ten seconds, and the last."""

    def __init__(
        self, write: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock

    def log(self, line: str) -> None:
        """Write the line."""
        self._write(line)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """Write the stage's progress every few seconds, and its final state."""
        stage = _PlainStage(title, _Pace(total, self._clock), self._write, self._clock)
        try:
            yield stage
        finally:
            stage.close()


class _PlainStage:
    def __init__(
        self, title: str, pace: _Pace, write: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._title = title
        self._pace = pace
        self._write = write
        self._clock = clock
        self._next_at = clock() + PLAIN_INTERVAL_S
        self._detail = ""
        self._written: int | None = None

    def update(self, done: int, detail: str = "") -> None:
        self._pace.update(done)
        self._detail = detail
        if self._clock() >= self._next_at:
            self._line()

    def close(self) -> None:
        if self._written != self._pace.done:
            self._line()

    def _line(self) -> None:
        self._next_at = self._clock() + PLAIN_INTERVAL_S
        self._written = self._pace.done
        parts = [f"{self._pace.done:,}/{self._pace.total:,}", str(self._pace), self._detail]
        self._write(f"{self._title}: " + ", ".join(part for part in parts if part))


class _Live:
    """A reporter with a moving bar, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415

        self._console = Console(stderr=True, highlight=False, emoji=False)
        self._encoding = sys.stderr.encoding or "utf-8"

    def log(self, line: str) -> None:
        self._console.print(self._shown(line), markup=False)

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415
        from rich.table import Column  # noqa: PLC0415

        # On a narrow terminal the bar shrinks first, then the end of the detail.
        width = self._console.width
        bar = [BarColumn(bar_width=min(24, width - 72))] if width >= 80 else []

        def text(field: str, *, ratio: int | None = None) -> TextColumn:
            # In ASCII an ellipsis takes three characters.
            cut: Literal["ellipsis", "crop"] = "ellipsis" if self._shown("…") == "…" else "crop"
            column = Column(ratio=ratio, no_wrap=True, overflow=cut)
            return TextColumn(f"{{task.{field}}}", markup=False, table_column=column)

        columns = (
            text("description", ratio=None if width >= 60 else 1),
            *bar,
            text("fields[count]"),  # empty until the work of earlier runs is known
            text("fields[pace]"),
            text("fields[detail]", ratio=1),
        )
        pace = _Pace(total, time.monotonic)
        with Progress(
            *columns, console=self._console, refresh_per_second=8, expand=True
        ) as progress:
            short = _middle(self._shown(title), max(width // 2 - 8, 12), self._shown("…"))
            task = progress.add_task(short, total=total, count="", pace="", detail="")
            shown = self._shown

            class Bar:
                def update(self, done: int, detail: str = "") -> None:
                    pace.update(done)
                    done_of = f"{done:,}/{total:,}"
                    progress.update(task, completed=done, count=done_of, pace=str(pace))
                    progress.update(task, detail=shown(detail))

            yield Bar()

    def _shown(self, text: str) -> str:
        return encodable(printable(text), self._encoding)


def _middle(text: str, width: int, dots: str) -> str:
    """Return the beginning and the end of a text that is too long, because both identify names."""
    if len(text) <= width:
        return text
    room = width - len(dots)
    return f"{text[: room - room // 2]}{dots}{text[len(text) - room // 2 :]}"


class _Quiet:
    """A silent reporter, for programs that call arena."""

    def log(self, line: str) -> None:
        pass

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        del title, total

        class Nothing:
            def update(self, done: int, detail: str = "") -> None:
                pass

        yield Nothing()
