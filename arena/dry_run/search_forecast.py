"""What `arena battle --until ...` will take: a range of calls and dollars, before it is played."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from arena.dry_run.pilot import PUBLIC_SPREADS, Pilot
from arena.dry_run.plans import present_option
from arena.experiment.experiment import PreparedExperiment
from arena.experiment.stopping import ROUND, StoppingRule
from arena.rating.bradley_terry import ELO_PER_LOGIT, sigmoid
from arena.rating.comparisons import Floats
from arena.rating.forecast import (
    SIMULATIONS,
    KnownRatings,
    Mask,
    Outcome,
    SearchRules,
    simulate_searches,
)
from arena.terminal import dollars

SPREADS: Final = (
    (60.0, "as those of embedding models in a public log"),
    (120.0, "as those of search systems of all kinds, from BM25 to rerankers"),
)
"""Standard deviations of ratings in Elo, and of what they are (docs/evidence.md)."""

_ROUNDING: Final = 1e-6
"""What a sum of shares may be off by."""

_SAMPLED: Final = 40
"""Queries whose lists tell how many calls a query takes."""


@dataclass(frozen=True, slots=True)
class JudgePrice:
    """What one judge's calls are."""

    reads_lists: bool  #: a call a battle; else a call a document
    is_llm: bool
    usd_per_call: float | None  #: None if the config has no prices
    n_calls: int | None = None  #: what is left of the whole plan; None: nothing is paid for yet


@dataclass(frozen=True, slots=True)
class Forecast:
    """How runs end under one assumption."""

    assumption: str
    outcomes: Sequence[Outcome]
    priced: bool
    of_best: bool = True  #: whether a run drops models, and some may be best at its end

    @property
    def decided(self) -> float:
        """Return the share of the simulations that end before the queries do."""
        return sum(each.decided for each in self.outcomes) / len(self.outcomes)

    def line(self) -> str:
        """Return it as people read it."""
        calls = _range([each.calls for each in self.outcomes], lambda n: f"{round(n):,}")
        price = ""
        if self.priced:
            price = f", {_range([each.cost_usd for each in self.outcomes], dollars)}"
        left = [each.n_left for each in self.outcomes if not each.decided and self.of_best]
        end = f"decided in {self.decided:.0%}"
        if left:
            end += f", else {_range(left, lambda n: f'{round(n)}')} models may be best"
        return f"{self.assumption}: {calls} calls{price}; {end}"


@dataclass(frozen=True, slots=True)
class SearchForecast:
    """A range for each assumption."""

    rule: StoppingRule
    forecasts: Sequence[Forecast]

    def lines(self) -> Iterator[str]:
        """Yield it as people read it."""
        yield ""
        yield (
            f"{self.rule.option.strip()}, from now on (10th to 90th percentile of "
            f"{len(self.forecasts[0].outcomes)} simulations):"
        )
        yield from (each.line() for each in self.forecasts)


