"""One JSON exchange after another with an endpoint, over connections that stay open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from arena.endpoint.address import Endpoint, find_base_url, is_own
from arena.endpoint.connection import headers_for, open_client, send
from arena.endpoint.turns import Turns

_LONGEST_CONNECT_S: Final = 10.0


class Wire:
    """An open client; to be closed.

    Args:
        endpoint: where requests go, and with which key.

    Raises:
        FatalApiError: no address, no key, or an environment that cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        import httpx2  # noqa: PLC0415

        url = find_base_url(endpoint)
        headers = {**headers_for(endpoint), "Content-Type": "application/json"}
        self._request = httpx2.Request
        self._headers = httpx2.Headers(headers)
        self._base_url = httpx2.URL(url)
        self._urls: dict[str, httpx2.URL] = {}
        self._turns = Turns(endpoint.timeout_s, own=is_own(endpoint))
        connect_s = min(_LONGEST_CONNECT_S, endpoint.timeout_s)
        self._extensions = {"timeout": httpx2.Timeout(None, connect=connect_s).as_dict()}
        self._client = open_client(url)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def exchange(
        self, path: str, content: bytes, *, most: int
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer to a JSON body.

        Args:
            path: under base_url.
            content: the body.
            most: bytes of the answer, at most.

        Raises:
            TransientApiError: no whole reply came.
            FatalApiError: the endpoint points elsewhere.
        """
        if path not in self._urls:
            # A query, such as a version that gateways ask for, stays at the end.
            base_path = self._base_url.path.rstrip("/")
            self._urls[path] = self._base_url.copy_with(path=base_path + path)
        request = self._request(
            "POST",
            self._urls[path],
            headers=self._headers,
            content=content,
            extensions=self._extensions,
        )
        response, raw = await send(self._client, request, turns=self._turns, most=most)
        return response.status_code, response.headers, raw
