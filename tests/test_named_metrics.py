"""Metrics by name, fractions as grades, and differences between models, paired by query."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import by_definition
import ir_measures
import numpy as np
import pytest
import scipy
from experiments import QUERIES, play, write_experiment
from hf_folders import CORPUS, jsonl_folder, parquet_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row
from together import STATISTICS

import arena
from arena.comparing.compare import compare
from arena.comparing.report import render_comparison, to_json
from arena.config import load_config
from arena.data.beir import load_beir
from arena.data.dataset_hashes import qrels_hash
from arena.data.huggingface import HfSource, load_hf
from arena.data.metrics import measure_queries, measure_run
from arena.data.passage_corpus import PassageCorpus
from arena.errors import ConfigError, DataError, UsageError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.live import battle
from arena.experiment.named_metrics import measure_named
from arena.metric_names import parse_metric
from arena.progress import reporter
from arena.rating.leaderboard_files import from_json
from arena.rating.leaderboard_files import to_json as board_json
from arena.rating.leaderboard_table import render_leaderboard
from arena.rating.metric_differences import from_the_best, pair_differences
from arena.rating.rate_files import last_leaderboard, rate_files, write_leaderboard
from arena.records import Dataset, Document, Query, Run, ScoredDoc
from arena.site.build import build_site
from arena.site.model_pages import STANDARD
from arena.terminal import Screen

pytestmark = STATISTICS

NAMES = {
    "nDCG@3": "nDCG@3",
    "nDCG@10": "nDCG@10",
    "nDCG(dcg='exp-log2')@5": "expDCG@5",
    "RR@10": "RR@10",
    "RR(rel=2)@10": "RR>=2@10",
    "RR(rel=0.5)@3": "RR>=0.5@3",
    "AP@100": "AP@100",
    "AP(rel=0.25)@4": "AP>=0.25@4",
    "P@5": "P@5",
    "P(rel=2)@5": "P>=2@5",
    "Success@5": "Success@5",
    "R@5": "R@5",
    "R(rel=2)@5": "R>=2@5",
}
"""A metric's name, and what by_definition calls it."""


def run_of(**rankings: Sequence[str]) -> Run:
    return Run("d", "m", {q: tuple(ScoredDoc(d, -float(i)) for i, d in enumerate(ranking))
                          for q, ranking in rankings.items()})  # fmt: skip


def value_of(name: str, ranking: Sequence[str], grades: Mapping[str, float]) -> float:
    return measure_queries(run_of(q=ranking), {"q": grades}, [name]).by_query[name]["q"]


doc_ids = st.sampled_from([f"d{number}" for number in range(12)])
fractions = st.sampled_from([-1, 0, 0.0625, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3])


@settings(max_examples=60)
@given(
    ranking=st.lists(doc_ids, unique=True),
    grades=st.dictionaries(doc_ids, st.one_of(fractions, st.integers(-1, 3)), min_size=1),
)
def test_every_metric_is_what_its_definition_says_of_any_grades(
    ranking: list[str], grades: dict[str, float]
) -> None:
    grades["top"] = 0.75

    measured = measure_queries(run_of(q=ranking), {"q": grades}, list(NAMES))

    assert {name: values["q"] for name, values in measured.by_query.items()} == pytest.approx(
        {name: by_definition.metric(plain, ranking, grades) for name, plain in NAMES.items()}
    )


WHOLE = [name for name in NAMES if "0." not in name and "exp" not in name] + [
    *("ERR@20", "Rprec", "Judged@10", "Bpref", "AP", "nDCG", "IPrec@0.1", "Compat(p=0.9)"),
    *("nDCG(gains={1:3,3:1})@5", "nDCG(judged_only=True)@5", "SetF", "MRR", "Precision@3"),
]


