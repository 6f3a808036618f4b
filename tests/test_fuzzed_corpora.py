"""Corpora of all kinds of damage: each loads and can be searched, or fails by file and line."""

from __future__ import annotations

import gc
import json
import re
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from experiments import write_experiment
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pdf_file import pdf
from reading import share

from arena.config import ModelConfig
from arena.config.datasets import DatasetConfig
from arena.data.beir import load_beir
from arena.data.corpus import corpus_hash
from arena.data.documents.reader_processes import Cutter
from arena.data.load import load_dataset
from arena.data.run_file import read_run, write_run
from arena.errors import DataError, UsageError
from arena.experiment.experiment import open_experiment
from arena.json_text import parse_json
from arena.records import Dataset, Run
from arena.retrieval.retrieve import retrieve

BM25 = ModelConfig(name="bm25", provider="bm25")
LOCAL = ModelConfig(name="local", provider="wordllama", dimensions=64)
LSA = ModelConfig(name="lsa", provider="lsa")

GOOD = {
    "corpus.jsonl": b'{"_id": "d1", "text": "an apple"}\n{"_id": "d2", "text": "two pears"}\n',
    "queries.jsonl": b'{"_id": "q1", "text": "apple"}\n{"_id": "q2", "text": "pears"}\n',
    "qrels/test.tsv": b"q1\td1\t1\nq2\td2\t1\n",
}


