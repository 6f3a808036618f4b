"""The public data sets by name, and questions about contexts as a retrieval data set."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, get_args

import pytest
from hf_folders import jsonl_folder, write_parquet
from hub_server import HubServer, use_hub
from tables import each_row

from arena.config.datasets import DatasetConfig, PublicName
from arena.data.load import load_dataset
from arena.data.public import PUBLIC_SETS, from_squad
from arena.data.rows import Row
from arena.errors import DataError
from arena.records import Query

CONTEXTS = ["حمزة بن عبد المطلب", "Oslo er hovedstaden i Norge."]
ROWS: list[dict[str, Any]] = [
    {"id": "1", "title": "حمزة", "context": CONTEXTS[0], "question": "من هو حمزة؟"},
    {"id": "2", "title": "Oslo", "context": CONTEXTS[1], "question": "Hva er Oslo? "},
    {"id": "3", "title": "حمزة", "context": CONTEXTS[0], "question": "ابن من؟"},
]


def squad_rows(rows: list[dict[str, Any]]) -> list[Row]:
    return [Row(Path("t.parquet"), i, row) for i, row in enumerate(rows, start=1)]


def test_each_distinct_context_is_one_document_and_each_question_a_query() -> None:
    dataset = from_squad(squad_rows(ROWS), "arcd")

    assert [document.text for document in dataset.corpus.values()] == CONTEXTS
    assert [document.title for document in dataset.corpus.values()] == ["حمزة", "Oslo"]
    assert dataset.queries["2"] == Query("2", "Hva er Oslo?")
    first, second = dataset.corpus
    assert dataset.qrels == {"1": {first: 1}, "2": {second: 1}, "3": {first: 1}}


def test_ids_of_contexts_do_not_depend_on_the_order_of_rows() -> None:
    shuffled = random.Random(7).sample(ROWS, len(ROWS))

    assert from_squad(squad_rows(shuffled), "x").qrels == from_squad(squad_rows(ROWS), "x").qrels


@each_row(
    ("change", "message"),
    [
        ({"id": "1"}, r"t.parquet:2: id '1' occurs twice"),
        ({"question": " "}, r"t.parquet:2: question '2' has an empty text"),
        ({"context": None}, r"t.parquet:2: \"context\" is None"),
        ({"id": "a b"}, r"t.parquet:2: id 'a b'; TREC files"),
    ],
)
def test_a_bad_row_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_squad(squad_rows([ROWS[0], {**ROWS[1], **change}]), "x")


def test_every_public_name_of_the_configuration_has_its_place() -> None:
    assert set(PUBLIC_SETS) == set(get_args(PublicName))
    for known in PUBLIC_SETS.values():
        assert known.repo.count("/") == 1
        assert known.revision is None or len(known.revision) == 40


def test_a_set_of_questions_and_answers_is_fetched_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hub" / "hsseinmz" / "arcd"
    for split, rows in (("train", ROWS[:1]), ("validation", ROWS[1:])):
        write_parquet(folder / "plain_text" / f"{split}-00000-of-00001.parquet", rows)
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: plain_text\n  data_files:\n"
        "  - split: train\n    path: plain_text/train-*\n"
        "  - split: validation\n    path: plain_text/validation-*\n  default: true\n---\n"
    )
    with HubServer(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "cache")

        dataset = load_dataset(DatasetConfig(name="arabic", public="arcd"))

    assert dataset.name == "arabic"
    assert set(dataset.queries) == {"2", "3"}
    assert dataset.notes == (
        f'fetched at revision = "{hub.commit("hsseinmz/arcd")}", which pins it',
    )


def test_a_retrieval_set_is_fetched_by_its_name_at_a_revision_of_ones_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonl_folder(tmp_path / "hub" / "mteb" / "scifact")
    with HubServer(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "cache")
        revision = hub.commit("mteb/scifact")

        dataset = load_dataset(
            DatasetConfig(name="claims", public="scifact", split="train", revision=revision)
        )

    assert dataset.qrels == {"other": {"d1": 1}}


def test_the_revision_of_the_table_is_the_one_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonl_folder(tmp_path / "hub" / "mteb" / "scifact")
    with HubServer(tmp_path / "hub") as hub:
        use_hub(monkeypatch, hub.endpoint, tmp_path / "cache")

        with pytest.raises(DataError, match=r"mteb/scifact: has no revision 'd56462d0e63a"):
            load_dataset(DatasetConfig(name="claims", public="scifact"))
