"""What `arena check` found out about one data set, model or judge."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from arena.errors import ApiError, ArenaError, DataError, UnjudgedError
from arena.terminal import one_line

Outcome = Literal["ok", "failed", "not tried"]

_WORDS: Final = {
    "bad_request": "refused",
    "bad_url": "bad base_url",
    "connection": "unreachable",
    "environment": "bad proxy or headers",
    "garbage": "bad reply",
    "moved": "moved elsewhere",
    "not_found": "not found",
    "permission": "not allowed",
    "prompt_cut": "prompt cut",
    "quota": "no credit",
    "rate_limit": "rate limited",
    "server": "server error",
    "timeout": "no answer",
    "unusable": "bad reply",
}
"""The reason of an `ApiError` in a few words."""
_UNSET: Final = re.compile(r"^(\w+) is not set\b")
"""How `arena.endpoint.address_and_key` says which variable holds no key."""


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One data set, model or judge; what was not measured is None."""

    name: str
    kind: str  #: data set, a provider's name, run file, command, reranker, fusion, judge
    outcome: Outcome
    state: str = "ok"  #: ok, or what is wrong in a few words
    problem: str = ""  #: the same in one line, with the remedy
    missing_key: str | None = None  #: the environment variable that has to be set
    dimension: int | None = None  #: of the vectors
    latency_ms: float | None = None  #: of one query or one verdict, retries excluded
    prices: tuple[float, ...] = ()  #: US dollars for a million tokens; of judges, in and out
    tokens: int | None = None  #: that the endpoint counted
    cost_usd: float | None = None  #: what the check cost; None if there is no price
    notes: tuple[str, ...] = ()  #: what else is worth knowing, a few words each


def failed(name: str, kind: str, error: Exception, *, cost_usd: float | None = None) -> CheckRow:
    """Return the row of a failed test, for any error."""
    # Ours are built of foreign text that was shortened already, and end in the remedy.
    line = " ".join(str(error).split())
    if not isinstance(error, ArenaError):
        line = f"{type(error).__name__}: {one_line(line)}"
    missing = _UNSET.match(error.detail) if isinstance(error, ApiError) else None
    return CheckRow(
        name,
        kind,
        "failed",
        state="key missing" if missing else _state(error),
        problem=line.removeprefix(f"{name}: "),
        missing_key=missing[1] if missing else None,
        cost_usd=cost_usd,
    )


def _state(error: Exception) -> str:
    if isinstance(error, ApiError):
        if error.reason == "key":
            return "key refused"
        return _WORDS.get(error.reason, error.reason.replace("_", " "))
    if isinstance(error, UnjudgedError):
        return _WORDS.get(error.reason, "no verdict")
    if isinstance(error, DataError):
        return "bad data"
    return "unusable" if isinstance(error, ArenaError) else "error"
