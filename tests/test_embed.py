from __future__ import annotations

import base64
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from loopback import DROP, Answer, LoopbackServer, as_json, embeddings, error
from tables import each_row

from arena.config import ModelConfig
from arena.embedding.api import ApiEmbedder
from arena.embedding.embedder import BatchEmbedder, Embedding, join_embeddings
from arena.embedding.wire_formats import OPENAI
from arena.endpoint.attempts import Retry
from arena.errors import ApiError, FatalApiError

HASTY = Retry(attempts=3, base_s=0.002, longest_s=0.01)
KEY = "sk-planted-0123456789abcdef"


def vector_of(text: str, dimension: int = 4) -> np.ndarray:
    """A vector that only the text decides."""
    return np.random.default_rng([*text.encode()]).normal(size=dimension).astype(np.float32)


def encoded(vector: np.ndarray, form: str | None) -> object:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]


def reply(body: dict[str, Any], *, form: str | None = "as asked") -> Answer:
    """Right vectors in a shuffled order."""
    form = body.get("encoding_format") if form == "as asked" else form
    data = [
        {"index": index, "embedding": encoded(vector_of(text, body.get("dimensions", 4)), form)}
        for index, text in enumerate(body["input"])
    ]
    random.Random(1).shuffle(data)
    return as_json({"data": data, "usage": {"total_tokens": 3 * len(data)}})


def altered(change: Callable[[list[Any]], object]) -> Callable[[dict[str, Any], int], Answer]:
    """A script that spoils the data of right replies."""

    def script(body: dict[str, Any], attempt: int) -> Answer:
        data = [{"index": i, "embedding": [1.0, 2.0]} for i in range(len(body["input"]))]
        change(data)
        return as_json({"data": data})

    return script


def model(server: LoopbackServer, **settings: Any) -> ModelConfig:
    fields = {"name": "m", "provider": "openai", "base_url": server.base_url, **settings}
    return ModelConfig.model_validate(fields)


def texts(n: int) -> list[str]:
    return [f"text {number}" for number in range(n)]


def test_vectors_come_back_in_the_order_of_the_texts() -> None:
    with (
        LoopbackServer(lambda body, attempt: reply(body)) as server,
        ApiEmbedder(model(server, batch_size=3, concurrency=2), retry=HASTY) as embedder,
    ):
        embedding = embedder.embed(texts(10), "document")

    assert isinstance(embedder, BatchEmbedder)
    assert embedding.vectors.dtype == np.float32
    assert np.array_equal(embedding.vectors, [vector_of(text) for text in texts(10)])
    assert embedding.tokens == 30
    assert embedding.seconds > 0
    assert sorted(len(request.body["input"]) for request in server.requests) == [1, 3, 3, 3]
    assert server.most_in_flight <= 2


@pytest.mark.parametrize("form", ["float", "base64"])
def test_server_may_answer_in_either_form(form: str) -> None:
    with (
        LoopbackServer(lambda body, attempt: reply(body, form=form)) as server,
        ApiEmbedder(model(server), retry=HASTY) as embedder,
    ):
        embedding = embedder.embed(texts(3), "query")

    assert np.array_equal(embedding.vectors, [vector_of(text) for text in texts(3)])


def test_server_that_refuses_base64_is_asked_without_it_from_then_on() -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        if "encoding_format" in body:
            return error(400, "unknown field encoding_format")
        return reply(body)

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server), retry=HASTY) as embedder,
    ):
        embedder.embed(["a"], "query")
        embedder.embed(["b"], "query")

    assert ["encoding_format" in request.body for request in server.requests] == [
        True,
        False,
        False,
    ]


@each_row("empty", [[], "each", ""])
def test_server_that_leaves_vectors_out_in_base64_is_asked_without_it_from_then_on(
    empty: Any,
) -> None:
    def answer(body: dict[str, Any], attempt: int) -> Answer:
        if "encoding_format" not in body:
            return embeddings([[1.0, 2.0]] * len(body["input"]))
        item = {"object": "embedding", "index": 0, "embedding": "" if empty == "each" else empty}
        data = [] if empty == [] else [{**item, "index": i} for i in range(len(body["input"]))]
        return as_json({"object": "list", "data": data})

    with LoopbackServer(answer) as server, ApiEmbedder(model(server), retry=HASTY) as embedder:
        first = embedder.embed(texts(2), "document")
        embedder.embed(texts(2), "query")

        assert first.vectors.tolist() == [[1.0, 2.0]] * 2
        assert ["encoding_format" in r.body for r in server.requests] == [True, False, False]


