"""Define judges, which decide which of two lists answers a query better.

An LLM reads both lists; the qrels judge knows relevance grades and compares DCG, and is no LLM.
No readable verdict is an error with its reason, never a tie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from arena.judging.chat import Chat, Messages
from arena.judging.chat_reply import ChatReply
from arena.records import JudgeInput, JudgeKind, Verdict


class Judge(Protocol):
    """Anything that gives verdicts on what it is shown."""

    @property
    def name(self) -> str:
        """Return the name in the log: the model's, or ``qrels``."""

    @property
    def prompt(self) -> str:
        """Return the hash of the prompt template; empty for judges without one."""

    @property
    def fingerprint(self) -> str:
        """Return the hash of every setting that could change a verdict, and of no other."""

    @property
    def is_llm(self) -> bool:
        """Return whether verdicts are written by a language model, and cost something."""

    @property
    def kind(self) -> JudgeKind:
        """Return the kind of judge; only a pairwise judge sees one list before the other."""

    def request_key(self, judge_input: JudgeInput) -> str:
        """Return the same for two inputs if and only if the whole request would be the same."""

    def calls(self, judge_input: JudgeInput) -> Mapping[str, Messages]:
        """Return the calls of a verdict: key in the cache of verdicts → chat messages."""

    async def judge(self, judge_input: JudgeInput) -> Verdict:
        """Judge what is shown.

        Raises:
            UnjudgedError: no readable verdict, with its reason.
            FatalApiError: the endpoint will answer no request.
            BudgetSpentError: the next call could cost more than is left.
        """


@runtime_checkable
class RequestJudge(Judge, Protocol):
    """A judge whose calls are chat requests, which a batch job may carry."""

    chat: Chat  #: the model that it asks

    def reply_from(self, body: Mapping[str, Any], latency_ms: float) -> ChatReply:
        """Return the reply in the body of a chat completion, if the judge can read it.

        Raises:
            UnjudgedError: it cannot; with the reply and its cost.
        """

    def verdict_of(self, reply: ChatReply) -> Verdict | None:
        """Return the verdict in a reply that can be read; None of a grade of one document."""
