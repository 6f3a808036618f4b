"""Hugging Face data sets: the layouts of folders, and the hub."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hf_folders import (
    CORPUS,
    QRELS,
    QUERIES,
    jsonl_folder,
    parquet_folder,
    write_jsonl,
    write_parquet,
)
from hub_server import CONVERTED, HubServer, use_hub
from tables import each_row
from together import TORCH

from arena.config.datasets import DatasetConfig
from arena.data.beir import load_beir
from arena.data.corpus import corpus_hash
from arena.data.dataset_hashes import qrels_hash, queries_hash
from arena.data.huggingface import HfSource, load_hf
from arena.data.load import load_dataset
from arena.data.rows import json_rows
from arena.errors import DataError, UsageError
from arena.records import Dataset, Document

DOCUMENTS = {
    "d1": Document("d1", "first", "One"),
    "d2": Document("d2", "حمزة بن عبد المطلب"),
    "d3": Document("d3", ""),
}
GRADES = {"q1": {"d1": 2}, "q2": {"d2": 1}}
TABLES = {"corpus": ("corpus", CORPUS), "queries": ("queries", QUERIES), "qrels": ("test", QRELS)}


def load(folder: Path, **options: str) -> Dataset:
    return load_hf(HfSource(str(folder), **options), "tiny")


def assert_tiny(dataset: Dataset) -> None:
    assert dict(dataset.corpus) == DOCUMENTS
    assert list(dataset.corpus) == list(DOCUMENTS)
    assert {query.text for query in dataset.queries.values()} == {"which?", "من؟"}
    assert dataset.qrels == GRADES


@pytest.mark.parametrize("qrels", ["qrels", "default"])
def test_parquet_of_today_loads(tmp_path: Path, qrels: str) -> None:
    dataset = load(parquet_folder(tmp_path, name=qrels))

    assert_tiny(dataset)
    assert dataset.notes == ()


def test_json_lines_of_the_first_days_load_and_leave_other_splits_aside(tmp_path: Path) -> None:
    dataset = load(jsonl_folder(tmp_path))

    assert_tiny(dataset)
    assert dataset.notes == ("queries without a grade in split test, ignored: 1",)


def test_the_split_chooses_the_grades(tmp_path: Path) -> None:
    dataset = load(jsonl_folder(tmp_path), split="train")

    assert dataset.qrels == {"other": {"d1": 1}}
    assert list(dataset.queries) == ["other"]


@each_row("suffix", [".parquet", ".jsonl", ".jsonl.gz"])
@each_row("qrels", ["data", "qrels"])
def test_plain_folders_need_no_readme(tmp_path: Path, suffix: str, qrels: str) -> None:
    write = write_parquet if suffix == ".parquet" else write_jsonl
    write(tmp_path / "corpus" / f"corpus-00000-of-00001{suffix}", CORPUS)
    write(tmp_path / "queries" / f"queries{suffix}", QUERIES)
    write(tmp_path / qrels / f"test{suffix}", QRELS)
    write(tmp_path / qrels / f"train{suffix}", QRELS[:1])

    assert_tiny(load(tmp_path))


@TORCH
def test_what_datasets_saved_to_disk_loads(tmp_path: Path) -> None:
    import datasets

    for name, (split, rows) in TABLES.items():
        table = datasets.Dataset.from_list([dict(row) for row in rows])
        datasets.DatasetDict({split: table}).save_to_disk(tmp_path / name)

    assert_tiny(load(tmp_path))


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_the_cells_of_tables_as_text_stay_as_they_are(tmp_path: Path, suffix: str) -> None:
    sign = {"csv": ",", "tsv": "\t"}[suffix]

    def write(name: str, *records: tuple[str, ...]) -> None:
        lines = [sign.join(record) for record in records]
        (tmp_path / f"{name}.{suffix}").write_text("\n".join(lines) + "\n")

    write("corpus", ("_id", "text", "title"), ("0012", "2020-01-01", "NA"), ("1e5", "nan", ""))
    write("queries", ("_id", "text"), ("007", '"a\nb"'))
    (tmp_path / "qrels").mkdir()
    write("qrels/test", ("query-id", "corpus-id", "score"), ("007", "0012", "1"))

    dataset = load(tmp_path)

    assert list(dataset.corpus.values()) == [
        Document("0012", "2020-01-01", "NA"),
        Document("1e5", "nan"),
    ]
    assert dataset.queries["007"].text == "a\nb"
    assert dataset.qrels == {"007": {"0012": 1}}


def test_json_lines_keep_dates_and_long_numbers_exactly(tmp_path: Path) -> None:
    corpus = [{"_id": 12345678901234567890, "text": "2020-01-01"}, {"_id": "0012", "text": "x"}]
    qrels = [{"query-id": "q1", "corpus-id": "0012", "score": 1}]
    folder = jsonl_folder(tmp_path, corpus, QUERIES[:1], qrels)

    dataset = load(folder)

    assert list(dataset.corpus) == ["12345678901234567890", "0012"]
    assert dataset.corpus["12345678901234567890"].text == "2020-01-01"


def test_a_declaration_without_files_takes_all_of_its_folder(tmp_path: Path) -> None:
    folder = parquet_folder(tmp_path)
    configs = (f"- config_name: {n}\n  data_dir: {n}" for n in ("corpus", "queries", "qrels"))
    (folder / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n")

    assert_tiny(load(folder, split="train"))


def test_a_beir_folder_is_such_a_folder_too(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", CORPUS)
    write_jsonl(tmp_path / "queries.jsonl", QUERIES)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("q1\td1\t2\nq2\td2\t1\n")

    assert_tiny(load(tmp_path))


@pytest.mark.parametrize(
    "names", [("ar-corpus", "ar-queries", "ar-qrels"), ("corpus-ar", "queries-ar", "default-ar")]
)
def test_a_subset_names_its_own_tables(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for name, rows in zip(names, (CORPUS, QUERIES, QRELS), strict=True):
        write_parquet(tmp_path / name / "test-00000-of-00001.parquet", rows)

    assert_tiny(load(tmp_path, subset="ar"))
    with pytest.raises(DataError, match=r"no configuration 'corpus' among .*; choose .* = \"ar\""):
        load(tmp_path)


def test_a_data_set_without_qrels_keeps_all_queries(tmp_path: Path) -> None:
    folder = parquet_folder(tmp_path)
    shutil.rmtree(folder / "qrels")
    (folder / "README.md").unlink()

    dataset = load(folder)

    assert len(dataset.queries) == 2
    assert dataset.qrels == {}


def test_queries_of_ones_own_need_none_of_the_data_sets(tmp_path: Path) -> None:
    folder = parquet_folder(tmp_path / "data")
    shutil.rmtree(folder / "queries")
    shutil.rmtree(folder / "qrels")
    (tmp_path / "q.txt").write_text("which?\n")

    dataset = load_dataset(DatasetConfig(name="d", hf=str(folder), queries=tmp_path / "q.txt"))

    assert dict(dataset.corpus) == DOCUMENTS
    assert [query.text for query in dataset.queries.values()] == ["which?"]


def test_a_missing_split_lists_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(qrels\): no split 'dev' among train, test; choose one"):
        load(jsonl_folder(tmp_path), split="dev")


def test_files_that_the_readme_names_and_nobody_fetched_are_missed(tmp_path: Path) -> None:
    folder = jsonl_folder(tmp_path)
    (folder / "qrels" / "test.jsonl").unlink()

    with pytest.raises(DataError, match=r"README.md names for split 'test' are not there"):
        load(folder)


@each_row("pattern", ["../secret.jsonl", "/etc/hosts", "hf://datasets/x/y.jsonl"])
def test_a_readme_cannot_name_files_outside_of_its_folder(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "README.md").write_text(
        f"---\nconfigs:\n- config_name: corpus\n  data_files: {pattern}\n---\n"
    )

    with pytest.raises(DataError, match=r"README.md: names a file outside of the data set"):
        load(tmp_path)


@each_row("yaml", ["configs: [", "configs:\n- name: x", "configs: 7"])
def test_a_damaged_readme_is_an_error_of_one_line(tmp_path: Path, yaml: str) -> None:
    (tmp_path / "README.md").write_text(f"---\n{yaml}\n---\n")

    with pytest.raises(DataError, match=r"README.md: its configs cannot be read: [^\n]*$"):
        load(tmp_path)


@each_row(
    ("table", "rows", "message"),
    [
        ("corpus", [{"_id": "d 1", "text": "x"}], r"00000-of-00001.parquet:1: _id 'd 1'; TREC"),
        ("corpus", [{"_id": "d1", "text": None}], r"of-00001.parquet:1: \"text\" is None"),
        ("corpus", [*CORPUS, CORPUS[0]], r"corpus-00000-of-00001.parquet:4: _id 'd1' occurs twice"),
        ("corpus", [{"_id": "d1", "contents": "x"}], r"parquet:1: missing \"text\""),
        ("queries", [{"_id": "q", "text": " "}], r"queries-.*parquet:1: query 'q' has an"),
        ("data", [{"query-id": "q1", "corpus-id": "d1", "score": "x"}], r"parquet:1: grade 'x';"),
        ("data", [{"query-id": "q1", "score": 1}], r"parquet:1: missing \"corpus-id\""),
        ("data", [{"query-id": "x", "corpus-id": "d1", "score": 1}], r"none of its 1 grades is"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(
    tmp_path: Path, table: str, rows: list[dict[str, object]], message: str
) -> None:
    good = {**TABLES, "data": ("test", QRELS)}
    del good["qrels"]
    for name, (split, content) in good.items():
        path = tmp_path / name / f"{split}-00000-of-00001.parquet"
        write_parquet(path, rows if name == table else content)

    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_grades_in_several_files_are_all_read_and_errors_name_the_right_one(
    tmp_path: Path,
) -> None:
    folder = parquet_folder(tmp_path)
    rows = [{"query-id": "q1", "corpus-id": "d2", "score": 1}]
    write_parquet(folder / "qrels" / "test-00001-of-00002.parquet", rows)

    assert load(folder).qrels["q1"] == {"d1": 2, "d2": 1}
    write_parquet(folder / "qrels" / "test-00001-of-00002.parquet", [{**QRELS[0], "score": 1}])
    with pytest.raises(DataError, match=r"test-00001-of-00002.parquet:1: .* graded twice"):
        load(folder)


def test_a_torn_parquet_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    folder = parquet_folder(tmp_path)
    path = folder / "corpus" / "test-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-50])

    with pytest.raises(DataError, match=r"test-00001-of-00002.parquet:1: not read[^\n]*$"):
        load(folder)


@TORCH
def test_a_torn_arrow_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list([dict(row) for row in CORPUS]).save_to_disk(tmp_path / "corpus")
    path = tmp_path / "corpus" / "data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(DataError, match=r"data-00000-of-00001.arrow:1: not readable as [^\n]*$"):
        load_hf(HfSource(str(tmp_path)), "tiny", corpus_alone=True)


def test_a_folder_without_tables_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")

    with pytest.raises(DataError, match=r"no tables in it; expected README.md with configs"):
        load(tmp_path)


def test_a_large_parquet_file_is_read_in_parts(tmp_path: Path) -> None:
    folder = parquet_folder(tmp_path)
    table = pa.table({"id": [f"x{i}" for i in range(5000)], "text": ["word"] * 5000})
    pq.write_table(table, folder / "corpus" / "test-00002-of-00003.parquet")

    assert len(load(folder).corpus) == 5003


def test_a_row_group_of_any_size_takes_little_memory(tmp_path: Path) -> None:
    texts = [f"{number} " + "word " * 200 for number in range(30_000)]
    table = pa.table({"_id": [f"d{number}" for number in range(len(texts))], "text": texts})
    path = tmp_path / "corpus.parquet"
    pq.write_table(table, path, row_group_size=len(texts), compression="none", use_dictionary=False)
    code = (
        "import pyarrow, sys\n"
        "from pathlib import Path\n"
        "from arena.data.parquet_file import parquet_rows\n"
        "rows = sum(1 for _ in parquet_rows(Path(sys.argv[1]), ('_id', 'text')))\n"
        "print(rows, pyarrow.default_memory_pool().max_memory())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )

    rows, peak = map(int, ran.stdout.split())
    assert rows == len(texts)
    assert peak < path.stat().st_size / 3


def test_nothing_of_the_hub_is_imported_before_a_set_of_it_is_read(tmp_path: Path) -> None:
    jsonl, parquet = jsonl_folder(tmp_path / "jsonl"), parquet_folder(tmp_path / "parquet")
    code = (
        "import sys, arena, arena.cli, arena.data.load, arena.data.huggingface\n"
        "names = ('datasets', 'huggingface_hub', 'pyarrow', 'yaml')\n"
        "print([name for name in names if name in sys.modules])\n"
        "for folder in sys.argv[1:]:\n"
        "    arena.load_dataset({'hf': folder, 'name': 'tiny'})\n"
        "    print([name for name in names if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, jsonl, parquet], check=True, capture_output=True, text=True
    )

    assert ran.stdout.splitlines() == ["[]", "['yaml']", "['pyarrow', 'yaml']"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a data set in each of two layouts, and a cache of its own."""
    parquet_folder(tmp_path / "hub" / "mteb" / "tiny")
    jsonl_folder(tmp_path / "hub" / "mteb" / "gated")
    (tmp_path / "hub" / "mteb" / "gated" / "GATED").touch()
    with HubServer(tmp_path / "hub") as server:
        use_hub(monkeypatch, server.endpoint, tmp_path / "cache")
        yield server


