"""What is known of verdicts before a plan is played: from the log, or else from public logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from arena.rating.battles import Battles
from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons, Floats
from arena.rating.expected_width import Spread, spread_of
from arena.rating.fit import Fit
from arena.rating.inference import SEARCH_PRIOR
from arena.rating.leaderboard import as_rated, dataset_weights
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.rate_rows import comparisons_of

Reads = Literal["lists", "documents"]
"""What a judge reads at once: two lists, or a document (or its grade)."""

PUBLIC: Final[Mapping[Reads, Spread]] = {
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
    n_complete: float  #: the share of its plan that each query has played, added up over queries

    def spread_for(self, reads: Reads) -> Spread:
        """Return the spread of such a judge's verdicts: the log's, or that of public logs."""
        return self.spread if reads == self.reads else PUBLIC[reads]


def pilot_of(battles: Battles | None, models: Sequence[str]) -> Pilot | None:
    """Return what the log says of these models; None where it has too few queries.

    Args:
        battles: all that are in the log; None where it has none.
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
        float(played_shares(prepared, battles).sum()),
    )


def played_shares(prepared: PreparedExperiment, battles: Battles) -> Floats:
    """Return for each query of a log which share of the plan's battles is played, (n_queries,).

    A model that played on other queries only was dropped by a search, and plays no more. A model
    without any battle is new, and plays on these queries too.
    """
    settings = prepared.config.experiment
    m, n_queries = len(battles.models), battles.n_queries
    there = np.zeros((n_queries, m), np.bool_)
    there[battles.query, battles.model_a] = there[battles.query, battles.model_b] = True
    playing = {battles.models[code] for code in np.flatnonzero(there.any(axis=0))}
    n_new = sum(model.name not in playing for model in prepared.config.models)
    n_models = there.sum(axis=1) + n_new
    n_pairs = n_models * (n_models - 1) / 2
    if prepared.is_sparse and settings.pairs_per_query is not None:
        n_pairs = np.minimum(n_pairs, settings.pairs_per_query)
    planned = n_pairs * (2 if settings.orders == "both" else 1)
    played = np.bincount(battles.query, minlength=n_queries)
    return np.asarray(np.minimum(played / planned, 1.0), np.float64)


def _of_models(battles: Battles, models: Sequence[str]) -> Battles | None:
    """Return the battles of the experiment's present models; None if there is none."""
    present = np.array([name in models for name in battles.models], np.bool_)
    rows = np.flatnonzero(present[battles.model_a] & present[battles.model_b])
    return battles.take(rows) if len(rows) else None


def _placed(comparisons: Comparisons) -> bool:
    return comparisons.placed is None or bool(comparisons.placed.any())
