"""The vector cache: no text is embedded twice by the same model in the same role."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from arena.records import Role
from arena.retrieval.embed import BatchEmbedder, Embedder, Embedding
from arena.retrieval.vector_store import StoredVectors, VectorStore, text_digest

_SLICE = 256
"""Texts that a plain embedder gets at a time, so that a crash costs no more than these."""


def cache_folder() -> Path:
    """``ARENA_CACHE``, or ``~/.cache/arena``."""
    given = os.environ.get("ARENA_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "arena"


def embed_cached(
    embedder: Embedder,
    texts: Sequence[str],
    store: VectorStore,
    *,
    alone: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[StoredVectors, int]:
    """Embed what was never embedded before, each distinct text once, and look up the rest.

    Each batch is on disk before the next is awaited, so whatever interrupts the work, running
    it again goes on from there. Two processes with the same model take turns, and the second
    finds what the first has embedded.

    Args:
        embedder: the model.
        texts: in any order, repeats allowed.
        store: of the embedder's settings and the texts' role.
        alone: embed texts one at a time, and keep how long each took.
        progress: told how many of how many distinct texts are there.

    Returns:
        The vectors of all texts, and how many of these were embedded now.

    Raises:
        ApiError: the embedder failed; every batch that succeeded is kept.
        DataError: the folder holds something else than this model's vectors.
    """
    digests = [text_digest(text) for text in texts]
    distinct = dict(zip(digests, texts, strict=True))
    embedded = 0
    if store.missing(distinct):
        with store.writing():
            missing = store.missing(distinct)
            todo = [distinct[digest] for digest in missing]
            for span, embedding in _batches(embedder, todo, store.role, alone=alone):
                part = slice(span.start, span.stop)
                store.append(missing[part], todo[part], embedding, alone=alone)
                embedded += len(span)
                if progress:
                    progress(len(distinct) - len(todo) + embedded, len(distinct))
    return store.lookup(digests), embedded


def _batches(
    embedder: Embedder, texts: Sequence[str], role: Role, *, alone: bool
) -> Iterator[tuple[range, Embedding]]:
    if not alone and isinstance(embedder, BatchEmbedder):
        yield from embedder.embed_batches(texts, role)
        return
    size = 1 if alone else _SLICE
    if alone and texts:
        embedder.embed(["warm-up"], role)  # connections, caches and lazy loading are not latency
    for first in range(0, len(texts), size):
        span = range(first, min(first + size, len(texts)))
        yield span, embedder.embed(texts[span.start : span.stop], role)
