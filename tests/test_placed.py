"""γ is of battles that have a first place: not of grades, and not of lists that are the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy
from experiments import fair_grader, llm, log_lines, play, write_experiment
from loopback import LoopbackServer
from tables import each_row

from arena.battles.load import load_battles
from arena.experiment.stopping import StoppingMonitor, StoppingRule
from arena.rating.bootstrap import bootstrap
from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_records import Leaderboard, RatingSettings
from arena.records import Battle
from arena.store.log_lines import row

ELO = 400 / np.log(10)
QUICK = RatingSettings(n_permutations=0)


def logged(n_queries: int = 40, seed: int = 0) -> list[Battle]:
    """Pairwise battles by a judge who loves the first list, grades, and identical lists."""
    rng = np.random.default_rng(seed)
    strength, found = np.array([-0.4, 0.0, 0.4]), []
    for query in range(n_queries):
        for a, b in ((0, 1), (2, 1), (0, 2)):
            for kind, gamma in (("pairwise", 1.2), ("pointwise", 0.0)):
                first_wins = rng.random() < 1 / (1 + np.exp(strength[b] - strength[a] - gamma))
                found.append(
                    Battle(
                        id=f"{query}-{a}-{b}-{kind}",
                        dataset="docs",
                        query_id=f"q{query}",
                        model_a=f"m{a}",
                        model_b=f"m{b}",
                        winner="model_a" if first_wins else "model_b",
                        judge=kind,
                        prompt="p",
                        source="judge",
                        kind=kind,
                    )
                )
        if query % 2:
            same = replace(found[-2], id=f"{query}-same", winner="tie", source="identical")
            found.append(same)
    return found


def write(folder: Path, battles: Sequence[Battle]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(row(battle)) + "\n" for battle in battles]
    (folder / "battles.jsonl").write_text("".join(lines))
    return folder


def board(folder: Path, settings: RatingSettings = QUICK) -> Leaderboard:
    each = replace(settings, judges="each")
    return build_leaderboard(load_battles([folder]), settings=each)


def ratings(found: Leaderboard) -> list[float]:
    return [row.rating for row in sorted(found.overall, key=lambda row: row.model)]


def test_ratings_and_advantage_are_the_maximum_of_the_likelihood(tmp_path):
    battles = logged()
    code = {"m0": 0, "m1": 1, "m2": 2}
    score = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}

    def loss(x):
        total = 0.005 * x[3] ** 2
        for one in battles:
            placed = one.kind == "pairwise" and one.source == "judge"
            d = x[code[one.model_a]] - x[code[one.model_b]] + x[3] * placed
            total += np.logaddexp(0, d) - score[one.winner] * d
        return total + 1e-9 * (x @ x)

    best = scipy.optimize.minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-8}).x
    found = board(write(tmp_path / "x", battles))

    assert found.position_advantage.elo == pytest.approx(ELO * best[3], abs=0.01)
    theta = best[:3] - best[:3].mean()
    assert ratings(found) == pytest.approx((1500 + ELO * theta).tolist(), abs=0.01)
    assert found.position_advantage.lower < ELO * 1.2 < found.position_advantage.upper


@pytest.mark.parametrize("bootstrap", [0, 400])
def test_grades_alone_are_rated_as_without_a_first_place(tmp_path, bootstrap):
    grades = [battle for battle in logged() if battle.kind == "pointwise"]
    folder = write(tmp_path / "x", grades)
    settings = replace(QUICK, bootstrap=bootstrap)

    found, without = board(folder, settings), board(folder, replace(settings, position=False))

    assert found.position_advantage is None
    assert found.overall == without.overall
    assert not any("shown first" in note for note in found.notes)


def test_a_log_of_before_is_known_by_the_manifest_beside_it(tmp_path):
    grades = [replace(b, kind="pairwise") for b in logged() if b.kind == "pointwise"]
    folder = write(tmp_path / "x", grades)
    unknown = board(folder)

    (folder / "manifest.json").write_text(
        json.dumps({"judges": [{"name": "pointwise", "kind": "pointwise"}]})
    )

    assert unknown.position_advantage is not None
    assert board(folder).position_advantage is None
    assert build_leaderboard(load_battles([folder / "battles.jsonl"])).position_advantage is None


def test_bootstrap_and_sandwich_agree_where_some_battles_have_a_first_place(tmp_path):
    folder = write(tmp_path / "x", logged(120))

    plain, drawn = board(folder), board(folder, replace(QUICK, bootstrap=2000))

    for one, other in zip(plain.overall, drawn.overall, strict=True):
        assert other.lower == pytest.approx(one.lower, abs=4)
        assert other.upper == pytest.approx(one.upper, abs=4)


def test_a_model_of_ties_leaves_the_place_out_where_there_is_none(tmp_path):
    folder = write(tmp_path / "x", logged(80))

    found = board(folder, replace(QUICK, method="davidson"))

    assert found.position_advantage.lower < ELO * 1.2 < found.position_advantage.upper


def test_a_panels_vote_has_a_first_place_if_one_of_its_judges_saw_one(tmp_path):
    battles = [battle for battle in logged() if battle.source == "judge"]
    folder = write(tmp_path / "x", battles)

    voted = build_leaderboard(load_battles([folder]), settings=QUICK)

    assert voted.position_advantage is not None


def test_a_run_of_a_grading_judge_logs_its_kind_and_estimates_no_advantage(tmp_path):
    with LoopbackServer(fair_grader) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, 'kind = "pointwise"'))
        play(config)
    log = next(tmp_path.glob("runs/*/battles.jsonl"))

    kinds = {json.loads(line).get("kind") for line in log.read_text().splitlines()}
    found = build_leaderboard(load_battles([log]), settings=RatingSettings(prior=1.0))

    assert kinds == {"pointwise"}
    assert found.overall[0].model == "strong"
    assert found.position_advantage is None


def test_a_run_by_qrels_logs_its_kind(tmp_path):
    config = write_experiment(tmp_path)
    play(config)

    assert {line["kind"] for line in log_lines(config)} == {"qrels"}


def test_a_line_of_a_judge_that_reads_two_lists_says_nothing_of_kinds():
    pairwise, grade = logged(1)[:2]

    assert "kind" not in row(pairwise)
    assert row(grade)["kind"] == "pointwise"


@each_row(
    ("kind", "source", "decided"),
    [("pairwise", "judge", False), ("pointwise", "judge", True), ("qrels", "judge", True)],
)
def test_a_run_of_grades_is_not_kept_waiting_for_what_the_first_place_is_worth(
    kind, source, decided
):
    # Hardly ever is b shown first: its place can hardly be told from its worth, if it has one.
    rng, race = np.random.default_rng(1), StoppingMonitor(StoppingRule())
    for query in range(120):
        a, b = ("b", "a") if query % 30 == 0 else ("a", "b")
        wins = "model_a" if (rng.random() < 0.8) == (a == "a") else "model_b"
        race.count(Battle(f"{query}", "d", f"q{query}", a, b, wins, "j", "", source, kind=kind))

    assert race.decided() == decided


def test_draws_leave_the_place_out_where_there_is_none():
    rng, n = np.random.default_rng(2), 6000
    placed = np.arange(n) % 2 == 0
    first = np.where(placed ^ (rng.random(n) < 0.1), 0, 1)  # 0 is first where it counts
    margin = np.where(first == 0, 0.3, -0.3) + 1.2 * placed
    score = (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)
    battles = Comparisons(first, 1 - first, score, np.arange(n) % 300, 2, placed=placed)
    ratings = fit(battles)

    draws = bootstrap(battles, ratings, n=300, seed=0)

    assert ratings.theta[0] == pytest.approx(0.15, abs=0.05)
    assert draws.mean(axis=0) == pytest.approx(ratings.theta, abs=0.01)
