"""JSON as others write it: whole numbers of any length, half characters, NaN."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

import orjson

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
"""What may be a whole number beyond 64 bits, which orjson would round."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a character beyond the first 65,536, whose other half is missing."""

_MOST_DIGITS: Final = 4000
"""Python converts no more digits than about these."""


class Parsed(NamedTuple):
    """What a text holds."""

    value: Any
    n_mended: int  #: strings with half a character, and numbers that JSON does not know


def parse_json(raw: bytes) -> Parsed:
    """Parse JSON; every whole number stays exact, one of thousands of digits as a string.

    What strict JSON forbids and others write all the same is mended: half a character becomes
    U+FFFD, and NaN and Infinity, with which tables write empty cells, become "".

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
    mended: list[str] = []

    def empty(constant: str) -> str:
        mended.append(constant)
        return ""

    try:
        value = json.loads(
            raw.decode("utf-8"),
            parse_int=lambda digits: int(digits) if len(digits) < _MOST_DIGITS else digits,
            parse_constant=empty,
        )
        return Parsed(_whole(value, mended), len(mended))
    except (ValueError, RecursionError):
        if failure is None:
            return Parsed(value, 0)
        raise failure from None


def _whole(value: Any, mended: list[str]) -> Any:
    """The same with U+FFFD for each half of a character."""
    if isinstance(value, str):
        if not _HALF.search(value):
            return value
        mended.append(value)
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(each, mended) for each in value]
    if isinstance(value, dict):
        return {_whole(key, mended): _whole(each, mended) for key, each in value.items()}
    return value
