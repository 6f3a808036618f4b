from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, embeddings, error

from arena.config import DatasetConfig, ModelConfig
from arena.data.beir import load_beir
from arena.data.load import load_dataset
from arena.data.metrics import latency_summary, measure_run
from arena.data.query_sample import sample_queries
from arena.data.run_file import write_run
from arena.data.searchable_text import passage, queries_in_corpus
from arena.errors import ApiError, DataError, UsageError
from arena.records import Dataset, Document, Query, RetrievalStats, Run
from arena.retrieval import dense as by_vectors
from arena.retrieval.bm25 import Bm25Index, tokenize
from arena.retrieval.retrieve import retrieve
from arena.vectors import exact as top_k_module
from arena.vectors.exact import CosineIndex

BM25 = ModelConfig(name="bm25", provider="bm25")


def dataset(corpus: dict[str, str], **queries: str) -> Dataset:
    return Dataset(
        "tiny",
        {doc_id: Document(doc_id, text) for doc_id, text in corpus.items()},
        {query_id: Query(query_id, text) for query_id, text in queries.items()},
        {},
    )


ANIMALS = dataset(
    {"b": "a red cat", "a": "a red cat", "c": "two dogs", "d": "", "e": " \n"},
    q1="red cat",
    q2="dogs",
    q3="zebra",
)


def order(run: Run, query_id: str) -> list[str]:
    return [place.doc_id for place in run.rankings[query_id]]


def by_definition(
    vectors: np.ndarray, ids: list[str], query: np.ndarray
) -> list[tuple[str, float]]:
    """Every document with its cosine in double precision, sorted."""
    found = []
    for doc_id, vector in zip(ids, vectors.astype(float), strict=True):
        if vector.any() and query.any():
            unit = query.astype(float) / np.linalg.norm(query.astype(float))
            cosine = float(vector @ unit / np.linalg.norm(vector))
            found.append((doc_id, cosine))
    return sorted(found, key=lambda pair: (-np.float32(pair[1]), pair[0]))


@pytest.fixture(params=[1, 3, 2**22])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_k_module, "_BLOCK_SCORES", request.param)
    monkeypatch.setattr(top_k_module, "_BLOCK_EXACT", max(2, request.param // 2))
    monkeypatch.setattr(top_k_module, "_BLOCK_QUERIES", 2)


small = st.integers(-2, 2)


@pytest.mark.usefixtures("_block")
@given(
    rows=st.lists(st.lists(small, min_size=3, max_size=3), min_size=1, max_size=25),
    queries=st.lists(st.lists(small, min_size=3, max_size=3), max_size=5),
    top_k=st.integers(1, 30),
    seed=st.integers(0, 3),
)
def test_top_k_equals_a_full_sort_with_many_ties(
    rows: list[list[int]], queries: list[list[int]], top_k: int, seed: int
) -> None:
    # Cosines of small integers tie or lie far apart, so that rounding decides nothing.
    vectors = np.array(rows, np.float32)
    ids = [str(number) for number in np.random.default_rng(seed).permutation(len(rows))]
    asked = np.array(queries, np.float32).reshape(-1, 3)

    found = CosineIndex(vectors, ids).search(asked, top_k)

    for query, ranking in zip(asked, found, strict=True):
        expected = by_definition(vectors, ids, query)
        known = dict(expected)
        assert len(ranking) == min(top_k, len(expected))
        assert [round(known[doc_id], 5) for doc_id, _ in ranking] == [
            round(score, 5) for _, score in expected[:top_k]
        ]
        assert ranking == sorted(ranking, key=lambda pair: (-pair[1], pair[0]))
        assert [score for _, score in ranking] == pytest.approx(
            [known[doc_id] for doc_id, _ in ranking], abs=1e-6
        )


@pytest.mark.usefixtures("_block")
def test_copies_of_a_document_tie_wherever_they_lie() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(9, 131)).astype(np.float32)
    which = rng.integers(0, 9, size=301)
    ids = [f"{number:03}" for number in rng.permutation(301)]

    [ranking] = CosineIndex(kinds[which], ids).search(rng.normal(size=(1, 131)), 301)

    assert len({score for _, score in ranking}) == 9
    assert ranking == sorted(ranking, key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("dimension", [64, 768])
def test_documents_that_nearly_tie_are_told_apart_as_exactly_as_by_a_full_sort(
    dimension: int,
) -> None:
    # Cosines differ by less than the rounding of a product in single precision.
    rng = np.random.default_rng(dimension)
    near = rng.normal(size=dimension) + 3e-4 * rng.normal(size=(600, dimension))
    vectors, ids = near.astype(np.float32), [f"{n:03}" for n in rng.permutation(600)]
    queries = (near[:20] + 2 * rng.normal(size=(20, dimension))).astype(np.float32)

    found = CosineIndex(vectors, ids).search(queries, 10)

    for query, ranking in zip(queries, found, strict=True):
        expected = [doc_id for doc_id, _ in by_definition(vectors, ids, query)[:10]]
        assert [doc_id for doc_id, _ in ranking] == expected


def test_ranking_does_not_depend_on_what_is_searched_beside_it() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 96)).astype(np.float32)
    queries = rng.normal(size=(70, 96)).astype(np.float32)
    index = CosineIndex(vectors, [str(number) for number in range(3000)])

    together = index.search(queries, 100)

    assert together == [index.search(query[None], 100)[0] for query in queries]


