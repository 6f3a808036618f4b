"""The cap on what judges cost: counted from the log, and never passed by more than a call."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from experiments import (
    fair_grader,
    fair_judge,
    llm,
    log_lines,
    logged,
    play,
    try_to_play,
    write_experiment,
)
from loopback import Answer, LoopbackServer, chat

from arena.config import load_config
from arena.errors import ConfigError, DataError, IncompleteError
from arena.experiment.shards import Shard
from arena.experiment.spending import open_books, spent_usd
from arena.log.battle_log import read_failures, read_replies

CALL_USD = (100 * 1.0 + 20 * 2.0) / 1e6
"""What the loopback judge reports, at the prices of `llm`."""
RUN = Path("runs") / "x"


def capped(base_url: str, n_calls: float, extra: str = "") -> str:
    # Small replies, so that little more than their true price is set aside for them.
    return llm(base_url, f"max_usd = {n_calls * CALL_USD:.9f}\nmax_tokens = 20\n{extra}")


def paid(folder: Path) -> float:
    return sum(reply.usage.cost_usd for reply in read_replies(folder / RUN / "replies.jsonl"))


def test_calls_at_the_same_time_never_pass_the_cap_and_the_run_says_how_to_go_on(
    tmp_path: Path,
) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=capped(server.base_url, 10))
        ended = try_to_play(config)

    assert isinstance(ended, IncompleteError)
    assert f"raise max_usd in {config}, then: arena battle {config}" in str(ended)
    assert len(str(ended).splitlines()) == 1
    assert 1 <= len(server.requests) <= 10
    assert paid(tmp_path) <= 10 * CALL_USD + 1e-12


def test_a_second_run_goes_on_counting_where_the_first_one_ended(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=capped(server.base_url, 10))
        play(config)
        n_first = len(server.requests)
        again = play(config)
        n_second = len(server.requests)
        write_experiment(tmp_path, judge=capped(server.base_url, 1000))
        rest = play(config)

    assert again.capped
    assert n_second - n_first <= 1
    assert not rest.capped
    assert len(logged(config)) == 36 == len(server.requests)


def test_a_run_in_parts_of_a_budget_ends_with_the_log_of_an_undisturbed_run(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        whole = write_experiment(tmp_path / "whole", judge=capped(server.base_url, 1000))
        play(whole)
        config = write_experiment(tmp_path / "parts", judge=capped(server.base_url, 1000))
        for n_calls in (5, 12, 30, 50):
            play(config, max_usd=n_calls * CALL_USD)

    assert log_lines(config) == log_lines(whole)


def test_what_is_judged_within_the_budget_is_rated(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=capped(server.base_url, 20))
        summary = play(config)

    assert summary.capped
    assert summary.n_judged == len(logged(config)) > 10
    assert summary.cost_usd == pytest.approx(paid(tmp_path))


def test_the_option_caps_beside_the_configuration_and_the_smaller_one_holds(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=capped(server.base_url, 30))
        ended = try_to_play(config, max_usd=5 * CALL_USD)

    assert len(server.requests) <= 5
    assert f"go on with: arena battle {config} --max-usd MORE" in str(ended)


def test_unreadable_replies_count_as_what_they_cost(tmp_path: Path) -> None:
    def mute(request: dict[str, Any], attempt: int) -> Answer:
        return chat("")

    with LoopbackServer(mute) as server:
        config = write_experiment(tmp_path, judge=capped(server.base_url, 8))
        summary = play(config)

    failures = list(read_failures(tmp_path / RUN / "failures.jsonl"))
    written = [reply for reply in read_replies(tmp_path / RUN / "replies.jsonl") if reply.id]
    assert summary.capped
    assert len(server.requests) <= 8
    # Each as it came, and not at the end: a run that is killed must know of it.
    assert [reply.usage.cost_usd for reply in written] == [CALL_USD] * len(server.requests)
    assert sum(f.cost_usd for f in failures) <= paid(tmp_path) <= 8 * CALL_USD + 1e-12


def test_battles_that_share_a_verdict_pay_for_it_once(tmp_path: Path) -> None:
    twins = {"one": ["good", "fair"], "twin": ["good", "fair"], "weak": ["poor", "other"]}
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=twins)
        play(config)

    battles = logged(config)
    sources = Counter(battle.source for battle in battles)
    assert sources == {"judge": 12, "cache": 12, "identical": 12}
    for battle in battles:
        paid_usd = CALL_USD if battle.source == "judge" else 0.0
        assert (battle.cost_usd, battle.output_tokens > 0) == (paid_usd, paid_usd > 0)
    assert len(server.requests) == 12


def test_controls_count_and_their_cost_is_in_the_log(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=capped(server.base_url, 1000, "gate = true"))
        summary = play(config, limit=3)

    n_controls = json.loads((tmp_path / RUN / "manifest.json").read_text())["judges"][0]["gate"]
    assert len(server.requests) == 3 + n_controls["n_calls"]
    assert paid(tmp_path) == pytest.approx(len(server.requests) * CALL_USD)
    assert summary.cost_usd == pytest.approx(paid(tmp_path))


def test_a_cap_without_prices_is_refused_in_the_file_and_on_the_command_line(
    tmp_path: Path,
) -> None:
    config = write_experiment(tmp_path, judge='model = "m"\nbase_url = "http://127.0.0.1:9/v1"')

    with pytest.raises(ConfigError, match="--max-usd: judge m needs price_per_1m_input_tokens"):
        play(config, max_usd=1.0)
    write_experiment(tmp_path, judge='model = "m"\nmax_usd = 1')
    with pytest.raises(ConfigError, match=r"judge: max_usd = 1 needs price_per_1m_input_tokens"):
        load_config(config)


def test_each_shard_may_spend_its_part_and_pays_its_part_of_what_was_spent_before(
    tmp_path: Path,
) -> None:
    def bill(name: str, usd: float) -> None:
        row = {"judge": "judge-1", "cost_usd": usd}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")

    bill("replies", 2.0)
    bill("replies-1of2", 0.25)
    bill("replies-2of2", 0.5)
    bill("replies-1of4", 0.8)
    config = load_config(write_experiment(tmp_path / "x", judge=llm("http://x/v1", "max_usd = 6")))

    books = open_books(config, tmp_path, max_usd=5.0, shard=Shard(1, 2))

    assert spent_usd(tmp_path)["judge-1"] == pytest.approx(3.55)
    assert books.whole.max_usd == 2.5
    assert books.own["judge-1"].max_usd == 3.0
    assert books.whole.spent_usd == pytest.approx(0.25 + 2.8 / 2)


def test_a_reply_without_a_judge_counts_towards_the_whole(tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text('{"id": "1", "cost_usd": 0.5}\n{"id": "torn')

    assert spent_usd(tmp_path) == {"": 0.5}


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        '{"judge": "m"}',
        '{"judge": [], "cost_usd": 1}',
        '{"judge": "m", "cost_usd": "x"}',
        '{"judge": "m", "cost_usd": "nan"}',
        '{"judge": "m", "cost_usd": -1}',
        '{"judge": "m", "cost_usd": 1e999}',
    ],
)
def test_a_damaged_reply_is_an_error_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "replies.jsonl").write_text(f'{{"judge": "m", "cost_usd": 0.5}}\n{line}\n')

    with pytest.raises(DataError, match=r"replies\.jsonl:2: not a reply with its cost"):
        spent_usd(tmp_path)


def test_grades_of_battles_that_the_cap_cut_short_are_counted(tmp_path: Path) -> None:
    with LoopbackServer(fair_grader) as server:
        judge = capped(server.base_url, 9, 'kind = "pointwise"')
        config = write_experiment(tmp_path, judge=judge)
        first = play(config)
        n_first = len(server.requests)
        again = play(config)

    assert first.capped
    assert again.capped
    assert 1 <= n_first <= len(server.requests) <= 9
    assert paid(tmp_path) == pytest.approx(len(server.requests) * CALL_USD)


def test_grades_of_a_killed_run_count_though_no_reply_holds_them(tmp_path: Path) -> None:
    with LoopbackServer(fair_grader) as server:
        judge = llm(server.base_url, 'kind = "pointwise"\ngate = false\n')
        config = write_experiment(tmp_path, judge=judge)
        play(config)
        paid_usd = spent_usd(tmp_path / RUN)["judge-1"]
        n_asked = len(server.requests)
        for kind in ("battles", "replies"):  # killed when grades were known, and no battle yet
            (tmp_path / RUN / f"{kind}.jsonl").write_bytes(b"")
        after_the_kill = spent_usd(tmp_path / RUN)["judge-1"]
        play(config)

    assert after_the_kill == pytest.approx(paid_usd)
    assert paid_usd == pytest.approx(n_asked * CALL_USD)
    assert len(server.requests) == n_asked
    assert spent_usd(tmp_path / RUN)["judge-1"] == pytest.approx(paid_usd)
