"""Read BEIR folders.

A folder holds ``corpus.jsonl`` (or its parts, ``corpus-*``), ``queries.jsonl`` and, if there are
relevance grades, ``qrels/test.tsv``. A mistake in them is an error that names the file, the line
and the remedy. Only blank lines are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from arena.data.corpus import CorpusFile, SmallCorpus, collect_documents
from arena.data.partitions import partition_files, partition_rows
from arena.data.qrels_file import read_qrels
from arena.data.rows import Row, documents, json_rows, queries, unique
from arena.errors import DataError
from arena.records import Dataset, Document, Partition, Qrels, Query

_LAYOUT = "a BEIR folder holds corpus.jsonl, queries.jsonl and, if any, qrels/test.tsv"


def load_beir(folder: Path, name: str, *, split: str | None = "test") -> Dataset:
    """Read a BEIR folder.

    Ids may be strings or integers (``5`` means ``"5"``). They hold no white space or control
    character, because TREC files cannot carry them. A document may lack a title, or any text at
    all; a query may not. Unknown fields are ignored.

    Args:
        folder: where ``corpus.jsonl`` is, or where the files ``corpus-*`` are (`partitions`).
        name: what configs, runs and battles call the data set.
        split: which of the folder's qrels to read; None for neither them nor the queries.

    Raises:
        DataError: naming file and line.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(folder, None, "no such folder", _LAYOUT)
    notes: list[str] = []
    corpus, partitions = _corpus(folder, notes)
    if split is None:
        return Dataset(name, corpus, {}, {}, tuple(notes), partitions=partitions)
    path = _present(folder / "queries.jsonl")
    asked = unique(queries(json_rows(path, _LAYOUT, notes)), path)
    qrels, more = _qrels(folder / "qrels", split, corpus, asked)
    return Dataset(name, corpus, asked, qrels, (*notes, *more), partitions=partitions)


def _corpus(
    folder: Path, notes: list[str]
) -> tuple[SmallCorpus | CorpusFile, tuple[Partition, ...]]:
    """Read the corpus of a folder, from one file or from several."""
    path, files = _present(folder / "corpus.jsonl"), partition_files(folder)
    if path.exists() or not files:
        if files:
            notes.append(f"{path.name} is the corpus; not read are {_several(files)}")
        return collect_documents(documents(json_rows(path, _LAYOUT, notes)), path), ()
    partitions: list[Partition] = []

    def rows() -> Iterator[Row]:
        for file in files:
            yield from partition_rows(file, notes=notes)

    return collect_documents(documents(rows()), folder, partitions=partitions), tuple(partitions)


def _several(files: Sequence[Path]) -> str:
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"{files[0].name}{more}"


def _present(path: Path) -> Path:
    """Return the file, or its compressed form if only that exists."""
    compressed = path.with_name(f"{path.name}.gz")
    return compressed if compressed.exists() and not path.exists() else path


def _qrels(
    folder: Path, split: str, corpus: Mapping[str, Document], queries: Mapping[str, Query]
) -> tuple[Qrels, tuple[str, ...]]:
    """Return the grades of a split with notes; none if the folder has no qrels at all."""
    path = folder / f"{split}.tsv"
    if path.exists():
        return read_qrels(path, corpus, queries)
    if folder.is_file():
        raise DataError(folder, None, "is a file", f"expected a folder that holds {split}.tsv")
    if others := sorted(other.stem for other in folder.glob("*.tsv")):
        remedy = f'choose one of them: split = "{others[0]}"'
        what = f"no such file, but the folder has qrels of other splits: {', '.join(others)}"
        raise DataError(path, None, what, remedy)
    return {}, ()
