"""Grade each query and document once, and derive the battles from the grades.

The value of a list is Σ gain / log2(rank + 1), as in DCG, with gains between 0 and 1. No list is
shown first, so there is no position bias. The number of calls grows with distinct documents, not
with pairs of models: a new model costs only the documents that no other has found.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from arena.config import JudgeConfig
from arena.data.metrics import dcg
from arena.digest import content_hash, digest
from arena.errors import UnjudgedError
from arena.judging.chat import Chat, Messages
from arena.judging.chat_reply import ChatReply, ChosenLabel, read_choice
from arena.judging.judge import RequestJudge
from arena.judging.prompt import Prompt, render_document
from arena.records import Document, Grade, JudgeInput, JudgeKind, Query, Side, Usage, Verdict, now

SCALES: Final[Mapping[str, tuple[str, ...]]] = {
    "binary": ("no", "yes"),
    "graded": ("0", "1", "2", "3"),
}
"""What a judge may answer, worst first; the place of an answer is its grade."""

TIE_MARGIN: Final = 0.02
"""Share of the greatest difference there can be: all documents of one list perfect, all of the
other worthless. A share of a fixed sum needs no pass over all battles before the first verdict;
0.02 is a quarter of the standard deviation of the leads of real models (docs/judges.md)."""

_KEPT: Final = 65_536
"""Grades that are kept at hand; a query's battles are played together, so few are missed."""


def pointwise_judge(
    config: JudgeConfig,
    prompt: Prompt,
    chat: Chat,
    *,
    top_k: int,
    on_grade: Callable[[Grade], None] | None = None,
) -> RequestJudge:
    """Return a judge that grades documents one by one.

    Args:
        config: the model's name, the scale, the margin of ties, the length of documents.
        prompt: a template that asks for one answer of the scale.
        chat: the model, set up for the labels of the scale.
        top_k: ranks that count.
        on_grade: told of each grade when it is first needed, as long as this judge lives.
    """
    return _PointwiseJudge(config, prompt, chat, top_k=top_k, on_grade=on_grade)


def grade_of(choice: ChosenLabel, labels: Sequence[str]) -> float:
    """Return the expected grade, or the stated one: 0 for the first label, 1 for the next, ..."""
    if choice.probs is None:
        return float(labels.index(choice.label))
    return math.fsum(grade * choice.probs[label] for grade, label in enumerate(labels))


