"""Sparse encoders and late interaction, with tiny models whose weights are random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from together import TORCH

from arena.checking.probes import Means, try_model
from arena.config import ModelConfig
from arena.embedding.local.token_models import TokenModel
from arena.errors import ApiError, DataError, UsageError
from arena.records import Dataset, Document, Query, RetrievalStats, Run
from arena.retrieval import sparse_and_late_interaction as tokens
from arena.retrieval.retrieve import retrieve
from arena.retrieval.sparse_and_late_interaction import LateBlock, SparseBlock
from arena.vectors.token_files import TokenStore

pytestmark = TORCH

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = {
    "otter": "the otter swims in the river",
    "lathe": "a lathe turns wood",
    "quasar": "a quasar shines far",
    "both": "the otter turns wood in the river",
}
WORDS = sorted({word for text in TEXTS.values() for word in text.split()})
DATA = Dataset(
    "tiny",
    {name: Document(name, text) for name, text in TEXTS.items()},
    {"q1": Query("q1", "otter river"), "q2": Query("q2", "quasar")},
    {},
)


def tokenizer(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs sentence-transformers")
    vocabulary = {word: number for number, word in enumerate([*MARKS, *WORDS])}
    made = transformers.BertTokenizer(vocab=vocabulary, model_max_length=32)
    made.save_pretrained(folder)


def config(transformers: Any) -> Any:
    return transformers.BertConfig(
        vocab_size=len(WORDS) + len(MARKS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )


@pytest.fixture(scope="module")
def splade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    import torch
    import transformers

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("splade")
    tokenizer(folder / "bert")
    transformers.BertForMaskedLM(config(transformers)).save_pretrained(folder / "bert")
    modules = library.sparse_encoder.modules
    network = library.SparseEncoder(
        modules=[modules.MLMTransformer(str(folder / "bert")), modules.SpladePooling("max")]
    )
    network.save_pretrained(str(folder / "saved"))
    return folder / "saved"


@pytest.fixture(scope="module")
def colbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    if not hasattr(library, "MultiVectorEncoder"):
        pytest.skip("needs sentence-transformers 6")
    import torch
    import transformers

    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("colbert")
    tokenizer(folder / "bert")
    transformers.BertModel(config(transformers)).save_pretrained(folder / "bert")
    library.MultiVectorEncoder(str(folder / "bert")).save_pretrained(str(folder / "saved"))
    return folder / "saved"


@pytest.fixture(scope="module")
def m3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in BGE-M3's layout: a network, and the linear layers of two more heads."""
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    import torch
    import transformers

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("m3")
    tokenizer(folder)
    transformers.BertModel(config(transformers)).save_pretrained(folder)
    torch.save(torch.nn.Linear(16, 1).state_dict(), folder / "sparse_linear.pt")
    torch.save(torch.nn.Linear(16, 8).state_dict(), folder / "colbert_linear.pt")
    return folder


def rank(provider: str, folder: Path, tmp_path: Path) -> tuple[Run, RetrievalStats]:
    model = ModelConfig.model_validate(
        {"name": "tiny", "provider": provider, "model": str(folder), "batch_size": 3}
    )
    return retrieve(model, DATA, list(DATA.queries), cache=tmp_path / "cache")


def scores(run: Run, query_id: str) -> dict[str, float]:
    return {place.doc_id: place.score for place in run.rankings[query_id]}


def test_a_sparse_encoder_scores_by_the_product_of_weights(splade: Path, tmp_path: Path) -> None:
    import sentence_transformers as library

    run, stats = rank("splade", splade, tmp_path)

    network = library.SparseEncoder(str(splade))
    documents = network.encode_document(list(TEXTS.values())).to_dense().numpy()
    query = network.encode_query("otter river").to_dense().numpy()
    expected = dict(zip(TEXTS, (documents @ query).tolist(), strict=True))
    assert scores(run, "q1") == pytest.approx(expected, rel=1e-4)
    assert stats.embedded == 6
    assert stats.bytes_per_vector


