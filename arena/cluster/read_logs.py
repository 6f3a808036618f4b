"""Read battle logs on the workers of a cluster, for `arena rate`.

One task reads one log and returns its battles as codes and words: texts, prompts and replies stay
where the log is. This process takes the logs in their order, and makes the same leaderboard of them
as from logs that it has read itself.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from arena.battles.coded_log import CodedLog, read_log
from arena.cluster.connect import Cluster, check_workers, each_ended, lost
from arena.errors import ArenaError, ClusterError, DataError, UnforeseenError, UsageError
from arena.progress import Reporter
from arena.terminal import count

if TYPE_CHECKING:
    from distributed import Future

_PER_WORKER: Final = 2
"""Logs that are read or wait to be taken, for each worker; so their memory has a limit."""

_AGAIN: Final = "run the same command again"

_ALONE: Final = Lock()
"""Held by the one task that reads a log in this process."""


@dataclass(frozen=True, slots=True)
class LogTask:
    """What a worker needs to read one log."""

    path: str  #: absolute
    shown: str  #: the path as it was given, for messages
    n_bytes: int  #: its size here; -1 if this process sees no such file
    aliases: Mapping[str, str]  #: spelling → model


@dataclass(frozen=True, slots=True)
class LogProblem:
    """Why a log cannot be read; the errors themselves cannot travel."""

    what: str
    remedy: str = ""
    line: int | None = None
    is_data: bool = True  #: the log is not what it should be; else the problem is another


class ClusterLogReader:
    """Reads logs on a cluster: an `arena.battles.load.ReadLogs`.

    Args:
        cluster: is ready.
        reporter: told how many logs are read.
    """

    def __init__(self, cluster: Cluster, reporter: Reporter) -> None:
        self._cluster = cluster
        self._reporter = reporter

    def __call__(
        self, files: Sequence[Path], aliases: Mapping[str, str], *, with_ids: bool
    ) -> Iterator[CodedLog]:
        """Yield the battles of each file, in the order of the files.

        Args:
            files: the logs, under paths that all workers see.
            aliases: spelling → model.
            with_ids: is of no effect, because ids travel always.

        Raises:
            ClusterError: a worker differs from this process, sees no such file, or the cluster is
                lost.
            DataError: the first file that is malformed; names file and line.
            UsageError: the suffix of a file is not known.
        """
        del with_ids
        tasks = [LogTask(str(file.absolute()), str(file), _size(file), aliases) for file in files]
        check_workers(self._cluster, partial(look_at_logs, [t for t in tasks if t.n_bytes >= 0]))
        title = f"logs on {count(self._cluster.n_workers, 'worker')}"
        with self._reporter.stage(title, len(tasks)) as stage:
            for number, (task, answer) in enumerate(self._answers(tasks), 1):
                if isinstance(answer, LogProblem):
                    raise _error(task, answer)
                stage.update(number)
                yield answer

    def _answers(self, tasks: Sequence[LogTask]) -> Iterator[tuple[LogTask, CodedLog | LogProblem]]:
        """Yield what came of each task, in their order."""
        from distributed import as_completed  # noqa: PLC0415

        client, topic = self._cluster.client, f"arena-log-{secrets.token_hex(4)}"
        submitted: deque[tuple[LogTask, Future]] = deque()
        waiting = iter(enumerate(tasks))

        def submit(n_tasks: int) -> None:
            for number, task in islice(waiting, n_tasks):
                future = client.submit(read_there, task, key=f"{topic}-{number}", pure=False)
                submitted.append((task, future))

        with _cancelled_on_error(self._cluster, submitted):
            submit(_PER_WORKER * self._cluster.n_workers)
            while submitted:
                task, future = submitted[0]
                for ended in each_ended(client, as_completed([future]), _AGAIN):
                    answer = client.gather(ended, direct=True)  # not through the scheduler
                submitted.popleft()
                del future, ended  # the worker drops what nobody refers to
                submit(1)
                yield task, answer


@contextmanager
def _cancelled_on_error(
    cluster: Cluster, submitted: Sequence[tuple[LogTask, Future]]
) -> Iterator[None]:
    """Stop the tasks that are left after an error, and put a lost cluster into one line."""
    from distributed import KilledWorker  # noqa: PLC0415

    try:
        yield
    except BaseException as error:
        with suppress(Exception):  # the scheduler may be gone
            cluster.client.cancel([future for _, future in submitted])
        if isinstance(error, ArenaError) or not isinstance(error, Exception):
            raise
        if isinstance(error, KilledWorker):
            raise ClusterError(
                f"{submitted[0][0].shown}: ended {count(error.allowed_failures + 1, 'worker')} in "
                f"turn, the last of them {error.last_worker.address}, whose log may tell why "
                "(often too little memory)"
            ) from None
        raise lost(error, _AGAIN) from None


def read_there(task: LogTask) -> CodedLog | LogProblem:
    """Read one log in a worker; return its battles, or what is wrong with it."""

    def shown(text: str) -> str:
        return text.replace(task.path, task.shown)

    try:
        with _ALONE:
            log = read_log(Path(task.path), task.aliases, with_ids=True)
    except DataError as error:
        return LogProblem(shown(error.what), error.remedy, error.line)
    except ArenaError as error:
        return LogProblem(shown(str(error)), is_data=False)
    except Exception as error:  # noqa: BLE001  told in one line, with its place
        return LogProblem(f"{task.shown}: {shown(str(UnforeseenError(error)))}", is_data=False)
    return replace(log, source=task.shown, notes=tuple(map(shown, log.notes)))


def _error(task: LogTask, problem: LogProblem) -> ArenaError:
    if problem.is_data:
        return DataError(task.shown, problem.line, problem.what, problem.remedy)
    return UsageError(problem.what)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return -1  # the task tells what is wrong, in the order of the files


def look_at_logs(tasks: Sequence[LogTask]) -> dict[str, str]:
    """Return what is wrong with the first log that this worker does not see as the driver does."""
    for task in tasks:
        try:
            with Path(task.path).open("rb") as file:
                n_bytes = file.seek(0, 2)
        except OSError as error:
            what = f"cannot read {task.path} ({error.strerror or error})"
            return {"logs": f"problem: {what}; all workers need the logs under the same path"}
        if n_bytes < task.n_bytes:  # a log that is being written may have grown
            what = f"{task.path} has {n_bytes:,} bytes, and here {task.n_bytes:,}"
            return {"logs": f"problem: {what}; all workers need the same logs"}
    return {"logs": "as given"}
