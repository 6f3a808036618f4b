"""A share broken down by judge, or by data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from arena.auditing.records import Part
from arena.rating.battles import Battles


def parts_by(battles: Battles, hits: ArrayLike) -> tuple[Part, ...]:
    """The share of each judge of a panel; of one judge, the share on each of its data sets.

    Args:
        battles: the rows that count.
        hits: whether each is one, (n_battles,).
    """
    if np.unique(battles.judge).size > 1:
        return shares(battles.judge, battles.judges, hits)
    if np.unique(battles.dataset).size > 1:
        return shares(battles.dataset, battles.datasets, hits)
    return ()


def shares(code: ArrayLike, names: tuple[str, ...], hits: ArrayLike) -> tuple[Part, ...]:
    """The share of hits for each code that occurs, in the order of the codes."""
    code, hits = np.asarray(code), np.asarray(hits, dtype=np.float64)
    total = np.bincount(code, minlength=len(names))
    found = np.bincount(code, hits, minlength=len(names))
    return tuple(
        Part(names[c] or "(not named)", float(found[c] / total[c]), int(total[c]))
        for c in np.flatnonzero(total)
    )
