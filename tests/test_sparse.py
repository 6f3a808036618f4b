"""A sparse plan: fair, deterministic, and as cheap as can be when a model joins."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from math import gcd
from pathlib import Path

import pytest
from experiments import fair_grader, llm, log_lines, play, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import LoopbackServer, verdict
from tables import each_row
from test_until import write

from arena.config import load_config
from arena.dry_run.battle import dry_run
from arena.errors import ConfigError
from arena.experiment.plan import count_matchups, plan_matchups, ring_pairs
from arena.experiment.rejudge import Rejudging
from arena.experiment.stopping import StoppingRule
from arena.records import Matchup
from arena.store.shards import parse_shard

RANKINGS = {
    "a": ["good", "fair"],
    "b": ["fair", "good"],
    "c": ["fair", "poor"],
    "d": ["poor", "good"],
    "e": ["poor", "other"],
}


def pairs_of(plan: list[Matchup]) -> set[tuple[str, frozenset[str]]]:
    return {(m.query_id, frozenset((m.model_a, m.model_b))) for m in plan}


def plan_of(models: list[str], n_queries: int, pairs: int | None, seed: int = 42) -> list[Matchup]:
    queries = {"d": [f"q{i}" for i in range(n_queries)]}
    return list(plan_matchups(models, queries, orders="balanced", seed=seed, pairs_per_query=pairs))


@given(n_models=st.integers(2, 24), data=st.data())
def test_a_ring_has_so_many_different_pairs_and_every_model_nearly_as_many(
    n_models: int, data: st.DataObject
) -> None:
    n_pairs = data.draw(st.integers(1, n_models * (n_models - 1) // 2))

    pairs = ring_pairs(n_models, n_pairs)

    assert len(pairs) == len({frozenset(pair) for pair in pairs}) == n_pairs
    assert all(a != b and min(a, b) >= 0 and max(a, b) < n_models for a, b in pairs)
    played = Counter(place for pair in pairs for place in pair)
    counts = [played[place] for place in range(n_models)]
    last = max(min((a - b) % n_models, (b - a) % n_models) for a, b in pairs)
    circles = gcd(n_models, last)
    several_odd = circles > 1 and (n_models // circles) % 2 == 1
    assert max(counts) - min(counts) <= (2 if several_odd else 1)


@given(n_models=st.integers(3, 15), n_circles=st.integers(1, 3))
def test_whole_circles_give_every_model_the_same_number_at_the_shortest_distances(
    n_models: int, n_circles: int
) -> None:
    n_circles = min(n_circles, (n_models - 1) // 2)

    pairs = ring_pairs(n_models, n_circles * n_models)

    assert set(Counter(place for pair in pairs for place in pair).values()) == {2 * n_circles}
    apart = {min((a - b) % n_models, (b - a) % n_models) for a, b in pairs}
    assert apart == set(range(1, n_circles + 1))


@given(n_models=st.integers(2, 12), data=st.data())
def test_more_pairs_begin_with_the_same_ones(n_models: int, data: st.DataObject) -> None:
    most = n_models * (n_models - 1) // 2
    few = data.draw(st.integers(1, most))
    many = data.draw(st.integers(few, most))

    assert ring_pairs(n_models, many)[:few] == ring_pairs(n_models, few)


@pytest.mark.parametrize("n_pairs", [3, 10, 16])
def test_every_pair_of_models_is_as_likely_as_every_other(n_pairs: int) -> None:
    models, n_queries = [f"m{i}" for i in range(7)], 2500

    plan = plan_of(models, n_queries, n_pairs)

    counts = Counter(frozenset((m.model_a, m.model_b)) for m in plan)
    share = n_pairs / 21
    expected, sd = n_queries * share, (n_queries * share * (1 - share)) ** 0.5
    assert len(counts) == 21
    assert all(abs(count - expected) < 4.5 * sd for count in counts.values())


def test_a_sparse_plan_is_part_of_the_plan_of_all_pairs_with_the_same_first_places() -> None:
    models = [f"m{i}" for i in range(6)]

    whole, sparse = plan_of(models, 20, None), plan_of(models, 20, 6)

    assert set(sparse) < set(whole)
    assert [m for m in whole if m in set(sparse)] == sparse
    assert plan_of(models, 20, 15) == plan_of(models, 20, 99) == whole
    assert len(sparse) == count_matchups(6, {"d": ["q"] * 20}, orders="balanced", pairs_per_query=6)


@given(n_models=st.integers(2, 8), seed=st.integers(0, 50), shuffle=st.randoms())
@settings(max_examples=30)
def test_a_sparse_plan_depends_on_names_and_seed_alone(n_models: int, seed: int, shuffle) -> None:
    models = [f"m{i}" for i in range(n_models)]

    plan = plan_of(models, 5, 3, seed)

    assert plan == plan_of(shuffle.sample(models, n_models), 5, 3, seed)
    assert plan == plan_of(models, 9, 3, seed)[: len(plan)]


@given(n_models=st.integers(4, 10), seed=st.integers(0, 50))
@settings(max_examples=30)
def test_a_model_that_joins_parts_two_neighbours_and_no_others(n_models: int, seed: int) -> None:
    models = [f"m{i}" for i in range(n_models)]

    before = pairs_of(plan_of(models, 8, n_models, seed))
    after = pairs_of(plan_of([*models, "newcomer"], 8, n_models + 1, seed))

    for query in {query for query, _ in before}:
        gone = {pair for q, pair in before - after if q == query}
        new = {pair for q, pair in after - before if q == query}
        assert len(gone) == 1
        assert len(new) == 2
        assert all("newcomer" in pair for pair in new)


def test_all_pairs_meet_over_the_queries_so_that_ratings_are_connected() -> None:
    models = [f"m{i:02}" for i in range(13)]

    plan = plan_of(models, 60, 13)

    assert len({frozenset((m.model_a, m.model_b)) for m in plan}) == 78
    assert {frozenset(pair) for pair in combinations(models, 2)} == {
        frozenset((m.model_a, m.model_b)) for m in plan
    }


def first_wins(request: dict, attempt: int):
    return verdict("first")


def test_paid_battles_stay_in_the_log_when_a_model_joins_leaves_or_more_pairs_play(
    tmp_path: Path,
) -> None:
    four = {name: RANKINGS[name] for name in "abcd"}
    with LoopbackServer(first_wins) as server:
        judge = llm(server.base_url)
        sparse = "pairs_per_query = 4"
        config = write_experiment(tmp_path, judge=judge, rankings=four, settings=sparse)
        play(config)
        paid = {row["id"]: row for row in log_lines(config)}
        n_asked = [len(server.requests)]
        config = write_experiment(tmp_path, judge=judge, rankings=RANKINGS, settings=sparse)
        n_left = dry_run(config).n_unplayed
        done = play(config)
        n_asked.append(len(server.requests))
        joined = {row["id"]: row for row in log_lines(config)}
        config = write_experiment(
            tmp_path, judge=judge, rankings=RANKINGS, settings="pairs_per_query = 8"
        )
        play(config)
        denser = {row["id"]: row for row in log_lines(config)}
        write_experiment(tmp_path, judge=judge, rankings=four, settings=sparse)
        again = play(config)
        n_asked.append(len(server.requests))
        play(config)

    assert len(paid) == 6 * 4 * 2 == n_asked[0]
    assert paid.items() <= joined.items() <= denser.items()
    assert len(joined) - len(paid) == n_left == n_asked[1] - n_asked[0]
    assert done.n_judged == done.n_planned == len(joined)
    assert len(server.requests) == n_asked[2], "all of it was paid for"
    left = {row["id"]: row for row in log_lines(config)}
    assert left == {
        name: row for name, row in denser.items() if "e" not in (row["model_a"], row["model_b"])
    }
    assert again.n_judged == again.n_planned == len(left)


def test_shards_of_a_sparse_plan_make_the_log_of_one_run(tmp_path: Path) -> None:
    with LoopbackServer(first_wins) as server:
        judge = llm(server.base_url)
        settings_ = 'plan = "sparse"\npairs_per_query = 3\norders = "balanced"'
        whole = write_experiment(
            tmp_path / "whole", judge=judge, rankings=RANKINGS, settings=settings_
        )
        parted = write_experiment(
            tmp_path / "parted", judge=judge, rankings=RANKINGS, settings=settings_
        )
        play(whole)
        for shard in ("1/2", "2/2", "1/2"):
            done = play(parted, shard=parse_shard(shard))
            assert done.n_judged == done.n_planned

    logs = (parted.parent / "runs" / "x").glob("battles-*of2.jsonl")
    ids = [json.loads(line)["id"] for path in logs for line in path.read_text().splitlines()]
    assert sorted(ids) == sorted(row["id"] for row in log_lines(whole))


def test_a_search_for_the_best_draws_its_pairs_among_the_models_that_still_play(
    tmp_path: Path,
) -> None:
    strengths = {"best": 0.9, "good": 0.8, "poor": 0.2, "worse": 0.1, "worst": 0.0}
    config = write(tmp_path, strengths, n_queries=200)
    text = config.read_text()
    config.write_text(text.replace("top_k = 1", "top_k = 1\npairs_per_query = 5"))
    play(config, until=StoppingRule(best=True))
    rows = log_lines(config)
    play(config, until=StoppingRule(best=True))

    assert log_lines(config) == rows, "a second run drops the same models in the same rounds"
    late = rows[-80:]
    playing = {row["model_a"] for row in late} | {row["model_b"] for row in late}
    per_query = Counter(row["query_id"] for row in late)
    assert playing == {"best", "good"}, "the others were dropped"
    assert set(per_query.values()) <= {2}, "and the two meet on every query, home and away"


@each_row(
    ("settings_", "judge", "said"),
    [
        ('plan = "all"\npairs_per_query = 2', "", 'plan = "all" plays all 3 pairs'),
        ("pairs_per_query = 4", "", "3 models have 3 pairs; lower it"),
        ("pairs_per_query = 0", "", "pairs_per_query: should be greater than or equal to 1"),
        ('plan = "grades"\npairs_per_query = 2', "", "all pairs follow from grades"),
        ('plan = "grades"', 'kind = "pairwise"', 'judge.kind = "pairwise": this judge reads two'),
        ('plan = "grades"', 'prompt = "pairwise"', 'judge.prompt = "pairwise": this judge reads'),
        ('plan = "grades"', 'answer = "letter"', 'judge.answer = "letter": this judge reads two'),
        ('plan = "round"', "", "experiment.plan: should be 'all', 'sparse' or 'grades'"),
    ],
)
def test_a_plan_that_contradicts_itself_is_one_line(
    tmp_path: Path, settings_: str, judge: str, said: str
) -> None:
    config = write_experiment(tmp_path, judge=f'model = "m"\n{judge}', settings=settings_)

    with pytest.raises(ConfigError) as refused:
        load_config(config)

    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_plans_say_what_they_leave_out(tmp_path: Path) -> None:
    def plan(settings_: str, judge: str = 'model = "m"'):
        return load_config(write_experiment(tmp_path, judge=judge, settings=settings_))

    assert plan("").experiment.pairs_per_query is None
    assert plan('plan = "sparse"').experiment.pairs_per_query == 3
    assert plan("pairs_per_query = 2").experiment.pairs_per_query == 2
    graded = plan('plan = "grades"')
    assert [judge.kind for judge in graded.judges] == ["pointwise"]
    assert graded.judge == graded.judges[0]
    assert plan('plan = "grades"', 'kind = "qrels"').judges[0].kind == "qrels"


def test_battles_of_a_sparse_or_graded_plan_are_judged_again_by_a_judge_of_lists(
    tmp_path: Path,
) -> None:
    settings_ = 'plan = "grades"\norders = "balanced"'
    with LoopbackServer(fair_grader) as server:
        judge = llm(server.base_url)
        config = write_experiment(tmp_path, judge=judge, rankings=RANKINGS, settings=settings_)
        play(config)
    with LoopbackServer(first_wins) as server:
        other = tmp_path / "other.toml"
        other.write_text(f"[judge]\nname = 'other'\n{llm(server.base_url)}")
        play(config, rejudging=Rejudging(str(other)))

    assert len(log_lines(config)) == 6 * 10
    again = tmp_path / "runs/x/rejudged/other/battles.jsonl"
    rows = [json.loads(line) for line in again.read_text().splitlines()]
    assert {row["kind"] for row in log_lines(config)} == {"pointwise"}
    assert len(rows) == 6 * 10
    assert not any("kind" in row for row in rows), "a pairwise judge, as is the default"
