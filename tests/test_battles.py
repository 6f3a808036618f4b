from __future__ import annotations

import dataclasses
import gzip
import json
import os
import pickle
import subprocess
import sys
import tempfile

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_duckdb import one_duckdb
from pyarrow import parquet as pq
from tables import each_row

from arena.battles import (
    coded_columns,
    coded_log,
    duckdb_reader,
    join,
    large_files,
    notes,
    readers,
    row_blocks,
    rows,
    table,
)
from arena.battles.coded_columns import MODEL_A, MODEL_B, TIE
from arena.battles.load import from_frame, load_aliases, load_battles, read_here
from arena.cluster.read_logs import LogTask, read_there
from arena.data import csv_file
from arena.data import rows as data_rows
from arena.errors import ArenaError, DataError, UsageError

ALIASES = {
    "Bge M3 Deepinfra": "bge-m3",
    "Cohere Embed Multilingual V3": "cohere-embed-multilingual-v3",
    "Cohere Embed V3": "cohere-embed-v3",
    "Gemini Embedding 004": "text-embedding-004",
    "Jina Embeddings V3": "jina-embeddings-v3",
    "Jina Embeddings V5 Text Small": "jina-embeddings-v5-text-small",
    "Kanon 2": "kanon-2",
    "Openai Text Embedding 3 Large": "text-embedding-3-large",
    "Openai Text Embedding 3 Small": "text-embedding-3-small",
    "Qwen3 Embedding 0 6B Deepinfra": "qwen3-embedding-0.6b",
    "Qwen3 Embedding 4B Deepinfra": "qwen3-embedding-4b",
    "Qwen3 Embedding 8B Deepinfra": "qwen3-embedding-8b",
    "Voyage 3 5": "voyage-3.5",
    "Voyage 3 5 Lite": "voyage-3.5-lite",
    "Voyage 3 Large": "voyage-3-large",
    "Voyage 4": "voyage-4",
    "ZeroEntropy zembed-1": "zembed-1",
}


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(a="a1", b="b1", winner="model_a", **more):
    return {"model_a": a, "model_b": b, "winner": winner, **more}


def ours(id, **more):  # noqa: A002
    extra = {"dataset": "d", "query_id": "q", "judge": "j", "prompt": "p", "source": "judge"}
    return {"id": id, **extra, **row(), **more}


def outcomes(battles):
    names = battles.models
    return [
        (names[a], names[b], int(w))
        for a, b, w in zip(battles.model_a, battles.model_b, battles.winner, strict=True)
    ]


@each_row(
    ("written", "winner"),
    [
        ("model_a", MODEL_A),
        ("A", MODEL_A),
        ("model_b", MODEL_B),
        ("b", MODEL_B),
        ("tie", TIE),
        ("TIE", TIE),
        ("tie (bothbad)", TIE),
        ("both bad", TIE),
        ("both_bad", TIE),
    ],
)
def test_the_usual_spellings_of_a_winner_are_known(tmp_path, written, winner):
    battles = load_battles([jsonl(tmp_path / "log.jsonl", [row(winner=written)])])

    assert battles.winner.tolist() == [winner]


NO_WINNERS = ["unsure", "unclear", "ab", "none", 0, True, "Answer: B", "draw?", "wins", "-", "?"]
NO_WINNERS += ["A is not better", "B is better than A", "A is bad", "a tie", "A loses", "B is good"]
NO_WINNERS += ["both win", "A>A", "A+B", "2-1", "0", "model 0", "A and B", "the better", "no tie"]


@each_row("written", NO_WINNERS)
def test_any_other_winner_is_an_error_with_file_and_line_and_never_a_tie(tmp_path, written):
    path = jsonl(tmp_path / "log.jsonl", [row(), row(winner=written)])

    with pytest.raises(DataError, match=r"log\.jsonl:2: .*winner.*expected model_a"):
        load_battles([path])


@one_duckdb()
@each_row("size", [1, sys.maxsize])
def test_a_verdict_that_is_missing_is_counted_and_one_of_our_own_is_an_error(
    tmp_path, monkeypatch, size
):
    monkeypatch.setattr(large_files, "_FAST_BYTES", size)
    empty = [row(winner=word, probs=PROBS) for word in ("", None, "error", "NaN")]
    rows = [*empty, {"model_a": "a1", "model_b": "b1"}, row(winner="tie", probs=PROBS)]
    path = jsonl(tmp_path / "log.jsonl", [*rows, row("null", "x", "null"), row(winner="?")])
    with pytest.raises(DataError, match=r"log\.jsonl:8: winner is '\?'"):
        load_battles([path])
    jsonl(path, rows[:-1])
    with pytest.raises(DataError, match=r"log\.jsonl: no row has a verdict"):
        load_battles([path])
    jsonl(path, [*rows, row("null", "x", "null")])

    battles = load_battles([path])

    assert outcomes(battles) == [("a1", "b1", TIE), ("null", "x", MODEL_A)]
    assert battles.probs[0].tolist() == [0.5, 0.25, 0.25]
    note = "5 of 7 verdicts are missing and are left out; an empty winner is not a tie"
    assert f"{path}: {note}" in battles.notes
    with pytest.raises(DataError, match=r'log\.jsonl:8: missing "model_a"'):
        load_battles([jsonl(path, [*rows, row("null", "x", "null"), {"agent_a": "a1"}])])
    with pytest.raises(DataError, match=r'own\.jsonl:2: missing "winner"'):
        load_battles([jsonl(tmp_path / "own.jsonl", [ours("x"), ours("y", winner=None)])])


