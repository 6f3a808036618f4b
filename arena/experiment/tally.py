"""The running count of a battle run: what is written, the live Elo, the bill."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from arena.experiment.play import Outcome
from arena.log.battle_log import BattleLog, read_battles
from arena.progress import Stage
from arena.rating.elo import Elo
from arena.records import Battle

SHOWN_EVERY_S: Final = 0.1
"""Drawing a bar takes longer than settling a battle on a fast endpoint."""


class Tally:
    """Writes each outcome to the log and keeps count; begins with what the log holds.

    The ratings are those of a replay of the log, to the last bit: they see the same battles, in
    the same order, through the same updater.
    """

    def __init__(self, log: BattleLog, folder: Path) -> None:
        self.n_judged = 0  #: battles in the log
        self.failures: Counter[str] = Counter()  #: reason → battles of this run without a verdict
        self.cost_usd = 0.0  #: of this run
        self._log = log
        self._elo: dict[str, Elo] = {}
        self._stage: Stage | None = None
        self._shown_at = 0.0
        for path in sorted(folder.glob("battles*.jsonl")):
            for battle in read_battles(path):
                self._count(battle)

    @property
    def ratings(self) -> Mapping[str, float]:
        """Model → online Elo, the mean over the data sets that it has played on."""
        found: dict[str, list[float]] = {}
        for elo in self._elo.values():
            for model, rating in elo.ratings.items():
                found.setdefault(model, []).append(rating)
        return {model: sum(ratings) / len(ratings) for model, ratings in found.items()}

    def show(self, stage: Stage) -> None:
        """Report to this stage from now on."""
        self._stage = stage
        stage.update(self.n_judged, str(self))

    def take(self, outcome: Outcome) -> None:
        """Write an outcome down and count it.

        Raises:
            LogError: it cannot be written.
        """
        if isinstance(outcome, Battle):
            self._log.write_battle(outcome)
            self._count(outcome)
        else:
            self._log.write_failure(outcome)
            self.failures[outcome.reason] += 1
        self.cost_usd += outcome.cost_usd
        now = time.monotonic()
        if self._stage and now - self._shown_at > SHOWN_EVERY_S:
            self._shown_at = now
            self._stage.update(self.n_judged, str(self))

    def finish(self) -> None:
        """Show the final count."""
        if self._stage:
            self._stage.update(self.n_judged, str(self))

    def __str__(self) -> str:
        parts = []
        if self.cost_usd:
            parts.append(f"${self.cost_usd:,.2f}")
        if self.failures:
            parts.append(f"{self.failures.total():,} failed")
        if ratings := self.ratings:
            leader = max(sorted(ratings), key=ratings.__getitem__)
            parts.append(f"{leader} leads with Elo {ratings[leader]:.0f}")
        return ", ".join(parts)

    def _count(self, battle: Battle) -> None:
        self.n_judged += 1
        elo = self._elo.setdefault(battle.dataset, Elo())
        elo.update(battle.model_a, battle.model_b, battle.winner)
