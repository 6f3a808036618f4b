"""Estimate the time of a judge's calls, by earlier runs or by the endpoint's limits."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from arena.config import JudgeConfig
from arena.endpoint.address_and_key import is_own
from arena.json_text import read_json
from arena.judging.open import endpoint_of
from arena.store.folder import Folder
from arena.terminal import duration

SECONDS_PER_CALL: Final = 2.0
"""Of a hosted model that writes a short analysis."""
IN_FLIGHT: Final = 64
"""How many of them are under way at once, where the endpoint sets no limit."""
IN_FLIGHT_OWN: Final = 2
"""On your own server, which may work on one at a time."""
LAST: Final = 200
"""Calls that are looked at, at most."""
LEAST_CALLS: Final = 3
"""Times from one answer to the next that say something."""
_TAIL: Final = 2**20
"""Bytes at the end of a file that hold them."""
_PAUSE_S: Final = 10.0
"""A longer time without an answer, far longer than usual, lies between two runs."""
_UNUSUAL: Final = 10.0


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """About how long work takes."""

    seconds: float
    why: str  #: what it is computed from, for people

    def __str__(self) -> str:
        return f"{duration(self.seconds):>12}  {self.why}"


def time_left(config: JudgeConfig, folder: Path | None, n_calls: int, n_tokens: int) -> TimeLeft:
    """Return about how long this many calls take.

    Args:
        config: of the judge.
        folder: of the experiment, with what earlier runs measured; None if there are none.
        n_calls: that are to be made.
        n_tokens: of all of them, replies included.
    """
    measured_s = seconds_per_answer(config, folder) if folder else None
    if measured_s is None:
        at_once, why = _expected(config)
        seconds = math.ceil(n_calls / at_once) * SECONDS_PER_CALL
    else:
        seconds, why = n_calls * measured_s, f"{measured_s:.2g} s a call, as measured"
    limits = (("rpm", config.rpm, n_calls), ("tpm", config.tpm, n_tokens))
    for name, limit, n in limits:
        if limit and n / limit * 60 > seconds:
            seconds, why = n / limit * 60, f"{name} = {limit:,}"
    return TimeLeft(seconds, why)


def seconds_per_answer(config: JudgeConfig, folder: Path) -> float | None:
    """Return the time between two answers of a judge in its last run; None if unknown."""
    files = Folder(folder)
    paths = files.all_grades() if config.kind == "pointwise" else files.all_replies()
    newest = max(paths, key=lambda path: path.stat().st_mtime, default=None)
    moments = sorted(_moments(newest, config.log_name)) if newest else []
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    if len(gaps) < LEAST_CALLS:
        return None
    pause_s = max(_PAUSE_S, _UNUSUAL * statistics.median(gaps))
    return statistics.fmean([gap for gap in gaps if gap <= pause_s] or gaps)


def _expected(config: JudgeConfig) -> tuple[int, str]:
    """Return how many calls are under way at once, and in words."""
    if config.concurrency != "auto":
        at_once = config.concurrency
    else:
        at_once = IN_FLIGHT_OWN if is_own(endpoint_of(config)) else IN_FLIGHT
    calls = f"{at_once} calls at once" if at_once > 1 else "one call at a time"
    return at_once, f"if a call takes {SECONDS_PER_CALL:g} s; {calls}"


def _moments(path: Path, judge: str) -> list[float]:
    """Return when a judge's last answers came, in seconds."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        lines = file.read().splitlines()
    rows = (read_json(line) for line in lines[-LAST:])
    return [moment for row in rows if (moment := _moment(row, judge)) is not None]


def _moment(row: object, judge: str) -> float | None:
    if not isinstance(row, Mapping) or row.get("judge", judge) not in (judge, ""):
        return None
    at: Any = row.get("at")
    try:
        return datetime.fromisoformat(at).timestamp() if isinstance(at, str) else None
    except (ValueError, OverflowError):
        return None
