"""Do ratings that people's labels correct hold the truth, and what do the labels buy?

::

    python benchmarks/corrected_coverage.py                       # every design, some minutes
    python benchmarks/corrected_coverage.py --rounds 1000 biased  # designs with "biased" in them

Queries have documents that people grade 0 to 3, models retrieve five of them each, and a judge
grades all with errors of its own: it likes a style of document that some models prefer, so that it
is wrong about models, not only about documents. Every battle follows from the grades. The truth
is what people's verdicts on thousands of queries give. Labels are drawn as `arena label` draws
them, by bottom-k sampling; estimates are the functions that `arena rate` calls.

Columns: how often 95% intervals hold the truth (the judge's own, people's labels alone, corrected),
the mean half-width in Elo of each, λ or β, how often one Newton step was needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from arena.rating.document_grades import GradedDocuments, estimate_grades
from arena.rating.document_weights import document_weights
from arena.rating.inference import student_quantile
from arena.rating.label_estimates import LabelEstimate, degrees_of_freedom
from arena.rating.prediction_powered import (
    LabelledBattles,
    prediction_powered,
    shrunk_battles,
)

Floats = NDArray[np.float64]
ELO = 400 / np.log(10)
TOP_K = 5
POOL = 40
"""Documents of a query that any model may retrieve."""

TIE_MARGIN = 0.02
TRUTH_QUERIES = 6000


@dataclass(frozen=True)
class Judge:
    """How a judge errs about a document's gain, 0 to 1."""

    name: str
    style: float  #: what it adds for one standard deviation of style
    noise: float  #: standard deviation of the rest of its error
    uses_relevance: float = 1.0  #: 0: it grades at random


JUDGES = {
    judge.name: judge
    for judge in (
        Judge("good", style=0.0, noise=0.12),
        Judge("biased", style=0.15, noise=0.15),
        Judge("useless", style=0.0, noise=0.35, uses_relevance=0.0),
    )
}


@dataclass(frozen=True)
class Design:
    """One row of the table."""

    unit: str  #: battle or document
    judge: Judge
    n_models: int
    n_queries: int
    n_labels: int

    @property
    def name(self) -> str:
        """As it stands in the table."""
        return (
            f"{self.n_labels} {self.unit}s, {self.judge.name} judge, {self.n_models} models, "
            f"{self.n_queries} queries"
        )


def designs() -> Iterator[Design]:
    """Models, queries and labels as users have them."""
    for unit in ("battle", "document"):
        for judge in JUDGES.values():
            for m, queries, labels in (
                (8, 40, 20),
                (8, 40, 50),
                (8, 40, 100),
                (13, 160, 50),
                (13, 160, 100),
                (13, 160, 200),
                (13, 160, 400),
            ):
                yield Design(unit, judge, m, queries, labels)


@dataclass(frozen=True)
class Models:
    """Who is how good, and who prefers which style."""

    skill: Floats  #: (m,)
    lean: Floats  #: (m,)


def draw_models(m: int, rng: np.random.Generator) -> Models:
    """Some leads, some ties, and a preference of style that has nothing to do with them."""
    return Models(skill=1.6 + rng.normal(0, 0.35, m), lean=rng.normal(0, 0.35, m))


@dataclass(frozen=True)
class World:
    """Queries with what people and the judge say of every document."""

    people: Floats  #: gains, (n_queries, POOL)
    judge: Floats
    lists: NDArray[np.intp]  #: documents, best first, (n_queries, m, TOP_K)

    def scores(self, gains: Floats) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
        """Score of the first of each pair on each query, (n_queries, n_pairs); and the pairs."""
        discount = 1 / np.log2(np.arange(2, TOP_K + 2))
        rows = np.arange(len(gains))[:, None, None]
        dcg = (gains[rows, self.lists] * discount).sum(axis=2) / discount.sum()
        first, second = np.array(list(combinations(range(self.lists.shape[1]), 2))).T
        lead = dcg[:, first] - dcg[:, second]
        return np.where(np.abs(lead) < TIE_MARGIN, 0.5, (lead > 0) * 1.0), first, second


