"""Read BEIR folders, sample their queries, and address their contents.

A folder holds ``corpus.jsonl``, ``queries.jsonl`` and, where there are relevance grades,
``qrels/test.tsv``. Whatever is wrong with them is an error that names the file, the line and
the remedy: nothing is skipped but blank lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from arena.data.corpus import collect, corpus_hash
from arena.data.rows import documents, json_rows, queries, unique
from arena.data.trec import read_qrels
from arena.errors import DataError
from arena.records import Dataset, Document, Qrels, Query

__all__ = ["corpus_hash", "load_beir", "qrels_hash", "queries_hash", "sample_queries"]

_LAYOUT = "a BEIR folder holds corpus.jsonl, queries.jsonl and, if any, qrels/test.tsv"


def load_beir(folder: Path, name: str, *, split: str | None = "test") -> Dataset:
    """Read a BEIR folder.

    Ids may be strings or integers (``5`` means ``"5"``), but hold no white space or control
    character, because no TREC file could carry them. A document may lack a title, or any text
    at all; a query may not. Unknown fields are ignored.

    Args:
        folder: where ``corpus.jsonl`` is.
        name: what configs, runs and battles call the data set.
        split: which of the folder's qrels to read; None for neither them nor the queries.

    Raises:
        DataError: naming file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, None, "no such folder", _LAYOUT)
    path = _present(folder / "corpus.jsonl")
    notes: list[str] = []
    corpus = collect(documents(json_rows(path, _LAYOUT, notes)), path)
    if split is None:
        return Dataset(name, corpus, {}, {}, tuple(notes))
    path = _present(folder / "queries.jsonl")
    asked = unique(queries(json_rows(path, _LAYOUT, notes)), path)
    qrels, more = _qrels(folder / "qrels", split, corpus, asked)
    return Dataset(name, corpus, asked, qrels, (*notes, *more))


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


def _present(path: Path) -> Path:
    """The file, or its compressed form where that alone is there."""
    compressed = path.with_name(f"{path.name}.gz")
    return compressed if compressed.exists() and not path.exists() else path


def _qrels(
    folder: Path, split: str, corpus: Mapping[str, Document], queries: Mapping[str, Query]
) -> tuple[Qrels, tuple[str, ...]]:
    path = folder / f"{split}.tsv"
    if path.exists():
        return read_qrels(path, corpus, queries)
    if folder.is_file():
        raise DataError(folder, None, "is a file", f"expected a folder that holds {split}.tsv")
    if others := sorted(other.stem for other in folder.glob("*.tsv")):
        remedy = f'choose one of them: split = "{others[0]}"'
        what = f"no such file, but qrels of other splits are beside it: {', '.join(others)}"
        raise DataError(path, None, what, remedy)
    return {}, ()


def _digest(fields: Iterable[str]) -> hashlib.blake2b:
    """Hash fields with their lengths, so that no two sequences of them look alike."""
    digest = hashlib.blake2b(digest_size=16)
    for field in fields:
        raw = field.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest
