"""An HTTP server on loopback that ends at once when it is told to.

That of the library looks only now and then whether it should: each test waited for it.
"""

from __future__ import annotations

import selectors
import socket
import threading
from http.server import ThreadingHTTPServer
from typing import Any


class PromptServer(ThreadingHTTPServer):
    """A thread for each connection; none of them keeps a test from its end."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._bell, self._rung = socket.socketpair()
        self._ended = threading.Event()

    def serve_forever(self, poll_interval: float = 0.0) -> None:
        """Accept connections until `shutdown`; it sleeps in between and polls nothing."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.register(self._rung, selectors.EVENT_READ)
            while self._rung not in {key.fileobj for key, _ in selector.select()}:
                self._handle_request_noblock()
        self._ended.set()

    def shutdown(self) -> None:
        """End `serve_forever`, and wait until it has ended; again changes nothing."""
        self._bell.close()
        self._ended.wait()

    def server_close(self) -> None:
        """Free the port."""
        super().server_close()
        self._bell.close()
        self._rung.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: a client that hangs up is a part of the tests."""
