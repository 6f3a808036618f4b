"""A real OpenAI-compatible HTTP server on loopback, scripted by a test.

::

    def answer(request: dict, attempt: int) -> Answer:
        return chat('{"first": "", "second": "", "verdict": "tie"}')

    with LoopbackServer(answer) as server:
        Endpoint(base_url=server.base_url)
        server.requests            # every request that came in, in order

``attempt`` counts the times that this very body has come in, from 1. An answer may also be
`DROP`, which closes the connection without a word, or ``truncated(...)``, which closes it midway;
to stall, a script sleeps. `chat`, `embeddings` and `error` build answers of OpenAI's shape.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Self

from http_server import PromptServer


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server sends back."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None  #: close the connection after so many bytes of the body


DROP = Answer(cut=-1)
"""Close the connection without a word."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]  #: their names in lower case
    body: dict[str, Any]


Script = Callable[[dict[str, Any], int], Answer | tuple[int, Mapping[str, str], bytes]]


class LoopbackServer:
    """Serves a script for as long as the ``with`` block lasts; on a free port unless told."""

    def __init__(self, answer: Script, *, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.answer = answer  #: may be exchanged while the server runs
        self.requests: list[Received] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._attempts: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        handler = type("_Bound", (_Handler,), {"loopback": self})
        self._server = PromptServer(address, handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def base_url(self) -> str:
        """What goes into a config's ``base_url``."""
        return "http://{}:{}/v1".format(*self._server.server_address)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, path: str, headers: Mapping[str, str], raw: bytes) -> Answer:
        """Record a request and let the script answer it."""
        body = json.loads(raw or b"{}")
        with self._lock:
            self.requests.append(Received(path, headers, body))
            self._attempts[raw] += 1
            attempt = self._attempts[raw]
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = self.answer(body, attempt)
        finally:
            with self._lock:
                self.in_flight -= 1
        return answer if isinstance(answer, Answer) else Answer(*answer)


def chat(
    text: str | None,
    *,
    finish_reason: str = "stop",
    usage: Mapping[str, Any] | None = None,
    refusal: str | None = None,
) -> Answer:
    """A chat completion that says ``text``; 100 tokens in and 20 out unless told otherwise."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return as_json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20} if usage is None else usage,
        }
    )


def verdict(side: str) -> Answer:
    """A well-formed verdict for ``first``, ``second`` or ``tie``."""
    return chat(json.dumps({"first": "Fair.", "second": "Fair.", "verdict": side}))


def embeddings(vectors: Sequence[Sequence[float]], *, tokens: int = 10) -> Answer:
    """An embeddings reply with one vector per input, in order."""
    data = [
        {"object": "embedding", "index": index, "embedding": list(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return as_json({"object": "list", "data": data, "usage": usage})


def error(
    status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error in OpenAI's shape."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    return as_json(body, status=status, headers=headers)


def as_json(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Any JSON body."""
    return Answer(
        status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode()
    )


def truncated(answer: Answer) -> Answer:
    """The same answer, but the connection closes in the middle of its body."""
    return Answer(answer.status, answer.headers, answer.body, cut=len(answer.body) // 2)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    loopback: LoopbackServer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.loopback.serve(self.path, headers, raw)
        if answer.cut == -1:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body[: answer.cut])
        self.close_connection = self.close_connection or answer.cut is not None

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, as in the base class
        """Keep the tests' output clean."""
