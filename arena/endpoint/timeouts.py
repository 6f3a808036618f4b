"""How long a call is waited for, given what the endpoint answers meanwhile.

A server that works on one call at a time is not late with the calls that queue behind it. To cancel
what it computes and ask again makes it do the same work twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

OWN_SERVER_TIMEOUTS: Final = 3
"""Timeouts that your own server is given for a call that it may still be computing."""


class Turns:
    """Knows when a call is late; ``async with turns.call():`` around each one.

    Args:
        timeout_s: how long an endpoint may take for a call once it is its turn.
        own: it is your own server, where a call that nothing overtakes is being computed.
        clock: seconds.
    """

    def __init__(
        self, timeout_s: float, *, own: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.timeout_s = timeout_s
        #: for a call that nothing overtakes
        self.longest_s = timeout_s * (OWN_SERVER_TIMEOUTS if own else 1)
        self.on_wire = self.ended = 0  #: calls
        self.heard_at = 0.0  #: when the last answer came

    def call(self) -> Call:
        """Return the timer of one call, which raises `TimeoutError` once the call is late."""
        return Call(self)


class Call:
    """One call on the wire."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = self._ended = 0
        self._sent_at = 0.0

    async def __aenter__(self) -> Self:
        turns = self._turns
        self._sent_at = turns.clock()
        self._ahead, self._ended = turns.on_wire, turns.ended
        await self._timeout.__aenter__()
        turns.on_wire += 1
        self._look_after(turns.timeout_s)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer:
            self._timer.cancel()
        self._turns.on_wire -= 1
        self._turns.ended += 1
        if error is None:
            self._turns.heard_at = self._turns.clock()
        await self._timeout.__aexit__(kind, error, traceback)

    @property
    def left_s(self) -> float:
        """Return the seconds that are left to wait for it; 0 or less if it is late.

        As many answers as were ahead of it may come first, and each restarts its time. Once there
        were clearly more, the endpoint does not answer in turn, and this call is just late. Calls
        sent at about the same time may arrive in another order.
        """
        turns = self._turns
        if turns.ended - self._ended > self._ahead + turns.on_wire:
            until = self._sent_at + turns.timeout_s
        else:
            until = max(self._sent_at, turns.heard_at) + turns.longest_s
        return until - turns.clock()

    def _look_after(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        if (left_s := self.left_s) > 0:
            self._look_after(left_s)
        else:
            self._timeout.reschedule(asyncio.get_running_loop().time())
