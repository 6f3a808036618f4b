"""Read BEIR folders, sample their queries, and address their contents.

A folder holds ``corpus.jsonl``, ``queries.jsonl`` and, where there are relevance grades,
``qrels/test.tsv``. Whatever is wrong with them is an error that names the file, the line and
the remedy: nothing is skipped but blank lines.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import orjson

from arena.data.trec import numbered_lines, read_qrels
from arena.errors import DataError
from arena.records import Dataset, Document, Qrels, Query

T = TypeVar("T")

_LAYOUT = "a BEIR folder holds corpus.jsonl, queries.jsonl and, if any, qrels/test.tsv"


def load_beir(folder: Path, name: str) -> Dataset:
    """Read a BEIR folder.

    Ids may be strings or integers (``5`` means ``"5"``), but hold no white space or control
    character, because no TREC file could carry them. A document may lack a title, or any text
    at all; a query may not. Unknown fields are ignored.

    Args:
        folder: where ``corpus.jsonl`` is.
        name: what configs, runs and battles call the data set.

    Raises:
        DataError: naming file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, None, "no such folder", _LAYOUT)
    corpus = _unique(_documents(folder / "corpus.jsonl"), folder / "corpus.jsonl")
    queries = _unique(_queries(folder / "queries.jsonl"), folder / "queries.jsonl")
    qrels, notes = _qrels(folder / "qrels" / "test.tsv", corpus, queries)
    return Dataset(name, corpus, queries, qrels, notes)


def sample_queries(dataset: Dataset, n: int | None, seed: int) -> tuple[str, ...]:
    """The first ``n`` query_ids of a permutation that only the seed and the names decide.

    A larger sample contains every smaller one, the order of the file plays no part, and a new
    query moves no other. Queries with relevance grades come before those without, so that as
    many battles as possible have metrics beside them. All queries where ``n`` is None.
    """

    def place(query_id: str) -> tuple[bool, bytes, str]:
        key = _digest([str(seed), dataset.name, query_id]).digest()
        return query_id not in dataset.qrels, key, query_id

    return tuple(sorted(dataset.queries, key=place)[:n])


def corpus_hash(corpus: Mapping[str, Document]) -> str:
    """Address a corpus by the ids, titles and texts in it, whatever their order."""
    return _digest(
        field
        for doc_id in sorted(corpus)
        for field in (doc_id, corpus[doc_id].title, corpus[doc_id].text)
    ).hexdigest()


def queries_hash(dataset: Dataset, query_ids: Sequence[str]) -> str:
    """Address some queries by their ids and texts, whatever their order."""
    return _digest(
        field
        for query_id in sorted(query_ids)
        for field in (query_id, dataset.queries[query_id].text)
    ).hexdigest()


def qrels_hash(qrels: Qrels) -> str:
    """Address relevance grades, whatever their order."""
    return _digest(
        field
        for query_id, grades in sorted(qrels.items())
        for doc_id, grade in sorted(grades.items())
        for field in (query_id, doc_id, str(grade))
    ).hexdigest()


def _documents(path: Path) -> Iterator[tuple[int, str, Document]]:
    for line, row in _objects(path):
        doc_id = _id(row, path, line)
        text = _text(row, "text", path, line)
        title = "" if row.get("title") is None else _text(row, "title", path, line)
        yield line, doc_id, Document(doc_id, text, title)


def _queries(path: Path) -> Iterator[tuple[int, str, Query]]:
    for line, row in _objects(path):
        query_id = _id(row, path, line)
        text = _text(row, "text", path, line)
        if not text.strip():
            remedy = "a query needs words; delete the line or complete it"
            raise DataError(path, line, f"query {query_id!r} has an empty text", remedy)
        yield line, query_id, Query(query_id, text)


def _qrels(
    path: Path, corpus: Mapping[str, Document], queries: Mapping[str, Query]
) -> tuple[Qrels, tuple[str, ...]]:
    if path.exists():
        return read_qrels(path, corpus, queries)
    if others := sorted(path.parent.glob("*.tsv")):
        remedy = f"copy {others[0].name} to test.tsv, if those are the grades you mean"
        raise DataError(path, None, "no such file, but other qrels are beside it", remedy)
    return {}, ()


def _unique(items: Iterable[tuple[int, str, T]], path: Path) -> dict[str, T]:
    found: dict[str, T] = {}
    for line, item_id, item in items:
        if found.setdefault(item_id, item) is not item:
            raise DataError(path, line, f"_id {item_id!r} occurs twice", "ids must be unique")
    if not found:
        raise DataError(path, None, "is empty", "expected one JSON object a line: _id, text")
    return found


def _objects(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Line number and JSON object of every line that is not blank."""
    for line, text in numbered_lines(path, _LAYOUT):
        try:
            row = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            what = f"not valid JSON: {error.msg} at column {error.colno}"
            raise DataError(path, line, what, "expected one object a line: _id, text") from None
        if not isinstance(row, dict):
            raise DataError(path, line, "not a JSON object", 'expected {"_id": ..., "text": ...}')
        yield line, row


def _id(row: Mapping[str, object], path: Path, line: int) -> str:
    found = row.get("_id")
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if found is None:
        raise DataError(path, line, 'missing "_id"', "expected BEIR fields _id, text")
    if not isinstance(found, str) or not found:
        raise DataError(path, line, f"_id {_shown(found)}", "expected a string that is not empty")
    if any(c.isspace() or unicodedata.category(c) == "Cc" for c in found):
        remedy = "TREC files cannot hold white space or control characters in ids; use _ instead"
        raise DataError(path, line, f"_id {_shown(found)}", remedy)
    return found


def _text(row: Mapping[str, object], key: str, path: Path, line: int) -> str:
    if key not in row:
        raise DataError(path, line, f'missing "{key}"', "expected BEIR fields _id, text")
    found = row[key]
    if not isinstance(found, str):
        raise DataError(path, line, f'"{key}" is {_shown(found)}', "expected a string")
    return found


def _shown(value: object) -> str:
    """A value of any size, fit for an error's one line."""
    words = repr(value)
    return words if len(words) <= 80 else words[:79] + "…"


def _digest(fields: Iterable[str]) -> hashlib.blake2b:
    """Hash fields with their lengths, so that no two sequences of them look alike."""
    digest = hashlib.blake2b(digest_size=16)
    for field in fields:
        raw = field.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest
