"""Play until it is decided: rounds over fresh queries, and a look at the ratings after each.

The look is by a confidence sequence (`arena.rating.inference`), so that looking often does not
make chance differences count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

import numpy as np

from arena.rating.bradley_terry import ELO_PER_LOGIT, fit
from arena.rating.comparisons import Comparisons, DisconnectedError
from arena.rating.fit import Fit
from arena.rating.inference import all_separated, sequence_half_widths
from arena.records import Battle, Matchup, Winner

ROUND: Final = 10
"""Queries of each data set that are played between two looks."""

_FIRST_SCORE: Final[dict[Winner, float]] = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """What is to be decided before a run stops of its own accord."""

    width_elo: float | None = None
    """Every rating known to ± so many points; None: each model surely better than the next."""

    def reached(self, fitted: Fit) -> bool:
        """Whether the ratings decide it, at whatever moment one asks."""
        if self.width_elo is None:
            return all_separated(fitted)
        return bool(np.all(sequence_half_widths(fitted) * ELO_PER_LOGIT <= self.width_elo))

    @property
    def option(self) -> str:
        """How the command line asks for it, with a space before."""
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

    def __init__(self, goal: StoppingRule) -> None:
        self._goal = goal
        self._models: dict[str, int] = {}
        self._datasets: dict[str, int] = {}
        self._queries: dict[tuple[str, str], int] = {}
        self._rows: list[tuple[int, int, float, int, int, bool]] = []

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

    def decided(self) -> bool:
        """Whether the goal is reached; not while a model won or lost everything."""
        if not self._rows:
            return False
        columns = (np.array(column) for column in zip(*self._rows, strict=True))
        first, second, score, query, dataset, placed = columns
        per_dataset = np.bincount(dataset)
        comparisons = Comparisons(
            first=first,
            second=second,
            score=score,
            cluster=query,
            n_models=len(self._models),
            weight=len(dataset) / (len(per_dataset) * per_dataset[dataset]),
            stratum=dataset,
            placed=placed,
        )
        try:
            return self._goal.reached(fit(comparisons))
        except DisconnectedError:
            return False

    def __str__(self) -> str:
        done = f"{len(self._queries):,} queries, {len(self._rows):,} battles"
        if self.decided():
            return f"decided after {done}: {self._goal}"
        return f"not decided after {done}, all that were planned: that {self._goal}"


def in_rounds(matchups: Iterable[Matchup], n_datasets: int) -> Iterator[list[Matchup]]:
    """Part a plan into rounds of `ROUND` queries of each data set, in its own order."""
    by_query = (list(group) for _, group in groupby(matchups, lambda m: (m.dataset, m.query_id)))
    while queries := list(islice(by_query, ROUND * n_datasets)):
        yield [matchup for query in queries for matchup in query]
