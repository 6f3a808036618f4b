"""How long the site of a large experiment takes, and how large its first page is.

    python benchmarks/site.py [FOLDER]

Makes an experiment's folder as `arena battle` leaves it, of 50 models, 4 data sets and 100,000
battles by a noisy judge that writes a reply to each, builds its site, then builds it again.
Everything is drawn from one seed. With FOLDER, what was made stays there to be looked at.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, permutations
from pathlib import Path

import numpy as np
import orjson

from arena.data.metrics import measure_run
from arena.data.run_file import write_run, write_stats
from arena.digest import content_hash
from arena.experiment.runs import keep_shown
from arena.files import safe_filename
from arena.records import Battle, Dataset, Document, Query, Reply, RetrievalStats, Run, Usage
from arena.store.log_lines import row
from arena.store.per_query import measure_lists, write_lists

N_MODELS, N_BATTLES, TOP_K, DEPTH = 50, 100_000, 5, 10
QUERIES = {"handbook": 11, "support-tickets": 10, "articles": 10, "reports": 10}
TEXT = (
    "a model that finds what was asked for is worth more than one that merely sounds alike, and "
    "whoever reads both lists can tell; retrieval, vectors, passages, queries and their answers "
    "Straße naïve 東京 المعرفة <b>bold</b> & 5 < 6 </script><script>alert(1)</script> ok"
)
WORDS = TEXT.split()
MAKERS = ("Alder", "Birch", "Cedar", "Douglas", "Elm")


@dataclass(frozen=True)
class Contender:
    """A made-up model and how good it is."""

    name: str
    skill: float

    @property
    def settings(self) -> dict[str, object]:
        """Its section of the arena.toml."""
        number = int(self.name.rpartition("-")[2])
        return {
            "name": self.name,
            "provider": ("openai", "cohere", "minilm", "bm25")[number % 4],
            "maker": MAKERS[number % 5],
            "license": ("MIT", "Apache-2.0", "Proprietary")[number % 3],
            "price_per_1m_tokens": (0.02, 0.13, None)[number % 3],
            "release_date": f"2025-{1 + number % 12:02}-15",
            "about": "Made up for a benchmark; it embeds nothing.",
        }


def main() -> None:
    """Make the experiment, build its site twice, and print what that took."""
    if len(sys.argv) > 1:
        measure(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as place:
            measure(Path(place) / "big")


def measure(folder: Path) -> None:
    """Print a line for each step."""
    began = time.perf_counter()
    write_experiment(folder)
    print(f"the experiment: {time.perf_counter() - began:.1f} s to make")
    for title in ("rated and built", "built again, nothing new"):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "arena", "report", folder], check=True)
        print(f"{title}: {time.perf_counter() - began:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory: {peak:.0f} MB")
    site = folder / "report"
    files = [path for path in site.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
    page = (site / "index.html").read_text("utf-8")
    loaded = {"index.html", *re.findall(r'(?:src|href)="((?:assets|data)/[^"]+)"', page)}
    size = sum((site / name).stat().st_size for name in loaded if "vendor" not in name)
    print(f"first page with data, styles and scripts, chart library aside: {size / 1e3:.0f} kB")


def write_experiment(folder: Path) -> None:
    """Write a folder as `arena battle` leaves it."""
    rng = np.random.default_rng(7)
    skills = rng.normal(0, 1, N_MODELS)
    contenders = [Contender(f"contender-{i:02}", float(skill)) for i, skill in enumerate(skills)]
    lists = {}
    for name, n_queries in QUERIES.items():
        dataset = made_up(name, n_queries, rng)
        lists[name] = write_retrieval(folder / "retrieval" / name, dataset, contenders, rng)
    write_log(folder, contenders, lists, rng)
    config = {
        "experiment": {"name": "big", "seed": 7, "top_k": TOP_K},
        "datasets": [{"name": name, "path": f"data/{name}"} for name in QUERIES],
        "models": [contender.settings for contender in contenders],
        "judge": {"model": "made-up-judge"},
    }
    prompt = {"name": "pairwise", "hash": "0" * 16, "system": "Judge.", "user": "{{query}} …"}
    judge = {"name": "made-up-judge", "kind": "pairwise", "is_llm": True, "prompt": prompt}
    manifest = {
        "experiment": "big",
        "planned": N_BATTLES,
        "config": config,
        "judges": [judge | {"fingerprint": "0" * 32, "gate": {"skipped": "made up"}}],
        "datasets": {name: {"documents": 600, "queries": n} for name, n in QUERIES.items()},
        "notes": ["everything here is made up, to be measured"],
    }
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


def made_up(name: str, n_queries: int, rng: np.random.Generator) -> Dataset:
    """A data set of random words, with a handful of graded documents for each query."""

    def text(length: int) -> str:
        return " ".join(rng.choice(WORDS, length))

    corpus = {
        f"{name}-{i}": Document(f"{name}-{i}", text(int(rng.integers(30, 250))), text(4))
        for i in range(600)
    }
    queries = {f"q{i:02}": Query(f"q{i:02}", f"{text(6)}?") for i in range(n_queries)}
    qrels = {
        query_id: {
            str(doc_id): int(grade)
            for doc_id, grade in zip(
                rng.choice(list(corpus), 30, replace=False), rng.integers(0, 4, 30), strict=True
            )
        }
        for query_id in queries
    }
    return Dataset(name, corpus, queries, qrels)


def write_retrieval(
    folder: Path, dataset: Dataset, contenders: list[Contender], rng: np.random.Generator
) -> dict[tuple[str, str], float]:
    """Runs, stats, metrics and texts; returns how good each (model, query_id)'s list is."""
    from arena.data.run_file import separate_ties

    runs, metrics = [], {}
    for contender in contenders:
        rankings = {}
        for query_id, grades in dataset.qrels.items():
            scores = rng.normal(0, 1, len(dataset.corpus))
            gains = np.array([grades.get(doc_id, -1) for doc_id in dataset.corpus])
            scores += gains * (1.2 + 0.35 * contender.skill)
            best = np.argsort(-scores)[:DEPTH]
            ids = list(dataset.corpus)
            rankings[query_id] = separate_ties((ids[i], float(scores[i])) for i in best)
        run = Run(dataset.name, contender.name, rankings)
        runs.append(run)
        path = folder / f"{safe_filename(contender.name)}.trec"
        write_run(run, path)
        latency = rng.lognormal(3 + contender.skill / 3, 0.4, 200).tolist()
        stats = RetrievalStats(
            tuple(latency),
            384,
            len(dataset.corpus),
            600,
            90_000,
            0.0018,
            "2026-01-01T00:00:00Z",
            "made up",
            1200.0,
            1536.0,
            921_600,
        )
        write_stats(stats, path.with_suffix(".json"))
        measured = measure_run(run, dataset.qrels)
        metrics[contender.name] = (
            {}
            if measured is None
            else {name: getattr(measured, name) for name in measured.__slots__}
        )
    (folder / "metrics.json").write_bytes(orjson.dumps(metrics))
    lists = {
        run.model: measure_lists(run, dataset, top_k=TOP_K, document_words=120) for run in runs
    }
    write_lists(lists, folder / "per_query.json")
    keep_shown(folder / "shown.jsonl", dataset, runs, top_k=TOP_K, document_words=120)
    return {
        (model, query_id): shown.ndcg or 0.0
        for model, of_model in lists.items()
        for query_id, shown in of_model.items()
    }


