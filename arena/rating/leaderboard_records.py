"""What a leaderboard is made of, and how rows per data set become one overall row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from arena.cost.formula import Rates
from arena.cost.recommend import Gap
from arena.data.metrics import Latency, Metrics
from arena.errors import UsageError
from arena.rating.elo import EloSettings
from arena.rating.metric_differences import MetricDifference, Values
from arena.rating.panel_votes import JudgeRule
from arena.records import Record, RetrievalStats

if TYPE_CHECKING:
    from arena.config.usage import UsageConfig

Method = Literal["bt", "davidson"]


@dataclass(frozen=True, slots=True)
class RatingSettings:
    """Everything that a leaderboard depends on besides the battles.

    Attributes:
        rank_by: what ranks: ``rating`` or ``elo``.
        elo: how online Elo moves.
        level: of intervals, between 0 and 1.
        position: whether to estimate the first place's advantage and remove it from ratings.
        prior: precision of a normal prior on ratings, in logits⁻²; 0 for none.
        n_permutations: battle orders behind elo_order_sd; below 2 none.
        seed: of these orders and of the bootstrap.
        method: ``bt`` (Bradley-Terry, a tie is half a win) or ``davidson`` (ties as an outcome of
            their own).
        bootstrap: draws of a Bayesian bootstrap behind intervals and ranks; 0 for the sandwich.
        soft: ``auto`` rates by the judge's probabilities where they are known; ``never`` does not.
        judge: rate the verdicts of this judge alone.
        judges: how the verdicts of a panel make one battle: ``majority``, ``mean`` or ``each``.
    """

    rank_by: Literal["rating", "elo"] = "rating"
    elo: EloSettings = field(default_factory=EloSettings)
    level: float = 0.95
    position: bool = True
    prior: float = 0.0
    n_permutations: int = 100
    seed: int = 0
    method: Method = "bt"
    bootstrap: int = 0
    soft: Literal["auto", "never"] = "auto"
    judge: str | None = None
    judges: JudgeRule = "majority"

    def check(self) -> None:
        """Check that the settings make sense, alone and together.

        Raises:
            UsageError: naming the first that does not.
        """
        self._check_each()
        if not 0 < self.level < 1:
            raise UsageError(f"level must be between 0 and 1, got {self.level}")
        if not 0 <= self.prior <= MOST_PRIOR:
            raise UsageError(f"prior is {self.prior:g}; expected 0 to {MOST_PRIOR:,.0f}")
        if self.bootstrap != 0 and not LEAST_DRAWS <= self.bootstrap <= MOST_DRAWS:
            ends = f"at least {LEAST_DRAWS} and at most {MOST_DRAWS:,}"
            remedy = f"give {ends}, or 0 for the sandwich"
            raise UsageError(f"bootstrap is {self.bootstrap} draws; {remedy}")
        if self.method != "bt" and self.bootstrap:
            raise UsageError(f"the bootstrap is for bt; {self.method} has the sandwich's intervals")
        if self.method != "bt" and self.judges == "mean":
            raise UsageError(f"{self.method} rates verdicts, not means; use bt, or judges majority")

    def _check_each(self) -> None:
        """Check each setting alone."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                value = getattr(self, name)
                raise UsageError(f"{name} is {value!r}; expected {_either(allowed)}")
        for name, (kind, expected) in _NUMBERS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind):
                raise UsageError(f"{name} is {value!r}; expected {expected}")
        if self.n_permutations < 0:
            raise UsageError(f"n_permutations is {self.n_permutations}; expected 0 or more")


MOST_PRIOR = 1e6
"""A prior that leaves a fifth of an Elo point; the fits stay solvable up to here."""

LEAST_DRAWS = 100
"""Bootstrap draws below which the ends of an interval would be those of single draws."""

MOST_DRAWS = 100_000
"""Draws beyond which the ends of an interval move by less than a hundredth of its width."""

