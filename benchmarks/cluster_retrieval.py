"""Embed and search a partitioned corpus on one machine, on one worker and on two.

Each worker, and the process that is the one machine, has one core: all of its threads are bound to
it. Caches are empty at each run, and models are loaded. The corpus is loaded before.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments import QUIET

from arena.cluster.connect import Cluster, open_cluster
from arena.cluster.retrieve import ClusterRanker
from arena.config import ModelConfig
from arena.data.beir import load_beir
from arena.data.builtin import python_docs
from arena.records import Dataset, Run
from arena.retrieval.retrieve import retrieve

PASSAGES: Final = {"minilm": 2_048, "wordllama": 100_000}
"""As many as one core embeds in some 20 s."""

_WORDS: Final = 20
"""Of a passage."""


@dataclass(frozen=True, slots=True)
class Took:
    """What a run took."""

    seconds: float
    processor_s: float  #: of all processes


def compare(provider: str, n_passages: int, n_partitions: int, rounds: int) -> None:
    """Print the medians of one machine, one worker and two workers, and their ratios."""
    model = ModelConfig.model_validate({"name": "local", "provider": provider})
    with (
        tempfile.TemporaryDirectory() as folder,
        open_cluster("local:1", None, QUIET) as one,
        open_cluster("local:2", None, QUIET) as two,
    ):
        dataset = _dataset(Path(folder) / "data", n_passages, n_partitions)
        cache = Path(folder) / "cache"
        _bind({0})
        ways: dict[str, Callable[[], tuple[Run, Took]]] = {
            "one machine": lambda: _measured(model, dataset, cache, None),
            "one worker": lambda: _measured(model, dataset, cache, one),
            "two workers": lambda: _measured(model, dataset, cache, two),
        }
        for cluster in (one, two):
            _bind_workers(cluster, cache)
        few = _dataset(Path(folder) / "few", 10 * n_partitions, n_partitions)
        for cluster in (None, one, two):
            _measured(model, few, cache, cluster)  # loads the model
        took: dict[str, list[Took]] = {name: [] for name in ways}
        runs = []
        for _ in range(rounds):
            for name, way in ways.items():
                run, each = way()
                runs.append(run)
                took[name].append(each)
                print(f"{name}: {each.seconds:.1f} s", file=sys.stderr)
    ranked = [
        {
            query_id: [place.doc_id for place in ranking]
            for query_id, ranking in run.rankings.items()
        }
        for run in runs
    ]
    assert all(each == ranked[0] for each in ranked), "the rankings differ"
    _print(took)


def _print(took: dict[str, list[Took]]) -> None:
    median = {name: statistics.median(each.seconds for each in runs) for name, runs in took.items()}
    busy = {
        name: statistics.median(each.processor_s for each in runs) for name, runs in took.items()
    }
    for name, runs in took.items():
        least, most = min(each.seconds for each in runs), max(each.seconds for each in runs)
        print(
            f"{name}: {median[name]:.2f} s ({least:.2f} to {most:.2f}), "
            f"{busy[name]:.2f} s of processor time"
        )
    print(
        f"one worker takes {median['one worker'] / median['one machine'] - 1:+.1%}, "
        f"{busy['one worker'] / busy['one machine'] - 1:+.1%} of processor time; "
        f"two are {median['one worker'] / median['two workers']:.2f} x one"
    )


def _measured(
    model: ModelConfig, dataset: Dataset, cache: Path, cluster: Cluster | None
) -> tuple[Run, Took]:
    shutil.rmtree(cache, ignore_errors=True)
    ranker = None if cluster is None else ClusterRanker(cluster)
    before, began = _processor_s(cluster), time.perf_counter()
    run, _ = retrieve(model, dataset, list(dataset.queries), cache=cache, ranker=ranker)
    seconds = time.perf_counter() - began
    return run, Took(seconds, _processor_s(cluster) - before)


def _processor_s(cluster: Cluster | None) -> float:
    workers = {} if cluster is None else cluster.client.run(time.process_time)
    return time.process_time() + sum(workers.values())


def _dataset(folder: Path, n_passages: int, n_partitions: int) -> Dataset:
    """Return a data set of passages of random words, in partitions."""
    words = " ".join(document.text for document in python_docs().corpus.values()).split()
    drawn = random.Random(0)
    folder.mkdir()
    for part in range(n_partitions):
        rows = [
            {"_id": f"d{part}-{number}", "text": " ".join(drawn.choices(words, k=_WORDS))}
            for number in range(part, n_passages, n_partitions)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"corpus-{part:02}.jsonl").write_text(lines, "utf-8")
    queries = [
        {"_id": f"q{number}", "text": " ".join(drawn.choices(words, k=5))} for number in range(50)
    ]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    return load_beir(folder, folder.name)


def _bind(cores: set[int]) -> None:
    """Bind all threads of this process to some cores; new threads do as those that start them."""
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


def _set_up(core: int, cache: str) -> None:
    os.environ["ARENA_CACHE"] = cache
    _bind({core})


def _bind_workers(cluster: Cluster, cache: Path) -> None:
    """Give each worker a core of its own, and the cache."""
    addresses = sorted(cluster.client.scheduler_info(n_workers=-1)["workers"])
    for core, address in enumerate(addresses):
        cluster.client.run(_set_up, core, str(cache), workers=[address])
