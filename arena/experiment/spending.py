"""What an experiment has cost so far, from its log; and what a run may still spend.

The replies are the record of everything paid for: verdicts, unreadable replies, controls and
grades alike. So a cap holds over all runs of an experiment, however often it was stopped.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from arena.config import UNPRICED, Config
from arena.errors import ConfigError
from arena.files import locked
from arena.judging.budget import Budget
from arena.records import Reply, Usage, now
from arena.store.batch_ledger import read_ledgers
from arena.store.battle_log import BattleLog
from arena.store.folder import Folder
from arena.store.log_lines import costs as read_costs
from arena.store.shards import WHOLE, Shard
from arena.store.spending_claims import Claims, read_claims

_ROUNDING_USD: Final = 1e-9
"""Sums of many small prices may differ by so much, added up in another order."""
_TURN_S: Final = 0.02
"""How often a shard looks whether another one's call is over."""

Costs = Mapping[Path, Mapping[str, float]]
"""File of replies → judge → US dollars."""


@dataclass(frozen=True, slots=True)
class Charged:
    """What the logs say that a judge has cost; US dollars."""

    usd: float  #: charged to a shard, by any log
    all_usd: float  #: by all logs there are, those of other shards too
    own_usd: float  #: of it, by the log that the shard writes
    logged_usd: float  #: of that, by replies; the rest was on the wire when a run was killed


NO_CHARGE: Final = Charged(0.0, 0.0, 0.0, 0.0)


def spent_usd(folder: Path, *, shard: Shard = WHOLE) -> Mapping[str, float]:
    """Judge → dollars, by the logs that are charged to a shard; by all of them for the whole."""
    return {judge: charged.usd for judge, charged in charges(folder, shard=shard).items()}


def charges(
    folder: Path, *, shard: Shard = WHOLE, costs: Costs | None = None
) -> dict[str, Charged]:
    """Return judge → what the logs say that it has cost.

    Shards that run at the same time may be on machines that see nothing of each other. They hold a
    common cap because each may spend an equal part of it. So a shard is charged for its own
    replies, and for its part of what was paid before there were shards.

    A run that was killed has paid for more than its replies show: for grades whose battle is not
    finished, and perhaps for calls in flight. So a log costs what its replies, its grades or its
    claims come to, whichever is the most.

    Args:
        folder: the experiment's.
        shard: the part of the plan that is played.
        costs: what replies have cost, for files that are read already; others are read here.

    Raises:
        DataError: a file is damaged; names it.
    """
    total: dict[str, Charged] = {}
    for log in Folder(folder).paid_logs():
        share = _share(log.suffix, shard)
        known = (costs or {}).get(log.replies)
        replies = _logged(log.replies) if known is None else known
        grades, claims = _logged(log.grades), read_claims(log.claims)
        for judge in replies.keys() | grades.keys() | claims.keys():
            usd = max(cost.get(judge, 0.0) for cost in (replies, grades, claims))
            before = total.get(judge, NO_CHARGE)
            is_own = log.suffix == shard.suffix
            total[judge] = Charged(
                before.usd + usd * share,
                before.all_usd + usd,
                before.own_usd + (usd if is_own else 0.0),
                before.logged_usd + (replies.get(judge, 0.0) if is_own else 0.0),
            )
    return total


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a run may spend, and what it has spent."""

    whole: Budget  #: of all judges together
    own: Mapping[str, Budget]  #: judge → its part, within the whole
    folder: Path  #: of the log
    shard: Shard
    claims: Claims  #: what the run may have spent, on disk before it does
    before: dict[str, Charged] = field(default_factory=dict)  #: what the logs said at its begin

    @property
    def paid_usd(self) -> float:
        """Return what this run has paid; US dollars."""
        return self.whole.spent_usd - _all(self.before).usd

    def charge(self, costs: Costs | None = None) -> None:
        """Count what earlier runs have spent, and what jobs under way may cost.

        Args:
            costs: as for `charges`.

        Raises:
            DataError: a file that says what was spent is damaged.
        """
        self.before.clear()
        self.before.update(charges(self.folder, shard=self.shard, costs=costs))
        _charge(self)

    def begin(self, log: BattleLog) -> None:
        """Count what was spent, and from now on write down what a call may cost before it is sent.

        Args:
            log: what this run writes; it is locked, so no other run spends from the same part.

        Raises:
            DataError: a file that says what was spent is damaged.
        """
        self.charge(log.costs)
        for judge, charged in self.before.items():
            self.claims.keep(judge, charged.own_usd)
        for judge, budget in self.own.items():
            budget.on_change = partial(self._claim, judge, budget)

    def settle(self, log: BattleLog) -> None:
        """Write down what was paid and led to no battle, such as controls and lost replies.

        Raises:
            LogError: it cannot be written.
        """
        settled = False
        try:
            self._write_rest(log)
            log.flush()
            settled = True
        finally:
            self.claims.close(settled=settled)

    def _write_rest(self, log: BattleLog) -> None:
        """Write one reply for each judge that has cost more than the log's replies add up to."""
        # An earlier run that was killed claimed more than it wrote: that sum is a guess.
        killed = {j for j, c in self.before.items() if c.own_usd - c.logged_usd > _ROUNDING_USD}
        if not killed and self.paid_usd <= _ROUNDING_USD:
            return
        logged = log.costs.get(Folder(self.folder).log(self.shard).replies, {})
        for judge in sorted(self.before.keys() | self.own.keys()):
            rest_usd = self._spent_usd(judge) - logged.get(judge, 0.0)
            if rest_usd > _ROUNDING_USD:
                budget = self.own.get(judge)
                lost = budget is not None and budget.cap.estimated_usd > _ROUNDING_USD
                usage = Usage(cost_usd=rest_usd, estimated=lost or judge in killed)
                log.write_reply(Reply("", "", "", None, None, usage, now(), judge))

    def _claim(self, judge: str, budget: Budget) -> None:
        self.claims.put(judge, self._spent_usd(judge) + budget.reserved_usd)

    def _spent_usd(self, judge: str) -> float:
        """Return what the log that this run writes is to say at its end."""
        before, budget = self.before.get(judge, NO_CHARGE), self.own.get(judge)
        return before.own_usd + (budget.spent_usd - before.usd if budget else 0.0)


