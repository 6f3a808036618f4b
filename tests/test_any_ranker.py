"""Commands and rerankers in a whole experiment, from arena.toml to the leaderboard."""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from experiments import QUERIES, QUIET, play, write_experiment
from loopback import Answer, LoopbackServer, as_json, embeddings, error
from programs import start_arena

from arena.config import load_config
from arena.data.run_file import read_stats
from arena.dry_run.battle import dry_run
from arena.errors import ApiError, CommandError, FatalApiError
from arena.experiment.live import retrieve
from arena.progress import reporter
from arena.rating.rate_files import rate_files
from arena.records import RetrievalStats

SEARCH = """
import json, sys
for line in sys.stdin:
    query = json.loads(line)
    name = query["query_id"]
    open("asked", "a").write(name + "\\n")
    print(json.dumps({"query_id": name, "results": [f"fair-{name}", f"poor-{name}"]}))
"""


def knows_best(request: dict[str, Any], attempt: int) -> Answer:
    """A reranker that prefers good documents about the query to fair ones, and so on."""
    worth = {"good": 3.0, "fair": 2.0, "poor": 1.0, "other": 0.0}
    name = request["query"].removeprefix("what is ").rstrip("?")
    scores = [
        worth[found[1]] if (found := re.search(rf"a (\w+) document for {name}\b", text)) else -1.0
        for text in request["documents"]
    ]
    items = [{"index": i, "relevance_score": score} for i, score in enumerate(scores)]
    return as_json({"data": items, "usage": {"total_tokens": 10 * len(items)}})


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(knows_best) as server:
        yield server


def write_contest(folder: Path, server: LoopbackServer, *, extra: str = "") -> Path:
    """BM25, a program, and a reranker over BM25 that stands before it in the file."""
    config = write_experiment(folder, rankings={"weak": ["poor", "other"]})
    (folder / "search.py").write_text(SEARCH)
    models = f"""
[[models]]
name = "again"
rerank = "voyage"
base = "bm25"
rerank_depth = 24
base_url = "{server.base_url}"
price_per_1m_tokens = 1000.0
{extra}
[[models]]
name = "bm25"
provider = "bm25"
[[models]]
name = "search"
command = "{sys.executable} search.py"
[judge]"""
    config.write_text(config.read_text().replace("[judge]", models))
    return config


def stats(config: Path, model: str) -> RetrievalStats:
    return read_stats(config.parent / "runs" / "x" / "retrieval" / "docs" / f"{model}.json")


def test_program_and_reranker_reach_the_leaderboard(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)

    summary = play(config)

    rows = {row.model: row for row in rate_files([summary.experiment.folder]).overall}
    assert set(rows) == {"weak", "again", "bm25", "search"}
    assert rows["again"].rank == 1
    assert rows["again"].metrics["ndcg@10"] == 1.0
    assert rows["search"].latency is not None
    assert stats(config, "again").cost_usd == pytest.approx(6 * 4 * 10 * 1000 / 1e6)


def test_price_that_changes_changes_the_cost_and_nothing_else(
    tmp_path: Path, server: LoopbackServer
) -> None:
    config = write_contest(tmp_path, server)
    retrieve(config, QUIET)
    before, n_asked = stats(config, "again"), len(server.requests)

    config.write_text(config.read_text().replace("= 1000.0", "= 500.0"))
    retrieve(config, QUIET)
    cheaper = stats(config, "again")
    config.write_text(config.read_text().replace("price_per_1m_tokens = 500.0", ""))
    retrieve(config, QUIET)

    assert (before.cost_usd, cheaper.cost_usd) == pytest.approx((0.24, 0.12))
    assert replace(cheaper, cost_usd=before.cost_usd) == before
    assert stats(config, "again") == replace(before, cost_usd=None)
    assert len(server.requests) == n_asked


def test_another_address_in_the_environment_is_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_experiment(tmp_path, rankings={"weak": ["poor", "other"]})
    hosted = '[[models]]\nname = "hosted"\nprovider = "openai"\n[judge]'
    config.write_text(config.read_text().replace("[judge]", hosted))

    def answer(body: dict[str, Any], attempt: int) -> Answer:
        return embeddings([[1.0, float(len(text))] for text in body["input"]])

    with LoopbackServer(answer) as trial, LoopbackServer(answer) as real:
        for server in (trial, real, real):
            monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
            retrieve(config, QUIET)

        assert len(trial.requests) == len(real.requests) > 0


