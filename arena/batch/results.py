"""The output and error files of batch jobs, and those that ``vllm run-batch`` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from arena.endpoint.http_errors import refusal
from arena.errors import UnjudgedError
from arena.json_text import read_json
from arena.judging.chat_reply import ChatReply
from arena.records import Usage
from arena.redaction import blank_parsed
from arena.terminal import one_line

ReplyOrFailure = ChatReply | UnjudgedError
"""A reply that the judge can read, or why there is none."""
Reader = Callable[[Mapping[str, Any], float], ChatReply]
"""A judge's way to read a reply: from body and latency to a reply that has an answer."""

_BLANK: Final = b" \t\r\n\x00\xef\xbb\xbf"


@dataclass(slots=True)
class Results:
    """What came back, by custom_id."""

    answers: dict[str, ReplyOrFailure] = field(default_factory=dict)
    n_repeated: int = 0  #: lines for a custom_id that had one; the first readable one counts
    n_damaged: int = 0  #: lines that are no results
    refusal: str = ""  #: the first status 400 that a request got
    troubles: list[str] = field(default_factory=list)  #: files that could not be read, and why
    n_estimated: int = 0  #: replies that do not report, or misreport, what they cost

    def take(
        self, raw: bytes, read: Reader, *, discount: float, most_usd: float | None = None
    ) -> int:
        """Add the lines of one file; returns how many of them are results.

        Args:
            raw: the file: an object a line, or one list of all of them.
            read: the judge's reader.
            discount: what share of the usual price the replies cost.
            most_usd: what one reply may cost, booked for those that do not tell; else nothing.
        """
        n_results = 0
        for line in _objects(raw):
            name = line.get("custom_id") if isinstance(line, dict) else None
            # A line of requests has a name, too.
            if not isinstance(line, dict) or not isinstance(name, str) or _is_request(line):
                self.n_damaged += 1
                continue
            n_results += 1
            self.n_repeated += name in self.answers
            before = self.answers.get(name)
            if isinstance(before, ChatReply):
                continue
            price = _BatchPrice(discount, most_usd)
            answer = _answer(line, read, price)
            self.n_estimated += price.is_estimated
            if before is None:
                self.answers[name] = answer
            elif isinstance(answer, ChatReply):
                # What was tried in vain before it is paid for as well.
                cost_usd = answer.usage.cost_usd + before.cost_usd
                self.answers[name] = replace(answer, usage=replace(answer.usage, cost_usd=cost_usd))
            if isinstance(answer, UnjudgedError) and answer.reason == "bad_request":
                self.refusal = self.refusal or answer.detail
        return n_results


def _is_request(line: Mapping[str, Any]) -> bool:
    return "body" in line and "response" not in line and "error" not in line


def _objects(raw: bytes) -> Iterator[object]:
    if (whole := raw.strip(_BLANK)).startswith(b"["):
        found = _json(whole)
        yield from found if isinstance(found, list) else ()
        return
    for part in raw.split(b"\n"):
        if line := part.strip(_BLANK):
            yield _json(line)


def _json(raw: bytes) -> object:
    found = read_json(raw)
    return blank_parsed(found, raw)


@dataclass(slots=True)
class _BatchPrice:
    """How a reply is priced."""

    discount: float
    most_usd: float | None
    is_estimated: bool = False  #: whether the reply did not tell, so that the most was taken

    def usage(self, reported: Usage) -> Usage:
        """Return what a reply costs, given what it comes to at the usual price."""
        if not reported.estimated:
            return replace(reported, cost_usd=reported.cost_usd * self.discount)
        self.is_estimated = True
        cost_usd = reported.cost_usd * self.discount if self.most_usd is None else self.most_usd
        return replace(reported, cost_usd=cost_usd)


def _answer(line: Mapping[str, Any], read: Reader, price: _BatchPrice) -> ReplyOrFailure:
    """Return the reply in one line, or why there is none."""
    response, failed = line.get("response"), _failure(line.get("error"))
    if not isinstance(response, dict):
        shown_body = one_line(str(response))
        return failed or UnjudgedError("garbage", f"neither a reply nor an error: {shown_body}")
    status, body = _status(response.get("status_code")), response.get("body")
    if isinstance(body, str) and isinstance(inner := read_json(body.encode()), dict):
        body = inner
    if status >= 400:
        told = json.dumps(body or line.get("error")).encode()
        found = refusal(status, told, {})
        return UnjudgedError(found.reason, found.detail)
    if not isinstance(body, dict):
        shown_body = one_line(str(body))
        error = failed or UnjudgedError("garbage", f"a reply that is no object: {shown_body}")
        if not failed:  # status 200: it is billed, with any content
            _charge(error, price.usage(Usage(estimated=True)))
        return error
    answer = _read(body, read, price)
    if failed and isinstance(answer, UnjudgedError):
        failed.reply = answer.reply
        failed.cost_usd, failed.estimated = answer.cost_usd, answer.estimated
        return failed
    return answer


def _status(value: object) -> int:
    """Return a status of HTTP; a line without one is that of a reply."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 200


def _failure(error: object) -> UnjudgedError | None:
    """Return what the error of a line says; None if there is none."""
    if not error:
        return None
    found = error if isinstance(error, dict) else {"message": error}
    code, message = found.get("code"), found.get("message")
    reason = one_line(str(code))[:40] if code else "server"
    return UnjudgedError(reason, one_line(str(message or "no message")))


def _read(body: Mapping[str, Any], read: Reader, price: _BatchPrice) -> ReplyOrFailure:
    try:
        reply = read(body, 0.0)
    except UnjudgedError as error:
        _charge(error, price.usage(Usage(cost_usd=error.cost_usd, estimated=error.estimated)))
        return error
    return replace(reply, usage=price.usage(reply.usage))


def _charge(error: UnjudgedError, usage: Usage) -> None:
    error.cost_usd, error.estimated = usage.cost_usd, usage.estimated
