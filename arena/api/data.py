"""Data sets for a notebook: load them by a short address, or build them from plain dicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from arena.api.arguments import checked_keywords, path_of
from arena.api.frames import Table, rows_in
from arena.config import DatasetConfig
from arena.data.corpus import collect_documents
from arena.data.load import load_dataset as load_configured
from arena.data.partitions import partition_files
from arena.data.qrels_file import check_qrels, relevance_grade, row_grade
from arena.data.rows import Row, documents, queries, unique
from arena.errors import DataError, UsageError
from arena.progress import reporter
from arena.records import Dataset as PlainDataset
from arena.records import Document, Qrels, Query

Source = str | Path | Mapping[str, Any] | DatasetConfig
"""A folder, ``hf:owner/name``, ``public:name``, ``builtin:python``, or a section of arena.toml."""

Rows = Iterable[Any]
"""Rows of a table, as `datasets.Dataset` gives them."""

T = TypeVar("T")

_PREFIXES: Final = ("hf", "public", "builtin")


class Dataset(PlainDataset):
    """A corpus, its queries, and optionally relevance grades.

    >>> Dataset({"d1": "A cat."}, {"q1": "Which animal?"}, {"q1": {"d1": 1}}, name="zoo")
    Dataset('zoo': 1 documents, 1 queries, grades for 1)

    Instead of a dict each part may be rows: a list of dicts, a DataFrame of pandas or polars, or a
    table of the library `datasets`, also a streamed one. Rows have the columns of mteb's
    retrieval tasks.

    Args:
        corpus: doc_id → text, `Document`, or a dict with ``text`` and, if you like, ``title``; or
            rows with ``_id``, ``text`` and perhaps ``title``.
        queries: query_id → text or `Query`; or rows with ``_id`` and ``text``.
        qrels: query_id → doc_id → grade; zero and negative grades are not relevant. Or rows with
            ``query-id``, ``corpus-id`` and ``score``; grades of other queries are left out.
        name: the word that runs and battles use for the data set.
        notes: what a reader of the results should know.

    Attributes:
        from_clicks: whether the grades are clicks of users.
        partitions: the files of its corpus; empty if it is one.

    Raises:
        DataError: an id is not usable in a TREC file, a text is not a string, or a grade is about
            an unknown query or document.
    """

    __slots__ = ()

    def __init__(
        self,
        corpus: Mapping[Any, Any] | Rows | Table,
        queries: Mapping[Any, Any] | Rows | Table,
        qrels: Mapping[Any, Mapping[Any, float]] | Rows | Table | None = None,
        *,
        name: str = "data",
        notes: tuple[str, ...] = (),
    ) -> None:
        known_documents, known_queries = _corpus(rows_in(corpus)), _queries(rows_in(queries))
        checked_keywords(DatasetConfig, {"name": name, "path": "."}, "arena.Dataset")
        given = {} if qrels is None else rows_in(qrels)
        grades, more = _qrels(given, known_documents, known_queries)
        super().__init__(name, known_documents, known_queries, grades, (*notes, *more))

    @classmethod
    def of(cls, dataset: PlainDataset) -> Self:
        """Return a loaded data set as this type, without a second check."""
        made = cls.__new__(cls)
        PlainDataset.__init__(
            made,
            dataset.name,
            dataset.corpus,
            dataset.queries,
            dataset.qrels,
            dataset.notes,
            dataset.from_clicks,
            dataset.partitions,
        )
        return made

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}: {len(self.corpus):,} documents, "
            f"{len(self.queries):,} queries, grades for {len(self.qrels):,})"
        )


def load_dataset(
    source: Source, name: str | None = None, *, progress: bool = False, **settings: Any
) -> Dataset:
    """Load a data set.

    Args:
        source: a BEIR folder (corpus.jsonl, queries.jsonl, qrels/test.tsv), or a folder of
            documents together with ``queries=``; ``hf:owner/name`` of the Hugging Face hub,
            ``public:name`` or ``builtin:python``; or a ``[[datasets]]`` section of an arena.toml as
            a dict.
        name: the word that runs and battles use for it; made of the source if absent.
        progress: show on stderr how far the loading is.
        settings: further keys of a ``[[datasets]]`` section, such as ``split`` and ``queries``.

    Returns:
        The data set, checked as a whole.

    Raises:
        ConfigError: a setting is unknown or has a wrong value.
        DataError: a file cannot be read; names file and line.
    """
    config = source if isinstance(source, DatasetConfig) else None
    if config is None or name is not None or settings:
        config = checked_keywords(DatasetConfig, _section(source, name, settings), "load_dataset")
    config = config.anchored(Path.cwd())
    return Dataset.of(load_configured(config, reporter(quiet=not progress)))


def _section(source: Source, name: str | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(source, DatasetConfig):
        section = source.model_dump(exclude_unset=True)
    elif isinstance(source, Mapping):
        section = dict(source)
    else:
        section = _addressed(source, settings)
    section = {**section, **settings}
    given = next((section[key] for key in ("path", "documents", "hf") if section.get(key)), "data")
    section["name"] = name or section.get("name") or name_of(str(given))
    return {key: str(v) if isinstance(v, Path) else v for key, v in section.items()}


def _addressed(source: str | Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    prefix, _, rest = str(source).partition(":")
    if isinstance(source, str) and prefix in _PREFIXES and rest:
        return {prefix: rest} if prefix == "hf" else {prefix: rest, "name": rest}
    if "://" in str(source):
        return {"path": str(source)}
    folder = path_of(source, "load_dataset")
    if not folder.is_dir():
        raise UsageError(
            f"load_dataset: {folder}: no such folder; give a folder, or "
            '"hf:owner/name" for a data set of the Hugging Face hub'
        )
    is_beir = any((folder / name).exists() for name in ("corpus.jsonl", "corpus.jsonl.gz"))
    is_beir = is_beir or bool(partition_files(folder))
    return {"path" if is_beir or "queries" not in settings else "documents": str(folder)}


def name_of(source: str) -> str:
    """Return a name for a source: ``hf:mteb/scifact`` → ``scifact``."""
    last = Path(source).expanduser().resolve().name
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "data"


def _corpus(corpus: Mapping[Any, Any] | Rows) -> Mapping[str, Document]:
    if isinstance(corpus, Mapping) and type(corpus) is not dict and _holds(corpus, Document):
        return corpus  # The loader has checked it; a second pass over a large corpus takes long.
    rows = _rows(corpus, "corpus", Document, "doc_id")
    if not isinstance(corpus, Mapping):
        return collect_documents(documents(rows), Path("corpus"))  # which may go into a file
    return _not_empty({doc_id: doc for _, doc_id, doc in documents(rows)}, "corpus")


def _queries(given: Mapping[Any, Any] | Rows) -> dict[str, Query]:
    rows = _rows(given, "queries", Query, "query_id")
    if not isinstance(given, Mapping):
        return unique(queries(rows), Path("queries"))
    return _not_empty({query_id: query for _, query_id, query in queries(rows)}, "queries")


def _rows(given: object, name: str, kind: type, id_name: str) -> Iterator[Row]:
    if not isinstance(given, Mapping):
        yield from _table(given, name, f"a dict of {id_name} → text")
        return
    for number, (key, value) in enumerate(given.items(), start=1):
        if isinstance(value, kind):
            if str(key) != getattr(value, id_name):
                told = f"{key!r} → {getattr(value, id_name)!r}"
                raise DataError(name, number, f"two ids for one: {told}", "give the same id twice")
            fields: dict[str, Any] = {"text": value.text, "title": getattr(value, "title", "")}  # type: ignore[attr-defined]
        elif isinstance(value, Mapping):
            fields = dict(value)
        else:
            fields = {"text": value}
        yield Row(Path(name), number, {**fields, "_id": key})


def _table(given: object, name: str, expected: str) -> Iterator[Row]:
    """Yield the rows of something that is no dict.

    Raises:
        DataError: it holds no rows.
    """
    remedy = f"expected {expected}, a DataFrame, or rows that are dicts"
    if not isinstance(given, Iterable):
        raise DataError(name, None, f"is of type {type(given).__name__}", remedy)
    for number, fields in enumerate(given, start=1):
        if not isinstance(fields, Mapping):
            raise DataError(name, number, f"is of type {type(fields).__name__}", remedy)
        yield Row(Path(name), number, fields)


def _qrels(
    given: Mapping[Any, Mapping[Any, float]] | Rows,
    corpus: Mapping[str, Document],
    queries: Mapping[str, Query],
) -> tuple[Qrels, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        rows = _table(given, "qrels", "a dict of query_id → doc_id → grade")
        return check_qrels(map(row_grade, rows), Path("qrels"), corpus, queries)
    qrels: dict[str, dict[str, float]] = {}
    for number, (query_id, grades) in enumerate(given.items(), start=1):
        if str(query_id) not in queries:
            raise DataError("qrels", number, f"unknown query {query_id!r}", "see queries")
        if not isinstance(grades, Mapping):
            what = f"the grades of query {query_id!r} are of type {type(grades).__name__}"
            raise DataError("qrels", number, what, "expected a dict of doc_id → grade")
        for doc_id, grade in grades.items():
            if str(doc_id) not in corpus:
                raise DataError("qrels", number, f"unknown document {doc_id!r}", "see corpus")
            value = relevance_grade(grade, Path("qrels"), number)
            qrels.setdefault(str(query_id), {})[str(doc_id)] = value
    return qrels, ()


def _holds(items: Mapping[Any, Any], kind: type) -> bool:
    return isinstance(next(iter(items.values()), None), kind)


def _not_empty(items: dict[str, T], what: str) -> dict[str, T]:
    if not items:
        raise DataError(what, None, "is empty", "expected at least one entry: id → text")
    return items
