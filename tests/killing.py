"""`arena battle` as a process of its own that is killed again and again, and what that cost."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from experiments import llm, log_lines, write_experiment
from loopback import Answer, LoopbackServer, Received, chat
from programs import Program, start_arena
from replies import read_replies

RANKINGS: Mapping[str, Sequence[str]] = {
    "strong": ["good", "fair"],
    "middling": ["fair", "poor"],
    "weak": ["poor", "other"],
    "upside-down": ["fair", "good"],
    "like-weak": ["poor", "other"],
}
"""Two of the lists are the same, so that battles share calls, and some are ties without one."""
CONCURRENCY = 8


@dataclass(slots=True)
class Toll:
    """What a number of kills has cost."""

    kills: int = 0
    needed: int = 0  #: requests that an undisturbed run sends
    asked: int = 0  #: requests that the server got from the killed and resumed runs
    in_flight: int = 0  #: of those, without a reply in the log when the process was killed
    kept: int = 0  #: verdicts that were in the log at the start of a run, all runs together
    lost: int = 0  #: of those, no longer there at its end
    asked_again: int = 0  #: of those, asked for once more
    unlike: int = 0  #: logs that differ from an undisturbed run's

    def __add__(self, other: Toll) -> Toll:
        """Both together."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Toll(*(mine + others for mine, others in pairs))


def named_verdict(request: dict[str, Any], attempt: int) -> Answer:
    """A verdict drawn by the request's hash, which the reply begins with; takes 10 to 20 ms."""
    name = request_name(request)
    time.sleep(0.010 + int(name[:2], 16) / 25_600)
    side = ("first", "second", "tie")[int(name[2:6], 16) % 3]
    return chat(json.dumps({"first": name, "second": "Fair.", "verdict": side}))


def request_name(request: dict[str, Any]) -> str:
    """A hash of what the judge was shown."""
    return hashlib.sha256(json.dumps(request["messages"]).encode()).hexdigest()[:32]


def write_killable(folder: Path, base_url: str) -> Path:
    """Write an experiment of 120 battles and 72 calls; returns its arena.toml."""
    judge = llm(base_url, f"concurrency = {CONCURRENCY}\ngate = false")
    return write_experiment(folder, judge=judge, rankings=RANKINGS)


def start(config: Path, *options: str, room: int | None = None) -> Program:
    """Start ``arena battle``; no file may grow beyond ``room`` bytes."""
    # The verdicts kept for all experiments are none of this one's: each has its own cache.
    own = {"ARENA_CACHE": str(config.parent / "cache")}
    return start_arena("battle", config, *options, env=own, room=room)


def finish(process: Program) -> tuple[int, str]:
    """Wait for the end of a run; returns its exit status and what it wrote to stderr."""
    _, stderr = process.communicate()
    return process.wait(), stderr


def run(config: Path, *options: str, room: int | None = None) -> tuple[int, str]:
    """Run ``arena battle`` to its end."""
    with start(config, *options, room=room) as process:
        return finish(process)


def wait_for(server: LoopbackServer, n_requests: int, process: Program) -> None:
    """Wait until the server got so many requests, or the process has ended."""
    until = time.monotonic() + 60
    while len(server.requests) < n_requests and process.poll() is None:
        if time.monotonic() > until:
            raise TimeoutError(f"{len(server.requests)} of {n_requests} requests in 60 s")
        time.sleep(0.0005)


def kept_verdicts(config: Path) -> set[str]:
    """The requests whose replies are in the log, wherever it ends."""
    path = config.parent / "runs" / "x" / "replies.jsonl"
    if not path.exists():
        return set()
    return {json.loads(reply.reply)["first"] for reply in read_replies(path) if reply.id}


def names(requests: Sequence[Received]) -> list[str]:
    """The requests' names, in the order in which they came in."""
    return [request_name(request.body) for request in requests]


def kill_and_resume(folder: Path, n_kills: int, *, seed: int) -> Toll:
    """Kill an experiment at random moments, let it end, and compare it with an undisturbed one.

    A moment is a number of requests that the server got since the start, and up to 20 ms.
    """
    draw = random.Random(seed)
    toll = Toll()
    with LoopbackServer(named_verdict) as server:
        undisturbed = write_killable(folder / "undisturbed", server.base_url)
        _run_to_the_end(undisturbed)
        toll.needed = len(server.requests)
        config = write_killable(folder / "killed", server.base_url)
        for left in range(n_kills, 0, -1):
            most = 2 * (toll.needed - len(kept_verdicts(config))) // (left + 1)
            with session(config, server, toll), start(config) as process:
                wait_for(server, draw.randint(0, most), process)
                time.sleep(draw.random() / 50)
                process.send_signal(signal.SIGKILL)
            toll.kills += 1
            toll.in_flight += len(set(names(server.requests)) - kept_verdicts(config))
        with session(config, server, toll):
            _run_to_the_end(config)
    toll.unlike = int(log_lines(config) != log_lines(undisturbed))
    return toll


@contextmanager
def session(config: Path, server: LoopbackServer, toll: Toll) -> Iterator[None]:
    """Count what one run asks, and what it leaves of the verdicts that are in the log."""
    known = kept_verdicts(config)
    server.requests.clear()
    yield
    time.sleep(0.02)  # requests on their way when the process died
    while server.in_flight:
        time.sleep(0.001)
    asked = names(server.requests)
    toll.asked += len(asked)
    toll.asked_again += len(known.intersection(asked))
    toll.kept += len(known)
    toll.lost += len(known - kept_verdicts(config))


def _run_to_the_end(config: Path) -> None:
    status, stderr = run(config)
    if status:
        raise RuntimeError(stderr)
