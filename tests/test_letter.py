from __future__ import annotations

import json
import math
from typing import Any

import pytest
from chat_judges import config, exhibit, opened, with_judge, word
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, as_json, chat, error
from tables import each_row

from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.client import Api
from arena.errors import UnjudgedError
from arena.judging.capabilities import SHORT, ResponseFormat, ServerCapabilities
from arena.judging.chat_reply import ChatReply, read_choice
from arena.judging.judge import Judge, RequestJudge
from arena.judging.pairwise import winner_by_probs
from arena.records import Probs, Verdict

LETTERS = config(answer="letter")
SURE = {"A": 0.9, "B": 0.08, "T": 0.02}


def judged(answer: Any, **settings: Any) -> Verdict:
    script = answer if callable(answer) else lambda body, attempt: answer
    with LoopbackServer(script) as server:
        return with_judge(
            server, config(answer="letter", **settings), lambda judge: judge.judge(exhibit())
        )


def unjudged(answer: Any) -> UnjudgedError:
    with pytest.raises(UnjudgedError) as caught:
        judged(answer)
    return caught.value


def test_one_letter_is_asked_for_with_its_alternatives():
    with LoopbackServer(lambda body, attempt: word("A", SURE)) as server:
        said = with_judge(server, LETTERS, lambda judge: judge.judge(exhibit()))

        body = server.requests[0].body
    assert (body["logprobs"], body["top_logprobs"], body["max_tokens"]) == (True, 10, SHORT)
    assert body["temperature"] == 0
    assert "response_format" not in body
    assert said.winner == "first"
    assert said.probs == Probs(pytest.approx(0.9), pytest.approx(0.08), pytest.approx(0.02))
    assert said.reply == "A"


@each_row("text", ["A", " A", "a", '"A"', "A.", "**A**", "(A)", "A\n", "Ａ"])
def test_a_letter_in_any_dress_is_that_letter(text):
    assert judged(word(text)).winner == "first"
    assert judged(word(text, {text: 0.8, "B": 0.2})).probs == Probs(
        pytest.approx(0.8), pytest.approx(0.2), 0.0
    )


def test_spellings_of_one_letter_are_added_up_and_other_tokens_are_left_out():
    probs = {"A": 0.3, " A": 0.1, "a": 0.1, "B": 0.2, " T": 0.05, "The": 0.2, "\n": 0.05}

    found = judged(word("A", probs)).probs
    assert found == Probs(
        pytest.approx(0.5 / 0.75), pytest.approx(0.2 / 0.75), pytest.approx(1 / 15)
    )


def test_the_letter_after_a_blank_or_a_quotation_mark_is_the_one_that_counts():
    assert judged(word("B", {"B": 0.7, "A": 0.3}, lead='"')).probs == Probs(
        pytest.approx(0.3), pytest.approx(0.7), 0.0
    )


@each_row(
    ("probs", "winner"),
    [
        (Probs(0.6, 0.3, 0.1), "first"),
        (Probs(0.3, 0.6, 0.1), "second"),
        (Probs(0.30, 0.25, 0.45), "tie"),
        (Probs(0.48, 0.44, 0.08), "tie"),
        (Probs(0.45, 0.10, 0.45), "tie"),
        (Probs(0.5, 0.5, 0.0), "tie"),
    ],
)
def test_a_tie_is_what_is_likeliest_or_too_close_to_call(probs, winner):
    assert winner_by_probs(probs, 0.1) == winner


def test_a_lead_of_just_the_margin_wins():
    probs = Probs(0.5, 0.25, 0.25)

    assert winner_by_probs(probs, 0.25) == "first"
    assert winner_by_probs(probs, 0.2500001) == "tie"


@given(st.tuples(*[st.floats(0, 1)] * 3).filter(lambda p: sum(p) > 0.01), st.floats(0, 1))
@settings(max_examples=60)
def test_exchanging_the_lists_exchanges_the_winner(raw, margin):
    first, second, tie = (p / sum(raw) for p in raw)
    mirrored = {"first": "second", "second": "first", "tie": "tie"}

    winner = winner_by_probs(Probs(first, second, tie), margin)
    assert winner_by_probs(Probs(second, first, tie), margin) == mirrored[winner]


def test_the_margin_is_the_users():
    close = word("A", {"A": 0.55, "B": 0.45})

    assert judged(close, tie_margin=0.05).winner == "first"
    assert judged(close, tie_margin=0.5).winner == "tie"