def test_refusal_names_the_model_and_the_variable_of_its_key(
    tmp_path: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_contest(tmp_path, server)
    server.answer = lambda body, attempt: error(401, "who are you?")

    with pytest.raises(FatalApiError, match=r"key: again: .* check api_key_env, since no key was"):
        retrieve(config, QUIET)
    monkeypatch.setenv("OTHER_KEY", "not-this-one")
    config.write_text(
        config.read_text().replace("rerank_depth", 'api_key_env = "OTHER_KEY"\nrerank_depth')
    )
    with pytest.raises(FatalApiError, match=r"key: again: .* check the key in OTHER_KEY"):
        retrieve(config, QUIET)


def test_ctrl_c_while_retrieving_says_what_is_kept(tmp_path: Path, server: LoopbackServer) -> None:
    def answer(body: dict[str, Any], attempt: int) -> Answer:
        time.sleep(1)
        return knows_best(body, attempt)

    config = write_contest(tmp_path, server)
    server.answer = answer

    with start_arena("retrieve", "-q", config, cwd=tmp_path) as process:
        while process.poll() is None and not server.requests:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()

    assert process.returncode == 1
    assert said == (
        "error: stopped: what is embedded and scored is kept, and the same command goes on from "
        "there\n"
    )


def test_latency_of_a_reranked_run_is_that_of_both_stages(
    tmp_path: Path, server: LoopbackServer
) -> None:
    config = write_contest(tmp_path, server)

    play(config)

    again, bm25 = stats(config, "again"), stats(config, "bm25")
    assert len(again.latency_ms) == len(QUERIES)
    assert all(a > b for a, b in zip(again.latency_ms, bm25.latency_ms, strict=True))
    assert again.latency_without is None


def test_reranked_run_file_leaves_its_own_time_out_and_says_so(
    tmp_path: Path, server: LoopbackServer
) -> None:
    config = write_contest(tmp_path, server)
    config.write_text(config.read_text().replace('base = "bm25"', 'base = "weak"'))

    play(config)

    assert stats(config, "again").latency_without == "weak"


def test_reranker_goes_over_a_reranker(tmp_path: Path, server: LoopbackServer) -> None:
    chain = f"""
[[models]]
name = "thrice"
rerank = "jina"
base = "again"
rerank_depth = 2
base_url = "{server.base_url}"
"""
    config = write_contest(tmp_path, server, extra=chain)

    with pytest.raises(ApiError, match="garbage: thrice: a reply without a list of scores"):
        play(config)  # it answers as Voyage does
    config.write_text(config.read_text().replace('"jina"', '"voyage"'))
    play(config)

    run = (tmp_path / "runs" / "x" / "retrieval" / "docs" / "thrice.trec").read_text()
    assert len(run.splitlines()) == 2 * len(QUERIES)
    assert stats(config, "thrice").latency_without is None
    assert min(stats(config, "thrice").latency_ms) > min(stats(config, "bm25").latency_ms)


def test_nothing_is_retrieved_twice(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)
    play(config)
    n_requests, n_asked = len(server.requests), len((tmp_path / "asked").read_text().split())

    play(config)

    assert len(server.requests) == n_requests == 1 + len(QUERIES)
    assert len((tmp_path / "asked").read_text().split()) == n_asked == 1 + len(QUERIES)


def test_changed_base_makes_the_reranked_run_anew_and_asks_for_what_is_missing(
    tmp_path: Path, server: LoopbackServer
) -> None:
    config = write_contest(tmp_path, server)
    config.write_text(config.read_text().replace('base = "bm25"', 'base = "weak"'))
    play(config)
    before = stats(config, "again").key
    weak = tmp_path / "weak.trec"
    weak.write_text(weak.read_text().replace("other-q0", "good-q0"))
    server.requests.clear()

    play(config)

    assert stats(config, "again").key != before
    assert [request.body["documents"] for request in server.requests[1:]] == [
        ["About q0 a good document for q0"]
    ]


def test_changed_program_is_asked_again(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)
    play(config)
    (tmp_path / "search.py").write_text(SEARCH.replace("fair-", "good-"))

    play(config)

    run = (tmp_path / "runs" / "x" / "retrieval" / "docs" / "search.trec").read_text()
    assert "good-q0" in run


def test_whole_program_in_a_command_is_no_file(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)
    program = "; ".join(["import sys", *["x = 1"] * 100, "exec(open(sys.argv[1]).read())"])
    config.write_text(
        config.read_text().replace(
            f'command = "{sys.executable} search.py"',
            f"command = '{sys.executable} -c \"{program}\" search.py'",
        )
    )

    play(config)

    assert len(stats(config, "search").latency_ms) == len(QUERIES)


def test_lists_that_are_short_or_empty_are_counted_in_a_note(
    tmp_path: Path, server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_contest(tmp_path, server)
    search = SEARCH.replace('[f"fair-{name}"', '[] if name == "q3" else [f"fair-{name}"')
    (tmp_path / "search.py").write_text(search)

    retrieve(config, reporter(quiet=False))

    assert (
        "note: docs: search ranks fewer than 5 documents for 6 of 6 queries, none at all for 1"
        in " ".join(capsys.readouterr().err.split())
    )


def test_base_run_is_as_deep_as_its_reranker_looks(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)
    corpus = tmp_path / "data" / "corpus.jsonl"
    more = [f'{{"_id": "m{i}", "text": "what is q0 and {i}"}}' for i in range(150)]
    corpus.write_text(corpus.read_text() + "\n".join(more) + "\n")
    run = tmp_path / "runs" / "x" / "retrieval" / "docs" / "bm25.trec"

    play(config)
    assert run.read_text().count("q0 Q0 ") == 100
    config.write_text(config.read_text().replace("rerank_depth = 24", "rerank_depth = 140"))
    play(config)

    assert run.read_text().count("q0 Q0 ") == 140
    read = [r.body["documents"] for r in server.requests if "what is q0?" in r.body["query"]]
    assert [len(documents) for documents in read] == [24, 140 - 24]


def test_dry_run_estimates_what_a_rerank_api_reads(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)

    found = dry_run(config)

    [again] = [run for run in found.unretrieved if run.model == "again"]
    assert server.requests == []
    assert again.calls == len(QUERIES)
    assert again.tokens > 6 * 4 * 5
    assert again.cost_usd == pytest.approx(again.tokens * 1000 / 1e6)
    assert any("docs with again, 6 calls, " in line for line in found.lines())


def test_dry_run_knows_no_price_of_searches(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)
    config.write_text(config.read_text().replace('"voyage"', '"cohere"'))

    found = dry_run(config)

    [again] = [run for run in found.unretrieved if run.model == "again"]
    assert again.cost_usd is None
    assert any(line.endswith(" tokens, price unknown") for line in found.lines())


def test_failed_program_ends_the_run_with_its_name(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)
    (tmp_path / "search.py").write_text("raise SystemExit('no index')")

    with pytest.raises(CommandError, match=r"search: ended with exit status 1 .* no index"):
        play(config)


def test_command_runs_where_its_arena_toml_is(tmp_path: Path, server: LoopbackServer) -> None:
    config = write_contest(tmp_path, server)

    folders = {model.name: model.folder for model in load_config(config).models}

    assert folders["search"] == tmp_path
    assert folders["bm25"] is None


def test_program_in_the_documents_runs_as_it_is_shown(
    tmp_path: Path, server: LoopbackServer
) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text("utf-8")
    [shown] = re.findall(r"```python\n(# search\.py\n.*?)```", page, re.DOTALL)
    config = write_contest(tmp_path, server)
    (tmp_path / "search.py").write_text(shown)
    (tmp_path / "requests.py").write_text(
        "class Reply:\n"
        "    def json(self):\n"
        '        return {"hits": {"hits": [{"_id": "good-q1", "_score": 7.5}]}}\n'
        "def get(url, params, timeout):\n"
        "    return Reply()\n"
    )

    play(config)

    run = (tmp_path / "runs" / "x" / "retrieval" / "docs" / "search.trec").read_text()
    assert "q1 Q0 good-q1 1 7.5 search" in run
    assert len(stats(config, "search").latency_ms) == len(QUERIES)
