"""Find the answer in a reply, and check the text around it.

One rule for every reader: the answer ends the reply. What the judge quotes, tries or thinks before
the answer has no effect, unless the answer is inside it. Only markup and a courtesy may follow;
other text may retract the answer, or show that it was a quotation.

Every function reads a text once, or backwards once, also a hostile one.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from arena.errors import UnjudgedError
from arena.terminal import flat

_CANNOT = (
    r"i(?:['’]m| am)? (?:cannot|can['’]?t|can not|could not|will not|won['’]t|refuse|decline"
    r"|(?:am )?(?:unable|not able|not allowed)|(?:do not|don['’]t) (?:know|think i can))"
)

REFUSAL: Final = re.compile(
    rf"\A\W*+(?:i['’]?m sorry|i am sorry|sorry[,.]|i apologi[sz]e|as an ai\b|{_CANNOT})",
    re.IGNORECASE,
)
"""A reply that begins like this refuses, unless it has an answer."""

_REFUSES = re.compile(rf"\b{_CANNOT}|\b(?:cannot|can['’]?t|can not) be\b", re.IGNORECASE)
_LONGEST: Final = 120
_HOLLOW: Final = " \t\r\n\"'`*_~."
"""What says nothing by itself."""

_BLANK = r"\s,;\[\]`~*_\ufeff\u200b-\u200d\u2060"
_GAP = re.compile(rf"(?:(?:`{{3}}|~{{3}})(?:json\w?|te?xt)?|[{_BLANK}])*+", re.IGNORECASE)

ANSWER_TAG: Final = re.compile(
    r"</?(?:final[_-]?)?(?:answer|output|response|result|verdict|grade|json)>|<final>|</final>",
    re.IGNORECASE,
)
"""Tags that some models put around the answer itself."""

_MARKUP = re.compile(
    rf"(?:[{_BLANK}.)\"'”’=–—-]|</s>|<end_of_turn>"
    rf"|<[|｜](?!\w*(?:think|thought|channel|start|message))[\w▁]{{1,40}}[|｜]>|{ANSWER_TAG.pattern})*+",
    re.IGNORECASE,
)

_COURTESY = re.compile(
    r"(?:(?:that|this)(?:['’]s| is) (?:all|it|my (?:verdict|answer|analysis|judge?ment|decision))"
    r"|(?:i )?hope (?:this|that|it) helps(?: you)?"
    r"|thank(?:s|s? you)(?: for \w+)?"
    r"|(?:please )?let me know if you (?:have|need|want) (?:any(?:thing)?|more)\b[\w ]{0,40}"
    r"|(?:(?:best|kind) )?regards|done|end of (?:the |my )?(?:analysis|answer|reply))",
    re.IGNORECASE,
)

_TAKES_BACK = re.compile(
    r"\b(?:wait|hmm+|oops|actually|on (?:second|reflection|closer|further)|in hindsight"
    r"|correction|correct(?:ed|ing)|instead|rather|wrong|incorrect|mistake\w*|erroneous"
    r"|(?:scratch|strike) that|tak(?:e|ing) (?:\w+ )?back|retract\w*"
    r"|withdraw\w*|revis(?:e|ed|ing|ion)|reconsider\w*"
    r"|re-?think\w*|disregard\w*|ignor(?:e|ing) (?:that|this|the above|it)|never ?mind"
    r"|chang(?:e|ed|ing) my|i mean|i meant|sorry|apologi\w+|unsure|uncertain|undecided"
    r"|not (?:so )?(?:sure|certain|right|correct|true|what)|unable|should (?:have )?be(?:en)?"
    r"|higher|lower|make (?:that|it)|neither|none|in(?:struct|ject|fluence|jection)\w*"
    r"|manipulat\w*|trick\w*|attempt\w*|quot(?:e|ed|ing|ation)|edit|update|final|moment mal"
    r"|nein|falsch|korrektur|korrigier\w*|erreur|faux|attendez|rectif\w+|espera|incorrecto"
    r"|correcci[oó]n|corre[cç][aã]o|correzione|sbagliat\w*|aspetta|errado|fout|wacht)\b"
    r"|(?:\A|[.!?\n])\s*+(?:no|not)\b",
    re.IGNORECASE,
)

_NEGATES = re.compile(r"\b(?:not|no|never|nor|hardly)\b|n['’]t\b|\?", re.IGNORECASE)

_RESTATES = re.compile(
    r"\b(?:grade|score|rating|verdict|answer|choice)\b[\s*_]*+(?:is\b|[:=])[\s*_\"'`(]*+([^\W_]+)",
    re.IGNORECASE,
)

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)?")
_LAST_LATIN: Final = "\u024f"
_SENTENCE_END = re.compile(r"[.!\n]+")
_SIGNS = re.compile(r'["{}]')
_BRACES = re.compile(r'\\.|["{}]', re.DOTALL)
_OBJECT_OPENS = re.compile(r'\{\s*+"')


class Pairs(dict[str, Any]):
    """A JSON object that remembers all values of a name that it holds more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def values_of(self, name: str) -> list[Any]:
        """Return all values under a name, in upper or lower case."""
        return [value for key, value in self._pairs if key.strip().casefold() == name]


