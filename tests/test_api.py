from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from loopback import DROP, Answer, LoopbackServer, as_json, chat, error, truncated
from tables import each_row

from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, ApiReply, run
from arena.endpoint.http_errors import TransientApiError, refusal
from arena.endpoint.outage import OutagePolicy
from arena.endpoint.rate_limit import retry_after_s
from arena.errors import ApiError, FatalApiError
from arena.terminal import one_line

HASTY = Retry(base_s=0.002, longest_s=0.01)
KEY = "sk-planted-0123456789abcdef"
BODY = {"model": "m", "messages": []}


def post(server: LoopbackServer, *, retry: Retry = HASTY, **endpoint: Any) -> ApiReply:
    async def once() -> ApiReply:
        async with Api(Endpoint(server.base_url, **endpoint), retry=retry) as api:
            return await api.post("/chat/completions", BODY)

    return run(once())


def refused(answer: Answer, kind: type[ApiError] = ApiError, **endpoint: Any) -> ApiError:
    """The error that an endpoint which only ever gives this answer leads to."""
    with LoopbackServer(lambda body, attempt: answer) as server, pytest.raises(kind) as caught:
        post(server, **endpoint)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


def flaky(answer: Answer, *, times: int = 1):
    """Gives this answer first, and a good one afterwards."""
    return lambda body, attempt: answer if attempt <= times else chat("fine")


def test_a_reply_is_the_json_object_that_the_endpoint_sent():
    with LoopbackServer(lambda body, attempt: chat("hello")) as server:
        reply = post(server)

        assert reply.body["choices"][0]["message"]["content"] == "hello"
        assert reply.attempts == 1
        assert server.requests[0].path == "/v1/chat/completions"
        assert server.requests[0].body == BODY
        assert server.requests[0].headers["content-type"] == "application/json"


@each_row(
    "answer",
    [
        *(error(status, "busy") for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)),
        DROP,
        truncated(chat("cut")),
        Answer(200, {"Content-Type": "application/json"}, b'{"choices": ['),
        Answer(200, {"Content-Type": "application/json"}, b"[1, 2]"),
        Answer(200, {"Content-Type": "application/json"}, b""),
        Answer(200, {"Content-Type": "text/html"}, b"<html><h1>Bad gateway</h1></html>"),
        as_json({"error": {"code": 503, "message": "overloaded"}}),
    ],
)
def test_what_may_pass_is_tried_again(answer):
    with LoopbackServer(flaky(answer, times=2)) as server:
        reply = post(server)

    assert reply.attempts == 3
    assert reply.body["choices"][0]["message"]["content"] == "fine"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(429, "slow down"), "rate_limit"),
        (error(500, "oops"), "server"),
        (DROP, "connection"),
        (truncated(chat("cut")), "connection"),
        (Answer(200, {}, b"<html>Maintenance</html>"), "garbage"),
    ],
)
def test_what_does_not_pass_any_more_is_an_error_after_eight_attempts(answer, reason):
    async def twice(base_url: str) -> None:
        async with Api(Endpoint(base_url), retry=HASTY) as api:
            await api.post("/chat/completions", {"n": 1})
            await api.post("/chat/completions", {"n": 2})

    script = lambda body, attempt: chat("fine") if body["n"] == 1 else answer  # noqa: E731
    with LoopbackServer(script) as server, pytest.raises(ApiError) as caught:
        run(twice(server.base_url))

    assert type(caught.value) is ApiError
    assert caught.value.reason == reason
    assert "after 8 attempts" in str(caught.value)


@each_row(
    ("answer", "attempts"),
    [
        (error(500, "oops"), 3),
        (DROP, 3),
        (Answer(200, {}, b"<html>Maintenance</html>"), 3),
        (error(503, "loading model"), 8),
        (error(429, "slow down"), 8),
    ],
)
def test_what_never_worked_is_said_soon_unless_it_says_that_it_is_busy(answer, attempts):
    with LoopbackServer(lambda body, attempt: answer) as server, pytest.raises(ApiError):
        post(server)

    assert len(server.requests) == attempts


@each_row(
    ("answer", "reason"),
    [
        (error(401, "Incorrect API key"), "key"),
        (error(402, "Payment required"), "quota"),
        (error(403, "Country not supported"), "permission"),
        (error(404, "The model `gpt-9` does not exist", code="model_not_found"), "not_found"),
        (error(400, "gpt-9 is not a valid model ID"), "not_found"),
        (error(400, "API key not valid. Please pass a valid API key."), "key"),
        (error(429, "You exceeded your current quota", code="insufficient_quota"), "quota"),
        (error(429, "Limit reached", code="billing_hard_limit_reached"), "quota"),
        (as_json({"error": {"code": 402, "message": "Insufficient credits"}}), "quota"),
    ],
)
def test_what_every_request_would_meet_stops_the_run_at_the_first(answer, reason):
    with LoopbackServer(lambda body, attempt: answer) as server:
        with pytest.raises(FatalApiError) as caught:
            post(server)

        assert caught.value.reason == reason
        assert len(server.requests) == 1


