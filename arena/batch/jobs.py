"""Batch jobs at a provider: create each exactly once, follow it, fetch what it made.

A request that creates a job is never repeated blindly: if its answer is lost, the provider's
own list of jobs says whether it was created. A job is ours if it was made from our file, or if
its metadata say so; others are left alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from arena.batch.chunks import URL, is_file_of
from arena.batch.ledger import Job, Ledger, utc
from arena.batch.results import Reader, Results
from arena.endpoint.files import FileApi
from arena.endpoint.refusals import TransientApiError, one_line
from arena.errors import ApiError, FatalApiError

ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which a job stays; in each of them some requests may be done, and billed."""

BATCH_DISCOUNT: Final = 0.5
"""What share of the usual price a request in a batch job costs."""

WINDOW: Final = "24h"
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Poll:
    """How often to ask whether jobs are done; with jitter, and ever more seldom."""

    shortest_s: float = 30.0
    longest_s: float = 300.0
    growth: float = 1.5

    def wait_s(self, asked: int) -> float:
        """How long to wait after having asked so many times."""
        grown_s = self.shortest_s * self.growth ** min(asked, 50)
        return min(grown_s, self.longest_s) * random.uniform(0.8, 1.0)  # noqa: S311


@dataclass(frozen=True, slots=True)
class State:
    """What a provider says of a job."""

    status: str  #: validating, in_progress, finalizing, completed, failed, expired, ...
    completed: int  #: requests
    failed: int
    total: int
    files: tuple[str, ...]  #: of results, then of errors; those there are
    problem: str  #: why the whole job failed; empty where it did not
    at: str  #: UTC time of its end, ISO 8601; empty before

    @property
    def is_ended(self) -> bool:
        """Whether it stays as it is."""
        return self.status in ENDED

    def __str__(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        problem = f": {self.problem}" if self.problem else ""
        return f"{self.status}, {self.completed:,} of {self.total:,} done{failed}{problem}"


async def start(ledger: Ledger, job: Job, api: FileApi, *, experiment: str) -> Job | None:
    """Bring a recorded chunk to a created job, from wherever an earlier run left it.

    Returns:
        The job, or None if its input file is gone before it was uploaded: it is given up, and
        its battles are free to be planned again.

    Raises:
        ApiError: the provider did not take it; the next run goes on from here.
    """
    if job.batch_id:
        return job
    path = ledger.path(job)
    created = None
    if job.file_id is None:
        if not is_file_of(path, job.sha256):
            ledger.step(job, ended="abandoned")
            return None
        job = ledger.step(job, file_id=await api.upload(path, purpose="batch"))
    else:
        created = await _find(job, api, experiment)
    batch_id = created or await _create(job, api, experiment)
    return ledger.step(job, batch_id=batch_id)


async def state(job: Job, api: FileApi) -> State:
    """Ask how a job stands.

    Raises:
        ApiError: the provider does not know it, or does not answer.
    """
    found = await api.get(f"/batches/{job.batch_id}")
    counts = found.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    files = (found.get("output_file_id"), found.get("error_file_id"))
    ended_at = next((t for s in ENDED if isinstance(t := found.get(f"{s}_at"), int | float)), None)
    return State(
        status=one_line(str(found.get("status"))),
        completed=_count(counts, "completed"),
        failed=_count(counts, "failed"),
        total=_count(counts, "total") or len(job.requests),
        files=tuple(file for file in files if isinstance(file, str) and file),
        problem=_problem(found.get("errors")),
        at="" if ended_at is None else utc(ended_at),
    )


async def fetch(
    files: Sequence[str], api: FileApi, read: Reader, *, discount: float = BATCH_DISCOUNT
) -> Results:
    """Download and read the results of a job that has ended.

    Raises:
        ApiError: a file is gone, or holds no results at all.
    """
    results = Results()
    for file in files:
        raw = await api.download(f"/files/{file}/content")
        before = len(results.answers) + results.n_repeated
        results.take(raw, read, discount=discount)
        if raw.strip() and len(results.answers) + results.n_repeated == before:
            said = one_line(raw[:1000].decode("utf-8", "replace"))
            raise ApiError("garbage", f"file {file} holds no results: {said}")
    return results


async def follow(jobs: Sequence[Job], api: FileApi, poll: Poll, say: Callable[[str], None]) -> None:
    """Wait until every job has ended, or is unknown to the provider, however long that takes.

    A provider that does not answer for a while is waited for too.

    Raises:
        FatalApiError: the provider refuses everything.
    """
    waiting, asked, shown = list(jobs), 0, ""
    while waiting:
        still: list[tuple[Job, State | ApiError]] = []
        for job in waiting:
            try:
                found = await state(job, api)
            except FatalApiError:
                raise
            except ApiError as error:
                if error.reason != "not_found":
                    still.append((job, error))
            else:
                if not found.is_ended:
                    still.append((job, found))
        waiting = [job for job, _ in still]
        line = "; ".join(f"{job.name} {found}" for job, found in still)
        if line and line != shown:
            say(line)
            shown = line
        if waiting:
            await asyncio.sleep(poll.wait_s(asked))
            asked += 1


async def _create(job: Job, api: FileApi, experiment: str) -> str:
    body = {
        "input_file_id": job.file_id,
        "endpoint": URL,
        "completion_window": WINDOW,
        "metadata": _metadata(job, experiment),
    }
    attempt = 1
    while True:
        try:
            found = (await api.create("/batches", body)).get("id")
            if isinstance(found, str) and found:
                return found
            error = TransientApiError("garbage", "a job without an id")
        except TransientApiError as transient:
            error = transient
        if attempt >= api.patience.attempts:
            raise ApiError(error.reason, f"{error.detail} (after {attempt} attempts)")
        await asyncio.sleep(api.patience.wait_s(attempt, error))
        # The answer may have been lost, not the request.
        if created := await _find(job, api, experiment):
            return created
        attempt += 1


async def _find(job: Job, api: FileApi, experiment: str) -> str | None:
    """The id of the job that was created from this chunk, if one was."""
    after = ""
    while True:
        page = await api.get(f"/batches?limit={_PAGE}{after}")
        batches = [b for b in page.get("data") or [] if isinstance(b, dict) and b.get("id")]
        for batch in batches:
            ours = batch.get("metadata") == _metadata(job, experiment)
            if ours or batch.get("input_file_id") == job.file_id:
                return str(batch["id"])
        if not batches or not page.get("has_more"):
            return None
        after = f"&after={batches[-1]['id']}"


def _metadata(job: Job, experiment: str) -> dict[str, str]:
    return {"experiment": experiment, "chunk": job.name}


def _problem(errors: object) -> str:
    """The first of the reasons why a whole job failed."""
    listed = errors.get("data") if isinstance(errors, dict) else None
    if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
        return ""
    first: Mapping[str, Any] = listed[0]
    return one_line(f"{first.get('code') or 'error'}: {first.get('message') or 'no message'}")


def _count(counts: Mapping[str, Any], field: str) -> int:
    value = counts.get(field)
    return value if isinstance(value, int) else 0
