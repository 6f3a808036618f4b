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


class Budget:
    """What may be spent in all; one for a whole experiment, whatever judges share it.

    Args:
        max_usd: the cap; None for no cap.
        spent_usd: what earlier runs have spent of it.
    """

    def __init__(self, max_usd: float | None = None, *, spent_usd: float = 0.0) -> None:
        self.max_usd = max_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0  #: of calls in flight
        self._in_flight = 0
        self._waiting: set[asyncio.Future[None]] = set()

    @contextmanager
    def reserve(self, usd: float) -> Iterator[Reservation]:
        """Set money aside for a call, or refuse it at once.

        Raises:
            BudgetSpentError: spent, reserved and this would pass the cap.
        """
        if not self._fits(usd):
            raise self._spent(usd)
        reservation = Reservation(usd)
        self.reserved_usd += usd
        self._in_flight += 1
        try:
            yield reservation
        finally:
            self._in_flight -= 1
            # Nothing in flight is nothing reserved, to the last bit.
            self.reserved_usd = self.reserved_usd - usd if self._in_flight else 0.0
            self.spent_usd += reservation.paid_usd
            self._wake()

    @asynccontextmanager
    async def hold(self, usd: float) -> AsyncIterator[Reservation]:
        """As `reserve`, but wait for calls in flight that may turn out cheaper than reserved.

        Raises:
            BudgetSpentError: this would pass the cap, and there is nothing left to wait for.
        """
        while not self._fits(usd) and self._in_flight:
            news = asyncio.get_running_loop().create_future()
            self._waiting.add(news)
            try:
                await news
            finally:
                self._waiting.discard(news)
        with self.reserve(usd) as reservation:
            yield reservation

    def _fits(self, usd: float) -> bool:
        if self.max_usd is None:
            return True
        return self.spent_usd + self.reserved_usd + usd <= self.max_usd + _ROUNDING_USD

    def _spent(self, usd: float) -> BudgetSpentError:
        return BudgetSpentError(self.spent_usd + self.reserved_usd, self.max_usd or 0.0, usd)

    def _wake(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)
