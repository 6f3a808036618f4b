"""A dry run: counts the very calls that a run would make, and asks nobody anything."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from experiments import QUERIES, fair_grader, fair_judge, llm, play, write_experiment
from loopback import LoopbackServer
from tables import each_row

from arena.config import JudgeConfig
from arena.dry_run.battle import dry_run
from arena.dry_run.speed import seconds_per_answer, time_left
from arena.errors import DataError
from arena.experiment.battle_options import BattleOptions
from arena.judging.token_count import ESTIMATED, find_tokenizer, tokens_per_character

N_BATTLES = 3 * 2 * len(QUERIES)


@pytest.mark.parametrize("kind", ["pairwise", "pointwise"])
@pytest.mark.parametrize("gate", ["true", "false"])
def test_the_calls_of_a_dry_run_are_those_that_the_run_makes(
    tmp_path: Path, kind: str, gate: str
) -> None:
    answer = fair_judge if kind == "pairwise" else fair_grader

    with LoopbackServer(answer) as server:
        judge = llm(server.base_url, f'kind = "{kind}"\ngate = {gate}')
        config = write_experiment(tmp_path, judge=judge)
        play(config, limit=1)  # retrieves, so that nothing has to stand in
        before = dry_run(config)
        n_asked = len(server.requests)
        play(config)
        n_more = len(server.requests) - n_asked
        after = dry_run(config)

    assert before.n_calls + sum(judge.n_controls for judge in before.judges) == n_more
    assert (after.n_unplayed, after.n_calls) == (0, 0)


def test_the_controls_are_counted_beside_the_battles(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1", "gate = true"))

    asked, unasked = dry_run(config), dry_run(config, BattleOptions(gate=False))

    assert asked.judges[0].n_controls == 12
    assert unasked.judges[0].n_controls == 0
    assert asked.n_calls == unasked.n_calls == N_BATTLES
    assert (asked.cost_usd or 0) > (unasked.cost_usd or 0)


def test_a_judge_with_battles_in_the_log_is_expected_to_pass_no_controls(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "gate = true"))
        play(config, limit=3, gate=False)

    left = dry_run(config).judges[0]

    assert (left.n_controls, left.n_unplayed) == (0, N_BATTLES - 3)


@pytest.mark.parametrize("tail", [b"", b'{"id": "cut of'])
def test_a_log_that_has_only_begun_or_ends_in_half_a_line_is_estimated(
    tmp_path: Path, tail: bytes
) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        none_yet = dry_run(config)
        play(config, limit=3)
        log = tmp_path / "runs" / "x" / "battles.jsonl"
        whole = dry_run(config)
        judged = log.read_bytes()
        log.write_bytes(judged + tail)
        cut = dry_run(config)
        log.write_bytes(tail)
        begun = dry_run(config)

    assert cut.n_unplayed == whole.n_unplayed == none_yet.n_unplayed - 3
    assert begun.n_unplayed == none_yet.n_unplayed


def test_a_damaged_line_of_the_log_is_named_by_a_dry_run(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config, limit=3)
        log = tmp_path / "runs" / "x" / "battles.jsonl"
        log.write_bytes(log.read_bytes().replace(b'"winner":', b'"victor":', 1))

        with pytest.raises(DataError, match=r"battles.jsonl:1: not a line of this log"):
            dry_run(config)


def test_a_pointwise_judge_is_asked_about_each_document_once(tmp_path: Path) -> None:
    rankings = {"one": ["good", "fair"], "two": ["fair", "good"], "three": ["poor", "good"]}

    with LoopbackServer(fair_grader) as server:
        judge = llm(server.base_url, 'kind = "pointwise"')
        config = write_experiment(tmp_path, judge=judge, rankings=rankings)
        play(config)

    assert len(server.requests) == 3 * len(QUERIES)


def test_what_another_experiment_paid_for_is_free(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config)
        for name in ("battles", "replies"):
            (tmp_path / "runs" / "x" / f"{name}.jsonl").unlink()
        found = dry_run(config)
        n_asked = len(server.requests)
        play(config)

    assert (found.n_unplayed, found.n_calls, found.judges[0].n_free) == (N_BATTLES, 0, N_BATTLES)
    assert len(server.requests) == n_asked
    assert found.cost_usd == 0


def test_a_dry_run_says_whether_the_cap_would_stop_the_run(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config, limit=4)
        whole = dry_run(config).cost_usd or 0.0
        enough = dry_run(config, BattleOptions(max_usd=whole * 2)).lines()
        short = dry_run(config, BattleOptions(max_usd=whole / 2)).lines()

    assert any(re.search(r"max_usd +\$.* spent, enough", line) for line in enough)
    assert any(re.search(r"would stop the run at about \d\d%", line) for line in short)


def test_a_panels_estimate_is_given_judge_by_judge_and_in_all(tmp_path: Path) -> None:
    judges = f'model = "m"\n[[judges]]\n{llm("http://127.0.0.1:9/v1")}[[judges]]\nkind = "qrels"'
    config = write_experiment(tmp_path, judge=judges)
    config.write_text(config.read_text().replace("[judge]", "[[judges]]"))

    found = dry_run(config)
    shown = "\n".join(found.lines())

    assert [judge.judge for judge in found.judges] == ["m", "judge-1", "qrels"]
    assert found.n_battles == 3 * N_BATTLES
    assert found.cost_usd is None, "one of them has no prices"
    assert "m:\nbattles" in shown
    assert re.search(r"all judges +unknown", shown)


def write_replies(folder: Path, name: str, every_s: float, n: int, *, pause_s: float = 0) -> None:
    """Replies of one judge, one after the other, with a pause in the middle."""
    began = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    moments = [began + timedelta(seconds=i * every_s + pause_s * (i >= n // 2)) for i in range(n)]
    rows = [{"id": str(i), "at": m.isoformat(), "judge": "judge-1"} for i, m in enumerate(moments)]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@each_row(
    ("settings", "replies", "said"),
    [
        ({"base_url": "https://host.example/v1"}, None, "0:32  if a call takes 2 s; 64 calls at"),
        ({"base_url": "http://localhost:1/v1"}, None, "16:40  if a call takes 2 s; 2 calls at"),
        ({"concurrency": 1}, None, "33:20  if a call takes 2 s; one call at a time"),
        ({"rpm": 10}, None, "1:40:00  rpm = 10"),
        ({"tpm": 60_000}, None, "50:00  tpm = 60,000"),
        ({"tpm": 60_000_000}, (20.0, 30, 0), "5:33:20  20 s a call, as measured"),
        ({}, (20.0, 30, 86_400), "5:33:20  20 s a call, as measured"),
        ({"concurrency": 8}, (0.05, 300, 3600), "0:50  0.05 s a call, as measured"),
        ({"kind": "pointwise"}, (2.0, 30, 0), "33:20  2 s a call, as measured"),
        ({"rpm": 1}, (2.0, 30, 0), "16:40:00  rpm = 1"),
        ({}, (20.0, 3, 0), "0:32  if a call takes 2 s"),
        ({"name": "another"}, (20.0, 30, 0), "0:32  if a call takes 2 s"),
    ],
)
def test_the_time_is_that_of_the_last_run_or_of_what_the_config_allows(
    tmp_path: Path, settings: dict[str, Any], replies: Any, said: str
) -> None:
    config = JudgeConfig(**{"model": "judge-1", **settings})
    if replies:
        every_s, n, pause_s = replies
        name = "grades" if config.kind == "pointwise" else "replies"
        write_replies(tmp_path, name, every_s, n, pause_s=pause_s)

    assert str(time_left(config, tmp_path, 1000, 3_000_000)).strip().startswith(said)


def test_a_damaged_record_measures_nothing(tmp_path: Path) -> None:
    for text in ("", "{}\n" * 9, "[1]\nnull\n", '{"at": 5}\n' * 9, '{"at": "soon"}\n' * 9, "\x00{"):
        (tmp_path / "replies.jsonl").write_text(text)

        assert seconds_per_answer(JudgeConfig(model="judge-1"), tmp_path) is None


def test_tokens_are_estimated_where_no_tokenizer_is_at_hand_and_that_is_said() -> None:
    tokenizer = find_tokenizer("a-model-that-nobody-has")

    assert tokenizer == ESTIMATED
    assert tokens_per_character(["four", "eight888"], tokenizer) == 0.25
    assert "4 characters" in tokenizer.name


def test_a_vocabulary_that_is_not_on_disk_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tiktoken")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))

    assert find_tokenizer("gpt-4.1-mini") == ESTIMATED
    assert list(tmp_path.iterdir()) == []
