"""What the progress of a battle run shows: battles, dollars, failures and the leader by Elo."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from arena.experiment.battle_runner import BattleResult
from arena.judging.budget import Budget
from arena.progress import Reporter, Stage
from arena.rating.elo import Elo
from arena.records import Battle
from arena.store.shards import WHOLE, Shard
from arena.terminal import dollars

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
