"""What a call may cost and did cost, by what servers report, refuse and get wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from chat_judges import config, exhibit, with_judge
from loopback import DROP, Answer, LoopbackServer, as_json, chat, error, truncated, verdict
from tables import each_row

from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api
from arena.endpoint.client import run as run_async
from arena.endpoint.outage import OutagePolicy
from arena.errors import BudgetSpentError, FatalApiError, UnjudgedError
from arena.judging.budget import Budget
from arena.judging.call_cost import LONGEST, SLACK, TIMES_LONGER, TRUSTED, Meter
from arena.judging.capabilities import SHORT, ResponseFormat
from arena.judging.chat import Chat
from arena.judging.endpoint_facts import Learned
from arena.judging.judge import Judge
from arena.records import Usage

PRICES = {"price_per_1m_input_tokens": 1.0, "price_per_1m_output_tokens": 2.0}
HASTY = Retry(attempts=3, base_s=0.001, longest_s=0.002)


def meter(path: Path | None = None, **settings: Any) -> tuple[Meter, list[str]]:
    said: list[str] = []
    known = Learned(path)
    return Meter(config(**{**PRICES, **settings}), Budget(), known, "e", said.append), said


def body(
    usage: Any = None, *, text: str = "fine", finish: str = "stop", **more: Any
) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage, **more}


def tokens(n_input: Any, n_output: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": n_input, "completion_tokens": n_output, **more}


@each_row(
    ("usage", "expected"),
    [
        (tokens(100, 20), (100, 20, 0)),
        (tokens(100, 20, total_tokens=120), (100, 20, 0)),
        (tokens(100.0, 20.0), (100, 20, 0)),
        ({"input_tokens": 100, "output_tokens": 20}, (100, 20, 0)),
        (tokens(100, 20, prompt_tokens_details={"cached_tokens": 64}), (100, 20, 64)),
        (tokens(100, 20, prompt_tokens_details={"cached_tokens": 999}), (100, 20, 100)),
        (tokens(100, 20, prompt_tokens_details="x"), (100, 20, 0)),
        # A model's thoughts, counted in the total alone.
        (tokens(100, 20, total_tokens=1120), (100, 1020, 0)),
        (tokens(100, None, total_tokens=120), (100, 20, 0)),
        (tokens(100, 20, total_tokens=2**63 - 1), (100, 20, 0)),
        (tokens(100, 20, total_tokens=7), (100, 20, 0)),
    ],
)
def test_what_is_reported_is_billed_at_the_configured_prices(
    usage: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    counter, said = meter(price_per_1m_cached_tokens=0.25)

    found = counter.usage(body(usage), 1024, n_bytes=400)

    n_input, n_output, n_cached = expected
    cost_usd = ((n_input - n_cached) * 1.0 + n_cached * 0.25 + n_output * 2.0) / 1e6
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == expected
    assert found.cost_usd == pytest.approx(cost_usd, abs=1e-15)
    assert not found.estimated
    assert said == []


NO_INPUT = [None, 0, -5, 2**63 - 1, 10**400, "10", [1], True, float("nan"), float("inf"), 0.5]


@each_row("untold", NO_INPUT)
def test_what_is_not_or_not_truly_reported_is_the_most_that_it_can_be(untold: Any) -> None:
    for usage, at_most in (
        (tokens(untold, 20), (400, 20)),
        (tokens(100, untold), (100, LONGEST)),
        (tokens(untold, untold), (400, LONGEST)),
    ):
        counter, said = meter()
        found = counter.usage(body(usage), 1024, n_bytes=400)
        counter.usage(body(usage), 1024, n_bytes=400)

        assert found.cost_usd == pytest.approx((at_most[0] + at_most[1] * 2.0) / 1e6)
        assert found.estimated
        assert len(said) == 1
        assert "does not report, or misreports, how many tokens it bills" in said[0]


@each_row("usage", [None, [], "none", {}, 7])
def test_no_usage_at_all_is_an_estimate_too(usage: Any) -> None:
    found = meter()[0].usage(body(usage), 1024, n_bytes=400)

    assert found == Usage(cost_usd=pytest.approx((400 + LONGEST * 2) / 1e6), estimated=True)


def test_what_costs_nothing_is_no_estimate_and_no_news() -> None:
    counter, said = meter(price_per_1m_input_tokens=0, price_per_1m_output_tokens=0)

    assert counter.usage(body(), 1024, n_bytes=400) == Usage()
    assert said == []


def test_an_empty_reply_may_have_cost_its_prompt_alone() -> None:
    found = meter()[0].usage(body(tokens(100, 0), text=""), 1024, n_bytes=400)

    assert (found.cost_usd, found.estimated) == (pytest.approx(100e-6), False)


@pytest.mark.parametrize(
    "refusal", [{"error": {"message": "busy"}}, {"error": {"code": 429}, "choices": None}]
)
def test_an_error_in_the_place_of_a_reply_is_free(refusal: dict[str, Any]) -> None:
    assert meter()[0].usage(refusal, 1024, n_bytes=400) == Usage()


def most_output(counter: Meter, limit: int | None) -> float:
    """Tokens of a reply for which money is set aside."""
    return round((counter.price(0, limit).most_usd) * 1e6 / 2.0)


def test_a_limit_is_trusted_once_it_was_kept_often_enough_and_no_other_limit() -> None:
    counter, _ = meter()
    assert most_output(counter, 1024) == LONGEST

    for _ in range(TRUSTED - 1):
        counter.usage(body(tokens(100, 300)), 1024, n_bytes=400)
        assert most_output(counter, 1024) == LONGEST
    counter.usage(body(tokens(100, 1024 + SLACK)), 1024, n_bytes=400)

    assert most_output(counter, 1024) == 1024 + SLACK
    assert most_output(counter, 4) == most_output(counter, None) == LONGEST


def test_a_reply_that_was_cut_off_at_its_limit_proves_that_it_is_kept() -> None:
    counter, _ = meter()

    counter.usage(body(tokens(100, 64), finish="length"), 64, n_bytes=400)

    assert most_output(counter, 64) == 64 + SLACK


def test_one_reply_beyond_a_limit_ends_all_trust_for_good(tmp_path: Path) -> None:
    counter, _ = meter(tmp_path / "learned.json")
    counter.usage(body(tokens(100, 64), finish="length"), 64, n_bytes=400)

    counter.usage(body(tokens(100, 64 + SLACK + 1)), 64, n_bytes=400)
    for _ in range(2 * TRUSTED):
        counter.usage(body(tokens(100, 3), finish="length"), 64, n_bytes=400)

    assert most_output(counter, 64) == LONGEST
    assert most_output(meter(tmp_path / "learned.json")[0], 64) == LONGEST


def test_what_no_limit_bounds_is_taken_to_be_twice_the_longest_reply_or_more() -> None:
    counter, _ = meter()
    generous, _ = meter(max_tokens=4096)

    counter.usage(body(tokens(100, 30_000)), None, n_bytes=400)

    assert most_output(counter, None) == 60_000
    assert most_output(generous, None) == TIMES_LONGER * 4096


def test_a_request_is_taken_to_have_a_token_a_byte_or_as_many_as_were_ever_billed() -> None:
    counter, _ = meter(price_per_1m_output_tokens=0)
    assert counter.price(1000, 1024).most_usd == pytest.approx(1000e-6)
    assert counter.price(1000, 1024).likely_usd < 300e-6

    counter.usage(body(tokens(100, 5)), 1024, n_bytes=1000)
    assert counter.price(1000, 1024).likely_usd == pytest.approx(100e-6)
    assert counter.price(1000, 1024).most_usd == pytest.approx(1000e-6)

    counter.usage(body(tokens(5000, 5)), 1024, n_bytes=1000)
    assert counter.price(1000, 1024).most_usd == pytest.approx(5000e-6)


def test_the_dearest_kind_of_prompt_token_counts() -> None:
    counter, _ = meter(price_per_1m_cached_tokens=3.0, price_per_1m_output_tokens=0)

    assert counter.price(1000, 1024).most_usd == pytest.approx(3000e-6)


def test_another_shard_knows_what_one_has_found_out(tmp_path: Path) -> None:
    one, other = meter(tmp_path / "learned.json")[0], meter(tmp_path / "learned.json")[0]

    one.usage(body(tokens(900, 50_000)), None, n_bytes=1000)

    assert most_output(other, None) == LONGEST
    assert other.price(1000, None, refresh=True).likely_usd == pytest.approx((900 + 100_000) / 1e6)
    assert most_output(other, None) == 100_000


def test_facts_that_were_tampered_with_are_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    for facts in (
        {"tokens_per_byte": -1},
        {"tokens_per_byte": "x"},
        {"output_tokens": -7},
        {"n_within": []},
    ):
        path.write_text(json.dumps({"e": {"cost": facts}}))
        assert most_output(meter(path)[0], 64) == LONGEST


def asked(
    script: Callable[[dict[str, Any], int], Answer], *, n: int = 1, **settings: Any
) -> tuple[Budget, list[Any], list[str]]:
    """Ask a chat model so many questions, one after the other."""
    budget, said, outcomes = Budget(settings.pop("cap", None)), [], []
    retry = settings.pop("retry", HASTY)

    async def story() -> None:
        endpoint = Endpoint(server.base_url, None)
        async with Api(endpoint, retry=retry, on_event=said.append) as api:
            form = (
                ResponseFormat(labels=("a", "b"))
                if settings.pop("short", False)
                else ResponseFormat(schema={})
            )
            chat_model = Chat(config(**PRICES, **settings), api, form, budget=budget)
            for number in range(n):
                messages = [{"role": "user", "content": f"question {number}"}]
                try:
                    outcomes.append((await chat_model.ask(messages, lambda reply: reply.text))[1])
                except (UnjudgedError, BudgetSpentError) as caught:
                    outcomes.append(caught)

    with LoopbackServer(script) as server:
        run_async(story())
    return budget, outcomes, said


CALL_USD = (100 * 1.0 + 20 * 2.0) / 1e6


@each_row("lost", [DROP, truncated(verdict("tie")), Answer(200, {}, b'{"choices": [')])
def test_an_attempt_whose_reply_was_lost_counts_as_the_most_and_the_battle_as_what_it_cost(
    lost: Answer,
) -> None:
    budget, (reply,), said = asked(lambda body, attempt: lost if attempt == 1 else chat("fine"))

    most_usd = LONGEST * 2.0 / 1e6
    assert reply.usage.cost_usd == pytest.approx(CALL_USD)
    assert not reply.usage.estimated
    assert CALL_USD + most_usd < budget.spent_usd < CALL_USD + most_usd + 1000e-6
    assert budget.cap.estimated_usd == pytest.approx(budget.spent_usd - CALL_USD)
    assert [line for line in said if "may still be billed" in line]


@each_row(
    "refused",
    [error(500, "busy"), error(429, "slow down"), Answer(200, {}, b"<html>Bad gateway</html>")],
)
def test_an_attempt_that_was_refused_is_free(refused: Answer) -> None:
    budget, _, said = asked(lambda body, attempt: refused if attempt == 1 else chat("fine"))

    assert budget.spent_usd == pytest.approx(CALL_USD)
    assert budget.cap.estimated_usd == 0.0
    assert said == []


def test_a_server_that_is_not_there_bills_nothing() -> None:
    budget = Budget()

    async def use() -> None:
        async with Api(Endpoint("http://127.0.0.1:9/v1", None), retry=HASTY) as api:
            asker = Chat(config(**PRICES), api, ResponseFormat(schema={}), budget=budget)
            with pytest.raises(FatalApiError, match="unreachable"):
                await asker.ask([{"role": "user", "content": "hello"}], lambda reply: reply.text)

    run_async(use())
    assert budget.spent_usd == 0.0


def test_every_attempt_that_was_billed_is_booked_and_no_more_are_made_than_can_be_paid() -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        answer = chat("fine")
        return answer if "question 0" in body["messages"][0]["content"] else truncated(answer)

    retry = Retry(attempts=8, base_s=0.001, longest_s=0.002)
    budget, (_, caught), _ = asked(script, n=2, cap=0.075, retry=retry)

    most_usd = LONGEST * 2.0 / 1e6
    assert isinstance(caught, BudgetSpentError)
    # Two whose most fits, and one alone, whose likely price does.
    assert 3 * most_usd < budget.spent_usd < 3 * most_usd + 1e-3


def test_nan_and_half_characters_in_a_paid_reply_are_read_at_the_first_try() -> None:
    answered = json.dumps(body(tokens(100, 20), text="half \ud83d")).replace(
        '"usage"', '"score": NaN, "usage"'
    )
    budget, (reply,), _ = asked(lambda body, attempt: Answer(200, {}, answered.encode()))

    assert reply.text.startswith("half ")
    reply.text.encode()
    assert budget.spent_usd == pytest.approx(CALL_USD)


def test_a_model_that_thinks_first_is_set_more_aside_for_than_a_word() -> None:
    def thinks(request: dict[str, Any], attempt: int) -> Answer:
        if request["max_tokens"] == SHORT:
            return chat("", finish_reason="length", usage=tokens(100, SHORT))
        return chat("a", usage=tokens(100, 1000))

    n_calls = 5
    call_usd = (100 + 2 * 1000) / 1e6
    budget, outcomes, _ = asked(thinks, n=30, short=True, cap=n_calls * call_usd)

    assert sum(not isinstance(o, BudgetSpentError) for o in outcomes) in (n_calls - 1, n_calls)
    assert budget.spent_usd <= n_calls * call_usd + 1e-9


def test_the_probe_of_an_outage_is_paid_for() -> None:
    answered = 0

    def script(body: dict[str, Any], attempt: int) -> Answer:
        nonlocal answered
        if answered and "question 0" not in body["messages"][0]["content"] and attempt == 1:
            return error(503, "down")
        answered += 1
        return chat("fine")

    outage = OutagePolicy(enough=1, pause_s=0.01, quiet_s=0, longest_quiet_s=0)
    budget, _, said = asked(script, n=2, retry=Retry(base_s=0.001, outage=outage))

    assert any("works again" in line for line in said)
    assert budget.spent_usd == pytest.approx(answered * CALL_USD)


@pytest.mark.parametrize(
    ("settings", "script", "cost"),
    [
        ({}, lambda body, attempt: chat("Neither."), CALL_USD),
        ({}, lambda body, attempt: chat(""), CALL_USD),
        ({}, lambda body, attempt: chat("", finish_reason="length"), CALL_USD),
        ({"answer": "letter"}, lambda body, attempt: chat("?"), CALL_USD),
        (
            {"answer": "letter"},
            lambda body, attempt: chat("", finish_reason="length"),
            2 * CALL_USD,
        ),
        ({"kind": "pointwise"}, lambda body, attempt: chat("?"), 2 * CALL_USD),
        (
            {},
            lambda body, attempt: as_json({"choices": [], "usage": tokens(100, 20)}),
            CALL_USD,
        ),
    ],
)
def test_a_reply_that_gives_no_verdict_is_billed_to_its_battle(
    settings: Mapping[str, Any], script: Callable[[dict[str, Any], int], Answer], cost: float
) -> None:
    budget = Budget()

    async def use(judge: Judge) -> Any:
        (found,) = await asyncio.gather(judge.judge(exhibit("a", "b")), return_exceptions=True)
        return found

    with LoopbackServer(script) as server:
        found = with_judge(server, config(**PRICES, **settings), use, budget=budget)

    assert isinstance(found, UnjudgedError)
    assert found.cost_usd == pytest.approx(cost) == budget.spent_usd
    assert not found.estimated


def test_a_reply_without_usage_is_marked_wherever_it_leads() -> None:
    async def use(judge: Judge) -> Any:
        (found,) = await asyncio.gather(judge.judge(exhibit("a", "b")), return_exceptions=True)
        return found

    silent = {"usage": {"prompt_tokens": None}}
    for settings, fine in (({}, '{"verdict": "tie"}'), ({"kind": "pointwise"}, "2")):
        for text in (fine, "?"):
            answer = chat(text, **silent)  # type: ignore[arg-type]
            with LoopbackServer(lambda body, attempt, answer=answer: answer) as server:
                found = with_judge(server, config(**PRICES, **settings), use)
            assert found.estimated if text == "?" else found.usage.estimated