def test_after_a_fatal_refusal_no_request_is_sent_and_none_waits():
    async def many(base_url: str) -> list[Any]:
        slow = Retry(base_s=30)
        async with Api(Endpoint(base_url, concurrency=4), retry=slow) as api:
            posts = [api.post("/chat/completions", {"i": i}) for i in range(20)]
            return await asyncio.gather(*posts, return_exceptions=True)

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.05)
        return error(401, "no") if body["i"] == 3 else error(500, "later")

    with LoopbackServer(answer) as server:
        started = time.monotonic()
        outcomes = run(many(server.base_url))

        assert all(isinstance(outcome, FatalApiError) for outcome in outcomes)
        assert len(server.requests) == 4
        assert time.monotonic() - started < 5


def test_a_bad_request_fails_alone_and_at_once():
    with LoopbackServer(lambda body, attempt: error(400, "context length exceeded")) as server:
        with pytest.raises(ApiError, match="bad_request: HTTP 400: context length") as caught:
            post(server)

        assert not isinstance(caught.value, FatalApiError)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "filtered by the management policy", code="content_filter"),
        error(403, "Your input was flagged by moderation"),
    ],
)
def test_censored_input_is_a_refusal_of_that_request_alone(answer):
    assert refused(answer).reason == "refusal"


def test_a_stalled_reply_times_out_even_when_bytes_trickle():
    release = threading.Event()

    def stall(body: dict[str, Any], attempt: int) -> Answer:
        release.wait(5)
        return chat("late")

    with LoopbackServer(stall) as server:
        with pytest.raises(ApiError, match=r"timeout: .* no reply within 0\.3") as caught:
            post(server, timeout_s=0.1)
        release.set()

    assert caught.value.reason == "timeout"


def test_retry_after_is_waited_for_and_not_counted_as_latency():
    asked = error(429, "slow down", headers={"retry-after-ms": "300", "Retry-After": "60"})

    with LoopbackServer(flaky(asked)) as server:
        started = time.monotonic()
        reply = post(server)

    assert 0.3 <= time.monotonic() - started < 5
    assert reply.latency_ms < 250


def test_retry_after_is_read_in_all_its_forms():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)

    assert retry_after_s({"retry-after": "2.5"}) == 2.5
    assert retry_after_s({"retry-after-ms": "20", "retry-after": "9"}) == 0.02
    assert retry_after_s({"retry-after": soon}) == pytest.approx(90, abs=5)
    assert retry_after_s({"retry-after": "Mon, 01 Jan 2001 00:00:00 GMT"}) == 0
    for nonsense in ("", "soon", "-1", "nan", "inf"):
        assert retry_after_s({"retry-after": nonsense}) is None


async def enter(endpoint: Endpoint) -> None:
    async with Api(endpoint, retry=HASTY) as api:
        await api.post("/chat/completions", BODY)


def test_an_endpoint_that_is_not_there_is_given_up_soon_and_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

        with pytest.raises(FatalApiError) as caught:
            run(enter(Endpoint(f"{base_url}?deployment=quiet")))

    message = str(caught.value)
    assert message.startswith(f"unreachable: {base_url}: ")
    assert "check base_url" in message
    assert "quiet" not in message


def test_a_web_page_in_place_of_an_endpoint_is_no_outage_to_wait_out():
    page = Answer(200, {"Content-Type": "text/html"}, b"<html>Welcome</html>")
    patient = Retry(base_s=0.002, longest_s=0.01, outage=OutagePolicy(pause_s=600))

    async def story(base_url: str) -> list[BaseException | ApiReply]:
        async with Api(Endpoint(base_url), retry=patient) as api:
            calls = (api.post("/chat/completions", {"n": n}) for n in range(40))
            return await asyncio.gather(*calls, return_exceptions=True)

    with LoopbackServer(lambda body, attempt: page) as server:
        ended = run(asyncio.wait_for(story(server.base_url), 20))

    fatal = {str(error) for error in ended if isinstance(error, FatalApiError)}
    assert len(fatal) == 1
    assert "no reply was usable" in fatal.pop()
    assert len([error for error in ended if isinstance(error, FatalApiError)]) > 20


