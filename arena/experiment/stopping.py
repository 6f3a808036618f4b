"""Play rounds of fresh queries, and check the ratings after each, until the stopping rule holds.

The look is by a confidence sequence (`arena.rating.sequential_tests`), so that looking often does
not make chance differences count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from arena.experiment.plan import Turn, turns
from arena.rating.bradley_terry import ELO_PER_LOGIT, fit
from arena.rating.comparisons import Comparisons, DisconnectedError
from arena.rating.fit import Fit
from arena.rating.sequential_tests import (
    SEARCH_PRIOR,
    all_separated,
    may_be_best,
    sequence_half_widths,
    shortfall,
)
from arena.records import Battle, Winner

ROUND: Final = 10
"""Queries of each data set that are played between two looks."""

_FIRST_SCORE: Final[dict[Winner, float]] = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """What must be decided before a run stops of its own accord."""

    width_elo: float | None = None
    """Every rating known to ± this many points; None: each model surely better than the next."""
    best: bool = False
    """Find the best model alone; models that are surely not the best are dropped."""
    within_elo: float = 0.0
    """With `best`: a model that is surely within this many points of the best is good enough."""

    def reached(self, fitted: Fit) -> bool:
        """Return whether the ratings decide it, at any moment."""
        if self.width_elo is None:
            return all_separated(fitted)
        return bool(np.all(sequence_half_widths(fitted) * ELO_PER_LOGIT <= self.width_elo))

    @property
    def option(self) -> str:
        """Return how the command line asks for it, with a space before."""
        if self.best:
            return " --until best" + (f" --within {self.within_elo:g}" if self.within_elo else "")
        width = self.width_elo
        return " --until separated" if width is None else f" --until-width {width:g}"

    def __str__(self) -> str:
        if self.width_elo is None:
            return "each model is surely better than the next"
        return f"every rating is known to ±{self.width_elo:g} Elo"


class StoppingMonitor:
    """The battles judged so far, and whether they decide what is to be decided.

    Verdicts of a panel count one by one; they share their query's cluster.
    """

    def __init__(self, rule: StoppingRule) -> None:
        self._rule = rule
        self._models: dict[str, int] = {}
        self._datasets: dict[str, int] = {}
        self._queries: dict[tuple[str, str], int] = {}
        self._rows: list[tuple[int, int, float, int, int, bool]] = []
        self._looked_at: set[tuple[str, str]] | None = None
        self._dropped: dict[str, int] = {}
        self._finding = ""

    def count(self, battle: Battle) -> None:
        """Take a battle in."""
        query = (battle.dataset, battle.query_id)
        self._rows.append(
            (
                self._models.setdefault(battle.model_a, len(self._models)),
                self._models.setdefault(battle.model_b, len(self._models)),
                _FIRST_SCORE[battle.winner],
                self._queries.setdefault(query, len(self._queries)),
                self._datasets.setdefault(battle.dataset, len(self._datasets)),
                battle.kind == "pairwise" and battle.source != "identical",
            )
        )

    def players(self) -> Callable[[str], bool]:
        """Return whether a model may be what is looked for, as far as is known now."""
        dropped = frozenset(self._dropped)
        return lambda model: model not in dropped

    def decided(self, round_played: Iterable[Turn] | None = None) -> bool:
        """Check the ratings, and return whether the rule holds.

        Args:
            round_played: the round that is over now. A look goes by the rounds that are over,
                so that a run that goes on after a stop decides as one that nobody stopped. All
                battles count if absent.
        """
        if round_played is not None:
            looked_at = self._looked_at or set()
            self._looked_at = looked_at | {(turn.dataset, turn.query_id) for turn in round_played}
        comparisons = self._comparisons()
        if comparisons is None:
            return False
        if self._rule.best:
            return self._best_is_found(fit(comparisons, prior=SEARCH_PRIOR), comparisons)
        try:
            return self._rule.reached(fit(comparisons))
        except DisconnectedError:
            return False

    def _comparisons(self) -> Comparisons | None:
        """Return the battles of the rounds that are over; None while there are none."""
        rows = self._rows
        if self._looked_at is not None:
            over = {self._queries[query] for query in self._looked_at if query in self._queries}
            rows = [row for row in rows if row[3] in over]
        if not rows:
            return None
        columns = (np.array(column) for column in zip(*rows, strict=True))
        first, second, score, query, dataset, placed = columns
        per_dataset = np.bincount(dataset)
        n_datasets = np.count_nonzero(per_dataset)
        return Comparisons(
            first=first,
            second=second,
            score=score,
            cluster=query,
            n_models=len(self._models),
            weight=len(dataset) / (n_datasets * per_dataset[dataset]),
            stratum=dataset,
            placed=placed,
        )

    def _best_is_found(self, fitted: Fit, comparisons: Comparisons) -> bool:
        """Drop the models that are surely not the best, and return whether one is left."""
        names = list(self._models)
        n_queries = len(np.unique(comparisons.cluster))
        among = np.array([name not in self._dropped for name in names])
        among = may_be_best(fitted, among, n_at_start=len(names))
        for code in np.flatnonzero(~among).tolist():
            self._dropped.setdefault(names[code], n_queries)
        leader, below = shortfall(fitted, among, n_at_start=len(names))
        left = [names[code] for code in np.argsort(-fitted.theta).tolist() if among[code]]
        done = f"after {n_queries:,} queries, {len(comparisons.first):,} battles"
        if len(left) == 1:
            self._finding = f"best: {left[0]}, {done}"
            return True
        if below * ELO_PER_LOGIT < self._rule.within_elo:
            near = f"within {self._rule.within_elo:g} Elo of the best"
            self._finding = f"{names[leader]} is {near}, {done}"
            return True
        self._finding = f"may be best: {', '.join(left)}; {done}"
        return False

    def __str__(self) -> str:
        if self._rule.best:
            dropped = ", ".join(f"{name} after {n:,}" for name, n in self._dropped.items())
            finding = self._finding or "no battle was judged: any model may be best"
            return f"{finding}; dropped, after queries: {dropped}" if dropped else finding
        done = f"{len(self._queries):,} queries, {len(self._rows):,} battles"
        if self.decided():
            return f"decided after {done}: {self._rule}"
        return f"not decided after {done}, which are all that were planned: whether {self._rule}"


def in_rounds(queries: Mapping[str, Sequence[str]]) -> Iterator[list[Turn]]:
    """Split the queries of a plan into rounds of `ROUND` queries of each data set, in its order.

    Args:
        queries: dataset → its sampled query_ids.
    """
    left = turns(queries)
    while round_ := list(islice(left, ROUND * len(queries))):
        yield round_
