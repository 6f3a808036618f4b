"""Find out whether refusals concern single requests, or all of them.

A wrong model name, a refused key or a broken server may appear as a status 400 or 500 of every
battle. So after a few equal refusals in a row, arena sends the shortest possible question to the
same endpoint. If the endpoint refuses that, too, no battle can be judged.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from arena.errors import ApiError, FatalApiError

ENOUGH: Final = 3
"""Equal refusals in a row that raise a doubt; twice as many after each unfounded doubt."""

QUESTION: Final = "Answer with the word yes."
_ABOUT_TEXTS: Final = ("refusal",)
"""Reasons that are about what was sent, and about nothing else."""

_VARIABLE = re.compile(r"\S*\d\S*")
"""What differs from refusal to refusal: numbers of tokens, names of requests, times."""


class Doubt:
    """Counts refusals, and finds out what they mean.

    Args:
        ask: sends `QUESTION`; raises an `ApiError` if it is refused.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        self._ask = ask
        self._enough = ENOUGH
        self._n = 0
        self._kind = ""
        self._asking: asyncio.Task[FatalApiError | None] | None = None

    def answered(self) -> None:
        """Count a call that was answered."""
        self._n = 0

    async def refused(self, error: ApiError) -> None:
        """Count a call that failed for good.

        Raises:
            FatalApiError: all others will, too.
        """
        if error.reason in _ABOUT_TEXTS:
            return
        kind = _kind(error)
        self._n = self._n + 1 if kind == self._kind else 1
        self._kind = kind
        if self._n < self._enough:
            return
        # All calls that were refused meanwhile wait for one question.
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._find_out(error))
        asking = self._asking
        fatal = await asyncio.shield(asking)
        if self._asking is asking:
            self._asking = None
        if fatal:
            raise fatal

    async def _find_out(self, error: ApiError) -> FatalApiError | None:
        """Return the error that stops the run; None if the endpoint answers a question."""
        try:
            await self._ask()
        except FatalApiError as fatal:
            return fatal
        except ApiError as refusal:
            if refusal.reason == error.reason:
                what = f"even the shortest call is refused like all others: {error.detail}"
                return FatalApiError(error.reason, f"{what}; check model, base_url and key")
        self._n = 0
        self._enough *= 2
        return None


def _kind(error: ApiError) -> str:
    """Return the refusal without what differs from request to request."""
    return f"{error.reason} {_VARIABLE.sub('#', error.detail)}"
