"""Rank a corpus partition by partition, with the rankings that the whole corpus would give.

Each partition gives its best documents, a `PartialRun`. Several of them merge into one of the same
kind, in any order, so that a tree of tasks may merge them. What a score needs of the whole corpus
is reduced first: the ranges of dimensions for ``int8``, the counts of words for BM25.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from arena.config import ModelConfig
from arena.embedding.embedder import Embedder
from arena.embedding.providers import PRESETS
from arena.records import Partition, RetrievalStats, by_score
from arena.retrieval.dense import (
    embed_corpus,
    embed_queries,
    measured_latencies,
    search_vectors,
    share_of_total,
)
from arena.retrieval.job import RankingJob, Rankings
from arena.vectors.quantized import Ranges, ranges_of
from arena.vectors.vector_files import StoredVectors

T = TypeVar("T", int, float)

PartitionRanker = Callable[
    [RankingJob, ModelConfig, Sequence[Partition]], tuple[Rankings, RetrievalStats]
]
"""Ranks a corpus that is in partitions, such as on the workers of a cluster."""

_WHOLE_CORPUS: Final = frozenset({"lsa", "splade", "colbert"})
"""Providers that need the whole corpus in one place."""


def by_partition(model: ModelConfig) -> bool:
    """Return whether a model can rank each partition on its own."""
    is_other = model.run or model.command or model.rerank or model.fuse or model.cutting
    return not is_other and model.provider not in _WHOLE_CORPUS


def may_use_gpu(model: ModelConfig) -> bool:
    """Return whether a model computes where it runs, neither behind an endpoint nor by words."""
    return model.provider != "bm25" and model.provider not in PRESETS


def partition_cache(cache: Path, partition: Partition) -> Path:
    """Return the folder of a partition's own vectors, so that no two tasks wait for one lock."""
    return cache / "partitions" / partition.content


@dataclass(frozen=True, slots=True)
class PartialRun:
    """The best documents of some partitions, and what finding them took."""

    rankings: Rankings  #: query_id → its best documents in these partitions, ties by doc_id
    search_ms: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Of each of the first queries, one at a time, in the partition where it took longest."""
    n_texts: int = 0  #: that were searched, each once in its partition
    seconds: float | None = 0.0  #: to embed or count these texts, one partition after the other
    embedded: int = 0  #: texts that were embedded now
    tokens: int | None = 0  #: billed for these texts; None if unknown
    dimension: int | None = None  #: numbers of each vector that were compared
    index_bytes: int | None = None
    n_cut: int | None = None  #: texts that the model cut now; None if unknown

    @property
    def texts_per_s(self) -> float | None:
        """Return the texts that one worker embeds or counts in a second; None if unknown."""
        return self.n_texts / self.seconds if self.seconds else None


def merge_partitions(runs: Sequence[PartialRun], depth: int) -> PartialRun:
    """Merge what several partitions gave: best score first, equal scores in order of doc_id.

    Args:
        runs: of different partitions, for the same queries; at least one.
        depth: documents kept of each ranking.
    """
    rankings = {}
    for query_id in dict.fromkeys(query_id for run in runs for query_id in run.rankings):
        parts = (run.rankings.get(query_id, ()) for run in runs)
        rankings[query_id] = list(islice(heapq.merge(*parts, key=by_score), depth))
    searched = [run.search_ms for run in runs if len(run.search_ms)]
    n_measured = min(map(len, searched), default=0)  # large partitions measure fewer queries
    return PartialRun(
        rankings,
        np.max([times[:n_measured] for times in searched], axis=0) if searched else np.empty(0),
        sum(run.n_texts for run in runs),
        _sum_of_all([run.seconds for run in runs]),
        sum(run.embedded for run in runs),
        _sum_of_all([run.tokens for run in runs]),
        next((run.dimension for run in runs if run.dimension is not None), None),
        _sum_of_known([run.index_bytes for run in runs]),
        _sum_of_known([run.n_cut for run in runs]),
    )


@dataclass(frozen=True, slots=True)
class EmbeddedQueries:
    """The vectors of a run's queries."""

    stored: StoredVectors
    n_texts: int  #: distinct texts among them
    embedded: int  #: texts that were embedded now


def embed_once(embedder: Embedder, texts: Sequence[str], cache: Path) -> EmbeddedQueries:
    """Embed the queries that all partitions are searched for.

    Raises:
        ApiError: the embedder failed.
    """
    stored, embedded = embed_queries(embedder, texts, cache)
    return EmbeddedQueries(stored, len(set(texts)), embedded)


def vector_ranges(
    job: RankingJob, model: ModelConfig, embedder: Embedder, cache: Path
) -> Ranges | None:
    """Embed a partition; return the ranges of its vectors, None if it has no text.

    Raises:
        ApiError: the embedder failed, or its vectors are too short.
    """
    if not job.corpus:
        return None
    return ranges_of(embed_corpus(job, embedder, cache).vectors(model.dimensions))


def rank_partition(  # noqa: PLR0913  the last two are what is known of the whole
    job: RankingJob,
    model: ModelConfig,
    embedder: Embedder,
    *,
    cache: Path,
    queries: EmbeddedQueries,
    ranges: Ranges | None = None,
) -> PartialRun:
    """Embed the texts of a partition that its cache lacks, and search it for each query.

    Args:
        job: the partition and the queries.
        model: says how vectors are compared.
        embedder: of the model.
        cache: `partition_cache` of the partition.
        queries: of the job.
        ranges: of the whole corpus, where an index needs them.

    Raises:
        ApiError: the embedder failed, or gave vectors that are unusable.
    """
    if not job.corpus:
        return PartialRun({query_id: [] for query_id in job.queries})
    corpus = embed_corpus(job, embedder, cache)
    search = search_vectors(
        job,
        corpus,
        queries.stored,
        precision=model.precision,
        dimensions=model.dimensions,
        ranges=ranges,
    )
    n_texts, texts_per_s = len(corpus.texts.rows), corpus.texts_per_s
    return PartialRun(
        search.rankings,
        search.search_ms,
        n_texts,
        n_texts / texts_per_s if texts_per_s else None,
        corpus.embedded,
        corpus.tokens,
        search.dimension,
        search.index_bytes,
        corpus.n_cut,
    )


def vector_stats(run: PartialRun, queries: EmbeddedQueries) -> RetrievalStats:
    """Return what a whole run by vectors took.

    A query's latency is that of its embedding, and of the search where it took longest.
    """
    stored = queries.stored
    return RetrievalStats(
        latency_ms=measured_latencies(stored.latency_ms[: len(run.search_ms)] + run.search_ms),
        dimension=run.dimension,
        embedded=run.embedded + queries.embedded,
        tokens=_sum_of_all([run.tokens, stored.tokens]),
        tokens_per_document=share_of_total(run.tokens, run.n_texts),
        tokens_per_query=share_of_total(stored.tokens, queries.n_texts),
        documents_per_s=run.texts_per_s,
        bytes_per_vector=share_of_total(run.index_bytes, run.n_texts),
        index_bytes=run.index_bytes,
        n_cut=run.n_cut,
    )


def _sum_of_all(values: Sequence[T | None]) -> T | None:
    """Return the sum; None if a value is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _sum_of_known(values: Sequence[int | None]) -> int | None:
    """Return the sum of the known values; None if there is none."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
