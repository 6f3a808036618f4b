"""`arena rate` on any log: a right answer or one clear line, never NaN and never a traceback."""

from __future__ import annotations

import errno
import json
import math
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from rated import GOLDEN_BATTLES

import arena as package
from arena.cli import main
from arena.errors import WriteError
from arena.rating.bradley_terry import ELO_PER_LOGIT
from arena.rating.leaderboard_files import read_leaderboard

COLUMNS = ["model_a", "model_b", "winner", "query_id"]
FORMATS = [".csv", ".tsv", ".jsonl", ".parquet"]


def arena(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


def log(tmp_path: Path, rows: list[tuple[str, ...]], suffix: str = ".csv") -> Path:
    """Battles written (first, second, winner, query)."""
    return write(pd.DataFrame(rows, columns=COLUMNS), tmp_path / f"battles{suffix}")


def fair(n_queries: int = 30, models: str = "abcd", seed: int = 0) -> list[tuple[str, ...]]:
    """Every pair in both orders on every query; each model is better than the next."""
    rng = np.random.default_rng(seed)
    strength = {model: -0.8 * place for place, model in enumerate(models)}
    rows = []
    for query in range(n_queries):
        for a, b in permutations(models, 2):
            won = rng.random() < 1 / (1 + math.exp(strength[b] - strength[a]))
            winner = "tie" if rng.random() < 0.1 else "model_a" if won else "model_b"
            rows.append((a, b, winner, f"q{query}"))
    return rows


def rated(path: Path, *options: str) -> dict:
    """The JSON of a rating that succeeded, without any number that is none."""
    done = arena("rate", path, "--json", *options)
    assert done.exit_code == 0, done.output

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(done.stdout, parse_constant=refuse)


def refused(path: Path, *options: str) -> str:
    """The one line of an error with exit status 2."""
    done = arena("rate", path, *options)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


def test_a_model_that_wins_everything_has_no_rating_until_a_prior_gives_it_one(tmp_path):
    path = log(tmp_path, [("top", m, "model_a", "q") for m in "abc"] + fair(models="abc"))

    plain, prior = rated(path), rated(path, "--prior", "0.5")

    assert plain["overall"][0]["rating"] is None
    assert "top | a, b, c" in (note := " ".join(plain["notes"]))
    assert "--prior" in note
    assert prior["overall"][0]["model"] == "top"
    assert math.isfinite(prior["overall"][0]["rating"])


def test_models_that_only_tie_are_equal(tmp_path):
    path = log(tmp_path, [(*p, "tie", f"q{i}") for i in range(3) for p in permutations("abc", 2)])

    tree = rated(path)

    assert [row["rank"] for row in tree["overall"]] == [1, 1, 1]
    assert [row["rating"] for row in tree["overall"]] == pytest.approx([1500] * 3)
    assert tree["tied_with_first"] == ["a", "b", "c"]
    assert tree["more_queries"] == []


def test_a_model_of_ties_says_that_it_has_nothing_to_fit_where_all_is_tied(tmp_path):
    path = log(tmp_path, [(*p, "tie", f"q{i}") for i in range(3) for p in permutations("ab", 2)])

    tree = rated(path, "--method", "davidson")

    assert tree["overall"][0]["rating"] is None
    assert any("every battle is a tie" in note for note in tree["notes"])


def test_one_battle_is_rated_by_elo_alone(tmp_path):
    tree = rated(log(tmp_path, [("a", "b", "model_a", "q")]))

    assert [row["elo"] for row in tree["overall"]] == [1516, 1484]
    assert tree["pairs"] == [
        {"a": "a", "b": "b", "wins": 1, "losses": 0, "ties": 0, "p_better": None}
        | {"separated": False}
    ]


def test_two_disconnected_pools_are_named_and_joined_by_a_prior(tmp_path):
    path = log(tmp_path, fair(models="ab") + fair(models="xy", seed=1))

    plain, prior = rated(path), rated(path, "--prior", "1")

    assert any("a, b | x, y" in note for note in plain["notes"])
    assert all(math.isfinite(row["rating"]) for row in prior["overall"])
    assert prior["overall"][0]["rank_upper"] >= 2  # nothing tells a from x
    assert arena("rate", path, "--matrix", "--by-dataset").exit_code == 0


@pytest.mark.parametrize("text", ["", "\n", "model_a,model_b,winner\n"])
def test_an_empty_log_is_refused(tmp_path, text):
    (tmp_path / "empty.csv").write_text(text)

    assert "empty.csv: " in refused(tmp_path / "empty.csv")


def test_two_hundred_models_are_rated(tmp_path):
    names = [f"m{i:03d}" for i in range(200)]
    rng = np.random.default_rng(0)
    rows = [
        (*rng.permutation([a, b]), ("model_a", "model_b")[rng.integers(2)], f"q{i % 40}")
        for i, (a, b) in enumerate(
            [(names[j], names[(j + step) % 200]) for j in range(200) for step in range(1, 9)]
        )
    ]
    path = log(tmp_path, rows)

    done = arena("rate", path, "--output", tmp_path)

    assert done.exit_code == 0
    board = read_leaderboard(tmp_path / "leaderboard.json")
    assert len(board.pairs) == 200 * 199 // 2
    assert all(0 <= pair.p_better <= 1 for pair in board.pairs)
    assert all(row.rating is not None and row.lower < row.rating for row in board.overall)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_leaderboard_as_a_frame(tmp_path, suffix):
    rows = fair(5)
    frame = pd.DataFrame(rows, columns=COLUMNS)

    tree = rated(log(tmp_path, rows, suffix))

    board = package.rate(frame)
    assert {row["model"]: row["rating"] for row in tree["overall"]} == {
        row.model: row.rating for row in board.overall
    }
    assert [pair["p_better"] for pair in tree["pairs"]] == [p.p_better for p in board.pairs]


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_unknown_outcome_is_an_error_with_its_line(tmp_path, suffix):
    rows = [*fair(1), ("a", "b", "unsure", "q9")]

    line = refused(log(tmp_path, rows, suffix))

    assert "winner is 'unsure'; expected model_a, model_b, tie" in line
    assert f"battles{suffix}:" in line


def test_the_usual_spellings_of_a_winner_mean_the_same(tmp_path):
    words = {"A": "model_a", "b": "model_b", "Tie (bothbad)": "tie", "both bad": "tie"}
    rows = [*fair(4), ("a", "b", "A", "x"), ("a", "b", "b", "x"), ("a", "c", "Tie (bothbad)", "x")]

    spelt = rated(log(tmp_path, rows))
    plain = rated(log(tmp_path, [(a, b, words.get(w, w), q) for a, b, w, q in rows]))

    assert spelt == plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prior", "1e308", "--method", "davidson"], "prior is 1e+308; expected 0 to 1,000,000"),
        (["--bootstrap", "10"], "bootstrap is 10 draws; give at least 100"),
        (["--bootstrap", "100001"], "at least 100 and at most 100,000, or 0 for the sandwich"),
        (["--bootstrap", "100", "--method", "davidson"], "the bootstrap is for bt"),
        (["--judges", "mean", "--method", "davidson"], "davidson rates verdicts, not means"),
        (["--judge", "nobody"], "no battle was judged by 'nobody'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_line(tmp_path, options, message):
    assert message in refused(log(tmp_path, fair(3)), *options)


def test_a_method_that_is_none_is_refused_with_those_that_are(tmp_path):
    done = arena("rate", log(tmp_path, fair(3)), "--method", "rao-kupper")

    assert done.exit_code == 2
    assert "'rao-kupper' is not one of 'bt', 'davidson'" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "davidson"],
        ["--bootstrap", "200"],
        ["--no-position"],
        ["--level", "0.8"],
        ["--prior", "2"],
    ],
)
def test_every_way_of_rating_finds_the_same_order_and_is_read_back(tmp_path, options):
    path = log(tmp_path, fair(60))

    done = arena("rate", path, "--output", tmp_path, *options)

    board = read_leaderboard(tmp_path / "leaderboard.json")
    assert done.exit_code == 0
    assert [row.model for row in board.overall] == ["a", "b", "c", "d"]
    assert all(row.lower < row.rating < row.upper for row in board.overall)
    assert all(pair.p_better > 0.5 for pair in board.pairs)


