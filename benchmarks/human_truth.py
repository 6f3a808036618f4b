"""What grades of an LLM say of the ranking that people make, on real runs and real topics.

::

    git clone https://github.com/rahmanidashti/SynDL
    python benchmarks/human_truth.py SynDL [--draws 100] [--year 2021]

The clone has the runs that groups sent to TREC's Deep Learning track, NIST's grades of some topics
(people), and GPT-4's grades of the others (SynDL, arXiv:2408.16312). People and GPT-4 graded no
topic in common, so the two rankings of a draw of systems differ by the judge's error and by the
choice of topics. Battles are arena's pointwise battles, ratings and intervals are arena's own.
A file ``.json.gz`` with ``runs`` and ``judges`` instead of a clone has no people: then only what
needs none is printed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from arena.data.metrics import dcg
from arena.data.qrels_file import grade_lines
from arena.data.run_file import run_lines
from arena.judging.pointwise import TIE_MARGIN
from arena.rating.bradley_terry import ELO_PER_LOGIT, fit
from arena.rating.comparisons import Comparisons
from arena.rating.fit import Fit
from arena.rating.inference import from_sandwich
from arena.rating.sequential_tests import SEARCH_PRIOR, may_be_best, shortfall

GREATEST_GRADE = 3
TOP_K = 5
N_SYSTEMS = 13
FLIP_RATE = 0.25
ROUND, MOST_QUERIES = 10, 160
WITHIN_ELO = 50
FEW_CALLS = 1_248

Grades = Mapping[str, Mapping[str, float]]
Lists = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Truth:
    """Runs, and who graded what."""

    lists: Lists  #: system → topic → its first documents
    people: Grades  #: topic → doc_id → NIST's grade; empty where there are none
    judge: Grades  #: topic → doc_id → GPT-4's grade


@dataclass(frozen=True)
class Plan:
    """How calls to the judge are spent."""

    name: str
    n_queries: int
    top_k: int = TOP_K
    pairs: int | None = None  #: a query, in a circulant over a random order; None for all
    pointwise: bool = True  #: a call a document; else a call a battle, and flips


PLANS = (
    Plan("all pairs, 25% flips, 160 queries", 160, pointwise=False),
    Plan("grades of the top 3, 160 queries", 160, top_k=3),
    Plan("grades of the top 3, 57 queries", 57, top_k=3),
    Plan("13 pairs a query, 25% flips, 97 queries", 97, pairs=13, pointwise=False),
    Plan("all pairs, 25% flips, 16 queries", 16, pointwise=False),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="a clone of SynDL, or a .json.gz")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--year", type=int, default=2021)
    given = parser.parse_args()
    truth = load(given.source, given.year)
    n_pairs = sum(map(len, truth.judge.values()))
    print(f"{len(truth.lists)} systems, {len(truth.judge)} topics graded by GPT-4 ({n_pairs:,})")
    print(f"{given.draws} draws of {N_SYSTEMS} systems; battles of the top {TOP_K} unless said\n")
    if truth.people:
        print(f"{len(truth.people)} other topics graded by people\n")
        print_plans(truth, given.draws)
        print_topics(truth, given.draws)
    print_stopping(truth, given.draws)


def load(source: Path, year: int) -> Truth:
    """Read a clone, or a file made of one."""
    if source.is_dir():
        track = source / f"TREC-DLs-files/TREC-DL-{year}"
        graded = "SynDL-generation/gpt4-judgments/all-queries-processed-errors"
        lists = {
            path.name: first_documents(path) for path in sorted((track / "passages-runs").iterdir())
        }
        people = read_grades(track / "qrels-pass.txt")
        judge = read_grades(source / graded / f"gpt4_judgments_dl{year}_processed.txt")
    else:
        held = json.loads(gzip.decompress(source.read_bytes()))
        lists, people = held["runs"], {}
        (rows,) = held["judges"].values()
        judge = defaultdict(dict)
        for topic, doc_id, grade in rows:
            judge[topic][doc_id] = grade
    return Truth(lists, people, {topic: judge[topic] for topic in sorted(judge.keys() - people)})


def first_documents(path: Path) -> dict[str, list[str]]:
    """The first documents of each topic of a run file, best first."""
    lists: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for line in run_lines(path):
        lists[line.query_id].append((-line.score, line.doc_id))
    return {topic: [doc_id for _, doc_id in sorted(scored)[:10]] for topic, scored in lists.items()}


def read_grades(path: Path) -> dict[str, dict[str, float]]:
    """Grades by topic and document."""
    grades: dict[str, dict[str, float]] = defaultdict(dict)
    for row in grade_lines(path, ()):
        grades[row.query_id][row.doc_id] = row.grade
    return grades


def worth(lists: Lists, grades: Grades, systems: Sequence[str], top_k: int) -> np.ndarray:
    """What each list is worth by the grades, (topics, systems), the best possible being 1."""
    greatest = dcg([1.0] * top_k)
    return np.array(
        [
            [
                dcg(
                    [
                        max(graded.get(doc_id, 0), 0) / GREATEST_GRADE
                        for doc_id in lists[system].get(topic, ())[:top_k]
                    ]
                )
                / greatest
                for system in systems
            ]
            for topic, graded in grades.items()
        ]
    )


def battles(
    values: np.ndarray,
    pairs_of: Callable[[int], Sequence[tuple[int, int]]],
    rng: np.random.Generator | None = None,
) -> Comparisons:
    """Battles on some topics; with a generator the first list wins a quarter for nothing."""
    rows = [(topic, *pair) for topic in range(len(values)) for pair in pairs_of(topic)]
    topic, first, second = np.array(rows).T
    lead = values[topic, first] - values[topic, second]
    score = np.where(np.abs(lead) < TIE_MARGIN, 0.5, (lead > 0).astype(float))
    if rng is not None:
        swap = rng.random(len(rows)) < 0.5
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        score = np.where(swap, 1 - score, score)
        score = np.where(rng.random(len(rows)) < FLIP_RATE, 1.0, score)
    return Comparisons(first, second, score, topic, values.shape[1])


def all_pairs(n_systems: int) -> Callable[[int], Sequence[tuple[int, int]]]:
    """Every pair, on every topic."""
    pairs = list(combinations(range(n_systems), 2))
    return lambda topic: pairs  # noqa: ARG005


def circulant(
    n_systems: int, rng: np.random.Generator
) -> Callable[[int], Sequence[tuple[int, int]]]:
    """As many pairs as systems: neighbours on a circle, drawn anew for each topic."""

    def pairs_of(topic: int) -> Sequence[tuple[int, int]]:
        del topic
        order = rng.permutation(n_systems).tolist()
        return list(zip(order, [*order[1:], order[0]], strict=True))

    return pairs_of


def calls_of_topics(plan: Plan, truth: Truth, systems: Sequence[str], topics: Sequence[str]) -> int:
    """Return the calls that a plan takes: distinct documents, or battles of lists that differ."""
    n_pairs = len(systems) * (len(systems) - 1) / 2
    n_calls = 0.0
    for topic in topics:
        lists = [truth.lists[system].get(topic, ())[: plan.top_k] for system in systems]
        if plan.pointwise:
            n_calls += len({doc_id for shown in lists for doc_id in shown})
        else:
            differ = sum(a != b for a, b in combinations(lists, 2))
            n_calls += differ * (plan.pairs or n_pairs) / n_pairs
    return round(n_calls)


def print_plans(truth: Truth, n_draws: int) -> None:
    """Each plan's ranking from GPT-4's grades beside that of people."""
    print("| plan | calls | Kendall tau | separated pairs surely right | surely wrong |")
    print("|---|--:|--:|--:|--:|")
    for plan in PLANS:
        calls, taus = [], []
        counted = np.zeros(3, dtype=int)
        for number in range(n_draws):
            rng = np.random.default_rng(number)
            systems, people = draw(truth, rng)
            topics = rng.choice(list(truth.judge), plan.n_queries, replace=False).tolist()
            values = worth(truth.lists, {t: truth.judge[t] for t in topics}, systems, plan.top_k)
            pairs = circulant(N_SYSTEMS, rng) if plan.pairs else all_pairs(N_SYSTEMS)
            judged = fit(
                battles(values, pairs, None if plan.pointwise else rng), position=not plan.pointwise
            )
            calls.append(calls_of_topics(plan, truth, systems, topics))
            taus.append(kendalltau(people.theta, judged.theta).statistic)
            counted += agreement(people, judged)
        separated, right, wrong = counted
        print(
            f"| {plan.name} | {statistics.mean(calls):,.0f} | {statistics.mean(taus):.3f} "
            f"| {right / separated:.2f} | {wrong} of {separated:,} |"
        )


def print_topics(truth: Truth, n_draws: int) -> None:
    """How the agreement grows with the number of topics that GPT-4 grades."""
    print("\n| topics, grades of the top 5 | 5 | 10 | 20 | 50 | 100 | 160 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    row = []
    for n_topics in (5, 10, 20, 50, 100, 160):
        taus = []
        for number in range(n_draws):
            rng = np.random.default_rng(number)
            systems, people = draw(truth, rng)
            topics = rng.choice(list(truth.judge), n_topics, replace=False).tolist()
            values = worth(truth.lists, {t: truth.judge[t] for t in topics}, systems, TOP_K)
            judged = fit(battles(values, all_pairs(N_SYSTEMS)), position=False, prior=0.01)
            taus.append(kendalltau(people.theta, judged.theta).statistic)
        row.append(statistics.mean(taus))
    print("| Kendall tau with people | " + " | ".join(f"{tau:.2f}" for tau in row) + " |")


def draw(truth: Truth, rng: np.random.Generator) -> tuple[list[str], Fit]:
    """Some systems, and their ratings by people's grades."""
    systems = sorted(rng.choice(sorted(truth.lists), N_SYSTEMS, replace=False).tolist())
    values = worth(truth.lists, truth.people, systems, TOP_K)
    return systems, fit(battles(values, all_pairs(N_SYSTEMS)), position=False)


