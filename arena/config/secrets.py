"""Find keys and passwords in the wrong place: in an address, or in a field of a request.

arena compares the words of a field's name: ``?sig=`` is a secret and ``?design=`` is not. It also
recognises values that can only be keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

_SECRETS: Final = frozenset(
    {
        "token",
        "sig",
        "signature",
        "pass",
        "passphrase",
        "pwd",
        "pw",
        "auth",
        "authorization",
        "authentication",
        "oauth",
        "bearer",
        "credential",
        "cred",
        "creds",
        "sas",
        "jwt",
        "hmac",
    }
)
"""Words that name a secret at any position of a name."""
_ENDS: Final = ("key", "apitoken", "authtoken", "accesstoken", "secret", "password", "passwd")
"""Endings of such a word: ``apikey``, ``clientsecret``."""
_KINDS: Final = frozenset({"type", "version", "count", "length", "limit", "id", "mode", "word"})
"""Words after it that mean something other than the secret itself: ``token_count``."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
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
        if names_secret(name) or name.lower() == "code":
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


def names_secret(name: str) -> bool:
    """Return whether a name is that of a secret, such as ``subscription-key`` or ``authToken``."""
    words = [word.lower() for word in _WORD.findall(name)]
    return any(
        (word in _SECRETS or word.removesuffix("s").endswith(_ENDS))
        and not (words[place + 1 :] and words[place + 1] in _KINDS)
        for place, word in enumerate(words)
    )


def _texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for inner, item in value.items():
            yield from _texts(item, f"{name}.{inner}" if name else str(inner))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
