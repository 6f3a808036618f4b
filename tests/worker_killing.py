"""A run on a cluster whose workers are killed again and again, and what that cost."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import QUIET, llm, write_experiment
from killing import named_verdict, names
from loopback import Answer, LoopbackServer

from arena.cluster.connect import Cluster
from arena.cluster.judge import battle_on_cluster
from arena.experiment.battle_options import BattleOptions
from arena.store.log_lines import read_battles

RANKINGS = {
    "a": ["good", "fair"],
    "b": ["fair", "poor"],
    "c": ["poor", "other"],
    "d": ["fair", "good"],
    "e": ["other", "good"],
    "f": ["good", "other"],
}
"""All lists differ, so that each of the 180 battles needs a call of its own."""
CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class WorkerToll:
    """What a number of killed workers has cost."""

    kills: int
    n_battles: int  #: of the plan
    logged: int  #: lines of battles in all logs
    distinct: int  #: of those, battles
    asked: int  #: requests that the server got
    most_asked: int  #: those that were needed, and what may have been on the wire at the kills


def in_shards(config: Path, n_shards: int) -> None:
    """Set the number of shards in an arena.toml; the address is one that nobody uses."""
    section = f'[cluster]\naddress = "tcp://127.0.0.1:1"\nshards = {n_shards}\n'
    config.write_text(config.read_text() + section)


def _slow(request: dict[str, Any], attempt: int) -> Answer:
    time.sleep(0.05)
    return named_verdict(request, attempt)


def kill_workers(folder: Path, cluster: Cluster, n_kills: int, *, seed: int) -> WorkerToll:
    """Judge a plan while workers get SIGKILL, each after a random number of further requests."""
    draw = random.Random(seed)
    killed: list[int] = []
    with LoopbackServer(_slow) as server:
        judge = llm(server.base_url, f"concurrency = {CONCURRENCY}")
        config = write_experiment(folder, judge=judge, rankings=RANKINGS)
        in_shards(config, max(8, 3 * n_kills // 2))
        os.environ["ARENA_CACHE"] = str(folder / "cache")
        over = threading.Event()

        def kill() -> None:
            while len(killed) < n_kills and not over.is_set():
                wanted = len(server.requests) + draw.randint(2, max(4, 120 // n_kills))
                while len(server.requests) < wanted and not over.is_set():
                    time.sleep(0.002)
                with suppress(Exception):  # a worker that is gone already cannot be asked
                    pids = list(cluster.client.run(os.getpid, on_error="ignore").values())
                    pid = draw.choice(pids)
                    if not over.is_set():
                        os.kill(pid, signal.SIGKILL)
                        killed.append(pid)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            options = BattleOptions(cluster="local:2")
            battle_on_cluster(config, QUIET, options, cluster).check()
        finally:
            over.set()
            killer.join()
        asked = Counter(names(server.requests))
    ids = [
        battle.id
        for path in (folder / "runs" / "x").glob("battles*.jsonl")
        for battle in read_battles(path)
    ]
    return WorkerToll(
        kills=len(killed),
        n_battles=180,
        logged=len(ids),
        distinct=len(set(ids)),
        asked=sum(asked.values()),
        most_asked=len(asked) + CONCURRENCY * len(killed),
    )
