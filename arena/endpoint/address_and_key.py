"""Find the address of an endpoint, and the key for it."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from arena.config.misplaced_keys import secret_in_address
from arena.errors import FatalApiError
from arena.redaction import keep_environment, keep_secret
from arena.terminal import one_line

OPENAI_URL: Final = "https://api.openai.com/v1"
NO_KEY: Final = "none"
"""Sent where there is no key: your own servers ask for none, but the client sends one."""

_NEAR: Final = (".localhost", ".local", ".lan", ".home", ".internal", ".home.arpa")
"""How names end that mean something on one machine or network only (RFC 6761, 6762, 8375)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go."""

    base_url: str | None = None  #: None: OPENAI_BASE_URL from the environment, or OpenAI's own
    api_key_env: str | None = None  #: None: OPENAI_API_KEY, and no key to a base_url given above
    timeout_s: float = 90.0  #: longest wait for one reply
    concurrency: int | Literal["auto"] = "auto"  #: requests in flight; auto finds the limit
    rpm: int | None = None  #: requests a minute, where the limit is known
    tpm: int | None = None  #: tokens a minute, replies included, where the limit is known
    key_header: str = "Authorization"  #: where the key goes: there after "Bearer", else alone
    bare_lists: bool = False  #: a reply may be a mere JSON list; it is read as ``{"data": [...]}``


def find_base_url(endpoint: Endpoint) -> str:
    """Return the endpoint's address.

    Raises:
        FatalApiError: it is not http, names no host, or carries a password or a key.
    """
    url = _given_url(endpoint)
    try:
        parts = urlsplit(url)
        secret = secret_in_address(url)
    except ValueError:
        parts, secret = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise FatalApiError(
            "bad_url",
            f"base_url {one_line(url.rpartition('@')[2])!r} must be like https://host/v1, "
            "with the key in the variable that api_key_env names",
        )
    if secret:
        raise FatalApiError(
            "bad_url",
            f"base_url {one_line(without_query(url))!r} has {one_line(secret)} in it; "
            "put that into a variable, and name it in api_key_env",
        )
    return url


def is_own(endpoint: Endpoint) -> bool:
    """Return whether an endpoint is likely your own server: on this machine or network.

    Such a server often works on one call at a time, as none that is rented out does. No name is
    looked up.
    """
    try:
        host = (urlsplit(_given_url(endpoint)).hostname or "").rstrip(".")
    except ValueError:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_NEAR)
    return address.is_private or address.is_loopback or address.is_link_local


def find_key(endpoint: Endpoint) -> str:
    """Return the endpoint's key, or a placeholder if it needs none.

    OPENAI_API_KEY goes to OpenAI, or where OPENAI_BASE_URL in the same environment points; to
    any other address goes only the key that is named for it.

    Raises:
        FatalApiError: naming the variable that holds no usable key.
    """
    name = endpoint.api_key_env or "OPENAI_API_KEY"
    key = os.environ.get(name, "").strip()
    if endpoint.api_key_env is None:
        if endpoint.base_url:
            return NO_KEY
        if not key and os.environ.get("OPENAI_BASE_URL"):
            return NO_KEY
    if not key:
        where = without_query(find_base_url(endpoint))
        raise FatalApiError("key", f"{name} is not set; put the key for {where} in it")
    if not (key.isascii() and key.isprintable()):
        raise FatalApiError("key", f"{name} holds characters that no key has; set it again")
    keep_secret(key)
    keep_environment()  # an endpoint may be told another's key by mistake, and echo it
    return key


def key_place(endpoint: Endpoint) -> str:
    """Return what to check if the endpoint refuses the key."""
    if find_key(endpoint) == NO_KEY:
        return "api_key_env, since no key was sent"
    return f"the key in {endpoint.api_key_env or 'OPENAI_API_KEY'}"


def without_query(url: str) -> str:
    """Return a checked address without its query, which may hold a token."""
    return url.partition("?")[0].partition("#")[0]


def identity(url: str) -> str:
    """Return the identity of a checked address: all of it, as its query may name a deployment."""
    return url.partition("#")[0].removesuffix("?")


def _given_url(endpoint: Endpoint) -> str:
    return endpoint.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
