"""Read and check relevance grades (qrels), as BEIR and TREC write them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from arena.data.rows import Row, numbered_lines, row_id
from arena.errors import DataError
from arena.records import Document, Query

_MAX_GRADE = 1_000_000
"""trec_eval allocates a counter per grade, so one absurd grade would exhaust the memory."""

_MAX_UNKNOWN = 0.05
"""Share of grades for documents that the corpus lacks above which it is the wrong corpus."""

FROM_CLICKS: Final = "from-clicks"
"""The name of the column of grades, in the header of a file, where they are clicks of users."""


class GradeLine(NamedTuple):
    """One relevance grade, and where it is from."""

    path: Path
    line: int  #: or the row, where a file has no lines
    query_id: str
    doc_id: str
    grade: float  #: an int where it is whole


def read_qrels(
    path: Path, corpus: Mapping[str, Document], queries: Mapping[str, Query]
) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """Read relevance grades: ``query doc grade`` or, as TREC has it, ``query 0 doc grade``.

    A header is recognised and skipped; ``2.0`` is the grade 2, and ``0.5`` stays as it is;
    negative grades stay negative.
    Grades of absent queries are ignored, since queries are often cut without their qrels. A grade
    for an absent document is kept and noted, so that the ideal ranking stays the same. Many of them
    mean the wrong corpus. A file without any grade is noted: the data set has no metrics.

    Returns:
        query_id → doc_id → grade, and what a reader of the results should know.

    Raises:
        DataError: a line of another shape, a grade that is no number or a pair graded twice
            differently; no query that is asked, or many documents that the corpus lacks.
    """
    return check_qrels(grade_lines(path, queries), path, corpus, queries)


def are_from_clicks(path: Path) -> bool:
    """Return whether the header of a qrels file says that its grades are clicks of users.

    Raises:
        DataError: the file cannot be read.
    """
    _, header = next(numbered_lines(path), (0, ""))
    return header.split()[-1:] == [FROM_CLICKS]


def check_qrels(
    grades: Iterable[GradeLine],
    path: Path,
    corpus: Mapping[str, Document],
    queries: Mapping[str, Query],
) -> tuple[dict[str, dict[str, float]], tuple[str, ...]]:
    """Check grades as `read_qrels` does, from any kind of file, or from several."""
    qrels: dict[str, dict[str, float]] = {}
    unknown: list[GradeLine] = []
    unknown_queries: set[str] = set()
    n_grades = 0
    for grade in grades:
        query_id, doc_id = grade.query_id, grade.doc_id
        n_grades += 1
        if query_id not in queries:
            unknown_queries.add(query_id)
            continue
        if doc_id not in corpus:
            unknown.append(grade)
        if qrels.setdefault(query_id, {}).setdefault(doc_id, grade.grade) != grade.grade:
            what = f"query {query_id!r} and document {doc_id!r} are graded twice, differently"
            raise DataError(grade.path, grade.line, what, "keep one of the lines")
    if n_grades and not qrels:
        what = f"none of its {n_grades} grades is for a query of the data set"
        raise DataError(path, None, what, "give the qrels that belong to these queries")
    if not n_grades:
        return {}, (f"{path.name} holds no grade: there are no metrics such as nDCG",)
    notes = _notes_on_unknown(unknown, sum(map(len, qrels.values())))
    if unknown_queries:
        n_unknown, example = len(unknown_queries), min(unknown_queries)
        what = f"queries that are not in the data set, ignored: {n_unknown} ({example!r})"
        notes += (f"{path.name}: grades of {what}",)
    return qrels, notes


def grade_lines(path: Path, queries: Collection[str]) -> Iterator[GradeLine]:
    """Yield the grade of every line but the header; ``queries`` tell a header from a line.

    Raises:
        DataError: naming file and line.
    """
    for number, (line, text) in enumerate(numbered_lines(path)):
        columns = text.split()
        if len(columns) not in (3, 4):
            what = f"{len(columns)} columns"
            raise DataError(path, line, what, "expected query-id, corpus-id, score")
        query_id, doc_id = columns[0], columns[-2]
        if number == 0 and _number(columns[-1]) is None and query_id not in queries:
            continue
        grade = relevance_grade(columns[-1], path, line)
        yield GradeLine(path, line, query_id, doc_id, grade)


def row_grade(row: Row) -> GradeLine:
    """Return the grade of a row with the columns of mteb: query-id, corpus-id, score.

    Raises:
        DataError: naming file and row.
    """
    query_id, doc_id = row_id(row, ("query-id",)), row_id(row, ("corpus-id",))
    grade = relevance_grade(row.fields.get("score"), row.path, row.number)
    return GradeLine(row.path, row.number, query_id, doc_id, grade)


def relevance_grade(value: object, path: Path, line: int) -> float:
    """Return a relevance grade; a whole number in any notation is an int.

    Raises:
        DataError: naming file and line.
    """
    grade = _number(str(value))
    if grade is None or not abs(grade) <= _MAX_GRADE:
        remedy = f"expected a number within ±{_MAX_GRADE:,}"
        raise DataError(path, line, f"grade {value!r}", remedy)
    return int(grade) if grade.is_integer() else grade


def _notes_on_unknown(unknown: Sequence[GradeLine], n_grades: int) -> tuple[str, ...]:
    if not unknown:
        return ()
    path, line = unknown[0].path, unknown[0].line
    what = f"unknown document {unknown[0].doc_id!r}"
    if len(unknown) > 1:
        what += f", and {len(unknown) - 1} more among {n_grades} grades"
    if len(unknown) > _MAX_UNKNOWN * n_grades:
        raise DataError(path, line, what, "add it to corpus.jsonl or delete the line")
    return (f"{path.name}:{line}: {what}; no model can find it",)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
