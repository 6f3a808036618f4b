"""Exchange JSON with an endpoint, over connections that stay open."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit

from arena.endpoint.address_and_key import Endpoint, find_base_url, find_key, is_own
from arena.endpoint.http_errors import TransientApiError
from arena.endpoint.timeouts import Turns
from arena.errors import FatalApiError
from arena.redaction import keep_secret
from arena.terminal import one_line
from arena.version import __version__

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Request, Response

_LONGEST_CONNECT_S: Final = 10.0


class Transport:
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
        """Return status, headers and body of the answer to a JSON body.

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


MAX_CONNECTIONS: Final = 4096
"""Stated, because the aiohttp transport takes no limit to mean 100."""

_CLOSING_S: Final = 1.0
"""Longest wait until a connection that is given up is closed."""

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_MOVED: Final = (301, 302, 303, 307, 308)
_HOST: Final = re.compile(r"[\w.:\[\]-]+")
_PATHS: Final = ("/chat/completions", "/embeddings", "/rerank", "/files", "/batches")
"""What follows base_url."""

_PASSWORD: Final = re.compile(r"(?<!\w)[^\s:/@]*:([^\s/@]+)@")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def open_client(base_url: str) -> AsyncClient:
    """Open a client for one address, with the proxies and certificates of the environment.

    A server on this machine is reached directly, even if the environment sets a proxy.

    Raises:
        FatalApiError: a proxy or a certificate file of the environment cannot be used.
    """
    import httpx2  # noqa: PLC0415
    import openai  # noqa: PLC0415

    local, encrypted = on_this_machine(base_url), base_url.startswith("https:")
    names = _CERTIFICATES if local else _PROXIES + _CERTIFICATES
    try:
        if not local:
            _check_proxy(base_url)
        return openai.DefaultAioHttpClient(
            limits=httpx2.Limits(
                max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
            ),
            verify=httpx2.create_ssl_context(verify=encrypted or not local),
            trust_env=not local,
            follow_redirects=False,
        )
    except (OSError, ValueError, httpx2.InvalidURL) as error:
        given = [name for name in names if os.environ.get(name) or os.environ.get(name.lower())]
        check = f"check {', '.join(given)}" if given else "check proxies and certificates"
        raise FatalApiError("environment", f"{one_line(str(error))}; {check}") from None


def headers_for(endpoint: Endpoint) -> dict[str, str]:
    """Return the headers of each request: the client's name, and the key.

    What the environment holds for OpenAI, as ``OPENAI_ORG_ID``, goes to OpenAI alone, and
    ``OPENAI_CUSTOM_HEADERS`` as well to where ``OPENAI_BASE_URL`` beside it points.

    Raises:
        FatalApiError: no address, no key, or a header of the environment that none can be.
    """
    url, key = find_base_url(endpoint), find_key(endpoint)
    bearer = endpoint.key_header == "Authorization"
    headers = {
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "User-Agent": f"retrieval-arena/{__version__}",
        endpoint.key_header: f"Bearer {key}" if bearer else key,
    }
    names = {name.lower() for name in headers} | {"content-type", "content-length", "host"}
    given = _from_environment(endpoint, url)
    return headers | {name: value for name, value in given.items() if name.lower() not in names}


async def send(
    client: AsyncClient, request: Request, *, turns: Turns, most: int
) -> tuple[Response, bytes]:
    """Send one request; return the response, and its body unpacked.

    Args:
        client: of `open_client`.
        request: to its address.
        turns: how long the whole of it is waited for.
        most: bytes of the body, at most; what is longer is cut off where it is an error's.

    Raises:
        TransientApiError: no whole reply came: ``unreachable``, ``connection``, ``timeout``,
            ``garbage``.
        FatalApiError: the endpoint points elsewhere.
    """
    began = time.monotonic()
    try:
        # A socket's own timeout never expires on a server that trickles bytes.
        async with turns.call():
            return await _received(client, request, most)
    except (FatalApiError, TransientApiError):
        raise
    except TimeoutError:
        raise _late(time.monotonic() - began) from None
    except Exception as error:  # noqa: BLE001, no answer of a server may be a bug of ours
        raise _unanswered(error, time.monotonic() - began) from None


