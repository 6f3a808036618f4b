"""Plans side by side: what each of them costs, and how wide its intervals are expected to be."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

import numpy as np

from arena.config import JudgeConfig
from arena.dry_run.calls_to_make import CalledBefore, CallsToMake
from arena.dry_run.pilot import PUBLIC_SPREADS, Pilot, Reads
from arena.errors import UsageError
from arena.experiment.experiment import PreparedExperiment, load_prompts
from arena.experiment.judges import closed_judges
from arena.experiment.pending import LogView, pending
from arena.experiment.plan import Turn, turns
from arena.experiment.shown_lists import Lists
from arena.rating.bradley_terry import ELO_PER_LOGIT
from arena.rating.expected_width import Design, expected_half_widths
from arena.records import Orders
from arena.terminal import count, dollars

FEW_DOCUMENTS: Final = 3
"""The ranks whose grades say most for their calls (docs/evidence.md)."""

MOST_ELO: Final = 400.0
"""A half-width beyond which a rating says nothing: odds of ten to one either way."""

AS_NARROW: Final = 1.1
"""A plan whose intervals are up to this many times as wide counts as equally exact."""

RATINGS_SPREAD: Final[Mapping[Reads, float]] = {"lists": 1.0, "documents": 1.2}
"""How far apart each kind of judge places the same systems (docs/evidence.md). Battles that follow
from grades have less chance in them, so the same interval tells more models apart."""

MUCH_CHEAPER: Final = 0.75
"""A plan is worth naming if it costs at most this share of the present one."""

_RENDERED: Final = 1_500
"""Battles whose prompts are rendered for each plan beside the present one."""

_DESIGNED: Final = 40_000
"""Battles that stand for a plan where its interval is computed."""

_OF_A_KIND: Final = frozenset({"kind", "prompt", "tie_margin"})
"""Keys of a judge that another kind of judge does not take over."""


@dataclass(frozen=True, slots=True)
class PlanOption:
    """One way to spend calls, as ``[experiment]`` says it."""

    plan: Literal["all", "sparse", "grades"]
    orders: Orders
    top_k: int
    pairs_per_query: int | None = None

    @property
    def reads(self) -> Reads:
        """Return what its judge reads at once."""
        return "documents" if self.plan == "grades" else "lists"

    def __str__(self) -> str:
        if self.plan == "grades":
            return f"grades, top {self.top_k}"
        pairs = "all pairs" if self.plan == "all" else f"{self.pairs_per_query} pairs a query"
        return f"{pairs}, {'both orders' if self.orders == 'both' else 'one order'}"

    @property
    def settings(self) -> str:
        """Return the lines of an arena.toml for it, in one."""
        if self.plan == "grades":
            return f'plan = "grades", top_k = {self.top_k}'
        pairs = "" if self.plan == "all" else f", pairs_per_query = {self.pairs_per_query}"
        return f'plan = "{self.plan}"{pairs}, orders = "{self.orders}"'


@dataclass(frozen=True, slots=True)
class PlanEstimate:
    """What is left to pay for one plan, and what it leads to."""

    option: PlanOption
    n_calls: int
    tokens: int  #: in and out
    cost_usd: float | None  #: None if the config has no prices
    n_queries: int  #: of all data sets
    half_width_elo: float  #: the median rating's, of a 95% interval; infinite if not connected
    is_present: bool = False  #: whether it is the plan of the arena.toml

    @property
    def relative_width(self) -> float:
        """Return the half-width on one scale for both kinds of judges."""
        return self.half_width_elo / RATINGS_SPREAD[self.option.reads]

    @property
    def cost(self) -> float:
        """Return what plans are compared by: dollars, or tokens where there are no prices."""
        return self.tokens if self.cost_usd is None else self.cost_usd


def _half_width(half_width_elo: float) -> str:
    if not math.isfinite(half_width_elo):
        return "–"
    return (
        f"±{half_width_elo:.0f} Elo" if half_width_elo <= MOST_ELO else f"over {MOST_ELO:.0f} Elo"
    )


@dataclass(frozen=True, slots=True)
class PlanTable:
    """Plans side by side, the present one first."""

    plans: Sequence[PlanEstimate]
    n_datasets: int
    n_available: int  #: queries that the data sets have
    n_models: int
    left_usd: float | None  #: of the cap on what judges cost; None without a cap
    pilot: Pilot | None

    def lines(self) -> Iterator[str]:
        """Yield the table as people read it, and one sentence of advice."""
        yield ""
        title = f"plans for {self.plans[0].n_queries:,} queries, {self.n_models} models"
        width = max(len(title), *(len(str(estimate.option)) + 2 for estimate in self.plans))
        yield f"{title:<{width}}{'calls':>10}{'tokens':>14}{'price':>10}   expected"
        for row in self.plans:
            name = f"{'*' if row.is_present else ' '} {row.option}"
            price = "unknown" if row.cost_usd is None else dollars(row.cost_usd)
            half = _half_width(row.half_width_elo)
            yield f"{name:<{width}}{row.n_calls:>10,}{row.tokens:>14,}{price:>10}   {half}"
        source = "public logs of LLM judges"
        if self.pilot:
            source = f"the {self.pilot.n_queries:,} queries in the log"
        yield (
            "* is your plan. Expected is the 95% interval of a rating in the middle of the table, "
            f"by {source}."
        )
        yield f"advice: {self.advice}"

    @property
    def advice(self) -> str:
        """Return in one sentence which plan to take."""
        present = self.plans[0]
        if self.left_usd is not None and present.cost > self.left_usd:
            best = self._cheapest(
                [self._affordable(estimate, self.left_usd) for estimate in self.plans]
            )
            n = max(best.n_queries // self.n_datasets, 1)
            return (
                f"with the {dollars(self.left_usd)} that are left, take {best.option.settings}, "
                f"queries = {n:,}: about ±{best.half_width_elo:.0f} Elo."
            )
        if min(estimate.half_width_elo for estimate in self.plans) > MOST_ELO:
            queries = count(present.n_queries, "query", "queries")
            return f"{queries} tell little by any plan; take 20 or more."
        more = "for intervals half as wide, take four times as many queries."
        if present.cost == 0:
            return f"your plan has nothing left to pay; {more}"
        as_narrow = AS_NARROW * present.relative_width
        best = self._cheapest([present, *self.plans], as_narrow)
        if best.cost <= MUCH_CHEAPER * present.cost:
            share = best.cost / present.cost
            return (
                f"{best.option.settings} is expected to reach ±{best.half_width_elo:.0f} Elo at "
                f"{share:.0%} of the cost of your plan."
            )
        return f"no plan here is as exact as yours for much less; {more}"

    def _cheapest(
        self, plans: Sequence[PlanEstimate], as_narrow: float | None = None
    ) -> PlanEstimate:
        """Return the cheapest of the plans that are as exact as the best of them, or as that."""
        if as_narrow is None:
            as_narrow = AS_NARROW * min(each.relative_width for each in plans)
        exact = [each for each in plans if each.relative_width <= as_narrow]
        return min(exact, key=lambda each: each.cost, default=plans[0])

    def _affordable(self, estimate: PlanEstimate, left_usd: float) -> PlanEstimate:
        """Return a plan on as many queries as the rest of the cap pays for, and the data have."""
        times = self.n_available / estimate.n_queries
        if estimate.cost > 0:
            times = min(times, left_usd / estimate.cost)
        n_queries = max(int(estimate.n_queries * times), 1)
        times = n_queries / estimate.n_queries
        return replace(
            estimate,
            n_queries=n_queries,
            cost_usd=estimate.cost * times,
            half_width_elo=estimate.half_width_elo / math.sqrt(times),
        )


class Paid(LogView, CalledBefore, Protocol):
    """What a log and a cache of verdicts hold."""


def plan_table(  # noqa: PLR0913, the plan, the log, and what is known beside it
    prepared: PreparedExperiment,
    present: PlanEstimate,
    paid: Paid,
    pilot: Pilot | None,
    *,
    left_usd: float | None,
    share: float = 1.0,
) -> PlanTable | None:
    """Return the plan of the arena.toml beside others; None if there is nothing to choose.

    Prompts are rendered for a sample of the queries, drawn with the seed.

    Args:
        prepared: the experiment.
        present: what its own plan takes.
        paid: the log and the cache.
        pilot: what the log says of verdicts.
        left_usd: what may still be spent; None without a cap.
        share: of the usual price that calls cost.
    """
    plans = [present]
    for option in options(prepared):
        if option == present.option:
            continue
        variant = with_plan(prepared, option)
        if variant is not None:
            found = _estimated(variant, option, paid, pilot)
            cost_usd = None if found.cost_usd is None else found.cost_usd * share
            plans.append(replace(found, cost_usd=cost_usd))
    if len(plans) == 1:
        return None
    queries = prepared.data.queries
    return PlanTable(
        plans,
        n_datasets=len(queries),
        n_available=sum(len(dataset.queries) for dataset in prepared.data.datasets.values()),
        n_models=len(prepared.config.models),
        left_usd=left_usd,
        pilot=pilot,
    )


def present_option(prepared: PreparedExperiment) -> PlanOption:
    """Return the plan of an arena.toml."""
    settings = prepared.config.experiment
    if all(judge.kind != "pairwise" for judge in prepared.config.judges):
        return PlanOption("grades", "both", settings.top_k)
    plan: Literal["all", "sparse"] = "sparse" if prepared.is_sparse else "all"
    drawn = settings.pairs_per_query if prepared.is_sparse else None
    return PlanOption(plan, settings.orders, settings.top_k, drawn)


def options(prepared: PreparedExperiment) -> Iterator[PlanOption]:
    """Yield the plans worth comparing, the most expensive kind first."""
    top_k, m = prepared.config.experiment.top_k, len(prepared.config.models)
    yield PlanOption("all", "both", top_k)
    yield PlanOption("all", "balanced", top_k)
    for n_pairs in (2 * m, m):
        if n_pairs < m * (m - 1) // 2:
            yield PlanOption("sparse", "balanced", top_k, n_pairs)
    for rank in sorted({top_k, min(top_k, FEW_DOCUMENTS)}, reverse=True):
        yield PlanOption("grades", "both", rank)


def with_plan(prepared: PreparedExperiment, option: PlanOption) -> PreparedExperiment | None:
    """Return the experiment with another plan; None if it cannot have the judges for it."""
    config, experiment = prepared.config, prepared.experiment
    judges = config.judges
    if option.plan == "grades":
        judges = tuple(_of_kind(judge, "pointwise") for judge in judges)
    elif all(judge.kind != "pairwise" for judge in judges):  # else its pointwise judges stay so
        judges = tuple(_of_kind(judge, "pairwise") for judge in judges)
    settings = config.experiment.model_copy(
        update={
            "plan": None,
            "orders": option.orders,
            "top_k": option.top_k,
            "pairs_per_query": option.pairs_per_query,
        }
    )
    config = config.model_copy(update={"experiment": settings, "judges": judges})
    experiment = replace(experiment, config=config)
    lists = Lists(prepared.data.datasets, prepared.runs, top_k=option.top_k)
    try:
        prompts = load_prompts(experiment)
        variant = replace(prepared, experiment=experiment, lists=lists, prompts=prompts)
        closed_judges(variant)
    except UsageError:  # a template of the user's for a judge that is not asked for, as well
        return None
    return variant


def expected_elo(prepared: PreparedExperiment, option: PlanOption, pilot: Pilot | None) -> float:
    """Return the half-width that the rating in the middle of the table is expected to have."""
    spread = pilot.spread_for(option.reads) if pilot else PUBLIC_SPREADS[option.reads]
    theta = pilot.fit.theta if pilot and pilot.reads == option.reads else None
    halves = expected_half_widths(design_of(prepared), spread, theta)
    return float(np.median(halves)) * ELO_PER_LOGIT


def design_of(prepared: PreparedExperiment) -> Design:
    """Return the battles of a plan, of as many queries as stand for all of them."""
    names = [model.name for model in prepared.config.models]
    code = {name: number for number, name in enumerate(names)}
    queries = prepared.data.queries
    datasets = [name for name in sorted(queries) if queries[name]]
    per_query = max(prepared.n_matchups // max(sum(map(len, queries.values())), 1), 1)
    chosen = _sample(prepared, max(_DESIGNED // per_query, 20 * len(datasets)))
    rows = [
        (code[matchup.model_a], code[matchup.model_b], number)
        for number, turn in enumerate(chosen)
        for matchup in prepared.matchups_of([turn])
    ]
    first, second, query = np.array(rows, np.intp).T
    return Design(
        first=first,
        second=second,
        query=query,
        stratum=np.array([datasets.index(turn.dataset) for turn in chosen], np.intp),
        n_models=len(names),
        n_queries=np.array([len(queries[name]) for name in datasets], np.intp),
    )


def _of_kind(judge: JudgeConfig, kind: str) -> JudgeConfig:
    """Return a judge's section for another kind of judge; qrels stay as they are."""
    if judge.kind in ("qrels", kind):
        return judge
    kept: dict[str, Any] = judge.model_dump(exclude_unset=True, exclude=set(_OF_A_KIND))
    return JudgeConfig.model_validate({**kept, "kind": kind})


