"""Tables that a notebook rates, and the statistics alone, on arrays."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rated import GOLDEN_BATTLES
from tables import each_row
from together import TORCH

import arena
from arena.errors import ArenaError, UsageError

WORDS = {"L": "first", "R": "second", "T": "tie"}
PAIRS = [("a", "b"), ("b", "c"), ("c", "a")]
BATTLES = [
    {
        "query_id": f"q{number}",
        "model_a": first,
        "model_b": second,
        "winner": ("model_a", "tie", "model_b", "model_a")[number % 4 - (first == "c")],
    }
    for number in range(24)
    for first, second in PAIRS
]


@TORCH
def test_battles_of_every_table_rate_alike(tmp_path):
    import datasets  # a second, which other workers need not wait

    frame = pd.DataFrame(BATTLES)
    frame.to_csv(tmp_path / "battles.csv", index=False)
    expected = arena.rate(frame).overall
    half = len(frame) // 2
    tables: dict[str, Any] = {
        "list": BATTLES,
        "generator": (row for row in BATTLES),
        "datasets": datasets.Dataset.from_list(BATTLES),
        "frames": [frame[:half], frame[half:]],
        "path": str(tmp_path / "battles.csv"),
        "paths": (path for path in [tmp_path / "battles.csv"]),
    }

    for name, table in tables.items():
        assert arena.rate(table).overall == expected, name
    assert arena.rate_files(tmp_path / "battles.csv").overall == expected
    assert arena.audit(BATTLES).battles == len(BATTLES)
    assert arena.between(BATTLES, BATTLES).battles == len(BATTLES)


def test_joined_frames_keep_the_failures_that_each_counted():
    frames = [pd.DataFrame(BATTLES[:36]), pd.DataFrame(BATTLES[36:])]
    for frame in frames:
        frame.attrs["arena"] = {"battles": 36, "failures": 2}

    assert arena.rate(frames).failures == 4
    frames[0] = frames[0].iloc[1:]
    assert arena.rate(frames).failures == 0


@each_row(
    ("arguments", "options", "match"),
    [
        (("model_a,model_b,winner\na,b,tie\n",), {}, "battles: a text of several lines"),
        ((io.StringIO("model_a,model_b\n"),), {}, "battles: a text of several lines"),
        (({"model_a": ["a"]},), {}, "battles: of type dict; expected a DataFrame"),
        ((BATTLES,), {"correct": "yes"}, "correct is 'yes'; expected auto, battles"),
        ((BATTLES,), {"labels": "nowhere"}, "labels: nowhere holds none"),
        ((BATTLES,), {"labels": __file__}, "is a file; give a DataFrame"),
        ((BATTLES,), {"settings": {"levle": 0.9}}, "settings: levle: .* did you mean level"),
        ((BATTLES,), {"settings": {"level": "9"}}, "level is '9'; expected a number"),
        ((BATTLES,), {"settings": {"n_permutations": -1}}, "n_permutations is -1"),
        ((BATTLES,), {"settings": {"elo": {"k_factor": "9"}}}, "k_factor is '9'"),
    ],
)
def test_what_cannot_be_rated_is_one_line_that_names_the_argument(arguments, options, match):
    with pytest.raises(UsageError, match=match) as caught:
        arena.rate(*arguments, **options)

    assert "\n" not in str(caught.value)


def test_settings_may_be_a_dict_and_labels_rows():
    settings = arena.RatingSettings(level=0.5)
    labels = [row | {"winner": "model_a", "probability": 0.5} for row in BATTLES[::4]]

    board = arena.rate(BATTLES, settings={"level": 0.5}, labels=labels)

    assert board == arena.rate(BATTLES, settings=settings, labels=pd.DataFrame(labels))
    assert board.correction.labels == len(labels)


def test_labels_without_a_data_set_are_about_that_of_the_battles():
    """`compare` names the data set of its battles, and people who label them need not."""
    battles = pd.DataFrame(BATTLES).assign(dataset="zoo")
    labels = pd.DataFrame(BATTLES[::3]).assign(probability=0.5)

    board = arena.rate(battles, labels=labels)
    card = arena.audit(battles, labels=labels.drop(columns="probability"))

    assert board == arena.rate(battles, labels=labels.assign(dataset="zoo"))
    assert board.correction.labels == len(labels)
    decided = (labels["winner"] != "tie").sum()
    assert card.figure("people_accuracy").estimate.n == decided
    two = pd.concat([battles, battles.assign(dataset="farm")])
    with pytest.raises(UsageError, match=r"'q0' is in farm and in zoo.* add a column dataset"):
        arena.rate(two, labels=labels)


def test_what_is_not_known_is_nan_in_a_frame_of_numbers():
    """All battles go one way, so no rating is finite."""
    board = arena.rate([row | {"model_a": "a", "model_b": "b", "winner": "model_a"}
                        for row in BATTLES])  # fmt: skip
    ratings = arena.bradley_terry(["a"] * 9, ["b"] * 9, ["first"] * 9)

    for frame in (board.to_frame(), ratings):
        assert frame[["rating", "lower", "upper", "rank_lower"]].dtypes.unique().tolist() == [float]
        assert frame["rating"].isna().all()


def test_results_say_in_one_line_what_they_are():
    board = arena.rate(BATTLES)
    results = [
        board,
        board.cost(documents=1e6, queries_per_month=1e5),
        arena.audit(BATTLES),
        arena.between(BATTLES, BATTLES),
    ]

    for result in results:
        name = type(result).__name__
        assert repr(result).startswith(f"{name}(")
        assert "\n" not in repr(result)
        assert len(repr(result)) < 400, name


def test_the_statistics_alone_are_those_of_the_leaderboard():
    frame = pd.DataFrame(BATTLES)
    sides = frame["model_a"], frame["model_b"], frame["winner"]
    row = arena.rate(frame).overall[0]

    ratings = arena.bradley_terry(*sides, query=frame["query_id"])
    online = arena.elo(*sides)

    first = ratings.iloc[0]
    assert (first["model"], first["rating"], first["lower"]) == (row.model, row.rating, row.lower)
    assert online.set_index("model")["elo"][row.model] == row.elo


def test_the_functions_give_the_golden_values_of_other_programs():
    """Elo of evalica; Bradley-Terry of evalica, choix and statsmodels."""
    battles = [(f"m{a}", f"m{b}", WORDS[word]) for a, b, word in GOLDEN_BATTLES.split()]
    arrays = list(zip(*battles, strict=True))

    online = arena.elo(*arrays, start=1000, k_factor=32).set_index("model")["elo"]
    ratings = arena.bradley_terry(*arrays, position=False).set_index("model")["rating"]

    elo = [942.345088, 998.619540, 998.701040, 1025.305291, 1035.029041]
    theta = np.array([-1.144278, -0.195821, -0.191750, 0.747585, 0.784265])
    assert online.sort_index().tolist() == pytest.approx(elo, abs=1e-5)
    assert ratings.sort_index().tolist() == pytest.approx(1500 + 400 / np.log(10) * theta, abs=1e-3)


def test_scores_between_0_and_1_count_as_parts_of_a_win():
    """Three wins in four: 400·log10(3) points apart."""
    first, second = ["a", "b"] * 40, ["b", "a"] * 40

    ratings = arena.bradley_terry(first, second, [0.75, 0.25] * 40).set_index("model")["rating"]

    assert ratings["a"] - ratings["b"] == pytest.approx(400 * np.log10(3), abs=1e-6)


@each_row(
    ("arrays", "match"),
    [
        ((["a"], ["b", "c"], ["tie"]), "first 1, second 2, winner 1"),
        ((["a"], ["b"], ["c"]), "winner"),
        ((["a"], ["b"], [1.5]), "a score is from 0 to 1"),
        ((["a"], ["a"], ["tie"]), "itself|against"),
        (([], [], []), "no battles"),
        (("a", ["b"], ["tie"]), "first: of type str"),
        ((None, ["b"], ["tie"]), "first: of type NoneType"),
        (([1], ["b"], ["tie"]), "first:0: is 1; give the model's name"),
        ((["a"], ["b"], [None]), 'winner:0: is None; expected "first"'),
    ],
)
def test_arrays_that_cannot_be_rated_say_why(arrays, match):
    for statistic in (arena.bradley_terry, arena.elo):
        with pytest.raises(ArenaError, match=match):
            statistic(*arrays)


def test_the_list_named_first_is_the_list_shown_first():
    """The function knows the order, so no note doubts it."""
    arrays = [[row[key] for row in BATTLES] for key in ("model_a", "model_b", "winner")]

    notes = arena.bradley_terry(*arrays, query=[row["query_id"] for row in BATTLES]).attrs["notes"]

    assert not [note for note in notes if "shown first" in note]
    assert [note for note in arena.rate(BATTLES).notes if "shown first" in note]


def corrected(people: list[Any], probability: Any = 0.5) -> pd.DataFrame:
    arrays = [[row[key] for row in BATTLES] for key in ("model_a", "model_b", "winner")]
    query = [row["query_id"] for row in BATTLES]
    return arena.corrected_bradley_terry(*arrays, people, probability, query=query)


def test_people_answer_in_words_or_scores_and_silence_is_none_or_nan(tmp_path):
    words = ["first", None, "tie", "second", math.nan, None] * 12
    scores = [{"first": 1, "tie": 0.5, "second": 0.0}.get(word) for word in words]

    by_words = corrected(words, [0.5] * len(words))

    assert by_words.equals(corrected(scores))
    assert by_words.attrs["correction"]["labels"] == 36
    by_words.to_parquet(tmp_path / "ratings.parquet")  # pandas writes attrs as JSON


@each_row(
    ("people", "match"),
    [
        (["frist"] * 72, "people: row 0 is 'frist'; expected \"first\""),
        ([None, 0.7] * 36, "people: row 1 is 0.7"),
        ([True] * 72, "people: row 0 is True"),
        (["first"] * 71, "first 72, second 72, judge 72, people 71, query 72"),
    ],
)
def test_answers_of_people_that_cannot_be_read_name_the_row(people, match):
    with pytest.raises(UsageError, match=match):
        corrected(people)
