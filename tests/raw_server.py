"""A server on loopback that sends exactly the bytes that a test says, HTTP or not.

::

    with RawServer(lambda request: http(b"{}") if request.n > 1 else b"HTTP/1.1 abc") as server:
        Endpoint(base_url=server.base_url)
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

Sent = bytes | Sequence[bytes | float]
"""What goes out: bytes, and seconds to wait between them; then the connection is closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in."""

    n: int  #: counted from 1
    path: str
    head: bytes
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object in it."""
        return dict(json.loads(self.raw))


class RawServer:
    """Answers each request on a connection of its own, for as long as the ``with`` block lasts."""

    def __init__(self, answer: Callable[[Request], Sent]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._port: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def base_url(self) -> str:
        """What goes into a config's ``base_url``."""
        return f"http://127.0.0.1:{self._port.result(10)}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._port.result(10)
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._handle(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2**24, backlog=1024)
        self._port.set_result(server.sockets[0].getsockname()[1])
        await self._closing.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for what was aborted to be closed

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._exchange(reader, writer)
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == _LENGTH), 0
        )
        raw = await reader.readexactly(length)
        path = head.split(b" ", 2)[1].decode("latin-1")
        request = Request(len(self.requests) + 1, path, head, raw)
        self.requests.append(request)
        sent = self.answer(request)
        for part in [sent] if isinstance(sent, bytes) else sent:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)
        writer.close()
        await writer.wait_closed()


_LENGTH = b"content-length:"


def http(
    body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None
) -> bytes:
    """An answer in HTTP; ``length`` where it is not to be told honestly."""
    told = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {told}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode("latin-1") + body
