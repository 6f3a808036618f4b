"""Do ratings that people's labels correct hold the truth, and what do the labels buy?

::

    python benchmarks/corrected_coverage.py                       # every design, some minutes
    python benchmarks/corrected_coverage.py --rounds 1000 biased  # designs with "biased" in them

Queries have documents that people grade 0 to 3, models retrieve five of them each, and a judge
grades all with errors of its own: it likes a style of document that some models prefer, so that it
is wrong about models, not only about documents. Every battle follows from the grades. The truth
is what people's verdicts on thousands of queries give. Labels are drawn as `arena label` draws
them. A tenth of the questions get no answer. Estimates are the functions that `arena rate` calls.

Columns: how often 95% intervals hold the truth (the judge's own, people's labels alone, corrected),
the mean half-width in Elo of each, λ or β, how often one Newton step was needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from arena.battles.coded_columns import MODEL_A, MODEL_B, TIE
from arena.battles.load import Battles
from arena.labelling.sampling import DrawnPlace, battle_sizes, draw_items
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.people.document_grades import GradedDocuments, document_weights, estimate_grades
from arena.rating.people.label_estimates import (
    LabelEstimate,
    PeoplesLabels,
    SampledLabel,
    degrees_of_freedom,
)
from arena.rating.people.peoples_labels import answers
from arena.rating.people.prediction_powered import (
    LabelledBattles,
    judge_ratings,
    prediction_powered,
    shrunk_battles,
)
from arena.rating.student import student_quantile
from arena.store.labels import Item, LabelLine, labels_of

Floats = NDArray[np.float64]
ELO = 400 / np.log(10)
TOP_K = 5
POOL = 40
"""Documents of a query that any model may retrieve."""

TIE_MARGIN = 0.02
TRUTH_QUERIES = 6000
NO_ANSWER = 0.1
"""Share of the questions that nobody answers."""


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


def asked_items(
    sizes: dict[Item, float], n_labels: int, rng: np.random.Generator
) -> list[DrawnPlace]:
    """The first items in the order in which `arena label` asks about them."""
    return list(draw_items(sizes, seed=int(rng.integers(2**62))).order[:n_labels])


def label_line(place: DrawnPlace, draw: str, value: float, rng: np.random.Generator) -> LabelLine:
    """What one person says of an item; of some they cannot tell."""
    item = place.item
    return LabelLine(
        event="label",
        unit=item.unit,
        dataset=item.dataset,
        query_id=item.query_id,
        doc_id=item.doc_id or None,
        model_a=item.models[0] if item.models else None,
        model_b=item.models[1] if item.models else None,
        who="someone",
        value=None if rng.random() < NO_ANSWER else value,
        draw=draw,
        size=place.size,
        rank=place.rank,
        next_rank=place.next_rank,
    )


def battle_item(query: int, first: int, second: int) -> Item:
    """A battle as a draw names it; names sort as codes do."""
    return Item("battle", "all", str(query), models=(f"{first:02}", f"{second:02}"))


def labelled_battles(
    world: World, n_labels: int | None, rng: np.random.Generator
) -> LabelledBattles:
    """All pairs on all queries; every one is labelled where no number is given."""
    people, first, second = world.scores(world.people)
    judge, _, _ = world.scores(world.judge)
    n, pairs = judge.shape
    battles = LabelledBattles(
        first=np.tile(first, n),
        second=np.tile(second, n),
        query=np.repeat(np.arange(n), pairs),
        judge=judge.ravel(),
        people=people.ravel(),
        inverse=np.ones(n * pairs),
        n_models=world.lists.shape[1],
    )
    if n_labels is None:
        return battles
    codes = zip(
        battles.query.tolist(), battles.first.tolist(), battles.second.tolist(), strict=True
    )
    position = {battle_item(*code): place for place, code in enumerate(codes)}
    asked = asked_items(battle_sizes(position), n_labels, rng)
    lines = [label_line(p, "draw", battles.people[position[p.item]], rng) for p in asked]
    inverse = np.zeros(n * pairs)
    for key, answer in answers(labels_of(lines))[0].items():
        inverse[position[Item("battle", key[0], key[1], models=key[2:])]] = answer.inverse
    return replace(battles, inverse=inverse)


def document_labels(world: World, n_labels: int, rng: np.random.Generator) -> PeoplesLabels:
    """Grades of some documents of all lists, drawn by their weight, and the judge's of all."""
    n, m, _ = world.lists.shape
    lists = {
        f"{i:02}": {str(q): [str(d) for d in world.lists[q, i]] for q in range(n)} for i in range(m)
    }
    weights = document_weights(lists, map(str, range(n)), top_k=TOP_K)
    keys = [
        ("all", weights.query_ids[q], d)
        for q, d in zip(weights.query, weights.doc_ids, strict=True)
    ]
    items = [Item("document", dataset, query, doc_id=doc) for dataset, query, doc in keys]
    asked = asked_items(dict(zip(items, weights.size.tolist(), strict=True)), n_labels, rng)
    lines = [
        label_line(p, "draw", 3 * world.people[int(p.item.query_id), int(p.item.doc_id)], rng)
        for p in asked
    ]
    return PeoplesLabels(
        people=1,
        documents=answers(labels_of(lines))[1],
        lists={"all": lists},
        gains={key: float(world.judge[int(key[1]), int(key[2])]) for key in keys},
        top_k=TOP_K,
    )


