"""What embedding and search cost beside the model, and how they do at size.

::

    python benchmarks/retrieval.py topk                  # beside faiss's exact flat index
    python benchmarks/retrieval.py overhead              # beside the bare embedder
    python benchmarks/retrieval.py warm                  # a second run, all vectors cached
    python benchmarks/retrieval.py size --passages 10000000 --dimension 64

``topk`` needs ``pip install faiss-cpu``; ``overhead`` and ``warm`` the demo extra. Rows of one
table are taken in turns within one run, so that whatever else the machine does falls on all of
them; their ratios mean more than their seconds.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

from loopback import Answer, LoopbackServer

from arena.config import ModelConfig
from arena.data.builtin import python_docs
from arena.data.searchable_text import Passages
from arena.embedding.embedder import BatchEmbedder, Embedder
from arena.embedding.open import open_embedder
from arena.experiment import live as pipeline
from arena.progress import reporter
from arena.records import Dataset, Document
from arena.vectors.cache import embed_missing
from arena.vectors.exact import CosineIndex
from arena.vectors.vector_files import VectorStore

DELAY_S = 0.05
"""What a hosted model takes for a batch, at least."""


def timed(work: Callable[[], object]) -> float:
    """Seconds by the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(rivals: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median seconds of each, every round with all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, work in rivals.items():
            seconds[name].append(timed(work))
    return {name: statistics.median(found) for name, found in seconds.items()}


def topk(options: argparse.Namespace) -> None:
    """The 100 best of a million vectors, by arena and by faiss, with the same threads."""
    import faiss

    n, dimension = options.vectors, options.dimension
    rng = np.random.default_rng(0)
    vectors = np.empty((n, dimension), np.float32)
    for first in range(0, n, 2**16):
        block = rng.standard_normal((len(vectors[first : first + 2**16]), dimension))
        vectors[first : first + 2**16] = block / np.linalg.norm(block, axis=1, keepdims=True)
    queries = rng.standard_normal((1000, dimension)).astype(np.float32)
    theirs = faiss.IndexFlatIP(dimension)
    theirs.add(vectors)
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    ours = CosineIndex(vectors, range(n))  # type: ignore[arg-type]  # numbers for names
    print(f"{n:,} x {dimension}, {os.cpu_count()} threads, top 100: how fast arena is beside faiss")
    for n_queries, rounds in ((1, 21), (64, 5), (1000, 3)):
        asked = queries[:n_queries]
        rivals = {
            "arena": partial(ours.search, asked, 100),
            "faiss": partial(theirs.search, asked, 100),
        }
        found = in_turns(rivals, rounds)
        [(best, _), *_] = ours.search(asked[:1], 100)[0]
        assert best == theirs.search(asked[:1], 1)[1][0, 0]
        ratio = found["faiss"] / found["arena"]
        print(
            f"{n_queries:5,} at once: {ratio:.2f} x; medians of {rounds}: "
            f"{found['arena'] * 1000:,.0f} ms, faiss {found['faiss'] * 1000:,.0f} ms",
            flush=True,
        )


def overhead(options: argparse.Namespace) -> None:
    """The same texts through the whole pipeline and through the bare embedder."""
    dataset = python_docs()
    print("embedding through digests, cache and progress, beside the bare embedder")
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        for name, delay_s, n_texts in (
            ("api at 0 ms", 0.0, 40_000),
            ("api at 50 ms", DELAY_S, 20_000),
            ("wordllama", 0.0, 4000),
            ("minilm", 0.0, 300),
        ):
            model = ModelConfig(name="m", provider=name if "api" not in name else "openai")  # type: ignore[arg-type]
            if "api" in name:
                url = stack.enter_context(endpoint(delay_s))
                model = model.model_copy(update={"base_url": url})
            embedder = stack.enter_context(open_embedder(model, dataset.corpus))
            texts = some_texts(dataset, n_texts)
            places = (Path(folder) / f"{name}-{turn}" for turn in range(options.rounds + 1))

            def through(
                embedder: Embedder = embedder,
                texts: Sequence[str] = texts,
                places: Iterator[Path] = places,
            ) -> None:
                store = VectorStore(next(places), embedder.settings, "document")
                embed_missing(embedder, texts, store)

            def bare(embedder: Embedder = embedder, texts: Sequence[str] = list(texts)) -> None:
                everything(embedder, texts)

            through()
            found = in_turns({"bare": bare, "arena": through}, options.rounds)
            print(
                f"{name:>12}: {found['arena'] / found['bare'] - 1:+.1%}; bare "
                f"{n_texts / found['bare']:,.0f} documents a second, median of {options.rounds}",
                flush=True,
            )


def some_texts(dataset: Dataset, n: int) -> Sequence[str]:
    """So many texts, no two of them the same."""
    documents = list(dataset.corpus.values())
    copies = {
        str(number): Document(str(number), f"{number} {documents[number % len(documents)].text}")
        for number in range(n)
    }
    return Passages(copies).texts


def everything(embedder: Embedder, texts: Sequence[str]) -> None:
    """All vectors of all texts, as an embedder gives them."""
    if isinstance(embedder, BatchEmbedder):
        list(embedder.embed_batches(texts, "document"))
    else:
        for first in range(0, len(texts), 256):
            embedder.embed(texts[first : first + 256], "document")


def warm(options: argparse.Namespace) -> None:
    """`arena retrieve` three times: from nothing, again, and again without its runs."""
    print(f"{options.documents:,} documents, 100 queries: beside the first run, the second takes")
    with ExitStack() as stack:
        url = stack.enter_context(endpoint(DELAY_S))
        for name, settings in (
            ("minilm", 'provider = "minilm"'),
            ("api at 50 ms", f'provider = "openai"\nbase_url = "{url}"\nbatch_size = 16'),
        ):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            config = write_experiment(folder, options.documents, settings)
            os.environ["ARENA_CACHE"] = str(folder / "cache")
            run = partial(pipeline.retrieve, config, reporter(quiet=True))
            first = timed(run)
            kept = statistics.median(timed(run) for _ in range(5))
            again = []
            for _ in range(5):
                shutil.rmtree(folder / "runs")
                again.append(timed(run))
            print(
                f"{name:>12}: {kept / first:.1%} of {first:.1f} s; "
                f"{statistics.median(again) / first:.1%} where its runs are gone, not its vectors",
                flush=True,
            )


def write_experiment(folder: Path, n_documents: int, settings: str) -> Path:
    """Docstrings and questions about them, and an arena.toml for one model and BM25."""
    dataset = python_docs()
    documents = list(dataset.corpus.values())[:n_documents]
    corpus = [{"_id": d.doc_id, "title": d.title, "text": d.text} for d in documents]
    queries = [{"_id": q.query_id, "text": q.text} for q in dataset.queries.values()]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    config = folder / "arena.toml"
    config.write_text(
        '[experiment]\nname = "x"\n[judge]\nmodel = "m"\n[[datasets]]\nname = "d"\npath = "."\n'
        f'[[models]]\nname = "m"\n{settings}\n[[models]]\nname = "bm25"\nprovider = "bm25"\n'
    )
    return config


def size(options: argparse.Namespace) -> None:
    """A corpus that memory does not hold, twice: from nothing, and with a warm cache."""
    command = [sys.executable, str(Path(__file__).with_name("retrieval_size.py"))]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        command += [folder, str(options.passages), str(options.dimension)]
        command += [str(options.memory_mb), str(options.limit_mb)]
        for _ in range(2):
            subprocess.run(command, check=True, env={**os.environ, "ARENA_CACHE": folder})
        used = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        print(f"on the disk: {used / 1e9:.1f} GB")


@contextmanager
def endpoint(delay_s: float) -> Iterator[str]:
    """An embeddings endpoint in a process of its own, 384 numbers a vector; yields its base_url."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(there, delay_s), daemon=True)
    server.start()
    try:
        yield here.recv()
    finally:
        here.send(None)
        server.join()


def _serve(pipe: Connection, delay_s: float) -> None:
    vector = base64.b64encode(np.linspace(-1, 1, 384, dtype="<f4").tobytes()).decode()
    item = '{"object": "embedding", "index": %d, "embedding": "' + vector + '"}'
    items = [item % index for index in range(2048)]

    def answer(body: dict[str, list[str]], _: int) -> Answer:
        time.sleep(delay_s)
        data = ", ".join(items[: len(body["input"])])
        text = f'{{"object": "list", "data": [{data}], "usage": {{"total_tokens": 9}}}}'
        return Answer(body=text.encode())

    with LoopbackServer(answer) as server:
        pipe.send(server.base_url)
        pipe.recv()


def main() -> None:
    """Run one of them, or the three that take minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["topk", "overhead", "warm", "size"])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--passages", type=int, default=1_000_000)
    parser.add_argument("--memory-mb", type=int, default=1024, help="as in [experiment]")
    parser.add_argument("--limit-mb", type=int, default=4096, help="of the process (RLIMIT_DATA)")
    parser.add_argument("--folder", type=Path, help="a disk with room for size")
    options = parser.parse_args()
    every = {"topk": topk, "overhead": overhead, "warm": warm, "size": size}
    for name in [options.what] if options.what else ["topk", "overhead", "warm"]:
        every[name](options)


if __name__ == "__main__":
    main()
