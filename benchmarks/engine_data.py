"""An experiment of any size on disk, and one request as its judge would send it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from arena.judging.pairwise import SCHEMA
from arena.judging.prompt import load_prompt, render_lists
from arena.records import Document, JudgeInput, Query

N_MODELS = 10
N_DOCUMENTS = 2000
_WORDS = [f"word{i}" for i in range(2000)]


def body() -> dict[str, Any]:
    """A request of about 5 kB, with two lists of five documents of sixty words."""
    dice = random.Random(2)
    documents = tuple(Document(f"d{i}", _text(dice), f"title {i}") for i in range(10))
    exhibit = JudgeInput("d", Query("q", "what is it?"), documents[:5], documents[5:])
    messages = render_lists(load_prompt("pairwise"), exhibit, document_words=300)
    asked = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA}}
    return {
        "model": "judge",
        "messages": messages,
        "temperature": 0,
        "max_tokens": 1024,
        "response_format": asked,
    }


def write_experiment(folder: Path, base_url: str | None, n_battles: int, in_flight: int) -> Path:
    """Write data, runs of ten models and an arena.toml with so many battles.

    Args:
        folder: an empty one.
        base_url: of the judge; None for the judge that knows the qrels.
        n_battles: a multiple of 90, the ordered pairs of ten models.
        in_flight: the judge's concurrency.
    """
    dice, data = random.Random(1), folder / "data"
    n_queries = n_battles // (N_MODELS * (N_MODELS - 1))
    (data / "qrels").mkdir(parents=True)
    rows = ({"_id": f"d{i}", "title": f"t{i}", "text": _text(dice)} for i in range(N_DOCUMENTS))
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    queries = ({"_id": f"q{i}", "text": f"what is {i}?"} for i in range(n_queries))
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    grades = (f"q{i}\td{dice.randrange(N_DOCUMENTS)}\t1\n" for i in range(n_queries))
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(grades))
    toml = '[experiment]\nname = "engine"\ntop_k = 5\n[[datasets]]\nname = "d"\npath = "data"\n'
    for model in (f"m{i}" for i in range(N_MODELS)):
        with (folder / f"{model}.trec").open("w") as run:
            for i in range(n_queries):
                found = dice.sample(range(N_DOCUMENTS), 5)
                run.writelines(
                    f"q{i} Q0 d{document} {rank} {9 - rank} {model}\n"
                    for rank, document in enumerate(found, start=1)
                )
        toml += f'[[models]]\nname = "{model}"\nrun = "{model}.trec"\n'
    if base_url is None:
        toml += '[judge]\nkind = "qrels"\n'
    else:
        toml += f'[judge]\nmodel = "judge"\nbase_url = "{base_url}"\ngate = false\n'
        toml += f"concurrency = {in_flight}\n"
    config = folder / "arena.toml"
    config.write_text(toml)
    return config


def _text(dice: random.Random) -> str:
    return " ".join(dice.choices(_WORDS, k=60))
