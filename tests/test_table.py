from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from tables import each_row

from arena.data.metrics import Latency
from arena.rating.leaderboard_records import (
    Leaderboard,
    LeaderboardRow,
    ModelFacts,
    MoreQueries,
    Pair,
    PositionAdvantage,
    RatingSettings,
)
from arena.rating.leaderboard_table import Shown, render_leaderboard
from arena.records import Record
from arena.terminal import Screen, short_names

ROW = LeaderboardRow(
    rank=1,
    model="text-embedding-3-small",
    elo=1520.4,
    record=Record(10, 5, 5),
    elo_order_sd=21.3,
    rating=1532.2,
    lower=1508.0,
    upper=1556.4,
    rank_lower=1,
    rank_upper=2,
)
KNOWN = replace(
    ROW,
    metrics=dict.fromkeys(("ndcg@5", "ndcg@10", "recall@5", "recall@10", "judged@10"), 0.8124),
    latency=Latency(1200.0, 1100.0, 1500.0, 2000.0, 50),
    facts=ModelFacts(dimension=1536, price_per_1m_tokens=0.02),
)


def board(*rows, **more):
    rows = rows or (ROW, replace(ROW, rank=2, model="bm25", rating=1467.8))
    given = {
        "overall": rows,
        "datasets": {"scifact": rows},
        "position_advantage": PositionAdvantage(16.0, 4.0, 28.0),
        "battles": 1234,
        "ties": 5,
        "failures": 1,
        "queries": 40,
        "judges": ("gpt-4.1-mini",),
        "settings": RatingSettings(),
        "notes": ("a note",),
    }
    return Leaderboard(**(given | more))


def test_the_header_says_what_the_ratings_rest_on():
    text = render_leaderboard(board())

    assert "1,234 battles, 5 ties, 1 failure, 40 queries, 1 data set" in text
    assert "judge: gpt-4.1-mini" in text
    assert "shown first is worth +16 ±12 Elo" in text
    assert text.rstrip().endswith("• a note")


def test_a_judge_that_is_no_llm_is_labelled():
    assert "judge: qrels, not an LLM" in render_leaderboard(board(judges=("qrels",)))
    assert "not named in the log" in render_leaderboard(board(judges=("",)))


def test_a_crowd_of_judges_is_not_listed_whole():
    text = render_leaderboard(board(judges=tuple(f"person-{i}" for i in range(5000))))

    assert "person-7 and 4,992 more" in text
    assert "person-8" not in text


def test_ratings_show_their_interval_their_ranks_and_the_spread_of_elo():
    line = next(x for x in render_leaderboard(board()).splitlines() if "3-small" in x)

    assert line.split() == [
        *("1*", "text-embedding-3-small", "1532", "±24", "1–2", "1520", "~21", "10/5/5", "50.0%"),
    ]


@each_row("width", [60, 80, 100, 120, 160])
def test_no_line_of_a_table_is_wider_than_the_terminal(width):
    long = replace(KNOWN, model="organisation/" + "very-long-model-name" * 4)
    datasets = {f"dataset-{i}": (long, KNOWN) for i in range(12)}

    text = render_leaderboard(board(long, KNOWN, datasets=datasets), on=Screen(width))

    table = text.split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
    assert max(map(len, table.splitlines())) <= width


NAMES = st.one_of(
    st.text(st.characters(), min_size=1, max_size=90),
    st.from_regex(r"organisation/a-very-long-model-name-v[0-9]{1,3}-[ab]-instruct-(fp16|int8)"),
)


@given(
    names=st.lists(NAMES, min_size=2, max_size=6, unique=True),
    width=st.integers(60, 300),
    encoding=st.sampled_from(["utf-8", "ascii", "cp1252"]),
)
@settings(max_examples=30)
def test_distinct_names_are_shown_distinct_within_any_terminal(names, width, encoding):
    rows = [replace(KNOWN, model=name, rank=rank) for rank, name in enumerate(names, 1)]
    pairs = tuple(Pair(a, b, 1, 2, 3, 0.9) for a, b in itertools.combinations(names, 2))
    datasets = dict.fromkeys(names, rows)
    notes = (f"a note about {' and '.join(names)}, and what they are worth",)
    everything = board(*rows, datasets=datasets, pairs=pairs, notes=notes, judges=tuple(names))

    text = render_leaderboard(
        everything, on=Screen(width, encoding=encoding), shown=Shown(matrix=True)
    )

    assert text.encode(encoding).decode(encoding) == text
    assert max(map(cell_len, text.splitlines())) <= width
    assert all(line.isprintable() for line in text.splitlines())
    table = text.split("\n\n")[1].splitlines()[1:]
    assert len({line.rpartition("1532")[0][4:].strip() for line in table}) == len(names)


