"""Rerankers of Sentence Transformers, with a network of random weights."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest
from together import TORCH

from arena.config import ModelConfig
from arena.errors import ApiError, ArenaError, UsageError
from arena.records import Dataset, Document, Query, RetrievalStats, Run, ScoredDoc
from arena.retrieval.retrieve import retrieve

pytestmark = [
    TORCH,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    # Looked for, not imported: a worker that runs none of these tests need not pay for torch.
    pytest.mark.skipif(
        importlib.util.find_spec("sentence_transformers") is None,
        reason="needs sentence-transformers",
    ),
]

WORDS = "cats dogs purr bark at night loudly and what do they say"
TEXTS = ["cats purr", "dogs bark loudly", "cats and dogs at night", "they say"]
DATASET = Dataset(
    "tiny",
    {f"d{i}": Document(f"d{i}", text) for i, text in enumerate(TEXTS)},
    {"q0": Query("q0", "what do cats say"), "q1": Query("q1", "what do dogs do at night")},
    {},
)
BASE = Run(
    "tiny", "bm25", {q: tuple(ScoredDoc(f"d{i}", 4.0 - i) for i in range(4)) for q in ("q0", "q1")}
)


def build(folder: Path, *, n_labels: int = 1) -> Path:
    """Write a tiny BERT with a head for pairs."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    folder.mkdir()
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]))
    BertTokenizer(str(vocabulary), model_max_length=32).save_pretrained(folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=n_labels,
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("models") / "tiny")


def rank(folder: Path, tmp_path: Path) -> tuple[Run, RetrievalStats]:
    model = ModelConfig(name="again", rerank="cross-encoder", base="bm25", model=str(folder))
    return retrieve(model, DATASET, ["q0", "q1"], cache=tmp_path / "cache", bases=[BASE])


def test_scores_are_those_of_the_network_itself(network: Path, tmp_path: Path) -> None:
    from sentence_transformers import CrossEncoder

    run, stats = rank(network, tmp_path)

    pairs = [("what do cats say", text) for text in TEXTS]
    expected = dict(zip(DATASET.corpus, CrossEncoder(str(network)).predict(pairs), strict=True))
    found = {place.doc_id: place.score for place in run.rankings["q0"]}
    assert found == pytest.approx(expected, abs=1e-5)
    assert list(found) == sorted(expected, key=lambda doc_id: -expected[doc_id])
    assert (len(stats.latency_ms), stats.embedded, stats.tokens) == (2, 8, None)


def test_cached_scores_need_no_network(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = rank(network, tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("weights were loaded")

    monkeypatch.setattr("sentence_transformers.CrossEncoder.__init__", fail)
    second, stats = rank(network, tmp_path)

    assert second == first
    assert stats.embedded == 0


def test_other_weights_in_the_same_folder_make_other_scores(network: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(network, folder)
    _, first = rank(folder, tmp_path)
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(bytes(raw))

    _, second = rank(folder, tmp_path)

    assert (first.embedded, second.embedded) == (8, 8)


def test_network_with_several_outputs_is_no_reranker(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"again: .* gives 3 numbers for a query and a passage"):
        rank(build(tmp_path / "three", n_labels=3), tmp_path)


def test_network_that_gives_no_number_is_an_error(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = build(tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ApiError, match="a score is NaN or infinite"):
        rank(folder, tmp_path)


def test_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(ArenaError, match=r"again: .*empty"):
        rank(tmp_path / "empty", tmp_path)
