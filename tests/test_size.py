"""Corpora that fill a disk are searched within the memory that a setting allows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.data.searchable_text import Passages
from arena.embedding.embedder import Embedding
from arena.records import Document, Role
from arena.retrieval.dense import rank_by_vectors
from arena.retrieval.job import RankingJob
from arena.vectors import exact as shortlist
from arena.vectors.cache import embed_cached
from arena.vectors.digests import DistinctTexts, VectorRows
from arena.vectors.exact import CosineIndex
from arena.vectors.vector_files import VectorStore

MB = 2**20


class ByLetters:
    """A text's vector counts its letters a, b and c."""

    settings: Mapping[str, object] = {"model": "letters"}

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        counts = [[text.count("a"), text.count("b"), text.count("c")] for text in texts]
        return Embedding(np.array(counts, np.float32).reshape(-1, 3), None, 0.0)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Holds the most megabytes that Python and NumPy took inside the block, after it."""
    found: list[float] = []
    tracemalloc.start()
    try:
        yield found
        found.append(tracemalloc.get_traced_memory()[1] / MB)
    finally:
        tracemalloc.stop()


def mapped(path: Path, rows: int, dimension: int) -> np.ndarray:
    """Random vectors in a memory map."""
    rng = np.random.default_rng(0)
    vectors = np.memmap(path, np.float32, "w+", shape=(rows, dimension))
    for first in range(0, rows, 10_000):
        part = vectors[first : first + 10_000]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    return vectors


def names(n: int) -> Sequence[str]:
    return [str(number) for number in range(n)]


def test_search_takes_the_memory_that_it_may_and_no_more(tmp_path: Path) -> None:
    vectors = mapped(tmp_path / "vectors", 100_000, 96)  # 37 MB
    index = CosineIndex(vectors, names(len(vectors)), memory_mb=32)

    for n_queries in (1, 300):
        queries = np.random.default_rng(1).standard_normal((n_queries, 96)).astype(np.float32)
        with peak_memory() as peak:
            index.search(queries, 100)
        assert peak[0] < 32


def test_corpus_of_equal_vectors_takes_no_more_memory_and_is_ordered_by_name() -> None:
    vectors = np.ones((30_000, 4), np.float32)
    queries = np.ones((10, 4), np.float32)
    index = CosineIndex(vectors, names(len(vectors)), memory_mb=64)

    with peak_memory() as peak:
        found = index.search(queries, 5)

    assert peak[0] < 20  # all pairs of query and row would take 36
    assert found == [[("0", 1.0), ("1", 1.0), ("10", 1.0), ("100", 1.0), ("1000", 1.0)]] * 10


@settings(max_examples=40)
@given(
    kinds=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    top_k=st.integers(1, 12),
    crowd=st.sampled_from([1, 3, 4096]),
)
def test_crowds_of_ties_are_settled_as_a_full_sort_settles_them(
    kinds: list[int], top_k: int, crowd: int
) -> None:
    vectors = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], np.float32)[kinds]
    index = CosineIndex(vectors, names(len(kinds)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shortlist, "_CROWD", crowd)
        [found] = index.search(np.array([[1, 0]], np.float32), top_k)

    expected = sorted((kind, str(row)) for row, kind in enumerate(kinds) if kind < 3)
    assert [doc_id for doc_id, _ in found] == [name for _, name in expected][:top_k]


@given(rows=st.sets(st.integers(0, 30), min_size=1), start=st.integers(0, 9), n=st.integers(0, 9))
def test_rows_on_the_disk_read_as_an_array(rows: set[int], start: int, n: int) -> None:
    stored = np.arange(62, dtype=np.float32).reshape(31, 2)
    ascending = np.array(sorted(rows))
    array, on_disk = stored[ascending], VectorRows(stored, ascending)

    assert len(on_disk) == len(array)
    assert on_disk.shape == array.shape
    assert np.array_equal(on_disk[start : start + n], array[start : start + n])
    backwards = np.arange(len(array))[::-1]
    assert np.array_equal(on_disk[backwards], array[backwards])


@given(
    texts=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=14),
    others=st.lists(st.text("abc", min_size=1, max_size=3), max_size=6),
    top_k=st.integers(1, 9),
)
def test_ranking_does_not_depend_on_what_was_embedded_before_or_twice(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], others: list[str], top_k: int
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    embedder = ByLetters()
    embed_cached(embedder, others, VectorStore(cache, embedder.settings, "document"))
    ids = [str(number) for number in range(len(texts))]
    corpus = {i: Document(i, text) for i, text in zip(ids, texts, strict=True)}
    job = RankingJob(Passages(corpus), {"q": "aab"}, top_k, lambda _: None, lambda _: None)

    rankings, _ = rank_by_vectors(job, embedder, precision="float32", cache=cache)

    vectors = embedder.embed(texts, "document").vectors
    query = embedder.embed(["aab"], "query").vectors
    assert rankings == {"q": CosineIndex(vectors, ids).search(query, top_k)[0]}


def test_documents_of_one_text_share_a_row() -> None:
    texts = DistinctTexts(np.array([7, 3, 7, 5]), ["d", "c", "a", "b"])

    assert texts.rows.tolist() == [3, 5, 7]
    assert list(texts.doc_ids) == ["c", "b", "a"]
    ranking = [("c", 0.9), ("a", 0.8), ("b", 0.8)]
    assert texts.expanded(ranking, 3) == [("c", 0.9), ("a", 0.8), ("b", 0.8)]
    assert texts.expanded(ranking, 9) == [("c", 0.9), ("a", 0.8), ("b", 0.8), ("d", 0.8)]