@each_row("refusal_sent", [error(503, "down"), error(429, "slow down")])
def test_an_endpoint_that_never_answers_again_stops_the_run_in_the_end(refusal_sent: Answer):
    """Neither an outage nor a rate limit is waited out for ever; no message says it works again."""
    events: list[str] = []
    outage = OutagePolicy(enough=20, pause_s=0.02, longest_pause_s=0.05, quiet_s=0.1)
    retry = Retry(base_s=0.002, longest_s=0.01, outage=outage, storm_s=0.01, longest_silence_s=0.5)
    retry = replace(retry, attempts=1_000_000, told_silence_s=0.02)

    async def story(base_url: str) -> list[BaseException | ApiReply]:
        async with Api(Endpoint(base_url), retry=retry, on_event=events.append) as api:
            await api.post("/chat/completions", {"n": -1})
            calls = (api.post("/chat/completions", {"n": n}) for n in range(9))
            return await asyncio.gather(*calls, return_exceptions=True)

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        return chat("fine") if body["n"] == -1 and attempt == 1 else refusal_sent

    with LoopbackServer(answer) as server:
        ended = run(asyncio.wait_for(story(server.base_url), 60))

    reasons = {error.reason for error in ended if isinstance(error, FatalApiError)}
    assert reasons == {"down"}, ended
    assert "answered no request for" in str(ended[0])
    assert not [event for event in events if "works again" in event]
    assert [event for event in events if "arena tries again" in event] == events[:1]
    assert f"HTTP {refusal_sent.status}" in events[0]


def test_the_time_in_which_nobody_asks_is_no_silence_of_the_endpoint():
    retry = Retry(base_s=0.002, longest_s=0.01, longest_silence_s=0.3)

    async def story(base_url: str) -> list[ApiReply]:
        async with Api(Endpoint(base_url), retry=retry) as api:
            first = await api.post("/chat/completions", {"n": 1})
            await asyncio.sleep(0.4)
            return [first, await api.post("/chat/completions", {"n": 2})]

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        return error(503, "busy") if body["n"] == 2 and attempt == 1 else chat("fine")

    with LoopbackServer(answer) as server:
        replies = run(asyncio.wait_for(story(server.base_url), 60))

    assert [reply.attempts for reply in replies] == [1, 2]


@each_row(
    "url",
    [
        "localhost:8000/v1",
        "http://",
        "ftp://host/v1",
        "http://me:secret@host/v1",
        "http://[x",
        "http://host/v1?auth=secret",
    ],
)
def test_a_base_url_that_is_none_says_what_one_looks_like(url):
    with pytest.raises(FatalApiError, match=r"bad_url: .*host/v1") as caught:
        run(enter(Endpoint(url)))

    assert "secret" not in str(caught.value)


def test_a_missing_key_names_its_variable(monkeypatch):
    with pytest.raises(FatalApiError, match=r"OPENAI_API_KEY is not set.*api\.openai\.com"):
        run(enter(Endpoint()))
    with pytest.raises(FatalApiError, match="MY_KEY is not set"):
        run(enter(Endpoint("http://127.0.0.1:1/v1", api_key_env="MY_KEY")))
    monkeypatch.setenv("MY_KEY", "sk-\u2026")
    with pytest.raises(FatalApiError, match="MY_KEY holds characters"):
        run(enter(Endpoint("http://127.0.0.1:1/v1", api_key_env="MY_KEY")))


