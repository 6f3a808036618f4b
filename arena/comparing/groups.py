"""Kinds of queries: by data set, length, script, and any column that the user has."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from arena.data.csv_file import csv_records
from arena.data.rows import json_rows, row_id
from arena.errors import DataError, UsageError
from arena.terminal import count

Query = tuple[str, str]
"""Data set and query_id."""

Groups = Mapping[str, Mapping[Query, str]]
"""Column → query → the group that the query is in."""

MOST_GROUPS: Final = 12
"""A column with more different values groups nothing; numbers are cut into three parts."""

_QUERY_COLUMNS: Final = ("query_id", "_id", "id", "qid")
_NOT_GROUPS: Final = frozenset((*_QUERY_COLUMNS, "dataset", "text", "query", "title", "metadata"))


def groups_of_texts(texts: Mapping[Query, str]) -> dict[str, dict[Query, str]]:
    """Group queries by their length in words and by the script that they are written in."""
    scripts = {query: script_of(text) for query, text in texts.items()}
    return {"length": by_length(texts), "script": scripts}


def by_length(texts: Mapping[Query, str]) -> dict[Query, str]:
    """Cut queries into short, medium and long ones, about a third each."""
    words = {query: len(text.split()) for query, text in texts.items()}
    return _thirds(words, ("short", "medium", "long"), "words")


def script_of(text: str) -> str:
    """Return the script of most letters of a text, as Unicode names it: Latin, Arabic, Cjk ..."""
    names = (unicodedata.name(letter, "") for letter in text if letter.isalpha())
    counted = Counter(name.split(" ")[0].split("-")[0] for name in names if name)
    return counted.most_common(1)[0][0].capitalize() if counted else "no letters"


def read_groups(
    path: Path, queries: Iterable[Query]
) -> tuple[dict[str, dict[Query, str]], list[str]]:
    """Read columns of queries from a CSV, TSV or JSONL file, such as a BEIR queries.jsonl.

    Args:
        path: a file with a column query_id (or _id) and, if ids are not unique, dataset.
        queries: those that matter.

    Returns:
        Column → query → group, and notes on columns that group nothing.

    Raises:
        DataError: the file cannot be read, or a row has no query id.
        UsageError: no row is about one of the queries.
    """
    values = _values(path, queries)
    if not values:
        raise UsageError(f"{path}: no row has the query_id of a query that was compared")
    groups, notes = {}, []
    for column, known in values.items():
        n_values = len(set(known.values()))
        if n_values <= MOST_GROUPS:
            groups[column] = known
        elif (numbers := _numbers(known)) is not None:
            groups[column] = _thirds(numbers, ("low", "medium", "high"), "")
        else:
            notes.append(f"{path.name}: column {column!r} has {n_values:,} values: no groups")
    return groups, notes


def _values(path: Path, queries: Iterable[Query]) -> dict[str, dict[Query, str]]:
    """Return the cells of each column, by query; empty ones are left out."""
    by_dataset: dict[str, list[Query]] = defaultdict(list)
    for query in queries:
        by_dataset[query[1]].append(query)
    values: dict[str, dict[Query, str]] = {}
    for query_id, fields in _rows(path):
        dataset = fields.get("dataset")
        about = [query for query in by_dataset.get(query_id, ()) if dataset in (None, query[0])]
        for column in fields.keys() - _NOT_GROUPS if about else ():
            known = values.setdefault(column, {})
            if fields[column] != "":
                known |= dict.fromkeys(about, fields[column])
    return values


def _rows(path: Path) -> Iterable[tuple[str, dict[str, str]]]:
    """Yield the query id and the cells of each row, as text."""
    if path.name.removesuffix(".gz").endswith((".jsonl", ".json", ".ndjson")):
        for row in json_rows(path):
            fields = dict(row.fields)
            metadata = fields.pop("metadata", None)
            if isinstance(metadata, dict):
                fields = {**metadata, **fields}
            yield (
                row_id(row, _QUERY_COLUMNS),
                {k: str(v) for k, v in fields.items() if isinstance(v, str | int | float)},
            )
        return
    records = csv_records(path, _QUERY_COLUMNS, "give a CSV or JSONL file with query_id")
    _, header = next(iter(records), (1, []))
    id_column = next((header.index(name) for name in _QUERY_COLUMNS if name in header), None)
    if id_column is None:
        columns = ", ".join(header) or "none"
        raise DataError(path, 1, f"no column query_id; its columns are {columns}", "add it")
    for _, cells in records:
        yield cells[id_column], dict(zip(header, cells, strict=False))


def _numbers(values: Mapping[Query, str]) -> dict[Query, float] | None:
    try:
        numbers = {query: float(value) for query, value in values.items()}
    except ValueError:
        return None
    return numbers if all(np.isfinite(list(numbers.values()))) else None


def _thirds(values: Mapping[Query, float], names: Sequence[str], unit: str) -> dict[Query, str]:
    """Cut queries at the thirds of a number; a part that would be empty is left out."""
    if not values:
        return {}
    ordered = np.sort(np.array(list(values.values()), dtype=np.float64))
    cuts = [ordered[len(ordered) // 3], ordered[2 * len(ordered) // 3]]
    part = {
        query: int(np.searchsorted(cuts, value, side="left")) for query, value in values.items()
    }
    groups = {}
    for number in set(part.values()):
        held = [value for query, value in values.items() if part[query] == number]
        low, high = min(held), max(held)
        reach = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        if unit:
            reach = count(int(high), "word") if low == high else f"{reach} {unit}"
        groups[number] = f"{names[number]} ({reach})"
    return {query: groups[number] for query, number in part.items()}
