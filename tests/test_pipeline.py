"""Whole experiments: from an arena.toml to a log that nothing can spoil."""

from __future__ import annotations

import gc
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from experiments import (
    QUERIES,
    fair_judge,
    llm,
    log_lines,
    logged,
    play,
    try_to_play,
    write_experiment,
)
from loopback import Answer, LoopbackServer, Script, chat, error, verdict
from replies import read_replies
from tables import each_row

from arena.dry_run.battle import dry_run
from arena.errors import FatalApiError, IncompleteError, LogError, UsageError
from arena.experiment import live
from arena.rating.rate_files import rate_files
from arena.store.battle_log import BattleLog
from arena.store.log_lines import read_failures

N_BATTLES = 3 * 2 * len(QUERIES)


def test_an_experiment_with_the_qrels_judge_ranks_the_models_as_their_lists_deserve(
    tmp_path: Path,
) -> None:
    config = write_experiment(tmp_path)

    summary = play(config)

    leaderboard = rate_files([summary.experiment.folder])
    assert [row.model for row in leaderboard.overall] == ["strong", "middling", "weak"]
    assert leaderboard.battles == N_BATTLES == summary.n_judged
    assert leaderboard.overall[0].metrics["ndcg@10"] == 1.0


def test_a_run_keeps_from_the_collector_what_its_program_kept_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "get_freeze_count", gc.get_freeze_count)  # not the tests' own
    gc.freeze()
    play(write_experiment(tmp_path / "frozen"))
    assert gc.get_freeze_count() > 0

    gc.unfreeze()
    play(write_experiment(tmp_path / "free"))
    assert gc.get_freeze_count() == 0

    gc.freeze()


def test_a_title_that_was_edited_is_judged_anew(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    play(config)
    before = {battle.id for battle in logged(config)}
    corpus = tmp_path / "data" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("About q", "On q"))

    play(config)

    assert len(logged(config)) == N_BATTLES
    assert before.isdisjoint(battle.id for battle in logged(config))


def test_an_llm_judge_sees_neither_model_nor_score_nor_doc_id(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        summary = play(write_experiment(tmp_path, judge=llm(server.base_url)))

    shown = json.dumps([request.body["messages"] for request in server.requests])
    assert summary.n_judged == N_BATTLES == len(server.requests)
    for secret in ("strong", "middling", "weak", "good-q", "poor-q", "0.5"):
        assert secret not in shown


def test_every_pair_is_judged_home_and_away_and_agrees_with_itself(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config)

    winners = {
        (b.query_id, b.model_a, b.model_b): {"model_a": b.model_a, "model_b": b.model_b}[b.winner]
        for b in logged(config)
    }
    assert len(winners) == N_BATTLES
    for (query, a, b), winner in winners.items():
        assert winners[query, b, a] == winner


def test_the_elo_shown_live_is_the_elo_of_the_log_to_the_last_bit(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config, limit=11)
        summary = play(config)

    leaderboard = rate_files([summary.experiment.folder])
    assert {row.model: row.elo for row in leaderboard.overall} == summary.ratings


def test_identical_lists_are_ties_without_a_call(tmp_path: Path) -> None:
    same = {"one": ["good", "poor"], "two": ["good", "poor"]}

    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=same)
        play(config)

    assert server.requests == []
    assert {(b.winner, b.source, b.cost_usd) for b in logged(config)} == {("tie", "identical", 0)}


def test_battles_with_the_same_request_share_one_call_and_its_price(tmp_path: Path) -> None:
    rankings = {"one": ["good", "poor"], "two": ["fair"], "like-two": ["fair"]}

    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=rankings)
        summary = play(config)

    sources = Counter(battle.source for battle in logged(config))
    assert sources == {"judge": 12, "cache": 12, "identical": 12}
    assert len(server.requests) == 12
    assert summary.cost_usd == pytest.approx(12 * (100 * 1.0 + 20 * 2.0) / 1e6)


