"""What people say of battles and documents, as a correction of ratings takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Correct = Literal["auto", "battles", "documents", "shrink", "none"]
"""Which labels correct ratings, and how; ``auto``: documents where a judge graded them, else
battles, else documents."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What people say of one item, and how many items it stands for."""

    value: float  #: battle: score of the model that sorts first; document: gain, 0 to 1
    inverse: float  #: 1 / probability of being asked and answered


@dataclass(frozen=True, slots=True)
class PeoplesLabels:
    """Labels of known probability, and what lies beside them."""

    people: int = 0  #: who answered
    battles: Mapping[tuple[str, str, str, str], Answer] = field(default_factory=dict)
    """(data set, query_id, two models, sorted) → answer."""
    documents: Mapping[tuple[str, str, str], Answer] = field(default_factory=dict)
    """(data set, query_id, doc_id) → answer."""
    lists: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]] = field(default_factory=dict)
    """Data set → model → query_id → doc_ids shown, best first; needed for documents."""
    gains: Mapping[tuple[str, str, str], float] = field(default_factory=dict)
    """(data set, query_id, doc_id) → gain by the judge, 0 to 1; empty for a judge of lists."""
    top_k: int = 0  #: documents of a list that count
    notes: tuple[str, ...] = ()  #: what a reader should know, such as how many did not answer
