"""The output and error files of batch jobs, and those that ``vllm run-batch`` writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from arena.endpoint.refusals import one_line, refusal
from arena.errors import UnjudgedError
from arena.records import Verdict

Answer = Verdict | UnjudgedError
Reader = Callable[[Mapping[str, Any], float], Verdict]
"""A judge's way to read a reply: body and latency to verdict."""


@dataclass(slots=True)
class Results:
    """What came back, by custom_id."""

    answers: dict[str, Answer] = field(default_factory=dict)
    n_repeated: int = 0  #: lines for a custom_id that had one; the first counts
    n_damaged: int = 0  #: lines that are no results
    refusal: str = ""  #: the first status 400 that a request got

    def take(self, raw: bytes, read: Reader, *, discount: float) -> None:
        """Add the lines of one file.

        Args:
            raw: the file.
            read: the judge's reader.
            discount: what share of the usual price the replies cost.
        """
        for line in _objects(raw):
            name = line.get("custom_id") if line else None
            if line is None or not isinstance(name, str):
                self.n_damaged += 1
            elif name in self.answers:
                self.n_repeated += 1
            else:
                self.answers[name] = answer = _answer(line, read, discount)
                if isinstance(answer, UnjudgedError) and answer.reason == "bad_request":
                    self.refusal = self.refusal or answer.detail


def _objects(raw: bytes) -> Iterator[dict[str, Any] | None]:
    for line in raw.split(b"\n"):
        if line and not line.isspace():
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                found = None
            yield found if isinstance(found, dict) else None


def _answer(line: Mapping[str, Any], read: Reader, discount: float) -> Answer:
    """The verdict in one line, or why there is none."""
    response = line.get("response")
    if isinstance(response, dict):
        status, body = response.get("status_code", 200), response.get("body")
        if isinstance(status, int) and status >= 400:
            found = refusal(status, orjson.dumps(body or line.get("error")), {})
            return UnjudgedError(found.reason, found.detail)
        if status == 200 and isinstance(body, dict) and not line.get("error"):
            return _read(body, read, discount)
    if error := line.get("error"):
        code, message = (
            (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)
        )
        reason = one_line(str(code))[:40] if code else "server"
        return UnjudgedError(reason, one_line(str(message or "no message")))
    return UnjudgedError("garbage", f"neither a reply nor an error: {one_line(str(response))}")


def _read(body: Mapping[str, Any], read: Reader, discount: float) -> Answer:
    try:
        verdict = read(body, 0.0)
    except UnjudgedError as error:
        error.cost_usd *= discount
        return error
    usage = replace(verdict.usage, cost_usd=verdict.usage.cost_usd * discount)
    return replace(verdict, usage=usage)
