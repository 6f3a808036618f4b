"""Address the vectors of a model in one role: by a hash of all settings that could change them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson

from arena.files import safe_filename
from arena.records import Role


def name_and_address(settings: Mapping[str, object], role: Role) -> tuple[str, dict[str, object]]:
    """Return a file name for a model's vectors in one role, and what it is a hash of.

    The settings of the other role play no part.
    """
    other = "document_" if role == "query" else "query_"
    of_role = {key: value for key, value in settings.items() if not key.startswith(other)}
    raw = orjson.dumps({"role": role, "settings": of_role}, option=orjson.OPT_SORT_KEYS)
    model = safe_filename(str(of_role.get("model", of_role.get("provider", "model"))))[-48:]
    name = f"{model}-{role}-{hashlib.blake2b(raw, digest_size=8).hexdigest()}"
    return name, orjson.loads(raw)
