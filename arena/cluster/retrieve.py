"""Rank corpora that are in partitions on the workers of a cluster.

One task reads a partition, embeds the texts that its cache lacks, and returns its best documents.
A tree of tasks merges these lists, so that only the best of the whole corpus reach this process.
Each partition has a cache of its own, named for its content: a task that is run again, on any
worker that shares the cache's folder, embeds only what is missing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import count
from operator import add
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from arena.cluster.connect import Cluster, check_workers, each_ended, lost
from arena.config import ModelConfig
from arena.data.partitions import read_partition
from arena.data.searchable_text import Passages
from arena.embedding.embedder import Embedder
from arena.embedding.local.embedder import local_embedder
from arena.embedding.open import open_embedder
from arena.embedding.providers import PRESETS, find_endpoint
from arena.endpoint.address_and_key import find_key
from arena.errors import ArenaError, ClusterError, UnforeseenError
from arena.files import cache_folder
from arena.records import Partition, RetrievalStats
from arena.retrieval.job import RankingJob, Rankings
from arena.retrieval.partitioned import (
    EmbeddedQueries,
    PartialRun,
    embed_once,
    may_use_gpu,
    merge_partitions,
    partition_cache,
    rank_partition,
    vector_ranges,
    vector_stats,
)
from arena.retrieval.partitioned_bm25 import (
    WordCounts,
    WordTotals,
    count_query_words,
    rank_by_counts,
)
from arena.terminal import one_line
from arena.vectors.quantized import Ranges, joined_ranges

if TYPE_CHECKING:
    from distributed import Client, Future

_FAN_IN: Final = 8
"""Results that one task merges: as many are in its memory at once."""


_AGAIN: Final = "what is embedded is kept, and the same command goes on from there"


@dataclass(frozen=True, slots=True)
class PartitionSearch:
    """What every task of one run needs to know."""

    model: ModelConfig
    queries: Mapping[str, str]  #: query_id → text
    depth: int
    memory_mb: int


class ClusterRanker:
    """Ranks partitions on a cluster: an `arena.retrieval.partitioned.PartitionRanker`.

    Args:
        cluster: is ready.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(
        self, job: RankingJob, model: ModelConfig, partitions: Sequence[Partition]
    ) -> tuple[Rankings, RetrievalStats]:
        """Return the rankings that one machine would give, and what they took.

        Raises:
            ApiError: an endpoint failed.
            ClusterError: a worker differs from this process, lacks the corpus or a key, or the
                cluster is lost.
            DataError: a partition has changed since it was loaded.
            UsageError: a model cannot be loaded.
        """
        partitions = [_absolute(partition) for partition in partitions]
        check_workers(self._cluster, partial(_look, model, partitions[0].path))
        search = PartitionSearch(model, job.queries, job.depth, job.memory_mb)
        tasks = _Tasks(self._cluster.client, model, partitions, job.embedded)
        with tasks.cancelled_on_error():
            run, stats = tasks.rank(search)
        place = f"{len(partitions)} partitions on {self._cluster.n_workers} workers"
        return run.rankings, replace(stats, place=place)


