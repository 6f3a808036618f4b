from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.errors import BudgetSpentError, LogError
from arena.judging.budget import Budget, Price, Reservation


def at_most(most_usd: float, likely_usd: float | None = None) -> Callable[..., Price]:
    """A price that does not change; it is likely the most if nothing else is said."""
    price = Price(most_usd, most_usd if likely_usd is None else likely_usd)
    return lambda *, refresh=False: price


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def test_a_call_that_would_pass_the_cap_is_refused_before_it_is_made():
    budget = Budget(1.0, spent_usd=0.9)

    async def story() -> None:
        async with budget.hold(at_most(0.2)):
            pytest.fail("the call was made")

    with pytest.raises(BudgetSpentError) as caught:
        run(story())

    assert caught.value.exit_status == 1
    assert "$0.9000 of max_usd = 1 are spent" in str(caught.value)
    assert "raise max_usd and run this again" in str(caught.value)


def test_what_a_call_did_cost_takes_the_place_of_the_most_that_it_could():
    budget = Budget(1.0)

    async def story() -> None:
        async with budget.hold(at_most(0.6)) as one:
            assert budget.reserved_usd == 0.6
            one.paid(0.1)
        async with budget.hold(at_most(0.6)) as two:
            two.paid(0.2)

    run(story())
    assert budget.spent_usd == pytest.approx(0.3)
    assert budget.reserved_usd == 0.0


@each_row("error", [ValueError, asyncio.CancelledError, None])
def test_a_call_of_which_nothing_is_known_counts_in_full_as_an_estimate(
    error: type[BaseException] | None,
):
    budget = Budget(1.0)

    async def story() -> None:
        try:
            async with budget.hold(at_most(0.4)):
                if error:
                    raise error
        except (ValueError, asyncio.CancelledError):
            pass

    run(story())
    assert budget.spent_usd == budget.cap.estimated_usd == 0.4


def test_a_call_that_was_not_carried_out_is_free():
    budget = Budget(1.0)

    async def story() -> None:
        async with budget.hold(at_most(1.0)) as one:
            one.free()
        async with budget.hold(at_most(1.0)) as two:
            two.paid(1.0)

    run(story())
    assert budget.spent_usd == 1.0
    assert budget.cap.estimated_usd == 0.0


def test_no_cap_refuses_nothing_and_still_counts():
    budget = Budget()

    async def story() -> None:
        async with budget.hold(at_most(1e9)) as call:
            call.paid(2.0)

    run(story())
    assert budget.spent_usd == 2.0


def calls(budget: Budget, n: int, price: Callable[..., Price], cost_usd: float) -> list[int]:
    """Make calls side by side; returns how many were in flight whenever one began."""
    most: list[int] = []
    under_way: set[int] = set()

    async def call(number: int) -> None:
        async with budget.hold(price) as held:
            under_way.add(number)
            most.append(len(under_way))
            await asyncio.sleep(0.001)
            held.paid(cost_usd)
            under_way.remove(number)

    async def story() -> None:
        await asyncio.gather(*(call(number) for number in range(n)), return_exceptions=True)

    run(story())
    return most


def test_calls_wait_for_others_that_may_turn_out_cheaper():
    budget = Budget(1.0)

    most = calls(budget, 12, at_most(0.4), 0.05)

    assert budget.spent_usd == pytest.approx(0.6)
    assert max(most) == 2


def test_a_call_whose_most_does_not_fit_goes_alone_if_its_likely_price_does():
    budget = Budget(1.0)

    most = calls(budget, 12, at_most(5.0, 0.1), 0.1)

    assert len(most) == 10
    assert max(most) == 1
    assert budget.spent_usd == pytest.approx(1.0)


def test_a_call_alone_that_turns_out_dear_is_the_last():
    budget = Budget(1.0)

    assert calls(budget, 12, at_most(5.0, 0.1), 4.0) == [1]
    assert budget.spent_usd == 4.0


def test_calls_that_wait_go_in_the_order_in_which_they_came():
    budget = Budget(10.0)
    order: list[int] = []

    async def call(number: int) -> None:
        async with budget.hold(at_most(20, 0.1)) as held:
            order.append(number)
            await asyncio.sleep(0)
            held.paid(0.1)
            if number < 5:  # one more comes while the others are still waiting
                late.append(asyncio.create_task(call(100 + number)))

    late: list[asyncio.Task[None]] = []

    async def story() -> None:
        await asyncio.gather(*(call(number) for number in range(10)))
        await asyncio.gather(*late)

    run(story())
    assert order == [*range(10), *range(100, 105)]