_NUMBERS: Mapping[str, tuple[type, str]] = {
    "level": (Real, "a number"),
    "prior": (Real, "a number"),
    "bootstrap": (Integral, "a whole number"),
    "n_permutations": (Integral, "a whole number"),
    "seed": (Integral, "a whole number"),
}

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "rank_by": ("rating", "elo"),
    "method": get_args(Method),
    "soft": ("auto", "never"),
    "judges": get_args(JudgeRule),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model without measuring it."""

    dimension: int | None = None
    price_per_1m_tokens: float | None = None  #: US dollars
    license: str | None = None
    provider: str | None = None
    release_date: str | None = None  #: ISO 8601


@dataclass(frozen=True, slots=True)
class RetrievalFigures:
    """What was measured of one model on one data set, or on several; None is not known."""

    documents: int | None = None  #: of the corpora
    documents_per_s: float | None = None  #: embedded or indexed, all corpora together
    bytes_per_vector: float | None = None  #: what the index holds for one document
    index_bytes: int | None = None  #: of the largest index
    tokens: int | None = None  #: billed for all documents and queries
    cost_usd: float | None = None  #: of these tokens
    measured_at: str | None = None  #: UTC time of the last latency samples, ISO 8601
    place: str | None = None  #: where latencies were measured; None if at several places


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a model on one data set."""

    metrics: Metrics | None = None  #: None if the data set has no qrels
    latency: Latency | None = None
    retrieval: RetrievalFigures | None = None
    values: Values = field(default_factory=dict)
    """Metric → query_id → value, of the metrics that arena.toml names."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an experiment knows besides its battles."""

    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    measured: Mapping[tuple[str, str], Measured] = field(default_factory=dict)
    """(data set, model) → measurements."""
    llm_judges: bool = False  #: whether an LLM judged
    rates: Mapping[str, Rates] = field(default_factory=dict)
    """Model → what it takes and costs, over all data sets."""
    usage: UsageConfig | None = None  #: how much the search is used; None: no dollars a month
    from_clicks: frozenset[str] = frozenset()  #: data sets whose grades are clicks of users


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One model in one table; None is not known, and never 0."""

    model: str
    elo: float  #: online Elo in log order; overall, the mean over data sets
    record: Record
    rank: int = 0  #: 1 the best; equal values share a rank
    elo_order_sd: float | None = None  #: of the Elo over permutations of the log
    rating: float | None = None  #: by the settings' method, on the Elo scale
    lower: float | None = None  #: pointwise interval of the rating
    upper: float | None = None
    rank_lower: int | None = None  #: best rank that the battles allow, all models at once
    rank_upper: int | None = None
    effective_queries: float | None = None
    """How many queries its differences from the others rest on, the median of them."""
    corrected: float | None = None  #: rating that people's labels correct; None without labels
    corrected_lower: float | None = None  #: its interval, which covers the judge's errors too
    corrected_upper: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  #: "ndcg@10" → mean
    named_metrics: Mapping[str, float] = field(default_factory=dict)
    """"RR(rel=2)@10" → mean, of the metrics that arena.toml names."""
    latency: Latency | None = None
    retrieval: RetrievalFigures | None = None  #: None if nothing was measured
    facts: ModelFacts = field(default_factory=ModelFacts)


@dataclass(frozen=True, slots=True)
class PositionAdvantage:
    """What being shown first is worth to a list, in Elo points."""

    elo: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models against each other, over all data sets; ``a`` is ranked above ``b``."""

    a: str
    b: str
    wins: int  #: battles between them that ``a`` won
    losses: int
    ties: int
    p_better: float | None = None  #: how sure it is that ``a`` is better; None without intervals
    separated: bool = False  #: surely better, with all pairs of the table told at once


@dataclass(frozen=True, slots=True)
class MoreQueries:
    """About what it would take to separate two neighbours that do not separate."""

    a: str  #: the one with the higher rating
    b: str
    queries: int  #: further ones, played as those so far
    battles: int  #: that this would be
    cost_usd: float | None  #: at the log's own mean price; None if that is not known
    query_share: float  #: part of the variance that only more queries reduce, 0 to 1


