"""Report how a battle run ended, for its command."""

from __future__ import annotations

import math
import shlex
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from arena.errors import BudgetSpentError, IncompleteError, UsageError
from arena.experiment.battle_runner import BattleResult
from arena.experiment.experiment import Experiment
from arena.experiment.rejudge import Rejudging
from arena.experiment.stopping import StoppingRule
from arena.judging.budget import Budget
from arena.progress import Reporter, Stage
from arena.rating.elo import Elo
from arena.records import Battle
from arena.store.folder import Folder
from arena.store.shards import WHOLE, Shard
from arena.terminal import dollars


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


SHOWN_EVERY_S: Final = 0.1
"""Drawing a bar takes longer than settling a battle on a fast endpoint."""


class LiveStats:
    """Keeps count of the battles in the log, and of this run's failures.

    The ratings equal those of a replay of the log, to the last bit. Both see the same battles, in
    the same order, through the same updater. Battles of a panel count one by one.

    Args:
        budget: what the cost is shown against.
        shard: the part of the plan that counts.
    """

    def __init__(self, budget: Budget, *, shard: Shard = WHOLE) -> None:
        self.judged: Counter[str] = Counter()  #: judge → its battles in the log
        self.failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Judge → reason → battles of this run without a verdict."""
        self._budget = budget
        self._shard = shard
        self._elo: dict[str, Elo] = {}
        self._stage: Stage | None = None
        self._shown_at = 0.0

    @property
    def n_judged(self) -> int:
        """Return the number of battles in the log."""
        return self.judged.total()

    @property
    def ratings(self) -> Mapping[str, float]:
        """Return model → online Elo, the mean over the data sets that it has played on."""
        by_model: dict[str, list[float]] = {}
        for elo in self._elo.values():
            for model, rating in elo.ratings.items():
                by_model.setdefault(model, []).append(rating)
        return {model: sum(ratings) / len(ratings) for model, ratings in by_model.items()}

    @contextmanager
    def shown(self, reporter: Reporter, total: int) -> Iterator[None]:
        """Report progress towards this many battles, and at the end where it stands."""
        with reporter.stage("battles", total) as stage:
            self._stage = stage
            self._show()
            try:
                yield
            finally:
                self._show()

    def count(self, battle: Battle) -> None:
        """Count a battle of the log, unless it belongs to another shard."""
        if self._shard.holds(battle.id):
            self.judged[battle.judge] += 1
            elo = self._elo.setdefault(battle.dataset, Elo())
            elo.update(battle.model_a, battle.model_b, battle.winner)

    def take(self, result: BattleResult) -> None:
        """Count what this run has settled, and show it now and then."""
        if isinstance(result, Battle):
            self.count(result)
        else:
            self.failures[result.judge][result.reason] += 1
        if time.monotonic() - self._shown_at > SHOWN_EVERY_S:
            self._show()

    def _show(self) -> None:
        if self._stage:
            self._shown_at = time.monotonic()
            self._stage.update(self.n_judged, str(self))

    def __str__(self) -> str:
        parts = []
        spent_usd, max_usd = self._budget.spent_usd, self._budget.max_usd
        if max_usd is not None:
            parts.append(f"{dollars(spent_usd)} of {dollars(max_usd)}")
        elif spent_usd:
            parts.append(dollars(spent_usd))
        if n_failed := sum(reasons.total() for reasons in self.failures.values()):
            parts.append(f"{n_failed:,} failed")
        if ratings := self.ratings:
            leader = max(sorted(ratings), key=ratings.__getitem__)
            parts.append(f"Elo {ratings[leader]:.0f} {leader}")
        return ", ".join(parts)
