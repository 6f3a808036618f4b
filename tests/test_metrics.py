from __future__ import annotations

import math

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.data.metrics import latency_summary, measure_run, per_query_ndcg
from arena.data.run_file import separate_ties, write_run
from arena.records import Run, ScoredDoc


def ranked(*doc_ids: str) -> tuple[ScoredDoc, ...]:
    return tuple(ScoredDoc(doc_id, float(-place)) for place, doc_id in enumerate(doc_ids))


def test_ideal_comes_from_all_qrels_and_not_from_what_was_retrieved() -> None:
    run = Run("d", "m", {"q": ranked("a", "x")})

    metrics = measure_run(run, {"q": {"a": 1, "missed": 3}})

    assert metrics is not None
    assert metrics.ndcg_at_10 == pytest.approx(1 / (3 + 1 / math.log2(3)))
    assert metrics.recall_at_5 == 0.5
    assert metrics.judged_at_10 == 0.5


def test_queries_without_a_relevant_document_are_left_out_and_counted() -> None:
    run = Run("d", "m", {"q": ranked("a"), "unjudged": ranked("a"), "zeros": ranked("a", "b")})

    metrics = measure_run(run, {"q": {"a": 1}, "zeros": {"a": 0, "b": -1}})

    assert metrics is not None
    assert (metrics.ndcg_at_10, metrics.n_queries, metrics.n_left_out) == (1.0, 1, 2)


def test_empty_ranking_scores_nothing_and_counts() -> None:
    metrics = measure_run(
        Run("d", "m", {"q": (), "r": ranked("a")}), {"q": {"a": 1}, "r": {"a": 1}}
    )
    alone = measure_run(Run("d", "m", {"q": ()}), {"q": {"a": 1}})

    assert metrics is not None
    assert (metrics.ndcg_at_10, metrics.n_queries) == (0.5, 2)
    assert alone is not None
    assert (alone.ndcg_at_10, alone.judged_at_10) == (0.0, 0.0)


def test_no_qrels_no_metrics() -> None:
    assert measure_run(Run("d", "m", {"q": ranked("a")}), {}) is None
    assert per_query_ndcg(Run("d", "m", {"q": ranked("a")}), {"q": {"a": 0}}) == {}


def test_negative_grade_gains_nothing_but_is_judged() -> None:
    run = Run("d", "m", {"q": ranked("bad", "good")})

    metrics = measure_run(run, {"q": {"bad": -2, "good": 1}})

    assert metrics is not None
    assert metrics.ndcg_at_5 == pytest.approx(1 / math.log2(3))
    assert metrics.recall_at_5 == 1.0
    assert metrics.judged_at_10 == 1.0


def test_what_is_measured_is_the_order_shown_even_where_scores_tie() -> None:
    run = Run("d", "m", {"q": (ScoredDoc("a", 1.0), ScoredDoc("b", 1.0))})

    assert per_query_ndcg(run, {"q": {"a": 1}}, top_k=1) == {"q": 1.0}


doc_ids = st.sampled_from([f"d{number}" for number in range(15)])


@settings(max_examples=40)
@given(
    scored=st.dictionaries(doc_ids, st.sampled_from([0.1, 0.2, 0.3, 0.9]), min_size=1),
    grades=st.dictionaries(doc_ids, st.integers(-1, 3)),
)
def test_metrics_are_ir_measures_own_on_the_file_written(
    tmp_path_factory: pytest.TempPathFactory, scored: dict[str, float], grades: dict[str, int]
) -> None:
    grades["top"] = 1
    run = Run("d", "m", {"q": separate_ties(scored.items())})
    path = tmp_path_factory.mktemp("run") / "run"
    write_run(run, path)

    metrics = measure_run(run, {"q": grades})

    names = ["nDCG@5", "nDCG@10", "R@5", "R@10", "Judged@10"]
    measures = [ir_measures.parse_measure(name) for name in names]
    own = ir_measures.calc_aggregate(measures, {"q": grades}, ir_measures.read_trec_run(str(path)))
    assert metrics is not None
    assert [
        metrics.ndcg_at_5,
        metrics.ndcg_at_10,
        metrics.recall_at_5,
        metrics.recall_at_10,
        metrics.judged_at_10,
    ] == [own[measure] for measure in measures]


def test_latency_percentiles_come_from_the_samples() -> None:
    latency = latency_summary([float(ms) for ms in range(1, 102)])

    assert latency is not None
    assert (latency.mean_ms, latency.p50_ms, latency.p90_ms, latency.p99_ms) == (51, 51, 91, 100)
    assert latency.n_samples == 101
    assert latency_summary([]) is None
