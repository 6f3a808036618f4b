from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.battles import row_blocks
from arena.battles.load import from_frame, load_battles
from arena.data.metrics import Latency, Metrics
from arena.errors import DataError, UsageError
from arena.rating import elo
from arena.rating.elo import elo_ratings
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_files import read_leaderboard, to_json, write_csv, write_json
from arena.rating.leaderboard_records import (
    Facts,
    LeaderboardRow,
    Measured,
    ModelFacts,
    RatingSettings,
    aggregate,
)
from arena.records import Record

KEYS = (
    "overall datasets position_advantage battles ties failures queries judges settings notes "
    "tied_with_first pairs more_queries position_by_dataset"
)
ROW_KEYS = (
    "rank model elo elo_order_sd rating lower upper rank_lower rank_upper effective_queries "
    "wins losses ties battles win_rate"
)


def simulated(n_queries=12, models=("a", "b", "c"), datasets=("d1", "d2"), seed=0):
    """Both orders of every pair on every query; earlier models are better, first is favoured."""
    rng = np.random.default_rng(seed)
    rows = []
    for dataset in datasets:
        for query in range(n_queries):
            for i, j in combinations(range(len(models)), 2):
                for first, second in ((i, j), (j, i)):
                    margin = 0.6 * (second - first) + 0.3
                    won = rng.random() < 1 / (1 + math.exp(-margin))
                    winner = "tie" if rng.random() < 0.1 else ("model_a" if won else "model_b")
                    rows.append((dataset, query, models[first], models[second], winner, "j"))
    columns = ["dataset", "query_id", "model_a", "model_b", "winner", "judge"]
    return from_frame(pd.DataFrame(rows, columns=columns))


def facts_of(battles):
    metrics = Metrics(0.5, 0.6, 0.4, 0.7, 0.9, 10, 2)
    latency = Latency(10.0, 9.0, 12.0, 15.0, 30)
    return Facts(
        models={"a": ModelFacts(384, 0.02, "MIT", "openai", "2024-01-25")},
        measured={(d, m): Measured(metrics, latency) for d in battles.datasets for m in "abc"},
    )


def no_nan(tree):
    if isinstance(tree, dict):
        return all(map(no_nan, tree.values()))
    if isinstance(tree, list):
        return all(map(no_nan, tree))
    return not (isinstance(tree, float) and not math.isfinite(tree))


@pytest.mark.shared
def test_the_published_page_is_the_aggregate_of_its_rows(shared_data):
    page = json.loads((shared_data / "leaderboard-page.json").read_text())
    metrics = ("ndcg@5", "ndcg@10", "recall@5", "recall@10")
    rows = [
        LeaderboardRow(
            model=page["model"]["name"],
            elo=row["elo"],
            record=Record(row["wins"], row["losses"], row["ties"]),
            metrics={name: row[name] for name in metrics if name in row},
            latency=Latency(*(row["latency_ms"][p] for p in ("mean", "p50", "p90", "p90")), 1),
        )
        for row in page["datasets"]
    ]

    overall = aggregate(rows)

    headline = page["headline"]
    assert round(overall.elo) == headline["elo"] == 1496
    assert overall.record == Record(789, 854, 275)
    assert overall.record.battles == headline["evaluations"]
    assert round(overall.record.win_rate, 3) == headline["win_rate"] == 0.411
    assert round(overall.metrics["ndcg@10"], 3) == headline["ndcg@10"] == 0.802
    assert round(overall.latency.mean_ms) == headline["latency_ms"] == 80_021


def test_rows_have_the_keys_of_the_contract_in_order():
    tree = to_json(build_leaderboard(simulated()))

    assert list(tree) == KEYS.split()
    assert list(tree["overall"][0]) == ROW_KEYS.split()
    assert list(tree["position_advantage"]) == ["elo", "lower", "upper"]
    assert list(tree["datasets"]) == ["d1", "d2"]


def test_the_better_model_is_above_and_its_interval_holds_its_rating():
    board = build_leaderboard(simulated(n_queries=60))

    assert [row.model for row in board.overall] == ["a", "b", "c"]
    assert [row.rank for row in board.overall] == [1, 2, 3]
    for row in board.overall:
        assert row.lower < row.rating < row.upper
        assert 1 <= row.rank_lower <= row.rank <= row.rank_upper <= 3
    assert np.mean([row.rating for row in board.overall]) == pytest.approx(1500)
    assert board.position_advantage.lower < 47 < board.position_advantage.upper


