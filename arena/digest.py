"""Hash content; all of arena uses these functions."""

from __future__ import annotations

import hashlib
import json


def digest(*fields: str | bytes, size: int = 16) -> bytes:
    """Return ``size`` bytes of BLAKE2b over length-prefixed fields, so that fields never merge.

    Source: RFC 7693, https://doi.org/10.17487/RFC7693.
    """
    parts: list[bytes] = []  # one update, because this runs once per document
    for field in fields:
        # A lone surrogate is not valid UTF-8, but JSON can contain one, so it needs a hash too.
        data = field if isinstance(field, bytes) else field.encode("utf-8", "surrogatepass")
        parts += (len(data).to_bytes(8, "little"), data)
    return hashlib.blake2b(b"".join(parts), digest_size=size).digest()


def content_hash(*parts: object) -> str:
    """Return the hash of a JSON value as 32 hexadecimal digits."""
    return digest(json.dumps(parts, sort_keys=True)).hex()
