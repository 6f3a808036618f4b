"""Which battles to play, in which order: pairs of models over the same queries.

The plan is a pure function of the names of models, the sampled queries and the seed. It does
not depend on the order in which models are listed. With all pairs, adding a model or a query leaves
every other matchup as it was; with a part of them, `ring_pairs` says what changes. A finished
experiment grows without paying for anything twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest
from math import gcd

from arena.digest import digest
from arena.records import Matchup, Orders


@dataclass(frozen=True, slots=True)
class Turn:
    """A query of the plan; its battles are played together."""

    dataset: str
    query_id: str
    position: int  #: among the queries of its data set, from 0


def plan_matchups(
    models: Sequence[str],
    queries: Mapping[str, Sequence[str]],
    *,
    orders: Orders = "both",
    seed: int = 42,
    pairs_per_query: int | None = None,
) -> Iterator[Matchup]:
    """Yield every matchup, lazily and in playing order.

    Data sets take turns query by query, so that a run cut short has seen all of them. The battles
    of one query stay together, and within it those that show the same first list. Their prompts
    then share the longest prefix, which endpoints with a prompt cache bill less.

    Args:
        models: names, in any order.
        queries: dataset → its sampled query_ids, in sampling order.
        orders: ``both`` plays each pair home and away; ``balanced`` plays each pair once a
            query, and each model of a pair is first in exactly half of the pair's queries of a
            dataset (one more or less where their number is odd).
        seed: shuffles the order of models within a query.
        pairs_per_query: pairs that a query plays, drawn again for each query (`ring_pairs`); all
            if absent, or where there are no more.
    """
    for turn in turns(queries):
        yield from turn_matchups(
            turn, models, orders=orders, seed=seed, pairs_per_query=pairs_per_query
        )


def count_matchups(
    n_models: int,
    queries: Mapping[str, Sequence[str]],
    *,
    orders: Orders = "both",
    pairs_per_query: int | None = None,
) -> int:
    """Return how many matchups `plan_matchups` yields."""
    pairs = n_models * (n_models - 1) // 2
    if pairs_per_query is not None:
        pairs = min(pairs, pairs_per_query)
    return pairs * (2 if orders == "both" else 1) * sum(map(len, queries.values()))


def turns(queries: Mapping[str, Sequence[str]]) -> Iterator[Turn]:
    """Yield the queries in playing order; data sets take turns."""
    datasets = sorted(queries)
    for position, row in enumerate(zip_longest(*(queries[dataset] for dataset in datasets))):
        for dataset, query_id in zip(datasets, row, strict=True):
            if query_id is not None:
                yield Turn(dataset, query_id, position)


def turn_matchups(
    turn: Turn,
    models: Sequence[str],
    *,
    orders: Orders,
    seed: int,
    pairs_per_query: int | None = None,
) -> Iterator[Matchup]:
    """Yield the matchups of one query in playing order; the arguments are those of the plan."""
    # Every model draws its own place, so a model that joins later moves no other.
    shuffled = sorted(models, key=lambda name: digest(str(seed), turn.dataset, turn.query_id, name))
    if pairs_per_query is None:
        pairs: Iterator[tuple[str, str]] = combinations(sorted(models), 2)
    else:
        drawn = ring_pairs(len(models), pairs_per_query)
        pairs = (_sorted(shuffled[i], shuffled[j]) for i, j in drawn)
    if orders == "both":
        shown_first = {order for a, b in pairs for order in ((a, b), (b, a))}
    else:
        shown_first = {_home(pair, turn.position, (seed, turn.dataset)) for pair in pairs}
    for model_a in shuffled:
        for model_b in shuffled:
            if (model_a, model_b) in shown_first:
                yield Matchup(turn.dataset, turn.query_id, model_a, model_b)


def ring_pairs(n_models: int, n_pairs: int) -> list[tuple[int, int]]:
    """Return which places of a ring of models meet: neighbours first, then the next but one, ...

    With n_pairs = n_models every model meets its two neighbours, with twice as many the next but
    one on either side too. The rest after whole circles takes every second pair of the next circle
    first. So no model plays more than one pair more than another (two, where pairs at a distance
    form several odd circles). The places are drawn at random for each query, so that all pairs are
    equally likely.

    A model that joins the ring parts two neighbours and moves no others: of each circle all pairs
    but those that it stands between stay. More pairs begin with the same ones.

    Args:
        n_models: places of the ring.
        n_pairs: how many meet; all pairs if it is as many or more.
    """
    pairs: list[tuple[int, int]] = []
    for distance in range(1, n_models // 2 + 1):
        pairs += _circles(n_models, distance)
        if len(pairs) >= n_pairs:
            break
    return pairs[:n_pairs]


def _circles(n_models: int, distance: int) -> list[tuple[int, int]]:
    """Return all pairs at one distance on the ring, those that share no model first."""
    if 2 * distance == n_models:
        return [(place, place + distance) for place in range(distance)]
    n_circles = gcd(n_models, distance)
    length = n_models // n_circles
    # Every second step of a circle; the step that closes an odd one; the other steps.
    steps = [*range(0, length - 1, 2), *([length - 1] if length % 2 else [])]
    steps += range(1, length - 1 if length % 2 else length, 2)
    return [
        ((start + step * distance) % n_models, (start + (step + 1) * distance) % n_models)
        for step in steps
        for start in range(n_circles)
    ]


def _sorted(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _home(pair: tuple[str, str], position: int, salt: tuple[int, str]) -> tuple[str, str]:
    """Return the pair as shown for the query at this position: first places alternate."""
    seed, dataset = salt
    starts = digest(str(seed), dataset, *pair)[0]
    return pair if (starts + position) % 2 == 0 else (pair[1], pair[0])
