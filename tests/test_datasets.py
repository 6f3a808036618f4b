from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.data.beir import load_beir
from arena.data.corpus import corpus_hash
from arena.data.dataset_hashes import qrels_hash, queries_hash
from arena.data.query_sample import sample_queries
from arena.errors import DataError
from arena.records import Dataset, Document, Query

CORPUS = '{"_id": "d1", "title": "One", "text": "first"}\n{"_id": "d2", "text": "second"}\n'
QUERIES = '{"_id": "q1", "text": "which?"}\n{"_id": "q2", "text": "what?"}\n'


def beir(
    folder: Path,
    corpus: str | bytes = CORPUS,
    queries: str | bytes = QUERIES,
    qrels: str | bytes | None = None,
) -> Path:
    files = {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels}
    for name, content in files.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def jsonl(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_folder_without_qrels_loads(tmp_path: Path) -> None:
    dataset = load_beir(beir(tmp_path), "tiny")

    assert dataset.name == "tiny"
    assert dataset.corpus == {
        "d1": Document("d1", "first", "One"),
        "d2": Document("d2", "second"),
    }
    assert dataset.queries == {"q1": Query("q1", "which?"), "q2": Query("q2", "what?")}
    assert dataset.qrels == {}


def test_what_tools_write_is_tolerated(tmp_path: Path) -> None:
    corpus = (
        "\ufeff"
        + CORPUS.replace("\n", "\r\n")
        + "\n   \n"
        + jsonl({"_id": 7, "text": "", "title": None, "metadata": {"a": [1]}, "embedding": [0.5]})
    )

    dataset = load_beir(beir(tmp_path, corpus.encode()), "tiny")

    assert list(dataset.corpus) == ["d1", "d2", "7"]
    assert dataset.corpus["7"] == Document("7", "", "")


@each_row(
    "qrels",
    [
        "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td1\t-1\n",
        "q1\td1\t2\nq1\td2\t0\nq2\td1\t-1\n",
        "q1 0 d1 2\nq1 0 d2 0\n\nq2 0 d1 -1",
        "\ufeffquery iter doc rel\r\nq1\t0\td1\t2.0\r\nq1 Q0 d2 0\r\nq2 0 d1 -1.0\r\n",
        "q1 d1 2\nq1 d1 2\nq1 d2 0\nq2 d1 -1\nother d9 1\n",
    ],
)
def test_qrels_of_every_form_are_read(tmp_path: Path, qrels: str) -> None:
    dataset = load_beir(beir(tmp_path, qrels=qrels), "tiny")

    assert dataset.qrels == {"q1": {"d1": 2, "d2": 0}, "q2": {"d1": -1}}


@each_row(
    ("files", "message"),
    [
        ({"corpus": CORPUS + '{"_id": "d1", "text": ""}\n'}, "corpus.jsonl:3: _id 'd1' occurs tw"),
        ({"corpus": CORPUS + '{"_id": "", "text": "x"}\n'}, "corpus.jsonl:3: _id ''"),
        ({"corpus": CORPUS + '{"_id": "a b", "text": "x"}\n'}, "corpus.jsonl:3: _id 'a b'"),
        ({"corpus": CORPUS + '{"_id": "a\\u0000", "text": "x"}\n'}, "corpus.jsonl:3: _id 'a\\x00"),
        ({"corpus": CORPUS + '{"_id": 1.5, "text": "x"}\n'}, "corpus.jsonl:3: _id 1.5"),
        ({"corpus": CORPUS + '{"_id": true, "text": "x"}\n'}, "corpus.jsonl:3: _id True"),
        ({"corpus": CORPUS + '{"text": "x"}\n'}, 'corpus.jsonl:3: missing "_id"; expected BEIR'),
        ({"corpus": CORPUS + '{"_id": "d3"}\n'}, 'corpus.jsonl:3: missing "text"'),
        ({"corpus": CORPUS + '{"_id": "d3", "text": null}\n'}, 'corpus.jsonl:3: "text" is None'),
        ({"corpus": CORPUS + '{"_id": "d3", "text": "x", "title": 3}\n'}, ':3: "title" is 3'),
        ({"corpus": CORPUS + '{"_id": "d3", "te\n'}, "corpus.jsonl:3: not valid JSON"),
        ({"corpus": CORPUS + "[" * 5000 + "\n"}, "corpus.jsonl:3: not valid JSON"),
        ({"corpus": CORPUS + '{"_id": NaN, "text": "x"}\n'}, "corpus.jsonl:3: _id ''; expected"),
        ({"corpus": CORPUS + "[1]\n"}, "corpus.jsonl:3: not a JSON object"),
        (
            {"corpus": CORPUS.encode() + b'{"_id": "\xff"}\n'},
            "corpus.jsonl:3: not UTF-8 at byte 10",
        ),
        ({"corpus": CORPUS.encode("utf-16")[:-1]}, "corpus.jsonl: is not UTF-16"),
        ({"corpus": CORPUS.encode("cp1252") + b'"\xe9"'}, "byte 2 (Windows-1252? There it is 'é')"),
        ({"corpus": "\n"}, "corpus.jsonl: is empty"),
        ({"queries": ""}, "queries.jsonl: is empty"),
        ({"queries": '{"_id": "q", "text": " \\n"}'}, "queries.jsonl:1: query 'q' has an empty t"),
        ({"qrels": "q1 d1 2\nq1 d2\n"}, "test.tsv:2: 2 columns"),
        ({"qrels": "q1 d1 2\nq1 d2 high\n"}, "test.tsv:2: grade 'high'"),
        ({"qrels": "q1 d1 high\n"}, "test.tsv:1: grade 'high'"),
        ({"qrels": "q1 d1 1\nother d1 0.5.1\n"}, "test.tsv:2: grade '0.5.1'"),
        ({"qrels": "q1 d1 nan\n"}, "test.tsv:1: grade 'nan'"),
        ({"qrels": "q1 d1 1e12\n"}, "test.tsv:1: grade '1e12'"),
        ({"qrels": "q1 d1 1\nq1 d1 2\n"}, "test.tsv:2: query 'q1' and document 'd1' are graded tw"),
        ({"qrels": "q1 d1 1\nq1 d9 1\n"}, "test.tsv:2: unknown document 'd9'"),
        ({"qrels": "x d1 1\ny d1 1\n"}, "test.tsv: none of its 2 grades is for a query of"),
    ],
)
def test_defect_is_an_error_that_names_file_and_line(
    tmp_path: Path, files: dict[str, str | bytes], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_beir(beir(tmp_path, **files), "tiny")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; a BEIR folder holds"):
        load_beir(tmp_path / "nowhere", "tiny")
    with pytest.raises(DataError, match=r"corpus\.jsonl: no such file; a BEIR folder holds"):
        load_beir(tmp_path, "tiny")


def test_compressed_files_are_found_where_they_alone_are_there(tmp_path: Path) -> None:
    folder = beir(tmp_path)
    for name in ("corpus.jsonl", "queries.jsonl"):
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))

    assert len(load_beir(folder, "tiny").corpus) == 2


