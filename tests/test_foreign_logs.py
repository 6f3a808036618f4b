"""Battle logs that others made: what their columns mean, in every form that they may have."""

from __future__ import annotations

import csv
import gzip
import io
import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from one_duckdb import one_duckdb
from pyarrow import parquet
from tables import each_row

from arena.battles.coded_columns import MODEL_A, MODEL_B, TIE
from arena.battles.load import Battles, from_frame, load_battles
from arena.cli import main
from arena.data.queries import query_id_of
from arena.errors import ArenaError, DataError

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.fixture(autouse=True, scope="module")
def _one_duckdb():
    with one_duckdb():
        yield


def row(a="x", b="y", winner="model_a", **more):
    return {"model_a": a, "model_b": b, "winner": winner, **more}


def as_jsonl(rows):
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows)


def as_csv(rows, separator=",", line_end="\n"):
    text = io.StringIO(newline="")
    names = list(dict.fromkeys(name for each in rows for name in each))
    writer = csv.DictWriter(text, names, delimiter=separator, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def load(folder: Path, name: str, content: str | bytes) -> Battles:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_battles([path])


def said(battles: Battles):
    """All that ratings are made of, in words."""
    columns = zip(
        battles.model_a,
        battles.model_b,
        battles.winner,
        battles.dataset,
        battles.query,
        battles.judge,
        strict=True,
    )
    return [
        (
            battles.models[a],
            battles.models[b],
            int(winner),
            battles.datasets[dataset],
            int(query),
            battles.judges[judge],
        )
        for a, b, winner, dataset, query, judge in columns
    ]


def winners(*written, **more):
    return from_frame(pd.DataFrame([row(winner=one, **more) for one in written])).winner.tolist()


TWELVE = [row(id=f"q{i % 3}", prompt="what is it?", source="web") for i in range(12)]


@each_row(
    "rows",
    [
        TWELVE,
        [
            {**each, "dataset": "d", "query_id": f"q{i}", "judge": "j"}
            for i, each in enumerate(TWELVE)
        ],
    ],
)
@each_row("write", [as_jsonl, as_csv])
def test_no_battle_is_lost_because_others_call_columns_as_we_do(tmp_path, rows, write):
    name = "log.jsonl" if write is as_jsonl else "log.csv"

    battles = load(tmp_path, name, write(rows))

    assert len(battles) == 12
    assert not any("repeat the id" in note for note in battles.notes)


@each_row(
    "column",
    ["question_id", "qid", "prompt_id", "query-id", "Question ID", "topic_num", "query", "prompt"],
)
@each_row("write", [as_jsonl, as_csv, None])
def test_the_column_that_tells_queries_apart_is_found_and_named(tmp_path, column, write):
    rows = [row(**{column: f"what is {i % 3}?"}) for i in range(12)]
    name = "log.jsonl" if write is as_jsonl else "log.csv"

    battles = load(tmp_path, name, write(rows)) if write else from_frame(pd.DataFrame(rows))

    assert battles.n_queries == 3
    assert any(
        note.endswith(f'queries are told apart by the column "{column}"') for note in battles.notes
    )
    assert not any("have no query_id" in note for note in battles.notes)


def test_our_own_name_for_a_column_comes_first_and_ids_before_texts(tmp_path):
    rows = [row(prompt="same", question_id=i % 2, query_id=i % 3) for i in range(6)]

    own = load(tmp_path, "a.jsonl", as_jsonl(rows))
    other = load(tmp_path, "b.jsonl", as_jsonl([{**each, "query_id": None} for each in rows]))

    assert (own.n_queries, other.n_queries) == (3, 2)


def test_a_query_given_by_its_text_has_the_id_that_a_file_of_queries_gives_it(tmp_path):
    battles = load(tmp_path, "log.csv", as_csv([row(question="how  do I pay?")]))

    assert battles.query_ids == (query_id_of("how do I pay?"),)


def test_conversations_tell_queries_apart_too(tmp_path):
    turns = [[{"role": "user", "content": f"hello {i % 3}"}] for i in range(6)]
    rows = [row(prompt=each) for each in turns]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")

    assert load(tmp_path, "log.jsonl", as_jsonl(rows)).n_queries == 3
    assert load_battles([tmp_path / "log.parquet"]).n_queries == 3


@pytest.mark.parametrize("write", [as_jsonl, as_csv])
def test_an_error_for_a_missing_column_lists_those_that_there_are(tmp_path, write):
    name = "log.jsonl" if write is as_jsonl else "log.csv"

    with pytest.raises(DataError, match=r'missing "winner"; the file has model_a, model_b, remark'):
        load(tmp_path, name, write([{"model_a": "a", "model_b": "b", "remark": "A"}]))


WORDS = {
    "model_a": MODEL_A,
    "Model A": MODEL_A,
    "[[A]]": MODEL_A,
    "left": MODEL_A,
    "first": MODEL_A,
    "MODEL-B": MODEL_B,
    "b": MODEL_B,
    "Right": MODEL_B,
    "second": MODEL_B,
    "tie(bothbad)": TIE,
    "tie (bothbad)": TIE,
    "both_bad": TIE,
    "both": TIE,
    " Tie ": TIE,
    "equal": TIE,
    "Draw": TIE,
    "[[C]]": TIE,
    "tie (inconsistent)": TIE,
    "A>>B": MODEL_A,
    "[[B > A]]": MODEL_B,
    "A<B": MODEL_B,
    "A=B": TIE,
    "assistant_b": MODEL_B,
    "Response A": MODEL_A,
    "response_2": MODEL_B,
    "Model A is slightly better": MODEL_A,
    "the second wins": MODEL_B,
    "Both are bad": TIE,
    "neither is good": TIE,
    "leftvote": MODEL_A,
    "rightvote": MODEL_B,
    "tievote": TIE,
    "bothbad_vote": TIE,
    "A++": MODEL_A,
    "B+": MODEL_B,
    "A ≈ B": TIE,
    "1-0": MODEL_A,
    "1/2-1/2": TIE,
}


@each_row(("written", "winner"), WORDS.items())
def test_the_words_of_other_logs_for_a_winner_are_known(written, winner):
    assert winners(written) == [winner]


@each_row(
    ("written", "expected"),
    [
        ([1, 2], [MODEL_A, MODEL_B]),
        (["1", "2", "tie"], [MODEL_A, MODEL_B, TIE]),
        ([1.0, 0.5, 0.0], [MODEL_A, TIE, MODEL_B]),
        (["1.0", ".5", "0"], [MODEL_A, TIE, MODEL_B]),
        ([1, 0, -1], [MODEL_A, TIE, MODEL_B]),
        ([Decimal(1), Decimal("0.5")], [MODEL_A, TIE]),
    ],
)
def test_numbers_as_winners_are_read_where_they_can_mean_one_thing(written, expected):
    assert winners(*written) == expected


@each_row("written", [[0, 1], [0, 1, 2], [0], [3], [1, 2, -1], ["1e0"], [True]])
def test_numbers_as_winners_that_could_mean_several_things_are_refused(written):
    with pytest.raises(DataError, match=r"winner is .*expected model_a, model_b"):
        winners(*written)


def test_the_winner_may_be_the_models_own_name_or_an_alias_of_it(tmp_path):
    rows = [
        row("bge m3", "e5", "bge m3"),
        row("bge m3", "e5", " e5 "),
        row("bge-m3", "e5", "BGE"),
        row("e5", "bge m3", "bge-m3", order_swapped=True),
        row("E5", "bge m3", "e5"),
        row("é5", "e5", "E\u03015"),
        row("e5", "model 1", "model 1"),
        row("A+", "B+", "B+"),
        row("black", "white", "black"),
    ]
    path = tmp_path / "log.jsonl"
    path.write_text(as_jsonl(rows))

    battles = load_battles([path], aliases={"bge m3": "bge-m3", "BGE": "bge-m3"})

    expected = [MODEL_A, MODEL_B, MODEL_A, MODEL_A, MODEL_A, MODEL_A, MODEL_B, MODEL_B, MODEL_A]
    assert battles.winner.tolist() == expected


@each_row(
    ("rows", "message"),
    [
        ([row(), row(winner="z")], "log.jsonl:2: winner is 'z'; expected model_a"),
        ([row(), row("z", "y", "x")], "log.jsonl:2: winner is 'x'; expected model_a"),
        (
            [row("a", "b", "a"), row("b", "a", "a")],
            "log.jsonl:2: winner is 'a'; it is a model's name",
        ),
        ([row("tie", "b", "tie")], "winner is 'tie'; it is a model's name"),
        ([row("E5", "e5", "\u00c95"), row("E5a", "e5A", "E5A")], "log.jsonl:1: winner is"),
        ([row("E5a", "e5A", "E5A")], "log.jsonl:1: winner is 'E5A'; expected"),
        ([row(winner="response 1", swapped=True)], "winner is 'response 1'; in a swapped row"),
        ([row(winner="left", swapped=True)], "winner is 'left'; in a swapped row"),
        ([row(winner=1, swapped=True)], "winner is 1; in a swapped row"),
    ],
)
def test_a_winner_that_could_be_either_model_is_an_error(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load(tmp_path, "log.jsonl", as_jsonl(rows))


IDS = ["12345678901234567890", "12345678901234567891", "9007199254740993", "9007199254740992"]
NUMBERS = [int(each) for each in IDS]


def test_long_ids_stay_apart_in_every_kind_of_file(tmp_path):
    rows = [row(query_id=number) for number in NUMBERS]
    columns = {"model_a": ["x"] * 5, "model_b": ["y"] * 5, "winner": ["tie"] * 5}
    kinds = {
        "decimal": pa.array([*map(Decimal, IDS), None], pa.decimal128(30, 0)),
        "unsigned": pa.array([*NUMBERS, None], pa.uint64()),  # to pandas it would be float64
        "text": pa.array([*IDS, None]),
    }
    for name, array in kinds.items():
        parquet.write_table(pa.table({**columns, "query_id": array}), tmp_path / f"{name}.parquet")

    loaded = [
        load(tmp_path, "log.csv", as_csv(rows)),
        load(tmp_path, "log.jsonl", as_jsonl(rows)),
        load(tmp_path, "ended.jsonl", as_jsonl([*rows, row(query_id=10**25)] * 500)),
        from_frame(pd.DataFrame({**columns, "query_id": pd.array([*NUMBERS, None], "UInt64")})),
        *(load_battles([tmp_path / f"{name}.parquet"]) for name in kinds),
    ]

    for battles in loaded:
        assert set(IDS) <= set(battles.query_ids)


def test_ids_that_were_rounded_before_they_came_here_are_refused():
    frame = pd.DataFrame([row(query_id=number) for number in NUMBERS]).astype({"query_id": float})

    with pytest.raises(DataError, match=r"query_id is 1.2345678901234567e.19; too large a number"):
        from_frame(frame)


def test_whole_numbers_that_became_floats_for_want_of_one_are_themselves_again():
    frame = pd.DataFrame([row(query_id=7), row(query_id=None)])

    assert from_frame(frame).query_ids == ("", "7")


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6).filter(
    lambda name: name.strip() == name and not name.startswith("\ufeff")
)
tables = st.lists(
    st.builds(
        row,
        st.sampled_from(["é,1", "x;2", "ж|3", 'z "4"']),
        st.sampled_from(["y\t5", "漢字", "a\nb"]),
        st.sampled_from(["model_a", "model_b", "tie", "tie (bothbad)"]),
        query_id=names,
        dataset=st.sampled_from(["d1", "d 2"]),
        judge=st.sampled_from(["j", ""]),
        order_swapped=st.sampled_from(["true", "false"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25)
@given(
    tables,
    st.sampled_from(ENCODINGS),
    st.tuples(st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\n", "\r\n"])),
    st.booleans(),
)
def test_the_same_table_in_any_form_gives_the_same_battles(
    tmp_path_factory, rows, encoding, kind_of_csv, compressed
):
    folder = tmp_path_factory.mktemp("forms")
    frame = pd.DataFrame(rows)
    frame.to_parquet(folder / "log.parquet")
    pack, more = (gzip.compress, ".gz") if compressed else (bytes, "")

    forms = [
        load(folder, f"log.jsonl{more}", pack(as_jsonl(rows).encode(encoding))),
        load(folder, f"log.csv{more}", pack(as_csv(rows, *kind_of_csv).encode(encoding))),
        load_battles([folder / "log.parquet"]),
        from_frame(frame),
    ]

    plain = said(load(folder, "plain.jsonl", as_jsonl(rows)))
    assert [said(form) for form in forms] == [plain] * len(forms)


VALID = {
    "log.jsonl": as_jsonl(
        [row(query_id=i, probs={"first": 1, "second": 0, "tie": 0}) for i in (1, 2)]
    ),
    "log.csv": as_csv([row(query_id=1, judge="j"), row(query_id='2 "x"')], ";"),
    "log.tsv": as_csv([row(query_id=1, judge="j"), row(query_id="2")], "\t"),
}


@settings(max_examples=100)
@given(
    st.sampled_from([*VALID, "log.parquet", "log.jsonl.gz", "log.csv.gz"]),
    st.sampled_from(ENCODINGS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), st.binary(max_size=8)), max_size=4),
)
def test_a_damaged_file_is_one_line_and_never_a_traceback(tmp_path_factory, name, encoding, damage):
    folder = tmp_path_factory.mktemp("damaged")
    if name == "log.parquet":
        pd.DataFrame([row(query_id=1), row(query_id=2)]).to_parquet(folder / name)
        content = (folder / name).read_bytes()
    else:
        content = VALID[name.removesuffix(".gz")].encode(encoding)
    content = gzip.compress(content) if name.endswith(".gz") else content
    for share, n_lost, new in damage:
        place = int(share * len(content))
        content = content[:place] + new + content[place + n_lost :]

    try:
        load(folder, name, content)
    except ArenaError as error:
        assert name in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=60)
@given(st.data())
def test_a_table_of_anything_is_rated_or_refused_in_one_line(data):
    cells = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=3),
        st.sampled_from(["model_a", "tie", "x", "y", "1", 0.5, 10**400, [], {}]),
    )
    columns = ["model_a", "model_b", "winner", "query_id", "swapped", "question", "probs", "judge"]
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries({}, optional=dict.fromkeys(columns, cells)),
            min_size=1,
            max_size=4,
        )
    )

    for n in (len(rows), 1):
        try:
            from_frame(pd.DataFrame([{**row(), **each} for each in rows[:n]], dtype=object))
        except ArenaError as error:
            assert str(error).startswith(("DataFrame", "every battle"))  # noqa: PT017


