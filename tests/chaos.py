"""An OpenAI-compatible endpoint on loopback that fails as real ones do, and is fast.

In a test it runs in a thread, ``with ChaosServer(Faults(rate_limited=0.03)) as server:``; for a
benchmark in a process of its own, ``python tests/chaos.py --delay-ms 200 --cap 300``, which
prints its base_url and ends with its standard input. ``GET /stats`` tells what it was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import threading
import time
import zlib
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Self, cast

_STATUS = {
    200: "OK",
    401: "Unauthorized",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Faults:
    """How an endpoint misbehaves; shares are of all requests, and each request has one fate."""

    delay_s: float = 0.0  #: before each good answer
    rate_limited: float = 0.0  #: share answered 429
    server_error: float = 0.0  #: share answered 500
    dropped: float = 0.0  #: share of connections closed without a word
    garbage: float = 0.0  #: share answered 200 with what is no JSON
    truncated: float = 0.0  #: share whose connection closes amid the body
    stalled: float = 0.0  #: share that is never answered
    cap: float = 0.0  #: requests a second above which all are answered 429; 0: none
    retry_after_s: float = 1.0  #: what a 429 asks for
    outage: tuple[int, float] | None = None  #: after so many answers, 503 for so many seconds
    quota: int | None = None  #: after so many answers the account is exhausted
    poisoned: tuple[bytes, ...] = ()  #: a request that holds one of these is always answered 500
    seed: int = 1


class Endpoint:
    """What is answered to each request; one for all connections."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.sent: Counter[str] = Counter()  #: fate → requests
        self.judged: Counter[int] = Counter()  #: checksum of a body → good answers to it
        self._random = random.Random(faults.seed)
        self._tokens = faults.cap
        self._refilled_at = time.monotonic()
        self._outage_until: float | None = None
        shares = (
            ("rate_limited", faults.rate_limited),
            ("server_error", faults.server_error),
            ("dropped", faults.dropped),
            ("garbage", faults.garbage),
            ("truncated", faults.truncated),
            ("stalled", faults.stalled),
        )
        self._shares = [(fate, share) for fate, share in shares if share]
        self._verdicts = [
            _http(200, _chat(side), "application/json") for side in ("first", "second", "tie")
        ]
        self._responses = [_http(200, _response(side), "application/json") for side in "ABC"]
        asked = f"Retry-After: {faults.retry_after_s:g}\r\n"
        self._refusals = {
            "capped": _http(429, _error("slow down"), "application/json", asked),
            "rate_limited": _http(429, _error("slow down"), "application/json", asked),
            "server_error": _http(500, _error("oops"), "application/json"),
            "outage": _http(503, _error("down for maintenance"), "application/json"),
            "quota": _http(
                429, _error("You exceeded your current quota", "insufficient_quota"), "text/plain"
            ),
            "garbage": _http(200, b"<html>Bad gateway</html>", "text/html"),
        }

    def answer(self, body: bytes, *, as_response: bool = False) -> tuple[bytes | None, bool]:
        """Bytes to send (None: none, ever), and whether the connection closes after them.

        Args:
            body: of the request.
            as_response: a verdict has the shape of OpenAI's Responses, not of a chat completion.
        """
        fate = self._fate()
        if any(text in body for text in self.faults.poisoned):
            fate = "server_error"
        self.sent[fate] += 1
        if fate in self._refusals:
            return self._refusals[fate], False
        if fate == "stalled":
            return None, False
        if fate == "dropped":
            return b"", True
        checksum = zlib.crc32(body)
        good = (self._responses if as_response else self._verdicts)[checksum % 3]
        if fate == "truncated":
            return good[:-40], True
        self.judged[checksum] += 1
        return good, False

    def _fate(self) -> str:
        faults, answered = self.faults, self.sent["good"]
        if faults.quota is not None and answered >= faults.quota:
            return "quota"
        if faults.outage and answered >= faults.outage[0]:
            if self._outage_until is None:
                self._outage_until = time.monotonic() + faults.outage[1]
            if time.monotonic() < self._outage_until:
                return "outage"
        if faults.cap and not self._token():
            return "capped"
        drawn = self._random.random() if self._shares else 1.0
        for fate, share in self._shares:
            drawn -= share
            if drawn < 0:
                return fate
        return "good"

    def _token(self) -> bool:
        """Take a token of a bucket that holds a second's worth."""
        now, cap = time.monotonic(), self.faults.cap
        self._tokens = min(cap, self._tokens + (now - self._refilled_at) * cap)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Connection(asyncio.Protocol):
    """Just enough HTTP/1.1: pipelined requests with a Content-Length, answered in order."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, _, length = head.partition(b"content-length:")
            size = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            if head.startswith(b"get "):
                stats = json.dumps(self._endpoint.sent).encode()
                self._transport.write(_http(200, stats, "application/json"))
            else:
                self._answer(body, as_response=head.startswith(b"post /v1/responses "))

    def _answer(self, body: bytes, *, as_response: bool) -> None:
        raw, closes = self._endpoint.answer(body, as_response=as_response)
        if raw is None:
            return
        # A refusal costs an endpoint no time.
        delay_s = self._endpoint.faults.delay_s if raw.startswith(b"HTTP/1.1 200") else 0.0
        if delay_s:
            self._loop.call_later(delay_s, self._send, raw, closes)
        else:
            self._send(raw, closes)

    def _send(self, raw: bytes, closes: bool) -> None:  # noqa: FBT001, call_later takes no keywords
        if self._transport.is_closing():
            return
        self._transport.write(raw)
        if closes:
            self._transport.close()


class ChaosServer:
    """An `Endpoint` served from a thread for as long as the ``with`` block lasts."""

    def __init__(self, faults: Faults) -> None:
        self._endpoint = Endpoint(faults)
        self._ready: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def base_url(self) -> str:
        """What goes into a config's ``base_url``."""
        return f"http://127.0.0.1:{self._ready.result()[0]}/v1"

    @property
    def faults(self) -> Faults:
        """How it misbehaves; may be exchanged while it runs."""
        return self._endpoint.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._endpoint.faults = faults

    @property
    def sent(self) -> Counter[str]:
        """Fate → requests."""
        return self._endpoint.sent

    @property
    def judged(self) -> Counter[int]:
        """Checksum of a request's body → good answers that it got."""
        return self._endpoint.judged

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(self, *exception: object) -> None:
        _, loop, done = self._ready.result()
        loop.call_soon_threadsafe(done.set)
        self._thread.join()

    async def _serve(self) -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(
            lambda: Connection(self._endpoint), "127.0.0.1", 0, backlog=4096
        )
        async with server:
            self._ready.set_result((server.sockets[0].getsockname()[1], loop, done))
            await done.wait()


