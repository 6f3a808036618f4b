"""The cost model of a cluster: what docs/scale.md tells about 100 million passages."""

from __future__ import annotations

import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from arena.cluster.connect import Cluster

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.append(str(REPOSITORY / "benchmarks"))

from cluster_cost import Plan, Rates, bytes_of_list, cost, facts, table  # noqa: E402


def test_the_page_shows_the_figures_of_the_model() -> None:
    page = (REPOSITORY / "docs" / "scale.md").read_text("utf-8")

    assert "\n".join(table(Plan(), Rates())) in page
    for number in re.findall(r"\d[\d.,]*\d|\d", " ".join(facts(Plan(), Rates()))):
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d.,]*\d)", page), number


def test_vectors_of_a_hundred_million_passages_take_410_gigabytes() -> None:
    assert cost(Plan(), Rates(), 1).vector_bytes == 4 * 1_024 * 100_000_000 == 409_600_000_000


@pytest.mark.parametrize("n_workers", [1, 10, 100, 500, 1_000])
def test_embedding_divides_by_the_workers_as_long_as_each_has_a_partition(n_workers: int) -> None:
    one, many = cost(Plan(), Rates(), 1), cost(Plan(), Rates(), n_workers)

    assert many.embed_s == pytest.approx(one.embed_s / n_workers)
    assert cost(Plan(), Rates(), 5_000).embed_s == cost(Plan(), Rates(), 1_000).embed_s


def test_judging_is_never_faster_than_the_limit_of_its_endpoint() -> None:
    rates = Rates(calls_per_s=20, limit_per_s=100)

    assert cost(Plan(n_calls=1_000), rates, 2).judge_s == 1_000 / 40
    assert cost(Plan(n_calls=1_000), rates, 5).judge_s == 1_000 / 100
    assert cost(Plan(n_calls=1_000), rates, 900).judge_s == 1_000 / 100


def test_one_shard_a_worker_reads_no_log_of_another() -> None:
    plan = replace(Plan(), shards_per_worker=1)

    assert cost(plan, Rates(), 1_000).log_read_bytes == 0
    # Of three waves the second reads one third of the log, and the third reads two.
    thrice = replace(plan, shards_per_worker=3)
    assert cost(thrice, Rates(), 10).log_read_bytes == 10 * plan.n_calls * plan.log_bytes


def test_a_tree_of_merges_sends_each_list_once() -> None:
    plan = Plan(n_partitions=64)

    # 64 lists to 8 tasks, 8 lists to one, and one list to the driver.
    assert cost(plan, Rates(fan_in=8), 4).list_bytes == (64 + 8 + 1) * bytes_of_list(plan)


def test_merging_takes_longer_on_one_worker_than_on_many() -> None:
    plan, rates = Plan(n_partitions=64), Rates()

    # 8 merges and then one: in turns on one worker, in two steps on eight.
    assert cost(plan, rates, 1).merge_s == pytest.approx(9 / 2 * cost(plan, rates, 8).merge_s)


def test_the_bytes_of_a_list_are_those_that_pickle_writes() -> None:
    plan = Plan(n_queries=50, depth=100)
    rankings = {
        f"q{query}": [(f"d{query:03}{place:05}", place / 7) for place in range(plan.depth)]
        for query in range(plan.n_queries)
    }

    assert len(pickle.dumps(rankings, 5)) == pytest.approx(bytes_of_list(plan), rel=0.02)


def test_no_worker_has_the_tasks_of_others() -> None:
    distributed = pytest.importorskip("distributed", reason='needs the extra "cluster"')
    import dask
    import psutil
    from cluster_simulation import Simulation

    with (
        dask.config.set({"distributed.scheduler.worker-saturation": 1.0}),
        distributed.LocalCluster(
            n_workers=4, processes=False, threads_per_worker=1, dashboard_address=":0"
        ) as threads,
        distributed.Client(threads) as client,
    ):
        running = Simulation(Cluster(client, 4), psutil.Process(), 0.0)
        running.retrieve(12, 0.0)  # tells the scheduler that other tasks of a run are short
        partitions = running.retrieve(12, 0.05)
        shards = running.judge(12, 0.05)

    assert (partitions.n_tasks, shards.n_tasks) == (12 + 2 + 2 + 1, 12)
    assert partitions.most < 6
    assert shards.most < 6