class _PointwiseJudge:
    is_llm = True
    kind: JudgeKind = "pointwise"

    def __init__(
        self,
        config: JudgeConfig,
        prompt: Prompt,
        chat: Chat,
        *,
        top_k: int,
        on_grade: Callable[[Grade], None] | None,
    ) -> None:
        self.name = config.log_name
        self.prompt = prompt.hash
        self._template = prompt
        self._document_words = config.document_words
        self._labels = SCALES[config.scale]
        self._tie_margin = TIE_MARGIN if config.tie_margin is None else config.tie_margin
        self.chat = chat
        self._top_k = top_k
        self._on_grade = on_grade
        self._gains: dict[tuple[str, str, str], float] = {}
        self._query: Query | None = None  #: of the calls that are kept
        self._calls: dict[Document, tuple[str, Messages]] = {}
        self.fingerprint = content_hash(
            "pointwise",
            chat.fingerprint,
            config.document_words,
            prompt.hash,
            self._tie_margin,
            top_k,
        )

    def request_key(self, judge_input: JudgeInput) -> str:
        lists = [
            [self._call(judge_input.query, document)[0] for document in side[: self._top_k]]
            for side in (judge_input.first, judge_input.second)
        ]
        return digest(self.fingerprint, json.dumps(lists)).hex()

    def calls(self, judge_input: JudgeInput) -> Mapping[str, Messages]:
        shown = judge_input.first[: self._top_k] + judge_input.second[: self._top_k]
        return dict(self._call(judge_input.query, document) for document in shown)

    def reply_from(self, body: Mapping[str, Any], latency_ms: float) -> ChatReply:
        return self.chat.reply(body, latency_ms, self._choice)

    def verdict_of(self, reply: ChatReply) -> None:
        """Return None: a reply grades one document, and decides no battle."""

    async def judge(self, judge_input: JudgeInput) -> Verdict:
        shown = judge_input.first[: self._top_k] + judge_input.second[: self._top_k]
        documents = list({document.doc_id: document for document in shown}.values())
        # All of them are waited for, so that what was paid for is known even where one fails.
        results = await asyncio.gather(
            *(self._gain(judge_input, document) for document in documents), return_exceptions=True
        )
        gains: dict[str, float] = {}
        usage, failures = Usage(), []
        for document, result in zip(documents, results, strict=True):
            if isinstance(result, BaseException):
                failures.append(result)
            else:
                gains[document.doc_id], paid = result
                usage += paid
        if failures:
            raise _worst(failures, usage)
        sides = [
            [gains[document.doc_id] for document in side[: self._top_k]]
            for side in (judge_input.first, judge_input.second)
        ]
        reply = json.dumps({"first": _rounded(sides[0]), "second": _rounded(sides[1])})
        return Verdict(self._winner(*sides), None, reply, usage, cached=usage == Usage())

    def _winner(self, first: Sequence[float], second: Sequence[float]) -> Side:
        greatest = dcg([1.0] * self._top_k)
        # Rounded, so that a verdict read from its record is the one that was given.
        lead = (dcg(_rounded(first)) - dcg(_rounded(second))) / greatest
        if not lead or abs(lead) < self._tie_margin:
            return "tie"
        return "first" if lead > 0 else "second"

    async def _gain(self, judge_input: JudgeInput, document: Document) -> tuple[float, Usage]:
        """Return a document's gain, and what it cost this battle to know it."""
        key = (judge_input.dataset, judge_input.query.query_id, document.doc_id)
        if key in self._gains:
            return self._gains[key], Usage()
        messages = self._call(judge_input.query, document)[1]
        choice, reply = await self.chat.ask(messages, self._choice)
        grade = grade_of(choice, self._labels)
        gain = grade / (len(self._labels) - 1)
        # Battles that share a document wait for one call, and the first to come back records it.
        if key not in self._gains:
            if len(self._gains) >= _KEPT:
                self._gains.clear()
            self._gains[key] = gain
            if self._on_grade:
                self._on_grade(self._record(key, grade, choice, reply))
        return gain, reply.usage

    def _record(
        self, key: tuple[str, str, str], grade: float, choice: ChosenLabel, reply: ChatReply
    ) -> Grade:
        probs = choice.probs
        return Grade(
            *key,
            grade=grade,
            gain=grade / (len(self._labels) - 1),
            probs=None if probs is None else tuple(probs[label] for label in self._labels),
            reply=reply.text,
            judge=self.name,
            prompt=self.prompt,
            input_tokens=reply.usage.input_tokens,
            output_tokens=reply.usage.output_tokens,
            cost_usd=reply.usage.cost_usd,
            estimated=reply.usage.estimated,
            at=now(),
        )

    def _choice(self, reply: ChatReply) -> ChosenLabel:
        return read_choice(reply, self._labels)

    def _call(self, query: Query, document: Document) -> tuple[str, Messages]:
        """Return a call with its key; a query's battles are neighbours and share its documents."""
        if query != self._query:
            self._query, self._calls = query, {}
        call = self._calls.get(document)
        if call is None:
            words = self._document_words
            messages = render_document(self._template, query, document, document_words=words)
            call = self._calls[document] = self.chat.key(messages), messages
        return call


def _worst(failures: Sequence[BaseException], usage: Usage) -> BaseException:
    """Return what stops the run, if anything; else the first failure, with the battle's cost."""
    for failure in failures:
        if not isinstance(failure, UnjudgedError):
            return failure
    unjudged = [failure for failure in failures if isinstance(failure, UnjudgedError)]
    first = unjudged[0]
    return UnjudgedError(
        first.reason,
        f"a document has no grade: {first.detail}",
        reply=first.reply,
        cost_usd=math.fsum((usage.cost_usd, *(failure.cost_usd for failure in unjudged))),
        estimated=usage.estimated or any(failure.estimated for failure in unjudged),
    )


def _rounded(gains: Sequence[float]) -> list[float]:
    return [round(gain, 6) for gain in gains]
