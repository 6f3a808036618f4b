"""Playing until it is decided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from arena.experiment.plan import plan_matchups
from arena.experiment.stopping import ROUND, StoppingMonitor, StoppingRule, in_rounds
from arena.records import Battle, Winner


def battle(query: int, a: str, b: str, winner: Winner) -> Battle:
    name = f"{query}{a}{b}"
    return Battle(name, "docs", f"q{query}", a, b, winner, "judge", "", "judge")


def race(n_queries: int, win_rate: float, goal: StoppingRule | None = None) -> StoppingMonitor:
    """``good`` beats ``bad`` at a rate, home and away."""
    rng, found = np.random.default_rng(0), StoppingMonitor(goal or StoppingRule())
    for query in range(n_queries):
        for a, b in (("good", "bad"), ("bad", "good")):
            good_wins = rng.random() < win_rate
            found.count(battle(query, a, b, "model_a" if good_wins == (a == "good") else "model_b"))
    return found


def test_rounds_are_whole_queries_of_every_data_set_in_plan_order() -> None:
    queries = {"a": [f"a{i}" for i in range(25)], "b": [f"b{i}" for i in range(12)]}
    plan = plan_matchups(["x", "y", "z"], queries)

    rounds = list(in_rounds(queries))

    in_order = dict.fromkeys((m.dataset, m.query_id) for m in plan)
    assert [(turn.dataset, turn.query_id) for played in rounds for turn in played] == [*in_order]
    assert len(rounds[0]) == 2 * ROUND


def test_a_clear_difference_is_decided_and_a_small_one_is_not_yet() -> None:
    clear, small = race(60, win_rate=0.9), race(60, win_rate=0.55)

    assert clear.decided()
    assert "decided after 60 queries, 120 battles: each model is surely better" in str(clear)
    assert not small.decided()
    assert str(small).startswith("not decided after 60 queries")


def test_a_width_is_reached_with_more_queries() -> None:
    goal = StoppingRule(width_elo=40)

    assert not race(30, win_rate=0.6, goal=goal).decided()
    assert race(400, win_rate=0.6, goal=goal).decided()


def test_a_large_data_set_outvotes_no_small_one() -> None:
    rng, one, both = (
        np.random.default_rng(0),
        StoppingMonitor(StoppingRule()),
        StoppingMonitor(StoppingRule()),
    )
    for dataset, n_queries, win_rate in (("large", 200, 0.8), ("small", 40, 0.2)):
        for query in range(n_queries):
            first_wins = rng.random() < win_rate
            won = battle(query, "good", "bad", "model_a" if first_wins else "model_b")
            turned = battle(query, "bad", "good", "model_b" if first_wins else "model_a")
            for played in (won, turned):
                one.count(played)  # as if all were of one data set
                both.count(replace(played, dataset=dataset))

    assert one.decided()
    assert not both.decided()


def test_nothing_is_decided_by_a_handful_of_queries_or_by_none() -> None:
    assert not race(10, win_rate=0.9).decided()
    assert not StoppingMonitor(StoppingRule()).decided()


def test_a_model_that_won_everything_is_played_on() -> None:
    assert not race(60, win_rate=1.0).decided()


def test_a_small_data_set_that_has_run_out_keeps_a_run_undecided() -> None:
    rng, parted, width = (
        np.random.default_rng(0),
        StoppingMonitor(StoppingRule()),
        StoppingMonitor(StoppingRule(width_elo=400)),
    )
    alone = StoppingMonitor(StoppingRule())
    for dataset, n_queries in (("large", 150), ("small", 8)):
        for query in range(n_queries):
            for a, b in (("good", "bad"), ("bad", "good")):
                winner = "model_a" if (rng.random() < 0.85) == (a == "good") else "model_b"
                name = f"{dataset}{query}{a}"
                one = Battle(name, dataset, f"q{query}", a, b, winner, "judge", "", "judge")
                parted.count(one)
                width.count(one)
                if dataset == "large":
                    alone.count(one)

    # Eight queries weigh as much as 150, and nothing is concluded before twenty.
    assert alone.decided()
    assert not parted.decided()
    assert not width.decided()