TORN_CSV = gzip.compress(as_csv([row()] * 999).encode(), mtime=0)[:-20]
TORN_JSONL = gzip.compress(as_jsonl([row()] * 999).encode(), mtime=0)[:-20]


@each_row(
    ("name", "content", "message"),
    [
        ("log.csv", as_csv([row("é")]).encode("cp1252"), r"log.csv:2: not UTF-8 .* is 'é'\); save"),
        ("log.csv", TORN_CSV, "its gzip data ends"),
        ("log.jsonl", TORN_JSONL, "its gzip data ends"),
        ("log.csv.gz", b"", "log.csv.gz: empty"),
        ("log.jsonl", as_jsonl([row()]).encode("utf-16")[:-1], "log.jsonl: is not UTF-16"),
        ("log.jsonl", b"[" * 100_000, "log.jsonl:1: not valid JSON"),
        ("log.jsonl", b'{"model_a": "caf\xe9"}', "log.jsonl:1: not UTF-8"),
        ("log.jsonl", as_jsonl([row()]).encode() + b'{"a": ' * 50_000, "log.jsonl:2: not valid"),
        ("log.csv", b"model_a;model_b;winner\nx;y\n", "log.csv:2: 2 cells where the header has 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, name, content)

    assert "\n" not in str(caught.value)


def test_half_a_character_in_a_log_is_mended(tmp_path):
    line = as_jsonl([row(query_id="q")]).replace('"q"', '"q\\ud83d"')

    assert load(tmp_path, "log.jsonl", line).query_ids == ("q\ufffd",)


def test_a_spreadsheet_may_declare_its_separator(tmp_path):
    content = "sep=;\r\nmodel_a;model_b;winner\r\nx;y;tie\r\nx;y;?\r\n"

    with pytest.raises(DataError, match=r"log\.csv:4: winner is '\?'"):
        load(tmp_path, "log.csv", content)


@pytest.mark.shared
def test_the_published_verdicts_are_rated_alike_in_every_form(shared_data, tmp_path):
    text = (shared_data / "judgments" / "published.jsonl").read_text("utf-8")
    text = "".join(text.splitlines(keepends=True)[::4])
    rows = [json.loads(line) for line in text.splitlines()]
    asked = [{"question_id": r.pop("query_id"), **r} for r in map(dict, rows)]
    for each in asked:
        each["winner"] = each.get(each["winner"], each["winner"])  # the winner's own name
    forms = {
        "a.jsonl": text.encode("utf-16"),
        "b.csv": as_csv(rows, ";").encode("utf-16-le"),
        "c.tsv.gz": gzip.compress(as_csv(rows, "\t", "\r\n").encode("utf-8-sig")),
        "d.csv": as_csv(asked, "|").encode(),
    }

    def rated(path: Path):
        done = CliRunner().invoke(main, ["rate", str(path), "--json"])
        assert done.exit_code == 0, done.output
        tree = json.loads(done.stdout)
        return {name: tree[name] for name in ("overall", "datasets", "queries", "pairs")}

    (tmp_path / "plain.jsonl").write_text(text, "utf-8")
    plain = rated(tmp_path / "plain.jsonl")
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        assert rated(tmp_path / name) == plain
