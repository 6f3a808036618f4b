"""Requests to any OpenAI-compatible endpoint: the only user of ``openai`` and ``tenacity``.

One retry layer, one limit on the requests in flight, and the cheapest path through the client
that leaves it authentication and base_url: bytes in, bytes out, over aiohttp.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import orjson

from arena.endpoint.address import Endpoint, find_base_url, find_key, shown
from arena.endpoint.pace import Gate, Pace
from arena.endpoint.refusals import TransientApiError, one_line, refusal, wrapped_refusal
from arena.errors import ApiError, FatalApiError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from tenacity import RetryCallState

__all__ = ["Api", "ApiReply", "Endpoint", "Retry", "run"]

T = TypeVar("T")

_MAX_CONNECTIONS = 4096
"""Stated, because the aiohttp transport takes no limit to mean 100."""
_SECRET_LENGTH = 8
"""A shorter "key" is a placeholder such as EMPTY; blanking it would garble honest text."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a request is tried, and how long is waited in between."""

    attempts: int = 8  #: per request, the first one included
    first_contact: int = 3  #: attempts to connect to an endpoint that has never answered
    base_s: float = 0.5  #: the first wait; it doubles from then on, with jitter
    longest_s: float = 60.0  #: no wait is longer, unless the endpoint asks for it
    longest_asked_s: float = 600.0  #: no wait that the endpoint asks for is longer than this


@dataclass(frozen=True, slots=True)
class ApiReply:
    """What an endpoint answered."""

    body: dict[str, Any]  #: the parsed JSON object
    latency_ms: float  #: of the successful attempt alone, retries and waits excluded
    attempts: int  #: how many it took


