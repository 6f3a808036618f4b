"""Labels out to other programs, and labels in that were made elsewhere."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from arena.data.csv_file import csv_records
from arena.data.qrels_file import grade_lines
from arena.data.rows import json_rows
from arena.errors import DataError, UsageError
from arena.labelling.questions import judged_queries
from arena.labelling.wording import CANNOT_TELL
from arena.rating.leaderboard_files import FORMULA, csv_cell
from arena.records import now
from arena.store.labels import (
    GRADES,
    Label,
    LabelLine,
    Unit,
    append_labels,
    is_value,
    label_lock,
    read_label_lines,
    read_labels,
    standing_lines,
)
from arena.store.texts import ShownQuery
from arena.terminal import count

_WINNERS: Final = {1.0: "model_a", 0.5: "tie", 0.0: "model_b"}
_COLUMNS: Final = (
    *("unit", "dataset", "query_id", "doc_id", "model_a", "model_b"),
    *("value", "winner", "reason", "who", "probability", "at", "seconds"),
)
_VALUES: Final = ("value", "grade", "label", "relevance", "score", "winner")
"""Columns that may hold the label, the first one that does counts."""

_KNOWN: Final = frozenset((*_COLUMNS, *_VALUES, "judge"))
_EXPECTED: Final = "expected query_id with doc_id and value, or with model_a, model_b and winner"
_TABLES: Final = (".csv", ".tsv")
_JSON: Final = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How labels are taken that were made elsewhere."""

    who: str | None = None  #: the person; if None as the file says, or "import"
    dataset: str | None = None  #: of rows that name none; if None the experiment's only one
    probability: float | None = None  #: of being asked; None if unknown
    states_probability: bool = False  #: whether that goes before what the file says


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    added: int  #: labels that were written
    known: int  #: labels that were there already, the same
    foreign: int  #: labels of documents or lists that the experiment does not show


def qrels_text(folder: Path, dataset: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the grades of documents as TREC qrels, and notes on them.

    A document that several people graded has their mean, rounded; a half is rounded up.

    Raises:
        UsageError: there are no grades, or of several data sets, of which none is named.
        DataError: labels.jsonl is damaged; names file and line.
    """
    graded = [label for label in read_labels(folder) if label.doc_id and label.value is not None]
    datasets = sorted({label.dataset for label in graded})
    if dataset is None and len(datasets) > 1:
        raise UsageError(f"--export qrels: give one --dataset of {', '.join(datasets)}")
    values: dict[tuple[str, str], list[float]] = {}
    for label in graded:
        if dataset in (None, label.dataset) and label.doc_id and label.value is not None:
            values.setdefault((label.query_id, label.doc_id), []).append(label.value)
    if not values:
        of_dataset = f" of {dataset}" if dataset else ""
        raise UsageError(f"{folder}: no document{of_dataset} has a grade; run `arena label` first")
    lines = (
        f"{query_id} 0 {doc_id} {math.floor(sum(grades) / len(grades) + 0.5)}\n"
        for (query_id, doc_id), grades in sorted(values.items())
    )
    n_shared = sum(len(grades) > 1 for grades in values.values())
    note = f"{count(n_shared, 'document')} graded by several people: the mean, rounded"
    return "".join(lines), (note,) if n_shared else ()


def csv_text(folder: Path) -> str:
    """Return all labels as CSV; no spreadsheet takes a cell for a formula.

    Raises:
        UsageError: there are no labels.
        DataError: labels.jsonl is damaged; names file and line.
    """
    labels = read_labels(folder)
    if not labels:
        raise UsageError(f"{folder}: no labels yet; run `arena label` first")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for label in labels:
        cells = {name: getattr(label, name, None) for name in _COLUMNS} | _winner(label)
        writer.writerow({name: csv_cell(cell) for name, cell in cells.items()})
    return text.getvalue()


def import_labels(folder: Path, file: Path, options: ImportOptions) -> Imported:
    """Add the labels of a file to those of an experiment.

    A label that the person has given already, and that is the same, is not added again. One that
    corrects an answer to `arena label` keeps the probability of that answer.

    Args:
        folder: the experiment's.
        file: TREC qrels, or CSV, TSV or JSONL with the columns of `csv_text`.
        options: whose labels they are, and how they were drawn.

    Raises:
        DataError: the file cannot be read, or none of it belongs to the experiment.
        UsageError: the experiment has several data sets, and a row names none.
        LogError: the labels cannot be written.
    """
    queries = judged_queries(folder)
    read = list(_lines(file, sorted({dataset for dataset, _ in queries}), options))
    of_dataset = [line for line in read if _belongs(line, queries)]
    if not of_dataset:
        what = f"none of its {count(len(read), 'label')} is of a document or a list shown here"
        raise DataError(file, None, what, f"is it about {folder}?")
    with label_lock(folder):
        standing = {
            (line.item, line.who): line for line in standing_lines(read_label_lines(folder))
        }
        new: dict[object, LabelLine] = {}
        for line in of_dataset:
            key = line.item, line.who
            merged = _merged(standing.get(key), line, options)
            if merged is not None:
                new[key] = standing[key] = merged
        if new:
            append_labels(folder, list(new.values()))
    return Imported(len(new), len(of_dataset) - len(new), len(read) - len(of_dataset))


def _merged(earlier: LabelLine | None, line: LabelLine, options: ImportOptions) -> LabelLine | None:
    """Return the line to add after an earlier one; None if it is the same."""
    if earlier is None:
        return line
    if earlier.draw is not None and not options.states_probability:
        facing = line.model_a in (None, earlier.model_a)
        value = line.value if facing or line.value is None else 1 - line.value
        if (value, line.reason) == (earlier.value, earlier.reason):
            return None
        return replace(earlier, value=value, reason=line.reason, at=line.at, seconds=None)
    same = replace(line, at=earlier.at, seconds=earlier.seconds) == earlier
    return None if same else line


def _winner(label: Label) -> dict[str, str]:
    is_battle = label.unit == "battle" and label.value is not None
    return {"winner": _WINNERS[label.value] if is_battle and label.value is not None else ""}


def _belongs(line: LabelLine, queries: Mapping[tuple[str, str], ShownQuery]) -> bool:
    query = queries.get((line.dataset, line.query_id))
    if query is None:
        return False
    if line.unit == "document":
        return any(line.doc_id in doc_ids for doc_ids in query.lists.values())
    return line.model_a in query.lists and line.model_b in query.lists


def _lines(file: Path, datasets: list[str], options: ImportOptions) -> Iterator[LabelLine]:
    suffix = Path(file.name.lower().removesuffix(".gz")).suffix
    if suffix in _JSON:
        rows: Iterable[tuple[int, Mapping[str, object]]] = (
            (row.number, row.fields) for row in json_rows(file)
        )
    elif suffix in _TABLES and not (suffix == ".tsv" and _is_qrels(file)):
        rows = _csv_rows(file)
    else:
        rows = (
            (grade.line, {"query_id": grade.query_id, "doc_id": grade.doc_id, "value": grade.grade})
            for grade in grade_lines(file, ())
        )
    for number, fields in rows:
        yield _line(file, number, fields, datasets, options)


def _is_qrels(file: Path) -> bool:
    """Return whether a file of columns separated by tabs has no header that names a query_id."""
    header = next(csv_records(file, _KNOWN), (0, []))[1]
    return "query_id" not in [cell.lower() for cell in header]


def _csv_rows(file: Path) -> Iterator[tuple[int, dict[str, object]]]:
    records = csv_records(file, _KNOWN)
    _, header = next(records, (0, []))
    names = [name.lower() for name in header]
    if "query_id" not in names:
        raise DataError(file, 1, 'no column "query_id"', _EXPECTED)
    for number, cells in records:
        yield number, dict(zip(names, map(_without_apostrophe, cells), strict=True))


def _without_apostrophe(cell: str) -> str:
    """Return a cell without the apostrophe that `csv_cell` puts before a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].lstrip()[:1] in FORMULA else cell


