"""JSON as servers write it, which is not always JSON.

What was paid for is read even where a strict reader would refuse it: NaN and Infinity among the
numbers, half a surrogate or a byte that is no UTF-8 in a text.
"""

from __future__ import annotations

import json

import orjson


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
