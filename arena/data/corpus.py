"""Hold corpora of any size: in memory if small, else in a file.

The file is a temporary copy without a name, which vanishes with the process. Later changes of the
source do not affect the corpus. Memory holds 20 bytes for each document, and 8 more during the
reading.
"""

from __future__ import annotations

import marshal
import os
import tempfile
import weakref
from array import array
from bisect import bisect_right
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import IO, Final, NamedTuple, overload

import numpy as np

from arena.data.rows import Row
from arena.digest import digest
from arena.errors import DataError, WriteError
from arena.files import cache_folder
from arena.records import Document, Partition

_64_BITS: Final = (1 << 64) - 1
IN_MEMORY = 200 * 2**20
"""Characters of ids, titles and texts above which a corpus goes into a file."""


class SmallCorpus(dict[str, Document]):
    """doc_id → document, in memory, with the hash of what is in it; never changed once made."""

    def __init__(self, documents: Mapping[str, Document], content: str, n_copies: int = 0) -> None:
        super().__init__(documents)
        self.content = content
        self.n_copies = n_copies  # documents with title and text of one before them


def collect_documents(
    items: Iterable[tuple[Row, str, Document]],
    path: Path,
    *,
    in_memory: int | None = None,
    partitions: list[Partition] | None = None,
) -> SmallCorpus | CorpusFile:
    """Make a corpus of documents as they are read.

    Args:
        items: the row that each is from, its doc_id, and itself.
        path: where all of them come from.
        in_memory: characters above which they go into a temporary file in the cache's folder;
            `IN_MEMORY` if absent.
        partitions: gets an entry for each file that the rows are from.

    Raises:
        DataError: a doc_id occurs twice, or there is nothing in ``path`` at all.
        WriteError: there is no room for the file.
    """
    limit = IN_MEMORY if in_memory is None else in_memory
    stream = iter(items)
    origins, texts = _Origins(), array("Q")
    small: dict[str, Document] = {}
    size = 0
    for row, doc_id, document in stream:
        if small.setdefault(doc_id, document) is not document:
            raise _twice(row.path, row.number, doc_id)
        origins.add(row, document)
        texts.append(_text_hash(document))
        size += len(doc_id) + len(document.title) + len(document.text)
        if size > limit:
            corpus: SmallCorpus | CorpusFile = _spilled(small, stream, _Read(origins, texts))
            break
    else:
        if not small:
            raise DataError(path, None, "is empty", "expected one JSON object a line: _id, text")
        corpus = SmallCorpus(small, origins.content, _n_copies(texts))
    if partitions is not None:
        partitions += origins.partitions()
    return corpus


def n_copies(corpus: Mapping[str, Document]) -> int:
    """Return how many documents repeat an earlier title and text; 0 if nobody counted."""
    return corpus.n_copies if isinstance(corpus, SmallCorpus | CorpusFile) else 0


def corpus_hash(corpus: Mapping[str, Document]) -> str:
    """Return a hash of all ids, titles and texts that does not depend on their order.

    It is the sum of the hashes of the documents, so that arena computes it during the reading.
    """
    if isinstance(known := getattr(corpus, "content", None), str):
        return known
    return _hex(sum(map(_content, corpus.values())))


def documents_of(corpus: Mapping[str, Document]) -> Sequence[Document]:
    """Return the documents by their place in the corpus, without a copy."""
    documents = getattr(corpus, "documents", None)
    return documents if isinstance(documents, Sequence) else list(corpus.values())


def _spilled(
    small: dict[str, Document], stream: Iterator[tuple[Row, str, Document]], read: _Read
) -> CorpusFile:
    """Return the corpus in a file: the documents in memory, then the rest of the stream."""
    folder = cache_folder()
    origins, texts = read
    starts, hashes = array("Q", [0]), array("Q")

    def write(document: Document) -> None:
        starts.append(starts[-1] + file.write(encoded(document)))
        hashes.append(id_hash(document.doc_id))

    with ExitStack() as on_error:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = on_error.enter_context(tempfile.TemporaryFile(dir=folder))
            for document in small.values():
                write(document)
            small.clear()
            for row, _, document in stream:
                origins.add(row, document)
                texts.append(_text_hash(document))
                write(document)
            file.flush()
        except OSError as error:
            raise WriteError(folder, error) from None
        on_error.pop_all()
    corpus = CorpusFile(file, starts, hashes, origins.content, _n_copies(texts))
    if repeat := corpus.first_repeat():
        raise _twice(*origins.of(repeat[0]), repeat[1])
    return corpus