def test_overall_elo_is_the_mean_over_data_sets_of_separate_replays():
    battles = simulated()

    board = build_leaderboard(battles)

    replays = np.mean([elo_ratings(battles.only(d)) for d in range(2)], axis=0)
    assert {row.model: row.elo for row in board.overall} == dict(
        zip(battles.models, replays, strict=True)
    )


def test_wins_losses_and_ties_are_sums_and_a_tie_is_no_win():
    board = build_leaderboard(simulated())

    assert sum(r.record.wins for r in board.overall) == sum(r.record.losses for r in board.overall)
    for row in board.overall:
        parts = [r.record for rows in board.datasets.values() for r in rows if r.model == row.model]
        assert row.record.wins == sum(part.wins for part in parts)
        assert row.record.ties == sum(part.ties for part in parts) > 0
        assert row.record.win_rate == row.record.wins / row.record.battles


def test_data_sets_weigh_the_same_however_many_battles_they_have():
    battles = simulated()
    # All of d2 four times over: the overall rating must not move towards it.
    repeated = np.concatenate([np.arange(len(battles)), *[np.flatnonzero(battles.dataset)] * 3])

    once, more = build_leaderboard(battles), build_leaderboard(battles.take(repeated))

    assert {row.model: row.rating for row in more.overall} == pytest.approx(
        {row.model: row.rating for row in once.overall}
    )


def test_a_model_that_wins_everything_has_no_rating_and_the_note_says_what_to_do():
    rows = [("a", "b", "model_a"), ("b", "c", "model_a"), ("c", "b", "model_a")]
    battles = from_frame(pd.DataFrame(rows * 3, columns=["model_a", "model_b", "winner"]))

    board = build_leaderboard(battles)

    assert [row.rating for row in board.overall] == [None] * 3
    assert board.overall[0].model == "a"
    elos = [row.elo for row in board.overall]
    assert elos == sorted(elos, reverse=True)
    assert any("a | b, c" in note and "--prior" in note for note in board.notes)
    assert board.position_advantage is None
    assert no_nan(to_json(board))


def test_a_prior_makes_every_rating_finite():
    rows = [("a", "b", "model_a", 1), ("a", "b", "model_a", 2), ("b", "a", "model_b", 3)]
    battles = from_frame(pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "query_id"]))

    board = build_leaderboard(battles, settings=RatingSettings(prior=0.5))

    assert [row.model for row in board.overall] == ["a", "b"]
    assert all(math.isfinite(row.rating) for row in board.overall)
    assert no_nan(to_json(board))


def test_one_query_gives_no_interval_instead_of_a_false_one():
    board = build_leaderboard(simulated(n_queries=1, datasets=("d",), seed=3))

    assert all(row.lower is None for row in board.overall)
    assert no_nan(to_json(board))


def test_ranking_by_elo_is_by_elo():
    settings = RatingSettings(rank_by="elo")

    board = build_leaderboard(simulated(n_queries=2, seed=1), settings=settings)

    elos = [row.elo for row in board.overall]
    assert elos == sorted(elos, reverse=True)
    with pytest.raises(UsageError, match="rank_by is 'wins'"):
        build_leaderboard(simulated(), settings=replace(settings, rank_by="wins"))


def test_models_of_equal_rating_share_a_rank():
    rows = [("a", "b", "tie", 1), ("b", "a", "tie", 2)]
    battles = from_frame(pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "query_id"]))

    board = build_leaderboard(battles, settings=RatingSettings(position=False))

    assert [row.rank for row in board.overall] == [1, 1]


def test_metrics_and_latency_are_means_over_the_data_sets_that_have_them():
    battles = simulated()
    full = facts_of(battles)
    other = replace(full.measured["d2", "a"].latency, mean_ms=30.0)
    facts = replace(
        full,
        measured={
            **{key: replace(value, metrics=None) for key, value in full.measured.items()},
            ("d1", "a"): full.measured["d1", "a"],
            ("d2", "a"): Measured(None, other),
        },
    )

    row = next(r for r in build_leaderboard(battles, facts=facts).overall if r.model == "a")

    assert row.metrics["ndcg@10"] == 0.6
    assert row.latency.mean_ms == 20.0
    assert row.latency.n_samples == 60
    assert row.facts.license == "MIT"


