"""How often a run stops on a difference that is not there, looking after every round.

Usage: python benchmarks/stopping.py [SIMULATIONS]

Models are equal on average and differ from query to query (logit sd 0.6). After every five
queries one looks: with the ordinary interval of all differences, or with the confidence sequence.
"""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np

from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons
from arena.rating.inference import FIRST_LOOK, all_separated, intervals

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


if __name__ == "__main__":
    main()
