"""Judge an experiment on a cluster: each task plays one shard, into a log of its own.

The experiment's folder has to be visible to all workers, under the same path. Each shard obeys the
rules that `arena battle --shard` obeys: its own log, its part of each cap, nothing judged twice. At
the end this process plays what is left, such as battles that a shard's part of a cap did not cover.
Then it rates all logs together.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from arena.cluster.connect import Cluster, check_workers
from arena.cluster.retrieve import ClusterRanker
from arena.config import JudgeConfig
from arena.digest import digest
from arena.endpoint.address import find_key
from arena.endpoint.client import run
from arena.errors import (
    ArenaError,
    ClusterError,
    FatalApiError,
    IncompleteError,
    LogError,
    UnforeseenError,
)
from arena.experiment.experiment import (
    PreparedExperiment,
    load_data,
    load_prompts,
    open_experiment,
    prepare,
)
from arena.experiment.live import open_prepared, play_prepared, with_remedy
from arena.experiment.runs import run_specs, stored_run
from arena.experiment.summary import BattleOptions, Summary
from arena.judging.open import endpoint_of
from arena.progress import Reporter, Stage
from arena.progress import reporter as new_reporter
from arena.store.folder import Folder
from arena.store.shards import Shard, parse_shard
from arena.terminal import one_line

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

_PER_WORKER: Final = 4
"""Shards for each worker, so that a slow one holds up no others for long."""

_LOOK_S: Final = 0.5
"""How often a task looks whether it is to stop, and tells how far it is."""

_LOCKED_S: Final = 120.0
"""Longest wait for the log of a shard whose earlier task is not over yet."""

_ALONE: Final = Lock()
"""Held by the one task that judges in this process."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What a worker needs to play one shard."""

    source: str  #: the arena.toml, under a path that all workers see
    content: str  #: the hash of the arena.toml and its prompts
    shard: Shard
    max_usd: float | None
    gate: bool  #: whether judges must have passed their controls
    topic: str  #: where the task tells how far it is
    n_at_once: int  #: shards that are played at the same time, which divide rpm and tpm


@dataclass(frozen=True, slots=True)
class ShardEnd:
    """How a shard ended; errors of arena are told in words, as not all of them can travel."""

    shard: Shard
    n_judged: int = 0
    error: str = ""
    fatal: bool = False  #: no other shard would fare better


def battle_on_cluster(
    path: Path, reporter: Reporter, options: BattleOptions, cluster: Cluster
) -> Summary:
    """Judge every planned battle that is not in a log yet, on all workers of a cluster.

    Args:
        path: the arena.toml, or its folder.
        reporter: told how far it is.
        options: of the run; a shard, a limit and a stopping rule are for one machine.
        cluster: is ready.

    Raises:
        ArenaError: as `arena.experiment.live.battle`.
        ClusterError: a worker differs from this process, or the cluster is lost. What was judged
            is in the logs.
    """
    experiment = open_experiment(path)
    check_workers(cluster, partial(_look, str(experiment.source.resolve())))
    with with_remedy(experiment, options):
        prepared = open_prepared(experiment, reporter, options, ClusterRanker(cluster))
        # Judges prove themselves once, and the manifest is there before the first shard begins.
        run(play_prepared(prepared, reporter, replace(options, limit=0)))
        ended = _play_shards(prepared, reporter, options, cluster)
        for end in ended:
            if end.fatal:
                raise FatalApiError("cluster", f"shard {end.shard.name}: {end.error}")
            if end.error:
                reporter.log(f"note: shard {end.shard.name}: {end.error}")
        return run(play_prepared(prepared, reporter, options))