@dataclass(frozen=True, slots=True)
class Correction:
    """How people's labels corrected the ratings of the overall table."""

    method: Literal["battles", "documents", "shrink"]
    unit: Literal["battle", "document"]  #: what people labelled
    labels: int  #: items that people answered and that count
    people: int  #: who answered
    queries: int  #: that have a label
    judge_weight: float  #: λ: 0 uses people alone, 1 the judge with its mean error removed
    one_step: bool  #: too few labels for a finite solution: one Newton step from the judge
    error_sd: float | None  #: of the judge's systematic errors over models, Elo points
    error_lower: float | None  #: of its 95% interval
    error_upper: float | None
    labels_to_halve: int | None  #: labels in all that would halve the intervals; None: no number
    elo_per_dcg: float | None = None  #: what turns a difference in DCG, 0 to 1, into Elo points


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """All tables, and what a reader should know of them."""

    overall: tuple[LeaderboardRow, ...]  #: best first
    datasets: Mapping[str, tuple[LeaderboardRow, ...]]  #: by name
    position_advantage: PositionAdvantage | None  #: None if it could not be estimated
    battles: int
    ties: int
    failures: int  #: matchups without a verdict
    queries: int  #: query clusters
    judges: tuple[str, ...]  #: "" where the log names none
    settings: RatingSettings
    notes: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()  #: all pairs of models, in the order of the overall table
    more_queries: tuple[MoreQueries, ...] = ()
    """Neighbours by overall rating that do not separate, best first; equal ones left out."""
    position_by_dataset: Mapping[str, PositionAdvantage] = field(default_factory=dict)
    """The same on each data set alone, where it could be estimated."""
    correction: Correction | None = None  #: None if no labels of people count
    rates: Mapping[str, Rates] = field(default_factory=dict)
    """Model → what it takes and costs; empty without an experiment's folder."""
    usage: UsageConfig | None = None  #: how much the search is used; None: no dollars a month
    gaps: tuple[Gap, ...] = ()  #: of all pairs; only where there are rates and intervals
    metric_differences: tuple[MetricDifference, ...] = ()
    """The best model's lead over each other one, by each metric that arena.toml names."""

    @property
    def tied_with_first(self) -> tuple[str, ...]:
        """Return the models whose rank interval holds 1; empty without intervals."""
        return tuple(row.model for row in self.overall if row.rank_lower == 1)


def aggregate(rows: Sequence[LeaderboardRow]) -> LeaderboardRow:
    """Return one model's overall row out of its rows per data set, still without rank and rating.

    Elo, metrics and latency are unweighted means over the data sets that have them; wins,
    losses and ties are sums.
    """
    latencies = [row.latency for row in rows if row.latency is not None]
    return LeaderboardRow(
        model=rows[0].model,
        elo=_mean([row.elo for row in rows]),
        record=Record(
            wins=sum(row.record.wins for row in rows),
            losses=sum(row.record.losses for row in rows),
            ties=sum(row.record.ties for row in rows),
        ),
        metrics=_means([row.metrics for row in rows]),
        named_metrics=_means([row.named_metrics for row in rows]),
        latency=_mean_latency(latencies) if latencies else None,
        retrieval=over_datasets([row.retrieval for row in rows]),
        facts=rows[0].facts,
    )


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _mean([row[name] for row in rows if name in row]) for name in names}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_latency(latencies: Sequence[Latency]) -> Latency:
    return Latency(
        mean_ms=_mean([latency.mean_ms for latency in latencies]),
        p50_ms=_mean([latency.p50_ms for latency in latencies]),
        p90_ms=_mean([latency.p90_ms for latency in latencies]),
        p99_ms=_mean([latency.p99_ms for latency in latencies]),
        n_samples=sum(latency.n_samples for latency in latencies),
    )


T = TypeVar("T")


def figures_of(stats: RetrievalStats) -> RetrievalFigures:
    """Return the figures of one run."""
    return RetrievalFigures(
        documents=stats.n_documents,
        documents_per_s=stats.documents_per_s,
        bytes_per_vector=stats.bytes_per_vector,
        index_bytes=stats.index_bytes,
        tokens=stats.tokens,
        cost_usd=stats.cost_usd,
        measured_at=stats.measured_at,
        place=stats.place,
    )


def over_datasets(parts: Sequence[RetrievalFigures | None]) -> RetrievalFigures | None:
    """Return one model's figures on all data sets; a sum or rate is known if every part is."""
    figures = [part for part in parts if part is not None]
    if not figures or len(figures) != len(parts):
        return None
    documents = _all([part.documents for part in figures], sum)
    seconds = _all(
        [
            part.documents / part.documents_per_s
            if part.documents is not None and part.documents_per_s
            else None
            for part in figures
        ],
        sum,
    )
    places = {part.place for part in figures}
    return RetrievalFigures(
        documents=documents,
        documents_per_s=documents / seconds if documents and seconds else None,
        bytes_per_vector=_all([part.bytes_per_vector for part in figures], max),
        index_bytes=_all([part.index_bytes for part in figures], max),
        tokens=_all([part.tokens for part in figures], sum),
        cost_usd=_all([part.cost_usd for part in figures], sum),
        measured_at=_all([part.measured_at for part in figures], max),
        place=places.pop() if len(places) == 1 else None,
    )


def _all(values: Sequence[T | None], join: Callable[[Sequence[T]], T]) -> T | None:
    known = [value for value in values if value is not None]
    return join(known) if len(known) == len(values) else None