def agreement(people: Fit, judged: Fit) -> np.ndarray:
    """Pairs that people separate, and of them those that the judge has surely right and wrong."""
    theirs, ours = (from_sandwich(fitted, level=0.95).better for fitted in (people, judged))
    return np.array([theirs.sum(), (theirs & ours).sum(), (theirs & ours.T).sum()])


def print_stopping(truth: Truth, n_draws: int) -> None:
    """What it takes to find the best system, by GPT-4's grades of all topics."""
    print(
        f"\nwhich is best: looks every {ROUND} topics, at most {MOST_QUERIES}; all topics tell\n\n"
        f"| calls are | calls | left | left at {FEW_CALLS:,} calls | best dropped "
        f"| within {WITHIN_ELO} Elo decided | after calls |\n|---|--:|--:|--:|--:|--:|--:|"
    )
    for plan in (PLANS[1], Plan("grades of the top 5", 0), PLANS[0]):
        found = [search(truth, plan, np.random.default_rng(number)) for number in range(n_draws)]
        within = [one.calls_within for one in found if one.calls_within is not None]
        few = [one.left_at_few for one in found]
        print(
            f"| {plan.name.removesuffix(', 160 queries')} "
            f"| {statistics.mean(one.calls for one in found):,.0f} "
            f"| {statistics.mean(one.left for one in found):.1f} | {statistics.mean(few):.1f} "
            f"| {sum(one.lost for one in found)} of {n_draws} | {len(within)} of {n_draws} "
            f"| {statistics.mean(within) if within else float('nan'):,.0f} |"
        )


