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
from loopback import Answer, LoopbackServer, as_json, chat
from replies import read_replies
from tables import each_row

from arena.config import load_config
from arena.errors import ConfigError, DataError, IncompleteError
from arena.experiment.spending import open_budgets, spent_usd
from arena.judging.call_cost import LONGEST
from arena.store.battle_log import BattleLog
from arena.store.log_lines import read_failures
from arena.store.shards import Shard
from arena.store.spending_claims import read_claims

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

    books = open_budgets(config, tmp_path, max_usd=5.0, shard=Shard(1, 2))
    books.charge()

    assert spent_usd(tmp_path)["judge-1"] == pytest.approx(3.55)
    assert books.whole.max_usd == 2.5
    assert books.own["judge-1"].max_usd == 3.0
    assert books.whole.spent_usd == pytest.approx(0.25 + 2.8 / 2)


def test_a_reply_without_a_judge_counts_towards_the_whole(tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text('{"id": "1", "cost_usd": 0.5}\n{"id": "torn')

    assert spent_usd(tmp_path) == {"": 0.5}


@each_row(
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


def claim(folder: Path, name: str, sums: object) -> None:
    (folder / RUN).mkdir(parents=True, exist_ok=True)
    (folder / RUN / name).write_text(json.dumps(sums) if not isinstance(sums, str) else sums)


def test_what_a_killed_run_had_on_the_wire_is_counted_and_then_written_into_the_log(
    tmp_path: Path,
) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config, limit=5)
        claim(tmp_path, "spending.json", {"judge-1": 5 * CALL_USD + 0.25})
        counted = spent_usd(tmp_path / RUN)["judge-1"]
        summary = play(config, limit=5)

    lines = rows(tmp_path, "replies")
    assert counted == pytest.approx(5 * CALL_USD + 0.25)
    assert summary.cost_usd == pytest.approx(5 * CALL_USD)
    assert [(line["cost_usd"], line["judge"]) for line in lines if line.get("estimated")] == [
        (pytest.approx(0.25), "judge-1")
    ]
    assert paid(tmp_path) == pytest.approx(10 * CALL_USD + 0.25)
    assert not (tmp_path / RUN / "spending.json").exists()


def test_what_may_be_spent_is_on_disk_before_a_call_is_sent_and_gone_at_the_end(
    tmp_path: Path,
) -> None:
    claimed: list[float] = []

    def look(request: dict[str, Any], attempt: int) -> Answer:
        claimed.append(read_claims(tmp_path / RUN / "spending.json")["judge-1"])
        return fair_judge(request, attempt)

    with LoopbackServer(look) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "concurrency = 1"))
        play(config, limit=3)

    most_usd = LONGEST * 2.0 / 1e6
    assert [int(usd / most_usd) for usd in claimed] == [1, 1, 1]
    assert not (tmp_path / RUN / "spending.json").exists()
    assert "estimated" not in (tmp_path / RUN / "replies.jsonl").read_text()
    assert "estimated" not in (tmp_path / RUN / "battles.jsonl").read_text()


@each_row("content", ["{", "[1]", '{"m": "x"}', '{"m": -1}', '{"m": 1e999}'])
def test_a_damaged_file_of_claims_is_named_with_its_remedy(tmp_path: Path, content: str) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1"))
    claim(tmp_path, "spending.json", content)

    ended = try_to_play(config)

    assert isinstance(ended, DataError)
    assert "spending.json: not the sums that a run may have spent; delete it" in str(ended)


def test_an_endpoint_that_does_not_tell_its_tokens_cannot_spend_past_the_cap(
    tmp_path: Path,
) -> None:
    def silent(request: dict[str, Any], attempt: int) -> Answer:
        return without_usage(fair_judge(request, attempt))

    with LoopbackServer(silent) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "max_usd = 0.2"))
        summary = play(config)

    most_usd = LONGEST * 2.0 / 1e6
    lines = rows(tmp_path, "replies")
    battles = rows(tmp_path, "battles")
    assert len(server.requests) == len(lines) == 5 == int(0.2 / (most_usd + 0.003))
    assert all(line["estimated"] and line["cost_usd"] > most_usd for line in lines)
    assert all(line["estimated"] for line in battles if line["source"] == "judge")
    assert paid(tmp_path) <= 0.2
    with pytest.raises(IncompleteError, match="are an estimate: the most that calls may have cost"):
        summary.check()


def test_each_battle_that_shares_a_verdict_costs_nothing_but_the_one_that_asked(
    tmp_path: Path,
) -> None:
    rankings = {"one": ["good"], "two": ["good"], "other": ["poor"]}
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=rankings)
        play(config)

    battles = logged(config)
    shared = [battle for battle in battles if battle.source == "cache"]
    assert len(shared) == 12
    assert [(b.cost_usd, b.input_tokens, b.output_tokens) for b in shared] == [(0.0, 0, 0)] * 12
    assert sum(b.cost_usd for b in battles) == pytest.approx(len(server.requests) * CALL_USD)


@each_row(
    "extra",
    ["", 'answer = "letter"\n', 'kind = "pointwise"\n', 'kind = "pointwise"\nscale = "binary"\n'],
)
@each_row("said", ["", "I would rather not say."])
def test_replies_without_a_verdict_are_paid_for_and_logged_with_their_cost(
    tmp_path: Path, extra: str, said: str
) -> None:
    with LoopbackServer(lambda request, attempt: chat(said)) as server:
        judge = llm(server.base_url, f"{extra}max_failures = 1\n")
        summary = play(write_experiment(tmp_path, judge=judge), limit=4)

    failures = list(read_failures(tmp_path / RUN / "failures.jsonl"))
    billed_usd = pytest.approx(len(server.requests) * CALL_USD)
    assert len(failures) == 4
    assert sum(failure.cost_usd for failure in failures) == billed_usd
    assert paid(tmp_path) == billed_usd
    assert summary.cost_usd == billed_usd


def test_a_shard_counts_what_others_have_spent_beyond_their_parts(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=capped(server.base_url, 12))
        play(config, shard=Shard(1, 2))
        play(config)
        play(config, shard=Shard(2, 2))
        play(config, shard=Shard(3, 3))

    assert len(server.requests) == 12


def test_another_run_that_ended_meanwhile_is_counted(tmp_path: Path) -> None:
    config = load_config(write_experiment(tmp_path, judge=llm("http://x/v1", "max_usd = 6")))
    folder = tmp_path / RUN
    folder.mkdir(parents=True)

    books = open_budgets(config, folder, max_usd=5.0)
    row = {"id": "1", "request": "r", "judge": "judge-1", "cost_usd": 4.5}
    (folder / "replies.jsonl").write_text(json.dumps(row) + "\n")
    with BattleLog(folder) as log:
        books.begin(log)

    assert books.whole.spent_usd == books.own["judge-1"].spent_usd == 4.5
    assert books.paid_usd == 0.0


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / RUN / f"{kind}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def without_usage(answer: Answer) -> Answer:
    body = json.loads(answer.body)
    del body["usage"]
    return as_json(body)
