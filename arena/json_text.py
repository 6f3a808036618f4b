"""JSON as others write it, in files and in the bodies of servers.

Strict readers refuse or round whole numbers of any length, half characters and NaN. arena reads
them: a log is not lost for one cell, and a reply that was paid for is read too.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import orjson

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
"""What may be a whole number beyond 64 bits, which orjson would round."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character beyond the first 65,536, whose other half is missing."""

_MOST_DIGITS: Final = 4000
"""Python converts no more digits than about these."""

_MOST_TOKENS: Final = 10**9
"""No request has more tokens; a server that reports more is wrong."""


class Parsed(NamedTuple):
    """What a text holds."""

    value: Any
    n_repaired: int  #: strings with half a character, and numbers that JSON does not know


def _empty(_: str) -> str:
    return ""


def parse_json(raw: bytes, constant: Callable[[str], Any] = _empty) -> Parsed:
    """Parse JSON; every whole number stays exact, one of thousands of digits as a string.

    Strict JSON forbids half a character, which becomes U+FFFD, and NaN and Infinity.

    Args:
        raw: UTF-8.
        constant: gives the value of NaN, Infinity and -Infinity; "" by default, since tables
            write empty cells so.

    Raises:
        orjson.JSONDecodeError: it is no JSON.
    """
    failure: orjson.JSONDecodeError | None = None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        failure = error
    if failure is None and not _LONG_NUMBER.search(raw):
        return Parsed(value, 0)
    repaired: list[str] = []

    def replaced(name: str) -> Any:
        repaired.append(name)
        return constant(name)

    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_int=lambda digits: int(digits) if len(digits) < _MOST_DIGITS else digits,
            parse_constant=replaced,
        )
        return Parsed(_whole(value, repaired), len(repaired))
    except (ValueError, RecursionError):
        if failure is None:
            return Parsed(value, 0)
        raise failure from None
    finally:
        failure = None  # its traceback holds this frame: in a circle both would outlive the caller


def read_json(raw: bytes) -> object:
    """Return what a server's body, or a line of its file, holds; None for what is no JSON.

    Bytes that are no UTF-8 become U+FFFD, so that the result can be written down again. NaN and
    Infinity stay numbers.
    """
    raw = raw.removeprefix(codecs.BOM_UTF8)  # some gateways write one
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        return parse_json(raw.decode("utf-8", "replace").encode(), float).value
    except orjson.JSONDecodeError:
        return None


def token_count(value: object) -> int | None:
    """Return a number of tokens that a reply reports; None for what no request can have."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 < value <= _MOST_TOKENS else None


def _whole(value: Any, repaired: list[str]) -> Any:
    """Return the value with U+FFFD for each half of a character."""
    if isinstance(value, str):
        if not _HALF.search(value):
            return value
        repaired.append(value)
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(each, repaired) for each in value]
    if isinstance(value, dict):
        return {_whole(key, repaired): _whole(each, repaired) for key, each in value.items()}
    return value
