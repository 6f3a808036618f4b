"""Read an answer of one word: which of a few labels it is, and how likely each of them was.

The word that the judge wrote must be one of the labels; nothing is guessed from the others. The
probabilities are those of the labels' spellings at the place where that word stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from arena.errors import UnjudgedError
from arena.judging.ending import check_explanation, cut_short, no_answer, shown
from arena.judging.reply import ChatReply, Token
from arena.judging.thoughts import ANSWER_TAG, spoken_from

_BEFORE: Final = " \t\r\n\"'`*_([“‘«"
_AFTER: Final = " \t\r\n\"'`*_)].”’»"
"""What may stand around a word without changing it; a sign such as ``<`` or ``-`` changes it."""
_FENCE = re.compile(r"[\s`~]*+(?:(?:te?xt|json)\s*+)?")
_FULL_WIDTH: Final = {code + 0xFEE0: code for code in range(0x21, 0x7F)}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few labels."""

    label: str  #: what the judge wrote
    probs: Mapping[str, float] | None = None  #: label → probability, summing to 1; if known


def read_choice(
    reply: ChatReply, labels: Sequence[str], *, names: Mapping[str, str] | None = None
) -> Choice:
    """Which label a reply is.

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
    said = ANSWER_TAG.sub("", text[spoken_from(text) :])
    lines = [line for line in said.splitlines() if not _FENCE.fullmatch(line)]
    words = [_bare(line) for line in lines]
    found = {word for word in words if word in labels}
    if not found or not found & {words[0], words[-1]}:
        what = f"answer among {', '.join(labels)}"
        raise no_answer(text, what)
    if len(found) > 1:
        detail = f"more than one of {', '.join(labels)}: {shown(said)}"
        raise UnjudgedError("two_verdicts", detail, reply=text)
    if reply.cut:
        raise cut_short(text)
    label = found.pop()
    if words[-1] != label:
        rest = "\n".join(lines[1:])
        known = {word: word for word in labels} | dict(names or {})
        check_explanation(text, rest, label, known)
    return Choice(label, _probs(reply.tokens, label, labels))


def _probs(
    tokens: Sequence[Token], label: str, labels: Sequence[str]
) -> Mapping[str, float] | None:
    """Each label's share of the probability at the first token that says something."""
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
    """A word without what stands around it: ``' "A".'`` and ``Ａ`` are ``a``."""
    plain = text.translate(_FULL_WIDTH).strip("\ufeff")
    return plain.lstrip(_BEFORE).rstrip(_AFTER).casefold()
