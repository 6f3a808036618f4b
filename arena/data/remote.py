"""Load data sets from object stores, such as ``s3://bucket/folder``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arena.data.beir import load_beir
from arena.data.object_store import copied_folder
from arena.data.partitions import SUFFIXES
from arena.errors import DataError
from arena.progress import Reporter
from arena.records import Dataset


def load_remote(
    url: str, name: str, *, split: str | None = "test", reporter: Reporter | None = None
) -> Dataset:
    """Read a BEIR folder from an object store; errors name its files by their addresses.

    Args:
        url: of the folder: ``s3://bucket/folder``.
        name: what configs, runs and battles call the data set.
        split: which of the folder's qrels to read; None for neither them nor the queries.
        reporter: told how many files are copied.

    Raises:
        DataError: a file is not as it should be, or the store cannot be read.
        UsageError: the package for this store is not installed.
    """
    url = url.rstrip("/")
    folder = copied_folder(url, lambda file: _is_read(file, split), reporter)
    try:
        dataset = load_beir(folder, name, split=split)
    except DataError as error:
        where = error.path.replace(str(folder), url)
        raise DataError(where, error.line, error.what, error.remedy) from None
    partitions = tuple(
        replace(partition, path=f"{url}/{Path(partition.path).name}")
        for partition in dataset.partitions
    )
    return replace(dataset, partitions=partitions)


def _is_read(file: str, split: str | None) -> bool:
    """Return whether a file of the folder is one of a data set."""
    if split is not None and file.startswith("qrels/"):
        return file.endswith(".tsv")
    if split is not None and file in ("queries.jsonl", "queries.jsonl.gz"):
        return True
    return file.startswith(("corpus.", "corpus-")) and file.endswith(SUFFIXES) and "/" not in file
