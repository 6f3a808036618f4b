"""The same arena.toml on a Dask cluster: the same battles and ratings as on one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from click.testing import CliRunner
from dask_workers import NEEDS_DASK, two_workers
from experiments import QUIET, fair_judge, llm, play, try_to_play, write_experiment
from loopback import Answer, LoopbackServer, error
from worker_killing import in_shards

from arena.battles.load import load_battles, read_here
from arena.cli import main
from arena.cluster.connect import Cluster, check_workers, open_cluster
from arena.cluster.judge import _tasks, battle_on_cluster
from arena.cluster.read_logs import ClusterLogReader, LogTask, look_at_logs
from arena.cluster.shared_data import read_shared, write_shared
from arena.config.cluster import ClusterConfig
from arena.data.corpus_part import facts_of
from arena.data.passage_corpus import parent_of
from arena.errors import ArenaError, ClusterError, UsageError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import (
    load_data,
    load_prompts,
    only_shown,
    open_experiment,
    prepare,
)
from arena.experiment.gate_controls import controls
from arena.experiment.live import open_prepared
from arena.experiment.runs import retrieve_all
from arena.experiment.summary import Summary
from arena.rating.rate_files import rate_files
from arena.store.log_lines import read_battles
from arena.store.manifest import read_manifest

pytestmark = [NEEDS_DASK, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with two_workers(tmp_path_factory.mktemp("cache")) as two:
        yield two


def on_cluster(config: Path, cluster: Cluster, **options: Any) -> Summary:
    os.environ["ARENA_CACHE"] = str(config.parent / "cache")
    return battle_on_cluster(config, QUIET, BattleOptions(cluster="local:2", **options), cluster)


def verdicts(folder: Path) -> dict[str, tuple[str, str, str]]:
    """The battles of all logs of an experiment, by id."""
    return {
        battle.id: (battle.model_a, battle.model_b, battle.winner)
        for path in sorted((folder / "runs" / "x").glob("battles*.jsonl"))
        for battle in read_battles(path)
    }


def rated(folder: Path) -> list[tuple[str, float, Any]]:
    board = rate_files([folder / "runs" / "x"])
    return [(row.model, row.rating, row.record) for row in board.overall]


def test_two_workers_judge_what_one_machine_would(tmp_path: Path, cluster: Cluster) -> None:
    with LoopbackServer(fair_judge) as server:
        alone = write_experiment(tmp_path / "alone", judge=llm(server.base_url))
        play(alone).check()
        n_calls = len(server.requests)
        config = write_experiment(tmp_path / "cluster", judge=llm(server.base_url))
        address = cluster.client.scheduler.address
        config.write_text(config.read_text() + f'\n[cluster]\naddress = "{address}"\n')
        summary = on_cluster(config, cluster)
        again = on_cluster(config, cluster)

    summary.check()
    assert len(list((tmp_path / "cluster" / "runs" / "x").glob("battles-*of2.jsonl"))) == 2
    assert verdicts(tmp_path / "cluster") == verdicts(tmp_path / "alone")
    assert rated(tmp_path / "cluster") == rated(tmp_path / "alone")
    assert len(server.requests) == 2 * n_calls, "each battle is paid for once, also when run again"
    assert again.n_judged == summary.n_judged == 36
    facts = [read_manifest(config.parent / "runs" / "x")["datasets"] for config in (alone, config)]
    assert facts[0] == facts[1]
    check_ratings_are_equal([config.parent / "runs" / "x"], tmp_path, "")


def check_ratings_are_equal(paths: list[Path], to: Path, cluster: str, *options: str) -> str:
    """Compare what `arena rate` prints and writes with logs read on workers and here; return it."""
    boards = []
    for where in ([], ["--cluster", cluster, "--quiet"]):
        out = to / f"rated-{len(where)}"
        done = CliRunner().invoke(
            main, ["rate", *map(str, paths), *options, *where, "--output", str(out)]
        )
        assert done.exit_code == 0, done.output
        files = [(out / f"leaderboard.{suffix}").read_bytes() for suffix in ("json", "csv")]
        boards.append((done.output, *files))
    assert boards[0] == boards[1]
    return boards[0][0]


def own_battle(number: int, judge: str, **more: Any) -> dict[str, Any]:
    """A line of a log that arena wrote."""
    drawn = Random(number)
    a, b = drawn.sample("vwxyz", 2)
    return {
        "id": f"{7919 * number % 997:016x}{len(judge):016x}",
        "dataset": f"d{number % 2}",
        "query_id": f"q{number % 11}",
        "model_a": a,
        "model_b": b,
        "winner": drawn.choice(["model_a", "model_b", "tie"]),
        "judge": judge,
        "prompt": "p",
        "source": "judge",
        "cost_usd": 0.001 * (number % 7),
        **more,
    }


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--by-dataset", "--matrix"], "3 lines repeat the id of an earlier battle"),
        (["--judge", "j2"], "judge: j2"),
        (["--judges", "mean"], "by mean probability (--judges)"),
        (["--aliases", "aliases.toml", "foreign.csv"], "battles showed model_b first (swapped)"),
    ],
)
def test_logs_that_workers_read_make_the_leaderboard_of_one_machine(
    options: list[str],
    shown: str,
    tmp_path: Path,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [own_battle(n, judge) for n in range(60) for judge in ("j1", "j2 ")]
    rows[5] |= {"probs": {"first": 0.5, "second": 0.25, "tie": 0.25}}
    rows[8] |= {"source": "identical", "winner": "tie"}
    for number in range(3):
        log = rows[number::3] + rows[:number]  # shards that repeat battles of others
        lines = "".join(json.dumps(row) + "\n" for row in log)
        (tmp_path / f"battles-{number + 1}of3.jsonl").write_text(lines)
    foreign = ["model_a,model_b,winner,swapped", *["V,w,model_a,true", "x,V,model_b,false"] * 9]
    (tmp_path / "foreign.csv").write_text("\n".join(foreign))
    (tmp_path / "aliases.toml").write_text('"V" = "v"\n"no such" = "w"\n')
    monkeypatch.chdir(tmp_path)

    address = str(cluster.client.scheduler.address)
    text = check_ratings_are_equal([Path()], tmp_path / "out", address, *options)

    assert shown in " ".join(text.split())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.jsonl", '{"model_a": "x", "model_b": "y", "winner": "who"}\n'),
        ("cut.jsonl", '{"model_a": "x"\n'),
        ("log.parquet", "PAR1"),
        ("log.txt", "x beats y"),
        ("missing.csv", None),
    ],
)
def test_a_log_that_cannot_be_read_is_the_error_of_one_machine(
    name: str, text: str | None, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)

    errors = []
    for reader in (read_here, ClusterLogReader(cluster, QUIET)):
        with pytest.raises(UsageError) as caught:
            load_battles([Path(name)], read_logs=reader)
        errors.append((type(caught.value), str(caught.value)))

    assert errors[0] == errors[1]
    assert errors[0][1].startswith(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("log.jsonl", r"\S+log.jsonl has 9 bytes, and here 1,000,000; all workers need"),
        (
            "missing.jsonl",
            r"cannot read \S+missing.jsonl \(No such file or directory\); all",
        ),
    ],
)
def test_a_worker_that_sees_another_log_is_named(
    name: str, message: str, tmp_path: Path, cluster: Cluster
) -> None:
    (tmp_path / "log.jsonl").write_text("not all\n\n")
    task = LogTask(str(tmp_path / name), name, n_bytes=1_000_000, aliases={})

    with pytest.raises(ClusterError, match=rf"worker tcp://\S+: {message}"):
        check_workers(cluster, partial(look_at_logs, [task]))


@pytest.mark.parametrize(
    ("source", "cut"),
    [
        ('path = "data"', ""),
        ('path = "data"', "passage_words = 20\noverlap = 5\n"),
        ('documents = "files"\nqueries = "data/queries.jsonl"', "passage_words = 20\n"),
    ],
)
def test_workers_read_what_is_shown_and_it_makes_the_same_battles(
    tmp_path: Path, source: str, cut: str
) -> None:
    config = write_experiment(tmp_path, settings="top_k = 2")
    (tmp_path / "files").mkdir()
    for number in range(9):
        words = " ".join(f"q{number} what is word{i}" for i in range(40))
        (tmp_path / "files" / f"{number}.md").write_text(f"# About q{number}\n\n{words}\n")
    models = [f'[[models]]\nname = "m{n}"\nprovider = "bm25"\n' for n in range(2)]
    text = config.read_text().partition("[[datasets]]")[0]
    dataset = f'[[datasets]]\nname = "docs"\n{source}\n'
    config.write_text(f"{text}{dataset}{models[0]}{models[1]}{cut}[judge]\n{llm('http://h/v1')}\n")
    experiment = open_experiment(config)
    data = load_data(experiment.config)
    runs = retrieve_all(experiment, data, QUIET)
    whole = prepare(experiment, data, runs, load_prompts(experiment))
    shared = tmp_path / "shared.jsonl"

    content = write_shared(shared, only_shown(whole))
    read_data, read_runs = read_shared(shared, content)

    part = prepare(experiment, read_data, read_runs, whole.prompts)
    assert all(len(ranking) <= 2 for run in read_runs for ranking in run.rankings.values())
    corpus, held = data.datasets["docs"].corpus, read_data.datasets["docs"].corpus
    inputs = [*map(whole.lists.judge_input, whole.matchups), *controls(whole)]
    shown = {d.doc_id for each in inputs for d in (*each.first, *each.second)}
    assert set(held) == shown
    assert facts_of(held) == facts_of(corpus, of_files="documents" in source)
    assert list(part.matchups) == list(whole.matchups)
    for matchup in whole.matchups:
        assert part.lists.judge_input(matchup) == whole.lists.judge_input(matchup)
        assert part.lists.battle_id(matchup, "x") == whole.lists.battle_id(matchup, "x")
    assert controls(part) == controls(whole)
    for doc_id in held:
        assert parent_of(held, doc_id) == parent_of(corpus, doc_id)
    shared.write_bytes(shared.read_bytes() + b"{}\n")
    with pytest.raises(ClusterError, match="is not what this run has written"):
        read_shared(shared, content)


def test_a_relative_path_names_the_same_runs_on_all_workers(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_experiment(tmp_path / "here")
    monkeypatch.chdir(tmp_path)

    summary = on_cluster(Path("here") / "arena.toml", cluster)

    assert summary.n_judged == 36
    assert list((tmp_path / "here" / "runs" / "x").glob("battles-*of2.jsonl"))


def test_shards_that_share_a_limit_take_turns_and_all_are_played(
    tmp_path: Path, cluster: Cluster
) -> None:
    under_way: set[int] = set()
    most = 0

    def judge(request: dict[str, Any], attempt: int) -> Answer:
        nonlocal most
        under_way.add(threading.get_ident())
        most = max(most, len(under_way))
        try:
            return fair_judge(request, attempt)
        finally:
            under_way.discard(threading.get_ident())

    with LoopbackServer(judge) as server:
        limits = "rpm = 600000\ntpm = 1000000000\nconcurrency = 1"
        config = write_experiment(tmp_path, judge=llm(server.base_url, limits))
        in_shards(config, 8)
        summary = on_cluster(config, cluster)

    summary.check()
    assert summary.n_judged == 36 == len(verdicts(tmp_path)) == len(server.requests)
    assert len(list((tmp_path / "runs" / "x").glob("battles-*of8.jsonl"))) == 8
    assert most <= 2, "one call of each worker, whichever shards they play"


def test_no_more_shards_share_a_limit_than_it_has_requests_a_minute(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1", "rpm = 3"))
    in_shards(config, 20)
    prepared = open_prepared(open_experiment(config), QUIET, BattleOptions())

    tasks = _tasks(prepared, BattleOptions(), Cluster(cast("Any", None), 5), "")

    assert len(tasks) == 20
    assert {task.n_at_once for task in tasks} == {3}


def test_a_common_cap_holds_for_all_shards_together(tmp_path: Path, cluster: Cluster) -> None:
    with LoopbackServer(fair_judge) as server:
        judge = llm(server.base_url, "max_tokens = 20")
        config = write_experiment(tmp_path, judge=judge)
        summary = on_cluster(config, cluster, max_usd=0.004, gate=False)
        whole = write_experiment(tmp_path / "whole", judge=judge)
        alone = play(whole, max_usd=0.004, gate=False)

    paid = sum(battle.cost_usd for battle in battles_of(tmp_path))
    assert 0 < paid <= 0.004
    # What the parts of the cap leave over is played by the driver.
    assert summary.n_judged == alone.n_judged < 36
    with pytest.raises(ArenaError, match="--cluster local:2 --max-usd MORE"):
        summary.check()


def battles_of(folder: Path) -> list[Any]:
    return [
        battle
        for path in (folder / "runs" / "x").glob("battles*.jsonl")
        for battle in read_battles(path)
    ]


def test_a_refused_key_is_one_line_and_nothing_more_is_asked(
    tmp_path: Path, cluster: Cluster
) -> None:
    def refusing(request: dict[str, Any], attempt: int) -> Answer:
        return error(401, "Incorrect API key provided")

    with LoopbackServer(refusing) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        with pytest.raises(ArenaError) as caught:
            on_cluster(config, cluster)

    assert "Incorrect API key" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.requests) <= 128


def test_a_worker_without_the_key_is_named_before_anything_is_paid(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONLY_HERE_KEY", "sk-secret-of-the-driver")
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(
            tmp_path, judge=llm(server.base_url, 'api_key_env = "ONLY_HERE_KEY"')
        )
        with pytest.raises(
            ClusterError, match=r"worker tcp://\S+: .*ONLY_HERE_KEY is not set"
        ) as e:
            on_cluster(config, cluster)

    assert "sk-secret" not in str(e.value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("somewhere", "expected local, local:N or tcp://host:8786"),
        ("local:0", "give local:2"),
        ("inproc://1.2.3.4/5", "expected local, local:N or tcp://host:8786"),
        ("", "names no cluster"),
    ],
)
def test_a_cluster_that_is_none_is_a_usage_error(
    setting: str, message: str, tmp_path: Path
) -> None:
    config = str(write_experiment(tmp_path))

    for command in ("battle", "rate"):
        done = CliRunner().invoke(main, [command, config, "--cluster", setting])

        assert done.exit_code == 2
        assert message in done.output


def test_options_for_one_machine_are_refused_beside_a_cluster(tmp_path: Path) -> None:
    config = str(write_experiment(tmp_path))

    done = CliRunner().invoke(main, ["battle", config, "--cluster", "local", "--shard", "1/2"])

    assert done.exit_code == 2
    assert "--cluster plays the whole plan live" in done.output


def test_an_address_without_a_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena.cluster.connect._WAIT_S", 0.5)

    with (
        pytest.raises(ClusterError, match=r"no scheduler at tcp://127\.0\.0\.1:1"),
        open_cluster("tcp://127.0.0.1:1", None, QUIET),
    ):
        pass


def test_a_factory_that_is_not_there_is_a_usage_error() -> None:
    section = ClusterConfig(factory="no_such_module:Cluster", workers=2)

    with pytest.raises(UsageError, match="no_such_module"), open_cluster(None, section, QUIET):
        pass


def test_a_factory_starts_the_cluster_that_the_file_names(tmp_path: Path) -> None:
    section = ClusterConfig(
        factory="distributed:LocalCluster",
        keywords={"n_workers": 0, "threads_per_worker": 1, "dashboard_address": ":0"},
        workers=1,
    )
    config = write_experiment(tmp_path)

    with open_cluster(None, section, QUIET) as one:
        summary = on_cluster(config, one)

    assert one.n_workers == 1
    assert summary.n_judged == 36


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "needs either address"),
        ({"address": "tcp://h:1", "factory": "m:C"}, "needs either address"),
        ({"address": "host:8786"}, "must be like tcp://host:8786"),
        ({"factory": "m"}, "must be like"),
        ({"factory": "m:C"}, "workers is missing"),
        ({"address": "tcp://h:1", "keywords": {"a": 1}}, "keywords are the arguments of factory"),
        ({"address": "tcp://h:1", "shards": 1}, "greater than or equal to 2"),
        (
            {"factory": "m:C", "workers": 2, "keywords": {"api_key": "sk-0123456789abcdef"}},
            "hold a secret",
        ),
    ],
)
def test_mistakes_in_the_section_are_one_line(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClusterConfig.model_validate(section)


def test_nothing_of_dask_is_imported_without_a_cluster(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    code = (
        "import sys; from arena.cli import main\n"
        f"try: main(['battle', {str(config)!r}, '--quiet'])\n"
        "except SystemExit: pass\n"
        "assert not {'dask', 'distributed'} & sys.modules.keys()"
    )
    environment = {**os.environ, "ARENA_CACHE": str(tmp_path / "cache")}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert try_to_play(config) is None
