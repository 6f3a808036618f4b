"""Battles as integer codes, and the counts that every rating model needs of them.

For all models here the counts of (pair, position, outcome) are sufficient. They take one pass over
the battles, and later steps do not depend on the number of battles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from arena.battles.row_blocks import blocks
from arena.errors import UsageError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.signedinteger[Any]]
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
    weight: Floats | None = None  #: relative weight, above 0; only ratios matter; 1 if absent
    stratum: Ints | None = None  #: the data set, of which every query has one; one if absent
    placed: npt.NDArray[np.bool_] | None = None
    """Whether a judge saw one list first; everywhere if absent."""

    @property
    def n_layers(self) -> int:
        """Return 1, or 2 if the second layer holds the battles without a list shown first."""
        return 1 if self.placed is None or self.placed.all() else 2

    @property
    def pair(self) -> Ints:
        """Return the code of a battle's ordered pair: first * n_models + second, layers by m²."""
        m = self.n_models
        pair = np.array(self.first, np.min_scalar_type(-self.n_layers * m * m))
        pair *= m
        pair += np.asarray(self.second).astype(pair.dtype)
        if self.placed is not None and self.n_layers > 1:
            pair[~self.placed] += m * m
        return pair


@dataclass(frozen=True, slots=True)
class Counts:
    """What one pass over the battles leaves; row shown first, column second; (layers, m, m) each.

    The battles of the second layer have no first place: of them rows and columns are only sides.
    """

    battles: Floats  #: total weight
    points: Floats  #: total weight times score, of the row
    pair: Ints  #: of each battle, so that nobody computes it twice, (n,)
    weight: Floats | None  #: of each battle, scaled to a mean of 1, (n,)


class DisconnectedError(UsageError):
    """Wins and ties do not connect the models both ways, so some ratings would be infinite.

    ``groups`` are the strongly connected parts of the win graph, those that reach the most models
    first. Ratings exist within a group, but not between groups.
    """

    def __init__(
        self, groups: Sequence[Sequence[int]], models: Sequence[str] | None = None
    ) -> None:
        self.groups = tuple(tuple(group) for group in groups)
        positions = [
            _enumerate([str(code if models is None else models[code]) for code in group])
            for group in self.groups[:_SHOWN]
        ]
        more = len(self.groups) - len(positions)
        super().__init__(
            f"no finite ratings across {len(self.groups)} groups of models: "
            + " | ".join(positions)
            + (f" | and {more} more" if more > 0 else "")
            + "; between two groups all wins go one way, or there are no battles: "
            "play more battles between them, or give a prior"
        )

    def named(self, models: Sequence[str]) -> DisconnectedError:
        """Return the same error with names in place of codes."""
        return DisconnectedError(self.groups, models)


def check_battles(comparisons: Comparisons) -> None:
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
    for name in ("weight", "stratum", "placed"):
        if (column := getattr(comparisons, name)) is not None:
            columns[name] = column
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


def count_battles(comparisons: Comparisons) -> Counts:
    """Check the battles and count them per ordered pair.

    Raises:
        UsageError: no battles, arrays of different lengths, a code or score out of range, a
            model against itself, or a negative or missing weight.
    """
    check_battles(comparisons)
    m, pair, weight = comparisons.n_models, comparisons.pair, mean_one(comparisons.weight)
    score = np.asarray(comparisons.score, dtype=np.float64)
    shape = (comparisons.n_layers, m, m)
    battles = sums_by_code(pair, weight, shape[0] * m * m).reshape(shape)
    points = sums_by_code(pair, score, battles.size, times=weight).reshape(shape)
    alone = np.diagonal(battles.sum(axis=0))
    if alone.any():
        code = int(np.flatnonzero(alone)[0])
        raise UsageError(f"model {code} is in a battle against itself; remove that battle")
    return Counts(
        battles=battles,
        points=points,
        pair=pair,
        weight=weight,
    )


def mean_one(weight: Floats | None) -> Floats | None:
    """Scale weights to a mean of 1, so that priors have the same effect in any unit."""
    return None if weight is None else np.asarray(weight / weight.mean(), dtype=np.float64)


def sums_by_code(
    code: Ints, weight: Floats | None, size: int, *, times: Floats | None = None
) -> Floats:
    """Return the total weight per code from 0 to size - 1; the number of each without weights.

    Args:
        code: of each battle, (n,).
        weight: of each battle, (n,).
        size: number of codes.
        times: what to multiply the weights by, (n,).
    """
    sums = np.zeros(size)
    for block in blocks(len(code)):
        part = None if weight is None else weight[block]
        if part is not None and times is not None:
            part = part * times[block]
        sums += np.bincount(code[block], weights=part, minlength=size)
    return sums


@dataclass(frozen=True, slots=True)
class Clusters:
    """The queries of the battles, counted from 0, those of a data set one after the other."""

    code: Ints  #: of each battle, (n,)
    starts: tuple[int, ...]  #: the first query of each data set, and the number of all

    @property
    def n(self) -> int:
        """Return how many there are."""
        return self.starts[-1]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return how many queries each data set has."""
        return tuple(end - start for start, end in pairwise(self.starts))


def clusters(comparisons: Comparisons) -> Clusters:
    """Count the queries that occur, data set by data set."""
    code: Ints = np.asarray(comparisons.cluster)
    if int(code.max()) >= 2 * len(code) + 1000:
        code = np.unique(code, return_inverse=True)[1]
    present = np.bincount(code) > 0
    if not present.all():
        code = (np.cumsum(present) - 1)[code]
    n = int(np.count_nonzero(present))
    if comparisons.stratum is None:
        return Clusters(code.astype(np.intp), (0, n))
    stratum = np.zeros(n, dtype=np.intp)
    stratum[code] = comparisons.stratum
    order = np.argsort(stratum, kind="stable")
    place = np.empty(n, dtype=np.intp)
    place[order] = np.arange(n)
    starts = np.flatnonzero(np.diff(stratum[order], prepend=-1))
    return Clusters(place[code], (*starts.tolist(), n))


def connected_groups(counts: Counts) -> list[list[int]]:
    """Split the models into the strongly connected components of "scored against".

    One group means that the Bradley-Terry estimate is finite (Ford 1957,
    doi:10.2307/2308513). Groups that reach the most models come first.
    """
    won, lost = (side.sum(axis=0) for side in (counts.points, counts.battles - counts.points))
    scored = (won > 0) | (lost > 0).T | np.eye(len(won), dtype=bool)
    if scored.all():
        return [list(range(len(scored)))]
    from scipy.sparse import csgraph, csr_array  # noqa: PLC0415 - a quarter of a second to import

    graph = csr_array(scored)
    n_groups, group = csgraph.connected_components(graph, connection="strong")
    members = [np.flatnonzero(group == label).tolist() for label in range(n_groups)]
    reached = [len(csgraph.breadth_first_order(graph, each[0])[0]) for each in members]
    order = sorted(range(n_groups), key=lambda label: (-reached[label], members[label][0]))
    return [members[label] for label in order]


def _enumerate(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
