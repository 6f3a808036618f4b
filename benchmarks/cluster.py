"""Measure `arena battle --cluster`: its speed beside one machine, its tasks, and killed workers.

::

    python benchmarks/cluster.py judging --rounds 3
    python benchmarks/cluster.py simulate --workers 1 10 100 256
    python benchmarks/cluster.py kills --kills 20

judging: 180 calls to a judge on loopback that takes ``--delay-s``, four at once for each worker.
One machine, one worker and two workers take turns, after a run that imports everything.

simulate: workers are threads of this process, whose tasks sleep instead of embedding or judging.
The scheduler and all workers share one interpreter, so a real scheduler spends less on each task.

kills: one run on two workers, of which one gets SIGKILL at random moments.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from experiments import QUIET, llm, play, write_experiment
from killing import named_verdict
from loopback import Answer, LoopbackServer
from worker_killing import CONCURRENCY, RANKINGS, kill_workers

from arena.cluster.connect import open_cluster
from arena.cluster.judge import battle_on_cluster
from arena.experiment.summary import BattleOptions


def judging(rounds: int, delay_s: float) -> None:
    """Print the seconds of one machine, one worker and two workers, and their ratios."""

    def slow(request: dict[str, Any], attempt: int) -> Answer:
        time.sleep(delay_s)
        return named_verdict(request, attempt)

    with (
        LoopbackServer(slow) as server,
        open_cluster("local:1", None, QUIET) as one,
        open_cluster("local:2", None, QUIET) as two,
    ):
        numbers = itertools.count()

        def timed(run: Callable[[Path], object]) -> float:
            with tempfile.TemporaryDirectory() as folder:
                judge = llm(server.base_url, f"concurrency = {CONCURRENCY}")
                # Workers keep their cache of verdicts, which is none of another model's.
                judge = judge.replace("judge-1", f"judge-{next(numbers)}")
                config = write_experiment(Path(folder), judge=judge, rankings=RANKINGS)
                os.environ["ARENA_CACHE"] = str(Path(folder) / "cache")
                began = time.perf_counter()
                run(config)
                return time.perf_counter() - began

        options = BattleOptions(cluster="local")
        ways: dict[str, Callable[[Path], object]] = {
            "one machine": play,
            "one worker": lambda config: battle_on_cluster(config, QUIET, options, one),
            "two workers": lambda config: battle_on_cluster(config, QUIET, options, two),
        }
        for run in ways.values():
            timed(run)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, run in ways.items():
                seconds[name].append(timed(run))
                print(f"{name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    for name, times in seconds.items():
        print(f"{name}: {median[name]:.2f} s ({min(times):.2f} to {max(times):.2f})")
    print(
        f"one worker takes {median['one worker'] / median['one machine'] - 1:+.1%}; "
        f"two are {median['one worker'] / median['two workers']:.2f} x one"
    )


def simulate(workers: list[int], seconds: float, each: int) -> None:
    """Print what a task costs beside its sleep, for each number of workers."""
    for n_workers in workers:
        empty, asleep = asyncio.run(_simulated(n_workers, seconds, each))
        n_tasks = n_workers * each
        print(
            f"{n_workers} workers: {1000 * empty / n_tasks:.2f} ms a task that does nothing; "
            f"{each} tasks of {seconds:g} s each: {asleep:.2f} s, "
            f"{seconds * each / asleep:.0%} of it asleep",
            flush=True,
        )


async def _simulated(n_workers: int, seconds: float, each: int) -> tuple[float, float]:
    """Return the time of tasks that do nothing, and of those that sleep."""
    from distributed import Client, LocalCluster

    async with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            asynchronous=True,
        ) as cluster,
        Client(cluster, asynchronous=True) as client,
    ):
        await client.wait_for_workers(n_workers)
        times = []
        for duration in (0.0, 0.0, seconds):  # the first one warms up
            began = time.perf_counter()
            await client.gather(client.map(time.sleep, [duration] * n_workers * each, pure=False))
            times.append(time.perf_counter() - began)
        return times[1], times[2]


def kills(n_kills: int, seed: int) -> int:
    """Print what a run has cost whose workers are killed; return 1 where that is too much."""
    with (
        open_cluster("local:2", None, QUIET) as cluster,
        tempfile.TemporaryDirectory() as folder,
    ):
        toll = kill_workers(Path(folder), cluster, n_kills, seed=seed)
    print(toll)
    whole = toll.logged == toll.distinct == toll.n_battles
    return int(not whole or toll.asked > toll.most_asked or toll.kills < n_kills)


def main() -> int:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("judging")
    part.add_argument("--rounds", type=int, default=3)
    part.add_argument("--delay-s", type=float, default=0.5)
    part = parts.add_parser("simulate")
    part.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 256])
    part.add_argument("--seconds", type=float, default=1.0)
    part.add_argument("--each", type=int, default=10)
    part = parts.add_parser("kills")
    part.add_argument("--kills", type=int, default=20)
    part.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if arguments.part == "judging":
        judging(arguments.rounds, arguments.delay_s)
    elif arguments.part == "simulate":
        simulate(arguments.workers, arguments.seconds, arguments.each)
    else:
        return kills(arguments.kills, arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