@pytest.mark.parametrize("provider", ["splade", "colbert"])
def test_a_check_tries_models_that_make_no_vectors(
    provider: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = request.getfixturevalue(provider)
    model = ModelConfig.model_validate({"name": "m", "provider": provider, "model": str(folder)})

    row = try_model(model, lambda: None, Means(tmp_path, tmp_path / "cache", timeout_s=60.0))

    assert (row.kind, row.outcome) == (provider, "ok")
    assert row.latency_ms


def test_late_interaction_scores_by_maxsim(colbert: Path, tmp_path: Path) -> None:
    import sentence_transformers as library

    run, stats = rank("colbert", colbert, tmp_path)

    network = library.MultiVectorEncoder(str(colbert))
    query = network.encode_query("otter river")
    documents = network.encode_document(list(TEXTS.values()))
    expected = dict(zip(TEXTS, network.similarity([query], documents)[0].tolist(), strict=True))
    assert scores(run, "q1") == pytest.approx(expected, rel=1e-4)
    assert stats.dimension == documents[0].shape[1]
    assert len(stats.latency_ms) == 2


@pytest.mark.parametrize("provider", ["splade", "colbert"])
def test_the_heads_of_bge_m3_score_as_its_authors_define(
    provider: str, m3: Path, tmp_path: Path
) -> None:
    import torch
    import transformers

    run, _ = rank(provider, m3, tmp_path)

    network = transformers.AutoModel.from_pretrained(m3).eval()
    words = transformers.AutoTokenizer.from_pretrained(m3)
    linear = torch.load(m3 / ("sparse_linear.pt" if provider == "splade" else "colbert_linear.pt"))

    def heads(text: str) -> Any:
        tokens = words(text, return_tensors="pt")
        with torch.no_grad():
            states = network(**tokens).last_hidden_state[0]
            return tokens["input_ids"][0].tolist(), states @ linear["weight"].T + linear["bias"]

    def lexical(text: str) -> dict[int, float]:
        weights: dict[int, float] = {}
        for word, weight in zip(*heads(text), strict=True):
            if word > 4:  # none of the marks
                weights[word] = max(weights.get(word, 0.0), float(torch.relu(weight)))
        return weights

    def vectors(text: str) -> Any:
        return torch.nn.functional.normalize(heads(text)[1][1:], dim=-1)

    for text_id, text in TEXTS.items():
        if provider == "splade":
            query, document = lexical("otter river"), lexical(text)
            expected = sum(query[word] * document.get(word, 0.0) for word in query)
        else:
            products = vectors("otter river") @ vectors(text).T
            expected = float(products.max(dim=1).values.sum())
        assert scores(run, "q1").get(text_id, 0.0) == pytest.approx(expected, abs=1e-4)


def test_a_second_run_encodes_nothing_and_does_not_load_the_model(
    splade: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sentence_transformers as library

    first, _ = rank("splade", splade, tmp_path)
    monkeypatch.setattr(library, "SparseEncoder", None)  # would fail if it were called
    second, stats = rank("splade", splade, tmp_path)

    assert second.rankings == first.rankings
    assert stats.embedded == 0
    assert len(stats.latency_ms) == 2, "as measured by the first run"


def test_results_do_not_depend_on_how_many_documents_are_searched_at_once(
    colbert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = rank("colbert", colbert, tmp_path)
    monkeypatch.setattr(tokens, "_BLOCK", 1)
    monkeypatch.setattr(tokens, "_ENCODED", 1)
    parts, _ = rank("colbert", colbert, tmp_path)

    for query_id in DATA.queries:
        assert scores(parts, query_id) == pytest.approx(scores(whole, query_id), rel=1e-5)


matrices = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.just(3)), elements=st.floats(-1, 1, width=16)
)


@given(st.lists(matrices, min_size=1, max_size=5), matrices)
def test_maxsim_is_that_of_its_definition(documents: list[Any], query: Any) -> None:
    found = LateBlock(documents).scores(query)

    for document, score in zip(documents, found, strict=True):
        if len(document) and len(query):
            expected = sum(max(float(q @ d) for d in document) for q in query) + 2 * len(query)
            assert score == pytest.approx(expected, abs=1e-4)
        else:
            assert score == 0


def test_a_query_with_words_that_no_document_has_finds_nothing() -> None:
    block = SparseBlock([np.array([[3, 0.5]], np.float32), np.empty((0, 2), np.float32)])

    assert block.scores(np.array([[9, 1.0], [2, 1.0]], np.float32)).tolist() == [0, 0]
    assert block.scores(np.array([[3, 2.0], [9, 1.0]], np.float32)).tolist() == [1, 0]


def test_a_file_that_is_no_store_is_named_with_the_remedy(tmp_path: Path) -> None:
    with TokenStore(tmp_path, {"model": "m"}, "query") as store:
        path = store.path
    path.write_bytes(b"not a database, but long enough" * 50)

    with pytest.raises(DataError, match="delete it, and its texts will be encoded again"):
        TokenStore(tmp_path, {"model": "m"}, "query").missing(["text"])


def test_a_folder_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    (tmp_path / "m").mkdir()

    with pytest.raises(UsageError, match=r"tiny: .* cannot be loaded"):
        rank("splade", tmp_path / "m", tmp_path)


@pytest.mark.parametrize(
    "garbage",
    [
        [],
        [np.ones((2, 3), np.float32)] * 5,
        [np.ones(3, np.float32)] * 4,
        [np.ones((2, 0), np.float32)] * 4,
        [np.full((2, 3), np.nan, np.float32)] * 4,
        [np.ones((2, 3), np.float32), np.ones((2, 4), np.float32)] * 2,
    ],
)
def test_vectors_that_are_none_are_refused_and_not_kept(
    garbage: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = TokenModel({"model": "broken"}, lambda: lambda texts, role: garbage)
    monkeypatch.setattr(tokens, "open_token_model", lambda model: broken)

    with pytest.raises(ApiError, match="tiny: "):
        rank("colbert", tmp_path, tmp_path)

    with TokenStore(tmp_path / "cache", broken.settings, "document") as store:
        assert len(store.missing(list(TEXTS.values()))) == len(TEXTS)


def test_documents_without_any_word_are_found_by_no_query() -> None:
    nothing = np.empty((0, 2), np.float32)

    assert SparseBlock([nothing, nothing]).scores(nothing).tolist() == [0, 0]
    assert LateBlock([nothing, nothing]).scores(nothing).tolist() == [0, 0]


def test_settings_of_one_vector_mean_nothing_to_them() -> None:
    with pytest.raises(ValueError, match="precision is for models that make vectors"):
        ModelConfig.model_validate({"name": "m", "provider": "colbert", "precision": "int8"})