def test_lengths_do_not_matter_however_extreme() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.uniform(0.1, 1, size=(50, 8)).astype(np.float32)
    ids = [str(number) for number in range(50)]
    scales = 10.0 ** rng.integers(-30, 37, size=(50, 1))

    [plain] = CosineIndex(vectors, ids).search(vectors[:1], 50)
    [scaled] = CosineIndex((vectors * scales).astype(np.float32), ids).search(vectors[:1], 50)

    assert [doc_id for doc_id, _ in scaled] == [doc_id for doc_id, _ in plain]
    assert np.allclose([s for _, s in scaled], [s for _, s in plain], atol=1e-6)


def test_zero_vector_is_never_found_and_finds_nothing() -> None:
    index = CosineIndex(np.array([[0, 0], [-1, 0]], np.float32), ["zero", "opposite"])

    assert index.search(np.array([[1, 0], [0, 0]], np.float32), 5) == [[("opposite", -1.0)], []]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Who is the Who?", ["who", "is", "the", "who"]),
        ("itertools.groupby(key)", ["itertools", "groupby", "key"]),
        ("snake_case", ["snake_case", "snake", "case"]),
        ("getHTTPResponse2", ["gethttpresponse2", "get", "http", "response2"]),
        ("__init__", ["__init__"]),
        ("Café Straße", ["cafe", "strasse"]),
        ("أَهْلاً وسهلًا", ["اهلا", "وسهلا"]),
        ("東京タワー x", ["東京", "京タ", "タワ", "ワー", "x"]),
        ("중 한국어", ["중", "한국", "국어"]),
        ("हिन्दी", ["हिन्दी"]),
        ("C++ 🦉 \u202e", ["c"]),
        ("...", []),
    ],
)
def test_words_of_every_script_are_found(text: str, terms: list[str]) -> None:
    assert tokenize(text) == terms


@given(
    texts=st.lists(st.text("ab c", max_size=6), min_size=1, max_size=12), top_k=st.integers(1, 9)
)
def test_bm25_top_k_equals_a_full_sort(texts: list[str], top_k: int) -> None:
    index = Bm25Index({str(len(texts) - place): text for place, text in enumerate(texts)})

    everything = index.search("a b", 99)

    assert everything == sorted(everything, key=lambda pair: (-pair[1], pair[0]))
    assert index.search("a b", top_k) == everything[:top_k]


def test_bm25_finds_only_what_shares_a_word(tmp_path: Path) -> None:
    run, stats = retrieve(BM25, ANIMALS, ["q1", "q2", "q3"], cache=tmp_path)

    assert order(run, "q1") == ["a", "b"]
    assert order(run, "q2") == ["c"]
    assert order(run, "q3") == []
    assert len(stats.latency_ms) == 3
    assert stats.measured_at is not None
    assert (stats.n_documents, stats.embedded, stats.tokens, stats.cost_usd) == (5, 0, None, None)
    assert not list(tmp_path.iterdir())


def test_title_space_text_is_what_a_document_is_found_by() -> None:
    assert passage(Document("d", "text", "Title")) == "Title text"
    assert passage(Document("d", "text")) == "text"
    assert passage(Document("d", "", "Title")) == "Title"


COLOURS = {"red": 0, "cat": 1, "dogs": 2}