def forecast_search(
    prepared: PreparedExperiment,
    rule: StoppingRule,
    judges: Sequence[JudgePrice],
    pilot: Pilot | None,
    max_usd: float | None,
) -> SearchForecast:
    """Return what a run with a stopping rule will take, from the log or from two assumptions.

    Args:
        prepared: the experiment.
        rule: when the run ends.
        judges: what the calls of each judge are.
        pilot: what the log says of the ratings.
        max_usd: what may still be spent; None without a cap.
    """
    rules = _search_rules(prepared, rule, pilot)
    n_models = len(_names(prepared))
    if pilot:
        cases = [(f"by the {pilot.n_queries:,} queries in the log", _known(pilot))]
    else:
        cases = [
            (f"if ratings spread by {sd:.0f} Elo (sd), {of}", _prior(sd, n_models))
            for sd, of in SPREADS
        ]
    costs = QueryCosts(prepared, judges, n_queries=rules.n_queries)
    # A simulation takes time with the cube of the models; a tenth is told by thirty as well.
    n_simulations = int(np.clip(SIMULATIONS * 20**2 // n_models**2, 30, SIMULATIONS))
    priced = all(judge.usd_per_call is not None for judge in judges if judge.is_llm)
    return SearchForecast(
        rule,
        [
            Forecast(
                assumption,
                simulate_searches(
                    ratings,
                    rules,
                    costs,
                    seed=prepared.config.experiment.seed,
                    max_usd=max_usd,
                    n=n_simulations,
                ),
                priced,
                of_best=rule.best,
            )
            for assumption, ratings in cases
        ],
    )


def _search_rules(
    prepared: PreparedExperiment, rule: StoppingRule, pilot: Pilot | None
) -> SearchRules:
    """Return how the run plays; with a log, only the queries that it lacks are left."""
    settings = prepared.config.experiment
    reads = present_option(prepared).reads
    n_queries = sum(map(len, prepared.data.queries.values()))
    n_complete = _n_complete(prepared, pilot) if pilot else 0.0
    return SearchRules(
        spread=pilot.spread_for(reads) if pilot else PUBLIC_SPREADS[reads],
        n_orders=2 if settings.orders == "both" else 1,
        pairs_per_query=settings.pairs_per_query if prepared.is_sparse else None,
        queries_per_round=ROUND * len(prepared.data.queries),
        n_queries=max(math.ceil(n_queries - n_complete - _ROUNDING), 0),
        within=rule.within_elo / ELO_PER_LOGIT,
        reached=None if rule.best else rule.reached,
    )


class QueryCosts:
    """Calls and dollars of a query on average, by the models that play.

    Args:
        prepared: the experiment; its lists tell which battles need a call.
        judges: what their calls are.
        n_queries: that are left to play. They take at most the calls that are left of the plan,
            because some may be paid for.
    """

    def __init__(
        self, prepared: PreparedExperiment, judges: Sequence[JudgePrice], *, n_queries: int = 0
    ) -> None:
        self._judges = [judge for judge in judges if judge.is_llm]
        settings = prepared.config.experiment
        self._n_orders = 2 if settings.orders == "both" else 1
        self._pairs = settings.pairs_per_query if prepared.is_sparse else None
        names = _names(prepared)
        rankings = {(run.dataset, run.model): run.rankings for run in prepared.runs}
        every = [(name, q) for name, ids in sorted(prepared.data.queries.items()) for q in ids]
        draw = random.Random(settings.seed)  # noqa: S311
        chosen = draw.sample(every, min(_SAMPLED, len(every)))
        self._n_queries = len(chosen)
        self._differ = np.zeros((len(names), len(names)))
        judge_inputs = []
        for dataset, query_id in chosen:
            lists = [
                tuple(d.doc_id for d in rankings[dataset, name].get(query_id, ())[: settings.top_k])
                for name in names
            ]
            self._differ += [[a != b for b in lists] for a in lists]
            documents = sorted({doc_id for each in lists for doc_id in each})
            judge_inputs.append([[doc_id in each for each in lists] for doc_id in documents])
        self._shown = np.concatenate(
            [np.array(each, np.bool_).reshape(-1, len(names)) for each in judge_inputs]
        )
        whole = [n * n_queries for n in self._calls(np.ones(len(names), np.bool_))]
        self._unpaid = [
            min(judge.n_calls / n, 1.0) if judge.n_calls is not None and n else 1.0
            for judge, n in zip(self._judges, whole, strict=True)
        ]

    def __call__(self, alive: Mask) -> tuple[float, float]:
        """Return calls and dollars of a query on which these models play."""
        each = [n * share for n, share in zip(self._calls(alive), self._unpaid, strict=True)]
        usd = [n * (judge.usd_per_call or 0.0) for n, judge in zip(each, self._judges, strict=True)]
        return sum(each), sum(usd)

    def _calls(self, alive: Mask) -> list[float]:
        """Return the calls of each judge on such a query, if none is paid for."""
        a = int(alive.sum())
        n_pairs = a * (a - 1) / 2
        share = min(self._pairs or n_pairs, n_pairs) / n_pairs if n_pairs else 0.0
        battles = self._differ[np.ix_(alive, alive)].sum() / 2 / self._n_queries
        battles *= share * self._n_orders
        documents = float(self._shown[:, alive].any(axis=1).sum()) / self._n_queries
        return [battles if judge.reads_lists else documents for judge in self._judges]


def _known(pilot: Pilot) -> KnownRatings:
    """Return what the log says of the ratings, and the information in its battles."""
    fitted, battles = pilot.fit, pilot.battles
    p = sigmoid(fitted.theta[:, None] - fitted.theta[None, :])
    weights = battles * p * (1 - p)
    information = np.diag(weights.sum(axis=1)) - weights
    centre = np.eye(len(p)) - 1 / len(p)
    covariance = centre @ fitted.covariance @ centre
    prior = information + fitted.prior * np.eye(len(p))
    scores = prior @ covariance @ prior
    return KnownRatings(fitted.theta, covariance, information, scores, pilot.n_queries)


def _n_complete(prepared: PreparedExperiment, pilot: Pilot) -> float:
    """Return the share of its battles that each query has played, added up over queries."""
    settings = prepared.config.experiment
    planned = pilot.n_playing * (pilot.n_playing - 1) / 2
    if prepared.is_sparse and settings.pairs_per_query is not None:
        planned = np.minimum(planned, settings.pairs_per_query)
    n_orders = 2 if settings.orders == "both" else 1
    return float(np.minimum(pilot.n_battles / (planned * n_orders), 1.0).sum())


def _prior(sd_elo: float, m: int) -> KnownRatings:
    """Return that ratings are normal with a standard deviation, and nothing else."""
    nothing: Floats = np.zeros((m, m))
    return KnownRatings(np.zeros(m), np.eye(m) * (sd_elo / ELO_PER_LOGIT) ** 2, nothing, nothing, 0)


def _names(prepared: PreparedExperiment) -> list[str]:
    return [model.name for model in prepared.config.models]


def _range(values: Sequence[float], words: Callable[[float], str]) -> str:
    """Return the 10th to the 90th percentile."""
    low, high = (words(float(end)) for end in np.quantile(values, [0.1, 0.9]))
    return low if low == high else f"{low} to {high}"
