"""Whatever bytes an endpoint sends: a failure with its reason, within bounds, and nothing else."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from typing import Any

import pytest
from loopback import LoopbackServer, chat, error
from raw_server import RawServer, Request, Sent, http
from tables import each_row

from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, ApiReply, run
from arena.endpoint.outage import OutagePolicy
from arena.endpoint.rate_limit import duration_s, retry_after_s
from arena.endpoint.transport import headers_for
from arena.errors import ApiError, FatalApiError

HASTY = Retry(base_s=0.002, longest_s=0.01, longest_asked_s=0.01, storm_s=0.01)
KEY = "sk-planted-0123456789abcdef"
GOOD = http(chat("fine").body)


def post(
    base_url: str, *, retry: Retry = HASTY, greeted: bool = False, **endpoint: Any
) -> ApiReply:
    """Post once; ``greeted`` where the endpoint has answered another call before."""

    async def once() -> ApiReply:
        async with Api(Endpoint(base_url, **endpoint), retry=retry) as api:
            if greeted:
                await api.post("/hello", {})
            return await api.post("/chat/completions", {"model": "m", "messages": []})

    return run(asyncio.wait_for(once(), 60))


BROKEN: dict[str, Sent] = {
    "gzip that is none": http(b"\x1f\x8bnot gzip", headers="Content-Encoding: gzip\r\n"),
    "gzip that is cut": http(gzip.compress(b"{}" * 99)[:20], headers="Content-Encoding: gzip\r\n"),
    "deflate that is none": http(b"zzzz", headers="Content-Encoding: deflate\r\n"),
    "compressed often": http(
        zlib.compress(zlib.compress(b"{")), headers="Content-Encoding: deflate, deflate\r\n"
    ),
    "compressed absurdly often": http(
        b"zz", headers=f"Content-Encoding: {', '.join(['gzip'] * 1000)}\r\n"
    ),
    "brotli without brotli": http(b"zzzz", headers="Content-Encoding: br\r\n"),
    "unknown compression": http(b"zzzz", headers="Content-Encoding: rot13\r\n"),
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\nnope\r\n",
    "chunk size below 0": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nnope\r\n",
    "length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "length that is not reached": http(b"{", length=1000),
    "status line": b"HTTP/1.1 abc\r\n\r\n",
    "status of one digit": b"HTTP/1.1 2 OK\r\n\r\n{}",
    "no HTTP": b"hello there\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n{}",
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 50_000 + b"\r\n{}",
    "NUL in a header": http(b"{}", headers="X: a\0b\r\n"),
    "a header without a name": http(b"{}", headers=": x\r\n"),
    "a reason beyond ASCII": "HTTP/1.1 500 \xff\xfe\r\nContent-Length: 0\r\n\r\n".encode("latin-1"),
    "101": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "204": b"HTTP/1.1 204 No\r\n\r\n",
    "304": b"HTTP/1.1 304 No\r\n\r\n",
    "999": http(b'{"error": "x"}', status="999 X"),
    "brackets": http(b"[" * 100_000),
    "brackets in an error": http(b"[" * 100_000, status="500 X"),
    "nested deeper than it can be written": http(b"[" * 600 + b"]" * 600, status="500 X"),
    "not text": http(bytes(range(256))),
}


@each_row("name", BROKEN)
def test_an_answer_that_cannot_be_read_is_tried_again_and_has_its_reason(name: str) -> None:
    with RawServer(lambda request: BROKEN[name] if request.n == 1 else GOOD) as server:
        # A connection that the server closes behind its answer may cost one more.
        assert post(server.base_url).attempts in (2, 3)
    with (
        RawServer(lambda request: GOOD if request.path == "/v1/hello" else BROKEN[name]) as server,
        pytest.raises(ApiError) as caught,
    ):
        post(server.base_url, greeted=True)

    assert caught.value.reason in {"garbage", "connection", "server"}
    assert str(caught.value).isprintable()
    assert "after 8 attempts" in str(caught.value)


@each_row("name", BROKEN)
def test_an_endpoint_that_never_answers_otherwise_is_named_soon(name: str) -> None:
    with RawServer(lambda request: BROKEN[name]) as server, pytest.raises(ApiError) as caught:
        post(server.base_url)

    assert caught.value.reason in {"unusable", "connection", "server"}
    assert str(caught.value).isprintable()
    assert len(server.requests) == HASTY.first_contact


def test_one_call_that_an_endpoint_cannot_digest_stops_no_other_and_three_stop_the_run() -> None:
    bad = http(b"<html>")

    async def first_ones(server: RawServer, n_calls: int) -> list[ApiError]:
        async with Api(Endpoint(server.base_url), retry=HASTY) as api:
            errors = []
            for number in range(n_calls):
                with pytest.raises(ApiError) as caught:
                    await api.post("/chat/completions", {"model": "m", "messages": [number]})
                errors.append(caught.value)
            return errors

    with RawServer(lambda request: bad) as server:
        errors = run(asyncio.wait_for(first_ones(server, 3), 60))

    assert [isinstance(error, FatalApiError) for error in errors] == [False, False, True]
    assert all("check base_url" in str(error) for error in errors)


def test_compressed_answers_are_read() -> None:
    packed = gzip.compress(chat("fine").body)
    server = RawServer(lambda request: http(packed, headers="Content-Encoding: gzip\r\n"))
    with server:
        assert "fine" in str(post(server.base_url).body)

    assert b"accept-encoding: gzip, deflate\r\n" in server.requests[0].head.lower()


BLANKS = b" " * 2**16
CHUNK = b"10000\r\n" + BLANKS + b"\r\n"
BOMB = gzip.compress(BLANKS * 1600, 1)
LONG: dict[str, Sent] = {
    "endless": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[CHUNK] * 8000],
    "long": [http(b"", length=500_000_000), *[BLANKS] * 8000],
    "of a length not told": [b"HTTP/1.1 200 OK\r\n\r\n", *[BLANKS] * 8000],
    "bomb": http(BOMB, headers="Content-Encoding: gzip\r\n"),
    "bomb in a bomb": http(gzip.compress(BOMB), headers="Content-Encoding: gzip, gzip\r\n"),
}


@pytest.mark.parametrize("name", LONG)
def test_an_answer_of_any_length_takes_no_more_memory_than_a_long_one(name: str) -> None:
    async def many(base_url: str) -> list[ApiReply | BaseException]:
        async with Api(Endpoint(base_url, concurrency=2), retry=Retry(attempts=1)) as api:
            await api.post("/hello", {})
            calls = (api.post("/chat/completions", {"n": n}) for n in range(3))
            return await asyncio.gather(*calls, return_exceptions=True)

    with RawServer(lambda request: GOOD if request.n == 1 else LONG[name]) as server:
        tracemalloc.start()
        failures = run(asyncio.wait_for(many(server.base_url), 60))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert {str(failure).split(" (")[0] for failure in failures} == {
        "garbage: a reply of more than 8 MB"
    }
    assert peak < 60_000_000  # two at once, the parts and the whole, and what the server buffers


def test_an_answer_may_be_as_long_as_the_vectors_that_were_asked_for() -> None:
    long = json.dumps({"data": [], "pad": "x" * 9_000_000}).encode()

    async def ask(base_url: str, n_items: int) -> ApiReply:
        async with Api(Endpoint(base_url), retry=Retry(attempts=1)) as api:
            return await api.post("/embeddings", {}, n_items=n_items)

    with RawServer(lambda request: http(long)) as server:
        assert run(ask(server.base_url, 8)).body["data"] == []
        with pytest.raises(ApiError, match="more than 8 MB"):
            run(ask(server.base_url, 0))


def test_a_long_error_is_shown_in_part() -> None:
    body = json.dumps({"error": {"message": "no such field " + "A" * 20_000_000}}).encode()
    with RawServer(lambda request: http(body, status="400 X")) as server:
        with pytest.raises(ApiError, match=r"bad_request: HTTP 400: .*no such field A") as caught:
            post(server.base_url)

        assert len(server.requests) == 1
    assert len(str(caught.value)) < 400


def test_an_answer_that_trickles_is_given_up_in_time() -> None:
    drops = [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", *[b" ", 0.02] * 500]
    with RawServer(lambda request: drops if request.n == 2 else GOOD) as server:
        began = time.monotonic()
        reply = post(server.base_url, greeted=True, timeout_s=0.3)

    assert reply.attempts == 2
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_and_the_new_address_is_told_without_its_secrets(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with LoopbackServer(lambda body, attempt: chat("landed")) as other:
        there = other.base_url.replace("//", "//me:hunter2@")
        location = f"Location: {there}/chat/completions?token=hunter2&key={KEY}\r\n"
        with (
            RawServer(lambda request: http(b"", status=f"{status} X", headers=location)) as server,
            pytest.raises(FatalApiError) as caught,
        ):
            post(server.base_url, api_key_env="MY_KEY", key_header="api-key")

        assert other.requests == []
    assert len(server.requests) == 1
    assert caught.value.reason == "moved"
    assert f"base_url moved to {other.base_url};" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert KEY not in str(caught.value)


@each_row(
    "location",
    ["", "http://[::bad/x", "http://\x01\x02/", "file:///etc/passwd", "mailto:a@b", "http://"],
)
def test_a_redirect_to_what_is_no_address_is_one_line(location: str) -> None:
    headers = f"Location: {location}\r\n" if location else ""
    with (
        RawServer(lambda request: http(b"", status="307 X", headers=headers)) as server,
        pytest.raises(ApiError) as caught,
    ):
        post(server.base_url)

    assert str(caught.value).isprintable()
    assert "passwd" not in str(caught.value)


@each_row(
    "asked",
    [
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 0000 00:00:00 GMT",
        "31 Jun 2026",
        "1e300",
        "1e999",
        "-5",
        "nan",
        "inf",
        "9" * 4000,
        "0x10",
        "\xff\xfe",
        "1, 2",
        ", ".join(["Mon"] * 500),
    ],
)
def test_no_retry_after_stops_a_call_for_longer_than_the_longest_wait(asked: str) -> None:
    busy = http(b"{}", status="429 X", headers=f"Retry-After: {asked}\r\n")
    with RawServer(lambda request: busy if request.n <= 3 else GOOD) as server:
        assert post(server.base_url).attempts == 4

    wait_s = retry_after_s({"retry-after": asked})
    assert wait_s is None or 0 <= wait_s < float("inf")


@each_row("text", ["9" * 400 + "s", "1" * 8000, "9" * 60 + "d", "-1s", "nan", ""])
def test_a_duration_is_finite_or_none(text: str) -> None:
    found = duration_s(text)

    assert found is None or 0 <= found < float("inf")


@each_row("page", ["<script " * 200_000, "<" * 2_000_000, "<style>" * 300_000])
def test_an_error_page_of_any_kind_is_read_in_one_pass(page: str) -> None:
    with (
        RawServer(lambda request: http(page.encode(), status="400 X")) as server,
        pytest.raises(ApiError, match="bad_request: HTTP 400"),
    ):
        run(asyncio.wait_for(_once(server.base_url), 20))


async def _once(base_url: str) -> ApiReply:
    async with Api(Endpoint(base_url), retry=HASTY) as api:
        return await api.post("/chat/completions", {})


OPENAI = {
    "OPENAI_ORG_ID": "org-planted",
    "OPENAI_PROJECT_ID": "proj-planted",
    "OPENAI_CUSTOM_HEADERS": "X-Gateway: planted-secret-1\nAuthorization: planted-secret-2",
    "OPENAI_ADMIN_KEY": "planted-secret-3",
    "OPENAI_WEBHOOK_SECRET": "planted-secret-4",
    "AZURE_OPENAI_API_KEY": "planted-secret-5",
}


def test_what_the_environment_holds_for_openai_goes_to_no_other_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in OPENAI.items():
        monkeypatch.setenv(name, value)
    with RawServer(lambda request: GOOD) as server:
        post(server.base_url)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        run(asyncio.wait_for(_once(None), 60))

    to_ours, to_the_environment_s = (request.head.decode().lower() for request in server.requests)
    assert "planted" not in to_ours
    assert "x-gateway: planted-secret-1" in to_the_environment_s
    assert to_the_environment_s.count("planted") == 1


def test_openai_itself_is_told_organisation_and_project(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OPENAI.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    for url in (None, "https://api.openai.com/v1", "https://eu.api.openai.com/v1"):
        sent = headers_for(Endpoint(url, "OPENAI_API_KEY"))
        assert sent["OpenAI-Organization"] == "org-planted"
        assert sent["OpenAI-Project"] == "proj-planted"
        assert sent["X-Gateway"] == "planted-secret-1"
        assert sent["Authorization"] == f"Bearer {KEY}"
    for url in ("http://api.openai.com/v1", "https://api.openai.com.evil.example/v1"):
        assert "planted-secret" not in str(headers_for(Endpoint(url, "OPENAI_API_KEY")))


@pytest.mark.parametrize("value", ["a\0b", "caf\xe9", "\x1b[31m"])
def test_a_header_of_the_environment_that_cannot_be_sent_is_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-A: {value}".replace("\0", "\x7f"))

    with RawServer(lambda request: GOOD) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        with pytest.raises(FatalApiError, match=r"'X-A'.*OPENAI_CUSTOM_HEADERS"):
            run(_once(None))


PROXIES = [
    "http://127.0.0.1:1",
    "::::",
    "http://[",
    "socks5://a:hunter2hunter2@h:1",
    "ftp://x",
    " ",
]


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_a_server_on_this_machine_is_reached_whatever_proxy_is_set(
    name: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", "[::1,*.[")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    with RawServer(lambda request: GOOD) as server:
        for host in ("127.0.0.1", "localhost"):
            assert post(server.base_url.replace("127.0.0.1", host)).attempts == 1


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_cannot_be_used_is_one_line_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(ApiError) as caught:
        post("https://endpoint.invalid/v1", timeout_s=5)

    assert str(caught.value).isprintable()
    assert "hunter2" not in str(caught.value)


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")

    with pytest.raises(FatalApiError, match=r"environment: .*SSL_CERT_FILE"):
        post("https://endpoint.invalid/v1")


def test_an_outage_of_broken_answers_is_waited_out() -> None:
    """Answers that no client can read are an outage like any other."""
    retry = Retry(
        base_s=0.002, longest_s=0.01, outage=OutagePolicy(enough=5, pause_s=0.02, quiet_s=0)
    )

    async def many(base_url: str) -> list[ApiReply]:
        async with Api(Endpoint(base_url), retry=retry) as api:
            await api.post("/chat/completions", {"n": -1})
            calls = (api.post("/chat/completions", {"n": n}) for n in range(40))
            return await asyncio.gather(*calls)

    broken = BROKEN["gzip that is none"]
    mended_at = time.monotonic() + 1
    with RawServer(
        lambda request: broken if request.n > 1 and time.monotonic() < mended_at else GOOD
    ) as server:
        assert len(run(asyncio.wait_for(many(server.base_url), 60))) == 40


def test_headers_of_rate_limits_that_make_no_sense_stop_nobody() -> None:
    nonsense = "\r\n".join(
        [
            "x-ratelimit-limit-requests: 1e-300",
            "x-ratelimit-limit-tokens: 1",
            f"x-ratelimit-reset-requests: {'9' * 400}s",
            "x-ratelimit-remaining-requests: 0",
            "",
        ]
    )
    limited = [error(429, "slow down"), chat("fine")]

    def answer(request: Request) -> Sent:
        refused = request.n % 3 == 0
        status = "429 X" if refused else "200 OK"
        return http(limited[not refused].body, status=status, headers=nonsense)

    async def many(base_url: str) -> list[ApiReply]:
        async with Api(Endpoint(base_url), retry=HASTY) as api:
            await api.post("/chat/completions", {})
            return [await api.post("/chat/completions", {"n": n}) for n in range(20)]

    with RawServer(answer) as server:
        assert len(run(asyncio.wait_for(many(server.base_url), 30))) == 20


@pytest.mark.parametrize("count", ["9" * 400, "9223372036854775808", "1e300", "Infinity", "-1"])
def test_a_count_of_tokens_that_no_request_can_have_holds_nobody_back(count: str) -> None:
    body = chat("fine", usage={"total_tokens": "#"}).body.replace(b'"#"', count.encode())

    async def many(base_url: str) -> list[ApiReply]:
        async with Api(Endpoint(base_url, tpm=10_000_000), retry=HASTY) as api:
            return [await api.post("/chat/completions", {"n": n}) for n in range(10)]

    with RawServer(lambda request: http(body)) as server:
        assert len(run(asyncio.wait_for(many(server.base_url), 30))) == 10
