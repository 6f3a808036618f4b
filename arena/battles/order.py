"""The ids of battles as numbers: the order of several logs, and which lines repeat a battle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.battles.table import HexIds


@dataclass(frozen=True, slots=True)
class IdOrder:
    """The rows of several logs in the order of their battles' ids."""

    rows: NDArray[np.intp]  #: (n_rows,); those of one id in the order of the logs
    is_again: NDArray[np.bool_]  #: whether the row has the id of the one before, (n_rows,)

    @classmethod
    def of(cls, ids: Sequence[HexIds]) -> IdOrder:
        """Return the order of rows that have these ids, log by log."""
        high = np.concatenate([keys_of_log.keys[0] for keys_of_log in ids])
        rows = np.argsort(high, kind="stable")
        high = high[rows]
        is_again = np.zeros(len(rows), np.bool_)
        np.equal(high[1:], high[:-1], out=is_again[1:])
        # Ids are as good as drawn by lot: only those that repeat have the first half in common.
        if (alike := np.flatnonzero(is_again)).size:
            places = np.union1d(alike - 1, alike)
            low = np.concatenate([keys_of_log.keys[1] for keys_of_log in ids])
            rows[places] = rows[places][np.lexsort((low[rows[places]], high[places]))]
            is_again[alike] = low[rows[alike]] == low[rows[alike - 1]]
        return cls(rows, is_again)

    def repeated(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the rows with the id of an earlier row, and the first row of that id."""
        repeats = np.flatnonzero(self.is_again)
        if not repeats.size:
            return repeats, repeats
        firsts = np.flatnonzero(~self.is_again)
        first = firsts[np.searchsorted(firsts, repeats) - 1]
        return self.rows[repeats], self.rows[first]
