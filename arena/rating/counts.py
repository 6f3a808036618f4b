"""Battles as integer codes, and the counts that every rating model needs of them.

For all models here the counts of (pair, position, outcome) are sufficient: one pass over the
battles, and what follows no longer depends on how many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from arena.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_SHOWN = 6
"""How many groups, and members of a group, an error message lists."""


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Battles as parallel arrays of length n; models and clusters are codes from 0."""

    first: Ints  #: the model shown first
    second: Ints  #: the model shown second
    score: Floats  #: of the first: 1 won, 0.5 tie, 0 lost, or a probability in between
    cluster: Ints  #: the query; battles that share one are not independent
    n_models: int  #: codes run from 0 to n_models - 1
    weight: Floats | None = None  #: relative weight, above 0; only ratios matter; 1 where absent

    @property
    def pair(self) -> Ints:
        """The code of each battle's ordered pair: first * n_models + second."""
        first, second = (np.asarray(side, dtype=np.intp) for side in (self.first, self.second))
        return first * self.n_models + second


@dataclass(frozen=True, slots=True)
class Counts:
    """What one pass over the battles leaves; row shown first, column second; (m, m) each."""

    battles: Floats  #: total weight
    points: Floats  #: total weight times score, of the model shown first
    pair: Ints  #: of each battle, so that nobody computes it twice, (n,)
    weight: Floats | None  #: of each battle, scaled to a mean of 1, (n,)


class DisconnectedError(UsageError):
    """Wins and ties do not connect the models both ways, so some ratings would be infinite.

    ``groups`` are the strongly connected parts of the win graph, those that reach the most
    models first; within a group ratings exist, between groups they do not.
    """

    def __init__(
        self, groups: Sequence[Sequence[int]], models: Sequence[str] | None = None
    ) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        shown = [
            _enumerate([str(code if models is None else models[code]) for code in group])
            for group in self.groups[:_SHOWN]
        ]
        more = len(self.groups) - len(shown)
        super().__init__(
            f"no finite ratings across {len(self.groups)} groups of models: "
            + " | ".join(shown)
            + (f" | and {more} more" if more > 0 else "")
            + "; between two groups all wins go one way, or there are no battles: "
            "play more battles between them, or give a prior"
        )

    def named(self, models: Sequence[str]) -> DisconnectedError:
        """The same error with names in place of codes."""
        return DisconnectedError(self.groups, models)


def check(comparisons: Comparisons) -> None:
    """Refuse battles that cannot be rated.

    Raises:
        UsageError: no battles, columns of different lengths, or a value out of its range.
    """
    columns = {
        "first": comparisons.first,
        "second": comparisons.second,
        "score": comparisons.score,
        "cluster": comparisons.cluster,
    }
    if comparisons.weight is not None:
        columns["weight"] = comparisons.weight
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise UsageError(f"the columns of the battles differ in length: {lengths}")
    if not len(comparisons.first):
        raise UsageError("no battles to rate; play some first")
    last = comparisons.n_models - 1
    for name, least, most in (
        ("first", 0, last),
        ("second", 0, last),
        ("score", 0, 1),
        ("cluster", 0, np.inf),
    ):
        low, high = columns[name].min(), columns[name].max()
        if not (low >= least and high <= most):  # NaN fails here too
            raise UsageError(f"{name} must be {least} to {most}, got {low} to {high}")
    if comparisons.weight is not None:
        low, high = comparisons.weight.min(), comparisons.weight.max()
        if not (low > 0 and high < np.inf):
            raise UsageError(
                f"weight must be positive and finite, got {low} to {high}; "
                "leave out battles that do not count"
            )


def count(comparisons: Comparisons) -> Counts:
    """Check the battles and count them per ordered pair.

    Raises:
        UsageError: no battles, arrays of different lengths, a code or score out of range, a
            model against itself, or a negative or missing weight.
    """
    check(comparisons)
    m, pair, weight = comparisons.n_models, comparisons.pair, mean_one(comparisons.weight)
    score = np.asarray(comparisons.score, dtype=np.float64)
    battles = tally(pair, weight, m * m).reshape(m, m)
    points = score if weight is None else score * weight
    if np.diagonal(battles).any():
        code = int(np.flatnonzero(np.diagonal(battles))[0])
        raise UsageError(f"model {code} is in a battle against itself; remove that battle")
    return Counts(
        battles=battles,
        points=tally(pair, points, m * m).reshape(m, m),
        pair=pair,
        weight=weight,
    )


def mean_one(weight: Floats | None) -> Floats | None:
    """Weights scaled to a mean of 1, so that priors weigh the same whatever their unit."""
    return None if weight is None else np.asarray(weight / weight.mean(), dtype=np.float64)


def tally(code: Ints, weight: Floats | None, size: int) -> Floats:
    """Total weight per code from 0 to size - 1; how many there are of each without weights."""
    return np.bincount(code, weights=weight, minlength=size).astype(np.float64, copy=False)


def dense_clusters(comparisons: Comparisons) -> tuple[Ints, int]:
    """Cluster codes below a small multiple of the number of battles, and their bound."""
    cluster: Ints = np.asarray(comparisons.cluster, dtype=np.intp)
    if int(cluster.max()) >= 2 * len(cluster) + 1000:
        cluster = np.unique(cluster, return_inverse=True)[1]
    return cluster, int(cluster.max()) + 1


def connected_groups(counts: Counts) -> list[list[int]]:
    """Split the models into the strongly connected components of "scored against".

    One group means that the Bradley-Terry estimate is finite (Ford 1957,
    doi:10.2307/2308513). Groups that reach the most models come first.
    """
    scored = (counts.points > 0) | (counts.battles - counts.points > 0).T
    reach = (scored | np.eye(len(scored), dtype=bool)).astype(np.float32)
    while not reach.all():
        further = (reach @ reach > 0).astype(np.float32)
        if np.array_equal(further, reach):
            break
        reach = further
    mutual = (reach > 0) & (reach.T > 0)
    heads = np.flatnonzero(np.argmax(mutual, axis=1) == np.arange(len(mutual)))
    heads = heads[np.argsort(-reach[heads].sum(axis=1), kind="stable")]
    return [np.flatnonzero(mutual[head]).tolist() for head in heads]


def _enumerate(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