@settings(max_examples=15)
@given(
    rankings=st.lists(st.lists(doc_ids, unique=True, min_size=1), min_size=1, max_size=3),
    grades=st.dictionaries(doc_ids, st.integers(0, 3), min_size=1),
)
def test_metrics_of_whole_grades_are_those_of_ir_measures(
    rankings: list[list[str]], grades: dict[str, float]
) -> None:
    grades["top"] = 1
    qrels = {f"{n}": grades for n in range(len(rankings))}
    run = run_of(**{f"{n}": ranking for n, ranking in enumerate(rankings)})

    measured = measure_queries(run, qrels, WHOLE)

    plain = {q: {p.doc_id: p.score for p in ranking} for q, ranking in run.rankings.items()}
    for name in WHOLE:
        found = ir_measures.iter_calc([ir_measures.parse_measure(name)], qrels, plain)
        own = {metric.query_id: metric.value for metric in found}
        assert measured.by_query[name] == pytest.approx(own), name


def test_exponential_gains_are_those_of_gdeval_to_its_digits() -> None:
    grades, ranking = {"a": 3, "b": 1, "c": 2, "x": 0}, ["b", "x", "a", "c"]
    measure = ir_measures.nDCG(dcg="exp-log2") @ 3
    scored = {"1": {d: -float(rank) for rank, d in enumerate(ranking)}}

    own = value_of("nDCG(dcg='exp-log2')@3", ranking, grades)

    assert own == pytest.approx(measure.calc_aggregate({"1": grades}, scored), abs=1e-5)
    ideal = 7 + 3 / math.log2(3) + 1 / 2
    assert own == pytest.approx((1 + 7 / 2) / ideal)


def test_a_gain_of_a_half_is_worth_half_of_a_gain_of_one() -> None:
    assert value_of("nDCG@10", ["half", "whole"], {"half": 0.5, "whole": 1}) == pytest.approx(
        (0.5 + 1 / math.log2(3)) / (1 + 0.5 / math.log2(3))
    )
    assert value_of("nDCG@1", ["low"], {"low": 0.125, "high": 0.5}) == 0.25


def test_the_usual_metrics_take_fractions_as_well() -> None:
    grades = {"a": 0.5, "b": 2, "c": 1.5}

    usual = measure_run(run_of(q=["a", "b"], none=["a"]), {"q": grades, "none": {"a": 0}})

    assert usual is not None
    assert usual.ndcg_at_10 == pytest.approx(by_definition.metric("nDCG@10", ["a", "b"], grades))
    assert (usual.recall_at_5, usual.judged_at_10) == (0.5, 1.0)
    assert (usual.n_queries, usual.n_left_out) == (1, 1)


def test_a_metric_that_takes_whole_grades_is_left_out_where_there_are_fractions() -> None:
    run, grades = run_of(q=["a"]), {"q": {"a": 1.5}}

    measured = measure_queries(run, grades, ["ERR@20", "P@1"])

    assert measured.left_out == ("ERR@20",)
    assert measured.by_query == {"P@1": {"q": 1.0}}
    assert (measured.mean("P@1"), measured.mean("ERR@20")) == (1.0, None)


def test_an_empty_ranking_is_worth_nothing_and_a_query_without_a_gain_is_left_out() -> None:
    run = run_of(q=[], r=["a"], none=["a"])
    grades = {"q": {"a": 1}, "r": {"a": 1}, "none": {"a": 0, "b": -0.5}}

    measured = measure_queries(run, grades, ["RR@10", "ERR@5", "nDCG(dcg='exp-log2')@5"])

    for values in measured.by_query.values():
        assert set(values) == {"q", "r"}
        assert values["q"] == 0.0
        assert values["r"] > 0