def test_means_over_different_data_sets_are_said_to_be_so():
    both = simulated()
    absent = (both.dataset == 0) & ((both.model_a == 2) | (both.model_b == 2))
    battles = both.take(np.flatnonzero(~absent))
    facts = facts_of(both)
    del facts.measured["d2", "b"]

    board = build_leaderboard(battles, facts=facts)

    notes = "\n".join(board.notes)
    assert "overall Elo averages different data sets for different models: c not on d1" in notes
    assert "nDCG and recall averages different data sets" in notes
    assert "b not on d2" in notes
    c = next(row for row in board.overall if row.model == "c")
    assert c.elo == next(row.elo for row in board.datasets["d2"] if row.model == "c")
    assert no_nan(to_json(board))


def test_the_same_battles_and_seed_give_the_same_leaderboard():
    first, again = (to_json(build_leaderboard(simulated())) for _ in range(2))

    assert first == again


def test_json_is_read_back_as_it_was(tmp_path):
    battles = simulated()
    board = build_leaderboard(battles, facts=facts_of(battles))

    write_json(board, tmp_path / "leaderboard.json")

    assert read_leaderboard(tmp_path / "leaderboard.json") == board


def test_a_leaderboard_without_ratings_is_read_back_as_it_was(tmp_path):
    rows = [("a", "b", "model_a")]
    battles = from_frame(pd.DataFrame(rows, columns=["model_a", "model_b", "winner"]))
    board = build_leaderboard(battles, settings=RatingSettings(n_permutations=0))

    write_json(board, tmp_path / "leaderboard.json")

    assert board.overall[0].elo_order_sd is None
    assert read_leaderboard(tmp_path / "leaderboard.json") == board


@each_row("text", ["", "[]", "{}", '{"overall": 1}'])
def test_what_is_no_leaderboard_is_refused(tmp_path, text):
    path = tmp_path / "leaderboard.json"
    path.write_text(text)

    with pytest.raises(DataError, match=r"leaderboard\.json: not a leaderboard"):
        read_leaderboard(path)
    with pytest.raises(DataError, match="No such file"):
        read_leaderboard(tmp_path / "none.json")


FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "\x1b=1"]


@each_row("name", FORMULAS)
def test_no_cell_of_the_csv_is_a_formula_or_moves_a_cursor(tmp_path, name):
    rows = [(name, q, name, f"{name}\x1b[2J\u202e", "model_a", name) for q in range(3)]
    facts = Facts({name: ModelFacts(license=name, provider=name)}, {})
    columns = ["dataset", "query_id", "model_a", "model_b", "winner", "judge"]
    battles = from_frame(pd.DataFrame(rows, columns=columns))

    write_csv(build_leaderboard(battles, facts=facts), tmp_path / "leaderboard.csv")

    with (tmp_path / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    names = {(row["dataset"], row["model"]) for row in table}
    cells = [cell for row in table for cell in (row["dataset"], row["model"], row["license"])]
    assert len(names) == len(table) == 4
    assert all(cell.isprintable() for cell in cells)
    assert not [cell for cell in cells if cell.lstrip()[:1] in tuple("=+-@＝")]


def test_csv_has_a_line_per_table_and_model_and_blanks_where_nothing_is_known(tmp_path):
    battles = simulated()
    facts = facts_of(battles)
    del facts.measured["d1", "b"]

    write_csv(build_leaderboard(battles, facts=facts), tmp_path / "leaderboard.csv")

    with (tmp_path / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["dataset"] for row in rows] == ["overall"] * 3 + ["d1"] * 3 + ["d2"] * 3
    b = next(row for row in rows if row["dataset"] == "d1" and row["model"] == "b")
    assert b["ndcg@10"] == b["latency_p90_ms"] == b["license"] == ""
    assert float(b["rating"]) > 0
    assert rows[0]["latency_p90_ms"] == "12.0"


@pytest.mark.shared
def test_wins_total_losses_on_the_published_verdicts(shared_data, tmp_path):
    from test_battles import ALIASES

    battles = load_battles([shared_data / "judgments" / "published.jsonl"], aliases=ALIASES)

    board = build_leaderboard(battles, settings=RatingSettings(n_permutations=20))

    wins = sum(row.record.wins for row in board.overall)
    assert wins == sum(row.record.losses for row in board.overall)
    assert 2 * wins + sum(row.record.ties for row in board.overall) == 2 * len(battles)
    assert len(board.overall) == 20
    assert no_nan(to_json(board))
    assert board.overall[0].model in {"voyage-4-large", "gemini-embedding-2-preview"}


LAWS = settings(max_examples=15)
QUICK = RatingSettings(n_permutations=0)


@st.composite
def frames(draw):
    """Small logs that ties in a ring, in both orders, connect."""
    models = draw(st.lists(st.text("abcxyz-", min_size=1), min_size=2, max_size=5, unique=True))
    ring = list(zip(models, models[1:] + models[:1], strict=True))
    rows = [(a, b, "tie", f"q{i}") for i, (a, b) in enumerate(ring + [(b, a) for a, b in ring])]
    pair = st.permutations(models).map(lambda order: order[:2])
    more = st.tuples(pair, st.sampled_from(["model_a", "model_b", "tie"]), st.integers(0, 4))
    rows += [(a, b, w, f"q{q}") for (a, b), w, q in draw(st.lists(more, max_size=25))]
    return pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "query_id"])


