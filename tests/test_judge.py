from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import DROP, Answer, LoopbackServer, as_json, chat, error, truncated, verdict
from tables import each_row

from arena.config import JudgeConfig
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, run
from arena.errors import FatalApiError, UnjudgedError
from arena.judging.capabilities import ServerCapabilities
from arena.judging.judge import Judge
from arena.judging.pairwise import llm_judge
from arena.judging.prompt import load_prompt
from arena.judging.qrels import list_dcg, qrels_judge
from arena.records import Document, JudgeInput, Query, Verdict

HASTY = Retry(base_s=0.002, longest_s=0.01)
KEY = "sk-planted-0123456789abcdef"
PROMPT = load_prompt("pairwise")
NAMED = ("temperature", "max_tokens", "max_completion_tokens", "top_logprobs", "response_format")


def config(**settings: Any) -> JudgeConfig:
    return JudgeConfig(**{"model": "judge-1", **settings})


def exhibit(first: str = "a", second: str = "b") -> JudgeInput:
    return JudgeInput(
        "d",
        Query("q1", "why?"),
        tuple(Document(name, f"text of {name}") for name in first),
        tuple(Document(name, f"text of {name}") for name in second),
    )


def with_judge(server: LoopbackServer, use: Callable[[Judge], Any], **options: Any) -> Any:
    async def story() -> Any:
        endpoint = Endpoint(server.base_url, options.pop("api_key_env", None))
        async with Api(endpoint, retry=HASTY) as api:
            return await use(llm_judge(config(**options), PROMPT, api))

    return run(story())


def judged(answer: Any, **options: Any) -> Verdict:
    script = answer if callable(answer) else lambda body, attempt: answer
    with LoopbackServer(script) as server:
        return with_judge(server, lambda judge: judge.judge(exhibit()), **options)


def unjudged(answer: Any, **options: Any) -> UnjudgedError:
    with pytest.raises(UnjudgedError) as caught:
        judged(answer, **options)
    assert str(caught.value).isprintable()
    return caught.value


def test_a_judge_is_asked_for_a_schema_and_its_verdict_is_read():
    with LoopbackServer(lambda body, attempt: verdict("second")) as server:
        said = with_judge(server, lambda judge: judge.judge(exhibit()), temperature=0.5)

        body = server.requests[0].body
    assert said.winner == "second"
    assert json.loads(said.reply)["verdict"] == "second"
    assert body["model"] == "judge-1"
    assert body["temperature"] == 0.5
    assert body["max_tokens"] == 1024
    assert body["response_format"]["json_schema"]["strict"] is True
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert "text of a" in body["messages"][1]["content"]


PROSE = '{"first": "good", "second": "bad", "verdict": "FIRST"}'


QUOTED = '{"verdict": "second"}'
THOUGHT = {"type": "thinking", "text": QUOTED}


@each_row(
    "answer",
    [
        chat(f"Well.\n```json\n{PROSE}\n```\nThat is all."),
        as_json({"choices": [{"message": {"content": PROSE, "reasoning_content": QUOTED}}]}),
        as_json({"choices": [{"message": {"content": [THOUGHT, {"text": PROSE}]}}]}),
        chat("Good against bad.\n**Verdict: First.**"),
        as_json({"choices": [{"message": {"content": [{"type": "text", "text": PROSE}]}}]}),
        chat(PROSE, finish_reason="length"),
    ],
)
def test_a_verdict_in_any_dress_is_one(answer):
    assert judged(answer).winner == "first"


@each_row(
    ("answer", "reason"),
    [
        (chat(""), "empty"),
        (chat(None), "empty"),
        (chat("I'm sorry, I can't assist with that."), "refusal"),
        (chat(None, refusal="I can't\nhelp with that."), "refusal"),
        (chat("", finish_reason="content_filter"), "refusal"),
        (error(400, "blocked", code="content_filter"), "refusal"),
        (chat('{"first": "a very long', finish_reason="length"), "truncated"),
        (chat("", finish_reason="length"), "truncated"),
        (chat(f"The document says {PROSE}", finish_reason="length"), "truncated"),
        (chat("VERDICT: first", finish_reason="MAX_TOKENS"), "truncated"),
        (chat(PROSE, finish_reason="content_filter"), "refusal"),
        (chat(PROSE, finish_reason="SAFETY"), "refusal"),
        (chat(PROSE, refusal="No."), "refusal"),
        (chat(PROSE, finish_reason="error"), "server"),
        (as_json({"choices": [{"message": {"reasoning_content": PROSE}}]}), "only_reasoning"),
        (as_json({"choices": [{"message": {"content": [THOUGHT]}}]}), "empty"),
        (as_json({"choices": [{"message": {"content": {"verdict": "first"}}}]}), "empty"),
        (as_json({"choices": [{"message": {"tool_calls": [{"function": {}}]}}]}), "empty"),
        (chat("VERDICT: first or second"), "two_verdicts"),
        (chat('{"verdict": "both"}'), "unreadable"),
        (chat("vérdict: premier"), "unreadable"),
        (chat("A"), "unreadable"),
        (as_json({"choices": []}), "garbage"),
        (as_json({"choices": [None]}), "garbage"),
        (as_json({"choices": [{"message": None}]}), "empty"),
        (as_json({}), "garbage"),
        (Answer(200, {}, b"<html>Welcome to nginx</html>"), "unusable"),
        (error(429, "slow", headers={"Retry-After": "0"}), "rate_limit"),
        (error(500, "oops"), "server"),
        (error(400, "context length exceeded"), "bad_request"),
        (DROP, "connection"),
        (truncated(chat("cut")), "connection"),
    ],
)
def test_what_is_no_verdict_is_a_failure_with_a_reason_never_a_tie(answer, reason):
    assert unjudged(answer).reason == reason


