"""What runs in a worker of the cluster: look at it, and play one shard of a plan."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from arena.cluster.shared_data import read_shared
from arena.config import JudgeConfig
from arena.digest import digest
from arena.endpoint.address_and_key import find_key
from arena.endpoint.client import run
from arena.errors import (
    ArenaError,
    ClusterError,
    FatalApiError,
    LogError,
    UnforeseenError,
    UsageError,
)
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import (
    PreparedExperiment,
    load_prompts,
    open_experiment,
    prepare,
)
from arena.experiment.live import Stopping, play_prepared
from arena.experiment.summary import Summary
from arena.judging.open import endpoint_of
from arena.progress import Reporter, Stage
from arena.progress import reporter as new_reporter
from arena.store.folder import Folder
from arena.store.shards import Shard
from arena.terminal import one_line
from arena.version import __version__

if TYPE_CHECKING:
    from distributed import Worker

_LOOK_S: Final = 0.1
"""How often a task looks whether it is to stop: until then it begins new calls."""

_TELL_S: Final = 0.5
"""How often a task tells how far it is, at most."""

_TOLD_PER_S: Final = 200
"""Messages of all tasks together, at most: they pass through the one scheduler."""

_LOCKED_S: Final = 120.0
"""Longest wait for the log of a shard whose earlier task is not over yet."""

_ALONE: Final = Lock()
"""Held by the one task that judges in this process."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What a worker needs to play one shard."""

    source: str  #: the arena.toml, under a path that all workers see
    content: str  #: the hash of the arena.toml and its prompts
    data: str  #: the hash of the data that all shards share
    shard: Shard
    max_usd: float | None
    gate: bool  #: whether judges must have passed their controls
    topic: str  #: where the task tells how far it is
    n_at_once: int  #: shards that are played at the same time, which divide rpm and tpm
    arena: str = __version__  #: the version of the driver
    attempt: int = 1  #: grows where a worker has failed to play it

    @property
    def key(self) -> str:
        """Return the name of the task in the cluster."""
        return f"{self.topic}-{self.attempt}-{self.shard.name}"


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """How a shard ended; errors of arena are told in words, as not all of them can travel."""

    shard: Shard
    worker: str  #: its address
    n_before: int = 0  #: battles of the shard that were in the log when the task began
    n_judged: int = 0  #: those and the task's own
    error: str = ""
    fatal: bool = False  #: no other shard would fare better
    reason: str = ""  #: of the endpoint that refuses every request


def play_shard(task: ShardTask) -> ShardEnd:
    """Play one shard in a worker; return how it ended."""
    from distributed import get_worker  # noqa: PLC0415

    worker = get_worker()
    ended = partial(ShardEnd, task.shard, worker.address)
    with _ALONE:
        try:
            prepared = _prepared(task)
            options = BattleOptions(max_usd=task.max_usd, shard=task.shard, gate=task.gate)
            teller = _Teller(worker, task)
            summary = _played(prepared, teller, options, partial(_stopping, worker, task.key))
        except FatalApiError as error:
            return ended(error=one_line(error.detail), fatal=True, reason=error.reason)
        except ClusterError as error:
            return ended(error=one_line(str(error)), fatal=True)
        except (ArenaError, OSError) as error:
            return ended(error=one_line(str(error)))
        except Exception as error:  # noqa: BLE001  told in one line, with its place
            return ended(error=one_line(str(UnforeseenError(error))))
    return ended(teller.n_before or 0, summary.n_judged)


def _played(
    prepared: PreparedExperiment, teller: _Teller, options: BattleOptions, stopping: Stopping
) -> Summary:
    """Play a shard; wait for its log where a task that was cancelled still writes it."""
    until = time.monotonic() + _LOCKED_S
    while True:
        try:
            return run(play_prepared(prepared, teller, options, stopping=stopping))
        except LogError:
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)


_KEPT: dict[tuple[str, str, str, int], PreparedExperiment] = {}
"""The experiment that this process has loaded."""


