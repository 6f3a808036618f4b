"""The built-in data set, checked against the Python that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest

from arena.data.builtin import python_docs
from arena.data.corpus import corpus_hash
from arena.records import Dataset


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return python_docs()


def test_every_graded_document_exists_in_this_python(dataset):
    graded = {doc_id for grades in dataset.qrels.values() for doc_id in grades}

    assert graded <= set(dataset.corpus)


def test_a_hundred_different_questions_each_have_an_answer(dataset):
    questions = {query.text.casefold() for query in dataset.queries.values()}

    assert len(dataset.queries) == len(questions) == 100
    assert list(dataset.qrels) == list(dataset.queries)
    assert all(3 in grades.values() for grades in dataset.qrels.values())
    assert {g for grades in dataset.qrels.values() for g in grades.values()} == {1, 2, 3}


def test_few_questions_name_what_they_are_looking_for(dataset):
    def gives_itself_away(query_id: str) -> bool:
        words = re.findall(r"\w+", dataset.queries[query_id].text.casefold())
        answers = [doc_id for doc_id, grade in dataset.qrels[query_id].items() if grade == 3]
        return any(answer.casefold().rpartition(".")[2] in words for answer in answers)

    trivial = [query_id for query_id in dataset.queries if gives_itself_away(query_id)]

    assert len(trivial) <= 10, trivial


def test_the_corpus_is_thousands_of_readable_documents(dataset):
    assert 3_000 <= len(dataset.corpus) <= 5_000
    for doc_id, document in dataset.corpus.items():
        assert document.doc_id == document.title == doc_id
        assert re.fullmatch(r"[\w.]+", doc_id)
        assert len(document.text.split()) >= 4
        odd = {c for c in document.text if unicodedata.category(c) in {"Cc", "Cs"}} - {"\n", "\t"}
        assert not odd, doc_id
        assert not re.search(r"\bat 0x[0-9a-f]{6,}", document.text), doc_id


def test_no_text_occurs_twice(dataset):
    (_, most), *_ = Counter(document.text for document in dataset.corpus.values()).most_common(1)

    assert most == 1


@pytest.mark.parametrize(
    ("known", "aliases"),
    [
        ("open", ["io.open", "builtins.open"]),
        ("os.path.join", ["posixpath.join", "ntpath.join"]),
        ("collections.abc.Mapping", ["typing.Mapping.get", "_collections_abc.Mapping"]),
        ("concurrent.futures.ThreadPoolExecutor", ["concurrent.futures.thread.ThreadPoolExecutor"]),
        ("itertools.groupby", ["builtins.groupby"]),
        ("random.shuffle", ["random.Random.shuffle"]),
        ("pathlib.PurePath.suffix", ["pathlib.Path.suffix"]),
        ("unittest.TestCase.assertRaises", ["unittest.case.TestCase.assertRaises"]),
        ("str.removeprefix", ["builtins.str.removeprefix"]),
    ],
)
def test_an_object_appears_once_under_its_best_known_name(dataset, known, aliases):
    assert known in dataset.corpus
    assert not [alias for alias in aliases if alias in dataset.corpus]


def test_two_processes_build_the_same_data_set_quickly_and_silently(dataset):
    program = (
        "import json, time; start = time.perf_counter()\n"
        "from arena.data.builtin import python_docs; from arena.data.corpus import corpus_hash\n"
        "d = python_docs(); print(json.dumps([corpus_hash(d.corpus), list(d.corpus), "
        "time.perf_counter() - start]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7", "COLUMNS": "40", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
    )
    digest, order, seconds = json.loads(done.stdout)

    assert digest == corpus_hash(dataset.corpus)
    assert order == list(dataset.corpus)
    assert seconds < 10  # 0.5 s on an idle machine
    assert done.stderr == ""


def test_what_other_packages_change_in_the_library_is_not_in_the_data_set(dataset, monkeypatch):
    def helper(self):
        """Say something that Python itself never said."""

    monkeypatch.setattr("logging.Logger.whisper", helper, raising=False)

    assert list(python_docs().corpus) == list(dataset.corpus)


def test_python_without_docstrings_is_told_so_in_one_line():
    program = "from arena.data.builtin.stdlib import documented_names; next(documented_names())"
    done = subprocess.run(
        [sys.executable, "-OO", "-c", program], capture_output=True, text=True, check=False
    )

    assert "UsageError: the built-in data set is made of docstrings" in done.stderr
