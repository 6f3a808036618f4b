"""Create each batch job exactly once at a provider, follow it, and fetch its results.

A request that creates a job is never repeated blindly: if its answer is lost, the provider's
own list of jobs says whether it was created. A job is ours if it was made from our file, or if
its metadata say so; others are left alone.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from arena.batch.requests import URL, is_file_of
from arena.batch.results import Reader, Results
from arena.endpoint.file_api import FileApi, segment
from arena.endpoint.http_errors import TransientApiError
from arena.errors import ApiError, FatalApiError
from arena.records import utc
from arena.store.batch_ledger import Job, Ledger, seconds_since
from arena.terminal import one_line

ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""States in which a job stays; in each of them some requests may be done, and billed."""

BATCH_DISCOUNT: Final = 0.5
"""What share of the usual price a request in a batch job costs."""

COMPLETION_WINDOW: Final = "24h"
OVERDUE_S: Final = 48 * 3600.0
"""Maximum wait for a job of one day, and for results that it did not return."""
LARGEST_FILE: Final = 2_000_000_000
"""Bytes of a file of results at most, and fewer for few requests."""
_RESULT_ROOM: Final = 1_000_000
"""Bytes of one result at most: a thousand tokens with ten alternatives each."""
_FILE_ROOM: Final = 8_000_000
_PAGE: Final = 100
_PAGES: Final = 10_000
_EARLIEST_S: Final = 1e9
_LATEST_S: Final = 1e10
"""From 2001 to 2286; later moments are in milliseconds."""


@dataclass(frozen=True, slots=True)
class Poll:
    """Intervals between two looks at jobs: growing, with jitter."""

    shortest_s: float = 30.0
    longest_s: float = 300.0
    growth: float = 1.5

    def wait_s(self, n_polls: int) -> float:
        """Return how long to wait before the next look, after this many."""
        grown_s = self.shortest_s * self.growth ** min(n_polls, 50)
        return min(grown_s, self.longest_s) * random.uniform(0.8, 1.0)  # noqa: S311


def poll_from(shortest_s: float | None) -> Poll:
    """Return a `Poll` by its initial interval in seconds; the default one where it is absent."""
    return Poll() if shortest_s is None else Poll(shortest_s, 10 * shortest_s)


@dataclass(frozen=True, slots=True)
class JobState:
    """What a provider says of a job."""

    status: str  #: validating, in_progress, finalizing, completed, failed, expired, ...
    completed: int  #: requests
    failed: int
    total: int
    files: tuple[str, ...]  #: of results, then of errors; those there are
    problem: str  #: why the whole job failed; empty if it did not
    at: str  #: UTC time of its end, ISO 8601; empty before, and where it is none
    n_results: int = 0  #: requests whose results its files must hold once it has ended

    @property
    def is_ended(self) -> bool:
        """Return whether it stays as it is."""
        return self.status in ENDED

    def __str__(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        problem = f": {self.problem}" if self.problem else ""
        return f"{self.status}, {self.completed:,} of {self.total:,} done{failed}{problem}"


async def start(ledger: Ledger, job: Job, api: FileApi, *, experiment: str) -> Job | None:
    """Take a recorded chunk to a created job, from the step that an earlier run reached.

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


async def state(job: Job, api: FileApi) -> JobState:
    """Ask how a job stands.

    Raises:
        ApiError: the provider does not know it, or does not answer.
    """
    batch = await api.get(f"/batches/{segment(job.batch_id or '')}")
    counts = batch.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    n_requests = len(job.requests)
    completed, failed = (_count(counts.get(name), n_requests) for name in ("completed", "failed"))
    status = one_line(str(batch.get("status")))
    n_told = None if completed is None or failed is None else completed + failed
    if n_told is None or n_told > n_requests:  # nothing that can be true
        n_told = n_requests if status == "completed" else 0
    names = (batch.get("output_file_id"), batch.get("error_file_id"))
    files = tuple(file for file in names if isinstance(file, str) and file)
    if status == "failed" and not files:  # before anything was done
        n_told = 0
    ended_at = (_moment(batch.get(f"{state}_at")) for state in sorted(ENDED))
    return JobState(
        status=status,
        completed=completed or 0,
        failed=failed or 0,
        total=_count(counts.get("total"), n_requests) or n_requests,
        files=files,
        problem=_problem(batch.get("errors")),
        at=next(filter(None, ended_at), ""),
        n_results=n_told,
    )


async def fetch_results(job: Job, files: Sequence[str], api: FileApi, read: Reader) -> Results:
    """Download and read the results of a job that has ended.

    A file that is gone, or holds no results at all, is a trouble of the results.

    Args:
        job: its requests bound the size of a file, and its price that of a reply without usage.
        files: of the job.
        api: of its provider.
        read: the judge's reader.

    Raises:
        FatalApiError: the provider refuses everything.
    """
    results = Results()
    most = min(LARGEST_FILE, _FILE_ROOM + len(job.requests) * _RESULT_ROOM)
    most_usd = job.cost_usd / max(1, len(job.requests))
    for file in files:
        try:
            raw = await api.download(file, most=most)
        except FatalApiError:
            raise
        except ApiError as error:
            results.troubles.append(str(error))
            continue
        n_results = results.take(raw, read, discount=BATCH_DISCOUNT, most_usd=most_usd)
        if not n_results and raw.strip():
            said = one_line(raw[:1000].decode("utf-8", "replace"))
            results.troubles.append(f"garbage: file {one_line(file)} holds no results: {said}")
    return results


async def follow(
    jobs: Sequence[Job],
    api: FileApi,
    poll: Poll,
    log: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Wait until every job has ended, is unknown to the provider, or is long overdue.

    A provider that does not answer for a while is waited for too. Once ``stop`` is set, nothing is.

    Raises:
        FatalApiError: the provider refuses everything.
    """
    waiting, n_polls, last_line = list(jobs), 0, ""
    while waiting and not stop.is_set():
        still: list[tuple[Job, JobState | ApiError]] = []
        for job in waiting:
            try:
                job_state = await state(job, api)
            except FatalApiError:
                raise
            except ApiError as error:
                if error.reason != "not_found":
                    still.append((job, error))
            else:
                if not job_state.is_ended:
                    still.append((job, job_state))
        line = "; ".join(f"{job.name} {job_state}" for job, job_state in still)
        if line and line != last_line:
            log(line)
            last_line = line
        waiting = [job for job, _ in still if not is_overdue(job)]
        if waiting:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), poll.wait_s(n_polls))
            n_polls += 1