def colours(body: dict[str, Any], attempt: int) -> Answer:
    """Counts of three words, plus a little of everything."""
    return embeddings(
        [[0.1 + text.split().count(word) for word in COLOURS] for text in body["input"]],
        tokens=4 * len(body["input"]),
    )


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(colours) as server:
        yield server


def endpoint(server: LoopbackServer, **settings: Any) -> ModelConfig:
    fields = {"name": "m", "provider": "openai", "base_url": server.base_url, **settings}
    return ModelConfig.model_validate(fields)


def test_endpoint_ranks_by_cosine_and_is_paid_once(tmp_path: Path, server: LoopbackServer) -> None:
    model = endpoint(server, price_per_1m_tokens=2.0)
    seen: list[tuple[int, int]] = []

    run, stats = retrieve(
        model, ANIMALS, ["q1", "q2"], cache=tmp_path, progress=lambda *done: seen.append(done)
    )
    n_requests = len(server.requests)
    again, cached = retrieve(model, ANIMALS, ["q2", "q1"], cache=tmp_path)

    assert order(run, "q1") == ["a", "b", "c"]
    assert order(run, "q2")[0] == "c"
    assert dict(again.rankings) == dict(run.rankings)
    assert len(server.requests) == n_requests
    assert stats.dimension == 3
    assert (stats.embedded, cached.embedded) == (4, 0)
    assert (stats.tokens, cached.tokens) == (16, 16)
    assert stats.cost_usd == pytest.approx(32e-6)
    assert len(stats.latency_ms) == len(cached.latency_ms) == 2
    assert seen[-1] == (7, 7)
    assert seen == sorted(seen)
    sent = [text for request in server.requests for text in request.body["input"]]
    assert sorted(sent) == ["a red cat", "dogs", "red cat", "two dogs", "warm-up"]


@pytest.mark.parametrize(
    "count", ["9223372036854775807", "1e300", "Infinity", "NaN", "-3", "true", '"10"', "9" * 400]
)
def test_counts_of_tokens_that_no_request_can_have_are_none(
    count: str, tmp_path: Path, server: LoopbackServer
) -> None:
    def counted(body: dict[str, Any], attempt: int) -> Answer:
        told = json.loads(colours(body, attempt).body)
        told["usage"] = {"prompt_tokens": "#", "total_tokens": "#"}
        return Answer(200, {}, json.dumps(told).replace('"#"', count).encode())

    server.answer = counted
    _, stats = retrieve(endpoint(server), ANIMALS, ["q1"], cache=tmp_path)

    assert stats.tokens is None


@pytest.mark.parametrize("number", ["9" * 400, "1e999", "NaN", "[1]", '"x"', "{}", "null"])
def test_a_number_that_no_vector_has_is_one_line(
    number: str, tmp_path: Path, server: LoopbackServer
) -> None:
    def odd(body: dict[str, Any], attempt: int) -> Answer:
        told = json.loads(colours(body, attempt).body)
        told["data"][0]["embedding"][0] = "#"
        return Answer(200, {}, json.dumps(told).replace('"#"', number).encode())

    server.answer = odd
    with pytest.raises(ApiError, match=r"garbage: .*vector 0"):
        retrieve(endpoint(server), ANIMALS, ["q1"], cache=tmp_path)


def test_latency_excludes_retries_and_waits(tmp_path: Path, server: LoopbackServer) -> None:
    def slow_at_first(body: dict[str, Any], attempt: int) -> Answer:
        if attempt == 1:
            return error(429, "slow down", headers={"Retry-After": "0.2"})
        return colours(body, attempt)

    server.answer = slow_at_first
    _, stats = retrieve(endpoint(server), ANIMALS, ["q1"], cache=tmp_path)

    assert len(stats.latency_ms) == 1
    assert 0 < stats.latency_ms[0] < 200


