"""The one way in which arena names content by its hash."""

from __future__ import annotations

import hashlib
import json


def digest(*fields: str | bytes, size: int = 16) -> bytes:
    """``size`` bytes of BLAKE2b over length-prefixed fields: no two lists of fields run together.

    Source: RFC 7693, https://doi.org/10.17487/RFC7693.
    """
    parts: list[bytes] = []  # hashed at once: there are as many calls as documents
    for field in fields:
        # A lone surrogate is no valid UTF-8, but JSON can bring one, and it must have a hash too.
        data = field if isinstance(field, bytes) else field.encode("utf-8", "surrogatepass")
        parts += (len(data).to_bytes(8, "little"), data)
    return hashlib.blake2b(b"".join(parts), digest_size=size).digest()


def content_hash(*parts: object) -> str:
    """Hash of anything that JSON can hold, as 32 hexadecimal digits."""
    return digest(json.dumps(parts, sort_keys=True)).hex()