def write_log(
    folder: Path,
    contenders: list[Contender],
    lists: dict[str, dict[tuple[str, str], float]],
    rng: np.random.Generator,
) -> None:
    """Battles in both orders, with a judge that prefers the better list, and the first a little."""
    battles = folder / "battles.jsonl"
    replies = folder / "replies.jsonl"
    (folder / "failures.jsonl").touch()
    with battles.open("wb") as log, replies.open("wb") as written:
        for number, matchup in enumerate(islice(planned(contenders, lists), N_BATTLES)):
            worth = lists[matchup.dataset]
            sides = ((model, matchup.query_id) for model in (matchup.model_a, matchup.model_b))
            first, second = (worth[side] for side in sides)
            felt = first - second + 0.05 + rng.normal(0, 0.25)
            winner = "tie" if abs(felt) < 0.05 else "model_a" if felt > 0 else "model_b"
            usage = Usage(int(rng.integers(900, 1500)), 90, 0, 0.00064, float(rng.gamma(4, 200)))
            battle = replace(
                matchup,
                winner=winner,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cost_usd=usage.cost_usd,
                latency_ms=usage.latency_ms,
                at=f"2026-01-{1 + number // 10_000:02}T00:00:00.{number % 1000:03}Z",
            )
            said = {"model_a": "first", "model_b": "second", "tie": "tie"}[winner]
            text = orjson.dumps(
                {"analysis": " ".join(rng.choice(WORDS, 40)), "verdict": said}
            ).decode()
            reply = Reply(battle.id, battle.id, text, said, None, usage, battle.at, battle.judge)
            log.write(orjson.dumps(row(battle), option=orjson.OPT_APPEND_NEWLINE))
            written.write(orjson.dumps(row(reply), option=orjson.OPT_APPEND_NEWLINE))


def planned(
    contenders: list[Contender], lists: dict[str, dict[tuple[str, str], float]]
) -> Iterator[Battle]:
    """Every pair on every query, in both orders, still without a winner."""
    names = [contender.name for contender in contenders]
    for name in lists:
        for query in range(QUERIES[name]):
            for a, b in permutations(names, 2):
                matchup = (name, f"q{query:02}", a, b)
                yield Battle(
                    content_hash(*matchup), *matchup, "tie", "made-up-judge", "0" * 16, "judge"
                )


if __name__ == "__main__":
    main()
