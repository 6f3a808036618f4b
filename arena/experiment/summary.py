"""Report how a battle run ended, for its command."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from arena.errors import BudgetSpentError, IncompleteError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import Experiment
from arena.store.folder import Folder
from arena.terminal import dollars


@dataclass(frozen=True, slots=True)
class Summary:
    """How a battle run ended."""

    experiment: Experiment
    options: BattleOptions
    n_planned: int  #: of this shard
    judged: Mapping[str, int]  #: judge → battles in the log, this run's and earlier ones'
    failures: Mapping[str, Mapping[str, int]]  #: judge → reason → this run's, without a verdict
    cost_usd: float  #: of this run
    estimated_usd: float  #: the part of it that is not surely known
    ratings: Mapping[str, float]  #: model → the online Elo that was shown live
    interrupted: bool = False
    capped: BudgetSpentError | None = None  #: what stopped the run, if its budget did
    n_superseded: int = 0  #: battles of an earlier configuration that left the log

    @property
    def n_judged(self) -> int:
        """Return the number of battles in the log, of this run and earlier ones."""
        return sum(self.judged.values())

    def check(self) -> None:
        """Raise an error for what is missing.

        Raises:
            IncompleteError: the run was interrupted, its budget is spent, or it has more failures
                than allowed.
        """
        done = f"{self.n_judged:,} of {self.n_planned:,} battles"
        if self.capped:
            raise IncompleteError(self._over(self.capped, done))
        if self.interrupted:
            again = self.options.command(self.experiment)
            raise IncompleteError(f"stopped at {done}; go on with: {again}")
        for judge in self.experiment.config.judges:
            self._check_failures(judge.log_name, judge.max_failures)

    def _over(self, error: BudgetSpentError, progress: str) -> str:
        """Return what was spent, what is an estimate of it, and how to go on."""
        parts = self.options.shard.count
        part = f" (1/{parts} of the cap)" if parts > 1 else ""
        spent = (
            f"{progress}; {dollars(error.spent_usd)} of {dollars(error.max_usd)}{part} spent, and "
            f"the next call may cost {dollars(error.next_usd)}"
        )
        if self.estimated_usd:
            spent += (
                f"; {dollars(self.estimated_usd)} of this run are an estimate: the most that calls "
                "may have cost whose replies were lost, or whose tokens the endpoint does not tell"
            )
        told = self.options.max_usd
        if told is not None and math.isclose(told, error.max_usd * parts):
            again = self.options.command(self.experiment, max_usd=" --max-usd MORE")
            return f"{spent}; go on with: {again}"
        raised = f"raise max_usd in {self.experiment.judges_from}, then: "
        return f"{spent}; {raised}{self.options.command(self.experiment)}"

    def _check_failures(self, judge: str, allowed: float) -> None:
        """Raise an IncompleteError if a judge left too large a share without a verdict."""
        reasons = self.failures.get(judge, {})
        n_failed = sum(reasons.values())
        if n_failed <= allowed * (n_failed + self.judged.get(judge, 0)):
            return
        listed = ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())
        by = f"by {judge} " if len(self.experiment.config.judges) > 1 else ""
        file = Folder(self.experiment.folder).log(self.options.shard).failures
        raise IncompleteError(
            f"{n_failed:,} battles {by}have no verdict ({listed}), more than max_failures = "
            f"{allowed:g} allows; they are in {file}, "
            f"try them again with: {self.options.command(self.experiment)}"
        )
