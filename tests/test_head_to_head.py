"""`arena compare`: a new model against the one that is there, and the gate of a build."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from experiments import write_experiment
from tables import each_row
from test_between import drawn

from arena.battles.load import from_frame, load_battles
from arena.cli import main
from arena.comparing.compare import compare_groups
from arena.comparing.groups import by_length, script_of
from arena.rating.head_to_head import Difference, QueryOutcome, head_to_head

ELO = 400 / math.log(10)


def write_log(path: Path, wins: dict[str, str], *, n: int = 1) -> Path:
    """A log of "old" against "new": for each query what "new" did in both orders, W, T or L."""
    word = {"W": ("model_b", "model_a"), "T": ("tie", "tie"), "L": ("model_a", "model_b")}
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["query_id", "model_a", "model_b", "winner"])
        for number, (query, outcome) in product(range(n), wins.items()):
            name = query if n == 1 else f"{query}-{number}"
            rows.writerow([name, "old", "new", word[outcome][0]])
            rows.writerow([name, "new", "old", word[outcome][1]])
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, args)])


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Forty queries: of four the new model wins one, loses two, ties one."""
    return write_log(tmp_path / "log.csv", {"a": "W", "b": "L", "c": "L", "d": "T"}, n=10)


def test_the_difference_of_two_models_is_the_logit_of_their_share_of_the_points(mixed):
    result = head_to_head(load_battles([mixed]), "old", "new")

    share = (1 + 0.5) / 4
    assert result.difference.elo == pytest.approx(ELO * math.log(share / (1 - share)), abs=0.01)
    assert (result.wins, result.ties, result.losses) == (20, 20, 40)
    assert result.difference.queries == pytest.approx(40)


def test_swapping_the_models_turns_every_figure_round(mixed):
    battles = load_battles([mixed])
    there, back = (head_to_head(battles, *pair) for pair in (("old", "new"), ("new", "old")))

    assert back.difference.elo == pytest.approx(-there.difference.elo)
    assert back.difference.lower == pytest.approx(-there.difference.upper)
    assert back.difference.least == pytest.approx(-there.difference.most)
    assert back.difference.p_better == pytest.approx(1 - there.difference.p_better)
    assert (back.wins, back.losses) == (there.losses, there.wins)
    assert back.outcomes[0].points == 1 - there.outcomes[-1].points


def test_the_bounds_for_all_looks_are_wider_than_an_interval_for_one(mixed):
    difference = head_to_head(load_battles([mixed]), "old", "new").difference

    assert difference.least < difference.lower < difference.upper < difference.most


@each_row(
    ("least", "most", "tolerance", "change"),
    [
        (-60, -30, 20, "worse"),
        (-60, -30, 30, "undecided"),
        (-60, -30, 60, "not worse"),
        (-10, 40, 10, "not worse"),
        (0, 0, 0, "not worse"),
        (-math.inf, math.inf, 1000, "undecided"),
    ],
)
def test_worse_is_what_lies_wholly_below_the_tolerance(least, most, tolerance, change):
    difference = Difference(
        (least + most) / 2 if math.isfinite(least) else 0.0, least, most, 0.5, 40, least, most, 0.95
    )

    assert difference.change(tolerance) == change


@each_row(
    ("wins", "n", "status", "word"),
    [
        ({"a": "L", "b": "L", "c": "L", "d": "T"}, 20, 1, "worse: new is surely worse than old"),
        ({"a": "W", "b": "W", "c": "T", "d": "L"}, 20, 0, "not worse: new is surely not worse"),
        ({"a": "W", "b": "L", "c": "W", "d": "L"}, 20, 3, "undecided: at all looks together"),
        ({"a": "L", "b": "L"}, 5, 3, "nothing is concluded from fewer than 20"),
        ({"a": "L"}, 60, 1, "worse: new is surely worse than old"),
    ],
)
def test_a_build_fails_only_on_a_model_that_is_surely_worse(tmp_path, wins, n, status, word):
    log = write_log(tmp_path / "log.csv", wins, n=n)
    done = run("old", "new", log, "--fail-if", "worse", "--tolerance", 10)

    assert word in done.output
    assert done.exit_code == status
    assert not re.search(r"[+-]0\.0 ", done.output)  # a query without weight is not listed by it
    assert "queries that new lost; none moves" in done.output or set(wins.values()) != {"L"}


def test_models_that_show_the_same_lists_are_not_worse_however_few_queries_there_are(tmp_path):
    same = {"old": ["good", "fair"], "new": ["good", "fair"], "third": ["poor", "other"]}
    config = write_experiment(tmp_path, rankings=same)
    assert CliRunner().invoke(main, ["battle", str(config), "-q"]).exit_code == 0
    done = run("old", "new", tmp_path / "runs" / "x", "--fail-if", "worse")

    assert "the same: old and new show the same documents for every query" in done.output
    assert done.exit_code == 0


def test_without_fail_if_a_worse_model_is_a_finding_and_no_failure(tmp_path):
    log = write_log(tmp_path / "log.csv", {"a": "L", "b": "L", "c": "T"}, n=20)

    assert run("old", "new", log).exit_code == 0