def _play_shards(
    prepared: PreparedExperiment, reporter: Reporter, options: BattleOptions, cluster: Cluster
) -> list[ShardEnd]:
    experiment = prepared.experiment
    topic = f"arena-{experiment.config.experiment.name}-{secrets.token_hex(4)}"
    source = experiment.source.resolve()
    count = _n_shards(prepared, cluster)
    tasks = [
        ShardTask(
            str(source),
            _content(source),
            Shard(number, count),
            options.max_usd,
            options.gate,
            topic,
            min(count, cluster.n_workers),
        )
        for number in range(1, count + 1)
    ]
    n_battles = prepared.n_matchups * len(experiment.config.judges)
    with (
        reporter.stage(f"battles on {cluster.n_workers} workers", n_battles) as stage,
        _told(cluster.client, topic, reporter, stage),
    ):
        futures = [
            cluster.client.submit(play_shard, task, pure=False, key=f"{topic}-{task.shard.name}")
            for task in tasks
        ]
        return _ended(cluster.client, futures, topic, prepared, options)


def _ended(
    client: Client,
    futures: list[Future],
    topic: str,
    prepared: PreparedExperiment,
    options: BattleOptions,
) -> list[ShardEnd]:
    from distributed import Event, as_completed  # noqa: PLC0415

    ended: list[ShardEnd] = []
    try:
        for _, end in as_completed(futures, with_results=True):
            ended.append(end)
            if end.fatal:
                Event(topic, client=client).set()
    except KeyboardInterrupt:
        with suppress(Exception):
            Event(topic, client=client).set()
            client.gather(futures, errors="skip")
        again = options.command(prepared.experiment)
        raise IncompleteError(f"stopped; go on with: {again}") from None
    except ArenaError:
        raise
    except Exception as error:  # noqa: BLE001  a worker, or the scheduler, is gone
        what = one_line(f"{type(error).__name__}: {error}")
        raise ClusterError(
            f"{what}; nothing judged is lost, and the same command goes on"
        ) from None
    return ended


def _n_shards(prepared: PreparedExperiment, cluster: Cluster) -> int:
    """Return the number of shards: as many as before, so that two tasks never share a battle."""
    section = prepared.config.cluster
    if section is not None and section.shards is not None:
        return section.shards
    names = [log.suffix.removeprefix("-") for log in Folder(prepared.experiment.folder).logs()]
    before = [parse_shard(name.replace("of", "/")).count for name in names if name]
    return max(before, default=_PER_WORKER * cluster.n_workers)


@contextmanager
def _told(client: Client, topic: str, reporter: Reporter, stage: Stage) -> Iterator[None]:
    """Show what the tasks tell."""
    done: dict[str, int] = {}

    def hear(event: tuple[float, Mapping[str, Any]]) -> None:
        message = event[1]
        if "line" in message:
            reporter.log(f"{message['shard']}: {message['line']}")
        else:
            done[message["shard"]] = message["done"]
            stage.update(sum(done.values()))

    client.subscribe_topic(topic, hear)
    try:
        yield
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.unsubscribe_topic(topic)


def play_shard(task: ShardTask) -> ShardEnd:
    """Play one shard in a worker; return how it ended."""
    from distributed import get_worker  # noqa: PLC0415

    worker = get_worker()
    with _ALONE:
        try:
            prepared = _prepared(task.source, task.content, task.n_at_once)
            options = BattleOptions(max_usd=task.max_usd, shard=task.shard, gate=task.gate)
            teller = _Teller(worker, task)
            summary = _played(prepared, teller, options, partial(_stopping, worker, task))
        except FatalApiError as error:
            return ShardEnd(task.shard, error=one_line(str(error)), fatal=True)
        except ArenaError as error:
            return ShardEnd(task.shard, error=one_line(str(error)))
        except Exception as error:  # noqa: BLE001  told in one line, with its place
            return ShardEnd(task.shard, error=one_line(str(UnforeseenError(error))))
    return ShardEnd(task.shard, summary.n_judged)


