"""What an endpoint's refusal means: try again, give this request up, or stop the whole run."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import orjson

from arena.endpoint.rate import reset_s
from arena.errors import ApiError, FatalApiError
from arena.redaction import blank

_SHOWN = 300
"""Characters of an endpoint's own message that are shown."""
_LOOKED_AT = 2**16
"""Characters of it that are looked at."""
_DATE = 64
"""Characters of the longest date."""

_TRANSIENT = {408: "timeout", 409: "server", 425: "server", 429: "rate_limit", 529: "rate_limit"}
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
    r"|credit balance is too low|account_deactivated|access_terminated",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"(invalid|incorrect)[_ ]api[_ ]key|api key not valid", re.IGNORECASE)
_BAD_MODEL = re.compile(
    r"model_not_found|invalid_model|not a valid model|model\b.{0,80}\bdoes not exist", re.IGNORECASE
)
_TOO_LONG = re.compile(
    # llama.cpp and Ollama say so with status 500, and will say it again.
    r"too large to process|exceeds? the ((available|maximum) )?context",
    re.IGNORECASE,
)
_CENSORED = re.compile(r"content_filter|content_policy|moderation|flagged", re.IGNORECASE)


class TransientApiError(ApiError):
    """The same request may well succeed a little later."""

    def __init__(self, reason: str, detail: str, *, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        self.excused = False  #: whether it happened in an outage, and does not count
        self.late = False  #: no answer came in time
        self.busy = False  #: the endpoint says that it is there, but not now
        super().__init__(reason, detail)


def refusal(
    status: int, body: bytes, headers: Mapping[str, str], *, key: str = "the key"
) -> ApiError:
    """What a reply with an error status means.

    Args:
        status: of HTTP.
        body: of the reply.
        headers: of the reply.
        key: what to check where the key is refused, for people.

    Returns:
        A `TransientApiError`, a `FatalApiError`, or an `ApiError` for this request alone, with
        the endpoint's message shortened to one line.
    """
    text = body[:_LOOKED_AT].decode("utf-8", "replace")
    said = one_line(_message(body)) or "no message"
    detail = f"HTTP {status}: {said}"
    if fatal := _fatal_reason(status, text):
        return FatalApiError(fatal, f"{detail}; {_REMEDY[fatal].format(key=key)}")
    if status < 500 and _CENSORED.search(text):
        return ApiError("refusal", detail)
    if status == 500 and _TOO_LONG.search(text):
        return ApiError("bad_request", detail)
    if status in _TRANSIENT or status >= 500:
        reason = _TRANSIENT.get(status, "server")
        wait_s = retry_after_s(headers)
        if wait_s is None and status == 429:
            wait_s = reset_s(headers)
        error = TransientApiError(reason, detail, retry_after_s=wait_s)
        error.busy = status in _BUSY
        return error
    return ApiError("bad_request", detail)


def wrapped_refusal(
    reply: Mapping[str, Any], body: bytes, *, key: str = "the key"
) -> ApiError | None:
    """The error that some gateways wrap in a reply with status 200; None where there is none."""
    error = reply.get("error")
    if not error or "choices" in reply or "data" in reply:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return refusal(status, body, {}, key=key)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long an endpoint asks to wait: ``retry-after-ms``, seconds, or an HTTP date.

    None where it says nothing that makes sense; else finite, and however long it likes.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            asked = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= asked < float("inf"):
            return asked
    try:
        date = email.utils.parsedate_tz(headers.get("retry-after", "")[:_DATE])
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None
    except (IndexError, OverflowError, TypeError, ValueError):
        return None  # the year 99999, or the 31st of June


def one_line(text: str) -> str:
    """Foreign text fit for one line of a terminal or a file: short, no control characters or keys.

    Keys go before the text is cut, or the first half of one would be left.
    """
    # An endpoint may send a megabyte; no more is looked at than could be shown.
    seen = blank(text[: 20 * _SHOWN])
    if len(text) > 20 * _SHOWN:
        seen = seen[:-_SHOWN]  # which may begin a key
    line = " ".join("".join(c if c.isprintable() else " " for c in seen).split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _fatal_reason(status: int, text: str) -> str | None:
    if status >= 500:
        return None
    if _SPENT.search(text):
        return "quota"
    if status == 403 and _CENSORED.search(text):
        return None
    if status in _FATAL:
        return _FATAL[status]
    if status in (400, 422) and _BAD_KEY.search(text):
        return "key"
    return "not_found" if status in (400, 422) and _BAD_MODEL.search(text) else None


def _message(body: bytes) -> str:
    """The words for people inside an error body of any shape."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = _without_tags(body[:_LOOKED_AT].decode("utf-8", "replace"))
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    if isinstance(found, str):
        return found
    try:
        return orjson.dumps(found).decode()
    except orjson.JSONEncodeError:  # it may read what is nested deeper than it writes
        return body[:_LOOKED_AT].decode("utf-8", "replace")


def _without_tags(page: str) -> str:
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
