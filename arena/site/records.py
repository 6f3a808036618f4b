"""What pages and scripts read: the records of the site, in the shape of their JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Cell = str | float | bool | Mapping[str, float] | None
TableRow = Mapping[str, Cell]
"""A row of leaderboard.json with every key, null if a figure is not known, and more ranks."""

PairCells = tuple[int, int, int, int, int, float | None, int]
"""Two models by their places in the table, the better one first; wins, losses and ties of the
first; how sure it is that it is better; 1 if the two are surely separated, else 0."""


@dataclass(frozen=True, slots=True)
class ExperimentState:
    """How far an experiment is."""

    planned: int | None  #: battles of the whole plan, all judges; None if no manifest says so
    judged: int
    failures: int  #: matchups without a verdict
    complete: bool  #: nothing is left to be judged for the first time
    sentence: str


@dataclass(frozen=True, slots=True)
class JudgeInfo:
    """Who judged."""

    name: str
    kind: str | None  #: pairwise, pointwise or qrels
    is_llm: bool | None  #: None if a log names a judge and nothing more


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model without asking it anything."""

    name: str
    file: str  #: its page, from the root of the site
    maker: str | None = None
    provider: str | None = None
    license: str | None = None
    price: float | None = None  #: US dollars for a million tokens
    release_date: str | None = None  #: ISO 8601
    dimension: int | None = None
    about: str | None = None
    settings_text: str = ""  #: its section of the arena.toml, a line a setting


@dataclass(frozen=True, slots=True)
class LatencyInfo:
    """What a model's search took on one data set."""

    samples_ms: Sequence[float]  #: sorted; quantiles of the samples where there are many
    n_samples: int
    histogram: Mapping[str, Sequence[float]] | None  #: edges and counts; None without samples
    documents_per_s: float | None
    bytes_per_vector: float | None
    index_bytes: int | None
    n_documents: int
    tokens: int | None
    cost_usd: float | None
    measured_at: str | None
    place: str | None
    without: str | None  #: the model whose time is left out, of a reranker over a run file


@dataclass(frozen=True, slots=True)
class DataFiles:
    """How the data beside the overview are cut into files."""

    battles: int  #: files of battles
    battles_total: int
    rows_per_chunk: int  #: battles of one file
    replies_per_chunk: int  #: battles whose replies share a file
    shown_chunk: int  #: queries whose lists share a file
    has_texts: bool
    has_replies: bool
    has_audit: bool


@dataclass(frozen=True, slots=True)
class Site:
    """The data of every page; small for any number of battles."""

    title: str
    version: str  #: hash of all that the site is made of
    generated_at: str | None  #: time of the last verdict, so that the same log gives the same site
    arena: str  #: the version that made the site
    top_k: int | None
    state: ExperimentState
    datasets: Sequence[str]
    judges: Sequence[JudgeInfo]
    models: Sequence[ModelInfo]  #: in an order that stays while battles are played
    overall: Sequence[TableRow]
    by_dataset: Mapping[str, Sequence[TableRow]]
    pairs: Sequence[PairCells]
    position_advantage: Mapping[str, float] | None
    position_by_dataset: Mapping[str, Mapping[str, float]]
    more_queries: Sequence[Mapping[str, str | float | None]]
    notes: Sequence[str]
    sentences: Sequence[str]  #: what `arena rate` says below its table
    queries: Mapping[str, Mapping[str, int]]  #: data set → how many, in how many files of lists
    texts_note: str | None  #: why there are no texts, where there are none
    files: DataFiles


@dataclass(frozen=True, slots=True)
class QueryRecord:
    """How a model did on one query, over all its opponents."""

    dataset: str
    query_id: str
    text: str | None
    wins: int
    losses: int
    ties: int
    ndcg: float | None  #: of the list shown


@dataclass(frozen=True, slots=True)
class Opponent:
    """A pair, seen from one of its models."""

    name: str
    file: str
    wins: int
    losses: int
    ties: int
    p_better: float | None  #: how sure it is that this page's model is the better one
    separated: bool


@dataclass(frozen=True, slots=True)
class ModelPage:
    """What a model's own page says beside the site."""

    model: ModelInfo
    row: TableRow | None  #: of the overall table; None for a model without battles
    by_dataset: Mapping[str, TableRow]  #: of the data sets that it has battles on
    named_metrics: Sequence[str]  #: of arena.toml, as far as a data set has them
    latency: Mapping[str, LatencyInfo]  #: of the data sets that it has a run on
    opponents: Sequence[Opponent]  #: in the order of the overall table
    best_queries: Sequence[QueryRecord]
    worst_queries: Sequence[QueryRecord]


@dataclass(frozen=True, slots=True)
class PromptInfo:
    """What a judge is told."""

    judge: str
    hash: str
    text: str


@dataclass(frozen=True, slots=True)
class Method:
    """How the figures came about, and how to have them again."""

    manifest: Mapping[str, object]  #: without the configuration, which is shown as it was written
    config: str | None  #: the arena.toml, without what must not be published
    prompts: Sequence[PromptInfo]
    commands: Sequence[str]
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    notes: Sequence[str]
