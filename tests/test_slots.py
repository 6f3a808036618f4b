"""Servers of one's own: they queue what they cannot work on, and nobody is to lose patience."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from slots import SlotServer
from virtual import run_virtually

from arena.endpoint.address_and_key import Endpoint, is_own
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, run
from arena.endpoint.concurrency import Climb, ConcurrencyLimiter, LimiterSettings
from arena.endpoint.outage import CircuitBreaker, OutagePolicy
from arena.endpoint.rate_limit import Rate
from arena.endpoint.timeouts import OWN_SERVER_TIMEOUTS, Turns
from arena.errors import ApiError, FatalApiError


def ask(server: SlotServer, n_calls: int, *, factor: float = 1, **endpoint: Any) -> list[Any]:
    """What so many calls at once came to."""

    async def story() -> list[Any]:
        async with Api(Endpoint(server.base_url, **endpoint), retry=Retry(base_s=0.01)) as api:
            bodies = [{"n": n, "factor": factor} for n in range(n_calls)]
            calls = (api.post("/chat/completions", body) for body in bodies)
            return await asyncio.gather(*calls, return_exceptions=True)

    return run(story())


def test_a_server_with_one_slot_is_asked_once_for_each_call():
    def asked(row: tuple[float, str | int]) -> tuple[list[BaseException], int, int, int]:
        timeout_s, concurrency = row
        with SlotServer(0.05) as server:
            ended = ask(server, 20, timeout_s=timeout_s, concurrency=concurrency)
        errors = [error for error in ended if isinstance(error, BaseException)]
        return errors, server.asked, server.answered, server.cancelled

    rows: list[tuple[float, str | int]] = [
        (0.2, "auto"),  # four times as long as a call
        (0.04, "auto"),  # less than what a call takes
        (0.15, 16),  # less than a fifth of what the last in the queue waits for
    ]
    with ThreadPoolExecutor(len(rows)) as at_once:
        assert list(at_once.map(asked, rows)) == [([], 20, 20, 0)] * len(rows)


def test_a_server_with_one_slot_is_kept_busy_but_not_flooded():
    with SlotServer(0.03) as server:
        ask(server, 30)

    assert server.most_in_flight <= 4
    assert server.unbusy <= 10  # 1 on a machine with nothing else to do


def test_a_server_with_many_slots_is_soon_given_what_it_takes():
    with SlotServer(0.05, slots=1024) as server:
        ask(server, 400)

    assert server.most_in_flight >= 64


def test_a_call_that_takes_longer_than_ever_is_given_up_and_says_what_waits_longer():
    with SlotServer(0.1) as server:
        (error,) = ask(server, 1, factor=100, timeout_s=0.05)

    assert isinstance(error, FatalApiError)
    assert re.search(r"no reply within 0\.(1[5-9]|2)\d* s", str(error))
    assert "timeout_s waits longer" in str(error)
    assert server.asked == 1


def test_one_late_call_of_a_server_that_works_is_asked_again_once_and_fails_alone():
    async def story(base_url: str) -> ApiError:
        where = Endpoint(base_url, timeout_s=0.1)
        async with Api(where, retry=Retry(base_s=0.01)) as api:
            await api.post("/chat/completions", {})
            with pytest.raises(ApiError) as caught:
                await api.post("/chat/completions", {"factor": 1000})
            await api.post("/chat/completions", {})
        return caught.value

    with SlotServer(0.01, slots=8) as server:
        error = run(story(server.base_url))

    assert (type(error), error.reason) == (ApiError, "timeout")
    assert server.asked == 4
    assert server.cancelled == 2


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://localhost:11434/v1", True),
        ("http://127.0.0.1:8080/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://192.168.1.7/v1", True),
        ("http://10.0.0.3/v1", True),
        ("http://gpu-box:8000/v1", True),
        ("http://host.docker.internal:11434/v1", True),
        ("http://ollama.local/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://8.8.8.8/v1", False),
        ("https://local.example.com/v1", False),
        ("http://[x", False),
    ],
)
def test_a_server_of_ones_own_is_told_by_its_address(url, own):
    assert is_own(Endpoint(url)) is own


class Queue:
    """A server in virtual time: so many slots, so long a call."""

    def __init__(self, slots: int, call_s: float) -> None:
        self.slots, self.call_s = asyncio.Semaphore(slots), call_s

    async def answer(self) -> None:
        async with self.slots:
            await asyncio.sleep(self.call_s)


async def climbed(slots: int, call_s: float, n_calls: int) -> tuple[int, int, float]:
    """The last and the highest limit, and the time that all calls took."""
    loop = asyncio.get_running_loop()
    gate, server = (
        ConcurrencyLimiter(LimiterSettings.own(), Rate(clock=loop.time)),
        Queue(slots, call_s),
    )
    limits = []

    async def call() -> None:
        async with gate:
            began = loop.time()
            await server.answer()
            gate.answered(loop.time() - began)
            limits.append(gate.limit)

    await asyncio.gather(*(call() for _ in range(n_calls)))
    return limits[-1], max(limits), loop.time()


@pytest.mark.parametrize("call_s", [0.2, 2.0, 20.0, 60.0])
def test_with_one_slot_the_number_in_flight_stays_where_it_began(call_s):
    _, highest, took_s = run_virtually(climbed(1, call_s, 100))

    assert highest <= 4
    assert took_s == pytest.approx(100 * call_s)


@pytest.mark.parametrize("slots", [4, 16, 64])
def test_the_number_in_flight_settles_near_the_number_of_slots(slots):
    last, highest, took_s = run_virtually(climbed(slots, 1.0, 100 * slots))

    assert slots <= last <= highest <= 4 * slots
    assert took_s <= 1.2 * 100


def test_without_a_limit_the_number_in_flight_doubles_every_round_or_two():
    _, highest, took_s = run_virtually(climbed(4096, 1.0, 4096))

    assert highest == 1024
    assert took_s <= 14


def test_what_was_worth_nothing_is_tried_again_later():
    climb = Climb(1024)
    limit, seen, now = 2, [], 0.0
    for _ in range(200):
        now += 1.0
        limit = climb.answered(float(limit), now, limit)  # each call in flight adds a second
        seen.append(limit)

    assert set(seen) == {2, 4}
    assert seen.count(4) < 0.3 * len(seen)
    assert seen[1] == 4
    assert 4 in seen[-100:]


def test_a_call_is_late_only_once_it_was_its_turn():
    async def story() -> list[float]:
        clock = asyncio.get_running_loop().time
        turns = Turns(10.0, clock=clock)
        stalled = turns.call()
        left = []
        async with stalled:
            for _ in range(3):
                async with turns.call():
                    await asyncio.sleep(2)
                left.append(stalled.left_s)
        return left

    # What was sent later overtook it, and not only once, as calls do that arrive together.
    assert run_virtually(story()) == [10.0, 6.0, 4.0]


def test_calls_that_queue_begin_their_time_anew_with_each_answer_before_them():
    async def story() -> list[float]:
        loop = asyncio.get_running_loop()
        turns = Turns(10.0, clock=loop.time)
        server, ended = Queue(1, 6.0), []

        async def call() -> None:
            async with turns.call():
                await server.answer()
            ended.append(loop.time())

        await asyncio.gather(*(call() for _ in range(5)))
        return ended

    assert run_virtually(story()) == [6, 12, 18, 24, 30]


@pytest.mark.parametrize(("own", "waits_s"), [(False, 10.0), (True, OWN_SERVER_TIMEOUTS * 10.0)])
def test_a_server_that_answers_nothing_is_waited_for_so_long(own, waits_s):
    async def story() -> float:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            async with Turns(10.0, own=own, clock=loop.time).call():
                await asyncio.sleep(1000)
        return loop.time()

    assert run_virtually(story()) == pytest.approx(waits_s)


def test_a_late_call_gives_its_place_back_and_takes_it_again_before_others():
    async def story() -> list[str]:
        gate, order = ConcurrencyLimiter(LimiterSettings.fixed(1)), []
        resend = asyncio.Event()

        async def late() -> None:
            async with gate:
                order.append("sent")
                await gate.step_aside(resend.wait())
                order.append("sent again")

        async def other(name: str) -> None:
            async with gate:
                order.append(name)
                resend.set()
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(work) for work in (late(), other("b"), other("c"))]
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(story()) == ["sent", "b", "sent again", "c"]


def test_a_call_that_ends_while_it_stands_aside_takes_nobodys_place():
    async def story() -> int:
        gate = ConcurrencyLimiter(LimiterSettings.fixed(1))

        async def late() -> None:
            async with gate:
                await gate.step_aside(asyncio.sleep(1000))

        task = asyncio.create_task(late())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        entered = 0
        for _ in range(3):
            async with asyncio.timeout(1), gate:
                entered += 1
        return entered

    assert asyncio.run(story()) == 3


@pytest.mark.parametrize(
    ("answered_before_s", "took_s", "down"),
    [(None, 0.0, False), (0.0, 0.0, False), (0.03, 0.0, True), (0.03, 1.0, False)],
)
def test_an_endpoint_that_answered_lately_is_not_down(answered_before_s, took_s, down):
    async def story() -> bool:
        async def probe() -> bool:
            return True

        outage = OutagePolicy(enough=3, quiet_s=0.02)
        breaker = CircuitBreaker(outage, probe=probe, on_event=None)
        if answered_before_s is not None:
            breaker.answered(took_s)
            await asyncio.sleep(answered_before_s)
        for _ in range(2):
            breaker.failed("500")
        assert not breaker.is_open
        if answered_before_s is None:
            breaker.answered(took_s)
        breaker.failed("500")
        is_open = breaker.is_open
        breaker.release()
        return is_open

    assert asyncio.run(story()) is down
