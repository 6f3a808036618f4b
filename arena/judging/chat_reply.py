"""Read a chat model's reply: its text, and the probabilities of its first tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeGuard

from arena.errors import UnjudgedError
from arena.judging.final_answer import (
    ANSWER_TAG,
    check_explanation,
    cut_short,
    no_answer,
    quoted_end,
    spoken_from,
)
from arena.records import Usage

_TOKENS: Final = 4
"""How many of the first tokens are kept with their alternatives."""

REASONING: Final = ("reasoning_content", "reasoning", "thinking")
"""Fields in which servers put thoughts, apart from the answer."""

_ROUNDING: Final = 0.01
"""By how much probabilities may add up to more than 1, given with few digits."""

_CUT = re.compile(r"length|max_?\w*tokens|token_limit", re.IGNORECASE)

_WITHHELD = re.compile(
    r"filter|safety|recitation|block|prohibited|refusal|sensitive|spii", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token, and what the model might have written in its place."""

    text: str
    alternatives: Mapping[str, float]  #: token → probability, itself included; sums to 1 at most


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The first choice of a chat completion."""

    text: str  #: exactly what the model wrote
    tokens: tuple[Token, ...] = ()  #: the first few; empty if the endpoint gives no logprobs
    finish: str = ""  #: why it ended: stop, length, content_filter
    declined: str = ""  #: the endpoint's own word that the model refused
    usage: Usage = field(default_factory=Usage)
    cached: bool = False  #: it was paid for before
    unsaid: str = ""  #: where the endpoint put something in place of a text, if it did

    @property
    def cut(self) -> bool:
        """Return whether it ended at a limit on its length, and is incomplete."""
        return bool(_CUT.search(self.finish))

    @property
    def withheld(self) -> bool:
        """Return whether a filter of the endpoint ended it."""
        return bool(_WITHHELD.search(self.finish))


def chat_reply(body: Mapping[str, Any], usage: Usage) -> ChatReply:
    """Read the body of a chat completion.

    Raises:
        UnjudgedError: it holds no choice.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise UnjudgedError(
            "garbage",
            "a reply without choices",
            cost_usd=usage.cost_usd,
            estimated=usage.estimated,
        )
    choice = choices[0]
    message = choice.get("message")
    declined = message.get("refusal") if isinstance(message, dict) else None
    finish = choice.get("finish_reason")
    return ChatReply(
        text=_text(message),
        tokens=_tokens(choice.get("logprobs")),
        finish=finish if isinstance(finish, str) else "",
        declined=declined if isinstance(declined, str) else "",
        unsaid=_unsaid(message),
        usage=usage,
    )


def _text(message: object) -> str:
    """Return what a judge wrote: a text, or the texts of the parts that some servers send."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        parts = [
            part.get("text")
            for part in content
            # Thoughts come as parts of other types, some of them with a text as well.
            if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text")
        ]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _unsaid(message: object) -> str:
    """Return the first field of a message with something in place of the content."""
    fields = (*REASONING, "tool_calls", "function_call")
    if not isinstance(message, dict):
        return ""
    content = message.get("content")
    if content and not _text(message):
        return "content of another form"
    return next((field for field in fields if message.get(field)), "")


def _tokens(logprobs: object) -> tuple[Token, ...]:
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    found = [_token(entry) for entry in content[:_TOKENS]]
    return () if None in found else tuple(token for token in found if token)


def _token(entry: object) -> Token | None:
    """Return a token and its alternatives; None if the endpoint gives none, or gives nonsense.

    Log-probabilities are never positive, and those of one place add up to no more than one;
    what was written had some.
    """
    listed = entry.get("top_logprobs") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    if not isinstance(listed, list) or not listed:
        return None
    alternatives: dict[str, float] = {}
    for given in (*listed, entry):
        text = given.get("token") if isinstance(given, dict) else None
        logprob = given.get("logprob") if isinstance(given, dict) else None
        if logprob is None and given is not entry:
            continue  # a token without a number, such as -inf sent as null, has no share
        if not isinstance(text, str) or not _is_log_probability(logprob):
            return None
        alternatives[text] = math.exp(logprob)
    written = alternatives[entry["token"]]
    possible = written > 0 and math.fsum(alternatives.values()) <= 1 + _ROUNDING
    return Token(entry["token"], alternatives) if possible else None


def _is_log_probability(value: object) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value == -math.inf or -1e308 <= value <= 0


_BEFORE: Final = " \t\r\n\"'`*_([“‘«"
_AFTER: Final = " \t\r\n\"'`*_)].”’»"
"""What may stand around a word without changing it; a sign such as ``<`` or ``-`` changes it."""

_FENCE = re.compile(r"[\s`~]*+(?:(?:te?xt|json)\s*+)?")
_FULL_WIDTH: Final = {code + 0xFEE0: code for code in range(0x21, 0x7F)}


@dataclass(frozen=True, slots=True)
class ChosenLabel:
    """One of a few labels."""

    label: str  #: what the judge wrote
    probs: Mapping[str, float] | None = None  #: label → probability, summing to 1; if known


def read_choice(
    reply: ChatReply, labels: Sequence[str], *, names: Mapping[str, str] | None = None
) -> ChosenLabel:
    """Return the label of a reply.

    The label stands alone on the last line, or on the first one, before an explanation that
    names no other and takes nothing back. Quotation marks, stars and a stop may be around it.

    Args:
        reply: what the judge wrote.
        labels: in lower case; what is written may be in any case.
        names: other words for them → label; an explanation may use no word of another label.

    Raises:
        UnjudgedError: ``empty``; ``refusal``; ``truncated``; ``two_verdicts``, if another line
            is another label; ``contradiction``, if the explanation names another or takes the
            answer back; ``unreadable`` for everything else.
    """
    text = reply.text
    spoken = ANSWER_TAG.sub("", text[spoken_from(text) :])
    lines = [line for line in spoken.splitlines() if not _FENCE.fullmatch(line)]
    words = [_bare(line) for line in lines]
    chosen = {word for word in words if word in labels}
    if not chosen or not chosen & {words[0], words[-1]}:
        what = f"answer among {', '.join(labels)}"
        raise no_answer(text, what)
    if len(chosen) > 1:
        detail = f"more than one of {', '.join(labels)}: {quoted_end(spoken)}"
        raise UnjudgedError("two_verdicts", detail, reply=text)
    if reply.cut:
        raise cut_short(text)
    label = chosen.pop()
    if words[-1] != label:
        rest = "\n".join(lines[1:])
        known = {word: word for word in labels} | dict(names or {})
        check_explanation(text, rest, label, known)
    return ChosenLabel(label, _probs(reply.tokens, label, labels))


def _probs(
    tokens: Sequence[Token], label: str, labels: Sequence[str]
) -> Mapping[str, float] | None:
    """Return each label's share of the probability at the first token that says something."""
    token = next((token for token in tokens if token.text.strip(_BEFORE + _AFTER)), None)
    if token is None or _bare(token.text) != label:
        return None  # a word of several tokens, or a thought before it: no single place to look at
    mass = dict.fromkeys(labels, 0.0)
    for text, probability in token.alternatives.items():
        if (spelled := _bare(text)) in mass:
            mass[spelled] += probability
    if not mass[label]:
        return None
    total = sum(mass.values())
    return {name: share / total for name, share in mass.items()}


def _bare(text: str) -> str:
    """Return a word without what stands around it: ``' "A".'`` and ``Ａ`` are ``a``."""
    plain = text.translate(_FULL_WIDTH).strip("\ufeff")
    return plain.lstrip(_BEFORE).rstrip(_AFTER).casefold()