@each_row(
    "answer",
    [
        error(401, "bad key"),
        error(404, "no such model", code="model_not_found"),
        error(429, "quota", code="insufficient_quota"),
    ],
)
def test_what_every_battle_would_meet_stops_the_run(answer):
    with pytest.raises(FatalApiError):
        judged(answer)


def test_a_reply_of_nothing_that_counts_nothing_is_asked_for_once_more():
    nothing = as_json({"choices": [{"message": {"role": "assistant", "content": ""}}]})
    for times, winner in ((1, "tie"), (2, None)):

        def script(body: dict[str, Any], attempt: int, times: int = times) -> Answer:
            return nothing if attempt <= times else verdict("tie")

        with LoopbackServer(script) as server:
            if winner:
                assert with_judge(server, lambda judge: judge.judge(exhibit())).winner == winner
            else:
                with pytest.raises(UnjudgedError, match="empty"):
                    with_judge(server, lambda judge: judge.judge(exhibit()))
            assert len(server.requests) == 2


def test_an_unreadable_reply_keeps_its_text_and_its_cost():
    failure = unjudged(chat("Both."), price_per_1m_input_tokens=1, price_per_1m_output_tokens=10)

    assert failure.reply == "Both."
    assert failure.cost_usd == pytest.approx(100e-6 + 200e-6)


def test_usage_is_priced_with_cached_tokens_apart():
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    prices = {
        "price_per_1m_input_tokens": 2.0,
        "price_per_1m_output_tokens": 8.0,
        "price_per_1m_cached_tokens": 0.5,
    }
    answer = chat(PROSE, usage=usage)

    found = judged(answer, **prices).usage
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (1000, 100, 600)
    assert found.cost_usd == pytest.approx((400 * 2 + 600 * 0.5 + 100 * 8) / 1e6)
    assert found.latency_ms > 0
    del prices["price_per_1m_cached_tokens"]
    assert judged(answer, **prices).usage.cost_usd == pytest.approx((1000 * 2 + 100 * 8) / 1e6)


def picky(*rejects: tuple[str, str]):
    """An endpoint that answers 400 to requests with a field it does not know."""

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        flat = json.dumps({name: value for name, value in body.items() if name != "messages"})
        for field, message in rejects:
            if f'"{field}"' in flat:
                return error(400, message)
        return verdict("tie")

    return answer


@pytest.mark.parametrize(
    ("rejects", "kept"),
    [
        ((), {"temperature", "max_tokens", "response_format"}),
        (
            (("temperature", "Unsupported value: 'temperature' does not support 0"),),
            {"max_tokens", "response_format"},
        ),
        (
            (
                (
                    "max_tokens",
                    "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
                ),
            ),
            {"temperature", "max_completion_tokens", "response_format"},
        ),
        (
            (
                ("max_tokens", "Unsupported parameter: max_tokens"),
                ("max_completion_tokens", "Unsupported parameter: max_completion_tokens"),
                ("temperature", "temperature is not supported with this model"),
                ("json_schema", "Invalid parameter: response_format json_schema is not supported"),
                ("response_format", "Unknown field: response_format"),
            ),
            set(),
        ),
    ],
)
def test_what_a_server_rejects_is_left_out_and_that_is_remembered(rejects, kept):
    async def many(judge: Judge) -> None:
        await asyncio.gather(*(judge.judge(exhibit("ab"[: i % 2 + 1])) for i in range(6)))
        await judge.judge(exhibit("c"))

    with LoopbackServer(picky(*rejects)) as server:
        with_judge(server, many)

        last = server.requests[-1].body
        refused = [r for r in server.requests if "text of c" in str(r.body)]
    assert set(last) - {"model", "messages"} == kept
    assert len(refused) == 1


def test_a_schema_gives_way_to_json_mode_first():
    with LoopbackServer(picky(("json_schema", "json_schema is not supported"))) as server:
        with_judge(server, lambda judge: judge.judge(exhibit()))

        assert server.requests[-1].body["response_format"] == {"type": "json_object"}


@each_row(
    "refusal",
    [
        "max_tokens is too large: the context length is 4096",
        "maximum context length is 4096 tokens, you asked for 1024 in max_tokens",
        "Unsupported image",
        "",
    ],
)
def test_a_refusal_that_names_no_field_changes_nothing(refusal):
    assert ServerCapabilities().after(refusal) == ServerCapabilities()


