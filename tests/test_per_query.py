from __future__ import annotations

import json

import pytest
from tables import each_row

from arena.errors import DataError
from arena.records import Dataset, Document, Query, Run, ScoredDoc
from arena.store.per_query import ShownList, measure_lists, read_lists, write_lists

DATASET = Dataset(
    name="d",
    corpus={
        "x": Document("x", "one two three four", title="a title"),
        "y": Document("y", "one"),
        "z": Document("z", "one two"),
    },
    queries={"q1": Query("q1", "?"), "q2": Query("q2", "?")},
    qrels={"q1": {"x": 1}},
)


def run(**rankings):
    scored = {
        query_id: tuple(ScoredDoc(doc_id, -rank) for rank, doc_id in enumerate(doc_ids))
        for query_id, doc_ids in rankings.items()
    }
    return Run("d", "m", scored)


def test_a_list_is_measured_as_far_as_the_judge_sees_it():
    lists = measure_lists(run(q1="yxz", q2="zy"), DATASET, top_k=2, document_words=3)

    assert lists["q1"].words == 1 + 2 + 3  # y; the title and three words of x; z is not shown
    assert lists["q1"].ndcg == pytest.approx(1 / 1.584962500721156)
    assert lists["q2"] == ShownList(None, 3)


def test_what_is_written_is_read_back(tmp_path):
    lists = {
        "a": {"q1": ShownList(0.5, 7), "q2": ShownList(None, 0)},
        "b": {"q2": ShownList(1.0, 3)},
    }

    write_lists(lists, tmp_path / "per_query.json")

    assert read_lists(tmp_path / "per_query.json") == lists


def test_no_file_is_no_lists(tmp_path):
    assert read_lists(tmp_path / "per_query.json") == {}


@each_row("tree", ["[", "{}", "[1]", {"query_ids": ["q"], "models": {"m": {}}}])
def test_a_damaged_file_is_an_error_with_its_remedy(tmp_path, tree):
    path = tmp_path / "per_query.json"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))

    with pytest.raises(DataError, match=r"per_query\.json: .*arena retrieve"):
        read_lists(path)
