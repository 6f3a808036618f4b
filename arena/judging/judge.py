"""Judges: who says which of two lists answers a query better.

An LLM reads both lists; the qrels judge knows relevance grades and compares DCG, and is no LLM.
No readable verdict is an error with its reason, never a tie.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from arena.config import JudgeConfig
from arena.digest import digest
from arena.endpoint.client import Api
from arena.endpoint.refusals import one_line
from arena.errors import ApiError, FatalApiError, UnjudgedError
from arena.judging.dialect import Dialect
from arena.judging.prompt import Prompt, render
from arena.judging.verdict import read_verdict
from arena.records import Document, Exhibit, Qrels, Side, Usage, Verdict

SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "first": {"type": "string", "description": "analysis of the first list"},
        "second": {"type": "string", "description": "analysis of the second list"},
        "verdict": {"type": "string", "enum": ["first", "second", "tie"]},
    },
    "required": ["first", "second", "verdict"],
    "additionalProperties": False,
}
"""What a judge replies. The analysis comes before the verdict that it is to lead to."""

_SAME_DCG = 1e-9
"""Two sums of the same gains may differ by so much, added up in another order."""


class Judge(Protocol):
    """Anything that gives verdicts on exhibits."""

    @property
    def name(self) -> str:
        """As in the log: the model's name, or ``qrels``."""

    @property
    def prompt(self) -> str:
        """Hash of the prompt template; empty for judges without one."""

    @property
    def fingerprint(self) -> str:
        """Hash of every setting that could change a verdict, and of no other."""

    @property
    def is_llm(self) -> bool:
        """Whether verdicts are written by a language model, and cost something."""

    def request_key(self, exhibit: Exhibit) -> str:
        """The same for two exhibits if and only if the whole request would be the same."""

    async def judge(self, exhibit: Exhibit) -> Verdict:
        """Judge an exhibit.

        Raises:
            UnjudgedError: no readable verdict, with its reason.
            FatalApiError: the endpoint will answer no request.
        """

    def read(self, reply: str, usage: Usage) -> Verdict:
        """The verdict in a reply that was paid for before.

        Raises:
            UnjudgedError: there is none.
        """


@runtime_checkable
class RequestJudge(Judge, Protocol):
    """A judge that asks one chat request a battle, which others may send for it."""

    def request(self, exhibit: Exhibit) -> dict[str, Any]:
        """The body of the chat request that asks for a verdict."""

    def verdict_from(self, body: Mapping[str, Any], latency_ms: float) -> Verdict:
        """The verdict in the body of a chat reply.

        Raises:
            UnjudgedError: there is none.
        """

    def learn(self, refusal: str) -> bool:
        """Leave out of later requests what a refusal says is unknown; False if it says nothing."""


def llm_judge(config: JudgeConfig, prompt: Prompt, api: Api) -> RequestJudge:
    """A judge that reads both lists: a chat model behind an OpenAI-compatible endpoint.

    Args:
        config: the model, its settings and its prices.
        prompt: the template.
        api: the endpoint; opened and closed by the caller.
    """
    return _LLMJudge(config, prompt, api)


def qrels_judge(qrels: Mapping[str, Qrels], top_k: int) -> Judge:
    """A judge that knows the relevance grades and compares the DCG of the two lists.

    DCG = Σ max(grade, 0) / log2(rank + 1) over the first ``top_k`` ranks, the gain of
    trec_eval's nDCG (Järvelin and Kekäläinen 2002, doi:10.1145/582415.582418); the ideal
    is the same for both lists, so the comparison is that of nDCG.

    Args:
        qrels: dataset → its relevance grades.
        top_k: ranks that count.
    """
    return _QrelsJudge(qrels, top_k)


def dcg(documents: Sequence[Document], grades: Mapping[str, int], top_k: int) -> float:
    """Discounted cumulative gain of a list with linear gains; ungraded documents gain nothing."""
    return math.fsum(
        max(grades.get(document.doc_id, 0), 0) / math.log2(rank + 1)
        for rank, document in enumerate(documents[:top_k], start=1)
    )