class Api:
    """One endpoint, to be used as ``async with Api(endpoint) as api:``.

    Raises:
        FatalApiError: on entering, if base_url is none or the key's variable holds no key.
    """

    def __init__(self, endpoint: Endpoint, *, retry: Retry | None = None) -> None:
        self._endpoint = endpoint
        self._retry = retry or Retry()
        self._key = b""
        self._client: AsyncOpenAI | None = None
        self._reached = False
        self._fatal: FatalApiError | None = None
        self._stopped = asyncio.Event()
        limit, timeout_s = endpoint.concurrency, endpoint.timeout_s
        if limit == "auto":
            self._gate = Gate(Pace(slow_s=timeout_s / 4, overdue_s=timeout_s / 2))
        else:
            self._gate = Gate(Pace.fixed(limit))

    @property
    def base_url(self) -> str:
        """Where requests go, without the query: fit to be shown."""
        return shown(find_base_url(self._endpoint))

    async def __aenter__(self) -> Self:
        import openai  # noqa: PLC0415
        from httpx2 import Limits, Timeout  # noqa: PLC0415

        base_url = find_base_url(self._endpoint)
        key = find_key(self._endpoint)
        self._key = key.encode()
        timeout_s = self._endpoint.timeout_s
        limits = Limits(
            max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_CONNECTIONS
        )
        self._client = openai.AsyncOpenAI(
            api_key=key,
            base_url=base_url,
            max_retries=0,
            timeout=Timeout(timeout_s, connect=min(10.0, timeout_s), pool=None),
            http_client=openai.DefaultAioHttpClient(limits=limits),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def post(self, path: str, body: Mapping[str, Any]) -> ApiReply:
        """Send a JSON body, again and again as long as that may help.

        Raises:
            ApiError: this request failed for good; others may do better.
            FatalApiError: every request would fail; raised for all later ones too.
        """
        import tenacity  # noqa: PLC0415

        content = orjson.dumps(body)
        retrying = tenacity.AsyncRetrying(
            sleep=self._sleep,
            stop=self._gives_up,
            wait=self._wait_s,
            retry=tenacity.retry_if_exception_type(TransientApiError),
            reraise=True,
        )
        async with self._gate:
            try:
                reply: ApiReply = await retrying(self._attempt, path, content)
            except FatalApiError as error:
                self._stop(error)
                raise
            except TransientApiError as error:
                raise self._last_word(error, retrying.statistics["attempt_number"]) from None
        return replace(reply, attempts=retrying.statistics["attempt_number"])

    async def _attempt(self, path: str, content: bytes) -> ApiReply:
        """One request."""
        await self._gate.clear()
        if self._fatal:
            raise self._fatal
        started = time.perf_counter()
        try:
            status, headers, raw = await self._exchange(path, content)
        except TransientApiError as error:
            if error.reason == "timeout":
                self._gate.refused()
            raise
        latency_s = time.perf_counter() - started
        self._reached = True
        if status >= 400:
            raise self._noted(refusal(status, raw, headers))
        reply = _json_object(raw)
        if reply is None:
            shown = one_line(raw.decode("utf-8", "replace")) or "nothing"
            raise TransientApiError("garbage", f"HTTP {status} without a JSON object: {shown}")
        if wrapped := wrapped_refusal(reply, raw):
            raise self._noted(wrapped)
        self._gate.answered(latency_s)
        return ApiReply(reply, latency_s * 1000, attempts=1)

    async def _exchange(self, path: str, content: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body, with the key blanked out wherever the endpoint echoes it."""
        import openai  # noqa: PLC0415
        from httpx2 import Response  # noqa: PLC0415

        if self._client is None:
            raise RuntimeError("an Api is used inside `async with`")
        json = {"Content-Type": "application/json"}
        try:
            # The socket's own timeout never expires on a server that trickles bytes.
            async with asyncio.timeout(self._endpoint.timeout_s):
                response = await self._client.post(
                    path, cast_to=Response, content=content, options={"headers": json}
                )
        except openai.APIStatusError as error:
            response = error.response
        except (TimeoutError, openai.APIConnectionError) as error:
            raise self._unanswered(error) from None
        raw = response.content
        if len(self._key) >= _SECRET_LENGTH:
            raw = raw.replace(self._key, b"[key]")
        return response.status_code, response.headers, raw

    def _unanswered(self, error: Exception) -> TransientApiError:
        """A timeout, a refused connection or a dropped one, which the transport all mixes up."""
        import aiohttp  # noqa: PLC0415

        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                return TransientApiError("unreachable", one_line(str(cause)))
            if isinstance(cause, aiohttp.ServerTimeoutError):
                break
            if isinstance(cause, aiohttp.ClientError):
                return TransientApiError("connection", f"connection lost: {one_line(str(cause))}")
            cause = cause.__cause__
        return TransientApiError("timeout", f"no reply within {self._endpoint.timeout_s:g} s")

    def _noted(self, error: ApiError) -> ApiError:
        if isinstance(error, TransientApiError) and error.reason == "rate_limit":
            self._gate.refused(error.retry_after_s)
        return error

    def _gives_up(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        unreachable = isinstance(error, ApiError) and error.reason == "unreachable"
        never = unreachable and not self._reached
        limit = self._retry.first_contact if never else self._retry.attempts
        return state.attempt_number >= limit

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientApiError) and error.retry_after_s is not None:
            # A little later than asked, and not all at the same moment.
            asked_s = min(error.retry_after_s, self._retry.longest_asked_s)
            return asked_s + random.uniform(0, self._retry.base_s)  # noqa: S311
        longest_s = min(self._retry.base_s * 2 ** (state.attempt_number - 1), self._retry.longest_s)
        return random.uniform(longest_s / 2, longest_s)  # noqa: S311

    async def _sleep(self, seconds: float) -> None:
        """Wait, unless another request finds out meanwhile that there is nothing to wait for."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return

    def _last_word(self, error: TransientApiError, attempts: int) -> ApiError:
        if error.reason == "unreachable" and not self._reached:
            fatal = FatalApiError(
                "unreachable", f"{self.base_url}: {error.detail}; check base_url, and that it runs"
            )
            self._stop(fatal)
            return fatal
        return ApiError(error.reason, f"{error.detail} (after {attempts} attempts)")

    def _stop(self, error: FatalApiError) -> None:
        self._fatal = error
        self._stopped.set()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, on uvloop where there is one."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(coroutine)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def _json_object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
