"""A small experiment on disk: six queries, run files as models, a judge of one's choice."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loopback import Answer, chat, verdict

from arena.errors import ArenaError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.live import battle
from arena.experiment.summary import Summary
from arena.progress import reporter
from arena.records import Battle
from arena.store.log_lines import read_battles

QUERIES = [f"q{i}" for i in range(6)]
QUIET = reporter(quiet=True)


def write_experiment(
    folder: Path,
    *,
    judge: str = 'kind = "qrels"',
    rankings: Mapping[str, Sequence[str]] | None = None,
    settings: str = "",
) -> Path:
    """Write data, run files and an arena.toml; returns the arena.toml.

    Each query has a good, a fair and a poor document and one of padding. ``rankings`` says, for
    every model, the kinds of document that it retrieves, best first.
    """
    data = folder / "data"
    (data / "qrels").mkdir(parents=True, exist_ok=True)
    kinds = {"good": 2, "fair": 1, "poor": 0, "other": 0}
    corpus = [
        {"_id": f"{kind}-{q}", "title": f"About {q}", "text": f"a {kind} document for {q}"}
        for q in QUERIES
        for kind in kinds
    ]
    queries = [{"_id": q, "text": f"what is {q}?"} for q in QUERIES]
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    qrels = [f"{q}\t{kind}-{q}\t{grade}" for q in QUERIES for kind, grade in kinds.items()]
    (data / "qrels" / "test.tsv").write_text("\n".join(qrels) + "\n")
    rankings = rankings or {
        "strong": ["good", "fair"],
        "middling": ["fair", "poor"],
        "weak": ["poor", "other"],
    }
    models = ""
    for model, ranked in rankings.items():
        lines = [
            f"{q} Q0 {kind}-{q} {rank} {1 / rank} {model}"
            for q in QUERIES
            for rank, kind in enumerate(ranked, start=1)
        ]
        (folder / f"{model}.trec").write_text("\n".join(lines) + "\n")
        models += f'[[models]]\nname = "{model}"\nrun = "{model}.trec"\n'
    config = folder / "arena.toml"
    config.write_text(
        f'[experiment]\nname = "x"\n{settings}\n[[datasets]]\nname = "docs"\npath = "data"\n'
        f"{models}[judge]\n{judge}\n"
    )
    return config


def llm(base_url: str, extra: str = "") -> str:
    """A ``[judge]`` section for a loopback server, with prices, and without a gate."""
    gate = "" if "gate =" in extra else "gate = false\n"
    return (
        f'model = "judge-1"\nbase_url = "{base_url}"\nprice_per_1m_input_tokens = 1.0\n'
        f"price_per_1m_output_tokens = 2.0\n{gate}{extra}"
    )


def fair_judge(request: dict[str, Any], attempt: int) -> Answer:
    """Reads the two lists as an LLM would, and prefers the better documents."""
    first, second = (sum(map(_worth, lines)) for lines in _lists(request))
    return verdict("tie" if first == second else "first" if first > second else "second")


def fair_grader(request: dict[str, Any], attempt: int) -> Answer:
    """Grades one document as an LLM would: nothing that is about another query is relevant."""
    shown = request["messages"][-1]["content"]
    query = re.findall(r"what is (\w+)\?", shown)[-1]
    grades = {"good": "3", "fair": "2", "poor": "1"}
    found = re.search(rf"a (good|fair|poor) document for {query}\b", shown)
    return chat(grades[found[1]] if found else "0")


def play(config: Path, **options: Any) -> Summary:
    """Run an experiment's battles without showing progress, and with a cache of its own."""
    os.environ["ARENA_CACHE"] = str(config.parent / "cache")  # as it was before, after each test
    return battle(config, QUIET, BattleOptions(**options))


def try_to_play(config: Path, **options: Any) -> ArenaError | None:
    """Run an experiment's battles; returns the error that ended it, if any."""
    try:
        play(config, **options).check()
    except ArenaError as error:
        return error
    return None


def logged(config: Path) -> list[Battle]:
    """The battles in the log, in its order."""
    return list(read_battles(config.parent / "runs" / "x" / "battles.jsonl"))


def log_lines(config: Path) -> list[dict[str, Any]]:
    """The lines of the log, without what a clock wrote."""
    path = config.parent / "runs" / "x" / "battles.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("at", "latency_ms")} for row in rows]


def _lists(request: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The kinds of document in both lists, as far as they are about the query."""
    shown = request["messages"][-1]["content"]
    asked, first, second = re.split(r"The (?:first|second) list, from the top down:", shown)
    query = re.findall(r"what is (\w+)\?", asked)[-1]
    find = re.compile(rf"a (good|fair|poor|other) document for {query}\b")
    return find.findall(first), find.findall(second)


def _worth(kind: str) -> int:
    return {"good": 10, "fair": 3, "poor": 1, "other": 0}[kind]