def test_json_holds_the_decision_and_the_queries_that_were_lost(tmp_path):
    log = write_log(tmp_path / "log.csv", {"a": "W", "b": "L"}, n=2)
    held = json.loads(run("old", "new", log, "--json").output)

    assert held["change"] == "undecided"
    assert held["difference"]["most"] is None
    assert held["queries"] == {"won": 2, "tied": 0, "lost": 2}
    assert [query["query_id"] for query in held["lost_queries"]] == ["b-0", "b-1"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("old", "newer"), "no battle of 'newer'; the models of the log: new, old"),
        (("old", "old"), "'old' is compared with itself; name two models"),
    ],
)
def test_a_model_that_cannot_be_compared_is_one_line(mixed, args, words):
    done = run(*args, mixed)

    assert done.exit_code == 2
    assert done.output == f"error: {words}\n"


def test_models_that_never_met_are_compared_by_their_battles_with_others(tmp_path):
    log = tmp_path / "log.csv"
    rows = [
        f"q{n},{model},third,{winner}"
        for n in range(30)
        for model, winner in (("old", "model_a" if n % 3 else "model_b"), ("new", "tie"))
    ]
    log.write_text("query_id,model_a,model_b,winner\n" + "\n".join(rows) + "\n")
    done = run("old", "new", log)

    assert done.exit_code == 0
    assert "old and new never met" in done.output
    assert "B - A: -" in done.output


def test_queries_are_grouped_by_length_and_by_script():
    texts = {("d", str(n)): " ".join(["word"] * n) for n in range(1, 10)}

    assert set(by_length(texts).values()) == {
        "short (1 to 4 words)",
        "medium (5 to 7 words)",
        "long (8 to 9 words)",
    }
    assert [script_of(text) for text in ("how?", "كيف", "如何", "как", "42")] == [
        "Latin",
        "Arabic",
        "Cjk",
        "Cyrillic",
        "no letters",
    ]


def test_a_file_of_columns_shows_on_which_queries_the_new_model_loses(tmp_path):
    kinds = {"faq": "L", "long": "W", "code": "L"}
    log = write_log(tmp_path / "log.csv", kinds, n=12)
    groups = tmp_path / "queries.jsonl"
    lines = [
        {"_id": f"{kind}-{n}", "text": "?", "metadata": {"kind": kind, "url": f"http://{kind}{n}"}}
        for kind in kinds
        for n in range(12)
    ]
    groups.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = run("old", "new", log, "--groups", groups)
    held = json.loads(run("old", "new", log, "--groups", groups, "--json").output)

    assert shown.exit_code == 0
    assert [(g["group"], g["value"]) for g in held["groups"]] == [
        ("code", 0.0),
        ("faq", 0.0),
        ("long", 1.0),
    ]
    assert "loses" in shown.output
    assert "wins" in shown.output
    assert "column 'url' has 36 values: no groups" in shown.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,kind\nq,x\n", "no column query_id; its columns are name, kind"),
        ("query_id,kind\nnobody,x\n", "no row has the query_id of a query that was compared"),
    ],
)
def test_a_file_of_columns_that_fits_nothing_is_one_line(mixed, tmp_path, text, words):
    groups = tmp_path / "groups.csv"
    groups.write_text(text)
    done = run("old", "new", mixed, "--groups", groups)

    assert done.exit_code == 2
    assert words in done.output
    assert done.output.count("\n") == 1


def test_many_groups_of_equal_models_find_nothing_by_chance():
    rng, n_false = np.random.default_rng(5), 0
    for _ in range(100):
        outcomes = [
            QueryOutcome("d", str(n), float(rng.choice([0, 0.5, 1])), 2) for n in range(200)
        ]
        columns = {
            f"column {c}": {("d", str(n)): str(rng.integers(4)) for n in range(200)}
            for c in range(5)
        }
        n_false += any(group.verdict for group in compare_groups(outcomes, columns, level=0.95))

    assert n_false <= 10  # 5 of 100 are expected at most; 11 or more have a chance below 2%


def test_two_run_files_are_judged_as_the_arena_toml_says_and_paid_for_once(tmp_path):
    config = write_experiment(tmp_path)
    args = (tmp_path / "strong.trec", tmp_path / "weak.trec", config)
    first, again = run(*args, "--quiet"), run(*args, "--quiet")

    assert first.exit_code == again.exit_code == 0
    assert "queries: won 0, tied 0, lost 6" in first.output
    assert again.output == first.output
    log = tmp_path / "runs" / "x-strong-weak" / "battles.jsonl"
    assert len(log.read_bytes().splitlines()) == 12


def test_a_run_file_that_is_not_there_is_one_line(tmp_path):
    config = write_experiment(tmp_path)
    done = run(tmp_path / "strong.trec", tmp_path / "none.trec", config)

    assert done.exit_code == 2
    assert (
        done.output == f"error: {tmp_path / 'none.trec'}: no such run file; expected a TREC run\n"
    )


