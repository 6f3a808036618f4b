"""How often a run stops on a difference that is not there, looking after every round.

Usage: python benchmarks/stopping.py [SIMULATIONS]

Models are equal on average and differ from query to query (logit sd 0.6). After every five
queries one looks: with the ordinary interval of all differences, or with the confidence sequence.

Then the search for the best of eight models, one of which is better than the others by so many Elo
points: how often it is dropped, which may happen in 5% of searches. Then the calls that a search of
thirteen models takes, beside those of the published protocol (160 queries, all 78 pairs) and of a
run until all are separated.

Then the gate of `arena compare`: how often a model that is not worse, given the tolerance, is
called worse.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from arena.battles.coded_columns import MODEL_A, MODEL_B
from arena.battles.load import Battles
from arena.experiment.plan import ring_pairs
from arena.rating.bradley_terry import ELO_PER_LOGIT, fit
from arena.rating.comparisons import Comparisons
from arena.rating.head_to_head import head_to_head
from arena.rating.inference import intervals
from arena.rating.sequential_tests import FIRST_LOOK, SEARCH_PRIOR, all_separated, may_be_best

N_QUERIES = 200
ROUND = 5
PROTOCOL_QUERIES = 160


def simulate(n_models: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Home and away battles of all pairs on each query: first, second, score, query."""
    pairs = np.array(list(combinations(range(n_models), 2)))
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    first, second = np.tile(pairs[:, 0], N_QUERIES), np.tile(pairs[:, 1], N_QUERIES)
    query = np.repeat(np.arange(N_QUERIES), len(pairs))
    strength = rng.normal(0, 0.6, (N_QUERIES, n_models))
    margin = strength[query, first] - strength[query, second]
    score = (rng.random(len(margin)) < 1 / (1 + np.exp(-margin))).astype(np.float64)
    return first, second, score, query


def stops(n_models: int, rng: np.random.Generator) -> tuple[bool, bool]:
    """Whether looking at intervals, and at the sequence, ever claims an order."""
    first, second, score, query = simulate(n_models, rng)
    by_interval = by_sequence = False
    for seen in range(FIRST_LOOK, N_QUERIES + 1, ROUND):
        rows = query < seen
        fitted = fit(
            Comparisons(first[rows], second[rows], score[rows], query[rows], n_models),
            position=False,
        )
        lower, _ = intervals(fitted)
        critical = (fitted.theta - lower)[0] / fitted.standard_error[0]
        order = np.argsort(-fitted.theta)
        gaps = fitted.theta[order[:-1]] - fitted.theta[order[1:]]
        se = fitted.difference_se[order[:-1], order[1:]]
        by_interval |= bool(np.all(gaps > critical * se))
        by_sequence |= all_separated(fitted)
    return by_interval, by_sequence


@dataclass(frozen=True)
class Search:
    """How a search for the best model, or for the whole order, went."""

    dropped: bool  #: whether the best model was dropped at any look
    calls: int
    decided: bool  #: whether it ended before its queries did
    left: int  #: models that may be the best


def search(  # noqa: PLR0913, a search and what it is for
    mean: np.ndarray,
    rng: np.random.Generator,
    *,
    n_queries: int = N_QUERIES,
    round_: int = ROUND,
    pairs_per_query: int | None = None,
    separated: bool = False,
) -> Search:
    """Play rounds until one model is left, or all are separated; the best one has code 0."""
    n_models = len(mean)
    alive, rounds, decided = np.ones(n_models, dtype=bool), [], False
    for start in range(0, n_queries, round_):
        rows = []
        for query in range(start, start + round_):
            order = rng.permutation(np.flatnonzero(alive))
            pairs = ring_pairs(len(order), pairs_per_query or n_models**2)
            rows += [(order[a], order[b], query) for a, b in pairs]
        first, second, query = np.array(rows).T
        swap = rng.random(len(rows)) < 0.5
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        strength = mean + rng.normal(0, 0.6, (round_, n_models))
        margin = strength[query - start, first] - strength[query - start, second]
        score = (rng.random(len(rows)) < 1 / (1 + np.exp(-margin))).astype(np.float64)
        rounds.append((first, second, score, query))
        columns = (np.concatenate(column) for column in zip(*rounds, strict=True))
        fitted = fit(Comparisons(*columns, n_models), prior=SEARCH_PRIOR)
        if separated:
            decided = all_separated(fitted)
        else:
            alive = may_be_best(fitted, alive, n_at_start=n_models)
            decided = alive.sum() == 1
        if decided or not alive[0]:
            break
    calls = sum(len(played[0]) for played in rounds)
    return Search(not alive[0], calls, bool(decided), int(alive.sum()))


