"""A corpus of any size from corpus.jsonl to rankings, in a process that may take so much memory.

`benchmarks/retrieval.py size` runs this as a process of its own, so that its memory is its own and
a second run begins where any other does: with what is on the disk. The embedder costs next to
nothing (a hash of the text), so that what is measured is arena.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from arena.data.beir import load_beir
from arena.data.searchable_text import Passages
from arena.embedding.embedder import Embedding
from arena.records import Role
from arena.retrieval.dense import rank_by_vectors
from arena.retrieval.job import LATENCY_SAMPLES, RankingJob

WORDS = [f"w{number:x}" for number in range(30_000)]


class HashEmbedder:
    """As many numbers as one likes from a text's SHAKE-128: the cheapest model that is one."""

    def __init__(self, dimension: int) -> None:
        self.settings: Mapping[str, object] = {"model": f"hash-{dimension}"}
        self._dimension = dimension

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        """One vector a text."""
        raw = b"".join(
            hashlib.shake_128(f"{role} {text}".encode()).digest(self._dimension) for text in texts
        )
        vectors = np.frombuffer(raw, np.int8).reshape(len(texts), -1).astype(np.float32)
        return Embedding(vectors, None, 0.0)


class PeakMemory:
    """The most that this process held of its own: mapped files, which the system may drop, not."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            anonymous = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.peak_mb = max(self.peak_mb, int(anonymous.split()[1]) / 1024)
            time.sleep(0.1)


def write_corpus(folder: Path, passages: int, queries: int) -> None:
    """Passages of 30 random words, about 170 bytes of text each."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    with (folder / "corpus.jsonl").open("w") as file:
        for number in range(passages):
            text = " ".join(draw.choices(WORDS, k=30))
            file.write(f'{{"_id": "p{number}", "text": "{text}"}}\n')
    with (folder / "queries.jsonl").open("w") as file:
        for number in range(queries):
            file.write(json.dumps({"_id": f"q{number}", "text": f"question {number}"}) + "\n")


def run_once(folder: Path, dimension: int, memory_mb: int) -> None:
    """Load, embed what is missing, search; one line of figures."""
    memory = PeakMemory()
    began = time.perf_counter()
    dataset = load_beir(folder, "size")
    loaded = time.perf_counter()
    embedded_at = [loaded]
    job = RankingJob(
        Passages(dataset.corpus),
        {query_id: query.text for query_id, query in dataset.queries.items()},
        100,
        lambda _: embedded_at.append(time.perf_counter()),
        lambda _: None,
        memory_mb,
    )
    _, stats = rank_by_vectors(
        job, HashEmbedder(dimension), precision="float32", cache=folder / "cache"
    )
    done = time.perf_counter()
    p50, p90, p99 = np.percentile(stats.latency_ms, (50, 90, 99))
    everything = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{len(dataset.corpus):,} passages, {dimension} numbers, memory_mb = {memory_mb}: "
        f"loaded {loaded - began:.0f} s, embedded {stats.embedded:,} in "
        f"{max(embedded_at) - loaded:.0f} s, whole run {done - began:.0f} s; "
        f"one query {p50:.0f}/{p90:.0f}/{p99:.0f} ms (n={len(stats.latency_ms)}); "
        f"memory {memory.peak_mb:,.0f} MB of its own, {everything:,.0f} MB with mapped files",
        flush=True,
    )


def main() -> None:
    """``folder passages dimension memory_mb limit_mb``."""
    folder, sizes = Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    passages, dimension, memory_mb, limit_mb = sizes
    if not (folder / "corpus.jsonl").exists():
        write_corpus(folder, passages, LATENCY_SAMPLES + 800)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_mb * 2**20, limit_mb * 2**20))
    run_once(folder, dimension, memory_mb)


if __name__ == "__main__":
    main()
