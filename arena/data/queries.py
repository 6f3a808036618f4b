"""Read your own queries from a text file, a CSV file or a queries.jsonl.

In a file without ids, a query's id is a hash of its text. The same question has the same id in
every file and order, so its battles are reused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from arena.data.csv_file import csv_records
from arena.data.qrels_file import are_from_clicks, read_qrels
from arena.data.rows import Row, json_rows, numbered_lines, row_id, row_text
from arena.digest import digest
from arena.errors import DataError
from arena.records import Dataset, Query
from arena.terminal import shortened

TEXT_COLUMNS: Final = ("query", "text", "question")
ID_COLUMNS: Final = ("query_id", "query-id", "_id", "id", "qid")
_MISSING = 'see queries = "..." in arena.toml; `arena queries` can write some'
_FORMATS = "expected .txt (one a line), .csv, .tsv, .jsonl or .jsonl.gz"


def read_queries(path: Path) -> tuple[dict[str, Query], tuple[str, ...]]:
    """Read queries: .txt has one a line, .csv and .tsv a header, .jsonl the fields of BEIR.

    Returns:
        query_id → query in the file's order, and a note where a query is there more than once.

    Raises:
        DataError: an id belongs to two texts, or the file cannot be read as what its name says.
    """
    by_id: dict[str, Query] = {}
    repeated, repaired = 0, list[str]()
    for line, query in _queries(path, repaired):
        known = by_id.setdefault(query.query_id, query)
        if known.text.split() != query.text.split():
            what = f"_id {query.query_id!r} occurs twice, with another text"
            raise DataError(path, line, what, "ids must be unique")
        repeated += known is not query
    if not by_id:
        raise DataError(path, None, "holds no query", _FORMATS)
    times = "line repeats an earlier one" if repeated == 1 else "lines repeat earlier ones"
    notes = (f"{path.name}: {repeated} {times}, and counts once",) if repeated else ()
    return by_id, (*notes, *repaired)


def with_own(dataset: Dataset, *, queries: Path | None, qrels: Path | None) -> Dataset:
    """Return the data set with other queries, other qrels or both.

    Other queries lose the grades of the old ones; give ``qrels`` too to have some.

    Raises:
        DataError: a file cannot be read, naming file and line.
    """
    notes = dataset.notes
    if queries is not None:
        asked, more = read_queries(queries)
        notes += more
        dataset = replace(dataset, queries=asked, qrels={}, from_clicks=False)
    if qrels is not None:
        grades, more = read_qrels(qrels, dataset.corpus, dataset.queries)
        notes += more
        from_clicks = are_from_clicks(qrels)
        if from_clicks:
            notes += (f"{qrels.name}: grades are from clicks, which favour what was shown first",)
        dataset = replace(dataset, qrels=grades, from_clicks=from_clicks)
    return replace(dataset, notes=notes)


def query_id_of(text: str) -> str:
    """Return the id of a query without one: a hash of its words, not of the space around them."""
    return f"q-{digest(' '.join(text.split()), size=8).hex()}"


def _queries(path: Path, notes: list[str]) -> Iterator[tuple[int, Query]]:
    """Yield line and query of a file, read by what its name says."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if path.is_dir():
        raise DataError(path, None, "is a folder", _FORMATS)
    if suffixes[-1:] == [".txt"]:
        for line, text in numbered_lines(path, _MISSING):
            yield line, Query(query_id_of(text), text.strip())
    elif suffixes[-1:] in ([".csv"], [".tsv"]):
        for row in _table(path):
            yield row.number, _query(row)
    elif suffixes[-1:] == [".jsonl"] or suffixes[-2:] == [".jsonl", ".gz"]:
        for row in json_rows(path, _MISSING, notes):
            yield row.number, _query(row)
    else:
        raise DataError(path, None, f"queries cannot be read from {path.suffix!r}", _FORMATS)


def _query(row: Row) -> Query:
    text = row_text(row, "text").strip()
    if not text:
        remedy = "a query needs words; delete the line or complete it"
        raise DataError(row.path, row.number, "a query has an empty text", remedy)
    has_id = any(row.fields.get(key) not in (None, "") for key in ("_id", "id"))
    return Query(row_id(row) if has_id else query_id_of(text), text)


def _table(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file with columns called ``text`` and, if it has ids, ``_id``."""
    records = csv_records(path, {*TEXT_COLUMNS, *ID_COLUMNS}, _MISSING)
    line, cells = next(records, (0, []))
    header = [cell.lower() for cell in cells]
    if header and not any(name in header for name in TEXT_COLUMNS):
        shown = shortened(", ".join(cells), 80)
        what = f"no column is called {', '.join(TEXT_COLUMNS[:-1])} or {TEXT_COLUMNS[-1]}"
        what += f"; the first line is {shown!r}"
        raise DataError(path, line, what, "name one of them so")
    for line, cells in records:
        yield Row(path, line, _named(header, cells))


def _named(header: list[str], cells: list[str]) -> Mapping[str, object]:
    row = dict(zip(header, cells, strict=True))
    text = next(row[name] for name in TEXT_COLUMNS if name in row)
    query_id = next((row[name].strip() for name in ID_COLUMNS if name in row), "")
    return {"text": text, "_id": query_id}
