from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import forks
from tables import each_row

from arena.config import ModelConfig
from arena.errors import ArenaError, CommandError, UsageError
from arena.records import Dataset, Document, Query, RetrievalStats, Run
from arena.retrieval.command import read_answer
from arena.retrieval.retrieve import retrieve

DATASET = Dataset(
    "tiny",
    {doc_id: Document(doc_id, f"words of {doc_id}") for doc_id in ("a", "b", "c", "7")},
    {query_id: Query(query_id, f"what is {query_id}? ـعــ") for query_id in ("q1", "q2", "q3")},
    {},
)

ONE_BY_ONE = """
    for line in sys.stdin:
        query = json.loads(line)
        print(json.dumps({"query_id": query["query_id"], "results": ["b", "a"]}))
"""
ALL_AT_ONCE = """
    queries = [json.loads(line) for line in sys.stdin.readlines()]
    for query in reversed(queries):
        print(json.dumps({"query_id": query["query_id"], "results": ["b", "a"]}))
"""

Write = Callable[[str], ModelConfig]


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """Write a Python program; returns the model that runs it."""

    def write(body: str, **settings: object) -> ModelConfig:
        path = tmp_path / "search.py"
        path.write_text("import json, os, sys, time\n" + textwrap.dedent(body), "utf-8")
        command = f"{sys.executable} {path}"
        return ModelConfig.model_validate({"name": "search", "command": command, **settings})

    return write


def rank(
    model: ModelConfig, tmp_path: Path, *, dataset: Dataset = DATASET, depth: int = 100
) -> tuple[Run, RetrievalStats]:
    return retrieve(model, dataset, list(dataset.queries), depth=depth, cache=tmp_path / "cache")


def order(run: Run, query_id: str) -> list[str]:
    return [place.doc_id for place in run.rankings[query_id]]