def is_overdue(job: Job) -> bool:
    """Return whether a job is so old that its provider no longer works on it."""
    age_s = seconds_since(job.at)
    return age_s is None or age_s > OVERDUE_S


async def _create(job: Job, api: FileApi, experiment: str) -> str:
    body = {
        "input_file_id": job.file_id,
        "endpoint": URL,
        "completion_window": COMPLETION_WINDOW,
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
    """Return the id of the job that was created from this chunk, if one was.

    Raises:
        ApiError: the provider's list does not tell, so that nothing may be created.
    """
    params = {"limit": str(_PAGE)}
    seen: set[str] = set()
    while True:
        page = await api.get("/batches", params)
        listed = page.get("data")
        if not isinstance(listed, list):
            raise _untold(job, "it is no list")
        batches = [b for b in listed if isinstance(b, dict) and isinstance(b.get("id"), str)]
        for batch in batches:
            ours = batch.get("metadata") == _metadata(job, experiment)
            if ours or batch.get("input_file_id") == job.file_id:
                return str(batch["id"])
        if not batches or not page.get("has_more"):
            return None
        last = str(batches[-1]["id"])
        if last in seen or len(seen) >= _PAGES:
            raise _untold(job, "it never ends")
        seen.add(last)
        params["after"] = last


def _untold(job: Job, why: str) -> ApiError:
    return ApiError(
        "garbage",
        f"whether job {job.name} was created is not known: its answer was lost, and the "
        f"provider's list of jobs does not say, for {why}; look for it there, then run the same "
        f"command again, or forget it with: arena battle --batch --give-up {job.name}",
    )


def _metadata(job: Job, experiment: str) -> dict[str, str]:
    return {"experiment": experiment, "chunk": job.name}


def _problem(errors: object) -> str:
    """Return the first of the reasons why a whole job failed."""
    listed = errors.get("data") if isinstance(errors, dict) else None
    if not isinstance(listed, list) or not listed or not isinstance(listed[0], dict):
        return ""
    first: Mapping[str, Any] = listed[0]
    return one_line(f"{first.get('code') or 'error'}: {first.get('message') or 'no message'}")


def _count(value: object, most: int) -> int | None:
    """Return a number of requests; None if it can be none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= most else None


def _moment(value: object) -> str:
    """Return a moment, given in seconds or milliseconds since 1970; empty if it is impossible."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    seconds = value / 1000 if _LATEST_S < value <= 1000 * _LATEST_S else value
    return utc(seconds) if _EARLIEST_S <= seconds <= _LATEST_S else ""
