"""`arena battle --judge-with`: the battles of a log, judged again by another judge."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer
from chat_judges import asked
from click.testing import CliRunner, Result
from experiments import fair_judge, llm, write_experiment
from killing import named_verdict, request_name
from loopback import Answer, LoopbackServer, verdict
from programs import start_arena
from replies import read_replies

from arena.cli import main
from arena.store.labels import read_labels
from arena.store.log_lines import read_battles

N_BATTLES = 36


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(fair_judge) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, server: LoopbackServer) -> Path:
    """An experiment whose battles are judged."""
    config = write_experiment(tmp_path, judge=llm(server.base_url))
    assert arena("battle", config).exit_code == 0
    return config


def arena(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words), *(["-q"] if words[0] == "battle" else [])])


def cheap(folder: Path, base_url: str, extra: str = "") -> Path:
    """Write a file with nothing but a judge."""
    path = folder / "cheap.toml"
    path.write_text("[judge]\n" + llm(base_url, extra).replace("judge-1", "judge-2"))
    return path


def log_of(config: Path, name: str | None = "cheap") -> list[dict[str, Any]]:
    """Return what was judged, in log order; of the first log where no name is given."""
    folder = config.parent / "runs" / "x" / (f"rejudged/{name}" if name else "")
    return [
        {"query": b.query_id, "a": b.model_a, "b": b.model_b, "winner": b.winner, "judge": b.judge}
        for b in read_battles(folder / "battles.jsonl")
    ]


def test_the_same_lists_are_shown_to_the_other_judge_in_the_same_positions(config, server):
    before = (config.parent / "runs" / "x" / "battles.jsonl").read_bytes()
    shown = [asked(request.body) for request in server.requests]
    server.requests.clear()

    done = arena("battle", config, "--judge-with", cheap(config.parent, server.base_url))

    assert done.exit_code == 0, done.output
    assert {request.body["model"] for request in server.requests} == {"judge-2"}
    assert sorted(asked(request.body) for request in server.requests) == sorted(shown)
    assert log_of(config) == [{**row, "judge": "judge-2"} for row in log_of(config, None)]
    assert (config.parent / "runs" / "x" / "battles.jsonl").read_bytes() == before


def test_only_battles_of_the_log_are_judged_again_and_none_is_paid_for_twice(tmp_path, server):
    config = write_experiment(tmp_path, judge=llm(server.base_url))
    arena("battle", config, "--limit", 7)
    again = ("battle", config, "--judge-with", cheap(tmp_path, server.base_url))
    server.requests.clear()

    assert arena(*again).exit_code == 0
    assert len(log_of(config)) == len(server.requests) == 7
    assert arena(*again).exit_code == 0
    assert len(server.requests) == 7
    arena("battle", config, "--limit", 5)
    arena(*again)
    assert len(log_of(config)) == 12


def test_rate_audit_and_report_read_the_second_log_as_any_other(config, server):
    arena("battle", config, "--judge-with", cheap(config.parent, server.base_url))
    folder = config.parent / "runs" / "x" / "rejudged" / "cheap"

    rated, audited = arena("rate", folder), arena("audit", folder, "--json")
    reported = arena("report", folder)

    assert rated.exit_code == audited.exit_code == reported.exit_code == 0
    assert json.loads(audited.output)["figures"]["qrels_accuracy"]["value"] == 1.0
    assert (folder / "report" / "index.html").is_file()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["config"]["judge"]["model"] == "judge-2"
    assert any("judged again by another judge" in note for note in manifest["notes"])
    assert 'model = "judge-2"' in (folder / "arena.toml").read_text()


def test_labels_of_people_test_the_other_judge_as_well(config, server):
    folder = config.parent / "runs" / "x"
    imported = "".join(
        json.dumps(
            {
                "dataset": "docs",
                "query_id": f"q{i}",
                "model_a": "strong",
                "model_b": "weak",
                "winner": "model_a",
                "who": "ann",
            }
        )
        + "\n"
        for i in range(6)
    )
    (folder / "people.jsonl").write_text(imported)
    assert arena("label", folder, "--import", folder / "people.jsonl").exit_code == 0

    assert (
        arena("battle", config, "--judge-with", cheap(config.parent, server.base_url)).exit_code
        == 0
    )
    audit = json.loads(arena("audit", folder / "rejudged" / "cheap", "--json").stdout)

    assert read_labels(folder / "rejudged" / "cheap") == read_labels(folder)
    assert "people" in json.dumps(audit)


def test_a_model_takes_over_the_settings_of_the_judge_but_not_its_prices(config, server):
    server.requests.clear()
    done = arena("battle", config, "--judge-with", "vendor/judge-3", "--judge-prices", 3, 4)

    assert done.exit_code == 0, done.output
    assert {request.body["model"] for request in server.requests} == {"vendor/judge-3"}
    folder = config.parent / "runs" / "x" / "rejudged" / "vendor_judge-3"
    costs = [json.loads(line) for line in (folder / "replies.jsonl").read_text().splitlines()]
    tokens = costs[0]["input_tokens"] * 3 + costs[0]["output_tokens"] * 4
    assert costs[0]["cost_usd"] == pytest.approx(tokens / 1e6)


def test_a_cap_holds_for_the_second_log_and_the_same_command_goes_on(config, server):
    capped = cheap(config.parent, server.base_url, "max_usd = 0.0025\n")
    first = arena("battle", config, "--judge-with", capped)
    n_first = len(log_of(config))
    capped.write_text(capped.read_text().replace("0.0025", "1.0"))
    last = arena("battle", config, "--judge-with", capped)

    assert first.exit_code == 1
    assert f"raise max_usd in {capped}, then: arena battle {config} --judge-with {capped}" in (
        first.output
    )
    assert 0 < n_first < N_BATTLES
    assert last.exit_code == 0
    assert len(log_of(config)) == N_BATTLES


def test_a_prompt_is_found_beside_the_file_that_names_it(config, server, tmp_path):
    other = tmp_path / "elsewhere"
    (other / "prompts").mkdir(parents=True)
    base = Path(__file__).resolve().parents[1] / "prompts" / "pairwise.md"
    text = base.read_text().replace("{{query}}", "BE STRICT.\n{{query}}")
    (other / "prompts" / "strict.md").write_text(text)
    judge = cheap(other, server.base_url, 'prompt = "strict"\n')
    judge.write_text(judge.read_text().replace("judge-2", "judge-1"))
    server.requests.clear()

    done = arena("battle", config, "--judge-with", judge)

    assert done.exit_code == 0, done.output
    assert len(server.requests) == N_BATTLES
    assert all("BE STRICT." in json.dumps(request.body) for request in server.requests)


def test_a_sample_of_queries_grows_and_never_loses_what_was_paid_for(config, server):
    judge = cheap(config.parent, server.base_url)
    counts = []
    for n_queries in (2, 4, 2):
        assert arena("battle", config, "--judge-with", judge, "--queries", n_queries).exit_code == 0
        counts.append((len(log_of(config)), len({row["query"] for row in log_of(config)})))

    assert counts == [(12, 2), (24, 4), (24, 4)]
    assert not (config.parent / "runs/x/rejudged/cheap/superseded.jsonl").exists()


def test_battles_whose_lists_have_changed_are_left_out_and_counted(config, server):
    run = config.parent / "weak.trec"
    lines = run.read_text().splitlines()
    swapped = [line.replace("poor-q0", "good-q0") for line in lines]
    run.write_text("\n".join(swapped) + "\n")
    done = CliRunner().invoke(
        main, ["battle", str(config), "--judge-with", str(cheap(config.parent, server.base_url))]
    )

    assert done.exit_code == 0, done.output
    assert "note: 4 of 36 battles are not judged again" in done.stderr
    assert len(log_of(config)) == N_BATTLES - 4


def test_a_dry_run_counts_the_calls_of_the_other_judge_and_asks_nothing(config, server):
    server.requests.clear()
    again = ("battle", config, "--judge-with", cheap(config.parent, server.base_url), "--dry-run")
    whole, some = arena(*again), arena(*again, "--queries", 2)

    assert server.requests == []
    assert whole.exit_code == some.exit_code == 0
    assert "judge calls            36" in whole.stdout
    assert "judge calls            12" in some.stdout
    assert not (config.parent / "runs/x/rejudged").exists()


def test_shards_and_batch_jobs_judge_again_what_one_live_run_would(config, server, tmp_path):
    again = ("battle", config, "--judge-with")
    arena(*again, cheap(tmp_path, server.base_url))
    live = sorted(map(str, log_of(config)))
    with BatchServer(fair_judge) as jobs:
        (tmp_path / "b").mkdir()
        posted = cheap(tmp_path / "b", jobs.base_url).rename(tmp_path / "posted.toml")
        done = arena(*again, posted, "--batch", "--wait", "--poll", 0.01)
    (tmp_path / "cache").rename(tmp_path / "old")
    halves = tmp_path / "halves.toml"
    halves.write_text((tmp_path / "cheap.toml").read_text())
    shards = [arena(*again, halves, "--shard", f"{number}/2") for number in (1, 2)]
    parts = [
        row
        for log in sorted((tmp_path / "runs/x/rejudged/halves").glob("battles-*.jsonl"))
        for row in read_battles(log)
    ]

    assert done.exit_code == 0, done.output
    assert sorted(map(str, log_of(config, "posted"))) == live
    assert [shard.exit_code for shard in shards] == [0, 0]
    assert len(parts) == N_BATTLES


def test_killed_and_run_again_no_verdict_is_lost_and_none_is_asked_for_twice(tmp_path, server):
    config = write_experiment(tmp_path, judge=llm(server.base_url))
    arena("battle", config)
    server.answer = named_verdict
    judge = cheap(tmp_path, server.base_url, "concurrency = 2\n")
    server.requests.clear()
    again = ("battle", str(config), "--judge-with", str(judge), "-q")
    replies = tmp_path / "runs/x/rejudged/cheap/replies.jsonl"
    with start_arena(*again) as process:
        while not replies.exists() or replies.read_bytes().count(b"\n") < 5:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    kept = {json.loads(reply.reply)["first"] for reply in read_replies(replies)}
    n_before = len(server.requests)
    done = arena(*again[:-1])
    asked_later = [request_name(r.body) for r in server.requests[n_before:]]

    assert done.exit_code == 0, done.output
    assert len(log_of(config)) == N_BATTLES
    assert len(kept) >= 5
    assert kept.isdisjoint(asked_later)
    assert len(asked_later) <= N_BATTLES - len(kept) + 2  # two may have been on their way


def test_the_gate_refuses_the_other_judge_as_it_would_in_any_experiment(config, server):
    always: Answer = verdict("first")
    server.answer = lambda request, attempt: always
    judge = cheap(config.parent, server.base_url, "gate = true\n")
    refused = arena("battle", config, "--judge-with", judge)

    assert refused.exit_code == 1
    assert "controls" in refused.output
    assert not log_of(config)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--judge-with", "judge-1", "--judge-prices", 1, 2), "judge-1: has judged these battles"),
        (("--judge-with", "none.toml"), "none.toml: no such file"),
        (("--queries", 3), "--judge-prices and --queries are for --judge-with"),
        (("--judge-with", "m", "--max-usd", 1), "--max-usd: judge m needs price_per_1m_input"),
    ],
)
def test_what_cannot_be_judged_again_is_one_line(config, words, message):
    done = arena("battle", config, *words)

    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1


def test_a_model_without_prices_does_not_slip_through_a_cap(tmp_path, server):
    config = write_experiment(tmp_path, judge=llm(server.base_url, "max_usd = 5\n"))
    arena("battle", config)
    done = arena("battle", config, "--judge-with", "judge-2")

    assert done.exit_code == 2
    assert "max_usd = 5 needs the prices of this model; add --judge-prices" in done.output


def test_without_a_log_there_is_nothing_to_judge_again(tmp_path, server):
    config = write_experiment(tmp_path, judge=llm(server.base_url))
    done = arena("battle", config, "--judge-with", cheap(tmp_path, server.base_url))

    assert done.exit_code == 2
    assert "no battle to judge again; run `arena battle" in done.output


def test_grades_may_judge_again_what_a_model_has_judged(config):
    judge = config.parent / "grades.toml"
    judge.write_text('[judge]\nkind = "qrels"\n')
    done = arena("battle", config, "--judge-with", judge)

    assert done.exit_code == 0, done.output
    assert {row["judge"] for row in log_of(config, "grades")} == {"qrels"}
    assert len(log_of(config, "grades")) == N_BATTLES
