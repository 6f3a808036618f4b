"""What changed since the run before."""

from __future__ import annotations

import pandas as pd

from arena import rate
from arena.rating.leaderboard_notes import describe_changes
from arena.rating.leaderboard_records import Leaderboard


def leaderboard(*battles: str) -> Leaderboard:
    rows = [(b[0], b[1], {"L": "model_a", "R": "model_b", "T": "tie"}[b[2]]) for b in battles]
    frame = pd.DataFrame(rows, columns=["model_a", "model_b", "winner"])
    frame["query_id"] = [f"q{i // 2}" for i in range(len(rows))]
    return rate(frame)


TWO = ["abL", "baR", "abT", "baL", "abL", "baT"]


def test_a_model_that_joins_is_named_with_its_rank() -> None:
    before = leaderboard(*TWO)
    after = leaderboard(*TWO, "acT", "caT", "bcT", "cbT", "acL", "caL")

    lines = describe_changes(before, after)

    assert lines[0].startswith("c joined at rank ")
    assert " of 3, rating 1" in lines[0]


def test_the_largest_move_is_told_and_set_against_its_interval() -> None:
    lines = describe_changes(leaderboard(*TWO), leaderboard(*TWO, *["abR", "baL"] * 10))

    assert len(lines) == 1
    assert "ratings moved by" in lines[0]
    assert "its interval" in lines[0]


def test_nothing_is_said_where_nothing_changed() -> None:
    assert describe_changes(leaderboard(*TWO), leaderboard(*TWO)) == []


def test_a_model_that_left_is_named() -> None:
    three = leaderboard(*TWO, "acT", "caT")

    lines = describe_changes(three, leaderboard(*TWO))

    assert "c is no longer among the models" in lines
