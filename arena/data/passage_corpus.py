"""Hold a corpus and the passages that models cut its documents into, in several ways.

A passage of document ``d`` has the id ``d§w200.3``: the way it is cut, and its number. A document
that is one passage as it is keeps its own id, so that no judge is paid to compare it with itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import chain, groupby
from pathlib import Path, PurePosixPath
from typing import Final

from arena.config.models import Cutting, Splitter
from arena.data.corpus import collect_documents, corpus_hash, documents_of
from arena.data.documents.file_passages import Cut, packed, text_key
from arena.data.documents.files import OF_RECORDS, READERS, WITHOUT_HEADINGS
from arena.data.documents.passage_cache import CutCache
from arena.data.documents.splitting import Passage, count_words, split_text, split_words
from arena.data.rows import Row
from arena.errors import DataError
from arena.progress import Reporter
from arena.records import Dataset, Document, Qrels, Run, ScoredDoc

_PASSAGE: Final = re.compile(r"(?P<parent>.+)§w\d+[a-z0-9-]*\.\d+", re.DOTALL)
_FILE_PASSAGE: Final = re.compile(r"(?P<parent>.+)#\d+", re.DOTALL)


class PassageCorpus(Mapping[str, Document]):
    """doc_id → document of a corpus, and also of the passages that its documents are cut into.

    It iterates over the corpus alone: the passages are found by their ids.

    Args:
        corpus: as models find it that cut nothing.
        wholes: the documents that are cut: those of the corpus, or whole files.
        cuts: how they are cut → the passages.
    """

    def __init__(
        self,
        corpus: Mapping[str, Document],
        wholes: Mapping[str, Document],
        cuts: Mapping[Cutting, Mapping[str, Document]],
    ) -> None:
        self.corpus = corpus
        self.wholes = wholes
        self.cuts = cuts
        self.content = corpus_hash(corpus)

    @property
    def documents(self) -> Sequence[Document]:
        """Return the documents by their place in the corpus."""
        return documents_of(self.corpus)

    def __getitem__(self, doc_id: str) -> Document:
        for part in (self.corpus, self.wholes, *self.cuts.values()):
            if (document := part.get(doc_id)) is not None:
                return document
        raise KeyError(doc_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self.corpus)

    def values(self) -> ValuesView[Document]:
        """Return the documents of the corpus, without the passages."""
        return self.corpus.values()

    def __len__(self) -> int:
        return len(self.corpus)

    def __contains__(self, doc_id: object) -> bool:
        return any(doc_id in part for part in (self.corpus, self.wholes, *self.cuts.values()))

    def parent_of(self, doc_id: str) -> str:
        """Return the id of the whole document that a passage is from; its own if it is whole."""
        if passage := _PASSAGE.fullmatch(doc_id):
            return passage["parent"]
        return doc_id if self.wholes is self.corpus else _whole_of(doc_id)


def with_passages(
    dataset: Dataset,
    cuttings: Iterable[Cutting],
    reporter: Reporter,
    *,
    files: Dataset | None = None,
) -> Mapping[str, Document]:
    """Return the corpus of a data set together with the passages of each cutting.

    Args:
        dataset: its documents are cut, where ``files`` is absent.
        cuttings: how.
        reporter: told how many documents are cut.
        files: the same folder of documents, in the largest passages: they are put together to
            whole files, which are cut.

    Raises:
        DataError: an id of the corpus looks like that of a passage.
        UsageError: a package is not installed.
    """
    cuts = dict.fromkeys(cuttings)
    if not cuts:
        return dataset.corpus
    corpus = dataset.corpus
    if isinstance(corpus, PassageCorpus):
        cuts = dict.fromkeys([*corpus.cuts, *cuts])
        corpus = corpus.corpus
    wholes = corpus if files is None else _whole_files(files, corpus)
    return PassageCorpus(
        corpus,
        wholes,
        {cutting: _cut(wholes, cutting, dataset.name, reporter) for cutting in cuts},
    )


def join_cuts(
    first: Mapping[str, Document], second: Mapping[str, Document]
) -> Mapping[str, Document]:
    """Return one corpus with the passages of both, which are of the same documents."""
    if not isinstance(second, PassageCorpus):
        return first
    if not isinstance(first, PassageCorpus):
        return second
    return PassageCorpus(first.corpus, first.wholes, {**second.cuts, **first.cuts})


def searched_corpus(
    corpus: Mapping[str, Document], cutting: Cutting | None
) -> Mapping[str, Document]:
    """Return what a model searches: the passages of its cutting, or the documents as they are."""
    if isinstance(corpus, PassageCorpus):
        return corpus.corpus if cutting is None else corpus.cuts[cutting]
    return corpus


def parent_of(corpus: Mapping[str, Document], doc_id: str) -> str:
    """Return the whole document's id of a passage, in a corpus whose documents are cut."""
    return corpus.parent_of(doc_id) if isinstance(corpus, PassageCorpus) else doc_id