@each_row("text", ["", "\n\n", "\ufeff\n"])
@each_row("suffix", ["jsonl", "csv"])
def test_a_file_without_battles_is_an_error(tmp_path, suffix, text):
    path = tmp_path / f"empty.{suffix}"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=r"empty\."):
        load_battles([path])


@each_row(
    ("name", "text", "message"),
    [
        ("x.csv", "model_a,model_b,winner\n", "holds no battles"),
        ("x.csv", "model_a,model_b\na,b\n", r'x\.csv:1: missing "winner"'),
        ("x.csv", "model_a,model_b,winner\na,b,tie\n\na,b\n", r"x\.csv:4: 2 cells"),
        ("x.csv", "model_a,model_b,winner\na,b,tie\n,b,tie\n", r'x\.csv:3: missing "model_a"'),
        ("x.csv", "model_a,model_b,winner,winner\na,b,tie,tie\n", "two columns"),
        ("x.csv", 'model_a,model_b,winner\na,"b"c,tie\n', r"x\.csv:2: the record .* not read"),
        ("x.jsonl", '{"model_a": "a"}\n', r'x\.jsonl:1: missing "model_b", "winner"'),
        ("x.jsonl", "[1]\n", r"x\.jsonl:1: not a JSON object"),
        ("x.jsonl", json.dumps(row()) + "\n\n{bad}\n", r"x\.jsonl:3: not valid JSON"),
        ("x.jsonl", json.dumps(row()) + "\n7\n", r"x\.jsonl:2: not a JSON object"),
        ("x.jsonl", json.dumps(row()) + '\n{"model_a', r"x\.jsonl:2: not valid JSON"),
        ("x.jsonl", json.dumps(row()) + "\n" + json.dumps(row(a=["x"])) + "\n", r":2: .*a list"),
        ("x.jsonl", json.dumps(row(b="  ")) + "\n", r"x\.jsonl:1: model_b is '  '"),
        ("x.jsonl", json.dumps(row(b=7)) + "\n", r"x\.jsonl:1: model_b is 7"),
        ("x.jsonl", json.dumps(row(swapped="perhaps")) + "\n", "swapped is 'perhaps'"),
        ("x.jsonl", json.dumps(row(probs={"first": 1})) + "\n", r":1: probs is .*numbers under"),
        (
            "x.jsonl",
            json.dumps(row(probs={"first": 0.2, "second": None, "tie": 0})) + "\n",
            r":1: probs is .*numbers under",
        ),
        ("x.csv", 'model_a,model_b,winner\na,"b,tie\na,b,tie\n', r"x\.csv:2: the record that beg"),
        ("x.parquet", "no", "not readable as Parquet"),
        ("x.parquet", "PAR1 no PAR1", "not readable as Parquet: (?!Trans)"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_where(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")

    with pytest.raises(DataError, match=message):
        load_battles([path])


@each_row("name", ["x.jsonl", "x.csv", "x.json", "x.parquet"])
def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / "circle.csv").symlink_to("circle.csv")

    for path, message in ((tmp_path / name, "not a regular file"), (tmp_path / "circle.csv", "No")):
        with pytest.raises(DataError, match=message):
            load_battles([path])


LONG = json.dumps(row(prompt="x" * 200))


@each_row(
    ("name", "text", "message"),
    [
        ("x.jsonl", LONG, "x.jsonl:1: a line of more than 100 bytes"),
        ("x.jsonl", json.dumps(row()) + "\n" + LONG, "x.jsonl:2: a line of more than 100 bytes"),
        ("x.jsonl", '{"agent_a": "a"}\n' + LONG, "x.jsonl:2: a line of more than 100 bytes"),
        ("x.csv", "model_a,model_b,winner\na,b,tie\na,b," + "c" * 99, "x.csv:3: a line of more"),
        ("x.csv", 'model_a,model_b,winner\na,b,"' + "c\n" * 99, "x.csv:2: .*field larger"),
        ("x.json", f"[{LONG}]", "x.json: a JSON document of more than 100 bytes"),
    ],
)
def test_what_no_memory_may_hold_is_refused(tmp_path, monkeypatch, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    for module in (data_rows, csv_file, readers, large_files):
        monkeypatch.setattr(module, "LONGEST_LINE", 100)
    monkeypatch.setattr(csv_file, "LONGEST_CELL", 100)
    monkeypatch.setattr(readers, "_CHUNK_BYTES", 8)
    monkeypatch.setattr(rows, "_LARGEST_DOCUMENT", 100)

    for from_size in (1, sys.maxsize):
        monkeypatch.setattr(large_files, "_FAST_BYTES", from_size)
        monkeypatch.setattr(large_files, "_DUCKDB_LINE", 50)
        with pytest.raises(DataError, match=message):
            load_battles([path])


@each_row("name", ["x.xlsx", "x", "x.yaml"])
@each_row(
    "content", [b"", b"PK\x03\x04,\0", b"- winner: x\n", b"a,b,c\0", b"# arena.toml, as it is\n"]
)
def test_an_unknown_kind_of_file_is_refused_with_those_that_are_known(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UsageError, match=r"ending in \.jsonl"):
        load_battles([tmp_path / name])


def test_a_missing_file_and_an_empty_folder_say_so(tmp_path):
    for name in ("none.jsonl", "none", "none.json"):
        with pytest.raises(DataError, match="No such file"):
            load_battles([tmp_path / name])
    with pytest.raises(UsageError, match=r"no battles\*\.jsonl"):
        load_battles([tmp_path])


def test_every_kind_of_file_and_a_data_frame_give_the_same_battles(tmp_path):
    rows = [
        row("x", "NA", "model_b", dataset="d1", query_id="1", judge="j", swapped="true"),
        row("NA", "null", "tie", dataset="d2", query_id="1", judge="j", swapped="false"),
        row("null", "x", "model_a", dataset="d1", query_id="2", judge="j", swapped=""),
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(tmp_path / "log.csv", index=False, encoding="utf-8-sig")
    frame.to_csv(tmp_path / "log.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "log.parquet")
    jsonl(tmp_path / "log.jsonl", rows)

    loaded = [load_battles([tmp_path / f"log.{s}"]) for s in ("jsonl", "csv", "tsv", "parquet")]
    loaded += [from_frame(frame), from_frame(frame.astype("category"))]

    for suffix in ("jsonl", "csv", "tsv", "parquet"):
        content = (tmp_path / f"log.{suffix}").read_bytes()
        for name in (f"{suffix}.txt", f"{suffix}-of-today", f"{suffix}.csv.bak"):
            (tmp_path / name).write_bytes(content)
            loaded.append(load_battles([tmp_path / name]))
    (tmp_path / "list.log").write_text(json.dumps(rows), "utf-16")
    loaded.append(load_battles([tmp_path / "list.log"]))

    for battles in loaded:
        assert battles.models == ("NA", "null", "x")
        assert battles.datasets == ("d1", "d2")
        assert outcomes(battles) == [
            ("NA", "x", MODEL_A),
            ("NA", "null", TIE),
            ("null", "x", MODEL_A),
        ]
        assert battles.dataset.tolist() == [0, 1, 0]
        assert battles.n_queries == 3
        assert battles.notes == loaded[0].notes


def test_parquet_keeps_every_kind_of_cell_without_pyarrow(tmp_path, monkeypatch):
    cells = {
        "Query_ID": [1, 2, 3, 4],  # to DuckDB the name of the next one
        "query_id": pa.array([2**64 - 1, None, 1, 1], pa.uint64()),
        "dataset": pa.array(["ä".encode(), b"null", None, b"\\"]),
        "judge": pa.array([0.5, float("nan"), 1.0, None]),
        "swapped": [True, False, None, False],
        "prompt": [["a, b"], ["a", "b"], None, []],
        "model_a": pa.array(["x", "y", "x", "NULL"]).dictionary_encode(),
        "winner": ["model_b", "tie", "b", "model_a"],
    }
    pq.write_table(pa.table({**cells, "model_b": ["z"] * 4}), tmp_path / "log.parquet")
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)

    table = readers.read_table(tmp_path / "log.parquet")

    read = {name: [c.distinct[code] for code in c.codes] for name, c in table.columns.items()}
    assert read == {
        "model_a": ["x", "y", "x", "NULL"],
        "model_b": ["z"] * 4,
        "winner": ["model_b", "tie", "b", "model_a"],
        "query_id": [2**64 - 1, None, 1, 1],
        "dataset": ["ä", "null", None, "\\"],
        "judge": [0.5, None, 1.0, None],
        "swapped": [True, False, None, False],
        "Query_ID": [1, 2, 3, 4],
        "prompt": ['["a, b"]', '["a","b"]', None, "[]"],
    }


def test_missing_cells_of_a_data_frame_are_errors_or_clusters_of_their_own():
    frame = pd.DataFrame([row(query_id=1), row(query_id=None), row(query_id=None)])

    battles = from_frame(frame)

    assert battles.n_queries == 3
    left_out = from_frame(pd.DataFrame([row(winner=None), row()]))
    assert outcomes(left_out) == [("a1", "b1", MODEL_A)]
    assert left_out.notes[0].startswith("DataFrame: 1 of 2 verdicts are missing and are left out")


def test_a_swapped_row_is_turned_round_because_model_a_is_the_one_shown_first(tmp_path):
    probs = {"first": 0.7, "second": 0.2, "tie": 0.1}
    rows = [
        row(winner="model_a", order_swapped=True, probs=probs),
        row(winner="tie", order_swapped=True),
        row(winner="model_a", order_swapped=False, probs=probs),
    ]

    battles = load_battles([jsonl(tmp_path / "log.jsonl", rows)])

    assert outcomes(battles) == [("b1", "a1", MODEL_B), ("b1", "a1", TIE), ("a1", "b1", MODEL_A)]
    assert battles.probs[[0, 2]].tolist() == [[0.2, 0.7, 0.1], [0.7, 0.2, 0.1]]
    assert np.isnan(battles.probs[1]).all()
    assert "2 battles showed model_b first (swapped); arena swapped them back" in battles.notes


def test_a_foreign_log_without_the_order_shown_is_said_to_lack_it(tmp_path):
    note = "the log does not say whose list was shown first: taken to be model_a's"
    files = [jsonl(tmp_path / "f.jsonl", [row()]), jsonl(tmp_path / "o.jsonl", [ours("x")])]

    foreign, own = (load_battles([file]) for file in files)

    assert note in foreign.notes
    assert note not in own.notes
    assert note in from_frame(pd.DataFrame([row()])).notes


def test_a_data_frame_of_lists_is_refused():
    with pytest.raises(DataError, match="column 'winner': unhashable"):
        from_frame(pd.DataFrame([row(winner=["model_a"])]))


def test_a_letter_in_a_swapped_row_is_refused_as_ambiguous(tmp_path):
    path = jsonl(tmp_path / "log.jsonl", [row(winner="A"), row(winner="A", swapped=True)])

    with pytest.raises(DataError, match=r"log\.jsonl:2: winner is 'A'; in a swapped row"):
        load_battles([path])


def test_a_column_that_only_later_rows_have_counts(tmp_path):
    rows = [row()] * 2000 + [row(swapped=True)]

    battles = load_battles([jsonl(tmp_path / "log.jsonl", rows)])

    assert outcomes(battles)[-1] == ("b1", "a1", MODEL_B)


def test_lines_are_counted_past_blank_lines_and_chunks(tmp_path):
    lines = [json.dumps(row())] * 3000 + ["", "  ", json.dumps(row(winner="?"))]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines))

    with pytest.raises(DataError, match=r"log\.jsonl:3003: winner is '\?'"):
        load_battles([path])


def test_without_query_ids_every_battle_is_its_own_cluster_and_a_note_says_so(tmp_path):
    battles = load_battles([jsonl(tmp_path / "log.jsonl", [row()] * 3)])

    assert battles.n_queries == 3
    assert battles.datasets == ("all",)
    assert any("3 battles have no query_id" in note for note in battles.notes)


def test_the_same_query_id_in_two_data_sets_is_two_queries(tmp_path):
    rows = [row(dataset="d1", query_id=1), row(dataset="d2", query_id=1)]

    assert load_battles([jsonl(tmp_path / "log.jsonl", rows)]).n_queries == 2


def test_logs_of_an_experiment_are_merged_by_id(tmp_path):
    jsonl(tmp_path / "battles-1.jsonl", [ours("x"), ours("y", query_id="r")])
    jsonl(tmp_path / "battles-2.jsonl", [ours("y", query_id="r"), ours("z", model_b="c1")])

    battles = load_battles([tmp_path])

    assert len(battles) == 3
    assert any("1 lines repeat the id" in note for note in battles.notes)


hex_ids = st.builds("{:016x}{:016x}".format, st.integers(0, 3), st.sampled_from([0, 7, 2**63]))
"""Ids as arena gives them, many of which repeat, or have the first half in common."""


@one_duckdb()
@given(
    logs=st.lists(
        st.lists(st.tuples(hex_ids | st.just("x"), st.sampled_from("qr")), min_size=1),
        min_size=2,
        max_size=3,
    )
)
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_ids_as_numbers_give_the_battles_that_ids_as_texts_give(tmp_path_factory, logs):
    folder = tmp_path_factory.mktemp("logs")
    for number, log in enumerate(logs):
        rows = [ours(name, query_id=query) for name, query in log]
        jsonl(folder / f"battles-{number}.jsonl", rows)
    jsonl(folder / "failures.jsonl", [{"id": "0" * 32}, {"id": "z"}, {"id": f"{7:032x}"}])

    def read(size, hex_ids, block=1 << 22, read_logs=read_here):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(large_files, "_FAST_BYTES", size)
            patch.setattr(coded_log, "hex_ids", hex_ids)
            patch.setattr(row_blocks, "BLOCK", block)
            battles = load_battles([folder], read_logs=read_logs)
        return {
            field.name: value.tolist() if isinstance(value, np.ndarray) else value
            for field in dataclasses.fields(battles)
            for value in [getattr(battles, field.name)]
        }

    by_texts = read(sys.maxsize, lambda ids: None)

    assert read(1, table.hex_ids) == by_texts
    assert read(sys.maxsize, table.hex_ids, block=2, read_logs=in_tasks) == by_texts


def in_tasks(files, aliases, *, with_ids):
    """Read logs as workers of a cluster do."""
    assert with_ids
    for file in files:
        task = LogTask(str(file), str(file), file.stat().st_size, aliases)
        yield pickle.loads(pickle.dumps(read_there(task)))


def test_several_large_logs_are_put_in_order_without_a_text_for_each_id(tmp_path, monkeypatch):
    names = [f"{7919 * number % 997:032x}" for number in range(100)]
    for start in (0, 50):
        rows = [ours(name, query_id=name) for name in names[start : start + 50]]
        jsonl(tmp_path / f"battles-{start}.jsonl", rows)
    monkeypatch.setattr(large_files, "_FAST_BYTES", 1)
    monkeypatch.setattr(join, "_in_text_order", None)

    battles = load_battles([tmp_path])

    assert [battles.query_ids[code] for code in battles.query_id] == sorted(names)


def test_ids_of_foreign_logs_mean_nothing(tmp_path):
    path = jsonl(tmp_path / "log.jsonl", [row(id="q1"), row(id="q1", b="c1")])

    assert len(load_battles([path])) == 2


def test_costs_and_identical_lists_are_known_of_our_own_logs_alone(tmp_path):
    rows = [ours("x", cost_usd=0.25), ours("y", b="c1", source="identical"), ours("z", b="d1")]
    own = jsonl(tmp_path / "battles.jsonl", rows)
    foreign = jsonl(tmp_path / "foreign.jsonl", [row(cost_usd="much", source=["web"])])

    battles, other, both = (load_battles(files) for files in ([own], [foreign], [own, foreign]))

    np.testing.assert_array_equal(battles.cost_usd, [0.25, np.nan, np.nan])
    assert battles.identical.tolist() == [False, True, False]
    assert other.cost_usd is None
    assert other.identical is None
    np.testing.assert_array_equal(both.cost_usd, [0.25, np.nan, np.nan, np.nan])
    assert both.identical.tolist() == [False, True, False, False]


def test_a_cost_that_is_no_number_is_an_error_that_says_where(tmp_path):
    path = jsonl(tmp_path / "battles.jsonl", [ours("x"), ours("y", cost_usd="cheap")])

    with pytest.raises(DataError, match=r"battles\.jsonl:2: cost_usd is 'cheap'"):
        load_battles([path])


cells = st.one_of(
    st.sampled_from(["q", "1", 1, 1.0, True, None, "ä\n", 0.25, "null", "NaN", 2**64, 10**4100]),
    st.sampled_from([float("nan"), 1e300, [1], {"b": 1, "a": [None]}, "\u2028 \x00", "", -0.0]),
    st.text(max_size=3),
)
column_names = st.sampled_from(
    ["query_id", "dataset", "judge", "x", "swapped", "question_id", "prompt", "Query 'ID\"", "kind"]
)
lines_of_a_log = st.lists(
    st.one_of(
        st.builds(
            lambda make, a, winner, more: json.dumps(
                {**make, "winner": winner, "model_a": a, **more}
            ),
            st.sampled_from([row(), row(cost_usd=2), ours("i"), ours("j", cost_usd=0.1 + 0.2)]),
            st.sampled_from(["a1", "a2", "a 3", 7]),
            st.sampled_from(["model_a", "model_b", "tie", 1]),
            st.dictionaries(column_names, cells, max_size=4),
        ),
        st.builds(
            lambda p: json.dumps(ours("p", probs=p)),
            st.sampled_from([None, {"first": 0.1 + 0.2, "second": 1, "tie": "0.25"}, {}, 3, ""]),
        ),
        st.sampled_from(
            [
                *["", "  ", "{bad", "null", "7", "{}", "[]", json.dumps(row(swapped=True))],
                json.dumps(row()) + json.dumps(row()),
                json.dumps(row(x="y")).replace("y", "\\ud83d"),
                json.dumps(row(Query_ID=1, query_id=2)),
                json.dumps(row(probs={"first": float("nan"), "second": 0, "tie": 1})),
                json.dumps(row(probs={"First": 1, "first": None, "second": 0, "tie": 1})),
                json.dumps(row()).replace('"a1"', '"a1", "model_a": "a9"'),
                json.dumps(row()).replace('"a1"', "inf"),
                json.dumps(row()).replace("}", ",}"),
                json.dumps(row(x=[1])).replace("]", ", \t]"),
                json.dumps(row(x=", ]")),
            ]
        ),
    ),
    min_size=1,
    max_size=9,
)


PROBS = {"first": 0.5, "second": 0.25, "tie": 0.25}


def table_or_error(path, monkeypatch, from_size):
    """All that a file holds, or what is wrong with it."""
    with monkeypatch.context() as patch:
        patch.setattr(large_files, "_FAST_BYTES", from_size)
        try:
            table = readers.read_table(path)
        except ArenaError as error:
            return str(error)
    columns = {name: (c.codes.tolist(), repr(c.distinct)) for name, c in table.columns.items()}
    columns.pop("cost_usd", None)
    costs = repr(coded_columns.read_costs(table))
    try:
        probs = repr(coded_columns.read_probs(table))
    except DataError as error:
        probs = str(error)
    return columns, list(table.ids), probs, table.notes, costs


@one_duckdb()
@given(lines=lines_of_a_log, ended=st.booleans())
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_large_log_is_read_as_a_small_one_is(tmp_path_factory, monkeypatch, lines, ended):
    path = tmp_path_factory.mktemp("large") / "log['1']*.jsonl"
    path.write_text("\n".join(lines) + "\n" * ended, encoding="utf-8")

    assert table_or_error(path, monkeypatch, 1) == table_or_error(path, monkeypatch, sys.maxsize)


awkward = ["", "1", 'a"b', '"', "a,b", "x\ny", "x\r\ny", " s ", "ä", "NULL", "\\", "\x01", "\ufeff"]


@st.composite
def csv_files(draw):
    """A CSV file whose cells are quoted, or not, or not as they should be."""
    separator = draw(st.sampled_from([",", ";", "\t", "|"]))
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"]))
    text = st.one_of(st.sampled_from(awkward), st.text(max_size=3))
    cells = {
        **dict.fromkeys(["model_a", "model_b"], st.sampled_from(["x", "y", "z"])),
        "winner": st.sampled_from(["model_a", "tie", "x"]),
        "swapped": st.sampled_from(["true", "false", ""]),
    }
    more = st.lists(st.sampled_from(["query_id", "Judge", "prompt", "swapped", ""]), unique=True)
    header = draw(st.permutations(["model_a", "model_b", "winner", *draw(more)]))

    def written(cell):
        if draw(st.integers(0, 7)) and not set(cell) & {*'\r\n"', separator}:
            return cell
        return cell if draw(st.integers(0, 7)) == 0 else '"' + cell.replace('"', '""') + '"'

    lines = [separator.join(header)]
    for _ in range(draw(st.integers(0, 5))):
        line = [written(draw(cells.get(name, text))) for name in header]
        width = draw(st.sampled_from([0] * 15 + [-1, 1]))
        lines.append(separator.join([*line, ""][: len(line) + width]))
    before = draw(st.sampled_from(["", "", "\n", f"sep={separator}\n", "\ufeff", "\ufeff \n"]))
    return before + line_end.join(lines) + draw(st.sampled_from([line_end, "", line_end + "  "]))


@one_duckdb()
@given(text=csv_files(), compressed=st.booleans())
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_large_table_is_read_as_a_small_one_is(tmp_path_factory, monkeypatch, text, compressed):
    path = tmp_path_factory.mktemp("large") / "log['1']*.csv"
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())

    assert table_or_error(path, monkeypatch, 1) == table_or_error(path, monkeypatch, sys.maxsize)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_large_table_is_read_without_the_row_loop(tmp_path, monkeypatch, pack):
    rows = [f'"a\n1";a2;tie;{query};{2**64 + i}' for i, query in enumerate(["", "NULL", "007"])]
    text = "\n".join(["sep=;", "model_a;model_b;winner;query_id;prompt", *rows])
    path = tmp_path / "large.csv"
    path.write_bytes(pack(text.encode()))
    monkeypatch.setattr(large_files, "_FAST_BYTES", 1)
    monkeypatch.setattr(readers, "Coder", None)

    table = readers.read_table(path)

    assert table.columns["query_id"].distinct == (None, "NULL", "007")
    assert table.columns["model_a"].distinct == ("a\n1",)


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_large_file_whose_compressed_end_is_missing_is_an_error(tmp_path, monkeypatch, name):
    lines = {
        "log.csv": ["model_a,model_b,winner", *(f"x,y{i},tie" for i in range(2999))],
        "log.jsonl": [json.dumps(row(x=i)) for i in range(2999)],
    }
    packed = gzip.compress("".join(f"{line}\n" for line in lines[name]).encode(), mtime=0)
    monkeypatch.setattr(large_files, "_FAST_BYTES", 1)

    for missing in (1, 8, 20, len(packed) // 2):
        (tmp_path / name).write_bytes(packed[:-missing])
        with pytest.raises(DataError, match="its gzip data ends"):
            load_battles([tmp_path / name])


def test_a_large_log_is_read_without_the_row_loop(tmp_path, monkeypatch):
    rows = [ours(f"x{i}", query_id=f"q{i % 3}", source="judge", cost_usd=0.1) for i in range(9)]
    own = jsonl(tmp_path / "own.jsonl", [{**each, "probs": PROBS} for each in rows])
    other = jsonl(tmp_path / "other.jsonl", [row(question=["a", i % 2], order=i) for i in range(9)])
    monkeypatch.setattr(large_files, "_FAST_BYTES", 1)
    monkeypatch.setattr(readers, "_read_rows", None)

    tables = [readers.read_table(path) for path in (own, other)]

    assert [table.n_rows for table in tables] == [9, 9]
    assert list(tables[0].ids) == [each["id"] for each in rows]
    assert tables[0].known_probs[0].tolist() == [0.5, 0.25, 0.25]
    assert tables[1].columns["query_id"].distinct == ('["a",0]', '["a",1]')


def test_a_large_log_may_have_values_and_columns_that_its_sample_has_not(tmp_path, monkeypatch):
    rows = [ours(f"x{i}", source="judge") for i in range(9)]
    rows[-1] |= {"winner": "tie", "kind": "qrels", "probs": PROBS, "source": "identical"}
    path = jsonl(tmp_path / "battles.jsonl", rows)
    monkeypatch.setattr(large_files, "_FAST_BYTES", 1)
    monkeypatch.setattr(readers, "_read_rows", None)

    table = readers.read_table(path)

    cells = {name: c.distinct[c.codes[-1]] for name, c in table.columns.items()}
    assert {**rows[-1], **cells} == rows[-1]
    assert {"winner", "kind", "source"} <= cells.keys()
    assert table.columns["kind"].distinct == (None, "qrels")
    assert table.known_probs[-1].tolist() == [0.5, 0.25, 0.25]
    assert np.isnan(table.known_probs[:-1]).all()


def test_a_repeated_id_in_a_large_log_is_found(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "battles.jsonl", [ours("x"), ours("y", query_id="r"), ours("x")])
    jsonl(tmp_path / "failures.jsonl", [{"id": "y"}, {"id": "z"}])
    monkeypatch.setattr(large_files, "_FAST_BYTES", 1)

    battles = load_battles([tmp_path])

    assert len(battles) == 2
    assert battles.failures == 1
    assert any("1 lines repeat the id" in note for note in battles.notes)
    assert load_battles([path]).notes == battles.notes


def test_a_log_that_shrinks_before_its_ids_are_read_is_an_error(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "battles.jsonl", [ours("x"), ours("y")])
    monkeypatch.setattr(large_files, "_FAST_BYTES", 1)
    ids = readers.read_table(path).ids
    jsonl(path, [ours("x")])

    with pytest.raises(DataError, match=r"battles\.jsonl: changed while arena read it"):
        list(ids)


def test_the_reader_of_a_large_file_prints_nothing_where_python_runs_no_script(tmp_path):
    code = """
from pathlib import Path
from arena.battles.duckdb_reader import connected
with connected(Path("log.jsonl")) as connection:
    print(connection.execute("SELECT current_setting('enable_progress_bar')").fetchall())
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[(False,)]\n"


def test_the_reader_of_a_file_can_open_no_other_file_and_load_nothing(tmp_path):
    path = jsonl(tmp_path / "log.jsonl", [row()])
    other = jsonl(tmp_path / "other.jsonl", [row()])

    with duckdb_reader.connected(path) as connection:
        assert connection.execute(f"SELECT * FROM read_text('{path}')").fetchall()
        for refused in (
            f"SELECT * FROM read_text('{other}')",
            f"SELECT * FROM read_json('{tmp_path}/*')",
            f"COPY (SELECT 1) TO '{tmp_path}/new.csv'",
            f"ATTACH '{tmp_path}/new.db'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            f"SET allowed_paths = ['{other}']",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(refused)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.jsonl", "other.jsonl"]


def test_what_does_not_fit_into_memory_is_in_a_temporary_folder_meanwhile(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "log.jsonl", [row()])
    monkeypatch.setattr(duckdb_reader, "_MEMORY", "20MB")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with duckdb_reader.connected(path) as connection:
        connection.execute("CREATE TEMP TABLE t AS SELECT hash(i) AS h FROM range(6_000_000) r(i)")
        assert len(list(tmp_path.iterdir())) == 2
        assert connection.execute("SELECT count(h) FROM t").fetchall() == [(6_000_000,)]
    assert [each.name for each in tmp_path.iterdir()] == ["log.jsonl"]


def test_an_unfinished_last_line_of_our_log_is_skipped_and_reported(tmp_path):
    path = jsonl(tmp_path / "battles.jsonl", [ours("x")])
    path.write_text(path.read_text() + json.dumps(ours("y"))[:40])

    battles = load_battles([tmp_path])

    assert len(battles) == 1
    assert any("unfinished" in note for note in battles.notes)


def test_failures_count_until_they_are_judged(tmp_path):
    jsonl(tmp_path / "battles.jsonl", [ours("x")])
    jsonl(tmp_path / "failures.jsonl", [{"id": "x"}, {"id": "y"}, {"id": "y"}])

    assert load_battles([tmp_path]).failures == 1


def test_a_path_given_twice_is_refused(tmp_path):
    path = jsonl(tmp_path / "battles.jsonl", [ours("x")])

    with pytest.raises(UsageError, match="given twice"):
        load_battles([tmp_path, path])
    with pytest.raises(UsageError, match="no battles to rate"):
        load_battles([])


def test_a_model_against_itself_is_an_error_in_our_log(tmp_path):
    path = jsonl(tmp_path / "battles.jsonl", [ours("x"), ours("y", model_b="a1")])

    with pytest.raises(DataError, match=r"battles\.jsonl:2: .*against itself"):
        load_battles([path])


def test_a_model_against_itself_in_a_foreign_log_is_left_out_and_counted(tmp_path):
    path = jsonl(tmp_path / "log.jsonl", [row(), row(b="A One"), row(a="b1", b="b1")])

    battles = load_battles([path], aliases={"A One": "a1"})

    assert len(battles) == 1
    assert any("2 battles of a model against itself" in note for note in battles.notes)
    with pytest.raises(UsageError, match="every battle is of a model against itself"):
        load_battles([path], aliases={"A One": "a1", "b1": "a1"})


def test_repeats_are_kept_and_counted_and_so_are_pairings_in_one_order(tmp_path):
    rows = [row(query_id="q"), row(query_id="q", winner="tie"), row("b1", "a1", query_id="q")]
    rows += [row(query_id="r")]

    battles = load_battles([jsonl(tmp_path / "log.jsonl", rows)])

    assert len(battles) == 4
    assert any(note.startswith("1 battles repeat an earlier one") for note in battles.notes)
    assert any("1 were judged in both orders and 1 in one" in note for note in battles.notes)


@pytest.mark.parametrize("n_in_array", [0, 1 << 16])
def test_repeats_and_pairings_are_those_that_a_count_by_hand_finds(n_in_array, monkeypatch):
    rng = np.random.default_rng(4)
    models = [f"m{code:02}" for code in range(12)]
    pairs = [rng.choice(models[: rng.integers(2, 13)], 2, replace=False) for _ in range(60)]
    queries = rng.integers(0, 9, 60).tolist()
    judges = rng.choice(["x", "y"], 60).tolist()
    rows = [
        row(a, b, "tie", query_id=query, judge=judge)
        for (a, b), query, judge in zip(pairs, queries, judges, strict=True)
    ]
    shown = [(*pair, query) for pair, query in zip(pairs, queries, strict=True)]
    again = len(rows) - len({(*each, judge) for each, judge in zip(shown, judges, strict=True)})
    pairings = {(min(a, b), max(a, b), query) for a, b, query in shown}
    one = len([(a, b, q) for a, b, q in pairings if not {(a, b, q), (b, a, q)} <= {*shown}])
    assert again > 1
    assert 0 < one < len(pairings)
    monkeypatch.setattr(notes, "_SMALL", n_in_array)

    told = from_frame(pd.DataFrame(rows)).notes

    assert f"{again} battles repeat an earlier one (same query, models and order) and count" in told
    assert (
        f"of {len(pairings)} pairings of two models on a query, {len(pairings) - one} "
        f"were judged in both orders and {one} in one"
    ) in told


def test_aliases_are_read_from_toml(tmp_path):
    path = tmp_path / "aliases.toml"
    path.write_text('"Bge M3 Deepinfra" = "bge-m3"\n"Voyage 3 5" = "voyage-3.5"\n')

    assert load_aliases(path) == {"Bge M3 Deepinfra": "bge-m3", "Voyage 3 5": "voyage-3.5"}


@each_row(
    ("text", "message"),
    [
        ('"a" = "b"\n"b" = "c"', "'a' stands for 'b', itself an alias"),
        ('"a" = "b"\n"b" = "a"', "itself an alias"),
        ('"a" = "a"', "itself an alias"),
        ('"a" = " "', "an empty name"),
        ('voyage-3.5 = "voyage"', "'voyage-3' is not given a name.*both in quotes"),
        ("a: b", "not valid TOML"),
        ('"a" = "b"\n"a" = "c"', "not valid TOML"),
    ],
)
def test_aliases_that_cannot_be_meant_are_refused(tmp_path, text, message):
    path = tmp_path / "aliases.toml"
    path.write_text(text)

    with pytest.raises(DataError, match=message):
        load_aliases(path)


def test_an_alias_of_nobody_is_reported(tmp_path):
    battles = load_battles([jsonl(tmp_path / "log.jsonl", [row()])], aliases={"zz": "a1"})

    assert "aliases that occur in no battle: zz" in battles.notes


def test_spellings_that_look_like_one_model_are_pointed_out(tmp_path):
    path = jsonl(tmp_path / "log.jsonl", [row("Voyage 3 5", "voyage-3.5")])

    assert any(
        note.startswith("spellings of one model? Voyage 3 5, voyage-3.5")
        for note in load_battles([path]).notes
    )


@one_duckdb()
@given(st.binary(max_size=200), st.sampled_from(["jsonl", "csv", "parquet", "tsv"]))
@settings(max_examples=100)
def test_no_file_is_met_with_a_traceback(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("any") / f"x.{suffix}"
    path.write_bytes(b"model_a,model_b,winner\n" + content if suffix == "csv" else content)

    try:
        load_battles([path])
    except ArenaError as error:
        assert "x." in str(error)  # noqa: PT017


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(names, names, st.sampled_from(["model_a", "model_b", "tie"]))))
@settings(max_examples=50)
def test_names_of_any_script_survive_every_kind_of_file(tmp_path_factory, rows):
    rows = [row(a.strip(), b.strip(), w) for a, b, w in rows if a.strip() != b.strip()]
    if not rows:
        return
    folder = tmp_path_factory.mktemp("names")
    jsonl(folder / "x.jsonl", rows)

    battles = load_battles([folder / "x.jsonl"])

    assert [battles.models[code] for code in battles.model_a] == [r["model_a"] for r in rows]
    assert [battles.models[code] for code in battles.model_b] == [r["model_b"] for r in rows]
    assert outcomes(from_frame(pd.DataFrame(rows))) == outcomes(battles)


@pytest.mark.shared
def test_the_published_verdicts_load_under_one_spelling_each(shared_data, tmp_path):
    folder = shared_data / "judgments"
    known = {model["name"] for model in json.loads((folder / "model-info.json").read_text())}
    aliases = tmp_path / "aliases.toml"
    aliases.write_text("".join(f'"{alias}" = "{model}"\n' for alias, model in ALIASES.items()))

    battles = load_battles([folder / "published.jsonl"], aliases=load_aliases(aliases))

    assert set(ALIASES.values()) <= known
    assert len(battles) == 7634 - 40
    assert len(battles.models) == 20
    assert set(battles.models) - known == {"voyage-4-large", "voyage-4-lite"}
    assert battles.n_queries == 40
    notes = "\n".join(battles.notes)
    assert "3,819 battles showed model_b first" in notes
    assert "40 battles of a model against itself" in notes
    assert "of 7,224 pairings of two models on a query, 370 were judged in both orders" in notes
    assert "occur in no battle" not in notes
    assert "spellings of one model" not in notes


def test_the_empty_log_of_a_shard_that_has_only_begun_is_no_error(tmp_path):
    line = '{"model_a": "a", "model_b": "b", "winner": "tie"}\n'
    (tmp_path / "battles-1of2.jsonl").write_text(line)
    (tmp_path / "battles-2of2.jsonl").write_text("")

    assert len(load_battles([tmp_path])) == 1
