"""Runs that are killed, stopped, out of room, or not allowed to write: nothing paid for is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from experiments import log_lines, play
from killing import (
    CONCURRENCY,
    Toll,
    finish,
    kill_and_resume,
    named_verdict,
    run,
    session,
    start,
    wait_for,
    write_killable,
)
from loopback import Answer, LoopbackServer
from programs import Program

N_BATTLES = 120


def test_killed_at_random_moments_and_resumed_nothing_is_lost_and_nothing_paid_for_twice(
    tmp_path: Path,
) -> None:
    toll = kill_and_resume(tmp_path, 6, seed=1)

    assert toll.kills == 6
    assert toll.kept > 60
    assert toll.lost == toll.asked_again == toll.unlike == 0
    assert toll.needed <= toll.asked <= toll.needed + toll.in_flight


def test_signals_drain_and_a_second_one_leaves_at_once_without_a_lost_verdict(
    tmp_path: Path,
) -> None:
    goes_on = threading.Event()

    def stalls_after_twelve(request: dict[str, Any], attempt: int) -> Answer:
        if len(server.requests) > 12:
            goes_on.wait(20)
        return named_verdict(request, attempt)

    hurried, drained, last = Toll(), Toll(), Toll()
    with LoopbackServer(stalls_after_twelve) as server:
        config = write_killable(tmp_path, server.base_url)
        with session(config, server, hurried), start(config) as process:
            interrupt(process, signal.SIGTERM, server)
            process.send_signal(signal.SIGTERM)
            hurried_status, _ = finish(process)
            goes_on.set()
        goes_on.clear()
        with session(config, server, drained), start(config) as process:
            interrupt(process, signal.SIGINT, server)
            goes_on.set()
            drained_status, stderr = finish(process)
        with session(config, server, last):
            last_status, _ = run(config)

    assert (hurried_status, drained_status, last_status) == (1, 1, 0)
    assert stderr.splitlines()[-1].endswith(f"go on with: arena battle {config}")
    assert drained.kept >= 13 - CONCURRENCY
    assert last.kept == drained.kept + drained.asked
    assert drained.lost == drained.asked_again == last.lost == last.asked_again == 0
    assert len({line["id"] for line in log_lines(config)}) == len(log_lines(config)) == N_BATTLES


def interrupt(process: Program, number: int, server: LoopbackServer) -> None:
    """Send a signal in the middle of the battles, and wait until it is acknowledged."""
    wait_for(server, 13, process)
    process.send_signal(number)
    process.read_until("stopping")


def test_a_full_disk_ends_the_run_with_one_line_and_the_same_command_goes_on(
    tmp_path: Path,
) -> None:
    toll = Toll()
    with LoopbackServer(named_verdict) as server:
        config = write_killable(tmp_path, server.base_url)
        for room, where in [(300, "strong.trec"), (33_000, "battles.jsonl")]:
            with session(config, server, toll):
                status, stderr = run(config, "--quiet", room=room)

            assert status == 1
            assert "Traceback" not in stderr
            line = f"{where}: cannot be written: File too large; free the disk"
            assert line in stderr.splitlines()[-1]
        with session(config, server, toll):
            status_with_room, _ = run(config)

    assert toll.kept > 0
    assert status_with_room == toll.lost == toll.asked_again == 0
    assert len({row["id"] for row in log_lines(config)}) == len(log_lines(config)) == N_BATTLES


def test_a_folder_that_cannot_be_written_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with LoopbackServer(named_verdict) as server:
        config = write_killable(tmp_path, server.base_url)
        (tmp_path / "runs" / "x").mkdir(parents=True)
        (tmp_path / "runs" / "x" / "retrieval").touch()  # not even root can write below a file

        status, stderr = run(config, "--quiet")

    (line,) = stderr.splitlines()
    assert status == 1
    assert "cannot be written: Not a directory; free the disk or the permissions" in line
    assert server.requests == []


def test_a_battle_whose_line_was_torn_is_written_again_from_its_reply(tmp_path: Path) -> None:
    with LoopbackServer(named_verdict) as server:
        config = write_killable(tmp_path, server.base_url)
        play(config)
        undisturbed = log_lines(config)
        server.requests.clear()
        log = tmp_path / "runs" / "x" / "battles.jsonl"
        for n_bytes in (1, 40):
            log.write_bytes(log.read_bytes()[:-n_bytes])

            play(config)

            assert log_lines(config) == undisturbed
    assert server.requests == []


BUG = """
import sys
from arena.cli import main
from arena.endpoint.address_and_key import Endpoint, find_key

@main.command()
def fails():
    key = find_key(Endpoint(api_key_env="PLANTED"))
    try:
        raise ValueError({"Authorization": f"Bearer {key}"})
    except ValueError as error:
        raise ExceptionGroup("bugs", [RuntimeError(f"bug with {key}")]) from error

main(["fails"])
"""


def test_no_key_is_printed_when_arena_itself_fails() -> None:
    key = "sk-planted-'0123456789"

    ended = subprocess.run(
        [sys.executable, "-c", BUG],
        env={**os.environ, "PLANTED": key},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "bug with [key]" in ended.stderr
    assert "Bearer [key]" in ended.stderr
    assert "sk-planted" not in ended.stderr + ended.stdout