def test_latency_is_that_of_the_embedding_and_of_the_search(
    tmp_path: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(body: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.08)
        return colours(body, attempt)

    search = by_vectors._search

    def slow_search(*given: Any) -> Any:
        rankings, search_ms = search(*given)
        return rankings, search_ms + 1000.0

    monkeypatch.setattr(by_vectors, "_search", slow_search)
    server.answer = slow
    _, stats = retrieve(endpoint(server), ANIMALS, ["q1", "q2"], cache=tmp_path)

    assert len(stats.latency_ms) == 2
    assert all(1080 <= latency < 3000 for latency in stats.latency_ms)


def test_queries_beyond_the_samples_are_embedded_in_batches(
    tmp_path: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_vectors, "LATENCY_SAMPLES", 2)
    many = dataset({"a": "red"}, **{f"q{number}": f"cat {number}" for number in range(9)})

    run, stats = retrieve(endpoint(server), many, list(many.queries), cache=tmp_path)

    sizes = [len(request.body["input"]) for request in server.requests]
    assert sizes == [1, 1, 1, 1, 7]
    assert len(stats.latency_ms) == 2
    assert [order(run, query_id) for query_id in run.rankings] == [["a"]] * 9


def test_slow_searches_are_measured_for_a_few_queries(
    tmp_path: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = dataset({"a": "red", "b": "green"}, **{f"q{n}": f"cat {n}" for n in range(9)})
    whole, all_measured = retrieve(endpoint(server), many, list(many.queries), cache=tmp_path)
    monkeypatch.setattr(by_vectors, "_ALONE_S", 0.0)
    monkeypatch.setattr(by_vectors, "_LEAST_ALONE", 3)

    run, stats = retrieve(endpoint(server), many, list(many.queries), cache=tmp_path)

    assert (len(all_measured.latency_ms), len(stats.latency_ms)) == (9, 3)
    assert run == whole


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_fewer_dimensions_of_a_model_are_the_first_ones_of_vectors_paid_for_once(
    tmp_path: Path, server: LoopbackServer, precision: str
) -> None:
    places = {
        "a": [3.0, 0.1, 9.0],
        "b": [1.0, 2.0, 0.2],
        "c": [-1.0, 1.5, 1.0],
        "q": [2.0, 1.0, -9.0],
    }
    server.answer = lambda body, attempt: embeddings(
        [places.get(text, [1.0, 1.0, 1.0]) for text in body["input"]]
    )
    corpus = dataset({doc_id: doc_id for doc_id in "abc"}, q="q")
    whole = endpoint(server, provider="llamacpp", precision=precision)
    short = endpoint(server, provider="llamacpp", precision=precision, dimensions=2)

    retrieve(whole, corpus, ["q"], cache=tmp_path)
    n_asked = len(server.requests)
    run, stats = retrieve(short, corpus, ["q"], cache=tmp_path)

    vectors = np.array([places[doc_id][:2] for doc_id in "abc"])
    expected = by_definition(vectors, ["a", "b", "c"], np.array(places["q"][:2]))
    assert len(server.requests) == n_asked
    assert stats.embedded == 0
    assert stats.dimension == 2
    assert sorted(order(run, "q")) == ["a", "b", "c"]
    assert order(run, "q")[-1] == expected[-1][0]
    if precision == "float32":
        assert order(run, "q") == [doc_id for doc_id, _ in expected]
        assert stats.bytes_per_vector == 8


def test_endpoint_that_answers_queries_with_other_vectors_is_refused(
    tmp_path: Path, server: LoopbackServer
) -> None:
    retrieve(endpoint(server), ANIMALS, ["q1"], cache=tmp_path)
    server.answer = lambda body, attempt: embeddings([[1.0, 2.0]] * len(body["input"]))

    # The corpus is new, the query is not.
    with pytest.raises(ApiError, match="3 numbers for a query, 2 for a document"):
        retrieve(endpoint(server, document_prefix="d:"), ANIMALS, ["q1"], cache=tmp_path)


@pytest.mark.parametrize("provider", ["bm25", "openai"])
def test_corpus_without_text_is_an_error(
    tmp_path: Path, server: LoopbackServer, provider: str
) -> None:
    model = BM25 if provider == "bm25" else endpoint(server)

    with pytest.raises(UsageError, match="no document of the corpus has any text"):
        retrieve(model, dataset({"a": ""}, q="x"), ["q"], cache=tmp_path)


def test_unknown_query_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tiny: unknown query 'q9'"):
        retrieve(BM25, ANIMALS, ["q1", "q9"], cache=tmp_path)


def test_depth_cuts_rankings(tmp_path: Path) -> None:
    run, _ = retrieve(BM25, ANIMALS, ["q1"], depth=1, cache=tmp_path)

    assert order(run, "q1") == ["a"]


def test_run_file_is_a_model_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "mine.tiny.trec").write_text("q1 Q0 c 1 2 x\nq1 Q0 b 2 1 x\nq1 Q0 a 3 1 x\n")
    model = ModelConfig(name="mine", run=str(tmp_path / "mine.{dataset}.trec"))

    run, stats = retrieve(model, ANIMALS, ["q1"], depth=2, cache=tmp_path)

    assert (run.dataset, run.model) == ("tiny", "mine")
    assert order(run, "q1") == ["c", "a"]
    assert stats == RetrievalStats(n_documents=5)
    assert latency_summary(stats.latency_ms) is None
    with pytest.raises(DataError, match=r"mine\.tiny\.trec: no ranking for 1 of 1 queries"):
        retrieve(model, ANIMALS, ["q2"], cache=tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "ndcg"), [("msmarco", 0.6829), ("dbpedia", 0.3345), ("arcd", 0.7843)]
)
def test_bm25_on_the_reference_corpora_scores_as_ir_measures_says(
    shared_data: Path, tmp_path: Path, name: str, ndcg: float
) -> None:
    reference = load_beir(shared_data / "corpora" / name, name)
    run, _ = retrieve(BM25, reference, sample_queries(reference, None, 1), cache=tmp_path)
    write_run(run, tmp_path / "run.trec")

    metrics = measure_run(run, reference.qrels)

    nd10, r10 = ir_measures.parse_measure("nDCG@10"), ir_measures.parse_measure("R@10")
    own = ir_measures.calc_aggregate(
        [nd10, r10], reference.qrels, ir_measures.read_trec_run(str(tmp_path / "run.trec"))
    )
    assert metrics is not None
    assert metrics.ndcg_at_10 == pytest.approx(own[nd10], abs=1e-12)
    assert metrics.recall_at_10 == pytest.approx(own[r10], abs=1e-12)
    assert metrics.ndcg_at_10 == pytest.approx(ndcg, abs=5e-5)


