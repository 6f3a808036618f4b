"""Make a test set of a log of searches: merge spellings, mask personal data, draw a sample.

Clicks become weak relevance grades: a click tells of what was shown first, too. Their file says so
in its header, and everything that shows metrics from them says "from clicks".
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from arena.config import DatasetConfig
from arena.data.load import load_corpus
from arena.data.qrels_file import FROM_CLICKS
from arena.data.queries import query_id_of
from arena.errors import DataError
from arena.progress import Reporter
from arena.querying.files import QRELS, QUERIES, check_replaceable, write_files
from arena.querying.log_counts import LogCounts
from arena.querying.log_sample import Drawn, Part, draw
from arena.querying.personal_data import KINDS, masked
from arena.querying.query_log import LoggedSearch, QueryLog
from arena.querying.settings import GenerationOptions, corpus_and_folder
from arena.records import Document, now
from arena.terminal import count
from arena.version import __version__

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What the command line says about a log."""

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)  #: kind → name, if it is given
    min_clicks: int = 1  #: on a document after a query, for a grade
    since: str = ""  #: the first day that counts, ISO 8601


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A query of the sample as it is written."""

    text: str
    drawn: Drawn
    n_forms: int  #: spellings in the log
    clicks: Mapping[str, int]  #: doc_id → clicks

    @property
    def query_id(self) -> str:
        """Return its id: a hash of its words, as for queries without an id everywhere."""
        return query_id_of(self.text)


@dataclass(frozen=True, slots=True)
class LogResult:
    """What a log came to."""

    log: QueryLog
    queries: tuple[LogQuery, ...]
    parts: tuple[Part, ...]
    n_searches: int
    n_spellings: int  #: queries merged into another because of one word
    days: tuple[str, str] | None  #: first and last; None if the log does not tell
    n_outside: int  #: rows before `LogOptions.since`, or without a day
    masked: Mapping[str, int]  #: kind of `KINDS` → how many
    unknown: Collection[str]  #: clicked ids that the corpus lacks
    checked: bool  #: whether clicked ids were compared with a corpus
    dataset: DatasetConfig | None
    out: Path
    config: Path

    @property
    def n_queries(self) -> int:
        """Return the number of different queries of the log."""
        return sum(part.n_queries for part in self.parts)

    @property
    def n_grades(self) -> int:
        """Return the number of weak grades."""
        return sum(len(query.clicks) for query in self.queries)

    def lines(self, *, written: bool) -> Iterator[str]:
        """Yield what was read, what was made of it, and what to write into the arena.toml."""
        log = self.log
        columns = ", ".join(f"{kind} from {name!r}" for kind, name in log.found.items())
        yield f"{log.path.name}: {count(log.n_rows, 'row')}; {columns}"
        if log.bad:
            reasons = ", ".join(
                f"{n:,} {reason} (first in line {line:,})" for reason, (n, line) in log.bad.items()
            )
            yield f"ignored: {count(sum(n for n, _ in log.bad.values()), 'row')}: {reasons}"
        if self.n_outside:
            yield f"before that day, or without a day: {count(self.n_outside, 'row')}"
        span = f", {self.days[0]} to {self.days[1]}" if self.days else ""
        yield f"{self.n_searches:,} searches of {self.n_queries:,} different queries{span}"
        if self.n_spellings:
            yield f"merged into another spelling of the same words: {self.n_spellings:,}"
        masks = ", ".join(f"{self.masked[kind]:,} {name}" for kind, name in KINDS.items())
        yield f"masked: {masks}; names of people have no form, so look through the file"
        for part in self.parts:
            share = part.n_searches / self.n_searches
            yield (
                f"  {part.name:<6}{part.n_drawn:>9,} of {part.n_queries:>11,} queries, "
                f"{share:>4.0%} of the searches"
            )
        if written:
            yield f"{count(len(self.queries), 'query', 'queries')}: {self.out / QUERIES}"
        yield from self._grades(written=written)
        if written and (unused := ", ".join(self._unused())):
            yield f"to use them, write in {self.config.name}: {unused}"

    def _grades(self, *, written: bool) -> Iterator[str]:
        if self.unknown:
            names = ", ".join(sorted(self.unknown)[:_NAMED])
            n_ids = count(len(self.unknown), "clicked id")
            yield f"the corpus has no document with the id of {n_ids}, such as {names}"
        if not self.n_grades:
            return
        n_clicked = sum(bool(query.clicks) for query in self.queries)
        where = f": {self.out / QRELS}" if written else ""
        yield f"{self.n_grades:,} weak grades from clicks, for {n_clicked:,} queries{where}"
        if not self.checked:
            yield "no corpus is named, so clicked ids were compared with none"

    def _unused(self) -> Iterator[str]:
        """Yield what the data set in the arena.toml still needs."""
        names = {"queries": QUERIES} | ({"qrels": QRELS} if self.n_grades else {})
        for key, name in names.items():
            path = self.out / name
            if self.dataset is None or getattr(self.dataset, key) != path:
                yield f'{key} = "{os.path.relpath(path, self.config.parent)}"'


def queries_from_log(
    options: GenerationOptions, log: LogOptions, reporter: Reporter, *, dry_run: bool = False
) -> LogResult:
    """Read a log, draw queries from it, and write them with their weights and weak grades.

    Args:
        options: the corpus, the folder, the number of queries and the seed.
        log: the file, and how it is read.
        reporter: told how far the reading is.
        dry_run: write nothing.

    Raises:
        DataError: the log cannot be read, or holds no query.
        UsageError: a column or a data set that was named is not there, or queries that somebody
            edited are in the way.
        WriteError: the folder, or the temporary file that counts them, cannot be written.
    """
    dataset, out = corpus_and_folder(options)
    name = dataset.name if dataset else log.path.stem
    if not dry_run:
        check_replaceable(out, name)
    result = _read(options, log, (dataset, out), reporter)
    if not dry_run:
        _write(result, _manifest(result, options, name))
    return result


def _read(
    options: GenerationOptions,
    log: LogOptions,
    destination: tuple[DatasetConfig | None, Path],
    reporter: Reporter,
) -> LogResult:
    dataset, out = destination
    rows = QueryLog(log.path, log.columns)
    masks: Counter[str] = Counter()
    with LogCounts() as counts:
        days, n_outside = _count(counts, rows.searches(reporter), log.since, masks)
        drawn, parts = draw(counts.totals, options.n_documents, options.seed)
        ungraded = [
            LogQuery(counts.text(each.key), each, counts.n_forms(each.key), counts.clicks(each.key))
            for each in drawn
        ]
        n_spellings = counts.n_spellings
    if not ungraded:
        reasons = ", ".join(f"{n:,} {reason}" for reason, (n, _) in rows.bad.items())
        raise DataError(log.path, None, f"holds no query ({count(rows.n_rows, 'row')})", reasons)
    queries, unknown = _graded(ungraded, dataset, log.min_clicks, reporter)
    return LogResult(
        log=rows,
        queries=queries,
        parts=parts,
        n_searches=sum(part.n_searches for part in parts),
        n_spellings=n_spellings,
        days=days,
        n_outside=n_outside,
        masked=dict(masks) | {kind: masks[kind] for kind in KINDS},
        unknown=unknown,
        checked=dataset is not None,
        dataset=dataset,
        out=out,
        config=options.config,
    )


def _count(
    counts: LogCounts, searches: Iterable[LoggedSearch], since: str, masks: Counter[str]
) -> tuple[tuple[str, str] | None, int]:
    """Count the searches of a log, with personal data masked.

    Returns:
        The first and the last day, None if no search has one; and how many searches are older
        than ``since``, which are left out.
    """
    days: tuple[str, str] | None = None
    n_outside = 0
    for search in searches:
        if search.day < since:
            n_outside += 1
            continue
        if search.day:
            first, last = days or (search.day, search.day)
            days = min(first, search.day), max(last, search.day)
        counts.add(masked(search.text, masks), search.n_searches, search.clicks)
    counts.merge()
    return days, n_outside


def _write(result: LogResult, manifest: Mapping[str, Any]) -> None:
    queries = b"".join(
        orjson.dumps(
            {
                "_id": query.query_id,
                "text": query.text,
                "metadata": {
                    "count": query.drawn.n_searches,
                    "spellings": query.n_forms,
                    "part": query.drawn.part.name,
                    "probability": query.drawn.part.probability,
                    "weight": query.drawn.weight(result.n_searches),
                },
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for query in result.queries
    )
    grades = [f"{each.query_id}\t{doc_id}\t1" for each in result.queries for doc_id in each.clicks]
    lines = [f"query-id\tcorpus-id\t{FROM_CLICKS}", *grades]
    qrels = "".join(f"{line}\n" for line in lines).encode()
    write_files(result.out, queries, qrels if grades else None, manifest)


def _graded(
    queries: list[LogQuery], dataset: DatasetConfig | None, min_clicks: int, reporter: Reporter
) -> tuple[tuple[LogQuery, ...], Collection[str]]:
    """Return queries with the clicks that count, and clicked ids that the corpus lacks."""
    if dataset is None or not any(query.clicks for query in queries):
        corpus = None
    else:
        corpus = load_corpus(dataset, reporter).corpus
    unknown: set[str] = set()
    graded = []
    for query in queries:
        clicks = {doc_id: n for doc_id, n in query.clicks.items() if n >= min_clicks}
        if corpus is not None:
            found = {doc_id: _document(doc_id, corpus) for doc_id in clicks}
            unknown |= {clicked for clicked, doc_id in found.items() if doc_id is None}
            clicks = {doc_id: clicks[clicked] for clicked, doc_id in found.items() if doc_id}
        graded.append(LogQuery(query.text, query.drawn, query.n_forms, clicks))
    return tuple(graded), unknown


def _document(clicked: str, corpus: Mapping[str, Document]) -> str | None:
    """Return the document that was clicked: its id, or the only passage of the file so named."""
    if clicked in corpus:
        return clicked
    only = f"{clicked}#1" in corpus and f"{clicked}#2" not in corpus
    return f"{clicked}#1" if only else None


def _manifest(result: LogResult, options: GenerationOptions, dataset: str) -> dict[str, Any]:
    return {
        "arena": __version__,
        "dataset": dataset,
        "log": result.log.path.name,
        "columns": result.log.found,
        "rows": result.log.n_rows,
        "left_aside": {reason: n for reason, (n, _) in result.log.bad.items()},
        "searches": result.n_searches,
        "different_queries": result.n_queries,
        "merged_spellings": result.n_spellings,
        "days": result.days,
        "masked": result.masked,
        "seed": options.seed,
        "queries": len(result.queries),
        "parts": [
            {
                "name": part.name,
                "queries": part.n_queries,
                "searches": part.n_searches,
                "drawn": part.n_drawn,
            }
            for part in result.parts
        ],
        "qrels": "grade 1 is a document that was clicked: weak, and biased to what was shown first",
        "at": now(),
    }