def test_a_data_set_is_fetched_and_its_commit_noted(hub: HubServer) -> None:
    dataset = load_hf(HfSource("mteb/tiny"), "tiny")

    assert_tiny(dataset)
    commit = hub.commit("mteb/tiny")
    assert dataset.notes == (f'fetched at revision = "{commit}", which pins it',)


def test_files_that_lie_elsewhere_are_fetched_without_the_token(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted0123456789abcdef")
    with HubServer(tmp_path / "hub") as store:
        hub.elsewhere = store.endpoint.replace("127.0.0.1", "localhost")

        assert_tiny(load_hf(HfSource("mteb/tiny"), "tiny"))

        assert "Bearer hf_planted0123456789abcdef" in hub.tokens
        assert any("/resolve/" in path for path in store.paths)
        assert set(store.tokens) == {None}


def test_the_hubs_own_parquet_copy_loads(hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "mteb" / "script"
    for name, (split, rows) in TABLES.items():
        write_parquet(folder / name / split / "0000.parquet", rows)

    dataset = load_hf(HfSource("mteb/script", revision=CONVERTED), "tiny")

    assert_tiny(dataset)
    assert dataset.notes == (f'fetched at revision = "{hub.commit("mteb/script")}", which pins it',)


def test_a_set_of_a_script_names_the_hubs_copy_and_runs_nothing(
    hub: HubServer, tmp_path: Path
) -> None:
    folder = tmp_path / "hub" / "mteb" / "script"
    folder.mkdir()
    (folder / "script.py").write_text("raise SystemExit('it ran')")

    with pytest.raises(DataError, match=r"no tables in it; .*revision = \"refs/convert/parquet\"$"):
        load_hf(HfSource("mteb/script"), "tiny")
    assert not any("script.py" in path for path in hub.paths)


def test_a_cache_without_room_is_told_in_one_line(hub: HubServer) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        with pytest.raises(
            DataError, match=r"^mteb/tiny: cannot be stored in the cache .*large; free space, or"
        ):
            load_hf(HfSource("mteb/tiny"), "tiny")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("said", [b"", b"<html>", b"[" * 5000, b"[1]", b'{"siblings": 3}', b"null"])
def test_a_hub_that_says_nonsense_is_one_line(hub: HubServer, said: bytes) -> None:
    hub.damaged = said

    with pytest.raises(DataError) as caught:
        load_hf(HfSource("mteb/tiny"), "tiny")

    assert str(caught.value).isprintable()
    assert "mteb/tiny" in str(caught.value)


def test_a_pinned_data_set_is_fetched_once_and_then_needs_no_network(hub: HubServer) -> None:
    source = HfSource("mteb/tiny", revision=hub.commit("mteb/tiny"))
    load_hf(source, "tiny")
    hub.server.shutdown()
    hub.server.server_close()

    dataset = load_hf(source, "tiny")

    assert_tiny(dataset)
    assert dataset.notes == ()


def test_only_the_files_of_the_subset_are_fetched(hub: HubServer, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "mteb" / "many"
    names = [f"{part}-{kind}" for part in ("ar", "en") for kind in ("corpus", "queries", "qrels")]
    for name, rows in zip(names, (CORPUS, QUERIES, QRELS) * 2, strict=True):
        write_parquet(folder / name / "test-00000-of-00001.parquet", rows)
    configs = (
        f"- config_name: {n}\n  data_files:\n  - split: test\n    path: {n}/test-*" for n in names
    )
    (folder / "README.md").write_text("---\nconfigs:\n" + "\n".join(configs) + "\n---\n")

    assert_tiny(load_hf(HfSource("mteb/many", subset="ar"), "tiny"))
    assert not any("/en-" in path for path in hub.paths)


@pytest.mark.parametrize(
    ("repo", "revision", "message"),
    [
        ("mteb/nothing", None, r"^mteb/nothing: neither a folder nor a data set of the hub; check"),
        ("mteb/tiny", "v9", r"^mteb/tiny: has no revision 'v9'; give a commit, tag or branch"),
        ("mteb/gated", None, r"^mteb/gated: has terms that must be accepted first; .* HF_TOKEN$"),
        ("data/tiny/x", None, r"^data/tiny/x: no such folder, and no name of a data set"),
        ("mteb/ti ny", None, r"^mteb/ti ny: Repo id must use"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(
    hub: HubServer, repo: str, revision: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_hf(HfSource(repo, revision=revision), "tiny")

    assert "\n" not in str(caught.value)


def test_a_hub_out_of_reach_is_told_in_one_line(hub: HubServer) -> None:
    hub.server.shutdown()
    hub.server.server_close()

    with pytest.raises(DataError, match=r"^mteb/tiny: cannot be fetched, .*refused") as caught:
        load_hf(HfSource("mteb/tiny"), "tiny")

    assert "\n" not in str(caught.value)


def test_a_hub_out_of_reach_is_not_asked_again_and_again(
    hub: HubServer, caplog: pytest.LogCaptureFixture
) -> None:
    hub.server.shutdown()
    hub.server.server_close()
    started = time.monotonic()

    with pytest.raises(DataError, match=r"^mteb/tiny: cannot be fetched, .*refused"):
        load_hf(HfSource("mteb/tiny", revision="0" * 40), "tiny")

    assert time.monotonic() - started < 5
    assert not caplog.records


def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)

    with pytest.raises(UsageError, match=r'needs .*pip install "retrieval-arena\[hf\]"$'):
        load(parquet_folder(tmp_path))


@TORCH
def test_files_of_datasets_without_it_name_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    datasets.Dataset.from_list([dict(row) for row in CORPUS]).save_to_disk(tmp_path / "corpus")
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(
        UsageError, match=r'needs datasets, .*pip install "retrieval-arena\[datasets\]"$'
    ):
        load_hf(HfSource(str(tmp_path)), "tiny", corpus_alone=True)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["arcd", "dbpedia"])
@pytest.mark.parametrize("layout", [parquet_folder, jsonl_folder])
def test_a_corpus_has_the_same_hashes_in_every_layout(
    shared_data: Path, tmp_path: Path, name: str, layout: object
) -> None:
    source = shared_data / "corpora" / name
    beir = load_beir(source, name)
    keep = ("_id", "title", "text")
    corpus = [_only(row.fields, keep) for row in json_rows(source / "corpus.jsonl")]
    queries = [_only(row.fields, keep) for row in json_rows(source / "queries.jsonl")]
    qrels = [
        {"query-id": query_id, "corpus-id": doc_id, "score": grade}
        for query_id, grades in beir.qrels.items()
        for doc_id, grade in grades.items()
    ]

    dataset = load(layout(tmp_path, corpus, queries, qrels))  # type: ignore[operator]

    assert corpus_hash(dataset.corpus) == corpus_hash(beir.corpus)
    assert qrels_hash(dataset.qrels) == qrels_hash(beir.qrels)
    asked = sorted(beir.qrels)
    assert sorted(dataset.queries) == asked
    assert queries_hash(dataset, asked) == queries_hash(beir, asked)


def _only(fields: object, names: tuple[str, ...]) -> dict[str, object]:
    return {name: fields[name] for name in names if name in fields}  # type: ignore[index,operator]
