"""Ctrl-C and SIGTERM: drain and say how to go on; twice: leave at once; nothing paid is lost."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from experiments import fair_judge, llm, log_lines, play, write_experiment
from loopback import Answer, LoopbackServer
from programs import start_arena
from replies import read_replies

N_BATTLES = 36
RUN = Path("runs") / "x"


class Held:
    """A judge that answers some calls at once, and holds the others back until it is let go."""

    def __init__(self, n_at_once: int) -> None:
        self._n_at_once = n_at_once
        self._go = threading.Event()
        self._lock = threading.Lock()
        self.n_seen = 0
        self.n_answered = 0

    def __call__(self, request: dict[str, Any], attempt: int) -> Answer:
        with self._lock:
            self.n_seen += 1
            held = self.n_seen > self._n_at_once
        if held:
            self._go.wait(20)
        self.n_answered += 1
        return fair_judge(request, attempt)

    def let_go(self) -> None:
        self._go.set()

    def wait_for_calls(self, number: int) -> None:
        until = time.monotonic() + 20
        while self.n_seen < number and time.monotonic() < until:
            time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_finishes_the_calls_under_way_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    judge = Held(n_at_once=6)

    with LoopbackServer(judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "concurrency = 4"))
        with start_arena("battle", config) as process:
            judge.wait_for_calls(10)
            process.send_signal(number)
            process.read_until("stopping: finishing the calls under way")
            judge.let_go()
            out, err = process.communicate()

    assert process.returncode == 1
    assert f"go on with: arena battle {config}" in err
    assert "Traceback" not in err
    assert "strong" in out
    replies = list(read_replies(tmp_path / RUN / "replies.jsonl"))
    assert len(replies) == len(server.requests) == judge.n_answered == 10


def test_a_second_signal_leaves_at_once_and_loses_no_verdict(tmp_path: Path) -> None:
    judge = Held(n_at_once=6)

    with LoopbackServer(judge) as server:
        config = write_experiment(tmp_path / "cut", judge=llm(server.base_url, "concurrency = 4"))
        with start_arena("battle", config) as process:
            judge.wait_for_calls(10)
            process.send_signal(signal.SIGINT)
            process.read_until("press Ctrl-C again to exit at once")
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate()
            took_s = time.monotonic() - began
        n_kept = sum(
            bool(reply.id) for reply in read_replies(config.parent / RUN / "replies.jsonl")
        )
        judge.let_go()
        server.answer = fair_judge
        server.requests.clear()
        play(config)
        whole = write_experiment(tmp_path / "whole", judge=llm(server.base_url, "concurrency = 4"))
        n_after = len(server.requests)
        play(whole)

    assert process.returncode == 1
    assert took_s < 5, "it waited for calls that were held back"
    assert "go on with: arena battle" in err
    assert "Traceback" not in err
    assert n_kept == 6
    assert n_after == N_BATTLES - n_kept
    assert log_lines(config) == log_lines(whole)
