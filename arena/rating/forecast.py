"""How a run with a stopping rule would go, simulated by the rule itself.

Ratings are drawn from what is known of them, a posterior or a prior. Rounds then add the scores of
their queries, normal with the covariance that `arena.rating.expected_width` gives. Each look of a
search for the best model drops models by `may_be_best` itself; other rules look at all ratings. A
simulation costs a few small matrices a round, and no battle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.rating.bradley_terry import sigmoid
from arena.rating.comparisons import Floats
from arena.rating.expected_width import Spread
from arena.rating.fit import Fit
from arena.rating.sandwich import Contrasts, of_matrix
from arena.rating.sequential_tests import SEARCH_PRIOR, may_be_best, shortfall

SIMULATIONS: Final = 100

_UNKNOWN: Final = 1e6
"""Variance beyond which the battles do not connect two models, logits²."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class KnownRatings:
    """What is known of the ratings before the rounds that are simulated."""

    theta: Floats  #: the expected ratings, logits, (m,)
    covariance: Floats  #: of what is drawn around them, (m, m)
    information: Floats  #: A of the battles so far, (m, m); zeros before the first
    scores: Floats  #: covariance of the scores of the battles so far, (m, m)
    n_queries: int  #: of the battles so far


@dataclass(frozen=True, slots=True)
class SearchRules:
    """What a search plays, and when it ends."""

    spread: Spread  #: of verdicts
    n_orders: int  #: in which a pair plays on a query: 1 or 2
    pairs_per_query: int | None  #: None for all pairs of models that play
    queries_per_round: int
    n_queries: int  #: that are left to play, at most
    within: float = 0.0  #: logits: a model that is surely so near the best ends the search
    reached: Callable[[Fit], bool] | None = None
    """Whether ratings end a run in which all models play on; None: a search for the best."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one simulated search ended."""

    calls: float
    cost_usd: float
    n_left: int  #: models that may be the best
    decided: bool  #: whether it ended before its queries did


RoundCosts = Callable[[Mask], tuple[float, float]]
"""Calls and dollars of a query on which these models play."""


