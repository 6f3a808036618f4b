"""Providers of batch jobs that answer oddly: nothing is lost, and nothing paid for twice."""

from __future__ import annotations

import functools
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_server import PAGE, BatchServer
from experiments import fair_judge, logged
from hypothesis import given, settings
from hypothesis import strategies as st
from replies import read_replies
from test_batch import N_BATTLES, collect, experiment, failed, folder_of, replied, submit

from arena.batch import jobs
from arena.batch.batch_run import open_batch_run
from arena.batch.judge_results import Collected
from arena.batch.results import Results
from arena.endpoint import file_api as files
from arena.errors import ApiError, IncompleteError, UnjudgedError
from arena.judging.chat_reply import ChatReply
from arena.progress import reporter
from arena.records import Reply, Usage
from arena.store.batch_ledger import read_jobs
from arena.store.battle_log import BattleLog

Lines = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = functools.partial(files.Patience, attempts=3, base_s=0.005)
    monkeypatch.setattr(files, "Patience", quick)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(fair_judge) as running:
        yield running


def lines(change: Callable[[Lines], Any]) -> Callable[[bytes], bytes]:
    """A change of the results in a file, as a change of the file."""

    def content(raw: bytes) -> bytes:
        rows: Lines = [json.loads(line) for line in raw.splitlines()]
        return b"".join(json.dumps(row).encode() + b"\n" for row in change(rows))

    return content


