"""Whole runs that stop of their own accord, and what a further run says it changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from click.testing import CliRunner, Result
from tables import each_row

from arena.cli import main

N_QUERIES = 60


def write(folder: Path, strengths: dict[str, float], n_queries: int = N_QUERIES) -> Path:
    """Models that find the one relevant document of a query first so often."""
    data = folder / "data"
    (data / "qrels").mkdir(parents=True, exist_ok=True)
    queries = [f"q{i:03}" for i in range(n_queries)]
    kinds = ("good", "bad", "other")
    corpus = [{"_id": f"{kind}-{q}", "text": f"{kind} {q}"} for q in queries for kind in kinds]
    asked = [{"_id": q, "text": f"what is {q}?"} for q in queries]
    (data / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    (data / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (data / "qrels" / "test.tsv").write_text("".join(f"{q}\tgood-{q}\t1\n" for q in queries))
    models = ""
    for place, (model, strength) in enumerate(strengths.items()):
        # Every model misses other queries: none wins everything.
        missed = {q for i, q in enumerate(queries) if (i * 7 + place * 3) % 10 >= strength * 10}
        lines = [f"{q} Q0 {'bad' if q in missed else 'good'}-{q} 1 1.0 {model}\n" for q in queries]
        (folder / f"{model}.trec").write_text("".join(lines))
        models += f'[[models]]\nname = "{model}"\nrun = "{model}.trec"\n'
    config = folder / "arena.toml"
    config.write_text(
        '[experiment]\nname = "x"\ntop_k = 1\n[[datasets]]\nname = "docs"\npath = "data"\n'
        f'{models}[judge]\nkind = "qrels"\n'
    )
    return config


def battle(config: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["battle", str(config), *options])


def n_battles(config: Path) -> int:
    log = config.parent / "runs" / "x" / "battles.jsonl"
    return len(log.read_text().splitlines())


def test_a_run_stops_once_its_models_separate(tmp_path: Path) -> None:
    config = write(tmp_path, {"good": 0.9, "poor": 0.2}, n_queries=200)

    ended = battle(config, "--until", "separated")

    assert ended.exit_code == 0, ended.stderr
    found = re.search(r"decided after (\d+) queries, (\d+) battles: each model", ended.stderr)
    assert found
    assert 20 <= int(found[1]) < 200
    assert n_battles(config) == int(found[2]) == 2 * int(found[1])


def test_a_decided_run_plays_nothing_more_when_asked_again(tmp_path: Path) -> None:
    config = write(tmp_path, {"good": 0.9, "poor": 0.2}, n_queries=200)
    battle(config, "--until", "separated")
    before = n_battles(config)

    battle(config, "--until", "separated")

    assert n_battles(config) == before


def test_models_that_are_alike_are_played_to_the_end_and_not_called_decided(
    tmp_path: Path,
) -> None:
    config = write(tmp_path, {"one": 0.6, "other": 0.6})

    ended = battle(config, "--until", "separated")

    assert n_battles(config) == 2 * N_QUERIES
    assert f"not decided after {N_QUERIES} queries" in ended.stderr
    assert ended.exit_code == 0


def test_a_run_stops_once_ratings_are_known_well_enough(tmp_path: Path) -> None:
    config = write(tmp_path, {"one": 0.6, "other": 0.5}, n_queries=200)

    ended = battle(config, "--until-width", "120")

    assert "decided after" in ended.stderr
    assert "±120 Elo" in ended.stderr
    assert n_battles(config) < 400


@each_row(
    "options",
    [
        ("--until", "separated", "--limit", "3"),
        ("--until", "separated", "--shard", "1/2"),
        ("--until", "separated", "--until-width", "9"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    ended = battle(write(tmp_path, {"one": 0.6, "other": 0.5}), *options)

    assert ended.exit_code == 2
    assert "--until" in ended.stderr


def test_a_further_run_says_who_joined_and_how_far_ratings_moved(tmp_path: Path) -> None:
    battle(write(tmp_path, {"one": 0.6, "other": 0.5}))

    ended = battle(write(tmp_path, {"one": 0.6, "other": 0.5, "new": 0.8}))

    assert "since the last run: new joined at rank 1 of 3" in ended.stderr
    assert "since the last run: ratings moved by" in ended.stderr


def test_the_best_is_found_and_models_that_are_surely_not_the_best_play_no_more(
    tmp_path: Path,
) -> None:
    strengths = {"good": 0.9, "fair": 0.4, "poor": 0.1}
    config = write(tmp_path, strengths, n_queries=200)

    ended = battle(config, "--until", "best")

    assert ended.exit_code == 0, ended.stderr
    found = re.search(r"best: good, after (\d+) queries, (\d+) battles", ended.stderr)
    assert found
    assert "dropped, after queries: " in ended.stderr
    assert "poor after " in ended.stderr
    assert n_battles(config) == int(found[2]) < 6 * 200


def test_dropped_models_cost_nothing_more_while_the_others_go_on(tmp_path: Path) -> None:
    config = write(tmp_path, {"one": 0.6, "other": 0.6, "poor": 0.1}, n_queries=100)

    ended = battle(config, "--until", "best")

    dropped = re.search(r"poor after (\d+)", ended.stderr)
    assert dropped
    assert "may be best: " in ended.stderr
    # Three pairs in both orders until then, one pair afterwards.
    assert n_battles(config) == 6 * int(dropped[1]) + 2 * (100 - int(dropped[1]))


def test_a_run_that_was_stopped_drops_the_same_models_as_one_that_nobody_stopped(
    tmp_path: Path,
) -> None:
    config = write(tmp_path, {"one": 0.7, "other": 0.6, "fair": 0.3, "poor": 0.1}, n_queries=100)
    log = tmp_path / "runs" / "x" / "battles.jsonl"
    battle(config, "--until", "best")
    whole = re.sub(r'"at":"[^"]+"', "", log.read_text())
    lines = log.read_text().splitlines(keepends=True)

    log.write_text("".join(lines[: len(lines) * 2 // 3]))
    battle(config, "--until", "best")

    assert re.sub(r'"at":"[^"]+"', "", log.read_text()) == whole


def test_a_model_within_some_points_of_the_best_is_good_enough(tmp_path: Path) -> None:
    config = write(tmp_path, {"one": 0.6, "other": 0.6, "poor": 0.1}, n_queries=200)

    ended = battle(config, "--until", "best", "--within", "300")

    assert re.search(r"o\w+ is within 300 Elo of the best, after \d+ queries", ended.stderr)


def test_within_without_until_best_is_one_line(tmp_path: Path) -> None:
    ended = battle(write(tmp_path, {"a": 0.6, "b": 0.4}), "--within", "20")

    assert ended.exit_code == 2
    assert ended.stderr == "error: --within is for --until best; add it\n"
