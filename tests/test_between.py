"""`arena audit --between`: two judges on the same battles."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy
from click.testing import CliRunner, Result
from experiments import fair_judge, llm, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, verdict
from tables import each_row
from test_audit import log
from together import STATISTICS

from arena.auditing.between import between, build_between
from arena.auditing.between_ratings import rate_both
from arena.auditing.estimates import kendall_tau, spearman_rho
from arena.battles.load import from_frame
from arena.cli import main
from arena.errors import UsageError
from arena.rating.influence import influences

pytestmark = STATISTICS


def drawn(
    seed: int, strengths: tuple[float, ...], n_queries: int = 40, *, first: float = 0.0
) -> pd.DataFrame:
    """Verdicts of a judge that sees these strengths, and adds something for the first place."""
    rng = np.random.default_rng(seed)
    rows = []
    for query in range(n_queries):
        for a, b in permutations(range(len(strengths)), 2):
            p = 1 / (1 + np.exp(-(strengths[a] - strengths[b] + first)))
            winner = rng.choice(["model_a", "model_b", "tie"], p=[0.9 * p, 0.9 * (1 - p), 0.1])
            rows.append((f"q{query}", f"m{a}", f"m{b}", winner))
    return pd.DataFrame(rows, columns=["query_id", "model_a", "model_b", "winner"])


def value(found, key):
    return found.figure(key).estimate.value


def test_agreement_is_counted_on_the_battles_that_both_judged():
    first = log("q1 a>b, q1 b>a, q2 a=b, q2 b<a, q3 a<b, q9 a>b", judge="strong")
    second = log("q1 a>b, q1 b<a, q2 a>b, q2 b=a, q3 a<b, q8 b>a", judge="cheap")
    found = between(first, second)

    assert found.judges == ("strong", "cheap")
    assert (found.battles, found.queries) == (5, 3)
    assert value(found, "agreement") == 2 / 5
    assert value(found, "other_winner") == 1 / 3
    assert value(found, "tie_gets_winner") == 1
    assert value(found, "winner_gets_tie") == 1 / 4
    assert found.table == ((1, 1, 0), (0, 1, 1), (1, 0, 0))
    assert [note.split(" of")[0] for note in found.notes] == ["1", "1"]


def test_changed_winners_are_told_apart_by_the_place_that_had_won():
    first = log("q1 a>b, q1 b>a, q2 a>b, q2 b<a, q3 a<b, q3 b>a")
    second = log("q1 a<b, q1 b>a, q2 a<b, q2 b<a, q3 a<b, q3 b<a")
    parts = between(first, second).figure("other_winner").parts

    assert [(part.name, part.value, part.n) for part in parts] == [
        ("where the list shown first had won", 3 / 4, 4),
        ("where the list shown second had won", 0, 2),
    ]


def test_a_log_compared_with_itself_is_the_same_in_every_figure():
    frame = drawn(1, (1.5, 0, -1.5))
    found = between(frame, frame)

    assert found.conclusion == "same"
    assert value(found, "agreement") == value(found, "kappa") == value(found, "ac1") == 1
    assert value(found, "rank_tau") == value(found, "slope") == pytest.approx(1)
    assert all(row.difference == row.lower == row.upper == 0 for row in found.models)
    assert not any(row.is_sure for row in found.models)


def test_a_judge_that_reverses_two_models_is_called_different_and_they_are_named():
    found = between(drawn(1, (2, 1, -2), 60), drawn(2, (-2, 1, 2), 60))

    assert found.conclusion == "different"
    assert "the first judge is sure that m0 is better than m1" in found.reason
    assert "and 2 more pairs likewise" in found.reason
    assert {row.model for row in found.models if row.is_sure} == {"m0", "m2"}
    assert value(found, "rank_tau") == -1


def test_a_judge_that_sees_nothing_is_called_different_though_it_reverses_nothing_surely():
    found = between(drawn(1, (2, 1, -1, -2), 80), drawn(2, (0, 0, 0, 0), 80))

    assert found.conclusion == "different"
    assert "of the differences that the first sees" in found.reason
    assert found.figure("slope").estimate.upper < 0.25


@pytest.mark.parametrize(
    ("n_queries", "strengths", "words"),
    [(3, (2, -2), "only 3 queries"), (30, (0, 0), "the first judge surely separates no two")],
)
def test_what_cannot_be_told_is_undecided_with_its_reason(n_queries, strengths, words):
    found = between(drawn(1, strengths, n_queries), drawn(2, strengths, n_queries))

    assert found.conclusion == "undecided"
    assert words in found.reason


def test_the_other_way_round_every_difference_changes_its_sign():
    first, second = drawn(1, (1, 0, -1)), drawn(2, (0.5, 0.5, -1), first=0.7)
    there, back = between(first, second), between(second, first)

    for row, reversed_ in zip(there.models, back.models, strict=True):
        assert row.model == reversed_.model
        assert row.difference == pytest.approx(-reversed_.difference)
        assert row.lower == pytest.approx(-reversed_.upper)
    gains = [found.figure("first_place").estimate for found in (there, back)]
    assert gains[0].value == pytest.approx(-gains[1].value)
    assert gains[0].lower > 0
    assert np.array_equal(np.array(there.table), np.array(back.table).T)


def test_what_queries_add_to_the_ratings_has_the_variance_of_the_sandwich():
    battles = from_frame(drawn(3, (1, 0.3, -1), first=0.4))
    rated, _ = rate_both(battles, battles)
    added = influences(rated.comparisons, rated.fit)

    assert added.sum(axis=0) == pytest.approx(0, abs=1e-9)
    assert added.T @ added == pytest.approx(rated.fit.covariance - rated.fit.guard, abs=1e-9)


def test_paired_intervals_are_narrower_than_those_of_two_logs_that_share_no_query():
    rng = np.random.default_rng(4)
    frame = drawn(4, (0.5, 0, -0.5), 60)
    other = frame.copy()
    changed = rng.random(len(other)) < 0.1
    other.loc[changed, "winner"] = "tie"
    found = build_between(from_frame(frame), from_frame(other))
    alone = rate_both(from_frame(frame), from_frame(frame))[0].fit

    half = max(row.upper - row.lower for row in found.models) / 2
    assert half < 2 * 173.7 * np.sqrt(2) * float(alone.standard_error.min()) / 2


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=8))
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_correlations_of_ranks_are_those_of_scipy(pairs):
    first, second = np.array(pairs, float).T
    tau = scipy.stats.kendalltau(first, second).statistic
    rho = scipy.stats.spearmanr(first, second).statistic

    assert kendall_tau(first[None], second[None])[0] == pytest.approx(tau, nan_ok=True)
    assert spearman_rho(first, second) == pytest.approx(rho, nan_ok=True)


def test_a_panel_is_compared_by_its_majority():
    first = pd.concat([log("q1 a>b, q2 a>b", judge=name) for name in ("x", "y", "z")])
    second = pd.concat(
        [log("q1 a>b, q2 a<b", judge=name) for name in ("x", "y")] + [log("q1 a<b", judge="z")]
    )
    found = between(first, second)

    assert found.judges == ("x + y + z", "x + y + z")
    assert found.table == ((1, 1, 0), (0, 0, 0), (0, 0, 0))


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (log("q7 a>b"), "no battle in common"),
        (log("q1 a>b").drop(columns="query_id"), "without query_id cannot be matched"),
    ],
)
def test_logs_that_cannot_be_matched_are_refused(second, words):
    with pytest.raises(UsageError, match=words):
        between(log("q1 a>b, q1 b>a"), second)


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, args)])


def contrary(request: dict[str, object], attempt: int) -> Answer:
    """Prefer what a fair judge does not."""
    said = json.loads(fair_judge(request, attempt).body)["choices"][0]["message"]["content"]
    side = json.loads(said)["verdict"]
    return verdict({"first": "second", "second": "first", "tie": "tie"}[side])


def test_a_rejudged_experiment_is_compared_with_its_origin_in_words_and_json(tmp_path: Path):
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        CliRunner().invoke(main, ["battle", str(config), "-q"])
        other = tmp_path / "odd.toml"
        other.write_text("[judge]\n" + llm(server.base_url).replace("judge-1", "odd\\u001b[31m"))
        other.write_text(other.read_text().replace("odd\\u001b[31m", "odd judge"))
        server.answer = contrary
        done = CliRunner().invoke(main, ["battle", str(config), "--judge-with", str(other)])
    folder = tmp_path / "runs" / "x"
    pair = (folder, folder / "rejudged" / "odd")
    shown, held = run("--between", *pair), json.loads(run("--between", *pair, "--json").output)

    assert f"compare the judges with: arena audit --between {pair[0]} {pair[1]}" in done.stderr
    short = tmp_path / "short.jsonl"
    lines = (folder / "battles.jsonl").read_text().splitlines(keepends=True)
    short.write_text("".join(lines[:4]))
    gates = [
        run("--between", first, second, "--fail-if", "different").exit_code
        for first, second in ((folder, folder), pair, (short, short))
    ]
    assert shown.exit_code == 0
    assert gates == [0, 1, 3]
    assert "second judge: odd judge" in shown.output
    assert "DIFFERENT: the first judge is sure that" in shown.output
    assert "1,000 battles cost" in shown.output
    assert held["conclusion"] == "different"
    assert held["figures"]["agreement"]["value"] == 0
    assert held["verdicts"]["first"] == {"first": 0, "second": 18, "tie": 0}
    assert {row["model"] for row in held["models"]} == {"strong", "middling", "weak"}


@each_row(
    "args",
    [
        (),
        ("runs/x", "--between", "a", "b"),
        ("--between", "a", "b", "--labels", "c.csv"),
        ("runs/x", "--fail-if", "different"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(args):
    done = run(*args)

    assert done.exit_code == 2
    assert "--between" in done.output
    assert done.output.count("\n") == 1


def test_names_of_a_foreign_log_reach_the_terminal_without_their_escapes(tmp_path: Path):
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    frame = drawn(1, (1, -1), 10)
    frame["model_a"] = frame["model_a"].str.replace("m0", "[red]m\x1b[31m0")
    frame["model_b"] = frame["model_b"].str.replace("m0", "[red]m\x1b[31m0")
    frame.to_csv(first, index=False)
    frame.to_csv(second, index=False)
    done = run("--between", first, second)

    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.output
    assert "[red]m" in done.output
