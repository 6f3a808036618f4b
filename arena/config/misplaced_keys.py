"""Find keys and passwords in the wrong place: in an address, or in a field of a request.

The name of a field tells, and a value that can only be a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

from arena.redaction import names_secret

_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[\w-]{16}|AKIA[A-Z0-9]{16}|AIza[\w-]{30}|eyJ[\w-]{20}"
    r"|(?:pk|rk|gsk|xai|hf|gh[a-z]|pat|jina|pa|nvapi|fw|r8)[-_][A-Za-z0-9]{20})",
    re.ASCII,
)
"""Beginnings of keys that identify themselves."""
_RANDOM: Final = re.compile(
    r"(?<![A-Za-z0-9])(?=[0-9A-Z]*[a-z])(?=[0-9a-z]*[A-Z])(?=[A-Za-z]*[0-9])[A-Za-z0-9]{24}"
    r"|(?<![A-Za-z0-9])[0-9a-fA-F]{32}(?![A-Za-z0-9])"
)
"""Minimum length of a word that looks like a random key."""
_SHORTEST: Final = 8
"""A shorter value in a field of a request is a setting, such as ``pad_token = "<s>"``."""


def secret_in_address(url: str) -> str | None:
    """Return a description of the secret in an address; None without a secret.

    Raises:
        ValueError: it is no address.
    """
    if _KEY.search(unquote_plus(url)):
        return "a key"
    parts = urlsplit(url)
    for part in re.split("[&;]", f"{parts.query}&{parts.fragment}"):
        name, _, value = part.partition("=")
        name, value = unquote_plus(name), unquote_plus(value)
        if _RANDOM.search(name):
            return "a key"
        if names_secret(name):
            return f"a {name}"
        if _RANDOM.search(value):
            return f"a value that looks like a key, as {name},"
    return None


def secret_field(fields: Mapping[str, Any]) -> str | None:
    """Return the name of a field, at any depth, that holds a secret; None without one."""
    for name, value in _texts(fields):
        if _KEY.search(value) or (len(value) >= _SHORTEST and names_secret(name)):
            return name
    return None


def _texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for inner, item in value.items():
            yield from _texts(item, f"{name}.{inner}" if name else str(inner))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