_DECODER = json.JSONDecoder(object_pairs_hook=Pairs, strict=False)


@dataclass(frozen=True, slots=True)
class Span:
    """Where something is in a reply."""

    start: int
    end: int


class Objects:
    """The JSON objects of a text, found from its end.

    Objects inside objects are not found, and nothing inside a broken one is.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._signs = [sign.start() for sign in _SIGNS.finditer(text)]

    def before(self, end: int) -> tuple[Span, Pairs] | None:
        """Return the object that ends there, markup aside; each call goes on from the last."""
        text, signs = self._text, self._signs
        while signs and signs[-1] >= end:
            signs.pop()
        if not signs or text[signs[-1]] != "}" or not is_gap(text, signs[-1] + 1, end):
            return None
        stop = signs[-1] + 1
        start = _opening(text, signs)
        if start is None:
            return None
        try:
            found, read = _DECODER.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            return None
        return (Span(start, stop), found) if read == stop else None


def is_gap(text: str, start: int, end: int) -> bool:
    """Return whether there is nothing but markup between two places."""
    return bool(_GAP.fullmatch(text, start, end))


def check_before(text: str, span: Span, *, answer: str) -> int:
    """Check that an answer is not a thought, and no part of a broken JSON object.

    Args:
        text: the reply.
        span: of the answer.
        answer: what the message calls it, such as ``verdict``.

    Returns:
        Where the reply begins to be spoken.

    Raises:
        UnjudgedError: as `no_answer`.
    """
    try:
        spoken = spoken_from(text, span.start)
    except UnjudgedError:  # inside a thought, which may end later
        raise no_answer(text, answer) from None
    if _is_inside_braces(text, spoken, span.start):
        raise no_answer(text, answer)
    return spoken


def check_after(text: str, end: int, *, answer: str) -> None:
    """Check that nothing but a courtesy follows an answer.

    Args:
        text: the reply.
        end: of the answer.
        answer: what the message calls it, such as ``verdict``.

    Raises:
        UnjudgedError: ``refusal`` or ``contradiction``.
    """
    start = after_markup(text, end)
    if start == len(text):
        return
    tail = text[start:]
    if _REFUSES.search(tail):
        raise UnjudgedError("refusal", f"the judge refused: {quoted_end(tail)}", reply=text)
    if len(tail) <= 2 * _LONGEST and all(
        _COURTESY.fullmatch(sentence.strip(" \t\r-–—*_`"))
        for sentence in _SENTENCE_END.split(tail[: _end_of_words(tail)])
        if sentence.strip()
    ):
        return
    detail = f"more is said after the {answer}, which must end the reply: {quoted_end(tail)}"
    raise UnjudgedError("contradiction", detail, reply=text)


def check_explanation(text: str, explanation: str, label: str, names: Mapping[str, str]) -> None:
    """Check that the text after a label on the first line agrees with it.

    Args:
        text: the whole reply.
        explanation: what follows the label.
        label: the answer.
        names: every word for a label → that label.

    Raises:
        UnjudgedError: ``refusal``; ``contradiction``, if it names another label, takes the
            answer back, or is in a script in which nobody here could tell.
    """
    if _REFUSES.search(explanation):
        raise UnjudgedError("refusal", f"the judge refused: {quoted_end(explanation)}", reply=text)
    named = _labels_in(explanation, names)
    restated = {word.casefold() for word in _RESTATES.findall(explanation)}
    if (
        named - {label}
        or (label in named and _NEGATES.search(explanation))
        or any(names.get(word) != label for word in restated)
        or _TAKES_BACK.search(explanation)
        or any(character > _LAST_LATIN and character.isalpha() for character in explanation)
    ):
        detail = f"what follows the answer {label} may take it back: {quoted_end(explanation)}"
        raise UnjudgedError("contradiction", detail, reply=text)


def after_markup(text: str, start: int) -> int:
    """Return the first word at or after a place: fences, stops and end marks are skipped."""
    found = _MARKUP.match(text, start)
    return found.end() if found else start


def no_answer(text: str, answer: str) -> UnjudgedError:
    """Return why a reply without an answer is a failure: ``empty``, ``refusal`` or ``unreadable``.

    Raises:
        UnjudgedError: ``truncated``, if a thought is never closed.
    """
    spoken = text[spoken_from(text) :]
    if not spoken.strip(_HOLLOW):
        thought = ", only thoughts" if text.strip() else ""
        return UnjudgedError("empty", f"the model wrote nothing{thought}", reply=text)
    if REFUSAL.match(spoken):
        return UnjudgedError("refusal", f"the judge refused: {quoted_end(spoken)}", reply=text)
    return UnjudgedError(
        "unreadable", f"no {answer} at the end of {quoted_end(spoken)}", reply=text
    )


def cut_short(text: str) -> UnjudgedError:
    """Return the failure of a reply that might have gone on after its apparent answer."""
    detail = f"the reply was cut after {quoted_end(text)}"
    return UnjudgedError("truncated", detail, reply=text)


def quoted_end(text: str) -> str:
    """Return the end of a foreign text, quoted, for a one-line message."""
    line = flat(text)
    return repr(line if len(line) <= _LONGEST else "…" + line[-_LONGEST + 1 :])


def _opening(text: str, positions: list[int]) -> int | None:
    """Return the brace that opens what the last sign closes, and drop the signs between."""
    depth, quoted = 0, False
    while positions:
        position = positions.pop()
        if text[position] == '"':
            quoted ^= not _is_escaped(text, position)
        elif not quoted:
            depth += 1 if text[position] == "}" else -1
            if not depth:
                return position
    return None


def _is_escaped(text: str, place: int) -> bool:
    first = place
    while first and text[first - 1] == "\\":
        first -= 1
    return (place - first) % 2 == 1


def _is_inside_braces(text: str, start: int, end: int) -> bool:
    """Return whether a brace is open at the end; within JSON, braces in strings are text."""
    depth, is_json, quoted = 0, False, False
    for match in _BRACES.finditer(text, start, end):
        sign = match[0]
        if sign == '"':
            quoted = is_json and depth > 0 and not quoted
        elif quoted or len(sign) > 1:
            continue
        elif sign == "{":
            is_json = is_json if depth else bool(_OBJECT_OPENS.match(text, match.start(), end))
            depth += 1
        else:
            depth = max(0, depth - 1)
    return depth > 0


def _labels_in(text: str, names: Mapping[str, str]) -> set[str]:
    """Return the labels that a text names; a number in their range that is no label counts, too."""
    highest = max((int(name) for name in names if name.isdecimal()), default=-1)
    labels: set[str] = set()
    for word in _WORD.findall(text):
        if word[0].isdecimal():
            if word in names or (len(word) < 8 and _number(word) <= highest):
                labels.add(names.get(word, word))
        elif len(word) > 1 or word.isupper():  # "a" is a word, "A" an answer
            labels |= {names[word.casefold()]} if word.casefold() in names else set()
    return labels


def _number(word: str) -> float:
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return math.inf


def _end_of_words(text: str) -> int:
    """Return where trailing markup begins."""
    end = len(text.rstrip())
    while end and (cut := text.rfind("<", 0, end)) >= 0 and _MARKUP.fullmatch(text, cut):
        end = len(text[:cut].rstrip())
    return end


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
    """Return where the answer text of a reply begins: after its last thought.

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
    """Return what a tag is called, empty if it is about the answer, and whether it closes."""
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