class _Tasks:
    """The tasks of one model on one corpus."""

    def __init__(
        self,
        client: Client,
        model: ModelConfig,
        partitions: Sequence[Partition],
        embedded: Callable[[int], None],
    ) -> None:
        self._client = client
        self._partitions = partitions
        self._embedded = embedded
        self._model = model.name.replace("-", "_")
        self._run = secrets.token_hex(8)
        self._numbers = count()
        self._futures: WeakSet[Future] = WeakSet()  # a result that nobody needs is dropped
        needs_gpu = may_use_gpu(model) and _has_gpu(client)
        self._resources = {"GPU": 1} if needs_gpu else None

    def rank(self, search: PartitionSearch) -> tuple[PartialRun, RetrievalStats]:
        # What all tasks need is the result of a task as well: it reaches each worker once, and is
        # made again if a worker dies.
        common = self._submit(_same, search)
        if search.model.provider == "bm25":
            run = self._rank_by_words(search, common)
            latency_ms = tuple(run.search_ms.tolist())
            return run, RetrievalStats(latency_ms, documents_per_s=run.texts_per_s)
        queries = self._submit(_embed_queries, common, embeds=True)
        run = self._rank_by_vectors(search, common, queries)
        return run, vector_stats(run, self._result([], queries))

    def _rank_by_vectors(
        self, search: PartitionSearch, common: Future, queries: Future
    ) -> PartialRun:
        ranges = None
        embedding: list[Future] = []
        if search.model.precision == "int8":
            embedding = self._of_each(_vector_ranges, common)
            ranges = self._tree(_joined_ranges, embedding)
        parts = self._of_each(_rank_partition, common, queries, ranges)
        best = self._tree(_merged, parts, search.depth)
        waited = embedding or parts
        del embedding, parts
        run: PartialRun = self._result(waited, best)
        return run

    def _rank_by_words(self, search: PartitionSearch, common: Future) -> PartialRun:
        counts = self._of_each(_count_words, common)
        totals = self._tree(_sum, [self._submit(_totals, count) for count in counts])
        parts = [self._submit(_rank_by_counts, count, common, totals) for count in counts]
        best = self._tree(_merged, parts, search.depth)
        del parts
        run: PartialRun = self._result(counts, best)
        return run

    def _of_each(self, function: Callable[..., Any], *inputs: Future | None) -> list[Future]:
        """Submit a task for each partition, all at once.

        The scheduler hands out tasks one by one if they are many. Else it puts them where their
        inputs are, and other workers have to take them from there.
        """
        n_parts = len(self._partitions)
        futures: list[Future] = self._client.map(
            function,
            self._partitions,
            *([given] * n_parts for given in inputs),
            key=[self._key(function) for _ in range(n_parts)],
            resources=self._resources,
        )
        self._futures.update(futures)
        return futures

    def _submit(self, function: Callable[..., Any], *inputs: Any, embeds: bool = False) -> Future:
        future = self._client.submit(
            function,
            *inputs,
            key=self._key(function),
            resources=self._resources if embeds else None,
        )
        self._futures.add(future)
        return future

    def _key(self, function: Callable[..., Any]) -> tuple[str, int]:
        """Return a key that tells the scheduler which tasks take equally long."""
        name = f"{function.__name__.strip('_')}_{self._model}"
        return f"{name}-{self._run}", next(self._numbers)

    def _tree(self, merge: Callable[..., Any], level: list[Future], *inputs: Any) -> Future:
        """Merge results a few at a time, until there is one."""
        while True:
            level = [
                self._submit(merge, level[first : first + _FAN_IN], *inputs)
                for first in range(0, len(level), _FAN_IN)
            ]
            if len(level) == 1:
                return level[0]

    def _result(self, waited: list[Future], last: Future) -> Any:
        """Return what the last task returned; report the documents of those that are waited for."""
        from distributed import as_completed  # noqa: PLC0415

        sizes = {
            future.key: partition.n_documents
            for future, partition in zip(waited, self._partitions, strict=False)
        }
        ready = as_completed([*waited, last])
        waited.clear()
        n_done = 0
        resource = next(iter(self._resources), None) if self._resources else None
        for future in each_ended(self._client, ready, _AGAIN, resource=resource):
            # A task whose worker died since it ended is neither: it is made again by itself.
            if future.status in ("error", "cancelled"):
                future.result()  # raises what happened
            if future.key in sizes:
                n_done += sizes[future.key]
                self._embedded(n_done)
        return last.result()

    @contextmanager
    def cancelled_on_error(self) -> Iterator[None]:
        """Stop the tasks that are left after an error, and put a lost cluster into one line."""
        from distributed import KilledWorker  # noqa: PLC0415
        from distributed.client import FutureCancelledError  # noqa: PLC0415

        try:
            yield
        except BaseException as error:
            with suppress(Exception):  # the scheduler may be gone
                self._client.cancel(list(self._futures))
            if isinstance(error, KilledWorker | FutureCancelledError | OSError):
                raise lost(error, _AGAIN) from None
            if isinstance(error, ArenaError) or not isinstance(error, Exception):
                raise
            raise UnforeseenError(error) from error