def folder_of(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in {**GOOD, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def search(dataset: Dataset, model: ModelConfig, folder: Path) -> Run:
    """Retrieve, and read what was written: the whole way that a run goes."""
    queries = list(dataset.queries)
    run, _ = retrieve(model, dataset, queries, cache=folder / "cache", depth=5)
    write_run(run, folder / "run.trec")
    again = read_run(
        folder / "run.trec", dataset=dataset, model=model.name, query_ids=queries, complete=False
    )
    assert again == run
    return run


def load_or_error(folder: Path) -> Dataset | DataError:
    try:
        return load_beir(folder, "odd")
    except DataError as error:
        return error


def line(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


LOADS = {
    "empty text": line(_id="d", text=""),
    "white space alone": line(_id="d", text=" \t\n\u3000"),
    "five megabytes": line(_id="d", text=("pear" * 50 + "\n") * 25_000),
    "one word of 200,000 letters": line(_id="d", text="x" * 200_000),
    "control characters": line(_id="d", text="".join(map(chr, range(1, 32))) + "\x7f\x85"),
    "NUL in the text": line(_id="d", text="an\x00apple"),
    "byte order mark": "\ufeff".encode() + line(_id="d", text="apple"),
    "byte order mark in the text": line(_id="d", text="\ufeffapple"),
    "Arabic": line(_id="حمزة", text="خَيْرُ إِخْوَتِي عَلِيٌّ"),
    "bidirectional controls": line(_id="d", text="\u202eelppa\u202c \u2066x\u2069\u200f"),
    "emoji": line(_id="👩‍👩‍👧", text="👩‍👩‍👧 🏳️‍🌈 \U0001f9d1\U0001f3ff‍🚀"),
    "combining marks": line(_id="d", text="e" + "\u0301" * 500),
    "line separators in the text": line(_id="d", text="one\u2028two\u2029three\x0bfour"),
    "CRLF": line(_id="d", text="apple").replace(b"\n", b"\r\n"),
    "no line end at the end": line(_id="d", text="apple").rstrip(),
    "Infinity beside the text": b'{"_id": "d", "text": "apple", "score": Infinity}\n',
    "an integer as id": line(_id=2**62, text="apple"),
    "a title and no text": line(_id="d", title="apple", text=""),
    "null as title": line(_id="d", title=None, text="apple"),
    "fields of all kinds": line(_id="d", text="apple", metadata={"a": [1, None]}, url=3),
    "escaped pairs of surrogates": b'{"_id": "d", "text": "\\ud83d\\ude00"}\n',
    "half a character": b'{"_id": "d", "text": "apple \\ud83d"}\n',
    "NaN in an empty cell": b'{"_id": "d", "title": NaN, "text": NaN, "x": [-Infinity]}\n',
    "an integer beyond 64 bits as id": b'{"_id": 1' + b"0" * 40 + b', "text": "apple"}\n',
    "markup": line(_id="<script>", text="<script>alert(1)</script>"),
    "a path as id": line(_id="../../etc/passwd", text="apple"),
    "a long id": line(_id="d" * 5000, text="apple"),
}

FAILS = {
    "empty file": (b"", r"corpus.jsonl: is empty"),
    "blank lines alone": (b"\n\r\n  \n", r"corpus.jsonl: is empty"),
    "duplicate ids": (line(_id="d", text="") * 2, r"corpus.jsonl:2: _id 'd' occurs twice"),
    "one id as string and integer": (
        line(_id="5", text="") + line(_id=5, text=""),
        r"corpus.jsonl:2: _id '5' occurs twice",
    ),
    "invalid UTF-8": (line(_id="d", text="") + b'{"_id": "e\xff"}', r"corpus.jsonl:2: not UTF-8"),
    "truncated last line": (
        line(_id="d", text="") + line(_id="e", text="apple")[:-8],
        r"corpus.jsonl:2: not valid JSON",
    ),
    "NUL in the file": (line(_id="d", text="") + b"\x00\x00", r"corpus.jsonl:2: not valid JSON"),
    "NUL in an id": (line(_id="d\x00", text=""), r"corpus.jsonl:1: _id 'd\\x00'; TREC files"),
    "white space in an id": (line(_id="a\u00a0b", text=""), r"corpus.jsonl:1: _id 'a\\xa0b'; TREC"),
    "a list of lines": (b'[{"_id": "d", "text": ""}]', r"corpus.jsonl:1: not a JSON object"),
    "text that is no text": (line(_id="d", text=["apple"]), r"corpus.jsonl:1: \"text\" is \['app"),
    "true as id": (line(_id=True, text=""), r"corpus.jsonl:1: _id True; expected a string"),
    "deep nesting": (b'{"_id": "d", "text": ' + b"[" * 5000, r"corpus.jsonl:1: not valid JSON"),
}  # fmt: skip


def corpus_with(content: bytes) -> bytes:
    """Before two ordinary documents; after them where the line does not end."""
    ordinary = GOOD["corpus.jsonl"]
    return ordinary + content if content.endswith(b"}") else content + ordinary


@pytest.mark.parametrize("content", LOADS.values(), ids=LOADS.keys())
def test_what_loads_can_be_searched(tmp_path: Path, content: bytes) -> None:
    folder = folder_of(tmp_path, {"corpus.jsonl": corpus_with(content)})

    dataset = load_beir(folder, "odd")

    assert len(dataset.corpus) == 3
    run = search(dataset, BM25, tmp_path)
    assert run.rankings["q2"][0].doc_id in ("d2", "d")


# Tokenizers take many seconds for a text of megabytes, of which models then read the beginning.
@pytest.mark.parametrize(("model", "longest"), [(LOCAL, 10_000), (LSA, 10_000_000)])
def test_all_that_loads_can_be_embedded_together(
    tmp_path: Path, model: ModelConfig, longest: int
) -> None:
    corpus = {}
    for content in LOADS.values():
        folder = folder_of(tmp_path, {"corpus.jsonl": corpus_with(content)})
        for document in load_beir(folder, "odd").corpus.values():
            doc_id = f"{document.doc_id}-{len(corpus)}"
            if len(document.text) <= longest:
                corpus[doc_id] = replace(document, doc_id=doc_id)
    dataset = replace(load_beir(folder, "odd"), corpus=corpus)

    run = search(dataset, model, tmp_path)

    assert all(len(ranking) == 5 for ranking in run.rankings.values())


@pytest.mark.parametrize(("content", "message"), FAILS.values(), ids=FAILS.keys())
def test_what_does_not_load_fails_by_file_and_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_beir(folder_of(tmp_path, {"corpus.jsonl": content}), "odd")

    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        (b"q1\td1\n", r"test.tsv:1: 2 columns; expected query-id, corpus-id, score"),
        (b"q1\td1\t1\nq1\td1", r"test.tsv:2: 2 columns"),
        (b"q1\td1\t\xd9\xa1\n", None),
        (b"q1\td1\tnan\n", r"test.tsv:1: grade 'nan'"),
        (b"q1\td1\t1e400\n", r"test.tsv:1: grade '1e400'"),
        (b"q1\td1\t1\nq1\td1\t2\n", r"test.tsv:2: .* are graded twice, differently"),
        (b"q1\td1\t1\n\xff", r"test.tsv:2: not UTF-8 at byte 1"),
        (b"\x00\n", r"test.tsv:1: 1 columns"),
        (b"q1\td9\t1\n", r"test.tsv:1: unknown document 'd9'"),
        (b"q1\td1\t1\x00\n", r"test.tsv:1: grade '1\\x00'"),
    ],
)
def test_damaged_qrels_fail_by_line(tmp_path: Path, qrels: bytes, message: str | None) -> None:
    folder = folder_of(tmp_path, {"qrels/test.tsv": qrels})

    if message is None:
        assert load_beir(folder, "odd").qrels == {"q1": {"d1": 1}}
        return
    with pytest.raises(DataError, match=message) as caught:
        load_beir(folder, "odd")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("qrels", [b"", b"\n\n", b"query-id\tcorpus-id\tscore\n", b"\xef\xbb\xbf"])
def test_qrels_without_a_grade_are_no_silent_loss_of_metrics(tmp_path: Path, qrels: bytes) -> None:
    dataset = load_beir(folder_of(tmp_path, {"qrels/test.tsv": qrels}), "odd")

    assert dataset.qrels == {}
    assert dataset.notes == ("test.tsv holds no grade: there are no metrics such as nDCG",)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path, {})
    (folder / name).unlink()
    (folder / name).mkdir()

    with pytest.raises(DataError, match=rf"{name}: cannot be read: Is a directory"):
        load_beir(folder, "odd")