@each_row(
    ("answer", "reason"),
    [
        (word(""), "empty"),
        (word('""'), "empty"),
        (word("C", {"C": 0.6, "A": 0.4}), "unreadable"),
        (word("The", {"The": 0.6, "A": 0.4}), "unreadable"),
        (word("A careful reading"), "unreadable"),
        (word("A/B"), "unreadable"),
        (word("A or B"), "unreadable"),
        (word("Answer: A"), "unreadable"),
        (word("first"), "unreadable"),
        (word("A\nB"), "two_verdicts"),
        (word("A\nWait, no: B"), "contradiction"),
        (word("A\nFinal answer: **B**"), "contradiction"),
        (word("A\nThe second list is better."), "contradiction"),
        (word("A\nNot A."), "contradiction"),
        (word("A\nI can't decide between them."), "refusal"),
        (word("The letter\nA\nis no answer."), "unreadable"),
        (word("A?"), "unreadable"),
        (word("<A>"), "truncated"),
        (word("<think>A"), "truncated"),
        (word("<musing>\nA\n</musing>"), "empty"),
        (chat("A", finish_reason="length"), "truncated"),
        (chat("A", refusal="No."), "refusal"),
        (word("I'm sorry, but no"), "refusal"),
        (chat("", refusal="No."), "refusal"),
        (chat("", finish_reason="content_filter"), "refusal"),
        (chat("Well, the", finish_reason="length"), "truncated"),
        (as_json({"choices": []}), "garbage"),
        (error(400, "context length exceeded"), "bad_request"),
        (error(500, "oops"), "server"),
    ],
)
def test_what_is_no_letter_is_a_failure_with_a_reason_never_a_tie(answer, reason):
    assert unjudged(answer).reason == reason


@each_row(
    "text",
    [
        "A\nIt answers the question from the top.",
        "A\n\nA",
        "```text\nA\n```",
        "<answer>A</answer>",
        "<think>B</think>\nA",
        "B or A? So B is worse.</think>A",
        "Both are short.\n\n**A**",
    ],
)
def test_the_letter_begins_or_ends_the_reply(text):
    assert judged(chat(text)).winner == "first"


LINES = st.lists(st.sampled_from(["Hm.", "So", "a", "B", "t", "A/B", "A B", "(A", "-A", "A?", "é"]))


@given(LINES)
@settings(max_examples=150)
def test_no_letter_is_found_where_none_stands_alone_on_the_first_or_last_line(lines):
    ends = {lines[0], lines[-1]} if lines else set()
    alone = {"a": "a", "B": "b", "t": "t", "(A": "a"}

    try:
        label = read_choice(ChatReply("\n".join(lines)), ("a", "b", "t")).label
    except UnjudgedError:
        return
    assert {alone[line] for line in lines if line in alone} == {label}
    assert ends & alone.keys()


@given(st.text(alphabet="ABTabt 0123.,:-\n<>/?*", max_size=20), st.sampled_from("abt"))
@settings(max_examples=150)
def test_whatever_stands_before_it_the_last_line_is_the_letter_or_nothing_is(before, letter):
    try:
        label = read_choice(ChatReply(f"{before}\n{letter}"), ("a", "b", "t")).label
    except UnjudgedError:
        return
    assert label == letter


def tops(*entries: tuple[Any, Any]) -> dict[str, Any]:
    """Log-probabilities of the first token as a server sends them; the first one was written."""
    given = [{"token": token, "logprob": logprob} for token, logprob in entries]
    return {"content": [{**given[0], "top_logprobs": given}]}


@each_row(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [None]},
        {"content": [{"token": "A", "logprob": -0.1}]},
        {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": []}]},
        {"content": [{"token": "A", "logprob": None, "top_logprobs": [{"token": "A"}]}]},
        tops(("A", 0.0), ("B", 0.0), ("T", 0.0)),
        tops(("A", 0.9), ("B", 0.05), ("T", 0.05)),
        tops(("A", -0.1), ("B", -0.1), ("T", -0.1)),
        tops(("A", -9999.0), ("B", -0.01)),
        tops(("A", -math.inf), ("B", -0.01)),
        tops(("A", -0.01), ("B", math.nan)),
        tops(("A", -0.01), ("B", True)),
        tops(("A", "-0.01"), ("B", -5.0)),
        tops(("A", None), ("B", -0.01)),
        tops(("A", -0.7), (None, -0.7)),
        {
            "content": [
                {"token": "Hm", "logprob": 0, "top_logprobs": [{"token": "B", "logprob": 0}]}
            ]
        },
    ],
)
def test_without_usable_logprobs_the_letter_itself_counts(logprobs):
    body = json.loads(chat("A").body)
    body["choices"][0]["logprobs"] = logprobs

    assert judged(as_json(body)).winner == "first"
    assert judged(as_json(body)).probs is None


