"""Judge an experiment on a cluster: each task plays one shard, into a log of its own.

The experiment's folder has to be visible to all workers, under the same path. Each shard obeys the
rules that `arena battle --shard` obeys: its own log, its part of each cap, nothing judged twice. At
the end this process plays what is left, such as battles that a shard's part of a cap did not cover.
Then it rates all logs together.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from arena.cluster.connect import Cluster, check_workers, each_ended, lost, workers_of
from arena.cluster.retrieve import ClusterRanker
from arena.cluster.shared_data import write_shared
from arena.cluster.worker import ShardEnd, ShardTask, content_of, look, play_shard
from arena.endpoint.client import run
from arena.errors import ArenaError, ClusterError, FatalApiError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import PreparedExperiment, open_experiment
from arena.experiment.live import open_prepared, play_prepared, with_remedy
from arena.experiment.summary import Summary
from arena.progress import Reporter, Stage
from arena.progress import reporter as new_reporter
from arena.signals import terminated_as_interrupted
from arena.store.folder import Folder
from arena.store.locked_file import locked_log
from arena.store.shards import Shard, parse_shard
from arena.terminal import count

if TYPE_CHECKING:
    from distributed import Client, Future

_PER_WORKER: Final = 4
"""Shards for each worker, so that a slow one holds up no others for long."""

_LEAST_BATTLES: Final = 200
"""Battles of a shard, at least, where each worker has one: at the end of a shard calls run out."""

_ATTEMPTS: Final = 3
"""How often workers try to play a shard that ends in an error; then the driver does."""

_AGAIN: Final = "nothing judged is lost, and the same command goes on"

_DRAIN_S: Final = 600.0
"""Longest wait for tasks that finish their calls under way."""


def battle_on_cluster(
    path: Path, reporter: Reporter, options: BattleOptions, cluster: Cluster
) -> Summary:
    """Judge every planned battle that is not in a log yet, on all workers of a cluster.

    Ctrl-C finishes the calls under way, as on one machine; a second one leaves at once.

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
    # Paths are part of what identifies a run; so all processes write them alike.
    experiment = open_experiment(path.absolute())
    check_workers(cluster, partial(look, str(experiment.source)))
    with with_remedy(experiment, options):
        prepared = open_prepared(experiment, reporter, options, ClusterRanker(cluster))
        # Judges prove themselves once, and the manifest is there before the first shard begins.
        nothing = replace(options, limit=0)
        begun = run(play_prepared(prepared, _LinesOnly(reporter), nothing))
        if begun.interrupted or begun.capped or begun.n_judged == begun.n_planned:
            return replace(begun, options=options)
        stopped = _play_shards(prepared, reporter, options, cluster, n_before=begun.n_judged)
        summary = run(play_prepared(prepared, reporter, nothing if stopped else options))
    unfinished = stopped and summary.n_judged < summary.n_planned
    return replace(summary, options=options, interrupted=summary.interrupted or unfinished)


def _play_shards(
    prepared: PreparedExperiment,
    reporter: Reporter,
    options: BattleOptions,
    cluster: Cluster,
    *,
    n_before: int,
) -> bool:
    """Play all shards to their end; return whether Ctrl-C has stopped them."""
    files = Folder(prepared.experiment.folder)
    tasks = _tasks(prepared, options, cluster, write_shared(files.shared, prepared))
    locks = [files.log(task.shard).lock for task in tasks]
    n_battles = prepared.n_matchups * len(prepared.config.judges)
    title = f"battles on {count(cluster.n_workers, 'worker')}"
    with (
        locked_log(files.log().lock),  # no other run begins meanwhile
        terminated_as_interrupted(),
        reporter.stage(title, n_battles) as stage,
        _Board(cluster.client, tasks[0].topic, reporter, stage, n_before).shown() as board,
    ):
        futures: list[Future] = []
        # Workers that come later take work as well, unless they would exceed a limit.
        most = tasks[0].n_at_once if _is_limited(prepared) else len(tasks)
        try:
            for end in _ends(cluster.client, tasks, futures, most=most, log=reporter.log):
                board.take(end)
        except KeyboardInterrupt:
            reporter.log(
                "stopping: finishing the calls under way; press Ctrl-C again to exit at once"
            )
            with suppress(KeyboardInterrupt):
                _stop(cluster.client, futures, locks)
            return True
        except ArenaError:
            _stop(cluster.client, futures, locks)
            raise
        # A worker that the scheduler believes dead may judge on: its battles are not for others.
        _wait_for_writers(locks)
    return False


