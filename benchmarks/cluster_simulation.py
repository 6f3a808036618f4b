"""Run the tasks of a cluster whose workers sleep, and compare what they take with the cost model.

The scheduler is a process of its own, as on a real cluster. The workers are threads of this
process. The graph of tasks, the merging of lists and the messages about progress are arena's own.
Only the work inside a task is a sleep, in place of `_embed_queries`, `_rank_partition` and
`play_shard`.
"""

# ruff: noqa: SLF001  what runs between two sleeps is private to arena
from __future__ import annotations

import asyncio
import logging
import math
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from unittest.mock import patch

import dask
import numpy as np
import psutil
from cluster_cost import Plan, Rates, cost, merges
from distributed import Client, Worker, get_worker
from experiments import QUIET

from arena.cluster import judge as judging
from arena.cluster import retrieve as retrieval
from arena.cluster.connect import Cluster, open_cluster
from arena.cluster.worker import ShardEnd, ShardTask, _Teller
from arena.config import ModelConfig
from arena.records import Partition
from arena.retrieval.partitioned import EmbeddedQueries, PartialRun
from arena.store.shards import Shard
from arena.vectors.quantized import Ranges
from arena.vectors.vector_files import StoredVectors

DEPTH: Final = 10
QUERIES: Final = {f"q{number}": "some words" for number in range(10)}
"""Few queries and short lists: all workers share one interpreter, which merges every list."""

_WORKERS: Final = {
    "distributed.admin.tick.interval": "1 minute",
    "distributed.admin.system-monitor.interval": "1 minute",
    "distributed.worker.profile.enabled": False,
}
"""Settings of workers that share an interpreter. Each one of a real cluster looks at its own event
loop 50 times a second, at its memory ten times and at the system twice. For 256 workers this is
more than one interpreter can do, so that they were not ready after 100 s."""

_SCHEDULER: Final = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0"}
"""As that of a scheduler that arena starts: see `arena.cluster.connect`."""

_ASLEEP: Final = {"seconds": 0.0}
"""How long each task sleeps; one process holds all workers."""

_BY_WORKER: Final[Counter[object]] = Counter()
"""Tasks that slept, by worker."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a number of tasks took."""

    n_tasks: int
    seconds: float
    scheduler_s: float  #: processor time of the scheduler
    workers_s: float  #: processor time of all workers and the client together
    most: int  #: tasks that slept on one worker

    @property
    def scheduler_ms(self) -> float:
        """Milliseconds of the scheduler's processor for each task."""
        return 1000 * self.scheduler_s / self.n_tasks

    @property
    def workers_ms(self) -> float:
        """Milliseconds of this process for each task."""
        return 1000 * self.workers_s / self.n_tasks


@dataclass(frozen=True, slots=True)
class Simulation:
    """Workers that sleep, and the scheduler that gives them tasks."""

    cluster: Cluster
    scheduler: psutil.Process
    ready_s: float  #: until all workers were there

    def retrieve(self, n_partitions: int, seconds: float) -> Taken:
        """Rank partitions by arena's graph: queries, partitions, a tree of merges."""
        model = ModelConfig(name="asleep", provider="openai", model="m")
        search = retrieval.PartitionSearch(model, QUERIES, DEPTH, memory_mb=1)
        names = [f"{number:05}" for number in range(n_partitions)]
        partitions = [Partition(f"corpus-{name}.jsonl", name, 1) for name in names]
        reported: list[int] = []

        def run() -> None:
            tasks = retrieval._Tasks(self.cluster.client, model, partitions, reported.append)
            with tasks.cancelled_on_error():
                found, _ = tasks.rank(search)
            assert found.n_texts == reported[-1] == n_partitions
            assert {len(ranking) for ranking in found.rankings.values()} == {
                min(DEPTH, n_partitions)
            }

        n_tasks = 2 + n_partitions + sum(merges(n_partitions, retrieval._FAN_IN))
        with (
            patch.object(retrieval, "_embed_queries", _embed_queries),
            patch.object(retrieval, "_rank_partition", _rank_partition),
        ):
            return self._measured(run, n_tasks, seconds)

    def judge(self, n_shards: int, seconds: float) -> Taken:
        """Play shards by arena's own submission, with its messages about progress."""
        client = self.cluster.client
        topic = f"simulated-{secrets.token_hex(4)}"
        tasks = [
            ShardTask(
                source="arena.toml",
                content="",
                data="",
                shard=Shard(number, n_shards),
                max_usd=None,
                gate=False,
                topic=topic,
                n_at_once=n_shards,
            )
            for number in range(1, n_shards + 1)
        ]

        def run() -> None:
            with QUIET.stage("battles", n_shards) as stage:
                board = judging._Board(client, topic, QUIET, stage, 0)
                with board.shown():
                    ends = list(judging._ends(client, tasks, [], most=n_shards, log=QUIET.log))
            assert sorted(end.shard.number for end in ends) == list(range(1, n_shards + 1))

        with patch.object(judging, "play_shard", play_shard):
            return self._measured(run, n_shards, seconds)

    def _measured(self, run: Callable[[], None], n_tasks: int, seconds: float) -> Taken:
        _ASLEEP["seconds"] = seconds
        _BY_WORKER.clear()
        before = self.scheduler.cpu_times()
        here, began = time.process_time(), time.perf_counter()
        run()
        took, here = time.perf_counter() - began, time.process_time() - here
        after = self.scheduler.cpu_times()
        scheduler_s = after.user + after.system - before.user - before.system
        return Taken(n_tasks, took, scheduler_s, here, max(_BY_WORKER.values()))


