"""Simulated battles in every form that somebody reads, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pandas as pd

from arena.battles.coded_columns import TIE
from arena.battles.load import Battles
from arena.rating.comparisons import Comparisons

N_MODELS = 20
TIES = 0.13
WINNERS = np.array(["model_a", "model_b", "tie"], dtype=object)


@dataclass(frozen=True)
class Forms:
    """The same battles in every form that somebody reads."""

    battles: Battles
    comparisons: Comparisons
    frame: pd.DataFrame  #: strings, as a log has them
    codes: tuple[list[int], list[int]]


def simulate(n_battles: int, seed: int = 1) -> Forms:
    """Battles of 20 models on a query for each 500 of them, one in eight a tie."""
    rng = np.random.default_rng(seed)
    strength = np.linspace(-1, 1, N_MODELS)
    first = rng.integers(0, N_MODELS, n_battles)
    second = (first + rng.integers(1, N_MODELS, n_battles)) % N_MODELS
    won = rng.random(n_battles) < 1 / (1 + np.exp(strength[second] - strength[first]))
    winner = np.where(rng.random(n_battles) < TIES, TIE, np.where(won, 0, 1))
    query = rng.integers(0, max(n_battles // 500, 50), n_battles)
    names = np.array([f"text-embedding-model-{code:02}" for code in range(N_MODELS)], object)
    zeros = np.zeros(n_battles, np.int32)
    return Forms(
        battles=Battles(
            models=tuple(names),
            datasets=("all",),
            judges=("",),
            model_a=first.astype(np.int32),
            model_b=second.astype(np.int32),
            winner=winner.astype(np.int8),
            dataset=zeros,
            query=query.astype(np.int32),
            judge=zeros,
        ),
        comparisons=Comparisons(first, second, np.array([1.0, 0.0, 0.5])[winner], query, N_MODELS),
        frame=pd.DataFrame(
            {"model_a": names[first], "model_b": names[second], "winner": WINNERS[winner]}
        ),
        codes=(first.tolist(), second.tolist()),
    )


def write_log(forms: Forms, path: Path) -> None:
    """Write the battles as the log that arena itself keeps."""
    columns = forms.frame.itertuples(index=False)
    rest = {"judge": "gpt-4.1-mini", "prompt": "0123456789abcdef", "source": "judge"}
    with path.open("wb") as file:
        for number, (query, row) in enumerate(
            zip(forms.battles.query.tolist(), columns, strict=True)
        ):
            line = {
                "id": f"{number:032x}",
                "dataset": "scifact",
                "query_id": f"q{query}",
                **row._asdict(),
                **rest,
                "input_tokens": 900 + number % 1000,
                "output_tokens": 9,
                "cost_usd": (900 + number % 1000) * 4e-7 + 9 * 1.6e-6,
                "latency_ms": 200 + number % 7919 / 8,
                "at": "2026-01-01T00:00:00.123456+00:00",
            }
            file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))


def write_tables(forms: Forms, ours: Path, theirs: Path) -> None:
    """Write the battles as CSV, with the columns that we read, and with those of evalica."""
    frame = forms.frame.assign(query_id=forms.battles.query)
    frame.to_csv(ours, index=False)
    sides = {"model_a": "left", "model_b": "right"}
    renamed = frame.rename(columns=sides).drop(columns="query_id")
    renamed.assign(winner=frame["winner"].replace(sides)).to_csv(theirs, index=False)
