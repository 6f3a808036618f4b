"""A corpus whose documents are read from a file when they are asked for."""

from __future__ import annotations

import marshal
import os
import weakref
from array import array
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from itertools import pairwise
from typing import IO, overload

import numpy as np

from arena.records import Document

_READ_AHEAD = 1024
"""Documents that are read at once when all of them are gone through."""
_64_BITS = (1 << 64) - 1


class CorpusFile(Mapping[str, Document]):
    """doc_id → document; `arena.data.corpus_file.collect` makes it.

    Args:
        file: the documents one after the other, as `encoded`.
        starts: where each begins, and where the last one ends.
        hashes: the `id_hash` of each.
        content: the hash of what is in it.
        n_copies: documents with title and text of one before them.
    """

    def __init__(
        self,
        file: IO[bytes],
        starts: array[int],
        hashes: array[int],
        content: str,
        n_copies: int = 0,
    ) -> None:
        self._file = file
        weakref.finalize(self, file.close)
        self._starts = np.frombuffer(starts, np.uint64)
        unsorted = np.frombuffer(hashes, np.uint64)
        self._order = np.argsort(unsorted, kind="stable").astype(np.uint32)
        self._hashes = unsorted[self._order]
        self.content = content
        self.n_copies = n_copies
        self.documents: Sequence[Document] = _Documents(self)
        """All of them, by their place in the corpus."""

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, doc_id: str) -> Document:
        for number in self._places(id_hash(doc_id)):
            document = self.read(number)
            if document.doc_id == doc_id:
                return document
        raise KeyError(doc_id)

    def __iter__(self) -> Iterator[str]:
        return (document.doc_id for document in self.values())

    def values(self) -> ValuesView[Document]:
        """The documents in the order of the corpus."""
        return _Values(self)

    def items(self) -> ItemsView[str, Document]:
        """doc_id and document in the order of the corpus."""
        return _Items(self)

    def read(self, number: int) -> Document:
        """The document at a place of the corpus."""
        first, last = self._starts[number : number + 2].tolist()
        return _decoded(os.pread(self._file.fileno(), last - first, first))

    def read_span(self, first: int, last: int) -> list[Document]:
        """The documents from one place to before another."""
        starts = self._starts[first : last + 1].tolist()
        raw = memoryview(os.pread(self._file.fileno(), starts[-1] - starts[0], starts[0]))
        bounds = [start - starts[0] for start in starts]
        return [_decoded(raw[begin:end]) for begin, end in pairwise(bounds)]

    def read_all(self) -> Iterator[Document]:
        """All documents, a thousand at a time."""
        for first in range(0, len(self), _READ_AHEAD):
            yield from self.read_span(first, min(first + _READ_AHEAD, len(self)))

    def first_repeat(self) -> tuple[int, str] | None:
        """Place and doc_id of the first document whose doc_id occurred before."""
        same = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        repeats = []
        for key in np.unique(self._hashes[same]).tolist():
            seen: set[str] = set()
            for number in self._places(key):
                doc_id = self.read(number).doc_id
                if doc_id in seen:
                    repeats.append((number, doc_id))
                seen.add(doc_id)
        return min(repeats, default=None)

    def _places(self, key: int) -> list[int]:
        """Where documents are whose doc_id has this hash, in the order of the corpus."""
        first = np.searchsorted(self._hashes, np.uint64(key), "left")
        last = np.searchsorted(self._hashes, np.uint64(key), "right")
        return [int(number) for number in self._order[first:last]]


def encoded(document: Document) -> bytes:
    """A document as the file holds it."""
    # Unlike JSON, marshal takes any string; and nobody else can ever write to the file.
    return marshal.dumps((document.doc_id, document.text, document.title))


def id_hash(doc_id: str) -> int:
    """64 bits of a doc_id, the same as long as this process lives."""
    return hash(doc_id) & _64_BITS


class _Documents(Sequence[Document]):
    def __init__(self, corpus: CorpusFile) -> None:
        self._corpus = corpus

    def __len__(self) -> int:
        return len(self._corpus)

    def __iter__(self) -> Iterator[Document]:
        return self._corpus.read_all()

    @overload
    def __getitem__(self, place: int) -> Document: ...
    @overload
    def __getitem__(self, place: slice) -> list[Document]: ...
    def __getitem__(self, place: int | slice) -> Document | list[Document]:
        if isinstance(place, slice):
            places = range(len(self))[place]
            if places and places.step == 1:
                return self._corpus.read_span(places.start, places.stop)
            return [self._corpus.read(number) for number in places]
        return self._corpus.read(range(len(self))[place])


class _Values(ValuesView[Document]):
    def __init__(self, corpus: CorpusFile) -> None:
        super().__init__(corpus)
        self._corpus = corpus

    def __iter__(self) -> Iterator[Document]:
        return self._corpus.read_all()


class _Items(ItemsView[str, Document]):
    def __init__(self, corpus: CorpusFile) -> None:
        super().__init__(corpus)
        self._corpus = corpus

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        return ((document.doc_id, document) for document in self._corpus.read_all())


def _decoded(raw: bytes | memoryview) -> Document:
    return Document(*marshal.loads(raw))  # noqa: S302
