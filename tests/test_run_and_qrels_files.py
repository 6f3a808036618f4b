from __future__ import annotations

import gzip
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.data.qrels_file import read_qrels
from arena.data.run_file import read_run, read_stats, separate_ties, write_run, write_stats
from arena.errors import DataError
from arena.records import Dataset, Document, Query, RetrievalStats, Run, ScoredDoc

DOC_IDS = ["a", "b", "c", "<dbpedia:Ä>", "1", "10", "2"]
DATASET = Dataset(
    "tiny",
    {doc_id: Document(doc_id, "x") for doc_id in DOC_IDS},
    {query_id: Query(query_id, "?") for query_id in ("q1", "q2", "q3")},
    {},
)

scores = st.floats(-1e30, 1e30) | st.sampled_from([0.0, 0.5, 1.0, np.nextafter(1.0, 0.0), 1e-45])
rankings = st.dictionaries(st.sampled_from(DOC_IDS), scores, max_size=7)


def read(path: Path, *query_ids: str, complete: bool = True) -> Run:
    return read_run(path, dataset=DATASET, model="m", query_ids=query_ids, complete=complete)


def order(ranking: tuple[ScoredDoc, ...]) -> list[str]:
    return [place.doc_id for place in ranking]


@settings(max_examples=60)
@given(scored=st.fixed_dictionaries({"q1": rankings, "q2": rankings}))
def test_run_reads_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, scored: dict[str, dict[str, float]]
) -> None:
    run = Run("tiny", "m", {query: separate_ties(found.items()) for query, found in scored.items()})
    path = tmp_path_factory.mktemp("run") / "m.trec"

    write_run(run, path)

    assert read(path, "q1", "q2", complete=False) == run


@settings(max_examples=100)
@given(scored=rankings)
def test_ties_are_ordered_by_doc_id_and_every_tool_sees_that_order(
    scored: dict[str, float],
) -> None:
    ranking = separate_ties(scored.items())

    assert order(ranking) == sorted(scored, key=lambda doc_id: (-scored[doc_id], doc_id))
    singles = [np.float32(place.score) for place in ranking]
    assert all(above > below for above, below in pairwise(singles))
    for place in ranking:
        assert place.score == pytest.approx(scored[place.doc_id], rel=1e-6, abs=1e-43)


def test_trec_eval_agrees_about_ties(tmp_path: Path) -> None:
    write_run(Run("tiny", "m", {"q1": separate_ties([("b", 1.0), ("a", 1.0)])}), tmp_path / "r")

    run = ir_measures.read_trec_run(str(tmp_path / "r"))
    [metric] = ir_measures.iter_calc([ir_measures.nDCG @ 1], {"q1": {"a": 1, "b": 0}}, run)

    assert metric.value == 1.0


def test_scores_count_and_the_rank_column_does_not(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("q1 Q0 b 1 0.5 x\nq1\tQ0\tc\t2\t9e-1\tx\r\n\nq1 Q0 a 3 0.5 x\nq2 Q0 a 1 1 x\n")

    run = read(path, "q1")

    assert order(run.rankings["q1"]) == ["c", "a", "b"]
    assert list(run.rankings) == ["q1"]


@each_row(
    ("line", "message"),
    [
        ("q1 Q0 b 2 0.5", "run:2: 5 columns; expected query_id Q0 doc_id rank score tag"),
        ("q1 Q0 b 2 0.5 my model", "run:2: 7 columns"),
        ("q1 Q0 b 2 high m", "run:2: score 'high'"),
        ("q1 Q0 b 2 nan m", "run:2: score 'nan'"),
        ("q1 Q0 b 2 -inf m", "run:2: score '-inf'"),
        ("q1 Q0 b 2 1e39 m", "run:2: score '1e39'"),
        ("q9 Q0 b 2 0.5 m", "run:2: unknown query 'q9'; is the file about tiny?"),
        ("q1 Q0 z 2 0.5 m", "run:2: unknown document 'z'"),
        ("q1 Q0 a 2 0.5 m", "run:2: document 'a' occurs twice for query 'q1'"),
        ("q1 Q0 b 2 0.5 n", "run:2: run tag 'n' after 'm'; give each run a file of its own"),
        ("q1 Q0 b 2 1.5 m", "run:2: scores rise from rank to rank"),
    ],
)
def test_defect_of_a_run_is_an_error_that_names_the_line(
    tmp_path: Path, line: str, message: str
) -> None:
    (tmp_path / "run").write_text(f"q1 Q0 a 1 1.0 m\n{line}\n")

    with pytest.raises(DataError) as caught:
        read(tmp_path / "run", "q1", "q2")

    assert message in str(caught.value)


@settings(max_examples=150)
@given(
    content=st.lists(
        st.lists(
            st.sampled_from(["q1", "q9", "Q0", "a", "b", "1", "2", "0.5", "nan", "m", "\x00", "é"]),
            min_size=5,
            max_size=7,
        ).map(" ".join)
    ).map(lambda lines: "\n".join(lines).encode())
    | st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda raw: b"\x1f\x8b" + raw)
)
def test_any_file_is_a_run_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("run") / "m.trec"
    path.write_bytes(content)

    with suppress(DataError):
        assert list(read(path, "q1", complete=False).rankings) == ["q1"]