@dataclass(frozen=True)
class Search:
    """How one search for the best system went."""

    calls: int
    left: int  #: systems that may be the best, at the end
    left_at_few: int  #: the same, after `FEW_CALLS`
    lost: bool  #: whether the best one was dropped
    calls_within: int | None  #: calls until the leader was surely near the best


def search(truth: Truth, plan: Plan, rng: np.random.Generator) -> Search:
    """Play rounds of topics among those that may be the best, until one is left."""
    systems = sorted(rng.choice(sorted(truth.lists), N_SYSTEMS, replace=False).tolist())
    whole = fit(
        battles(worth(truth.lists, truth.judge, systems, TOP_K), all_pairs(N_SYSTEMS)),
        position=False,
    )
    topics = rng.permutation(list(truth.judge))[:MOST_QUERIES].tolist()
    values = worth(truth.lists, {t: truth.judge[t] for t in topics}, systems, plan.top_k)
    alive, calls, left_at_few, within = np.ones(N_SYSTEMS, dtype=bool), 0, N_SYSTEMS, None
    parts: list[Comparisons] = []
    for start in range(0, MOST_QUERIES, ROUND):
        pairs = list(combinations(np.flatnonzero(alive).tolist(), 2))
        part = battles(
            values[start : start + ROUND],
            lambda topic, pairs=pairs: pairs,  # noqa: ARG005
            None if plan.pointwise else rng,
        )
        parts.append(replace(part, cluster=part.cluster + start))
        playing = [system for system, still in zip(systems, alive, strict=True) if still]
        calls += calls_of_topics(plan, truth, playing, topics[start : start + ROUND])
        fitted = fit(joined(parts), position=not plan.pointwise, prior=SEARCH_PRIOR)
        alive = may_be_best(fitted, alive, n_at_start=N_SYSTEMS)
        if calls <= FEW_CALLS:
            left_at_few = int(alive.sum())
        most = shortfall(fitted, alive, n_at_start=N_SYSTEMS)[1]
        if within is None and most * ELO_PER_LOGIT < WITHIN_ELO:
            within = calls
        if alive.sum() == 1:
            break
    lost = not alive[int(np.argmax(whole.theta))]
    return Search(calls, int(alive.sum()), left_at_few, lost, within)


def joined(parts: Sequence[Comparisons]) -> Comparisons:
    """All battles of some rounds."""
    return Comparisons(
        *(
            np.concatenate([getattr(part, column) for part in parts])
            for column in ("first", "second", "score", "cluster")
        ),
        n_models=parts[0].n_models,
    )


if __name__ == "__main__":
    main()