def draw_world(models: Models, judge: Judge, n_queries: int, rng: np.random.Generator) -> World:
    """Play some queries; a query is easy or hard for all, and suits some models."""
    shape = (n_queries, POOL)
    ease = rng.normal(0, 0.5, (n_queries, 1))
    latent = rng.normal(0, 1, shape) + ease
    people = np.digitize(latent, [0.6, 1.2, 1.9]) / 3
    style = rng.normal(0, 1, shape)
    m = len(models.skill)
    suits = models.skill + rng.normal(0, 0.4, (n_queries, m))
    score = suits[:, :, None] * people[:, None, :] + models.lean[:, None] * style[:, None, :]
    score += rng.normal(0, 0.6, (n_queries, m, POOL))
    score += rng.normal(0, 0.4, (n_queries, 1, POOL))  # errors that all models share
    graded = judge.uses_relevance * people + judge.style * style + rng.normal(0, judge.noise, shape)
    judged = np.round(np.clip(graded, 0, 1) * 3) / 3
    return World(people, judged, np.argsort(-score, axis=2)[:, :, :TOP_K])


def bottom_k(size: Floats, k: int, rng: np.random.Generator) -> Floats:
    """1 / probability of the first ``k`` in the order of u / size, 0 of the others."""
    usable = np.flatnonzero(size > 0)
    rank = np.full(len(size), np.inf)
    rank[usable] = rng.random(len(usable)) / size[usable]
    order = np.argsort(rank)
    if k >= len(usable):
        return (size > 0) * 1.0
    tau = rank[order[k]]
    inverse = np.zeros(len(size))
    inverse[order[:k]] = 1 / np.minimum(1, size[order[:k]] * tau)
    return inverse


def labelled_battles(
    world: World, n_labels: int | None, rng: np.random.Generator
) -> LabelledBattles:
    """All pairs on all queries; every one is labelled where no number is given."""
    people, first, second = world.scores(world.people)
    judge, _, _ = world.scores(world.judge)
    n, pairs = judge.shape
    ones = np.ones(n * pairs)
    return LabelledBattles(
        first=np.tile(first, n),
        second=np.tile(second, n),
        query=np.repeat(np.arange(n), pairs),
        judge=judge.ravel(),
        people=people.ravel(),
        inverse=ones if n_labels is None else bottom_k(ones, n_labels, rng),
        n_models=world.lists.shape[1],
    )


def graded_documents(world: World, n_labels: int, rng: np.random.Generator) -> GradedDocuments:
    """The documents of all lists, drawn by their weight."""
    n, m, _ = world.lists.shape
    lists = {
        str(i): {str(q): [str(d) for d in world.lists[q, i]] for q in range(n)} for i in range(m)
    }
    weights = document_weights(lists, map(str, range(n)), top_k=TOP_K)
    place = weights.query, np.array([int(d) for d in weights.doc_ids])
    inverse = bottom_k(weights.size, n_labels, rng)
    return GradedDocuments(weights, world.judge[place], world.people[place], inverse)


def mean_dcg(world: World, gains: Floats) -> Floats:
    """Of each model on each query, less the mean over models, (n_queries, m)."""
    discount = 1 / np.log2(np.arange(2, TOP_K + 2))
    rows = np.arange(len(gains))[:, None, None]
    dcg: Floats = (gains[rows, world.lists] * discount).sum(axis=2) / discount.sum()
    return dcg - dcg.mean(axis=1, keepdims=True)


@dataclass
class Tally:
    """Coverage and widths of one estimate."""

    held: list[Floats]
    half: list[Floats]

    def add(self, estimate: LabelEstimate, truth: Floats, scale: float) -> None:
        """Count one round."""
        reach = student_quantile(0.025, np.array([estimate.df]))[0]
        half = reach * np.sqrt(np.maximum(np.diagonal(estimate.covariance), 0))
        self.held.append(np.abs(estimate.theta - truth) <= half)
        self.half.append(half * scale)

    @property
    def coverage(self) -> float:
        """Mean over rounds and models."""
        return float(np.mean(self.held))

    @property
    def width(self) -> float:
        """Median over rounds of the mean half-width."""
        return float(np.median(np.mean(self.half, axis=1)))


