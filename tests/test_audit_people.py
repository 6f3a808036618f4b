"""What people's labels tell of a judge whose faults are known."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from experiments import QUERIES, fair_grader, llm, play, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import LoopbackServer
from tables import each_row
from together import STATISTICS

import arena
from arena.auditing.audit import audit
from arena.auditing.report import render_audit, to_json
from arena.cli import main

pytestmark = STATISTICS

LEAD = {"lexical": 0.0, "dense": 0.3, "other": -0.3, "last": -0.5}
SECTIONS = [
    {"name": "lexical", "provider": "bm25"},
    {"name": "dense", "provider": "openai", "model": "text-embedding-3-small"},
    {"name": "other", "provider": "voyage", "model": "voyage-3.5"},
    {"name": "last", "command": "./search"},
]


def folder_of(path: Path, flattery: float, *, names=None, share=0.6, seed=3) -> Path:
    """An experiment whose judge flatters one model, and labels of two people on a sample."""
    names = names or {}
    rng = np.random.default_rng(seed)
    battles, labels = [], []
    for q in range(60):
        for number, (one, two) in enumerate(combinations(LEAD, 2)):
            lead = LEAD[one] - LEAD[two]
            flattered = lead + flattery * ((one == "lexical") - (two == "lexical"))
            judged, *said = rng.random(3) < 1 / (1 + np.exp([-2 * flattered, -2 * lead, -2 * lead]))
            first, second = (one, two) if (q + number) % 2 else (two, one)
            about = {
                "dataset": "docs",
                "query_id": f"q{q}",
                "model_a": names.get(first, first),
                "model_b": names.get(second, second),
            }
            winner = "model_a" if judged == (first == one) else "model_b"
            battles.append({**about, "winner": winner, "judge": "gpt-4o", "id": f"{q}-{number}"})
            if rng.random() < share:
                for who, answer in zip(("me", "you"), said, strict=True):
                    value = float(answer == (first == one))
                    more = {"who": who, "value": value, "probability": share}
                    labels.append({"event": "label", "unit": "battle", **about, **more})
    path.mkdir(parents=True, exist_ok=True)
    sections = [{**s, "name": names.get(s["name"], s["name"])} for s in SECTIONS]
    config = {"datasets": [{"name": "docs"}], "models": sections, "judge": {"model": "gpt-4o"}}
    (path / "manifest.json").write_text(json.dumps({"config": config}))
    for name, rows in (("battles", battles), ("labels", labels)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_judge_that_flatters_lexical_models_is_found(tmp_path):
    card = audit(folder_of(tmp_path / "x", 2.0))

    bias = card.figure("lexical_bias").estimate
    assert bias.lower > 0.1
    model = card.figure("model_bias")
    assert model.parts[0].name == "lexical"
    assert model.parts[0].lower > 0
    assert model.estimate.value == model.parts[0].value
    assert "lexical: the judge gives" in model.meaning
    assert card.figure("judge_error").estimate.lower > 10
    assert "0 to 21 Elo (sd) on TREC topics; yours by" in card.figure("judge_error").meaning
    assert card.figure("family_bias").estimate.value < 0, "dense is of the judge's maker"


def test_a_judge_that_errs_as_people_do_has_no_bias(tmp_path):
    card = audit(folder_of(tmp_path / "x", 0.0))

    assert all(part.lower < 0 < part.upper for part in card.figure("model_bias").parts)
    same = card.figure("judge_as_person")
    assert same.estimate.lower < 0 < same.estimate.upper
    assert "as people do with each other" in same.meaning


@settings(max_examples=4)
@given(st.permutations(["a", "b", "y", "z"]), st.integers(0, 99))
def test_figures_do_not_depend_on_how_models_are_spelt(tmp_path_factory, spelt, seed):
    names = dict(zip(LEAD, spelt, strict=True))
    folder = tmp_path_factory.mktemp("renamed")

    plain = audit(folder_of(folder / "plain", 1.0, seed=seed))
    renamed = audit(folder_of(folder / "renamed", 1.0, names=names, seed=seed))

    keys = ["people_accuracy", "people_kappa", "people_ac1", "people_agreement", "people_alpha"]
    for key in [*keys, "people_among_ac1", "judge_as_person", "lexical_bias", "family_bias"]:
        one, two = (card.figure(key).estimate for card in (plain, renamed))
        assert (one.value, one.lower) == pytest.approx((two.value, two.lower), abs=1e-9), key
    biases = {names[p.name]: p.value for p in plain.figure("model_bias").parts}
    assert {p.name: p.value for p in renamed.figure("model_bias").parts} == pytest.approx(biases)


def test_an_item_weighs_one_over_its_probability(tmp_path):
    folder = folder_of(tmp_path / "x", 0.0)
    rows = [json.loads(line) for line in (folder / "battles.jsonl").read_text().splitlines()]

    def label(row, *, agrees, probability):
        value = float((row["winner"] == "model_a") == agrees)
        about = {k: row[k] for k in ("dataset", "query_id", "model_a", "model_b")}
        more = {"who": "me", "value": value, "probability": probability}
        return {"event": "label", "unit": "battle", **about, **more}

    labels = [label(row, agrees=True, probability=0.25) for row in rows[:60]]
    labels += [label(row, agrees=False, probability=1.0) for row in rows[60:120]]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labels))

    accuracy = audit(folder).figure("people_accuracy").estimate

    assert (accuracy.value, accuracy.n) == (pytest.approx(0.8), 120)


def graded(tmp_path: Path, grades: dict[str, int]) -> Path:
    rankings = {"strong": ["good", "fair"], "middling": ["poor", "good"], "weak": ["poor", "other"]}
    with LoopbackServer(fair_grader) as server:
        judge = llm(server.base_url, 'kind = "pointwise"\n')
        config = write_experiment(tmp_path, judge=judge, rankings=rankings, settings="top_k = 2\n")
        play(config).check()
    folder = config.parent / "runs" / "x"
    about = {"event": "label", "unit": "document", "dataset": "docs", "who": "me"}
    rows = [
        {**about, "query_id": q, "doc_id": f"{kind}-{q}", "value": grade, "probability": 1.0}
        for q in QUERIES
        for kind, grade in grades.items()
    ]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_grades_of_documents_are_counted_against_peoples(tmp_path):
    """The judge gives good 3, fair 2, poor 1, other 0; people call fair and good alike."""
    folder = graded(tmp_path, {"good": 2, "fair": 1, "poor": 2, "other": 0})

    card = audit(folder)

    value = {f.key: f.estimate.value for f in card.figures if f.estimate}
    assert value["sensitivity_2"] == 1 / 2, "of good and poor, good"
    assert value["specificity_2"] == 1 / 2, "of fair and other, other"
    assert value["sensitivity_1"] == 1.0
    assert value["specificity_1"] == 1.0
    assert value["grade_accuracy"] == 1 / 2
    assert value["grade_error"] == pytest.approx(1 / 4)
    tree = to_json(card)["figures"]["grade_error"]["table"]
    assert tree[2] == [0, 1 / 4, 0, 1 / 4]
    assert np.sum(tree) == pytest.approx(1)
    assert value["model_bias"] != 0
    assert "model_bias" in Path(arena.report(folder)).with_name("judge.html").read_text("utf-8")


@each_row(
    "line",
    ['{"event": "label"}', "[]", "{", '{"unit": 7}', '{"event":"label","unit":"battle","value":9}'],
)
def test_a_line_that_is_no_label_is_one_line_of_error(tmp_path, line):
    folder = folder_of(tmp_path / "x", 0.0)
    with (folder / "labels.jsonl").open("a") as file:
        file.write(line + "\n")

    result = CliRunner().invoke(main, ["audit", str(folder)])

    assert result.exit_code == 2
    assert "labels.jsonl:" in result.output
    assert len(result.output.splitlines()) == 1


def test_names_of_labels_are_inert_in_the_terminal(tmp_path):
    folder = folder_of(tmp_path / "x", 2.0, names={"lexical": "\x1b[31mred[/]"})

    text = render_audit(audit(folder))

    assert "\x1b" not in text


def test_queries_that_joined_after_the_last_label_are_told(tmp_path):
    folder = folder_of(tmp_path / "x", 0.0)

    def write(name, at):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        kept = [{**row, "at": at(row)} for row in rows if name[0] == "b" or at(row) < "2026-05"]
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in kept))

    def late(row):
        return row["query_id"] in ("q7", "q8")

    write("battles.jsonl", lambda row: "2026-06" if late(row) else "2026-01")
    write("labels.jsonl", lambda row: "2026-06" if late(row) else "2026-03")

    told = [note for note in audit(folder).notes if "after the last label" in note]

    assert [note[:12] for note in told] == ["2 of 60 quer"]
    assert any("after the last label" in note for note in arena.rate(folder).notes)


def test_a_frame_of_labels_gives_the_figures_of_the_same_labels_on_disk(tmp_path):
    folder = folder_of(tmp_path / "x", 1.0)
    rows = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    frame = pd.DataFrame(rows)
    frame["winner"] = frame["value"].map({1.0: "model_a", 0.0: "model_b"})
    by_folder = {f.key: f.estimate for f in audit(folder).figures}
    (folder / "labels.jsonl").unlink()

    card = arena.audit(folder, labels=frame)

    for key in ("people_accuracy", "people_ac1", "judge_as_person", "model_bias", "judge_error"):
        assert card.figure(key).estimate == by_folder[key]