def _tasks(
    prepared: PreparedExperiment, options: BattleOptions, cluster: Cluster, data: str
) -> list[ShardTask]:
    experiment = prepared.experiment
    source = experiment.source
    n_shards = _n_shards(prepared, cluster)
    topic = f"arena-{experiment.config.experiment.name}-{secrets.token_hex(4)}"
    return [
        ShardTask(
            source=str(source),
            content=content_of(source),
            data=data,
            shard=Shard(number, n_shards),
            max_usd=options.max_usd,
            gate=options.gate,
            topic=topic,
            n_at_once=_n_at_once(prepared, n_shards, cluster),
        )
        for number in range(1, n_shards + 1)
    ]


def _n_shards(prepared: PreparedExperiment, cluster: Cluster) -> int:
    """Return the number of shards: as many as before, so that two tasks never share a battle.

    They are at least two: a single one would have the log of the whole plan, and the driver locks
    that one.
    """
    section = prepared.config.cluster
    if section is not None and section.shards is not None:
        return section.shards
    suffixes = [log.suffix for log in Folder(prepared.experiment.folder).logs()]
    found = [re.fullmatch(r"-(\d+)of(\d+)", suffix) for suffix in suffixes]
    before = [parse_shard(f"{name[1]}/{name[2]}").count for name in found if name]
    n_battles = prepared.n_matchups * len(prepared.config.judges)
    n_shards = min(_PER_WORKER * cluster.n_workers, n_battles // _LEAST_BATTLES)
    return max(before, default=max(n_shards, cluster.n_workers, 2))


def _is_limited(prepared: PreparedExperiment) -> bool:
    judges = prepared.config.judges
    return any(limit is not None for judge in judges for limit in (judge.rpm, judge.tpm))


def _n_at_once(prepared: PreparedExperiment, n_shards: int, cluster: Cluster) -> int:
    """Return how many shards share rpm and tpm: each has a request a minute at least."""
    limits = [judge.rpm for judge in prepared.config.judges if judge.rpm is not None]
    return min([n_shards, cluster.n_workers, *limits])


def _ends(
    client: Client,
    tasks: Sequence[ShardTask],
    futures: list[Future],
    *,
    most: int,
    log: Callable[[str], None],
) -> Iterator[ShardEnd]:
    """Submit the tasks, and yield how each shard ended, as they end.

    Args:
        client: of the cluster.
        tasks: of all shards.
        futures: gets the future of each task that is submitted.
        most: tasks that are submitted at the same time; the others wait until one has ended.
        log: told of workers that are silent.

    Raises:
        FatalApiError: an endpoint refuses every request.
        ClusterError: a worker differs, a shard ends its workers, or the scheduler is lost.
    """
    from distributed import as_completed  # noqa: PLC0415

    waiting = iter(tasks)
    of_shard = {task.shard: task for task in tasks}

    def submit(new: Iterable[ShardTask], workers: Iterable[str] = ()) -> list[Future]:
        added = [
            client.submit(
                play_shard,
                task,
                pure=False,
                key=task.key,
                workers=list(workers) or None,
                allow_other_workers=bool(workers),
            )
            for task in new
        ]
        futures.extend(added)
        return added

    ended = as_completed(submit(islice(waiting, most)))
    for future in each_ended(client, ended, _AGAIN, log=log):
        end = _end_of(future)
        task = of_shard[end.shard]
        others = workers_of(client) - {end.worker} if end.error else set()
        if others and task.attempt < _ATTEMPTS:
            # It may be the worker: a full disk, a folder that is gone, a key that is missing.
            of_shard[end.shard] = replace(task, attempt=task.attempt + 1)
            ended.update(submit([of_shard[end.shard]], others))
        else:
            ended.update(submit(islice(waiting, 1)))
        yield end


def _end_of(future: Future) -> ShardEnd:
    """Return how a task ended.

    Raises:
        FatalApiError, ClusterError: as `_ends`.
    """
    from distributed import KilledWorker  # noqa: PLC0415

    try:
        end: ShardEnd = future.result()
    except KilledWorker as error:
        shard = error.task.rpartition("-")[2]
        raise ClusterError(
            f"shard {shard} ended {count(error.allowed_failures + 1, 'worker')} in turn, the "
            f"last of them {error.last_worker.address}, whose log may tell why (often too "
            f"little memory); {_AGAIN}"
        ) from None
    except Exception as error:  # noqa: BLE001  the scheduler, or a worker that cannot read a task
        raise lost(error, _AGAIN) from None
    if end.fatal and end.reason:
        raise FatalApiError(end.reason, end.error)
    if end.fatal:
        raise ClusterError(f"shard {end.shard.name}: {end.error}")
    return end


def _stop(client: Client, futures: Sequence[Future], locks: Sequence[Path]) -> None:
    """Stop all tasks, and wait until none writes a log any more."""
    with suppress(Exception):  # the scheduler may be gone, and its workers with it
        client.cancel(list(futures))
        _wait_for_writers(locks)


def _wait_for_writers(locks: Sequence[Path]) -> None:
    """Wait until no process writes the log of a shard.

    Raises:
        LogError: one still does after a long time.
    """
    for lock in locks:
        with locked_log(lock, wait_s=_DRAIN_S):
            pass


class _LinesOnly:
    """A `Reporter` that shows lines and no stages."""

    def __init__(self, reporter: Reporter) -> None:
        self.log = reporter.log
        self.stage = new_reporter(quiet=True).stage


class _Board:
    """Shows what the tasks and the scheduler tell, in one stage."""

    def __init__(
        self, client: Client, topic: str, reporter: Reporter, stage: Stage, n_before: int
    ) -> None:
        self._client = client
        self._topic = topic
        self._reporter = reporter
        self._stage = stage
        self._n_before = n_before
        self._lock = Lock()  # the client hears in a thread of its own
        self._new: dict[str, int] = {}  # shard → battles that this run has judged
        self._first: dict[str, int] = {}  # shard → those in its log when the run began
        self._workers = workers_of(client)

    @contextmanager
    def shown(self) -> Iterator[_Board]:
        """Show them for as long as this lasts."""
        self._stage.update(self._n_before)
        topics = {self._topic: self._hear_task, "all": self._hear_scheduler}
        for topic, hear in topics.items():
            self._client.subscribe_topic(topic, hear)
        try:
            yield self
        finally:
            for topic in topics:
                with suppress(Exception):  # the scheduler may be gone
                    self._client.unsubscribe_topic(topic)

    def take(self, end: ShardEnd) -> None:
        """Show how a shard ended."""
        if end.error:
            self._reporter.log(f"note: shard {end.shard.name} on {end.worker}: {end.error}")
        else:
            self._count(str(end.shard.name), end.n_before, end.n_judged)

    def _count(self, shard: str, n_before: int, n_done: int) -> None:
        with self._lock:
            # The task of a worker that died has judged some before the next one began.
            self._first[shard] = min(n_before, self._first.get(shard, n_before))
            self._new[shard] = max(n_done - self._first[shard], self._new.get(shard, 0))
            self._stage.update(self._n_before + sum(self._new.values()))

    def _hear_task(self, event: tuple[float, Mapping[str, Any]]) -> None:
        message = event[1]
        if "line" in message:
            self._reporter.log(f"shard {message['shard']}: {message['line']}")
        else:
            self._count(message["shard"], message["before"], message["done"])

    def _hear_scheduler(self, event: tuple[float, Mapping[str, Any]]) -> None:
        message = event[1]
        worker = message.get("worker", "")
        if message.get("action") == "add-worker":
            self._workers.add(worker)
        elif message.get("action") == "remove-worker":
            self._workers.discard(worker)
            heirs = (
                "others go on with its shards"
                if self._workers
                else "no worker is left, and arena waits for one; press Ctrl-C to stop"
            )
            if any(str(key).startswith(self._topic) for key in message.get("processing-tasks", ())):
                self._reporter.log(f"note: worker {worker} is gone; {heirs}")