def each(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    return lines(lambda rows: [change(row) for row in rows])


def response(**changes: Any) -> Callable[[bytes], bytes]:
    return each(lambda row: {**row, "response": {**row["response"], **changes}})


def why_waiting(done: Collected) -> str:
    with pytest.raises(IncompleteError) as caught:
        done.check()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def told(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    """A provider that says something else of a job that has ended."""
    return lambda batch: batch | fields if batch["status"] == "completed" else batch


@pytest.mark.parametrize(
    "view",
    [
        *[told(completed_at=at) for at in (1_800_000_000_123, 1e300, -1e12, math.nan, True, "now")],
        *[told(request_counts=counts) for counts in (None, "many", [], {"completed": True})],
        told(request_counts={"total": -5, "completed": 10**18, "failed": 10**30}),
    ],
)
def test_odd_figures_of_a_job_keep_nothing_from_being_collected(
    tmp_path: Path, server: BatchServer, view: Callable[[dict[str, Any]], Any]
) -> None:
    config = experiment(tmp_path, server)
    server.view = view
    submit(config)

    collect(config).check()

    assert len(logged(config)) == len(replied(config)) == N_BATTLES
    assert {reply.at[:2] for reply in read_replies(folder_of(config) / "replies.jsonl")} == {"20"}


def as_a_list(raw: bytes) -> bytes:
    return b"\xef\xbb\xbf[" + b",\n".join(raw.splitlines()) + b"]"


def as_text(row: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(row["response"]["body"])
    return {**row, "response": {**row["response"], "body": body}}


@pytest.mark.parametrize(
    "content",
    [
        as_a_list,
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw.replace(b"\n", b"\n\0\0\0\n"),
        lambda raw: raw.replace(b'"total_tokens"', b'"x": NaN, "total_tokens"'),
        each(as_text),
        response(status_code="200"),
        response(status_code=None),
        each(lambda row: {**row, "error": {"code": "x", "message": "and yet"}}),
        lines(lambda rows: [{**row, "custom_id": "other"} for row in rows[:1]] + rows),
        lines(lambda rows: [{**row, "custom_id": 5} for row in rows[:1]] + rows),
    ],
)
def test_a_result_that_was_paid_for_is_read_however_it_is_written(
    tmp_path: Path, server: BatchServer, content: Callable[[bytes], bytes]
) -> None:
    config = experiment(tmp_path, server)
    server.content = content
    submit(config)

    collect(config).check()

    assert len(logged(config)) == len(replied(config)) == N_BATTLES


BROKEN: dict[str, Callable[[BatchServer], None]] = {
    "no file": lambda server: setattr(server, "view", told(output_file_id=None)),
    "a number": lambda server: setattr(server, "view", told(output_file_id=123)),
    "a path": lambda server: setattr(server, "view", told(output_file_id="../files/file-0")),
    "an address": lambda server: setattr(server, "view", told(output_file_id="http://x/landed")),
    "gone": lambda server: server.faults.update({"GET /v1/files/out.*": ["404"] * 3}),
    "an empty file": lambda server: setattr(server, "content", lambda raw: b""),
    "a page": lambda server: setattr(server, "content", lambda raw: PAGE),
    "numbers for ids": lambda server: setattr(
        server, "content", each(lambda row: {**row, "custom_id": 5})
    ),
    "ids of another job": lambda server: setattr(
        server, "content", each(lambda row: {**row, "custom_id": "0" * 32})
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_job_that_is_done_but_brings_nothing_is_waited_for_and_not_paid_for_again(
    tmp_path: Path, server: BatchServer, name: str
) -> None:
    config = experiment(tmp_path, server)
    submit(config)
    BROKEN[name](server)

    said = why_waiting(collect(config))
    again = submit(config)

    assert "still waiting for 0001-" in said
    assert "--give-up 0001-" in said
    assert again.n_requests == 0
    assert not any("/../" in request or "//x" in request for request in server.requests)
    server.view, server.content = (lambda batch: batch), (lambda raw: raw)
    server.faults.clear()
    collect(config).check()
    assert Counter(server.submitted).most_common(1)[0][1] == 1
    assert len(logged(config)) == N_BATTLES


def test_what_a_file_that_was_cut_holds_is_logged_and_the_rest_is_waited_for(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    submit(config, n_requests=N_BATTLES)
    server.content = lambda raw: raw[: len(raw) * 2 // 3]

    said = why_waiting(collect(config))
    n_first = len(logged(config))
    server.content = lambda raw: raw
    collect(config).check()

    assert f"its files hold only {n_first} of {N_BATTLES} results yet" in said
    assert 0 < n_first < N_BATTLES
    assert len(logged(config)) == len(replied(config)) == N_BATTLES
    assert len(server.batches) == 1


def test_results_that_never_come_are_asked_for_again_once_the_job_is_long_overdue(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(tmp_path, server)
    submit(config)
    server.content = lambda raw: b""
    collect(config)
    assert submit(config).n_requests == 0

    monkeypatch.setattr(jobs, "OVERDUE_S", -1.0)
    collect(config)
    server.content = lambda raw: raw

    assert submit(config).n_requests == N_BATTLES
    collect(config).check()


def test_a_job_that_never_ends_is_followed_until_it_is_long_overdue(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from arena.batch import collect as batch_results

    monkeypatch.setattr(jobs, "OVERDUE_S", -1.0)
    config = experiment(tmp_path, server)
    submit(config)
    server.view = lambda batch: batch | {"status": ["completed"]}

    quiet = reporter(quiet=True)
    asyncio.run(batch_results.wait(open_batch_run(config, quiet), jobs.Poll(0.01, 0.02), quiet))

    assert "['completed']" in why_waiting(collect(config))


def test_of_two_results_for_a_request_the_verdict_counts_and_both_are_paid_for(
    tmp_path: Path, server: BatchServer
) -> None:
    def unreadable(row: dict[str, Any]) -> dict[str, Any]:
        body = row["response"]["body"]
        spoilt = {**body, "choices": [{"message": {"content": "Both."}}]}
        return {**row, "response": {**row["response"], "body": spoilt}}

    config = experiment(tmp_path, server)
    refused = {"status_code": 500, "body": {"error": {"message": "x"}}}
    server.content = lines(
        lambda rows: [{**rows[0], "response": refused}, unreadable(rows[1]), *rows]
    )
    submit(config, n_requests=N_BATTLES)

    collect(config).check()

    costs = [battle.cost_usd for battle in logged(config)]
    assert len(costs) == N_BATTLES
    assert max(costs) == pytest.approx(2 * min(costs))
    assert sum(costs) == pytest.approx((N_BATTLES + 1) * min(costs))


def test_a_paid_reply_without_a_verdict_is_booked(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    server.content = each(
        lambda row: {
            **row,
            "response": {"body": {**row["response"]["body"], "choices": None}},
            "error": {"code": "odd", "message": "no choices"},
        }
    )
    submit(config, n_requests=N_BATTLES)

    collect(config)

    assert failed(config) == {"odd": N_BATTLES}
    replies = list(read_replies(folder_of(config) / "replies.jsonl"))
    assert len(replies) == N_BATTLES
    assert all(reply.usage.cost_usd > 0 for reply in replies)


@pytest.mark.parametrize(
    "usage",
    [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": -5}]
    + [{"prompt_tokens": n, "completion_tokens": n} for n in (2**63 - 1, 10**30, True, "9")],
)
def test_a_reply_that_does_not_tell_its_cost_is_booked_at_the_most_that_it_may_cost(
    tmp_path: Path, server: BatchServer, usage: object
) -> None:
    def untold(row: dict[str, Any]) -> dict[str, Any]:
        body = {**row["response"]["body"], "usage": usage}
        return {**row, "response": {**row["response"], "body": body}}

    config = experiment(tmp_path, server)
    server.content = each(untold)
    submit(config, n_requests=N_BATTLES)

    collect(config).check()

    (job,) = read_jobs(folder_of(config)).values()
    assert sum(b.cost_usd for b in logged(config)) == pytest.approx(job.cost_usd)
    assert job.cost_usd > 0


def judged(body: Any, latency_ms: float) -> ChatReply:
    del body, latency_ms
    return ChatReply("tie")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["custom_id", "response", "error", "status_code", "body", "usage", "code"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON.map(json.dumps).map(str.encode) | st.binary(max_size=20), max_size=5))
@settings(max_examples=100)
def test_no_file_of_results_is_more_than_answers_and_damaged_lines(rows: list[bytes]) -> None:
    results = Results()

    n_results = results.take(b"\n".join(rows), judged, discount=0.5, most_usd=0.1)

    assert n_results == len(results.answers) + results.n_repeated
    assert all(isinstance(answer, ChatReply | UnjudgedError) for answer in results.answers.values())


@pytest.mark.parametrize(
    "listing",
    [
        lambda page: {"data": [{"id": "other", "metadata": {}}], "has_more": True},
        lambda page: {"data": 7, "has_more": True},
        lambda page: {},
    ],
)
@pytest.mark.parametrize("fault", ["lose", "500"])
def test_a_job_is_not_created_again_where_the_list_of_jobs_does_not_tell(
    tmp_path: Path, server: BatchServer, listing: Callable[[dict[str, Any]], Any], fault: str
) -> None:
    config = experiment(tmp_path, server)
    server.listing = listing
    server.faults["POST /v1/batches"] = [fault]

    for _ in range(2):
        with pytest.raises(ApiError, match=r"is not known.*--give-up 0001-") as caught:
            submit(config, n_requests=N_BATTLES)
        assert "\n" not in str(caught.value)

    assert sum(request == "POST /v1/batches" for request in server.requests) == 1
    server.listing = lambda page: page
    submit(config, n_requests=N_BATTLES)
    collect(config).check()
    assert Counter(server.submitted).most_common(1)[0][1] == 1


def test_a_download_is_bounded_in_bytes(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LARGEST_FILE", 1000)
    config = experiment(tmp_path, server)
    submit(config)

    assert "a reply of more than" in why_waiting(collect(config))


def test_a_download_is_bounded_in_time(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "TRANSFER_TIMEOUT_S", 0.2)
    config = experiment(tmp_path, server)
    submit(config, n_requests=N_BATTLES)
    server.pause_s = 0.005

    assert "timeout" in why_waiting(collect(config))
    server.pause_s = 0.0
    collect(config).check()


def test_a_reply_in_the_log_is_not_asked_for_again(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    desk = open_batch_run(config, reporter(quiet=True))
    (configured,) = desk.judges
    judge = configured.judge
    lists, kept = desk.prepared.lists, next(iter(desk.prepared.matchups))
    name = lists.battle_id(kept, judge.fingerprint)
    request = judge.request_key(lists.judge_input(kept))
    with BattleLog(folder_of(config)) as log:  # as a live run leaves it that was killed
        usage = Usage(100, 20, 0, 0.01, 5.0)
        log.write_reply(Reply(name, request, "VERDICT: tie", "tie", None, usage, "", "judge-1"))

    submit(config)
    collect(config).check()

    assert len(server.submitted) == N_BATTLES - 1
    assert name not in server.submitted
    assert len(replied(config)) == len(logged(config)) == N_BATTLES


def test_a_step_of_a_job_is_on_the_disk_before_the_provider_hears_of_the_next(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(tmp_path, server)
    ledger, durable, fsync = folder_of(config) / "batches.jsonl", [0], os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        if ledger.exists() and os.path.samestat(os.fstat(descriptor), ledger.stat()):
            durable.append(ledger.stat().st_size)

    unsynced: list[str] = []
    serve = server.serve

    def watched(method: str, path: str, raw: bytes) -> tuple[int, bytes] | None:
        if method == "POST" and durable[-1] != ledger.stat().st_size:
            unsynced.append(path)
        return serve(method, path, raw)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(server, "serve", watched)
    submit(config, n_requests=N_BATTLES)
    collect(config)

    (job,) = read_jobs(folder_of(config)).values()
    assert job.ended == "completed"
    assert unsynced == []
    assert durable[-1] == ledger.stat().st_size
