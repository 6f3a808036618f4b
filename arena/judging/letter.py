"""A judge that reads both lists and answers with one letter, whose probability is known.

The mean of a judge's verdict distribution is a better verdict than the single most likely one
(Wang et al. 2025, arXiv 2503.03064), and a tie is where the two sides are about as likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from arena.config import JudgeConfig
from arena.digest import digest
from arena.judging.chat import Chat, Messages
from arena.judging.choice import Choice, read_choice
from arena.judging.dialect import Dialect
from arena.judging.judge import RequestJudge, content_hash
from arena.judging.prompt import Prompt, Renderer
from arena.judging.reply import ChatReply
from arena.records import Exhibit, Probs, Side, Usage, Verdict

LETTERS: Final[Mapping[str, Side]] = {"a": "first", "b": "second", "t": "tie"}

TIE_MARGIN: Final = 0.1
"""Below it, moving five hundredths of probability from one side to the other would turn the
verdict: less than what the exchange of the two lists moves in most judges."""


def letter_judge(config: JudgeConfig, prompt: Prompt, chat: Chat) -> RequestJudge:
    """A judge that answers A, B or T.

    Args:
        config: the model's name, the margin of ties, the length of documents.
        prompt: a template that asks for one of these letters.
        chat: the model, set up for the labels of `LETTERS`.
    """
    return _LetterJudge(config, prompt, chat)


def winner_by_probs(probs: Probs, tie_margin: float) -> Side:
    """Which side is likelier: a tie if that is likeliest, or if the sides are closer than this."""
    lead = probs.first - probs.second
    if probs.tie >= max(probs.first, probs.second) or not lead or abs(lead) < tie_margin:
        return "tie"
    return "first" if lead > 0 else "second"


class _LetterJudge:
    is_llm = True

    def __init__(self, config: JudgeConfig, prompt: Prompt, chat: Chat) -> None:
        self.name = config.log_name
        self.prompt = prompt.hash
        self._messages = Renderer(prompt, document_words=config.document_words)
        self._tie_margin = TIE_MARGIN if config.tie_margin is None else config.tie_margin
        self._chat = chat
        self.fingerprint = content_hash(
            "letter", chat.fingerprint, config.document_words, prompt.hash, self._tie_margin
        )

    def request_key(self, exhibit: Exhibit) -> str:
        return digest(self.fingerprint, self._chat.key(self._messages(exhibit))).hex()

    def calls(self, exhibit: Exhibit) -> Mapping[str, Messages]:
        messages = self._messages(exhibit)
        return {self._chat.key(messages): messages}

    async def judge(self, exhibit: Exhibit) -> Verdict:
        choice, reply = await self._chat.ask(self._messages(exhibit), _choice)
        return self._verdict(choice, reply)

    def request(self, exhibit: Exhibit) -> dict[str, Any]:
        return self._chat.request(self._messages(exhibit))

    def verdict_from(self, body: Mapping[str, Any], latency_ms: float) -> Verdict:
        reply = self._chat.reply(body, latency_ms)
        return self._verdict(self._chat.readable(reply, _choice), reply)

    @property
    def dialect(self) -> Dialect:
        return self._chat.dialect

    @dialect.setter
    def dialect(self, known: Dialect) -> None:
        self._chat.dialect = known

    def learn(self, refusal: str) -> bool:
        return self._chat.learn(refusal)

    def read(self, reply: str, usage: Usage) -> Verdict:
        written = ChatReply(reply, usage=usage)
        return self._verdict(self._chat.readable(written, _choice), written)

    def _verdict(self, choice: Choice, reply: ChatReply) -> Verdict:
        probs = None
        winner = LETTERS[choice.label]
        if choice.probs is not None:
            sides = {LETTERS[letter]: share for letter, share in choice.probs.items()}
            probs = Probs(sides["first"], sides["second"], sides["tie"])
            winner = winner_by_probs(probs, self._tie_margin)
        return Verdict(winner, probs, reply.text, reply.usage, reply.cached)


def _choice(reply: ChatReply) -> Choice:
    return read_choice(reply, tuple(LETTERS))
