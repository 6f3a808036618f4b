"""Load the public data sets of well-known leaderboards by name.

Names, revisions, splits and sizes are those of mteb's own task definitions
(https://github.com/embeddings-benchmark/mteb) and of the data sets' pages on the hub. Licences are
those that the authors declare. A size that none of them gives is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from arena.config.datasets import PublicName
from arena.data.huggingface import HfSource, load_hf, table_rows
from arena.data.rows import Row, row_id, row_text
from arena.digest import digest
from arena.errors import DataError
from arena.records import Dataset, Document, Query


@dataclass(frozen=True, slots=True)
class PublicSet:
    """A public data set on the Hugging Face hub."""

    repo: str  #: ``owner/name``
    split: str  #: whose queries are asked
    revision: str | None  #: the commit that is read; None for the newest
    form: Literal["mteb", "squad"]  #: its layout: retrieval tables, or questions about contexts
    language: str
    license: str  #: of the data, as its authors declare it; no legal advice
    n_documents: int | None
    n_queries: int  #: of the split
    citation: str


PUBLIC_SETS: Final[Mapping[PublicName, PublicSet]] = {
    "arcd": PublicSet(
        repo="hsseinmz/arcd",
        split="validation",
        revision=None,
        form="squad",
        language="Arabic",
        license="MIT",
        n_documents=None,
        n_queries=702,
        citation="Mozannar et al., Neural Arabic Question Answering (2019), arXiv:1906.05394",
    ),
    "msmarco": PublicSet(
        repo="mteb/msmarco",
        split="test",
        revision="c5a29a104738b98a9e76336939199e264163d4a0",
        form="mteb",
        language="English",
        license="non-commercial research",
        n_documents=8_841_823,
        n_queries=43,
        citation="Nguyen et al., MS MARCO (2016), arXiv:1611.09268; "
        "Craswell et al., TREC 2019 Deep Learning Track, arXiv:2003.07820",
    ),
    "fiqa": PublicSet(
        repo="mteb/fiqa",
        split="test",
        revision="27a168819829fe9bcd655c2df245fb19452e8e06",
        form="mteb",
        language="English",
        license="non-commercial use",
        n_documents=57_638,
        n_queries=648,
        citation="Maia et al., WWW'18 Open Challenge: Financial Opinion Mining and Question "
        "Answering (2018), doi:10.1145/3184558.3192301",
    ),
    "scifact": PublicSet(
        repo="mteb/scifact",
        split="test",
        revision="d56462d0e63a25450459c4f213e49ffdb866f7f9",
        form="mteb",
        language="English",
        license="CC BY-NC 2.0",
        n_documents=5_183,
        n_queries=300,
        citation="Wadden et al., Fact or Fiction (2020), doi:10.18653/v1/2020.emnlp-main.609",
    ),
    "norquad": PublicSet(
        repo="ltg/norquad",
        split="test",
        revision="be5b02011e6d8752797e75452732c36a3475b657",
        form="squad",
        language="Norwegian Bokmål",
        license="CC0-1.0",
        n_documents=None,
        n_queries=472,
        citation="Ivanova et al., NorQuAD (2023), https://aclanthology.org/2023.nodalida-1.17",
    ),
    "dbpedia": PublicSet(
        repo="mteb/dbpedia",
        split="test",
        revision="c0f706b76e590d620bd6618b3ca8efdd34e2d659",
        form="mteb",
        language="English",
        license="MIT",
        n_documents=4_635_922,
        n_queries=400,
        citation="Hasibi et al., DBpedia-Entity v2 (2017), doi:10.1145/3077136.3080751",
    ),
}
"""By the name that ``public = "..."`` has for it."""


def load_public(
    public: PublicName,
    name: str,
    *,
    split: str | None = None,
    revision: str | None = None,
    corpus_alone: bool = False,
) -> Dataset:
    """Read a public data set from the hub, or from the cache of the hub's library.

    Args:
        public: which.
        name: what configs, runs and battles call it.
        split: another one than the table's.
        revision: another one than the table's.
        corpus_alone: whether queries and qrels can be left unread, since others take their place.

    Raises:
        DataError: it cannot be fetched or read.
        UsageError: a package is not installed.
    """
    known = PUBLIC_SETS[public]
    source = HfSource(known.repo, split=split or known.split, revision=revision or known.revision)
    if known.form == "mteb":
        return load_hf(source, name, corpus_alone=corpus_alone)
    rows, notes = table_rows(source, COLUMNS)
    return replace(from_squad(rows, name), notes=notes)


COLUMNS: Final = ("id", "title", "context", "question")


def from_squad(rows: Iterable[Row], name: str) -> Dataset:
    """Make a data set of rows with ``id``, ``context``, ``question`` and perhaps ``title``.

    A document's id is a hash of its text: the same context has the same id in every split and
    order. A question without words is an error, and so is a repeated id.

    Raises:
        DataError: naming file and row.
    """
    corpus: dict[str, Document] = {}
    queries: dict[str, Query] = {}
    qrels: dict[str, dict[str, int]] = {}
    for row in rows:
        query_id, text = row_id(row, ("id",)), row_text(row, "context")
        question = row_text(row, "question").strip()
        if not question:
            what = f"question {query_id!r} has an empty text"
            raise DataError(row.path, row.number, what, "a query needs words")
        if query_id in queries:
            what = f"id {query_id!r} occurs twice"
            raise DataError(row.path, row.number, what, "ids must be unique")
        doc_id = f"c-{digest(text, size=8).hex()}"
        title = row.fields.get("title")
        corpus.setdefault(doc_id, Document(doc_id, text, title if isinstance(title, str) else ""))
        queries[query_id] = Query(query_id, question)
        qrels[query_id] = {doc_id: 1}
    return Dataset(name, corpus, queries, qrels)
