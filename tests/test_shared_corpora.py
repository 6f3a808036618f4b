"""Whole experiments on reference corpora in English and Arabic, with real models."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import pytest
from few_documents import few_of
from ir_measures import R, nDCG

from arena.experiment.live import battle
from arena.progress import reporter
from arena.rating.rate_files import rate_files

CORPORA = ("msmarco", "dbpedia", "arcd")

pytestmark = pytest.mark.shared


def experiment(folder: Path, data: Path, corpora: tuple[str, ...], models: str) -> Path:
    datasets = "".join(
        f'[[datasets]]\nname = "{name}"\npath = "{data / "corpora" / name}"\n' for name in corpora
    )
    path = folder / "arena.toml"
    path.write_text(f'[experiment]\nname = "x"\n{datasets}{models}[judge]\nkind = "qrels"\n')
    return path


FAST = """
[[models]]
name = "bm25"
provider = "bm25"
[[models]]
name = "wordllama-256"
provider = "wordllama"
[[models]]
name = "wordllama-64"
provider = "wordllama"
dimensions = 64
"""

ALL = (
    FAST
    + """
[[models]]
name = "minilm"
provider = "minilm"
[[models]]
name = "lsa"
provider = "lsa"
dimensions = 64
"""
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    for name in CORPORA:
        few_of(
            shared_data / "corpora" / name, folder / "corpora" / name, n_queries=15, n_others=300
        )
    summary = battle(experiment(folder, folder, CORPORA, FAST), reporter(quiet=True))
    summary.check()
    return summary.experiment.folder


def test_a_whole_experiment_runs_on_three_corpora(finished: Path) -> None:
    leaderboard = rate_files([finished])

    assert set(leaderboard.datasets) == set(CORPORA)
    assert leaderboard.failures == 0
    n_queries = leaderboard.queries
    assert leaderboard.battles == 3 * 2 * n_queries
    assert sum(r.record.wins for r in leaderboard.overall) == sum(
        r.record.losses for r in leaderboard.overall
    )
    assert all(row.latency and row.latency.n_samples == n_queries for row in leaderboard.overall)


def test_metrics_equal_those_of_ir_measures_on_the_same_trec_files(finished: Path) -> None:
    for dataset, rows in rate_files([finished]).datasets.items():
        qrels = relevant_qrels(finished.parents[1] / "corpora" / dataset)
        for row in rows:
            path = finished / "retrieval" / dataset / f"{row.model}.trec"
            run = list(ir_measures.read_trec_run(str(path)))

            theirs = ir_measures.calc_aggregate([nDCG @ 10, R @ 5], qrels, run)

            assert row.metrics["ndcg@10"] == pytest.approx(theirs[nDCG @ 10], abs=1e-9)
            assert row.metrics["recall@5"] == pytest.approx(theirs[R @ 5], abs=1e-9)


def relevant_qrels(folder: Path) -> list[ir_measures.Qrel]:
    """The grades of the asked queries that have a relevant document."""
    lines = (folder / "queries.jsonl").read_text("utf-8").splitlines()
    asked = {json.loads(line)["_id"] for line in lines}
    rows = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text().splitlines()]
    graded = [row for row in rows if row[0] in asked]
    relevant = {query_id for query_id, _, grade in graded if int(grade) > 0}
    return [ir_measures.Qrel(q, d, int(grade)) for q, d, grade in graded if q in relevant]


def test_ratings_by_qrels_agree_with_ndcg_where_models_differ_clearly(finished: Path) -> None:
    for rows in rate_files([finished]).datasets.values():
        best = max(rows, key=lambda row: row.metrics["ndcg@5"])
        worst = min(rows, key=lambda row: row.metrics["ndcg@5"])
        if best.metrics["ndcg@5"] - worst.metrics["ndcg@5"] > 0.1:
            assert best.rank < worst.rank


def test_every_local_model_ranks_arabic_documents(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each token of a document takes time in a network.
    monkeypatch.setattr("arena.embedding.local.bundled.MINILM_MAX_TOKENS", 48)
    few_of(shared_data / "corpora/arcd", tmp_path / "corpora/arcd", n_queries=6, n_others=8)
    config = experiment(tmp_path, tmp_path, ("arcd",), ALL)

    summary = battle(config, reporter(quiet=True))

    leaderboard = rate_files([summary.experiment.folder])
    assert len(leaderboard.overall) == 5
    assert {row.model for row in leaderboard.overall if row.metrics["ndcg@10"] > 0.7} >= {"bm25"}
