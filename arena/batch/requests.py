"""The input files of batch jobs: one request a line, cut into files that a provider takes.

The same work gives the same files, byte for byte. They also run as they are on a model of one's
own: ``vllm run-batch -i IN -o OUT``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from arena.errors import UsageError
from arena.experiment.pending import Pending
from arena.files import write_atomically
from arena.judging.chat import Messages

URL: Final = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Limits:
    """How large one input file may be."""

    requests: int = 50_000
    n_bytes: int = 190_000_000  #: providers refuse 200 MB
    tokens: int | None = None  #: estimated, of the prompts; None for no limit


@dataclass(frozen=True, slots=True)
class JudgeCall:
    """One request that a battle needs: about both lists, or about one document."""

    id: str  #: its custom_id: the battle's id, or the key of the call about a document
    request: str  #: the same for requests that are wholly the same; the ledger keeps it
    key: str  #: what the judge, and the cache of verdicts, know it by
    messages: Messages


def calls_of(battle: Pending) -> list[JudgeCall]:
    """Return the requests that a battle needs; a document of a query is one, in all battles."""
    calls = battle.judge.calls(battle.judge_input)
    if battle.judge.kind == "pointwise":
        return [JudgeCall(key, key, key, messages) for key, messages in calls.items()]
    return [JudgeCall(battle.id, battle.request, key, messages) for key, messages in calls.items()]


@dataclass(frozen=True, slots=True)
class Request:
    """One line of an input file, with what is known of it."""

    id: str  #: the custom_id
    key: str  #: the same for requests that are wholly the same
    line: bytes
    tokens: int  #: of the prompt, estimated
    cost_usd: float  #: estimated, at the price of a batch; 0 if the config has no prices


def request_line(custom_id: str, body: Mapping[str, Any]) -> bytes:
    """Return one line of an input file."""
    request = {"custom_id": custom_id, "method": "POST", "url": URL, "body": body}
    return orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)


def cut_into_files(requests: Iterable[Request], limits: Limits) -> Iterator[list[Request]]:
    """Split requests, in their order, into files as large as the limits allow.

    Raises:
        UsageError: one request alone is larger than a file may be.
    """
    chunk: list[Request] = []
    n_bytes = tokens = 0
    for request in requests:
        _check(request, limits)
        full = (
            len(chunk) == limits.requests
            or n_bytes + len(request.line) > limits.n_bytes
            or (limits.tokens is not None and tokens + request.tokens > limits.tokens)
        )
        if full:
            yield chunk
            chunk, n_bytes, tokens = [], 0, 0
        chunk.append(request)
        n_bytes += len(request.line)
        tokens += request.tokens
    if chunk:
        yield chunk


def sha256(chunk: Sequence[Request]) -> str:
    """Hash of the file that a chunk becomes."""
    state = hashlib.sha256()
    for request in chunk:
        state.update(request.line)
    return state.hexdigest()


def write_chunk(chunk: Sequence[Request], path: Path) -> None:
    """Write an input file, whole or not at all."""
    write_atomically(path, (request.line for request in chunk))


def is_file_of(path: Path, expected_sha256: str) -> bool:
    """Return whether a file is there, and still what was written."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == expected_sha256
    except OSError:
        return False


def _check(request: Request, limits: Limits) -> None:
    if limits.tokens is not None and request.tokens > limits.tokens:
        raise UsageError(
            f"one request takes about {request.tokens:,} tokens, more than the {limits.tokens:,} "
            "that a batch may have; allow more, or show the judge fewer words"
        )
    if len(request.line) > limits.n_bytes:
        raise UsageError(
            f"one request has {len(request.line):,} bytes, more than the {limits.n_bytes:,} of a "
            "whole file; lower document_words"
        )
