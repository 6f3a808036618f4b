"""Frozen types that stages pass to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

Role = Literal["query", "document"]
Orders = Literal["both", "balanced"]
Winner = Literal["model_a", "model_b", "tie"]
Side = Literal["first", "second", "tie"]
Source = Literal["judge", "identical", "cache"]
JudgeKind = Literal["pairwise", "pointwise", "qrels"]
Qrels = Mapping[str, Mapping[str, float]]
"""query_id → doc_id → graded relevance; zero and negative grades are not relevant. A whole grade is
an int."""


def now(precision: Literal["seconds", "milliseconds"] = "milliseconds") -> str:
    """Return the current moment, as every file of arena writes it."""
    return utc(datetime.now(UTC).timestamp(), precision)


def utc(seconds: float, precision: Literal["seconds", "milliseconds"] = "milliseconds") -> str:
    """Return a moment in seconds since 1970 as UTC time in ISO 8601, which ends with ``Z``."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Query:
    """One query on a corpus.

    Attributes:
        query_id: unique within its data set.
        text: as the user typed it.
    """

    query_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One retrievable passage.

    Attributes:
        doc_id: unique within its corpus.
        text: the body, any script, any length.
        title: empty if the corpus has none.
    """

    doc_id: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Partition:
    """One file of a corpus that is in several files."""

    path: str  #: of the file, or its address in an object store
    content: str  #: hash of the ids, titles and texts in it, in any order
    n_documents: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A corpus, its queries, and optionally relevance grades."""

    name: str  #: its name in configs, runs and battles
    corpus: Mapping[str, Document]  #: doc_id → document, in file order
    queries: Mapping[str, Query]  #: query_id → query, in file order
    qrels: Qrels  #: empty without grades
    notes: tuple[str, ...] = ()  #: facts about its files for the reader, one line each
    from_clicks: bool = False  #: whether the grades are clicks of users

    def with_corpus(self, corpus: Mapping[str, Document]) -> Dataset:
        """Return the same queries and grades over another corpus."""
        return Dataset(
            self.name, corpus, self.queries, self.qrels, self.notes, from_clicks=self.from_clicks
        )

    partitions: tuple[Partition, ...] = ()  #: the files of its corpus; empty if it is one file


@dataclass(frozen=True, slots=True)
class ScoredDoc:
    """One place in a ranking."""

    doc_id: str  #: a document of the corpus
    score: float  #: the model's own score, higher is better


def by_score(scored: tuple[str, float]) -> tuple[float, str]:
    """Return the key by which (doc_id, score) pairs are ordered: best first, ties by doc_id."""
    doc_id, score = scored
    return -score, doc_id


@dataclass(frozen=True, slots=True)
class Run:
    """One model's rankings on one dataset, as in a TREC run file."""

    dataset: str
    model: str
    rankings: Mapping[str, tuple[ScoredDoc, ...]]  #: best first; ties by doc_id
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Unusual facts about how arena read its file."""


@dataclass(frozen=True, slots=True)
class RetrievalStats:
    """The measured cost of a run; None for a figure without a measurement."""

    latency_ms: tuple[float, ...] = ()  #: per query, one at a time, without retries and waits
    dimension: int | None = None  #: length of the vectors; None for models without vectors
    n_documents: int = 0  #: number of documents of the corpus
    embedded: int = 0  #: texts sent to the model in this run; the rest came from the cache
    tokens: int | None = None  #: tokens of the whole run, with cached texts
    tokens_per_document: float | None = None  #: mean over distinct documents
    tokens_per_query: float | None = None  #: mean over distinct queries; of a reranker, all it read
    cost_usd: float | None = None  #: cost of the tokens at the configured price
    measured_at: str | None = None  #: UTC time of the latency samples, ISO 8601
    place: str | None = None  #: place of the measurement, from the config or the machine
    documents_per_s: float | None = None  #: embedded or indexed documents per second of wall time
    bytes_per_vector: float | None = None  #: bytes of one document in the index
    index_bytes: int | None = None  #: bytes of the whole index, without names of documents
    n_cut: int | None = None  #: documents of this run that the model cut; None if unknown
    latency_without: str | None = None  #: the base of a reranker, if latency_ms excludes it
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Facts about how arena read a run file of another tool."""
    key: str = ""  #: hash of everything that the run depends on


@dataclass(frozen=True, slots=True)
class Matchup:
    """A planned battle: model_a's list is the one shown first."""

    dataset: str
    query_id: str
    model_a: str
    model_b: str