def simulate(workers: Sequence[int], each: int, seconds: float) -> None:
    """Print what tasks cost and take, beside what the cost model gives for them.

    Args:
        workers: numbers of workers, one simulation for each.
        each: partitions and shards for each worker.
        seconds: that each of them sleeps.
    """
    rates = Rates()
    print(f"the model counts {1000 * rates.task_s:.1f} ms of the scheduler for a task")
    for n_workers in workers:
        n_parts = each * n_workers
        by_model = {"retrieve": _by_model(n_workers, each, seconds, shards=0)}
        by_model["judge"] = _by_model(n_workers, each, seconds, shards=each)
        with simulation(n_workers) as running:
            print(f"{n_workers} workers, ready after {running.ready_s:.1f} s", flush=True)
            for part in (running.retrieve, running.judge):
                part(8, 0.0)  # imports
                # The scheduler's clock has steps of 10 ms.
                empty = part(max(n_parts, 200), 0.0)
                asleep = part(n_parts, seconds)
                print(
                    f"  {part.__name__}: {empty.scheduler_ms:.1f} ms of the scheduler and "
                    f"{empty.workers_ms:.1f} ms of the workers' one process for a task; "
                    f"{n_parts} that sleep {seconds:g} s: {asleep.seconds:.1f} s, "
                    f"by the model {by_model[part.__name__]:.1f} s; that process worked for "
                    f"{asleep.workers_s:.1f} s, the scheduler for {asleep.scheduler_s:.1f} s; "
                    f"at most {asleep.most} on one worker",
                    flush=True,
                )


def _by_model(n_workers: int, each: int, seconds: float, *, shards: int) -> float:
    """Return what the cost model gives for tasks that take so long, and no other work."""
    n_parts = each * n_workers
    plan = Plan(
        n_passages=n_parts,
        n_partitions=n_parts,
        n_queries=len(QUERIES),
        depth=DEPTH,
        dimension=1,
        passage_bytes=0,
        n_models=0,
        n_calls=n_parts,
        log_bytes=0,
        shards_per_worker=shards,
    )
    rates = replace(
        Rates(),
        embedded_per_s=1 / seconds,
        loaded_per_s=math.inf,
        calls_per_s=1 / seconds,
        limit_per_s=math.inf,
    )
    modelled = cost(plan, rates, n_workers)
    return modelled.judging_s if shards else modelled.retrieval_s


@contextmanager
def simulation(n_workers: int) -> Iterator[Simulation]:
    """Start a scheduler and workers of one thread each; close them at the end."""
    # Workers and scheduler have a few sockets for each other.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder, dask.config.set(_WORKERS):
        written = Path(folder) / "scheduler.json"
        scheduler = subprocess.Popen(
            [
                *(sys.executable, "-m", "distributed.cli.dask_scheduler"),
                *("--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"),
                *("--scheduler-file", str(written)),
            ],
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                **_SCHEDULER,
                "PYTHONPATH": os.pathsep.join(sys.path),
            },  # it reads the tasks
        )
        try:
            with Client(scheduler_file=str(written), timeout=60) as client:
                address = client.scheduler.address
                began = time.perf_counter()
                workers = client.sync(_started, address, n_workers, folder)
                ready_s = time.perf_counter() - began
                try:
                    with open_cluster(address, None, QUIET) as cluster:
                        yield Simulation(cluster, psutil.Process(scheduler.pid), ready_s)
                finally:
                    client.sync(_closed, workers)
        finally:
            scheduler.terminate()
            scheduler.wait()


async def _started(address: str, n_workers: int, folder: str) -> list[Worker]:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    workers = [
        Worker(address, nthreads=1, name=number, memory_limit=0, local_directory=folder)
        for number in range(n_workers)
    ]
    await asyncio.gather(*workers)
    return workers


async def _closed(workers: list[Worker]) -> None:
    await asyncio.gather(*(worker.close(executor_wait=False) for worker in workers))


def _embed_queries(search: retrieval.PartitionSearch) -> EmbeddedQueries:
    n_queries = len(search.queries)
    vectors = np.zeros((n_queries, 1), np.float32)
    return EmbeddedQueries(StoredVectors(vectors, np.zeros(n_queries), None), n_queries, n_queries)


def _rank_partition(
    partition: Partition,
    search: retrieval.PartitionSearch,
    queries: EmbeddedQueries,
    ranges: Ranges | None,
) -> PartialRun:
    del ranges
    _BY_WORKER[get_worker().name] += 1
    time.sleep(_ASLEEP["seconds"])
    ranking = [(partition.content, float(partition.content))]
    search_ms = np.zeros(len(queries.stored.vectors))
    return PartialRun(dict.fromkeys(search.queries, ranking), search_ms, 1, _ASLEEP["seconds"])


def play_shard(task: ShardTask) -> ShardEnd:
    """Sleep instead of judging, and tell as often how far it is."""
    worker = get_worker()
    _BY_WORKER[worker.name] += 1
    teller = _Teller(worker, task)
    until = time.monotonic() + _ASLEEP["seconds"]
    while (left := until - time.monotonic()) > 0:
        teller.update(0)
        time.sleep(min(left, 0.1))
    return ShardEnd(task.shard, worker.address)