def judged_battles(world: World) -> Battles:
    """The judge's verdicts on all pairs, as a log of an experiment holds them."""
    score, first, second = world.scores(world.judge)
    n, pairs = score.shape
    zeros = np.zeros(n * pairs, dtype=np.int32)
    query = np.repeat(np.arange(n), pairs).astype(np.int32)
    points = score.ravel()
    winner = np.where(points == 0.5, TIE, np.where(points > 0.5, MODEL_A, MODEL_B))
    return Battles(
        models=tuple(f"{i:02}" for i in range(world.lists.shape[1])),
        datasets=("all",),
        judges=("judge",),
        model_a=np.tile(first, n).astype(np.int32),
        model_b=np.tile(second, n).astype(np.int32),
        winner=winner.astype(np.int8),
        dataset=zeros,
        query=query,
        judge=zeros,
        placed=np.zeros(n * pairs, dtype=np.bool_),
        query_ids=tuple(map(str, range(n))),
        query_id=query,
    )


def mean_dcg(world: World, gains: Floats) -> Floats:
    """Of each model on each query, less the mean over models, (n_queries, m)."""
    discount = 1 / np.log2(np.arange(2, TOP_K + 2))
    rows = np.arange(len(gains))[:, None, None]
    dcg: Floats = (gains[rows, world.lists] * discount).sum(axis=2) / discount.sum()
    return dcg - dcg.mean(axis=1, keepdims=True)


@dataclass
class Coverage:
    """Coverage and widths of one estimate."""

    held: list[NDArray[np.bool_]]
    half: list[Floats]

    def add(self, estimate: LabelEstimate, truth: Floats, scale: float) -> None:
        """Count one round."""
        reach = student_quantile(0.025, np.array([estimate.df]))[0]
        half = reach * np.sqrt(np.maximum(np.diagonal(estimate.covariance), 0))
        self.add_interval(
            (estimate.theta - half) * scale, (estimate.theta + half) * scale, truth * scale
        )

    def add_interval(self, lower: Floats, upper: Floats, truth: Floats) -> None:
        """Count one round, in Elo."""
        self.held.append((lower <= truth) & (truth <= upper))
        self.half.append((upper - lower) / 2)

    @property
    def coverage(self) -> float:
        """Mean over rounds and models."""
        return float(np.mean(self.held))

    @property
    def width(self) -> float:
        """Median over rounds of the mean half-width."""
        return float(np.median(np.mean(self.half, axis=1)))


def battle_round(world: World, truth: Floats, design: Design, rng: np.random.Generator,
                 coverage: dict[str, Coverage]) -> tuple[float, bool]:  # fmt: skip
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
        coverage[name].add(estimate, truth, ELO)
    return corrected.judge_weight, corrected.one_step