def figures(board):
    """What the leaderboard says of each model and pair that no order of battles changes."""
    rows = {
        r.model: (r.rating, r.lower, r.upper, r.record.wins, r.record.losses, r.record.ties)
        for r in board.overall
    }
    pairs = {frozenset((p.a, p.b)): (p.ties, abs(p.p_better - 0.5)) for p in board.pairs}
    return {**rows, **pairs}


def approximately(tree):
    return {key: pytest.approx(value, abs=1e-4) for key, value in tree.items()}


@LAWS
@given(frames(), st.randoms(use_true_random=False))
def test_the_order_of_battles_changes_no_rating_interval_or_pair(frame, random):
    order = random.sample(range(len(frame)), len(frame))

    board = build_leaderboard(from_frame(frame), settings=QUICK)
    shuffled = build_leaderboard(from_frame(frame.iloc[order]), settings=QUICK)

    assert figures(shuffled) == approximately(figures(board))


@LAWS
@given(frames(), st.randoms(use_true_random=False))
def test_models_are_rated_alike_whatever_they_are_called(frame, random):
    models = sorted({*frame.model_a, *frame.model_b})
    names = dict(zip(models, random.sample(["k", "1", "Ω", "b c", "_"], len(models)), strict=True))
    renamed = frame.assign(model_a=frame.model_a.map(names), model_b=frame.model_b.map(names))

    board = build_leaderboard(from_frame(frame), settings=QUICK)
    other = build_leaderboard(from_frame(renamed), settings=QUICK)

    expected = figures(board)
    back = {new: old for old, new in names.items()}
    assert {
        frozenset(map(back.get, key)) if isinstance(key, frozenset) else back[key]: value
        for key, value in figures(other).items()
    } == approximately(expected)


@settings(max_examples=8)
@given(frame=frames(), size=st.integers(1, 9))
@pytest.mark.parametrize("method", ["bt", "davidson"])
def test_battles_taken_in_blocks_are_rated_as_battles_taken_at_once(method, frame, size):
    frame = frame.assign(
        dataset=["even" if query[-1] in "024" else "odd" for query in frame.query_id]
    )
    chosen = RatingSettings(method=method, n_permutations=3)

    at_once = build_leaderboard(from_frame(frame), settings=chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_blocks, "BLOCK", size)
        patch.setattr(elo, "_LISTED", size)
        in_blocks = build_leaderboard(from_frame(frame), settings=chosen)

    assert in_blocks.notes == at_once.notes
    elos = ([(row.model, row.elo) for row in board.overall] for board in (in_blocks, at_once))
    assert len({frozenset(each) for each in elos}) == 1
    if all(pair.p_better is not None for pair in at_once.pairs):
        known, expected = figures(in_blocks), figures(at_once)
        assert known == {key: pytest.approx(value, abs=1e-7) for key, value in expected.items()}


@LAWS
@given(frames())
def test_categories_and_extra_columns_change_nothing(frame):
    coded = frame.astype("category").assign(comment="x")

    board = build_leaderboard(from_frame(frame), settings=QUICK)

    assert build_leaderboard(from_frame(coded), settings=QUICK) == board


