"""Define the protocols of embedders, which turn texts into vectors."""

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
        """Return everything that could change a vector, as JSON values: the cache's address.

        A key that begins with ``query_`` or ``document_`` is about texts of that role alone.
        """
        ...

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        """Return one vector for each text, in order.

        Raises:
            ApiError: the model gave no usable vectors.
        """
        ...


@runtime_checkable
class BatchEmbedder(Embedder, Protocol):
    """An embedder that hands over each batch as soon as it is done, in any order."""

    def embed_batches(self, texts: Sequence[str], role: Role) -> Iterator[tuple[range, Embedding]]:
        """Yield the positions of texts with their vectors, until all texts are embedded.

        Raises:
            ApiError: after every batch that did succeed.
        """
        ...


@runtime_checkable
class CutCounter(Protocol):
    """An embedder that knows which texts were longer than the model reads."""

    @property
    def n_cut(self) -> Mapping[Role, int]:
        """Return how many texts of each role were embedded without their ends, so far."""
        ...


def join_embeddings(parts: Sequence[Embedding]) -> Embedding:
    """Return one embedding of all the texts; its tokens are None if those of a part are."""
    if not parts:
        return Embedding(np.empty((0, 0), np.float32), None, 0.0)
    tokens = [part.tokens for part in parts if part.tokens is not None]
    return Embedding(
        np.concatenate([part.vectors for part in parts]),
        sum(tokens) if len(tokens) == len(parts) else None,
        sum(part.seconds for part in parts),
    )
