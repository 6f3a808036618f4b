"""Batch jobs with a panel, a stopping rule and Ctrl-C; files for a model of one's own."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer
from click.testing import CliRunner, Result
from experiments import fair_grader, fair_judge, llm, log_lines, logged, play, write_experiment
from loopback import Answer, verdict
from programs import start_arena
from test_until import write as write_strengths

from arena.cli import main
from arena.experiment import stopping
from arena.experiment.stopping import StoppingRule
from arena.store.batch_ledger import read_jobs

RANKINGS = {"strong": ["good", "fair"], "weak": ["poor", "other"], "worst": ["other", "poor"]}
N_BATTLES = 3 * 2 * 6
N_QUERIES = 50
TO_THE_END = ("--batch", "--wait", "--poll", "0.01")


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(fair_judge) as running:
        yield running


def arena(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "-q"])


def write(folder: Path, judge: str) -> Path:
    folder.mkdir(exist_ok=True)
    return write_experiment(folder, judge=judge, rankings=RANKINGS)


def log_lines_unpriced(config: Path) -> list[dict[str, Any]]:
    """Return the battles of a log, without their price and what a clock wrote."""
    return [{k: v for k, v in row.items() if k != "cost_usd"} for row in log_lines(config)]


def test_a_panel_with_a_judge_that_is_no_llm_is_judged_by_batch_as_live(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panel(folder: Path) -> Path:
        judges = llm(server.base_url) + '\n[[judges]]\nkind = "qrels"\n'
        config = write(folder, judges)
        config.write_text(config.read_text().replace("[judge]", "[[judges]]"))
        return config

    live, posted = panel(tmp_path / "live"), panel(tmp_path / "posted")
    play(live)
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "another"))

    first = arena("battle", posted, "--batch")
    last = arena("battle", posted, "--batch")

    assert (first.exit_code, last.exit_code) == (0, 0), first.output + last.output
    assert f"under way: {N_BATTLES:,} requests in 1 job" in first.stdout
    assert f"0 battles written, 0 of {2 * N_BATTLES} judged" in first.stdout
    assert "all battles are judged" in last.stdout

    rows, live_rows = (
        sorted(log_lines_unpriced(config), key=lambda row: str(row["judge"]))
        for config in (posted, live)
    )
    assert len(rows) == 2 * N_BATTLES
    assert rows == live_rows


def finds_the_good(request: dict[str, Any], attempt: int) -> Answer:
    """Prefer the list that begins with a good document, if only one does."""
    shown = request["messages"][-1]["content"]
    _, *lists = re.split(r"The (?:first|second) list, from the top down:", shown)
    first, second = (bool(re.search(r"\bgood q\d", one)) for one in lists)
    return verdict("tie" if first == second else "first" if first else "second")


def test_a_stopping_rule_ends_batch_jobs_after_the_round_that_ends_a_live_run(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.judge = finds_the_good

    def apart(name: str) -> Path:
        (tmp_path / name).mkdir()
        config = write_strengths(tmp_path / name, {"good": 0.9, "poor": 0.2}, n_queries=N_QUERIES)
        text = config.read_text().replace('kind = "qrels"', llm(server.base_url))
        config.write_text(text)
        return config

    live, posted = apart("live"), apart("posted")
    play(live, until=StoppingRule())
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "another"))

    done = arena("battle", posted, *TO_THE_END, "--until", "separated")
    n_submitted = len(server.submitted)
    again = arena("battle", posted, *TO_THE_END, "--until", "separated")

    assert (done.exit_code, again.exit_code) == (0, 0), done.output + again.output
    assert re.search(r"^decided after \d+ queries", done.stdout, re.MULTILINE)
    # Identical lists, which no job judges, wait for the round's jobs; a live run writes them first.
    rows, live_rows = (
        sorted(log_lines_unpriced(config), key=lambda row: str(row["id"]))
        for config in (posted, live)
    )
    assert rows == live_rows
    assert len(server.batches) > 1
    assert 40 <= len(logged(posted)) < 160
    assert n_submitted == len(set(server.submitted)) == len(server.submitted)


def test_a_search_for_the_best_over_a_part_of_the_pairs_ends_by_batch_as_live(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.judge = finds_the_good
    strengths = {"best": 0.9, "good": 0.7, "poor": 0.2, "worse": 0.1}

    def sparse(name: str) -> Path:
        (tmp_path / name).mkdir()
        config = write_strengths(tmp_path / name, strengths, n_queries=N_QUERIES)
        text = config.read_text().replace('kind = "qrels"', llm(server.base_url))
        config.write_text(text.replace("top_k = 1", "top_k = 1\npairs_per_query = 3"))
        return config

    live, posted = sparse("live"), sparse("posted")
    play(live, until=StoppingRule(best=True))
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "another"))

    done = arena("battle", posted, *TO_THE_END, "--until", "best")
    n_submitted = len(server.submitted)
    again = arena("battle", posted, *TO_THE_END, "--until", "best")

    assert (done.exit_code, again.exit_code) == (0, 0), done.output + again.output
    rows, live_rows = (
        sorted(log_lines_unpriced(config), key=lambda row: str(row["id"]))
        for config in (posted, live)
    )
    assert rows == live_rows
    assert len(server.submitted) == n_submitted
    assert len(rows) < N_QUERIES * 3 * 2
    assert "dropped, after queries: " in done.stdout
    assert f"0 battles written, {len(rows):,} of {N_QUERIES * 3 * 2} judged" in again.stdout


def test_a_stopping_rule_that_is_never_reached_ends_batch_jobs_with_the_plan(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "ROUND", 2)
    config = write(tmp_path, llm(server.base_url))

    done = arena("battle", config, *TO_THE_END, "--until", "separated")

    assert done.exit_code == 0, done.output
    assert "not decided after 6 queries, 36 battles" in done.stdout
    assert len(server.batches) == 3
    assert len(logged(config)) == N_BATTLES


def test_a_run_that_waits_for_jobs_and_is_interrupted_loses_nothing(
    tmp_path: Path, server: BatchServer
) -> None:
    server.polls = 10**9
    config = write(tmp_path, llm(server.base_url))
    own = {"ARENA_CACHE": str(tmp_path / "cache")}

    with start_arena("battle", config, *TO_THE_END, env=own) as process:
        until = time.monotonic() + 60
        while not any(r.startswith("GET /v1/batches/") for r in server.requests):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        printed, complaint = process.communicate()
        status = process.wait()

    assert status == 1, printed + complaint
    assert f"stopped at 0 of {N_BATTLES} battles; go on with: arena battle" in complaint
    assert "Traceback" not in complaint
    jobs = read_jobs(tmp_path / "runs" / "x").values()
    assert [job.is_open and job.batch_id for job in jobs] == list(server.batches)

    server.polls = 1
    resumed = arena("battle", config, *TO_THE_END)

    assert resumed.exit_code == 0, resumed.output
    assert "all battles are judged" in resumed.stdout
    assert len(server.submitted) == len(set(server.submitted)) == N_BATTLES


def test_a_pointwise_judge_is_exported_and_imported_as_it_is_judged_live(
    tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.judge = fair_grader
    judge = llm(server.base_url, 'kind = "pointwise"\nscale = "graded"\n')
    live, config = (write(tmp_path / name, judge) for name in ("live", "own"))
    play(live)
    server.requests.clear()
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "another"))

    exported = arena("batch", "export", tmp_path / "out", config)
    requests = Path(exported.output.strip()).read_text().splitlines()
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(map(graded, requests)))
    imported = arena("batch", "import", results, "--config", config)
    again = arena("batch", "import", results, "--config", config)

    assert (imported.exit_code, again.exit_code) == (0, 0), imported.output + again.output
    assert f"{N_BATTLES} battles written, {N_BATTLES} of {N_BATTLES} judged" in imported.output
    assert server.requests == []
    assert len(requests) == len({json.loads(line)["custom_id"] for line in requests}) == 4 * 6
    assert log_lines(config) == log_lines(live)
    replies, live_replies = (
        [json.loads(line) for line in (c.parent / "runs/x/replies.jsonl").read_text().splitlines()]
        for c in (config, live)
    )
    assert len(replies) == len(live_replies)
    paid, paid_live = (sum(r["cost_usd"] for r in rows) for rows in (replies, live_replies))
    assert paid == pytest.approx(paid_live)


def graded(line: str) -> str:
    """Return what an engine writes for a line of its input."""
    request = json.loads(line)
    body = json.loads(fair_grader(request["body"], 1).body)
    response = {"status_code": 200, "request_id": "1", "body": body}
    row = {"id": "1", "custom_id": request["custom_id"], "response": response, "error": None}
    return json.dumps(row)
