"""Transfer files and small JSON requests of an endpoint: uploads, downloads, batch jobs.

One request at a time and few of them, so there is no gate here; what the endpoint refuses is
read as everywhere else.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote

import orjson

from arena.endpoint.address_and_key import Endpoint, find_base_url, key_place, without_query
from arena.endpoint.http_errors import TransientApiError, refusal
from arena.endpoint.timeouts import Turns
from arena.endpoint.transport import headers_for, open_client, send
from arena.errors import ApiError, FatalApiError
from arena.json_text import read_json
from arena.redaction import blank_parsed
from arena.terminal import one_line

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Request

T = TypeVar("T")
TRANSFER_TIMEOUT_S: Final = 600.0
"""Longest wait for a file of 200 MB to go up or come down, all of it."""

ANSWER_TIMEOUT_S: Final = 120.0
"""Longest wait for anything else."""

LARGEST_ANSWER: Final = 8_000_000
"""Bytes of a JSON answer at most."""

_CONNECT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long is waited in between."""

    attempts: int = 8  #: the first one included
    first_contact: int = 3  #: attempts to connect to an endpoint that has never answered
    base_s: float = 1.0  #: the first wait; it doubles from then on, with jitter
    longest_s: float = 60.0  #: no wait is longer, even if the endpoint asks for more

    def wait_s(self, attempt: int, error: ApiError) -> float:
        """Return how long to wait after a failed attempt, counted from 1."""
        asked_s = error.retry_after_s if isinstance(error, TransientApiError) else None
        grown_s = self.base_s * 2 ** (attempt - 1)
        wait_s = grown_s if asked_s is None else asked_s
        return min(wait_s, self.longest_s) * random.uniform(1.0, 1.25)  # noqa: S311


class FileApi:
    """One endpoint, to be used as ``async with FileApi(endpoint) as api:``.

    Raises:
        FatalApiError: on entering, if base_url is none or the key's variable holds no key.
    """

    def __init__(self, endpoint: Endpoint, *, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self._endpoint = endpoint
        self._client: AsyncClient | None = None
        self._headers: dict[str, str] = {}
        self._reached = False

    @property
    def base_url(self) -> str:
        """Return the address without the query: safe to show."""
        return without_query(find_base_url(self._endpoint))

    async def __aenter__(self) -> Self:
        self._headers = headers_for(self._endpoint)
        self._client = open_client(find_base_url(self._endpoint))
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def upload(self, path: Path, *, purpose: str) -> str:
        """Upload a file; return the endpoint's id of it.

        Raises:
            ApiError: it was not taken.
            FatalApiError: the endpoint refuses everything.
        """

        async def ask() -> dict[str, Any]:
            with path.open("rb") as file:
                form = {"file": (path.name, file, "application/jsonl")}
                request = self._request("POST", "/files", data={"purpose": purpose}, files=form)
                return _object(await self._exchange(request, timeout_s=TRANSFER_TIMEOUT_S))

        answer = await self._patiently(ask)
        return _text(answer, "id", "an uploaded file")

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            ApiError: there is none.
            FatalApiError: the endpoint refuses everything.
        """

        async def ask() -> dict[str, Any]:
            return _object(await self._exchange(self._request("GET", path, params=params)))

        return await self._patiently(ask)

    async def download(self, file_id: str, *, most: int) -> bytes:
        """Read a file of any content.

        Args:
            file_id: what the endpoint calls it.
            most: bytes of it at most.

        Raises:
            ApiError: it is not there any more, or larger.
            FatalApiError: the endpoint refuses everything.
        """
        path = f"/files/{segment(file_id)}/content"

        async def ask() -> bytes:
            request = self._request("GET", path)
            return await self._exchange(request, timeout_s=TRANSFER_TIMEOUT_S, most=most)

        return await self._patiently(ask)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a JSON body with POST, once: arena must not create a thing twice.

        Raises:
            TransientApiError: nobody knows whether it was made.
            ApiError: it was refused.
            FatalApiError: the endpoint refuses everything.
        """
        headers = {"Content-Type": "application/json"}
        request = self._request("POST", path, content=orjson.dumps(body), headers=headers)
        return _object(await self._exchange(request))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        attempt = 1
        while True:
            try:
                return await ask()
            except TransientApiError as error:
                never = error.reason == "unreachable" and not self._reached
                limit = self.patience.first_contact if never else self.patience.attempts
                if attempt >= limit:
                    detail = f"{error.detail} (after {attempt} attempts)"
                    raise ApiError(error.reason, detail) from None
                await asyncio.sleep(self.patience.wait_s(attempt, error))
            attempt += 1

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Request:
        import httpx2  # noqa: PLC0415

        base = httpx2.URL(find_base_url(self._endpoint))
        # A query, such as a version that gateways ask for, stays at the end.
        url = base.copy_with(path=base.path.rstrip("/") + path).copy_merge_params(params or {})
        sent = {**self._headers, **(headers or {})}
        extensions = {"timeout": httpx2.Timeout(None, connect=_CONNECT_S).as_dict()}
        return httpx2.Request(method, url, headers=sent, extensions=extensions, **body)

    async def _exchange(
        self,
        request: Request,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        most: int = LARGEST_ANSWER,
    ) -> bytes:
        """Return the body of an answer, as it came: what is read in it is blanked by its reader."""
        if self._client is None:
            raise RuntimeError("a FileApi is used inside `async with`")
        try:
            response, raw = await send(self._client, request, turns=Turns(timeout_s), most=most)
        except TransientApiError as error:
            raise TransientApiError(error.reason, f"{self.base_url}: {error.detail}") from None
        self._reached = True
        if response.status_code >= 400:
            raise self._refusal(response.status_code, raw, response.headers)
        return raw

    def _refusal(self, status: int, raw: bytes, headers: Mapping[str, str]) -> ApiError:
        error = refusal(status, raw, headers, key=key_place(self._endpoint))
        if isinstance(error, FatalApiError) and error.reason == "not_found":
            said = error.detail.partition("; ")[0]
            detail = f"{said}; {self.base_url} has no such file or job, or no batch jobs at all"
            return ApiError("not_found", detail)
        return error


def segment(name: str) -> str:
    """Return a name from the endpoint as one part of a path, safely quoted."""
    return quote(name, safe="")


def _object(raw: bytes) -> dict[str, Any]:
    found = read_json(raw)
    if not isinstance(found, dict):
        said = one_line(raw[:1000].decode("utf-8", "replace")) or "nothing"
        raise TransientApiError("garbage", f"HTTP 200 without a JSON object: {said}")
    return blank_parsed(found, raw)


def _text(answer: Mapping[str, Any], field: str, what: str) -> str:
    value = answer.get(field)
    if not isinstance(value, str) or not value:
        raise ApiError("garbage", f"{what} without {field}: {one_line(str(dict(answer)))}")
    return value
