"""Judges of every kind on a loopback server, and replies of one word with their probabilities."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from loopback import Answer, LoopbackServer, as_json, chat

from arena.config import JudgeConfig
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, run
from arena.judging.judge import Judge
from arena.judging.open import open_judge, prompt_name
from arena.judging.prompt import Prompt, load_prompt
from arena.records import Document, JudgeInput, Query

T = TypeVar("T")
HASTY = Retry(base_s=0.002, longest_s=0.01)


def word(text: str, probs: Mapping[str, float] | None = None, *, lead: str = "") -> Answer:
    """A reply of one word with the probabilities of its alternatives, after a ``lead`` token."""
    body = json.loads(chat(lead + text).body)
    if probs is not None:
        tops = [{"token": t, "logprob": math.log(p)} for t, p in probs.items()]
        entries = [{"token": text, "logprob": tops[0]["logprob"], "top_logprobs": tops}]
        if lead:
            own = {"token": lead, "logprob": -0.1}
            entries.insert(0, {**own, "top_logprobs": [own]})
        body["choices"][0]["logprobs"] = {"content": entries}
    return as_json(body)


def config(**settings: Any) -> JudgeConfig:
    return JudgeConfig(**{"model": "judge-1", **settings})


def opened(
    settings: JudgeConfig,
    api: Api,
    *,
    top_k: int = 5,
    prompt: Prompt | None = None,
    **options: Any,
) -> Judge:
    prompt = prompt or load_prompt(prompt_name(settings))
    return open_judge(settings, api, prompt=prompt, top_k=top_k, **options)


def with_judge(
    server: LoopbackServer,
    settings: JudgeConfig,
    use: Callable[[Judge], Awaitable[T]],
    **options: Any,
) -> T:
    async def story() -> T:
        async with Api(Endpoint(server.base_url, None), retry=HASTY) as api:
            return await use(opened(settings, api, **options))

    return run(story())


def exhibit(first: str = "a", second: str = "b", query: str = "q1") -> JudgeInput:
    """Two lists of documents, one for each letter; a document's text holds ``[letter]``."""
    return JudgeInput(
        "d",
        Query(query, f"why {query}?"),
        tuple(Document(name, f"text of [{name}]") for name in first),
        tuple(Document(name, f"text of [{name}]") for name in second),
    )


def asked(body: Mapping[str, Any]) -> str:
    """The user's part of a request."""
    return str(body["messages"][1]["content"])