@each_row(
    ("name", "message"),
    [
        ("ndcg@10", "no metric 'ndcg@10'; did you mean nDCG@10?"),
        ("ndcg_cut_10", "did you mean nDCG@10?"),
        ("mrr@10", "did you mean RR@10?"),
        ("recall_100", "did you mean R@100?"),
        ("hit_rate@5", "did you mean Success@5?"),
        ("Sucess@5", "did you mean Success@5?"),
        ("zzz@3", "known: Accuracy, AP, "),
        ("nDCG@x", "cannot read the metric 'nDCG@x'; expected a name such as nDCG@10"),
        ("RR(rel=2", "cannot read the metric"),
        ("nDCG(p=__import__('os'))@10", "cannot read the metric"),
        ("(" * 9999, "cannot read the metric"),
        ("", "cannot read the metric ''"),
        ("P", "P: needs a cutoff, such as P@10"),
        ("INST", "INST: needs max_rel=, see https://ir-measur.es"),
        ("nDCG@0", "nDCG@0: the cutoff is 0; expected 1 to 1,000"),
        ("AP@1001", "AP@1001: the cutoff is 1001; expected 1 to 1,000"),
        ("RR(rel=0)@10", "rel is 0; expected a grade above 0"),
        ("RR(rel=True)@10", "rel is True; expected a grade above 0"),
        ("nDCG(gain=3)@10", "unsupported params found: ['gain']"),
        ("NumRet", "NumRet: is a sum over queries, no mean; choose another"),
        ("alpha_nDCG@10", "no installed package computes it; pip install ir-measures[pyndeval]"),
    ],
)
def test_a_metric_that_is_none_says_what_is_near_in_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_metric(name)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_the_config_names_the_metric_that_is_wrong(tmp_path: Path) -> None:
    path = write_experiment(tmp_path, settings='metrics = ["nDCG@10", "ncdg@5"]')
    with pytest.raises(ConfigError, match=r"experiment.metrics: .*'ncdg@5'; did you mean nDCG@5\?"):
        load_config(path)
    path = write_experiment(tmp_path, settings='metrics = ["RR@10", "MRR@10"]')
    with pytest.raises(ConfigError, match=r"RR@10 and MRR@10 are the same metric; keep one"):
        load_config(path)


def graded_rows(grades: Mapping[str, float]) -> list[dict[str, object]]:
    return [{"query-id": "q1", "corpus-id": doc_id, "score": g} for doc_id, g in grades.items()]


GRADES = {"d1": 0.1, "d2": 2, "d3": -0.3333333333333333}


@each_row("kind", ["beir tsv", "trec", "json lines", "parquet", "csv", "a dict", "rows"])
def test_every_reader_keeps_fractions_exactly_and_whole_grades_whole(
    tmp_path: Path, kind: str
) -> None:
    queries = [{"_id": "q1", "text": "which?"}]
    if kind == "a dict":
        qrels = arena.Dataset({d: d for d in GRADES}, {"q1": "?"}, {"q1": GRADES}).qrels
    elif kind == "rows":
        qrels = arena.Dataset({d: d for d in GRADES}, queries, graded_rows(GRADES)).qrels
    elif kind == "parquet":
        rows = graded_rows({doc_id: float(grade) for doc_id, grade in GRADES.items()})
        qrels = load_hf(HfSource(str(parquet_folder(tmp_path, CORPUS, queries, rows))), "d").qrels
    else:
        folder = jsonl_folder(tmp_path, CORPUS, queries, graded_rows(GRADES))
        lines = {
            "beir tsv": [f"q1\t{d}\t{g}" for d, g in GRADES.items()],
            "trec": [f"q1 0 {d} {float(g)}" for d, g in GRADES.items()],
            "csv": ["query-id,corpus-id,score", *(f"q1,{d},{g}" for d, g in GRADES.items())],
        }.get(kind)
        if lines is not None:
            suffix = "csv" if kind == "csv" else "tsv"
            (folder / "qrels" / f"test.{suffix}").write_text("\n".join(lines) + "\n")
            (folder / "qrels" / "test.jsonl").unlink()
            (folder / "README.md").unlink()
            (folder / "qrels" / "train.jsonl").unlink()
        load = load_beir if suffix_is_beir(kind) else lambda f, n: load_hf(HfSource(str(f)), n)
        qrels = load(folder, "d").qrels

    assert qrels == {"q1": GRADES}
    assert [type(grade) for grade in qrels["q1"].values()] == [float, int, float]


