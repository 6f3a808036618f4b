"""What an endpoint's refusal means: try again, give this request up, or stop the whole run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

from arena.endpoint.rate_limit import reset_s, retry_after_s
from arena.errors import ApiError, FatalApiError
from arena.json_text import read_json
from arena.redaction import blank
from arena.terminal import one_line

_TRANSIENT = {408: "timeout", 409: "server", 425: "server", 429: "rate_limit", 499: "server"}


_TRANSIENT |= {529: "rate_limit"}


_BUSY = (425, 429, 503, 529)
"""A server that loads its model says 503, for a minute if the model is large."""

_FATAL = {401: "key", 402: "quota", 403: "permission", 404: "not_found", 405: "not_found"}

_REMEDY = {
    "key": "check {key}",
    "quota": "the account is out of credit",
    "permission": "check what the key may use",
    "not_found": "check the model's name and the base_url (most end in /v1)",
}

# Codes and phrases that matter more than the status they come with.
_SPENT = re.compile(
    r"insufficient[_ ](quota|balance|credit|fund)|billing_(hard_limit|not_active)"
    r"|credit balance is too low|account_deactivated|access_terminated|budget_exceeded",
    re.IGNORECASE,
)

_BAD_KEY = re.compile(
    r"(invalid|incorrect|missing)[_ ](api|access)[_ ]?(key|token)"
    r"|api[_ ]key[_ ](not valid|invalid)"
    # LiteLLM's proxy looks up a key that is not its own in a database, and may have none.
    r"|no_db_connection",
    re.IGNORECASE,
)

_BAD_MODEL = re.compile(
    r"model[_ ]not[_ ](found|exist)|invalid[_ ]model\b|unknown[_ ]model\b|not a valid model"
    r"|model\b.{0,80}\b(does not exist|not found)",
    re.IGNORECASE,
)

_DIAGNOSIS = 200
"""Characters of a status 400's words that may say so: what follows may echo a text."""

_TOO_LONG = re.compile(
    # llama.cpp and Ollama say so with status 500, and will say it again.
    r"too large to process|exceed\w*\b.{0,40}\bcontext|context\b.{0,40}\bexceed",
    re.IGNORECASE,
)

_CENSORED = re.compile(
    r"content[_ ](filter|policy|management)|moderation|flagged|data_inspection_failed",
    re.IGNORECASE,
)

_UNSAFE = 498
"""Cohere's status for a text that it does not want to read."""

# What a reply with status 200 means that wraps an error without a status, by its code or type.
_NAMED = (
    (re.compile(r"insufficient|quota|billing|credit|budget", re.IGNORECASE), 402),
    (re.compile(r"rate|throttl|exhausted|too_many", re.IGNORECASE), 429),
    (re.compile(r"overload|unavailable|busy|loading|capacity", re.IGNORECASE), 503),
    (re.compile(r"auth|api_?key|credential", re.IGNORECASE), 401),
    (re.compile(r"permission|forbidden", re.IGNORECASE), 403),
    (re.compile(r"not_?found", re.IGNORECASE), 404),
    (re.compile(r"invalid|bad_?request|unsupported|context", re.IGNORECASE), 400),
)

_UPSTREAM = 502
"""What it means that names nothing: a server behind the gateway failed."""


class TransientApiError(ApiError):
    """The same request may well succeed a little later."""

    def __init__(
        self, reason: str, detail: str, *, words: str = "", retry_after_s: float | None = None
    ) -> None:
        self.retry_after_s = retry_after_s
        self.excused = False  #: whether it happened in an outage, and does not count
        self.late = False  #: no answer came in time
        self.busy = False  #: the endpoint says that it is there, but not now
        super().__init__(reason, detail, words=words)


def refusal(
    status: int, body: bytes, headers: Mapping[str, str], *, key: str = "the key"
) -> ApiError:
    """Return the error for a reply with an error status.

    Args:
        status: of HTTP.
        body: of the reply.
        headers: of the reply.
        key: what to check where the key is refused, for people.

    Returns:
        A `TransientApiError`, a `FatalApiError`, or an `ApiError` for this request alone, with
        the endpoint's message shortened to one line.
    """
    words = blank(naming(body))
    said = one_line(wording(body)) or "no message"
    detail = f"HTTP {status}: {said}"
    if fatal := _fatal_reason(status, words):
        return FatalApiError(fatal, f"{detail}; {_REMEDY[fatal].format(key=key)}")
    if status == _UNSAFE or (status < 500 and _CENSORED.search(words)):
        return ApiError("refusal", detail)
    if status == 501 or (status == 500 and _TOO_LONG.search(words)):
        return ApiError("bad_request", detail, words=words)
    if status in _TRANSIENT or status >= 500:
        reason = _TRANSIENT.get(status, "server")
        wait_s = retry_after_s(headers)
        if wait_s is None and status == 429:
            wait_s = reset_s(headers)
        error = TransientApiError(reason, detail, words=words, retry_after_s=wait_s)
        error.busy = status in _BUSY
        return error
    return ApiError("bad_request", detail, words=words)