def test_the_key_goes_where_it_is_meant_to_go(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("MY_KEY", f" {KEY}-mine\n")
    with LoopbackServer(lambda body, attempt: chat("ok")) as server:
        post(server)
        post(server, api_key_env="MY_KEY")

        sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer none", f"Bearer {KEY}-mine"]


def test_an_endpoint_from_the_environment_gets_the_key_from_there_or_none(monkeypatch):
    async def once() -> None:
        async with Api(Endpoint()) as api:
            await api.post("/chat/completions", BODY)

    with LoopbackServer(lambda body, attempt: chat("ok")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        run(once())
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        run(once())

        sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer none", f"Bearer {KEY}"]


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
def test_the_key_never_appears_in_an_error(monkeypatch, status):
    monkeypatch.setenv("MY_KEY", KEY)
    echo = Answer(status, {}, f"<b>key {KEY} and {'x' * 280}{KEY}".encode())
    failure = refused(
        echo, FatalApiError if status in (401, 404) else ApiError, api_key_env="MY_KEY"
    )

    assert KEY not in repr(failure)
    assert "[key]" in str(failure)
    assert failure.__cause__ is None


def test_the_key_never_appears_in_a_reply(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    with LoopbackServer(lambda body, attempt: chat(f"your key is {KEY}")) as server:
        reply = post(server, api_key_env="MY_KEY")

    assert "your key is [key]" in str(reply)


def test_a_foreign_message_is_shown_as_one_short_printable_line():
    hostile = "<html><style>x{}</style><p>Sorry\x1b[31m\n\x07 &nbsp;" + "long " * 10_000
    shown = str(refusal(400, hostile.encode(), {}))

    assert shown.startswith("bad_request: HTTP 400: Sorry [31m")
    assert shown.isprintable()
    assert len(shown) < 350
    assert one_line("a\r\nb\u202ec") == "a b c"


@each_row("body", [b"", b"null", b"{}", b'{"error": {}}', b'{"detail": [1]}', b"\xff"])
def test_an_error_of_any_shape_is_still_an_error(body):
    assert isinstance(refusal(500, body, {}), TransientApiError)
    assert "HTTP 400" in str(refusal(400, body, {}))


def test_an_outage_says_what_the_endpoint_answered():
    page = Answer(200, {"Content-Type": "text/html"}, b"<html>Welcome</html>")
    said: list[str] = []

    def hear(line: str) -> None:
        said.append(line)
        server.answer = lambda body, attempt: chat("fine")

    async def many() -> None:
        retry = Retry(
            attempts=1000,  # however late the others notice the outage
            base_s=0.002,
            longest_s=0.01,
            outage=OutagePolicy(pause_s=0.01, quiet_s=0, longest_quiet_s=0),
        )
        async with Api(Endpoint(server.base_url), retry=retry, on_event=hear) as api:
            await api.post("/chat/completions", BODY)
            server.answer = lambda body, attempt: page
            await asyncio.gather(*(api.post("/chat/completions", BODY) for _ in range(100)))

    with LoopbackServer(lambda body, attempt: chat("fine")) as server:
        run(many())

    assert "HTTP 200 without a JSON object: <html>Welcome</html>" in said[0]


def test_failures_of_an_outage_are_no_attempts_of_their_calls():
    quick = OutagePolicy(enough=20, pause_s=0.05, quiet_s=0, longest_quiet_s=0)
    retry = Retry(attempts=1, base_s=0.002, longest_s=0.01, outage=quick)

    async def many(base_url: str) -> list[ApiReply | BaseException]:
        async with Api(Endpoint(base_url, concurrency=64), retry=retry) as api:
            await api.post("/chat/completions", {"i": -1})
            server.answer = lambda body, attempt: (
                error(503, "down") if attempt == 1 and body["i"] >= 0 else chat("fine")
            )
            calls = (api.post("/x", {"i": i}) for i in range(60))
            return await asyncio.gather(*calls, return_exceptions=True)

    with LoopbackServer(lambda body, attempt: chat("fine")) as server:
        outcomes = run(asyncio.wait_for(many(server.base_url), 60))

    answered = [outcome for outcome in outcomes if isinstance(outcome, ApiReply)]
    assert len(answered) >= 10  # those that failed before there was an outage have had their try
    assert len(answered) < 60


def test_the_wait_for_a_turn_is_no_latency():
    def answer(body: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.05)
        return chat("ok")

    async def two(base_url: str) -> list[float]:
        async with Api(Endpoint(base_url, rpm=60)) as api:
            return [(await api.post("/x", {"i": i})).latency_ms for i in range(2)]

    with LoopbackServer(answer) as server:
        began = time.monotonic()
        latencies = run(two(server.base_url))

    assert time.monotonic() - began > 0.9
    assert all(50 <= latency < 800 for latency in latencies)


def test_the_limit_holds_the_requests_in_flight():
    async def many(base_url: str) -> None:
        async with Api(Endpoint(base_url, concurrency=3)) as api:
            await asyncio.gather(*(api.post("/x", {"i": i}) for i in range(24)))

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.01)
        return chat("ok")

    with LoopbackServer(answer) as server:
        run(many(server.base_url))

        assert len(server.requests) == 24
        assert server.most_in_flight <= 3


def test_headers_of_any_mapping_are_read():
    headers: Mapping[str, str] = {"retry-after": "3"}

    assert isinstance(failure := refusal(429, b"{}", headers), TransientApiError)
    assert failure.retry_after_s == 3


def test_a_byte_order_mark_before_a_reply_is_no_part_of_it() -> None:
    body = b"\xef\xbb\xbf" + chat("hello").body

    with LoopbackServer(lambda request, attempt: Answer(body=body)) as server:
        reply = post(server)

    assert reply.body["choices"][0]["message"]["content"] == "hello"
    assert len(server.requests) == 1