def on_this_machine(url: str) -> bool:
    """Return whether an address is this machine's own."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


async def _received(client: AsyncClient, request: Request, most: int) -> tuple[Response, bytes]:
    """Send a request and read its whole response, and close it if that fails."""
    response = await client.send(request, stream=True)
    try:
        return response, await _body(response, most)
    except BaseException:
        # Closing may hang or fail as reading did; the first error is the one to report.
        with suppress(Exception):
            async with asyncio.timeout(_CLOSING_S):
                await response.aclose()
        raise


async def _body(response: Response, most: int) -> bytes:
    if response.status_code in _MOVED:
        raise _moved(response)
    parts: list[bytes] = []
    size = 0
    packed = any(name.lower() == b"content-encoding" for name, _ in response.headers.raw)
    async for part in response.aiter_bytes() if packed else response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size > most:
            await response.aclose()
            if response.status_code >= 400:
                break
            raise TransientApiError("garbage", f"a reply of more than {most / 1e6:,.0f} MB")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _moved(response: Response) -> FatalApiError:
    """Return the error for a redirect: arena sends neither key nor texts to another address."""
    status, sent_url = response.status_code, response.request.url
    try:
        parts = urlsplit(urljoin(str(sent_url), response.headers.get("location", "")))
        netloc = parts.netloc.rpartition("@")[2]
        found = parts.scheme in ("http", "https") and bool(_HOST.fullmatch(netloc))
    except ValueError:
        found, netloc = False, ""
    if not found:
        return FatalApiError("moved", f"HTTP {status} to what is no address; check base_url")
    # The address of the whole API is what people need; a query may hold a secret.
    end = next((end for end in _PATHS if sent_url.path.endswith(end)), "")
    moved_to = f"{parts.scheme}://{netloc}{parts.path.removesuffix(end)}"
    return FatalApiError(
        "moved",
        f"HTTP {status}: base_url moved to {one_line(moved_to)}; put that into the arena.toml if "
        "you trust it",
    )


def _from_environment(endpoint: Endpoint, url: str) -> dict[str, str]:
    host = urlsplit(url).hostname or ""
    is_openai = url.startswith("https:") and (
        host == "api.openai.com" or host.endswith(".openai.com")
    )
    headers: dict[str, str] = {}
    if is_openai or endpoint.base_url is None:
        for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
            name, colon, value = line.partition(":")
            if colon:
                keep_secret(value.strip())
                headers[name.strip()] = value.strip()
    if is_openai:
        for name, variable in (
            ("OpenAI-Organization", "OPENAI_ORG_ID"),
            ("OpenAI-Project", "OPENAI_PROJECT_ID"),
        ):
            if value := os.environ.get(variable, "").strip():
                headers[name] = value
    for name, value in headers.items():
        if not (_HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
            raise FatalApiError(
                "environment",
                f"the header {one_line(name)!r} of the environment cannot be sent; check "
                "OPENAI_CUSTOM_HEADERS, OPENAI_ORG_ID and OPENAI_PROJECT_ID",
            )
    return headers


def _check_proxy(url: str) -> None:
    """Refuse what the transport cannot use, and keep a proxy's password to ourselves.

    Raises:
        ValueError: the proxy for this address is none for HTTP.
    """
    parts = urlsplit(url)
    proxies: Mapping[str, str] = urllib.request.getproxies()
    for password in _PASSWORD.findall(" ".join(proxies.values())):
        keep_secret(password)
        keep_secret(unquote(password))
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
        return
    found = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if found.scheme not in ("http", "https") or not found.hostname or found.port == 0:
        raise ValueError(f"the proxy for {parts.scheme} is no http://host:port")


def _late(waited_s: float) -> TransientApiError:
    error = TransientApiError("timeout", f"no reply within {waited_s:.3g} s")
    error.late = True
    return error


def _unanswered(error: Exception, waited_s: float) -> TransientApiError:
    """Return a refused connection, a dropped one, or no HTTP, which the transport all mixes up."""
    import aiohttp  # noqa: PLC0415

    no_contact = aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, no_contact):
            return TransientApiError("unreachable", one_line(str(cause)))
        if isinstance(cause, aiohttp.ServerTimeoutError):
            return _late(waited_s)
        if isinstance(cause, aiohttp.ClientResponseError):
            break
        if isinstance(cause, aiohttp.ClientError):
            return TransientApiError("connection", f"connection lost: {one_line(str(cause))}")
        cause = cause.__cause__
    message = getattr(cause, "message", "") or str(cause or error)
    said = one_line(message) or type(error).__name__
    return TransientApiError("garbage", f"an answer that cannot be read: {said}")
