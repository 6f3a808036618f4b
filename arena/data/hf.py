"""Hugging Face data sets in the layout of mteb's retrieval tasks, from the hub or from a folder.

Three configurations: ``corpus`` (_id, title, text), ``queries`` (_id, text) and ``default`` or
``qrels`` (query-id, corpus-id, score), the last with a table a split; data sets in several parts
have ``<part>-corpus`` and so on. Files are .parquet, .jsonl, .jsonl.gz or, for qrels, .tsv.

Source: Muennighoff et al., MTEB (EACL 2023, doi:10.18653/v1/2023.eacl-main.148), and its
RetrievalDatasetLoader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arena.data import hub
from arena.data.corpus_file import collect
from arena.data.extras import needed
from arena.data.hf_layout import choose_split, choose_table, find_tables
from arena.data.rows import Row, documents, json_rows, queries, row_id, unique
from arena.data.trec import Grade, check_qrels, grade_lines, whole_grade
from arena.errors import DataError
from arena.records import Dataset, Document, Qrels, Query

_ROWS_AT_ONCE: Final = 1024
"""Of a Parquet file in memory: a corpus of any size is read in the space of a few megabytes."""


@dataclass(frozen=True, slots=True)
class HfSource:
    """Which data set, and which part of it."""

    place: str  #: a folder, or the hub's ``owner/name``
    split: str = "test"
    subset: str | None = None
    revision: str | None = None


def load_hf(source: HfSource, name: str, *, corpus_alone: bool = False) -> Dataset:
    """Read a data set of mteb's layout.

    Queries that the split has no grade for belong to other splits, and are left aside and counted,
    as mteb does; all are kept where the data set has no qrels at all.

    Args:
        source: which data set.
        name: what configs, runs and battles call it.
        corpus_alone: whether to read neither queries nor qrels, since others take their place.

    Raises:
        DataError: naming file and row, or the hub and what it said.
        UsageError: a package is not installed.
    """
    folder, notes = _folder(source)
    tables = find_tables(folder)

    def files(kind: str) -> tuple[Path, ...]:
        splits = choose_table(tables, kind, source.subset, folder)
        where = f"{source.place} ({kind})"
        return choose_split(splits, source.split, where, only=kind != "qrels") if splits else ()

    # All of them are found before the first is read: a corpus can take minutes.
    kinds = ("corpus",) if corpus_alone else ("corpus", "queries", "qrels")
    found = {kind: files(kind) for kind in kinds}
    mended: list[str] = []
    rows = _rows(found["corpus"], ("_id", "id", "title", "text"), mended)
    corpus = collect(documents(rows), folder)
    if corpus_alone:
        return Dataset(name, corpus, {}, {}, (*notes, *mended))
    asked = unique(queries(_rows(found["queries"], ("_id", "id", "text"), mended)), folder)
    qrels, more = _qrels(found["qrels"], corpus, asked)
    notes += (*mended, *more)
    if qrels and (left_aside := len(asked) - len(qrels)):
        notes += (f"queries without a grade in split {source.split}, left aside: {left_aside}",)
        asked = {query_id: query for query_id, query in asked.items() if query_id in qrels}
    return Dataset(name, corpus, asked, qrels, notes)


def table_rows(source: HfSource, columns: Sequence[str]) -> tuple[Iterator[Row], tuple[str, ...]]:
    """The rows of a data set that is a single table, such as one of questions and answers.

    Returns:
        The rows, read as they are asked for, and what a reader of the results should know.

    Raises:
        DataError: there is no such table or split, or a file cannot be read.
    """
    folder, notes = _folder(source)
    tables = find_tables(folder)
    name = source.subset or ("default" if "default" in tables else next(iter(tables)))
    if name not in tables:
        what = f"no configuration {name!r} among {', '.join(sorted(tables))}"
        raise DataError(folder, None, what, "choose one of them with subset")
    where = f"{source.place} ({name})"
    return _rows(choose_split(tables[name], source.split, where, only=False), columns), notes


def _folder(source: HfSource) -> tuple[Path, tuple[str, ...]]:
    """The folder of the data set, fetched where it is on the hub."""
    if (folder := Path(source.place)).is_dir():
        return folder, ()
    snapshot = hub.fetch(source.place, source.revision, subset=source.subset)
    pinned = source.revision == snapshot.name
    note = f'fetched at revision = "{snapshot.name}", which pins it'
    return snapshot, () if pinned else (note,)


def _rows(
    paths: Sequence[Path], columns: Sequence[str], notes: list[str] | None = None
) -> Iterator[Row]:
    for path in paths:
        if path.name.endswith(".parquet"):
            yield from _parquet_rows(path, columns)
        else:
            yield from json_rows(path, notes=notes)


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    parquet = needed("pyarrow.parquet", str(path))
    arrow = needed("pyarrow", str(path))
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            known = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=known):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(path, number, fields)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"not readable as Parquet: {' '.join(str(error).split())}"
        raise DataError(path, number + 1, what, "fetch the file again") from None


def _qrels(
    paths: Sequence[Path], corpus: Mapping[str, Document], asked: Mapping[str, Query]
) -> tuple[Qrels, tuple[str, ...]]:
    if not paths:
        return {}, ()
    grades = (grade for path in paths for grade in _grades(path, asked))
    return check_qrels(grades, paths[0], corpus, asked)


def _grades(path: Path, asked: Mapping[str, Query]) -> Iterator[Grade]:
    if path.suffix == ".tsv":
        yield from grade_lines(path, asked)
        return
    for row in _rows([path], ("query-id", "corpus-id", "score")):
        query_id, doc_id = row_id(row, ("query-id",)), row_id(row, ("corpus-id",))
        grade = whole_grade(row.fields.get("score"), path, row.number)
        yield Grade(path, row.number, query_id, doc_id, grade)
