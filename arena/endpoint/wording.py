"""The words for people inside the body of an error, whatever its shape.

Servers nest them under ``error``, ``message``, ``detail`` and ``errors``, as text, object or list;
gateways put another server's whole answer inside, as text. What merely echoes the request is left
out: texts that were sent must decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from arena.endpoint.json_body import read_json

LOOKED_AT: Final = 2**16
"""Characters of a body that are looked at."""
_PARTS: Final = 5
"""Of a list of errors so many are told."""
_DEPTH: Final = 8
"""No server nests its words deeper."""
_ECHOES: Final = frozenset(
    {"body", "content", "ctx", "input", "inputs", "messages", "prompt", "request", "url", "user_id"}
)
"""Members that hold what was sent, or where."""
_WORDS: Final = ("error", "message", "msg", "detail", "errors", "error_description", "title")
"""Members that hold the words, the first of them that is there."""
_NAMES: Final = ("param", "code", "type", "status", "reason")
"""Members that name the fault, or the field that it is about."""


def wording(body: bytes) -> str:
    """The words of an error, to be shown; with all else that it says where it has none."""
    found = _read(body)
    try:
        return _words(found, _DEPTH) or _all(found)
    except (orjson.JSONEncodeError, RecursionError):  # nested deeper than can be written
        return body[:LOOKED_AT].decode("utf-8", "replace")


def naming(body: bytes) -> str:
    """The words of an error, and the names of fault and field beside them, to be looked into."""
    found = _read(body)
    names: list[str] = []
    _collect(found, names, _DEPTH)
    return " ".join([wording(body), *names])[:LOOKED_AT]


def error_of(reply: Mapping[str, Any]) -> object:
    """The error that a reply with status 200 holds in place of what was asked for; None if none."""
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else {}
    error = choice.get("error") or reply.get("error")
    message = choice.get("message")
    says = isinstance(message, dict) and any(message.get(k) for k in message if k != "role")
    if says and not choice.get("error"):
        return None  # a warning beside an answer
    return None if reply.get("data") else error


def says_nothing(reply: Mapping[str, Any]) -> bool:
    """Whether a chat completion holds neither a word nor a count: nothing was generated.

    Gateways answer so while a model is started, or where it failed without an error.
    """
    choices = reply.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or any(message[k] for k in message if k != "role"):
        return False
    usage = reply.get("usage")
    counted = usage.values() if isinstance(usage, dict) else ()
    ended = choice.get("finish_reason") if isinstance(choice, dict) else None
    return not any(counted) and ended in (None, "", "stop")


def _read(body: bytes) -> object:
    found = read_json(body)
    if found is not None or body.strip() == b"null":
        return found
    return without_tags(body[:LOOKED_AT].decode("utf-8", "replace"))


def _words(found: object, depth: int) -> str:
    if not depth:
        return ""
    if isinstance(found, str):
        inner = read_json(found.encode("utf-8", "replace")) if found.lstrip()[:1] == "{" else None
        return (_words(inner, depth - 1) if isinstance(inner, dict) else "") or found
    if isinstance(found, list):
        return "; ".join(filter(None, (_words(part, depth - 1) for part in found[:_PARTS])))
    if not isinstance(found, dict):
        return ""
    said = next(filter(None, (_words(found.get(name), depth - 1) for name in _WORDS)), "")
    place = found.get("loc")
    if isinstance(place, list):
        said = f"{'.'.join(map(str, place))}: {said}"
    metadata = found.get("metadata")  # OpenRouter's: what the provider itself said
    raw = _words(metadata.get("raw"), depth - 1) if isinstance(metadata, dict) else ""
    return f"{said}: {raw}" if said and raw else said or raw


def _collect(found: object, names: list[str], depth: int) -> None:
    if isinstance(found, list):
        for part in found[:_PARTS]:
            _collect(part, names, depth - 1)
    if not isinstance(found, dict) or not depth:
        return
    for name, value in found.items():
        if name in _NAMES and isinstance(value, str | int):
            names.append(str(value))
        elif name not in _ECHOES:
            _collect(value, names, depth - 1)


def _all(found: object) -> str:
    if isinstance(found, dict):
        found = {name: value for name, value in found.items() if name not in _ECHOES}
    return found if isinstance(found, str) else orjson.dumps(found).decode()


def without_tags(page: str) -> str:
    """The words of a web page, however broken: each part of it is looked at once."""
    words: list[str] = []
    lower, end = page.lower(), 0
    while (begin := page.find("<", end)) >= 0:
        words.append(page[end:begin])
        element = next((e for e in ("script", "style") if lower.startswith(e, begin + 1)), None)
        closing = lower.find(f"</{element}", begin) if element else begin
        end = page.find(">", closing) + 1 if closing >= 0 else 0
        if not end:
            return " ".join(words)
    return " ".join([*words, page[end:]])
