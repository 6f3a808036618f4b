"""Read Hugging Face data sets in the layout of mteb's retrieval tasks, from the hub or a folder.

There are three configurations. ``corpus`` has _id, title, text. ``queries`` has _id, text.
``default`` or ``qrels`` has query-id, corpus-id, score, with a table for each split. Data sets in
several parts have ``<part>-corpus`` and so on. Files are Parquet, JSON lines, CSV, TSV, or the
Arrow files of the library `datasets`.

`datasets` reads the Arrow files alone. It turns the text "2020-01-01" of a JSON file into a
moment, the id 0012 of a CSV file into 12.0 and the title NA into nothing. Its streams of Parquet
take eight times the processor time, hold a whole row group in memory, and tell no row of an error.

Source: Muennighoff et al., MTEB (EACL 2023, doi:10.18653/v1/2023.eacl-main.148), and its
RetrievalDatasetLoader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arena.data.corpus import collect_documents
from arena.data.csv_file import csv_records
from arena.data.hub_download import fetch_dataset
from arena.data.huggingface_splits import Tables, choose_split, choose_table, find_tables
from arena.data.parquet_file import ROWS_AT_ONCE, parquet_rows, rows_of_batches
from arena.data.qrels_file import GradeLine, check_qrels, grade_lines, row_grade
from arena.data.rows import Row, documents, json_rows, queries, unique
from arena.errors import DataError
from arena.optional import needed
from arena.records import Dataset, Document, Qrels, Query


@dataclass(frozen=True, slots=True)
class HfSource:
    """Which data set, and which part of it."""

    place: str  #: a folder, or the hub's ``owner/name``
    split: str = "test"
    subset: str | None = None
    revision: str | None = None


def load_hf(source: HfSource, name: str, *, corpus_alone: bool = False) -> Dataset:
    """Read a data set of mteb's layout.

    Queries without a grade in the split belong to other splits. arena leaves them out and counts
    them, as mteb does. It keeps all queries if the data set has no qrels.

    Args:
        source: which data set.
        name: what configs, runs and battles call it.
        corpus_alone: whether to read neither queries nor qrels, since others take their place.

    Raises:
        DataError: naming file and row, or the hub and what it said.
        UsageError: a package is not installed.
    """
    folder, tables, notes = _tables(source)

    def files(kind: str) -> tuple[Path, ...]:
        splits = choose_table(tables, kind, source.subset, folder)
        where = f"{source.place} ({kind})"
        return choose_split(splits, source.split, where, only=kind != "qrels") if splits else ()

    # All of them are found before the first is read: a corpus can take minutes.
    kinds = ("corpus",) if corpus_alone else ("corpus", "queries", "qrels")
    paths = {kind: files(kind) for kind in kinds}
    repaired: list[str] = []
    rows = _rows(paths["corpus"], ("_id", "id", "title", "text"), repaired)
    corpus = collect_documents(documents(rows), folder)
    if corpus_alone:
        return Dataset(name, corpus, {}, {}, (*notes, *repaired))
    dataset_queries = unique(
        queries(_rows(paths["queries"], ("_id", "id", "text"), repaired)), folder
    )
    qrels, more = _qrels(paths["qrels"], corpus, dataset_queries)
    notes += (*repaired, *more)
    if qrels and (left_aside := len(dataset_queries) - len(qrels)):
        notes += (f"queries without a grade in split {source.split}, ignored: {left_aside}",)
        dataset_queries = {
            query_id: query for query_id, query in dataset_queries.items() if query_id in qrels
        }
    return Dataset(name, corpus, dataset_queries, qrels, notes)


def table_rows(source: HfSource, columns: Sequence[str]) -> tuple[Iterator[Row], tuple[str, ...]]:
    """Return the rows of a single-table data set, such as one of questions and answers.

    Returns:
        The rows, read as they are asked for, and what a reader of the results should know.

    Raises:
        DataError: there is no such table or split, or a file cannot be read.
    """
    folder, tables, notes = _tables(source)
    name = source.subset or ("default" if "default" in tables else next(iter(tables)))
    if name not in tables:
        what = f"no configuration {name!r} among {', '.join(sorted(tables))}"
        raise DataError(folder, None, what, "choose one of them with subset")
    where = f"{source.place} ({name})"
    return _rows(choose_split(tables[name], source.split, where, only=False), columns), notes


_CONVERTED: Final = "refs/convert/parquet"
"""The branch on which the hub keeps Parquet copies of what scripts and other files hold."""


def _tables(source: HfSource) -> tuple[Path, Tables, tuple[str, ...]]:
    """Return the folder of the data set with its tables; fetch it if it is on the hub."""
    if (folder := Path(source.place)).is_dir():
        return folder, find_tables(folder), ()
    snapshot = fetch_dataset(source.place, source.revision, subset=source.subset)
    remedy = "" if source.revision else f'; or try revision = "{_CONVERTED}"'
    tables = find_tables(snapshot, remedy)
    pinned = source.revision == snapshot.name
    note = f'fetched at revision = "{snapshot.name}", which pins it'
    return snapshot, tables, () if pinned else (note,)


def _rows(
    paths: Sequence[Path], columns: Sequence[str], notes: list[str] | None = None
) -> Iterator[Row]:
    """Yield the rows of files of any form, with those of some columns that they have."""
    for path in paths:
        if path.suffix == ".parquet":
            yield from parquet_rows(path, columns)
        elif path.suffix == ".arrow":
            yield from _arrow_rows(path, columns)
        elif path.suffix in (".csv", ".tsv"):
            yield from _csv_rows(path, columns)
        else:
            yield from json_rows(path, notes=notes)


def _arrow_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a file of ``save_to_disk``, mapped into memory and never copied whole."""
    datasets = needed("datasets", str(path))

    def batches() -> Iterator[Any]:
        table = datasets.Dataset.from_file(str(path))
        present = [name for name in columns if name in table.column_names]
        yield from table.select_columns(present).with_format("arrow").iter(ROWS_AT_ONCE)

    yield from rows_of_batches(path, batches(), form="Arrow", remedy="save the data set again")


def _csv_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    records = csv_records(path, columns)
    _, header = next(records, (1, []))
    for line, cells in records:
        yield Row(path, line, dict(zip(header, cells, strict=True)))


def _qrels(
    paths: Sequence[Path], corpus: Mapping[str, Document], dataset_queries: Mapping[str, Query]
) -> tuple[Qrels, tuple[str, ...]]:
    if not paths:
        return {}, ()
    grades = (grade for path in paths for grade in _grades(path, dataset_queries))
    return check_qrels(grades, paths[0], corpus, dataset_queries)


def _grades(path: Path, dataset_queries: Mapping[str, Query]) -> Iterator[GradeLine]:
    if path.suffix == ".tsv":
        yield from grade_lines(path, dataset_queries)
        return
    yield from map(row_grade, _rows([path], ("query-id", "corpus-id", "score")))
