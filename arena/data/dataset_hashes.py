"""Hash the contents of data sets, so that runs and logs tell when they have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from arena.records import Dataset, Qrels


def queries_hash(dataset: Dataset, query_ids: Sequence[str]) -> str:
    """Return a hash of some queries' ids and texts that does not depend on their order."""
    return digest_of(
        field
        for query_id in sorted(query_ids)
        for field in (query_id, dataset.queries[query_id].text)
    ).hexdigest()


def qrels_hash(qrels: Qrels) -> str:
    """Return a hash of relevance grades that does not depend on their order."""
    return digest_of(
        field
        for query_id, grades in sorted(qrels.items())
        for doc_id, grade in sorted(grades.items())
        for field in (query_id, doc_id, str(grade))
    ).hexdigest()


def digest_of(fields: Iterable[str]) -> hashlib.blake2b:
    """Hash fields with their lengths, so that no two sequences of them look alike."""
    digest = hashlib.blake2b(digest_size=16)
    for field in fields:
        raw = field.encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest
