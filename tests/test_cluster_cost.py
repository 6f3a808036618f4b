"""The cost model of a cluster: what docs/scale.md tells about 100 million passages."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.append(str(REPOSITORY / "benchmarks"))

from cluster_cost import Plan, Rates, cost, table  # noqa: E402


def test_the_page_shows_the_table_of_the_model() -> None:
    page = (REPOSITORY / "docs" / "scale.md").read_text("utf-8")

    assert "\n".join(table(Plan(), Rates())) in page


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
    plan = Plan(n_partitions=64, list_bytes=1)

    # 64 lists to 8 tasks, 8 lists to one, and one list to the driver.
    assert cost(plan, Rates(fan_in=8), 4).list_bytes == 64 + 8 + 1
