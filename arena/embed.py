"""Text to vectors: the protocol that every embedder follows, and the one for HTTP endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arena.records import Role


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vectors of some texts, and what they took."""

    vectors: NDArray[np.float32]  #: (n_texts, dim), in the texts' order, not always normalised
    tokens: int | None  #: billed, as the endpoint reports them; None for local models
    seconds: float  #: spent in successful requests; retries and waits excluded


class Embedder(Protocol):
    """Anything that turns texts into vectors, differently for queries and documents if need be."""

    @property
    def settings(self) -> Mapping[str, object]:
        """Everything that could change a vector, as JSON values: the cache's address."""
        ...

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        """One vector for each text, in order.

        Raises:
            ApiError: the model gave no usable vectors.
        """
        ...