def test_endpoint_that_returns_no_vectors_at_all_says_so_of_the_model() -> None:
    nothing = as_json({"object": "list", "data": [], "usage": {"prompt_tokens": 3}})
    with (
        LoopbackServer(lambda body, attempt: nothing) as server,
        ApiEmbedder(model(server), retry=HASTY) as embedder,
        pytest.raises(ApiError, match="returns no vectors for the model") as caught,
    ):
        embedder.embed(texts(2), "document")

    assert caught.value.reason == "garbage"
    assert len(server.requests) == 2


def test_requests_under_way_while_base64_is_refused_are_asked_again_too() -> None:
    together = threading.Barrier(4, timeout=5)

    def script(body: dict[str, Any], attempt: int) -> Answer:
        if "encoding_format" in body:
            together.wait()
            return error(400, "unknown field encoding_format")
        return reply(body)

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server, batch_size=1, concurrency=4), retry=HASTY) as embedder,
    ):
        embedding = embedder.embed(texts(4), "document")

    assert np.array_equal(embedding.vectors, [vector_of(text) for text in texts(4)])


def test_roles_have_their_own_prefixes_and_fields() -> None:
    settings = {
        "model": "served-name",
        "document_extra": {"input_type": "passage"},
        "dimensions": 2,
    }
    with LoopbackServer(lambda body, attempt: reply(body)) as server:
        config = model(server, **settings).model_copy(update={"query_prefix": "query: "})
        with ApiEmbedder(config, retry=HASTY) as embedder:
            embedder.embed(["a"], "query")
            embedder.embed(["a"], "document")

    query, document = (request.body for request in server.requests)
    assert query == {
        "model": "served-name",
        "input": ["query: a"],
        "dimensions": 2,
        "encoding_format": "base64",
    }
    assert document == query | {"input": ["a"], "input_type": "passage"}
    assert embedder.settings["query_prefix"] == "query: "
    assert embedder.settings["base_url"] == server.base_url


def test_rate_limit_and_dropped_connection_are_retried_reported_and_not_timed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        if attempt == 1:
            return error(429, "slow down", headers={"Retry-After": "0.3"})
        return DROP if attempt == 2 else reply(body)

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server), retry=replace(HASTY, told_silence_s=0.2)) as embedder,
    ):
        embedding = embedder.embed(["a"], "query")

    assert len(server.requests) == 3
    (message,) = caplog.messages
    assert message.startswith("m: no answer for")
    assert embedding.seconds < 0.3


@each_row(
    ("script", "message"),
    [
        (altered(lambda data: data.pop()), "2 vectors for 3 texts"),
        (altered(lambda data: data.append({"embedding": [1.0]})), "4 vectors for 3 texts"),
        (altered(lambda data: data[1].update(index=0)), "indexed [0, 0, 2]"),
        (altered(lambda data: data[1].update(embedding=[1.0])), "different lengths, 1 and 2"),
        (altered(lambda data: data[1].update(embedding=[0.0, 0.0])), "vector 1 is all zeros"),
        (altered(lambda data: data[1].update(embedding=[1.0, None])), "vector 1 holds NaN"),
        (altered(lambda data: data[1].update(embedding=[1.0, 1e300])), "vector 1 holds NaN or an"),
        (altered(lambda data: data[1].update(embedding=[])), "vector 1 is unreadable"),
        (altered(lambda data: data[1].update(embedding=[[1.0]])), "vector 1 is unreadable"),
        (altered(lambda data: data[1].update(embedding="?!")), "vector 1 is unreadable"),
        (altered(lambda data: data[1].update(embedding="AAAA")), "vector 1 is unreadable"),
        (altered(lambda data: data[1].pop("embedding")), "vector 1 is unreadable"),
        (altered(lambda data: data.__setitem__(1, 7)), "without a list of vectors"),
        (lambda body, attempt: as_json({"object": "list"}), "without a list of vectors"),
        (lambda body, attempt: Answer(200, {}, b'{"data": [NaN]}'), "without a list of vectors"),
        (lambda body, attempt: Answer(200, {}, b'{"data": '), "without a JSON object"),
    ],
)
def test_unusable_vectors_are_an_error_that_says_which(script: Any, message: str) -> None:
    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server), retry=HASTY) as embedder,
        pytest.raises(ApiError) as caught,
    ):
        embedder.embed(texts(3), "document")

    # An endpoint that never gave any JSON is none, and all other requests end with the first.
    assert caught.value.reason == ("unusable" if "JSON" in message else "garbage")
    assert message in str(caught.value)