def suffix_is_beir(kind: str) -> bool:
    return kind in ("beir tsv", "trec")


@each_row("grade", ["nan", "inf", "1e7", "high", "-2000000", "true", ""])
def test_a_grade_that_is_no_number_is_named_with_its_line(tmp_path: Path, grade: str) -> None:
    folder = jsonl_folder(tmp_path)
    (folder / "qrels" / "test.tsv").write_text(f"q1\td1\t1\nq1\td2\t{grade or 'None'}\n")

    with pytest.raises(DataError, match=r"test.tsv:2: grade .*expected a number within ±1,000,000"):
        load_beir(folder, "d")


def test_whole_grades_keep_their_hash_in_any_notation(tmp_path: Path) -> None:
    hashes = set()
    for notation in ("2", "2.0", "2e0", "+2"):
        folder = jsonl_folder(tmp_path / notation)
        (folder / "qrels" / "test.tsv").write_text(f"q1\td1\t{notation}\n")
        hashes.add(qrels_hash(load_beir(folder, "d").qrels))

    assert hashes == {qrels_hash({"q1": {"d1": 2}})}
    assert qrels_hash({"q1": {"d1": 2.5}}) not in hashes


def differences(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> tuple:
    values = {
        ("d", model): {"AP": {f"q{i}": v for i, v in enumerate(own)}}
        for model, own in (("a", first), ("b", second))
    }
    (found,) = pair_differences(values, "a", "b", level=level)
    return found.difference, found.lower, found.upper, found.queries


def test_the_interval_of_a_difference_is_students_paired_by_query() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0, 1, 40), rng.uniform(0, 0.8, 40)

    found = differences(first.tolist(), second.tolist(), level=0.9)

    golden = scipy.stats.ttest_rel(first, second).confidence_interval(0.9)
    assert found == pytest.approx(((first - second).mean(), golden.low, golden.high, 40))


def test_only_queries_that_both_models_have_are_paired() -> None:
    values = {
        ("d", "a"): {"AP": {"q1": 0.5, "q2": 0.7, "q3": 0.9}},
        ("d", "b"): {"AP": {"q2": 0.1, "q3": 0.2, "q4": 1.0}},
    }

    (found,) = pair_differences(values, "a", "b", level=0.95)

    assert (found.difference, found.queries) == (pytest.approx(0.65), 2)


def test_data_sets_weigh_the_same_with_the_degrees_of_freedom_of_welch() -> None:
    rng = np.random.default_rng(2)
    parts = rng.uniform(-0.2, 0.4, 12), rng.uniform(-0.5, 0.5, 30)
    values = {}
    for name, part in zip(("small", "large"), parts, strict=True):
        values[name, "a"] = {"AP": {f"q{i}": 0.5 + d / 2 for i, d in enumerate(part)}}
        values[name, "b"] = {"AP": {f"q{i}": 0.5 - d / 2 for i, d in enumerate(part)}}

    (found,) = pair_differences(values, "a", "b", level=0.95)

    # The mean of two means is half the difference of one and the negative of the other.
    golden = scipy.stats.ttest_ind(parts[0], -parts[1], equal_var=False).confidence_interval(0.95)
    assert found.difference == pytest.approx((parts[0].mean() + parts[1].mean()) / 2)
    assert (found.lower, found.upper) == pytest.approx((golden.low / 2, golden.high / 2))


