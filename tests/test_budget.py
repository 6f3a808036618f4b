from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.errors import BudgetSpentError
from arena.judging.budget import Budget


def test_a_call_that_would_pass_the_cap_is_refused_before_it_is_made():
    budget = Budget(1.0, spent_usd=0.9)

    with pytest.raises(BudgetSpentError) as caught, budget.reserve(0.2):
        pytest.fail("the call was made")

    assert caught.value.exit_status == 1
    assert "$0.9000 of max_usd = 1 are spent" in str(caught.value)
    assert "raise max_usd and run this again" in str(caught.value)


def test_calls_in_flight_count():
    budget = Budget(1.0)

    with budget.reserve(0.6) as one:
        with pytest.raises(BudgetSpentError), budget.reserve(0.6):
            pass
        one.paid(0.1)
    with budget.reserve(0.6) as two:
        two.paid(0.2)

    assert budget.spent_usd == pytest.approx(0.3)
    assert budget.reserved_usd == 0.0


def test_a_call_that_fails_gives_its_reservation_back():
    budget = Budget(1.0)

    with pytest.raises(ValueError), budget.reserve(1.0):
        raise ValueError

    with budget.reserve(1.0):
        pass
    assert budget.spent_usd == 0.0


def test_no_cap_refuses_nothing_and_still_counts():
    budget = Budget()

    with budget.reserve(1e9) as call:
        call.paid(2.0)

    assert budget.spent_usd == 2.0


def test_holding_waits_for_calls_that_may_turn_out_cheaper():
    budget = Budget(1.0)
    most: list[int] = []
    under_way = 0

    async def call() -> None:
        nonlocal under_way
        async with budget.hold(0.4) as held:
            under_way += 1
            most.append(under_way)
            await asyncio.sleep(0.001)
            held.paid(0.05)
            under_way -= 1

    async def story() -> None:
        await asyncio.gather(*(call() for _ in range(12)))

    asyncio.run(story())
    assert budget.spent_usd == pytest.approx(0.6)
    assert max(most) == 2


def test_a_cancelled_wait_leaves_nothing_behind():
    async def story() -> Budget:
        budget = Budget(1.0)
        async with budget.hold(1.0):
            waiting = asyncio.create_task(budget.hold(1.0).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with budget.hold(1.0):
            return budget

    assert asyncio.run(story()).reserved_usd == 0.0


@given(
    st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 1)), max_size=40),
    st.floats(0.01, 2),
    st.integers(1, 8),
)
@settings(max_examples=50, deadline=None)
def test_the_cap_is_never_passed_while_calls_cost_no_more_than_reserved(calls, cap, at_once):
    budget = Budget(cap)

    async def work(queue: list[tuple[float, float]]) -> None:
        while queue:
            usd, share = queue.pop()
            try:
                async with budget.hold(usd) as held:
                    await asyncio.sleep(0)
                    held.paid(usd * share)
            except BudgetSpentError:
                pass
            assert budget.spent_usd + budget.reserved_usd <= cap + 1e-6

    async def story() -> None:
        queue = list(calls)
        await asyncio.gather(*(work(queue) for _ in range(at_once)))

    asyncio.run(story())
    assert budget.spent_usd <= cap + 1e-6