def test_a_lower_level_gives_narrower_intervals(tmp_path):
    path = log(tmp_path, fair(40))

    wide, narrow = (rated(path, "--level", level)["overall"][0] for level in ("0.99", "0.8"))

    assert narrow["upper"] - narrow["lower"] < wide["upper"] - wide["lower"]


def test_a_panel_is_one_battle_a_matchup_and_each_of_its_judges_can_be_asked(tmp_path):
    frame = pd.DataFrame(fair(20), columns=COLUMNS)
    worse = frame.assign(winner=frame.winner.map({"model_a": "model_b", "model_b": "model_a"}))
    panel = [
        frame.assign(judge="x"),
        frame.assign(judge="y"),
        worse.fillna("tie").assign(judge="z"),
    ]
    path = write(pd.concat(panel), tmp_path / "panel.csv")
    alone = log(tmp_path, fair(20))

    majority, each, z = rated(path), rated(path, "--judges", "each"), rated(path, "--judge", "z")

    assert majority["overall"] == rated(alone)["overall"]
    assert majority["judges"] == ["x", "y", "z"]
    assert each["battles"] == 3 * majority["battles"]
    assert [row["model"] for row in z["overall"]] == ["d", "c", "b", "a"]
    assert z["judges"] == ["z"]


def test_probabilities_are_rated_where_the_log_has_them(tmp_path):
    lines = []
    for a, b, winner, query in fair(30):
        share = {"model_a": (0.7, 0.2), "model_b": (0.2, 0.7), "tie": (0.3, 0.3)}[winner]
        probs = {"first": share[0], "second": share[1], "tie": 1 - sum(share)}
        keys = zip([*COLUMNS, "probs"], (a, b, winner, query, probs), strict=True)
        lines.append(json.dumps(dict(keys)))
    path = tmp_path / "soft.jsonl"
    path.write_text("\n".join(lines) + "\n")

    soft, hard = rated(path), rated(path, "--no-soft")

    spread = [tree["overall"][0]["rating"] - tree["overall"][-1]["rating"] for tree in (soft, hard)]
    assert spread[0] < 0.6 * spread[1]
    assert any("probabilities in 360 of 360 battles" in note for note in soft["notes"])
    assert soft["settings"]["soft"] == "auto"
    assert [row["wins"] for row in soft["overall"]] == [row["wins"] for row in hard["overall"]]


