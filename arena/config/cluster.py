"""``[cluster]`` of an arena.toml: where the work of an experiment is done."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from arena.config.misplaced_keys import secret_field
from arena.config.section import Section

_FACTORY: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
ADDRESS: Final = re.compile(r"(?:tcp|tls|ucx|ws|wss)://[^\s/@]+")
"""A scheduler's address."""


class ClusterConfig(Section):
    """``[cluster]``: a Dask cluster that runs already, or one that arena starts."""

    address: str | None = None
    """The scheduler of a cluster that runs: ``tcp://host:8786``."""
    factory: str | None = None
    """What starts a cluster, as ``module:Class``: ``dask_jobqueue:SLURMCluster``."""
    keywords: dict[str, Any] = Field(default_factory=dict)
    """The arguments of ``factory``."""
    workers: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Workers to start with ``factory``, or to wait for at ``address``; default: those that run."""
    shards: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """Parts that the plan is judged in; default: four for each worker at the first run."""

    @model_validator(mode="after")
    def _one_cluster(self) -> Self:
        if (self.address is None) == (self.factory is None):
            raise ValueError('needs either address = "tcp://host:8786" or factory = "module:Class"')
        if self.address is not None and not ADDRESS.fullmatch(self.address):
            raise ValueError(f'address = "{self.address}" must be like tcp://host:8786')
        if self.factory is not None and not _FACTORY.fullmatch(self.factory):
            raise ValueError(
                f'factory = "{self.factory}" must be like "dask_jobqueue:SLURMCluster"'
            )
        if self.keywords and self.factory is None:
            raise ValueError("keywords are the arguments of factory, and there is no factory")
        if self.factory is not None and self.workers is None:
            raise ValueError("workers is missing: how many does factory start?")
        if name := secret_field(self.keywords):
            raise ValueError(
                f"keywords hold a secret, {name}, which arena would store beside the results"
            )
        return self
