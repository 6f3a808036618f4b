"""A server on loopback with a few slots, which queues what it cannot work on yet.

It is what llama.cpp and Ollama are on one machine: a call whose client hangs up is cancelled.
"""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from typing import Any, Self

from aiohttp import web

VERDICT = json.dumps({"first": "Fair.", "second": "Fair.", "verdict": "first"})


class SlotServer:
    """Serves so many calls at a time, each of which takes so long, in the order they came in."""

    def __init__(self, call_s: float, *, slots: int = 1) -> None:
        self._call_s = call_s
        self._slots = slots
        self.asked = self.answered = self.cancelled = 0
        self.unbusy = 0  #: calls that came when there was no other
        self.in_flight = self.most_in_flight = 0
        self._ready: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def base_url(self) -> str:
        """What goes into a config's ``base_url``."""
        return f"http://127.0.0.1:{self._ready.result()[0]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(self, *exception: object) -> None:
        _, loop, done = self._ready.result()
        loop.call_soon_threadsafe(done.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._slot = asyncio.Semaphore(self._slots)
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        done = asyncio.Event()
        port = runner.addresses[0][1]
        self._ready.set_result((port, asyncio.get_running_loop(), done))
        await done.wait()
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        self.asked += 1
        self.unbusy += not self.in_flight
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            async with self._slot:
                await asyncio.sleep(self._call_s * body.get("factor", 1))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        self.answered += 1
        message = {"role": "assistant", "content": VERDICT}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({"choices": choices, "usage": usage})