def test_a_baseline_whose_corpus_has_changed_is_told_apart_from_a_worse_model(tmp_path):
    config = write_experiment(tmp_path)
    folder = tmp_path / "runs" / "x"
    assert CliRunner().invoke(main, ["battle", str(config), "-q"]).exit_code == 0
    same = run("strong", "weak", folder, "--baseline", folder)
    baseline = tmp_path / "baseline"
    baseline.mkdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["datasets"]["docs"]["corpus_hash"] = "another"
    (baseline / "manifest.json").write_text(json.dumps(manifest))
    other = run("strong", "weak", folder, "--baseline", baseline, "--fail-if", "worse")

    assert "data changed" not in same.output
    assert "data changed: docs: its corpus changed since the baseline" in other.output
    assert other.exit_code == 3


def test_what_queries_say_reaches_the_terminal_without_its_escapes(tmp_path):
    config = write_experiment(tmp_path)
    queries = tmp_path / "data" / "queries.jsonl"
    queries.write_text(queries.read_text().replace("what is q0?", "what \\u001b[31mis q0?"))
    assert CliRunner().invoke(main, ["battle", str(config), "-q"]).exit_code == 0
    done = run("strong", "weak", tmp_path / "runs" / "x")

    assert "is q0?" in done.output
    assert "\x1b" not in done.output


def test_the_weight_of_a_query_is_what_the_difference_changes_without_it():
    battles = from_frame(drawn(5, (0.6, 0.2, -0.8), 40, first=0.3))
    found = head_to_head(battles, "m0", "m1")
    outcomes = {outcome.query_id: outcome.weight_elo for outcome in found.outcomes}

    moved = []
    for query in list(outcomes)[::4]:
        code = battles.query_ids.index(query)
        rest = battles.take(np.flatnonzero(battles.query_id != code))
        without = head_to_head(rest, "m0", "m1").difference.elo
        moved.append((outcomes[query], found.difference.elo - without))
    said, actual = np.array(moved).T

    assert list(outcomes.values()) == sorted(outcomes.values())
    assert sum(outcomes.values()) == pytest.approx(0, abs=1e-6)
    assert said == pytest.approx(actual, rel=0.15, abs=0.3)


GATE_PAGE = (Path(__file__).resolve().parents[1] / "docs" / "gate.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GATE_PAGE, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Return the words of each `arena` command in a text."""
    lines = text.replace("\\\n", " ").replace("- run: ", "").splitlines()
    return [shlex.split(line)[1:] for line in map(str.strip, lines) if line.startswith("arena ")]


PAGE_COMMANDS = [
    words for kind in ("sh", "yaml") for text in blocks(kind) for words in commands(text)
]


def test_the_action_of_the_page_is_valid_yaml_and_its_steps_are_whole():
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    action = yaml.safe_load(text)
    steps = action["jobs"]["gate"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]

    assert action[True] == "pull_request"  # YAML 1.1 reads the key "on" as true
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert [words[0] for run in runs for words in commands(run)] == ["battle", "compare"]
    assert "${{ secrets.OPENAI_API_KEY }}" in steps[-2]["env"]["OPENAI_API_KEY"]


@each_row("words", PAGE_COMMANDS)
def test_every_command_of_the_page_takes_the_options_that_the_page_gives(words):
    context = main.commands[words[0]].make_context(words[0], words[1:])

    assert context.params


def test_the_hook_of_the_page_is_a_script_that_a_shell_can_read():
    (hook,) = (text for text in blocks("sh") if text.startswith("#!/bin/sh"))

    subprocess.run(["sh", "-n"], input=hook, text=True, check=True)
    assert len(PAGE_COMMANDS) >= 5


@each_row(
    ("file", "words"),
    [
        ("corpus.jsonl", "data changed: docs: its corpus changed since the baseline"),
        ("queries.jsonl", "data changed: docs: its queries changed since the baseline"),
        ("arena.toml", ""),
    ],
)
def test_a_changed_file_of_data_is_told_apart_from_a_changed_model(tmp_path, file, words):
    config = write_experiment(tmp_path)
    folder, stored = tmp_path / "runs" / "x", tmp_path / "stored"
    assert CliRunner().invoke(main, ["battle", str(config), "-q"]).exit_code == 0
    stored.mkdir()
    shutil.copy(folder / "manifest.json", stored)
    changed = config if file == "arena.toml" else tmp_path / "data" / file
    text = changed.read_text()
    changed.write_text(text.replace("[judge]", "# a comment\n[judge]"))
    if file == "corpus.jsonl":
        changed.write_text(text.replace("a good document for q0", "a good text for q0"))
    if file == "queries.jsonl":
        changed.write_text(text.replace("what is q0?", "what was q0?"))
    assert CliRunner().invoke(main, ["battle", str(config), "-q"]).exit_code == 0
    done = run("strong", "weak", folder, "--baseline", stored, "--fail-if", "worse")

    assert done.exit_code == 3
    assert ("data changed" in done.output) == bool(words)
    assert words in done.output
