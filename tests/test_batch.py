"""Provider batch jobs: each battle asked for once, logged once, whatever happens in between."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from batch_server import PAGE, BatchServer
from click.testing import CliRunner, Result
from experiments import (
    QUERIES,
    QUIET,
    fair_grader,
    fair_judge,
    llm,
    log_lines,
    logged,
    write_experiment,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import LoopbackServer, as_json, chat, error, verdict
from replies import read_replies
from tables import each_row

from arena.batch import collect as batch_results
from arena.batch import offline
from arena.batch import submit as batch
from arena.batch.batch_run import open_batch_run
from arena.batch.jobs import Poll, is_overdue
from arena.batch.judge_results import Collected
from arena.batch.requests import Limits, Request, cut_into_files, request_line
from arena.batch.submit import SubmitOptions
from arena.cli import main
from arena.config import load_config
from arena.endpoint import file_api as files
from arena.errors import (
    ApiError,
    DataError,
    FatalApiError,
    GateError,
    IncompleteError,
    LogError,
    UsageError,
)
from arena.experiment.spending import open_budgets
from arena.records import now
from arena.store.batch_ledger import Job, read_jobs
from arena.store.battle_log import BattleLog
from arena.store.locked_file import LineFile
from arena.store.shards import WHOLE, Shard

TWO = {"strong": ["good", "fair"], "weak": ["poor", "other"]}
N_BATTLES = 2 * len(QUERIES)
KEY = "sk-a-key-that-nobody-may-see"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = functools.partial(files.Patience, attempts=4, base_s=0.005)
    monkeypatch.setattr(files, "Patience", quick)


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(fair_judge) as running:
        yield running


def experiment(folder: Path, server: BatchServer, extra: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    return write_experiment(folder, judge=llm(server.base_url, extra), rankings=TWO)


def submit(config: Path, n_requests: int = 5, **options: Any) -> batch.Submitted:
    order = SubmitOptions(limits=Limits(requests=n_requests), **options)
    return asyncio.run(batch.submit(open_batch_run(config, QUIET), order, QUIET))


def collect(config: Path, **options: Any) -> Collected:
    return asyncio.run(batch_results.collect(open_batch_run(config, QUIET), QUIET, **options))


def folder_of(config: Path) -> Path:
    return config.parent / "runs" / "x"


def failed(config: Path) -> Counter[str]:
    rows = (folder_of(config) / "failures.jsonl").read_text().splitlines()
    return Counter(json.loads(row)["reason"] for row in rows)


def replied(config: Path) -> list[str]:
    """The battles that have a reply; what was paid and led to none has no id."""
    replies = read_replies(folder_of(config) / "replies.jsonl")
    return [reply.id for reply in replies if reply.id]


def lost_usd(config: Path) -> list[float]:
    """What was perhaps billed, and led to no battle; nothing else has no id."""
    replies = read_replies(folder_of(config) / "replies.jsonl")
    assert all(reply.usage.estimated for reply in replies if not reply.id)
    replies = read_replies(folder_of(config) / "replies.jsonl")
    return [reply.usage.cost_usd for reply in replies if not reply.id]


def test_batch_jobs_write_the_log_that_a_live_run_writes_at_half_the_price(
    tmp_path: Path, server: BatchServer
) -> None:
    from experiments import play

    posted = experiment(tmp_path / "posted", server)
    with LoopbackServer(fair_judge) as live_server:
        (tmp_path / "live").mkdir()
        live = write_experiment(tmp_path / "live", judge=llm(live_server.base_url), rankings=TWO)
        play(live)
    submit(posted)
    collect(posted).check()

    unlike = ("id", "cost_usd")  # the address of the endpoint is a part of the id
    plain = [
        [{k: v for k, v in row.items() if k not in unlike} for row in log_lines(config)]
        for config in (posted, live)
    ]
    assert plain[0] == plain[1]
    assert [b.cost_usd for b in logged(posted)] == [b.cost_usd / 2 for b in logged(live)]


def arena(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["batch", *map(str, args)])


def board(folder: Path) -> Any:
    """The leaderboard of an experiment, without what depends on the price."""
    rows = json.loads((folder / "leaderboard.json").read_text())
    rows.pop("cost_usd", None)
    return rows


def test_the_commands_submit_look_and_collect_end_in_the_leaderboard_of_a_live_run(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path / "posted", server)
    with LoopbackServer(fair_judge) as live_server:
        (tmp_path / "live").mkdir()
        live = write_experiment(tmp_path / "live", judge=llm(live_server.base_url), rankings=TWO)
        assert CliRunner().invoke(main, ["battle", str(live), "-q"]).exit_code == 0

    submitted = arena("submit", config, "--max-requests", "5", "-q")
    shown = arena("status", config)
    collected = arena("collect", config, "--wait", "--poll", "0.01", "-q")
    after = arena("status", config)

    results = (submitted, shown, collected, after)
    assert [result.exit_code for result in results] == [0, 0, 0, 0], collected.output
    assert "12 requests submitted in 3 jobs, $0.0" in submitted.output
    assert "completed, 5 of 5 done" in shown.output
    assert [line.split()[1] for line in shown.stdout.splitlines()] == list(server.batches)
    assert "12 of 12 judged" in collected.output
    assert after.stdout == "no jobs are under way\n"
    assert board(folder_of(config)) == board(folder_of(live))


def test_the_commands_export_and_import_end_in_a_leaderboard_too(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    exported = arena("export", tmp_path / "out", config, "-q")
    path = Path(exported.output.strip())
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(map(vllm_line, path.read_text().splitlines())))

    imported = arena("import", results, "--config", config, "-q")

    assert imported.exit_code == 0, imported.output
    assert "12 battles written, 12 of 12 judged" in imported.output
    assert board(folder_of(config))["overall"][0]["model"] == "strong"


def battle(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["battle", str(config), "-q", *words])


JUDGES = {
    "json": "",
    "letter": 'answer = "letter"\n',
    "pointwise": 'kind = "pointwise"\n',
}


def answering(request: dict[str, Any], attempt: int) -> Any:
    """A fair judge of any kind."""
    shown = request["messages"][-1]["content"]
    if "The grade of the document" in str(request["messages"]):
        return fair_grader(request, attempt)
    if request.get("logprobs"):
        first = shown.index("a good document") if "a good document" in shown else -1
        return chat("A" if 0 <= first < shown.index("a poor document") else "B")
    return fair_judge(request, attempt)


@pytest.mark.parametrize("kind", JUDGES)
def test_battle_by_batch_is_run_twice_and_leaves_the_log_of_a_live_run_at_half_the_price(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from experiments import play

    server.judge = answering
    live = experiment(tmp_path / "live", server, JUDGES[kind])
    play(live)
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "another"))
    config = experiment(tmp_path / "batch", server, JUDGES[kind])

    first = battle(config, "--batch")
    second = battle(config, "--batch")

    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert "requests in 1 job\n" in first.stdout
    assert f"arena battle {config} --batch" in first.stdout
    assert "all battles are judged" in second.stdout
    assert len(server.submitted) == len(set(server.submitted))
    rows = [
        [{k: v for k, v in row.items() if k != "cost_usd"} for row in log_lines(c)]
        for c in (config, live)
    ]
    assert rows[0] == rows[1]
    assert sum(b.cost_usd for b in logged(config)) == pytest.approx(
        sum(b.cost_usd for b in logged(live)) / 2
    )
    submitted = len(server.submitted)
    assert battle(config, "--batch").exit_code == 0
    assert len(server.submitted) == submitted


def test_battle_by_batch_waits_and_tries_failures_again_until_all_is_judged(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server, "gate = true\n")
    server.polls = 3
    server.fate = lambda number, name: "500" if len(server.batches) == 1 and number == 2 else "ok"

    done = battle(config, "--batch", "--wait", "--poll", "0.01")

    assert done.exit_code == 0, done.output
    assert "all battles are judged" in done.stdout
    assert failed(config) == {"server": 1}
    assert Counter(Counter(server.submitted).values()) == {1: N_BATTLES - 1, 2: 1}


def test_battle_by_batch_asks_no_request_more_than_three_times(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    server.fate = lambda number, name: "500"

    done = battle(config, "--batch", "--wait", "--poll", "0.01")

    assert done.exit_code == 1
    assert "0 of 12 battles; the others have no verdict" in done.stderr
    assert set(Counter(server.submitted).values()) == {3}

    config.write_text(config.read_text() + "max_failures = 1.0\n")
    done = battle(config, "--batch")
    assert done.exit_code == 0
    assert f"jobs have asked 3 times; ask live with: arena battle {config}" in done.stdout


def test_a_job_of_a_judge_that_has_changed_waits_until_it_is_set_back(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    battle(config, "--batch")
    text = config.read_text()
    config.write_text(text.replace('"judge-1"', '"judge-2"'))

    other = battle(config, "--batch", "--wait", "--poll", "0.01")
    config.write_text(text)
    back = battle(config, "--batch")

    assert (other.exit_code, back.exit_code) == (0, 0)
    assert "its judge judge-1 has changed, or is not in arena.toml" in other.stdout
    assert "all battles are judged" in other.stdout
    assert "come back" not in other.stdout
    assert f"12 battles written, {N_BATTLES} of {N_BATTLES} judged" in back.stdout
    assert len(server.submitted) == 2 * N_BATTLES


def test_battle_by_batch_keeps_to_a_limit_a_cap_and_a_shard(
    tmp_path: Path, server: BatchServer
) -> None:
    limited = experiment(tmp_path / "limited", server)
    assert battle(limited, "--batch", "--limit", "5").exit_code == 0
    assert len(server.submitted) == 5
    capped = experiment(tmp_path / "capped", server)
    assert battle(capped, "--batch", "--max-usd", "0.000001").exit_code == 1
    sharded = experiment(tmp_path / "sharded", server)
    for turn in range(2):
        for part in ("1/2", "2/2"):
            assert battle(sharded, "--batch", "--shard", part).exit_code == 0
        whole = battle(sharded, "--batch")
        assert whole.exit_code == 0
        assert ("1 job of another part of the plan: collect with --shard 2/2" in whole.stdout) == (
            turn == 0
        )

    names = [path.name for path in folder_of(sharded).glob("batches*.jsonl")]
    assert sorted(names) == ["batches-1of2.jsonl", "batches-2of2.jsonl", "batches.jsonl"]
    logs = [path.read_text().count("\n") for path in folder_of(sharded).glob("battles-*.jsonl")]
    assert sum(logs) == N_BATTLES
    assert len(server.submitted) == 5 + N_BATTLES


def test_a_live_run_does_not_ask_for_what_jobs_will_bring(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    submit(config, limit=7)
    server.requests.clear()

    live = CliRunner().invoke(main, ["battle", str(config)])

    assert live.exit_code == 0, live.output
    assert "7 battles wait for batch jobs" in live.stderr
    assert "arena battle --batch" in live.stderr
    assert server.requests == ["POST /v1/chat/completions"] * (N_BATTLES - 7)
    assert collect(config).n_judged == N_BATTLES
    assert len(replied(config)) == N_BATTLES


def test_a_judge_passes_its_controls_before_anything_is_submitted(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server, "gate = true\n")
    server.judge = lambda request, attempt: verdict("first")

    with pytest.raises(GateError):
        submit(config)

    assert server.batches == {}
    assert submit(config, gate=False).n_requests == N_BATTLES
    manifest = json.loads((folder_of(config) / "manifest.json").read_text())
    assert manifest["judges"][0]["gate"]["skipped"] == "--no-gate"


class Crash(BaseException):
    """The process ends here."""


@contextmanager
def crash_at(point: int, when: str) -> Iterator[list[int]]:
    """End the process right before or after a line is written; yields how many were."""
    written = [0]
    append = LineFile.append

    def crashing(self: LineFile, line: bytes) -> int:
        written[0] += 1
        if written[0] == point and when == "before":
            raise Crash
        offset = append(self, line)
        if written[0] == point:
            raise Crash
        return offset

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LineFile, "append", crashing)
        yield written


N_JOBS = 3
TIMES = ("before", "after")
SUBMIT_POINTS = [(point, when) for point in (1, 2, 3, 5, 9) for when in TIMES]
# One reply cannot be read and one request failed: 11 replies, 10 battles, 2 failures, 3 jobs.
COLLECT_POINTS = [(p, when) for p in (1, 12, 17, 24, 26) for when in TIMES]


def troubled(request: dict[str, Any], attempt: int) -> Any:
    """A fair judge that says nothing readable of the query q1 when the good list comes first."""
    shown = request["messages"][-1]["content"]
    if "what is q1?" in shown and shown.index("a good document") < shown.index("a poor document"):
        return chat("Hard to say.")
    return fair_judge(request, attempt)


def spoil_one(server: BatchServer) -> None:
    """Let the last request fail that is not of the query q1."""
    lines = [line for file in server.files.values() for line in file.decode().splitlines()]
    victim = json.loads([line for line in lines if "what is q1?" not in line][-1])["custom_id"]
    server.fate = lambda number, name: "500" if name == victim else "ok"


@pytest.mark.parametrize(("point", "when"), SUBMIT_POINTS)
def test_a_submission_that_crashes_anywhere_asks_for_each_battle_once(
    tmp_path: Path, server: BatchServer, point: int, when: str
) -> None:
    config = experiment(tmp_path, server)
    with crash_at(point, when), pytest.raises(Crash):
        submit(config)

    submit(config)

    assert len(server.batches) == N_JOBS
    assert Counter(server.submitted) == dict.fromkeys(server.submitted, 1)
    assert collect(config).n_judged == N_BATTLES


@pytest.mark.parametrize(("point", "when"), COLLECT_POINTS)
def test_a_collection_that_crashes_anywhere_logs_each_battle_once(
    tmp_path: Path, server: BatchServer, point: int, when: str
) -> None:
    server.judge = troubled
    config = experiment(tmp_path, server)
    submit(config)
    spoil_one(server)
    with crash_at(point, when), pytest.raises(Crash):
        collect(config)

    collect(config)
    collect(config)

    ids = [battle.id for battle in logged(config)]
    assert len(ids) == len(set(ids)) == N_BATTLES - 2
    assert ids == [i for i in server.submitted if i in set(ids)]
    assert len(replied(config)) == len(set(replied(config))) == N_BATTLES - 1
    assert failed(config) == {"unreadable": 1, "server": 1}
    assert not any(job.is_open for job in read_jobs(folder_of(config)).values())


def test_collect_points_reach_to_the_end_of_a_collection(
    tmp_path: Path, server: BatchServer
) -> None:
    server.judge = troubled
    config = experiment(tmp_path, server)
    submit(config)
    spoil_one(server)

    with crash_at(-1, "never") as written:
        collect(config)

    assert written[0] == max(point for point, _ in COLLECT_POINTS)


@pytest.mark.parametrize("fault", ["lose", "drop", "500", "429", "html"])
def test_a_job_whose_creation_got_no_answer_is_looked_for_before_it_is_created_again(
    tmp_path: Path, server: BatchServer, fault: str
) -> None:
    config = experiment(tmp_path, server)
    server.faults["POST /v1/batches"] = [fault]

    submit(config)

    assert len(server.batches) == N_JOBS
    assert len(server.submitted) == N_BATTLES
    assert collect(config).n_judged == N_BATTLES


@pytest.mark.parametrize("renames", [False, True], ids=["as it is", "renamed file"])
def test_a_job_created_by_a_run_that_never_heard_of_it_is_found_among_many_others(
    tmp_path: Path, server: BatchServer, *, renames: bool
) -> None:
    config, other = experiment(tmp_path / "ours", server), experiment(tmp_path / "other", server)
    other.write_text(other.read_text().replace('name = "x"', 'name = "y"', 1))
    server.faults["POST /v1/batches"] = ["lose"]
    server.faults["GET /v1/batches"] = ["500"] * 4
    with pytest.raises(ApiError):
        submit(config)
    assert len(server.batches) == 1
    if renames:  # as gateways do that keep files of their own
        [created] = server.batches.values()
        server.files["another"] = server.files[created["input_file_id"]]
        created["input_file_id"] = "another"
    for _ in range(2):
        submit(other, n_requests=N_BATTLES // 6)  # several pages of younger jobs
        (folder_of(other).with_name("y") / "batches.jsonl").unlink()

    submit(config)

    ours = [b for b in server.batches.values() if b["metadata"]["experiment"] == "x"]
    assert len(ours) == N_JOBS
    job = next(iter(read_jobs(folder_of(config)).values()))
    assert job.batch_id == "batch-0"
    assert collect(config).n_judged == N_BATTLES


def test_jobs_of_other_experiments_are_not_touched(tmp_path: Path, server: BatchServer) -> None:
    ours, other = experiment(tmp_path / "ours", server), experiment(tmp_path / "other", server)
    submit(other)
    submit(ours)
    server.requests.clear()

    collect(ours)

    theirs = {job.batch_id for job in read_jobs(folder_of(other)).values()}
    asked = {path.partition("/batches/")[2] for path in server.requests}
    assert len(theirs) == N_JOBS
    assert not theirs & asked


def test_half_of_a_job_that_expires_is_kept_and_the_other_half_asked_again(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    server.status = "expired"
    server.fate = lambda number, name: "expired" if number % 2 else "ok"
    submit(config, n_requests=50)
    first = collect(config)
    assert first.n_judged == N_BATTLES // 2
    assert failed(config) == {"batch_expired": N_BATTLES // 2}
    with pytest.raises(IncompleteError, match="6 batch_expired"):
        first.check()
    server.status, server.fate = "completed", lambda number, name: "ok"

    submit(config)
    second = collect(config)

    second.check()
    assert Counter(Counter(server.submitted).values()) == {1: N_BATTLES // 2, 2: N_BATTLES // 2}
    assert len({battle.id for battle in logged(config)}) == N_BATTLES


@pytest.mark.parametrize("status", ["completed", "cancelled", "expired"])
def test_what_was_done_is_collected_however_a_job_ended(
    tmp_path: Path, server: BatchServer, status: str
) -> None:
    config = experiment(tmp_path, server)
    server.status = status
    fates = ["ok", "twice", "missing", "400", "500", "expired", "page", "ok"]
    server.fate = lambda number, name: fates[number] if number < len(fates) else "ok"
    submit(config, n_requests=50)

    done = collect(config)

    assert done.n_judged == N_BATTLES - 5
    assert failed(config) == {"bad_request": 1, "server": 1, "batch_expired": 1, "garbage": 1}
    # The page in place of a reply has status 200, so it is billed, and written down with its cost.
    assert len(replied(config)) == N_BATTLES - 4
    # What is missing of a job that came to its end may have been answered, and is billed then.
    assert len(lost_usd(config)) == (status == "completed")


def test_a_whole_job_that_fails_says_why_and_is_asked_again(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    server.status = "failed"
    submit(config)
    said: list[str] = []
    quiet = QUIET
    reporter = type("R", (), {"log": lambda _, line: said.append(line), "stage": quiet.stage})()

    asyncio.run(batch_results.collect(open_batch_run(config, QUIET), reporter))
    server.status = "completed"
    submit(config)

    assert "token_limit_exceeded: Enqueued token limit reached" in "\n".join(said)
    assert collect(config).n_judged == N_BATTLES


def test_results_for_unknown_requests_are_ignored_with_a_note(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    server.extra_lines = ['{"custom_id": "stranger", "error": {"code": "x"}}', "not JSON", "[]"]
    submit(config, n_requests=50)
    said: list[str] = []
    reporter = type("R", (), {"log": lambda _, line: said.append(line), "stage": QUIET.stage})()

    done = asyncio.run(batch_results.collect(open_batch_run(config, QUIET), reporter))

    assert done.n_judged == N_BATTLES
    assert "1 results are for requests that were not in it" in "\n".join(said)
    assert "2 lines are no results" in "\n".join(said)


def test_a_page_in_place_of_the_results_leaves_the_job_to_be_collected_later(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    submit(config, n_requests=50)
    server.faults["GET /v1/files/.*"] = ["html"]

    with pytest.raises(IncompleteError, match="holds no results: <html>"):
        collect(config).check()

    assert logged(config) == []
    assert collect(config).n_judged == N_BATTLES


def test_a_battle_in_a_job_is_not_submitted_again(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    submit(config)

    again = submit(config)

    assert (again.n_requests, again.n_jobs) == (0, 0)
    assert len(server.submitted) == N_BATTLES


@pytest.mark.parametrize("whose", ["its own", "another battle's"])
def test_what_the_log_has_paid_for_is_not_submitted(
    tmp_path: Path, server: BatchServer, whose: str
) -> None:
    config = experiment(tmp_path, server)
    submit(config)
    collect(config)
    # As after a kill between the replies and the battles, or by a battle of another plan.
    (folder_of(config) / "battles.jsonl").write_bytes(b"")
    if whose == "another battle's":
        replies = folder_of(config) / "replies.jsonl"
        rows = [json.loads(line) for line in replies.read_text().splitlines()]
        lines = [json.dumps(row | {"id": row["id"][::-1]}) + "\n" for row in rows]
        replies.write_text("".join(lines))

    again = submit(config)

    assert (again.n_requests, again.n_jobs) == (0, 0)
    assert len(server.submitted) == N_BATTLES


def test_collecting_twice_is_harmless(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    submit(config)
    collect(config)
    before = {path.name: path.read_bytes() for path in folder_of(config).glob("*.jsonl")}

    done = collect(config)

    assert (done.n_new, done.n_judged) == (0, N_BATTLES)
    after = {path.name: path.read_bytes() for path in folder_of(config).glob("*.jsonl")}
    assert after == before
    assert list((folder_of(config) / "batches").iterdir()) == []


def test_a_job_that_is_not_done_is_waited_for(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    server.polls = 4
    submit(config)
    early = collect(config)
    assert early.n_judged == 0
    with pytest.raises(IncompleteError, match="in_progress, 0 of 5 done"):
        early.check()

    desk = open_batch_run(config, QUIET)
    asyncio.run(batch_results.wait(desk, Poll(0.01, 0.02), QUIET))

    assert collect(config).n_judged == N_BATTLES


def test_requests_that_are_wholly_the_same_are_submitted_once_and_shared(
    tmp_path: Path, server: BatchServer
) -> None:
    alike = {"one": ["good"], "other": ["good"], "weak": ["poor"]}
    config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=alike)

    submit(config)
    collect(config).check()

    # one and other show the same list: against weak they share a request, to each other they tie.
    assert len(server.submitted) == 2 * len(QUERIES)
    sources = Counter(battle.source for battle in logged(config))
    assert sources == {"judge": 12, "cache": 12, "identical": 12}


def test_work_under_way_counts_towards_the_budget(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    whole = submit(experiment(tmp_path / "whole", server)).at_most_usd
    cap = whole * 0.6

    first = submit(config, max_usd=cap)
    second = submit(config, max_usd=cap)

    assert 0 < first.n_requests < N_BATTLES
    assert first.at_most_usd <= cap
    assert second.n_requests == 0
    with pytest.raises(IncompleteError, match="raise max_usd"):
        second.check()
    collect(config)  # the true cost is less than the most that it could have been
    assert submit(config, max_usd=cap).n_requests > 0


def test_judges_of_a_panel_share_the_cap_with_each_others_jobs(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    text = config.read_text().replace("[judge]", "[[judges]]")
    section = text[text.index("[[judges]]") :]
    second = section.replace('model = "judge-1"', 'name = "two"\nmodel = "judge-2"')
    config.write_text(text + second)
    cap = submit(experiment(tmp_path / "one", server)).at_most_usd * 1.5

    first = submit(config, max_usd=cap)
    again = submit(config, max_usd=cap)

    assert N_BATTLES < first.n_requests < 2 * N_BATTLES
    assert again.n_requests == 0
    assert collect(config).n_judged == first.n_requests
    submit(config)
    assert collect(config).n_judged == 2 * N_BATTLES


def test_a_limit_on_enqueued_tokens_leaves_the_rest_for_later(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)

    first = submit(config, max_tokens=5000)
    with pytest.raises(IncompleteError, match="5,000 tokens are under way"):
        first.check()
    n_jobs = 1
    while collect(config).n_judged < N_BATTLES:
        n_jobs += submit(config, max_tokens=5000).n_jobs

    assert n_jobs > 1
    assert len(server.submitted) == N_BATTLES


def test_one_request_beyond_the_limit_of_a_file_is_refused_in_one_line() -> None:
    request = Request("a", "k", b"{}\n", tokens=10, cost_usd=0.0)

    with pytest.raises(UsageError, match="about 10 tokens, more than the 9"):
        list(cut_into_files([request], Limits(tokens=9)))


def test_what_a_server_refuses_in_a_job_is_left_out_of_the_next(
    tmp_path: Path, server: BatchServer
) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'."
    server.fate = lambda number, name: "400"
    server.refusal = said
    config = experiment(tmp_path, server)
    submit(config)
    collect(config)
    server.fate = lambda number, name: "ok"

    submit(config)
    collect(config).check()

    body = last_body(server)
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 1024


def last_body(server: BatchServer) -> dict[str, Any]:
    """The first request of the job that was created last."""
    last = list(server.batches.values())[-1]
    return json.loads(server.files[last["input_file_id"]].splitlines()[0])["body"]


def test_what_the_controls_taught_is_remembered_by_later_submissions(
    tmp_path: Path, server: BatchServer
) -> None:
    def reasoning(request: dict[str, Any], attempt: int) -> Any:
        if "temperature" in request:
            return error(400, "Unsupported value: 'temperature' does not support 0.0.")
        return fair_judge(request, attempt)

    server.judge = reasoning
    server.status = "failed"
    config = experiment(tmp_path, server, "gate = true\n")
    submit(config)
    collect(config)
    server.status = "completed"

    submit(config)

    assert "temperature" not in last_body(server)
    assert collect(config).n_judged == N_BATTLES


def test_a_job_whose_file_vanished_before_the_upload_is_given_up_and_planned_again(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    with crash_at(1, "after"), pytest.raises(Crash):
        submit(config)
    for path in (folder_of(config) / "batches").iterdir():
        path.write_bytes(b"something else\n")

    submit(config)

    assert Counter(server.submitted) == dict.fromkeys(server.submitted, 1)
    assert len(server.submitted) == N_BATTLES


def test_a_job_that_the_provider_forgot_can_be_given_up(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    submit(config, n_requests=50)
    server.batches.clear()
    with pytest.raises(IncompleteError, match=r"no such file or job.*--give-up 0001-"):
        collect(config).check()
    with pytest.raises(UsageError, match="open are: 0001-"):
        collect(config, give_up="0007")

    (job,) = read_jobs(folder_of(config)).values()
    collect(config, give_up=job.name)

    assert lost_usd(config) == [pytest.approx(job.cost_usd)]  # it may have run, and be billed
    assert submit(config).n_requests == N_BATTLES


def test_jobs_under_way_count_towards_the_cap_of_a_live_run_and_of_its_shards(
    tmp_path: Path, server: BatchServer
) -> None:
    from experiments import play

    config = experiment(tmp_path, server)
    under_way = submit(config, n_requests=4, max_tokens=5_000)
    assert 0 < under_way.n_requests < N_BATTLES

    whole, *shards = (
        play(config, max_usd=under_way.at_most_usd, shard=shard)
        for shard in (WHOLE, Shard(1, 2), Shard(2, 2))
    )
    assert whole.capped is not None
    assert any(part.capped for part in shards)  # the server's port decides which has any left
    assert [run.cost_usd for run in (whole, *shards)] == [0.0, 0.0, 0.0]
    settings, part = load_config(config), Shard(1, 2)
    books = open_budgets(settings, folder_of(config), max_usd=2 * under_way.at_most_usd, shard=part)
    books.charge()
    play(config, max_usd=under_way.at_most_usd + 1.0)
    collect(config)

    assert books.whole.cap.committed_usd == pytest.approx(under_way.at_most_usd / 2)
    assert len(logged(config)) == N_BATTLES


def test_a_refused_key_ends_a_submission_at_once_and_is_never_shown(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    config = experiment(tmp_path, server, 'api_key_env = "PLANTED"')
    server.faults["POST /v1/files"] = ["401"]
    with pytest.raises(FatalApiError) as refused:
        submit(config)

    submit(config)
    collect(config).check()

    assert KEY in "".join(server.headers)
    assert KEY not in str(refused.value)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in text for text in written)


def test_an_endpoint_that_is_not_there_is_named_after_few_attempts(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        config.write_text(config.read_text().replace(server.base_url, nowhere))

        with pytest.raises(ApiError, match=r"unreachable.*after 3 attempts") as refused:
            submit(config)

    assert nowhere in str(refused.value)


def test_a_letter_judge_keeps_its_probabilities(tmp_path: Path, server: BatchServer) -> None:
    def letters(request: dict[str, Any], attempt: int) -> Any:
        assert request["logprobs"]
        token = {"token": "A", "logprob": math.log(0.8)}
        other = {"token": "B", "logprob": math.log(0.2)}
        body = json.loads(chat("A").body)
        body["choices"][0]["logprobs"] = {"content": [{**token, "top_logprobs": [token, other]}]}
        return as_json(body)

    server.judge = letters
    config = experiment(tmp_path, server, 'answer = "letter"\n')
    submit(config)

    collect(config).check()

    [first, *_] = logged(config)
    assert first.winner == "model_a"
    assert first.probs is not None
    assert first.probs.first == pytest.approx(0.8)


def test_two_writers_are_kept_apart(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)

    with BattleLog(folder_of(config)), pytest.raises(LogError, match="another arena"):
        submit(config)


def test_exported_files_are_the_same_every_time_and_valid_jsonl(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    desk = open_batch_run(config, QUIET)

    once = offline.export(desk, tmp_path / "once", Limits(requests=5))
    again = offline.export(desk, tmp_path / "again", Limits(requests=5))

    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    rows = [json.loads(line) for path in once for line in path.read_text().splitlines()]
    assert len({row["custom_id"] for row in rows}) == len(rows) == N_BATTLES
    for row in rows:
        assert list(row) == ["custom_id", "method", "url", "body"]
        assert (row["method"], row["url"]) == ("POST", "/v1/chat/completions")
        assert row["body"]["response_format"]["type"] == "json_schema"
    assert server.requests == []
    with pytest.raises(UsageError, match="exists already"):
        offline.export(desk, tmp_path / "once", Limits())


def vllm_line(line: str) -> str:
    """What ``vllm run-batch`` writes for a line of its input."""
    request = json.loads(line)
    response = {
        "status_code": 200,
        "request_id": f"vllm-batch-{request['custom_id']}",
        "body": json.loads(fair_judge(request["body"], 1).body) | {"prompt_logprobs": None},
    }
    row = {"id": "vllm-1", "custom_id": request["custom_id"], "response": response, "error": None}
    return json.dumps(row)


def test_the_results_of_vllm_are_imported_at_the_full_price(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    desk = open_batch_run(config, QUIET)
    [requests] = offline.export(desk, tmp_path / "out", Limits())
    lines = [vllm_line(line) for line in requests.read_text().splitlines()]
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(reversed(lines)))

    done = asyncio.run(offline.import_files(desk, [results], QUIET))
    again = asyncio.run(offline.import_files(desk, [results], QUIET))

    done.check()
    assert (done.n_new, again.n_new) == (N_BATTLES, 0)
    assert {b.cost_usd for b in logged(config)} == {(100 * 1.0 + 20 * 2.0) / 1e6}
    assert len(replied(config)) == N_BATTLES


def test_importing_twice_writes_no_failure_twice(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    desk = open_batch_run(config, QUIET)
    [requests] = offline.export(desk, tmp_path / "out", Limits())
    lines = [vllm_line(line) for line in requests.read_text().splitlines()]
    lines[0] = lines[0].replace("verdict", "nothing")
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(lines))

    for _ in range(2):
        done = asyncio.run(offline.import_files(desk, [results], QUIET))

    assert done.n_judged == N_BATTLES - 1
    assert failed(config) == {"unreadable": 1}
    assert len(replied(config)) == N_BATTLES


def test_a_provider_that_is_down_for_a_while_is_waited_for(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    submit(config)
    server.faults["GET /v1/batches/batch-1"] = ["500"] * 6

    desk = open_batch_run(config, QUIET)
    asyncio.run(batch_results.wait(desk, Poll(0.01, 0.02), QUIET))

    assert collect(config).n_judged == N_BATTLES


def test_a_file_that_holds_no_results_is_refused_in_one_line(
    tmp_path: Path, server: BatchServer
) -> None:
    config = experiment(tmp_path, server)
    page = tmp_path / "page.html"
    page.write_bytes(PAGE)
    run = open_batch_run(config, QUIET)
    [requests] = offline.export(run, tmp_path / "out", Limits())

    for path in (page, requests):
        with pytest.raises(DataError, match="holds no results"):
            asyncio.run(offline.import_files(run, [path], QUIET))


def test_an_experiment_without_an_llm_has_nothing_to_export(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)

    with pytest.raises(UsageError, match="use `arena battle`"):
        offline.export(open_batch_run(config, QUIET), tmp_path / "out", Limits())


def test_a_damaged_ledger_is_named_with_its_line(tmp_path: Path, server: BatchServer) -> None:
    config = experiment(tmp_path, server)
    submit(config)
    ledger = folder_of(config) / "batches.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    chunk = json.loads(lines[0])

    for damage in ({}, {**chunk, "requests": 5}, {**chunk, "cost_usd": "much"}, {**chunk, "at": 1}):
        ledger.write_text("".join([*lines[:2], json.dumps(damage) + "\n", *lines[2:]]))
        with pytest.raises(DataError, match=r"batches\.jsonl:3"):
            read_jobs(folder_of(config))


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 20)), max_size=30),
    st.integers(1, 7),
    st.integers(50, 120),
    st.integers(20, 60),
)
@settings(max_examples=50)
def test_chunks_keep_the_order_lose_nothing_and_are_as_large_as_every_limit_lets_them(
    sizes: list[tuple[int, int]], requests: int, n_bytes: int, tokens: int
) -> None:
    work = [
        Request(str(i), str(i), b"x" * size, tokens=cost, cost_usd=0.0)
        for i, (size, cost) in enumerate(sizes)
    ]

    chunks = list(cut_into_files(work, Limits(requests=requests, n_bytes=n_bytes, tokens=tokens)))

    assert [request for chunk in chunks for request in chunk] == work
    for chunk in chunks:
        assert 1 <= len(chunk) <= requests
        assert sum(len(request.line) for request in chunk) <= n_bytes
        assert sum(request.tokens for request in chunk) <= tokens
    for chunk, following in pairwise(chunks):
        fuller = [*chunk, following[0]]
        assert (
            len(fuller) > requests
            or sum(len(request.line) for request in fuller) > n_bytes
            or sum(request.tokens for request in fuller) > tokens
        )


def test_a_line_is_the_same_for_the_same_request() -> None:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "ä\u2028"}]}

    line = request_line("id", body)

    assert line.count(b"\n") == 1
    assert json.loads(line)["body"] == body


@each_row(
    ("at", "overdue"),
    [("no moment", True), ("2020-01-01T00:00:00.000Z", True), (now(), False)],
)
def test_a_job_of_two_days_ago_or_of_no_known_day_is_waited_for_no_more(
    at: str, *, overdue: bool
) -> None:
    job = Job("0001", "hash", "fingerprint", "judge", {}, tokens=0, cost_usd=0.0, at=at)

    assert is_overdue(job) is overdue


def test_waits_grow_from_half_a_minute_to_five() -> None:
    poll = Poll()

    waits = [poll.wait_s(asked) for asked in range(20)]

    assert 24 <= waits[0] <= 30
    assert all(24 <= wait_s <= 300 for wait_s in waits)
    assert min(waits[10:]) >= 240