def test_few_queries_are_warned_of_and_many_are_not(tmp_path):
    few, many = rated(log(tmp_path, fair(10))), rated(log(tmp_path, fair(25)))

    assert any("only 10 queries: intervals are approximate" in note for note in few["notes"])
    assert not any("approximate" in note for note in many["notes"])


def own_log(tmp_path: Path, cost: float) -> Path:
    rows = [
        {"id": str(i), "dataset": "d", "query_id": q, "model_a": a, "model_b": b, "winner": w}
        | {"judge": "j", "prompt": "p", "source": "judge", "cost_usd": cost}
        for i, (a, b, w, q) in enumerate(fair(12))
    ]
    path = tmp_path / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_would_separate_neighbours_is_priced_as_the_log_was(tmp_path):
    path = own_log(tmp_path, 0.002)

    more = rated(path)["more_queries"]
    text = arena("rate", path).stdout

    assert more
    for plan in more:
        assert plan["battles"] == 12 * plan["queries"]  # six pairs in both orders
        assert plan["cost_usd"] == pytest.approx(0.002 * plan["battles"])
        assert 0 <= plan["query_share"] <= 1
    plan = min(more, key=lambda plan: plan["queries"])
    assert f"{plan['a']} vs {plan['b']}: about " in text
    assert f"(${plan['cost_usd']:,.2f}) would separate them" in text


def test_a_judge_that_costs_nothing_is_planned_in_battles(tmp_path):
    path = own_log(tmp_path, 0.0)

    assert "battles) would separate them" in arena("rate", path).stdout


def test_the_matrix_shows_each_pair_from_both_sides(tmp_path):
    path = log(tmp_path, fair(30))

    pair = rated(path)["pairs"][0]
    text = arena("rate", path, "--matrix").stdout

    first, second = text.split("of row against column")[1].splitlines()[2:4]
    assert first.split()[:4] == ["1", "a", "·", f"{pair['wins']}/{pair['losses']}/{pair['ties']}"]
    assert second.split()[2] == f"{pair['losses']}/{pair['wins']}/{pair['ties']}"
    assert "% sure that row is better than column" in text


def test_wins_losses_and_ties_of_pairs_add_up_to_those_of_the_table(tmp_path):
    tree = rated(log(tmp_path, fair(8)))

    for row in tree["overall"]:
        wins = sum(p["wins"] for p in tree["pairs"] if p["a"] == row["model"])
        wins += sum(p["losses"] for p in tree["pairs"] if p["b"] == row["model"])
        assert wins == row["wins"]
    names = [row["model"] for row in tree["overall"]]
    assert [(p["a"], p["b"]) for p in tree["pairs"]] == list(combinations(names, 2))