def test_interrupted_at_any_battle_and_run_again_the_log_is_that_of_an_undisturbed_run(
    tmp_path: Path,
) -> None:
    def dies_after(cut: int) -> Script:
        def answer(request: dict[str, Any], attempt: int) -> Answer:
            if len(server.requests) > cut:
                return error(401, "key revoked")
            return fair_judge(request, attempt)

        return answer

    with LoopbackServer(fair_judge) as server:
        undisturbed = write_experiment(tmp_path / "undisturbed", judge=llm(server.base_url))
        play(undisturbed)
        for cut in range(0, N_BATTLES, 5):
            config = write_experiment(tmp_path / f"cut-{cut}", judge=llm(server.base_url))
            server.requests.clear()
            server.answer = dies_after(cut)
            with pytest.raises(FatalApiError, match="go on with: arena battle"):
                play(config)
            paid = len(server.requests) - sum(1 for r in server.requests[cut:])
            server.requests.clear()
            server.answer = fair_judge
            play(config)

            assert log_lines(config) == log_lines(undisturbed)
            assert paid + len(server.requests) == N_BATTLES


def test_a_limit_judges_so_many_more_and_the_rest_later(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        whole = write_experiment(tmp_path / "whole", judge=llm(server.base_url))
        play(whole)
        config = write_experiment(tmp_path / "parts", judge=llm(server.base_url))
        judged = [play(config, limit=10).n_judged for _ in range(4)]

    assert judged == [10, 20, 30, N_BATTLES]
    assert log_lines(config) == log_lines(whole)


UNREADABLE = {
    "refusal": chat("I'm sorry, but I can't help with that."),
    "declined": chat(None, refusal="no"),
    "empty": chat(""),
    "prose": chat("Both lists are good, it is hard to say. BOTH"),
    "two verdicts": chat('{"first": "", "second": "", "verdict": "first or second"}'),
    "other language": chat('{"first": "", "second": "", "verdict": "premier"}'),
    "unclear": chat("UNCLEAR"),
    "filtered": chat("", finish_reason="content_filter"),
    "cut off": chat('{"first": "The first list', finish_reason="length"),
}


@each_row("kind", UNREADABLE)
def test_an_unreadable_reply_is_a_failure_never_a_tie(tmp_path: Path, kind: str) -> None:
    with LoopbackServer(lambda request, attempt: UNREADABLE[kind]) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        ended = try_to_play(config, limit=6)

    assert isinstance(ended, IncompleteError)
    assert logged(config) == []
    failures = list(read_failures(tmp_path / "runs" / "x" / "failures.jsonl"))
    assert len(failures) == 6
    assert all(failure.reason and failure.detail for failure in failures)
    assert sum(f.cost_usd for f in failures) == pytest.approx(6 * 140 / 1e6)


def test_failures_are_tried_again_and_only_they(tmp_path: Path) -> None:
    def mute_about_q3(request: dict[str, Any], attempt: int) -> Answer:
        asked = request["messages"][-1]["content"]
        return chat("") if "what is q3?" in asked else fair_judge(request, attempt)

    with LoopbackServer(mute_about_q3) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        ended = try_to_play(config)
        server.requests.clear()
        server.answer = fair_judge
        summary = play(config)

    assert "6 battles have no verdict (6 empty)" in str(ended)
    assert len(server.requests) == 6
    assert summary.n_judged == N_BATTLES
    assert rate_files([summary.experiment.folder]).failures == 0


def test_failures_within_the_allowed_share_do_not_fail_the_run(tmp_path: Path) -> None:
    def mute_once(request: dict[str, Any], attempt: int) -> Answer:
        return chat("") if len(server.requests) == 5 else fair_judge(request, attempt)

    with LoopbackServer(mute_once) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        ended = try_to_play(config)

    assert ended is None
    assert len(logged(config)) == N_BATTLES - 1
    assert rate_files([tmp_path / "runs" / "x"]).failures == 1


def test_another_setting_makes_other_battles_and_going_back_costs_nothing(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config)
        before = log_lines(config)
        server.requests.clear()
        write_experiment(tmp_path, judge=llm(server.base_url, "max_tokens = 512"))
        play(config)
        n_asked_again = len(server.requests)
        n_in_the_log = len(logged(config))
        server.requests.clear()
        write_experiment(tmp_path, judge=llm(server.base_url))
        play(config)

    assert n_asked_again == n_in_the_log == N_BATTLES
    assert server.requests == []
    assert log_lines(config) == before


def test_a_new_model_costs_only_its_own_battles(tmp_path: Path) -> None:
    two = {"strong": ["good", "fair"], "weak": ["poor", "other"]}

    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=two)
        play(config)
        server.requests.clear()
        write_experiment(
            tmp_path, judge=llm(server.base_url), rankings=two | {"new": ["fair", "poor"]}
        )
        play(config)

    assert len(server.requests) == 4 * len(QUERIES)
    assert len(logged(config)) == N_BATTLES


