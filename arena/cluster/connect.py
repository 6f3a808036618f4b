"""Start a Dask cluster or connect to one, and check its workers before anything is paid."""

from __future__ import annotations

import asyncio
import importlib
import logging
import platform
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from arena import optional
from arena.config.cluster import ADDRESS, ClusterConfig
from arena.errors import ClusterError, UsageError
from arena.progress import Reporter
from arena.signals import interrupts_held_back, terminated_as_interrupted
from arena.terminal import count, one_line
from arena.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future, as_completed

_LOCAL: Final = re.compile(r"local(?::(?P<workers>\d{1,4}))?")
_WAIT_S: Final = 60.0
"""Longest wait for the scheduler, and for the first worker."""

_ANSWER_S: Final = 30.0
"""Longest wait for the answer of a worker that is checked; one that is stopped never answers."""

_NOBODY_S: Final = 300.0
"""Longest time for which no worker is there that can run the tasks."""

_SILENT_S: Final = 60.0
"""Silence of a worker after which it is named; a worker tells the scheduler each second or so."""

_LOOK_S: Final = 0.05
"""How often this process looks whether a task has ended."""

_SCHEDULER: Final = {
    # A task that kills its worker is tried on a few others; one that fails is not tried again.
    "distributed.scheduler.allowed-failures": 5,
    # Tasks are long: none waits at a busy worker while another worker has nothing to do.
    "distributed.scheduler.worker-saturation": 1.0,
}
"""Settings of a scheduler that arena starts."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is ready."""

    client: Client
    n_workers: int
    """Workers at the start; later ones take work as well."""


@contextmanager
def open_cluster(
    setting: str | None, config: ClusterConfig | None, reporter: Reporter
) -> Iterator[Cluster]:
    """Start or find the cluster that the command line or the arena.toml names.

    Args:
        setting: ``local``, ``local:N`` or an address; None for that of the arena.toml.
        config: ``[cluster]`` of the arena.toml, if there is one.
        reporter: told the number of workers and the dashboard's address.

    Raises:
        ClusterError: there is no scheduler at the address, no worker comes, or the factory fails.
        UsageError: Dask is not installed, or the setting is none of these.
    """
    distributed = optional.needed("distributed", "--cluster", extra="cluster")
    wanted = _wanted(setting, config)
    with _dask_settings(_SCHEDULER), _quiet(), ExitStack() as stack:
        with terminated_as_interrupted(), interrupts_held_back():
            client, n_wanted = _client(distributed, wanted, stack)
        try:
            with terminated_as_interrupted():
                client.wait_for_workers(n_wanted, timeout=_WAIT_S)
                n_workers = len(workers_of(client))
        except TimeoutError:
            n_there = len(workers_of(client))
            raise ClusterError(
                f"{n_there} of {n_wanted} workers came within {_WAIT_S:.0f} s; start them, or ask "
                "for fewer"
            ) from None
        except (OSError, RuntimeError) as error:
            raise lost(error, "run the same command again") from None
        workers = count(n_workers, "worker")
        reporter.log(f"cluster: {workers}; dashboard: {client.dashboard_link}")
        yield Cluster(client, n_workers)


