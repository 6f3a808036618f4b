"""What a notebook does with `import arena`."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
import threading
import time
import tomllib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiments import fair_judge, llm, write_experiment
from loopback import LoopbackServer, embeddings
from programs import forks
from tables import each_row
from together import MATPLOTLIB, TORCH

import arena
from arena.api.arguments import OPTIONS_OF_COMPARE
from arena.config import load_config
from arena.endpoint.coroutines import run_apart
from arena.errors import ArenaError, ConfigError, DataError, IncompleteError, LogError, UsageError
from arena.experiment.live import battle
from arena.progress import reporter
from arena.store.locked_file import locked_log
from arena.store.log_lines import read_battles

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
    return tomllib.loads(config.read_text())["datasets"][0]["name"]


def _top_k(config: Path) -> int:
    return tomllib.loads(config.read_text())["experiment"].get("top_k", 5)


class Numbered:
    """A judge whose fingerprint is no string."""

    name, fingerprint = "numbered", 7

    async def judge(self, judge_input):
        return arena.Verdict("tie")


def emptied(run: arena.ModelRun) -> arena.ModelRun:
    return arena.retrieve(lambda query, k: [], run.data, name=run.model)


def test_an_arena_toml_is_played_by_its_name_alone_and_quietly(tmp_path, capfd):
    config = write_experiment(tmp_path)

    assert arena.battle(str(config)).n_judged > 0
    assert capfd.readouterr() == ("", "")


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


def test_a_log_has_the_battles_of_the_last_call_and_the_others_are_not_lost(runs, tmp_path):
    asked = []

    def judge(query, first, second):
        asked.append(query)
        return longer(query, first, second)

    one, two = (arena.function_judge(judge, name) for name in ("one", "two"))
    arena.compare(runs, one, log=tmp_path / "log")
    for other in (two, one):
        with pytest.warns(arena.ArenaWarning, match=r"^12 battles .* left the log; they are in .*"):
            battles = arena.compare(runs, other, log=tmp_path / "log")

        assert set(battles["judge"]) == {other.name}
    assert len(asked) == 24


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


def press_ctrl_c() -> None:
    """Send SIGINT, and wait until the waiting thread has taken it: a second one would merge."""
    taken = signal.getsignal(signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    while signal.getsignal(signal.SIGINT) is taken:
        time.sleep(0.005)


def test_ctrl_c_keeps_what_was_judged(runs, tmp_path):
    pressed = []

    def judge(query, first, second):
        if query.query_id == "q3" and not pressed:
            pressed.append(True)
            press_ctrl_c()
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
        (lambda runs: [runs[0], emptied(runs[1])], "tail: found no document on 'zoo'"),
    ],
)
def test_runs_that_cannot_be_compared_say_why(runs, change, match):
    with pytest.raises(UsageError, match=match):
        arena.compare(change(runs), judge=longer)


@each_row(
    ("options", "match"),
    [
        ({"judge": "gpt-4.1"}, r"of type str; .* arena\.llm_judge\(.gpt-4\.1.\)"),
        ({"judge": longer, "metrics": ["nope"]}, "^compare: metrics: no metric 'nope'"),
        ({"judge": lambda one: "first"}, "query, first, second"),
        ({"judge": []}, "empty list"),
        ({"judge": {"model": "m", "temprature": 1}}, "temperature"),
        ({"judge": {"model": "m", "top_k": 1}}, "top_k: unknown key; it belongs to arena.compare"),
        ({"judge": longer, "queries": 0}, "queries"),
        ({"judge": longer, "queries": ["q1", "q77"]}, "'q77' is no query of zoo"),
        ({"judge": longer, "pairs_per_query": 0}, "pairs_per_query is 0"),
        ({"judge": longer, "limit": 0}, "limit is 0"),
        ({"judge": longer, "max_usd": float("nan")}, "max_usd is nan"),
        ({"judge": [longer, longer]}, "share one name; give one another"),
        ({"judge": longer, "orders": "home"}, "orders"),
        ({"judge": arena.llm_judge("m"), "max_usd": 1.0}, "price_per_1m"),
    ],
)
def test_options_that_cannot_be_used_say_why(runs, options, match):
    with pytest.raises(UsageError, match=match):
        arena.compare(runs, **options)


def test_numbers_of_numpy_generators_and_lists_of_queries_are_taken(runs):
    number, chosen = np.int64(2), ["q3", "q1"]

    battles = arena.compare((run for run in runs), longer, queries=chosen, top_k=number)

    assert set(battles["query_id"]) == set(chosen)
    whole = arena.compare(runs, longer, top_k=2)
    assert battles["id"].tolist() == whole[whole["query_id"].isin(chosen)]["id"].tolist()
    assert len(arena.retrieve("bm25", runs[0].data, number).rankings) == 2
    assert set(arena.retrieve("bm25", runs[0].data, np.array(chosen)).rankings) == set(chosen)


@each_row("options", [{"limit": -1}, {"drift": 0}, {"max_usd": 0.0}, {"max_usd": float("nan")}])
def test_options_that_no_run_can_have_are_refused_at_once(options):
    with pytest.raises(UsageError, match=f"^{next(iter(options))} is "):
        arena.BattleOptions(**options)


def test_a_model_in_a_folder_is_called_by_the_folder(data, tmp_path):
    section = {"provider": "onnx", "model": str(tmp_path / "my model")}

    with pytest.raises(ArenaError, match=r"^(?!.*is no name)"):
        arena.retrieve(section, data)


def test_keys_of_another_function_name_it():
    """The list of the keywords of `compare` is that of its signature."""
    keywords = inspect.signature(arena.compare).parameters.keys() - {"runs", "judge"}

    assert keywords == set(OPTIONS_OF_COMPARE)
    with pytest.raises(ConfigError, match="it belongs to arena\\.retrieve"):
        arena.llm_judge("m", provider="openai")


def test_runs_over_a_sample_lead_to_the_same_battles(data):
    whole = [arena.retrieve("bm25", data), arena.retrieve("lsa", data)]
    part = [arena.retrieve("bm25", data, queries=3), arena.retrieve("lsa", data, queries=3)]

    ids = [arena.compare(r, judge=longer, queries=3)["id"].tolist() for r in (whole, part)]

    assert ids[0] == ids[1]
    with pytest.raises(UsageError, match="bm25: has no ranking"):
        arena.compare([part[0], whole[1]], judge=longer, queries=5)


def test_an_llm_judges_by_the_same_ids_as_the_command_and_resumes(tmp_path, monkeypatch):
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "gate = false"))
        summary = battle(config, reporter(quiet=True))
        data = arena.load_dataset(tmp_path / "data", _dataset_name(config))
        stored = sorted(summary.experiment.folder.glob("retrieval/*/*.trec"))
        runs = [arena.read_run(path, data) for path in stored]
        section = load_config(config).judges[0]
        n_asked = len(server.requests)

        log = summary.experiment.folder
        battles = arena.compare(runs, judge=section, log=log, top_k=_top_k(config))

        assert len(server.requests) == n_asked
    of_command = list(read_battles(log / "battles.jsonl"))
    assert battles["id"].tolist() == [battle.id for battle in of_command]


def test_a_killed_comparison_goes_on_where_it_was(tmp_path):
    process = forks().Process(target=_compare, args=(7, tmp_path / "killed"))
    process.start()
    process.join(60)

    assert process.exitcode == -signal.SIGKILL
    assert _compare(0, tmp_path / "killed") == (12, 18)
    _compare(0, tmp_path / "whole")
    killed, whole = (
        [(b.id, b.winner) for b in read_battles(tmp_path / log / "battles.jsonl")]
        for log in ("killed", "whole")
    )
    assert killed == whole


def _compare(kill_at: int, log: Path) -> tuple[int, int]:
    """How often the judge was asked, and how many battles there are."""
    data = arena.Dataset(
        {f"d{i}": f"text {i}" for i in range(9)}, {f"q{i}": f"query {i}" for i in range(9)}
    )
    ids, asked = list(data.corpus), []
    runs = [
        arena.retrieve(lambda query, k: ids[:4], data, name="a"),
        arena.retrieve(lambda query, k: ids[4:], data, name="b"),
    ]

    def judge(query, first, second):
        asked.append(query)
        if len(asked) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return "tie" if query.query_id == "q1" else "first"

    battles = arena.compare(runs, judge=arena.function_judge(judge, "v1"), log=log)
    return len(asked), len(battles)


def test_a_judge_may_serve_several_comparisons(runs):
    judge = arena.function_judge(longer_soon, "longer", concurrency=2)

    assert len(arena.compare(runs, judge=judge)) == len(arena.compare(runs, judge=judge)) == 12


def test_an_async_judge_is_asked_as_often_at_once_as_it_may_be(runs):
    busy, most = 0, 0

    async def judge(query, first, second):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.01)
        busy -= 1
        return "first"

    arena.compare(runs, judge=arena.function_judge(judge, "slow", concurrency=3))

    assert most == 3


def test_calls_of_a_plain_judge_run_at_once_if_it_says_so(runs):
    """Each call waits for three others."""
    together = threading.Barrier(4)

    def judge(query, first, second):
        together.wait(60)
        if query.query_id == "q0":
            raise StopIteration
        return "tie"

    with pytest.warns(arena.ArenaWarning, match="exception: 2"):
        battles = arena.compare(runs, arena.function_judge(judge, "slow", concurrency=4))

    assert len(battles) == 2 * len(ANIMALS) - 2


def test_what_belongs_to_a_loop_serves_several_comparisons(runs):
    """A semaphore that somebody has waited for belongs to the loop; so do clients and sessions."""
    turns = asyncio.Semaphore(1)

    async def judge(query, first, second):
        async with turns:
            await asyncio.sleep(0.001)
            return "tie"

    async def search(query, k):
        async with turns:
            return ["d1"]

    for _ in range(2):
        assert len(arena.compare(runs, judge)) == 2 * len(ANIMALS)
    assert len(arena.retrieve(search, runs[0].data).rankings) == len(ANIMALS)


def test_an_async_judge_that_leaves_or_waits_for_itself_hangs_nothing(runs):
    async def leaves(query, first, second):
        raise SystemExit("enough")

    async def waits(query, first, second):
        return arena.compare(runs, longer_soon)

    with pytest.raises(SystemExit, match="enough"):
        arena.compare(runs, leaves)
    with pytest.raises(IncompleteError, match=r"called inside an async function .*to_thread"):
        arena.compare(runs, waits)
    assert len(arena.compare(runs, longer_soon)) == 2 * len(ANIMALS)


def test_an_object_with_name_fingerprint_and_judge_is_a_judge(runs, tmp_path):
    class Longer:
        name = "longer"
        fingerprint = "longer-1"
        kind = "pointwise"

        async def judge(self, exhibit):
            if exhibit.query.query_id == "q4":
                raise arena.UnjudgedError("unsure", "nothing to tell them apart")
            return arena.Verdict(longer(exhibit.query, exhibit.first, exhibit.second))

    assert isinstance(Longer(), arena.Judge)
    with pytest.warns(arena.ArenaWarning, match="unsure: 2"):
        battles = arena.compare(runs, judge=Longer(), log=tmp_path / "log")

    assert set(battles["kind"]) == {"pointwise"}
    assert arena.rate(battles).position_advantage is None


def test_a_panel_of_ones_own_judges_has_a_battle_of_each(runs):
    panel = [arena.function_judge(longer, "one"), arena.function_judge(longer_soon, "two")]

    battles = arena.compare(runs, judge=panel)

    assert battles["judge"].value_counts().to_dict() == {"one": 12, "two": 12}


def test_a_second_ctrl_c_leaves_a_judge_that_never_answers(runs):
    ended = threading.Event()

    async def judge(query, first, second):
        press_ctrl_c()
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        arena.compare(runs, judge=arena.function_judge(judge, "hangs", concurrency=1))
    assert ended.wait(60)


@pytest.mark.parametrize("on_interrupt", [None, lambda: None])
def test_ctrl_c_before_the_thread_runs_leaves_no_work_behind(monkeypatch, on_interrupt):
    """A stray thread would go on to judge, and to pay."""
    start, cancelled = threading.Thread.start, threading.Event()

    async def work():
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    def start_and_interrupt(thread):
        start(thread)
        for _ in range(1 if on_interrupt is None else 2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # the signal is handled here, between the start and the wait

    monkeypatch.setattr(threading.Thread, "start", start_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_apart(work(), on_interrupt=on_interrupt)
    assert cancelled.wait(60)


def test_ctrl_c_ends_retrieval_inside_a_running_loop(data):
    """The handler of `asyncio.run` alone would wait for the end of the retrieval."""
    asked = []

    async def search(query, k):
        asked.append(query)
        if len(asked) == 2:
            press_ctrl_c()
            await asyncio.sleep(0.2)  # until the retrieval is told
        return ["d1"]

    async def cell():
        with pytest.raises(KeyboardInterrupt):
            arena.retrieve(search, data)

    asyncio.run(cell())
    assert len(asked) < len(ANIMALS)


def test_a_spent_budget_is_no_ctrl_c(runs):
    with LoopbackServer(fair_judge) as server:
        judge = arena.llm_judge(
            "m",
            base_url=server.base_url,
            price_per_1m_input_tokens=1.0,
            price_per_1m_output_tokens=1.0,
        )
        with pytest.raises(IncompleteError, match="0 of 12 battles: budget"):
            arena.compare(runs, judge=judge, max_usd=1e-9, gate=False)


def test_a_log_that_is_being_written_keeps_its_inputs(runs, tmp_path, monkeypatch):
    """A judge compares other runs into the log of its own comparison."""
    log, errors = tmp_path / "log", []
    at_once = partial(locked_log, wait_s=0.01)
    monkeypatch.setattr("arena.api.compare.locked_log", at_once)

    def judge(query, first, second):
        before = (log / "arena.toml").read_bytes()
        with pytest.raises(LogError, match="another arena"):
            arena.compare(others, judge=arena.function_judge(longer, "longer"), log=log)
        errors.append((log / "arena.toml").read_bytes() == before)
        return "tie"

    others = [replace(run, run=replace(run.run, model=f"new-{run.model}")) for run in runs]
    arena.compare(runs, judge=arena.function_judge(judge, "nested"), log=log, limit=1)

    assert errors == [True]


def test_embedding_by_an_endpoint_works_inside_a_running_loop(data):
    def answer(body, attempt):
        return embeddings([[float(len(text)), 1.0] for text in body["input"]])

    async def cell(base_url: str) -> arena.ModelRun:
        section = {"provider": "openai", "base_url": base_url, "model": "m"}
        return arena.retrieve(section, data)

    with LoopbackServer(answer) as server:
        run = asyncio.run(cell(server.base_url))

    assert run.model == "m"
    assert len(run.rankings) == len(ANIMALS)


def one_by_one(texts):
    return [np.array([len(text), 1.0]) for text in texts]


async def one_by_one_soon(texts):
    await asyncio.sleep(0)
    return one_by_one(texts)


class Encoder:
    def encode(self, texts, batch_size=32):
        return one_by_one(texts)


class SentenceEncoder:
    """Like a SentenceTransformer, which is callable and has prompts for queries."""

    def __call__(self, features):
        raise AssertionError(features)

    encode = None

    def encode_document(self, texts):
        return one_by_one(texts)

    def encode_query(self, texts):
        return np.array(one_by_one(texts))


class Tensor:
    """What numpy cannot read before it is taken away from its graph and device."""

    def __init__(self, rows):
        self._rows = rows

    detach = cpu = float = lambda self: self

    def numpy(self):
        return np.array(self._rows, dtype=np.float32)


@pytest.mark.parametrize(
    "encode",
    [
        one_by_one,
        lambda texts: np.array(one_by_one(texts)),
        lambda texts: [list(row) for row in one_by_one(texts)],
        lambda texts, batch_size=3: tuple(one_by_one(texts)),
        lambda texts: Tensor(one_by_one(texts)),
        lambda texts: [Tensor(row) for row in one_by_one(texts)],
        one_by_one_soon,
        lambda texts: one_by_one_soon([*texts]),
        Encoder(),
        SentenceEncoder(),
    ],
)
def test_vectors_of_every_make_rank_alike(data, encode):
    expected = arena.retrieve(one_by_one, data, name="x")

    async def cell():
        return arena.retrieve(encode, data, name="x")

    run = asyncio.run(cell())
    assert arena.retrieve(encode, data, name="x") == run

    assert run == expected
    assert run.stats.dimension == 2


async def found_soon(query, k):
    await asyncio.sleep(0)
    return ["d3", "d1"]


@each_row(
    "search",
    [
        lambda query, k: ["d3", "d1"],
        lambda query, k: np.array(["d3", "d1"]),
        lambda query, k: [["d3", 2.0], ["d1", 1.0]],
        lambda query, k: {"d1": 1.0, "d3": 2},
        found_soon,
    ],
)
def test_a_search_of_every_make_ranks_alike(data, search):
    run = arena.retrieve(search, data, name="x")

    assert [doc.doc_id for doc in run.rankings["q0"]] == ["d3", "d1"]


def test_a_run_goes_through_a_frame_and_a_dict(data):
    run = arena.retrieve(one_by_one, data, name="x")
    frame = run.to_frame()
    of_query = {
        query_id: dict(zip(rows["doc_id"], rows["score"], strict=True))
        for query_id, rows in frame.groupby("query_id")
    }

    assert frame["rank"].tolist() == [*range(1, 7)] * 6
    for source in (frame, frame.rename(columns={"query_id": "qid", "doc_id": "docno"}), of_query):
        assert arena.read_run(source, data, name="x") == run
    assert set(arena.read_run({"q1": ["d1"]}, data, name="x").rankings) == {"q1"}


@each_row(
    ("source", "match"),
    [
        ({"q1": ["d1"]}, "needs a name"),
        ({"q77": ["d1"]}, "unknown query 'q77'"),
        ({"q1": ["d77"]}, "query 'q1': unknown document 'd77'"),
        ({"q1": "d1"}, "query 'q1': got str"),
        ({}, "an empty run"),
        (pd.DataFrame({"query": ["q1"], "docno": ["d1"], "score": [1]}), "no column query_id"),
        ([{"qid": "q1", "docno": "d1", "score": 1}] * 2, "document 'd1' occurs twice"),
        ("nowhere.trec", "nowhere.trec: no such file"),
    ],
)
def test_a_run_that_cannot_be_read_says_why(data, source, match):
    with pytest.raises(UsageError, match=match):
        arena.read_run(source, data, name=None if "name" in match else "x")


def test_queries_may_have_an_encoder_of_their_own(data):
    run = arena.retrieve(
        lambda texts: [[1.0, i] for i, _ in enumerate(texts)],
        data,
        name="x",
        encode_queries=lambda texts: [[0.0, 1.0]] * len(texts),
    )

    assert run.rankings["q0"][0].doc_id == "d5"


@each_row(
    ("model", "options", "match"),
    [
        (lambda texts: [1.0] * len(texts), {}, "returned 6; expected an array of 6 vectors"),
        (lambda texts: [[1.0], [2.0]], {}, "returned 2 × 1; expected"),
        (lambda texts: [[1.0]] * (len(texts) - 1) + [[1.0, 2.0]], {}, "cannot be read as vectors"),
        (lambda texts: None, {}, "cannot be read as vectors|single number"),
        (lambda texts: ["d1"], {}, 'returns="doc_ids"'),
        (lambda texts: [["a"]] * len(texts), {}, "cannot be read as vectors"),
        (lambda texts: [[float("nan")]] * len(texts), {}, "x: .*"),
        (longer_soon, {"returns": "vectors"}, "."),
        (lambda query, k: ["nowhere"], {}, "query 'q0': unknown document 'nowhere'"),
        (lambda query, k: ["d1", "d1"], {}, "'d1' occurs twice"),
        (lambda query, k: "d1", {}, "got str; expected doc_ids"),
        (lambda query, k: None, {}, "got NoneType"),
        (lambda query, k: [("d1", "best")], {}, "score 'best'"),
        (lambda query, k: [("d1", float("nan"))], {}, "score of document 'd1' is nan"),
        (lambda query, k: [], {"returns": "lists"}, "returns is 'lists'"),
        (lambda query, k: [], {"encode_queries": one_by_one}, "encode_queries is for"),
        (lambda query, k: [], {"queries": ["q77"]}, "unknown query 'q77'"),
        (lambda query, k: [], {"queries": 0}, "queries is 0"),
        (lambda query, k: [], {"queries": []}, "queries: an empty list"),
        (lambda query, k: [], {"base": []}, "base is for a reranker"),
        ({"rerank": "cohere"}, {}, "a reranker reorders a run; give base=run"),
        ({"fuse": ["a", "b"]}, {}, "needs the runs of a, b; give base="),
        (lambda query, k: [], {"queries": "q1"}, "a list of query_ids"),
        (lambda query, k: [], {"name": "a\nb"}, "name"),
        ("bm52", {}, "bm25"),
        ({"provider": "bm25", "langauge": "en"}, {}, "language"),
        (7, {}, "of type int"),
        ("bm25", {"returns": "vectors"}, "about a callable"),
    ],
)
def test_a_model_that_cannot_be_used_says_why(data, model, options, match):
    with pytest.raises((ArenaError, TypeError), match=match):
        arena.retrieve(model, data, **{"name": "x", **options})


@each_row(
    ("corpus", "queries", "qrels", "match"),
    [
        ({}, {"q": "x"}, None, "corpus: is empty"),
        (["a text"], {"q": "x"}, None, "corpus:1: is of type str"),
        (7, {"q": "x"}, None, "corpus: is of type int"),
        ([], {"q": "x"}, None, "corpus: is empty"),
        ([{"_id": "d", "text": "x"}] * 2, {"q": "x"}, None, "corpus:2: _id 'd' occurs twice"),
        ({"d": "x"}, [{"text": "x"}], None, 'queries:1: missing "_id"'),
        ({"d": "x"}, {"q": "x"}, [{"query-id": "q", "score": 1}], 'qrels:1: missing "corpus-id"'),
        ({"d": "x"}, {"q": "x"}, "q d 1", "qrels:1: is of type str"),
        ({"d 1": "x"}, {"q": "x"}, None, "white space"),
        ({"d": 7}, {"q": "x"}, None, '"text" is 7'),
        ({"d": {"body": "x"}}, {"q": "x"}, None, 'missing "text"'),
        ({"d": arena.Document("e", "x")}, {"q": "x"}, None, "two ids for one"),
        ({"d": "x"}, {"q": " "}, None, "empty text"),
        ({"d": "x"}, {}, None, "queries: is empty"),
        ({"d": "x"}, {"q": "x"}, {"p": {"d": 1}}, "unknown query 'p'"),
        ({"d": "x"}, {"q": "x"}, {"q": {"e": 1}}, "unknown document 'e'"),
        ({"d": "x"}, {"q": "x"}, {"q": ["d"]}, "grades of query 'q' are of type list"),
        (pd.DataFrame({"_id": ["d"], "text": [None]}), {"q": "x"}, None, '"text" is None'),
        ({"d": "x"}, {"q": "x"}, {"q": {"d": float("inf")}}, "expected a number"),
        ({"d": "x"}, {"q": "x"}, {"q": {"d": "high"}}, "expected a number"),
    ],
)
def test_a_data_set_that_cannot_be_used_says_which_entry(corpus, queries, qrels, match):
    with pytest.raises(DataError, match=match):
        arena.Dataset(corpus, queries, qrels)


@TORCH
@pytest.mark.parametrize("kind", ["whole", "streamed", "pandas"])
def test_tables_of_other_libraries_are_a_data_set(kind):
    import datasets  # a second, which other workers need not wait

    tables = [
        datasets.Dataset.from_list(rows)
        for rows in (
            [{"_id": "d1", "text": "first", "title": "One"}, {"_id": "d2", "text": ""}],
            [{"_id": 7, "text": "which?"}],
            [
                {"query-id": "7", "corpus-id": "d1", "score": 2},
                {"query-id": "of-train", "corpus-id": "d2", "score": 1},
            ],
        )
    ]
    if kind == "streamed":
        tables = [table.to_iterable_dataset() for table in tables]
    elif kind == "pandas":
        tables = [table.to_pandas() for table in tables]

    data = arena.Dataset(*tables)

    assert list(data.corpus.values()) == [
        arena.Document("d1", "first", "One"),
        arena.Document("d2", ""),
    ]
    assert data.queries == {"7": arena.Query("7", "which?")}
    assert data.qrels == {"7": {"d1": 2}}
    assert len(data.notes) == 1


def test_a_series_is_a_dict_of_its_index():
    data = arena.Dataset(pd.Series({"d1": "one"}), pd.Series({7: "seven"}))

    assert data.corpus == {"d1": arena.Document("d1", "one")}
    assert data.queries == {"7": arena.Query("7", "seven")}


def test_ids_that_are_numbers_are_their_digits():
    data = arena.Dataset({1: "one"}, {2: "two"}, {2: {1: 1}})

    assert (list(data.corpus), list(data.queries), data.qrels) == (["1"], ["2"], {"2": {"1": 1}})


def test_a_run_file_may_be_about_a_sample_of_the_queries(data, tmp_path):
    path = tmp_path / "some.trec"
    path.write_text("q1 Q0 d1 1 2.0 x\nq2 Q0 d2 1 2.0 x\n")

    run = arena.read_run(str(path), data)

    assert (run.model, set(run.rankings)) == ("some", {"q1", "q2"})


def test_a_log_describes_itself_in_an_arena_toml(data, tmp_path):
    names = ["BAAI/bge-m3", "b + c"]
    ids = list(data.corpus)
    runs = [
        arena.retrieve(lambda query, k, n=n: ids[n : n + 2], data, name=name)
        for n, name in enumerate(names)
    ]

    arena.compare(runs, judge=arena.function_judge(longer, "longer"), log=tmp_path / "log")

    told = tomllib.loads((tmp_path / "log" / "arena.toml").read_text("utf-8"))
    assert [model["name"] for model in told["models"]] == names
    for model in told["models"]:
        assert (tmp_path / "log" / model["run"].replace("{dataset}", "zoo")).exists()


@each_row("battles", [7, None, [], ["nowhere"], pd.DataFrame()])
def test_what_are_no_battles_says_so(battles):
    for function in (arena.rate, arena.audit):
        with pytest.raises(UsageError):
            function(battles)


@each_row(
    ("call", "argument"),
    [
        (lambda runs: arena.load_dataset(7), "load_dataset"),
        (lambda runs: arena.read_run(7, runs[0].data), "read_run"),
        (lambda runs: arena.read_run("x.trec", 7), "data"),
        (lambda runs: arena.retrieve("bm25", 7), "data"),
        (lambda runs: arena.retrieve("bm25", runs[0].data, 2.0), "queries"),
        (lambda runs: arena.retrieve("bm25", runs[0].data, depth="9"), "depth"),
        (lambda runs: arena.retrieve("bm25", runs[0].data, seed="9"), "seed"),
        (lambda runs: arena.retrieve("bm25", runs[0].data, cache=9), "cache"),
        (lambda runs: arena.retrieve({"fuse": ["a", "b"]}, runs[0].data, base=9), "base"),
        (lambda runs: runs[0].measure(["nDCG@10"]), "metrics"),
        (lambda runs: arena.metric_differences(9), "runs"),
        (lambda runs: arena.metric_differences(runs, level="9"), "level"),
        (lambda runs: arena.function_judge(longer, "x", concurrency="9"), "concurrency"),
        (lambda runs: arena.compare(runs[0], longer), "runs"),
        (lambda runs: arena.compare(runs, longer, top_k=2.5), "top_k"),
        (lambda runs: arena.compare(runs, longer, limit=2.5), "limit"),
        (lambda runs: arena.compare(runs, longer, max_usd="9"), "max_usd"),
        (lambda runs: arena.compare(runs, longer, gate="no"), "gate"),
        (lambda runs: arena.compare(runs, Numbered()), "judge: fingerprint"),
        (lambda runs: arena.compare(runs, judge=arena.qrels_judge(), log=7), "log"),
        (lambda runs: arena.compare(runs, judge=longer, queries="all"), "queries"),
        (lambda runs: arena.compare(runs, judge=longer, queries=True), "queries"),
        (lambda runs: arena.rate(pd.DataFrame(), settings=7), "settings"),
        (lambda runs: arena.rate(pd.DataFrame(), aliases=7), "aliases"),
        (lambda runs: arena.rate(pd.DataFrame(), aliases={"a": 7}), "aliases: a name"),
        (lambda runs: arena.rate([{"winner": "tie"}, 7]), "battles: a row"),
        (lambda runs: arena.battle(7), "path"),
        (lambda runs: arena.battle("arena.toml", options=7), "options"),
        (lambda runs: arena.rate(arena.compare(runs, longer), labels=7), "labels"),
        (lambda runs: arena.report(pd.DataFrame()), "path"),
        (lambda runs: arena.plan("ab", {}), "models"),
        (lambda runs: arena.plan(["a", "b"], ["q1"]), "queries"),
        (lambda runs: arena.rate(arena.compare(runs, judge=longer), labels=7), "labels"),
        (lambda runs: arena.audit(pd.DataFrame(), labels=7), "labels"),
        (lambda runs: arena.between(7, 7), "first"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(runs, call, argument):
    with pytest.raises(UsageError, match=rf"^{argument}: of type \w+; expected "):
        call(runs)


def test_two_data_sets_of_one_name_are_told_apart(runs):
    other = arena.Dataset({"d1": "else"}, {"q1": "else"}, name="zoo")

    with pytest.raises(UsageError, match="two different data sets are called 'zoo'"):
        arena.compare([runs[0], arena.retrieve("bm25", other)], judge=longer)


@MATPLOTLIB
def test_foreign_names_are_escaped_in_html_and_plots():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    evil = "<script>alert(1)</script>$\\frac{"
    frame = pd.DataFrame({"model_a": [evil, "b"], "model_b": ["b", evil], "winner": ["tie"] * 2})
    board = arena.rate(frame)

    assert "<script>" not in board._repr_html_()
    axes = board.plot()
    axes.figure.canvas.draw()
    matplotlib.pyplot.close(axes.figure)


def test_a_plot_without_matplotlib_names_the_extra(runs, monkeypatch):
    board = arena.rate(arena.compare(runs, judge=longer))
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(UsageError, match=r'pip install "retrieval-arena\[plot\]"'):
        board.plot()


def test_frame_of_a_data_set_that_is_not_there_names_those_that_are(runs):
    board = arena.rate(arena.compare(runs, judge=longer))

    assert board.to_frame("zoo")["model"].tolist() == ["tail", "head"]
    with pytest.raises(UsageError, match="the leaderboard has zoo"):
        board.to_frame("farm")
