"""A panel of judges: one plan, judged by each, logged by judge; and the gate before each."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from experiments import (
    QUERIES,
    fair_grader,
    fair_judge,
    llm,
    log_lines,
    logged,
    play,
    try_to_play,
    write_experiment,
)
from loopback import Answer, LoopbackServer, chat, verdict
from replies import read_replies

from arena.errors import GateError, UsageError
from arena.rating.rate_files import rate_files
from arena.store.log_lines import read_failures

N_BATTLES = 3 * 2 * len(QUERIES)
RUN = Path("runs") / "x"


def panel(*judges: str) -> str:
    """What follows ``[judge]``, turned into the first of ``[[judges]]``."""
    return "\n[[judges]]\n".join(judges)


def write_panel(folder: Path, *judges: str, **options: Any) -> Path:
    config = write_experiment(folder, judge=panel(*judges), **options)
    config.write_text(config.read_text().replace("[judge]", "[[judges]]"))
    return config


def prefers_the_first(request: dict[str, Any], attempt: int) -> Answer:
    return verdict("first")


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RUN / "manifest.json").read_text())


def test_every_battle_is_judged_by_each_and_logged_by_judge(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_panel(
            tmp_path,
            llm(server.base_url),
            llm(server.base_url, 'name = "second"'),
            'kind = "qrels"',
        )
        # Two names of one model would share their replies: give the second another setting.
        config.write_text(config.read_text().replace('"second"', '"second"\nmax_tokens = 512'))
        play(config)

    by_judge = Counter(battle.judge for battle in logged(config))
    assert by_judge == {"judge-1": N_BATTLES, "second": N_BATTLES, "qrels": N_BATTLES}
    assert len(server.requests) == 2 * N_BATTLES
    assert [judge["name"] for judge in manifest(tmp_path)["judges"]] == [
        "judge-1",
        "second",
        "qrels",
    ]


def test_judges_take_turns_so_that_a_run_cut_short_has_heard_all_of_them(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_panel(tmp_path, 'kind = "qrels"', llm(server.base_url))
        play(config, limit=10)

    assert [battle.judge for battle in logged(config)] == ["qrels", "judge-1"] * 5


def test_two_judges_that_differ_in_name_alone_are_refused(tmp_path: Path) -> None:
    config = write_panel(tmp_path, llm("http://x/v1"), llm("http://x/v1", 'name = "other"'))

    with pytest.raises(UsageError, match="judge-1 and other differ only in their names"):
        play(config)


def test_a_panels_live_elo_is_the_elo_of_its_log_and_it_resumes_as_one_judge_does(
    tmp_path: Path,
) -> None:
    with LoopbackServer(fair_judge) as server:
        judges = llm(server.base_url), 'kind = "qrels"'
        whole = write_panel(tmp_path / "whole", *judges)
        play(whole)
        config = write_panel(tmp_path / "parts", *judges)
        play(config, limit=7)
        summary = play(config)

    assert log_lines(config) == log_lines(whole)
    assert set(summary.ratings) == {"strong", "middling", "weak"}
    assert summary.n_judged == summary.n_planned == 2 * N_BATTLES


def test_a_panel_is_rated(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_panel(tmp_path, 'kind = "qrels"', llm(server.base_url))
        play(config)

    leaderboard = rate_files([tmp_path / RUN])

    assert [row.model for row in leaderboard.overall] == ["strong", "middling", "weak"]


def test_failures_are_counted_by_judge_and_one_bad_judge_fails_the_run(tmp_path: Path) -> None:
    def mute(request: dict[str, Any], attempt: int) -> Answer:
        return chat("")

    with LoopbackServer(mute) as server:
        config = write_panel(tmp_path, 'kind = "qrels"', llm(server.base_url))
        ended = try_to_play(config)

    assert f"{N_BATTLES} battles by judge-1 have no verdict ({N_BATTLES} empty)" in str(ended)
    assert {f.judge for f in read_failures(tmp_path / RUN / "failures.jsonl")} == {"judge-1"}
    assert Counter(battle.judge for battle in logged(config)) == {"qrels": N_BATTLES}


def test_each_judge_has_a_cap_of_its_own(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        cheap = llm(server.base_url, "max_usd = 0.0014\nmax_tokens = 20")
        dear = llm(server.base_url, 'name = "dear"\nmax_tokens = 512')
        config = write_panel(tmp_path, cheap, dear)
        summary = play(config)

    bills: Counter[str] = Counter()
    for reply in read_replies(tmp_path / RUN / "replies.jsonl"):
        bills[reply.judge] += reply.usage.cost_usd  # type: ignore[assignment]
    assert summary.capped
    assert summary.capped.max_usd == 0.0014
    assert 0 < bills["judge-1"] <= 0.0014


def test_a_judge_that_passes_its_controls_judges_and_the_manifest_says_so(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "gate = true"))
        play(config)
        n_first = len(server.requests)
        play(config)

    gate = manifest(tmp_path)["judges"][0]["gate"]
    assert gate["accuracy"] == 1.0
    assert gate["passed"]
    assert n_first == N_BATTLES + gate["n_calls"] == len(server.requests)
    assert gate["skipped"] == "passed before"


def test_a_judge_that_fails_its_controls_is_refused_before_its_first_battle(
    tmp_path: Path,
) -> None:
    with LoopbackServer(prefers_the_first) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "gate = true"))
        ended = try_to_play(config)

    gate = manifest(tmp_path)["judges"][0]["gate"]
    assert isinstance(ended, GateError)
    assert "--no-gate" in str(ended)
    assert len(server.requests) == gate["n_calls"]
    assert (gate["passed"], gate["flip_rate"], gate["first_rate"]) == (False, 1.0, 1.0)
    assert logged(config) == []


@pytest.mark.parametrize("how", ["option", "setting"])
def test_a_judge_that_fails_judges_all_the_same_when_told_to(tmp_path: Path, how: str) -> None:
    with LoopbackServer(prefers_the_first) as server:
        setting = "gate = true" if how == "option" else "gate = false"
        config = write_experiment(tmp_path, judge=llm(server.base_url, setting))
        play(config, gate=how == "setting")

    assert len(logged(config)) == N_BATTLES == len(server.requests)
    skipped = manifest(tmp_path)["judges"][0]["gate"]["skipped"]
    assert skipped == {"option": "--no-gate", "setting": "gate = false"}[how]


def test_a_judge_with_battles_in_the_log_is_not_tested_any_more(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "gate = true"))
        play(config, gate=False, limit=5)
        play(config)

    assert len(server.requests) == N_BATTLES
    assert manifest(tmp_path)["judges"][0]["gate"]["skipped"] == "its battles are in the log"


def test_a_pointwise_judge_reads_each_document_once_and_its_grades_are_kept(tmp_path: Path) -> None:
    with LoopbackServer(fair_grader) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, 'kind = "pointwise"'))
        summary = play(config)
        play(config)

    rows = [json.loads(line) for line in (tmp_path / RUN / "grades.jsonl").read_text().splitlines()]
    assert summary.n_judged == N_BATTLES
    assert len(server.requests) == 4 * len(QUERIES) == len(rows)
    assert len({(row["query_id"], row["doc_id"]) for row in rows}) == len(rows)
    assert rate_files([tmp_path / RUN]).overall[0].model == "strong"
    assert summary.cost_usd == pytest.approx(sum(row["cost_usd"] for row in rows))