def _dask_settings(settings: Mapping[str, object]) -> AbstractContextManager[object]:
    changed: AbstractContextManager[object] = importlib.import_module("dask").config.set(settings)
    return changed


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Dask logs and warns about off the screen; arena tells what matters itself."""
    from distributed.utils import silence_logging_cmgr  # noqa: PLC0415
    from distributed.versions import VersionMismatchWarning  # noqa: PLC0415

    with silence_logging_cmgr(logging.CRITICAL), warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        yield


def workers_of(client: Client) -> set[str]:
    """Return the addresses of the workers that the scheduler knows."""
    return set(client.scheduler_info(n_workers=-1)["workers"])


def lost(error: Exception, remedy: str) -> ClusterError:
    """Return the error of a cluster that answers no more, in one line."""
    from distributed.client import FutureCancelledError  # noqa: PLC0415

    # An error of a disk has a number; those that Dask raises have none.
    if isinstance(error, FutureCancelledError) or (isinstance(error, OSError) and not error.errno):
        return ClusterError(f"the connection to the scheduler is lost; {remedy}")
    return ClusterError(f"{one_line(f'{type(error).__name__}: {error}')}; {remedy}")


def check_workers(cluster: Cluster, look: Callable[[], Mapping[str, str]]) -> None:
    """Compare every worker with this process.

    Args:
        cluster: its workers are asked.
        look: run in each worker and here: what has to be the same, by what people call it. A
            value that begins with ``problem:`` is what is wrong with that worker.

    Raises:
        ClusterError: naming the first worker that differs, and in what, or that does not answer.
    """
    try:
        answers = cluster.client.sync(_asked, cluster.client, partial(_seen, look))
    except Exception as error:  # noqa: BLE001  whatever ends the connection
        raise lost(error, "run the same command again") from None
    driver = _seen(look)
    for address, worker in sorted(answers.items()):
        if isinstance(worker, TimeoutError):
            raise ClusterError(
                f"worker {address} does not answer within {_ANSWER_S:.0f} s: it is stopped, cut "
                "off, or waits for its disk; end it, then run the same command again"
            )
        if isinstance(worker, Exception):
            raise ClusterError(f"worker {address} cannot be asked: {one_line(str(worker))}")
        for what, value in worker.items():
            if value.startswith("problem:"):
                raise ClusterError(f"worker {address}: {value.removeprefix('problem:').strip()}")
            if value != driver.get(what):
                raise ClusterError(
                    f"worker {address} has {what} {value}, and here it is {driver.get(what)}; "
                    "give all of them the same"
                )


async def _asked(
    client: Client, look: Callable[[], dict[str, str]]
) -> dict[str, dict[str, str] | Exception]:
    """Run a function in every worker; return what each of them returns, or what went wrong."""

    async def ask(address: str) -> dict[str, str] | Exception:
        try:
            async with asyncio.timeout(_ANSWER_S):
                answers = await client.run(look, workers=[address], on_error="return")
        except Exception as error:  # noqa: BLE001  what a worker raises, or its connection
            return error
        answer: dict[str, str] | Exception = answers[address]
        return answer

    workers = (await client.scheduler.identity(n_workers=-1))["workers"]
    return dict(zip(workers, await asyncio.gather(*map(ask, workers)), strict=True))


def each_ended(
    client: Client,
    tasks: as_completed,
    resume: str,
    *,
    resource: str | None = None,
    log: Callable[[str], None] | None = None,
) -> Iterator[Future]:
    """Yield tasks as they end; others may be added meanwhile.

    Args:
        client: of the cluster.
        tasks: not yielded yet.
        resume: what is kept, and how to go on.
        resource: what a worker must have to run them.
        log: told of workers that are silent.

    Raises:
        ClusterError: for a long time there was no worker that could run them.
    """
    kind = f"worker with the resource {resource}" if resource else "worker"
    heard = _WorkerContacts(log or (lambda _: None))
    seen_at = looked_at = time.monotonic()
    while not tasks.is_empty():
        if tasks.has_ready():
            yield next(tasks)
            continue
        time.sleep(_LOOK_S)
        now = time.monotonic()
        if now - looked_at > _NOBODY_S / 60:
            looked_at = now
            workers = _workers(client)
            heard.look(workers)
            if any(resource is None or w["resources"].get(resource) for w in workers.values()):
                seen_at = now
            elif now - seen_at > _NOBODY_S:
                what = f"no {kind} was there for {_NOBODY_S:.0f} s; start one"
                raise ClusterError(f"{what}; {resume}")


def _workers(client: Client) -> Mapping[str, Mapping[str, Any]]:
    """Return what the scheduler knows of each worker; nothing if the scheduler is lost."""
    try:
        workers: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    except Exception:  # noqa: BLE001  which ends all tasks anyway
        return {}
    return workers


class _WorkerContacts:
    """Remembers when the scheduler heard of each worker, by the clock of this process."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._last: dict[str, tuple[float, float]] = {}  # worker → what the scheduler noted, when
        self._silent: set[str] = set()

    def look(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """Report each worker once that has been silent for a long time."""
        now = time.monotonic()
        for address, worker in workers.items():
            noted, since = self._last.get(address, (0.0, now))
            if worker["last_seen"] != noted:
                self._last[address] = (worker["last_seen"], now)
                self._silent.discard(address)
            elif now - since > _SILENT_S and address not in self._silent:
                self._silent.add(address)
                self._log(
                    f"note: worker {address} is silent: it is stopped, or its host is gone; others "
                    "go on with its shards when Dask gives it up, or once you end it"
                )


def _seen(look: Callable[[], Mapping[str, str]]) -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])
    dask = importlib.import_module("distributed").__version__
    return {"arena": __version__, "Python": python, "Dask": dask, **look()}


def _wanted(setting: str | None, config: ClusterConfig | None) -> ClusterConfig | int | None:
    """Return the cluster's section, or the number of local workers; None for one a processor."""
    if setting is None:
        if config is None:
            raise UsageError("--cluster names no cluster; give local, local:N or tcp://host:8786")
        return config
    if local := _LOCAL.fullmatch(setting):
        n_workers = local["workers"]
        if n_workers == "0":
            raise UsageError("--cluster local:0 has no workers; give local:2")
        return None if n_workers is None else int(n_workers)
    if ADDRESS.fullmatch(setting):
        return ClusterConfig(address=setting, workers=config.workers if config else None)
    raise UsageError(f"--cluster {setting}: expected local, local:N or tcp://host:8786")


def _client(
    distributed: Any, wanted: ClusterConfig | int | None, stack: ExitStack
) -> tuple[Client, int]:
    """Return the client, and how many workers to wait for."""
    if not isinstance(wanted, ClusterConfig):
        # A worker that dies again while it starts would be given up after seconds.
        stack.enter_context(_dask_settings({"distributed.deploy.lost-worker-timeout": "1 day"}))
        try:
            local = distributed.LocalCluster(
                n_workers=wanted,
                threads_per_worker=1,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:
            raise ClusterError(f"no worker can be started here: {one_line(str(error))}") from None
        stack.enter_context(local)
        n_workers = len(local.workers)
        return stack.enter_context(distributed.Client(local)), n_workers
    if wanted.factory is not None:
        started = stack.enter_context(_started(wanted))
        client = stack.enter_context(distributed.Client(started, timeout=_WAIT_S))
        return client, wanted.workers or 1
    try:
        client = distributed.Client(wanted.address, timeout=_WAIT_S)
    except (OSError, ValueError) as error:
        what = one_line(str(error)) or type(error).__name__
        raise ClusterError(
            f"no scheduler at {wanted.address} ({what}); start one with: dask scheduler"
        ) from None
    return stack.enter_context(client), wanted.workers or 1


def _started(wanted: ClusterConfig) -> Any:
    """Start the cluster of a factory, such as those of dask_jobqueue and dask_kubernetes."""
    module, _, name = str(wanted.factory).partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"[cluster] factory = {wanted.factory}: {one_line(str(error))}") from None
    try:
        cluster = factory(**wanted.keywords)
        cluster.scale(wanted.workers)
    except Exception as error:  # noqa: BLE001  a batch system may answer anything
        raise ClusterError(f"{wanted.factory} failed: {one_line(str(error))}") from None
    return cluster
