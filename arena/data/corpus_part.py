"""Hold some documents of a corpus, and the facts about the whole of it.

Judges need no more than the documents that are shown. So a corpus of any size need not stay in
memory, or on the disk of each worker of a cluster, while they judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from arena.data.corpus import collect_documents, corpus_hash
from arena.data.documents.files import OF_RECORDS
from arena.data.passage_corpus import PassageCorpus
from arena.data.rows import Row
from arena.records import Document


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What a manifest states of a corpus, and what its passages are cut from."""

    content: str  #: the `corpus_hash` of the whole corpus
    n_documents: int  #: of the whole corpus
    n_files: int = 0  #: from how many files of documents they are; 0 for any other source
    cut: Literal["no", "documents", "files"] = "no"  #: what passages of models are cut from


class PartOfCorpus(Mapping[str, Document]):
    """doc_id → document, for some documents of a corpus.

    Args:
        documents: those that are held.
        facts: about the whole corpus.
    """

    def __init__(self, documents: Mapping[str, Document], facts: CorpusFacts) -> None:
        self._documents = documents
        self.facts = facts
        self.content = facts.content

    def __getitem__(self, doc_id: str) -> Document:
        return self._documents[doc_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._documents)

    def __len__(self) -> int:
        return len(self._documents)

    def values(self) -> ValuesView[Document]:
        """Return the documents that are held."""
        return self._documents.values()


def facts_of(corpus: Mapping[str, Document], *, of_files: bool = False) -> CorpusFacts:
    """Return the facts about a corpus, also where only a part of it is held.

    Args:
        corpus: the whole corpus, or what `part_of` returned.
        of_files: whether its documents are passages of files, which are counted.
    """
    searched = corpus.corpus if isinstance(corpus, PassageCorpus) else corpus
    if isinstance(searched, PartOfCorpus):
        return searched.facts
    n_files = len({_file_of(doc_id) for doc_id in searched}) if of_files else 0
    return CorpusFacts(corpus_hash(corpus), len(corpus), n_files, _cut(corpus))


def part_of(documents: Iterable[Document], facts: CorpusFacts) -> Mapping[str, Document]:
    """Return the corpus of which only some documents are held.

    Args:
        documents: each once; beyond some 200 MB they are in a temporary file.
        facts: about the whole corpus.

    Raises:
        WriteError: there is no room for the file.
    """
    here = Path("shown documents")
    rows = ((Row(here, number, {}), d.doc_id, d) for number, d in enumerate(documents, start=1))
    first = next(rows, None)
    held: Mapping[str, Document] = (
        {} if first is None else collect_documents(chain([first], rows), here)
    )
    part = PartOfCorpus(held, facts)
    if facts.cut == "no":
        return part
    return PassageCorpus(part, part if facts.cut == "documents" else {}, {})


def _cut(corpus: Mapping[str, Document]) -> Literal["no", "documents", "files"]:
    if not isinstance(corpus, PassageCorpus):
        return "no"
    return "documents" if corpus.wholes is corpus.corpus else "files"


def _file_of(doc_id: str) -> str:
    """Return the file of a passage, or the passage itself if the file holds many documents."""
    file = doc_id.rpartition("#")[0]
    return doc_id if file.lower().endswith(OF_RECORDS) else file
