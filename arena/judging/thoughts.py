"""Tell what a model says from what it thinks aloud before it says anything.

Models mark their thoughts with tags of many names, and some servers pass them on. What stands in
a thought is no answer, whatever it looks like, and a thought that never ends has none after it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from arena.errors import UnjudgedError

ANSWER_TAG: Final = re.compile(
    r"</?(?:final[_-]?)?(?:answer|output|response|result|verdict|grade|json)>|<final>|</final>",
    re.IGNORECASE,
)
"""Tags that some models put around the answer itself."""

_MARK = re.compile(
    # <name attributes>, </name>, and the same with the brackets of other makers.
    r"[<◁](?P<close>/?)(?P<name>[a-z][\w:.-]{0,63})(?:\s[^<>]{0,200})?/?[>▷]"
    r"|\[(?P<shut>/?)(?P<word>think(?:ing)?)\]"
    r"|<\|(?P<side>begin|start|end)(?:_of)?_(?P<part>\w{1,40})\|>",
    re.IGNORECASE,
)
_THINKS = re.compile(
    r"think|thought|reason|reflect|analy[sz]|scratch|monologue|draft|plan\b|deliberat|rumin|muse|cot\b"
)
_SAID = re.compile(r"response|solution|answer|text|turn|sentence")
"""What ``<|begin_of_...|>`` marks where it marks no thought."""
_CHANNEL: Final = "<|channel|>"
_MESSAGE = re.compile(
    r"<\|channel\|>\s{0,8}(\w*)[^<]{0,100}(?:<\|constrain\|>[^<]{0,100})?<\|message\|>"
)
_INDENT: Final = 8


def spoken_from(text: str, end: int | None = None) -> int:
    """Where a reply begins to be spoken aloud: behind its last thought.

    A tag of any name at the beginning of a line opens a thought, and so does a tag anywhere
    whose name says so; a closing tag without an opening one ends a thought that the server's
    template had opened. Tags within a line, such as ``<b>``, are part of what is said.

    Args:
        text: the reply.
        end: where to stop looking; at its end if absent.

    Raises:
        UnjudgedError: ``truncated``, if a thought is never closed.
    """
    end = len(text) if end is None else end
    begins, opened = 0, ""
    within: Counter[str] = Counter()  # tags open within a line, by name
    for mark in _MARK.finditer(text, 0, end):
        name, closes = _name(mark)
        if not name:
            continue
        if closes and opened in ("", name):
            if not opened and within[name]:
                within[name] -= 1
            else:
                begins, opened = mark.end(), ""
        elif not closes and not opened:
            if _THINKS.search(name) or _begins_a_line(text, mark.start(), begins):
                opened = name
            else:
                within[name] += 1
    channel = text.rfind(_CHANNEL, begins, end)
    if channel >= 0:
        message = _MESSAGE.match(text, channel, end)
        opened = "" if message and message[1] == "final" else "|channel|"
        begins = message.end() if message else begins
    if opened:
        detail = f"the reply ends within <{opened}>, which is never closed; give it more room"
        raise UnjudgedError("truncated", detail, reply=text)
    return begins


def _name(mark: re.Match[str]) -> tuple[str, bool]:
    """What a tag is called, empty if it is about the answer, and whether it closes."""
    if mark["part"]:
        part = mark["part"].casefold()
        return "" if _SAID.search(part) else part, mark["side"].casefold() == "end"
    if mark["word"]:
        return mark["word"].casefold(), bool(mark["shut"])
    is_answer = ANSWER_TAG.fullmatch(mark[0]) or mark[0] == "</s>"
    return "" if is_answer else mark["name"].casefold(), bool(mark["close"])


def _begins_a_line(text: str, place: int, begins: int) -> bool:
    before = text[max(begins, place - _INDENT) : place].rstrip(" \t")
    return not before or before.endswith(("\n", "\r"))
