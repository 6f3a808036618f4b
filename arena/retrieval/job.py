"""Define the input of a ranker: queries, passages, depth and progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from arena.data.searchable_text import Passages

LATENCY_SAMPLES = 200
"""Queries that are embedded and searched one at a time; any more go in batches."""

Rankings = dict[str, list[tuple[str, float]]]
"""query_id → (doc_id, score), best first."""


@dataclass(frozen=True, slots=True)
class RankingJob:
    """A corpus to be searched for some queries."""

    corpus: Passages  #: doc_id → the text it is found by
    queries: Mapping[str, str]  #: query_id → text
    depth: int
    embedded: Callable[[int], None]  #: told how many documents are embedded
    searched: Callable[[int], None]  #: told how many queries are done, after all documents
    memory_mb: int = 1024  #: the most that a search may hold in memory