def test_scores_that_rise_in_every_ranking_are_distances(tmp_path: Path) -> None:
    lines = ["q1 Q0 a 1 0.1 m", "q1 Q0 b 2 0.1 m", "q1 Q0 c 3 0.7 m", "q2 Q0 a 1 0.0 m"]
    (tmp_path / "run").write_text("\n".join(lines) + "\n")

    with pytest.raises(DataError) as caught:
        read(tmp_path / "run", "q1", "q2")

    assert str(caught.value).endswith(
        "run:3: scores rise from rank to rank, here and in the whole file; "
        "a higher score must be better; negate distances"
    )


def test_query_without_a_line_matched_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q1 Q0 a 1 1.0 m\nq2 Q0 b 1 1.0 m\n")

    run = read(tmp_path / "run", "q1", "q2", "q3")

    assert run.rankings["q3"] == ()


def test_file_without_most_of_the_queries_is_about_others(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q3 Q0 a 1 1.0 m\n")

    with pytest.raises(DataError, match="no ranking for 2 of 3 queries, 'q1' first"):
        read(tmp_path / "run", "q1", "q2", "q3")


@pytest.mark.parametrize("name", ["m.trec.gz", "m.run"])
def test_compressed_run_is_read_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"q1 Q0 a 1 1.0 m\n\nq1 Q0 b 2 0.5 m\n"))

    run = read(tmp_path / name, "q1")

    assert order(run.rankings["q1"]) == ["a", "b"]


def test_compressed_run_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.gz").write_bytes(gzip.compress(b"q1 Q0 a 1 1.0 m\n")[:-4])

    with pytest.raises(DataError, match=r"m\.gz:2: its gzip data ends or breaks here; copy it"):
        read(tmp_path / "m.gz", "q1")


def test_byte_order_mark_is_no_part_of_an_id(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"\xef\xbb\xbfq1 Q0 a 1 1.0 m\r\nq1 Q0 b 2 0.5 m\r\n")

    assert order(read(tmp_path / "run", "q1").rankings["q1"]) == ["a", "b"]


