"""Commands: help, errors in one line, exit statuses, and what goes to stdout."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from experiments import fair_judge, llm, write_experiment
from loopback import LoopbackServer, chat, verdict

from arena.cli import main
from arena.config import load_config
from arena.terminal import dollars, duration

COMMANDS = sorted(main.commands)
REPOSITORY = Path(__file__).resolve().parents[1]


def arena(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_help_loads_none_of_the_heavy_packages() -> None:
    heavy = ["openai", "pandas", "pydantic", "numpy", "rich", "aiohttp", "bm25s", "ir_measures"]
    program = (
        "import sys; from arena.cli import main; main(['--help'], standalone_mode=False);"
        f"sys.stderr.write(' '.join(m for m in {heavy} if m in sys.modules))"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "Commands:" in ended.stdout
    assert ended.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
def test_a_full_disk_behind_stdout_is_one_line_and_a_failure(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("model_a,model_b,winner\na,b,tie\n")

    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "arena", "rate", tmp_path / "log.csv"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 1
    assert ended.stderr == "error: cannot write the output: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is full")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["rate", "--help"]], ids=" ".join)
def test_help_that_cannot_be_written_is_one_line_and_a_failure(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "arena", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert ended.returncode == 1
    assert ended.stderr == "error: cannot write the output: No space left on device\n"


def test_an_interrupt_before_a_run_takes_it_tells_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_name: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("arena.commands.init.template_text", interrupted)

    ended = CliRunner().invoke(main, ["init", str(tmp_path)])

    assert (ended.exit_code, ended.stderr.count("\n")) == (1, 1)
    assert "run the same command again" in ended.stderr


def test_every_command_has_help_with_an_example() -> None:
    helps = {command: arena(command, "--help").output for command in COMMANDS}

    assert [command for command, text in helps.items() if "Example:" not in text] == []
    assert [command for command, text in helps.items() if f"arena {command}" not in text] == []


def test_every_command_and_option_is_documented() -> None:
    documents = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    text = "\n".join(path.read_text("utf-8") for path in documents)
    options = {
        (command, option)
        for command in COMMANDS
        for option in re.findall(r"--[a-z-]+", arena(command, "--help").output)
    }

    assert len(options) > len(COMMANDS)
    assert [command for command in COMMANDS if f"arena {command}" not in text] == []
    assert {both for both in options if both[1] != "--help" and both[1] not in text} == set()


def test_init_writes_a_config_that_loads_and_never_overwrites_one(tmp_path: Path) -> None:
    first = arena("init", tmp_path / "new")
    second = arena("init", tmp_path / "new")

    assert first.exit_code == 0
    assert load_config(tmp_path / "new" / "arena.toml").judges[0].model
    assert (tmp_path / "new" / "prompts" / "pairwise.md").is_file()
    assert second.exit_code == 2
    assert "the file already exists" in second.output


def test_battle_prints_the_leaderboard_and_writes_it(tmp_path: Path) -> None:
    ended = arena("battle", write_experiment(tmp_path), "--quiet")

    assert ended.exit_code == 0
    assert "qrels, not an LLM" in ended.stdout
    assert ended.stdout.index("strong") < ended.stdout.index("weak")
    folder = tmp_path / "runs" / "x"
    tree = json.loads((folder / "leaderboard.json").read_text())
    frame = pd.read_csv(folder / "leaderboard.csv")
    assert [row["model"] for row in tree["overall"]] == ["strong", "middling", "weak"]
    assert list(frame[frame["dataset"] == "overall"]["model"]) == ["strong", "middling", "weak"]


def test_progress_goes_to_stderr_and_results_to_stdout(tmp_path: Path) -> None:
    ended = arena("battle", write_experiment(tmp_path))

    assert "battles: 36/36" in ended.stderr
    assert "battles: 36/36" not in ended.stdout
    assert "strong" in ended.stdout


def test_rate_prints_the_same_table_as_battle(tmp_path: Path) -> None:
    battled = arena("battle", write_experiment(tmp_path), "--quiet")

    rated = arena("rate", tmp_path / "runs" / "x")

    assert rated.stdout == battled.stdout


def test_rate_prints_json_for_programs(tmp_path: Path) -> None:
    arena("battle", write_experiment(tmp_path), "--quiet")

    tree = json.loads(arena("rate", tmp_path / "runs" / "x", "--json").stdout)

    assert set(tree) >= {
        "overall",
        "datasets",
        "position_advantage",
        "battles",
        "ties",
        "failures",
        "settings",
    }
    assert set(tree["overall"][0]) >= {
        "rank",
        "model",
        "elo",
        "elo_order_sd",
        "rating",
        "lower",
        "upper",
        "rank_lower",
        "rank_upper",
        "wins",
        "losses",
        "ties",
        "battles",
        "win_rate",
        "ndcg@10",
    }


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_rate_reads_battles_made_elsewhere(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(
        [("a", "b", "model_a"), ("b", "a", "tie"), ("b", "a", "model_a"), ("a", "b", "model_a")],
        columns=["model_a", "model_b", "winner"],
    )
    path = tmp_path / f"battles.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)

    tree = json.loads(arena("rate", path, "--json").stdout)

    assert [(row["model"], row["wins"]) for row in tree["overall"]] == [("a", 2), ("b", 1)]
    assert sorted(tmp_path.iterdir()) == [path]


def test_rate_writes_where_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "battles.csv"
    path.write_text("model_a,model_b,winner\na,b,tie\n")

    arena("rate", path, "--output", tmp_path / "out")

    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "leaderboard.csv",
        "leaderboard.json",
    }


def test_rate_knows_other_spellings_of_a_model(tmp_path: Path) -> None:
    battles, aliases = tmp_path / "battles.csv", tmp_path / "aliases.toml"
    battles.write_text("model_a,model_b,winner\nBGE M3,b,model_a\nb,bge-m3,model_a\n")
    aliases.write_text('"BGE M3" = "bge-m3"\n')

    tree = json.loads(arena("rate", battles, "--aliases", aliases, "--json").stdout)

    assert {row["model"] for row in tree["overall"]} == {"bge-m3", "b"}


def test_an_unknown_outcome_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "battles.csv"
    path.write_text("model_a,model_b,winner\na,b,tie\na,b,unsure\n")

    ended = arena("rate", path)

    assert ended.exit_code == 2
    assert f"{path}:3" in ended.stderr
    assert "unsure" in ended.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["battle", "missing.toml"], "no such file"),
        (["rate", "missing"], "missing"),
        (["battle", "--limit", "0"], "--limit"),
        (["battle", "--dry-run", "--limit", "3"], "without --limit"),
        (["battle", "--json"], "--json is for --dry-run"),
        (["battle", "--dry-run", "--shard", "1/2"], "without --limit and --shard"),
        (["battle", "--shard", "3/2"], "expected i/n"),
        (["battle", "--max-usd", "0"], "--max-usd"),
        (["rate"], "Missing argument"),
        (["fight"], "No such command"),
    ],
)
def test_a_usage_error_says_what_is_wrong_and_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)

    ended = arena(*words)

    assert ended.exit_code == 2
    assert expected in ended.stderr
    assert "Traceback" not in ended.stderr


def test_every_mistake_of_a_config_is_an_error_line_of_its_own(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, settings="top_k = 0\norder = 1")

    ended = arena("battle", config)

    assert ended.exit_code == 2
    lines = ended.stderr.splitlines()
    assert [line.split(": ")[2] for line in lines] == ["experiment.top_k", "experiment.order"]
    assert all(line.startswith("error: ") for line in lines)


def test_too_many_failures_exit_with_1_after_the_leaderboard_of_what_was_judged(
    tmp_path: Path,
) -> None:
    def mute_half_the_time(request: dict[str, object], attempt: int) -> object:
        return chat("") if len(server.requests) % 2 else fair_judge(request, attempt)

    with LoopbackServer(mute_half_the_time) as server:
        ended = arena("battle", write_experiment(tmp_path, judge=llm(server.base_url)), "--quiet")

    assert ended.exit_code == 1
    assert "strong" in ended.stdout
    assert "18 empty" in ended.stderr
    assert "failures.jsonl" in ended.stderr


def test_a_spent_budget_exits_with_1_after_the_leaderboard_of_what_was_judged(
    tmp_path: Path,
) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "max_tokens = 20"))
        ended = arena("battle", config, "--max-usd", "0.003")
        again = arena("battle", config, "--quiet")

    assert ended.exit_code == 1
    assert "strong" in ended.stdout
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "of $0.0030 spent" in errors[0]
    assert f"go on with: arena battle {config} --max-usd MORE" in errors[0]
    assert again.exit_code == 0
    assert len(server.requests) == 36


def test_a_judge_that_fails_its_controls_exits_with_1_and_its_figures(tmp_path: Path) -> None:
    with LoopbackServer(lambda request, attempt: verdict("first")) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "gate = true"))
        refused = arena("battle", config, "--quiet")
        told = arena("battle", config, "--quiet", "--no-gate")

    assert refused.exit_code == 1
    assert "failed its controls" in refused.stderr
    assert refused.stdout == ""
    assert told.exit_code == 0
    assert "strong" in told.stdout


def test_a_shard_shows_what_all_logs_of_the_folder_say(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)

    arena("battle", config, "--shard", "1/2", "--quiet")
    ended = arena("battle", config, "--shard", "2/2", "--quiet")

    assert ended.exit_code == 0
    assert "36 battles" in ended.stdout
    assert "canonical order of several logs" in ended.stdout


def test_a_dry_run_shows_calls_tokens_price_and_time(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1"))

    shown = arena("battle", config, "--dry-run").stdout

    assert re.search(r"judge calls +36\b", shown)
    assert re.search(r"price +\$0\.\d\d", shown)
    assert re.search(r"time +0:\d\d", shown)


def test_a_dry_run_as_json_has_the_numbers_of_the_text(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1"))
    options = ("battle", config, "--dry-run", "--until", "best")

    shown, tree = arena(*options).stdout, json.loads(arena(*options, "--json").stdout)

    (judge,), plans, search = tree["judges"], tree["plans"]["options"], tree["search"]
    assert (tree["calls"], judge["calls"], tree["battles"]) == (36, 36, 36)
    assert f"tokens in    {tree['input_tokens']:>12,}" in shown
    assert f"price        {dollars(tree['cost_usd']):>12}" in shown
    assert f"time         {duration(judge['seconds']):>12}  {judge['seconds_by']}" in shown
    assert f"advice: {tree['plans']['advice']}" in shown
    assert [plan["is_present"] for plan in plans] == [True] + [False] * (len(plans) - 1)
    assert all(f"{plan['calls']:>10,}{plan['tokens']:>14,}" in shown for plan in plans)
    assert search["option"] == "--until best"
    for forecast in search["forecasts"]:
        calls = forecast["calls"]
        assert f"{forecast['assumption']}: {round(calls['p10']):,}" in shown
        assert f"{round(calls['p90']):,} calls" in shown
        assert f"decided in {forecast['decided']:.0%}" in shown


def test_retrieve_prints_what_each_run_took_and_as_json_where_it_is(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)

    table = arena("retrieve", config, "--quiet").stdout
    rows = json.loads(arena("retrieve", config, "--quiet", "--json").stdout)

    assert [line.split() for line in table.splitlines()] == [
        ["dataset", "model", "documents"],
        *(["docs", model, "24"] for model in ("strong", "middling", "weak")),
        [],
        ["runs:", str(Path(rows[0]["run"]).parent)],
    ]
    assert [Path(row["run"]).name for row in rows] == ["strong.trec", "middling.trec", "weak.trec"]
    assert all(Path(row["run"]).is_file() and row["latency_ms"] is None for row in rows)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("battle", "--max-usd"),
        ("battle", "--until-width"),
        ("batch submit", "--max-usd"),
        ("rate x.csv", "--prior"),
        ("rate x.csv", "--level"),
        ("check", "--timeout"),
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_no_amount_is_infinite_or_no_number(command: str, option: str, value: str) -> None:
    done = CliRunner().invoke(main, [*command.split(), option, value])

    assert done.exit_code == 2
    assert option in done.output
    assert "Error" in done.output
    assert "No such" not in done.output


def test_a_run_shows_its_leaderboard_where_that_cannot_be_written(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    blocked = tmp_path / "runs" / "x" / "leaderboard.json"
    blocked.mkdir(parents=True)

    done = arena("battle", config, "--quiet")

    assert done.exit_code == 1
    assert all(model in done.stdout for model in ("strong", "middling", "weak"))
    assert done.stderr.splitlines()[-1].startswith(f"error: {blocked}: cannot be written: ")
