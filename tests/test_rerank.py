from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, Script, as_json, error
from programs import forks
from tables import each_row

from arena.config import ModelConfig
from arena.errors import ApiError, DataError, FatalApiError, UsageError
from arena.records import Dataset, Document, Query, RetrievalStats, Run, ScoredDoc
from arena.retrieval.rerank import with_base
from arena.retrieval.rerankers import read_scores
from arena.retrieval.retrieve import retrieve

QUERIES = [f"q{i}" for i in range(4)]
DATASET = Dataset(
    "tiny",
    {f"d{i}": Document(f"d{i}", f"passage worth 0.{i}") for i in range(8)}
    | {"blank": Document("blank", " ")},
    {query_id: Query(query_id, f"what is {query_id}?") for query_id in QUERIES},
    {},
)
BASE = Run(
    "tiny",
    "bm25",
    {query_id: tuple(ScoredDoc(f"d{i}", 8.0 - i) for i in range(6)) for query_id in QUERIES},
)
LISTS = {"cohere": "results", "jina": "results", "voyage": "data", "tei": ""}


def worth(passage: str) -> float:
    return float(re.findall(r"\d\.\d", passage)[-1]) if "worth" in passage else 0.0


def scored(kind: str, scores: Sequence[float], **more: object) -> Answer:
    """A reply in the shape that each API documents, best first."""
    name = "score" if kind == "tei" else "relevance_score"
    items = [{"index": index, name: score} for index, score in enumerate(scores)]
    items.sort(key=lambda item: -item[name])
    if kind == "tei":
        return as_json(items)
    return as_json({LISTS[kind]: items, **more})


def script(kind: str, **more: object) -> Script:
    """A reranker that knows what each passage is worth."""

    def answer(request: dict[str, Any], attempt: int) -> Answer:
        passages = request["texts" if kind == "tei" else "documents"]
        return scored(kind, [worth(passage) for passage in passages], **more)

    return answer


def reranker(kind: str, server: LoopbackServer, **settings: object) -> ModelConfig:
    url = server.base_url if kind in ("jina", "voyage") else server.base_url.removesuffix("/v1")
    given = {"name": "again", "model": "rerank-1", "base": "bm25", "base_url": url, **settings}
    return ModelConfig.model_validate({"rerank": kind, **given})


def rank(
    model: ModelConfig, tmp_path: Path, *, base: Run = BASE, dataset: Dataset = DATASET
) -> tuple[Run, RetrievalStats]:
    return retrieve(model, dataset, list(dataset.queries), cache=tmp_path / "cache", bases=[base])


def order(run: Run, query_id: str) -> list[str]:
    return [place.doc_id for place in run.rankings[query_id]]


def asked(server: LoopbackServer) -> list[str]:
    """The queries that the server was asked, without the warm-up."""
    return [r.body["query"] for r in server.requests if r.body["query"] != "warm-up"]


