"""What was learned of endpoints: kept beside the experiment, and never in the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chat_judges import word
from experiments import fair_judge, llm, play, write_experiment
from loopback import Answer, LoopbackServer, chat, error
from tables import each_row

from arena.judging.capabilities import ServerCapabilities, capabilities_from
from arena.judging.endpoint_facts import Learned

FILE = Path("runs") / "x" / "learned.json"


def test_facts_are_kept_for_the_next_run_and_the_other_shard(tmp_path: Path) -> None:
    one, other = Learned(tmp_path / "learned.json"), Learned(tmp_path / "learned.json")

    one.change("endpoint", "dialect", lambda _: {"short": False})
    other.change("endpoint", "cost", lambda known: {**known, "largest": 7})
    one.change("endpoint", "cost", lambda known: {"largest": max(5, known["largest"])})

    assert other.facts("endpoint", "dialect") == {"short": False}
    assert one.facts("endpoint", "cost") == {"largest": 7}
    assert one.facts("another", "cost") == {}

    other.change("another", "cost", lambda _: {"largest": 9})
    assert one.facts("endpoint", "cost") == {"largest": 7}
    assert one.facts("another", "cost") == {"largest": 9}


@each_row("content", [b"", b"{", b"[1]", b'{"e": 5}', b'{"e": {"s": [1]}}', b"\xff"])
def test_a_damaged_file_counts_as_empty_and_is_mended(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "learned.json"
    path.write_bytes(content)

    assert Learned(path).facts("e", "s") == {}
    Learned(path).change("e", "s", lambda _: {"n": 1})
    assert Learned(path).facts("e", "s") == {"n": 1}


def test_a_folder_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    assert Learned(tmp_path / "file" / "learned.json").change("e", "s", lambda _: {"n": 1}) == {
        "n": 1
    }


@each_row("facts", [{}, {"answer": "xml"}, {"short": 3}, {"length": []}])
def test_a_dialect_that_was_tampered_with_is_a_fresh_one(facts: dict[str, Any]) -> None:
    assert capabilities_from(facts) == ServerCapabilities()


def test_a_resumed_run_is_not_refused_again(tmp_path: Path) -> None:
    def strict(request: dict[str, Any], attempt: int) -> Answer:
        if "response_format" in request:
            return error(400, "response_format is not supported")
        return fair_judge(request, attempt)

    with LoopbackServer(strict) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "concurrency = 1\n"))
        play(config, limit=1)
        n_refused = sum("response_format" in request.body for request in server.requests)
        before = len(server.requests)
        play(config, limit=2)
        later = server.requests[before:]

    assert n_refused == 2  # json_schema, then json_object
    assert len(later) == 2
    assert not any("response_format" in request.body for request in later)


def test_a_resumed_run_does_not_pay_again_to_learn_that_a_model_thinks_first(
    tmp_path: Path,
) -> None:
    def thinks(request: dict[str, Any], attempt: int) -> Answer:
        if request["max_tokens"] < 100:
            return chat("", finish_reason="length")
        return word("A")

    with LoopbackServer(thinks) as server:
        judge = llm(server.base_url, 'answer = "letter"\nconcurrency = 1\n')
        config = write_experiment(tmp_path, judge=judge)
        play(config, limit=1)
        before = [request.body["max_tokens"] for request in server.requests]
        play(config, limit=2)
        after = [request.body["max_tokens"] for request in server.requests[len(before) :]]

    assert before == [4, 1024]
    assert after == [1024, 1024]
    assert all("dialect" in facts for facts in json.loads((tmp_path / FILE).read_text()).values())