@dataclass(frozen=True, slots=True)
class JudgeInput:
    """The input of a judge: a query and two lists, best first, without model names.

    Judges that use relevance grades need the doc ids; a prompt never shows them.
    """

    dataset: str
    query: Query
    first: tuple[Document, ...]
    second: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Probs:
    """A judge's probabilities for its three answers; they sum to 1.

    Attributes:
        first: that the first list is better.
        second: that the second list is better.
        tie: that neither is.
    """

    first: float
    second: float
    tie: float


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of one judged input; zeros for judges without cost."""

    input_tokens: int = 0  #: prompt tokens, with cached ones
    output_tokens: int = 0  #: completion tokens, reasoning included
    cached_tokens: int = 0  #: prompt tokens that the endpoint billed as cached
    cost_usd: float = 0.0  #: at the configured prices
    latency_ms: float = 0.0  #: of the successful request alone
    estimated: bool = False  #: the endpoint did not say what it billed: the cost is the most it is

    def __add__(self, more: Usage) -> Usage:
        """Return the sum of both; its latency is the longer one, as calls may run at once."""
        return Usage(
            self.input_tokens + more.input_tokens,
            self.output_tokens + more.output_tokens,
            self.cached_tokens + more.cached_tokens,
            self.cost_usd + more.cost_usd,
            max(self.latency_ms, more.latency_ms),
            self.estimated or more.estimated,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's verdict on one input.

    Attributes:
        winner: ``"first"``, ``"second"`` or ``"tie"``.
        probs: of the three answers; None where they are not known.
        reply: the judge's exact reply; empty for judges without text.
        usage: tokens, US dollars and milliseconds; zeros where it cost nothing.
        cached: whether it rests on replies that were paid before, so it cost nothing.
    """

    winner: Side
    probs: Probs | None = None
    reply: str = ""
    usage: Usage = Usage()
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Battle:
    """A judged matchup: one line of battles.jsonl."""

    id: str  #: hash of everything that can change the verdict
    dataset: str
    query_id: str
    model_a: str  #: the model whose list was shown first
    model_b: str
    winner: Winner
    judge: str  #: the judge's name
    prompt: str  #: hash of the prompt template; empty for judges without a template
    source: Source  #: judged now, a tie by identical lists, or a verdict paid before
    probs: Probs | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    estimated: bool = False  #: the cost is the highest possible one; see `Usage`
    at: str = ""  #: UTC time of the verdict, ISO 8601
    kind: JudgeKind = "pairwise"  #: kind of the judge; no position bias if it sees no list first


@dataclass(frozen=True, slots=True)
class Failure:
    """A matchup without a verdict: one line of failures.jsonl."""

    id: str  #: the battle's id
    dataset: str
    query_id: str
    model_a: str
    model_b: str
    judge: str
    prompt: str
    reason: str  #: a short stable word: refusal, empty, unreadable, timeout, ...
    detail: str  #: one line for people
    cost_usd: float = 0.0  #: cost of the unreadable replies
    at: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Wins, losses and ties of one model; counts battles, so home and away are two."""

    wins: int = 0
    losses: int = 0
    ties: int = 0

    @property
    def battles(self) -> int:
        """Return the number of battles that the model played."""
        return self.wins + self.losses + self.ties

    @property
    def win_rate(self) -> float:
        """Return wins divided by battles, with ties as no win; 0 for a model without battles."""
        return self.wins / self.battles if self.battles else 0.0


@dataclass(frozen=True, slots=True)
class Grade:
    """A judge's grade of one document for one query: one line of grades.jsonl."""

    dataset: str
    query_id: str
    doc_id: str
    grade: float  #: expected value if probabilities are known, else the stated grade
    gain: float  #: the grade divided by the best one, 0 to 1
    probs: tuple[float, ...] | None  #: probabilities of the answers in `SCALES`, worst first
    reply: str  #: exactly what the judge wrote
    judge: str  #: the judge's name
    prompt: str  #: hash of the template
    input_tokens: int = 0  #: 0 for a reply that was paid before
    output_tokens: int = 0
    cost_usd: float = 0.0
    estimated: bool = False  #: the cost is the highest possible one; see `Usage`
    at: str = ""  #: UTC time, ISO 8601


@dataclass(frozen=True, slots=True)
class Reply:
    """A judge's reply that was paid: one line of replies.jsonl."""

    id: str  #: the battle's id
    request: str  #: equal for equal requests
    reply: str  #: the judge's exact reply
    winner: Side | None  #: None without a readable verdict
    probs: Probs | None = None
    usage: Usage = field(default_factory=Usage)
    at: str = ""  #: UTC time, ISO 8601
    judge: str = ""  #: the judge that wrote it and that is charged for it