def test_vectors_of_another_length_than_before_are_an_error() -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        return reply(body | {"dimensions": len(body["input"])})

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server, batch_size=3, concurrency=1), retry=HASTY) as embedder,
        pytest.raises(ApiError, match="vectors of 1 numbers where 3 are expected"),
    ):
        embedder.embed(texts(4), "document")


def test_model_that_ignores_dimensions_is_found_out() -> None:
    with (
        LoopbackServer(lambda body, attempt: reply(body | {"dimensions": 8})) as server,
        ApiEmbedder(model(server, dimensions=4), retry=HASTY) as embedder,
        pytest.raises(ApiError, match="vectors of 8 numbers where 4 are expected"),
    ):
        embedder.embed(["a"], "query")


def test_batch_that_is_too_large_is_halved() -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        if len(body["input"]) > 3:
            return error(422, "batch size 8 > maximum allowed batch size 3")
        return reply(body)

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server, batch_size=8), retry=HASTY) as embedder,
    ):
        embedding = embedder.embed(texts(8), "document")

    assert np.array_equal(embedding.vectors, [vector_of(text) for text in texts(8)])
    assert embedding.tokens == 24


def test_text_that_is_too_long_is_named() -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        if any("endless" in text for text in body["input"]):
            return error(400, "maximum context length is 8192 tokens")
        return reply(body)

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server), retry=HASTY) as embedder,
        pytest.raises(ApiError, match=r"8192 tokens; the document begins 'endless story"),
    ):
        embedder.embed(["a", "b", "endless story " * 99, "c"], "document")


def test_batches_that_succeeded_are_handed_over_before_the_failure() -> None:
    def script(body: dict[str, Any], attempt: int) -> Answer:
        return error(400, "no") if "text 2" in body["input"] else reply(body)

    with (
        LoopbackServer(script) as server,
        ApiEmbedder(model(server, batch_size=1, concurrency=4), retry=HASTY) as embedder,
    ):
        batches = embedder.embed_batches(texts(50), "document")
        done: list[int] = []
        with pytest.raises(ApiError, match="no"):
            done.extend(span.start for span, _ in batches)

    assert {0, 1, 3} <= set(done)
    assert len(server.requests) < 50
    assert len(done) == len(server.requests) - 1


def test_key_never_appears_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with (
        LoopbackServer(lambda body, attempt: error(401, f"bad key {KEY}")) as server,
        ApiEmbedder(model(server, api_key_env="MY_KEY"), retry=HASTY) as embedder,
        pytest.raises(FatalApiError) as caught,
    ):
        embedder.embed(["a"], "query")

    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value)
    assert KEY not in str(embedder.settings)


def test_missing_key_is_an_error_before_any_request() -> None:
    config = ModelConfig(name="m", provider="openai", api_key_env="ABSENT_KEY")

    with pytest.raises(FatalApiError, match="ABSENT_KEY is not set"), ApiEmbedder(config):
        pass


def test_index_may_be_absent_where_order_is_kept() -> None:
    data = [{"embedding": [1.0, 0.0]}, {"embedding": [0.0, 1.0]}]

    assert OPENAI.read({"data": data}).vectors == [[1.0, 0.0], [0.0, 1.0]]


def test_tokens_of_joined_embeddings_are_unknown_if_any_part_is() -> None:
    one = Embedding(np.ones((1, 2), np.float32), 5, 0.5)
    other = Embedding(np.ones((2, 2), np.float32), None, 0.25)

    assert join_embeddings([one, one]).tokens == 10
    assert join_embeddings([one, other]).tokens is None
    assert join_embeddings([one, other]).seconds == 0.75
    assert join_embeddings([one, other]).vectors.shape == (3, 2)
    assert join_embeddings([]).vectors.shape == (0, 0)
