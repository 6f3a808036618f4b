"""Get rankings from any program: queries as JSON lines on stdin, rankings on stdout.

arena starts it once, without a shell, and asks one query at a time::

    {"query_id": "q1", "text": "how do I return a parcel?", "top_k": 100}        arena writes
    {"query_id": "q1", "results": [{"doc_id": "d7", "score": 1.5}, ...]}         it answers

The first query is asked twice, since to load an index is not latency. A program may read all of its
input before it answers. If no answer to the first query arrives in time, arena therefore sends all
others at once and closes stdin. It then reports no latency.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Collection, Container, Sequence
from typing import Any, Final

from arena.config import ModelConfig
from arena.data.run_file import MAX_SCORE
from arena.errors import CommandError
from arena.records import Dataset, RetrievalStats, by_score
from arena.retrieval.child_process import Program, beginning, started
from arena.retrieval.job import RankingJob, Rankings
from arena.terminal import one_line

_log = logging.getLogger(__name__)
_LONGEST_BATCH_S: Final = 3600.0
"""For all queries at once: a program that hangs must not hold up a whole night."""


def rank_by_command(
    job: RankingJob, model: ModelConfig, dataset: Dataset
) -> tuple[Rankings, RetrievalStats]:
    """Run a program that ranks the corpus for each query; it ends when this returns or raises.

    A ranking may be short or empty; one that is too long is cut.

    Raises:
        CommandError: the program ended, hung, or answered something else than rankings.
        UsageError: there is no such program, or it cannot be started.
    """
    return asyncio.run(_rank(job, model, dataset)) if job.queries else ({}, RetrievalStats())


async def _rank(
    job: RankingJob, model: ModelConfig, dataset: Dataset
) -> tuple[Rankings, RetrievalStats]:
    async with started(model, dataset.name) as program:
        interview = _Interview(job, model, dataset, program)
        if await interview.begin():
            latency_ms = await interview.one_by_one()
        else:
            latency_ms = await interview.all_at_once()
        await program.finish()
    found = interview.rankings
    return {query_id: found[query_id] for query_id in job.queries}, RetrievalStats(latency_ms)


class _Interview:
    """The questions to one program, and its answers."""

    def __init__(
        self, job: RankingJob, model: ModelConfig, dataset: Dataset, program: Program
    ) -> None:
        self.rankings: Rankings = {}
        self._job = job
        self._timeout_s = model.timeout_s
        self._name = model.name
        self._corpus = dataset.corpus
        self._program = program

    async def begin(self) -> bool:
        """Ask the first query, which also makes the program load its index.

        Returns:
            Whether it was answered before others were asked.
        """
        first = next(iter(self._job.queries))
        self._program.send([self._question(first)])
        line = await self._program.read(self._timeout_s)
        if line is not None:
            self._take(line, (first,))
        return line is not None

    async def one_by_one(self) -> tuple[float, ...]:
        """Ask each query after the answer to the previous one; return the milliseconds of each."""
        latency_ms = []
        for number, query_id in enumerate(self._job.queries, start=1):
            began = time.perf_counter()
            self._program.send([self._question(query_id)])
            line = await self._program.read(self._timeout_s)
            latency_ms.append((time.perf_counter() - began) * 1000)
            if line is None:
                what = f"no answer to query {query_id!r} within {self._timeout_s:g} s"
                raise self._program.failure(what, "raise timeout_s, if it only needs longer")
            self._take(line, (query_id,))
            self._job.searched(number)
        return tuple(latency_ms)

    async def all_at_once(self) -> tuple[float, ...]:
        """Ask all queries but the first, close stdin, and take answers in any order."""
        _log.warning(
            "%s: no answer within timeout_s = %g; it now gets all queries at once, and its "
            "latency is not measured",
            self._name,
            self._timeout_s,
        )
        waiting = dict.fromkeys(self._job.queries)
        allowed_s = min(self._timeout_s * len(waiting), _LONGEST_BATCH_S)
        ends_at = time.monotonic() + allowed_s
        self._program.send(map(self._question, list(waiting)[1:]))
        self._program.close()
        while waiting:
            line = await self._program.read(ends_at - time.monotonic())
            if line is None:
                what = f"no answer to {len(waiting)} queries, {next(iter(waiting))!r} first"
                within = f"{what}, within {allowed_s:g} s for all"
                raise self._program.failure(within, "raise timeout_s, if it only needs longer")
            del waiting[self._take(line, waiting)]
            self._job.searched(len(self.rankings))
        return ()

    def _question(self, query_id: str) -> bytes:
        job = self._job
        asked = {"query_id": query_id, "text": job.queries[query_id], "top_k": job.depth}
        return json.dumps(asked).encode() + b"\n"

    def _take(self, line: bytes, expected: Collection[str]) -> str:
        """Store an answer; return its query_id."""
        location = f"{self._name}: line {self._program.n_lines} of its output"
        try:
            query_id, ranking = read_answer(line, self._corpus)
        except ValueError as error:
            raise CommandError(f"{location}: {error}; it begins {beginning(line)!r}") from None
        if query_id not in expected:
            what = f"query_id {one_line(repr(query_id))}, which no answer is due to"
            raise CommandError(
                f"{location}: {what}; answer each query once, under its own query_id"
            )
        self.rankings[query_id] = ranking[: self._job.depth]
        return query_id


_EXPECTED: Final = 'expected {"query_id": "q1", "results": [{"doc_id": "d1", "score": 1.5}]}'
Ranking = list[tuple[str, float]]
"""(doc_id, score), best first."""


def read_answer(raw: bytes, corpus: Container[str]) -> tuple[str, Ranking]:
    """Return the query_id and the ranking of one line.

    ``results`` holds ``{"doc_id", "score"}`` objects, ordered by score, ties by doc_id. Or it holds
    doc_ids alone (strings, or objects without a score) in order of rank: the score of each is then
    1 / its rank.

    Args:
        raw: the line.
        corpus: the doc_ids that there are.

    Raises:
        ValueError: the line is something else, or names a document twice, or one that the corpus
            lacks, or a score that is no finite number; the message says what, and the remedy.
    """
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
        raise ValueError(f"not valid JSON ({what}); {_EXPECTED}") from None
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise ValueError(f"no object with a list of results; {_EXPECTED}")  # noqa: TRY004
    query_id = _id(answer.get("query_id"))
    if query_id is None:
        raise ValueError(f"no query_id; {_EXPECTED}")
    doc_ids = _doc_ids(results, corpus)
    return query_id, _ranked(doc_ids, results)


def _doc_ids(results: Sequence[Any], corpus: Container[str]) -> list[str]:
    """Return the documents of an answer, in its order.

    Raises:
        ValueError: one is missing, unknown, or there twice.
    """
    doc_ids: list[str] = []
    seen: set[str] = set()
    for rank, result in enumerate(results, start=1):
        doc_id = _id(result.get("doc_id") if isinstance(result, dict) else result)
        if doc_id is None:
            raise ValueError(f"result {rank} names no document; {_EXPECTED}")
        if doc_id not in corpus:
            remedy = "search the corpus of the data set that ARENA_DATASET names"
            raise ValueError(f"result {rank}: unknown document {_quoted(doc_id)}; {remedy}")
        if doc_id in seen:
            raise ValueError(
                f"result {rank}: document {_quoted(doc_id)} occurs twice; name it once"
            )
        seen.add(doc_id)
        doc_ids.append(doc_id)
    return doc_ids


def _ranked(doc_ids: Sequence[str], results: Sequence[Any]) -> Ranking:
    """Return documents by their scores; by 1 / rank if none has a score.

    Raises:
        ValueError: some have a score and some have none, or one is not finite.
    """
    scores = [result.get("score") if isinstance(result, dict) else None for result in results]
    unscored = scores.count(None)
    if unscored == len(scores):
        return [(doc_id, 1 / rank) for rank, doc_id in enumerate(doc_ids, start=1)]
    for rank, score in enumerate(scores, start=1):
        if score is None:
            remedy = "give a score to all results or to none"
            raise ValueError(f"result {rank} has no score, but others have; {remedy}")
        # Written so that NaN, which is on no side of any number, is refused as well.
        if not isinstance(score, int | float) or not abs(score) <= MAX_SCORE:
            remedy = "expected a finite number"
            raise ValueError(f"result {rank}: score {_quoted(score)}; {remedy}")
    ranking = [(doc_id, float(score or 0)) for doc_id, score in zip(doc_ids, scores, strict=True)]
    return sorted(ranking, key=by_score)


def _id(value: object) -> str | None:
    """Return an id as a string; whole numbers are ids too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _quoted(value: object) -> str:
    return one_line(repr(value))