def run_by_parent(run: Run, corpus: Mapping[str, Document]) -> Run:
    """Return a run with the whole document of each passage, at its best passage's place."""
    if not isinstance(corpus, PassageCorpus):
        return run
    rankings = {}
    for query_id, ranking in run.rankings.items():
        places: dict[str, ScoredDoc] = {}
        for place in ranking:
            parent = corpus.parent_of(place.doc_id)
            places.setdefault(parent, ScoredDoc(parent, place.score))
        rankings[query_id] = tuple(places.values())
    return Run(run.dataset, run.model, rankings, run.notes)


def qrels_by_parent(qrels: Qrels, corpus: Mapping[str, Document]) -> Qrels:
    """Return grades of whole documents: the highest of their passages'."""
    if not isinstance(corpus, PassageCorpus):
        return qrels
    by_parent: dict[str, dict[str, float]] = {}
    for query_id, grades in qrels.items():
        of_query = by_parent.setdefault(query_id, {})
        for doc_id, grade in grades.items():
            parent = corpus.parent_of(doc_id)
            of_query[parent] = max(grade, of_query.get(parent, grade))
    return by_parent


def n_wholes(corpus: Mapping[str, Document]) -> int:
    """Return how many whole documents a corpus has."""
    return len(corpus.wholes if isinstance(corpus, PassageCorpus) else corpus)


def _cut(
    wholes: Mapping[str, Document], cutting: Cutting, name: str, reporter: Reporter
) -> Mapping[str, Document]:
    """Return the passages of all documents, from the cache where it has them."""

    def passages() -> Iterator[tuple[Row, str, Document]]:
        stage = reporter.stage(f"{name}: documents cut, {cutting.name}", len(wholes))
        with CutCache() as cache, stage as progress:
            for number, document in enumerate(wholes.values(), start=1):
                if _PASSAGE.fullmatch(document.doc_id):
                    what = f"_id {document.doc_id!r} looks like the id of a passage"
                    raise DataError(Path(name), None, what, "rename it, or cut no documents")
                for passage in _passages_of(document, cutting, cache):
                    yield Row(Path(name), number, {}), passage.doc_id, passage
                progress.update(number)

    return collect_documents(passages(), Path(name))


def _passages_of(document: Document, cutting: Cutting, cache: CutCache) -> Iterator[Document]:
    """Yield the passages of a document with their ids, titles and texts; short ones are whole."""
    title = document.title if cutting.titles else ""
    if count_words(document.text) <= cutting.words:
        if title == document.title:
            yield document
        else:
            yield Document(f"{document.doc_id}§{cutting.name}.1", document.text, title)
        return
    splitter = cutting.splitter or _splitter_of(document.doc_id)
    key = text_key(document.text, splitter, cutting.words, cutting.overlap)
    cut = cache.get(key)
    if cut is None:
        cut = Cut(passages=tuple(_split(document.text, splitter, cutting)))
        cache.put(key, packed(cut))
    for number, passage in enumerate(cut.passages, start=1):
        if any(map(str.isalnum, passage.text)):
            headings = [heading for heading in passage.headings if heading != title]
            above = " > ".join(filter(None, [title, *headings])) if cutting.titles else ""
            yield Document(f"{document.doc_id}§{cutting.name}.{number}", passage.text, above)


def _splitter_of(doc_id: str) -> Splitter:
    suffix = PurePosixPath(_whole_of(doc_id)).suffix.lower()
    return "markdown" if suffix in READERS and suffix not in WITHOUT_HEADINGS else "sentences"


def _split(text: str, splitter: Splitter, cutting: Cutting) -> Iterator[Passage]:
    if splitter == "words":
        return split_words(text, words=cutting.words, overlap=cutting.overlap)
    return split_text(
        text.replace("\r\n", "\n").replace("\r", "\n"),
        markdown=splitter == "markdown",
        words=cutting.words,
        overlap=cutting.overlap,
    )


def _whole_files(files: Dataset, corpus: Mapping[str, Document]) -> Mapping[str, Document]:
    """Return each file of a folder as one document, and each row or mail of one as it is found."""

    def wholes() -> Iterator[tuple[Row, str, Document]]:
        records = (d for d in documents_of(corpus) if _whole_of(d.doc_id) == d.doc_id)
        parts = groupby(documents_of(files.corpus), key=lambda part: _whole_of(part.doc_id))
        joined_files = (
            _whole(file_id, list(passages)) for file_id, passages in parts if "#" not in file_id
        )
        for number, whole in enumerate(chain(joined_files, records), start=1):
            yield Row(Path(files.name), number, {}), whole.doc_id, whole

    return collect_documents(wholes(), Path(files.name))


def _whole(file_id: str, passages: Sequence[Document]) -> Document:
    title = passages[0].title.partition(" > ")[0]
    return Document(file_id, "\n\n".join(passage.text for passage in passages), title)


def _whole_of(doc_id: str) -> str:
    """Return the file of a passage; the passage itself where it is a row or a mail of the file."""
    passage = _FILE_PASSAGE.fullmatch(doc_id)
    if passage is None or passage["parent"].lower().endswith(OF_RECORDS):
        return doc_id
    return passage["parent"]