PASSAGES = [f"passage worth 0.{i}" for i in range(3)]
DOCUMENTED: Mapping[str, tuple[str, dict[str, object]]] = {
    "cohere": (
        "/v2/rerank",
        {"model": "rerank-1", "query": "what is q0?", "documents": PASSAGES, "top_n": 3},
    ),
    "jina": (
        "/v1/rerank",
        {
            "model": "rerank-1",
            "query": "what is q0?",
            "documents": PASSAGES,
            "top_n": 3,
            "return_documents": False,
        },
    ),
    "voyage": (
        "/v1/rerank",
        {
            "model": "rerank-1",
            "query": "what is q0?",
            "documents": PASSAGES,
            "top_k": 3,
            "truncation": False,
        },
    ),
    "tei": ("/rerank", {"query": "what is q0?", "texts": PASSAGES, "truncate": False}),
}


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_request_is_what_the_api_documents(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANK_KEY", "sk-rerank")
    path, body = DOCUMENTED[kind]
    with LoopbackServer(script(kind)) as server:
        model = reranker(kind, server, rerank_depth=3, api_key_env="RERANK_KEY")
        run, _ = rank(model, tmp_path)

        request = server.requests[1]

    assert (request.path, request.body) == (path, body)
    assert request.headers["authorization"] == "Bearer sk-rerank"
    assert order(run, "q0") == ["d2", "d1", "d0"]


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_keys_of_a_provider_go_to_no_other_address(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CO_API_KEY", "JINA_API_KEY", "VOYAGE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-of-the-provider")
    with LoopbackServer(script(kind)) as server:
        rank(reranker(kind, server), tmp_path)

        assert "sk-of-the-provider" not in str(server.requests[0].headers)


@pytest.mark.parametrize(
    ("kind", "name"), [("cohere", "CO_API_KEY"), ("jina", "JINA_API_KEY"), ("voyage", "VOYAGE_A")]
)
def test_missing_key_is_named(
    tmp_path: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CO_API_KEY", "JINA_API_KEY", "VOYAGE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(FatalApiError, match=name):
        rank(ModelConfig(name="again", rerank=kind, base="bm25"), tmp_path)  # type: ignore[arg-type]


def test_documents_are_ordered_by_score_and_ties_by_doc_id(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], attempt: int) -> Answer:
        return scored("voyage", [round(worth(p)) for p in request["documents"]])

    with LoopbackServer(answer) as server:
        run, _ = rank(reranker("voyage", server), tmp_path)

    assert order(run, "q3") == ["d0", "d1", "d2", "d3", "d4", "d5"]
    scores = [place.score for place in run.rankings["q3"]]
    assert all(above > below for above, below in pairwise(scores))


def test_rest_of_a_ranking_and_documents_without_text_are_left_out(tmp_path: Path) -> None:
    ranking = tuple(ScoredDoc(doc_id, 1.0) for doc_id in ("d1", "blank", "d2", "d3"))
    base = Run("tiny", "bm25", {"q0": ranking, "q1": (), "q2": ranking[1:2], "q3": ranking[:1]})
    with LoopbackServer(script("tei")) as server:
        run, stats = rank(reranker("tei", server, rerank_depth=3), tmp_path, base=base)

        sent = [request.body["texts"] for request in server.requests[1:]]

    assert [order(run, query_id) for query_id in QUERIES] == [["d2", "d1"], [], [], ["d1"]]
    assert sent == [["passage worth 0.1", "passage worth 0.2"], ["passage worth 0.1"]]
    assert len(stats.latency_ms) == 2


def test_prefixes_and_extra_fields_are_sent(tmp_path: Path) -> None:
    extra = {"max_tokens_per_doc": 512}
    with LoopbackServer(script("cohere")) as server:
        model = reranker(
            "cohere", server, query_prefix="Q: ", document_prefix="P: ", query_extra=extra
        )
        rank(model, tmp_path)

        body = server.requests[1].body

    assert body["query"] == "Q: what is q0?"
    assert body["documents"][0] == "P: passage worth 0.0"
    assert body["max_tokens_per_doc"] == 512


def test_server_of_ones_own_gets_no_more_passages_than_it_takes(tmp_path: Path) -> None:
    many = {f"m{i}": Document(f"m{i}", f"number {i} worth 0.{i % 10}") for i in range(70)}
    dataset = Dataset("tiny", many, {"q0": DATASET.queries["q0"]}, {})
    base = Run("tiny", "bm25", {"q0": tuple(ScoredDoc(doc_id, 1.0) for doc_id in many)})
    with LoopbackServer(script("tei")) as server:
        run, stats = rank(reranker("tei", server), tmp_path, base=base, dataset=dataset)

        sizes = sorted(len(request.body["texts"]) for request in server.requests)

    assert sizes == [1, 6, 32, 32]
    assert len(run.rankings["q0"]) == 70
    assert order(run, "q0")[:2] == ["m19", "m29"]
    assert len(stats.latency_ms) == 1


def test_tokens_are_counted_and_priced_where_they_are_reported(tmp_path: Path) -> None:
    usage = {"total_tokens": 25}
    with LoopbackServer(script("voyage", usage=usage)) as server:
        model = reranker("voyage", server, price_per_1m_tokens=50)
        _, first = rank(model, tmp_path)
        _, again = rank(model, tmp_path)

    assert (first.tokens, first.cost_usd) == (100, pytest.approx(0.005))
    assert (again.tokens, again.cost_usd) == (100, pytest.approx(0.005))


def test_tokens_that_one_reply_does_not_tell_are_not_taken_for_none(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], attempt: int) -> Answer:
        told = {} if "q2" in request["query"] else {"usage": {"total_tokens": 25}}
        return script("voyage", **told)(request, attempt)

    with LoopbackServer(answer) as server:
        _, stats = rank(reranker("voyage", server, price_per_1m_tokens=50), tmp_path)

    assert (stats.tokens, stats.cost_usd) == (None, None)


def test_searches_that_are_billed_by_number_have_no_cost_in_tokens(tmp_path: Path) -> None:
    meta = {"billed_units": {"search_units": 1}}
    with LoopbackServer(script("cohere", meta=meta)) as server:
        _, stats = rank(reranker("cohere", server, price_per_1m_tokens=50), tmp_path)

    assert (stats.tokens, stats.cost_usd) == (None, None)


def test_second_run_asks_nothing_and_has_the_same_figures(tmp_path: Path) -> None:
    with LoopbackServer(script("jina", usage={"total_tokens": 7})) as server:
        first, stats = rank(reranker("jina", server), tmp_path)
        n_requests = len(server.requests)
        second, cached = rank(reranker("jina", server), tmp_path)

        assert len(server.requests) == n_requests

    assert second == first
    assert (stats.embedded, cached.embedded) == (24, 0)
    assert cached.latency_ms == stats.latency_ms


def test_run_that_failed_midway_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    def broken(request: dict[str, Any], attempt: int) -> Answer:
        if request["query"] == "what is q2?":
            return error(400, "no such thing")
        return script("voyage")(request, attempt)

    with LoopbackServer(broken) as server:
        with pytest.raises(ApiError, match="no such thing"):
            rank(reranker("voyage", server), tmp_path)
        server.answer = script("voyage")
        server.requests.clear()
        run, stats = rank(reranker("voyage", server), tmp_path)

        assert asked(server) == ["what is q2?", "what is q3?"]

    assert stats.embedded == 12
    assert order(run, "q0")[0] == "d5"


def test_killed_run_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    killed = threading.Event()

    def slow(request: dict[str, Any], attempt: int) -> Answer:
        if request["query"] == "what is q2?":
            killed.wait(60)
        return script("voyage")(request, attempt)

    with LoopbackServer(slow) as server:
        model = reranker("voyage", server)
        process = forks().Process(target=rank, args=(model, tmp_path))
        process.start()
        while process.is_alive() and "what is q2?" not in asked(server):
            time.sleep(0.02)
        process.kill()
        process.join()
        killed.set()
        server.answer = script("voyage")
        server.requests.clear()
        rank(model, tmp_path)

        assert asked(server) == ["what is q2?", "what is q3?"]


def test_passage_known_from_another_run_is_not_asked_again(tmp_path: Path) -> None:
    shifted = {q: tuple(ScoredDoc(f"d{i}", 8.0 - i) for i in range(4, 8)) for q in QUERIES}
    with LoopbackServer(script("voyage")) as server:
        rank(reranker("voyage", server), tmp_path)
        server.requests.clear()
        run, stats = rank(reranker("voyage", server), tmp_path, base=Run("tiny", "x", shifted))

        sent = [request.body["documents"] for request in server.requests[1:]]

    assert sent == [["passage worth 0.6", "passage worth 0.7"]] * 4
    assert order(run, "q0") == ["d7", "d6", "d5", "d4"]
    assert stats.latency_ms == ()


def test_reranker_that_looks_at_the_whole_list_is_asked_about_the_whole_list(
    tmp_path: Path,
) -> None:
    shifted = {q: tuple(ScoredDoc(f"d{i}", 8.0 - i) for i in range(4, 8)) for q in QUERIES}
    with LoopbackServer(script("jina")) as server:
        rank(reranker("jina", server), tmp_path)
        server.requests.clear()
        rank(reranker("jina", server), tmp_path, base=Run("tiny", "x", shifted))

        sent = [len(request.body["documents"]) for request in server.requests[1:]]

    assert sent == [4, 4, 4, 4]


@each_row(
    "change",
    [{"model": "rerank-2"}, {"query_extra": {"x": 1}}, {"query_prefix": "Q: "}],
)
def test_other_settings_make_other_scores(tmp_path: Path, change: dict[str, object]) -> None:
    with LoopbackServer(script("voyage")) as server:
        rank(reranker("voyage", server), tmp_path)
        _, stats = rank(reranker("voyage", server, **change), tmp_path)

    assert stats.embedded == 24


def test_queries_beyond_the_samples_are_asked_several_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.retrieval.rerank.LATENCY_SAMPLES", 2)
    slow: Callable[..., Answer] = script("voyage")

    def answer(request: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.1)
        return slow(request, attempt)

    with LoopbackServer(answer) as server:
        _, stats = rank(reranker("voyage", server), tmp_path)

        assert server.most_in_flight == 2

    assert len(stats.latency_ms) == 2
    assert min(stats.latency_ms) > 90


def test_latency_excludes_retries_and_waits(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], attempt: int) -> Answer:
        if request["query"] == "what is q1?" and attempt == 1:
            return error(429, "slow down", headers={"retry-after": "0.3"})
        return script("voyage")(request, attempt)

    with LoopbackServer(answer) as server:
        _, stats = rank(reranker("voyage", server), tmp_path)

    assert len(stats.latency_ms) == 4
    assert max(stats.latency_ms) < 250


