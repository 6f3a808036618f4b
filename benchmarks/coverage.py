"""Are intervals, separations and P(A > B) honest where queries are few or unevenly spread?

::

    python benchmarks/coverage.py                          # every design, a few minutes
    python benchmarks/coverage.py --rounds 1000 late       # longer; designs with "late" in them
    python benchmarks/coverage.py --bootstrap 400

Logs are drawn from a model whose truth is known, and go through `arena.rate` as anybody's would:
nothing of the fit is used to make or to judge them. On each query each model is better or worse
than it is on average (logit sd 0.6), so that battles on a query hang together. The truth is what
infinitely many queries, spread over data sets and pairs of models as in the log, would give.

Columns: how often 95% intervals hold the true rating, on average over models and for the model for
which they do so least; in how many logs some pair was separated wrongly; in how many pairs, one
taken from a log, P(A > B) was beyond 97.5% for the wrong one; half-widths in Elo points, median
and that of the widest model; effective queries of models, most and least; whether a note of the
leaderboard says that something is thin.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

import arena
from arena.experiment.plan import ring_pairs
from arena.rating.leaderboard_records import Leaderboard

Floats = NDArray[np.float64]
QUERY_SD = 0.6
ELO = 400 / np.log(10)
LEVEL = 0.95


@dataclass(frozen=True)
class Design:
    """A plan of battles, and who is how good."""

    name: str
    plan: pd.DataFrame  #: dataset, query_id, first, second: one row a battle
    strengths: Floats  #: of each model on each data set, (n_datasets, m)
    gamma: float = 0.0  #: logits that the first place adds
    tie_half_width: float = 0.2  #: logits within which a battle is a tie


def all_pairs(
    m: int, queries: Sequence[int], rng: np.random.Generator, late: Sequence[int] = ()
) -> pd.DataFrame:
    """Every pair on every query, in an order by lot; the last model on the first few only."""
    rows = []
    for dataset, n in enumerate(queries):
        for query in range(n):
            n_late = late[dataset] if late else n
            rows += [
                (dataset, query, *rng.permutation(pair))
                for pair in combinations(range(m), 2)
                if m - 1 not in pair or query < n_late
            ]
    return pd.DataFrame(rows, columns=["dataset", "query_id", "first", "second"])


def at_random(
    m: int, n_battles: int, n_queries: int, rng: np.random.Generator, rare: float = 1.0
) -> pd.DataFrame:
    """Battles by lot; the last model takes part in a share ``rare`` of what it would."""
    weight = np.ones(m)
    weight[-1] = rare
    pairs = np.array([rng.choice(m, 2, replace=False, p=weight / weight.sum())
                      for _ in range(n_battles)])  # fmt: skip
    query = rng.integers(0, n_queries, n_battles)
    return pd.DataFrame(
        {"dataset": 0, "query_id": query, "first": pairs[:, 0], "second": pairs[:, 1]}
    )


def on_rings(m: int, n_queries: int, n_pairs: int, rng: np.random.Generator) -> pd.DataFrame:
    """A sparse plan: neighbours on a ring that is drawn for each query."""
    rows = []
    for query in range(n_queries):
        order = rng.permutation(m)
        for a, b in ring_pairs(m, n_pairs):
            rows.append((0, query, *rng.permutation([order[a], order[b]])))
    return pd.DataFrame(rows, columns=["dataset", "query_id", "first", "second"])


def chain(queries: Sequence[int], rng: np.random.Generator) -> pd.DataFrame:
    """Model i meets only i + 1, on a data set of its own."""
    rows = [
        (link, query, *rng.permutation([link, link + 1]))
        for link, n in enumerate(queries)
        for query in range(n)
        for _ in range(4)
    ]
    return pd.DataFrame(rows, columns=["dataset", "query_id", "first", "second"])


def designs() -> list[Design]:
    """All of them; each has a plan of its own that stays the same over rounds."""
    found: list[Design] = []

    def add(
        name: str,
        plan: Callable[[np.random.Generator], pd.DataFrame],
        strengths: Floats | None = None,
        **more: float,
    ) -> None:
        table = plan(np.random.default_rng(len(found)))
        m, n = int(table[["first", "second"]].max().max()) + 1, int(table.dataset.max()) + 1
        base = np.zeros((n, m)) if strengths is None else np.broadcast_to(strengths, (n, m))
        found.append(Design(name, table, base, **more))

    for queries in ([60], [20], [10], [60, 60], [200, 10], [200, 5], [200, 2], [60, 60, 5]):
        add(
            "8 models, " + " + ".join(map(str, queries)),
            lambda rng, q=queries: all_pairs(8, q, rng),
        )
    add("8 models, ten sets of 2", lambda rng: all_pairs(8, [2] * 10, rng))
    add("8 models, 60 + 1", lambda rng: all_pairs(8, [60, 1], rng))
    add("20 models, 30", lambda rng: all_pairs(20, [30], rng))
    for late in (3, 6, 10):
        add(f"late model on {late} of 60", lambda rng, n=late: all_pairs(9, [60], rng, [n]))
    add("late model on 6 + 6 of 60 + 60", lambda rng: all_pairs(9, [60, 60], rng, [6, 6]))
    add("late model on 1 of 60", lambda rng: all_pairs(9, [60], rng, [1]))
    add("thin model, by lot", lambda rng: at_random(8, 3000, 60, rng, rare=0.02))
    add("one battle a query, 400", lambda rng: at_random(6, 400, 400, rng))
    add("chain over sets of 100, 5, 100", lambda rng: chain([100, 5, 100], rng))
    skewed = np.array([-2.0, -1.2, -0.6, -0.3, 0.0, 0.8, 1.4, 1.9])
    add("skewed, 60", lambda rng: all_pairs(8, [60], rng), skewed)
    add("skewed, 200 + 5", lambda rng: all_pairs(8, [200, 5], rng), skewed)
    differ = np.stack([np.linspace(-0.6, 0.6, 8), np.linspace(0.6, -0.6, 8)])
    add("sets that differ, 60 + 60", lambda rng: all_pairs(8, [60, 60], rng), differ)
    add("sets that differ, 200 + 8", lambda rng: all_pairs(8, [200, 8], rng), differ)
    add("half are ties, 60", lambda rng: all_pairs(8, [60], rng), tie_half_width=1.2)
    add("half are ties, 200 + 5", lambda rng: all_pairs(8, [200, 5], rng), tie_half_width=1.2)
    add("first place, 60", lambda rng: all_pairs(8, [60], rng), gamma=0.5)
    add("first place, 200 + 5", lambda rng: all_pairs(8, [200, 5], rng), gamma=0.5)
    for n_pairs, n in ((13, 60), (13, 20), (6, 60)):
        add(
            f"13 models, {n}, {n_pairs} pairs a query",
            lambda rng, n=n, k=n_pairs: on_rings(13, n, k, rng),
            np.linspace(-0.6, 0.6, 13),
        )
    return found


def truth(design: Design) -> Floats:
    """The ratings of infinitely many queries, where data sets weigh the same, in logits."""
    cells = design.plan.groupby(["dataset", "first", "second"]).size()
    weight = (cells / cells.groupby("dataset").transform("sum")).to_numpy()
    dataset, first, second = np.array(cells.index.tolist()).T
    nodes, mass = np.polynomial.hermite_e.hermegauss(60)
    margin = design.strengths[dataset, first] - design.strengths[dataset, second] + design.gamma
    drawn = margin[:, None] + np.sqrt(2) * QUERY_SD * nodes
    half = design.tie_half_width
    score = ((sigmoid(drawn - half) + sigmoid(drawn + half)) / 2) @ mass / mass.sum()
    m = design.strengths.shape[1]

    def loss(x: Floats) -> float:
        d = x[first] - x[second] + x[m]
        return float(weight @ (np.logaddexp(0, d) - score * d) + 1e-9 * x @ x)

    found = minimize(loss, np.zeros(m + 1), method="BFGS", options={"gtol": 1e-9}).x[:m]
    return np.asarray(found - found.mean())


def play(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    """A log of the design."""
    plan, m = design.plan, design.strengths.shape[1]
    query = plan.groupby(["dataset", "query_id"]).ngroup().to_numpy()
    effect = rng.normal(0, QUERY_SD, (query.max() + 1, m))
    dataset, first, second = (plan[name].to_numpy() for name in ("dataset", "first", "second"))
    ability = design.strengths[dataset]
    row = np.arange(len(plan))
    margin = ability[row, first] + effect[query, first] - ability[row, second]
    margin += design.gamma - effect[query, second]
    noisy = margin + rng.logistic(size=len(plan))
    winner = np.select(
        [noisy > design.tie_half_width, noisy < -design.tie_half_width],
        ["model_a", "model_b"],
        "tie",
    )
    names = np.array([f"m{code:02}" for code in range(m)])
    return pd.DataFrame(
        {
            "dataset": dataset,
            "query_id": plan.query_id,
            "model_a": names[first],
            "model_b": names[second],
            "winner": winner,
        }
    )


@dataclass
class Score:
    """What was seen of a design so far, one entry a log."""

    held: list[list[bool]] = field(default_factory=list)
    wrong: list[bool] = field(default_factory=list)
    surely: list[float] = field(default_factory=list)
    half: list[list[float]] = field(default_factory=list)
    queries: list[list[float]] = field(default_factory=list)
    noted: list[bool] = field(default_factory=list)

    def add(self, board: Leaderboard, target: Floats) -> None:
        """Take in a leaderboard."""
        rows = sorted(board.overall, key=lambda row: row.model)
        if rows[0].lower is None:  # no finite rating: nothing is claimed
            return
        place = {row.model: code for code, row in enumerate(rows)}
        real = 1500 + ELO * target
        ends = np.array([(row.lower, row.upper) for row in rows], dtype=float)
        self.held.append(((ends[:, 0] <= real) & (real <= ends[:, 1])).tolist())
        self.half.append(((ends[:, 1] - ends[:, 0]) / 2).tolist())
        self.queries.append([row.effective_queries or np.nan for row in rows])
        false = [target[place[p.a]] < target[place[p.b]] + 1e-6 for p in board.pairs]
        self.wrong.append(any(p.separated and f for p, f in zip(board.pairs, false, strict=True)))
        # Of equals either may come out above: beyond 97.5% both ways is 5% of pairs.
        self.surely.append(
            float(
                np.mean(
                    [
                        f and (p.p_better or 0) > 0.975
                        for p, f in zip(board.pairs, false, strict=True)
                    ]
                )
            )
        )
        self.noted.append(any(re.match("thin|fewer than|only", note) for note in board.notes))

    def __str__(self) -> str:
        held, half = np.mean(self.held, axis=0), np.median(self.half, axis=0)
        queries = np.median(self.queries, axis=0)
        noted = "yes" if np.mean(self.noted) > 0.5 else ""
        return (
            f"{held.mean():.3f} | {held.min():.3f} | {np.mean(self.wrong):.3f} | "
            f"{np.mean(self.surely):.3f} | {np.median(half):.0f} | {half.max():.0f} | "
            f"{queries.max():.0f} | {queries.min():.1f} | {noted}"
        )


def main() -> None:
    """Print a row for each design."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="designs whose names contain one of these")
    parser.add_argument("--rounds", type=int, default=150, help="logs of each design")
    parser.add_argument("--bootstrap", type=int, default=0, help="draws, in place of the sandwich")
    args = parser.parse_args()
    settings = arena.RatingSettings(n_permutations=0, bootstrap=args.bootstrap, level=LEVEL)
    print(f"{args.rounds} logs of each design")
    print(
        "| design | covered | least | false separation | wrong P > .975 | half-width | widest "
        "| queries | fewest | note |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|---|"
    )
    for seed, design in enumerate(designs()):
        if args.names and not any(name in design.name for name in args.names):
            continue
        target, score, rng = truth(design), Score(), np.random.default_rng(1000 + seed)
        for _ in range(args.rounds):
            score.add(arena.rate(play(design, rng), settings=settings), target)
        print(f"| {design.name} | {score} |", flush=True)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^−x)."""
    return 1 / (1 + np.exp(-x))


if __name__ == "__main__":
    main()
