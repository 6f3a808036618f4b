"""How often the findings of `arena audit --between` are right, on judges whose truth is known.

    python benchmarks/between.py --rounds 200

Each query favours some models, alike for both judges; each judge then decides each battle with an
error of its own. The second judge repeats the first, sees smaller differences and prefers the first
place, swaps two models, or decides by lot. The true ratings are what both say of 9,000 queries.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from arena.auditing.between import build_between
from arena.auditing.between_ratings import rate_both
from arena.auditing.estimates import kendall_tau
from arena.battles.load import Battles
from arena.rating.bradley_terry import ELO_PER_LOGIT

Floats = NDArray[np.float64]
N_MODELS = 6
FIRST = np.linspace(0.8, -0.8, N_MODELS)
"""Strengths by the first judge, logits."""


def judged(
    rng: np.random.Generator,
    strengths: Sequence[Floats],
    n_queries: int,
    *,
    firsts: Sequence[float],
) -> tuple[Battles, Battles]:
    """Draw the verdicts of two judges on the same battles, every pair in both orders.

    Args:
        rng: draws.
        strengths: of the models, by the first judge and by the second, logits.
        n_queries: that are asked.
        firsts: what being shown first adds, by each judge, logits.
    """
    m = len(strengths[0])
    a, b = np.array(list(permutations(range(m), 2))).T
    favour = rng.normal(0, 0.8, (n_queries, m))
    names = tuple(f"m{i}" for i in range(m))
    both = []
    for strength, first in zip(strengths, firsts, strict=True):
        margin = strength[a] - strength[b] + favour[:, a] - favour[:, b] + first
        draw = rng.random(margin.shape)
        p = 1 / (1 + np.exp(-margin))
        winner = np.where(draw < 0.9 * p, 0, np.where(draw < 0.9, 1, 2)).ravel()
        n = winner.size
        query = np.repeat(np.arange(n_queries), len(a))
        both.append(
            Battles(
                models=names,
                datasets=("d",),
                judges=("",),
                model_a=np.tile(a, n_queries).astype(np.int32),
                model_b=np.tile(b, n_queries).astype(np.int32),
                winner=winner.astype(np.int8),
                dataset=np.zeros(n, np.int32),
                query=query.astype(np.int32),
                judge=np.zeros(n, np.int32),
                query_ids=tuple(f"{q:05}" for q in range(n_queries)),
                query_id=query.astype(np.int32),
            )
        )
    return both[0], both[1]


def designs() -> Mapping[str, tuple[Floats, float]]:
    """Return the second judge's strengths, and what being shown first adds; logits."""
    swapped = FIRST.copy()
    swapped[[0, 2]] = swapped[[2, 0]]
    return {
        "repeats the first": (FIRST, 0.2),
        "sees 0.6 of each difference, prefers the first place": (0.6 * FIRST, 0.8),
        "swaps the best and the third": (swapped, 0.2),
        "decides by lot": (0 * FIRST, 0.2),
    }


def truth(rng: np.random.Generator, second: Floats, place: float) -> tuple[float, Floats]:
    """Return Kendall's tau and the difference of each rating in Elo, of very many queries."""
    thetas = np.zeros((2, N_MODELS))
    for _ in range(3):
        logs = judged(rng, (FIRST, second), 3000, firsts=(0.2, place))
        thetas += [rated.fit.theta / 3 for rated in rate_both(*logs)]
    tau = float(kendall_tau(thetas[:1], thetas[1:])[0])
    return tau, ELO_PER_LOGIT * (thetas[1] - thetas[0])


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    rng = np.random.default_rng(given.seed)
    print(
        "| second judge | queries | same | undecided | different | tau covered | models covered |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, (second, place) in designs().items():
        tau, difference = truth(rng, second, place)
        by_model = {f"m{i}": value for i, value in enumerate(difference.tolist())}
        for n_queries in (30, 100):
            said: Counter[str] = Counter()
            for _ in range(given.rounds):
                logs = judged(rng, (FIRST, second), n_queries, firsts=(0.2, place))
                found = build_between(*logs)
                said[found.conclusion] += 1
                estimate = found.figure("rank_tau").estimate
                if (
                    estimate is not None
                    and estimate.lower is not None
                    and estimate.upper is not None
                ):
                    said["tau"] += estimate.lower - 1e-9 <= tau <= estimate.upper + 1e-9
                said["models"] += all(
                    row.lower <= by_model[row.model] <= row.upper for row in found.models
                )
            words = ("same", "undecided", "different", "tau", "models")
            has_order = bool(np.ptp(second))  # without one there is no tau to cover
            shares = " | ".join(
                f"{said[word] / given.rounds:.3f}" if has_order or word != "tau" else "–"
                for word in words
            )
            print(f"| {name} | {n_queries} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
