"""Read the verdict in a judge's reply; strictly, and never by guessing.

The verdict ends the reply: a JSON object with a ``verdict``, or a line ``VERDICT: first``.
Letters and words elsewhere mean nothing, so a document quoted in the analysis has no vote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast, get_args

from arena.errors import UnjudgedError
from arena.judging.final_answer import (
    Objects,
    Span,
    check_after,
    check_before,
    cut_short,
    is_gap,
    no_answer,
    quoted_end,
)
from arena.records import Side

_SIDES = get_args(Side)
_SIDE_WORD = re.compile(rf"\b({'|'.join(_SIDES)})\b")
_LINE = re.compile(
    r"^[ \t*_#`\"']*+verdict[ \t*_`\"']*+[:：=](.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_ADORNMENT = " \t\r\n\"'`*_.“”‘’«»"


def read_verdict(reply: str, *, cut: bool = False) -> Side:
    """Return which side a judge's reply names in the verdict that ends it.

    Args:
        reply: what the judge wrote.
        cut: it was cut off, so that only an object that is the whole reply is complete.

    Raises:
        UnjudgedError: ``empty``; ``refusal``; ``truncated``; ``two_verdicts``, if the verdict
            names more than one side, or stands right behind another; ``contradiction``, if more
            is said after it; ``unreadable`` for everything else that is not exactly one of
            first, second and tie.
    """
    verdicts = list(_given(reply))
    if not verdicts or not verdicts[0][1]:
        raise no_answer(reply, "verdict")
    place = verdicts[0][0]
    spoken = check_before(reply, place, answer="verdict")
    check_after(reply, place.end, answer="verdict")
    if cut and not (reply[place.start] == "{" and is_gap(reply, spoken, place.start)):
        raise cut_short(reply)
    sides = {_side(value, reply) for _, values in verdicts for value in values}
    if len(sides) > 1:
        detail = f"two verdicts: {' and '.join(sorted(sides))}"
        raise UnjudgedError("two_verdicts", detail, reply=reply)
    return sides.pop()


def _given(reply: str) -> Iterator[tuple[Span, list[Any]]]:
    """Yield what the last object or line says, and those right before it, last first."""
    objects, lines = Objects(reply), list(_LINE.finditer(reply))
    end = max(reply.rfind("}") + 1, lines[-1].end() if lines else 0)
    while True:
        while lines and lines[-1].start() >= end:
            lines.pop()
        if lines and is_gap(reply, lines[-1].end(), end):
            line = lines.pop()
            span, values = Span(line.start(), line.end()), [line[1]]
        elif found := objects.before(end):
            span, values = found[0], found[1].values_of("verdict")
        else:
            return
        yield span, values
        end = span.start


def _side(value: object, reply: str) -> Side:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    side = text.strip(_ADORNMENT).casefold()
    if side in _SIDES:
        return cast("Side", side)
    if len(set(_SIDE_WORD.findall(text.casefold()))) > 1:
        detail = f"more than one side: {quoted_end(text)}"
        raise UnjudgedError("two_verdicts", detail, reply=reply)
    detail = f"neither first nor second nor tie: {quoted_end(text)}"
    raise UnjudgedError("unreadable", detail, reply=reply)
