"""Refusals of everything, and prompts that were cut: what a server does not say by itself."""

from __future__ import annotations

import random
from typing import Any

import pytest
from chat_judges import asked, config, exhibit, with_judge
from hypothesis import given
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, as_json, chat, error, verdict
from tables import each_row

from arena.endpoint.http_errors import naming, wording
from arena.errors import ApiError, FatalApiError, UnjudgedError
from arena.judging.judge import Judge
from arena.judging.refused_calls import ENOUGH, QUESTION
from arena.judging.server_truncation import (
    LEAST_PROMPTS,
    SMALLEST_CONTEXT,
    TOKENS_PER_WORD,
    Ceiling,
    below_words,
    least_words,
)
from arena.records import Document, JudgeInput, Query


def one_after_another(server: LoopbackServer, n: int, **settings: Any) -> list[Any]:
    async def all_of(judge: Judge) -> list[Any]:
        found: list[Any] = []
        for i in range(n):
            try:
                found.append(await judge.judge(exhibit(chr(97 + i), "z")))
            except (ApiError, UnjudgedError) as failure:
                found.append(failure)
        return found

    return list(with_judge(server, config(**settings), all_of))


@each_row(
    "refusal",
    [error(400, "Modell nicht erlaubt"), error(422, "no"), error(500, "kaputt"), error(413, "?")],
)
def test_a_few_equal_refusals_in_a_row_stop_the_run_if_the_shortest_question_is_refused_too(
    refusal,
):
    with LoopbackServer(lambda body, attempt: refusal) as server:
        found = one_after_another(server, ENOUGH + 1)

        assert isinstance(found[ENOUGH - 1], FatalApiError)
        assert all(isinstance(failure, UnjudgedError) for failure in found[: ENOUGH - 1])
        assert "even the shortest call is refused like all others: HTTP" in str(found[-2])
        assert QUESTION in str(server.requests[-1].body)


def test_refusals_that_are_about_their_texts_stop_nothing_and_are_doubted_ever_less():
    def script(body: dict[str, Any], attempt: int) -> Answer:
        return chat("yes") if QUESTION in str(body) else error(400, "this text is no good")

    with LoopbackServer(script) as server:
        found = one_after_another(server, 20)

        questions = [r for r in server.requests if QUESTION in str(r.body)]
    assert {type(failure) for failure in found} == {UnjudgedError}
    assert len(questions) == 2  # after 3 and 6 more; the next would be after 12 more


def test_an_answer_in_between_takes_the_doubt_away():
    def script(body: dict[str, Any], attempt: int) -> Answer:
        bad = any(f"text of [{name}]" in asked(body) for name in "abdegh")
        return error(400, "no good") if bad else verdict("tie")

    with LoopbackServer(script) as server:
        found = one_after_another(server, 9)

        assert not any(QUESTION in str(request.body) for request in server.requests)
    assert [isinstance(f, UnjudgedError) for f in found] == [True, True, False] * 3


def test_refusals_that_differ_in_numbers_alone_are_the_same():
    def script(body: dict[str, Any], attempt: int) -> Answer:
        return error(400, f"request req_{len(server.requests)} of 99{len(server.requests)} denied")

    with LoopbackServer(script) as server:
        found = one_after_another(server, ENOUGH)

    assert isinstance(found[-1], FatalApiError)


# ---------------------------------------------------------------------------------------------
# Prompts that were cut

ENGLISH = "The board of the school decides on leave and the printer stands beside the window. "
GERMAN = "Die Elternzeitverordnung regelt Bundesvermögensverwaltungsangelegenheiten ausführlich. "
CHINESE = "学校董事会决定教师的休假安排，打印机放在二楼的窗户旁边。"
THAI = "คณะกรรมการโรงเรียนตัดสินใจเรื่องการลาของครูและเครื่องพิมพ์อยู่ข้างหน้าต่าง "
ARABIC = "يقرر مجلس المدرسة الإجازة وتقف الطابعة بجانب النافذة في الطابق الثاني. "
HINDI = "स्कूल बोर्ड छुट्टी का निर्णय लेता है और प्रिंटर खिड़की के पास दूसरी मंजिल पर है। "
KOREAN = "학교 이사회는 교사의 휴가를 결정하고 프린터는 이층 창문 옆에 있습니다. "
CODE = "for (let i=0;i<n;++i){sum+=values[i]*weights[i];}\n" + "=" * 70 + "\n"

# Tokens a character that tokenizers of today need at least (o200k, Gemma, Qwen, Llama 3), and at
# most (bytes, a model that never saw the script).
HONEST = [
    (ENGLISH, 0.18, 0.4),
    (GERMAN, 0.18, 0.5),
    (CHINESE, 0.5, 3.0),
    (THAI, 0.25, 3.0),
    (ARABIC, 0.22, 2.0),
    (HINDI, 0.22, 3.0),
    (KOREAN, 0.4, 3.0),
    (CODE, 0.15, 1.0),
]


@each_row(("text", "least", "most"), HONEST)
def test_no_honest_count_in_any_script_is_taken_for_a_prompt_that_was_cut(text, least, most):
    dice = random.Random(1)
    ceiling = Ceiling()
    for _ in range(500):
        prompt = text * dice.randint(1, 200)
        tokens = int(len(prompt) * dice.uniform(least, min(most, 1.3 * least)))
        assert ceiling.cut(prompt, tokens) == ""
    assert ceiling.cut(text * 200, int(len(text) * 200 * most)) == ""


