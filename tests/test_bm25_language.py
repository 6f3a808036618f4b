"""BM25 over the stems of one language."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pytest
from few_documents import few_of
from tables import each_row

from arena.config import DatasetConfig, ModelConfig, parse_config
from arena.config.languages import LANGUAGES
from arena.data.load import load_dataset
from arena.data.metrics import measure_run
from arena.errors import ConfigError, UsageError
from arena.records import Dataset, Document, Query
from arena.retrieval.bm25 import Bm25Index, _words, stemmer, tokenize
from arena.retrieval.retrieve import retrieve


def found(query: str, texts: list[str], language: str | None = None) -> set[str]:
    index = Bm25Index({text: text for text in texts}, language=language)
    return {doc_id for doc_id, _ in index.search(query, 10)}


@each_row(
    ("language", "query", "text"),
    [
        ("english", "connection", "They were connected."),
        ("german", "Häuser", "ein altes Haus"),
        ("french", "écoles", "mon école"),
        ("french", "ecoles", "mon école"),
        ("norwegian", "bøkene", "en bok, flere bøker"),
        ("spanish", "canciones", "una canción"),
        ("russian", "книгами", "интересная книга"),
        ("arabic", "المدارس", "مدارس"),
        ("arabic", "أَحْمَد", "احمد"),
        ("greek", "δρόμοι", "ο δρόμος"),
    ],
)
def test_a_word_is_found_by_another_form_of_it(language, query, text):
    assert found(query, [text, "something else"], language) == {text}


def test_without_a_language_words_are_as_they_are():
    assert found("connection", ["connected", "connection"]) == {"connection"}
    assert tokenize("Connections écoles") == ["connections", "ecoles"]


def test_the_parts_of_an_identifier_are_stemmed_too():
    assert tokenize("sortItems", stemmer("english")) == ["sortitem", "sort", "item"]


def test_every_mark_of_unicode_belongs_to_its_word():
    points = map(chr, range(sys.maxunicode + 1))
    marks = "".join(point for point in points if unicodedata.category(point)[0] == "M")

    assert _words().findall(f"a{marks} b") == [f"a{marks}", "b"]


def test_scripts_without_spaces_are_cut_as_before():
    assert tokenize("日本語 text", stemmer("english")) == ["日本", "本語", "text"]


def test_every_known_language_has_a_stemmer():
    assert [language for language in LANGUAGES if not stemmer(language)("word")] == []


TREE = {
    "experiment": {"name": "x"},
    "datasets": [{"name": "d", "path": "d"}],
    "models": [{"name": "a", "provider": "bm25"}, {"name": "b", "provider": "bm25"}],
    "judge": {"kind": "qrels"},
}


def configured(**options: str) -> ModelConfig:
    tree = {**TREE, "models": [{**TREE["models"][0], **options}, TREE["models"][1]]}
    return parse_config(tree, Path("arena.toml")).models[0]


@each_row(
    ("given", "name"),
    [("english", "english"), ("EN", "english"), ("nb-NO", "norwegian"), ("no", "norwegian")],
)
def test_a_language_is_known_by_name_and_by_code(given, name):
    assert configured(language=given).language == name


def test_an_unknown_language_is_a_mistake_that_names_the_known_ones():
    with pytest.raises(ConfigError, match=r'no stemmer for "klingon"; known are arabic, .*yiddish'):
        configured(language="klingon")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"provider": "lsa", "language": "en"}, 'language is for provider = "bm25"'),
        ({"precision": "int8"}, "precision is for models that make vectors"),
    ],
)
def test_an_option_that_a_model_cannot_have_is_a_mistake(options, problem):
    with pytest.raises(ConfigError, match=problem):
        configured(**options)


def test_a_missing_stemmer_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "Stemmer", None)

    with pytest.raises(UsageError, match=r'"english" needs PyStemmer; pip install'):
        stemmer("english")


def test_a_model_s_language_reaches_its_index(tmp_path):
    corpus = {"d": Document("d", "connected")}
    dataset = Dataset("d", corpus, {"q": Query("q", "connections")}, {})
    model = ModelConfig(name="m", provider="bm25", language="en")

    run, _ = retrieve(model, dataset, ["q"], cache=tmp_path)

    assert [doc.doc_id for doc in run.rankings["q"]] == ["d"]


@pytest.mark.shared
@pytest.mark.parametrize(("corpus", "language"), [("msmarco", "english"), ("arcd", "arabic")])
def test_stems_find_more_than_words_do(corpus, language, shared_data, tmp_path):
    few_of(shared_data / "corpora" / corpus, tmp_path / corpus, n_queries=20, n_others=300)
    dataset = load_dataset(DatasetConfig(name=corpus, path=str(tmp_path / corpus)))
    quality = {}
    for spoken in (None, language):
        model = ModelConfig(name="m", provider="bm25", language=spoken)
        run, _ = retrieve(model, dataset, list(dataset.queries), cache=tmp_path)
        quality[spoken] = measure_run(run, dataset.qrels).ndcg_at_10

    assert quality[language] > quality[None] + 0.01
