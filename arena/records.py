"""The frozen types that stages hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["query", "document"]
Orders = Literal["both", "balanced"]
Winner = Literal["model_a", "model_b", "tie"]
Side = Literal["first", "second", "tie"]
Source = Literal["judge", "identical", "cache"]
JudgeKind = Literal["pairwise", "pointwise", "qrels"]
Qrels = Mapping[str, Mapping[str, int]]
"""query_id → doc_id → graded relevance; zero and negative grades are not relevant."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question put to the corpus."""

    query_id: str  #: unique within its dataset
    text: str  #: as the user typed it


@dataclass(frozen=True, slots=True)
class Document:
    """One retrievable passage."""

    doc_id: str  #: unique within its corpus
    text: str  #: the body, any script, any length
    title: str = ""  #: empty where the corpus has none


@dataclass(frozen=True, slots=True)
class Dataset:
    """A corpus, its queries, and the relevance grades where there are any."""

    name: str  #: the word that configs, runs and battles use for it
    corpus: Mapping[str, Document]  #: doc_id → document, in file order
    queries: Mapping[str, Query]  #: query_id → query, in file order
    qrels: Qrels  #: empty where the dataset has none
    notes: tuple[str, ...] = ()  #: what its files leave a reader to know, one line each


@dataclass(frozen=True, slots=True)
class ScoredDoc:
    """One place in a ranking."""

    doc_id: str  #: a document of the corpus
    score: float  #: the model's own score, higher is better


@dataclass(frozen=True, slots=True)
class Run:
    """One model's rankings on one dataset, as in a TREC run file."""

    dataset: str
    model: str
    rankings: Mapping[str, tuple[ScoredDoc, ...]]  #: query_id → best first; ties by doc_id
    notes: tuple[str, ...] = field(default=(), compare=False)
    """How its file was read, where that is not a matter of course."""


@dataclass(frozen=True, slots=True)
class RetrievalStats:
    """What making a run cost; every figure is measured, None where it was not."""

    latency_ms: tuple[float, ...] = ()  #: per query, one at a time, retries and waits excluded
    dimension: int | None = None  #: of the vectors; None for models without vectors
    n_documents: int = 0  #: corpus size
    embedded: int = 0  #: texts sent to the model this time (the rest came from the cache)
    tokens: int | None = None  #: reported by the endpoint for the whole run, cached texts too
    cost_usd: float | None = None  #: tokens at the configured price
    measured_at: str | None = None  #: UTC time of the latency samples, ISO 8601
    place: str | None = None  #: where they were taken, as the config or the machine says
    documents_per_s: float | None = None  #: embedded, whenever that was, or indexed; by the clock
    bytes_per_vector: float | None = None  #: what the index holds for one document
    index_bytes: int | None = None  #: of the whole index, names of documents left out
    n_cut: int | None = None  #: documents embedded now whose ends were not read; None if unknown
    latency_without: str | None = None  #: a reranker's base, where latency_ms leaves it out
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Of the run: how a file made elsewhere was read."""
    key: str = ""  #: hash of everything that the run depends on; another key, another run


@dataclass(frozen=True, slots=True)
class Matchup:
    """A planned battle: model_a's list is the one shown first."""

    dataset: str
    query_id: str
    model_a: str
    model_b: str


@dataclass(frozen=True, slots=True)
class JudgeInput:
    """What is put before a judge: a query and two lists, best first, and no model's name.

    The doc ids inside serve judges that know relevance grades; a prompt never shows them.
    """

    dataset: str
    query: Query
    first: tuple[Document, ...]
    second: tuple[Document, ...]


@dataclass(frozen=True, slots=True)
class Probs:
    """A judge's probabilities for its three answers; they sum to 1."""

    first: float
    second: float
    tie: float


@dataclass(frozen=True, slots=True)
class Usage:
    """What one judged exhibit took; zeros for judges that cost nothing."""

    input_tokens: int = 0  #: prompt tokens, cached ones included
    output_tokens: int = 0  #: completion tokens, reasoning included
    cached_tokens: int = 0  #: prompt tokens that the endpoint billed as cached
    cost_usd: float = 0.0  #: at the configured prices
    latency_ms: float = 0.0  #: of the successful request alone
    estimated: bool = False  #: the endpoint did not say what it billed: the cost is the most it is


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of one exhibit."""

    winner: Side
    probs: Probs | None = None  #: where the endpoint gives logprobs
    reply: str = ""  #: exactly what the judge wrote; empty for judges that do not write
    usage: Usage = Usage()
    cached: bool = False  #: it rests on replies that were paid for elsewhere, and cost nothing


@dataclass(frozen=True, slots=True)
class Battle:
    """A judged matchup: one line of battles.jsonl."""

    id: str  #: hash of everything that could change the verdict
    dataset: str
    query_id: str
    model_a: str  #: its list was shown first
    model_b: str
    winner: Winner
    judge: str  #: the judge's name
    prompt: str  #: hash of the prompt template; empty for judges without one
    source: Source  #: judged now, a tie by identical lists, or a verdict paid for before
    probs: Probs | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    estimated: bool = False  #: the cost is the most that it can be; see `Usage`
    at: str = ""  #: UTC time of the verdict, ISO 8601
    kind: JudgeKind = "pairwise"  #: of the judge; one that sees no list first profits from no place


@dataclass(frozen=True, slots=True)
class Failure:
    """A matchup that no verdict could be had for: one line of failures.jsonl."""

    id: str  #: the battle's id
    dataset: str
    query_id: str
    model_a: str
    model_b: str
    judge: str
    prompt: str
    reason: str  #: a short stable word: refusal, empty, unreadable, timeout, ...
    detail: str  #: one line for people
    cost_usd: float = 0.0  #: what the unreadable replies cost all the same
    at: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Wins, losses and ties of one model; counts battles, so home and away are two."""

    wins: int = 0
    losses: int = 0
    ties: int = 0

    @property
    def battles(self) -> int:
        """How many battles the model played."""
        return self.wins + self.losses + self.ties

    @property
    def win_rate(self) -> float:
        """Wins over battles; a tie is no win. 0 for a model without battles."""
        return self.wins / self.battles if self.battles else 0.0


@dataclass(frozen=True, slots=True)
class Grade:
    """What a judge thinks of one document for one query: one line of grades.jsonl."""

    dataset: str
    query_id: str
    doc_id: str
    grade: float  #: expected value where probabilities are known, else as stated
    gain: float  #: the grade as a share of the best one, 0 to 1
    probs: tuple[float, ...] | None  #: of the answers in `SCALES`, worst first
    reply: str  #: exactly what the judge wrote
    judge: str  #: the judge's name
    prompt: str  #: hash of the template
    input_tokens: int = 0  #: 0 for a reply that was paid for before
    output_tokens: int = 0
    cost_usd: float = 0.0
    estimated: bool = False  #: the cost is the most that it can be; see `Usage`
    at: str = ""  #: UTC time, ISO 8601


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of a judge that was paid for: one line of replies.jsonl."""

    id: str  #: the battle's id
    request: str  #: the same for requests that are wholly the same
    reply: str  #: exactly what the judge wrote
    winner: Side | None  #: None where no verdict could be read
    probs: Probs | None = None
    usage: Usage = field(default_factory=Usage)
    at: str = ""  #: UTC time, ISO 8601
    judge: str = ""  #: who wrote it, and whom it is billed to
