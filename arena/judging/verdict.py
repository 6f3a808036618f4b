"""Read the verdict in a judge's reply; strictly, and never by guessing.

The last verdict counts: a JSON object with a ``verdict``, or else a last line ``VERDICT: first``.
Letters and words elsewhere mean nothing, so a document quoted in the analysis has no vote.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast, get_args

from arena.errors import UnjudgedError
from arena.records import Side

_SIDES = get_args(Side)
_SIDE_WORD = re.compile(rf"\b({'|'.join(_SIDES)})\b")
_LAST_LINE = re.compile(r"^[\s*_#>`\"']*verdict[\s*_`\"']*[:：=](.*)$", re.IGNORECASE)
_ADORNMENT = " \t\r\n\"'`*_.“”‘’«»"
THOUGHT = re.compile(r"\A\s*(?:<think(?:ing)?>.*?|[^{]*?)</think(?:ing)?>", re.DOTALL)
_AFTERTHOUGHT = re.compile(rf"\bverdict\b.{{0,30}}?\b({'|'.join(_SIDES)})\b", re.IGNORECASE)
REFUSAL = re.compile(
    r"\A\W*(i['’]?m sorry|i am sorry|sorry[,.]|i apologi[sz]e|as an ai\b"
    r"|i (cannot|can['’]t|will not|won['’]t)|i( am|['’]m) (unable|not able))",
    re.IGNORECASE,
)
_LONGEST = 120


class _Pairs(dict[str, Any]):
    """A JSON object that remembers a verdict given more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.verdicts = [value for key, value in pairs if key.strip().casefold() == "verdict"]


_DECODER = json.JSONDecoder(object_pairs_hook=_Pairs, strict=False)


def read_verdict(reply: str) -> Side:
    """Which side a judge's reply names in its last verdict.

    Raises:
        UnjudgedError: ``empty``; ``refusal``; ``two_verdicts``, if the last verdict names more
            than one side; ``unreadable`` for everything else that is not exactly one of
            first, second and tie.
    """
    said = THOUGHT.sub("", reply).strip()
    if not said:
        raise UnjudgedError("empty", "the judge wrote nothing", reply=reply)
    line = _last_line(said)
    given = _last_objects(said) + ([] if line is None else [line])
    if not given:
        if REFUSAL.match(said):
            raise UnjudgedError("refusal", f"the judge refused: {shown(said)}", reply=reply)
        detail = f"no verdict at the end of {shown(said)}"
        raise UnjudgedError("unreadable", detail, reply=reply)
    sides = {_side(value, reply) for value in given}
    if len(sides) > 1:
        detail = f"two verdicts: {' and '.join(sorted(sides))}"
        raise UnjudgedError("two_verdicts", detail, reply=reply)
    return sides.pop()


def _last_objects(said: str) -> list[Any]:
    """What the last JSON object with a verdict says, and objects right before it, if any.

    Objects inside objects do not count, and nothing does inside a broken one: whatever is
    there may be quoted from a document.
    """
    verdicts: list[Any] = []
    end = position = unclosed = 0
    while (brace := said.find("{", position)) >= 0:
        unclosed = max(0, unclosed - said.count("}", position, brace))
        try:
            value, position = _DECODER.raw_decode(said, brace)
        except (json.JSONDecodeError, RecursionError):
            unclosed += 1
            position = brace + 1
            continue
        if value.verdicts and not unclosed:
            adjacent = not said[end:brace].strip(" \t\r\n,;[]")
            verdicts = (verdicts if adjacent else []) + value.verdicts
            end = position
    unclosed -= said.count("}", position)
    later = _AFTERTHOUGHT.search(said, end) and _last_line(said) is None
    return [] if unclosed or later else verdicts


def _last_line(said: str) -> str | None:
    """What follows ``VERDICT:`` on the last line; None where that line is another."""
    match = _LAST_LINE.match(said.rstrip("` \t\r\n").rpartition("\n")[2])
    return match[1] if match else None


def _side(value: object, reply: str) -> Side:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    side = text.strip(_ADORNMENT).casefold()
    if side in _SIDES:
        return cast("Side", side)
    if len(set(_SIDE_WORD.findall(text.casefold()))) > 1:
        detail = f"more than one side: {shown(text)}"
        raise UnjudgedError("two_verdicts", detail, reply=reply)
    detail = f"neither first nor second nor tie: {shown(text)}"
    raise UnjudgedError("unreadable", detail, reply=reply)


def shown(text: str) -> str:
    """The end of a foreign text, quoted, fit for one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return repr(line if len(line) <= _LONGEST else "…" + line[-_LONGEST + 1 :])
