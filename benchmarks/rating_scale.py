"""What does `arena rate` of the logs of many shards take: processor time, memory?

::

    python benchmarks/rating_scale.py --battles 1000000 10000000     # writes 0.36 kB a battle
    python benchmarks/rating_scale.py --battles 100000000 --in-memory

With ``--in-memory`` nothing is written and parsed: each log is made in the form in which reading
leaves it, so that the rest is measured where the disk has no room for the logs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `arena rate` does

import duckdb
import numpy as np

from arena.battles.coded_log import CodedLog, code_table
from arena.battles.load import load_battles
from arena.battles.table import BattleTable, CodedColumn, HexIds
from arena.rating.leaderboard import build_leaderboard

N_MODELS = 20
PER_QUERY = 500
DATASETS = ("scifact", "nfcorpus", "arguana")
MOST_IN_LOG = 6_250_000
"""Battles of one log."""

MODELS = tuple(f"text-embedding-model-{code:02}" for code in range(N_MODELS))

DRAWN = """
WITH numbered AS (
    SELECT i, hash(i) AS h, hash(i + 1000000007) AS g, hash(i + 2000000011) AS k,
        hash(i * 3 + 1) % {queries} AS q
    FROM range({first}, {last}) t(i)
), drawn AS (
    SELECT i, q, (h % 20)::INT AS a, ((h % 20) + 1 + (g % 19))::INT % 20 AS b,
        (k % 1000003) / 1000003.0 AS u, (k // 1000003) % 100 < 13 AS tie
    FROM numbered
)
SELECT {columns} FROM drawn"""

LOGGED = """md5(i::VARCHAR) AS id,
    ['scifact', 'nfcorpus', 'arguana'][1 + (q % 3)::INT] AS dataset, 'q' || q AS query_id,
    printf('text-embedding-model-%02d', a) AS model_a,
    printf('text-embedding-model-%02d', b) AS model_b,
    CASE WHEN tie THEN 'tie' WHEN u < 1 / (1 + exp((b - a) / 9.5)) THEN 'model_a'
        ELSE 'model_b' END AS winner,
    'gpt-4.1-mini' AS judge, '0123456789abcdef' AS prompt, 'judge' AS source,
    900 + i % 1000 AS input_tokens, 9 AS output_tokens,
    (900 + i % 1000) * 4e-7::DOUBLE + 9 * 1.6e-6::DOUBLE AS cost_usd,
    200 + (i % 7919) / 8 AS latency_ms, '2026-01-01T00:00:00.123456+00:00' AS "at\""""


def write_logs(n_battles: int, folder: Path) -> None:
    """Write the logs of shards: 20 models, 3 data sets, a query for each 500 battles, 13% ties."""
    connection = duckdb.connect(config={"memory_limit": "2GB", "threads": "2"})
    starts = range(0, n_battles, min(MOST_IN_LOG, n_battles // 4))
    for number, first in enumerate(starts, 1):
        last = min(first + starts.step, n_battles)
        queries = max(n_battles // PER_QUERY, 50)
        rows = DRAWN.format(queries=queries, first=first, last=last, columns=LOGGED)
        path = folder / f"battles-{number}of{len(starts)}.jsonl"
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT json)")


def table(first: int, last: int, n_queries: int) -> BattleTable:
    """Return a log as reading it leaves it: small codes, and what is one for each battle."""
    rng, n = np.random.default_rng(first), last - first
    strength = np.linspace(-1, 1, N_MODELS)
    a = rng.integers(0, N_MODELS, n, np.int8)
    b = (a + rng.integers(1, N_MODELS, n, np.int8)) % np.int8(N_MODELS)
    won = rng.random(n) < 1 / (1 + np.exp(strength[b] - strength[a]))
    winner = np.where(rng.random(n) < 0.13, 2, np.where(won, 0, 1)).astype(np.int8)
    query = rng.integers(0, n_queries, n, np.int32)
    one = np.zeros(n, np.int8)
    columns = {
        "model_a": CodedColumn(a, MODELS),
        "model_b": CodedColumn(b, MODELS),
        "winner": CodedColumn(winner, ("model_a", "model_b", "tie")),
        "dataset": CodedColumn((query % 3).astype(np.int8), DATASETS),
        "query_id": CodedColumn(query, tuple(f"q{code}" for code in range(n_queries))),
        "judge": CodedColumn(one, ("gpt-4.1-mini",)),
        "source": CodedColumn(one, ("judge",)),
    }
    high, low = (rng.integers(0, 1 << 63, n, np.uint64) * np.uint64(2) for _ in range(2))
    costs = rng.integers(900, 1900, n) * 4e-7
    return BattleTable(f"log {first}", columns, int, HexIds(high, low), costs=costs)


def in_memory(n_battles: int) -> None:
    """Print what it takes to rate logs that are read already."""
    queries, step = max(n_battles // PER_QUERY, 50), min(MOST_IN_LOG, n_battles // 4)
    starts = range(0, n_battles, step)
    begin = 0.0

    def made(*_: object, **__: object) -> Iterator[CodedLog]:
        nonlocal begin
        for first in starts:
            read = table(first, min(first + step, n_battles), queries)
            yield code_table(read, {}, with_ids=True)
        begin = time.process_time()

    battles = load_battles([Path(f"log {first}") for first in starts], read_logs=made)
    joined = time.process_time()
    board = build_leaderboard(battles)
    ended = time.process_time()
    print(
        f"{len(starts)} logs, {board.battles:,} battles, {board.queries:,} queries: "
        f"joined in {joined - begin:.1f} s, rated in {ended - joined:.1f} s",
        file=sys.stderr,
    )


def measured(*arguments: str) -> tuple[float, float, float]:
    """Return processor seconds, wall seconds and the most memory in GB of a command."""
    begin = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the command failed: {' '.join(arguments)}")
    wall = time.perf_counter() - begin
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1e6


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--battles", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--in-memory", action="store_true", help="write and parse nothing")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for n_battles in args.battles:
        if args.here:
            in_memory(n_battles)
            continue
        with tempfile.TemporaryDirectory() as name:
            if args.in_memory:
                command = [__file__, "--here", "--battles", str(n_battles)]
            else:
                write_logs(n_battles, Path(name))
                command = ["-m", "arena", "rate", name]
            processor, wall, memory = measured(sys.executable, *command)
        each = processor / n_battles * 1e6
        times = f"{processor:,.1f} s | {each:.2f} µs | {wall:,.0f} s"
        print(f"| {n_battles:,} | {times} | {memory:.2f} GB |")


if __name__ == "__main__":
    main()
