"""What a chat model replied: its text, and how sure it was of its first tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from arena.errors import UnjudgedError
from arena.records import Usage

ADORNMENT: Final = " \t\r\n\"'`*_.,:;()[]{}<>“”‘’«»"
"""What may stand around a one-word answer without changing it."""

_OPEN_THOUGHT = re.compile(r"\A\s*<think.*", re.DOTALL)
_TOKENS: Final = 4
"""How many of the first tokens are kept with their alternatives."""


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token, and what the model might have written in its place."""

    text: str
    alternatives: Mapping[str, float]  #: token → probability, itself included; sums to 1 at most


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The first choice of a chat completion."""

    text: str  #: exactly what the model wrote
    tokens: tuple[Token, ...] = ()  #: the first few; empty where the endpoint gives no logprobs
    finish: str = ""  #: why it ended: stop, length, content_filter
    declined: str = ""  #: the endpoint's own word that the model refused
    usage: Usage = field(default_factory=Usage)
    cached: bool = False  #: it was paid for before

    @property
    def cut_short(self) -> bool:
        """Whether the limit on its length left it without a word."""
        return self.finish == "length" and not _OPEN_THOUGHT.sub("", self.text).strip(ADORNMENT)


def chat_reply(body: Mapping[str, Any], usage: Usage) -> ChatReply:
    """Read the body of a chat completion.

    Raises:
        UnjudgedError: it holds no choice.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UnjudgedError("garbage", "a reply without choices", cost_usd=usage.cost_usd)
    choice = choices[0]
    message = choice.get("message")
    declined = message.get("refusal") if isinstance(message, dict) else None
    finish = choice.get("finish_reason")
    return ChatReply(
        text=_text(message),
        tokens=_tokens(choice.get("logprobs")),
        finish=finish if isinstance(finish, str) else "",
        declined=declined if isinstance(declined, str) else "",
        usage=usage,
    )


def _text(message: object) -> str:
    """What a judge wrote: a text, or the texts of the parts that some servers send."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _tokens(logprobs: object) -> tuple[Token, ...]:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    found = [_token(entry) for entry in content[:_TOKENS]]
    return () if None in found else tuple(token for token in found if token)


def _token(entry: object) -> Token | None:
    """A token and its alternatives; None where the endpoint gives none, or gives nonsense."""
    others = entry.get("top_logprobs") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    if not isinstance(others, list) or not others:
        return None
    alternatives: dict[str, float] = {}
    for given in (*others, entry):
        text = given.get("token") if isinstance(given, dict) else None
        logprob = given.get("logprob") if isinstance(given, dict) else None
        # A token without a number, such as -inf sent as null, has no share to speak of.
        if isinstance(text, str) and isinstance(logprob, int | float) and not math.isnan(logprob):
            alternatives[text] = math.exp(min(logprob, 0.0))
    return Token(entry["token"], alternatives)