def _absolute(partition: Partition) -> Partition:
    if "://" in partition.path:
        return partition
    return replace(partition, path=str(Path(partition.path).resolve()))


def _has_gpu(client: Client) -> bool:
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return any(worker["resources"].get("GPU") for worker in workers)


def _look(model: ModelConfig, path: str) -> dict[str, str]:
    """Return what is wrong with this worker."""
    if "://" not in path and not Path(path).is_file():
        return {path: "problem: sees no such file; all workers need the corpus under one path"}
    try:
        if model.provider in PRESETS:
            find_key(find_endpoint(model))
    except ArenaError as error:
        return {path: f"problem: {model.name}: {one_line(str(error))}"}
    return {path: "is there"}


def _same(search: PartitionSearch) -> PartitionSearch:
    return search


def _embed_queries(search: PartitionSearch) -> EmbeddedQueries:
    with _embedder(search.model) as embedder:
        return embed_once(embedder, list(search.queries.values()), cache_folder())


def _vector_ranges(partition: Partition, search: PartitionSearch) -> Ranges | None:
    cache = partition_cache(cache_folder(), partition)
    with _embedder(search.model) as embedder:
        return vector_ranges(_job(partition, search), search.model, embedder, cache)


def _joined_ranges(ranges: Sequence[Ranges | None]) -> Ranges | None:
    known = [part for part in ranges if part is not None]
    return joined_ranges(known) if known else None


def _rank_partition(
    partition: Partition,
    search: PartitionSearch,
    queries: EmbeddedQueries,
    ranges: Ranges | None,
) -> PartialRun:
    cache = partition_cache(cache_folder(), partition)
    job = _job(partition, search)
    with _embedder(search.model) as embedder:
        return rank_partition(
            job, search.model, embedder, cache=cache, queries=queries, ranges=ranges
        )


def _merged(runs: Sequence[PartialRun], depth: int) -> PartialRun:
    return merge_partitions(runs, depth)


def _count_words(partition: Partition, search: PartitionSearch) -> WordCounts:
    return count_query_words(_job(partition, search), search.model.language)


def _totals(counts: WordCounts) -> WordTotals:
    return counts.totals


def _sum(totals: Sequence[WordTotals]) -> WordTotals:
    return reduce(add, totals)


def _rank_by_counts(counts: WordCounts, search: PartitionSearch, totals: WordTotals) -> PartialRun:
    return rank_by_counts(search.queries, search.depth, counts, totals, search.model.language)


def _job(partition: Partition, search: PartitionSearch) -> RankingJob:
    corpus = Passages(read_partition(partition))
    return RankingJob(
        corpus, search.queries, search.depth, _check_wanted, lambda _: None, search.memory_mb
    )


def _check_wanted(n_embedded: int) -> None:
    """Stop a task between two batches if nobody waits for it any more."""
    from distributed import get_worker  # noqa: PLC0415

    del n_embedded
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if task is None or task.state == "cancelled":
        raise ClusterError("the run that asked for this is over")


_ALONE: Final = Lock()
"""Held by the one task of this process that uses a local model."""

_LOADED: Final[dict[str, Embedder]] = {}
"""The local model that this process has loaded, by its settings."""


@contextmanager
def _embedder(model: ModelConfig) -> Iterator[Embedder]:
    """Open a model's embedder; a local model stays loaded for the next partition."""
    if model.provider in PRESETS:
        with open_embedder(model, {}) as embedder:
            yield embedder
        return
    key = model.model_dump_json()
    with _ALONE:
        if key not in _LOADED:
            _LOADED.clear()
            _LOADED[key] = local_embedder(model, {})
        yield _LOADED[key]