@LAWS
@given(frames(), st.sampled_from(["bt", "davidson"]), st.booleans())
def test_no_figure_of_any_method_is_nan_and_every_rank_is_in_its_interval(frame, method, position):
    chosen = replace(QUICK, method=method, position=position)

    board = build_leaderboard(from_frame(frame), settings=chosen)

    assert no_nan(to_json(board))
    for row in board.overall:
        if row.rank_lower is not None:
            assert 1 <= row.rank_lower <= row.rank_upper <= len(board.overall)
    for pair in board.pairs:
        if pair.separated:
            assert pair.p_better > 0.9


def test_who_may_be_the_best_and_what_is_sure_agree():
    board = build_leaderboard(simulated(n_queries=80))

    place = {row.model: row for row in board.overall}
    for pair in board.pairs:
        if pair.separated:
            assert place[pair.b].rank_lower > 1
    assert board.overall[0].model in board.tied_with_first
    assert {(more.a, more.b) for more in board.more_queries} == {
        (a.model, b.model)
        for a, b in pairwise(board.overall)
        if not next(p.separated for p in board.pairs if (p.a, p.b) == (a.model, b.model))
    }


@each_row(
    ("change", "message"),
    [
        ({"method": "rao-kupper"}, "method is 'rao-kupper'; expected bt or davidson"),
        ({"soft": "yes"}, "soft is 'yes'; expected auto or never"),
        ({"judges": "max"}, "judges is 'max'; expected majority, mean or each"),
        ({"level": 1.0}, "level must be between 0 and 1, got 1.0"),
        ({"prior": -1.0}, "prior is -1; expected 0 to 1,000,000"),
        ({"prior": math.nan}, "prior is nan; expected 0 to 1,000,000"),
        ({"bootstrap": 99}, "bootstrap is 99 draws; give at least 100 and"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        build_leaderboard(simulated(), settings=RatingSettings(**change))


def test_battles_that_are_none_are_refused():
    with pytest.raises(UsageError, match="no battles to rate"):
        build_leaderboard(simulated().take(np.zeros(0, np.intp)))


def test_a_panels_mean_of_bare_verdicts_is_not_called_the_judges_probabilities():
    panel = simulated()
    panel = replace(panel, judges=("x", "y"), judge=np.arange(len(panel), dtype=np.int32) % 2)

    board = build_leaderboard(panel, settings=RatingSettings(judges="mean"))

    assert not any("probabilities" in note for note in board.notes)
    assert board.judges == ("x", "y")


def uneven(queries, late=None):
    """Four equal models on data sets of so many queries, the last on the first ``late`` of each."""
    rng = np.random.default_rng(5)
    rows = [
        (f"set{place}", query, a, b, rng.choice(["model_a", "model_b"]))
        for place, n in enumerate(queries)
        for query in range(n)
        for a, b in combinations("abcd", 2)
        if b != "d" or late is None or query < late
    ]
    columns = ["dataset", "query_id", "model_a", "model_b", "winner"]
    frame = pd.DataFrame(rows, columns=columns)
    return build_leaderboard(from_frame(frame), settings=replace(QUICK, position=False))


@each_row(
    ("queries", "late", "expected"),
    [
        ((60,), None, []),
        ((40, 40), None, []),
        (
            (100, 5),
            None,
            [
                (
                    "thin: ratings are as sure as 5 queries make them, not 105, and intervals are "
                    "as wide: data sets weigh the same, and those with few queries decide: set1 (5)"
                )
            ],
        ),
        ((60,), 4, ["thin: played on few queries, so that intervals are wide: d (4)"]),
        ((10,), None, []),
    ],
)
def test_what_is_thin_is_said_and_named(queries, late, expected):
    board = uneven(queries, late)

    assert [note for note in board.notes if note.startswith("thin")] == expected


def test_effective_queries_are_those_of_the_log_where_all_weigh_the_same():
    assert [row.effective_queries for row in uneven((30,)).overall] == pytest.approx([30] * 4, 0.01)
    few = {row.model: row.effective_queries for row in uneven((60,), late=4).overall}
    assert few["d"] == pytest.approx(4, rel=0.1)
    assert few["a"] == pytest.approx(60, rel=0.1)
