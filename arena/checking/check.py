"""Test every data set, model and judge of an experiment, all at the same time.

Each has a thread of its own, and one deadline holds for all: a test that hangs is a failed row. The
time counts from the last document that was read, so a large data set does not fail.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from arena.checking.probes import Means, model_kind, try_judge, try_model
from arena.checking.rows import CheckRow, failed
from arena.config import Config
from arena.data.load import load_dataset
from arena.errors import UsageError
from arena.experiment.experiment import open_experiment, sampled_queries
from arena.progress import Reporter, Stage
from arena.records import Dataset

T = TypeVar("T")

TIMEOUT_S: Final = 60.0
"""Longest wait for any row."""
_SHOWN_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Report:
    """What works, and what does not."""

    rows: Sequence[CheckRow]  #: data sets, models, judges, in the order of the arena.toml
    hangs: bool  #: something is still under way, and only the end of the process ends it

    @property
    def ok(self) -> bool:
        """Return whether nothing failed."""
        return all(row.outcome != "failed" for row in self.rows)

    @property
    def missing_keys(self) -> tuple[str, ...]:
        """Return the environment variables that you have to set."""
        return tuple(dict.fromkeys(row.missing_key for row in self.rows if row.missing_key))

    @property
    def cost_usd(self) -> float:
        """Return the cost of the check, as far as prices are known."""
        return sum(row.cost_usd or 0.0 for row in self.rows)

    @property
    def n_unpriced(self) -> int:
        """Return the number of rows that used tokens of an unknown price."""
        return sum(bool(row.tokens) and row.cost_usd is None for row in self.rows)


def check(
    path: Path, reporter: Reporter, *, data: bool = True, timeout_s: float = TIMEOUT_S
) -> Report:
    """Try everything that an arena.toml names with one tiny call each.

    Args:
        path: the arena.toml.
        reporter: told how many are done.
        data: load the data sets, too; run files and commands cannot be tried without.
        timeout_s: longest wait for any of them, while no document of a data set is read.

    Raises:
        ConfigError: the arena.toml has mistakes.
    """
    experiment = open_experiment(path)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        means = Means(
            experiment.source.parent,
            Path(cache),
            timeout_s,
            experiment.config.experiment.top_k,
            sample=lambda dataset: sampled_queries(dataset, experiment.config)[0],
        )
        heard = {dataset.name: _LoadingProgress() for dataset in experiment.config.datasets if data}
        trials = _trials(experiment.config, means, heard)
        _wait(trials, heard, reporter, timeout_s)
        return Report(
            [_row(trial, timeout_s) for trial in trials],
            hangs=not all(trial.row.done() for trial in trials),
        )


@dataclass(frozen=True, slots=True)
class _Trial:
    """A row that is under way."""

    name: str
    kind: str
    row: Future[CheckRow]


class _LoadingProgress:
    """Remembers how far the loading of a data set is, for the one line that tells of all."""

    def __init__(self) -> None:
        self.read = ""
        self.changed_at = time.monotonic()

    def log(self, line: str) -> None:
        """Drop the line: the data set's notes have the same."""

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """Remember what is done of a stage."""
        del title
        heard, before = self, -1

        class Files:
            def update(self, done: int, detail: str = "") -> None:
                nonlocal before
                del detail
                if done != before:
                    before, heard.changed_at = done, time.monotonic()
                    heard.read = f" ({done:,} of {total:,} files)"

        yield Files()


def _trials(config: Config, means: Means, heard: Mapping[str, _LoadingProgress]) -> list[_Trial]:
    loading = {
        dataset.name: _started(partial(load_dataset, dataset, heard[dataset.name]))
        for dataset in config.datasets
        if heard
    }

    def datasets() -> list[Dataset] | None:
        """Return all data sets, once they are loaded."""
        try:
            return [dataset.result() for dataset in loading.values()] if heard else None
        except Exception:  # noqa: BLE001  for any error a row of its own says so
            raise UsageError("a data set that it needs cannot be loaded") from None

    trials = [
        _Trial(name, "data set", _started(partial(_described, dataset)))
        for name, dataset in loading.items()
    ]
    trials += [
        _Trial(model.name, model_kind(model), _started(partial(try_model, model, datasets, means)))
        for model in config.models
    ]
    trials += [
        _Trial(
            judge.log_name,
            f"judge {judge.kind}",
            _started(partial(try_judge, judge, datasets, means)),
        )
        for judge in config.judges
    ]
    return trials


def _started(work: Callable[[], T]) -> Future[T]:
    """Return the future result of a daemon thread, which does not keep the process from ending."""
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised where the result is read
            future.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return future


def _wait(
    trials: Sequence[_Trial],
    heard: Mapping[str, _LoadingProgress],
    reporter: Reporter,
    timeout_s: float,
) -> None:
    """Wait until all are done, or nothing has progressed for too long."""
    began = time.monotonic()
    pending = {trial.row for trial in trials}
    with reporter.stage("checked", len(trials)) as stage:
        while pending:
            moved = max([began, *(dataset.changed_at for dataset in heard.values())])
            left_s = moved + timeout_s - time.monotonic()
            if left_s <= 0:
                break
            pending = wait(pending, min(left_s, _SHOWN_EVERY_S), FIRST_COMPLETED).not_done
            waiting = [_shown(trial, heard) for trial in trials if trial.row in pending]
            detail = f"waiting for {', '.join(waiting[:3])}" if waiting else ""
            stage.update(len(trials) - len(pending), detail)


def _shown(trial: _Trial, heard: Mapping[str, _LoadingProgress]) -> str:
    return trial.name + (heard[trial.name].read if trial.kind == "data set" else "")


def _row(trial: _Trial, timeout_s: float) -> CheckRow:
    if not trial.row.done():
        problem = f"not done within {timeout_s:g} s; --timeout waits longer"
        if trial.kind == "data set":
            problem += ", --no-data leaves data sets out"
        return CheckRow(trial.name, trial.kind, "failed", "no answer", problem)
    error = trial.row.exception()
    if error is None:
        return trial.row.result()
    if isinstance(error, Exception):
        return failed(trial.name, trial.kind, error)
    raise error


def _described(loading: Future[Dataset]) -> CheckRow:
    dataset = loading.result()
    n_grades = sum(len(grades) for grades in dataset.qrels.values())
    counts = f"{len(dataset.corpus):,} documents, {len(dataset.queries):,} queries"
    graded = f"{n_grades:,} qrels" if n_grades else "no qrels"
    notes = (f"{counts}, {graded}", *dataset.notes)
    return CheckRow(dataset.name, "data set", "ok", notes=notes)
