"""Open the indexes that search vectors: exact ones, and cheaper ones of fewer bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arena.config.models import Precision
from arena.vectors.exact import CosineIndex, Vectors
from arena.vectors.quantized import BinaryIndex, Int8Index, Ranges, halved


class Index(Protocol):
    """A corpus of vectors that can be searched."""

    @property
    def n_bytes(self) -> int:
        """Return the bytes of the index of all documents, without their names."""
        ...

    def search(self, queries: NDArray[np.float32], top_k: int) -> list[list[tuple[str, float]]]:
        """Return the ``top_k`` best documents of each query with their score, best first.

        Args:
            queries: ``(n_queries, dim)``.
            top_k: fewer are found only where fewer documents have a direction.
        """
        ...


def open_index(
    vectors: Vectors,
    doc_ids: Sequence[str],
    *,
    precision: Precision,
    memory_mb: int,
    ranges: Ranges | None = None,
) -> Index:
    """Open an index of this precision.

    Args:
        vectors: ``(n_documents, dim)``; a memory map will do.
        doc_ids: the documents' names; ties are ordered by them.
        precision: what it holds for each number.
        memory_mb: the most that a search may take beside the vectors themselves; the
            cheaper indexes take little.
        ranges: for ``int8``, those of a larger corpus that the vectors are a part of.
    """
    match precision:
        case "int8":
            return Int8Index(vectors, doc_ids, ranges=ranges)
        case "binary":
            return BinaryIndex(vectors, doc_ids)
        case "float16":
            return CosineIndex(halved(vectors), doc_ids, memory_mb=memory_mb)
        case "float32":
            return CosineIndex(vectors, doc_ids, memory_mb=memory_mb)
