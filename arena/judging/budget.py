"""Limit what judges may cost, calls in flight included.

Before a call, arena reserves the most that it can cost; after it, arena records its true price. A
call with an unknown cost counts as that most, so parallel calls never exceed the cap.

A call that does not fit may still be sent alone if its likely price fits. The cap is then exceeded
by less than this one call, and the last money is not left unused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextlib import contextmanager as context
from dataclasses import dataclass

from arena.errors import BudgetSpentError

_ROUNDING_USD = 1e-9
"""Sums of many small prices may differ by so much, added up in another order."""

Turn = Callable[[], AbstractAsyncContextManager[None]]
"""A permission to send one call alone, among all processes that share a cap."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a call may cost; US dollars."""

    most_usd: float  #: in any case
    likely_usd: float  #: like the most expensive calls before it


@dataclass(slots=True)
class Reservation:
    """Money reserved for one call; the call costs all of it unless `paid` or `free` is called."""

    usd: float
    cost_usd: float | None = None  #: what it did cost; None as long as that is not known
    estimated: bool = True  #: whether that is a guess

    def paid(self, cost_usd: float, *, estimated: bool = False) -> None:
        """Record what the call did cost."""
        self.cost_usd = cost_usd
        self.estimated = estimated

    def free(self) -> None:
        """Record that the call was not carried out."""
        self.paid(0.0)


@dataclass(slots=True)
class Limit:
    """One sum that must not be passed, and what counts towards it; US dollars."""

    max_usd: float | None  #: None: none
    spent_usd: float = 0.0
    committed_usd: float = 0.0  #: what batch jobs under way may cost
    reserved_usd: float = 0.0  #: of calls in flight
    estimated_usd: float = 0.0  #: the part of what this run spent that is not surely known
    in_flight: int = 0  #: calls

    @property
    def gone_usd(self) -> float:
        """Return the sum that no call can have any more, with any result of those in flight."""
        return self.spent_usd + self.committed_usd

    def has(self, usd: float) -> bool:
        """Return whether this much is left, besides what is reserved."""
        if self.max_usd is None:
            return True
        return self.gone_usd + self.reserved_usd + usd <= self.max_usd + _ROUNDING_USD

    def could(self, usd: float) -> bool:
        """Return whether this much would be left if calls in flight cost nothing."""
        return self.max_usd is None or self.gone_usd + usd <= self.max_usd + _ROUNDING_USD

    def close(self, reservation: Reservation) -> None:
        """Record a call that is over."""
        self.in_flight -= 1
        # Nothing in flight is nothing reserved, to the last bit.
        self.reserved_usd = self.reserved_usd - reservation.usd if self.in_flight else 0.0
        cost_usd = reservation.usd if reservation.cost_usd is None else reservation.cost_usd
        self.spent_usd += cost_usd
        if reservation.estimated:
            self.estimated_usd += cost_usd


