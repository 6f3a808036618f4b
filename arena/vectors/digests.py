"""Identify texts by sixteen bytes each, and hold millions as sorted numbers instead of a dict."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arena.data.searchable_text import Selected
from arena.records import by_score

Digests = NDArray[np.uint64]
"""``(n, 2)``: the two halves of each digest."""

Rows = NDArray[np.int64]


def digests_of(texts: Iterable[str]) -> tuple[Digests, NDArray[np.uint32]]:
    """Return a digest of sixteen bytes for each text, and its number of characters.

    Source: BLAKE2b, RFC 7693, https://doi.org/10.17487/RFC7693.
    """
    raw, lengths = bytearray(), array("I")
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        raw += hashlib.blake2b(data, digest_size=16).digest()
        lengths.append(len(text))
    return np.frombuffer(raw, "<u8").reshape(-1, 2), np.frombuffer(lengths, np.uint32)


def first_of_each(digests: Digests) -> Rows:
    """Return the first row of each distinct digest, in ascending order."""
    half = np.sort(digests[:, 0])
    shared = half[1:][half[1:] == half[:-1]]
    maybe = np.flatnonzero(np.isin(digests[:, 0], shared))  # few, as a rule: those are compared
    order = np.lexsort((digests[maybe, 1], digests[maybe, 0]))  # stable
    ordered = digests[maybe[order]]
    again = np.zeros(len(digests), bool)
    again[maybe[order[1:]]] = (ordered[1:] == ordered[:-1]).all(axis=1)
    return np.flatnonzero(~again)


class DigestIndex:
    """Where each digest stands, the last time where it occurs again; 16 bytes for each.

    Args:
        digests: of all rows; kept, as they are needed to be sure of a row that was found.
    """

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._order = np.argsort(digests[:, 0], kind="stable")
        self._sorted = digests[self._order, 0]

    def find(self, digests: Digests) -> Rows:
        """Return the row of each digest; -1 if there is none."""
        rows = np.full(len(digests), -1)
        # From the last of equal first halves backwards; those with other second halves are rare.
        places = np.searchsorted(self._sorted, digests[:, 0], "right") - 1
        left = np.flatnonzero(places >= 0)
        while len(left):
            left = left[self._sorted[places[left]] == digests[left, 0]]
            candidates = self._order[places[left]]
            same = self._digests[candidates, 1] == digests[left, 1]
            rows[left[same]] = candidates[same]
            left = left[~same]
            places[left] -= 1
            left = left[places[left] >= 0]
        return rows


Ranking = list[tuple[str, float]]


class DistinctTexts:
    """Documents by the row of their text, so that each row is searched once.

    Args:
        rows: where each document's text is stored.
        doc_ids: the documents' names.
    """

    def __init__(self, rows: Rows, doc_ids: Sequence[str]) -> None:
        order = np.argsort(rows, kind="stable")
        starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
        ends = np.append(starts[1:], len(rows))
        self.rows: Rows = rows[order[starts]]
        """The distinct ones, ascending."""
        named = order[starts]
        self._copies: dict[str, list[str]] = {}
        for group in np.flatnonzero(ends - starts > 1).tolist():
            numbers = order[starts[group] : ends[group]].tolist()
            names = sorted((doc_ids[number], number) for number in numbers)
            named[group] = names[0][1]
            self._copies[names[0][0]] = [doc_id for doc_id, _ in names]
        self.doc_ids: Sequence[str] = Selected(doc_ids, named)
        """For each row the first of its documents' names."""

    def expanded(self, ranking: Ranking, top_k: int) -> Ranking:
        """Return the ranking of documents from that of rows: those of one text tie, by doc_id.

        The ``top_k`` best documents are among those of the ``top_k`` best rows.
        """
        if not any(doc_id in self._copies for doc_id, _ in ranking):
            return ranking
        documents = (
            (copy, score)
            for doc_id, score in ranking
            for copy in self._copies.get(doc_id, (doc_id,))
        )
        return sorted(documents, key=by_score)[:top_k]


class VectorRows:
    """Some rows of a memory map, as if they were an array: a view where they lie side by side.

    Args:
        stored: the memory map, ``(n_stored, dim)``.
        rows: which of it, ascending, each once.
    """

    def __init__(self, stored: NDArray[np.float32], rows: Rows) -> None:
        self._stored = stored
        self._rows = rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Return numbers and columns: ``(n_rows, dim)``."""
        return len(self._rows), self._stored.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the numbers."""
        return self._stored.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, wanted: slice | Rows, /) -> NDArray[np.float32]:
        rows = self._rows[wanted]
        ascending = isinstance(wanted, slice) and wanted.step in (None, 1)
        if ascending and len(rows) and rows[-1] - rows[0] == len(rows) - 1:
            return self._stored[rows[0] : rows[-1] + 1]
        return self._stored[rows]