def wrapped_refusal(
    reply: Mapping[str, Any], *, path: str, key: str = "the key"
) -> ApiError | None:
    """Return the error that some gateways wrap in a reply with status 200; None if there is none.

    Args:
        reply: the whole of it.
        path: that was asked; an error that names it knows no such path.
        key: what to check where the key is refused, for people.
    """
    error = error_of(reply)
    if not error:
        if not says_nothing(reply):
            return None
        return TransientApiError("empty", "HTTP 200 with neither a word nor a count of tokens")
    body = orjson.dumps({"error": error})
    status = _status_of(error)
    if status == _UPSTREAM and path in wording(body):
        status = 404
    return refusal(status, body, {}, key=key)


def _status_of(error: object) -> int:
    """Return the status that fits an error without one, by its code, type or status."""
    if not isinstance(error, dict):
        return _UPSTREAM
    names = [error.get(name) for name in ("code", "status", "type")]
    for name in names:
        digits = name if isinstance(name, str) and name.isdecimal() else ""
        status = name if isinstance(name, int) else int(digits[:6] or 0)
        if 400 <= status < 600:
            return status
    named = " ".join(name for name in names if isinstance(name, str))
    return next((status for pattern, status in _NAMED if pattern.search(named)), _UPSTREAM)


def _fatal_reason(status: int, text: str) -> str | None:
    if status >= 500:
        return None
    if _SPENT.search(text[:_DIAGNOSIS] + text[-_DIAGNOSIS:]):
        return "quota"
    if status == 403 and _CENSORED.search(text):
        return None
    if status in _FATAL:
        return _FATAL[status]
    if status in (400, 422) and _BAD_KEY.search(text[:_DIAGNOSIS] + text[-_DIAGNOSIS:]):
        return "key"
    return "not_found" if status in (400, 422) and _BAD_MODEL.search(text[:_DIAGNOSIS]) else None


LOOKED_AT: Final = 2**16
"""Characters of a body that are looked at."""

_PARTS: Final = 5
"""Errors of a list that arena reports."""

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
    """Return the words of an error, to be shown; its other fields if it has none."""
    found = _read(body)
    try:
        return _words(found, _DEPTH) or _all(found)
    except (orjson.JSONEncodeError, RecursionError):  # nested deeper than can be written
        return body[:LOOKED_AT].decode("utf-8", "replace")


def naming(body: bytes) -> str:
    """Return the words of an error with its code and field names, for matching."""
    found = _read(body)
    names: list[str] = []
    _collect(found, names, _DEPTH)
    return " ".join([wording(body), *names])[:LOOKED_AT]


def error_of(reply: Mapping[str, Any]) -> object:
    """Return the error that a reply with status 200 holds instead of a result; None if none."""
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
    """Return whether a chat completion holds neither a word nor a count.

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


def _words(value: object, depth: int) -> str:
    if not depth:
        return ""
    if isinstance(value, str):
        inner = read_json(value.encode("utf-8", "replace")) if value.lstrip()[:1] == "{" else None
        return (_words(inner, depth - 1) if isinstance(inner, dict) else "") or value
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(part, depth - 1) for part in value[:_PARTS])))
    if not isinstance(value, dict):
        return ""
    message = next(filter(None, (_words(value.get(name), depth - 1) for name in _WORDS)), "")
    location = value.get("loc")
    if isinstance(location, list):
        message = f"{'.'.join(map(str, location))}: {message}"
    metadata = value.get("metadata")  # OpenRouter's: what the provider itself said
    raw = _words(metadata.get("raw"), depth - 1) if isinstance(metadata, dict) else ""
    return f"{message}: {raw}" if message and raw else message or raw


def _collect(body: object, names: list[str], depth: int) -> None:
    if isinstance(body, list):
        for part in body[:_PARTS]:
            _collect(part, names, depth - 1)
    if not isinstance(body, dict) or not depth:
        return
    for name, value in body.items():
        if name in _NAMES and isinstance(value, str | int):
            names.append(str(value))
        elif name not in _ECHOES:
            _collect(value, names, depth - 1)


def _all(body: object) -> str:
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in _ECHOES}
    return body if isinstance(body, str) else orjson.dumps(body).decode()


def without_tags(page: str) -> str:
    """Return the words of a web page, however broken, in one pass."""
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