def test_a_dry_run_asks_nothing_and_estimates_what_is_left(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        before = dry_run(config)
        n_asked = len(server.requests)
        play(config, limit=10)
        after = dry_run(config)

    assert n_asked == 0
    assert (before.n_battles, before.n_calls) == (N_BATTLES, N_BATTLES)
    assert (after.n_unplayed, after.n_calls) == (N_BATTLES - 10, N_BATTLES - 10)
    assert before.cost_usd == pytest.approx(
        (before.input_tokens * 1.0 + before.output_tokens * 2.0) / 1e6
    )
    assert [run.model for run in before.unretrieved] == ["strong", "middling", "weak"]
    assert after.unretrieved == []


def test_a_dry_run_needs_no_key(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge='model = "gpt-4.1-mini"')

    assert dry_run(config).n_calls == N_BATTLES


def test_a_missing_key_is_named_before_anything_is_judged(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge='model = "gpt-4.1-mini"')

    with pytest.raises(FatalApiError, match="OPENAI_API_KEY"):
        play(config)


def test_no_key_reaches_any_file_or_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-planted-0123456789"
    monkeypatch.setenv("PLANTED", key)

    def echoes_the_key(request: dict[str, Any], attempt: int) -> Answer:
        if len(server.requests) > 20:
            return error(401, f"Incorrect API key provided: {key}")
        return chat(f"your key is {key}") if attempt % 2 else verdict("tie")

    with LoopbackServer(echoes_the_key) as server:
        judge = llm(server.base_url, 'api_key_env = "PLANTED"')
        ended = try_to_play(write_experiment(tmp_path, judge=judge))

    assert ended is not None
    assert key not in str(ended)
    assert f"Bearer {key}" in {request.headers["authorization"] for request in server.requests}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes(), path


def test_a_second_writer_is_refused_with_one_clear_line(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    play(config, limit=1)

    with BattleLog(tmp_path / "runs" / "x"), pytest.raises(LogError, match="another arena"):
        play(config)


def test_the_qrels_judge_leaves_out_queries_without_relevant_documents(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    qrels = tmp_path / "data" / "qrels" / "test.tsv"
    qrels.write_text("".join(x for x in qrels.read_text().splitlines(True) if "q0" not in x))

    play(config)

    assert {battle.query_id for battle in logged(config)} == set(QUERIES) - {"q0"}
    manifest = json.loads((tmp_path / "runs" / "x" / "manifest.json").read_text())
    assert manifest["notes"] == ["docs: 1 queries have no relevant document and were left out"]


def test_the_qrels_judge_without_qrels_says_what_to_do(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    (tmp_path / "data" / "qrels" / "test.tsv").unlink()

    with pytest.raises(UsageError, match="use an LLM judge"):
        play(config)


def test_an_experiments_folder_is_not_taken_for_its_config(tmp_path: Path) -> None:
    play(write_experiment(tmp_path))

    with pytest.raises(UsageError, match=r"give the arena\.toml"):
        play(tmp_path / "runs" / "x")


def test_replies_keep_everything_that_was_paid_for(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config)

    replies = {reply.id: reply for reply in read_replies(tmp_path / "runs" / "x" / "replies.jsonl")}
    battles = {battle.id: battle for battle in logged(config)}
    assert replies.keys() == battles.keys()
    assert all(reply.usage.input_tokens == 100 and reply.reply for reply in replies.values())