@each_row("constant", [0.0, 0.25, 1.0])
def test_differences_that_are_all_the_same_are_no_certainty(constant: float) -> None:
    difference, lower, upper, _ = differences([constant] * 9, [0.0] * 9)

    others = scipy.stats.binomtest(0, 9).proportion_ci(0.95, method="exact").high
    assert difference == constant
    assert lower == pytest.approx(constant - others * (1 + constant))
    assert upper == pytest.approx(constant + others * (1 - constant))


def test_one_query_has_no_interval() -> None:
    assert differences([0.5], [0.25]) == (0.25, None, None, 1)


def test_all_pairs_and_metrics_share_the_level() -> None:
    rng = np.random.default_rng(3)
    values = {
        ("d", model): {
            metric: {f"q{i}": v for i, v in enumerate(rng.uniform(0, 1, 20))}
            for metric in ("AP", "RR")
        }
        for model in "abc"
    }

    found = from_the_best(values, ["a", "b", "c"], level=0.94)

    assert [(each.metric, each.queries) for each in found] == [
        ("AP", 20), ("AP", 20), ("RR", 20), ("RR", 20),
    ]  # fmt: skip
    for each in found:
        one, other = (
            np.array(list(values["d", model][each.metric].values())) for model in (each.a, each.b)
        )
        golden = scipy.stats.ttest_rel(one, other).confidence_interval(0.99)
        assert (each.lower, each.upper) == pytest.approx((golden.low, golden.high))
        assert each.difference >= 0


def test_equal_models_are_rarely_told_apart_though_the_best_was_chosen() -> None:
    rng = np.random.default_rng(4)
    models, n_wrong, n_rounds = "abcd", 0, 300
    for _ in range(n_rounds):
        skill = rng.uniform(0, 1, 30)  # of queries: they are easy or hard for all models
        values = {
            ("d", model): {
                "RR": dict(enumerate(rng.binomial(1, skill).tolist())),
                "AP": dict(enumerate(np.clip(skill + rng.normal(0, 0.2, 30), 0, 1).tolist())),
            }
            for model in models
        }
        n_wrong += any(each.is_sure for each in from_the_best(values, models, level=0.95))

    assert n_wrong <= scipy.stats.binom.ppf(0.999, n_rounds, 0.05)


