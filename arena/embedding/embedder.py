"""Text to vectors: the protocols that every embedder follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

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
        """Everything that could change a vector, as JSON values: the cache's address.

        A key that begins with ``query_`` or ``document_`` is about texts of that role alone.
        """
        ...

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        """One vector for each text, in order.

        Raises:
            ApiError: the model gave no usable vectors.
        """
        ...


@runtime_checkable
class BatchEmbedder(Embedder, Protocol):
    """An embedder that hands over each batch as soon as it is done, in whatever order."""

    def embed_batches(self, texts: Sequence[str], role: Role) -> Iterator[tuple[range, Embedding]]:
        """Yield which texts were embedded, and their vectors, until all were.

        Raises:
            ApiError: after every batch that did succeed.
        """
        ...


@runtime_checkable
class CutCounter(Protocol):
    """An embedder that knows which texts were longer than the model reads."""

    @property
    def n_cut(self) -> Mapping[Role, int]:
        """How many texts of each role it has embedded without their ends, so far."""
        ...


def join_embeddings(parts: Sequence[Embedding]) -> Embedding:
    """One embedding of all the texts; its tokens are None where any part's are."""
    if not parts:
        return Embedding(np.empty((0, 0), np.float32), None, 0.0)
    tokens = [part.tokens for part in parts if part.tokens is not None]
    return Embedding(
        np.concatenate([part.vectors for part in parts]),
        sum(tokens) if len(tokens) == len(parts) else None,
        sum(part.seconds for part in parts),
    )