@given(names=st.lists(NAMES, min_size=2, max_size=40, unique=True), width=st.integers(16, 60))
@settings(max_examples=80)
def test_names_are_cut_to_their_room_and_never_alike(names, width):
    shown = short_names(names, width)

    assert list(shown) == names
    assert len(set(shown.values())) == len(names)
    assert max(map(cell_len, shown.values())) <= width
    assert all(text.strip() for text in shown.values())


def test_a_family_of_long_names_is_told_apart_where_it_differs():
    sizes = ("small", "medium", "large", "xlarge", "xxlarge")
    family = [f"organisation/multilingual-embedding-model-{s}-instruct-v2-fp16" for s in sizes]

    shown = short_names(family, 24).values()

    assert all(size in text for size, text in zip(sizes, shown, strict=True))


@each_row("width", range(40, 301, 20))
def test_the_best_of_a_leaderboard_is_read_on_any_terminal(width):
    long = replace(KNOWN, model="organisation/" + "very-long-model-name" * 4 + "-v2")

    text = render_leaderboard(board(long, KNOWN), on=Screen(width))

    assert max(map(len, text.splitlines())) <= width
    head, first, *_ = text.split("\n\n")[1].splitlines()
    assert head.split()[:3] == ["#", "model", "rating"]
    assert "1532 ±24" in first
    assert first.split()[1].startswith("org")
    assert "50.0%" in first or width < 80


def test_a_line_is_broken_between_its_words():
    note = "uncertainty of neighbouring models is mostly from query to query"

    lines = render_leaderboard(board(notes=(note,)), on=Screen(40)).splitlines()

    assert lines[-2:] == [f"• {note[:38].rsplit(' ', 1)[0]}", "  mostly from query to query"]


@pytest.mark.parametrize("name", ["x" * 200, "a long name " * 20])
def test_a_long_name_is_cut_before_any_figure_is(name):
    lines = render_leaderboard(board(replace(ROW, model=name)), on=Screen(80)).splitlines()

    shown = next(line for line in lines if "…" in line)
    assert len(shown) <= 80
    assert all(figure in shown for figure in ("1532 ±24", "1–2", "1520 ~21", "10/5/5"))


def test_names_stay_whole_where_nobody_reads_them_on_a_terminal():
    name = "organisation/" + "very-long-model-name" * 4 + "-v2"

    text = render_leaderboard(board(replace(ROW, model=name)), on=Screen())

    assert name in text
    assert "…" not in text


def test_wide_terminals_get_more_columns():
    narrow, usual, wide = (render_leaderboard(board(KNOWN), on=Screen(w)) for w in (80, 100, 160))

    assert "nDCG@10" in narrow
    assert "p50 ms" not in narrow
    assert "text-embedding-3-small" in narrow
    assert "p50 ms" in usual
    assert all(head in wide for head in ("recall@5", "judged@10", "p99 ms", "$/1M", "dim"))


@each_row(("p50_ms", "shown"), [(0.104, "0.10"), (5.46, "5.5"), (42.4, "42"), (1100.0, "1,100")])
def test_a_latency_has_about_two_figures(p50_ms, shown):
    timed = replace(ROW, latency=Latency(p50_ms, p50_ms, p50_ms, p50_ms, 9))

    text = render_leaderboard(board(timed))

    row = next(line for line in text.splitlines() if "3-small" in line)
    assert "p50 ms" in text
    assert row.split()[-1] == shown


def test_a_price_is_a_column_only_where_something_costs_anything():
    free = replace(ROW, facts=ModelFacts(price_per_1m_tokens=0.0))
    paid = replace(ROW, model="paid", facts=ModelFacts(price_per_1m_tokens=0.02))

    assert "$/1M" not in render_leaderboard(board(free))
    assert "$/1M" in render_leaderboard(board(free, paid))


def test_columns_that_nobody_can_fill_are_left_out():
    text = render_leaderboard(board(replace(ROW, rating=None, rank_lower=None)), on=Screen(160))

    assert "nDCG" not in text
    assert "rating " not in text.split("\n\n")[1]
    assert "None" not in text


