"""Read an answer of one word: which of a few labels it is, and how likely each of them was.

The word that the judge wrote must be one of the labels; nothing is guessed from the others. The
probabilities are those of the labels' spellings at the place where that word stands.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arena.errors import UnjudgedError
from arena.judging.reply import ADORNMENT, ChatReply, Token
from arena.judging.verdict import REFUSAL, THOUGHT, shown


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few labels."""

    label: str  #: what the judge wrote
    probs: Mapping[str, float] | None = None  #: label → probability, summing to 1; if known


def read_choice(reply: ChatReply, labels: Sequence[str]) -> Choice:
    """Which label a reply is.

    Args:
        reply: what the judge wrote.
        labels: in lower case; the first line of the reply must be one of them, in any case,
            whatever quotation marks, stars or stops stand around it.

    Raises:
        UnjudgedError: ``empty``; ``refusal``; ``two_verdicts``, if another line is another
            label; ``unreadable`` for everything else.
    """
    said = THOUGHT.sub("", reply.text).strip()
    if not said.strip(ADORNMENT):
        raise UnjudgedError("empty", "the judge wrote nothing", reply=reply.text)
    first, *others = (_bare(line) for line in said.splitlines() if line.strip(ADORNMENT))
    if first not in labels:
        reason = "refusal" if REFUSAL.match(said) else "unreadable"
        detail = f"none of {', '.join(labels)}: {shown(said)}"
        raise UnjudgedError(reason, detail, reply=reply.text)
    if any(line in labels and line != first for line in others):
        detail = f"more than one of {', '.join(labels)}: {shown(said)}"
        raise UnjudgedError("two_verdicts", detail, reply=reply.text)
    return Choice(first, _probs(reply.tokens, first, labels))


def _probs(
    tokens: Sequence[Token], label: str, labels: Sequence[str]
) -> Mapping[str, float] | None:
    """Each label's share of the probability at the first token that says something."""
    token = next((token for token in tokens if token.text.strip(ADORNMENT)), None)
    if token is None or _bare(token.text) != label:
        return None  # a word of several tokens, or a thought before it: no single place to look at
    mass = dict.fromkeys(labels, 0.0)
    for text, probability in token.alternatives.items():
        if (spelled := _bare(text)) in mass:
            mass[spelled] += probability
    total = sum(mass.values())
    return {name: share / total for name, share in mass.items()} if total > 0 else None


def _bare(text: str) -> str:
    """A word without what stands around it: ``' "A".'`` and ``Ａ`` are ``a``."""
    return unicodedata.normalize("NFKC", text).strip(ADORNMENT).casefold()
