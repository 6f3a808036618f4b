"""The plan: fair, deterministic, and stable under growth."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from arena.experiment.battle_ids import battle_id, list_digest
from arena.experiment.identical_lists import same_lists
from arena.experiment.live import InOrder
from arena.experiment.plan import count_matchups, plan_matchups
from arena.records import Document, JudgeInput, Matchup, Query

QUERIES = {"scifact": ["s1", "s2", "s3", "s4"], "fiqa": ["f1", "f2"]}
MODELS = ["alpha", "beta", "gamma", "delta"]

names = st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=6, unique=True)


def test_both_orders_play_every_ordered_pair_on_every_query_once() -> None:
    played = Counter(plan_matchups(MODELS, QUERIES, orders="both"))

    assert set(played.values()) == {1}
    assert len(played) == 4 * 3 * 6 == count_matchups(4, QUERIES, orders="both")


def test_balanced_orders_play_every_pair_once_a_query_and_split_first_places_exactly() -> None:
    played = list(plan_matchups(MODELS, QUERIES, orders="balanced"))

    assert len(played) == 6 * 6 == count_matchups(4, QUERIES, orders="balanced")
    first = Counter((m.dataset, m.model_a, m.model_b) for m in played)
    for dataset, queries in QUERIES.items():
        for a in MODELS:
            for b in MODELS:
                if a != b:
                    assert first[dataset, a, b] == len(queries) // 2


@given(models=names, n_queries=st.integers(1, 7), seed=st.integers(0, 9))
@settings(max_examples=30)
def test_balanced_first_places_differ_by_at_most_one_for_any_number_of_queries(
    models: list[str], n_queries: int, seed: int
) -> None:
    queries = {"d": [f"q{i}" for i in range(n_queries)]}

    first = Counter(
        (m.model_a, m.model_b) for m in plan_matchups(models, queries, orders="balanced", seed=seed)
    )

    for a in models:
        for b in models:
            if a != b:
                assert abs(first[a, b] - first[b, a]) <= 1
                assert first[a, b] + first[b, a] == n_queries


@given(models=names, seed=st.integers(0, 5), shuffle=st.randoms())
@settings(max_examples=30)
def test_the_order_in_which_models_are_listed_does_not_matter(
    models: list[str], seed: int, shuffle
) -> None:
    listed_otherwise = shuffle.sample(models, len(models))

    plan = list(plan_matchups(models, QUERIES, orders="balanced", seed=seed))

    assert plan == list(plan_matchups(listed_otherwise, QUERIES, orders="balanced", seed=seed))


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_order() -> None:
    plan = list(plan_matchups(MODELS, QUERIES, seed=1))

    assert plan == list(plan_matchups(MODELS, QUERIES, seed=1))
    other = list(plan_matchups(MODELS, QUERIES, seed=2))
    assert plan != other
    assert set(plan) == set(other)


@given(orders=st.sampled_from(["both", "balanced"]), seed=st.integers(0, 20))
def test_a_new_model_leaves_every_other_battle_as_it_was(orders, seed: int) -> None:
    before = list(plan_matchups(MODELS, QUERIES, orders=orders, seed=seed))

    after = list(plan_matchups([*MODELS, "newcomer"], QUERIES, orders=orders, seed=seed))

    assert [m for m in after if "newcomer" not in (m.model_a, m.model_b)] == before


def test_more_queries_leave_the_battles_of_the_first_ones_as_they_were() -> None:
    few = list(plan_matchups(MODELS, {"d": ["q1", "q2"]}, orders="balanced"))

    many = list(plan_matchups(MODELS, {"d": ["q1", "q2", "q3"]}, orders="balanced"))

    assert many[: len(few)] == few


def test_the_battles_of_a_query_and_of_a_first_list_stay_together() -> None:
    plan = list(plan_matchups(MODELS, QUERIES))

    queries = [key for key, _ in groupby(plan, lambda m: (m.dataset, m.query_id))]
    first_lists = [key for key, _ in groupby(plan, lambda m: (m.dataset, m.query_id, m.model_a))]
    assert len(queries) == len(set(queries)) == 6
    assert len(first_lists) == len(set(first_lists)) == 24


def test_data_sets_take_turns_so_that_a_run_cut_short_has_seen_all_of_them() -> None:
    plan = plan_matchups(MODELS, QUERIES)

    queries = [key for key, _ in groupby(plan, lambda m: m.query_id)]
    assert queries == ["f1", "s1", "f2", "s2", "s3", "s4"]


def test_a_battle_has_another_id_when_anything_that_could_change_its_verdict_changes() -> None:
    matchup = Matchup("d", "q", "a", "b")
    one, two = list_digest([Document("1", "x")]), list_digest([Document("2", "y")])

    ids = {
        battle_id(matchup, "why", (one, two), "judge"),
        battle_id(matchup, "why not", (one, two), "judge"),
        battle_id(matchup, "why", (two, one), "judge"),
        battle_id(matchup, "why", (one, one), "judge"),
        battle_id(matchup, "why", (one, two), "another judge"),
        battle_id(Matchup("d", "q", "b", "a"), "why", (one, two), "judge"),
        battle_id(Matchup("d2", "q", "a", "b"), "why", (one, two), "judge"),
    }

    assert len(ids) == 7
    assert battle_id(matchup, "why", (one, two), "judge") in ids


def test_a_list_is_addressed_by_ids_titles_and_texts_without_collisions() -> None:
    lists = [
        [Document("1", "xy")],
        [Document("1", "x"), Document("y", "")],
        [Document("1x", "y")],
        [Document("1", "x")],
        [Document("1", "y", title="x")],
        [Document("1", "x", title="y")],
        [],
    ]

    assert len({list_digest(documents) for documents in lists}) == len(lists)


def test_outcomes_wait_for_a_slow_one_up_to_a_limit_and_none_is_lost() -> None:
    emitted: list[Any] = []
    in_order = InOrder(emitted.append, window=3)

    for position in (2, 1, 4):
        in_order.put(position, position)
    before = list(emitted)
    for position in (3, 5, 0, 6):
        in_order.put(position, position)

    assert before == []
    assert emitted == [1, 2, 3, 4, 5, 0, 6]


def test_lists_are_the_same_when_a_reader_could_not_tell_them_apart() -> None:
    query = Query("q", "why")
    one, two = Document("1", "x"), Document("2", "x")

    assert same_lists(JudgeInput("d", query, (one,), (two,)))
    assert same_lists(JudgeInput("d", query, (), ()))
    assert not same_lists(JudgeInput("d", query, (one,), (one, two)))
    assert not same_lists(JudgeInput("d", query, (one,), (Document("1", "y"),)))
    assert not same_lists(JudgeInput("d", query, (one,), (Document("1", "x", title="y"),)))