GARBAGE: Mapping[str, tuple[object, str]] = {
    "no list": ({}, "a reply without a list of scores"),
    "no objects": ({"data": [0.5]}, "a reply without a list of scores"),
    "one missing": ([(0, 0.5)], "no score for 1 of 2 passages, 1 first"),
    "none": ([], "no score for 2 of 2 passages, 0 first"),
    "twice": ([(0, 0.5), (0, 0.5)], "two scores for passage 0"),
    "out of range": ([(0, 0.5), (2, 0.5)], "a score for passage 2 of 2, counted from 0"),
    "negative": ([(0, 0.5), (-1, 0.5)], "a score for passage -1 of 2"),
    "no index": ([(0, 0.5), (None, 0.5)], "a score for passage None of 2"),
    "truth for an index": ([(0, 0.5), (True, 0.5)], "a score for passage True of 2"),
    "no number": ([(0, 0.5), (1, None)], "the relevance_score of passage 1 is None"),
    "text": ([(0, 0.5), (1, "0.5")], "the relevance_score of passage 1 is '0.5'"),
}


@each_row("name", GARBAGE)
def test_score_that_is_missing_or_no_number_is_an_error(tmp_path: Path, name: str) -> None:
    given, message = GARBAGE[name]
    base = Run("tiny", "bm25", {q: BASE.rankings[q][:2] for q in QUERIES})

    def answer(request: dict[str, Any], attempt: int) -> Answer:
        if request["query"] == "warm-up":
            return scored("voyage", [0.5])
        if isinstance(given, list):
            return as_json({"data": [{"index": i, "relevance_score": s} for i, s in given]})
        return as_json(given)

    with LoopbackServer(answer) as server, pytest.raises(ApiError) as caught:
        rank(reranker("voyage", server), tmp_path, base=base)

    assert str(caught.value).startswith("garbage: again: ")
    assert message in str(caught.value)