def test_each_data_set_has_its_column_and_a_blank_where_a_model_did_not_play():
    other = replace(ROW, model="bm25", rating=1400.0)

    text = render_leaderboard(board(ROW, other, datasets={"fiqa": (ROW, other), "arcd": (ROW,)}))

    table = text.split("rating by data set")[1].splitlines()
    assert table[0].split() == ["fiqa", "arcd"]
    assert table[1].split() == ["text-embedding-3-small", "1532", "1532"]
    assert table[2].split() == ["bm25", "1400"]


def test_names_cannot_speak_to_the_terminal_or_in_markup():
    evil = replace(ROW, model="\x1b[2J[bold red]evil[/] :smile: \u202eli\x9bve\nx")

    text = render_leaderboard(
        board(evil, datasets={"[red]d\x1b[0m": (evil,), "e": (evil,)}, judges=("\x07j",)),
        on=Screen(160),
    )

    assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(text)
    assert text.count("[2J[bold red]evil[/] :smile: live x") == 2
    assert "[red]d" in text


def test_text_is_plain_unless_colour_is_asked_for():
    assert "\x1b[" not in render_leaderboard(board())
    assert "\x1b[" in render_leaderboard(board(), on=Screen(colour=True))


def test_the_same_leaderboard_gives_the_same_text():
    assert render_leaderboard(board()) == render_leaderboard(board())


@pytest.mark.parametrize("width", [60, 100])
def test_no_line_of_a_matrix_is_wider_than_the_terminal(width):
    rows = [replace(ROW, model=f"organisation/very-long-model-name-{i:02}") for i in range(25)]
    pairs = [
        Pair(a.model, b.model, 123, 45, 67, 0.61) for i, a in enumerate(rows) for b in rows[i + 1 :]
    ]

    text = render_leaderboard(
        board(*rows, pairs=tuple(pairs), notes=()), on=Screen(width), shown=Shown(matrix=True)
    )

    tables = text.split("wins/losses/ties of row")[1].rsplit("\n\n", 1)[0]
    assert max(map(len, tables.splitlines())) <= width
    assert "more models: widen the terminal, or --json" in " ".join(tables.split())


def test_the_matrix_never_says_certain_and_marks_who_never_met():
    pairs = (Pair("text-embedding-3-small", "bm25", 0, 0, 0, 0.9999, separated=True),)

    text = render_leaderboard(board(pairs=pairs), shown=Shown(matrix=True))

    counts, sure = text.split("wins/losses/ties")[1].split("% sure that")
    assert "–" in counts
    assert ">99" in sure
    assert "<1" in sure
    assert "1 of 1 pair of models is separated, 95% sure of all at once" in text


def test_who_may_be_the_best_is_marked_and_counted():
    text = render_leaderboard(board(ROW, replace(ROW, rank=2, model="bm25")))

    assert "2*  bm25" in text
    assert "* ranks include 1: cannot be told from the best yet (2 models)" in text


def test_a_clear_winner_has_no_mark():
    first, second = replace(ROW, rank_upper=1), replace(ROW, rank=2, model="bm25", rank_lower=2)

    text = render_leaderboard(board(first, second))

    assert "*" not in text


def test_what_would_separate_neighbours_is_said_for_the_first_ones():
    more = [
        MoreQueries("a", "b", 137, 2740, 3.104, 0.8),
        MoreQueries("b", "c", 1, 20, None, 0.7),
        MoreQueries("c", "d", 4001, 9, 9.0, 0.9),
        MoreQueries("d", "e", 5, 100, 0.0, 0.6),
        MoreQueries("e", "f", 6, 100, 0.0, 0.6),
    ]

    text = render_leaderboard(board(more_queries=tuple(more)))

    assert "a vs b: about 140 more queries ($3.10) would separate them" in text
    assert "b vs c: about 1 more query (20 battles) would separate them" in text
    assert "d vs e: about 5 more queries (100 battles) would separate them" in text
    assert "1 further pair of neighbours: see --json" in text
    assert "68% of what is uncertain between neighbours is from query to query" in text
    assert "too close to separate with 100 times the queries so far: c and d" in text


def test_data_sets_are_titled_with_what_the_first_place_is_worth_there():
    places = {"scifact": PositionAdvantage(-47.2, -85.0, -9.4)}

    text = render_leaderboard(board(position_by_dataset=places), shown=Shown(by_dataset=True))

    assert "scifact: shown first is worth -47 ±38 Elo" in text


def test_importing_the_table_does_not_import_rich_or_pandas():
    code = (
        "import sys, arena.rating.leaderboard_table; print({'rich', 'pandas'} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
