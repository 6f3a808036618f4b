"""Whole experiments with every kind of judge, on a loopback server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_judges import asked, word
from experiments import QUERIES, QUIET, llm, write_experiment
from loopback import Answer, LoopbackServer, verdict

from arena.errors import GateError
from arena.experiment.live import battle
from arena.records import Battle
from arena.store.log_lines import read_battles

RANKINGS = {"strong": ["good", "fair"], "middling": ["fair", "poor"], "weak": ["poor", "other"]}
N_BATTLES = 6 * len(QUERIES)


def reader(body: dict[str, Any], attempt: int) -> Answer:
    """Grades a document by what it says of itself, if it is for this query at all."""
    query = asked(body).split("what is ")[1][:2]
    worth = {"good": "3", "fair": "2", "poor": "1"}
    found = [
        grade for kind, grade in worth.items() if f"a {kind} document for {query}" in asked(body)
    ]
    return word(found[0] if found else "0")


def played(folder: Path, judge: str) -> list[Battle]:
    battle(write_experiment(folder, judge=judge, rankings=RANKINGS), QUIET)
    return list(read_battles(folder / "runs" / "x" / "battles.jsonl"))


def test_a_pointwise_experiment_reads_each_document_once_and_the_next_one_none(tmp_path: Path):
    with LoopbackServer(reader) as server:
        judge = llm(server.base_url, 'kind = "pointwise"\ngate = true\n')
        first = played(tmp_path / "one", judge)
        n_calls = len(server.requests)
        again = played(tmp_path / "two", judge)

        assert len(server.requests) == n_calls
    # Four documents a query; the controls of the gate set six good ones against another query.
    assert n_calls <= 4 * len(QUERIES) + 2 * len(QUERIES)
    assert len(first) == len(again) == N_BATTLES
    assert {b.winner for b in first if b.model_a == "strong"} == {"model_a"}
    assert [b.winner for b in first] == [b.winner for b in again]
    assert {b.source for b in again} == {"cache"}
    assert sum(b.cost_usd for b in again) == 0 < sum(b.cost_usd for b in first)


def test_grades_are_kept_beside_the_battles(tmp_path: Path):
    with LoopbackServer(reader) as server:
        played(tmp_path, llm(server.base_url, 'kind = "pointwise"\n'))
        n_calls = len(server.requests)

    lines = (tmp_path / "runs" / "x" / "grades.jsonl").read_text().splitlines()
    grades = [json.loads(line) for line in lines]
    assert len(grades) == n_calls == 4 * len(QUERIES)
    assert {g["grade"] for g in grades if g["doc_id"].startswith("good")} == {3.0}
    assert sum(g["cost_usd"] for g in grades) == pytest.approx(n_calls * 140e-6)


@pytest.mark.parametrize("answer", ["json", "letter"])
def test_a_judge_of_lists_that_only_sees_the_first_is_refused_before_any_battle(
    tmp_path: Path, answer: str
):
    said = verdict("first") if answer == "json" else word("A", {"A": 0.9, "B": 0.1})
    with LoopbackServer(lambda *_: said) as server, pytest.raises(GateError, match="100% flipped"):
        played(tmp_path, llm(server.base_url, f'answer = "{answer}"\ngate = true\n'))

    battles = tmp_path / "runs" / "x" / "battles.jsonl"
    assert not battles.exists() or not battles.read_text()
    assert len(server.requests) == 2 * len(QUERIES)
    assert '"passed": false' in (tmp_path / "runs" / "x" / "manifest.json").read_text()


def test_letters_leave_their_probabilities_in_the_log(tmp_path: Path):
    with LoopbackServer(lambda *_: word("A", {"A": 0.9, "B": 0.1})) as server:
        battles = played(tmp_path, llm(server.base_url, 'answer = "letter"\n'))

    assert {b.winner for b in battles} == {"model_a"}
    assert all(b.probs and b.probs.first == pytest.approx(0.9) for b in battles)
