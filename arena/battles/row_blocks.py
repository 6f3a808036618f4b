"""Go through the battles of a log some at a time, so that what is made of each stays small."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BLOCK: Final = 1 << 22
"""Battles of a block: a number for each takes 32 MB."""


def blocks(n_battles: int) -> Iterator[slice]:
    """Yield the places of the battles, a block at a time."""
    for start in range(0, n_battles, BLOCK):
        yield slice(start, min(start + BLOCK, n_battles))


def count_codes(codes: NDArray[np.integer[Any]], size: int) -> NDArray[np.intp]:
    """Return how often each code from 0 to size - 1 occurs, (size,)."""
    counts = np.zeros(size, np.intp)
    for block in blocks(len(codes)):
        counts += np.bincount(codes[block], minlength=size)
    return counts
