"""The words by which logs from any tool tell a winner: a side, a relation, a short sentence."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

Outcome: TypeAlias = Literal["first", "second", "tie"]

_SIDES: Final[dict[str, Outcome]] = {
    **dict.fromkeys(("a", "left", "first", "white", "home"), "first"),
    **dict.fromkeys(("b", "right", "second", "black", "away"), "second"),
}
_RARE: Final = re.compile(r"white|black|home|away|.*[0-9+].*", re.IGNORECASE)
_NUMBERED: Final[dict[str, Outcome]] = {"1": "first", "2": "second"}
"""Sides if a noun is beside them: a number alone may count from 0."""

_NOUNS: Final = frozenset(
    ("model", "assistant", "response", "answer", "output", "option", "system", "agent")
)
_TIES: Final = frozenset(
    ("tie", "tied", "draw", "drawn", "equal", "equally", "both", "neither", "same")
)
_VERBS: Final = frozenset(("win", "wins", "won", "better", "best", "preferred", "vote"))
_ADVERBS: Final = frozenset(
    ("is", "are", "was", "the", "much", "far", "slightly", "significantly", "clearly", "somewhat")
)
_OF_TIES: Final = frozenset(("good", "bad", "inconsistent", "vote"))
"""Words beside a tie that change nothing; without one they do not tell who won."""

_RESULTS: Final[dict[str, Outcome]] = {
    "1-0": "first",
    "0-1": "second",
    **dict.fromkeys(("1/2-1/2", "½-½", "0.5-0.5"), "tie"),
}
"""Of a game of chess."""

_RELATION: Final = re.compile(r"([ab])(<{1,3}|>{1,3}|={1,3}|[≈~≃])([ab])")
_GRADED: Final = re.compile(r"([ab])\+{1,3}")
_GLUED: Final = re.compile(
    rf"(?:({'|'.join(_NOUNS)})(a|b|1|2)|(left|right|a|b))(wins|vote)?|(tie)?(both)?(bad|good)?(vote)?"
)
_BETWEEN: Final = re.compile(r"[\s_()\[\]]+|(?<=\w)-(?=\w)")


def squeezed(text: str) -> str:
    """Return a winner in lower case, without blanks and brackets."""
    return _BETWEEN.sub("", text.strip().lower())


def outcome_of(text: str) -> Outcome | None:
    """Return the side that a winner's words name, or a tie; None for any other words.

    A sentence has known words alone, and names one side: "model A is slightly better" does,
    "A is not better" and "B is better than A" do not.
    """
    words = text.strip().lower()
    if words in _RESULTS:
        return _RESULTS[words]
    bare = re.sub(r"[\s\[\]]+", "", words)
    if relation := _RELATION.fullmatch(bare):
        left, sign, right = relation.groups()
        if left == right:
            return None
        return "tie" if sign[0] not in "<>" else _SIDES[left if sign[0] == ">" else right]
    if graded := _GRADED.fullmatch(bare):
        return _SIDES[graded[1]]
    tokens = _tokens(words)
    sides = _SIDES | _NUMBERED if tokens & _NOUNS else _SIDES
    named, ties = {sides[token] for token in tokens & sides.keys()}, tokens & _TIES
    rest = tokens - sides.keys() - _NOUNS - _ADVERBS - _TIES
    if ties and not named and rest <= _OF_TIES:
        return "tie"
    return named.pop() if len(named) == 1 and not ties and rest <= _VERBS else None


def is_common(text: str) -> bool:
    """Return whether words for a side or a tie are so common that no name of a model hides them."""
    return _RARE.fullmatch(text) is None


def is_vote(text: str) -> bool:
    """Return whether words cannot but tell a winner, such as ``leftvote`` and ``A wins``."""
    return outcome_of(text) is not None and bool(_tokens(text.strip().lower()) & _VERBS)


def _tokens(words: str) -> set[str]:
    """Return the words of a text: ``assistantb`` is two, and so is ``leftvote``."""
    tokens = set[str]()
    for token in filter(None, _BETWEEN.split(words)):
        glued = _GLUED.fullmatch(token)
        tokens |= {part for part in glued.groups() if part} if glued else {token}
    return tokens
