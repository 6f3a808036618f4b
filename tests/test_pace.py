"""The pace of requests, in virtual time: an endpoint is simulated, and no second is waited."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from tables import each_row
from virtual import run_virtually

from arena.endpoint.concurrency import ConcurrencyLimiter, LimiterSettings
from arena.endpoint.rate_limit import Rate, duration_s, reset_s


@dataclass
class Capped:
    """An endpoint that takes so many requests a second, and a burst of a tenth of that."""

    per_s: float
    latency_s: float
    clock: Callable[[], float]
    sent: int = 0
    tokens: float = 0.0
    refilled_at: float = 0.0

    def takes(self) -> bool:
        self.sent += 1
        now = self.clock()
        refill = (now - self.refilled_at) * self.per_s
        self.tokens = min(self.per_s / 10 + 1, self.tokens + refill)
        self.refilled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


async def overnight(
    pace: LimiterSettings, *, per_s: float, latency_s: float, n_calls: int
) -> tuple[float, float]:
    """Rate of answers once the pace is found, and requests sent for each answer."""
    clock, dice = asyncio.get_running_loop().time, random.Random(1)
    gate, endpoint = ConcurrencyLimiter(pace, Rate(clock=clock)), Capped(per_s, latency_s, clock)
    answered: list[float] = []
    calls = iter(range(n_calls))

    async def work() -> None:
        for _ in calls:
            async with gate:
                while True:
                    await gate.clear()
                    if endpoint.takes():
                        break
                    gate.refused(1.0)
                    await asyncio.sleep(dice.uniform(1.0, 1.5))
                took_s = latency_s * dice.uniform(0.7, 1.3)
                await asyncio.sleep(took_s)
                gate.answered(took_s)
            answered.append(clock())

    await asyncio.gather(*(work() for _ in range(1024)))
    began, ended = 5.0, answered[-1] - 3.0
    steady = sum(began < at < ended for at in answered) / (ended - began)
    return steady, endpoint.sent / n_calls


@pytest.mark.parametrize("latency_s", [0.005, 0.2])
@pytest.mark.parametrize(
    "pace", [LimiterSettings(), LimiterSettings.fixed(512)], ids=["auto", "512"]
)
def test_a_capped_endpoint_is_used_to_its_cap_with_few_requests_too_many(pace, latency_s):
    rate, requests_per_call = run_virtually(
        overnight(pace, per_s=300, latency_s=latency_s, n_calls=5_000)
    )

    assert rate >= 0.95 * 300
    assert requests_per_call <= 1.15


def test_without_a_cap_the_limit_doubles_to_its_ceiling():
    async def story() -> float:
        loop = asyncio.get_running_loop()
        gate = ConcurrencyLimiter(LimiterSettings(), Rate(clock=loop.time))

        async def call() -> None:
            async with gate:
                await gate.clear()
                await asyncio.sleep(1.0)
                gate.answered(1.0)

        await asyncio.gather(*(call() for _ in range(4096)))
        return loop.time()

    # 16, 32, ... 1024 take 2032 calls in seven round trips; the rest take two or three more.
    assert run_virtually(story()) <= 11


@pytest.mark.parametrize(
    ("told", "n_bytes"), [({"rpm": 600}, 1000), ({"tpm": 180_000}, 1000), ({"rpm": 600}, 10)]
)
def test_a_stated_limit_is_kept_from_the_first_request_on(told, n_bytes):
    async def story() -> float:
        loop = asyncio.get_running_loop()
        rate = Rate(clock=loop.time, **told)
        await asyncio.gather(*(rate.turn(n_bytes) for _ in range(101)))
        return loop.time()

    # 600 requests a minute, or 180,000 tokens at 300 for a thousand bytes: ten a second.
    assert run_virtually(story()) == pytest.approx(10, rel=0.02)


def test_tokens_are_counted_as_the_endpoint_counts_them():
    rate = Rate(tpm=60_000)
    for _ in range(100):
        rate.spent(1000, 1000)

    async def story() -> float:
        loop = asyncio.get_running_loop()
        rate.clock = loop.time
        await asyncio.gather(*(rate.turn(1000) for _ in range(11)))
        return loop.time()

    assert run_virtually(story()) == pytest.approx(10, rel=0.05)


@each_row(
    ("headers", "per_s"),
    [
        ({"x-ratelimit-limit-requests": "600"}, 10),
        ({"x-ratelimit-limit-requests": "600", "x-ratelimit-reset-requests": "59.5s"}, 10),
        ({"x-ratelimit-limit-requests": "600", "x-ratelimit-reset-requests": "2m59s"}, math.inf),
        ({"x-ratelimit-limit-requests": "0"}, math.inf),
        ({"x-ratelimit-limit-requests": "-1"}, math.inf),
        ({"x-ratelimit-limit-requests": "many"}, math.inf),
        ({"x-ratelimit-limit-requests": "nan"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_limits_in_headers_are_kept_and_unknown_ones_are_none(headers, per_s):
    rate = Rate()
    rate.read(headers, 0.0)

    assert rate.per_s == per_s


def test_a_spent_limit_says_when_it_is_renewed():
    spent = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m2.5s"}
    left = {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "9s"}

    assert reset_s(spent | left) == 62.5
    assert reset_s(left) is None
    assert reset_s({}) is None


def test_of_two_spent_limits_the_one_that_is_renewed_last_is_waited_for():
    spent = {f"x-ratelimit-remaining-{kind}": "0" for kind in ("requests", "tokens")}
    resets = {"x-ratelimit-reset-requests": "2s", "x-ratelimit-reset-tokens": "7s"}

    assert reset_s(spent | resets) == 7.0


@each_row(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1.5s", 1.5),
        ("12", 12.0),
        ("1h2m", 3720.0),
        ("", None),
        ("soon", None),
        ("5s later", None),
        ("nan", None),
        ("-3", None),
    ],
)
def test_durations_are_read_as_endpoints_write_them(text, seconds):
    assert duration_s(text) == seconds


def gate(**settings: Any) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(LimiterSettings(**{"start": 100, **settings}))


def test_few_refusals_leave_the_rate_and_a_shower_cuts_it():
    async def story() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        tolerant = ConcurrencyLimiter(LimiterSettings(), Rate(clock=loop.time))
        for _ in range(20):
            await tolerant.clear()
            await asyncio.sleep(0.01)
        for _ in range(92):
            tolerant.answered(0.1)
        for _ in range(7):
            tolerant.refused()
        before = tolerant.rate.per_s
        tolerant.refused()
        return before, tolerant.rate.per_s

    before, after = run_virtually(story())
    assert before == math.inf
    # Twenty requests in 0.2 s, 8 of 100 of which were too many.
    assert after == pytest.approx(92, rel=0.02)


def test_a_storm_pauses_everyone():
    async def story() -> float:
        loop = asyncio.get_running_loop()
        stormy = ConcurrencyLimiter(
            LimiterSettings(window=10, cut_share=1.1), Rate(clock=loop.time)
        )
        for _ in range(4):
            stormy.refused(retry_after_s=7.0)
        await asyncio.gather(*(stormy.clear() for _ in range(5)))
        return loop.time()

    assert run_virtually(story()) == pytest.approx(7.0, abs=0.1)


def test_one_early_refusal_pauses_nobody():
    async def story() -> float:
        busy = ConcurrencyLimiter(LimiterSettings(), Rate(clock=asyncio.get_running_loop().time))
        busy.refused(60.0)
        began = busy.rate.clock()
        await busy.clear()
        return busy.rate.clock() - began

    assert run_virtually(story()) < 1


@pytest.mark.parametrize("asked_s", [86_400.0, 1e300, math.inf])
def test_no_storm_pauses_everyone_for_longer_than_ten_minutes(asked_s):
    async def story() -> float:
        busy = ConcurrencyLimiter(LimiterSettings(), Rate(clock=asyncio.get_running_loop().time))
        for _ in range(40):
            busy.refused(asked_s)
        began = busy.rate.clock()
        await busy.clear()
        return busy.rate.clock() - began

    assert 60 <= run_virtually(story()) <= 600


@pytest.mark.parametrize(
    "headers",
    [
        {"x-ratelimit-limit-tokens": "1"},
        {"x-ratelimit-limit-tokens": "1e-300", "x-ratelimit-limit-requests": "1e-300"},
        {"x-ratelimit-limit-tokens": "1000", "x-ratelimit-reset-tokens": "9" * 40 + "s"},
    ],
)
def test_limits_in_headers_that_nobody_could_work_under_hold_nobody_back(headers):
    async def story() -> float:
        rate = Rate(clock=asyncio.get_running_loop().time)
        began = rate.clock()
        for _ in range(50):
            await rate.turn(4000)
            rate.read(headers, rate.clock(), 4000)
        return rate.clock() - began

    assert run_virtually(story()) <= 600


def test_tokens_that_no_reply_has_do_not_stop_a_stated_limit():
    async def story() -> float:
        rate = Rate(tpm=1_000_000, clock=asyncio.get_running_loop().time)
        for _ in range(100):
            rate.spent(100, 2**63 - 1)
        began = rate.clock()
        for _ in range(10):
            await rate.turn(100)
        return rate.clock() - began

    assert run_virtually(story()) < 10


def test_the_limit_grows_only_while_calls_wait_and_replies_are_quick():
    async def story() -> list[int]:
        growing = gate(start=1, slow_s=1.0)
        limits = []
        async with growing:
            waiting = [asyncio.create_task(growing.__aenter__()) for _ in range(8)]
            await asyncio.sleep(0)
            growing.answered(2.0)
            limits.append(growing.limit)
            growing.answered(0.1)
            limits.append(growing.limit)
            growing.answered(0.1)
            limits.append(growing.limit)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return limits

    assert asyncio.run(story()) == [1, 2, 3]


def test_a_cancelled_call_gives_its_place_back():
    async def story() -> bool:
        narrow = gate(start=1)
        await narrow.__aenter__()
        given_up = asyncio.create_task(narrow.__aenter__())
        patient = asyncio.create_task(narrow.__aenter__())
        await asyncio.sleep(0)
        given_up.cancel()
        await narrow.__aexit__(None, None, None)
        await asyncio.wait_for(patient, 1)
        return given_up.cancelled() and not patient.cancelled()

    assert asyncio.run(story())


def test_a_call_that_ends_while_it_stood_aside_gives_back_one_place_and_not_two():
    async def stood_aside(narrow: ConcurrencyLimiter) -> None:
        async with narrow:
            await narrow.step_aside(asyncio.sleep(3600))

    async def story() -> bool:
        narrow = gate(start=1, floor=1, ceiling=1)
        aside = asyncio.create_task(stood_aside(narrow))
        await asyncio.sleep(0)
        aside.cancel()
        await asyncio.wait([aside])
        await narrow.enter()
        second = asyncio.create_task(narrow.enter())
        await asyncio.wait([second], timeout=0.02)
        entered = second.done()
        second.cancel()
        return entered

    assert not asyncio.run(story())


def test_replies_that_are_overdue_lower_the_number_in_flight():
    slow = gate(overdue_s=1.0)
    for _ in range(7):
        slow.answered(2.0)

    assert slow.limit == 100
    slow.answered(2.0)
    assert slow.limit == 70


def test_a_number_in_flight_that_the_user_set_is_never_lowered():
    fixed = ConcurrencyLimiter(LimiterSettings.fixed(64))
    for _ in range(50):
        fixed.overdue(0.0)

    assert fixed.limit == 64
