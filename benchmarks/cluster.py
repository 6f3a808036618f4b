"""Measure `arena battle --cluster`: its speed beside one machine, its tasks, and killed workers.

::

    python benchmarks/cluster.py judging --rounds 3
    python benchmarks/cluster.py retrieval --rounds 3
    python benchmarks/cluster.py retrieval --rounds 3 --provider wordllama
    python benchmarks/cluster.py simulate --workers 1 10 100 256
    python benchmarks/cluster.py kills --kills 20

judging: 180 calls to a judge on loopback that takes ``--delay-s`` and 10 to 20 ms, four at once for
each worker: with 0.5 s no run of one worker takes less than 23.2 s.
One machine, one worker and two workers take turns, after a run that imports everything.

retrieval: a generated corpus in partitions, and a model that keeps a core busy: one machine, one
worker and two workers in turns, each with one core. See cluster_retrieval.py. 3 minutes.

simulate: workers are threads of this process, whose tasks sleep instead of embedding or judging;
the scheduler is a process of its own. See cluster_simulation.py. 3 minutes.

kills: one run on two workers, of which one gets SIGKILL at random moments.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from cluster_retrieval import PASSAGES, compare
from cluster_simulation import simulate
from experiments import QUIET, llm, play, write_experiment
from killing import named_verdict
from loopback import Answer, LoopbackServer
from worker_killing import CONCURRENCY, RANKINGS, kill_workers

from arena.cluster.connect import open_cluster
from arena.cluster.judge import battle_on_cluster
from arena.experiment.battle_options import BattleOptions


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
    part = parts.add_parser("retrieval")
    part.add_argument("--provider", choices=sorted(PASSAGES), default="minilm")
    part.add_argument("--passages", type=int, help="in all; as many as take some 20 s")
    part.add_argument("--partitions", type=int, default=8)
    part.add_argument("--rounds", type=int, default=3)
    part = parts.add_parser("simulate")
    part.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 256])
    part.add_argument("--seconds", type=float, default=2.0)
    part.add_argument("--each", type=int, default=4)
    part = parts.add_parser("kills")
    part.add_argument("--kills", type=int, default=20)
    part.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if arguments.part == "judging":
        judging(arguments.rounds, arguments.delay_s)
    elif arguments.part == "retrieval":
        n_passages = arguments.passages or PASSAGES[arguments.provider]
        compare(arguments.provider, n_passages, arguments.partitions, arguments.rounds)
    elif arguments.part == "simulate":
        simulate(arguments.workers, arguments.each, arguments.seconds)
    else:
        return kills(arguments.kills, arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
