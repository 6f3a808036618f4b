"""The lines of a TREC run file: ``query_id Q0 doc_id rank score tag``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from arena.data.lines import numbered_lines
from arena.errors import DataError

MAX_SCORE: Final = 3e38
"""trec_eval keeps scores in single precision, where anything much greater is infinite."""

_LONGEST_RANK: Final = 18


class RunLine(NamedTuple):
    """One place of one ranking."""

    line: int  #: in the file, from 1
    query_id: str
    doc_id: str
    rank: int | None  #: None where that is no whole number; the scores decide
    score: float
    tag: str


def run_lines(path: Path) -> Iterator[RunLine]:
    """Every line of a run file; white space of any kind and length separates columns.

    Raises:
        DataError: naming file and line: another number of columns, a score that is no finite
            number, or a second tag, which two files put together have; at the end, scores that
            rise from rank to rank throughout, which distances do.
    """
    before: RunLine | None = None
    rise, falls = None, False
    for line, text in numbered_lines(path, 'see run = "..." in arena.toml'):
        here = _columns(path, line, text)
        if before is not None and here.tag != before.tag:
            what = f"run tag {here.tag!r} after {before.tag!r}"
            raise DataError(path, line, what, "give each run a file of its own")
        if before is not None and here.query_id == before.query_id and _follows(here, before):
            falls = falls or here.score < before.score
            rise = rise or (line if here.score > before.score else None)
        yield here
        before = here
    if rise is not None and not falls:
        what = "scores rise from rank to rank, here and in the whole file"
        raise DataError(path, rise, what, "a higher score must be better; negate distances")


def _columns(path: Path, line: int, text: str) -> RunLine:
    columns = text.split()
    if len(columns) != 6:
        remedy = "expected query_id Q0 doc_id rank score tag"
        raise DataError(path, line, f"{len(columns)} columns", remedy)
    query_id, _, doc_id, rank, word, tag = columns
    try:
        score = float(word)
    except ValueError:
        score = float("nan")
    if not abs(score) <= MAX_SCORE:
        raise DataError(path, line, f"score {word!r}", "expected a finite number")
    # Python converts no number of thousands of digits, and no rank has more than a few.
    place = int(rank) if rank.isdecimal() and len(rank) <= _LONGEST_RANK else None
    return RunLine(line, query_id, doc_id, place, score, tag)


def _follows(here: RunLine, before: RunLine) -> bool:
    """Whether a line is further down the same ranking than the one before it, by its rank."""
    return here.rank is not None and before.rank is not None and here.rank > before.rank