def _line(
    file: Path,
    number: int,
    fields: Mapping[str, object],
    datasets: list[str],
    options: ImportOptions,
) -> LabelLine:
    def text(name: str) -> str:
        value = fields.get(name)
        return "" if value is None else str(value).strip()

    unit: Unit = "battle" if text("model_a") or text("model_b") else "document"
    names = ("query_id", "model_a", "model_b") if unit == "battle" else ("query_id", "doc_id")
    if missing := [name for name in names if not text(name)]:
        raise DataError(file, number, f'no "{missing[0]}"', _EXPECTED)
    value = _value(file, number, unit, fields)
    dataset = text("dataset") or options.dataset or (datasets[0] if len(datasets) == 1 else "")
    if not dataset:
        raise UsageError(
            f"{file}:{number}: no dataset; give one --dataset of {', '.join(datasets)}"
        )
    stated = options.probability
    if not options.states_probability and text("probability"):
        stated = probability_of(text("probability"), f"{file}:{number}: probability")
    return LabelLine(
        event="label",
        unit=unit,
        dataset=dataset,
        query_id=text("query_id"),
        doc_id=text("doc_id") if unit == "document" else None,
        model_a=text("model_a") or None,
        model_b=text("model_b") or None,
        who=options.who or text("who") or text("judge") or "import",
        value=value,
        reason=text("reason") or (CANNOT_TELL if value is None else ""),
        probability=stated,
        at=text("at") or now(),
    )


def _value(file: Path, number: int, unit: Unit, fields: Mapping[str, object]) -> float | None:
    """Return the label of a row; None if its cell is empty.

    Raises:
        DataError: it is none.
    """
    columns = [name for name in _VALUES if name in fields]
    if not columns:
        raise DataError(file, number, 'no "value"', _EXPECTED)
    cells = [str(cell).strip() for name in columns if (cell := fields[name]) is not None]
    cell = next((cell for cell in cells if cell), "")
    if not cell:
        return None
    winners = {name: value for value, name in _WINNERS.items()}
    winners |= {str(fields.get("model_a")): 1.0, str(fields.get("model_b")): 0.0}
    if unit == "battle" and cell in winners:
        return winners[cell]
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if unit == "document":
        value = max(value, GRADES[0]) if not math.isnan(value) else value  # as in TREC's qrels
    if not is_value(unit, value):
        expected = "a grade from 0 to 3" if unit == "document" else "model_a, model_b or tie"
        raise DataError(file, number, f"{cell[:40]!r} is no label", f"expected {expected}")
    return value


def probability_of(text: str, name: str) -> float | None:
    """Return the probability that a text states; None for ``unknown``.

    Args:
        text: a number, or ``unknown``.
        name: of the option or the cell, for the error.

    Raises:
        UsageError: it states none.
    """
    if text.lower() == "unknown":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise UsageError(f"{name} {text[:40]}: expected a number above 0, at most 1, or unknown")
    return value
