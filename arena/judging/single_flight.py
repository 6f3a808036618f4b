"""Run one call for all tasks that ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Calls under way by their key; a second caller with the same key waits for the result."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Future[T]] = {}

    def __contains__(self, key: object) -> bool:
        """Return whether a call of this key is under way."""
        return key in self._under_way

    async def result(self, key: str) -> T:
        """Return the result of the call under way, or raise its error; do not cancel the call."""
        return await asyncio.shield(self._under_way[key])

    async def run(self, key: str, call: Awaitable[T]) -> T:
        """Run the call, and give its result or its error to all who wait for the key.

        Args:
            key: of the call; no call of it is under way.
            call: what to await.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_mark_seen)
        self._under_way[key] = future
        try:
            result = await call
        except BaseException as error:
            if isinstance(error, Exception):
                future.set_exception(error)
            else:
                future.cancel()
            raise
        else:
            future.set_result(result)
            return result
        finally:
            del self._under_way[key]


def _mark_seen(future: asyncio.Future[Any]) -> None:
    """Mark a failure as seen: often nobody else waits for it, and asyncio would complain."""
    if not future.cancelled():
        future.exception()
