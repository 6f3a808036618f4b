"""Cheaper indexes against brute force, and what they lose."""

from __future__ import annotations

import math

import numpy as np
import pytest
from few_documents import few_of
from hypothesis import given, settings
from hypothesis import strategies as st
from together import TORCH

from arena.config import DatasetConfig, ModelConfig
from arena.data.load import load_dataset
from arena.data.metrics import measure_run
from arena.retrieval.retrieve import retrieve
from arena.vectors import quantized
from arena.vectors.indexes import open_index


@st.composite
def searches(draw):
    dim = draw(st.integers(1, 70))
    n_documents, n_queries = draw(st.integers(1, 30)), draw(st.integers(1, 3))
    shape = (n_documents + n_queries, dim)
    # Quarters from -2 to 2, many of which are equal; to draw each by itself takes most of the time.
    raw = draw(st.binary(min_size=math.prod(shape), max_size=math.prod(shape)))
    rows = (np.frombuffer(raw, np.uint8).reshape(shape) % 17 - 8.0).astype(np.float32) / 4
    rows[draw(st.integers(0, len(rows) - 1))] = 0
    return rows[:n_documents], rows[n_documents:], draw(st.integers(1, 12))


def unit(vectors):
    norms = np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros(vectors.shape), where=norms > 0)


def ranked(scores, documents, query, top_k):
    """Doc_ids of the documents that have a direction, by a full sort."""
    names = [f"d{row:03}" for row in range(len(documents))]
    alive = [row for row in range(len(documents)) if documents[row].any() and query.any()]
    order = sorted(alive, key=lambda row: (-scores[row], names[row]))
    return [(names[row], pytest.approx(scores[row], abs=2e-6)) for row in order[:top_k]]


def search(precision, documents, queries, top_k):
    names = [f"d{row:03}" for row in range(len(documents))]
    index = open_index(documents, names, precision=precision, memory_mb=64)
    return index.search(queries, top_k)


@settings(max_examples=30)
@given(searches())
def test_int8_ranks_by_the_middle_of_each_number_s_step(problem):
    documents, queries, top_k = problem
    rows = unit(documents)[documents.any(axis=1)]
    low, high = (rows.min(axis=0), rows.max(axis=0)) if len(rows) else (0, 0)
    step = (high - low) / 255
    codes = np.floor((unit(documents) - low) / np.where(step == 0, 1, step)).clip(0, 255)
    middles = low + step * (codes + 0.5)

    found = search("int8", documents, queries, top_k)

    for query, ranking in zip(queries, found, strict=True):
        scores = (middles @ unit(query[None])[0]).astype(np.float32)
        best = ranked(scores, documents, query, top_k)
        assert [score for _, score in ranking] == [score for _, score in best]
        by_name = dict(zip((f"d{row:03}" for row in range(len(scores))), scores, strict=True))
        assert all(by_name[name] == pytest.approx(score, abs=2e-6) for name, score in ranking)


@settings(max_examples=30)
@given(searches())
def test_binary_ranks_by_how_many_signs_differ(problem):
    documents, queries, top_k = problem

    found = search("binary", documents, queries, top_k)

    for query, ranking in zip(queries, found, strict=True):
        distance = ((documents > 0) != (query > 0)).sum(axis=1)
        scores = 1 - 2 * distance / documents.shape[1]
        assert ranking == ranked(scores, documents, query, top_k)


@settings(max_examples=30)
@given(searches())
def test_float16_ranks_as_the_full_vectors_do_to_three_digits(problem):
    documents, queries, top_k = problem

    half, full = (search(p, documents, queries, top_k) for p in ("float16", "float32"))

    for cheap, exact in zip(half, full, strict=True):
        expected = [score for _, score in exact]
        assert [score for _, score in cheap] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("precision", "dim", "n_bytes"),
    [
        ("float32", 384, 4 * 384),
        ("float16", 384, 2 * 384),
        ("int8", 384, 384),
        ("binary", 384, 48),
        ("binary", 100, 13),
        ("binary", 8, 1),
    ],
)
def test_an_index_holds_what_its_precision_says(precision, dim, n_bytes):
    vectors = np.random.default_rng(0).normal(size=(7, dim)).astype(np.float32)

    index = open_index(vectors, list("abcdefg"), precision=precision, memory_mb=64)

    assert index.n_bytes == 7 * n_bytes


