"""Judge both lists in one request; judges differ in what they write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from arena.config import JudgeConfig
from arena.digest import content_hash, digest
from arena.endpoint.client import Api
from arena.judging.budget import Budget
from arena.judging.capabilities import ResponseFormat
from arena.judging.chat import Chat, Delivered, Messages
from arena.judging.chat_reply import ChatReply, read_choice
from arena.judging.endpoint_facts import Learned
from arena.judging.judge import RequestJudge
from arena.judging.prompt import Prompt, Renderer
from arena.judging.reply_cache import VerdictCache
from arena.judging.verdict import read_verdict
from arena.records import JudgeInput, JudgeKind, Probs, Side, Verdict

Reader = Callable[[ChatReply], tuple[Side, Probs | None]]
"""The winner in a reply, with probabilities where it has them; an UnjudgedError if unreadable."""


class ListJudge:
    """An `arena.judging.judge.RequestJudge` by its template, its model and its reader.

    Args:
        config: the judge's name, and the length of documents.
        prompt: a template with two lists.
        chat: the model, set up for what the reader reads.
        read: what to make of a reply.
        reading: everything that could change what ``read`` makes of it.
    """

    is_llm = True
    kind: JudgeKind = "pairwise"

    def __init__(
        self, config: JudgeConfig, prompt: Prompt, chat: Chat, *, read: Reader, reading: str
    ) -> None:
        self.name = config.log_name
        self.prompt = prompt.hash
        self.fingerprint = content_hash(
            reading, chat.fingerprint, config.document_words, prompt.hash
        )
        self._messages = Renderer(prompt, document_words=config.document_words)
        self.chat = chat
        self._reader = read

    def request_key(self, judge_input: JudgeInput) -> str:
        """Return the key of the request; see `Judge`."""
        return digest(self.fingerprint, self.chat.key(self._messages(judge_input))).hex()

    def calls(self, judge_input: JudgeInput) -> Mapping[str, Messages]:
        """Return the one call of a verdict; see `Judge`."""
        messages = self._messages(judge_input)
        return {self.chat.key(messages): messages}

    async def judge(self, judge_input: JudgeInput) -> Verdict:
        """Ask for a verdict; see `Judge`."""
        found, reply = await self.chat.ask(self._messages(judge_input), self._reader)
        return _verdict(found, reply)

    def reply_from(self, body: Mapping[str, Any], latency_ms: float) -> ChatReply:
        """Read a reply; see `RequestJudge`."""
        return self.chat.reply(body, latency_ms, self._reader)

    def verdict_of(self, reply: ChatReply) -> Verdict:
        """Read the verdict of a reply; see `RequestJudge`."""
        return _verdict(self.chat.readable(reply, self._reader), reply)


def _verdict(answer: tuple[Side, Probs | None], reply: ChatReply) -> Verdict:
    winner, probs = answer
    return Verdict(winner, probs, reply.text, reply.usage, reply.cached)


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


def llm_judge(  # noqa: PLR0913, what a judge is made of, each named
    config: JudgeConfig,
    prompt: Prompt,
    api: Api,
    *,
    budget: Budget | None = None,
    cache: VerdictCache | None = None,
    learned: Learned | None = None,
    delivered: Delivered | None = None,
) -> RequestJudge:
    """Return a judge that reads both lists and writes an analysis, then its verdict, as JSON.

    Args:
        config: the model, its settings and its prices.
        prompt: the template.
        api: the endpoint; opened and closed by the caller.
        budget: what it may cost; no limit if absent.
        cache: replies paid for before; none if absent.
        learned: what earlier runs found out about the endpoint; nothing if absent.
        delivered: replies that came by batch job; the endpoint is asked if absent.
    """
    chat = Chat(
        config,
        api,
        ResponseFormat(schema=SCHEMA),
        budget=budget,
        cache=cache,
        learned=learned,
        delivered=delivered,
    )
    return ListJudge(config, prompt, chat, read=_winner, reading="pairwise")


def _winner(reply: ChatReply) -> tuple[Side, None]:
    return read_verdict(reply.text, cut=reply.cut), None


LETTERS: Final[Mapping[str, Side]] = {"a": "first", "b": "second", "t": "tie"}
TIE_MARGIN: Final = 0.1
"""Below it, moving five hundredths of probability from one side to the other would turn the
verdict. Swapping the two lists moves more than that in most judges."""


def letter_judge(config: JudgeConfig, prompt: Prompt, chat: Chat) -> RequestJudge:
    """Return a judge that answers A, B or T.

    Args:
        config: the model's name, the margin of ties, the length of documents.
        prompt: a template that asks for one of these letters.
        chat: the model, set up for the labels of `LETTERS`.
    """
    tie_margin = TIE_MARGIN if config.tie_margin is None else config.tie_margin
    read = partial(_read, tie_margin=tie_margin)
    return ListJudge(config, prompt, chat, read=read, reading=f"letter {tie_margin}")


def winner_by_probs(probs: Probs, tie_margin: float) -> Side:
    """Return the likelier side; a tie if that is likeliest, or if the sides are this close."""
    lead = probs.first - probs.second
    if probs.tie >= max(probs.first, probs.second) or not lead or abs(lead) < tie_margin:
        return "tie"
    return "first" if lead > 0 else "second"


def _read(reply: ChatReply, tie_margin: float) -> tuple[Side, Probs | None]:
    names: dict[str, str] = {side: letter for letter, side in LETTERS.items()}
    choice = read_choice(reply, tuple(LETTERS), names=names)
    if choice.probs is None:
        return LETTERS[choice.label], None
    sides = {LETTERS[letter]: share for letter, share in choice.probs.items()}
    probs = Probs(sides["first"], sides["second"], sides["tie"])
    return winner_by_probs(probs, tie_margin), probs
