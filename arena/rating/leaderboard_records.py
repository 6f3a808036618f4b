"""What a leaderboard is made of, and how rows per data set become one overall row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from arena.data.metrics import Latency, Metrics
from arena.rating.elo import EloSettings
from arena.records import Record


@dataclass(frozen=True, slots=True)
class RatingSettings:
    """Everything that a leaderboard depends on besides the battles."""

    rank_by: Literal["rating", "elo"] = "rating"
    elo: EloSettings = field(default_factory=EloSettings)
    level: float = 0.95  #: of intervals
    position: bool = True  #: estimate the first place's advantage and remove it from ratings
    prior: float = 0.0  #: precision of a normal prior on ratings, logits⁻²; 0 for none
    n_permutations: int = 100  #: battle orders behind elo_order_sd; below 2: none
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of a model without measuring it."""

    dimension: int | None = None
    price_per_1m_tokens: float | None = None  #: US dollars
    license: str | None = None
    provider: str | None = None
    release_date: str | None = None  #: ISO 8601


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a model on one data set."""

    metrics: Metrics | None = None  #: None where the data set has no qrels
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an experiment knows besides its battles."""

    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    measured: Mapping[tuple[str, str], Measured] = field(default_factory=dict)
    """(data set, model) → measurements."""


@dataclass(frozen=True, slots=True)
class Row:
    """One model in one table; None is not known, and never 0."""

    model: str
    elo: float  #: online Elo in log order; overall, the mean over data sets
    record: Record
    rank: int = 0  #: 1 the best; equal values share a rank
    elo_order_sd: float | None = None  #: of the Elo over permutations of the log
    rating: float | None = None  #: Bradley-Terry on the Elo scale
    lower: float | None = None  #: pointwise interval of the rating
    upper: float | None = None
    rank_lower: int | None = None  #: best rank that the battles allow, all models at once
    rank_upper: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  #: "ndcg@10" → mean
    latency: Latency | None = None
    facts: ModelFacts = field(default_factory=ModelFacts)


@dataclass(frozen=True, slots=True)
class PositionAdvantage:
    """What being shown first is worth to a list, in Elo points."""

    elo: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """All tables, and what a reader should know of them."""

    overall: tuple[Row, ...]  #: best first
    datasets: Mapping[str, tuple[Row, ...]]  #: by name
    position_advantage: PositionAdvantage | None  #: None where it could not be estimated
    battles: int
    ties: int
    failures: int  #: matchups without a verdict
    queries: int  #: query clusters
    judges: tuple[str, ...]  #: "" where the log names none
    settings: RatingSettings
    notes: tuple[str, ...] = ()


def aggregate(rows: Sequence[Row]) -> Row:
    """One model's overall row out of its rows per data set, still without rank and rating.

    Elo, metrics and latency are unweighted means over the data sets that have them; wins,
    losses and ties are sums.
    """
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    latencies = [row.latency for row in rows if row.latency is not None]
    return Row(
        model=rows[0].model,
        elo=_mean([row.elo for row in rows]),
        record=Record(
            wins=sum(row.record.wins for row in rows),
            losses=sum(row.record.losses for row in rows),
            ties=sum(row.record.ties for row in rows),
        ),
        metrics={n: _mean([row.metrics[n] for row in rows if n in row.metrics]) for n in names},
        latency=_mean_latency(latencies) if latencies else None,
        facts=rows[0].facts,
    )


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