def _estimated(
    variant: PreparedExperiment, option: PlanOption, paid: Paid, pilot: Pilot | None
) -> PlanEstimate:
    """Return what a plan would take, from the prompts of a sample of its queries."""
    n_queries = sum(map(len, variant.data.queries.values()))
    per_query = max(variant.n_matchups // max(n_queries, 1), 1)
    chosen = _sample(variant, max(_RENDERED // per_query, 4))
    scale = n_queries / len(chosen)
    calls, tokens, costs = 0, 0, []
    for configured in closed_judges(variant):
        bill = CallsToMake(configured, paid)
        for battle in pending(variant.matchups_of(chosen), variant.lists, [configured.judge], paid):
            if battle.state == "to_ask":
                bill.add(battle.judge_input)
        calls += len(bill.keys)
        tokens += bill.input_tokens + bill.output_tokens
        costs.append(bill.cost_usd)
    known_costs = [cost for cost in costs if cost is not None]
    return PlanEstimate(
        option,
        n_calls=round(calls * scale),
        tokens=round(tokens * scale),
        cost_usd=sum(known_costs) * scale if len(known_costs) == len(costs) else None,
        n_queries=n_queries,
        half_width_elo=expected_elo(variant, option, pilot),
    )


def _sample(prepared: PreparedExperiment, most: int) -> list[Turn]:
    """Return this many queries at most, drawn with the seed, the same share of each data set."""
    every = list(turns(prepared.data.queries))
    if len(every) <= most:
        return every
    draw = random.Random(prepared.config.experiment.seed)  # noqa: S311
    chosen: list[Turn] = []
    for name in sorted(prepared.data.queries):
        own = [turn for turn in every if turn.dataset == name]
        if own:
            chosen += draw.sample(own, min(len(own), max(most * len(own) // len(every), 1)))
    return chosen
