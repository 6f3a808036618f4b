"""JSON as servers write it, which is not always JSON.

What was paid for is read even where a strict reader would refuse it: NaN and Infinity among the
numbers, half a surrogate or a byte that is no UTF-8 in a text.
"""

from __future__ import annotations

import json
from typing import Final

import orjson

_MOST_TOKENS: Final = 10**9
"""No request has more, whatever the endpoint says."""


def read_json(raw: bytes) -> object:
    """Read a body, or a line of a file; what is no JSON at all gives None.

    What cannot be encoded as UTF-8 is replaced, so that the result can be written down again.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        found = json.loads(raw.decode("utf-8", "replace"))
        whole = json.dumps(found, ensure_ascii=False).encode("utf-8", "replace")
        return json.loads(whole)
    except (ValueError, RecursionError):
        return None


def token_count(found: object) -> int | None:
    """A number of tokens that a reply reports; None for what no request can have."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return int(found) if 0 < found <= _MOST_TOKENS else None
