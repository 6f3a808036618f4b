"""Sample the queries of a data set: the same ones for the same seed."""

from __future__ import annotations

from arena.data.dataset_hashes import digest_of
from arena.records import Dataset


def sample_queries(dataset: Dataset, n: int | None, seed: int) -> tuple[str, ...]:
    """Return the first ``n`` query_ids of a permutation; return all if ``n`` is None.

    Only the seed and the names decide the permutation. A larger sample contains every smaller one.
    The order of the file has no effect, and a new query moves no other. Queries with relevance
    grades come first, so that as many battles as possible have metrics.
    """

    def place(query_id: str) -> tuple[bool, bytes, str]:
        key = digest_of([str(seed), dataset.name, query_id]).digest()
        return query_id not in dataset.qrels, key, query_id

    return tuple(sorted(dataset.queries, key=place)[:n])