def _http(status: int, body: bytes, kind: str, extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: {kind}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _chat(side: str) -> bytes:
    """A verdict as a chat completion of ordinary length."""
    said = json.dumps({"first": "It answers. " * 6, "second": "It does not. " * 6, "verdict": side})
    message = {"role": "assistant", "content": said}
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "judge",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 60, "total_tokens": 1060},
        }
    ).encode()


def _response(winner: str) -> bytes:
    """A verdict of `_chat`'s length as OpenAI's `/v1/responses` tells it, in RAGElo's words."""
    analyses = {"answer_a_analysis": "It answers. " * 6, "answer_b_analysis": "It does not. " * 6}
    said = json.dumps({**analyses, "comparison_reasoning": "One answers.", "winner": winner})
    text = {"type": "output_text", "text": said, "annotations": []}
    message = {"id": "msg-1", "type": "message", "role": "assistant", "status": "completed"}
    return json.dumps(
        {
            "id": "resp-1",
            "object": "response",
            "created_at": 0,
            "status": "completed",
            "model": "judge",
            "output": [{**message, "content": [text]}],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 60,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 1060,
            },
        }
    ).encode()


def _error(message: str, code: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": "error", "code": code}}).encode()


async def _serve_until_closed(faults: Faults) -> None:
    loop = asyncio.get_running_loop()
    endpoint = Endpoint(faults)
    server = await loop.create_server(lambda: Connection(endpoint), "127.0.0.1", 0, backlog=4096)
    async with server:
        sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1\n")
        sys.stdout.flush()
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--cap", type=float, default=0.0)
    given = parser.parse_args()
    uvloop.run(_serve_until_closed(Faults(delay_s=given.delay_ms / 1000, cap=given.cap)))
