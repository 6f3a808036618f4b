"""A judge that is shown both lists in one request; what it is to write may differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from arena.config import JudgeConfig
from arena.digest import content_hash, digest
from arena.judging.chat import Chat, Messages
from arena.judging.dialect import Dialect
from arena.judging.prompt import Prompt, Renderer
from arena.judging.reply import ChatReply
from arena.records import Exhibit, JudgeKind, Probs, Side, Verdict

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
        self._chat = chat
        self._reader = read

    @property
    def dialect(self) -> Dialect:
        """What the endpoint is known to take."""
        return self._chat.dialect

    @dialect.setter
    def dialect(self, known: Dialect) -> None:
        self._chat.dialect = known

    def learn(self, refusal: str) -> bool:
        """See `RequestJudge`."""
        return self._chat.learn(refusal)

    def request_key(self, exhibit: Exhibit) -> str:
        """See `Judge`."""
        return digest(self.fingerprint, self._chat.key(self._messages(exhibit))).hex()

    def calls(self, exhibit: Exhibit) -> Mapping[str, Messages]:
        """See `Judge`."""
        messages = self._messages(exhibit)
        return {self._chat.key(messages): messages}

    async def judge(self, exhibit: Exhibit) -> Verdict:
        """See `Judge`."""
        found, reply = await self._chat.ask(self._messages(exhibit), self._reader)
        return _verdict(found, reply)

    def request(self, exhibit: Exhibit) -> dict[str, Any]:
        """See `RequestJudge`."""
        return self._chat.request(self._messages(exhibit))

    def by_post_usd(self, n_bytes: int) -> float:
        """See `RequestJudge`."""
        return self._chat.by_post_usd(n_bytes)

    def verdict_from(self, body: Mapping[str, Any], latency_ms: float) -> Verdict:
        """See `RequestJudge`."""
        reply = self._chat.reply(body, latency_ms)
        return _verdict(self._chat.readable(reply, self._reader), reply)


def _verdict(found: tuple[Side, Probs | None], reply: ChatReply) -> Verdict:
    winner, probs = found
    return Verdict(winner, probs, reply.text, reply.usage, reply.cached)
