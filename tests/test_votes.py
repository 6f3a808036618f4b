"""A panel's verdicts become votes; a judge's probabilities become scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.battles.load import Battles, from_frame
from arena.errors import UsageError
from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons
from arena.rating.panel_votes import combine, first_scores, only_judge

COLUMNS = ["judge", "query_id", "model_a", "model_b", "winner"]


def verdicts(text: str) -> Battles:
    """Verdicts written ``xq1ab>`` : judge x, query q1, a shown first against b, a won."""
    winner = {">": "model_a", "<": "model_b", "=": "tie"}
    rows = [(v[0], v[1:3], v[3], v[4], winner[v[5]]) for v in text.split()]
    return from_frame(pd.DataFrame(rows, columns=COLUMNS))


def outcomes(battles: Battles) -> list[str]:
    return [
        f"{battles.query_ids[q]}{battles.models[a]}{battles.models[b]}{'><='[w]}"
        for q, a, b, w in zip(
            battles.query_id, battles.model_a, battles.model_b, battles.winner, strict=True
        )
    ]


@each_row(
    ("votes", "outcome"),
    [
        (">>>", ">"),
        (">><", ">"),
        (">=<", "="),
        (">==", "="),
        ("><", "="),
        (">=", "="),
        (">>==", "="),
        ("<<<>=", "<"),
    ],
)
def test_a_matchup_goes_to_whom_more_than_half_of_its_judges_name(votes, outcome):
    panel = verdicts(" ".join(f"{judge}q1ab{v}" for judge, v in zip("uvwxy", votes, strict=False)))

    assert outcomes(combine(panel, "majority")) == [f"q1ab{outcome}"]


def test_home_and_away_are_two_matchups_and_so_are_two_queries():
    panel = verdicts("xq1ab> yq1ab> xq1ba> yq1ba< xq2ab< yq2ab<")

    assert outcomes(combine(panel, "majority")) == ["q1ab>", "q1ba=", "q2ab<"]


def test_a_vote_stands_in_the_log_where_its_last_verdict_does():
    panel = verdicts("xq1ab> xq2ab< yq2ab< yq1ab>")

    assert outcomes(combine(panel, "majority")) == ["q2ab<", "q1ab>"]


def test_repeats_of_a_judge_are_votes_of_their_own_and_never_outvote_another():
    panel = verdicts("xq1ab> xq1ab> xq1ab> yq1ab<")

    assert outcomes(combine(panel, "majority")) == ["q1ab>", "q1ab>", "q1ab="]


def test_what_a_panel_did_not_judge_together_is_said():
    panel = verdicts("xq1ab> yq1ab> zq1ab< xq2ab> yq2ab< xq3ab>")

    notes = combine(panel, "majority").notes[-3:]

    assert notes == (
        "6 verdicts of 3 judges (x, y, z) make 3 battles by majority (--judges)",
        "no majority, so a tie: 1 battle",
        "judged by some of the 3 judges only: 2 battles",
    )


def test_judges_who_share_no_matchup_are_left_as_they_are():
    panel = verdicts("xq1ab> yq2ab<")

    together = combine(panel, "majority")

    assert outcomes(together) == ["q1ab>", "q2ab<"]
    assert "no two judges judged the same matchup" in together.notes[-1]


def test_battles_without_a_query_cannot_be_matched_and_stay():
    rows = [("x", "a", "b", "model_a"), ("y", "a", "b", "model_b")]
    panel = from_frame(pd.DataFrame(rows, columns=["judge", "model_a", "model_b", "winner"]))

    assert len(combine(panel, "majority")) == 2


def test_each_leaves_every_verdict_a_battle():
    panel = verdicts("xq1ab> yq1ab> zq1ab<")

    each = combine(panel, "each")

    assert outcomes(each) == ["q1ab>", "q1ab>", "q1ab<"]
    assert "each count as a battle" in each.notes[-1]


def test_the_mean_is_of_probabilities_and_a_bare_verdict_is_certain_of_itself():
    panel = replace(
        verdicts("xq1ab> yq1ab> zq1ab<"),
        probs=np.array([[0.6, 0.3, 0.1], [np.nan] * 3, [0.2, 0.7, 0.1]]),
    )

    mean = combine(panel, "mean")

    assert mean.probs == pytest.approx(np.array([[1.8, 1.0, 0.2]]) / 3)
    assert first_scores(mean) == pytest.approx([(1.8 + 0.1) / 3])
    assert outcomes(mean) == ["q1ab>"]


def test_a_majority_has_no_probabilities_but_a_judge_alone_keeps_its_own():
    panel = replace(
        verdicts("xq1ab> yq1ab> xq2ab<"),
        probs=np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.7, 0.1]]),
    )

    majority = combine(panel, "majority")

    assert first_scores(majority) == pytest.approx([1.0, 0.25])


def test_one_judge_can_be_asked_for_by_name():
    panel = verdicts("xq1ab> yq1ab< xq2ab=")

    assert outcomes(only_judge(panel, "x")) == ["q1ab>", "q2ab="]
    with pytest.raises(UsageError, match=r"judged by 'z'; the judges of the log: x, y"):
        only_judge(panel, "z")


def test_a_score_is_the_chance_to_win_and_half_the_chance_to_tie():
    battles = replace(verdicts("xq1ab> xq2ab<"), probs=np.array([[0.5, 0.2, 0.3], [np.nan] * 3]))

    assert first_scores(battles) == pytest.approx([0.65, 0.0])


@each_row("probs", [[0.5, 0.2, 0.1], [1.2, -0.2, 0.0], [0, 0, 0]])
def test_probabilities_that_are_none_are_refused(probs):
    battles = replace(verdicts("xq1ab>"), probs=np.array([probs], dtype=float))

    with pytest.raises(UsageError, match=r"^a vs b.* do not sum to 1; .*--no-soft"):
        first_scores(battles)


def test_both_orders_of_soft_scores_cancel_what_the_place_adds():
    # The judge leans to the first place by 0.8 logits, and knows by how much it prefers a to b.
    home, away = (1 / (1 + np.exp(-margin)) for margin in (0.5 + 0.8, -0.5 + 0.8))
    soft = Comparisons(
        first=np.array([0, 1] * 4),
        second=np.array([1, 0] * 4),
        score=np.array([home, away] * 4),
        cluster=np.arange(8) // 2,
        n_models=2,
    )

    ratings = fit(soft)

    assert ratings.theta[0] - ratings.theta[1] == pytest.approx(0.5, abs=0.01)
    assert ratings.position == pytest.approx(0.8, abs=0.01)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("12"), st.sampled_from("><="))))
def test_a_panel_makes_no_more_battles_than_its_busiest_judge_and_loses_no_matchup(rows):
    panel = verdicts(" ".join(f"{j}q{q}ab{w}" for j, q, w in [("x", "1", ">"), *rows]))

    together = combine(panel, "majority")

    per_judge = [only_judge(panel, judge) for judge in panel.judges]
    most = {q: max(np.sum(p.query == q) for p in per_judge) for q in np.unique(panel.query)}
    assert {q: int(np.sum(together.query == q)) for q in most} == most


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("123"), st.sampled_from("><=")), min_size=1))
def test_a_panel_of_one_is_that_judge(rows):
    alone = verdicts(" ".join(f"xq{q}ab{w}" for q, w in rows))

    assert combine(alone, "majority") is alone


def test_the_variance_of_soft_scores_is_theirs_and_smaller_than_that_of_verdicts():
    rng = np.random.default_rng(0)
    theta = np.array([-0.4, 0.0, 0.4])
    found = {"soft": [], "hard": []}
    for _ in range(120):
        queries = np.repeat(np.arange(40), 6)
        first = np.tile([0, 0, 1, 1, 2, 2], 40)
        second = np.tile([1, 2, 0, 2, 0, 1], 40)
        on_query = theta + rng.normal(0, 0.6, (40, 3))
        share = 1 / (1 + np.exp(on_query[queries, second] - on_query[queries, first]))
        verdict = (rng.random(240) < share).astype(float)
        for name, score in (("soft", share), ("hard", verdict)):
            ratings = fit(Comparisons(first, second, score, queries, 3))
            found[name].append((ratings.theta[2], ratings.standard_error[2]))

    spread = {name: np.std(rows, axis=0)[0] for name, rows in found.items()}
    claimed = {name: np.mean(rows, axis=0)[1] for name, rows in found.items()}
    assert claimed == {name: pytest.approx(value, rel=0.2) for name, value in spread.items()}
    assert claimed["soft"] < 0.75 * claimed["hard"]
