"""The options of one run of `arena battle`, beside its arena.toml."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass

from arena.errors import UsageError
from arena.experiment.experiment import Experiment
from arena.experiment.rejudge import Rejudging
from arena.experiment.stopping import StoppingRule
from arena.store.shards import WHOLE, Shard


@dataclass(frozen=True, slots=True)
class BattleOptions:
    """What one run of `arena battle` is told, beside its arena.toml.

    Attributes:
        limit: judge at most this many battles now; with 0, arena retrieves and checks the judges.
        max_usd: the most that all judges and all runs together may cost, in US dollars.
        shard: the part of the plan to play.
        gate: whether judges must pass their controls first.
        until: stop once this is decided.
        rejudging: judge the battles of the log again, by another judge.
        drift: judge this many old battles once more by the same judge.
        cluster: what ``--cluster`` names; None on this machine alone.
    """

    limit: int | None = None
    max_usd: float | None = None
    shard: Shard = WHOLE
    gate: bool = True
    until: StoppingRule | None = None
    rejudging: Rejudging | None = None
    drift: int | None = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            UsageError: naming the first.
        """
        for name, least in (("limit", 0), ("drift", 1)):
            number = getattr(self, name)
            if number is not None and number < least:
                raise UsageError(f"{name} is {number}; expected {least} or more")
        if self.max_usd is not None and not 0 < self.max_usd < math.inf:
            raise UsageError(f"max_usd is {self.max_usd}; expected an amount above 0")

    def command(self, experiment: Experiment, *, max_usd: str = "") -> str:
        """Return the command line that goes on where this run ended."""
        source = str(experiment.source)
        cap = max_usd or ("" if self.max_usd is None else f" --max-usd {self.max_usd:g}")
        gate = "" if self.gate or self.drift else " --no-gate"
        until = self.until.option if self.until else ""
        again = self.rejudging.option if self.rejudging else ""
        again += f" --drift {self.drift}" if self.drift else ""
        shard = self.shard.option
        where = "" if self.cluster is None else f" --cluster {shlex.quote(self.cluster)}".rstrip()
        return f"arena battle {shlex.quote(source)}{again}{shard}{where}{cap}{gate}{until}"