def test_the_split_names_the_qrels(tmp_path: Path) -> None:
    folder = beir(tmp_path, qrels="q1 d1 1\n")
    (folder / "qrels" / "dev.tsv").write_text("q1 d1 2\n")

    dataset = load_beir(folder, "tiny", split="dev")

    assert dataset.qrels == {"q1": {"d1": 2}}


def test_a_file_where_the_folder_of_qrels_should_be_is_not_overlooked(tmp_path: Path) -> None:
    folder = beir(tmp_path)
    (folder / "qrels").write_text("q1 d1 2\n")

    with pytest.raises(DataError, match=r"qrels: is a file; expected a folder that holds test"):
        load_beir(folder, "tiny")


def test_qrels_without_a_grade_leave_a_note(tmp_path: Path) -> None:
    dataset = load_beir(beir(tmp_path, qrels="query-id\tcorpus-id\tscore\n"), "tiny")

    assert dataset.qrels == {}
    assert dataset.notes == ("test.tsv holds no grade: there are no metrics such as nDCG",)


def test_qrels_of_another_split_are_not_overlooked(tmp_path: Path) -> None:
    beir(tmp_path)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv").write_text("q1 d1 1\n")

    with pytest.raises(DataError, match=r'other splits: dev; choose one of them: split = "dev"'):
        load_beir(tmp_path, "tiny")


def test_few_grades_for_unknown_documents_are_kept_and_noted(tmp_path: Path) -> None:
    corpus = jsonl(*({"_id": f"d{number}", "text": "x"} for number in range(40)))
    qrels = "".join(f"q1 d{number} 1\n" for number in range(40)) + "q2 gone 1\n"

    dataset = load_beir(beir(tmp_path, corpus, qrels=qrels), "tiny")

    assert dataset.qrels["q2"] == {"gone": 1}
    assert dataset.notes == ("test.tsv:41: unknown document 'gone'; no model can find it",)


weird = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=60)
@given(texts=st.lists(st.tuples(weird, weird), min_size=1, max_size=5))
def test_text_of_any_script_loads_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    rows = [{"_id": str(i), "title": a, "text": b} for i, (a, b) in enumerate(texts)]
    folder = beir(tmp_path_factory.mktemp("beir"), jsonl(*rows))

    dataset = load_beir(folder, "tiny")

    assert [(d.title, d.text) for d in dataset.corpus.values()] == texts


