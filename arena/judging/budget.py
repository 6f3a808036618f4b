"""A cap on what a judge may cost, calls in flight included.

Before a call its highest likely price is set aside, and after it the true price is booked. So
however many calls are under way, the cap is passed by no more than the error of one such price.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from arena.errors import BudgetSpentError

_ROUNDING_USD = 1e-9
"""Sums of many small prices may differ by so much, added up in another order."""


@dataclass(slots=True)
class Reservation:
    """Money set aside for one call."""

    usd: float  #: at most, as far as one can tell beforehand
    paid_usd: float = 0.0  #: what the call did cost; nothing, as long as it is not known

    def paid(self, actual_usd: float) -> None:
        """Book what the call did cost."""
        self.paid_usd += actual_usd


@dataclass(slots=True)
class Cap:
    """One sum that must not be passed, and what counts towards it; US dollars."""

    max_usd: float | None  #: None: none
    spent_usd: float = 0.0
    reserved_usd: float = 0.0  #: of calls in flight
    in_flight: int = 0  #: calls

    def fits(self, usd: float) -> bool:
        """Whether a call may cost so much."""
        if self.max_usd is None:
            return True
        return self.spent_usd + self.reserved_usd + usd <= self.max_usd + _ROUNDING_USD

    def close(self, reservation: Reservation) -> None:
        """Book a call that is over."""
        self.in_flight -= 1
        # Nothing in flight is nothing reserved, to the last bit.
        self.reserved_usd = self.reserved_usd - reservation.usd if self.in_flight else 0.0
        self.spent_usd += reservation.paid_usd


class Budget:
    """What may be spent in all; one for a whole experiment, whatever judges share it.

    Args:
        max_usd: the cap; None for no cap.
        spent_usd: what earlier runs have spent of it.
        within: a budget that several judges share, where each may have a cap of its own too.
    """

    def __init__(
        self, max_usd: float | None = None, *, spent_usd: float = 0.0, within: Budget | None = None
    ) -> None:
        self.cap = Cap(max_usd, spent_usd)
        self.caps: tuple[Cap, ...] = (self.cap, *(within.caps if within else ()))
        # In order of arrival, so that the plan's first battles are the first to be paid for.
        self.waiting: dict[asyncio.Future[None], None] = within.waiting if within else {}

    @property
    def max_usd(self) -> float | None:
        """The cap; None for no cap."""
        return self.cap.max_usd

    @property
    def spent_usd(self) -> float:
        """What was paid, by earlier runs too."""
        return self.cap.spent_usd

    @property
    def reserved_usd(self) -> float:
        """What calls in flight may cost."""
        return self.cap.reserved_usd

    @contextmanager
    def reserve(self, usd: float) -> Iterator[Reservation]:
        """Set money aside for a call, or refuse it at once.

        Raises:
            BudgetSpentError: spent, reserved and this would pass the cap.
        """
        if full := self._full(usd):
            raise BudgetSpentError(full.spent_usd + full.reserved_usd, full.max_usd or 0.0, usd)
        reservation = Reservation(usd)
        for cap in self.caps:
            cap.reserved_usd += usd
            cap.in_flight += 1
        try:
            yield reservation
        finally:
            for cap in self.caps:
                cap.close(reservation)
            for news in self.waiting:
                if not news.done():
                    news.set_result(None)

    @asynccontextmanager
    async def hold(self, usd: float) -> AsyncIterator[Reservation]:
        """As `reserve`, but wait for calls in flight that may turn out cheaper than reserved.

        Raises:
            BudgetSpentError: this would pass the cap, and there is nothing left to wait for.
        """
        while (full := self._full(usd)) and full.in_flight:
            news = asyncio.get_running_loop().create_future()
            self.waiting[news] = None
            try:
                await news
            finally:
                del self.waiting[news]
        with self.reserve(usd) as reservation:
            yield reservation

    def _full(self, usd: float) -> Cap | None:
        """The cap that has no room for so much, if there is one."""
        return next((cap for cap in self.caps if not cap.fits(usd)), None)