def print_protocols(n_simulations: int) -> None:
    """The calls of searches of 13 models beside the published protocol's."""
    published = PROTOCOL_QUERIES * 78
    print(f"\n13 models, at most {PROTOCOL_QUERIES} queries; the published protocol: {published:,}")
    print("ratings, sd   until       pairs a query   calls   of the protocol   decided   left")
    for sd_elo in (60, 120):
        for name, pairs, separated in (
            ("separated", None, True),
            ("best", None, False),
            ("best", 26, False),
            ("best", 13, False),
        ):
            found = []
            for number in range(n_simulations):
                rng = np.random.default_rng([sd_elo, number])
                mean = np.sort(rng.normal(0, sd_elo / ELO_PER_LOGIT, 13))[::-1]
                found.append(
                    search(
                        mean,
                        rng,
                        n_queries=PROTOCOL_QUERIES,
                        round_=10,
                        pairs_per_query=pairs,
                        separated=separated,
                    )
                )
            calls = np.mean([each.calls for each in found])
            decided = np.mean([each.decided for each in found])
            left = "" if separated else f"{np.mean([each.left for each in found]):7.1f}"
            print(
                f"{sd_elo:7} Elo   {name:9}{pairs or 'all':>16}{calls:8,.0f}"
                f"{calls / published:18.0%}{decided:10.0%}{left}"
            )


def is_called_worse(behind_elo: float, tolerance: float, rng: np.random.Generator) -> str:
    """What a gate says at last that asks after every five queries whether B is worse than A."""
    margin = -behind_elo / ELO_PER_LOGIT + rng.normal(0, 0.6, N_QUERIES)
    b_first = np.tile([0, 1], N_QUERIES)
    query = np.repeat(np.arange(N_QUERIES), 2)
    b_won = rng.random(2 * N_QUERIES) < 1 / (1 + np.exp(-margin[query]))
    winner = np.where(b_won == (b_first == 1), MODEL_A, MODEL_B).astype(np.int8)
    log = Battles(
        models=("a", "b"),
        datasets=("all",),
        judges=("judge",),
        model_a=b_first,
        model_b=1 - b_first,
        winner=winner,
        dataset=np.zeros_like(query),
        query=query,
        judge=np.zeros_like(query),
    )
    for seen in range(FIRST_LOOK, N_QUERIES + 1, ROUND):
        change = head_to_head(log.take(np.flatnonzero(query < seen)), "a", "b").change(tolerance)
        if change != "undecided":
            return change
    return "undecided"


def main() -> None:
    """Print the share of simulations that stop, for two and for three equal models."""
    n_simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{n_simulations} simulations, a look after every {ROUND} of {N_QUERIES} queries")
    print("equal models   false stops: interval   confidence sequence")
    for n_models in (2, 3):
        rng = np.random.default_rng(n_models)
        found = np.array([stops(n_models, rng) for _ in range(n_simulations)])
        interval, sequence = found.mean(axis=0)
        print(f"{n_models:12}{interval:24.1%}{sequence:22.1%}")
    every = N_QUERIES * 28
    print(f"\nbest of 8 ahead by   dropped   battles of {every:,}")
    for lead_elo in (0, 20, 50, 100):
        rng = np.random.default_rng(lead_elo)
        mean = np.where(np.arange(8) == 0, lead_elo / ELO_PER_LOGIT, 0.0)
        searches = [search(mean, rng) for _ in range(n_simulations)]
        dropped = np.mean([each.dropped for each in searches])
        n_battles = np.mean([each.calls for each in searches])
        print(f"{lead_elo:16} Elo{dropped:10.1%}{n_battles:10,.0f}")
    print_protocols(min(n_simulations, 50))
    print("\nB behind A by   tolerance   called worse   not worse   undecided")
    for behind_elo, tolerance in ((0, 0), (20, 20), (0, 20), (0, 50), (100, 20), (200, 20)):
        rng = np.random.default_rng(behind_elo + tolerance)
        said = [is_called_worse(behind_elo, tolerance, rng) for _ in range(n_simulations)]
        shares = [said.count(word) / n_simulations for word in ("worse", "not worse", "undecided")]
        worse, not_worse, undecided = shares
        print(
            f"{behind_elo:10} Elo{tolerance:8} Elo{worse:15.1%}{not_worse:12.1%}{undecided:12.1%}"
        )


if __name__ == "__main__":
    main()
