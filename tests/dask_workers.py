"""Processes of Dask that start fast: they are forked from one that has everything imported.

Those of users are spawned, as are those of the tests that start `arena` as a program.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from experiments import QUIET
from programs import forks

from arena.cluster.connect import Cluster, open_cluster


@contextmanager
def two_workers(cache: Path, **environment: str) -> Iterator[Cluster]:
    """A cluster of two processes, which have this cache and these variables."""
    import dask

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