@given(st.lists(st.sampled_from([*NAMED, "not supported", "at least 16", "?!", "ünknown"])))
def test_whatever_refusals_say_only_so_many_fields_can_be_dropped(words):
    dialect, n_changes = ServerCapabilities(), 0
    while (after := dialect.after(" ".join(words))) != dialect:
        dialect, n_changes = after, n_changes + 1
        assert n_changes <= 8
    assert ServerCapabilities().joined(dialect) == dialect.joined(ServerCapabilities()) == dialect


def test_a_field_that_is_named_in_an_echoed_text_is_sent_again_to_the_next_battle():
    echo = "Prompt rejected: 'What is the temperature in Oslo?'"

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        return error(400, echo) if "text of c" in str(body) else verdict("tie")

    async def three(judge: Judge) -> UnjudgedError:
        await judge.judge(exhibit("a"))
        with pytest.raises(UnjudgedError) as caught:
            await judge.judge(exhibit("c"))
        await judge.judge(exhibit("b", "d"))
        return caught.value

    with LoopbackServer(answer) as server:
        failure = with_judge(server, three)

        assert failure.reason == "bad_request"
        assert [len(r.body) for r in server.requests] == [5, 5, 4, 5]


def test_the_fingerprint_changes_with_what_could_change_a_verdict_and_nothing_else(monkeypatch):
    def fingerprint(base_url: str = "http://127.0.0.1:1/v1", **options: Any) -> str:
        api = Api(Endpoint(base_url))
        return llm_judge(config(**options), PROMPT, api).fingerprint

    same = fingerprint()
    for options in (
        {"price_per_1m_input_tokens": 3},
        {"concurrency": 5},
        {"timeout_s": 1},
        {"max_failures": 0.5},
    ):
        assert fingerprint(**options) == same
    for options in (
        {"model": "judge-2"},
        {"base_url": "http://127.0.0.1:2/v1"},
        {"temperature": 1},
        {"max_tokens": 99},
        {"document_words": 20},
    ):
        assert fingerprint(**options) != same


def test_requests_have_one_key_if_and_only_if_they_are_the_same():
    judge = llm_judge(config(document_words=10), PROMPT, Api(Endpoint("http://127.0.0.1:1/v1")))
    long = " ".join(map(str, range(20)))

    def key(text: str, doc_id: str = "a") -> str:
        return judge.request_key(JudgeInput("d", Query("q", "?"), (Document(doc_id, text),), ()))

    assert key("x", "a") == key("x", "b")
    assert key(long + " end") == key(long + " other end")
    assert key("x") != key("y")
    assert judge.request_key(exhibit("a", "b")) != judge.request_key(exhibit("b", "a"))


def test_a_planted_key_is_in_no_failure(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)

    failure = unjudged(chat(f"I refuse, {KEY}"), api_key_env="MY_KEY")
    assert KEY not in failure.reply + failure.detail + repr(failure)


QRELS = {"d": {"q1": {"a": 2, "b": 1, "c": 0, "n": -1}, "q2": {}}}


def by_qrels(first: str, second: str, top_k: int = 5) -> str:
    return asyncio.run(qrels_judge(QRELS, top_k).judge(exhibit(first, second))).winner


def test_the_qrels_judge_prefers_the_higher_dcg():
    assert by_qrels("ab", "ba") == "first"
    assert by_qrels("ba", "ab") == "second"
    assert by_qrels("xa", "b") == "first"
    assert by_qrels("abx", "aby") == "tie"
    assert by_qrels("nx", "xc") == "tie"
    assert by_qrels("", "x") == "tie"
    assert by_qrels("xa", "xb", top_k=1) == "tie"


def test_the_qrels_judge_leaves_queries_without_qrels_unjudged():
    for query in (Query("q2", "?"), Query("q3", "?")):
        with pytest.raises(UnjudgedError, match="no_qrels: dataset d has no qrels for query"):
            asyncio.run(qrels_judge(QRELS, 5).judge(JudgeInput("d", query, (), ())))


def test_the_qrels_judge_is_no_llm():
    judge = qrels_judge(QRELS, 5)

    assert (judge.name, judge.prompt, judge.is_llm) == ("qrels", "", False)
    assert judge.fingerprint != qrels_judge(QRELS, 4).fingerprint
    assert judge.fingerprint != qrels_judge({"d": {"q1": {"a": 1}}}, 5).fingerprint
    assert judge.request_key(exhibit("a")) == qrels_judge(QRELS, 5).request_key(exhibit("a"))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 10))
@settings(max_examples=25)
def test_dcg_is_that_of_ir_measures(grades, top_k):
    import ir_measures

    documents = [Document(f"{i}", "") for i in range(len(grades))]
    qrels = {"q": {f"{i}": grade for i, grade in enumerate(grades)}}
    run_ = {"q": {f"{i}": -float(i) for i in range(len(grades))}}
    ideal = list_dcg(sorted(documents, key=lambda d: -qrels["q"][d.doc_id]), qrels["q"], top_k)

    found = list_dcg(documents, qrels["q"], top_k)
    measure = ir_measures.nDCG @ top_k
    expected = ir_measures.calc_aggregate([measure], qrels, run_)[measure]
    assert found == pytest.approx(expected * ideal)
