"""Files and batch jobs of an endpoint: uploads, downloads, small JSON requests.

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

import orjson

from arena.endpoint.address import Endpoint, find_base_url, find_key, shown
from arena.endpoint.refusals import TransientApiError, one_line, refusal
from arena.errors import ApiError, FatalApiError

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import AsyncOpenAI

T = TypeVar("T")

TRANSFER_TIMEOUT_S: Final = 600.0
"""Longest wait for a file of 200 MB to go up or come down."""

_SECRET_LENGTH: Final = 8
"""A shorter "key" is a placeholder such as EMPTY; blanking it would garble honest text."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long is waited in between."""

    attempts: int = 8  #: the first one included
    first_contact: int = 3  #: attempts to connect to an endpoint that has never answered
    base_s: float = 1.0  #: the first wait; it doubles from then on, with jitter
    longest_s: float = 60.0  #: no wait is longer, whatever the endpoint asks for

    def wait_s(self, attempt: int, error: ApiError) -> float:
        """How long to wait after a failed attempt, counted from 1."""
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
        self._key = b""
        self._client: AsyncOpenAI | None = None
        self._reached = False

    @property
    def base_url(self) -> str:
        """Where requests go, without the query: fit to be shown."""
        return shown(find_base_url(self._endpoint))

    async def __aenter__(self) -> Self:
        import openai  # noqa: PLC0415

        base_url, key = find_base_url(self._endpoint), find_key(self._endpoint)
        self._key = key.encode()
        self._client = openai.AsyncOpenAI(
            api_key=key, base_url=base_url, max_retries=0, timeout=TRANSFER_TIMEOUT_S
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def upload(self, path: Path, *, purpose: str) -> str:
        """Upload a file; returns what the endpoint calls it.

        Raises:
            ApiError: it was not taken.
            FatalApiError: the endpoint refuses everything.
        """
        form = {"Content-Type": "multipart/form-data"}

        async def send(client: AsyncOpenAI, kind: type[Response]) -> Response:
            with path.open("rb") as file:
                return await client.post(
                    "/files",
                    cast_to=kind,
                    body={"purpose": purpose},
                    files={"file": (path.name, file, "application/jsonl")},
                    options={"headers": form},
                )

        answer = await self._patiently(lambda: self._json(send))
        return _text(answer, "id", "an uploaded file")

    async def get(self, path: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            ApiError: there is none.
            FatalApiError: the endpoint refuses everything.
        """

        async def send(client: AsyncOpenAI, kind: type[Response]) -> Response:
            return await client.get(path, cast_to=kind)

        return await self._patiently(lambda: self._json(send))

    async def download(self, path: str) -> bytes:
        """Read a file, whatever is in it.

        Raises:
            ApiError: it is not there any more.
            FatalApiError: the endpoint refuses everything.
        """

        async def send(client: AsyncOpenAI, kind: type[Response]) -> Response:
            return await client.get(path, cast_to=kind)

        return await self._patiently(lambda: self._exchange(send))

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post a JSON body, once: what makes something must not be repeated blindly.

        Raises:
            TransientApiError: nobody knows whether it was made.
            ApiError: it was refused.
            FatalApiError: the endpoint refuses everything.
        """

        async def send(client: AsyncOpenAI, kind: type[Response]) -> Response:
            return await client.post(path, cast_to=kind, body=dict(body))

        return await self._json(send)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        attempt = 1
        while True:
            try:
                return await ask()
            except TransientApiError as error:
                never = error.reason == "connection" and not self._reached
                limit = self.patience.first_contact if never else self.patience.attempts
                if attempt >= limit:
                    detail = f"{error.detail} (after {attempt} attempts)"
                    raise ApiError(error.reason, detail) from None
                await asyncio.sleep(self.patience.wait_s(attempt, error))
            attempt += 1

    async def _json(
        self, send: Callable[[AsyncOpenAI, type[Response]], Awaitable[Response]]
    ) -> dict[str, Any]:
        raw = await self._exchange(send)
        try:
            found = orjson.loads(raw)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            said = one_line(raw[:1000].decode("utf-8", "replace")) or "nothing"
            raise TransientApiError("garbage", f"HTTP 200 without a JSON object: {said}")
        return found

    async def _exchange(
        self, send: Callable[[AsyncOpenAI, type[Response]], Awaitable[Response]]
    ) -> bytes:
        """The body of an answer, with the key blanked out wherever the endpoint echoes it."""
        import openai  # noqa: PLC0415
        from httpx2 import Response  # noqa: PLC0415

        if self._client is None:
            raise RuntimeError("a FileApi is used inside `async with`")
        try:
            response = await send(self._client, Response)
        except openai.APIStatusError as error:
            response = error.response
        except openai.APITimeoutError:
            raise TransientApiError(
                "timeout", f"no reply within {TRANSFER_TIMEOUT_S:g} s"
            ) from None
        except openai.APIConnectionError as error:
            cause = one_line(str(error.__cause__ or error))
            where = f"{self.base_url}: connection lost: {cause}"
            raise TransientApiError("connection", where) from None
        self._reached = True
        raw: bytes = response.content
        if len(self._key) >= _SECRET_LENGTH:
            raw = raw.replace(self._key, b"[key]")
        if response.status_code >= 400:
            raise self._refusal(response.status_code, raw, response.headers)
        return raw

    def _refusal(self, status: int, raw: bytes, headers: Mapping[str, str]) -> ApiError:
        error = refusal(status, raw, headers)
        if isinstance(error, FatalApiError) and error.reason == "not_found":
            said = error.detail.partition("; ")[0]
            detail = f"{said}; {self.base_url} has no such file or job, or no batch jobs at all"
            return ApiError("not_found", detail)
        return error


def _text(answer: Mapping[str, Any], field: str, what: str) -> str:
    value = answer.get(field)
    if not isinstance(value, str) or not value:
        raise ApiError("garbage", f"{what} without {field}: {one_line(str(dict(answer)))}")
    return value