METRICS = ["nDCG@10", "RR(rel=2)@10", "AP", "Success@5"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An experiment with metrics of its own, and a fraction among its grades."""
    config = write_experiment(tmp_path, settings=f"metrics = {json.dumps(METRICS)}")
    qrels = tmp_path / "data" / "qrels" / "test.tsv"
    qrels.write_text(qrels.read_text().replace("fair-q0\t1", "fair-q0\t0.5"))
    play(config)
    return tmp_path / "runs" / "x"


def test_a_leaderboard_shows_the_metrics_that_arena_toml_names(folder: Path) -> None:
    board = rate_files([folder])

    row = next(row for row in board.overall if row.model == "middling")
    ndcg = [by_definition.metric("nDCG@10", ["fair"], {"good": 2, "fair": g})
            for g in (0.5, *[1] * 5)]  # fmt: skip
    assert row.named_metrics == pytest.approx(
        {"nDCG@10": np.mean(ndcg), "RR(rel=2)@10": 0.0, "AP": (5 * 0.5) / 6, "Success@5": 5 / 6}
    )
    lead = next(d for d in board.metric_differences if (d.metric, d.b) == ("nDCG@10", "middling"))
    strong = [by_definition.metric("nDCG@10", ["good", "fair"], {"good": 2, "fair": 0.5})] * 6
    golden = scipy.stats.ttest_rel(strong, ndcg).confidence_interval(1 - 0.05 / 3 / 4)
    assert lead.a == "strong"
    assert (lead.lower, lead.upper) == pytest.approx((golden.low, min(golden.high, 1)))
    text = render_leaderboard(board, on=Screen(160))
    assert all(name in text for name in METRICS)
    assert "recall@5" not in text
    assert "difference from the best, paired by query; 95% intervals for all of them" in text


def test_leaderboard_files_keep_the_metrics(folder: Path) -> None:
    board = rate_files([folder])
    write_leaderboard(board, folder)

    tree = json.loads((folder / "leaderboard.json").read_text())
    assert tree["overall"][0]["metrics"]["AP"] == 1.0
    assert tree["overall"][0]["ndcg@10"] == 1.0  # what other programs know stays
    assert len(tree["metric_differences"]) == 2 * len(METRICS)
    for again in (last_leaderboard(folder), from_json(board_json(board))):
        assert again is not None
        assert again.overall == board.overall
        assert again.metric_differences == board.metric_differences
    with (folder / "leaderboard.csv").open() as file:
        assert float(next(csv.DictReader(file))["RR(rel=2)@10"]) == 1.0


def test_the_site_shows_the_metrics_and_their_differences(folder: Path) -> None:
    build_site(folder)

    page = (folder / "report" / "index.html").read_text()
    section = page.partition('id="named-metrics"')[2].partition("</section>")[0]
    heads = re.findall(r'<th scope="col" class="number">([^<]*)</th>', section)
    assert heads == METRICS
    (row,) = re.findall(r"<tr>(?:(?!</tr>).)*>weak</a>.*?</tr>", section, re.DOTALL)
    lead = next(
        d for d in rate_files([folder]).metric_differences if (d.metric, d.b) == ("AP", "weak")
    )
    assert lead.upper is not None
    cell = f"-{lead.difference:.3f} (-{lead.upper:.3f} to"
    assert cell.replace("-", "−") in row
    (model,) = (folder / "report" / "models").glob("*weak*.html")
    table = model.read_text().partition('id="metrics-title"')[2].partition("</section>")[0]
    shown = re.findall(r'<th scope="col" class="number">([^<]*)</th>', table)
    cells = re.findall(r'<td class="number">([^<]*)</td>', table)
    own = [metric for metric in METRICS if metric not in STANDARD]
    at = shown.index(own[0])
    assert shown[at : at + len(own)] == own
    values = next(r for r in rate_files([folder]).overall if r.model == "weak").named_metrics
    assert cells[at : at + len(own)] == [f"{values[metric]:.3f}" for metric in own]


def test_comparing_two_models_shows_the_difference_by_metric(folder: Path) -> None:
    comparison = compare("strong", "middling", [folder])

    text = render_comparison(comparison, tolerance=0, on=Screen(120, colour=False, encoding="utf8"))
    tree = to_json(comparison, tolerance=0)
    assert [each["metric"] for each in tree["metrics"]] == METRICS
    assert all(each["difference"] < 0 for each in tree["metrics"])
    assert "B - A by metric, paired by query (95% intervals for all of them at once):" in text
    assert "RR(rel=2)@10" in text


def test_without_metrics_in_arena_toml_nothing_of_them_is_left(folder: Path) -> None:
    named = folder / "retrieval" / "docs" / "named_metrics.json"
    assert named.exists()
    config = write_experiment(folder.parents[1])

    play(config)

    board = rate_files([folder])
    assert not named.exists()
    assert board.metric_differences == ()
    assert "metrics" not in board_json(board)["overall"][0]
    assert compare("strong", "weak", [folder]).metrics == ()


def test_a_damaged_file_of_metrics_is_one_line(folder: Path) -> None:
    (folder / "retrieval" / "docs" / "named_metrics.json").write_text('{"models": 7}')

    with pytest.raises(DataError, match=r"named_metrics.json: no metrics by query: .*; delete"):
        rate_files([folder])


def test_lists_that_are_shorter_than_a_metric_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    battle(
        write_experiment(tmp_path, settings='metrics = ["P@1", "R@20", "AP"]'),
        reporter(quiet=False),
        BattleOptions(),
    )

    told = capsys.readouterr().err
    assert "docs: AP: of lists that are cut at 2" in told
    assert "docs: R@20: lists of strong, middling, weak are cut at 2, and no deeper" in told
    assert "P@1:" not in told


def test_a_deep_metric_makes_runs_as_deep(tmp_path: Path) -> None:
    rows = [{"_id": f"d{i}", "text": f"word number {i}"} for i in range(300)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "word"}\n')
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("q1\td299\t1\n")
    config = tmp_path / "arena.toml"
    config.write_text(
        '[experiment]\nname = "x"\nmetrics = ["R@250"]\n[[datasets]]\nname = "d"\npath = "."\n'
        '[[models]]\nname = "a"\nprovider = "bm25"\n[[models]]\nname = "b"\nprovider = "bm25"\n'
        'language = "english"\n[judge]\nkind = "qrels"\n'
    )

    play(config)

    run = (tmp_path / "runs" / "x" / "retrieval" / "d" / "a.trec").read_text()
    assert len(run.splitlines()) == 250


def test_a_notebook_measures_and_compares_runs() -> None:
    data = arena.Dataset(
        {d: d for d in "abc"},
        {q: q for q in QUERIES},
        {q: {"a": 1, "b": 0.5} for q in QUERIES},
        name="d",
    )
    good = arena.retrieve(lambda query, k: ["a", "b"], data, name="good")
    bad = arena.retrieve(lambda query, k: ["c", "b"], data, name="bad")

    frame = arena.metric_differences([bad, good], ["nDCG@10", "MRR(rel=0.5)@10"])

    ndcg = by_definition.metric("nDCG@10", ["c", "b"], {"a": 1, "b": 0.5})
    assert bad.measure("nDCG@10", "MRR(rel=0.5)@10", "ERR@5") == pytest.approx(
        {"nDCG@10": ndcg, "MRR(rel=0.5)@10": 0.5}
    )
    assert list(frame.metric) == ["nDCG@10", "MRR(rel=0.5)@10"]
    assert list(frame.a) == ["good", "good"]
    assert list(frame.difference) == pytest.approx([1 - ndcg, 0.5])
    board = arena.rate(
        arena.compare([good, bad], judge=arena.qrels_judge(), metrics=["P@1"])
    )  # the frame alone knows no metrics
    assert board.metric_differences == ()
    with pytest.raises(UsageError, match=r"no metric 'ndgc@10'; did you mean nDCG@10\?"):
        good.measure("ndgc@10")
    with pytest.raises(UsageError, match=r"metrics is 'AP'; expected a list"):
        arena.metric_differences([good, bad], "AP")


def test_a_passage_counts_as_the_document_that_it_is_from() -> None:
    wholes = {d: Document(d, f"the text of {d}") for d in ("d1", "d2")}
    corpus = PassageCorpus(wholes, wholes, {})
    data = Dataset("d", corpus, {"q": Query("q", "?")}, {"q": {"d2": 1}})
    run = run_of(q=["d1§w2.1", "d1§w2.2", "d2§w2.1", "d2§w2.2"])

    by_query = measure_named(run, data, ["RR@10", "P@2", "R@2"]).by_query

    assert by_query == {"RR@10": {"q": 0.5}, "P@2": {"q": 0.5}, "R@2": {"q": 1.0}}


def test_a_log_of_a_notebook_keeps_its_metrics(tmp_path: Path) -> None:
    data = arena.Dataset({d: d for d in "ab"}, {"q": "q", "r": "r"}, {"q": {"a": 1}, "r": {"a": 1}})
    runs = [arena.retrieve(lambda query, k, d=d: [d], data, name=d) for d in data.corpus]
    arena.compare(runs, judge=arena.qrels_judge(), metrics=["P@1"], log=tmp_path / "log")

    board = arena.rate(tmp_path / "log")

    assert list(board.to_frame()["P@1"]) == [1.0, 0.0]
    assert [(d.metric, d.a, d.b) for d in board.metric_differences] == [("P@1", "a", "b")]
