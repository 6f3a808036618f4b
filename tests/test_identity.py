"""What tells one endpoint from another: the whole address, wherever something is kept by it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chat_judges import config
from experiments import fair_judge, llm, logged, play, write_experiment
from loopback import Answer, LoopbackServer, embeddings
from tables import each_row

from arena.config.models import ModelConfig
from arena.embedding.api import ApiEmbedder
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.client import Api
from arena.judging.capabilities import ResponseFormat
from arena.judging.chat import Chat
from arena.retrieval.rerank_cache import RerankCache
from arena.retrieval.rerankers import ApiReranker, Candidates

HOST = "https://judge.example/v1"


def fingerprint(url: str) -> str:
    settings = config(base_url=url)
    return Chat(settings, Api(Endpoint(url, "K")), ResponseFormat({"type": "object"})).fingerprint


def embedder(url: str) -> ModelConfig:
    return ModelConfig(name="m", provider="openai", base_url=url, api_key_env="K")


def reranker(url: str) -> ApiReranker:
    return ApiReranker(ModelConfig(name="r", rerank="jina", base="m", base_url=url))


def test_addresses_without_a_query_keep_what_was_paid_for_before(tmp_path: Path) -> None:
    # Made by version 0.1.0 from these settings; whoever changes them makes people pay again.
    assert fingerprint(HOST) == "31aadb1908ac9f84af48f0944aef5ed4"
    assert dict(ApiEmbedder(embedder(HOST)).settings)["base_url"] == HOST
    with RerankCache(tmp_path, reranker(HOST)) as cache:
        assert (
            cache._key(Candidates("q", ("a", "b")), "a").hex() == "09c57a84fd5378d5aa6af268560d9c60"
        )


@each_row(
    "change",
    [
        {"model": "other"},
        {"dimensions": 64},
        {"query_prefix": "query: "},
        {"document_prefix": "passage: "},
        {"query_extra": {"input_type": "query"}},
        {"document_extra": {"input_type": "document"}},
    ],
)
def test_vectors_of_other_settings_are_other_vectors(change: dict[str, Any]) -> None:
    settings = embedder(HOST).model_dump(exclude_unset=True)
    plain, changed = (ApiEmbedder(ModelConfig(**settings | more)) for more in ({}, change))

    assert dict(plain.settings) != dict(changed.settings)


@pytest.mark.parametrize("same", [f"{HOST}?", f"{HOST}#"])
def test_an_empty_query_is_none(same: str) -> None:
    assert fingerprint(same) == fingerprint(HOST)


@each_row("other", ["?deployment=a", "?deployment=b", "?deployment=a&x=1"])
def test_what_is_kept_of_one_deployment_is_not_another_s(other: str, tmp_path: Path) -> None:
    asked = Candidates("q", ("a", "b"))
    with (
        RerankCache(tmp_path, reranker(HOST)) as one,
        RerankCache(tmp_path, reranker(HOST + other)) as two,
    ):
        assert one._key(asked, "a") != two._key(asked, "a")
    assert fingerprint(HOST) != fingerprint(HOST + other)
    settings = [ApiEmbedder(embedder(url)).settings for url in (HOST, HOST + other)]
    assert settings[0] != settings[1]


def test_two_deployments_are_both_asked_for_their_vectors_and_their_verdicts(
    tmp_path: Path,
) -> None:
    def answer(request: dict[str, Any], attempt: int) -> Answer:
        if "input" not in request:
            return fair_judge(request, attempt)
        letters = "goodfairpother what is q0123456789?"
        return embeddings([[1.0 + text.count(c) for c in letters] for text in request["input"]])

    with LoopbackServer(answer) as server:
        judges = "".join(
            f'[[judges]]\nname = "{name}"\n{llm(f"{server.base_url}?deployment={name}")}'
            for name in "ab"
        )
        path = write_experiment(tmp_path, judge="@")
        toml = path.read_text().partition("[[models]]")[0]
        models = "".join(
            f'[[models]]\nname = "{name}"\nprovider = "openai"\nmodel = "m"\n'
            f'base_url = "{server.base_url}?deployment={name}"\n'
            for name in "ab"
        )
        path.write_text(toml + models + '[[models]]\nname = "c"\nprovider = "bm25"\n' + judges)
        play(path)

    asked = Counter(request.path for request in server.requests)
    for kind in ("embeddings", "chat/completions"):
        assert asked[f"/v1/{kind}?deployment=a"] == asked[f"/v1/{kind}?deployment=b"] > 0
    assert {battle.judge for battle in logged(path)} == {"a", "b"}
