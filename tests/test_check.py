"""`arena check`: one tiny call to everything, and one table that tells what works."""

from __future__ import annotations

import base64
import json
import math
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from experiments import llm, write_experiment
from loopback import Answer, LoopbackServer, as_json, chat, embeddings, error, verdict
from programs import PATIENCE_S, start_arena
from tables import each_row

from arena.checking.check import Report, check
from arena.checking.rows import CheckRow
from arena.cli import main
from arena.progress import reporter


def endpoint(request: dict[str, Any], _attempt: int) -> Answer:
    """Embeds by what a text says, and judges that the first list is better."""
    if "messages" in request:
        return verdict("first")
    if request["model"] == "broken":
        return error(404, "model broken does not exist\x1b[31m")
    if request["model"] == "nan":
        raw = base64.b64encode(struct.pack("<2f", math.nan, 1.0)).decode()
        data = [{"index": i, "embedding": raw} for i in range(len(request["input"]))]
        return as_json({"data": data, "usage": {"total_tokens": 12}})
    vectors = {"zero": [0.0, 0.0], "good": [1.0, 2.0, 3.0, 4.0]}
    return embeddings([vectors[request["model"]]] * len(request["input"]), tokens=12)


def write_models(folder: Path, base_url: str, *models: str, judge: str = "") -> Path:
    """An experiment with two run files, and these models of the endpoint."""
    config = write_experiment(
        folder,
        judge=judge or llm(base_url),
        rankings={"strong": ["good", "fair"], "weak": ["poor", "other"]},
    )
    sections = [
        f'[[models]]\nname = "{name}"\nprovider = "openai"\nbase_url = "{base_url}"\n'
        + ("price_per_1m_tokens = 0.5\n" if name == "good" else "")
        for name in models
    ]
    text = config.read_text()
    config.write_text(text.replace("[judge]", "\n".join([*sections, "[judge]"])))
    return config


def checked(config: Path, **options: Any) -> Report:
    return check(config, reporter(quiet=True), **options)


def row(report: Report, name: str) -> CheckRow:
    return next(row for row in report.rows if row.name == name)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, words), "--quiet"])


