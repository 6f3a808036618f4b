"""The figures beside a model's name: each is measured, and none is made up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from loopback import Answer, LoopbackServer, embeddings

from arena.config import ModelConfig
from arena.rating.leaderboard_records import RetrievalFigures, figures_of, over_datasets
from arena.records import Dataset, Document, Query, RetrievalStats, Run
from arena.retrieval.retrieve import retrieve
from arena.retrieval.table import Retrieved, render_table, to_json

STATS = RetrievalStats(
    latency_ms=tuple(float(ms) for ms in range(1, 101)),
    dimension=384,
    n_documents=1000,
    tokens=50_000,
    cost_usd=0.001,
    measured_at="2026-01-01T00:00:00Z",
    place="eu-west-1",
    documents_per_s=200.0,
    bytes_per_vector=1536.0,
    index_bytes=1_536_000,
)


def corpus(texts: Sequence[str]) -> Dataset:
    documents = {str(n): Document(str(n), text) for n, text in enumerate(texts)}
    return Dataset("tiny", documents, {"q": Query("q", "what?")}, {})


def retrieved(dataset: Dataset, server: LoopbackServer, cache: Path) -> tuple[Run, RetrievalStats]:
    model = ModelConfig(
        name="m",
        provider="openai",
        base_url=server.base_url,
        batch_size=5,
        concurrency=1,
        price_per_1m_tokens=2.0,
    )
    return retrieve(model, dataset, ["q"], cache=cache, place="here")


def slow(body: dict[str, list[str]], attempt: int) -> Answer:
    time.sleep(0.05)
    return embeddings([[1.0, float(len(text))] for text in body["input"]])


def test_every_figure_of_a_run_is_measured_and_remembered_with_its_vectors(
    tmp_path: Path,
) -> None:
    dataset = corpus([f"text {number:03}" for number in range(40)])

    with LoopbackServer(slow) as server:
        _, first = retrieved(dataset, server, tmp_path)
        _, second = retrieved(dataset, server, tmp_path)

    assert first.embedded == 41
    assert second.embedded == 0
    assert first.documents_per_s is not None
    assert 10 < first.documents_per_s < 100  # batches of 5 that take 50 ms and more
    assert second.documents_per_s == first.documents_per_s
    assert (first.dimension, first.bytes_per_vector, first.index_bytes) == (2, 8.0, 320)
    assert first.tokens is not None
    assert first.cost_usd == pytest.approx(first.tokens * 2 / 1e6)
    assert second.tokens == first.tokens
    assert first.place == "here"
    assert first.measured_at is not None


def test_documents_of_one_text_are_embedded_once_and_rank_side_by_side(tmp_path: Path) -> None:
    dataset = corpus(["same", "other text", "same", "same"])

    with LoopbackServer(slow) as server:
        run, stats = retrieved(dataset, server, tmp_path)

    assert stats.embedded == 3
    assert sorted(place.doc_id for place in run.rankings["q"]) == ["0", "1", "2", "3"]
    of_same = [place.doc_id for place in run.rankings["q"] if place.doc_id != "1"]
    assert of_same == ["0", "2", "3"]


def test_overall_figures_are_sums_and_rates_of_everything_or_not_known() -> None:
    slow_part = RetrievalFigures(3000, 100.0, 1536.0, 4_608_000, 10, None, "2026-01-02", "home")

    both = over_datasets([figures_of(STATS), slow_part])

    assert both == RetrievalFigures(
        documents=4000,
        documents_per_s=4000 / 35,
        bytes_per_vector=1536.0,
        index_bytes=4_608_000,
        tokens=50_010,
        cost_usd=None,
        measured_at="2026-01-02",
        place=None,
    )
    assert over_datasets([figures_of(STATS), None]) is None


def test_table_shows_what_is_known_and_leaves_the_rest_blank() -> None:
    runs = [
        Retrieved("scifact", "api", Path("runs/x/scifact/api.trec"), STATS),
        Retrieved("scifact", "file", Path("runs/x/scifact/f.trec"), RetrievalStats(n_documents=9)),
    ]

    lines = render_table(runs, width=None).splitlines()

    assert [" ".join(line.split()) for line in lines] == [
        "dataset model documents dim bytes/vector index MB docs/s p50/p90/p99 ms (n) tokens cost",
        "scifact api 1,000 384 1,536 1.5 200 50.5/90.1/99 (100) 50,000 $0.0010",
        "scifact file 9",
        "",
        "latency: one query at a time, at eu-west-1, 2026-01-01T00:00:00Z",
        "runs: runs/x/scifact",
    ]


def test_small_index_is_not_shown_as_none_at_all() -> None:
    stats = RetrievalStats(n_documents=300, index_bytes=1_200)

    row = render_table([Retrieved("d", "m", Path("m.trec"), stats)], width=None).splitlines()[1]

    assert row.split() == ["d", "m", "300", "0.0012"]


def test_json_has_null_for_what_is_not_known() -> None:
    [row] = to_json([Retrieved("d", "m", Path("m.trec"), RetrievalStats(n_documents=9))])

    assert row["n_documents"] == 9
    assert row["latency_ms"] is row["documents_per_s"] is row["tokens"] is None