def battle_round(world: World, truth: Floats, design: Design, rng: np.random.Generator,
                 tallies: dict[str, Tally]) -> tuple[float, bool]:  # fmt: skip
    """One draw of labels of battles."""
    battles = labelled_battles(world, design.n_labels, rng)
    everything = LabelledBattles(
        battles.first, battles.second, battles.query, battles.judge, battles.judge,
        np.ones(len(battles.first)), battles.n_models,
    )  # fmt: skip
    judge = prediction_powered(everything)
    corrected = prediction_powered(battles)
    estimates = {
        "judge": judge,
        "people": prediction_powered(battles, judge_weight=0.0),
        "corrected": corrected,
        "shrunk": shrunk_battles(battles)[0],
    }
    for name, estimate in estimates.items():
        tallies[name].add(estimate, truth, ELO)
    return corrected.judge_weight, corrected.one_step


def document_round(
    world: World,
    truth: Floats,
    documents: GradedDocuments,
    tallies: dict[str, Tally],
    scale: float,
) -> tuple[float, bool]:
    """One draw of labels of documents, on the scale of DCG; widths in Elo by the given scale."""
    corrected = estimate_grades(documents)
    blind = GradedDocuments(documents.weights, np.zeros_like(documents.judge), documents.people,
                            documents.inverse)  # fmt: skip
    own = mean_dcg(world, world.judge)
    n, m = own.shape

    def of(by_query: Floats, asked: Floats) -> LabelEstimate:
        df = degrees_of_freedom(by_query, asked)
        away = by_query - by_query.mean(axis=0)
        return LabelEstimate(
            by_query.mean(axis=0), away.T @ away / (n - 1) / n, df, 1.0, np.zeros((m, m))
        )

    tallies["judge"].add(of(own, np.ones(n)), truth, scale)
    tallies["people"].add(of(estimate_grades(blind).by_query, documents.asked), truth, scale)
    tallies["corrected"].add(of(corrected.by_query, documents.asked), truth, scale)
    return corrected.slope, False


def measure(design: Design, rounds: int, seed: int) -> str:
    """A row of the table."""
    rng = np.random.default_rng(seed)
    names = ["judge", "people", "corrected"] + ["shrunk"] * (design.unit == "battle")
    tallies = {name: Tally([], []) for name in names}
    weights, steps = [], []
    n_pools = max(rounds // 25, 1)
    for _ in range(n_pools):
        models = draw_models(design.n_models, rng)
        large = draw_world(models, design.judge, TRUTH_QUERIES, rng)
        theta = prediction_powered(labelled_battles(large, None, rng)).theta
        dcg = mean_dcg(large, large.people).mean(axis=0)
        scale = ELO * float(theta @ dcg / (dcg @ dcg))
        for _ in range(rounds // n_pools):
            world = draw_world(models, design.judge, design.n_queries, rng)
            if design.unit == "battle":
                weight, step = battle_round(world, theta, design, rng, tallies)
            else:
                weight, step = document_round(
                    world, dcg, graded_documents(world, design.n_labels, rng), tallies, scale
                )
            weights.append(weight)
            steps.append(step)
    cells = [f"{tallies[name].coverage:.3f}" if name in tallies else "" for name in NAMES]
    cells += [f"{tallies[name].width:.0f}" if name in tallies else "" for name in NAMES]
    return " | ".join([*cells, f"{np.mean(weights):.2f}", f"{np.mean(steps):.2f}"])


NAMES = ("judge", "people", "corrected", "shrunk")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each design."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="designs whose names contain one of these")
    parser.add_argument("--rounds", type=int, default=200, help="draws of each design")
    args = parser.parse_args(arguments)
    print(f"{args.rounds} draws of each design")
    heads = [f"{name} {what}" for what in ("covers", "± Elo") for name in NAMES]
    print(f"| design | {' | '.join(heads)} | λ or β | one step |")
    print("|---|" + "--:|" * (len(heads) + 2))
    for seed, design in enumerate(designs()):
        if args.names and not any(name in design.name for name in args.names):
            continue
        print(f"| {design.name} | {measure(design, args.rounds, 1000 + seed)} |", flush=True)


if __name__ == "__main__":
    main()
