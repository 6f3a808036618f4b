"""Know the secrets of this process, and redact them in foreign text, JSON and tracebacks.

An endpoint that echoes a key may quote, escape, encode or split it. So arena compares a text
without its separators and with its escapes undone. It does both only if the text may contain a
secret, so that an ordinary reply costs a few microseconds.
"""

from __future__ import annotations

import base64
import html
import os
import re
import string
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import quote

BLANK: Final = "[key]"
"""The replacement of a secret."""

_SHORTEST: Final = 8
"""A shorter "key" is a placeholder such as EMPTY; redacting it would damage ordinary text."""

_LONG: Final = 20
"""Number of characters that ordinary text never shares by chance, even without separators."""

_LEVELS: Final = 3
"""Maximum number of nested escapes."""

_DEPTH: Final = 100
"""Maximum nesting of a JSON value."""

_ALNUM: Final = (string.ascii_letters + string.digits).encode()
_SEPARATORS: Final = bytes(set(range(256)) - set(_ALNUM))

_ESCAPE: Final = re.compile(
    r"\\u00([2-7][0-9a-f])|\\x([2-7][0-9a-f])|%([2-7][0-9a-f])|&#x0{0,4}([2-7][0-9a-f]);"
    r"|&#0{0,4}([0-9]{2,3});",
    re.IGNORECASE,
)
"""Escapes of a printable ASCII character in JSON, programs, addresses and HTML."""

_ESCAPED: Final = re.compile(rb"\\u00[2-7]|%[2-7][0-9a-fA-F]")
"""The same escapes in bytes, except those with their own fast search."""

_LINE_ENDS: Final = (b"\\n", b"\\r", b"\\t")
"""White space whose JSON escapes are letters."""

_SECRET_WORD: Final = re.compile(
    r"pass|passphrase|passcode|pwd|pw|pin|sig|signature|auth|authorization|authentication|oauth"
    r"|creds?|sas|jwt|hmac|.*(keys?|token)"
    r"|.*(secret|password|passwd|credential|cookie|bearer|apikey|(api|auth|access)token).*"
)
"""Words that name a secret at any position of a name; most ``tokens`` are units of text."""

_KINDS: Final = frozenset({"type", "version", "count", "length", "limit", "mode", "word", "env"})
"""Words after it that mean something other than the secret itself: ``token_count``."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


Json = TypeVar("Json")


@dataclass(slots=True)
class _Secrets:
    """All secrets of the process, in the spellings that arena searches for."""

    whole: set[str] = field(default_factory=set)  #: as they are
    whole_bytes: set[bytes] = field(default_factory=set)
    split: set[bytes] = field(default_factory=set)  #: letters and digits alone
    pattern: re.Pattern[str] | None = None  #: any of them; None if there is none

    def add(self, secret: str) -> None:
        letters = _letters(secret)
        tellable = re.search(r"\d", secret) and len(letters) >= _SHORTEST
        if tellable or len(letters) >= _LONG:
            self.split.update(_letters(form) for form in _spellings(secret))
        self.whole.update((secret, repr(secret)[1:-1], html.escape(secret), quote(secret, "")))
        self.whole_bytes = {form.encode() for form in self.whole}
        patterns = ["[^A-Za-z0-9]*+".join(needle.decode()) for needle in self.split]
        patterns += [re.escape(form) for form in self.whole]
        self.pattern = re.compile("|".join(sorted(patterns, key=len, reverse=True)))


_known: Final = _Secrets()


def keep_secret(secret: str) -> None:
    """Redact a secret from now on, in every text that passes `blank`."""
    if len(secret) >= _SHORTEST and secret not in _known.whole:
        _known.add(secret)


def keep_environment() -> None:
    """Register every key, token, secret and password of the environment, identified by its name."""
    for name, value in os.environ.items():
        # A name such as SSH_KEY may contain the path of a file instead.
        if names_secret(name) and not value.startswith(("/", "~", ".")):
            keep_secret(value.strip())


def names_secret(name: str) -> bool:
    """Return whether a name is that of a secret, such as ``subscription-key`` or ``authToken``.

    The words of a name decide: ``sig`` is a secret and ``design`` is not. ``code`` is one if it is
    the whole name, as in an address.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return words == ["code"] or any(
        _SECRET_WORD.fullmatch(word) and not (words[place + 1 :] and words[place + 1] in _KINDS)
        for place, word in enumerate(words)
    )


def may_tell(raw: bytes) -> bool:
    """Return whether bytes may contain a secret; never False if `blank` would find one."""
    if _known.pattern is None:
        return False
    if b"&#" in raw or b"\\x" in raw or any(map(raw.__contains__, _known.whole_bytes)):
        return True
    if (b"\\u00" in raw or b"%" in raw) and _ESCAPED.search(raw):
        return True
    letters = raw.translate(None, _SEPARATORS)
    if any(map(letters.__contains__, _known.split)):
        return True
    if b"\\n" not in raw and b"\\t" not in raw and b"\\r" not in raw:
        return False
    for line_end in _LINE_ENDS:
        raw = raw.replace(line_end, b"")
    return any(map(raw.translate(None, _SEPARATORS).__contains__, _known.split))


def blank(text: str) -> str:
    """Return a text without secrets, even if they are escaped, encoded or split."""
    if _known.pattern is None or not may_tell(text.encode("utf-8", "replace")):
        return text
    text = plain = _known.pattern.sub(BLANK, text)
    for _ in range(_LEVELS):
        if (plain := _ESCAPE.sub(_character, before := plain)) == before:
            break
        if _known.pattern.search(plain):
            text = plain = _known.pattern.sub(BLANK, plain)
    return text


def blank_parsed(value: Json, raw: bytes) -> Json:
    """Return a JSON value without secrets, given the bytes that it was parsed from."""
    shown: Json = blank_json(value) if may_tell(raw) else value
    return shown


def blank_json(value: Any, depth: int = 0) -> Any:
    """Return a parsed JSON value without secrets and without parts nested too deeply."""
    if isinstance(value, str):
        return blank(value)
    if depth > _DEPTH:
        return None
    if isinstance(value, list):
        return [blank_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {blank(name): blank_json(item, depth + 1) for name, item in value.items()}
    return value


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, as HTML and addresses write it, and in base64 at any offset."""
    escaped = quote(secret, "")
    yield from (secret, html.escape(secret), escaped)
    yield re.sub("%..", lambda code: code[0].lower(), escaped)
    raw = secret.encode()
    for before in range(3):
        # Three bytes make four letters; letters shared with neighbouring bytes are left out.
        code = base64.b64encode(bytes(before) + raw).rstrip(b"=").decode()
        core = code[-(-before * 4 // 3) : len(code) - bool((before + len(raw)) % 3)]
        if len(core) >= _LONG:
            yield core


def _letters(text: str) -> bytes:
    return text.encode("utf-8", "replace").translate(None, _SEPARATORS)


def _character(escape: re.Match[str]) -> str:
    """Return the character of an escape; quotation marks stay escaped, as JSON needs it."""
    code = int(escape[5]) if escape[5] else int(next(filter(None, escape.groups())), 16)
    return chr(code) if 32 <= code < 127 and chr(code) not in '"\\' else escape[0]


def print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an exception as Python does, without keys; a replacement of `sys.excepthook`."""
    sys.stderr.write(blank("".join(traceback.format_exception(kind, error, trace))))
