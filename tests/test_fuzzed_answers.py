"""Random bytes, and answers that were right before they were damaged, as what endpoints send."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import pytest
from chat_judges import HASTY, config, exhibit, opened
from experiments import fair_judge, llm, play, write_experiment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loopback import as_json, embeddings, verdict
from raw_server import RawServer, Request, Sent, http

from arena.config.models import ModelConfig
from arena.embedding.api import ApiEmbedder
from arena.endpoint import client
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.client import Api, run
from arena.errors import ApiError, ArenaError, UnjudgedError
from arena.records import Verdict
from arena.retrieval.rerankers import ApiReranker, Candidates

T = TypeVar("T")
SCORES = as_json({"results": [{"index": n, "relevance_score": 0.5} for n in range(3)]})
VALID = [
    http(verdict("tie").body),
    http(gzip.compress(verdict("first").body), headers="Content-Encoding: gzip\r\n"),
    http(embeddings([[1.0, 0.5]] * 3).body, headers="Content-Type: application/json\r\n"),
    http(SCORES.body),
    http(b'{"error": {"message": "slow down"}}', status="429 X", headers="Retry-After: 0\r\n"),
    http(b"<html><script>x</script>Sorry</html>", status="502 Bad Gateway"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
]
PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from(
        [b"\r\n", b"\0", b"\xff", b"[" * 500, b"9" * 500, b"-1", b"NaN", b"null", b'"', b"\\ud800"]
    ),
    st.sampled_from(
        [
            b"Retry-After: 1e300\r\n",
            b"Content-Length: -1\r\n",
            b"Content-Encoding: gzip\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Location: http://127.0.0.1:1/\r\n",
            b"Set-Cookie: a=b; Expires=Mon, 01 Jan 99999 00:00:00 GMT\r\n",
            b"x-ratelimit-limit-tokens: 1e-300\r\n",
            b"x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1d\r\n",
        ]
    ),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid answer of which a few parts were cut out, or into which something was put."""
    raw = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(raw)))
        end = min(len(raw), begin + draw(st.sampled_from([0, 0, 1, 4, 40])))
        raw = raw[:begin] + draw(PIECES) + raw[end:]
    return raw


ANSWERS = st.one_of(st.binary(max_size=300), damaged(), damaged())
FOUR = st.lists(ANSWERS, min_size=4, max_size=4)
"""What clients get at the same time, each its own: most of a call is a wait for the next."""
QUICK = settings(
    derandomize=True,
    deadline=None,
    max_examples=7,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer(lambda request: b"") as running:
        yield running


def answers_badly(server: RawServer, bad: Sequence[bytes], good: bytes) -> None:
    """Give four questions, always, a bad answer each, and all others the good one."""
    poison = {f"poison-{number}".encode(): answer for number, answer in enumerate(bad)}
    server.answer = lambda request: next(
        (answer for name, answer in poison.items() if name in request.raw), good
    )


@QUICK
@given(bad=FOUR)
def test_a_judge_says_a_verdict_or_why_there_is_none(server: RawServer, bad: list[bytes]) -> None:
    answers_badly(server, bad, VALID[0])

    async def story(poison: str) -> Sequence[Verdict | BaseException]:
        endpoint = Endpoint(server.base_url, timeout_s=5)
        async with Api(endpoint, retry=HASTY) as api:
            judge = opened(config(), api)
            asked = [exhibit(query=poison), *(exhibit(query=f"q{n}") for n in range(3))]
            return await asyncio.gather(*map(judge.judge, asked), return_exceptions=True)

    async def stories() -> list[Sequence[Verdict | BaseException]]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*(story(f"poison-{n}") for n in range(4)))

    for first, *others in run(stories()):
        assert isinstance(first, Verdict | UnjudgedError | ApiError)
        stops = {other.reason for other in others if isinstance(other, ApiError)}
        for other in others:
            assert isinstance(other, Verdict) or stops, repr(other)
        _is_one_line(first)


@QUICK
@given(bad=FOUR)
def test_an_embedder_gives_vectors_or_one_error(server: RawServer, bad: list[bytes]) -> None:
    answers_badly(server, bad, VALID[2])
    model = ModelConfig(name="m", provider="openai", base_url=server.base_url, timeout_s=5)

    def embed(poison: str) -> tuple[dict[int, np.ndarray], ArenaError | None]:
        got: dict[int, np.ndarray] = {}
        texts = ["x", "y", "z", "one", poison, "three", "u", "v", "w"]
        with ApiEmbedder(model.model_copy(update={"batch_size": 3}), retry=HASTY) as embedder:
            try:
                for span, found in embedder.embed_batches(texts, "query"):
                    got[span.start] = found.vectors
            except ArenaError as error:
                return got, error
        return got, None

    for got, error in _for_each_poison(embed):
        assert all(np.isfinite(vectors).all() for vectors in got.values())
        assert len(got) == 3 or error
        _is_one_line(error)


@QUICK
@given(bad=FOUR)
def test_a_reranker_gives_scores_or_one_error(server: RawServer, bad: list[bytes]) -> None:
    answers_badly(server, bad, VALID[3])
    model = ModelConfig(name="r", rerank="jina", base="m", base_url=server.base_url, timeout_s=5)

    def rerank(poison: str) -> tuple[dict[int, object], ArenaError | None]:
        with ApiReranker(model, retry=HASTY) as reranker:
            asked = [Candidates(query, ("one", "two", "three")) for query in ("a", poison, "b")]
            try:
                return dict(reranker.score(asked, alone=False)), None
            except ArenaError as error:
                return {}, error

    for got, error in _for_each_poison(rerank):
        assert len(got) == 3 or error
        _is_one_line(error)


def _for_each_poison(ask: Callable[[str], T]) -> list[T]:
    with ThreadPoolExecutor(4) as at_once:
        return list(at_once.map(ask, [f"poison-{number}" for number in range(4)]))


@settings(QUICK, max_examples=4)
@given(bad=FOUR)
def test_a_run_keeps_every_reply_that_came_beside_bad_answers(
    bad: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("run")
    told: list[Any] = []

    def answer(request: Request) -> Sent:
        if request.n % 9 == 5:
            return bad[request.n % 4]
        told.append(request.body["messages"][-1]["content"])
        return [0.05, http(fair_judge(request.body, 1).body)]

    with RawServer(answer) as server:
        path = write_experiment(folder, judge=llm(server.base_url, "concurrency = 32"))
        try:
            with patch.object(client, "Retry", partial(client.Retry, base_s=0.002, longest_s=0.01)):
                play(path).check()
        except ArenaError as error:
            _is_one_line(error)
        replies = (folder / "runs" / "x" / "replies.jsonl").read_text().splitlines()

    kept = [json.loads(line) for line in replies]
    assert len([reply for reply in kept if reply.get("winner")]) >= len(set(told))


def _is_one_line(error: object) -> None:
    if isinstance(error, BaseException):
        assert "\n" not in str(error)
        assert str(error).isprintable()
        assert len(str(error)) < 1500
