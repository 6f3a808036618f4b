"""Vectors as they come in a reply, made into one array; whatever is none is an error."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class BadReplyError(ValueError):
    """A reply that does not hold the vectors that were asked for.

    ``place`` tells of which text, counted from 0, where it is about one.
    """

    def __init__(self, what: str, place: int | None = None) -> None:
        self.place = place
        super().__init__(what)


def stack_vectors(raw: Sequence[object], n_texts: int) -> NDArray[np.float32]:
    """An array ``(n_texts, dim)``.

    Args:
        raw: vectors in the texts' order: lists of numbers, or little-endian float32 in base64.
        n_texts: how many there must be.

    Raises:
        BadReplyError: there are more or fewer vectors than texts, or they differ in length, or
            one of them is unreadable, holds NaN or an infinity, or is all zeros; it says which.
    """
    if len(raw) != n_texts:
        raise BadReplyError(f"{len(raw)} vectors for {n_texts} texts; try batch_size = 1")
    vectors = [_vector(item, place) for place, item in enumerate(raw)]
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        raise BadReplyError(f"vectors of different lengths, {min(lengths)} and {max(lengths)}")
    return np.stack(vectors)


def _vector(raw: object, place: int) -> NDArray[np.float32]:
    try:
        if isinstance(raw, str):
            vector = np.frombuffer(base64.b64decode(raw, validate=True), "<f4")
        else:
            with np.errstate(over="ignore"):
                vector = np.array(raw, np.float32)
    except (binascii.Error, OverflowError, TypeError, ValueError):
        raise BadReplyError(f"vector {place} is unreadable", place) from None
    if vector.ndim != 1 or not vector.size:
        raise BadReplyError(f"vector {place} is unreadable", place)
    if not np.isfinite(vector).all():
        raise BadReplyError(f"vector {place} holds NaN or an infinity", place)
    if not vector.any():
        raise BadReplyError(f"vector {place} is all zeros", place)
    return vector