def test_a_token_that_is_impossible_has_no_share():
    body = json.loads(word("A", SURE).body)
    tops = body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    tops[1]["logprob"] = None
    tops[2]["logprob"] = -9999.0

    assert judged(as_json(body)).probs == Probs(1.0, 0.0, 0.0)


def refusing(*rules: tuple[str, Any, str]):
    """Answers 400 where a field has a value, else a letter."""

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        for name, value, message in rules:
            if name in body and value in (None, body[name]):
                return error(400, message)
        return word("B", {"B": 0.9, "A": 0.1} if "logprobs" in body else None)

    return answer


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ([("logprobs", None, "logprobs are not supported by this model")], {"max_tokens": SHORT}),
        (
            [("top_logprobs", 10, "top_logprobs must be at most 5")],
            {"max_tokens": SHORT, "logprobs": True, "top_logprobs": 5},
        ),
        (
            [("top_logprobs", None, "Invalid value for top_logprobs: not supported")],
            {"max_tokens": SHORT},
        ),
        (
            [("max_tokens", SHORT, "max_tokens: expected a value of at least 16")],
            {"max_tokens": 1024, "logprobs": True, "top_logprobs": 10},
        ),
    ],
)
def test_what_a_server_lacks_is_found_out_once(rules, kept):
    async def many(judge: Judge) -> list[Verdict]:
        await judge.judge(exhibit("a", "b"))
        return [await judge.judge(exhibit("c", "d"))]

    with LoopbackServer(refusing(*rules)) as server:
        (said,) = with_judge(server, LETTERS, many)

        last = [r.body for r in server.requests if "[c]" in str(r.body)]
    assert said.winner == "second"
    assert (said.probs is not None) == ("logprobs" in kept)
    assert len(last) == 1
    assert {
        k: v for k, v in last[0].items() if k not in ("model", "messages", "temperature")
    } == kept


@each_row("text", ["", '"', "<think>\nOkay"])
def test_a_model_that_needs_more_room_gets_it_and_both_calls_are_counted(text):
    def answer(body: dict[str, Any], attempt: int) -> Answer:
        if body["max_tokens"] == SHORT:
            return chat(text, finish_reason="length")
        return chat("<think>Hm.</think>\n\nT")

    said = judged(answer, price_per_1m_input_tokens=1)
    assert said.winner == "tie"
    assert said.usage.input_tokens == 200
    assert said.usage.cost_usd == pytest.approx(200e-6)


def test_a_reply_of_a_batch_is_read_as_a_live_one():
    with LoopbackServer(lambda body, attempt: word("A", SURE)) as server:

        async def use(judge: Judge) -> tuple[Verdict, Verdict]:
            assert isinstance(judge, RequestJudge)
            live = await judge.judge(exhibit())
            body = json.loads(word("A", SURE).body)
            [messages] = judge.calls(exhibit()).values()
            assert judge.chat.request(messages) == server.requests[0].body
            verdict = judge.verdict_of(judge.reply_from(body, 1.0))
            assert verdict is not None
            return live, verdict

        live, batch = with_judge(server, LETTERS, use)
    assert (live.winner, live.probs, live.reply) == (batch.winner, batch.probs, batch.reply)


def test_the_tie_margin_makes_another_battle_and_prices_do_not():
    def keys(**settings: Any) -> tuple[str, str]:
        api = Api(Endpoint("http://127.0.0.1:1/v1", None))
        judge = opened(config(answer="letter", **settings), api)
        return judge.fingerprint, judge.request_key(exhibit())

    assert keys() == keys(tie_margin=0.1) == keys(max_tokens=99, price_per_1m_input_tokens=3)
    assert keys() != keys(tie_margin=0.2)
    assert keys() != keys(temperature=1)


def test_a_dialect_asks_for_words_without_a_schema_and_for_objects_without_logprobs():
    words = ServerCapabilities().fields(
        ResponseFormat(labels=("yes", "no")), temperature=0, max_tokens=100
    )
    objects = ServerCapabilities().fields(ResponseFormat(schema={}), temperature=0, max_tokens=100)

    assert set(words) == {"temperature", "max_tokens", "logprobs", "top_logprobs"}
    assert set(objects) == {"temperature", "max_tokens", "response_format"}