class Budget:
    """What may be spent in all; one for a whole experiment, shared by all judges.

    Args:
        max_usd: the cap; None for no cap.
        spent_usd: what earlier runs have spent of it.
        committed_usd: what batch jobs under way may cost.
        within: a budget that several judges share, where each may have a cap of its own too.
        turn: waited for before a call is sent alone; absent where no other process shares the cap.
    """

    def __init__(
        self,
        max_usd: float | None = None,
        *,
        spent_usd: float = 0.0,
        committed_usd: float = 0.0,
        within: Budget | None = None,
        turn: Turn | None = None,
    ) -> None:
        self.cap = Limit(max_usd, spent_usd, committed_usd)
        self.caps: tuple[Limit, ...] = (self.cap, *(within.caps if within else ()))
        self.waiting: set[asyncio.Future[None]] = within.waiting if within else set()
        self.on_change: Callable[[], None] | None = None
        """Called before a call is sent, and after what it cost is known."""
        self._turn = turn
        # First come, first served, so that the first battles of the plan are paid first.
        self._line = asyncio.Lock()

    @property
    def max_usd(self) -> float | None:
        """Return the cap; None for no cap."""
        return self.cap.max_usd

    @property
    def spent_usd(self) -> float:
        """Return the amount paid, with earlier runs."""
        return self.cap.spent_usd

    @property
    def reserved_usd(self) -> float:
        """Return what calls in flight may cost."""
        return self.cap.reserved_usd

    def commit(self, usd: float) -> None:
        """Reserve money for a request that is sent by batch job, for the life of this budget.

        Raises:
            BudgetSpentError: this would pass the cap.
        """
        for cap in self.caps:
            if not cap.has(usd):
                raise _spent(cap, usd)
        for cap in self.caps:
            cap.committed_usd += usd

    @asynccontextmanager
    async def hold(self, price: Callable[..., Price]) -> AsyncIterator[Reservation]:
        """Reserve money for a call, as soon as enough is left.

        Args:
            price: of the call; asked again after each wait, because more may be known by then; with
                ``refresh=True`` where other processes may have found out more.

        Raises:
            BudgetSpentError: this would pass the cap, even if the calls in flight cost nothing.
        """
        asked = price()
        if not self._tight(asked) and not self._line.locked():
            with self._reserve(asked.most_usd) as reservation:
                yield reservation
            return
        # The line is left as soon as the money is reserved, so that the next call may wait in it.
        # What the stack holds, such as a turn, lasts until this call is over.
        async with AsyncExitStack() as stack:
            async with self._line:
                most_usd = await self._room(price, stack)
                reservation = stack.enter_context(self._reserve(most_usd))
            yield reservation

    async def _room(self, price: Callable[..., Price], stack: AsyncExitStack) -> float:
        """Wait until there is room for the most that a call can cost, or for the call alone.

        Calls in flight are waited for first: each mostly costs less than is reserved for it. Once
        none is left, the call may go alone. Where other processes share the cap, it waits for its
        turn before, and looks again at what they have found out.
        """
        while tight := self._tight(usd := price()):
            if any(cap.in_flight for cap in tight):
                await self._call_over()
            elif self._turn is None:
                break
            else:
                turn = await stack.enter_async_context(AsyncExitStack())
                await turn.enter_async_context(self._turn())
                tight = self._tight(usd := price(refresh=True))
                if not any(cap.in_flight for cap in tight):
                    break
                await turn.aclose()  # judges of this process share a cap, too
        return usd.most_usd

    def _tight(self, price: Price) -> list[Limit]:
        """Return the limits that have no room for the most that a call can cost.

        Raises:
            BudgetSpentError: one of them has no room for what the call likely costs either.
        """
        tight = [cap for cap in self.caps if not cap.has(price.most_usd)]
        for cap in tight:
            if not cap.could(price.likely_usd):
                raise _spent(cap, price.likely_usd)
        return tight

    async def _call_over(self) -> None:
        """Wait until a call is over, of any judge that shares a cap."""
        over = asyncio.get_running_loop().create_future()
        self.waiting.add(over)
        try:
            await over
        finally:
            self.waiting.discard(over)

    @context
    def _reserve(self, usd: float) -> Iterator[Reservation]:
        """Reserve money under every cap for as long as a call lasts, then record its cost."""
        reservation = Reservation(usd)
        for cap in self.caps:
            cap.reserved_usd += usd
            cap.in_flight += 1
        try:
            if usd and self.on_change:
                # Before the call is sent: what it may cost is on disk if the process is killed.
                try:
                    self.on_change()
                except BaseException:
                    reservation.free()  # it is not sent
                    raise
            yield reservation
        finally:
            for cap in self.caps:
                cap.close(reservation)
            for over in self.waiting:
                if not over.done():
                    over.set_result(None)
            if usd and self.on_change:
                self.on_change()


def _spent(cap: Limit, usd: float) -> BudgetSpentError:
    return BudgetSpentError(cap.gone_usd, cap.max_usd or 0.0, usd)
