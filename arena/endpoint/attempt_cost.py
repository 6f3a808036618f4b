"""Define how a request reports its possible cost to its payer, attempt by attempt.

A request may be sent several times, and billed each time: the endpoint may have answered although
the answer was lost. So the payer reserves money just before each attempt, and hears what the
attempt cost as soon as it is known. An attempt without news may have been carried out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol


class AttemptCost(Protocol):
    """One attempt at a request."""

    def free(self) -> None:
        """Record that it was refused, or never reached the endpoint."""

    def answered(self, body: Mapping[str, Any]) -> None:
        """Record the answer."""


class Payer(Protocol):
    """Pays for one request."""

    def attempt(self, n_bytes: int) -> AbstractAsyncContextManager[AttemptCost]:
        """Set money aside for one attempt, as soon as there is some, and book it at the end.

        Args:
            n_bytes: of the request's body.
        """


class _Nothing:
    """The cost of an attempt that nobody counts."""

    def free(self) -> None:
        """Do nothing; see `AttemptCost`."""

    def answered(self, body: Mapping[str, Any]) -> None:
        """Do nothing; see `AttemptCost`."""


class _Uncounted:
    @asynccontextmanager
    async def attempt(self, n_bytes: int) -> AsyncIterator[AttemptCost]:
        del n_bytes
        yield _NOTHING


_NOTHING: Final = _Nothing()
UNCOUNTED: Final[Payer] = _Uncounted()
"""For requests whose cost is counted elsewhere, such as those that embed."""
