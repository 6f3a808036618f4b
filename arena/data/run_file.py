"""Read and write runs as TREC files, and the stats of a run.

Lines are columns separated by white space, so no id in them can hold any.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import orjson

from arena.data.json_files import REMEDY, read_kept
from arena.data.rows import numbered_lines
from arena.errors import DataError
from arena.files import write_atomically
from arena.records import Dataset, RetrievalStats, Run, ScoredDoc, by_score


class _ScoreAndRank(NamedTuple):
    """What a line of a run says of a document."""

    score: float
    rank: int | None


def read_run(
    path: Path, *, dataset: Dataset, model: str, query_ids: Sequence[str], complete: bool = True
) -> Run:
    """Read ``query_id Q0 doc_id rank score tag`` lines as the rankings of some queries.

    Scores decide the order, as in trec_eval, and the rank column is ignored. Ties are ordered by
    doc_id: see `separate_ties`. Only if all scores of a ranking are the same do its ranks decide.
    The run's notes count both. Lines about other queries of the data set are checked and ignored.

    Args:
        path: the file.
        dataset: its queries and corpus must have every id of the file.
        model: the name that the run gets.
        query_ids: the queries to keep.
        complete: whether half of them must have a line. A query that matched nothing has none,
            and its ranking is empty; but a file without most of the queries is about others.

    Raises:
        DataError: naming file, line and remedy.
    """
    by_query: dict[str, dict[str, _ScoreAndRank]] = {}
    for line, query_id, doc_id, rank, score, _ in run_lines(path):
        if query_id not in dataset.queries:
            what = f"unknown query {query_id!r}"
            raise DataError(path, line, what, f"is the file about {dataset.name}?")
        if doc_id not in dataset.corpus:
            what = f"unknown document {doc_id!r}"
            raise DataError(path, line, what, f"is the file about {dataset.name}?")
        places = by_query.setdefault(query_id, {})
        if doc_id in places:
            what = f"document {doc_id!r} occurs twice for query {query_id!r}"
            raise DataError(path, line, what, "keep one of the lines")
        places[doc_id] = _ScoreAndRank(score, rank)
    missing = [query_id for query_id in query_ids if query_id not in by_query]
    if complete and 2 * len(missing) > len(query_ids):
        what = f"no ranking for {len(missing)} of {len(query_ids)} queries, {missing[0]!r} first"
        raise DataError(path, None, what, "every model must rank the same queries")
    rankings = {query_id: _ranking(by_query.get(query_id, {})) for query_id in query_ids}
    return Run(dataset.name, model, rankings, _notes_on_order(path, by_query.values()))


def separate_ties(scored: Iterable[tuple[str, float]]) -> tuple[ScoredDoc, ...]:
    """Order documents by score, ties by doc_id, and make the order explicit in the scores.

    trec_eval keeps scores in single precision and breaks ties by *descending* doc_id; other tools
    use the rank column or the order of lines. If two scores are equal in single precision, arena
    lowers the later one by the smallest step, as Anserini does. Every reader of the file then has
    the same ranking.
    """
    ranking: list[ScoredDoc] = []
    above = np.float32(np.inf)
    for doc_id, score in sorted(scored, key=by_score):
        single = np.float32(score)
        if single >= above:
            single = np.nextafter(above, np.float32(-np.inf))
            ranking.append(ScoredDoc(doc_id, float(single)))
        else:
            ranking.append(ScoredDoc(doc_id, float(score)))
        above = single
    return tuple(ranking)


def _ranking(places: Mapping[str, _ScoreAndRank]) -> tuple[ScoredDoc, ...]:
    if _order(places) != "ranks":
        return separate_ties((doc_id, place.score) for doc_id, place in places.items())
    by_rank = sorted(places, key=lambda doc_id: places[doc_id].rank or 0)
    return tuple(
        ScoredDoc(d, float(left))
        for left, d in zip(range(len(by_rank), 0, -1), by_rank, strict=True)
    )


def _order(places: Mapping[str, _ScoreAndRank]) -> Literal["scores", "ranks", "neither"]:
    """Return what decides the order of a ranking: its ranks if all of its scores are the same."""
    if len({place.score for place in places.values()}) != 1 or len(places) < 2:
        return "scores"
    ranks = {place.rank for place in places.values()}
    return "ranks" if None not in ranks and len(ranks) == len(places) else "neither"


def _notes_on_order(
    path: Path, rankings: Collection[Mapping[str, _ScoreAndRank]]
) -> tuple[str, ...]:
    """Return notes on rankings that scores alone do not decide.

    Raises:
        DataError: nothing does, in the whole file.
    """
    orders = Counter(_order(places) for places in rankings if len(places) > 1)
    if orders["neither"] == orders.total() > 0:
        what = "all scores of a ranking are the same, and so are its ranks"
        raise DataError(path, None, what, "give scores, of which higher ones are better")
    tied = sum(
        len(places) - len({place.score for place in places.values()})
        for places in rankings
        if _order(places) != "ranks"
    )
    notes: tuple[str, ...] = ()
    if by_rank := orders["ranks"]:
        what = "rankings whose documents all have one score, so that their ranks decide"
        notes += (f"{path.name}: {what}: {by_rank}",)
    if tied:
        what = (
            "documents with the score of another one, ordered by doc_id (in trec_eval: backwards)"
        )
        notes += (f"{path.name}: {what}: {tied}",)
    return notes


def write_run(run: Run, path: Path) -> None:
    """Write a run as a TREC file that reads back the same, to the last bit of each score."""
    tag = "_".join(run.model.split())
    lines = (
        f"{query_id} Q0 {place.doc_id} {rank} {float(place.score)!r} {tag}\n"
        for query_id, ranking in run.rankings.items()
        for rank, place in enumerate(ranking, start=1)
    )
    write_atomically(path, (line.encode() for line in lines))


def write_stats(stats: RetrievalStats, path: Path) -> None:
    """Write what a run cost, as JSON."""
    write_atomically(
        path, [orjson.dumps(dataclasses.asdict(stats), option=orjson.OPT_INDENT_2), b"\n"]
    )


def read_stats(path: Path) -> RetrievalStats:
    """Read what `write_stats` wrote.

    Raises:
        DataError: the file is missing or something else.
    """
    stats = read_kept(RetrievalStats, path, "retrieval stats")
    known = {field.name for field in dataclasses.fields(RetrievalStats)}
    if not {"latency_ms"} <= orjson.loads(path.read_bytes()).keys() <= known:
        raise DataError(path, None, "no retrieval stats of this version", REMEDY)
    return stats


MAX_SCORE: Final = 3e38
"""trec_eval keeps scores in single precision, where anything much greater is infinite."""

_LONGEST_RANK: Final = 18


class RunLine(NamedTuple):
    """One place of one ranking."""

    line: int  #: in the file, from 1
    query_id: str
    doc_id: str
    rank: int | None  #: None if that is no whole number; the scores decide
    score: float
    tag: str


def run_lines(path: Path) -> Iterator[RunLine]:
    """Yield every line of a run file; white space of any kind and length separates columns.

    Raises:
        DataError: naming file and line: another number of columns, a score that is no finite
            number, or a second tag, which two files put together have; at the end, scores that
            rise from rank to rank throughout, which distances do.
    """
    before: RunLine | None = None
    rise, falls = None, False
    for line, text in numbered_lines(path, 'see run = "..." in arena.toml'):
        current = _columns(path, line, text)
        if before is not None and current.tag != before.tag:
            what = f"run tag {current.tag!r} after {before.tag!r}"
            raise DataError(path, line, what, "give each run a file of its own")
        if before is not None and current.query_id == before.query_id and _follows(current, before):
            falls = falls or current.score < before.score
            rise = rise or (line if current.score > before.score else None)
        yield current
        before = current
    if rise is not None and not falls:
        what = "scores rise from rank to rank, here and in the whole file"
        raise DataError(path, rise, what, "a higher score must be better; negate distances")


def _columns(path: Path, line: int, text: str) -> RunLine:
    """Return a line of a run file.

    Raises:
        DataError: it has another number of columns, or no finite score.
    """
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


def _follows(current: RunLine, before: RunLine) -> bool:
    """Return whether a line is further down the same ranking than the previous one, by its rank."""
    return current.rank is not None and before.rank is not None and current.rank > before.rank
