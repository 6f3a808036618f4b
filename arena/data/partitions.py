"""Read corpora that are in several files, each of which a worker can read on its own.

A folder holds ``corpus-*.jsonl``, ``corpus-*.jsonl.gz`` or ``corpus-*.parquet`` instead of one
``corpus.jsonl``. Together the files are one corpus, whose ids are unique across all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from arena.data.corpus import collect_documents, corpus_hash
from arena.data.parquet_file import parquet_rows
from arena.data.rows import Row, documents, json_rows
from arena.errors import DataError
from arena.records import Document, Partition

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".parquet")
"""Kinds of files that may hold a part of a corpus."""

_COLUMNS: Final = ("_id", "id", "title", "text")


def partition_files(folder: Path) -> list[Path]:
    """Return the files ``corpus-*`` of a folder, by name; a .gz beside its original is ignored."""
    names = {path.name: path for path in folder.glob("corpus-*") if path.is_file()}
    return [
        path
        for name, path in sorted(names.items())
        if name.endswith(SUFFIXES) and name.removesuffix(".gz") not in names.keys() - {name}
    ]


def partition_rows(path: Path, remedy: str = "", notes: list[str] | None = None) -> Iterator[Row]:
    """Yield the rows of one file of a corpus.

    Raises:
        DataError: the file is missing or damaged, naming file and line.
        UsageError: it is a Parquet file, and pyarrow is not installed.
    """
    if path.suffix == ".parquet":
        yield from parquet_rows(path, _COLUMNS)
    else:
        yield from json_rows(path, remedy, notes)


def _local(path: str) -> Path:
    """Return this machine's file of a path, or its copy of an address in an object store."""
    if "://" not in path:
        return Path(path)
    from arena.data.object_store import copied  # noqa: PLC0415

    return copied(path)


def read_partition(partition: Partition) -> Mapping[str, Document]:
    """Read the documents of one partition.

    Raises:
        DataError: the file cannot be read, or no longer holds what it held.
        UsageError: as `partition_rows`.
    """
    path = _local(partition.path)
    missing = "every worker needs the corpus under the same path, on a disk that all share"
    corpus = collect_documents(documents(partition_rows(path, missing)), path)
    if corpus_hash(corpus) != partition.content:
        what = "holds other documents than when the run began"
        raise DataError(path, None, what, "run the same command again")
    return corpus
