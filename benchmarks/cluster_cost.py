"""Estimate what a run on a cluster takes, stage by stage, from a plan and measured rates.

::

    python benchmarks/cluster_cost.py

A worker is one process with one GPU or one endpoint's share. Rates called measured are those of
docs/benchmarks.md; the others are assumptions, which you replace with your own.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done."""

    n_passages: int = 100_000_000
    dimension: int = 1_024
    n_partitions: int = 1_000
    passage_bytes: int = 500
    n_queries: int = 1_000
    list_bytes: int = 2_300_000  #: best documents of a partition for all queries: docs/scale.md
    n_calls: int = 10_000_000
    log_bytes: int = 950  #: of a battle and its reply
    shards_per_worker: int = 4


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast each part is."""

    embedded_per_s: float = 2_000.0  #: passages of one worker; an assumption
    vector_bytes_per_s: float = 500e6  #: one worker reads and searches; an assumption
    loaded_per_s: float = 24_000.0  #: passages that a process reads and indexes; measured
    parsed_bytes_per_s: float = 250e6  #: log that a process reads; measured
    disk_bytes_per_s: float = 10e9  #: the shared disk, all readers together; an assumption
    link_bytes_per_s: float = 100e6  #: between two workers; an assumption
    calls_per_s: float = 20.0  #: of one worker: 20 in flight at 1 s; an assumption
    limit_per_s: float = 1_000.0  #: of the judge's endpoint for all workers; an assumption
    task_s: float = 0.003  #: of the scheduler for each task; measured in the simulation
    fan_in: int = 8  #: lists that one task merges


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of each stage, and bytes."""

    n_workers: int
    embed_s: float
    search_s: float
    merge_s: float
    load_s: float  #: the driver reads the corpus, once
    logs_s: float  #: each shard reads the logs of those before it
    judge_s: float
    scheduler_s: float
    vector_bytes: int
    list_bytes: int  #: that travel between workers
    corpus_read_bytes: int  #: from the shared disk, before judging
    log_read_bytes: int  #: from the shared disk, by all shards

    @property
    def retrieval_s(self) -> float:
        """Seconds until the run is there."""
        return self.embed_s + self.search_s + self.merge_s

    @property
    def judging_s(self) -> float:
        """Seconds from the run to the last battle."""
        return self.load_s + self.logs_s + self.judge_s


def cost(plan: Plan, rates: Rates, n_workers: int) -> Cost:
    """Return what a plan takes with so many workers; nothing fails, and all are there at once."""
    waves = math.ceil(plan.n_partitions / n_workers)
    vectors = 4 * plan.dimension * plan.n_passages
    at_once = min(n_workers, plan.n_partitions)
    merges = _merges(plan.n_partitions, rates.fan_in)
    corpus_read = plan.n_passages * plan.passage_bytes
    # A shard of wave w finds w parts of the log in place, for w = 0, 1, ...
    log_parts = (plan.shards_per_worker - 1) / 2
    log = plan.n_calls * plan.log_bytes
    log_read = int(n_workers * log * log_parts)
    n_merges = sum(merges)
    n_tasks = plan.n_partitions + n_merges + n_workers * plan.shards_per_worker
    return Cost(
        n_workers=n_workers,
        embed_s=waves * plan.n_passages / plan.n_partitions / rates.embedded_per_s,
        search_s=max(
            waves * vectors / plan.n_partitions / rates.vector_bytes_per_s,
            vectors / min(rates.disk_bytes_per_s, at_once * rates.vector_bytes_per_s),
        ),
        merge_s=len(merges) * rates.fan_in * plan.list_bytes / rates.link_bytes_per_s,
        load_s=max(plan.n_passages / rates.loaded_per_s, corpus_read / rates.disk_bytes_per_s),
        logs_s=max(log * log_parts / rates.parsed_bytes_per_s, log_read / rates.disk_bytes_per_s),
        judge_s=plan.n_calls / min(n_workers * rates.calls_per_s, rates.limit_per_s),
        scheduler_s=n_tasks * rates.task_s,
        vector_bytes=vectors,
        list_bytes=(plan.n_partitions + n_merges) * plan.list_bytes,
        corpus_read_bytes=corpus_read,
        log_read_bytes=log_read,
    )


def _merges(n_lists: int, fan_in: int) -> list[int]:
    """Return the number of tasks on each level of the tree that merges lists."""
    levels = []
    while n_lists > 1:
        n_lists = math.ceil(n_lists / fan_in)
        levels.append(n_lists)
    return levels


def table(plan: Plan, rates: Rates) -> list[str]:
    """Return the lines of a Markdown table, a column for each number of workers."""
    columns = [cost(plan, rates, n_workers) for n_workers in (1, 10, 100, 1_000)]
    one_wave = [cost(replace(plan, shards_per_worker=1), rates, each.n_workers) for each in columns]
    rows = [
        ("embed 100M passages", [_time(each.embed_s) for each in columns]),
        ("search 410 GB of vectors", [_time(each.search_s) for each in columns]),
        ("merge the lists", [_time(each.merge_s) for each in columns]),
        ("read the corpus once, in your process", [_time(each.load_s) for each in columns]),
        ("read the logs, four shards a worker", [_time(each.logs_s) for each in columns]),
        ("read the logs, one shard a worker", [_time(each.logs_s) for each in one_wave]),
        ("10M judge calls", [_time(each.judge_s) for each in columns]),
        ("all tasks in the scheduler", [_time(each.scheduler_s) for each in columns]),
    ]
    return [
        "| workers | " + " | ".join(f"{each.n_workers:,}" for each in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows),
    ]


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


if __name__ == "__main__":
    sys.stdout.write("\n".join(table(Plan(), Rates())) + "\n")