@each_row("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@each_row("compress", [bytes, gzip.compress])
def test_a_run_in_any_form_of_unicode_is_the_same_run(tmp_path, encoding, compress):
    text = "q1 Q0 a 1 1.0 m\r\nq1 Q0 <dbpedia:\u00c4> 2 0.5 m\r\n"
    (tmp_path / "run").write_bytes(compress(text.encode(encoding)))

    assert order(read(tmp_path / "run", "q1").rankings["q1"]) == ["a", "<dbpedia:\u00c4>"]


@pytest.mark.parametrize(("encoding", "where"), [("latin-1", "run:2: not UTF-8 at byte 7")])
def test_other_encoding_is_an_error_that_names_the_line(
    tmp_path: Path, encoding: str, where: str
) -> None:
    (tmp_path / "run").write_text("q1 Q0 a 1 1.0 m\nq1 Q0 \xc4x 2 0.5 m\n", encoding)

    with pytest.raises(DataError) as caught:
        read(tmp_path / "run", "q1")

    assert where in str(caught.value)
    assert "save the file as UTF-8" in str(caught.value)


def test_missing_run_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file; see run"):
        read(tmp_path / "absent", "q1")


def test_query_that_matched_nothing_has_an_empty_ranking(tmp_path: Path) -> None:
    write_run(Run("tiny", "m", {"q1": (), "q2": (ScoredDoc("a", 1.0),)}), tmp_path / "run")

    run = read(tmp_path / "run", "q1", "q2", complete=False)

    assert run.rankings == {"q1": (), "q2": (ScoredDoc("a", 1.0),)}


def test_model_name_with_spaces_stays_one_column(tmp_path: Path) -> None:
    write_run(Run("tiny", "my own\tmodel", {"q1": (ScoredDoc("a", 1.0),)}), tmp_path / "x" / "run")

    assert (tmp_path / "x" / "run").read_text() == "q1 Q0 a 1 1.0 my_own_model\n"
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["run"]


def test_stats_read_back(tmp_path: Path) -> None:
    stats = RetrievalStats(
        (1.25, 3.0), 384, 10, 4, 77, cost_usd=0.001, measured_at="2025-01-01T00:00:00Z"
    )

    write_stats(stats, tmp_path / "m.json")

    assert read_stats(tmp_path / "m.json") == stats


@each_row("content", [b"", b"[]", b"{}", b'{"latency_ms": [], "speed": 1}'])
def test_foreign_stats_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.json").write_bytes(content)

    with pytest.raises(DataError, match="no retrieval stats"):
        read_stats(tmp_path / "m.json")


def test_ranks_decide_where_all_scores_of_a_ranking_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text(
        "q1 Q0 a 3 0 x\nq1 Q0 b 1 0 x\nq1 Q0 c 2 0 x\nq2 Q0 b 1 7 x\nq2 Q0 a 2 7 x\nq3 Q0 a 1 7 x\n"
    )

    run = read(path, "q1", "q2", "q3")

    assert [order(run.rankings[q]) for q in ("q1", "q2", "q3")] == [
        ["b", "c", "a"],
        ["b", "a"],
        ["a"],
    ]
    scores = [place.score for place in run.rankings["q1"]]
    assert scores == sorted(set(scores), reverse=True)
    [note] = run.notes
    assert note.startswith("run: rankings whose documents all have one score, ")
    assert note.endswith(": 2")


def test_ties_are_counted_in_a_note(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.write_text("q1 Q0 b 1 2 x\nq1 Q0 a 2 2 x\nq1 Q0 c 3 1 x\nq1 Q0 1 4 1 x\nq1 Q0 2 5 1 x\n")

    run = read(path, "q1")

    assert order(run.rankings["q1"]) == ["a", "b", "1", "2", "c"]
    [note] = run.notes
    assert note.endswith("ordered by doc_id (in trec_eval: backwards): 3")


@each_row("rank", ["0", "1", "-", "9" * 5000])
def test_a_file_without_any_order_is_refused(tmp_path: Path, rank: str) -> None:
    path = tmp_path / "run"
    path.write_text(f"q1 Q0 b {rank} 1 x\nq1 Q0 a {rank} 1 x\nq2 Q0 a {rank} 1 x\n")

    with pytest.raises(DataError, match="run: all scores of a ranking are the same, and so are"):
        read(path, "q1", "q2")


@each_row("word", ["9" * 5000, "1" + "0" * 400, "inf", "1e999"])
def test_numbers_of_any_length_are_refused_in_one_line(tmp_path: Path, word: str) -> None:
    (tmp_path / "run").write_text(f"q1 Q0 b 1 {word} x\n")
    (tmp_path / "qrels").write_text(f"q1 0 b {word}\n")

    with pytest.raises(DataError, match="run:1: score "):
        read(tmp_path / "run", "q1")
    with pytest.raises(DataError, match="qrels:1: grade "):
        read_qrels(tmp_path / "qrels", DATASET.corpus, DATASET.queries)


def test_how_a_run_was_read_is_kept_beside_it(tmp_path: Path) -> None:
    write_stats(RetrievalStats(notes=("ties: 3",)), tmp_path / "m.json")

    assert read_stats(tmp_path / "m.json").notes == ("ties: 3",)
