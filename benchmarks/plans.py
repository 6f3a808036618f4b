"""Whether intervals become as wide, and searches as long, as `arena battle --dry-run` says.

::

    git clone https://github.com/rahmanidashti/SynDL
    python benchmarks/plans.py SynDL [--draws 50] [--log published.jsonl --aliases ALIASES.toml]

Thirteen of the 63 systems of `benchmarks/human_truth.py` are drawn, a pilot is judged on 40 topics
and each plan on 100 others. The ratio is the half-width that the dry run expects over the one that
the leaderboard shows, of the median rating. Then searches for the best system: the range that is
forecast over 160 topics without a pilot and with one, and where real searches ended. A log of
battles is its own pilot: the dry run's model of its design against its leaderboard.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from human_truth import (
    N_SYSTEMS,
    Truth,
    all_pairs,
    battles,
    joined,
    load,
    worth,
)

from arena.battles.load import load_aliases, load_battles
from arena.dry_run.pilot import PUBLIC_SPREADS, Reads
from arena.experiment.plan import ring_pairs
from arena.rating.bradley_terry import ELO_PER_LOGIT, fit, sigmoid
from arena.rating.comparisons import Comparisons
from arena.rating.expected_width import Design, Spread, expected_half_widths, spread_of
from arena.rating.forecast import KnownRatings, Mask, SearchRules, simulate_searches
from arena.rating.inference import intervals
from arena.rating.leaderboard import dataset_weights
from arena.rating.rate_rows import comparisons_of
from arena.rating.sequential_tests import SEARCH_PRIOR, may_be_best

PILOT, PLAYED, MOST, ROUND = 40, 100, 160, 10


@dataclass(frozen=True)
class Plan:
    """How calls are spent."""

    name: str
    top_k: int = 5
    pairs: int | None = None
    reads: Reads = "lists"


PLANS = (
    Plan("all pairs"),
    Plan("26 pairs a query", pairs=26),
    Plan("13 pairs a query", pairs=13),
    Plan("6 pairs a query", pairs=6),
    Plan("grades, top 5", reads="documents"),
    Plan("grades, top 3", top_k=3, reads="documents"),
)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, help="a clone of SynDL, or a .json.gz")
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--log", type=Path, help="battles of a pairwise judge")
    parser.add_argument("--aliases", type=Path)
    given = parser.parse_args()
    truth = load(given.source, 2021)
    print_widths(truth, given.draws)
    print_searches(truth, given.draws)
    if given.log:
        print_log(given.log, given.aliases)


def judged(
    plan: Plan,
    truth: Truth,
    systems: Sequence[str],
    topics: Sequence[str],
    rng: np.random.Generator,
) -> Comparisons:
    """The battles of a plan on some topics; a judge of lists flips a quarter of them."""
    values = worth(truth.lists, {t: truth.judge[t] for t in topics}, systems, plan.top_k)
    pairs = all_pairs(N_SYSTEMS) if plan.pairs is None else ring(plan.pairs, rng)
    return battles(values, pairs, rng if plan.reads == "lists" else None)


def ring(n_pairs: int, rng: np.random.Generator) -> Callable[[int], Sequence[tuple[int, int]]]:
    """Pairs of neighbours on a ring that is drawn for each topic."""

    def pairs_of(topic: int) -> Sequence[tuple[int, int]]:
        del topic
        order = rng.permutation(N_SYSTEMS).tolist()
        return [(order[a], order[b]) for a, b in ring_pairs(N_SYSTEMS, n_pairs)]

    return pairs_of


def design_of(log: Comparisons) -> Design:
    """The design of a log whose queries are counted from 0."""
    n = int(log.cluster.max()) + 1
    stratum = np.zeros(n, np.intp)
    if log.stratum is not None:
        stratum[log.cluster] = log.stratum
    return Design(log.first, log.second, log.cluster, stratum, log.n_models, np.bincount(stratum))


def print_widths(truth: Truth, n_draws: int) -> None:
    """Expected over actual half-widths, without a pilot and with each plan as the pilot."""
    ratios: dict[tuple[str, str], list[float]] = {}
    halves: dict[str, list[float]] = {}
    spreads: dict[str, list[Spread]] = {}
    deviations: dict[Reads, list[float]] = {}
    for number in range(n_draws):
        rng = np.random.default_rng(number)
        systems = sorted(rng.choice(sorted(truth.lists), N_SYSTEMS, replace=False).tolist())
        topics = rng.permutation(list(truth.judge)).tolist()
        pilots, logs = {}, {}
        for plan in PLANS:
            pilots[plan] = judged(plan, truth, systems, topics[:PILOT], rng)
            logs[plan] = judged(plan, truth, systems, topics[PILOT : PILOT + PLAYED], rng)
            spread = spread_of(pilots[plan])
            assert spread
            spreads.setdefault(plan.name, []).append(spread)
        for plan, log in logs.items():
            fitted = fit(log, position=plan.reads == "lists")
            lower, upper = intervals(fitted)
            actual = float(np.median(upper - lower)) / 2
            halves.setdefault(plan.name, []).append(actual * ELO_PER_LOGIT)
            deviations.setdefault(plan.reads, []).append(float(fitted.theta.std()))
            design = design_of(log)
            guess = float(np.median(expected_half_widths(design, PUBLIC_SPREADS[plan.reads])))
            ratios.setdefault((plan.name, "public logs"), []).append(guess / actual)
            for pilot in PLANS:
                if pilot.reads == plan.reads:
                    theta = fit(pilots[pilot], prior=SEARCH_PRIOR).theta
                    known = expected_half_widths(design, spreads[pilot.name][-1], theta)
                    expected = float(np.median(known))
                    ratios.setdefault((plan.name, pilot.name), []).append(expected / actual)
    print(f"{n_draws} draws of {N_SYSTEMS} systems, {PLAYED} topics, a pilot of {PILOT} others\n")
    print("| plan | actual | expected over actual, by | median | 10 to 90% |")
    print("|---|--:|---|--:|--:|")
    for (plan_name, pilot_name), found in ratios.items():
        low, high = np.quantile(found, [0.1, 0.9])
        half = statistics.median(halves[plan_name])
        print(
            f"| {plan_name} | ±{half:.0f} Elo | {pilot_name} | {statistics.median(found):.2f} "
            f"| {low:.2f} to {high:.2f} |"
        )
    print("\n| pilot | between σ² | within φ |\n|---|--:|--:|")
    for name, of_plan in spreads.items():
        between = statistics.median(each.between for each in of_plan)
        print(f"| {name} | {between:.2f} | {statistics.median(e.within for e in of_plan):.2f} |")
    for reads, sds in deviations.items():
        sd = statistics.median(sds) * ELO_PER_LOGIT
        print(f"standard deviation of ratings, judge of {reads}: {sd:.0f} Elo")


def print_searches(truth: Truth, n_draws: int) -> None:
    """Where real searches by grades of the top 3 ended, and what was forecast of them."""
    plan = PLANS[-1]
    actual, inside, forecasts = [], {"prior": 0, "pilot": 0}, {"prior": [], "pilot": []}
    for number in range(n_draws):
        rng = np.random.default_rng(number)
        systems = sorted(rng.choice(sorted(truth.lists), N_SYSTEMS, replace=False).tolist())
        topics = rng.permutation(list(truth.judge))[: MOST + PILOT].tolist()
        costs = grade_calls(truth, systems, topics[PILOT:], plan.top_k)
        pilot = judged(plan, truth, systems, topics[:PILOT], rng)
        for kind in inside:
            known = prior_of(120.0) if kind == "prior" else known_of(pilot)
            spread = PUBLIC_SPREADS[plan.reads] if kind == "prior" else spread_of(pilot)
            assert spread
            rules = SearchRules(spread, 1, None, ROUND, MOST)
            ends = simulate_searches(known, rules, costs, seed=number)
            begun = [pilot] if kind == "pilot" else []
            calls = search(truth, systems, topics[PILOT:], begun, costs)
            low, high = np.quantile([end.calls for end in ends], [0.1, 0.9])
            inside[kind] += bool(low <= calls <= high)
            forecasts[kind].append((float(low), float(high)))
            if kind == "prior":
                actual.append(calls)
    print(f"\nsearches for the best by {plan.name}, at most {MOST} topics")
    print(f"calls of real searches: {describe(actual)}")
    for kind, ranges in forecasts.items():
        low, high = (statistics.median(end) for end in zip(*ranges, strict=True))
        print(
            f"forecast by a {kind}: {low:,.0f} to {high:,.0f} calls (10 to 90%); "
            f"{inside[kind] / n_draws:.0%} of searches were inside their own range"
        )


def search(
    truth: Truth,
    systems: Sequence[str],
    topics: Sequence[str],
    begun: Sequence[Comparisons],
    costs: Callable[[Mask], tuple[float, float]],
) -> float:
    """The calls of a real search after a pilot, if there is one, by grades of the top 3."""
    plan, alive, calls = PLANS[-1], np.ones(N_SYSTEMS, np.bool_), 0.0
    parts = list(begun)
    if parts:
        fitted = fit(parts[0], position=False, prior=SEARCH_PRIOR)
        alive = may_be_best(fitted, alive, n_at_start=N_SYSTEMS)
    for start in range(0, len(topics), ROUND):
        if alive.sum() == 1:
            break
        played = {topic: truth.judge[topic] for topic in topics[start : start + ROUND]}
        pairs = list(combinations(np.flatnonzero(alive).tolist(), 2))
        part = battles(
            worth(truth.lists, played, systems, plan.top_k),
            lambda topic, pairs=pairs: pairs,  # noqa: ARG005
        )
        parts.append(replace(part, cluster=part.cluster + PILOT + start))
        calls += costs(alive)[0] * ROUND
        fitted = fit(joined(parts), position=False, prior=SEARCH_PRIOR)
        alive = may_be_best(fitted, alive, n_at_start=N_SYSTEMS)
    return calls


def grade_calls(
    truth: Truth, systems: Sequence[str], topics: Sequence[str], top_k: int
) -> Callable[[Mask], tuple[float, float]]:
    """Distinct documents a topic, by the systems that play."""

    def costs(alive: Mask) -> tuple[float, float]:
        playing = [system for system, plays in zip(systems, alive, strict=True) if plays]
        n = sum(
            len({d for system in playing for d in truth.lists[system].get(topic, ())[:top_k]})
            for topic in topics
        )
        return n / len(topics), 0.0

    return costs


def prior_of(sd_elo: float) -> KnownRatings:
    """Ratings of which only the standard deviation is known."""
    nothing = np.zeros((N_SYSTEMS, N_SYSTEMS))
    variance = (sd_elo / ELO_PER_LOGIT) ** 2
    return KnownRatings(np.zeros(N_SYSTEMS), np.eye(N_SYSTEMS) * variance, nothing, nothing, 0)


def known_of(pilot: Comparisons) -> KnownRatings:
    """What a pilot tells of the ratings."""
    fitted = fit(pilot, position=False, prior=SEARCH_PRIOR)
    m = pilot.n_models
    n = np.bincount(pilot.first * m + pilot.second, minlength=m * m).reshape(m, m)
    p = sigmoid(fitted.theta[:, None] - fitted.theta[None, :])
    weights = (n + n.T) * p * (1 - p)
    information = np.diag(weights.sum(axis=1)) - weights
    centre = np.eye(m) - 1 / m
    covariance = centre @ fitted.covariance @ centre
    prior = information + SEARCH_PRIOR * np.eye(m)
    return KnownRatings(fitted.theta, covariance, information, prior @ covariance @ prior, PILOT)


def print_log(path: Path, aliases: Path | None) -> None:
    """A log of battles as its own pilot."""
    log = load_battles([path], aliases=load_aliases(aliases) if aliases else {})
    comparisons = comparisons_of(log, log.models, dataset_weights(log))
    fitted, spread = fit(comparisons), spread_of(comparisons)
    assert spread
    queries, code = np.unique(comparisons.cluster, return_inverse=True)
    assert comparisons.stratum is not None
    stratum = np.zeros(len(queries), np.intp)
    stratum[code] = comparisons.stratum
    design = Design(
        comparisons.first, comparisons.second, code, stratum, len(log.models), np.bincount(stratum)
    )
    lower, upper = intervals(fitted)
    actual = float(np.median(upper - lower)) / 2 * ELO_PER_LOGIT
    by_log = float(np.median(expected_half_widths(design, spread, fitted.theta))) * ELO_PER_LOGIT
    public = float(np.median(expected_half_widths(design, PUBLIC_SPREADS["lists"]))) * ELO_PER_LOGIT
    print(f"\n{path.name}: {len(log):,} battles, {log.n_queries} queries, {len(log.models)} models")
    print(f"between σ² {spread.between:.2f}, within φ {spread.within:.2f}")
    print(f"standard deviation of ratings {fitted.theta.std() * ELO_PER_LOGIT:.0f} Elo")
    print(f"±{actual:.0f} Elo; expected ±{by_log:.0f} by the log, ±{public:.0f} by public logs")


def describe(calls: Sequence[float]) -> str:
    """The median and the 10th to the 90th percentile."""
    low, high = np.quantile(calls, [0.1, 0.9])
    return f"{statistics.median(calls):,.0f} ({low:,.0f} to {high:,.0f})"


if __name__ == "__main__":
    main()
