"""What real servers answer, through a judge: ``error_bodies.toml`` says what arena must do."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from chat_judges import asked, config, exhibit, with_judge, word
from loopback import Answer, LoopbackServer, verdict

from arena.errors import ApiError, FatalApiError, UnjudgedError
from arena.judging.judge import Judge

TABLE = tomllib.loads(Path(__file__).with_name("error_bodies.toml").read_text("utf-8"))["answer"]
SERVERS = {
    "OpenAI",
    "Azure",
    "Anthropic",
    "Gemini",
    "DeepSeek",
    "OpenRouter",
    "LiteLLM",
    "vLLM",
    "Ollama",
    "LM Studio",
    "llama.cpp",
    "Cohere",
    "Mistral",
}


def rows(kind: str) -> Any:
    found = [row for row in TABLE if row["does"].partition(":")[0] == kind]
    return pytest.mark.parametrize(
        "row", found, ids=[f"{row['server']}: {row['what']}" for row in found]
    )


def answer_of(row: dict[str, Any]) -> Answer:
    headers = {"Content-Type": "application/json", **row.get("headers", {})}
    return Answer(row["status"], headers, row["body"].encode())


def good(body: dict[str, Any]) -> Answer:
    return verdict("tie") if "letter" not in asked(body) and "logprobs" not in body else word("T")


def judged(server: LoopbackServer, *texts: str, **settings: Any) -> list[Any]:
    """What became of one battle after another, each about other texts."""

    async def all_of(judge: Judge) -> list[Any]:
        found: list[Any] = []
        for text in texts:
            try:
                found.append(await judge.judge(exhibit(text)))
            except (ApiError, UnjudgedError) as error:
                found.append(error)
        return found

    return list(with_judge(server, config(**settings), all_of))


def test_the_table_tells_of_every_server_several_times():
    assert {row["server"] for row in TABLE} >= SERVERS
    assert len(TABLE) >= 60
    assert all(row["origin"] for row in TABLE)


@rows("retry")
def test_what_passes_is_tried_again(row: dict[str, Any]):
    script = lambda body, attempt: answer_of(row) if attempt == 1 else good(body)  # noqa: E731
    with LoopbackServer(script) as server:
        (found,) = judged(server, "a")

        assert found.winner == "tie"
        assert len(server.requests) == 2


@rows("stop")
def test_what_all_calls_would_meet_stops_the_run_at_the_first(row: dict[str, Any]):
    with LoopbackServer(lambda body, attempt: answer_of(row)) as server:
        error, *_ = judged(server, "a", "b")

        assert isinstance(error, FatalApiError)
        assert error.reason == row["does"].partition(": ")[2]
        assert row.get("says", "") in str(error)
        assert str(error).isprintable()
        assert len(server.requests) == 1


@rows("fail")
def test_what_is_about_one_battle_fails_that_battle_alone(row: dict[str, Any]):
    def script(body: dict[str, Any], attempt: int) -> Answer:
        return answer_of(row) if "text of [a]" in asked(body) else good(body)

    with LoopbackServer(script) as server:
        error, other = judged(server, "a", "c")
        after = server.requests[-1].body

    assert isinstance(error, UnjudgedError)
    assert error.reason == row["does"].partition(": ")[2]
    assert row.get("says", "") in error.detail
    assert other.winner == "tie"
    # What its words name may have been left out meanwhile, but not of other battles.
    assert set(after) == {"model", "messages", "temperature", "max_tokens", "response_format"}


@rows("drop")
def test_a_field_that_a_refusal_names_is_left_out_from_then_on(row: dict[str, Any]):
    field = row["does"].partition(": ")[2]

    def script(body: dict[str, Any], attempt: int) -> Answer:
        return answer_of(row) if field in body else good(body)

    settings = {"answer": "letter"} if field == "logprobs" else {}
    with LoopbackServer(script) as server:
        first, second = judged(server, "a", "c", **settings)

        assert (first.winner, second.winner) == ("tie", "tie")
        assert len(server.requests) <= 4
        assert all(field not in request.body for request in server.requests[-2:])
        kept = {"temperature", "max_tokens", "max_completion_tokens"} - {field}
        assert len(kept & set(server.requests[-1].body)) == 2 - (field == "temperature")
