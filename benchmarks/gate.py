"""A real regression at the gate: `arena compare --fail-if worse` on a model whose vectors are cut.

    python benchmarks/gate.py BEIR-FOLDER... [--rounds 400]

The model that is there has all its dimensions, the one that may replace it only the first few. The
known grades judge, alone or with a quarter of the winners reversed by lot, as a poor LLM would. The
gate looks after every five queries. Then the same real verdicts with the two models exchanged by
lot on each query, so that neither is worse: how often does the gate call one worse at any look, one
after every ten of 200 queries?
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from arena.battles.coded_columns import TIE
from arena.battles.load import Battles, load_battles
from arena.cli import main as arena
from arena.data.metrics import read_metrics
from arena.experiment.live import battle
from arena.progress import reporter
from arena.rating.head_to_head import Change, head_to_head
from arena.rating.sequential_tests import FIRST_LOOK
from arena.store.folder import Folder

CUTS = (("wordllama", 256, (128, 64)), ("lsa", 256, (128, 64, 32, 16)))
"""Provider, its dimensions, and those that it is cut to."""
TOLERANCE, ROUND, REVERSED = 20.0, 5, 0.25
N_QUERIES = 200
"""Of a simulated log of equal models."""


def write_config(
    folder: Path, corpora: Sequence[Path], provider: str, sizes: Sequence[int]
) -> Path:
    """Write an experiment of one model at several dimensions, judged by the grades."""
    datasets = [f'[[datasets]]\nname = "{c.name}"\npath = "{c.resolve()}"\n' for c in corpora]
    models = [
        f'[[models]]\nname = "d{size}"\nprovider = "{provider}"\ndimensions = {size}\n'
        for size in sizes
    ]
    config = folder / f"{provider}.toml"
    head = f'[experiment]\nname = "{provider}"\n'
    config.write_text(head + "".join(datasets + models) + '[judge]\nkind = "qrels"\n', "utf-8")
    return config


def only_pair(log: Battles, models: set[str]) -> Battles:
    """Return the battles of two models with each other."""
    codes = [log.models.index(model) for model in models]
    return log.take(np.flatnonzero(np.isin(log.model_a, codes) & np.isin(log.model_b, codes)))


def reversed_by_lot(log: Battles, share: float, rng: np.random.Generator) -> Battles:
    """Return a log in which this share of the winners is the other model."""
    turned = (rng.random(len(log)) < share) & (log.winner != TIE)
    return replace(log, winner=np.where(turned, 1 - log.winner, log.winner).astype(np.int8))


def first_change(log: Battles, a: str, b: str) -> tuple[Change, int]:
    """Return what the gate says at the first look that decides, and after how many queries."""
    order = np.unique(log.query, return_index=True)
    asked = order[0][np.argsort(order[1])]
    for n_seen in range(FIRST_LOOK, len(asked) + ROUND, ROUND):
        seen = np.isin(log.query, asked[:n_seen])
        change = head_to_head(log.take(np.flatnonzero(seen)), a, b).change(TOLERANCE)
        if change != "undecided":
            return change, min(n_seen, len(asked))
    return "undecided", len(asked)


def is_called_worse(log: Battles, a: str, b: str, rng: np.random.Generator) -> bool:
    """Return whether B is called worse at any look, where each query makes A or B the same model.

    Queries are drawn from the log with replacement; in half of them the models change places, so
    that neither is better. The gate allows no tolerance.
    """
    rows_of = [np.flatnonzero(log.query == query) for query in np.unique(log.query)]
    drawn = [rows_of[i] for i in rng.integers(len(rows_of), size=N_QUERIES)]
    sizes = [len(rows) for rows in drawn]
    query = np.repeat(np.arange(N_QUERIES), sizes).astype(np.int32)
    taken = log.take(np.concatenate(drawn))
    turned = np.repeat(rng.random(N_QUERIES) < 0.5, sizes)
    first = np.where(turned, taken.model_b, taken.model_a)
    second = np.where(turned, taken.model_a, taken.model_b)
    equal = replace(taken, query=query, model_a=first, model_b=second)
    for n_seen in range(FIRST_LOOK, N_QUERIES + 1, 2 * ROUND):
        change = head_to_head(equal.take(np.flatnonzero(query < n_seen)), a, b).change()
        if change != "undecided":
            return change == "worse"
    return False


def exit_status(folder: Path, a: str, b: str) -> int:
    """Return the exit status of the command itself."""
    words = ["compare", a, b, str(folder), "--fail-if", "worse", "--tolerance", str(TOLERANCE)]
    return CliRunner().invoke(arena, words).exit_code


def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("corpora", nargs="+", type=Path)
    options.add_argument("--rounds", type=int, default=400)
    given = options.parse_args()
    rng = np.random.default_rng(0)
    head = "| model | dimensions | nDCG@10 | B - A, Elo | exit | the grades say | 25% reversed |"
    print(head + "\n|---|--:|--:|--:|--:|--:|--:|")
    equal: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("ARENA_CACHE", str(Path(scratch) / "cache"))
        for provider, whole, cuts in CUTS:
            config = write_config(Path(scratch), given.corpora, provider, (whole, *cuts))
            battle(config, reporter(quiet=True))
            folder = Path(scratch) / "runs" / provider
            log = load_battles([folder])
            tables = [read_metrics(Folder(folder).metrics(c.name)) for c in given.corpora]
            a = f"d{whole}"
            for size in (whole, *cuts):
                name = f"d{size}"
                ndcg = np.mean([table[name].ndcg_at_10 for table in tables])
                if size == whole:
                    print(f"| {provider} | {size} | {ndcg:.3f} | | | | |", flush=True)
                    continue
                pair = only_pair(log, {a, name})
                noisy = reversed_by_lot(pair, REVERSED, rng)
                found = head_to_head(log, a, name).difference
                said = [first_change(each, a, name) for each in (pair, noisy)]
                cells = " | ".join(f"{change}, {n} queries" for change, n in said)
                difference = f"{found.elo:+.0f} ({found.lower:+.0f} to {found.upper:+.0f})"
                status = exit_status(folder, a, name)
                row = f"| {provider} | {size} | {ndcg:.3f} | {difference} | {status} | {cells} |"
                print(row, flush=True)
                if size == cuts[-1]:
                    shares = [
                        np.mean([is_called_worse(each, a, name, rng) for _ in range(given.rounds)])
                        for each in (pair, noisy)
                    ]
                    equal.append(f"| {provider} | {size} | {shares[0]:.1%} | {shares[1]:.1%} |")
    print("\n| model | verdicts of | called worse: the grades | 25% reversed |\n|---|--:|--:|--:|")
    print("\n".join(equal))


if __name__ == "__main__":
    main()
