"""What is known of verdicts before a plan is played: from the log, or else from public logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from arena.battles.load import Battles
from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons, Floats
from arena.rating.expected_width import Spread, spread_of
from arena.rating.fit import Fit
from arena.rating.leaderboard import as_rated, dataset_weights
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.rate_rows import comparisons_of
from arena.rating.sequential_tests import SEARCH_PRIOR

Reads = Literal["lists", "documents"]
"""What a judge reads at once: two lists, or a document (or its grade)."""

PUBLIC_SPREADS: Final[Mapping[Reads, Spread]] = {
    "lists": Spread(between=1.0, within=0.5, shared=0.25),
    "documents": Spread(between=1.3, within=0.23, shared=0.23),
}
"""The spread of verdicts in public logs (docs/evidence.md): of LLMs that read two lists, and of
battles that follow from GPT-4's grades."""


@dataclass(frozen=True, slots=True)
class Pilot:
    """What the log of an experiment says of verdicts."""

    reads: Reads  #: what most of its verdicts rest on
    spread: Spread
    fit: Fit  #: the ratings of the experiment's models, with a prior, so that all are finite
    battles: Floats  #: between each two of them, symmetric, (m, m)
    n_queries: int
    n_battles: Floats  #: of each query, (n_queries,)
    n_playing: Floats  #: models that play on each query, (n_queries,)

    def spread_for(self, reads: Reads) -> Spread:
        """Return the spread of such a judge's verdicts: the log's, or that of public logs."""
        return self.spread if reads == self.reads else PUBLIC_SPREADS[reads]


def pilot_of(battles: Battles | None, models: Sequence[str]) -> Pilot | None:
    """Return what the log says of these models; None if it has too few queries.

    Args:
        battles: all that are in the log; None if it has none.
        models: those of the experiment.
    """
    battles = _of_models(battles, models) if battles else None
    if battles is None:
        return None
    battles = as_rated(battles, RatingSettings())
    comparisons = comparisons_of(battles, models, dataset_weights(battles))
    spread = spread_of(comparisons)
    if spread is None:
        return None
    reads: Reads = "lists" if _placed(comparisons) else "documents"
    if reads == "documents":  # the other order of the same grades says the same
        spread = replace(spread, shared=spread.within)
    m = len(models)
    played = np.bincount(comparisons.first * m + comparisons.second, minlength=m * m)
    between = played.reshape(m, m).astype(np.float64)
    fitted = fit(comparisons, prior=SEARCH_PRIOR)
    return Pilot(
        reads,
        spread,
        fitted,
        between + between.T,
        battles.n_queries,
        np.bincount(battles.query, minlength=battles.n_queries).astype(np.float64),
        _n_playing(battles, models),
    )


def _n_playing(battles: Battles, models: Sequence[str]) -> Floats:
    """Return how many models play on each query, (n_queries,).

    A model that played on other queries only was dropped by a search, and plays no more. A model
    without any battle is new, and plays on these queries too.
    """
    there = np.zeros((battles.n_queries, len(battles.models)), np.bool_)
    there[battles.query, battles.model_a] = there[battles.query, battles.model_b] = True
    known = {battles.models[code] for code in np.flatnonzero(there.any(axis=0))}
    n_new = sum(model not in known for model in models)
    return np.asarray(there.sum(axis=1) + n_new, np.float64)


def _of_models(battles: Battles, models: Sequence[str]) -> Battles | None:
    """Return the battles of the experiment's present models; None if there is none."""
    present = np.array([name in models for name in battles.models], np.bool_)
    rows = np.flatnonzero(present[battles.model_a] & present[battles.model_b])
    return battles.take(rows) if len(rows) else None


def _placed(comparisons: Comparisons) -> bool:
    return comparisons.placed is None or bool(comparisons.placed.any())
