from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.data.beir import load_beir
from arena.data.corpus import (
    CorpusFile,
    SmallCorpus,
    collect_documents,
    corpus_hash,
    documents_of,
    n_copies,
)
from arena.data.rows import Row
from arena.data.searchable_text import Passages
from arena.errors import DataError
from arena.files import cache_folder
from arena.records import Document

PATH = Path("corpus.jsonl")
any_text = st.text(st.characters(), max_size=9)  # lone surrogates, too: JSON can bring them


def items(documents: list[Document]) -> Iterator[tuple[Row, str, Document]]:
    for number, document in enumerate(documents, start=1):
        yield Row(PATH, number, {}), document.doc_id, document


def numbered(n: int) -> list[Document]:
    return [Document(f"d{number}", f"text {number}", "T") for number in range(n)]


@settings(max_examples=50)
@given(
    fields=st.dictionaries(
        st.text(min_size=1, max_size=3), st.tuples(any_text, any_text), min_size=1, max_size=20
    ),
    in_memory=st.integers(0, 40),
)
def test_corpus_in_a_file_is_the_corpus_in_memory(
    fields: Mapping[str, tuple[str, str]], in_memory: int
) -> None:
    documents = [Document(doc_id, text, title) for doc_id, (text, title) in fields.items()]
    plain = {document.doc_id: document for document in documents}

    corpus = collect_documents(items(documents), PATH, in_memory=in_memory)

    assert dict(corpus) == plain
    texts = [(d.title.strip(), d.text.strip()) for d in documents if (d.title + d.text).strip()]
    assert n_copies(corpus) == len(texts) - len(set(texts))
    assert list(corpus.items()) == list(plain.items())
    assert list(corpus) == list(plain)
    assert list(corpus.values()) == list(documents_of(corpus)) == documents
    assert documents_of(corpus)[-1] == documents[-1]
    assert documents_of(corpus)[1:3] == documents[1:3]
    assert corpus_hash(corpus) == corpus_hash(plain)
    assert "absent" not in corpus


def test_small_corpus_stays_in_memory_and_a_large_one_does_not() -> None:
    assert isinstance(collect_documents(items(numbered(50)), PATH), SmallCorpus)
    assert isinstance(collect_documents(items(numbered(50)), PATH, in_memory=100), CorpusFile)


@each_row("in_memory", [0, 300, 10**6])
def test_repeated_id_is_an_error_with_its_line_wherever_the_corpus_is(in_memory: int) -> None:
    documents = [*numbered(40), Document("d7", "again"), Document("d3", "again")]

    with pytest.raises(DataError) as caught:
        collect_documents(items(documents), PATH, in_memory=in_memory)

    assert str(caught.value) == "corpus.jsonl:41: _id 'd7' occurs twice; ids must be unique"


def test_empty_corpus_is_an_error() -> None:
    with pytest.raises(DataError, match="is empty"):
        collect_documents(items([]), PATH)


def test_file_leaves_nothing_behind(tmp_path: Path) -> None:
    corpus = collect_documents(items(numbered(9)), PATH, in_memory=0)

    assert corpus["d8"] == Document("d8", "text 8", "T")
    assert list(cache_folder().iterdir()) == []


def test_corpus_outlives_changes_of_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.data.corpus.IN_MEMORY", 0)
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"_id": str(n), "text": f"t{n}"}) + "\n" for n in range(9)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "?"}\n')

    corpus = load_beir(tmp_path, "x").corpus
    path.write_text("")

    assert isinstance(corpus, CorpusFile)
    assert corpus["8"].text == "t8"


@pytest.mark.parametrize("in_memory", [0, 10**6])
def test_passages_are_the_documents_that_have_any_text(in_memory: int) -> None:
    documents = [
        Document("b", "body", "Title"),
        Document("empty", " \n"),
        Document("a", "", "Title alone"),
        Document("c", "body"),
    ]

    passages = Passages(collect_documents(items(documents), PATH, in_memory=in_memory))

    assert dict(passages) == {"b": "Title body", "a": "Title alone", "c": "body"}
    assert list(passages.doc_ids) == ["b", "a", "c"]
    assert list(passages.texts) == ["Title body", "Title alone", "body"]
    assert passages.texts[1:] == ["Title alone", "body"]
    assert "empty" not in passages


def test_passages_that_nobody_goes_through_are_not_read() -> None:
    n_read = 0

    class Counted(dict[str, Document]):
        def values(self) -> Any:
            nonlocal n_read
            for document in super().values():
                n_read += 1
                yield document

    passages = Passages(Counted({str(n): Document(str(n), "text") for n in range(1000)}))

    assert passages
    assert passages["7"] == "text"
    assert n_read == 1
    assert len(passages) == 1000 < n_read


def test_memory_does_not_grow_with_the_length_of_documents() -> None:
    long = (Document(str(number), "x" * 2000) for number in range(8_000))  # 16 MB
    rows = ((Row(PATH, 1, {}), document.doc_id, document) for document in long)
    tracemalloc.start()

    try:
        passages = Passages(collect_documents(rows, PATH, in_memory=2**20))
        n_characters = sum(map(len, passages.values()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert n_characters == 16_000_000
    assert peak < 10 * 2**20
