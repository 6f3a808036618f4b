"""Leaderboards that people's labels correct, from the files of an experiment to what is shown."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest
from click.testing import CliRunner
from experiments import QUERIES, fair_grader, llm, play, write_experiment
from loopback import LoopbackServer
from tables import each_row

import arena
from arena.battles.load import load_battles
from arena.cli import main
from arena.errors import UsageError
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_files import from_json, to_json
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.leaderboard_table import render_leaderboard
from arena.rating.people.label_estimates import PeoplesLabels, SampledLabel
from arena.rating.people.peoples_labels import answers
from arena.rating.rate_files import rate_files
from arena.store.labels import Label
from arena.terminal import Screen

MODELS = ("alpha", "beta", "gamma", "delta")
LEAD = {"alpha": 0.8, "beta": 0.3, "gamma": -0.3, "delta": -0.8}
FLATTERED = "delta"
N_QUERIES = 40


def _log(folder: Path) -> tuple[Path, dict[tuple[str, str, str, str], float]]:
    """A judge that is wrong about one model, and what people would say of every battle."""
    rng = np.random.default_rng(7)
    rows, people = [], {}
    for q in range(N_QUERIES):
        for number, (one, two) in enumerate(combinations(sorted(MODELS), 2)):
            said = []
            for flattery in (0.0, 1.5):
                lead = LEAD[one] - LEAD[two]
                lead += flattery * ((one == FLATTERED) - (two == FLATTERED))
                said.append(float(rng.random() < 1 / (1 + np.exp(-2 * lead))))
            people["all", f"q{q}", one, two] = said[0]
            won = one if said[1] else two
            first, second = (one, two) if (q + number) % 2 else (two, one)
            rows.append(
                {
                    "model_a": first,
                    "model_b": second,
                    "winner": "model_a" if won == first else "model_b",
                    "query_id": f"q{q}",
                }
            )
    path = folder / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, people


def _labels(people: dict[tuple[str, str, str, str], float], share: float) -> PeoplesLabels:
    rng = np.random.default_rng(1)
    picked = {
        key: SampledLabel(value, 1 / share) for key, value in people.items() if rng.random() < share
    }
    return PeoplesLabels(people=1, battles=picked)


def test_labels_of_all_battles_give_the_ratings_of_people(tmp_path):
    path, people = _log(tmp_path)
    by_people = tmp_path / "people.jsonl"
    rows = [
        {"model_a": a, "model_b": b, "query_id": q, "winner": "model_a" if v else "model_b"}
        for (_, q, a, b), v in people.items()
    ]
    by_people.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = RatingSettings(n_permutations=0)

    board = build_leaderboard(load_battles([path]), people=_labels(people, 1.0), settings=settings)

    no_position = RatingSettings(n_permutations=0, position=False)
    truth = build_leaderboard(load_battles([by_people]), settings=no_position)
    expected = {row.model: row.rating for row in truth.overall}
    assert {row.model: row.corrected for row in board.overall} == pytest.approx(expected, abs=1e-6)
    assert [row.model for row in board.overall] == [row.model for row in truth.overall]
    judge = build_leaderboard(load_battles([path]), settings=settings)
    assert {r.model: r.rating for r in board.overall} == {r.model: r.rating for r in judge.overall}


@each_row("how", ["battles", "shrink", "auto"])
def test_a_sample_of_labels_finds_the_model_that_the_judge_flatters(tmp_path, how):
    path, people = _log(tmp_path)

    board = build_leaderboard(load_battles([path]), people=_labels(people, 0.5), correct=how)

    row = next(row for row in board.overall if row.model == FLATTERED)
    assert row.corrected < row.rating - 100
    assert row.corrected_lower < row.corrected < row.corrected_upper
    assert board.correction.error_lower > 20
    assert board.correction.labels == pytest.approx(120, abs=25)
    sure = {(pair.a, pair.b): pair.p_better for pair in board.pairs}
    assert all(p >= 0.5 for p in sure.values()), "pairs follow the corrected ratings"


def test_the_corrected_ratings_are_in_the_table_the_json_and_the_csv(tmp_path):
    path, people = _log(tmp_path)
    board = build_leaderboard(load_battles([path]), people=_labels(people, 0.5))

    text, tree = render_leaderboard(board, on=Screen(160)), to_json(board)

    assert "by people" in text
    assert "of battles by 1 person" in text
    assert tree["correction"]["method"] == "battles"
    assert {"corrected", "corrected_lower", "corrected_upper"} <= tree["overall"][0].keys()
    assert to_json(from_json(orjson.loads(orjson.dumps(tree)))) == tree


def test_without_labels_a_leaderboard_has_no_key_more(tmp_path):
    path, _ = _log(tmp_path)

    tree = to_json(build_leaderboard(load_battles([path])))

    assert "correction" not in tree
    assert not any("corrected" in row for row in tree["overall"])


def test_no_answer_raises_the_weight_of_the_other_answers():
    def label(query_id, value, who="me", a="x", b="y"):
        return Label("battle", "docs", query_id, who, value, model_a=a, model_b=b, probability=0.5)

    battles, documents = answers(
        [
            label("q1", 1.0),
            label("q1", 0.0, who="you"),
            label("q2", 1.0, a="y", b="x"),
            label("q3", None),
        ]
    )

    assert not documents
    assert battles == {
        ("docs", "q1", "x", "y"): SampledLabel(0.5, pytest.approx(3.0)),
        ("docs", "q2", "x", "y"): SampledLabel(0.0, pytest.approx(3.0)),
    }


def test_a_correction_that_cannot_be_made_is_refused_with_its_reason(tmp_path):
    path, people = _log(tmp_path)
    battles, labels = load_battles([path]), _labels(people, 0.5)

    with pytest.raises(UsageError, match="davidson; only bt"):
        build_leaderboard(
            battles, people=labels, correct="battles", settings=RatingSettings(method="davidson")
        )
    with pytest.raises(UsageError, match="known probability"):
        build_leaderboard(battles, people=labels, correct="documents")
    documents = replace(labels, battles={}, documents={("docs", "q", "d"): SampledLabel(1.0, 1.0)})
    with pytest.raises(UsageError, match="no label of this kind has a known probability"):
        build_leaderboard(battles, people=documents, correct="battles")
    few = PeoplesLabels(people=1, battles=dict(list(labels.battles.items())[:3]))
    board = build_leaderboard(battles, people=few)
    assert board.correction is None
    assert any("3 labels of battles" in note for note in board.notes)


def _experiment(tmp_path: Path) -> Path:
    rankings = {
        "strong": ["good", "fair"],
        "middling": ["poor", "good"],
        "weak": ["poor", "other"],
        "fourth": ["fair", "poor"],
    }
    with LoopbackServer(fair_grader) as server:
        judge = llm(server.base_url, 'kind = "pointwise"\n')
        config = write_experiment(tmp_path, judge=judge, rankings=rankings, settings="top_k = 2\n")
        play(config).check()
    return config.parent / "runs" / "x"


def _write_document_labels(folder: Path, grades: dict[str, int]) -> None:
    rows = [
        {
            "event": "label",
            "unit": "document",
            "dataset": "docs",
            "query_id": q,
            "doc_id": f"{kind}-{q}",
            "who": "me",
            "value": grade,
            "probability": 1.0,
        }
        for q in QUERIES
        for kind, grade in grades.items()
    ]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_grades_of_people_move_the_ratings_of_an_experiment(tmp_path):
    folder = _experiment(tmp_path)
    agreeing, opposed = (
        {"good": 3, "fair": 2, "poor": 1, "other": 0},
        {
            "good": 0,
            "fair": 1,
            "poor": 2,
            "other": 3,
        },
    )
    options = ["rate", str(folder), "--prior", "0.5", "--json"]

    def rated(grades):
        _write_document_labels(folder, grades)
        result = CliRunner().invoke(main, options)
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    same, other = rated(agreeing), rated(opposed)

    assert same["correction"]["unit"] == "document"
    assert {r["model"]: r["corrected"] for r in same["overall"]} == pytest.approx(
        {r["model"]: r["rating"] for r in same["overall"]}, abs=1e-6
    )
    assert same["overall"][0]["model"] == "strong"
    assert other["overall"][0]["model"] == "weak"
    with (folder / "leaderboard.csv").open() as lines:
        assert "corrected" in next(csv.reader(lines))


def test_grades_of_people_correct_a_judge_of_lists_once_they_tell_models_apart(tmp_path):
    play(write_experiment(tmp_path)).check()
    folder = tmp_path / "runs" / "x"
    options = ["rate", str(folder), "--prior", "0.5"]

    _write_document_labels(folder, dict.fromkeys(("good", "fair", "poor", "other"), 2))
    alike = CliRunner().invoke(main, options)
    _write_document_labels(folder, {"good": 3, "fair": 2, "poor": 1, "other": 0})
    apart = CliRunner().invoke(main, options)

    assert "24 labels show no difference between the models yet; label more" in alike.output
    assert "by people: ratings corrected by 24 labels of documents" in apart.output


def test_an_llm_judge_without_labels_is_called_an_opinion_once(tmp_path):
    folder = _experiment(tmp_path)

    board = rate_files([folder])

    assert sum("of the judge's opinion" in note for note in board.notes) == 1
    with pytest.raises(UsageError, match=r"no labels\.jsonl"):
        rate_files([folder], correct="documents")


def test_no_correction_is_made_where_none_is_asked_for(tmp_path):
    path, people = _log(tmp_path)

    board = build_leaderboard(load_battles([path]), people=_labels(people, 0.5), correct="none")

    assert board.correction is None


def test_arrays_and_frames_of_labels_give_the_ratings_of_the_leaderboard(tmp_path):
    path, people = _log(tmp_path)
    battles = pd.read_json(path, lines=True)
    rng = np.random.default_rng(4)
    picked = rng.random(len(battles)) < 0.5
    answers_of = [
        people["all", q, *sorted((a, b))] == (a < b)
        for q, a, b in zip(battles.query_id, battles.model_a, battles.model_b, strict=True)
    ]
    said = ["first" if won else "second" for won in answers_of]
    given = [answer if own else None for answer, own in zip(said, picked, strict=True)]
    labels = battles[picked].assign(
        winner=["model_a" if answer == "first" else "model_b" for answer in given if answer],
        probability=0.5,
    )

    board = arena.rate(
        battles, labels=labels, settings=RatingSettings(position=False), correct="battles"
    )
    frame = arena.corrected_bradley_terry(
        battles.model_a,
        battles.model_b,
        ["first" if w == "model_a" else "second" for w in battles.winner],
        given,
        [0.5] * len(battles),
        query=battles.query_id,
    )

    assert board.correction.labels == picked.sum() == frame.attrs["correction"]["labels"]
    assert frame["corrected"].tolist() == [row.corrected for row in board.overall]
    assert frame["model"].tolist() == [row.model for row in board.overall]
    with pytest.raises(UsageError, match="no column probability"):
        arena.rate(battles, labels=labels.drop(columns="probability"))


def test_the_site_says_both_ratings_and_what_was_corrected(tmp_path):
    folder = _experiment(tmp_path)
    _write_document_labels(folder, {"good": 3, "fair": 2, "poor": 0, "other": 0})
    result = CliRunner().invoke(main, ["rate", str(folder), "--prior", "0.5"])
    assert result.exit_code == 0, result.output

    index = Path(arena.report(folder)).read_text("utf-8")

    assert "; by people" in index
    assert "24 labels of documents by 1 person" in index