def _prepared(task: ShardTask) -> PreparedExperiment:
    """Return an experiment with what judges are shown of it, loaded once in this process.

    Raises:
        ClusterError: a file differs from the driver's.
        UsageError: this worker has another version, or lacks a key.
    """
    if task.arena != __version__:  # of a worker that came after the others were checked
        raise UsageError(f"has arena {__version__}, and the run has {task.arena}")
    source = Path(task.source)
    key = (task.source, task.content, task.data, task.n_at_once)
    if key not in _KEPT:
        if content_of(source) != task.content:
            raise ClusterError(f"{source} has changed since the run began; start it again")
        experiment = open_experiment(source)
        judges = tuple(_slowed(judge, task.n_at_once) for judge in experiment.config.judges)
        config = experiment.config.model_copy(update={"judges": judges})
        _check_keys(judges)
        experiment = replace(experiment, config=config)
        data, runs = read_shared(Folder(experiment.folder).shared, task.data)
        _KEPT.clear()
        _KEPT[key] = prepare(experiment, data, runs, load_prompts(experiment))
    return _KEPT[key]


def _check_keys(judges: Iterable[JudgeConfig]) -> None:
    """Check that this process has all keys; another worker may have one that is missing here.

    Raises:
        UsageError: a key is missing.
    """
    try:
        for judge in judges:
            if judge.kind != "qrels":
                find_key(endpoint_of(judge))
    except FatalApiError as error:
        raise UsageError(error.detail) from None


def _slowed(judge: JudgeConfig, n_at_once: int) -> JudgeConfig:
    """Return a judge with its part of the requests and tokens a minute."""
    parts = {
        name: max(1, limit // n_at_once)
        for name, limit in (("rpm", judge.rpm), ("tpm", judge.tpm))
        if limit is not None
    }
    return judge.model_copy(update=parts)


def content_of(source: Path) -> str:
    """Return the hash of an arena.toml and of the prompts beside it."""
    prompts = sorted((source.parent / "prompts").glob("*.md"))
    return digest(*(path.read_bytes() for path in (source, *prompts))).hex()


def look(source: str) -> dict[str, str]:
    """Return what has to be the same in every worker, and what is wrong with this one."""
    path = Path(source)
    if not path.is_file():
        return {source: "problem: sees no such file; all workers need the experiment's folder"}
    try:
        _check_keys(open_experiment(path).config.judges)
        folder = path.parent / "runs"
        folder.mkdir(exist_ok=True)
    except (ArenaError, OSError) as error:
        return {source: f"problem: {one_line(str(error))}"}
    if not os.access(folder, os.W_OK):
        return {source: f"problem: cannot write in {folder}"}
    return {source: content_of(path)}


class _Teller:
    """A `Reporter` of a task: the driver shows what it sends."""

    def __init__(self, worker: Worker, task: ShardTask) -> None:
        self.n_before: int | None = None  #: battles in the log when the task began
        self._worker = worker
        self._topic = task.topic
        self._shard = task.shard.name
        self._every_s = max(_TELL_S, task.n_at_once / _TOLD_PER_S)
        self._next_at = 0.0

    def log(self, line: str) -> None:
        """Send a line."""
        self._worker.log_event(self._topic, {"shard": self._shard, "line": line})

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """Yield a stage that sends how many battles are done, now and then."""
        if title == "battles":
            yield self
            return
        with new_reporter(quiet=True).stage(title, total) as stage:
            yield stage

    def update(self, done: int, detail: str = "") -> None:
        """Send how many battles are done."""
        del detail
        if self.n_before is None:
            self.n_before = done
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + self._every_s
            message = {"shard": self._shard, "before": self.n_before, "done": done}
            self._worker.log_event(self._topic, message)


@contextmanager
def _stopping(worker: Worker, key: str, reporter: Reporter) -> Iterator[asyncio.Event]:
    """Yield an event that is set when the driver has cancelled the task, or is gone."""
    del reporter
    stop = asyncio.Event()
    if _is_over(worker, key):
        stop.set()
    watching = asyncio.create_task(_watch(worker, key, stop))
    try:
        yield stop
    finally:
        watching.cancel()


async def _watch(worker: Worker, key: str, stop: asyncio.Event) -> None:
    # The worker tells nobody when a task is cancelled, so the task has to look.
    while not _is_over(worker, key):  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)
    stop.set()


def _is_over(worker: Worker, key: str) -> bool:
    """Return whether nobody waits for a task, as its worker knows; nothing is asked for that."""
    # A worker closes when it has lost its scheduler. One that retires works on until then.
    if worker.status.name not in ("running", "paused", "closing_gracefully"):
        return True
    task = worker.state.tasks.get(key)
    return task is None or task.state != "executing"
