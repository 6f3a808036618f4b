"""Give the searchable text of documents, made on reading: no second corpus in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, ValuesView
from functools import cached_property
from operator import attrgetter
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from arena.data.corpus import documents_of
from arena.records import Dataset, Document

T = TypeVar("T")

_READ = 1024
"""Items that are read at once when all of them are gone through."""


def passage(document: Document) -> str:
    """Return the searchable text of a document: title, space, text, as BEIR joins them."""
    return f"{document.title} {document.text}".strip() if document.title else document.text


def _has_text(document: Document) -> bool:
    return bool(passage(document).strip())


def queries_in_corpus(dataset: Dataset, query_ids: Iterable[str]) -> frozenset[str]:
    """Return queries that are documents: same id, same words, and not graded relevant.

    Such a document would be first in every model's ranking, and would not distinguish the models.
    """
    return frozenset(
        query_id
        for query_id in query_ids
        if (document := dataset.corpus.get(query_id)) is not None
        and dataset.queries[query_id].text.split()
        in (document.text.split(), passage(document).split())
        and dataset.qrels.get(query_id, {}).get(query_id, 0) <= 0
    )


class Passages(Mapping[str, str]):
    """doc_id → what it is found by, of every document that has any text, in the corpus' order.

    Args:
        corpus: doc_id → document.
    """

    def __init__(self, corpus: Mapping[str, Document]) -> None:
        self._corpus = corpus

    @cached_property
    def doc_ids(self) -> Sequence[str]:
        """Return their ids."""
        return _Fields(self._found, attrgetter("doc_id"))

    @cached_property
    def texts(self) -> Sequence[str]:
        """Return what they are found by, in the order of ``doc_ids``."""
        return _Fields(self._found, passage)

    @cached_property
    def _found(self) -> Selected[Document]:
        # This reads the whole corpus: a run on a cluster leaves that to the workers.
        has_text = np.fromiter(map(_has_text, self._corpus.values()), bool, len(self._corpus))
        return Selected(documents_of(self._corpus), np.flatnonzero(has_text))

    def __bool__(self) -> bool:
        return any(map(_has_text, self._corpus.values()))

    def __len__(self) -> int:
        return len(self.doc_ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.doc_ids)

    def values(self) -> ValuesView[str]:
        """Return the texts of the documents, in the order of ``doc_ids``."""
        return _TextsView(self)

    def __getitem__(self, doc_id: str) -> str:
        text = passage(self._corpus[doc_id])
        if not text.strip():
            raise KeyError(doc_id)
        return text


class _TextsView(ValuesView[str]):
    def __init__(self, passages: Passages) -> None:
        super().__init__(passages)
        self._texts = passages.texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)


class Selected(Sequence[T]):
    """Some items of a sequence, read when they are asked for.

    Args:
        items: all of them.
        places: which, in this order.
    """

    def __init__(self, items: Sequence[T], places: NDArray[np.int64]) -> None:
        self._items = items
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[T]:
        for first in range(0, len(self), _READ):
            yield from self[first : first + _READ]

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if not isinstance(place, slice):
            return self._items[int(self._places[place])]
        places = self._places[place]
        if len(places) and (np.diff(places) == 1).all():
            return list(self._items[int(places[0]) : int(places[-1]) + 1])  # read at once
        return [self._items[n] for n in places.tolist()]


class _Fields(Sequence[str]):
    """One text of each document."""

    def __init__(self, documents: Sequence[Document], field: Callable[[Document], str]) -> None:
        self._documents = documents
        self._field = field

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[str]:
        return map(self._field, self._documents)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self._field(document) for document in self._documents[place]]
        return self._field(self._documents[place])
