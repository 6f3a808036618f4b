"""Processes of Dask that start fast: they are forked from one that has everything imported.

Those of users are spawned, as are those of the tests that start `arena` as a program.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from experiments import QUIET
from programs import forks

from arena.cluster.connect import Cluster, open_cluster

NEEDS_DASK = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason='needs the extra "cluster"'
)
"""Marks tests of a cluster; nothing of Dask is imported to know which tests there are."""


@contextmanager
def two_workers(cache: Path, **environment: str) -> Iterator[Cluster]:
    """A cluster of two processes, which have this cache and these variables."""
    import dask
    import distributed  # noqa: F401  its settings are there before some are set here

    forks()
    own = {"ARENA_CACHE": str(cache), **environment}
    settings = {
        "distributed.worker.multiprocessing-method": "forkserver",
        "distributed.nanny.environ": own,
    }
    with pytest.MonkeyPatch.context() as patch, dask.config.set(settings):
        for name, value in own.items():
            patch.setenv(name, value)  # it goes before what Dask is told
        with open_cluster("local:2", None, QUIET) as two:
            yield two


@contextmanager
def dask_process(role: str, port: int) -> Iterator[BaseProcess]:
    """What ``dask scheduler`` and ``dask worker`` start, of this port or for its scheduler."""
    serve = {"scheduler": _schedule, "worker": _work}[role]
    process = forks().Process(target=_serve, args=(serve, port, dict(os.environ)))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _serve(
    serve: Callable[[int], Coroutine[None, None, None]], port: int, env: dict[str, str]
) -> None:
    os.environ.update(env)
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
    asyncio.run(serve(port))


async def _schedule(port: int) -> None:
    from distributed import Scheduler

    async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
        await scheduler.finished()


async def _work(port: int) -> None:
    from distributed import Worker

    async with Worker(f"tcp://127.0.0.1:{port}", nthreads=1, dashboard=False) as worker:
        await worker.finished()
