"""Cache vectors: each model embeds a text once in each role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from arena.data.searchable_text import Selected
from arena.embedding.embedder import BatchEmbedder, Embedder, Embedding
from arena.progress import OnProgress
from arena.records import Role
from arena.vectors.digests import Digests, digests_of, first_of_each
from arena.vectors.vector_files import StoredVectors, VectorStore

_SLICE = 256
"""Texts that a plain embedder gets at a time, so that a crash costs no more than these."""


def embed_cached(
    embedder: Embedder,
    texts: Sequence[str],
    store: VectorStore,
    *,
    alone: bool = False,
    progress: OnProgress | None = None,
) -> tuple[StoredVectors, int]:
    """Embed texts that are not in the cache, and look up the rest; all must fit in memory.

    Args, Raises: as `embed_missing`.

    Returns:
        The vectors of all texts, and how many of these were embedded now.
    """
    digests, embedded = embed_missing(embedder, texts, store, alone=alone, progress=progress)
    return store.lookup(digests), embedded


def embed_missing(
    embedder: Embedder,
    texts: Sequence[str],
    store: VectorStore,
    *,
    alone: bool = False,
    progress: OnProgress | None = None,
) -> tuple[Digests, int]:
    """Embed texts that are not in the cache, each distinct text once.

    Each batch is written before the next is awaited, so a run resumes after any interruption. Two
    processes with the same model take turns, and the second reuses the vectors of the first.

    Args:
        embedder: the model.
        texts: in any order, repeats allowed; they may be read from the disk as they are asked for.
        store: of the embedder's settings and the texts' role.
        alone: embed texts one at a time, and keep how long each took.
        progress: told at first what is kept, and then after each batch.

    Returns:
        The digest of each text, by which the store knows its vector, and how many texts were
        embedded now.

    Raises:
        ApiError: the embedder failed; every batch that succeeded is kept.
        DataError: the folder holds something else than this model's vectors.
        WriteError: the cache's disk is full.
    """
    digests, lengths = digests_of(texts)
    rows = store.find_sound(digests)
    absent = np.flatnonzero(rows < 0)
    if not len(absent):
        return digests, 0
    n_known = len(np.unique(rows[rows >= 0]))
    missing = absent[first_of_each(digests[absent])]
    n_distinct = n_known + len(missing)
    if progress:
        progress(n_known, n_distinct)
    with store.writing() as append:
        # Another process may have had its turn in between.
        missing = missing[store.find_sound(digests[missing]) < 0]
        missing_texts = Selected(texts, missing)
        embedded = 0
        for span, embedding in _batches(embedder, missing_texts, store.role, alone=alone):
            batch = missing[span.start : span.stop]
            latency_ms = embedding.seconds * 1000 if alone else None
            append(digests[batch], embedding, lengths[batch], latency_ms)
            embedded += len(span)
            if progress:
                progress(n_distinct - len(missing) + embedded, n_distinct)
    return digests, embedded


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
