"""What a notebook does with `import arena`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from experiments import write_experiment

import arena
from arena.errors import IncompleteError, UsageError
from arena.experiment.pipeline import battle
from arena.log.battle_log import read_battles
from arena.progress import reporter

ANIMALS = ("cat", "dog", "owl", "fox", "bee", "elk")


@pytest.fixture
def data() -> arena.Dataset:
    corpus = {f"d{i}": f"a {animal} {'and more ' * i}" for i, animal in enumerate(ANIMALS)}
    queries = {f"q{i}": f"which {animal}?" for i, animal in enumerate(ANIMALS)}
    qrels = {f"q{i}": {f"d{i}": 1} for i in range(len(ANIMALS))}
    return arena.Dataset(corpus, queries, qrels, name="zoo")


@pytest.fixture
def runs(data) -> list[arena.ModelRun]:
    ids = list(data.corpus)
    return [
        arena.retrieve(lambda query, k: ids[:3], data, name="head"),
        arena.retrieve(lambda query, k: ids[::-1][:3], data, name="tail"),
    ]


def longer(query, first, second):
    lengths = [sum(len(d.text) for d in side) for side in (first, second)]
    return "first" if lengths[0] > lengths[1] else "second"


async def longer_soon(query, first, second):
    await asyncio.sleep(0)
    return longer(query, first, second)


@pytest.mark.parametrize("judge", [longer, longer_soon])
def test_a_function_judges_every_pair_in_both_orders(runs, judge):
    battles = arena.compare(runs, judge=judge)

    assert len(battles) == 2 * len(ANIMALS)
    winners = battles["model_a"].where(battles["winner"] == "model_a", battles["model_b"])
    assert set(winners) == {"tail"}
    assert [row.model for row in arena.rate(battles).overall] == ["tail", "head"]


def test_a_log_holds_the_battles_that_the_command_would_play(tmp_path):
    config = write_experiment(tmp_path)
    summary = battle(config, reporter(quiet=True))
    data = arena.load_dataset(tmp_path / "data", _dataset_name(config))
    stored = sorted(summary.experiment.folder.glob("retrieval/*/*.trec"))
    runs = [arena.read_run(path, data) for path in stored]

    battles = arena.compare(
        runs, judge=arena.qrels_judge(), log=tmp_path / "log", top_k=_top_k(config)
    )

    of_command = list(read_battles(summary.experiment.folder / "battles.jsonl"))
    of_api = list(read_battles(tmp_path / "log" / "battles.jsonl"))
    assert [b.id for b in of_api] == [b.id for b in of_command] == battles["id"].tolist()
    assert [b.winner for b in of_api] == [b.winner for b in of_command]


def _dataset_name(config: Path) -> str:
    import tomllib

    return tomllib.loads(config.read_text())["datasets"][0]["name"]


def _top_k(config: Path) -> int:
    import tomllib

    return tomllib.loads(config.read_text())["experiment"].get("top_k", 5)


def test_what_is_in_a_log_is_not_judged_again(runs, tmp_path):
    asked = []

    def judge(query, first, second):
        asked.append(query.query_id)
        return longer(query, first, second)

    known = arena.function_judge(judge, "longer-v1")
    arena.compare(runs, judge=known, log=tmp_path / "log", limit=5)
    assert len(asked) == 5
    battles = arena.compare(runs, judge=known, log=str(tmp_path / "log"))

    assert len(asked) == len(battles) == 2 * len(ANIMALS)
    assert arena.rate(tmp_path / "log").battles == len(battles)
    assert arena.audit(str(tmp_path / "log")).battles == len(battles)
    assert arena.report(tmp_path / "log").exists()


def test_a_log_wants_a_name_for_a_function(runs, tmp_path):
    with pytest.raises(UsageError, match="function_judge"):
        arena.compare(runs, judge=longer, log=tmp_path / "log")


def test_an_arena_toml_of_the_users_is_never_written_over(runs, tmp_path):
    (tmp_path / "arena.toml").write_text("# mine")

    with pytest.raises(UsageError, match="a file of yours"):
        arena.compare(runs, judge=arena.qrels_judge(), log=tmp_path)

    assert (tmp_path / "arena.toml").read_text() == "# mine"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "model_a",
        "First",
        0.7,
        (0.7, 0.3),
        {"first": 1},
        True,
        arena.Probs(1, 0, 0),
        arena.Verdict("first", arena.Probs(0.9, 0.9, 0.9)),
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_a_failure_never_a_tie(runs, answer):
    def judge(query, first, second):
        return answer if query.query_id == "q2" else longer(query, first, second)

    with pytest.warns(arena.ArenaWarning, match=r"2 battles have no verdict \(no_verdict: 2\)"):
        battles = arena.compare(runs, judge=judge)

    assert "q2" not in set(battles["query_id"])
    assert len(battles) == 2 * len(ANIMALS) - 2
    assert arena.rate(battles).failures == 2


def test_an_error_in_a_judge_is_a_failure_and_told(runs):
    def judge(query, first, second):
        raise KeyError("no such thing")

    with pytest.raises(IncompleteError, match=r"12 battles .* KeyError: .no such thing"):
        arena.compare(runs, judge=judge)


def test_probabilities_of_a_judge_are_kept(runs):
    probs = arena.Probs(0.6, 0.3, 0.1)
    battles = arena.compare(runs, judge=lambda q, a, b: arena.Verdict("first", probs))

    assert battles["probs"].tolist() == [{"first": 0.6, "second": 0.3, "tie": 0.1}] * 12


def test_compare_works_inside_a_running_loop(runs):
    async def cell():
        return arena.compare(runs, judge=longer_soon)

    assert len(asyncio.run(cell())) == 2 * len(ANIMALS)


def test_ctrl_c_keeps_what_was_judged(runs, tmp_path):
    def judge(query, first, second):
        if query.query_id == "q3":
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return "first"

    known = arena.function_judge(judge, "first", concurrency=1)
    with pytest.raises(KeyboardInterrupt, match="same log"):
        arena.compare(runs, judge=known, log=tmp_path / "log")
    judged = len(list(read_battles(tmp_path / "log" / "battles.jsonl")))

    assert 0 < judged < 12
    first = arena.function_judge(lambda q, a, b: "first", "first")
    assert len(arena.compare(runs, judge=first, log=tmp_path / "log")) == 12


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda runs: runs[:1], "a battle needs two"),
        (lambda runs: [], "a battle needs two"),
        (lambda runs: [runs[0], runs[0]], "two are called 'head'"),
        (lambda runs: [runs[0], "tail"], "got str"),
    ],
)
def test_runs_that_cannot_be_compared_say_why(runs, change, match):
    with pytest.raises(UsageError, match=match):
        arena.compare(change(runs), judge=longer)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"judge": "gpt"}, "of type str"),
        ({"judge": lambda one: "first"}, "query, first, second"),
        ({"judge": []}, "empty list"),
        ({"judge": {"model": "m", "temprature": 1}}, "temperature"),
        ({"judge": longer, "queries": 0}, "queries"),
        ({"judge": longer, "orders": "home"}, "orders"),
        ({"judge": arena.llm_judge("m"), "max_usd": 1.0}, "price_per_1m"),
    ],
    ids=str,
)
def test_options_that_cannot_be_used_say_why(runs, options, match):
    with pytest.raises(UsageError, match=match):
        arena.compare(runs, **options)


def test_runs_over_a_sample_lead_to_the_same_battles(data):
    whole = [arena.retrieve("bm25", data), arena.retrieve("lsa", data)]
    part = [arena.retrieve("bm25", data, queries=3), arena.retrieve("lsa", data, queries=3)]

    ids = [arena.compare(r, judge=longer, queries=3)["id"].tolist() for r in (whole, part)]

    assert ids[0] == ids[1]
    with pytest.raises(UsageError, match="bm25: has no ranking"):
        arena.compare([part[0], whole[1]], judge=longer, queries=5)