def document_round(
    world: World, truth: Truth, labels: PeoplesLabels, coverage: dict[str, Coverage]
) -> float:
    """One draw of grades of documents, corrected as `arena rate` shows it."""
    settings = RatingSettings(n_permutations=0, position=False)
    board = build_leaderboard(
        judged_battles(world), people=labels, correct="documents", settings=settings
    )
    if board.correction is None or board.correction.elo_per_dcg is None:
        raise RuntimeError(f"nothing was corrected: {board.notes}")
    rows = sorted(board.overall, key=lambda row: row.model)

    def column(name: str) -> Floats:
        return np.array([getattr(row, name) for row in rows]) - settings.elo.start

    coverage["judge"].add_interval(column("lower"), column("upper"), truth.corrected)
    lower, upper = column("corrected_lower"), column("corrected_upper")
    coverage["corrected"].add_interval(lower, upper, truth.corrected)
    dcg = people_alone(world, labels)
    coverage["people"].add(dcg, truth.dcg, board.correction.elo_per_dcg)
    return board.correction.judge_weight


def people_alone(world: World, labels: PeoplesLabels) -> LabelEstimate:
    """Mean DCG by people's grades without the judge's."""
    n, m, _ = world.lists.shape
    weights = document_weights(labels.lists["all"], map(str, range(n)), top_k=TOP_K)
    keys = zip(weights.query.tolist(), weights.doc_ids, strict=True)
    known = [labels.documents.get(("all", str(q), d), SampledLabel(0.0, 0.0)) for q, d in keys]
    documents = GradedDocuments(
        weights,
        np.zeros(len(known)),
        np.array([answer.value for answer in known]),
        np.array([answer.inverse for answer in known]),
    )
    estimate = estimate_grades(documents)
    df = degrees_of_freedom(estimate.by_query, documents.asked)
    return LabelEstimate(estimate.mean, estimate.covariance, df, 0.0, np.zeros((m, m)))


@dataclass(frozen=True)
class Truth:
    """What the estimates tend to with many queries, all of them labelled."""

    theta: Floats  #: ratings by people's verdicts, logits
    dcg: Floats  #: mean DCG by people's grades
    corrected: Floats  #: Elo, by grades as `arena rate` brings them to the scale of ratings


def true_values(models: Models, judge: Judge, rng: np.random.Generator) -> Truth:
    """Play many queries."""
    world = draw_world(models, judge, TRUTH_QUERIES, rng)
    battles = labelled_battles(world, None, rng)
    own, people = (mean_dcg(world, gains).mean(axis=0) for gains in (world.judge, world.people))
    theta = judge_ratings(battles)
    factor = theta @ own / (own @ own)
    by_people = judge_ratings(replace(battles, judge=battles.people))
    return Truth(by_people, people, ELO * (theta + factor * (people - own)))


def measure(design: Design, rounds: int, seed: int) -> str:
    """A row of the table."""
    rng = np.random.default_rng(seed)
    names = ["judge", "people", "corrected"] + ["shrunk"] * (design.unit == "battle")
    coverage = {name: Coverage([], []) for name in names}
    weights, steps = [], []
    n_pools = max(rounds // 25, 1)
    for _ in range(n_pools):
        models = draw_models(design.n_models, rng)
        truth = true_values(models, design.judge, rng)
        for _ in range(rounds // n_pools):
            world = draw_world(models, design.judge, design.n_queries, rng)
            step = False
            if design.unit == "battle":
                weight, step = battle_round(world, truth.theta, design, rng, coverage)
            else:
                labels = document_labels(world, design.n_labels, rng)
                weight = document_round(world, truth, labels, coverage)
            weights.append(weight)
            steps.append(step)
    cells = [f"{coverage[name].coverage:.3f}" if name in coverage else "" for name in NAMES]
    cells += [f"{coverage[name].width:.0f}" if name in coverage else "" for name in NAMES]
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
