"""How often a run stops on a difference that is not there, looking after every round.

Usage: python benchmarks/stopping.py [SIMULATIONS]

Models are equal on average and differ from query to query (logit sd 0.6). After every five
queries one looks: with the ordinary interval of all differences, or with the confidence sequence.
Then the search for the best of eight models, one of which is better than the others by so many
Elo points: how often it is dropped, which may happen in 5% of searches. Then the gate of
`arena compare`: how often a model that is not worse, given the tolerance, is called worse.
"""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np

from arena.rating.battle_columns import MODEL_A, MODEL_B
from arena.rating.battles import Battles
from arena.rating.bradley_terry import ELO_PER_LOGIT, fit
from arena.rating.comparisons import Comparisons
from arena.rating.head_to_head import head_to_head
from arena.rating.inference import FIRST_LOOK, SEARCH_PRIOR, all_separated, intervals, may_be_best

N_QUERIES = 200
ROUND = 5


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


def best_is_dropped(lead_elo: float, n_models: int, rng: np.random.Generator) -> tuple[bool, int]:
    """Whether a search drops the best model at any look, and how many battles it takes."""
    pairs = np.array(list(combinations(range(n_models), 2)))
    mean = np.where(np.arange(n_models) == 0, lead_elo / ELO_PER_LOGIT, 0.0)
    alive, rounds = np.ones(n_models, dtype=bool), []
    for start in range(0, N_QUERIES, ROUND):
        playing = np.tile(pairs[alive[pairs].all(axis=1)], (ROUND, 1))
        swapped = rng.random(len(playing)) < 0.5
        playing[swapped] = playing[swapped, ::-1]
        query = np.repeat(np.arange(start, start + ROUND), len(playing) // ROUND)
        strength = mean + rng.normal(0, 0.6, (ROUND, n_models))
        margin = np.diff(-np.take_along_axis(strength[query - start], playing, 1), axis=1)[:, 0]
        score = (rng.random(len(margin)) < 1 / (1 + np.exp(-margin))).astype(np.float64)
        rounds.append((*playing.T, score, query))
        columns = (np.concatenate(column) for column in zip(*rounds, strict=True))
        alive = may_be_best(
            fit(Comparisons(*columns, n_models), prior=SEARCH_PRIOR), alive, n_at_start=n_models
        )
        if not alive[0] or alive.sum() == 1:
            break
    return not alive[0], sum(len(played[0]) for played in rounds)


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
        dropped, n_battles = np.array(
            [best_is_dropped(lead_elo, 8, rng) for _ in range(n_simulations)]
        ).mean(axis=0)
        print(f"{lead_elo:16} Elo{dropped:10.1%}{n_battles:10,.0f}")
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
