"""One call serves all who ask for the same at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from arena.judging.single_flight import SingleFlight
from arena.records import Usage, now, utc


async def answer_of(outcome: Any, finish: asyncio.Event) -> Any:
    await finish.wait()
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@pytest.mark.parametrize("outcome", [7, ValueError("no answer")])
def test_all_who_wait_get_the_result_or_the_error_of_the_one_call(outcome: Any) -> None:
    async def play() -> tuple[list[Any], bool]:
        calls: SingleFlight[Any] = SingleFlight()
        finish = asyncio.Event()
        first = asyncio.create_task(calls.run("key", answer_of(outcome, finish)))
        await asyncio.sleep(0)
        others = [asyncio.create_task(calls.result("key")) for _ in range(2)]
        await asyncio.sleep(0)
        finish.set()
        return await asyncio.gather(first, *others, return_exceptions=True), "key" in calls

    assert asyncio.run(play()) == ([outcome] * 3, False)


def test_one_who_stops_waiting_takes_the_result_from_nobody() -> None:
    async def play() -> list[Any]:
        calls: SingleFlight[Any] = SingleFlight()
        finish = asyncio.Event()
        first = asyncio.create_task(calls.run("key", answer_of(7, finish)))
        await asyncio.sleep(0)
        waiting, gone = (asyncio.create_task(calls.result("key")) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        finish.set()
        return await asyncio.gather(first, waiting)

    assert asyncio.run(play()) == [7, 7]


def test_a_sum_of_usage_adds_tokens_and_cost_and_keeps_the_longer_latency() -> None:
    total = Usage(10, 2, 3, 0.5, 40.0) + Usage(1, 1, 0, 0.25, 30.0, estimated=True)

    assert total == Usage(11, 3, 3, 0.75, 40.0, estimated=True)
    assert total + Usage() == Usage() + total == total


def test_a_moment_is_written_in_utc_to_the_precision_asked_for() -> None:
    assert utc(0.0625) == "1970-01-01T00:00:00.062Z"
    assert utc(86_399.9, "seconds") == "1970-01-01T23:59:59Z"
    assert utc(0) < now("seconds") <= now()[:19] + "Z"
