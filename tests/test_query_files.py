"""Queries of one's own, and qrels for them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tables import each_row

from arena.data.queries import query_id_of, read_queries, with_own
from arena.errors import DataError
from arena.records import Dataset, Document, Query

DOCS = Dataset("docs", {"d": Document("d", "text")}, {"old": Query("old", "?")}, {"old": {"d": 1}})


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_text_file_has_one_query_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "queries.txt", "\ufeffhow do I pay?\r\n\r\n  من هو حمزة؟ \n")

    queries, notes = read_queries(path)

    assert [query.text for query in queries.values()] == ["how do I pay?", "من هو حمزة؟"]
    assert all(query_id == query.query_id for query_id, query in queries.items())
    assert notes == ()


def test_an_id_made_from_the_text_depends_on_nothing_else(tmp_path: Path) -> None:
    one, _ = read_queries(written(tmp_path, "a.txt", "first\nsecond  one\n"))
    other, _ = read_queries(written(tmp_path, "b.csv", 'n,question\n1,"second one "\n2,first\n'))

    assert set(one) == set(other) == {query_id_of("first"), query_id_of("second one")}
    assert query_id_of("first") == "q-69a757278ea3bcbd"


def test_a_query_that_is_there_twice_counts_once_and_is_noted(tmp_path: Path) -> None:
    queries, notes = read_queries(written(tmp_path, "queries.txt", "one\ntwo\none\n"))

    assert len(queries) == 2
    assert notes == ("queries.txt: 1 line repeats an earlier one, and counts once",)


@each_row(
    ("name", "content"),
    [
        ("q.csv", 'id,query\n7,"where, when\nand why?"\n'),
        ("q.csv", 'Query;ID\n"where, when\nand why?";7\n\n'),
        ("q.tsv", 'query-id\tquestion\n7\t"where, when\nand why?"\n'),
        ("q.jsonl", '{"_id": 7, "text": "where, when\\nand why?", "metadata": {}}\n'),
        # Without the time of day, which would be another name of this test in each process.
        ("q.jsonl.gz", gzip.compress(b'{"id": "7", "text": "where, when\\nand why?"}\n', mtime=0)),
    ],
)
def test_tables_and_json_lines_say_their_ids(tmp_path: Path, name: str, content: str) -> None:
    queries, _ = read_queries(written(tmp_path, name, content))

    assert queries == {"7": Query("7", "where, when\nand why?")}


@each_row(
    ("name", "content", "message"),
    [
        ("q.csv", "number,frage\n1,wie?\n", r"q.csv:1: no column is .* line is 'number, frage'"),
        ("q.csv", "query,id\n\nwhat, else?,1\n", r"q.csv:3: 3 cells where the header has 2; quote"),
        ("q.csv", "query,id\nwhat?,1\nwho?,1\n", r"q.csv:3: _id '1' occurs twice, with another"),
        ("q.csv", 'query\n"what?\n', r"q.csv:2: the record .*: unexpected end of data"),
        ("q.csv", 'query\n" "\n', r"q.csv:2: a query has an empty text"),
        ("q.csv", b"query\nna\xefve\n", r"q.csv:2: not UTF-8 at byte 3"),
        ("q.csv", "query\n", r"q.csv: holds no query"),
        ("q.txt", "", r"q.txt: holds no query; expected .txt"),
        ("q.jsonl", '{"_id": "a b", "text": "x"}\n', r"q.jsonl:1: _id 'a b'; TREC files can"),
        ("q.jsonl", '{"_id": "a"}\n', r'q.jsonl:1: missing "text"'),
        ("q.jsonl.gz", b"\x1f\x8b", r"q.jsonl.gz:1: its gzip data ends or breaks here"),
        ("q.xlsx", b"PK", r"q.xlsx: queries cannot be read from '.xlsx'; expected .txt"),
    ],
)  # fmt: skip
def test_a_mistake_names_file_line_and_remedy(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_queries(written(tmp_path, name, content))


def test_a_folder_is_no_file_of_queries(tmp_path: Path) -> None:
    (tmp_path / "queries.txt").mkdir()

    with pytest.raises(DataError, match=r"queries.txt: is a folder; expected .txt"):
        read_queries(tmp_path / "queries.txt")


@each_row("suffix", ["txt", "csv", "jsonl"])
def test_a_missing_file_says_what_can_write_one(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match=rf"q.{suffix}: no such file; .* `arena queries` can write"):
        read_queries(tmp_path / f"q.{suffix}")


def test_other_queries_come_without_the_grades_of_the_old_ones(tmp_path: Path) -> None:
    path = written(tmp_path, "q.csv", "id,query\nold,and this?\n")

    dataset = with_own(DOCS, queries=path, qrels=None)

    assert dataset.queries == {"old": Query("old", "and this?")}
    assert dataset.qrels == {}


def test_own_qrels_are_for_own_queries(tmp_path: Path) -> None:
    queries = written(tmp_path, "q.csv", "id,query\nnew,and this?\n")
    qrels = written(tmp_path, "grades.qrels", "new 0 d 2\n")

    dataset = with_own(DOCS, queries=queries, qrels=qrels)

    assert dataset.qrels == {"new": {"d": 2}}


def test_grades_of_queries_that_are_not_there_are_counted(tmp_path: Path) -> None:
    queries = written(tmp_path, "q.csv", "id,query\nnew,and this?\n")
    qrels = written(tmp_path, "grades.tsv", "new\td\t2\nnwe\td\t1\nold\td\t1\nold\te\t1\n")

    dataset = with_own(DOCS, queries=queries, qrels=qrels)

    assert dataset.qrels == {"new": {"d": 2}}
    assert dataset.notes == (
        "grades.tsv: grades of queries that are not in the data set, ignored: 2 ('nwe')",
    )


def test_own_qrels_that_know_no_query_are_an_error(tmp_path: Path) -> None:
    qrels = written(tmp_path, "grades.tsv", "other\td\t2\n")

    with pytest.raises(DataError, match=r"none of its 1 grades is for a query of the data set"):
        with_own(DOCS, queries=None, qrels=qrels)
