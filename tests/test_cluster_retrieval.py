"""Retrieval over partitions on a Dask cluster: the runs of one machine."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from dask_workers import NEEDS_DASK, dask_process, free_port, two_workers
from experiments import QUIET, play
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, embeddings, error

from arena.cli import main
from arena.cluster import retrieve as task_module
from arena.cluster.connect import Cluster, open_cluster
from arena.cluster.judge import battle_on_cluster
from arena.cluster.retrieve import ClusterRanker
from arena.config import ModelConfig
from arena.data.beir import load_beir
from arena.data.remote import load_remote
from arena.data.searchable_text import Passages
from arena.errors import (
    ApiError,
    ArenaError,
    ClusterError,
    DataError,
    FatalApiError,
    IncompleteError,
)
from arena.experiment.battle_options import BattleOptions
from arena.experiment.live import retrieve as retrieve_experiment
from arena.records import Dataset, Document, RetrievalStats, Run
from arena.retrieval.bm25 import Bm25Index
from arena.retrieval.job import RankingJob
from arena.retrieval.partitioned import PartialRun, merge_partitions
from arena.retrieval.partitioned_bm25 import count_query_words, rank_by_counts
from arena.retrieval.retrieve import retrieve
from arena.store.log_lines import read_battles

pytestmark = [NEEDS_DASK, pytest.mark.xdist_group("cluster")]

WORDS = ["river", "stone", "Ärger", "HTTPServer", "cloud", "snake_case", "light", "日本語", "green"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    key = "sk-of-the-workers"
    with two_workers(tmp_path_factory.mktemp("cache"), WORKERS_KEY=key) as two:
        yield two


def rows_of(n: int, seed: int = 7) -> list[dict[str, str]]:
    """Documents of few words, so that many tie; some are copies, and some have no text."""
    drawn = random.Random(seed)
    rows = []
    for number in range(n):
        text = " ".join(drawn.choices(WORDS, k=drawn.randrange(6)))
        title = drawn.choice(WORDS) if number % 3 == 0 else ""
        rows.append({"_id": f"d{drawn.randrange(10**6)}-{number}", "title": title, "text": text})
    return rows


def write_lines(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_data(
    folder: Path, rows: Sequence[Mapping[str, str]], bounds: Sequence[int], n_queries: int = 12
) -> Path:
    """Write a corpus whole, if there are no bounds, or in partitions."""
    if bounds:
        for number, (first, last) in enumerate(pairwise(bounds)):
            write_lines(folder / f"corpus-{number:02}.jsonl", rows[first:last])
    else:
        write_lines(folder / "corpus.jsonl", rows)
    drawn = random.Random(1)
    queries = [
        {"_id": f"q{number}", "text": " ".join(drawn.choices([*WORDS, "unseen"], k=3))}
        for number in range(n_queries)
    ]
    write_lines(folder / "queries.jsonl", queries)
    grades = [f"q{number % n_queries}\t{row['_id']}\t1" for number, row in enumerate(rows)]
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / "test.tsv").write_text("\n".join(grades) + "\n")
    return folder


def vector_of(text: str) -> list[float]:
    """How often each word is in a text, as a direction."""
    return [float(text.casefold().count(word.casefold())) + 0.25 for word in WORDS]


def embed(request: dict[str, Any], attempt: int) -> Answer:
    del attempt
    vectors = [vector_of(text)[: request.get("dimensions")] for text in request["input"]]
    return embeddings(vectors, tokens=len(vectors))


def n_embedded(server: LoopbackServer) -> int:
    """Documents that were sent to be embedded."""
    return sum(len(request.body["input"]) for request in server.requests)


def endpoint_model(server: LoopbackServer, **more: Any) -> ModelConfig:
    fields = {"name": "mine", "provider": "openai", "base_url": server.base_url, "model": "m"}
    return ModelConfig.model_validate({**fields, "batch_size": 4, "concurrency": 2, **more})


def ranked(
    model: ModelConfig, dataset: Dataset, cache: Path, cluster: Cluster | None = None
) -> tuple[Run, RetrievalStats]:
    return retrieve(
        model,
        dataset,
        list(dataset.queries),
        depth=9,
        cache=cache,
        ranker=None if cluster is None else ClusterRanker(cluster),
    )


# What one partition gives, without a cluster.


def job_of(
    rows: Sequence[Mapping[str, str]], queries: Mapping[str, str], depth: int = 9
) -> RankingJob:
    corpus = {row["_id"]: Document(row["_id"], row["text"], row["title"]) for row in rows}
    return RankingJob(Passages(corpus), queries, depth, lambda _: None, lambda _: None)


@settings(max_examples=30)
@given(
    st.lists(st.integers(0, 60), max_size=6).map(sorted),
    st.integers(0, 5),
    st.sampled_from([None, "german"]),
)
def test_words_counted_by_partition_give_the_scores_of_one_index(
    cuts: list[int], seed: int, language: str | None
) -> None:
    rows = rows_of(60, seed)
    queries = {"a": "river stone river", "b": "snake_case 日本語 Ärger", "c": "unseen"}
    index = Bm25Index(job_of(rows, queries).corpus, language=language)

    counts = [
        count_query_words(job_of(rows[first:last], queries), language)
        for first, last in pairwise([0, *cuts, 60])
    ]
    totals = counts[0].totals
    for count in counts[1:]:
        totals = totals + count.totals
    parts = [rank_by_counts(queries, 9, count, totals, language) for count in counts]

    found = merge_partitions(parts, 9).rankings
    assert found == {query_id: index.search(text, 9) for query_id, text in queries.items()}


ranking = st.lists(
    st.tuples(st.text("abc", min_size=1, max_size=3), st.sampled_from([0.5, 0.25, -1.0])),
    unique_by=lambda place: place[0],
    max_size=12,
)


@settings(max_examples=60)
@given(ranking, st.lists(st.integers(0, 2), min_size=12, max_size=12), st.integers(1, 6))
def test_merging_partial_rankings_in_any_tree_is_sorting_the_whole(
    places: list[tuple[str, float]], parts: list[int], depth: int
) -> None:
    best_first = sorted(places, key=lambda place: (-place[1], place[0]))
    of_part: list[list[tuple[str, float]]] = [[], [], []]
    for place, part in zip(best_first, parts, strict=False):
        of_part[part].append(place)
    runs = [PartialRun({"q": found[:depth]}) for found in of_part]

    left = merge_partitions([merge_partitions(runs[:2], depth), runs[2]], depth)
    right = merge_partitions([runs[0], merge_partitions([runs[2], runs[1]], depth)], depth)

    assert left.rankings == right.rankings == {"q": best_first[:depth]}


def test_what_is_unknown_of_one_partition_is_unknown_of_all() -> None:
    one = PartialRun({}, np.array([1.0, 5.0, 9.0]), 3, 1.5, 2, 10, 8, 96)
    other = PartialRun({}, np.array([2.0, 4.0]), 1, None, 0, None, 8, 32, 0)

    both = merge_partitions([one, other, PartialRun({})], 5)

    assert (both.n_texts, both.seconds, both.tokens) == (4, None, None)
    assert (both.embedded, both.dimension, both.index_bytes, both.n_cut) == (2, 8, 128, 0)
    assert both.search_ms.tolist() == [2.0, 5.0]
    assert merge_partitions([one, PartialRun({})], 5).texts_per_s == 2.0


@pytest.mark.parametrize(
    "raised",
    [
        DataError("corpus-0.jsonl", 3, "is bad", "mend it"),
        FatalApiError("key", "no key", words="all that the endpoint wrote"),
        ClusterError("gone"),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_errors_travel_between_processes(raised: ArenaError) -> None:
    arrived = pickle.loads(pickle.dumps(raised))

    assert type(arrived) is type(raised)
    assert str(arrived) == str(raised)
    assert vars(arrived) == vars(raised)


# On two workers.


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "binary"])
def test_two_workers_find_by_vectors_what_one_machine_does(
    precision: str, tmp_path: Path, cluster: Cluster
) -> None:
    rows = rows_of(80)
    whole = load_beir(write_data(tmp_path / "whole", rows, []), "tiny")
    parts = load_beir(write_data(tmp_path / "parts", rows, [0, 1, 30, 30, 31, 80]), "tiny")
    with LoopbackServer(embed) as server:
        model = endpoint_model(server, precision=precision, dimensions=7)
        alone, stats = ranked(model, whole, tmp_path / "cache")
        server.requests.clear()
        run, on_cluster = ranked(model, parts, tmp_path / "cache", cluster)

    assert run == alone
    assert len(parts.partitions) == 4
    assert max(map(len, run.rankings.values())) == 9
    assert (on_cluster.dimension, on_cluster.n_documents) == (stats.dimension, 80)
    assert on_cluster.place == "4 partitions on 2 workers"
    assert len(on_cluster.latency_ms) == len(parts.queries)
    assert on_cluster.tokens == n_embedded(server) - 1, "one text is a warm-up"


def test_two_workers_find_by_words_what_one_machine_does(tmp_path: Path, cluster: Cluster) -> None:
    rows = rows_of(200)
    whole = load_beir(write_data(tmp_path / "whole", rows, []), "tiny")
    bounds = [*range(0, 200, 20), 200]  # more partitions than one task merges
    parts = load_beir(write_data(tmp_path / "parts", rows, bounds), "tiny")
    model = ModelConfig(name="words", provider="bm25")

    alone, _ = ranked(model, whole, tmp_path / "cache")
    run, stats = ranked(model, parts, tmp_path / "cache", cluster)

    assert run == alone
    assert len(parts.partitions) == 10
    assert len(stats.latency_ms) == len(parts.queries)
    assert stats.documents_per_s


def test_a_whole_experiment_has_the_same_runs_and_battles(tmp_path: Path, cluster: Cluster) -> None:
    rows = rows_of(60)
    with LoopbackServer(embed) as server:
        for name, bounds in (("whole", []), ("parts", [0, 20, 40, 60])):
            write_data(tmp_path / name / "data", rows, bounds)
            (tmp_path / name / "arena.toml").write_text(
                f"""
                [experiment]
                name = "x"
                [[datasets]]
                name = "tiny"
                path = "data"
                [[models]]
                name = "mine"
                provider = "openai"
                base_url = "{server.base_url}"
                model = "m"
                [[models]]
                name = "words"
                provider = "bm25"
                [[models]]
                name = "both"
                fuse = ["words", "mine"]
                [[models]]
                name = "lsa"
                provider = "lsa"
                [judge]
                kind = "qrels"
                """
            )
        play(tmp_path / "whole" / "arena.toml").check()
        options = BattleOptions(cluster="local:2")
        battle_on_cluster(tmp_path / "parts" / "arena.toml", QUIET, options, cluster).check()
        n_requests = len(server.requests)
        again = retrieve_experiment(tmp_path / "parts" / "arena.toml", QUIET)

    for model in ("mine", "words", "both", "lsa"):
        files = [
            tmp_path / name / "runs" / "x" / "retrieval" / "tiny" / f"{model}.trec"
            for name in ("whole", "parts")
        ]
        assert files[0].read_text() == files[1].read_text()
    assert [row.stats.place for row in again if row.model == "mine"] == [
        "3 partitions on 2 workers"
    ]
    assert len(server.requests) == n_requests, "the runs of the cluster are those of one machine"
    assert battles(tmp_path / "whole") == battles(tmp_path / "parts")


def battles(folder: Path) -> dict[str, tuple[str, ...]]:
    logs = (folder / "runs" / "x").glob("battles*.jsonl")
    found = [battle for path in sorted(logs) for battle in read_battles(path)]
    assert found
    return {b.id: (b.query_id, b.model_a, b.model_b, b.winner) for b in found}


def test_a_partition_that_is_done_is_not_embedded_again(tmp_path: Path, cluster: Cluster) -> None:
    rows = rows_of(40, seed=11)
    parts = load_beir(write_data(tmp_path / "parts", rows, [0, 20, 40]), "tiny")
    with LoopbackServer(embed) as server:
        model = endpoint_model(server)
        first, _ = ranked(model, parts, tmp_path, cluster)
        server.requests.clear()
        changed = [*rows[:20], {"_id": "new", "title": "", "text": "a new text"}, *rows[21:]]
        more = load_beir(write_data(tmp_path / "more", changed, [0, 20, 40]), "tiny")
        second, stats = ranked(model, more, tmp_path, cluster)
        sent = n_embedded(server)

    only_second = {row["text"] for row in changed[20:] if (row["title"] + row["text"]).strip()}
    assert first != second
    assert 0 < stats.embedded == sent <= len(only_second) + 20


def test_a_worker_that_dies_with_a_partition_that_has_ended_changes_no_run(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(40)
    whole = load_beir(write_data(tmp_path / "whole", rows, []), "tiny")
    parts = load_beir(write_data(tmp_path / "parts", rows, [0, 10, 20, 30, 40]), "tiny")
    lost = []
    each_ended = task_module.each_ended

    def losing(client: Any, *rest: Any, **options: Any) -> Iterator[Any]:
        for future in each_ended(client, *rest, **options):
            holders = client.who_has([future])[future.key]
            if not lost and len(holders) == 1:
                os.kill(client.run(os.getpid)[holders[0]], signal.SIGKILL)
                until = time.monotonic() + 60
                while future.status == "finished" and time.monotonic() < until:
                    time.sleep(0.005)
                lost.append(future.status)
            yield future

    monkeypatch.setattr(task_module, "each_ended", losing)
    with LoopbackServer(embed) as server:
        alone, _ = ranked(endpoint_model(server), whole, tmp_path)
        run, _ = ranked(endpoint_model(server), parts, tmp_path, cluster)

    assert lost
    assert lost != ["finished"]
    assert run == alone


def test_a_killed_worker_costs_its_partition_in_flight_alone(
    tmp_path: Path, cluster: Cluster
) -> None:
    rows = [
        {"_id": f"d{number}", "title": "", "text": f"{WORDS[number % 9]} number {number}"}
        for number in range(96)
    ]
    whole = load_beir(write_data(tmp_path / "whole", rows, []), "tiny")
    parts = load_beir(write_data(tmp_path / "parts", rows, [*range(0, 97, 12)]), "tiny")

    def slowly(request: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.05)
        return embed(request, attempt)

    with LoopbackServer(embed) as server:
        model = endpoint_model(server)
        alone, _ = ranked(model, whole, tmp_path)
        server.requests.clear()
        server.answer = slowly
        killed = threading.Event()

        def kill() -> None:
            while n_embedded(server) < 12 + 40:
                time.sleep(0.005)
            os.kill(next(iter(cluster.client.run(os.getpid).values())), signal.SIGKILL)
            killed.set()

        killer = threading.Thread(target=kill)
        killer.start()
        run, _ = ranked(model, parts, tmp_path, cluster)
        killer.join()
        texts = [text for request in server.requests for text in request.body["input"]]

    assert killed.is_set()
    assert run == alone
    of_corpus = [text for text in texts if text in {row["text"] for row in rows}]
    assert set(of_corpus) == {row["text"] for row in rows}
    # At most two batches on the wire, and one that is not yet written, are sent again.
    assert len(of_corpus) <= len(rows) + 3 * 4


def test_ctrl_c_while_a_cluster_retrieves_keeps_what_is_embedded(
    tmp_path: Path, cluster: Cluster
) -> None:
    rows = rows_of(96, seed=5)
    write_data(tmp_path / "data", rows, [*range(0, 97, 12)])

    def interrupting(request: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.05)
        if n_embedded(server) > 12 + 40 and not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)
        return embed(request, attempt)

    interrupted = threading.Event()
    with LoopbackServer(interrupting) as server:
        config = tmp_path / "arena.toml"
        config.write_text(
            '[experiment]\nname = "x"\n[[datasets]]\nname = "tiny"\npath = "data"\n[[models]]\n'
            f'name = "mine"\nprovider = "openai"\nbase_url = "{server.base_url}"\nmodel = "m"\n'
            'batch_size = 4\nconcurrency = 2\n[[models]]\nname = "words"\nprovider = "bm25"\n'
            '[judge]\nkind = "qrels"\n'
        )
        ranker = ClusterRanker(cluster)
        with pytest.raises(IncompleteError) as caught:
            retrieve_experiment(config, QUIET, ranker)
        server.answer = embed
        retrieve_experiment(config, QUIET, ranker)
        texts = [text for request in server.requests for text in request.body["input"]]

    assert str(caught.value).startswith("stopped: what is embedded and scored is kept")
    assert "\n" not in str(caught.value)
    # At most three batches of each worker are sent again: 24 of 52 texts.
    n_distinct = sum(
        len({f"{row['title']} {row['text']}".strip() for row in rows[first : first + 12]} - {""})
        for first in range(0, 96, 12)
    )
    assert len(texts) <= n_distinct + 12 + 1 + 2 * 3 * 4


def use_cache(folder: str) -> None:
    os.environ["ARENA_CACHE"] = folder


def test_a_lost_scheduler_is_one_line_and_what_is_embedded_is_kept(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker that was started again has the environment of the test that ran then.
    cluster.client.wait_for_workers(cluster.n_workers, timeout=60)
    monkeypatch.setenv("ARENA_CACHE", str(tmp_path / "of all workers"))
    cluster.client.run(use_cache, os.environ["ARENA_CACHE"])
    rows = [{"_id": f"d{n}", "title": "", "text": f"stone number {n}"} for n in range(48)]
    parts = load_beir(write_data(tmp_path / "parts", rows, [*range(0, 49, 8)], 2), "tiny")

    def dying(request: dict[str, Any], attempt: int) -> Answer:
        if n_embedded(server) > 30:  # of 48, in partitions of 8, one at a time
            scheduler.kill()
        return embed(request, attempt)

    port = free_port()
    with (
        LoopbackServer(dying) as server,
        dask_process("scheduler", port) as scheduler,
        dask_process("worker", port),
    ):
        model = endpoint_model(server)
        with (
            open_cluster(f"tcp://127.0.0.1:{port}", None, QUIET) as lost,
            pytest.raises(ClusterError, match="the same command goes on from there") as raised,
        ):
            ranked(model, parts, tmp_path, lost)
        server.answer = embed
        _, stats = ranked(model, parts, tmp_path, cluster)

    assert "\n" not in str(raised.value)
    assert stats.embedded <= len(rows) - 8, "at least the first partition is kept"


def test_local_models_run_where_workers_have_a_gpu(tmp_path: Path, cluster: Cluster) -> None:
    parts = load_beir(write_data(tmp_path / "parts", rows_of(60), [*range(0, 61, 10)]), "tiny")
    model = ModelConfig(name="on-gpu-alone", provider="wordllama")
    with_gpu, _ = sorted(cluster.client.scheduler_info(n_workers=-1)["workers"])

    async def announce(dask_worker: Any, n_gpus: int) -> None:
        await dask_worker.set_resources(GPU=n_gpus)

    cluster.client.run(announce, n_gpus=1, workers=[with_gpu])
    try:
        run, _ = ranked(model, parts, tmp_path, cluster)
        loaded = cluster.client.run(loaded_models)
    finally:
        cluster.client.run(announce, n_gpus=0, workers=[with_gpu])

    assert any(run.rankings.values())
    assert [worker for worker, keys in loaded.items() if "on-gpu-alone" in keys] == [with_gpu]


def loaded_models() -> str:
    return " ".join(task_module._LOADED)


def test_workers_copy_the_partitions_of_an_object_store(tmp_path: Path, cluster: Cluster) -> None:
    folder = write_data(tmp_path / "store", rows_of(40), [0, 20, 40])
    stored = load_remote(f"file://{folder}", "tiny")
    model = ModelConfig(name="words", provider="bm25")

    run, stats = ranked(model, stored, tmp_path, cluster)

    assert [partition.path[:8] for partition in stored.partitions] == ["file:///"] * 2
    assert run == ranked(model, load_beir(folder, "tiny"), tmp_path)[0]
    assert stats.place == "2 partitions on 2 workers"


def test_an_endpoint_that_refuses_ends_the_run_with_its_own_error(
    tmp_path: Path, cluster: Cluster
) -> None:
    parts = load_beir(write_data(tmp_path / "parts", rows_of(40), [0, 20, 40]), "tiny")
    with (
        LoopbackServer(lambda *_: error(401, "no such key")) as server,
        pytest.raises(ApiError, match="mine: ") as raised,
    ):
        ranked(endpoint_model(server, api_key_env="WORKERS_KEY"), parts, tmp_path, cluster)

    assert isinstance(raised.value, FatalApiError)
    assert "sk-of-the-workers" not in str(raised.value)


def test_a_worker_without_the_key_is_named_before_anything_is_paid(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = load_beir(write_data(tmp_path / "parts", rows_of(40), [0, 20, 40]), "tiny")
    monkeypatch.setenv("DRIVERS_KEY", "sk-here-alone")
    with LoopbackServer(embed) as server:
        model = endpoint_model(server, api_key_env="DRIVERS_KEY")
        with pytest.raises(ClusterError, match=r"worker .*DRIVERS_KEY"):
            ranked(model, parts, tmp_path, cluster)

    assert server.requests == []


def test_a_partition_that_is_gone_or_changed_is_one_line(tmp_path: Path, cluster: Cluster) -> None:
    parts = load_beir(write_data(tmp_path / "parts", rows_of(40), [0, 20, 40]), "tiny")
    model = ModelConfig(name="words", provider="bm25")
    last = Path(parts.partitions[-1].path)
    last.write_text('{"_id": "x", "text": "other"}\n')

    with pytest.raises(DataError, match=r"corpus-01\.jsonl: holds other documents than when"):
        ranked(model, parts, tmp_path, cluster)
    Path(parts.partitions[0].path).unlink()
    with pytest.raises(ClusterError, match="sees no such file; all workers need the corpus"):
        ranked(model, parts, tmp_path, cluster)


def test_the_command_retrieves_on_a_cluster(tmp_path: Path) -> None:
    write_data(tmp_path / "data", rows_of(40), [0, 20, 40])
    (tmp_path / "arena.toml").write_text(
        '[experiment]\nname = "x"\n[[datasets]]\nname = "tiny"\npath = "data"\n'
        '[[models]]\nname = "words"\nprovider = "bm25"\n'
        '[[models]]\nname = "lsa"\nprovider = "lsa"\n[judge]\nmodel = "m"\n'
    )

    ended = CliRunner().invoke(
        main, ["retrieve", str(tmp_path / "arena.toml"), "--cluster", "local:1", "--json"]
    )

    assert ended.exit_code == 0, ended.output
    places = {row["model"]: row["place"] for row in json.loads(ended.stdout)}
    assert places["words"] == "2 partitions on 1 workers"


@pytest.mark.shared
@pytest.mark.parametrize("name", ["arcd", "msmarco"])
def test_reference_corpora_give_the_runs_of_one_machine(
    name: str, shared_data: Path, tmp_path: Path, cluster: Cluster
) -> None:
    source, folder = shared_data / "corpora" / name, tmp_path / "whole"
    folder.mkdir()
    lines = (source / "corpus.jsonl").read_bytes().splitlines(keepends=True)[:600]
    (folder / "corpus.jsonl").write_bytes(b"".join(lines))
    (folder / "queries.jsonl").write_bytes((source / "queries.jsonl").read_bytes())
    for number in range(5):
        part = lines[len(lines) * number // 5 : len(lines) * (number + 1) // 5]
        (tmp_path / f"corpus-{number}.jsonl").write_bytes(b"".join(part))
    (tmp_path / "queries.jsonl").write_bytes((folder / "queries.jsonl").read_bytes())
    whole, parts = load_beir(folder, name), load_beir(tmp_path, name)
    models = [ModelConfig(name=provider, provider=provider) for provider in ("bm25", "wordllama")]

    for model in models:
        alone, _ = ranked(model, whole, tmp_path / "cache")
        run, _ = ranked(model, parts, tmp_path / "cache", cluster)

        assert {q: [p.doc_id for p in places] for q, places in run.rankings.items()} == {
            q: [p.doc_id for p in places] for q, places in alone.rankings.items()
        }
        scores = [
            [place.score for places in rankings.values() for place in places]
            for rankings in (run.rankings, alone.rankings)
        ]
        np.testing.assert_allclose(*scores, rtol=0 if model.provider == "bm25" else 1e-5)