def test_counts_of_mixed_scripts_have_no_ceiling():
    dice = random.Random(2)
    ceiling = Ceiling()
    for _ in range(5000):
        text, least, _ = dice.choice(HONEST)
        prompt = text * (14_000 // len(text) + dice.randint(-3, 3))
        assert ceiling.cut(prompt, int(len(prompt) * least * dice.uniform(1, 1.1))) == ""


@each_row("reported", [0, 1, 37, SMALLEST_CONTEXT - 1])
def test_servers_that_do_not_count_or_count_something_else_are_believed(reported):
    ceiling = Ceiling()

    assert [ceiling.cut(ENGLISH * n, reported) for n in range(1, 100)] == [""] * 99


def test_a_server_that_leaves_out_what_its_cache_held_is_believed():
    dice = random.Random(3)
    ceiling = Ceiling()
    whole = int(len(ENGLISH * 150) * 0.25)
    assert ceiling.cut(ENGLISH * 150, whole) == ""

    for _ in range(300):
        assert ceiling.cut(ENGLISH * 150, int(whole * dice.uniform(0.05, 0.9))) == ""


@pytest.mark.parametrize("context", [2051, 4096])
def test_fewer_tokens_than_words_were_cut_at_the_first_prompt(context):
    said = Ceiling().cut(ENGLISH * 500, context)

    assert f"read only {context:,} tokens of a prompt of {len(ENGLISH * 500):,} characters" in said
    assert "num_ctx" in said
    assert "document_words" in said


@each_row(("text", "rate"), [(ENGLISH, 0.25), (CHINESE, 0.6), (THAI, 0.4), (KOREAN, 0.6)])
def test_a_ceiling_is_found_in_any_script_by_prompts_of_different_lengths(text, rate):
    dice, ceiling = random.Random(4), Ceiling()
    fits = int(2048 / rate / len(text))
    found = []
    for _ in range(40):
        prompt = text * dice.randint(fits // 2, 3 * fits)
        tokens = min(int(len(prompt) * rate), 2048) + dice.randint(0, 3)
        found.append((tokens >= 2048, bool(ceiling.cut(prompt, tokens))))

    assert not any(said for was_cut, said in found if not was_cut)
    cut = [said for was_cut, said in found if was_cut]
    assert sum(cut[2 * LEAST_PROMPTS :]) >= 0.5 * len(cut[2 * LEAST_PROMPTS :])


@given(st.text(max_size=200))
def test_a_text_has_no_more_words_than_characters(text):
    assert 0 <= least_words(text) <= len(text) + 1


def long_exhibit(name: str) -> JudgeInput:
    documents = tuple(Document(f"{name}{i}", f"{name} {ENGLISH * 15}") for i in range(5))
    return JudgeInput("d", Query("q", f"why {name}?"), documents, documents[::-1])


def test_a_verdict_on_a_prompt_that_was_cut_is_a_failure_that_is_not_kept(tmp_path):
    from arena.judging.reply_cache import VerdictCache

    def script(body: dict[str, Any], attempt: int) -> Answer:
        whole = json_body(verdict("first"))
        size = sum(len(message["content"]) for message in body["messages"])
        tokens = min(size // 4, 1100)
        return as_json({**whole, "usage": {"prompt_tokens": tokens, "completion_tokens": 20}})

    async def two(judge: Judge) -> list[UnjudgedError]:
        found = []
        for _ in range(2):
            with pytest.raises(UnjudgedError) as caught:
                await judge.judge(long_exhibit("a"))
            found.append(caught.value)
        return found

    with LoopbackServer(script) as server, VerdictCache(tmp_path) as cache:
        priced = config(price_per_1m_input_tokens=1.0, price_per_1m_output_tokens=1.0)
        first, _ = with_judge(server, priced, two, cache=cache)

        assert len(server.requests) == 2
    assert first.reason == "prompt_cut"
    assert first.cost_usd == pytest.approx(1120e-6)
    assert "verdict" in first.reply


def json_body(answer: Answer) -> dict[str, Any]:
    import json

    return dict(json.loads(answer.body))


# ---------------------------------------------------------------------------------------------
# The words of errors

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "detail", "msg", "loc", "code", "input", "metadata"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_the_words_of_any_error_are_text(body):
    raw = as_json(body).body

    assert isinstance(wording(raw), str)
    assert wording(raw) in naming(raw) or len(wording(raw)) > 60_000


def test_what_was_sent_is_no_word_of_an_error():
    raw = as_json(
        {
            "detail": [
                {"loc": ["body", "top"], "msg": "not so", "input": "SECRET", "ctx": {"x": "SECRET"}}
            ],
            "body": {"messages": ["SECRET"]},
        }
    ).body

    assert wording(raw) == "body.top: not so"
    assert "SECRET" not in naming(raw)


@given(st.text(st.sampled_from("ab é文字ไท\u3000\u00a0\n😀…"), max_size=200), st.integers(0, 200))
def test_a_quick_bound_decides_nothing_that_the_exact_count_would_not(
    text: str, n_tokens: int
) -> None:
    assert below_words(text, n_tokens) == (n_tokens < TOKENS_PER_WORD * least_words(text))