def test_a_small_call_does_not_pass_a_large_one_that_waits():
    budget = Budget(1.0)
    order: list[str] = []

    async def call(name: str, usd: float) -> None:
        async with budget.hold(at_most(usd)) as held:
            order.append(name)
            await asyncio.sleep(0.005)
            held.free()

    async def story() -> None:
        await asyncio.gather(call("first", 0.5), call("large", 0.9), call("small", 0.1))

    run(story())
    assert order == ["first", "large", "small"]


def test_a_judge_that_is_alone_with_its_own_cap_stops_no_other_judge():
    whole = Budget(100.0)
    poor, rich = Budget(1.0, within=whole), Budget(50.0, within=whole)
    begun = asyncio.Event()

    async def alone() -> None:
        async with poor.hold(at_most(9.0, 0.5)) as held:
            begun.set()
            await asyncio.sleep(0.01)
            held.paid(0.5)

    async def story() -> None:
        task = asyncio.create_task(alone())
        await begun.wait()
        async with rich.hold(at_most(1.0)) as held:
            assert not task.done()
            held.paid(1.0)
        await task

    run(story())
    assert whole.spent_usd == 1.5


def test_batch_jobs_under_way_leave_less_for_calls():
    budget = Budget(1.0, committed_usd=0.5)

    with pytest.raises(BudgetSpentError):
        budget.commit(0.6)
    budget.commit(0.4)

    assert calls(budget, 1, at_most(0.2), 0.2) == []
    assert calls(budget, 1, at_most(0.1), 0.1) == [1]
    assert budget.spent_usd == pytest.approx(0.1)


def test_a_call_that_cannot_be_claimed_beforehand_is_not_made_and_costs_nothing():
    budget = Budget(1.0)

    def full() -> None:
        raise LogError("the disk is full")

    async def story() -> None:
        budget.on_change = full
        async with budget.hold(at_most(0.5)):
            pytest.fail("the call was made")

    with pytest.raises(LogError):
        run(story())
    assert budget.spent_usd == 0.0


def test_a_call_alone_waits_for_its_turn_among_processes_and_asks_its_price_anew():
    said: list[str] = []

    @asynccontextmanager
    async def turn():
        said.append("turn")
        yield
        said.append("over")

    def price(*, refresh: bool = False) -> Price:
        said.append("refreshed" if refresh else "price")
        return Price(5.0, 2.0 if refresh else 0.1)

    async def story(turn: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        async with Budget(1.0, turn=turn).hold(price):
            pytest.fail("another process has found out that it is too dear")

    with pytest.raises(BudgetSpentError):
        run(story(turn))
    assert said == ["price", "price", "turn", "refreshed"]


def test_a_cancelled_wait_leaves_nothing_behind():
    budget = Budget(1.0)

    async def story() -> None:
        async with budget.hold(at_most(1.0)) as first:
            waiting = asyncio.create_task(budget.hold(at_most(1.0)).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            first.free()
        async with budget.hold(at_most(1.0)) as second:
            second.free()

    run(story())
    assert budget.reserved_usd == budget.spent_usd == 0.0


@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 1), st.floats(0, 1)), max_size=40),
    st.floats(0.01, 2),
    st.integers(1, 8),
)
@settings(max_examples=50)
def test_the_cap_is_passed_by_less_than_one_call(calls, cap, at_once):
    budget = Budget(cap)

    async def one(most_usd: float, likely: float, true: float) -> None:
        held: Reservation
        async with budget.hold(at_most(most_usd, most_usd * likely)) as held:
            await asyncio.sleep(0)
            held.paid(most_usd * true)

    async def work(queue: list[tuple[float, float, float]]) -> None:
        while queue:
            with suppress(BudgetSpentError):
                await one(*queue.pop())

    async def story() -> None:
        queue = list(calls)
        await asyncio.gather(*(work(queue) for _ in range(at_once)))

    run(story())
    dearest = max((most * true for most, _, true in calls), default=0.0)
    assert budget.spent_usd <= cap + dearest + 1e-6
    if all(likely == 1.0 for _, likely, _ in calls):
        assert budget.spent_usd <= cap + 1e-6