@settings(max_examples=100)
@given(noise=st.one_of(st.binary(max_size=60), weird.map(str.encode)))
def test_noise_loads_or_is_refused_with_its_line(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    folder = beir(tmp_path_factory.mktemp("beir"), CORPUS.encode() + noise, qrels=noise)

    refusal = None
    try:
        load_beir(folder, "tiny")
    except DataError as error:
        refusal = error

    if refusal is not None:
        assert refusal.line is not None or "none of its" in str(refusal)
        assert str(refusal).isprintable()


def test_five_megabytes_of_text_are_one_document(tmp_path: Path) -> None:
    text = "עִבְרִית 🦉 \u202e\u0007" * 300_000

    dataset = load_beir(beir(tmp_path, jsonl({"_id": "d", "text": text})), "tiny")

    assert dataset.corpus["d"].text == text


def many(n_queries: int, qrels: Mapping[str, Mapping[str, int]] | None = None) -> Dataset:
    queries = {f"q{number}": Query(f"q{number}", "?") for number in range(n_queries)}
    return Dataset("many", {"d": Document("d", "x")}, queries, qrels or {})


@given(seed=st.integers(0, 9), small=st.integers(0, 30), large=st.integers(0, 40))
def test_larger_sample_contains_the_smaller(seed: int, small: int, large: int) -> None:
    dataset = many(30)

    one, other = sample_queries(dataset, small, seed), sample_queries(dataset, large, seed)

    assert one == sample_queries(dataset, None, seed)[:small]
    assert other[:small] == one[:large]
    assert len(set(other)) == min(large, 30)


def test_sample_depends_on_seed_and_name_and_not_on_file_order() -> None:
    dataset = many(30)
    backwards = replace(dataset, queries=dict(reversed(dataset.queries.items())))

    sample = sample_queries(dataset, 10, 1)

    assert sample == sample_queries(backwards, 10, 1)
    assert sample != sample_queries(dataset, 10, 2)
    assert sample != sample_queries(replace(dataset, name="other"), 10, 1)


def test_new_query_moves_no_other_in_the_sample() -> None:
    before = sample_queries(many(30), None, 1)

    after = sample_queries(many(31), None, 1)

    assert tuple(query_id for query_id in after if query_id != "q30") == before


def test_graded_queries_are_sampled_first() -> None:
    dataset = many(30, {"q7": {"d": 1}, "q21": {"d": 0}})

    sample = sample_queries(dataset, 5, 1)

    assert set(sample[:2]) == {"q7", "q21"}
    assert len(sample) == 5


def test_hashes_follow_content_and_not_order() -> None:
    dataset = many(3, {"q1": {"d": 1}, "q2": {"d": 2}})
    corpus = {"a": Document("a", "bc"), "b": Document("b", "x")}

    assert corpus_hash(corpus) == corpus_hash(dict(reversed(corpus.items())))
    assert corpus_hash(corpus) != corpus_hash(corpus | {"a": Document("a", "c", "b")})
    assert queries_hash(dataset, ["q1", "q2"]) == queries_hash(dataset, ["q2", "q1"])
    asked = [{"q1": Query("q1", "x")}, {"q1": Query("q1", "y")}, {"q2": Query("q2", "x")}]
    assert len({queries_hash(replace(dataset, queries=q), list(q)) for q in asked}) == 3
    assert qrels_hash(dataset.qrels) == qrels_hash(dict(reversed(dataset.qrels.items())))
    grades = [{"q1": {"d": 1}}, {"q1": {"d": 2}}, {"q1": {"e": 1}}, {"q2": {"d": 1}}, {}]
    assert len({qrels_hash(found) for found in (dataset.qrels, *grades)}) == 6


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "documents", "graded"),
    [("msmarco", 5000, 43), ("dbpedia", 5000, 40), ("arcd", 255, 50)],
)
def test_reference_corpora_load(shared_data: Path, name: str, documents: int, graded: int) -> None:
    dataset = load_beir(shared_data / "corpora" / name, name)

    assert len(dataset.corpus) == documents
    assert len(dataset.queries) == 50
    assert len(dataset.qrels) == graded


def test_half_a_character_is_mended_and_counted_and_no_corpus_is_refused(tmp_path: Path) -> None:
    odd = '{"_id": "d3", "text": "pear \\ud83d"}\n{"_id": "d4", "title": NaN, "text": "fig"}\n'
    folder = beir(tmp_path, corpus=CORPUS + odd)

    dataset = load_beir(folder, "tiny")

    assert dataset.corpus["d3"].text == "pear \ufffd"
    assert dataset.corpus["d4"].title == ""
    [note] = [note for note in dataset.notes if "U+FFFD" in note]
    assert note.startswith("corpus.jsonl: ")
    assert note.endswith(": 2")


@each_row("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_data_set_in_any_form_of_unicode_is_the_same(tmp_path: Path, encoding: str) -> None:
    plain = beir(tmp_path / "a", corpus=CORPUS)
    recoded = beir(tmp_path / "b", corpus=CORPUS)
    for file in ("corpus.jsonl", "queries.jsonl"):
        (recoded / file).write_bytes((plain / file).read_text("utf-8").encode(encoding))

    assert corpus_hash(load_beir(recoded, "x").corpus) == corpus_hash(load_beir(plain, "x").corpus)
    assert load_beir(recoded, "x").queries == load_beir(plain, "x").queries


def test_ids_of_any_number_of_digits_stay_apart(tmp_path: Path) -> None:
    digits = ["12345678901234567890", "12345678901234567891", "9007199254740993", "1" * 5000]
    digits += ["-9223372036854775809", "-9223372036854775810"]  # of 19 digits, yet too long
    rows = "".join(f'{{"_id": {number}, "text": "x"}}\n' for number in digits)

    dataset = load_beir(beir(tmp_path, corpus=CORPUS + rows), "tiny")

    assert set(digits) <= dataset.corpus.keys()
