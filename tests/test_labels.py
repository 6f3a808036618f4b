"""labels.jsonl: what people say, and the probability that each item was asked about."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tables import each_row

from arena.errors import DataError
from arena.store.labels import Label, LabelLine, append_labels, label_lock, read_labels

LINE = LabelLine(
    event="label",
    unit="document",
    dataset="d",
    query_id="q1",
    doc_id="a",
    who="ann",
    value=2.0,
    at="2026-01-01T00:00:00.000Z",
    seconds=4.5,
    draw="x",
    seed=1,
    size=0.5,
    rank=0.2,
    next_rank=0.4,
)


def written(folder, *lines):
    with label_lock(folder):
        append_labels(folder, lines)
    return read_labels(folder)


def test_a_folder_without_labels_has_none(tmp_path):
    assert read_labels(tmp_path) == ()


def test_a_label_is_read_as_it_was_written(tmp_path):
    (label,) = written(tmp_path, LINE)

    assert label == Label(
        unit="document",
        dataset="d",
        query_id="q1",
        who="ann",
        value=2.0,
        doc_id="a",
        probability=0.5 * 0.4,
        at="2026-01-01T00:00:00.000Z",
        seconds=4.5,
    )


def test_the_probability_of_every_label_grows_with_the_items_that_were_asked(tmp_path):
    written(tmp_path, LINE)
    later = replace(LINE, doc_id="b", size=1.5, rank=0.4, next_rank=0.8)

    first, second = written(tmp_path, later)

    assert (first.probability, second.probability) == (0.5 * 0.8, 1.0)


def test_all_labels_are_certain_once_the_last_item_of_the_order_was_asked(tmp_path):
    first, second = written(
        tmp_path, LINE, replace(LINE, doc_id="b", size=1e-9, rank=0.4, next_rank=None)
    )

    assert (first.probability, second.probability) == (1.0, 1.0)


def test_the_last_line_of_an_item_and_person_counts(tmp_path):
    labels = written(tmp_path, LINE, replace(LINE, who="bob", value=None), replace(LINE, value=0.0))

    assert [(label.who, label.value) for label in labels] == [("bob", None), ("ann", 0.0)]


def test_an_undone_label_is_gone_and_its_place_counts_for_nothing(tmp_path):
    later = replace(LINE, doc_id="b", rank=0.4, next_rank=0.8)

    (label,) = written(tmp_path, LINE, later, replace(later, event="undo", value=None))

    assert (label.doc_id, label.probability) == ("a", 0.5 * 0.4)


def test_an_item_of_two_draws_has_the_higher_of_their_probabilities(tmp_path):
    again = replace(LINE, event="pass", who="", value=None, draw="y", size=0.9, next_rank=0.5)
    only = replace(LINE, doc_id="b", draw="y", size=0.8, rank=0.1, next_rank=0.3)

    both, other = written(tmp_path, LINE, again, only)

    assert (both.probability, other.probability) == (0.9 * 0.5, 0.8 * 0.5)


@pytest.mark.parametrize("probability", [None, 0.25])
def test_a_label_made_elsewhere_keeps_the_probability_that_was_stated(tmp_path, probability):
    made = LabelLine("label", "document", "d", "q1", "a", who="x", value=1.0)

    _, label = written(tmp_path, LINE, replace(made, probability=probability))

    assert label.probability == probability


def test_two_labels_of_a_battle_meet_whichever_list_was_first(tmp_path):
    battle = replace(LINE, unit="battle", doc_id=None, model_a="m", model_b="n", value=1.0)

    first, second = written(
        tmp_path, battle, replace(battle, who="bob", model_a="n", model_b="m", value=0.0)
    )

    assert first.item == second.item
    assert (second.model_a, second.value) == ("n", 0.0)


def test_an_unfinished_last_line_is_not_read_and_is_cut_before_the_next(tmp_path):
    written(tmp_path, LINE)
    with (tmp_path / "labels.jsonl").open("ab") as file:
        file.write(b'{"event":"label","unit":"docu')

    assert len(read_labels(tmp_path)) == 1
    assert len(written(tmp_path, replace(LINE, doc_id="b"))) == 2


GOOD = {
    "event": "label",
    "unit": "document",
    "dataset": "d",
    "query_id": "q",
    "doc_id": "x",
    "who": "a",
    "value": 1,
}


@each_row(
    ("damage", "problem"),
    [
        ({"unit": "page"}, '"unit": Input should be'),
        ({"value": "2"}, '"value": Input should be'),
        ({"doc_id": None}, "a document without a doc_id"),
        ({"who": ""}, 'no "who"'),
        ({"value": 4}, "value 4.0; expected 0 to 3"),
        ({"unit": "battle"}, "a battle without model_a and model_b"),
        (
            {"unit": "battle", "model_a": "m", "model_b": "n", "value": 0.4},
            "value 0.4; expected 1, 0.5 or 0",
        ),
        ({"probability": 0}, "probability 0.0; expected above 0 and at most 1"),
        ({"draw": "z"}, "a drawn item without size and rank"),
    ],
)
def test_a_line_that_is_no_label_is_named_with_its_file_and_number(tmp_path, damage, problem):
    written(tmp_path, LINE)
    with (tmp_path / "labels.jsonl").open("a") as file:
        file.write(f"{json.dumps(GOOD | damage)}\n")

    with pytest.raises(DataError) as caught:
        read_labels(tmp_path)

    assert "labels.jsonl:2: " in str(caught.value)
    assert problem in str(caught.value)


def test_a_line_that_is_no_json_is_named(tmp_path):
    (tmp_path / "labels.jsonl").write_text("{\n")

    with pytest.raises(DataError, match=r"labels\.jsonl:1: .* `arena label` asks a person about"):
        read_labels(tmp_path)
