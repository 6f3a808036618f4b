"""Run an arena.toml from a program."""

from __future__ import annotations

from pathlib import Path

from arena.experiment import live as pipeline
from arena.experiment.summary import BattleOptions, Summary
from arena.progress import Reporter, reporter


def battle(
    path: str | Path, progress: Reporter | None = None, options: BattleOptions | None = None
) -> Summary:
    """Run an arena.toml as `arena battle` does; the same call resumes.

    Args:
        path: the arena.toml, or the folder that holds one.
        progress: where progress is shown, such as ``arena.reporter()``; nowhere where absent.
        options: what one run is told beside its arena.toml.

    Raises:
        UsageError: the config or a data file has a mistake.
        ApiError: an endpoint failed.
        GateError: a judge failed its controls.
        LogError: the log is locked by another process, or cannot be written.
    """
    return pipeline.battle(Path(path).expanduser(), progress or reporter(quiet=True), options)
