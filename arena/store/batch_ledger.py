"""batches.jsonl: every step of every batch job, on disk before the next step is taken.

A chunk of requests is recorded before it is uploaded, and the upload before a job is created from
it. The job is recorded once the provider has named it, and its end once its results are in the log.
After a crash between any two of them the next run knows what may have happened, and asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import orjson

from arena.errors import DataError
from arena.records import now
from arena.store.folder import Folder
from arena.store.locked_file import LineFile
from arena.store.shards import WHOLE, Shard

_REMEDY: Final = "restore it; deleting it forgets jobs that are paid for"


@dataclass(frozen=True, slots=True)
class Job:
    """One chunk of requests, and how far it has come."""

    name: str  #: number and hash; the provider keeps it with the job
    sha256: str  #: of the input file
    fingerprint: str  #: of the judge that the requests are meant for
    judge: str  #: its name
    requests: Mapping[str, str] = field(repr=False)  #: battle id → key of its request
    tokens: int  #: of the prompts, estimated
    cost_usd: float  #: estimated, at the price of a batch
    at: str  #: UTC time when it was recorded, ISO 8601
    dialect: Mapping[str, Any] = field(default_factory=dict)  #: how its requests were worded
    file_id: str | None = None  #: once it is uploaded
    batch_id: str | None = None  #: once the job is created
    ended: str | None = None  #: how, once it is collected or given up
    refusal: str = ""  #: what the provider said it does not know, if anything

    @property
    def is_open(self) -> bool:
        """Return whether its battles may still be judged by it."""
        return self.ended is None


class Ledger:
    """The jobs of one experiment, open for writing; a context manager.

    Args:
        folder: the experiment's.
        shard: the part of the plan that the jobs are for; it has a ledger of its own.

    Raises:
        LogError: the file cannot be opened or written.
        DataError: a line is damaged; names file and line.
    """

    def __init__(self, folder: Path, shard: Shard = WHOLE) -> None:
        self.folder = folder
        self._suffix = shard.suffix
        path = Folder(folder).log(shard).ledger
        self._file = LineFile(path)  # cuts a torn tail before the lines are read
        try:
            self.jobs = _read_ledger(path)
        except DataError:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def open_jobs(self) -> list[Job]:
        """Return the jobs that are not collected, oldest first."""
        return [job for job in self.jobs.values() if job.is_open]

    def path(self, job: Job) -> Path:
        """Return the path of a job's input file until it is collected."""
        return Folder(self.folder).batch_input(job.name)

    def name(self, sha256: str) -> str:
        """Return the name of the next job."""
        return f"{len(self.jobs) + 1:04}-{sha256[:12]}{self._suffix}"

    def add(self, job: Job) -> None:
        """Record a chunk before it is uploaded.

        Raises:
            LogError: it cannot be written.
        """
        steps = {"file_id", "batch_id", "ended", "refusal"}
        self._record("chunk", {n: getattr(job, n) for n in Job.__slots__ if n not in steps})
        self.jobs[job.name] = job

    def step(self, job: Job, **change: str) -> Job:
        """Record how far a job has come: its file_id, its batch_id, or how it ended.

        Raises:
            LogError: it cannot be written.
        """
        self._record("step", {"name": job.name, **change, "at": now()})
        self.jobs[job.name] = replace(job, **change)  # type: ignore[arg-type]
        return self.jobs[job.name]

    def _record(self, event: str, values: Mapping[str, Any]) -> None:
        line = orjson.dumps({"event": event, **values}, option=orjson.OPT_APPEND_NEWLINE)
        self._file.append(line)
        self._file.sync()


def read_jobs(folder: Path) -> dict[str, Job]:
    """Return every job of an experiment by name, of all shards; nothing is locked or written.

    Raises:
        DataError: a line is damaged; names file and line.
    """
    return {name: job for jobs in read_ledgers(folder).values() for name, job in jobs.items()}


def read_ledgers(folder: Path) -> dict[str, dict[str, Job]]:
    """Return the jobs in each ledger, oldest first, by the suffix of the log that they are for.

    Raises:
        DataError: a line is damaged; names file and line.
    """
    return {log.suffix: _read_ledger(log.ledger) for log in Folder(folder).ledger_logs()}


def _read_ledger(path: Path) -> dict[str, Job]:
    jobs: dict[str, Job] = {}
    for number, event in _events(path):
        try:
            if event.pop("event") == "chunk":
                jobs[event["name"]] = _job(event)
            else:
                del event["at"]
                name = event.pop("name")
                jobs[name] = replace(jobs[name], **event)
        except (LookupError, TypeError, AttributeError):
            raise DataError(path, number, "not a line of this ledger", _REMEDY) from None
    return jobs


def _job(event: dict[str, Any]) -> Job:
    job = Job(**event)
    requests = job.requests.items()
    if not (
        all(isinstance(text, str) for text in (job.name, job.sha256, job.judge, job.at))
        and all(isinstance(name, str) and isinstance(key, str) for name, key in requests)
        and all(isinstance(number, int | float) for number in (job.tokens, job.cost_usd))
    ):
        raise TypeError
    return job


def under_way(folder: Path) -> set[str]:
    """Return ids and keys of all requests that jobs are to bring back.

    Raises:
        DataError: a line of a ledger is damaged; names file and line.
    """
    return names_of(job for job in read_jobs(folder).values() if job.is_open)


def names_of(jobs: Iterable[Job]) -> set[str]:
    """Return ids and keys of the requests of jobs."""
    return {name for job in jobs for pair in job.requests.items() for name in pair}


def seconds_since(at: str) -> float | None:
    """Return the seconds since a time in the log; None if it is no time."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return None


def _events(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, orjson.loads(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError:
        raise DataError(path, number, "not JSON", _REMEDY) from None