@pytest.mark.parametrize("place", ["runs", "runs/x"])
def test_a_file_where_results_would_go_is_told_in_one_line(tmp_path: Path, place: str) -> None:
    config = write_experiment(tmp_path)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("a file")

    with pytest.raises(UsageError, match=rf"{place}: is a file, but arena writes a folder there"):
        open_experiment(config)


PDF = pdf([["One apple"], ["and two pears"]])
ODD = st.text(st.characters(codec="utf-8"), max_size=30)
VALUES = ODD | st.integers() | st.none() | st.booleans() | st.floats() | st.lists(ODD, max_size=2)
OBJECTS = st.fixed_dictionaries({}, optional={"_id": VALUES, "text": VALUES, "title": VALUES})
LINES = (
    st.builds(lambda i, t: line(_id=i, text=t), st.sampled_from(["a", "b", "c", "é", "حمزة"]), ODD)
    | OBJECTS.map(lambda fields: json.dumps(fields).encode() + b"\n")
    | st.binary(max_size=40)
    | st.sampled_from([b"\n", b"\r\n", b"\xef\xbb\xbf", b"{}\n", b"null\n", b'{"_id": "x"'])
)
FILES = st.lists(LINES, max_size=6).map(b"".join)


@given(corpus=st.just(GOOD["corpus.jsonl"]) | FILES, queries=FILES, qrels=FILES)
@example(corpus=b'{"_id": "a", "text": "\x00"}', queries=b"", qrels=b"")
@example(corpus=b'{"_id": "a", "text": " "}', queries=b'{"_id": 1, "text": "x"}', qrels=b"")
@example(
    corpus=GOOD["corpus.jsonl"], queries=b'{"_id": 1, "text": "apple \\u202e"}', qrels=b"1 d1 1"
)
def test_any_files_load_and_can_be_searched_or_name_the_line(
    corpus: bytes, queries: bytes, qrels: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name:
        files = {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels}
        folder = folder_of(Path(name), files)

        loaded = load_or_error(folder)

        if isinstance(loaded, DataError):
            whole = "is empty" in str(loaded) or "none of its" in str(loaded)
            assert whole or re.search(r"(jsonl|tsv):\d+: ", str(loaded))
            assert str(loaded).isprintable()
        elif any((each.title + each.text).strip() for each in loaded.corpus.values()):
            assert corpus_hash(loaded.corpus)
            search(loaded, BM25, folder)
        else:
            with pytest.raises(UsageError, match="no document of the corpus has any text"):
                search(loaded, BM25, folder)


def test_an_error_of_a_line_is_freed_with_its_last_user_and_keeps_no_file_open() -> None:
    def failed(line: bytes) -> weakref.ref[Exception] | None:
        try:
            parse_json(line)
        except ValueError as error:
            return weakref.ref(error)
        return None

    gc.disable()  # which would find a circle of error and frame, but late
    try:
        kept = failed(b'{"_id": "x"')
        assert kept is not None
        assert kept() is None
    finally:
        gc.enable()


TAGS = st.sampled_from(
    ["p", "/p", "h1", "/h2", "script", "main", "table", "td", "pre", "li", "nav", "title", "?x?"]
).map("<{}>".format)
PIECES = TAGS | st.sampled_from(["<a href='x'", "-->", "<![CDATA[", "]]>", "&amp;", "&#xD800;"])
FRAGMENTS = st.lists(PIECES | ODD, max_size=20).map(" ".join).map(str.encode)
MARKS = st.text(st.sampled_from("#-`*_[]()<>!|=\n\t 1.aب中\x00\u2028"), max_size=80).map(str.encode)
PDF_PARTS = st.lists(st.integers(0, len(PDF)), min_size=2, max_size=2).map(
    lambda cut: PDF[: min(cut)] + PDF[max(cut) :]
)


# Three at a time: a note names three.
@settings(max_examples=16)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=60) | FRAGMENTS | MARKS | PDF_PARTS,
            st.sampled_from([".md", ".txt", ".html", ".pdf"]),
        ),
        min_size=3,
        max_size=3,
    )
)
@example([(b"---\ntitle: [\n---\n", ".md"), (b"\xff\xfeA", ".txt"), (PDF, ".pdf")])
def test_any_file_becomes_passages_or_is_named(
    lasting_cutter: Cutter, files: list[tuple[bytes, str]]
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        share(lasting_cutter, patch)
        folder = Path(name)
        odd = [f"odd{number}{suffix}" for number, (_, suffix) in enumerate(files)]
        for file, (content, _) in zip(odd, files, strict=True):
            (folder / file).write_bytes(content)
        (folder / "queries.txt").write_text("apple\n")
        (folder / "good.md").write_text("# An apple\n\nA day.\n")
        config = DatasetConfig(name="d", documents=folder, queries=folder / "queries.txt")

        dataset = load_dataset(config)

        assert dataset.corpus["good.md#1"].title == "An apple"
        cut = {doc_id.partition("#")[0] for doc_id in dataset.corpus}
        for file in odd:
            assert (file in cut) != any(file in note for note in dataset.notes)
        assert all(note.isprintable() for note in dataset.notes)
        search(dataset, BM25, folder)
