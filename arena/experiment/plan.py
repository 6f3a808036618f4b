"""Which battles to play, in which order: a round robin of all models over the same queries.

The plan is a pure function of the names of models, the sampled queries and the seed. It does
not depend on the order in which models are listed, and adding a model or a query leaves every
other matchup as it was, so a finished experiment grows without paying for anything twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, zip_longest

from arena.digest import digest
from arena.records import Matchup, Orders


def plan_matchups(
    models: Sequence[str],
    queries: Mapping[str, Sequence[str]],
    *,
    orders: Orders = "both",
    seed: int = 42,
) -> Iterator[Matchup]:
    """Yield every matchup, lazily and in playing order.

    Data sets take turns query by query, so that a run cut short has seen all of them. The
    battles of one query stay together, and within it those that show the same first list:
    their prompts then share the longest prefix, which endpoints with a prompt cache bill less.

    Args:
        models: names, in any order.
        queries: dataset → its sampled query_ids, in sampling order.
        orders: ``both`` plays each pair home and away; ``balanced`` plays each pair once a
            query, and each model of a pair is first in exactly half of the pair's queries of a
            dataset (one more or less where their number is odd).
        seed: shuffles the order of models within a query.
    """
    datasets = sorted(queries)
    for position, row in enumerate(zip_longest(*(queries[dataset] for dataset in datasets))):
        for dataset, query_id in zip(datasets, row, strict=True):
            if query_id is not None:
                yield from _query_matchups(dataset, query_id, models, (orders, seed, position))


def count_matchups(
    n_models: int, queries: Mapping[str, Sequence[str]], *, orders: Orders = "both"
) -> int:
    """Return how many matchups `plan_matchups` yields."""
    pairs = n_models * (n_models - 1) // 2
    return pairs * (2 if orders == "both" else 1) * sum(map(len, queries.values()))


def _query_matchups(
    dataset: str, query_id: str, models: Sequence[str], settings: tuple[Orders, int, int]
) -> Iterator[Matchup]:
    orders, seed, position = settings
    # Every model draws its own place, so a model that joins later moves no other.
    shuffled = sorted(models, key=lambda name: digest(str(seed), dataset, query_id, name))
    if orders == "both":
        shown_first = {(a, b) for a in models for b in models if a != b}
    else:
        shown_first = {
            _home(pair, position, (seed, dataset)) for pair in combinations(sorted(models), 2)
        }
    for model_a in shuffled:
        for model_b in shuffled:
            if (model_a, model_b) in shown_first:
                yield Matchup(dataset, query_id, model_a, model_b)


def _home(pair: tuple[str, str], position: int, salt: tuple[int, str]) -> tuple[str, str]:
    """Return the pair as shown for the query at this position: first places alternate."""
    seed, dataset = salt
    starts = digest(str(seed), dataset, *pair)[0]
    return pair if (starts + position) % 2 == 0 else (pair[1], pair[0])