ARGUMENTS = Dataset(
    "arguments",
    {
        "a": Document("a", "cats are better than dogs", "Cats"),
        "b": Document("b", "dogs are better than cats"),
        "c": Document("c", "cats are better  than dogs"),
        "d": Document("d", "cats and dogs"),
    },
    {
        "a": Query("a", "Cats cats are better than dogs"),  # with its title
        "c": Query("c", " cats are better than\tdogs"),  # without
        "d": Query("d", "cats"),  # the same id by chance
        "b": Query("b", "dogs are better than cats"),  # graded: it is wanted
    },
    {"b": {"b": 1}},
)


def test_a_query_that_is_a_document_itself_is_left_out_of_its_own_ranking(tmp_path: Path) -> None:
    ranked = [(q, n, d) for q in "abcd" for n, d in enumerate(q + "abcd".replace(q, ""))]
    lines = [f"{query} Q0 {doc_id} {rank} {-rank} x" for query, rank, doc_id in ranked]
    (tmp_path / "mine.trec").write_text("\n".join(lines))
    models = [
        BM25,
        ModelConfig(name="lsa", provider="lsa"),
        ModelConfig(name="mine", run=str(tmp_path / "mine.trec")),
    ]

    for model in models:
        run, _ = retrieve(model, ARGUMENTS, list("abcd"), depth=3, cache=tmp_path)

        assert queries_in_corpus(ARGUMENTS, "abcd") == {"a", "c"}
        assert [len(order(run, query_id)) for query_id in "ac"] == [3, 3]
        assert "a" not in order(run, "a")
        assert "c" not in order(run, "c")
        assert "b" in order(run, "b")
        assert "d" in order(run, "d")


def test_what_is_odd_about_a_corpus_is_counted_in_notes(tmp_path: Path) -> None:
    rows = [("a", "x y"), ("b", "x y"), ("c", " x y"), ("d", ""), ("e", " "), ("q", "why?")]
    text = "".join(f'{{"_id": "{doc_id}", "text": "{words}"}}\n' for doc_id, words in rows)
    (tmp_path / "corpus.jsonl").write_text(text)
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "why?"}\n')

    notes = load_dataset(DatasetConfig(name="x", path=tmp_path)).notes

    copies, own = notes
    assert copies == "documents with title and text of another, which no model tells apart: 2"
    assert own.startswith("queries that are documents themselves (same id and text), ")
    assert own.endswith(": 1")
