"""A corpus in several files is the corpus that one file would hold."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arena
from arena.data import corpus as corpus_module
from arena.data.beir import load_beir
from arena.data.corpus import corpus_hash
from arena.data.partitions import read_partition
from arena.errors import DataError

ROWS = [
    {
        "_id": f"d{number}",
        "title": f"Title {number}" if number % 2 else "",
        "text": f"text {number}",
    }
    for number in range(9)
]


def write_lines(path: Path, rows: Sequence[dict[str, str]]) -> None:
    raw = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def write_parquet(path: Path, rows: Sequence[dict[str, str]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def folder_of(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    write_lines(folder / "queries.jsonl", [{"_id": "q1", "text": "which?"}])
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three files of three kinds; a fourth is empty, as tools leave some."""
    folder = folder_of(tmp_path / "parts")
    write_lines(folder / "corpus-0.jsonl", ROWS[:4])
    write_lines(folder / "corpus-1.jsonl.gz", ROWS[4:5])
    write_parquet(folder / "corpus-2.parquet", ROWS[5:])
    write_lines(folder / "corpus-3.jsonl", [])
    return folder


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    folder = folder_of(tmp_path / "whole")
    write_lines(folder / "corpus.jsonl", ROWS)
    return folder


@pytest.mark.parametrize("in_memory", [10**9, 20])
def test_several_files_are_one_corpus(
    parts: Path, whole: Path, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "IN_MEMORY", in_memory)

    dataset, one_file = load_beir(parts, "tiny"), load_beir(whole, "tiny")

    assert list(dataset.corpus.items()) == list(one_file.corpus.items())
    assert corpus_hash(dataset.corpus) == corpus_hash(one_file.corpus)
    assert [Path(p.path).name for p in dataset.partitions] == [
        "corpus-0.jsonl",
        "corpus-1.jsonl.gz",
        "corpus-2.parquet",
    ]
    assert [p.n_documents for p in dataset.partitions] == [4, 1, 4]
    assert one_file.partitions == ()


def test_a_partition_is_known_by_its_content_and_read_on_its_own(parts: Path) -> None:
    dataset = load_beir(parts, "tiny")

    read = [read_partition(partition) for partition in dataset.partitions]

    assert [doc_id for corpus in read for doc_id in corpus] == list(dataset.corpus)
    assert [corpus_hash(c) for c in read] == [p.content for p in dataset.partitions]
    (parts / "corpus-0.jsonl").rename(parts / "corpus-9.jsonl")
    moved = load_beir(parts, "tiny").partitions
    assert {p.content for p in moved} == {p.content for p in dataset.partitions}


@settings(max_examples=20)
@given(st.lists(st.integers(0, 9), max_size=4).map(sorted))
def test_a_corpus_cut_anywhere_stays_the_same(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = folder_of(tmp_path_factory.mktemp("cut"))
    bounds = [0, *cuts, len(ROWS)]
    for number, (first, last) in enumerate(pairwise(bounds)):
        write_lines(folder / f"corpus-{number}.jsonl", ROWS[first:last])

    dataset = load_beir(folder, "tiny")

    assert [document.doc_id for document in dataset.corpus.values()] == [r["_id"] for r in ROWS]
    assert sum(p.n_documents for p in dataset.partitions) == len(ROWS)


@pytest.mark.parametrize("in_memory", [10**9, 20])
def test_an_id_in_two_files_is_an_error_that_names_the_second_one(
    parts: Path, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_module, "IN_MEMORY", in_memory)
    write_lines(parts / "corpus-3.jsonl", [{"_id": "new", "text": ""}, ROWS[1]])

    with pytest.raises(DataError, match=r"corpus-3\.jsonl:2: _id 'd1' occurs twice"):
        load_beir(parts, "tiny")


def test_a_mistake_names_the_file_and_line_of_its_partition(parts: Path) -> None:
    with (parts / "corpus-0.jsonl").open("a") as file:
        file.write('{"_id": "d99"}\n')

    with pytest.raises(DataError, match=r"corpus-0\.jsonl:5: missing \"text\""):
        load_beir(parts, "tiny")


def test_a_damaged_parquet_partition_is_an_error_of_one_line(parts: Path) -> None:
    (parts / "corpus-2.parquet").write_bytes(b"PAR1 but not really PAR1")

    with pytest.raises(DataError, match=r"corpus-2\.parquet:1: not readable as Parquet") as raised:
        load_beir(parts, "tiny")

    assert "\n" not in str(raised.value)


def test_a_whole_corpus_wins_over_partitions_and_a_note_says_so(parts: Path) -> None:
    write_lines(parts / "corpus.jsonl", ROWS[:2])

    dataset = load_beir(parts, "tiny")

    assert list(dataset.corpus) == ["d0", "d1"]
    assert dataset.partitions == ()
    assert dataset.notes == ("corpus.jsonl is the corpus; not read are corpus-0.jsonl and 3 more",)


def test_a_compressed_copy_beside_its_partition_is_no_partition(parts: Path) -> None:
    write_lines(parts / "corpus-0.jsonl.gz", ROWS[:4])

    assert len(load_beir(parts, "tiny").corpus) == len(ROWS)


def test_a_partition_that_has_changed_since_is_not_read_for_another(parts: Path) -> None:
    first = load_beir(parts, "tiny").partitions[0]
    write_lines(parts / "corpus-0.jsonl", ROWS[:3])

    with pytest.raises(DataError, match="holds other documents than when the run began"):
        read_partition(first)
    (parts / "corpus-0.jsonl").unlink()
    with pytest.raises(DataError, match="no such file; every worker needs the corpus"):
        read_partition(first)


def test_partitions_that_hold_nothing_are_an_empty_corpus(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "empty")
    write_lines(folder / "corpus-0.jsonl", [])

    with pytest.raises(DataError, match="is empty"):
        load_beir(folder, "tiny")


def test_a_notebook_loads_a_folder_of_partitions(parts: Path) -> None:
    assert len(arena.load_dataset(parts).corpus) == len(ROWS)
