"""The command `arena report`, the option `arena battle --report`, and a site during a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from experiments import fair_judge, llm, logged, play, write_experiment
from loopback import Answer, LoopbackServer, error
from programs import forks, start_arena
from sites import data_of

import arena as package
from arena.cli import main
from arena.files import write_atomically
from arena.site import watch as watching
from arena.site.watch import watch


def arena(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def until(true: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Wait for something to come true."""
    ends = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.02)


def test_report_prints_the_first_page_and_says_the_rest_on_stderr(tmp_path: Path) -> None:
    play(write_experiment(tmp_path))

    told = arena("report", tmp_path / "runs" / "x")

    assert told.exit_code == 0
    assert told.stdout == f"{tmp_path / 'runs' / 'x' / 'report' / 'index.html'}\n"
    assert told.stderr == "site: 36 battles judged.\n"
    assert Path(told.stdout.strip()).is_file()


def test_a_site_of_the_first_battle_knows_data_sets_that_are_not_played_yet(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    second = '[[datasets]]\nname = "more"\npath = "data"\n[[models]]'
    config.write_text(config.read_text().replace("[[models]]", second, 1))
    play(config, limit=1)

    told = arena("report", tmp_path / "runs" / "x")

    assert told.exit_code == 0, told.output
    assert told.stderr.startswith("site: 1 of 72 battles judged")


def test_report_writes_where_it_is_told_to(tmp_path: Path) -> None:
    play(write_experiment(tmp_path))

    told = arena("report", tmp_path / "runs" / "x", "--out", tmp_path / "public" / "arena")

    assert told.stdout == f"{tmp_path / 'public' / 'arena' / 'index.html'}\n"
    assert not (tmp_path / "runs" / "x" / "report").exists()


def test_where_no_browser_opens_the_site_is_made_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(write_experiment(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # with nothing in it that opens anything

    told = arena("report", tmp_path / "runs" / "x", "--open")

    assert told.exit_code == 0
    assert "note: arena cannot open a browser" in told.stderr


def test_the_same_from_python(tmp_path: Path) -> None:
    play(write_experiment(tmp_path))

    page = package.report(tmp_path / "runs" / "x")

    assert page == tmp_path / "runs" / "x" / "report" / "index.html"


@pytest.mark.parametrize("there", ["nothing", "an empty folder", "a configuration"])
def test_what_is_no_experiment_is_one_line_and_a_usage_error(tmp_path: Path, there: str) -> None:
    path = tmp_path / "x"
    if there == "an empty folder":
        path.mkdir()
    elif there == "a configuration":
        path = write_experiment(tmp_path)

    told = arena("report", path)

    assert told.exit_code == 2
    assert told.stdout == ""
    assert told.stderr.startswith(f"error: {path}: ")
    assert "runs/" in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_run_with_report_is_the_same_and_ends_with_the_site_of_all_its_battles(
    tmp_path: Path,
) -> None:
    site, seen = tmp_path / "with" / "runs" / "x" / "report", list[bool]()

    def judge_of_a_site(request: dict[str, Any], attempt: int) -> Answer:
        if len(server.requests) >= 20 and not seen:  # the site is made while the battles go on
            with suppress(AssertionError):
                until((site / "index.html").is_file, within_s=60)
            seen.append((site / "index.html").is_file())
        return fair_judge(request, attempt)

    with LoopbackServer(judge_of_a_site) as server:
        judge = llm(server.base_url)
        config = write_experiment(tmp_path / "with", judge=judge)
        plain = write_experiment(tmp_path / "without", judge=judge)

        told = arena("battle", config, "--report")
        arena("battle", plain)

    assert told.exit_code == 0
    assert seen[0]
    assert f"site: {site / 'index.html'}" in told.stderr
    assert data_of(site, "site")["state"]["sentence"] == "36 battles judged."
    with_site, without = (
        [(battle.id, battle.winner) for battle in logged(path)] for path in (config, plain)
    )
    assert with_site == without


def test_a_run_that_fails_has_a_site_of_what_it_judged(tmp_path: Path) -> None:
    def tiring(request: dict[str, Any], attempt: int) -> Answer:
        return fair_judge(request, attempt) if len(server.requests) < 12 else error(401, "no key")

    with LoopbackServer(tiring) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "concurrency = 1\n"))

        told = arena("battle", config, "--report")

    assert told.exit_code == 1
    site = tmp_path / "runs" / "x" / "report"
    state = data_of(site, "site")["state"]
    assert 0 < state["judged"] < 36
    assert not state["complete"]
    assert "site: " in told.stderr


def test_a_run_that_never_began_says_its_own_error_alone(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    (tmp_path / "data" / "queries.jsonl").unlink()

    told = arena("battle", config, "--report")

    assert told.exit_code == 2
    assert "site" not in told.stderr


def test_a_dry_run_has_no_report(tmp_path: Path) -> None:
    told = arena("battle", write_experiment(tmp_path), "--dry-run", "--report")

    assert told.exit_code == 2
    assert "--report" in told.stderr


def test_the_site_follows_a_log_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "INTERVAL_S", 0.02)
    monkeypatch.setattr(watching, "_REST", 0)
    config = write_experiment(tmp_path)
    play(config, limit=6)
    folder, stop, told = tmp_path / "runs" / "x", threading.Event(), list[str]()
    follower = threading.Thread(
        target=watch, args=(folder, None), kwargs={"stop": stop, "log": told.append}
    )
    follower.start()
    try:
        until(lambda: told)
        site = folder / "report"
        before = data_of(site, "version")

        play(config)

        until(lambda: data_of(site, "version")["complete"])
    finally:
        stop.set()
        follower.join()
    assert told[0] == "site: 6 of 36 battles judged; the ratings will move."
    assert told[-1] == "site: 36 battles judged."
    assert data_of(site, "version")["version"] != before["version"]
    assert data_of(site, "version")["version"] == data_of(site, "site")["version"]


def test_a_long_build_is_followed_by_a_longer_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((0.0, 2.0, 10.0, 10.01))  # a build of two seconds, and one of no time
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waits.append(timeout)
            log.write_text(log.read_text() + "a,b,tie\n")
            if len(waits) == 2:
                self.set()
            return self.is_set()

    log = tmp_path / "log.csv"
    log.write_text("model_a,model_b,winner\na,b,tie\n")
    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(watching, "build_site", lambda *_, **__: None)

    watch(log, None, stop=Stop(), log=lambda _: None)

    assert waits == [18.0, watching.INTERVAL_S]


def test_what_cannot_be_built_now_is_said_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "INTERVAL_S", 0.02)
    play(write_experiment(tmp_path))
    folder, stop, told = tmp_path / "runs" / "x", threading.Event(), list[str]()
    log = folder / "battles.jsonl"
    whole = log.read_bytes()
    log.write_bytes(b"not a battle\n" + whole)
    follower = threading.Thread(
        target=watch, args=(folder, None), kwargs={"stop": stop, "log": told.append}
    )
    follower.start()
    try:
        until(lambda: told)
        log.write_bytes(whole)
        until(lambda: told[-1] == "site: 36 battles judged.")
    finally:
        stop.set()
        follower.join()

    assert told[0].startswith("note: the site is not up to date: ")
    assert "battles.jsonl:1" in told[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
def test_watching_ends_with_ctrl_c_and_exit_status_0(tmp_path: Path) -> None:
    play(write_experiment(tmp_path))
    with start_arena("report", tmp_path / "runs" / "x", "--watch") as process:
        until(lambda: "watching" in process.stderr.readline())

        process.send_signal(signal.SIGINT)

        _, told = process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in told


@pytest.mark.skipif(sys.platform == "win32", reason="a killed parent closes its pipes elsewhere")
def test_the_process_that_follows_a_run_ends_with_it_however_that_ends(tmp_path: Path) -> None:
    play(write_experiment(tmp_path))
    folder = tmp_path / "runs" / "x"
    with following(folder) as (follower, pipe):
        until((folder / "report" / "index.html").is_file)

        pipe.close()  # as the system does for a process that was killed

        follower.join(20)
        assert follower.exitcode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there it ends at once, and may leave a file")
def test_the_process_that_follows_a_run_may_end_while_it_writes(tmp_path: Path) -> None:
    with following(tmp_path, write_without_end) as (follower, _):
        until(lambda: list(tmp_path.iterdir()))

        follower.terminate()

        follower.join(20)
        assert follower.exitcode == 0
        assert list(tmp_path.iterdir()) == []


def write_without_end(folder: Path, *_: object, **__: object) -> None:
    def chunks() -> Iterator[bytes]:
        while True:
            yield b"x"
            time.sleep(0.02)

    write_atomically(folder / "index.html", chunks())


@contextmanager
def following(
    folder: Path, build: Callable[..., object] = watching.build_site
) -> Iterator[tuple[ForkServerProcess, Connection]]:
    """Fork the process that follows a run; with the pipe that it reads."""
    theirs, pipe = forks().Pipe(duplex=False)
    follower = forks().Process(target=follow, args=(folder, build, theirs))
    with theirs, pipe:
        follower.start()
        try:
            yield follower, pipe
        finally:
            follower.kill()
            follower.join()


def follow(folder: Path, build: Callable[..., object], pipe: Connection) -> None:
    sys.stdin = open(os.dup(pipe.fileno()))  # noqa: SIM115, PTH123
    sys.argv = ["watch", str(folder)]
    watching.build_site = build  # type: ignore[assignment]
    watching._main()