def _played(
    prepared: PreparedExperiment,
    teller: _Teller,
    options: BattleOptions,
    stopping: Callable[[Reporter], Any],
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


_KEPT: dict[tuple[str, str, int], PreparedExperiment] = {}
"""The experiment that this process has loaded."""


def _prepared(source: str, content: str, n_at_once: int) -> PreparedExperiment:
    """Return an experiment whose runs are on the disk, loaded once in this process.

    Raises:
        ClusterError: a file differs from the driver's, or a run is not there.
    """
    key = (source, content, n_at_once)
    if key not in _KEPT:
        if _content(Path(source)) != content:
            raise ClusterError(f"{source} has changed since the run began; start it again")
        experiment = open_experiment(Path(source))
        judges = tuple(_slowed(judge, n_at_once) for judge in experiment.config.judges)
        config = experiment.config.model_copy(update={"judges": judges})
        experiment = replace(experiment, config=config)
        data = load_data(config, new_reporter(quiet=True))
        runs = []
        for name, dataset in data.datasets.items():
            for wanted in run_specs(experiment, dataset, data.queries[name]):
                if (found := stored_run(wanted)) is None:
                    raise ClusterError(
                        f"{wanted.path}: is not the run that this worker's packages and data "
                        "would give; let it see the same files and versions"
                    )
                runs.append(found)
        _KEPT.clear()
        _KEPT[key] = prepare(experiment, data, runs, load_prompts(experiment))
    return _KEPT[key]


def _slowed(judge: JudgeConfig, n_at_once: int) -> JudgeConfig:
    """Return a judge with its part of the requests and tokens a minute."""
    parts = {
        name: max(1, limit // n_at_once)
        for name, limit in (("rpm", judge.rpm), ("tpm", judge.tpm))
        if limit is not None
    }
    return judge.model_copy(update=parts)


def _content(source: Path) -> str:
    """Return the hash of an arena.toml and of the prompts beside it."""
    prompts = sorted((source.parent / "prompts").glob("*.md"))
    return digest(*(path.read_bytes() for path in (source, *prompts))).hex()


def _look(source: str) -> dict[str, str]:
    """Return what has to be the same in every worker, and what is wrong with this one."""
    path = Path(source)
    if not path.is_file():
        return {source: "problem: sees no such file; all workers need the experiment's folder"}
    try:
        for judge in open_experiment(path).config.judges:
            if judge.kind != "qrels":
                find_key(endpoint_of(judge))
        folder = path.parent / "runs"
        folder.mkdir(exist_ok=True)
    except (ArenaError, OSError) as error:
        return {source: f"problem: {one_line(str(error))}"}
    if not os.access(folder, os.W_OK):
        return {source: f"problem: cannot write in {folder}"}
    return {source: _content(path)}


class _Teller:
    """A `Reporter` of a task: the driver shows what it sends."""

    def __init__(self, worker: Worker, task: ShardTask) -> None:
        self._worker = worker
        self._topic = task.topic
        self._shard = f"shard {task.shard.name}"
        self._next_at = 0.0

    def log(self, line: str) -> None:
        """Send a line."""
        self._worker.log_event(self._topic, {"shard": self._shard, "line": line})

    @contextmanager
    def stage(self, title: str, total: int) -> Iterator[Stage]:
        """Yield a stage that sends how many battles are done, twice a second at most."""
        del title, total
        yield self
        self._next_at = 0.0

    def update(self, done: int, detail: str = "") -> None:
        """Send how many battles are done."""
        del detail
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _LOOK_S
            self._worker.log_event(self._topic, {"shard": self._shard, "done": done})


@contextmanager
def _stopping(worker: Worker, task: ShardTask, reporter: Reporter) -> Iterator[asyncio.Event]:
    """Yield an event that is set when the driver says so, or is gone."""
    del reporter
    stop = asyncio.Event()
    watching = asyncio.create_task(_watch(worker, task, stop))
    try:
        yield stop
    finally:
        watching.cancel()


async def _watch(worker: Worker, task: ShardTask, stop: asyncio.Event) -> None:
    from distributed import Event, get_client  # noqa: PLC0415

    key = f"{task.topic}-{task.shard.name}"

    def is_over() -> bool:
        state = worker.state.tasks.get(key)
        if state is None or state.state != "executing":
            return True  # cancelled, as is what nobody waits for any more
        return bool(Event(task.topic, client=client).is_set())

    client = await asyncio.to_thread(get_client, worker.scheduler.address)
    while True:
        try:
            over = await asyncio.to_thread(is_over)
        except Exception:  # noqa: BLE001  the scheduler is gone
            over = True
        if over:
            stop.set()
            return
        await asyncio.sleep(_LOOK_S)