@pytest.mark.parametrize("precision", ["float16", "int8", "binary"])
def test_copies_of_a_document_tie_and_go_by_doc_id_wherever_they_lie(precision, monkeypatch):
    monkeypatch.setattr(quantized, "_BLOCK_NUMBERS", 64)
    monkeypatch.setattr(quantized, "_BLOCK_SIGNS", 5)
    draw = np.random.default_rng(1)
    vectors = draw.normal(size=(40, 33)).astype(np.float32)
    vectors[::3] = vectors[0]
    index = open_index(
        vectors, [f"d{n:02}" for n in range(40)][::-1], precision=precision, memory_mb=64
    )

    (ranking,) = index.search(vectors[:1], 10)

    assert [name for name, _ in ranking] == [f"d{n:02}" for n in range(0, 40, 3)][:10]
    assert len({score for _, score in ranking}) == 1


@pytest.mark.parametrize("precision", ["int8", "binary"])
def test_a_crowd_of_copies_is_told_apart_by_name(precision):
    vectors = np.ones((12_000, 9), np.float32)
    vectors[7000] = [2, *[1] * 7, -1]
    names = [f"d{(n * 7919) % 12_000:05}" for n in range(12_000)]
    index = open_index(vectors, names, precision=precision, memory_mb=64)

    (ranking,) = index.search(np.ones((1, 9), np.float32), 3)

    best = sorted(name for row, name in enumerate(names) if row != 7000)
    assert [name for name, _ in ranking] == best[:3]


@pytest.mark.parametrize("precision", ["int8", "binary"])
def test_blocks_change_nothing(precision, monkeypatch):
    draw = np.random.default_rng(2)
    vectors = draw.normal(size=(500, 40)).astype(np.float32)
    queries = draw.normal(size=(70, 40)).astype(np.float32)
    names = [str(n) for n in range(500)]
    whole = open_index(vectors, names, precision=precision, memory_mb=64).search(queries, 20)
    monkeypatch.setattr(quantized, "_BLOCK_NUMBERS", 40 * 21)
    monkeypatch.setattr(quantized, "_BLOCK_SIGNS", 17)
    monkeypatch.setattr(quantized, "_BLOCK_QUERIES", 3)

    parts = open_index(vectors, names, precision=precision, memory_mb=64).search(queries, 20)

    assert parts == whole


def test_a_numpy_that_cannot_count_bits_finds_the_same():
    words = np.random.default_rng(3).integers(0, 2**63, size=(5, 9), dtype=np.uint64)

    assert (quantized._counted_by_table(words) == np.bitwise_count(words)).all()
    assert (quantized._counted_by_table(words.T) == np.bitwise_count(words.T)).all()


@TORCH
def test_int8_keeps_the_codes_of_sentence_transformers():
    library = pytest.importorskip(
        "sentence_transformers.util.quantization", reason="needs sentence-transformers"
    )
    vectors = np.random.default_rng(4).normal(size=(300, 24))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    index = quantized.Int8Index(vectors, [str(n) for n in range(300)])

    theirs = library.quantize_embeddings(vectors, "uint8").astype(int)
    assert (np.abs(index._codes - theirs) <= 1).all()
    assert (index._codes == theirs).mean() > 0.99


@pytest.mark.shared
def test_a_real_model_loses_little_by_int8_and_more_by_one_bit(shared_data, tmp_path):
    few_of(shared_data / "corpora/msmarco", tmp_path / "few", n_queries=20, n_others=300)
    dataset = load_dataset(DatasetConfig(name="msmarco", path=str(tmp_path / "few")))
    n_texts = len({(document.title, document.text) for document in dataset.corpus.values()})
    quality = {}
    for precision in ("float32", "float16", "int8", "binary"):
        model = ModelConfig(name="m", provider="wordllama", precision=precision)
        run, stats = retrieve(model, dataset, list(dataset.queries), cache=tmp_path)
        quality[precision] = measure_run(run, dataset.qrels).ndcg_at_10
        assert stats.index_bytes == stats.bytes_per_vector * n_texts

    assert quality["float16"] == pytest.approx(quality["float32"], abs=0.003)
    assert quality["int8"] == pytest.approx(quality["float32"], abs=0.01)
    assert quality["binary"] < quality["int8"]
