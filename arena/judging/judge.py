"""Judges: who says which of two lists answers a query better.

An LLM reads both lists; the qrels judge knows relevance grades and compares DCG, and is no LLM.
No readable verdict is an error with its reason, never a tie.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from arena.config import JudgeConfig
from arena.digest import content_hash
from arena.endpoint.client import Api
from arena.errors import UnjudgedError
from arena.judging.budget import Budget
from arena.judging.cache import VerdictCache
from arena.judging.chat import Chat, Messages
from arena.judging.dialect import Dialect, Form
from arena.judging.learned import Learned
from arena.judging.lists import ListJudge
from arena.judging.prompt import Prompt
from arena.judging.reply import ChatReply
from arena.judging.verdict import read_verdict
from arena.records import Document, Exhibit, JudgeKind, Qrels, Side, Verdict

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

    @property
    def kind(self) -> JudgeKind:
        """How it judges; only a pairwise judge is shown one list before the other."""

    def request_key(self, exhibit: Exhibit) -> str:
        """The same for two exhibits if and only if the whole request would be the same."""

    def calls(self, exhibit: Exhibit) -> Mapping[str, Messages]:
        """What a verdict asks of an endpoint: key in the cache of verdicts → chat messages."""

    async def judge(self, exhibit: Exhibit) -> Verdict:
        """Judge an exhibit.

        Raises:
            UnjudgedError: no readable verdict, with its reason.
            FatalApiError: the endpoint will answer no request.
            BudgetSpentError: the next call could cost more than is left.
        """


@runtime_checkable
class RequestJudge(Judge, Protocol):
    """A judge that asks one chat request a battle, which others may send for it."""

    dialect: Dialect  #: what its endpoint takes, as far as it is known

    def request(self, exhibit: Exhibit) -> dict[str, Any]:
        """The body of the chat request that asks for a verdict."""

    def by_post_usd(self, n_bytes: int) -> float:
        """What a request of so many bytes may cost in a batch job, at the usual price."""

    def verdict_from(self, body: Mapping[str, Any], latency_ms: float) -> Verdict:
        """The verdict in the body of a chat reply.

        Raises:
            UnjudgedError: there is none.
        """

    def learn(self, refusal: str) -> bool:
        """Leave out of later requests what a refusal says is unknown; False if it says nothing."""


def llm_judge(  # noqa: PLR0913, what a judge is made of, each named
    config: JudgeConfig,
    prompt: Prompt,
    api: Api,
    *,
    budget: Budget | None = None,
    cache: VerdictCache | None = None,
    learned: Learned | None = None,
) -> RequestJudge:
    """A judge that reads both lists and writes an analysis, then its verdict, as JSON.

    Args:
        config: the model, its settings and its prices.
        prompt: the template.
        api: the endpoint; opened and closed by the caller.
        budget: what it may cost; no limit if absent.
        cache: replies paid for before; none if absent.
        learned: what earlier runs found out about the endpoint; nothing if absent.
    """
    chat = Chat(config, api, Form(schema=SCHEMA), budget=budget, cache=cache, learned=learned)
    return ListJudge(config, prompt, chat, read=_winner, reading="pairwise")


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


class _QrelsJudge:
    name = "qrels"
    prompt = ""
    is_llm = False
    kind: JudgeKind = "qrels"

    def __init__(self, qrels: Mapping[str, Qrels], top_k: int) -> None:
        self._qrels = qrels
        self._top_k = top_k
        graded = {
            dataset: {query_id: dict(grades) for query_id, grades in rows.items()}
            for dataset, rows in qrels.items()
        }
        self.fingerprint = content_hash("qrels", top_k, graded)

    def request_key(self, exhibit: Exhibit) -> str:
        lists = [
            [d.doc_id for d in side[: self._top_k]] for side in (exhibit.first, exhibit.second)
        ]
        return content_hash(self.fingerprint, exhibit.dataset, exhibit.query.query_id, lists)

    def calls(self, exhibit: Exhibit) -> Mapping[str, Messages]:
        del exhibit
        return {}

    async def judge(self, exhibit: Exhibit) -> Verdict:
        query_id = exhibit.query.query_id
        grades = self._qrels.get(exhibit.dataset, {}).get(query_id)
        if not grades:
            detail = f"dataset {exhibit.dataset} has no qrels for query {query_id}"
            raise UnjudgedError("no_qrels", detail)
        lead = dcg(exhibit.first, grades, self._top_k) - dcg(exhibit.second, grades, self._top_k)
        winner: Side = "first" if lead > 0 else "second"
        return Verdict("tie" if abs(lead) < _SAME_DCG else winner)


def _winner(reply: ChatReply) -> tuple[Side, None]:
    return read_verdict(reply.text, cut=reply.cut), None
