"""How often `arena audit --drift` raises a false alarm, and what it finds.

    python benchmarks/drift.py --rounds 1000

A judge gives each battle one verdict most of the time, and repeats are noisier on some queries and
some days than on others. After a baseline of two times come twelve checks. Either nothing changes,
or from the first check on some battles have another usual verdict.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from arena.auditing.drift import SIGNIFICANCE, check_verdicts

N_CHECKS = 12


def judged(
    rng: np.random.Generator,
    usual: NDArray[np.int8],
    noise: NDArray[np.float64],
    query: NDArray[np.intp],
) -> NDArray[np.int8]:
    """Return one verdict of each battle; a query as a whole may have a bad day."""
    bad_day = rng.random(int(query.max()) + 1) < 0.1
    other = rng.random(len(usual)) < np.where(bad_day[query], 3 * noise, noise)
    turned = (usual + rng.integers(1, 3, len(usual))) % 3
    return np.where(other, turned, usual).astype(np.int8)


def first_alarm(
    rng: np.random.Generator, n_battles: int, n_queries: int, noise: float, changed: float
) -> int:
    """Return at which of the checks there is an alarm; 0 if at none."""
    query = np.arange(n_battles) % n_queries
    usual = rng.integers(0, 3, n_battles).astype(np.int8)
    noises = noise * rng.gamma(1, 1, n_battles).clip(0, 1 / (3 * max(noise, 1e-9)))
    baseline = [judged(rng, usual, noises, query) for _ in range(2)]
    moved = rng.random(n_battles) < changed
    later = np.where(moved, (usual + 1) % 3, usual).astype(np.int8)
    for number in range(2, N_CHECKS + 2):
        new = judged(rng, later, noises, query)
        limit = SIGNIFICANCE / (number * (number + 1))
        if check_verdicts((number, "", ""), [*baseline, new], query, limit).is_drift:
            return number - 1
    return 0


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=1000)
    given = options.parse_args()
    print(
        "| battles | queries | repeats differ | changed | alarm at the first check | at any of 12 |"
    )
    print("|--:|--:|--:|--:|--:|--:|")
    for n_battles, n_queries in ((50, 50), (100, 50), (200, 50)):
        for noise in (0.02, 0.1, 0.25):
            for changed in (0.0, 0.1, 0.2):
                rng = np.random.default_rng(7)
                alarms = np.array(
                    [
                        first_alarm(rng, n_battles, n_queries, noise, changed)
                        for _ in range(given.rounds)
                    ]
                )
                print(
                    f"| {n_battles} | {n_queries} | {noise:.0%} | {changed:.0%} "
                    f"| {np.mean(alarms == 1):.1%} | {np.mean(alarms > 0):.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
