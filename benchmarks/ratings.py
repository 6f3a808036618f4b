"""Do the intervals and the rank sets hold what they promise?

::

    python benchmarks/ratings.py                      # both, short
    python benchmarks/ratings.py coverage --rounds 400
    python benchmarks/ratings.py rank_sets --rounds 400

Coverage is against the rating that infinitely many queries would give: battles on one query
share how well each model happens to do on it (logit sd 0.6), and so are not independent.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np

from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons, Floats, Ints
from arena.rating.fit import Fit
from arena.rating.inference import from_sandwich, intervals
from arena.rating.student import student_quantile

N_MODELS = 20
QUERY_SD = 0.6
STRENGTHS = np.linspace(-1.0, 1.0, N_MODELS)


@dataclass(frozen=True)
class Design:
    """How an experiment is laid out."""

    name: str
    n_queries: int
    n_battles: int | None  #: at random; every pair on every query where None


DESIGNS = (
    Design("20k random battles, 200 queries", 200, 20_000),
    Design("190 pairs × 200 queries", 200, None),
    Design("20k random battles, 50 queries", 50, 20_000),
)


def simulate(design: Design, rng: np.random.Generator) -> Comparisons:
    """Battles of one experiment; who is shown first is a coin toss."""
    first, second, query = _matchups(design, rng)
    flip = rng.random(len(first)) < 0.5
    first, second = np.where(flip, second, first), np.where(flip, first, second)
    on_query = STRENGTHS + rng.normal(0, QUERY_SD, (design.n_queries, N_MODELS))
    margin = on_query[query, first] - on_query[query, second]
    won = rng.random(len(first)) < 1 / (1 + np.exp(-margin))
    return Comparisons(first, second, won.astype(np.float64), query, N_MODELS)


def truth() -> Floats:
    """The ratings of infinitely many battles on infinitely many queries."""
    first, second = np.triu_indices(N_MODELS, 1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    margin = STRENGTHS[first] - STRENGTHS[second]
    effect = np.sqrt(2) * QUERY_SD * nodes
    share = (1 / (1 + np.exp(-(margin[:, None] + effect)))) @ weights / weights.sum()
    comparisons = Comparisons(first, second, share, np.arange(len(first)), N_MODELS)
    return fit(comparisons, position=False).theta


def coverage(rounds: int) -> None:
    """Print how often 95% intervals hold the truth, by battle (iid) and by query."""
    print(f"coverage of 95% intervals, {rounds} simulations of {N_MODELS} models")
    target = truth()
    for design in DESIGNS:
        rng = np.random.default_rng(1)
        hits: dict[str, list[float]] = {"iid": [], "clustered": []}
        for _ in range(rounds):
            battles = simulate(design, rng)
            alone = replace(battles, cluster=np.arange(len(battles.first)))
            for name, data in (("iid", alone), ("clustered", battles)):
                lower, upper = intervals(fit(data))
                hits[name].append(float(np.mean((lower <= target) & (target <= upper))))
        print(f"  {design.name:34} " + _row({k: f"{np.mean(v):.3f}" for k, v in hits.items()}))


def rank_sets(rounds: int) -> None:
    """Print how often all rank sets hold the true ranks at once."""
    print(f"simultaneous coverage of 95% rank sets, {rounds} simulations of {N_MODELS} models")
    target = truth()
    rank = N_MODELS - np.argsort(np.argsort(target))
    for design in DESIGNS:
        rng = np.random.default_rng(2)
        held, differences, width = [], [], []
        for _ in range(rounds):
            ratings = fit(simulate(design, rng))
            now = from_sandwich(ratings, level=0.95)
            held.append(bool(np.all((now.rank_lower <= rank) & (rank <= now.rank_upper))))
            differences.append(_all_differences_hold(ratings, target, now.tail))
            width.append(float(np.mean(now.rank_upper - now.rank_lower + 1)))
        row = {
            "rank sets": f"{np.mean(held):.3f}",
            "all differences": f"{np.mean(differences):.3f}",
            "mean size of a set": f"{np.mean(width):.1f}",
        }
        print(f"  {design.name:34} " + _row(row))


def _matchups(design: Design, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    if design.n_battles is None:
        first, second = np.triu_indices(N_MODELS, 1)
        query = np.repeat(np.arange(design.n_queries), len(first))
        return np.tile(first, design.n_queries), np.tile(second, design.n_queries), query
    first = rng.integers(0, N_MODELS, design.n_battles)
    second = (first + rng.integers(1, N_MODELS, design.n_battles)) % N_MODELS
    return first, second, rng.integers(0, design.n_queries, design.n_battles)


def _all_differences_hold(ratings: Fit, target: Floats, tail: float) -> bool:
    """Whether the band around all pairwise differences, at the tail of those left, holds all."""
    estimate = ratings.theta[:, None] - ratings.theta[None, :]
    error = np.abs(estimate - (target[:, None] - target[None, :]))
    reach = student_quantile(tail, ratings.difference_df) * ratings.difference_se
    return bool(np.all(error <= reach))


def _row(figures: dict[str, str]) -> str:
    return "   ".join(f"{name} {figure}" for name, figure in figures.items())


def main() -> None:
    """Run what the command line names; all of it, briefly, by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", help="coverage, rank_sets; both where absent")
    parser.add_argument("--rounds", type=int, default=50, help="simulations of each design")
    args = parser.parse_args()
    jobs = {
        "coverage": lambda: coverage(args.rounds),
        "rank_sets": lambda: rank_sets(args.rounds),
    }
    if unknown := set(args.what) - set(jobs):
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(jobs)}")
    for name in args.what or jobs:
        jobs[name]()


if __name__ == "__main__":
    main()
