"""Battle logs made elsewhere, in the shapes in which others write them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from one_duckdb import one_duckdb
from tables import each_row

import arena
from arena.battles.coded_columns import MODEL_A, TIE
from arena.battles.load import Battles, from_frame, load_battles
from arena.cli import main
from arena.errors import ArenaError, DataError

Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True, scope="module")
def _one_duckdb():
    with one_duckdb():
        yield


def as_csv(rows: Rows) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_jsonl(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def load(folder: Path, name: str, content: Any) -> Battles:
    path = folder / name
    if not isinstance(content, str | bytes):
        content = json.dumps(content, indent=1)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_battles([path])


def outcomes(battles: Battles) -> list[str]:
    """``x > y``: x, shown first, won against y; in order."""
    return [
        f"{battles.models[a]} {'><='[winner]} {battles.models[b]}"
        for a, b, winner in zip(battles.model_a, battles.model_b, battles.winner, strict=True)
    ]


def rows(names: str, *cells: str) -> Rows:
    """Rows of a small table of words; ``-`` is an empty cell."""
    header = names.split()
    return [
        dict(zip(header, (None if word == "-" else word for word in line.split()), strict=True))
        for line in cells
    ]


WON, LOST, TIED = "x > y", "x < y", "x = y"

FLAT = {
    "agents, as RAGElo has them": (
        [
            {"qid": 1, "agent_a": "x", "agent_b": "y", "raw_answer": "long " * 30, "answer": "A"},
            {"qid": 2, "agent_a": "x", "agent_b": "y", "raw_answer": "[[B]]" * 30, "answer": "B"},
            {"qid": 2, "agent_a": "y", "agent_b": "x", "raw_answer": "so " * 30, "answer": "C"},
        ],
        [WON, LOST, "y = x"],
        2,
    ),
    "one-hot, as LMSYS has them": (
        [
            {
                "id": i,
                "model_a": "x",
                "model_b": "y",
                "prompt": f'["what is {i % 2}?"]',
                "response_a": "r" * 99,
                "response_b": "s",
                **dict(zip(("winner_model_a", "winner_model_b", "winner_tie"), flags, strict=True)),
            }
            for i, flags in enumerate([(1, 0, 0), (0, 1, 0), (0, 0, 1)])
        ],
        [WON, LOST, TIED],
        2,
    ),
    "sides": (
        rows("model_left model_right winner", "x y left", "x y model_right", "x y draw"),
        [WON, LOST, TIED],
        3,
    ),
    "systems": (
        rows("system_a system_b preference prompt_id", "x y [[A]] 1", "x y B 1", "x y equal 2"),
        [WON, LOST, TIED],
        2,
    ),
    "bare letters": (
        rows("a b winner task_id", "x y a 1", "x y y 1", "x y tie 2"),
        [WON, LOST, TIED],
        2,
    ),
    "bare places": (
        rows("first second better question", "x y first q", "x y second q", "x y both r"),
        [WON, LOST, TIED],
        2,
    ),
    "models of answers": (
        rows(
            "response_a_model response_b_model response_a response_b verdict",
            *("x y text text response_a", "x y text text Response-B", "x y text text C"),
        ),
        [WON, LOST, TIED],
        3,
    ),
    "names in capitals": (
        rows("ModelA ModelB Outcome", "x y ModelA", "x y modelB", "x y Tie"),
        [WON, LOST, TIED],
        3,
    ),
    "names of models": (
        rows("model_1_name model_2_name winner_name", "x y x", "x y y", "y x x"),
        [WON, LOST, "y < x"],
        3,
    ),
    "numbers": (
        rows("retriever_1 retriever_2 vote", "x y 1", "x y 2", "x y tie"),
        [WON, LOST, TIED],
        3,
    ),
    "numbers from 0": (
        rows("model_0 model_1 winner", "x y 0", "x y 1", "x y tie"),
        [WON, LOST, TIED],
        3,
    ),
    "scores of the first": (
        rows("system_1 system_2 score", "x y 1", "x y 0", "x y 0.5"),
        [WON, LOST, TIED],
        3,
    ),
    "a score for each": (
        rows("model_1 model_2 score_1 score_2", "x y 7 5.5", "x y 7 10", "x y 7.0 7", "x y 7 -"),
        [WON, LOST, TIED],
        3,
    ),
    "a baseline": (
        rows("model baseline result uid", "x y win 1", "x y loss 1", "x y tie 2", "x y y 2"),
        [WON, LOST, TIED, LOST],
        2,
    ),
    "a win against a reference": (
        rows("model reference_model win", "x y true", "x y false"),
        [WON, LOST],
        2,
    ),
    "wins as flags": (
        rows("agent_a agent_b a_wins b_wins tie", "x y true false false", "x y false true false"),
        [WON, LOST],
        2,
    ),
    "a flag that lists were swapped": (
        rows("model_1 model_2 winner is_swapped", "x y model_1 true", "x y model_2 false"),
        ["y < x", LOST],
        2,
    ),
    "a flag for ties beside names": (
        rows("agent_a agent_b winner is_tie", "x y x 0", "x y y 0", "x y - 1"),
        [WON, LOST, TIED],
        3,
    ),
    "sides of a board": (
        rows("white black result", "x y 1-0", "x y 0-1", "x y 1/2-1/2"),
        [WON, LOST, TIED],
        3,
    ),
    "a comparison by people": (
        rows("id prompt model1 model2 comparison", "1 p x y left", "2 p x y right"),
        [WON, LOST],
        1,
    ),
    "a label beside the name of a comparison": (
        rows("model1 model2 comparison label", "x y x-y left", "x y x-y tie"),
        [WON, TIED],
        2,
    ),
    "a verdict on each order": (
        rows("model_a model_b winner winner_swapped", "x y model_a model_b", "x y y tie"),
        [WON, "y > x", LOST, "y = x"],
        4,
    ),
    "grades of a choice": (
        rows("session_id model_A model_B choice", "1 x y A++", "2 x y A=B", "3 x y B+"),
        [WON, TIED, LOST],
        3,
    ),
    "scores with a decimal comma": (
        rows("model_1 model_2 score_1 score_2", "x y 0,5 0,25", "x y 1,0 1"),
        [WON, TIED],
        2,
    ),
    "a flag for ties beside columns that are named as ours": (
        rows("model_a model_b winner both_bad is_tie", "x y x 0 0", "x y - 1 0", "x y - 0 yes"),
        [WON, TIED, TIED],
        3,
    ),
    "one judge's own winner": (
        rows("model_1 model_2 gpt4_winner reason", "x y model_1 so", "x y model_2 so"),
        [WON, LOST],
        2,
    ),
    "no verdict": (
        rows("agent_a agent_b answer", "x y A", "x y -", "x y error", "x y B"),
        [WON, LOST],
        2,
    ),
}


def in_every_form(table, folder):
    """Yield form → battles, of the same table."""
    yield "frame", from_frame(pd.DataFrame(table))
    pd.DataFrame(table).to_parquet(folder / "log.parquet")
    yield "parquet", load_battles([folder / "log.parquet"])
    content = {
        "csv": as_csv(table),
        "jsonl": as_jsonl(table),
        "json": json.dumps(table),
        "json.gz": gzip.compress(json.dumps(table).encode("utf-16")),
    }
    for form, text in content.items():
        yield form, load(folder, f"log.{form}", text)


@each_row("shape", FLAT)
def test_tables_of_other_makes_give_their_battles_in_every_form(tmp_path, shape):
    table, expected, n_queries = FLAT[shape]

    for form, battles in in_every_form(table, tmp_path):
        assert outcomes(battles) == expected, form
        assert battles.n_queries == n_queries, form
        assert any("winner" in note or "wins" in note for note in battles.notes), form


@each_row(
    "table",
    [
        rows("model_a model_b winner presented_first", "x y model_a y", "x y model_b x"),
        rows("model_a model_b winner left_model", "x y x y", "x y y x"),
        rows("model_a model_b winner order", "x y x BA", "x y y AB"),
        rows("system_1 system_2 verdict order", "x y system_1 swapped", "x y system_2 original"),
    ],
)
def test_a_column_that_tells_whose_list_was_shown_first_is_used(tmp_path, table):
    battles = load(tmp_path, "log.csv", as_csv(table))

    assert outcomes(battles) == ["y < x", LOST]
    assert any("tells whose list was shown first" in note for note in battles.notes)


def test_a_column_called_as_an_order_that_tells_none_means_nothing(tmp_path):
    table = rows("model_a model_b winner order first tie", "x y A 1 0.7 0.1", "x y tie 2 0.1 0.8")

    assert outcomes(load(tmp_path, "log.csv", as_csv(table))) == [WON, TIED]


def test_a_model_may_be_an_object_with_a_name(tmp_path):
    table = [{"model_a": {"name": "x"}, "model_b": {"name": "y"}, "winner": "model_b"}]

    for name, content in (("log.jsonl", as_jsonl(table)), ("log.json", json.dumps(table))):
        assert outcomes(load(tmp_path, name, content)) == [LOST]


def test_a_column_called_as_a_tie_that_is_no_flag_means_nothing(tmp_path):
    table = rows("model_a model_b winner both ties", "x y x text 7", "x y tie words 1")

    assert outcomes(load(tmp_path, "log.csv", as_csv(table))) == [WON, TIED]


def annotation(preference: float | None, i: int = 0) -> dict[str, Any]:
    told = {"instruction": f"do {i}", "output_1": "o", "output_2": "p", "dataset": "helpful"}
    models = {"generator_1": "x", "generator_2": "y", "annotator": "gpt4"}
    return {**told, **models, "preference": preference, "raw_completion": "long " * 50}


def judged(*scores: str | None, **more: Any) -> dict[str, Any]:
    games = [{"score": score, "judgment": {"answer": "..."}} for score in scores]
    return {"uid": "u1", "model": "y", "baseline": "x", "judge": "j", "games": games, **more}


def without_baseline(row: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in row.items() if name != "baseline"}


def pair(first: str, second: str) -> dict[str, Any]:
    told = {"question_id": 81, "model_1": "x", "model_2": "y", "judge": ["gpt-4", "pair-v2"]}
    return {**told, "g1_winner": first, "g2_winner": second, "g1_judgment": "long " * 50}


def arena_battle(winner: str) -> dict[str, Any]:
    talk = [{"role": "user", "content": "hi"}]
    told = {"question_id": "q", "model_a": "x", "model_b": "y", "winner": winner}
    return {**told, "judge": "u", "conversation_a": talk, "conversation_b": talk}


def mteb_vote(word: str) -> dict[str, Any]:
    told = {"type": word, "models": ["", ""], "0_model_name": "x", "1_model_name": "y"}
    return {**told, "0_prompt": ["what?"], "1_prompt": ["what?"]}


NESTED = {
    "alpaca_eval's annotations": (
        [annotation(each, i) for i, each in enumerate([1, 2, 1.5, 0, None])],
        [WON, LOST, TIED, TIED],
        "1 of 5 verdicts are missing",
    ),
    "arena-hard's judgments": (
        [
            judged("A>>B", "B>A"),
            judged("A=B", "A>B"),
            judged("B>A", None),
            judged(games=[None] * 2),
        ],
        [WON, "y < x", TIED, "y > x", LOST],
        "3 of 8 verdicts are missing",
    ),
    "arena-hard's judgments under a baseline": (
        {"baseline": "z", "n": 1, "judgments": [without_baseline(judged("[[A>B]]", "A<<B"))]},
        ["z > y", "y < z"],
        "baseline is shown first",
    ),
    "MT-bench's pairs": (
        [pair("model_1", "model_1"), pair("model_2", "tie"), pair("error", "model_2")],
        [WON, "y < x", LOST, "y = x", "y > x"],
        "1 of 6 verdicts are missing",
    ),
    "Chatbot Arena's battles": (
        [arena_battle(word) for word in ("model_a", "model_b", "tie", "tie (bothbad)")],
        [WON, LOST, TIED, TIED],
        "question_id",
    ),
    "one battle": (arena_battle("model_b"), [LOST], "question_id"),
    "MTEB Arena's votes": (
        [mteb_vote(word) for word in ("leftvote", "rightvote", "tievote", "bothbadvote")],
        [WON, LOST, TIED, TIED],
        'queries are told apart by the column "0_prompt"',
    ),
    "a list in an object": (
        {"version": 3, "winner": "y", "battles": rows("agent_a agent_b verdict", "x y A")},
        [WON],
        "agent_a",
    ),
    "a list deeper in an object": (
        {"meta": {"tags": []}, "results": {"judge": "j", "battles": [arena_battle("tie")]}},
        [TIED],
        "question_id",
    ),
    "models given once for all": (
        {"model_a": "x", "model_b": "y", "battles": [{"qid": 1, "winner": "A"}]},
        [WON],
        "qid",
    ),
    "objects in rows": (
        [{"a": {"model": "x", "text": "t"}, "b": {"model": "y", "text": "t"}, "winner": "a"}],
        [WON],
        "a.model and b.model",
    ),
    "an object of both": (
        [{"models": {"A": "x", "B": "y"}, "winner": "B"}],
        [LOST],
        "models.A and models.B",
    ),
    "lists of both": (
        [
            {"models": ["x", "y"], "winner": 0},
            {"models": ["x", "y"], "winner": "y"},
            {"models": ["x", "y"], "winner": "tie"},
        ],
        [WON, LOST, TIED],
        "models.0 and models.1",
    ),
    "scores of both": (
        [{"models": ["x", "y"], "scores": [2, 1.5]}, {"models": ["x", "y"], "scores": [1, 1]}],
        [WON, TIED],
        "the higher of scores.0 and scores.1 wins",
    ),
    "columns": (
        {"model_a": ["x", "y"], "model_b": ["y", "x"], "winner": ["model_a", "tie"]},
        [WON, "y = x"],
        "",
    ),
    "columns as pandas writes them": (
        json.loads(pd.DataFrame(rows("a b winner", "x y a", "x y b")).to_json()),
        [WON, LOST],
        "a and b",
    ),
    "rows as pandas splits them": (
        json.loads(pd.DataFrame(rows("a b winner", "x y a")).to_json(orient="split")),
        [WON],
        "a and b",
    ),
    "rows by their key": (
        {"r1": arena_battle("tie"), "r2": arena_battle("model_a")},
        [TIED, WON],
        "question_id",
    ),
}


@each_row("shape", NESTED)
def test_json_of_other_makes_gives_its_battles(tmp_path, shape):
    content, expected, note = NESTED[shape]

    battles = load(tmp_path, "log.json", content)

    assert outcomes(battles) == expected
    assert any(note in each for each in battles.notes)
    if isinstance(content, list):
        assert outcomes(load(tmp_path, "log.jsonl", as_jsonl(content))) == expected
        assert outcomes(load(tmp_path, "array.jsonl", json.dumps(content))) == expected
        assert outcomes(load(tmp_path, "lines.json", as_jsonl(content))) == expected
        assert outcomes(from_frame(pd.DataFrame(content))) == expected


def test_games_survive_parquet_and_csv(tmp_path):
    table = [judged("A>>B", "B>A"), judged("A=B", None)]
    pd.DataFrame(table).to_parquet(tmp_path / "log.parquet")
    as_text = [{**row, "games": json.dumps(row["games"])} for row in table]

    from_parquet = load_battles([tmp_path / "log.parquet"])

    assert outcomes(from_parquet) == [WON, "y < x", TIED]
    assert outcomes(load(tmp_path, "log.csv", as_csv(as_text))) == outcomes(from_parquet)


def test_a_preference_between_the_models_is_a_probability(tmp_path):
    table = [annotation(each, i) for i, each in enumerate([1.25, 1.75, 1.5])]

    battles = load(tmp_path, "annotations.json", table)

    assert outcomes(battles) == [WON, LOST, TIED]
    assert battles.probs.tolist() == [[0.75, 0.25, 0], [0.25, 0.75, 0], [0.5, 0.5, 0]]
    assert battles.judges == ("gpt4",)


def test_chosen_models_win_and_stand_in_either_place(tmp_path):
    table = rows("prompt chosen_model rejected_model chosen rejected", *["p x y text text"] * 4)

    battles = load(tmp_path, "log.csv", as_csv(table))

    assert Counter(outcomes(battles)) == {WON: 2, "y < x": 2}
    winners = load(tmp_path, "b.csv", as_csv(rows("winner loser", "x y", "y x")))
    assert Counter(outcomes(winners)) in ({LOST: 1, "y < x": 1}, {WON: 1, "y > x": 1})


def test_the_commands_and_the_api_rate_them(tmp_path):
    path = tmp_path / "judgments.json"
    table = [pair("model_1", "model_1"), pair("model_2", "tie"), pair("tie", "model_2")]
    path.write_text(json.dumps({"judgments": [*table, pair("error", "model_1")]}))

    done = CliRunner().invoke(main, ["rate", str(path), "--json"])
    frame = arena.rate(path).to_frame().set_index("model")

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    counts = {row["model"]: (row["wins"], row["losses"], row["ties"]) for row in told["overall"]}
    assert counts == {"x": (3, 2, 2), "y": (2, 3, 2)}
    assert frame.loc["x", ["wins", "losses", "ties"]].tolist() == [3, 2, 2]
    assert any("1 of 8 verdicts are missing" in note for note in told["notes"])
    assert not any("does not say whose list was shown first" in note for note in told["notes"])


ERRORS = {
    "two flags": (
        "log.csv",
        as_csv(rows("model_a model_b win_a win_b tie", "x y 1 0 0", "x y 1 1 0")),
        r"log.csv:3: win_a is 1, win_b is 1, tie is 0; expected 1 in exactly one",
    ),
    "no flag": (
        "log.csv",
        as_csv(rows("model_a model_b win_a win_b", "x y 1 0", "x y 0 0")),
        r"log.csv:3: win_a is 0, win_b is 0; expected 1 in exactly one",
    ),
    "counts as flags": (
        "log.csv",
        as_csv(rows("model_a model_b win_a win_b", "x y 5 3")),
        r"log.csv:2: win_a is '5'; expected 0 or 1",
    ),
    "an unknown word": (
        "log.json",
        json.dumps(rows("agent_a agent_b answer", "x y A", "x y Z"), indent=1),
        r"log.json:7: winner is 'Z'; expected model_a",
    ),
    "an unknown word in an object": (
        "log.json",
        json.dumps({"m": {"l": [{}]}, "all": rows("a b winner", "x y a", "x y Z")}, indent=1),
        r"log.json:13: winner is 'Z'; expected model_a",
    ),
    "0 and 1": (
        "log.csv",
        as_csv(rows("model_1 model_2 winner", "x y 1", "x y 0")),
        r"log.csv:3: winner is '0'; .*such a number may mean any",
    ),
    "labels of models from 0": (
        "log.csv",
        as_csv(rows("model_0 model_1 label", "x y 1")),
        r"log.csv:2: label is 1; such a number may mean either",
    ),
    "a letter beside an order": (
        "log.csv",
        as_csv(rows("model_a model_b winner order", "x y A AB", "x y A BA")),
        r"log.csv:3: winner is 'A'; in a swapped row it could mean the list shown first",
    ),
    "a side beside the model on it": (
        "log.csv",
        as_csv(rows("model_a model_b winner left_model", "x y left x", "x y left y")),
        r"log.csv:3: winner is 'left'; in a swapped row",
    ),
    "a letter in each order": (
        "log.csv",
        as_csv(rows("model_a model_b winner winner_swapped", "x y A A")),
        r"log.csv:2: winner is 'A'; expected model_a, model_b or tie: a letter could mean either",
    ),
    "a row of several battles among many of one": (
        "log.csv",
        as_csv(rows("model_a model_b winner weight", *["x y a 1"] * 300, "x y a 0.5")),
        r"log.csv:302: weight is 0.5: a row seems to stand for several battles",
    ),
    "rows of several battles": (
        "log.csv",
        as_csv(rows("model_a model_b winner count", "x y model_a 1", "x y model_b 25")),
        r"log.csv:3: count is 25: a row seems to stand for several battles; give each battle a row",
    ),
    "words that count from 1 for models from 0": (
        "log.csv",
        as_csv(rows("model_0 model_1 winner", "x y response_1")),
        r"log.csv:2: the winner is 'response_1', and the columns count from 0",
    ),
    "scores with thousands": (
        "log.csv",
        as_csv(rows("model_1 model_2 score_1 score_2", "x y 1,000 2")),
        r"log.csv:2: score_1 is '1,000'; expected a number",
    ),
    "a preference that may be a score or a side": (
        "log.csv",
        as_csv(rows("agent_a agent_b preference", "x y 1", "x y 0.5", "x y 0")),
        r"log.csv:3: preference is 0.5; such a number may mean either model",
    ),
    "a preference below 1": (
        "log.csv",
        as_csv(rows("model_1 model_2 preference", "x y 1", "x y 0", "x y 2")),
        r"log.csv:3: preference is 0; expected a number from 1",
    ),
    "a reference that is an answer": (
        "log.csv",
        as_csv(rows("model reference score", "x Paris 1", "y Rome 0.5")),
        r'log.csv:1: missing "model_a", "model_b"; the file has model, reference, score',
    ),
    "a score that is no winner": (
        "log.jsonl",
        json.dumps(judged("A>B") | {"games": [{"score": 2}]}),
        r"log.jsonl:1: the verdict of a game is 2; expected one such as A>>B",
    ),
    "a letter in both orders": (
        "log.jsonl",
        as_jsonl([pair("model_1", "tie"), pair("A", "B")]),
        r"log.jsonl:2: g1_winner is 'A'; expected model_1, model_2 or tie",
    ),
    "a letter for a baseline": (
        "log.csv",
        as_csv(rows("model baseline verdict", "x y A")),
        r"log.csv:2: verdict is 'A'; expected model, baseline or tie",
    ),
    "a name that is a column": (
        "log.csv",
        as_csv(rows("agent_1 agent_2 winner", "agent_2 y agent_2")),
        r"log.csv:2: the winner is 'agent_2', which is a column and the name of the other model",
    ),
    "two pairs of models": (
        "log.csv",
        as_csv(rows("agent_a agent_b system_a system_b winner", "x y p q A")),
        r"log.csv:1: the columns agent_a and agent_b or system_a and system_b could be meant",
    ),
    "two verdicts": (
        "log.csv",
        as_csv(rows("agent_a agent_b verdict preference", "x y A B")),
        r"log.csv:1: the winner could be in verdict or preference; rename",
    ),
    "a tie with a winner": (
        "log.csv",
        as_csv(rows("agent_a agent_b winner tie", "x y x 1")),
        r"log.csv:2: tie is 1, and winner is 'x'; keep one of them",
    ),
    "winners of two judges": (
        "log.csv",
        as_csv(rows("agent_a agent_b gpt4_winner claude_winner", "x y A B")),
        r"log.csv:1: the winner could be in gpt4_winner or claude_winner",
    ),
    "no baseline": (
        "log.json",
        json.dumps([without_baseline(judged("A>B"))]),
        r'log.json:1: missing "baseline"; the file has uid, model, judge, games; add',
    ),
    "answers in place of models": (
        "log.csv",
        as_csv(rows("response_a response_b winner", "x y A")),
        r'log.csv:1: missing "model_a", "model_b"; the file has response_a, response_b, winner',
    ),
    "texts in place of models": (
        "log.csv",
        as_csv([{"assistant_a": "long " * 50, "assistant_b": "y", "winner": "A"}]),
        r"log.csv:2: assistant_a holds a text of 250 characters; expected the model's name",
    ),
    "chosen answers": (
        "log.csv",
        as_csv([{"prompt": "p", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(20)]),
        r"log.csv:1: chosen and rejected seem to hold answers",
    ),
    "a model without a name": (
        "log.jsonl",
        as_jsonl([{"agent_a": "x", "agent_b": "y", "answer": "A"}, {"agent_a": "x"}]),
        r'log.jsonl:2: missing "agent_b"; give the model\'s name',
    ),
    "no verdict at all": (
        "log.csv",
        as_csv(rows("agent_a agent_b answer", "x y -")),
        r"log.csv: no row has a verdict",
    ),
    "two lists": (
        "log.json",
        json.dumps({"p": [arena_battle("tie")], "q": [arena_battle("tie")]}),
        r"log.json: several lists could hold the battles: p, q",
    ),
    "nothing known": (
        "log.json",
        json.dumps([{"foo": 1, "bar": 2}]),
        r'log.json:1: missing "model_a", "model_b", "winner"; the file has foo, bar',
    ),
    "no object": ("log.json", '[{"a": 1},\n 5]', r"log.json:.*not a JSON object"),
    "no list": ("log.json", "5", r"log.json: holds no battles; expected a list"),
    "an empty list": ("log.json", "[]", r"log.json: empty"),
    "an empty file": ("log.json", "", r"log.json: empty"),
    "half a file": ("log.json", '[{"a": 1},\n {"b', r"log.json:2: not valid JSON"),
    "a broken line": ("log.json", as_jsonl([arena_battle("tie")]) + "{", r"log.json:2: not valid"),
    "deep brackets": ("log.json", "[" * 99_999, r"log.json:1: not valid JSON"),
}  # fmt: skip


@each_row("case", ERRORS)
def test_what_could_mean_several_things_is_one_line_that_says_where(tmp_path, case):
    name, content, message = ERRORS[case]

    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, name, content)

    assert "\n" not in str(caught.value)


COLUMNS = {
    "words": ("verdict", ("model_1", "model_2", "tie")),
    "letters": ("answer", ("A", "B", "C")),
    "brackets": ("judgment", ("[[A]]", "[[B]]", "[[C]]")),
    "signs": ("decision", ("A>>B", "B>A", "A=B")),
    "numbers": ("preference", (1, 2, 1.5)),
    "places": ("winner", ("first", "second", "draw")),
}
FORMS = {
    name: lambda code, column=column, words=words: {column: words[code]}
    for name, (column, words) in COLUMNS.items()
}
FORMS["flags"] = lambda code: {"win_1": code == 0, "win_2": code == 1, "tie": code == 2}
FORMS["floats"] = lambda code: (
    {"winner_1": 1.0 * (code == 0), "winner_2": 1.0 * (code == 1)}
    | {"winner_tie": 1.0 * (code == 2)}
)
FORMS["scores"] = lambda code: {"rating_1": (3, 1, 2)[code], "rating_2": (1, 2, 2)[code]}


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.sampled_from("pqr"), st.sampled_from("xyz"), st.integers(0, 2)),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["csv", "jsonl", "json"]),
)
def test_words_flags_numbers_and_scores_of_the_same_outcomes_give_the_same_battles(
    tmp_path_factory, played, form
):
    folder = tmp_path_factory.mktemp("forms")
    expected = [f"{a} {'><='[code]} {b}" for a, b, code in played]
    write = {"csv": as_csv, "jsonl": as_jsonl, "json": json.dumps}[form]

    for name, cells in FORMS.items():
        table = [{"model_1": a, "model_2": b, **cells(code)} for a, b, code in played]

        assert outcomes(load(folder, f"{name}.{form}", write(table))) == expected, name


@settings(max_examples=120)
@given(st.data())
def test_json_of_anything_is_rated_or_refused_in_one_line(tmp_path_factory, data):
    cells = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.sampled_from(
            ["x", "y", "A", "tie", "model_1", "", "a\nb", [], {}, [{}], {"a": 1}, [None]]
        ),
    )
    names = [
        "agent_a",
        "agent_b",
        "model",
        "baseline",
        "games",
        "winner",
        "score",
        "win_a",
        "win_b",
    ]
    names += ["preference", "g1_winner", "g2_winner", "model_1", "model_2", "prompt", "judge"]
    names += ["swapped", "chosen", "rejected", "score_a", "score_b", "tie", "generator_1", "probs"]
    row = st.dictionaries(st.sampled_from(names), cells, min_size=3, max_size=9)
    rows = st.lists(row, max_size=3)
    content = data.draw(st.one_of(cells, rows, row, st.dictionaries(st.just("b"), rows)))

    try:
        load(tmp_path_factory.mktemp("any"), "log.json", json.dumps(content))
    except ArenaError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert "log.json" in str(error) or str(error).startswith("every battle")  # noqa: PT017


def test_a_third_letter_is_a_tie_beside_answers_and_unknown_beside_models_of_such_names(tmp_path):
    answers, models = tmp_path / "answers.csv", tmp_path / "models.csv"
    answers.write_text("qid,agent_a,agent_b,answer\n1,x,y,A\n2,x,y,C\n")
    models.write_text("model_a,model_b,winner\na,b,a\na,b,c\n")

    assert load_battles([answers]).winner.tolist() == [MODEL_A, TIE]
    with pytest.raises(DataError, match=r"models.csv:3: .*models are called by letters here"):
        load_battles([models])