@each_row("score", [float("nan"), float("inf"), -1e39, 10**400])
def test_score_that_is_not_finite_in_a_run_file_is_an_error(score: float) -> None:
    with pytest.raises(ValueError, match=r"the score of passage 0 is (nan|inf|-1e\+39|10)"):
        read_scores([{"index": 0, "score": score}], 1, "score")


@settings(max_examples=50)
@given(scores=st.lists(st.floats(-1e6, 1e6), max_size=8), seed=st.randoms())
def test_scores_are_told_apart_by_their_index_alone(scores: list[float], seed: Any) -> None:
    items = [{"index": index, "score": score} for index, score in enumerate(scores)]
    seed.shuffle(items)

    assert read_scores(items, len(scores), "score") == scores


@settings(max_examples=100)
@given(
    results=st.recursive(
        st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["index", "score", "x"]), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_reply_is_scores_or_an_error(results: object) -> None:
    with suppress(ValueError):
        assert len(read_scores(results, 2, "score")) == 2


def test_refusal_of_a_long_passage_is_told_in_the_servers_words(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], attempt: int) -> Answer:
        return error(413, "`inputs` must have less than 512 tokens. Given: 900")

    with LoopbackServer(answer) as server, pytest.raises(ApiError, match="less than 512 tokens"):
        rank(reranker("tei", server), tmp_path)


