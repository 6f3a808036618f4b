"""Rank one partition by BM25 with the statistics of the whole corpus.

`count_query_words` counts the words of the queries in each partition. `rank_by_counts` scores its
documents once the totals of all partitions are known. Both use the arithmetic of bm25s
(arXiv 2407.03618) in the same precision, so that scores and ties are those of one `Bm25Index`.
"""

from __future__ import annotations

import math
import time
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.retrieval.bm25 import K1, B, best_scored, stemmer, tokenize
from arena.retrieval.job import RankingJob, Rankings
from arena.retrieval.partitioned import PartialRun
from arena.vectors.exact import places


@dataclass(frozen=True, slots=True)
class WordTotals:
    """What a score needs to know of all documents."""

    n_documents: int  #: that have any text
    n_words: int  #: in all of them
    n_with: Mapping[str, int]  #: word of a query → documents that contain it

    def __add__(self, more: WordTotals) -> WordTotals:
        """Return the totals of both parts."""
        return WordTotals(
            self.n_documents + more.n_documents,
            self.n_words + more.n_words,
            Counter(self.n_with) + Counter(more.n_with),
        )


@dataclass(frozen=True, slots=True)
class WordCounts:
    """How often the words of some queries occur in the documents of a partition."""

    doc_ids: tuple[str, ...]
    lengths: NDArray[np.int64]  #: (n_documents,), words of each
    occurrences: Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]
    """Word → the rows of the documents that contain it, and how often each does."""
    seconds: float  #: that the counting took

    @property
    def totals(self) -> WordTotals:
        """Return what other partitions need to know of this one."""
        n_with = {word: len(rows) for word, (rows, _) in self.occurrences.items()}
        return WordTotals(len(self.doc_ids), int(self.lengths.sum()), n_with)


def count_query_words(job: RankingJob, language: str | None) -> WordCounts:
    """Count the words of a job's queries in its documents.

    Args:
        job: one partition, and the queries.
        language: whose stems are counted; words as they are if absent.

    Raises:
        UsageError: there is no stemmer of this language.
    """
    began = time.perf_counter()
    stem = None if language is None else stemmer(language)
    query_words = {word for text in job.queries.values() for word in tokenize(text, stem)}
    lengths = array("q")
    occurrences: dict[str, tuple[array[int], array[float]]] = {}
    for row, text in enumerate(job.corpus.values()):
        words = tokenize(text, stem)
        lengths.append(len(words))
        for word, n_times in Counter(filter(query_words.__contains__, words)).items():
            rows, times = occurrences.setdefault(word, (array("q"), array("f")))
            rows.append(row)
            times.append(n_times)
    return WordCounts(
        tuple(job.corpus),
        np.array(lengths, np.int64),
        {
            word: (np.array(rows, np.int64), np.array(times, np.float32))
            for word, (rows, times) in occurrences.items()
        },
        time.perf_counter() - began,
    )


def rank_by_counts(
    queries: Mapping[str, str],
    depth: int,
    counts: WordCounts,
    totals: WordTotals,
    language: str | None,
) -> PartialRun:
    """Rank the documents of a partition for each query.

    Args:
        queries: those whose words were counted.
        depth: documents kept of each ranking.
        counts: of the partition.
        totals: of all partitions.
        language: as of `count_query_words`.
    """
    stem = None if language is None else stemmer(language)
    gains, position = _gains(counts, totals), places(counts.doc_ids)
    rankings: Rankings = {}
    search_ms = []
    for query_id, text in queries.items():
        started = time.perf_counter()
        scores = np.zeros(len(counts.doc_ids), np.float32)
        for word in tokenize(text, stem):
            if word in gains:
                scores[counts.occurrences[word][0]] += gains[word]
        rankings[query_id] = best_scored(scores, counts.doc_ids, position, depth)
        search_ms.append((time.perf_counter() - started) * 1000)
    return PartialRun(
        rankings, np.array(search_ms), len(counts.doc_ids), counts.seconds, tokens=None
    )


def _gains(counts: WordCounts, totals: WordTotals) -> dict[str, NDArray[np.float32]]:
    """Return for each word what it adds to the score of each document that contains it."""
    average = totals.n_words / totals.n_documents if totals.n_documents else 0.0
    penalties = K1 * ((1 - B) + B * counts.lengths / (average or 1.0))
    gains = {}
    for word, (rows, times) in counts.occurrences.items():
        n_with = totals.n_with[word]
        rarity = math.log(1 + (totals.n_documents - n_with + 0.5) / (n_with + 0.5))
        gain = np.float32(rarity) * (times / (penalties[rows] + times))
        gains[word] = gain.astype(np.float32)
    return gains