def open_budgets(
    config: Config, folder: Path, *, max_usd: float | None = None, shard: Shard = WHOLE
) -> Budgets:
    """Return what all judges together may spend, and within it each by its own ``max_usd``.

    Nothing is read before `Budgets.charge`, and nothing written before `Budgets.begin`.

    Args:
        config: the experiment's.
        folder: where its log is.
        max_usd: a cap over all judges, from the command line.
        shard: the part of the plan that is played; it may spend its part of each cap.

    Raises:
        ConfigError: there is a cap, and a judge has no prices.
    """
    unpriced = [judge.log_name for judge in config.judges if not judge.priced]
    if max_usd is not None and unpriced:
        raise ConfigError("--max-usd", [f"judge {', '.join(unpriced)} needs {UNPRICED}"])
    judge_caps = {judge.log_name: judge.max_usd for judge in config.judges}
    capped = [cap for cap in judge_caps.values() if cap is not None]
    caps = [math.fsum(capped)] if len(capped) == len(judge_caps) else []
    caps += [] if max_usd is None else [max_usd]
    whole = Budget(min(caps) / shard.count if caps else None)
    turn = partial(_turn, folder) if shard.count > 1 else None
    of_judges = {
        judge: Budget(None if cap is None else cap / shard.count, within=whole, turn=turn)
        for judge, cap in judge_caps.items()
    }
    claims = Claims(Folder(folder).log(shard).claims)
    return Budgets(whole, of_judges, folder, shard, claims)


def _charge(budgets: Budgets) -> None:
    """Add to each cap what was spent before, and what jobs under way may cost."""
    jobs: defaultdict[str, float] = defaultdict(float)  # judge → dollars, of all shards
    own_jobs: defaultdict[str, float] = defaultdict(float)  # what this shard is charged of them
    for name, ledger in read_ledgers(budgets.folder).items():
        for job in ledger.values():
            if job.is_open:
                jobs[job.judge] += job.cost_usd
                own_jobs[job.judge] += job.cost_usd * _share(name, budgets.shard)
    n_parts, before = budgets.shard.count, budgets.before
    accounts = [
        (budgets.whole.cap, _all(before), math.fsum(jobs.values()), math.fsum(own_jobs.values()))
    ]
    for judge, budget in budgets.own.items():
        charged = before.get(judge, NO_CHARGE)
        accounts.append((budget.cap, charged, jobs[judge], own_jobs[judge]))
    for cap, charged, jobs_usd, own_jobs_usd in accounts:
        cap.spent_usd = charged.usd
        cap.committed_usd = own_jobs_usd
        if cap.max_usd is not None:
            # Others may have spent more than their parts, when there were other parts or none.
            rest_usd = charged.all_usd + jobs_usd - (n_parts - 1) * cap.max_usd
            cap.committed_usd = max(cap.committed_usd, rest_usd - charged.usd)


@asynccontextmanager
async def _turn(folder: Path) -> AsyncIterator[None]:
    """Wait until no other shard of this folder has a call alone on the wire."""
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(Folder(folder).turn_lock, wait_s=0))
                break
            except TimeoutError:
                await asyncio.sleep(_TURN_S)
        yield


def _all(charged: Mapping[str, Charged]) -> Charged:
    """Sum what all judges were charged."""
    rows = [(c.usd, c.all_usd, c.own_usd, c.logged_usd) for c in charged.values()]
    return Charged(*map(math.fsum, zip(*rows, strict=True))) if rows else NO_CHARGE


def _logged(path: Path) -> Mapping[str, float]:
    """Judge → dollars, by one file."""
    total: defaultdict[str, float] = defaultdict(float)
    if path.exists():
        for judge, cost_usd in read_costs(path):
            total[judge] += cost_usd
    return total


def _share(suffix: str, shard: Shard) -> float:
    """Return how much of the cost of a log with this suffix is charged to a shard."""
    if shard.name is None or suffix == shard.suffix:
        return 1.0
    same_parts = suffix.endswith(f"of{shard.count}")
    return 0.0 if same_parts else 1 / shard.count