def refusal(model: ModelConfig, tmp_path: Path) -> str:
    with pytest.raises(ArenaError) as caught:
        rank(model, tmp_path)
    return str(caught.value)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie counts, since nobody has waited for it."""
    return Path(f"/proc/{pid}").exists()


def is_running(pid: int) -> bool:
    """Whether a process runs that was left to the system, which may be late to reap it."""
    return is_alive(pid) and "zombie" not in Path(f"/proc/{pid}/status").read_text()


def test_queries_are_asked_one_by_one_and_each_is_timed(tmp_path: Path, program: Write) -> None:
    model = program(
        """
        for line in sys.stdin:
            query = json.loads(line)
            with open("asked", "a", encoding="utf-8") as file:
                file.write(f"{query['query_id']} {query['text']} {query['top_k']}\\n")
            scores = [{"doc_id": "a", "score": 1}, {"doc_id": "b", "score": 2.5}]
            print(json.dumps({"query_id": query["query_id"], "results": scores}))
        """,
        folder=tmp_path,
    )

    run, stats = rank(model, tmp_path, depth=50)

    asked = (tmp_path / "asked").read_text("utf-8").splitlines()
    assert asked == [f"{q} what is {q}? ـعــ 50" for q in ("q1", "q1", "q2", "q3")]
    assert [(place.doc_id, place.score) for place in run.rankings["q3"]] == [("b", 2.5), ("a", 1)]
    assert list(run.rankings) == ["q1", "q2", "q3"]
    assert len(stats.latency_ms) == 3
    assert stats.measured_at is not None


def test_what_loads_at_first_is_no_latency(tmp_path: Path, program: Write) -> None:
    model = program("time.sleep(0.5)\n" + textwrap.dedent(ONE_BY_ONE))

    _, stats = rank(model, tmp_path)

    assert max(stats.latency_ms) < 400


def test_program_that_reads_everything_first_is_given_everything(
    tmp_path: Path, program: Write, caplog: pytest.LogCaptureFixture
) -> None:
    run, stats = rank(program(ALL_AT_ONCE, timeout_s=0.4), tmp_path)

    assert {query_id: order(run, query_id) for query_id in run.rankings} == {
        query_id: ["b", "a"] for query_id in ("q1", "q2", "q3")
    }
    assert stats.latency_ms == ()
    assert stats.measured_at is None
    assert "latency is not measured" in caplog.text


def test_forgotten_flush_is_no_deadlock(tmp_path: Path, program: Write) -> None:
    forgetful = 'sys.stdout = open(1, "w", buffering=2**20, closefd=False)\n'
    model = program(forgetful + textwrap.dedent(ONE_BY_ONE), timeout_s=0.4)

    run, _ = rank(model, tmp_path)

    assert order(run, "q2") == ["b", "a"]


def test_full_pipes_on_both_sides_are_no_deadlock(tmp_path: Path, program: Write) -> None:
    many = Dataset(
        "tiny",
        DATASET.corpus,
        {f"q{i}": Query(f"q{i}", "word " * 2000) for i in range(40)},
        {},
    )
    model = program(
        """
        sys.stdin.readline()
        time.sleep(0.6)
        print(json.dumps({"query_id": "q0", "results": []}))
        for line in sys.stdin:
            query = json.loads(line)
            padding = "x" * 20_000
            print(padding, file=sys.stderr)
            answer = {"query_id": query["query_id"], "results": ["a"], "padding": padding}
            print(json.dumps(answer))
        """,
        timeout_s=0.3,
    )

    run, _ = rank(model, tmp_path, dataset=many)

    assert [order(run, query_id) for query_id in ("q0", "q1", "q39")] == [[], ["a"], ["a"]]


@each_row(
    ("results", "expected"),
    [
        ('["b", "c", "a"]', [("b", 1.0), ("c", 0.5), ("a", 1 / 3)]),
        ('[{"doc_id": "c"}, {"doc_id": "a"}]', [("c", 1.0), ("a", 0.5)]),
        ('[{"doc_id": "c", "score": null}, "a"]', [("c", 1.0), ("a", 0.5)]),
        ('[{"doc_id": "c", "score": 1}, {"doc_id": "a", "score": 1.0}]', [("a", 1.0), ("c", 1.0)]),
        ('[{"doc_id": 7, "score": -2e-3, "title": "more"}]', [("7", -0.002)]),
        ("[7]", [("7", 1.0)]),
        ("[]", []),
    ],
)
def test_results_are_scored_documents_or_a_mere_order(
    results: str, expected: list[tuple[str, float]]
) -> None:
    line = f'{{"query_id": "q1", "results": {results}}}'.encode()

    assert read_answer(line, DATASET.corpus) == ("q1", expected)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"query_id": "q1", "results": [}', "line 1 of its output: not valid JSON (Expecting va"),
        ("q1 Q0 a 1 0.5 tag", "not valid JSON"),
        ("\x1b[31mloading\x1b[0m index", "; it begins '[31mloading [0m index'"),
        ("[" * 100_000, "not valid JSON (RecursionError)"),
        ("[]", "no object with a list of results"),
        ('{"query_id": "q1", "results": "a"}', "no object with a list of results"),
        ('{"results": ["a"]}', "no query_id"),
        ('{"query_id": "q2", "results": []}', "query_id 'q2', which no answer is due to"),
        ('{"query_id": "q1", "results": ["a", "z"]}', "result 2: unknown document 'z'"),
        ('{"query_id": "q1", "results": ["a", "b", "a"]}', "result 3: document 'a' occurs twice"),
        ('{"query_id": "q1", "results": [{"id": "a"}]}', "result 1 names no document"),
        ('{"query_id": "q1", "results": [{"doc_id": "a", "score": NaN}]}', "score nan; expected"),
        ('{"query_id": "q1", "results": [{"doc_id": "a", "score": 1e39}]}', "score 1e+39"),
        ('{"query_id": "q1", "results": [{"doc_id": "a", "score": "1"}]}', "score '1'"),
        (
            '{"query_id": "q1", "results": [{"doc_id": "a", "score": 1}, "b"]}',
            "result 2 has no score, but others have",
        ),
    ],
)
def test_line_that_is_no_ranking_is_an_error_that_names_it(
    tmp_path: Path, program: Write, line: str, message: str
) -> None:
    told = refusal(program(f"sys.stdin.readline(); print({line!r})"), tmp_path)

    assert told.startswith("search: line 1 of its output: ")
    assert message in told
    assert told.isprintable()
    assert len(told) < 500


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "b", "q1", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["query_id", "results", "doc_id", "score"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@given(line=st.binary(max_size=40) | anything.map(lambda found: json.dumps(found).encode()))
def test_any_line_is_a_ranking_or_an_error(line: bytes) -> None:
    with suppress(ValueError):
        query_id, ranking = read_answer(line, DATASET.corpus)

        assert isinstance(query_id, str)
        assert {doc_id for doc_id, _ in ranking} <= set(DATASET.corpus)
        assert all(above >= below for (_, above), (_, below) in pairwise(ranking))


def test_query_that_is_answered_twice_is_an_error(tmp_path: Path, program: Write) -> None:
    answer = '{"query_id": "q1", "results": []}'
    model = program(f"sys.stdin.read(); print({answer!r}); print({answer!r})", timeout_s=0.3)

    assert "line 2 of its output: query_id 'q1', which no answer is due to" in refusal(
        model, tmp_path
    )


def test_program_that_ends_early_is_an_error_with_its_status_and_last_words(
    tmp_path: Path, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_API_KEY", "sk-very-secret")
    model = program(
        """
        print(sys.stdin.readline() and '{"query_id": "q1", "results": []}')
        print("no index \\x1b[2J at", os.environ["SEARCH_API_KEY"], file=sys.stderr)
        sys.exit(3)
        """
    )

    told = refusal(model, tmp_path)

    assert told == (
        "search: ended with exit status 3 before it had answered all; run it by hand; "
        "its stderr ends: no index [2J at [key]"
    )


def test_key_in_a_line_that_is_no_answer_is_not_shown(
    tmp_path: Path, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCH_API_KEY", "sk-very-secret")
    model = program('print("connecting with", os.environ["SEARCH_API_KEY"])')

    assert "it begins 'connecting with [key]'" in refusal(model, tmp_path)


def test_program_that_is_killed_is_named_with_the_signal(tmp_path: Path, program: Write) -> None:
    told = refusal(program("os.kill(os.getpid(), 9)"), tmp_path)

    assert "search: was ended by a signal (Killed) before it had answered all" in told


def test_program_that_closes_its_stdout_is_not_waited_for(
    tmp_path: Path, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.retrieval.child_process._FAREWELL_S", 0.2)
    told = refusal(program("os.close(1); time.sleep(600)"), tmp_path)

    assert "search: closed its stdout before it had answered all" in told


def test_program_that_leaves_a_daemon_behind_is_not_waited_for(
    tmp_path: Path, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.retrieval.child_process._FAREWELL_S", 0.2)
    daemon = """
        if os.fork() == 0:
            os.setsid()
            time.sleep(3)
        """

    told = refusal(program(daemon, timeout_s=0.5), tmp_path)

    assert "search: ended with exit status 0 before it had answered all" in told


def test_endless_complaints_hold_nothing_up_and_their_end_is_shown(
    tmp_path: Path, program: Write
) -> None:
    model = program(
        """
        for _ in range(40):
            sys.stderr.write(("." * 9 + "\\n") * 100_000)
        print("the last word", file=sys.stderr)
        sys.exit(1)
        """,
        timeout_s=5,
    )

    assert "its stderr ends: ......... | ......... | the last word" in refusal(model, tmp_path)


def test_missing_answer_of_many_is_named(tmp_path: Path, program: Write) -> None:
    model = program(ALL_AT_ONCE.replace("(queries)", "(queries[:1])"), timeout_s=0.3)

    assert "ended with exit status 0 before it had answered all" in refusal(model, tmp_path)


def test_program_that_never_answers_is_killed_in_time(tmp_path: Path, program: Write) -> None:
    model = program(
        'open("pid", "w").write(str(os.getpid()))\ntime.sleep(600)', timeout_s=0.2, folder=tmp_path
    )

    began = time.monotonic()
    told = refusal(model, tmp_path)

    assert time.monotonic() - began < 5
    assert told == (
        "search: no answer to 3 queries, 'q1' first, within 0.6 s for all; "
        "raise timeout_s, if it only needs longer"
    )
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_program_that_hangs_at_a_later_query_is_an_error_that_names_it(
    tmp_path: Path, program: Write
) -> None:
    model = program(
        ONE_BY_ONE.replace("query = ", "'q2' in line and time.sleep(600); query = "), timeout_s=0.5
    )

    assert "search: no answer to query 'q2' within 0.5 s; raise timeout_s" in refusal(
        model, tmp_path
    )


def test_what_a_script_has_started_is_killed_with_it(tmp_path: Path, program: Write) -> None:
    model = program(
        """
        import subprocess
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open("pid", "w").write(str(child.pid))
        child.wait()
        """,
        timeout_s=0.2,
        folder=tmp_path,
    )

    refusal(model, tmp_path)

    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not is_running(child):
            break
        time.sleep(0.02)
    assert not is_running(child)


def test_ctrl_c_leaves_no_program_behind(tmp_path: Path, program: Write) -> None:
    model = program('open("pid", "w").write(str(os.getpid()))\ntime.sleep(600)', folder=tmp_path)
    process = forks().Process(target=_retrieve, args=(model, tmp_path))
    process.start()
    pid = tmp_path / "pid"
    while process.exitcode is None and not (pid.exists() and pid.read_text()):
        time.sleep(0.02)
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    process.join(20)

    assert (tmp_path / "said").read_text() == "interrupted"
    assert not is_alive(int(pid.read_text()))


def _retrieve(model: ModelConfig, folder: Path) -> None:
    """Retrieve in a process of its own, and leave a word about how that ended."""
    try:
        rank(model, folder)
    except KeyboardInterrupt:
        (folder / "said").write_text("interrupted")


def test_complaint_at_the_end_keeps_all_answers(
    tmp_path: Path, program: Write, caplog: pytest.LogCaptureFixture
) -> None:
    model = program(
        """
        while True:
            query = json.loads(input())
            print(json.dumps({"query_id": query["query_id"], "results": ["a"]}))
        """
    )

    run, _ = rank(model, tmp_path)

    assert order(run, "q3") == ["a"]
    assert "ended with exit status 1; all of its answers are kept" in caplog.text
    assert "EOFError" in caplog.text


def test_program_learns_the_data_set_and_keeps_its_keys(
    tmp_path: Path, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-the-program")
    model = program(
        """
    known = [sys.argv[1], os.environ["ARENA_DATASET"], os.environ["OPENAI_API_KEY"]]
    assert known == ["index-tiny", "tiny", "sk-for-the-program"], known
    """
        + ONE_BY_ONE
    )

    run, _ = rank(
        model.model_copy(update={"command": f"{model.command} index-{{dataset}}"}), tmp_path
    )

    assert order(run, "q1") == ["b", "a"]


def test_ranking_is_cut_to_its_depth(tmp_path: Path, program: Write) -> None:
    run, _ = rank(program(ONE_BY_ONE), tmp_path, depth=1)

    assert order(run, "q1") == ["b"]


@each_row(
    ("content", "mode", "message"),
    [
        (None, 0, "search: command './search' is not found; give its path, such as ./search"),
        ("#!/bin/sh\n", 0o644, "search: command './search' is not executable; `chmod +x` it"),
        ("print()\n", 0o755, "search: command './search' is no program; begin it with #!"),
    ],
)
def test_program_that_cannot_be_started_is_told_with_the_remedy(
    tmp_path: Path, content: str | None, mode: int, message: str
) -> None:
    if content is not None:
        (tmp_path / "search").write_text(content)
        (tmp_path / "search").chmod(mode)

    with pytest.raises(UsageError) as caught:
        rank(ModelConfig(name="search", command="./search --json", folder=tmp_path), tmp_path)

    assert str(caught.value).startswith(message)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    model = ModelConfig(name="search", command="./search", folder=tmp_path / "absent")

    with pytest.raises(UsageError, match=r"absent' does not exist; see arena\.toml"):
        rank(model, tmp_path)


@each_row(
    ("settings", "message"),
    [
        ({"command": "./search 'x"}, "No closing quotation"),
        ({"command": " "}, "command is empty"),
        ({"provider": "bm25", "folder": "x"}, "folder is where a command runs"),
    ],
)
def test_setting_that_names_no_program_is_a_mistake(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.model_validate({"name": "search", **settings})


def test_answer_beyond_all_measure_is_an_error(
    tmp_path: Path, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.retrieval.child_process._LONGEST_LINE", 2**16)
    model = program('print(json.dumps({"query_id": "q1", "results": ["a"] * 2**16}))')

    with pytest.raises(CommandError, match="line 1 of its output is longer than 65,536 bytes"):
        rank(model, tmp_path)