def test_full_tables_are_shown_for_each_data_set_where_asked(tmp_path):
    frame = pd.DataFrame(fair(6), columns=COLUMNS)
    both = pd.concat([frame.assign(dataset="fiqa"), frame.assign(dataset="arcd")])
    path = write(both, tmp_path / "two.csv")

    usual, full = arena("rate", path).stdout, arena("rate", path, "--by-dataset").stdout

    assert usual.count("W/L/T") == 1
    assert full.count("W/L/T") == 3
    assert "arcd" in full
    assert "fiqa" in full


@pytest.mark.parametrize(
    ("method", "theta"),
    [
        ("bt", [-1.144278, -0.195821, -0.191750, 0.747585, 0.784265]),
        ("davidson", [-3.945718, -0.660335, -0.657883, 2.623030, 2.640906]),
    ],
)
def test_ratings_are_those_of_independent_programs(tmp_path, method, theta):
    winner = {"L": "model_a", "R": "model_b", "T": "tie"}
    rows = [(r[0], r[1], winner[r[2]], str(i // 4)) for i, r in enumerate(GOLDEN_BATTLES.split())]

    tree = rated(log(tmp_path, rows), "--method", method, "--no-position")

    ratings = {row["model"]: row["rating"] for row in tree["overall"]}
    expected = 1500 + ELO_PER_LOGIT * np.array(theta)
    assert [ratings[str(model)] for model in range(5)] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_leaderboard_that_cannot_be_written_is_printed_first(tmp_path, options):
    folder = tmp_path / "runs"
    (folder / "leaderboard.json").mkdir(parents=True)  # no file can take its place, even root's
    log(folder, fair(6)).rename(tmp_path / "log.csv")
    (folder / "battles.jsonl").write_text(
        pd.read_csv(tmp_path / "log.csv").to_json(orient="records", lines=True)
    )

    kept, bare = arena("rate", folder, *options), arena("rate", folder / "battles.jsonl", *options)

    assert bare.exit_code == 0
    assert (kept.exit_code, kept.stdout) == (1, bare.stdout)
    (line,) = kept.stderr.splitlines()
    assert line.startswith(f"error: {folder / 'leaderboard.json'}: cannot be written: ")


def test_a_read_only_experiment_can_be_rated(tmp_path, monkeypatch):
    folder = tmp_path / "runs"
    folder.mkdir()
    log(folder, fair(6)).rename(folder / "battles.csv")
    rows = pd.read_csv(folder / "battles.csv").to_json(orient="records", lines=True)
    (folder / "battles.jsonl").write_text(rows)

    def write(*_: object) -> None:
        raise WriteError(folder / "leaderboard.json", OSError(errno.EROFS, "Read-only file system"))

    monkeypatch.setattr("arena.rating.rate_files.write_leaderboard", write)
    default, asked = arena("rate", folder), arena("rate", folder, "--output", folder)

    assert (default.exit_code, asked.exit_code) == (0, 1)
    assert default.stdout == asked.stdout == arena("rate", folder / "battles.jsonl").stdout
    assert default.stderr == (
        f"note: {folder}/leaderboard.json: cannot be written: Read-only file system; "
        "--output FOLDER writes elsewhere\n"
    )


def test_an_output_folder_below_a_file_is_said_after_the_leaderboard(tmp_path):
    path = log(tmp_path, fair(6))

    done = arena("rate", path, "--output", path / "below")

    assert done.exit_code == 1
    assert done.stdout == arena("rate", path).stdout
    assert "cannot be written: Not a directory" in done.stderr


def test_an_error_with_foreign_names_is_one_line_that_can_be_read(tmp_path):
    names = "\n\x1b[31m", "\u2028", "x" * 100_000
    rows = [(f"{a}{names[0]}", f"{b}{names[1]}{names[2]}", w, q) for a, b, w, q in fair(3)]

    done = arena("compare", "a", "b", log(tmp_path, rows, ".jsonl"))

    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no battle of 'a'; the models of the log: a")
    assert line.isprintable()
    assert len(line) < 5000


def test_an_error_about_a_huge_value_ends_with_what_to_do(tmp_path):
    path = log(tmp_path, [("a", "b", "x" * 100_000, "q")], ".jsonl")

    done = arena("rate", path)

    assert done.exit_code == 2
    assert len(done.stderr) < 1000
    assert done.stderr.rstrip().endswith("or the winning model's own name")
