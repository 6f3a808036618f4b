"""How fast are Elo, Bradley-Terry, its intervals and `arena rate`, beside their peers?

::

    python benchmarks/rating_speed.py                       # 10,000 battles, those who are here
    python benchmarks/rating_speed.py --battles 10000000 --peers evalica
    python benchmarks/rating_speed.py --command --battles 1000000
    python benchmarks/rating_speed.py --read --battles 1000000 --repeats 3

Peers that are not installed are left out: ``pip install evalica choix arena-rank`` and, for
FastChat's own functions, ``pip install --no-deps fschat`` and scikit-learn. All take the same
battles of one run, in turns; each gets them in the form that it reads fastest, and what it takes
to bring them into that form is not counted, except in the rows of whole commands. Ours are timed
from the integer codes that loading leaves.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `arena rate` does

from rating_battles import N_MODELS, Forms, simulate, write_log, write_tables
from rating_peers import peer_jobs

from arena.battles.load import load_battles
from arena.rating.bootstrap import bootstrap
from arena.rating.bradley_terry import BradleyTerry, fit
from arena.rating.comparisons import count_battles
from arena.rating.elo import elo_ratings
from arena.rating.inference import from_sandwich
from arena.rating.likelihood import Parameters, maximise

SLOW_S = 5.0
"""A job that takes longer is timed once."""

TURN_S = 0.3
"""So long a job is run in each of its turns, or once."""

Job = Callable[[], object]
Measure = Callable[[list[Job]], list[float]]


def own_jobs(forms: Forms) -> dict[str, Job]:
    """What each row is measured against."""
    fitted = fit(forms.comparisons)
    layout = Parameters(N_MODELS, position=True, tie=False, prior=0.0)

    def ratings() -> object:
        counts = count_battles(forms.comparisons)
        return maximise(BradleyTerry(counts.battles, counts.points), layout)

    def with_intervals() -> object:
        return from_sandwich(fit(forms.comparisons), level=0.95)

    return {
        "Elo": lambda: elo_ratings(forms.battles),
        "Bradley-Terry": ratings,
        "Bradley-Terry with intervals": with_intervals,
        "1,000 bootstrap refits": lambda: bootstrap(forms.comparisons, fitted, seed=0),
    }


def functions(forms: Forms, peers: str, measure: Measure) -> None:
    """Print the medians of every row, and their ratio to ours."""
    ours = own_jobs(forms)
    entries = [(row, "arena", job) for row, job in ours.items()] + list(peer_jobs(forms, peers))
    times = measure([job for *_, job in entries])
    for row in ours:
        base = next(t for t, (name, _, _) in zip(times, entries, strict=True) if name == row)
        for taken, (name, who, _) in zip(times, entries, strict=True):
            if name == row:
                print(f"| {row} | {who} | {1000 * taken:,.1f} ms | {taken / base:,.1f} × |")


def commands(forms: Forms, measure: Measure) -> None:
    """Print what loading and the whole command take, process start to printed table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log, table, theirs = folder / "battles.jsonl", folder / "ours.csv", folder / "theirs.csv"
        write_log(forms, log)
        write_tables(forms, table, theirs)
        arena = [sys.executable, "-m", "arena", "rate"]
        entries: list[tuple[str, Job]] = [
            ("arena rate battles.jsonl", _command(*arena, str(log))),
            ("arena rate battles.csv, the same battles", _command(*arena, str(table))),
            ("loading battles.jsonl alone", lambda: load_battles([log])),
        ]
        here = str(Path(sys.executable).parent)
        if evalica := shutil.which("evalica", path=here + os.pathsep + os.environ["PATH"]):
            peer = [evalica, "-i", str(theirs), "pairwise"]
            entries += [
                ("evalica bradley-terry, no intervals", _command(*peer, "bradley-terry")),
                ("evalica elo", _command(*peer, "elo")),
            ]
        times = measure([job for _, job in entries])
    for taken, (name, _) in zip(times, entries, strict=True):
        print(f"| {name} | {taken:.2f} s | {taken / times[0]:.1f} × |")


BARE = "import sys, orjson\nfor line in open(sys.argv[1], 'rb'): orjson.loads(line)"
"""The least that a Python program does to read a JSONL log: parse every line, keep nothing."""


def against_bare_read(forms: Forms, repeats: int) -> None:
    """Print processor and wall time of `arena rate`, and of a bare read of the same log."""
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "battles.jsonl"
        write_log(forms, log)
        entries = {
            "bare orjson read": _command(sys.executable, "-c", BARE, str(log)),
            "arena rate": _command(sys.executable, "-m", "arena", "rate", str(log)),
        }
        times: dict[str, list[tuple[float, float]]] = {entry: [] for entry in entries}
        for _ in range(repeats):
            for entry, job in entries.items():
                begin = _processor_s(), time.perf_counter()
                job()
                times[entry].append((_processor_s() - begin[0], time.perf_counter() - begin[1]))
    medians = {
        entry: [statistics.median(column) for column in zip(*taken, strict=True)]
        for entry, taken in times.items()
    }
    base = medians["bare orjson read"]
    for entry, (processor, wall) in medians.items():
        shares = f"{processor / base[0]:.2f} × | {wall:.2f} s | {wall / base[1]:.2f} ×"
        print(f"| {entry} | {processor:.2f} s | {shares} |")


def _command(*arguments: str) -> Job:
    return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def _medians(jobs: list[Job], repeats: int, clock: Callable[[], float]) -> list[float]:
    """Seconds, each job's median over rounds in which all jobs take turns."""
    samples: list[list[float]] = [[] for _ in jobs]
    for _ in range(repeats):
        for taken, job in zip(samples, jobs, strict=True):
            if not taken or taken[0] < SLOW_S:
                taken.extend(_turn(job, clock))
    return [statistics.median(taken) for taken in samples]


def _turn(job: Job, clock: Callable[[], float]) -> list[float]:
    """Seconds of each run of a job, which is run again until it has had its share of the time."""
    taken: list[float] = []
    while sum(taken) < TURN_S:
        start = clock()
        job()
        taken.append(clock() - start)
    return taken


def _processor_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--battles", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5, help="rounds; the median counts")
    parser.add_argument("--command", action="store_true", help="time whole commands instead")
    parser.add_argument(
        "--read", action="store_true", help="time arena rate against a bare read of its log"
    )
    parser.add_argument("--peers", default="evalica,choix,arena-rank,fastchat")
    parser.add_argument(
        "--cpu", action="store_true", help="processor time, where others use the machine too"
    )
    args = parser.parse_args()
    clock = _processor_s if args.cpu else time.perf_counter
    measure = partial(_medians, repeats=args.repeats, clock=clock)
    print(f"{args.battles:,} battles, {N_MODELS} models; medians of {args.repeats}; × arena's")
    forms = simulate(args.battles)
    if args.read:
        against_bare_read(forms, args.repeats)
    elif args.command:
        commands(forms, measure)
    else:
        functions(forms, args.peers, measure)


if __name__ == "__main__":
    main()