class _LLMJudge:
    is_llm = True

    def __init__(self, config: JudgeConfig, prompt: Prompt, api: Api) -> None:
        self.name = config.model or ""
        self.prompt = prompt.hash
        self._config = config
        self._template = prompt
        self._api = api
        self._dialect = Dialect()
        self.fingerprint = _digest(
            config.kind,
            config.model,
            api.base_url,
            config.temperature,
            config.max_tokens,
            config.document_words,
            prompt.hash,
            SCHEMA,
        )

    def request_key(self, exhibit: Exhibit) -> str:
        return digest(self.fingerprint, *(m["content"] for m in self._messages(exhibit))).hex()

    async def judge(self, exhibit: Exhibit) -> Verdict:
        try:
            body, latency_ms = await self._ask(exhibit)
        except FatalApiError:
            raise
        except ApiError as error:
            raise UnjudgedError(error.reason, error.detail) from None
        return self.verdict_from(body, latency_ms)

    def request(self, exhibit: Exhibit) -> dict[str, Any]:
        fields = self._dialect.fields(
            temperature=self._config.temperature,
            max_tokens=self._config.max_tokens,
            name="verdict",
            schema=SCHEMA,
        )
        return {"model": self._config.model, "messages": self._messages(exhibit), **fields}

    def verdict_from(self, body: Mapping[str, Any], latency_ms: float) -> Verdict:
        usage = self._usage(body.get("usage"), latency_ms)
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise UnjudgedError("garbage", "a reply without choices", cost_usd=usage.cost_usd)
        message = choices[0].get("message")
        text = _text(message)
        try:
            return self.read(text, usage)
        except UnjudgedError as error:
            raise _explained(error, choices[0], self._config.max_tokens) from None

    def read(self, reply: str, usage: Usage) -> Verdict:
        try:
            return Verdict(read_verdict(reply), reply=reply, usage=usage)
        except UnjudgedError as error:
            error.cost_usd = usage.cost_usd
            raise

    def learn(self, refusal: str) -> bool:
        known = self._dialect
        self._dialect = known.after(refusal)
        return self._dialect != known

    async def _ask(self, exhibit: Exhibit) -> tuple[dict[str, Any], float]:
        """The endpoint's reply and its latency, in the dialect that the endpoint takes."""
        while True:
            dialect = self._dialect
            try:
                reply = await self._api.post("/chat/completions", self.request(exhibit))
            except ApiError as error:
                if error.reason != "bad_request":
                    raise
                # Many requests are refused at once for the same cause: the first one learns.
                if dialect == self._dialect and not self.learn(error.detail):
                    raise
            else:
                return reply.body, reply.latency_ms

    def _messages(self, exhibit: Exhibit) -> list[dict[str, str]]:
        return render(self._template, exhibit, document_words=self._config.document_words)

    def _usage(self, reported: object, latency_ms: float) -> Usage:
        usage = reported if isinstance(reported, dict) else {}
        details = usage.get("prompt_tokens_details")
        n_input, n_output = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        n_cached = min(n_input, _count(details, "cached_tokens"))
        config = self._config
        input_price = config.price_per_1m_input_tokens or 0.0
        cached_price = config.price_per_1m_cached_tokens
        cost_usd = (
            (n_input - n_cached) * input_price
            + n_cached * (input_price if cached_price is None else cached_price)
            + n_output * (config.price_per_1m_output_tokens or 0.0)
        ) / 1e6
        return Usage(n_input, n_output, n_cached, cost_usd, latency_ms)


class _QrelsJudge:
    name = "qrels"
    prompt = ""
    is_llm = False

    def __init__(self, qrels: Mapping[str, Qrels], top_k: int) -> None:
        self._qrels = qrels
        self._top_k = top_k
        graded = {
            dataset: {query_id: dict(grades) for query_id, grades in rows.items()}
            for dataset, rows in qrels.items()
        }
        self.fingerprint = _digest("qrels", top_k, graded)

    def request_key(self, exhibit: Exhibit) -> str:
        lists = [
            [d.doc_id for d in side[: self._top_k]] for side in (exhibit.first, exhibit.second)
        ]
        return _digest(self.fingerprint, exhibit.dataset, exhibit.query.query_id, lists)

    async def judge(self, exhibit: Exhibit) -> Verdict:
        query_id = exhibit.query.query_id
        grades = self._qrels.get(exhibit.dataset, {}).get(query_id)
        if not grades:
            detail = f"dataset {exhibit.dataset} has no qrels for query {query_id}"
            raise UnjudgedError("no_qrels", detail)
        lead = dcg(exhibit.first, grades, self._top_k) - dcg(exhibit.second, grades, self._top_k)
        winner: Side = "first" if lead > 0 else "second"
        return Verdict("tie" if abs(lead) < _SAME_DCG else winner)

    def read(self, reply: str, usage: Usage) -> Verdict:
        detail = "the qrels judge writes no replies"
        raise UnjudgedError("unreadable", detail, reply=reply, cost_usd=usage.cost_usd)


def _text(message: object) -> str:
    """What a judge wrote: a text, or the texts of the parts that some servers send."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _explained(error: UnjudgedError, choice: Mapping[str, Any], max_tokens: int) -> UnjudgedError:
    """The same error, with a better reason where the endpoint gives one."""
    reason, detail = error.reason, error.detail
    message = choice.get("message")
    declined = message.get("refusal") if isinstance(message, dict) else None
    finish = choice.get("finish_reason")
    if isinstance(declined, str) and declined:
        reason, detail = "refusal", f"the judge refused: {one_line(declined)}"
    elif finish == "content_filter":
        reason, detail = "refusal", "the endpoint's content filter withheld the reply"
    elif finish == "length":
        detail = f"the reply ended at max_tokens = {max_tokens} before a verdict; raise it"
        reason = "truncated"
    return UnjudgedError(reason, detail, reply=error.reply, cost_usd=error.cost_usd)


def _count(usage: object, field: str) -> int:
    value = usage.get(field) if isinstance(usage, dict) else None
    return max(0, value) if isinstance(value, int) else 0


def _digest(*parts: object) -> str:
    return digest(json.dumps(parts, sort_keys=True)).hex()