def test_reranker_without_its_run_is_an_error(tmp_path: Path) -> None:
    model = ModelConfig(name="again", rerank="tei", base="bm25")

    with pytest.raises(UsageError, match="again: reranks the run of bm25"):
        retrieve(model, DATASET, QUERIES, cache=tmp_path)


def test_file_that_is_no_cache_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "rerank.sqlite").write_bytes(b"not a database, but long enough" * 50)

    with LoopbackServer(script("tei")) as server, pytest.raises(DataError) as caught:
        rank(reranker("tei", server), tmp_path)

    assert "rerank.sqlite: cannot be used as a cache of scores" in str(caught.value)
    assert "delete it, or set ARENA_CACHE" in str(caught.value)


def test_cache_holds_no_text(tmp_path: Path) -> None:
    with LoopbackServer(script("tei")) as server:
        rank(reranker("tei", server), tmp_path)

    with sqlite3.connect(tmp_path / "cache" / "rerank.sqlite") as db:
        rows = db.execute("SELECT passage, score FROM scores").fetchall()
    db.close()
    assert len(rows) == 24
    assert {len(key) for key, _ in rows} == {16}


def test_latency_of_a_reranker_is_that_of_both_stages() -> None:
    own, below = RetrievalStats((10.0, 20.0, 30.0)), RetrievalStats((1.0, 2.0, 3.0))

    both = with_base(own, below, base_model="bm25", n_queries=3)

    assert both.latency_ms == (11.0, 22.0, 33.0)
    assert both.latency_without is None


@each_row(
    "below",
    [
        RetrievalStats(),
        RetrievalStats((1.0, 2.0)),
        RetrievalStats((1.0, 2.0, 3.0), latency_without="bm25"),
    ],
)
def test_latency_that_leaves_out_the_first_stage_says_so(below: RetrievalStats) -> None:
    stats = with_base(RetrievalStats((10.0, 20.0, 30.0)), below, base_model="base", n_queries=3)

    assert stats.latency_ms == (10.0, 20.0, 30.0)
    assert stats.latency_without == "base"


def test_unmeasured_reranker_claims_nothing_of_latency() -> None:
    stats = with_base(RetrievalStats(), RetrievalStats((1.0,)), base_model="base", n_queries=1)

    assert (stats.latency_ms, stats.latency_without) == ((), None)
