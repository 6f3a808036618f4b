"""Fusions: several models' runs in one, by ranks or scores, with given or tuned weights."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from experiments import QUIET, llm, logged, play, write_experiment
from hypothesis import given
from hypothesis import strategies as st
from tables import each_row

import arena
from arena.cli import main
from arena.config import ModelConfig, known_price
from arena.config.experiment import parse_config
from arena.data.run_file import read_stats
from arena.errors import ConfigError, UsageError
from arena.experiment.experiment import load_data, open_experiment
from arena.experiment.run_specs import held_out_queries, run_specs
from arena.experiment.runs import retrieve_all
from arena.records import Dataset, Document, Query, RetrievalStats, Run, ScoredDoc
from arena.retrieval.fuse import fuse_rankings, with_members
from arena.retrieval.retrieve import retrieve

DOCUMENTS = {name: Document(name, f"text of {name}") for name in "abcdefgh"}


def run(model: str, rankings: Mapping[str, Mapping[str, float]]) -> Run:
    return Run(
        "tiny",
        model,
        {
            query_id: tuple(ScoredDoc(doc_id, score) for doc_id, score in ranking.items())
            for query_id, ranking in rankings.items()
        },
    )


WORDS = run("words", {"q": {"a": 12.0, "b": 9.0, "c": 3.0}})
MEANING = run("meaning", {"q": {"c": 0.9, "d": 0.8, "a": 0.1}})


def fused(
    members: Sequence[Run], *, qrels: Any = None, queries: Sequence[str] = ("q",), **settings: Any
) -> tuple[Run, RetrievalStats]:
    every = dict.fromkeys(query for member in members for query in member.rankings)
    data = Dataset("tiny", DOCUMENTS, {q: Query(q, f"what is {q}?") for q in every}, qrels or {})
    model = ModelConfig.model_validate(
        {"name": "hybrid", "fuse": [member.model for member in members], **settings}
    )
    return retrieve(model, data, queries, cache=Path("unused"), bases=members)


def order(ranked: Run, query_id: str = "q") -> str:
    return "".join(place.doc_id for place in ranked.rankings[query_id])


@each_row(
    ("settings", "expected"),
    [
        # 1/61 + 1/63 = .03227 for a, and for c; 1/62 = .01613 for b, and for d.
        ({}, {"a": 1 / 61 + 1 / 63, "c": 1 / 63 + 1 / 61, "b": 1 / 62, "d": 1 / 62}),
        # With k = 1: a 1/2 + 1/4, c the same; weights 3 and 1 make a 1.75, c 1.25, b 1, d 1/3.
        ({"rrf_k": 1, "weights": [3.0, 1.0]}, {"a": 1.75, "c": 1.25, "b": 1.0, "d": 1 / 3}),
        # Scales: words a 1, b 2/3, c 0; meaning c 1, d 7/8, a 0.
        ({"fuse_by": "scores"}, {"a": 1.0, "c": 1.0, "d": 7 / 8, "b": 2 / 3}),
        ({"fuse_by": "scores", "weights": [0.5, 2.0]}, {"c": 2.0, "d": 1.75, "a": 0.5, "b": 1 / 3}),
        ({"fuse_depth": 1}, {"a": 1 / 61, "c": 1 / 61}),
        ({"weights": [0.0, 1.0]}, {"c": 1 / 61, "d": 1 / 62, "a": 1 / 63}),
    ],
)
def test_a_fusion_merges_rankings_as_its_formula_says(
    settings: dict[str, Any], expected: dict[str, float]
) -> None:
    ranked, _ = fused([WORDS, MEANING], **settings)

    places = ranked.rankings["q"]
    assert [place.doc_id for place in places] == list(expected)
    assert [place.score for place in places] == pytest.approx(list(expected.values()), rel=1e-6)


def test_a_member_that_found_nothing_or_lacks_the_query_adds_nothing() -> None:
    empty, absent = run("empty", {"q": {}}), run("absent", {})

    for by in ("rrf", "scores"):
        ranked, _ = fused([WORDS, empty, absent], fuse_by=by)
        assert order(ranked) == "abc"


def test_equal_scores_of_a_member_are_all_its_best() -> None:
    flat = run("flat", {"q": {"d": 2.0, "e": 2.0}})

    ranked, _ = fused([WORDS, flat], fuse_by="scores", weights=[1.0, 5.0])

    assert order(ranked) == "deabc"


scored = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), max_size=4)


@given(st.lists(st.tuples(scored, st.floats(0.1, 9)), min_size=2, max_size=4))
def test_the_order_of_members_never_changes_who_is_found_and_dominance_holds(
    members: list[tuple[dict[str, float], float]],
) -> None:
    scores, weights = [scored for scored, _ in members], [weight for _, weight in members]

    together = fuse_rankings(scores, weights)
    backwards = fuse_rankings(scores[::-1], weights[::-1])

    assert dict(together) == pytest.approx(dict(backwards))
    assert {doc_id for doc_id, _ in together} == {doc_id for part in scores for doc_id in part}
    sums = dict(together)
    for (one, of_one), (other, of_other) in itertools.product(sums.items(), repeat=2):
        if all(part.get(one, 0) >= part.get(other, 0) for part in scores):
            assert of_one >= of_other


def split(good: str, query_ids: Sequence[str], *, right: bool) -> dict[str, dict[str, float]]:
    """Rankings with the relevant document first, or third."""
    ranking = {good: 3.0, "f": 2.0, "g": 1.0} if right else {"f": 3.0, "g": 2.0, good: 1.0}
    return dict.fromkeys(query_ids, ranking)


HELD_OUT = [f"h{i}" for i in range(20)]
RATED = [f"r{i}" for i in range(5)]
GRADES = {query_id: {"a": 2} for query_id in [*HELD_OUT, *RATED]}


def test_tuned_weights_come_from_held_out_queries_only() -> None:
    # On held-out queries the first member is right, on the rated ones the second.
    left = run("left", split("a", HELD_OUT, right=True) | split("a", RATED, right=False))
    right = run("right", split("a", HELD_OUT, right=False) | split("a", RATED, right=True))

    ranked, stats = fused([left, right], qrels=GRADES, queries=RATED, weights="tuned", rrf_k=2)

    assert (
        order(ranked, "r0") == "fag"
    )  # f first, as the left member says: rated queries had no say
    assert ranked.rankings.keys() == set(RATED)
    note = (
        "weights tuned on 20 held-out queries: left 0.7, right 0.3; "
        "nDCG@10 there 1.000, with equal weights 0.631"
    )
    assert stats.notes == (note,)
    without = {query_id: GRADES[query_id] for query_id in HELD_OUT}
    again, _ = fused([left, right], qrels=without, queries=RATED, weights="tuned", rrf_k=2)
    assert again.rankings == ranked.rankings


def test_weights_that_clicks_tuned_say_so() -> None:
    same = split("a", [*HELD_OUT, *RATED], right=True)
    every = {query_id: Query(query_id, "what?") for query_id in same}
    data = Dataset("tiny", DOCUMENTS, every, GRADES, from_clicks=True)
    model = ModelConfig(name="hybrid", fuse=("left", "right"), weights="tuned")

    _, stats = retrieve(
        model, data, RATED, cache=Path("unused"), bases=[run("left", same), run("right", same)]
    )

    assert "on 20 held-out queries by clicks: " in stats.notes[0]


def test_of_equally_good_weights_the_most_equal_are_taken() -> None:
    same = split("a", [*HELD_OUT, *RATED], right=True)

    _, stats = fused(
        [run("left", same), run("right", same)], qrels=GRADES, queries=RATED, weights="tuned"
    )

    assert "left 0.5, right 0.5; nDCG@10 there 1.000" in stats.notes[0]


def test_tuning_on_too_few_graded_queries_is_refused_with_the_remedy() -> None:
    same = split("a", [*HELD_OUT[:9], *RATED], right=True)

    with pytest.raises(UsageError, match=r"needs 10 or more .* and tiny has 9; set queries"):
        fused([run("left", same), run("right", same)], qrels=GRADES, queries=RATED, weights="tuned")


def test_a_fusion_without_its_runs_is_an_error() -> None:
    data = Dataset("tiny", DOCUMENTS, {"q": Query("q", "what?")}, {})
    model = ModelConfig(name="hybrid", fuse=("words", "meaning"))

    with pytest.raises(UsageError, match="hybrid: fuses the runs of words, meaning, in this order"):
        retrieve(model, data, ["q"], cache=Path("unused"), bases=[MEANING, WORDS])


@each_row(
    ("latency", "members", "expected", "without"),
    [
        ("slowest", {"x": (2.0, 9.0), "y": (5.0, 5.0)}, (5.5, 9.5), None),
        ("sum", {"x": (2.0, 9.0), "y": (5.0, 5.0)}, (7.5, 14.5), None),
        ("sum", {"x": (2.0, 9.0), "file": ()}, (2.5, 9.5), "file"),
        ("sum", {"one": (), "file": ()}, (), None),
    ],
)
def test_latency_is_that_of_the_slowest_member_or_the_sum(
    latency: str, members: dict[str, tuple[float, ...]], expected: Any, without: str | None
) -> None:
    below = {name: RetrievalStats(latency_ms=times) for name, times in members.items()}

    stats = with_members(RetrievalStats((0.5, 0.5)), below, latency=latency, n_queries=2)

    assert stats.latency_ms == expected
    assert stats.latency_without == without


def test_price_of_a_fusion_is_that_of_its_members_together() -> None:
    sections: list[dict[str, Any]] = [
        {"name": "bm25", "provider": "bm25"},
        {"name": "voyage", "provider": "voyage", "price_per_1m_tokens": 0.06},
        {"name": "unknown", "run": "x.trec"},
        {"name": "hybrid", "fuse": ["bm25", "voyage"]},
        {"name": "hidden", "fuse": ["voyage", "unknown"]},
    ]

    assert known_price("hybrid", sections) == 0.06
    assert known_price("hidden", sections) is None


def model(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, **settings}


A, B = model("a", provider="bm25"), model("b", provider="lsa")
TUNED = {"fuse": ["a", "b"], "weights": "tuned"}


@each_row(
    ("models", "message"),
    [
        ([model("h", fuse=["a"])], "name two or more different models"),
        ([model("h", fuse=["a", "a"])], "name two or more different models"),
        ([model("h", fuse=["a", "h"])], 'names this model itself, "h"'),
        ([model("h", fuse=["a", "nobody"])], '"h" fuses "nobody", which is no model here'),
        (
            [model("h", fuse=["a", "i"]), model("i", fuse=["b", "h"])],
            '"h" fuses itself, by way of "i"',
        ),
        ([model("h", fuse=["a", "b"], weights=[1.0])], "weights has 1 numbers for the 2 models"),
        ([model("h", fuse=["a", "b"], weights=[0.0, 0.0])], "weights are all 0"),
        ([model("h", fuse=["a", "b"], weights=[1.0, -1.0])], "greater than or equal to 0"),
        ([model("h", fuse=["a", "b"], fuse_by="scores", rrf_k=5)], 'rrf_k is for fuse_by = "rrf"'),
        ([model("h", provider="bm25", fuse_depth=5)], "fuse_depth is for models that fuse others"),
        ([model("h", provider="bm25", fuse=["a", "b"])], "needs exactly one of provider"),
        (
            [model("r", rerank="tei", base="a"), model("h", fuse=["r", "b"], weights="tuned")],
            '"r" would rerank held-out queries; give weights',
        ),
        (
            [model("i", **TUNED), model("h", fuse=["i", "b"], weights="tuned")],
            '"i" is tuned itself; give weights',
        ),
    ],
)
def test_mistakes_in_a_fusion_are_one_line(models: list[Any], message: str) -> None:
    tree = {
        "experiment": {"name": "x"},
        "datasets": [{"name": "d", "path": "d"}],
        "models": [A, B, *models],
        "judge": {"kind": "qrels"},
    }

    with pytest.raises(ConfigError) as caught:
        parse_config(tree, Path("arena.toml"))

    assert message in str(caught.value)


def hybrid_experiment(folder: Path, settings: str = "", more: str = "") -> Path:
    """Sixty graded queries; ``words`` finds their documents, ``noise`` does not."""
    config = write_experiment(folder, settings=settings)
    queries = [f"q{i}" for i in range(60)]
    corpus = [{"_id": f"d{q}", "text": f"all about topic {q}"} for q in queries]
    (folder / "data" / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    rows = [{"_id": q, "text": f"topic {q}"} for q in queries]
    (folder / "data" / "queries.jsonl").write_text("\n".join(map(json.dumps, rows)))
    qrels = "\n".join(f"{q}\td{q}\t1" for q in queries)
    (folder / "data" / "qrels" / "test.tsv").write_text(qrels)
    noise = "\n".join(
        f"{q} Q0 d{queries[(i + 7) % 60]} 1 1 noise\n{q} Q0 d{q} 2 0.5 noise"
        for i, q in enumerate(queries)
    )
    (folder / "noise.trec").write_text(noise + "\n")
    head, judge = config.read_text().split("[[models]]")[0], '[judge]\nkind = "qrels"\n'
    models = (
        '[[models]]\nname = "hybrid"\nfuse = ["words", "noise"]\n'
        f"{more}\n"
        '[[models]]\nname = "words"\nprovider = "bm25"\n'
        '[[models]]\nname = "noise"\nrun = "noise.trec"\n'
    )
    config.write_text(head + models + judge)
    return config


def test_a_fusion_competes_with_its_members(tmp_path: Path) -> None:
    config = hybrid_experiment(tmp_path)

    play(config).check()

    assert {m for b in logged(config) for m in (b.model_a, b.model_b)} == {
        "hybrid",
        "words",
        "noise",
    }


def test_a_fusion_is_made_again_only_when_it_or_a_member_changes(tmp_path: Path) -> None:
    config = hybrid_experiment(tmp_path, settings="queries = 20", more='weights = "tuned"')
    experiment = open_experiment(config)
    data = load_data(experiment.config)

    def keys(path: Path) -> dict[str, str]:
        opened = open_experiment(path)
        loaded = load_data(opened.config)
        specs = run_specs(opened, loaded.datasets["docs"], loaded.queries["docs"])
        return {spec.model.name: spec.key for spec in specs}

    retrieve_all(experiment, data, QUIET)
    specs = run_specs(experiment, data.datasets["docs"], data.queries["docs"])
    tuned = next(spec for spec in specs if spec.model.name == "hybrid")
    held_out = held_out_queries(tuned)
    before = keys(config)
    stats = read_stats(tuned.stats_path)
    changed = (tmp_path / "noise.trec").read_text().replace(" 1 1 ", " 1 2 ")
    (tmp_path / "noise.trec").write_text(changed)
    after = keys(config)

    assert not set(held_out) & set(data.queries["docs"])
    assert len(held_out) == 40
    assert "weights tuned on 40 held-out queries: words" in stats.notes[0]
    assert stats.key == before["hybrid"]
    assert before["words"] == after["words"]
    assert before["noise"] != after["noise"]
    assert before["hybrid"] != after["hybrid"]


@each_row(("command", "status"), [(["battle"], 2), (["battle", "--dry-run"], 2), (["check"], 1)])
@each_row(
    ("graded", "message"),
    [
        (60, "docs has 5; set queries in [experiment] lower, or give weights"),
        (0, "docs has 0; give weights"),
    ],
)
def test_weights_that_cannot_be_tuned_are_refused_before_any_model_ranks(
    tmp_path: Path, command: list[str], status: int, graded: int, message: str
) -> None:
    config = hybrid_experiment(tmp_path, settings="queries = 55", more='weights = "tuned"')
    config.write_text(config.read_text().replace('kind = "qrels"', llm("http://127.0.0.1:9/v1")))
    qrels = tmp_path / "data" / "qrels" / "test.tsv"
    qrels.write_text("\n".join(qrels.read_text().splitlines()[:graded]))

    done = CliRunner().invoke(main, [*command, str(config)])

    assert done.exit_code == status, done.output
    assert message in " ".join(done.output.split())
    assert not list(tmp_path.glob("runs/*/retrieval/*/*"))
    assert "Traceback" not in done.output


def test_weights_are_tuned_on_grades_below_one() -> None:
    same = split("a", [*HELD_OUT, *RATED], right=True)
    halves = {q: {doc: grade / 2 for doc, grade in row.items()} for q, row in GRADES.items()}
    runs = [run("left", same), run("right", same)]

    _, stats = fused(runs, qrels=halves, queries=RATED, weights="tuned")

    assert "weights tuned on 20 held-out queries" in stats.notes[0]


def test_a_notebook_fuses_runs_and_tunes_on_queries_that_it_leaves_out(tmp_path: Path) -> None:
    hybrid_experiment(tmp_path)
    data = arena.load_dataset(tmp_path / "data")
    words = arena.retrieve("bm25", data, name="words")
    noise = arena.read_run(tmp_path / "noise.trec", data)

    plain = arena.retrieve({"fuse": ["words", "noise"]}, data, base=[words, noise])
    tuned = arena.retrieve(
        {"fuse": ["words", "noise"], "weights": "tuned"}, data, 20, base=[words, noise]
    )

    assert plain.model == "words + noise"
    assert len(plain.rankings) == 60
    assert len(tuned.rankings) == 20
    assert "40 held-out queries" in tuned.stats.notes[0]