def test_what_works_is_told_with_what_was_measured(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        report = checked(write_models(tmp_path, server.base_url, "good"))

    assert report.ok
    assert not report.hangs
    assert [found.outcome for found in report.rows] == ["ok"] * 5
    model, judge = row(report, "good"), row(report, "judge-1")
    assert model.kind == "openai"
    assert (model.dimension, model.tokens, model.cost_usd) == (4, 24, 24 * 0.5 / 1e6)
    assert model.latency_ms
    assert model.notes == ("queries and documents alike",)
    assert judge.cost_usd == pytest.approx((100 * 1.0 + 20 * 2.0) / 1e6)
    assert "rightly said first" in judge.notes
    assert row(report, "docs").notes[0] == "24 documents, 6 queries, 24 qrels"
    assert row(report, "strong").notes == ("docs: 6 of 6 queries",)
    assert report.cost_usd == pytest.approx(0.000152)


def test_models_and_judge_are_asked_one_tiny_call_each_and_never_again(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        report = checked(write_models(tmp_path, server.base_url, "good", "broken"))

    paths = [request.path for request in server.requests]
    assert not report.ok
    assert paths.count("/v1/chat/completions") == 1
    assert paths.count("/v1/embeddings") == 3
    assert not (tmp_path / "runs").exists()
    assert not Path(os.environ["ARENA_CACHE"]).exists()


def unpriced(base_url: str, extra: str = "") -> str:
    return f'model = "judge-1"\nbase_url = "{base_url}"\n{extra}'


@each_row(
    ("context", "settings", "outcome", "n_calls"),
    [
        (2048, "", "failed", 2),
        (8192, "", "ok", 2),
        (2048, "document_words = 60", "ok", 2),
        (2048, 'kind = "pointwise"', "ok", 3),  # two documents, and a long one
    ],
)
def test_a_server_of_ones_own_that_would_cut_the_battles_prompts_is_found_out(
    context: int, settings: str, outcome: str, n_calls: int, tmp_path: Path
) -> None:
    def answer(request: dict[str, Any], _attempt: int) -> Answer:
        size = sum(len(message["content"]) for message in request["messages"])
        said = verdict("first") if '"verdict"' in str(request["messages"]) else chat("3")
        usage = {"prompt_tokens": min(context, size // 4), "completion_tokens": 9}
        return as_json({**json.loads(said.body), "usage": usage})

    with LoopbackServer(answer) as server:
        judge = unpriced(server.base_url, settings)
        found = row(checked(write_models(tmp_path, server.base_url, judge=judge)), "judge-1")

        assert len(server.requests) == n_calls
    assert found.outcome == outcome
    if outcome == "failed":
        assert found.state == "prompt cut"
        assert "num_ctx" in found.problem


def test_a_server_that_is_slow_is_not_asked_for_more_than_it_has_time_for(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], _attempt: int) -> Answer:
        time.sleep(0.4)
        return verdict("first")

    with LoopbackServer(answer) as server:
        config = write_models(tmp_path, server.base_url, judge=unpriced(server.base_url))
        found = row(checked(config, timeout_s=5.0), "judge-1")

        assert len(server.requests) == 1
    assert found.outcome == "ok"
    assert "too slow to try a prompt as long as the battles'" in found.notes


def test_one_failing_row_never_hides_the_others(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        config = write_models(tmp_path, server.base_url, "broken", "good")
        (tmp_path / "weak.trec").write_text("q0 Q0 unheard-of 1 1.0 weak\n")
        report = checked(config)

    assert row(report, "good").outcome == "ok"
    assert row(report, "strong").outcome == "ok"
    assert row(report, "judge-1").outcome == "ok"
    assert row(report, "broken").state == "not found"
    assert row(report, "weak").state == "bad data"
    assert "weak.trec:1" in row(report, "weak").problem


@pytest.mark.parametrize(
    ("model", "problem"), [("nan", "NaN or an infinity"), ("zero", "all zeros")]
)
def test_a_bad_vector_is_an_error_and_no_row_that_works(
    model: str, problem: str, tmp_path: Path
) -> None:
    with LoopbackServer(endpoint) as server:
        report = checked(write_models(tmp_path, server.base_url, model))

    assert row(report, model).outcome == "failed"
    assert row(report, model).state == "bad reply"
    assert problem in row(report, model).problem


def test_vectors_of_another_length_than_asked_for_are_an_error(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        config = write_models(tmp_path, server.base_url, "good")
        config.write_text(
            config.read_text().replace('name = "good"', 'name = "good"\ndimensions=3')
        )
        report = checked(config)

    assert row(report, "good").outcome == "failed"
    assert "vectors of 4 numbers where 3 are expected" in row(report, "good").problem


def test_roles_that_change_the_vector_are_told_apart(tmp_path: Path) -> None:
    def by_prefix(request: dict[str, Any], attempt: int) -> Answer:
        if "messages" in request:
            return endpoint(request, attempt)
        first = [1.0, 0.0] if request["input"][0].startswith("query: ") else [0.0, 1.0]
        return embeddings([first] * len(request["input"]))

    with LoopbackServer(by_prefix) as server:
        config = write_models(tmp_path, server.base_url, "good")
        prefixed = 'name = "good"\nquery_prefix = "query: "'
        config.write_text(config.read_text().replace('name = "good"', prefixed))
        report = checked(config)

    assert row(report, "good").notes == ("queries and documents told apart",)


def test_a_missing_key_is_found_without_a_call_and_its_variable_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-secret-0123456789")
    with LoopbackServer(endpoint) as server:
        config = write_models(tmp_path, server.base_url, "good")
        url = f'base_url = "{server.base_url}"'
        config.write_text(config.read_text().replace(url, f'{url}\napi_key_env = "MY_KEY"', 1))
        ended = run(config, "--no-data")

    assert ended.exit_code == 1
    assert [request.path for request in server.requests] == ["/v1/chat/completions"]
    assert "key missing" in ended.stdout
    assert "set the keys: MY_KEY" in ended.stdout
    assert "sk-secret" not in ended.stdout


def test_a_judge_without_a_readable_verdict_fails_and_what_it_cost_is_told(tmp_path: Path) -> None:
    with LoopbackServer(lambda _request, _attempt: chat("Both are fine.")) as server:
        report = checked(write_models(tmp_path, server.base_url))

    judge = row(report, "judge-1")
    assert (judge.outcome, judge.state) == ("failed", "no verdict")
    assert judge.cost_usd == pytest.approx(0.00014)
    assert "no verdict at the end of" in judge.problem


def test_a_judge_that_picks_the_wrong_list_is_told_so(tmp_path: Path) -> None:
    with LoopbackServer(lambda _request, _attempt: verdict("second")) as server:
        report = checked(write_models(tmp_path, server.base_url))

    assert "wrongly said second" in row(report, "judge-1").notes


def test_every_judge_of_a_panel_and_each_kind_has_a_row(tmp_path: Path) -> None:
    def answer(request: dict[str, Any], attempt: int) -> Answer:
        return chat("3" if "fourteen weeks" in str(request["messages"][-1]) else "0")

    with LoopbackServer(answer) as server:
        config = write_models(tmp_path, server.base_url)
        panel = (
            f'[[judges]]\n{llm(server.base_url)}kind = "pointwise"\n[[judges]]\nkind = "qrels"\n'
        )
        head = config.read_text().partition("[judge]")[0]
        config.write_text(head + panel)
        report = checked(config)

    assert report.ok
    assert row(report, "judge-1").kind == "judge pointwise"
    assert "rightly said first" in row(report, "judge-1").notes
    assert row(report, "qrels").outcome == "ok"


def test_data_that_cannot_be_loaded_fail_with_file_and_line(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        config = write_models(tmp_path, server.base_url, "good")
        (tmp_path / "data" / "corpus.jsonl").write_text("{}\n")
        report = checked(config)

    assert "corpus.jsonl:1" in row(report, "docs").problem
    assert row(report, "strong").problem == "a data set that it needs cannot be loaded"
    assert row(report, "good").outcome == "ok"


def test_without_data_what_needs_them_is_not_tried(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        report = checked(write_models(tmp_path, server.base_url, "good"), data=False)

    assert report.ok
    assert {found.name: found.outcome for found in report.rows} == {
        "strong": "not tried",
        "weak": "not tried",
        "good": "ok",
        "judge-1": "ok",
    }


def test_whatever_hangs_is_a_row_of_its_own_after_the_timeout(tmp_path: Path) -> None:
    def slow(request: dict[str, Any], attempt: int) -> Answer:
        if "input" in request:
            time.sleep(3)
        return endpoint(request, attempt)

    with LoopbackServer(slow) as server:
        config = write_models(tmp_path, server.base_url, "good")
        started = time.monotonic()
        report = checked(config, timeout_s=1.0)

        assert time.monotonic() - started < 2.5
        assert row(report, "good").state == "no answer"
        assert row(report, "judge-1").outcome == "ok"


def test_all_are_tried_at_the_same_time(tmp_path: Path) -> None:
    def slow(request: dict[str, Any], attempt: int) -> Answer:
        time.sleep(0.2)
        return endpoint(request | {"model": "good"}, attempt)

    with LoopbackServer(slow) as server:
        report = checked(write_models(tmp_path, server.base_url, "a", "b", "c", "d", "e"))

    assert report.ok
    assert server.most_in_flight == 6


def test_the_table_is_clean_of_control_characters_and_tells_the_price(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        ended = run(write_models(tmp_path, server.base_url, "good", "broken"))

    assert ended.exit_code == 1
    assert "\x1b" not in ended.output
    assert "model broken does not exist" in ended.stdout
    assert "1 of 6 do not work; the check cost $0.0002" in ended.stdout


def test_json_holds_every_row_for_programs(tmp_path: Path) -> None:
    with LoopbackServer(endpoint) as server:
        ended = run(write_models(tmp_path, server.base_url, "good"), "--json")

    tree = json.loads(ended.stdout)
    assert ended.exit_code == 0
    assert tree["ok"] is True
    assert {found["name"]: found["dimension"] for found in tree["rows"]}["good"] == 4


def test_local_models_are_loaded_and_embed(tmp_path: Path) -> None:
    pytest.importorskip("wordllama")
    config = write_experiment(tmp_path)
    local = "".join(
        f'[[models]]\nname = "{name}"\nprovider = "{name}"\n'
        for name in ("bm25", "lsa", "wordllama")
    )
    config.write_text(config.read_text().replace("[judge]", f"{local}[judge]"))

    report = checked(config)

    assert report.ok, [found.problem for found in report.rows]
    assert row(report, "wordllama").dimension
    assert row(report, "bm25").latency_ms is not None


def test_a_reranker_scores_two_documents_of_its_own(tmp_path: Path) -> None:
    def scores(request: dict[str, Any], attempt: int) -> Answer:
        if "documents" not in request:
            return endpoint(request, attempt)
        found = [
            {"index": i, "relevance_score": 0.9 if "fourteen weeks" in text else 0.1}
            for i, text in enumerate(request["documents"])
        ]
        return as_json({"results": found, "usage": {"total_tokens": 40}})

    with LoopbackServer(scores) as server:
        config = write_models(tmp_path, server.base_url)
        reranker = (
            f'[[models]]\nname = "better"\nrerank = "jina"\nbase = "weak"\nmodel = "r"\n'
            f'base_url = "{server.base_url}"\nprice_per_1m_tokens = 1.0\n'
        )
        config.write_text(config.read_text().replace("[judge]", f"{reranker}[judge]"))
        report = checked(config)

    found = row(report, "better")
    assert found.outcome == "ok", found.problem
    assert (found.kind, found.cost_usd) == ("reranker jina", pytest.approx(40e-6))
    assert found.notes == ("scored the right document higher",)
    assert [request.path for request in server.requests].count("/v1/rerank") == 1


def test_a_command_is_asked_one_query_of_each_data_set(tmp_path: Path) -> None:
    program = tmp_path / "search.py"
    program.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    best = {'doc_id': 'good-' + asked['query_id'], 'score': 1.0}\n"
        "    print(json.dumps({'query_id': asked['query_id'], 'results': [best]}), flush=True)\n"
    )
    config = write_experiment(tmp_path)
    models = "".join(
        f'[[models]]\nname = "{name}"\ncommand = "{sys.executable} {name}.py"\n'
        for name in ("search", "missing")
    )
    config.write_text(config.read_text().replace("[judge]", f"{models}[judge]"))

    report = checked(config)

    assert row(report, "search").notes == ("docs: 1 documents",)
    assert row(report, "search").latency_ms
    assert row(report, "missing").outcome == "failed"


def test_interrupting_a_check_ends_it_in_one_line(tmp_path: Path) -> None:
    ended = threading.Event()

    def stalled(_request: dict[str, Any], _attempt: int) -> Answer:
        ended.wait(2 * PATIENCE_S)  # whoever waits for this reply is killed before
        return verdict("first")

    with LoopbackServer(stalled) as server:
        config = write_models(tmp_path, server.base_url, "good")
        with start_arena("check", config, "--quiet") as process:
            while len(server.requests) < 2 and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate()
        ended.set()

    assert process.returncode == 1
    assert said == "error: stopped; the requests sent so far may cost a little\n"


@pytest.mark.parametrize("broken", ["models", "judge"])
def test_battle_names_the_check_where_an_endpoint_fails_at_once(
    broken: str, tmp_path: Path
) -> None:
    with LoopbackServer(lambda _request, _attempt: error(404, "no such model")) as server:
        names = ["broken"] if broken == "models" else []
        config = write_models(tmp_path, server.base_url, *names)
        ended = CliRunner().invoke(main, ["battle", str(config), "--quiet"])

    assert ended.exit_code == 1
    assert f"`arena check {config}` tries every model and judge" in ended.stderr