class _Origins:
    """Which file and row each document is from, and the contents of each file."""

    def __init__(self) -> None:
        self._numbers = array("Q")
        self._paths: list[Path] = []
        self._firsts: list[int] = []  # the place of the first document of each path
        self._contents: list[int] = []  # the sum of the hashes of its documents

    def add(self, row: Row, document: Document) -> None:
        if not self._paths or self._paths[-1] is not row.path:
            self._paths.append(row.path)
            self._firsts.append(len(self._numbers))
            self._contents.append(0)
        self._numbers.append(row.number)
        self._contents[-1] += _content(document)

    def of(self, place: int) -> tuple[Path, int]:
        return self._paths[bisect_right(self._firsts, place) - 1], self._numbers[place]

    @property
    def content(self) -> str:
        return _hex(sum(self._contents))

    def partitions(self) -> Iterator[Partition]:
        bounds = pairwise([*self._firsts, len(self._numbers)])
        for path, content, (first, last) in zip(self._paths, self._contents, bounds, strict=True):
            yield Partition(str(path), _hex(content), last - first)


class _Read(NamedTuple):
    """What is known of the documents that are in memory when a corpus turns out to be large."""

    origins: _Origins
    texts: array[int]  #: the `_text_hash` of each


def _text_hash(document: Document) -> int:
    """Return a hash of title and text in 64 bits, stable within this process; 0 without text."""
    words = (document.title.strip(), document.text.strip())
    return hash(words) & _64_BITS if any(words) else 0


def _n_copies(texts: array[int]) -> int:
    filled = np.frombuffer(texts, np.uint64)
    filled = filled[filled != 0]
    return len(filled) - len(np.unique(filled))


def _content(document: Document) -> int:
    raw = digest(document.doc_id, document.title, document.text, size=32)
    return int.from_bytes(raw, "little")


def _hex(content: int) -> str:
    return digest((content % 2**256).to_bytes(32, "little")).hex()


def _twice(path: Path, line: int, doc_id: str) -> DataError:
    return DataError(path, line, f"_id {doc_id!r} occurs twice", "ids must be unique")


_READ_AHEAD = 1024
"""Documents that are read at once when all of them are gone through."""


class CorpusFile(Mapping[str, Document]):
    """doc_id → document; `arena.data.corpus.collect_documents` makes it.

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
        """Return the documents in the order of the corpus."""
        return _DocumentsView(self)

    def items(self) -> ItemsView[str, Document]:
        """Return doc_id and document in the order of the corpus."""
        return _Items(self)

    def read(self, number: int) -> Document:
        """Return the document at a place of the corpus."""
        first, last = self._starts[number : number + 2].tolist()
        return _decoded(os.pread(self._file.fileno(), last - first, first))

    def read_span(self, first: int, last: int) -> list[Document]:
        """Return the documents from one place up to, but not including, another."""
        starts = self._starts[first : last + 1].tolist()
        raw = memoryview(os.pread(self._file.fileno(), starts[-1] - starts[0], starts[0]))
        bounds = [start - starts[0] for start in starts]
        return [_decoded(raw[begin:end]) for begin, end in pairwise(bounds)]

    def read_all(self) -> Iterator[Document]:
        """Yield all documents; read a thousand at a time."""
        for first in range(0, len(self), _READ_AHEAD):
            yield from self.read_span(first, min(first + _READ_AHEAD, len(self)))

    def first_repeat(self) -> tuple[int, str] | None:
        """Return place and doc_id of the first document whose doc_id occurred before."""
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
        """Return the places of documents whose doc_id has this hash, in the order of the corpus."""
        first = np.searchsorted(self._hashes, np.uint64(key), "left")
        last = np.searchsorted(self._hashes, np.uint64(key), "right")
        return [int(number) for number in self._order[first:last]]


def encoded(document: Document) -> bytes:
    """Return a document as the bytes of the file."""
    # Unlike JSON, marshal accepts any string; and no other process can write to the file.
    return marshal.dumps((document.doc_id, document.text, document.title))


def id_hash(doc_id: str) -> int:
    """Return a hash of a doc_id in 64 bits, stable within this process."""
    return hash(doc_id) & _64_BITS


class _Documents(Sequence[Document]):
    def __init__(self, corpus: CorpusFile) -> None:
        self._corpus = corpus

    def __len__(self) -> int:
        return len(self._corpus)

    def __iter__(self) -> Iterator[Document]:
        return self._corpus.read_all()

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            places = range(len(self))[index]
            if places and places.step == 1:
                return self._corpus.read_span(places.start, places.stop)
            return [self._corpus.read(number) for number in places]
        return self._corpus.read(range(len(self))[index])


class _DocumentsView(ValuesView[Document]):
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
