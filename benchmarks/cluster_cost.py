"""Compute what a run on a cluster takes, stage by stage, from a plan and rates.

::

    python benchmarks/cluster_cost.py

A worker is one process with one GPU and one core. Rates called measured are those of
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
    id_bytes: int = 9  #: of a document
    n_queries: int = 1_000
    n_alone: int = 200  #: queries that are searched one at a time, to measure latency
    depth: int = 100  #: documents of each list
    n_models: int = 100
    top_k: int = 5  #: documents of a list that judges are shown
    n_calls: int = 10_000_000
    log_bytes: int = 950  #: of a battle and its reply
    shards_per_worker: int = 4


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast each part is."""

    embedded_per_s: float = 2_000.0  #: passages of one worker; an assumption
    loaded_per_s: float = 24_000.0  #: passages that a process reads and indexes; measured
    vector_bytes_per_s: float = 10e9  #: of one worker's memory, for one query; measured
    multiplied_per_s: float = 30e9  #: numbers of a vector by numbers of a query; measured
    merge_s: float = 0.33  #: to read eight lists of 100,000 documents, merge, write; measured
    parsed_bytes_per_s: float = 250e6  #: log that a process reads; measured
    own_disk_bytes_per_s: float = 500e6  #: of the shared disk, for one reader; an assumption
    disk_bytes_per_s: float = 10e9  #: of the shared disk, for all readers; an assumption
    link_bytes_per_s: float = 100e6  #: between two workers; an assumption
    calls_per_s: float = 20.0  #: of one worker: 20 in flight at 1 s; an assumption
    limit_per_s: float = 1_000.0  #: of the judge's endpoint for all workers; an assumption
    task_s: float = 0.003  #: of the scheduler's processor for each task; measured
    fan_in: int = 8  #: lists that one task merges


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of each stage, and bytes."""

    n_workers: int
    load_s: float  #: the driver reads the corpus, once
    read_s: float  #: workers read their partitions
    embed_s: float
    search_s: float
    merge_s: float
    shown_s: float  #: each worker reads the documents that judges are shown
    logs_s: float  #: each shard reads the logs of those before it
    judge_s: float
    scheduler_s: float  #: processor time of the scheduler, meanwhile
    n_tasks: int
    vector_bytes: int
    list_bytes: int  #: that travel between workers
    log_read_bytes: int  #: from the shared disk, by all shards
    driver_bytes: int  #: in the driver's memory, of the corpus
    copy_bytes: int  #: on the driver's disk, of the corpus

    @property
    def retrieval_s(self) -> float:
        """Seconds until the run is there: the driver reads the corpus before the first task."""
        return self.load_s + self.read_s + self.embed_s + self.search_s + self.merge_s

    @property
    def judging_s(self) -> float:
        """Seconds from the run to the last battle."""
        return self.shown_s + self.logs_s + self.judge_s


def bytes_of_list(plan: Plan) -> int:
    """Return the bytes of the best documents of a partition for all queries, as they travel.

    Pickle writes 14 bytes for a place in a list, and the id of its document.
    """
    return plan.n_queries * plan.depth * (14 + plan.id_bytes)


def cost(plan: Plan, rates: Rates, n_workers: int) -> Cost:
    """Return what a plan takes with so many workers; nothing fails, and all are there at once."""
    waves = math.ceil(plan.n_partitions / n_workers)
    passages = plan.n_passages / plan.n_partitions
    corpus = plan.n_passages * plan.passage_bytes
    vectors = 4 * plan.dimension * plan.n_passages
    levels = merges(plan.n_partitions, rates.fan_in)
    one_list = bytes_of_list(plan)
    shown = plan.n_queries * plan.n_models * plan.top_k * plan.passage_bytes
    # A shard of wave w finds w parts of the log in place, for w = 0, 1, ...
    log_parts = (plan.shards_per_worker - 1) / 2
    log = plan.n_calls * plan.log_bytes
    log_read = int(n_workers * log * log_parts)
    n_shards = n_workers * plan.shards_per_worker
    n_tasks = 2 + plan.n_partitions + sum(levels) + n_shards
    return Cost(
        n_workers=n_workers,
        load_s=plan.n_passages / rates.loaded_per_s,
        read_s=max(waves * passages / rates.loaded_per_s, corpus / rates.disk_bytes_per_s),
        embed_s=waves * passages / rates.embedded_per_s,
        search_s=max(
            waves * _search_s(plan, rates, vectors / plan.n_partitions),
            vectors / rates.disk_bytes_per_s,
        ),
        merge_s=sum(math.ceil(level / n_workers) for level in levels)
        * (
            rates.merge_s * plan.n_queries * plan.depth / 100_000
            + rates.fan_in * one_list / rates.link_bytes_per_s
        ),
        shown_s=max(
            shown / rates.parsed_bytes_per_s,
            min(n_workers, n_shards) * shown / rates.disk_bytes_per_s,
        ),
        logs_s=max(log * log_parts / rates.parsed_bytes_per_s, log_read / rates.disk_bytes_per_s),
        judge_s=plan.n_calls / min(n_workers * rates.calls_per_s, rates.limit_per_s),
        scheduler_s=n_tasks * rates.task_s,
        n_tasks=n_tasks,
        vector_bytes=vectors,
        list_bytes=(plan.n_partitions + sum(levels)) * one_list,
        log_read_bytes=log_read,
        driver_bytes=28 * plan.n_passages,
        copy_bytes=plan.n_passages * plan.passage_bytes,
    )


def _search_s(plan: Plan, rates: Rates, vectors: float) -> float:
    """Return the seconds of one partition: read it, search for some alone, then for the others."""
    n_alone = min(plan.n_alone, plan.n_queries)
    together = vectors / 4 * (plan.n_queries - n_alone) / rates.multiplied_per_s
    alone = n_alone * vectors / rates.vector_bytes_per_s
    return vectors / rates.own_disk_bytes_per_s + alone + together


def merges(n_lists: int, fan_in: int) -> list[int]:
    """Return the number of tasks on each level of the tree that merges lists."""
    levels = []
    while not levels or n_lists > 1:
        n_lists = math.ceil(n_lists / fan_in)
        levels.append(n_lists)
    return levels


def table(plan: Plan, rates: Rates) -> list[str]:
    """Return the lines of a Markdown table, a column for each number of workers."""
    columns = [cost(plan, rates, n_workers) for n_workers in (1, 10, 100, 1_000)]
    one_wave = [cost(replace(plan, shards_per_worker=1), rates, each.n_workers) for each in columns]
    rows = [
        ("read the corpus once, in your process", [each.load_s for each in columns]),
        ("read the partitions", [each.read_s for each in columns]),
        ("embed 100M passages", [each.embed_s for each in columns]),
        ("search 410 GB of vectors", [each.search_s for each in columns]),
        ("merge the lists", [each.merge_s for each in columns]),
        ("**until the first run**", [each.retrieval_s for each in columns]),
        ("read the documents that are shown", [each.shown_s for each in columns]),
        ("read the logs, four shards a worker", [each.logs_s for each in columns]),
        ("read the logs, one shard a worker", [each.logs_s for each in one_wave]),
        ("10M judge calls", [each.judge_s for each in columns]),
        (
            "**from the runs to the last battle**, one shard a worker",
            [each.judging_s for each in one_wave],
        ),
        ("all tasks in the scheduler, meanwhile", [each.scheduler_s for each in columns]),
    ]
    return [
        "| workers | " + " | ".join(f"{each.n_workers:,}" for each in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(f"| {name} | " + " | ".join(map(_time, seconds)) + " |" for name, seconds in rows),
    ]


def _time(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def facts(plan: Plan, rates: Rates) -> list[str]:
    """Return what else docs/scale.md tells of a plan on a thousand workers."""
    at_most = cost(plan, rates, 1_000)
    vectors = at_most.vector_bytes / plan.n_partitions
    alone = plan.n_alone * vectors / rates.vector_bytes_per_s
    sharing = next(n for n in range(1, 10_000) if _half(cost(plan, rates, n)))
    waiting = math.ceil(rates.limit_per_s / rates.calls_per_s)
    found = {
        "vectors on the disk": f"{at_most.vector_bytes / 1e9:.0f} GB",
        "a list": f"{bytes_of_list(plan) / 1e6:.1f} MB",
        "all lists": f"{at_most.list_bytes / 1e9:.1f} GB",
        "memory of your process": f"{at_most.driver_bytes / 1e9:.1f} GB",
        "disk of your process": f"{at_most.copy_bytes / 1e9:.0f} GB",
        "workers from which reading the corpus is half of the retrieval": f"{sharing}",
        "search of a partition": f"{_search_s(plan, rates, vectors):.1f} s",
        "of it for queries one at a time": f"{alone:.1f} s",
        "workers that reach the endpoint's limit": f"{waiting}",
        "logs read by all shards": f"{at_most.log_read_bytes / 1e12:.0f} TB",
        "tasks": f"{at_most.n_tasks:,}",
        "least time of tasks for the scheduler": f"{rates.task_s * at_most.n_workers:.0f} s",
    }
    return [f"{name}: {value}" for name, value in found.items()]


def _half(run: Cost) -> bool:
    return 2 * run.load_s > run.retrieval_s


if __name__ == "__main__":
    sys.stdout.write("\n".join([*table(Plan(), Rates()), "", *facts(Plan(), Rates())]) + "\n")