def simulate_searches(  # noqa: PLR0913, what is known, what is played, and how often
    known: KnownRatings,
    rules: SearchRules,
    costs: RoundCosts,
    *,
    seed: int,
    max_usd: float | None = None,
    n: int = SIMULATIONS,
) -> list[Outcome]:
    """Return how searches end whose true ratings are drawn from what is known.

    Args:
        known: of the ratings.
        rules: of the search.
        costs: of a query, by the models that play.
        seed: of the draws.
        max_usd: ends a search, too.
        n: simulations.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    search = _SimulatedSearch(known, rules, costs, max_usd)
    rng = np.random.default_rng(seed)
    m = len(known.theta)
    root = _root(known.covariance)
    # So small matrices take longer by two threads than by one.
    with threadpool_limits(limits=1, user_api="blas"):
        return [search.play(known.theta + root @ rng.normal(size=m), rng) for _ in range(n)]


class _SimulatedSearch:
    """The rounds of a search; what they add depends only on the models that play."""

    def __init__(
        self, known: KnownRatings, rules: SearchRules, costs: RoundCosts, max_usd: float | None
    ) -> None:
        self._known, self._rules = known, rules
        self._costs, self._max_usd = costs, max_usd
        self._added: dict[bytes, tuple[Floats, Floats, Floats]] = {}
        self._priced: dict[bytes, tuple[float, float]] = {}
        lead = known.theta[:, None] - known.theta[None, :]
        p = sigmoid(lead)
        # What p(1 − p) is on average over the ratings that may be true.
        self._information = p * (1 - p) / np.sqrt(1 + of_matrix(known.covariance) / 4)

    def play(self, theta: Floats, rng: np.random.Generator) -> Outcome:
        """Return how a search ends where these are the true ratings."""
        rules, ratings, m = self._rules, self._known, len(theta)
        information, scores = ratings.information, ratings.scores
        gathered = (information + SEARCH_PRIOR * np.eye(m)) @ ratings.theta
        n_played, left = ratings.n_queries, rules.n_queries
        alive, decided = np.ones(m, np.bool_), False
        if n_played:
            begun = self._look(information, gathered, scores, n_played)
            alive, decided = self._end(begun, alive)
        calls = cost_usd = 0.0
        while left and not decided:
            n = min(rules.queries_per_round, left)
            each_calls, each_usd = self._price(alive)
            if self._max_usd is not None and cost_usd + n * each_usd > self._max_usd:
                break
            calls, cost_usd = calls + n * each_calls, cost_usd + n * each_usd
            left, n_played = left - n, n_played + n
            added, covariance, root = self._round(alive)
            information, scores = information + n * added, scores + n * covariance
            gathered = gathered + n * added @ theta + np.sqrt(n) * root @ rng.normal(size=m)
            fitted = self._look(information, gathered, scores, n_played)
            alive, decided = self._end(fitted, alive)
        return Outcome(calls, cost_usd, int(alive.sum()), decided)

    def _price(self, alive: Mask) -> tuple[float, float]:
        key = alive.tobytes()
        if key not in self._priced:
            self._priced[key] = self._costs(alive)
        return self._priced[key]

    def _round(self, alive: Mask) -> tuple[Floats, Floats, Floats]:
        """Return A and B of a query among the models that play, and a root of B."""
        key = alive.tobytes()
        if key not in self._added:
            self._added[key] = self._query(alive)
        return self._added[key]

    def _query(self, alive: Mask) -> tuple[Floats, Floats, Floats]:
        """Return what one query of the living models adds: information, scores and their root."""
        rules, a = self._rules, int(alive.sum())
        n_pairs = a * (a - 1) / 2
        drawn = min(rules.pairs_per_query or n_pairs, n_pairs)
        playing = np.outer(alive, alive) & ~np.eye(len(alive), dtype=bool)
        weights = np.where(playing, self._information, 0.0) * rules.n_orders
        mean = weights.sum() / max(2 * n_pairs, 1)
        laplacian = np.diag(weights.sum(axis=1)) - weights
        information = laplacian * drawn / n_pairs
        # Of a part of the pairs A_q differs from query to query: E A_q² is more than (E A_q)².
        met = 2 * drawn / a
        more = mean**2 * (a * (met**2 + met) / (a - 1) - (a * met / (a - 1)) ** 2)
        centre = np.diag(alive.astype(np.float64)) - np.outer(alive, alive) / a
        noise = rules.spread.within + (rules.n_orders - 1) * rules.spread.shared
        scores = rules.spread.between * (information @ information + max(more, 0.0) * centre)
        scores = scores + noise * information
        return information, scores, _root(scores)

    def _end(self, fitted: Fit, alive: Mask) -> tuple[Mask, bool]:
        """Return the models that play on, and whether a look at the ratings ends the run."""
        if self._rules.reached:
            return alive, self._rules.reached(fitted)
        m = len(alive)
        alive = may_be_best(fitted, alive, n_at_start=m)
        below = shortfall(fitted, alive, n_at_start=m)[1]
        return alive, bool(alive.sum() == 1 or below < self._rules.within)

    def _look(self, information: Floats, gathered: Floats, scores: Floats, n_queries: int) -> Fit:
        """Return the fit of this many queries, as far as the rule looks at it.

        Args:
            information: of the battles so far.
            gathered: the information times the ratings, with the noise of the battles.
            scores: covariance of the scores.
            n_queries: so far.
        """
        m = len(gathered)
        # Without a prior the sum of the ratings is free; any information about it does.
        prior = np.full((m, m), 1 / m) + np.eye(m) / (10 * _UNKNOWN)
        if self._rules.reached is None:
            prior = SEARCH_PRIOR * np.eye(m)
        bread: Floats = np.asarray(np.linalg.inv(information + prior), np.float64)
        theta, covariance = bread @ gathered, bread @ scores @ bread
        variance, alone = of_matrix(covariance), of_matrix(bread)
        if self._rules.reached is None:
            # As in `arena.rating.sandwich`: with a prior never narrower than the posterior.
            variance = np.maximum(variance, alone)
        variance = np.where(alone > _UNKNOWN, np.inf, variance)
        variance *= n_queries / max(n_queries - 1, 1)
        df = np.full((m, m), max(n_queries - 1, 1), np.float64)
        return Fit(
            theta=theta - theta.mean(),
            covariance=covariance,
            contrasts=Contrasts(variance, df, variance),
            position=0.0,
            position_fitted=False,
            n_clusters=n_queries,
            n_battles=0,
            prior=SEARCH_PRIOR,
            log_likelihood=0.0,
        )


def _root(covariance: Floats) -> Floats:
    """Return a root of a covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
