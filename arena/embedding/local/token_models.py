"""Open models that give a text several weights or vectors: sparse encoders, and late interaction.

A sparse encoder (SPLADE, arXiv:2107.05720) gives a text a weight for some words of a vocabulary. A
model of late interaction (ColBERT, arXiv:2004.12832) gives it a vector for each of its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from arena.config import ModelConfig
from arena.embedding.local.base import check_installed, needed_package, prompt_settings
from arena.embedding.local.model_files import (
    ModelFiles,
    find_model,
    find_part,
    own_prompts,
    unloadable,
)
from arena.embedding.local.sentence_transformers import without_bar
from arena.embedding.prompts import Prompts
from arena.errors import UsageError
from arena.records import Role

TokenVectors = NDArray[np.float32]
"""Of one text: (n_words, 2) with a word's number and its weight, or (n_tokens, dim)."""

EncodeTokens = Callable[[Sequence[str], Role], list[TokenVectors]]

_EXTRA: Final = "local"
_CLASSES: Final = {"splade": "SparseEncoder", "colbert": "MultiVectorEncoder"}
_M3_PARTS: Final = {"splade": "sparse_linear.pt", "colbert": "colbert_linear.pt"}
"""The files of BGE-M3's two other heads (arXiv:2402.03216)."""

_MOST_NUMBERED: Final = 2**24
"""Words of a vocabulary that single precision numbers exactly."""


@dataclass(frozen=True, slots=True)
class TokenModel:
    """A model that is known, and not loaded before there is something to encode."""

    settings: Mapping[str, object]  #: everything that could change what it gives
    load: Callable[[], EncodeTokens]  #: reads the weights; raises UsageError if unusable


def open_token_model(model: ModelConfig) -> TokenModel:
    """Open a sparse encoder or a model of late interaction, by its folder or name on the hub.

    A model with the files of BGE-M3's heads is read as BGE-M3; any other one by Sentence
    Transformers. Code that comes with a model is not run.

    Raises:
        UsageError: a package is not installed, or too old, or there is no such model.
    """
    kind = str(model.provider)
    check_installed(model, "sentence_transformers", extra=_EXTRA)
    files = find_model(model, extra=_EXTRA)
    head = find_part(model, files, _M3_PARTS[kind], extra=_EXTRA)
    prompts = own_prompts(model, files.sentence_config)
    settings = {
        "provider": kind,
        "model": files.short_name,
        "files": files.identity,
        "transformers": version("transformers").partition(".")[0],
        **prompt_settings(prompts),
        # An empty prefix of the arena.toml leaves out the model's own mark of a role.
        "query_stated": model.query_prefix is not None,
        "document_stated": model.document_prefix is not None,
    }
    if head is None:
        settings["sentence-transformers"] = version("sentence-transformers").partition(".")[0]
        return TokenModel(settings, partial(_load, model, files, prompts))
    return TokenModel(
        {**settings, "head": "bge-m3"}, partial(_load_m3, model, files, head, prompts)
    )


def _load(model: ModelConfig, files: ModelFiles, prompts: Prompts) -> EncodeTokens:
    library = needed_package(model, "sentence_transformers", extra=_EXTRA)
    name = _CLASSES[str(model.provider)]
    if not hasattr(library, name):
        raise UsageError(
            f"{model.name}: provider {model.provider} needs a newer sentence-transformers than "
            f"{version('sentence-transformers')}; pip install --upgrade sentence-transformers"
        )
    try:
        with without_bar(model):
            network = getattr(library, name)(files.name, revision=files.commit)
    except (OSError, ValueError, RuntimeError, ImportError, KeyError) as error:
        raise unloadable(model, files.name, error) from None

    def encode(texts: Sequence[str], role: Role) -> list[TokenVectors]:
        prompt = prompts.query if role == "query" else prompts.document
        prefix = model.query_prefix if role == "query" else model.document_prefix
        by_role = network.encode_query if role == "query" else network.encode_document
        encoded = by_role(
            list(texts),
            # Without one in the arena.toml the model's own mark of a role stays.
            prompt=prompt if prompt or prefix is not None else None,
            batch_size=model.batch_size,
            show_progress_bar=False,
            **({"convert_to_tensor": False} if model.provider == "splade" else {}),
        )
        return [_array(model, part) for part in encoded]

    return encode


def _array(model: ModelConfig, part: Any) -> TokenVectors:
    if model.provider == "colbert":
        return np.ascontiguousarray(part.detach().cpu().numpy(), np.float32)
    sparse = part.detach().cpu().to_sparse_coo().coalesce()
    return _numbered(model, sparse.indices()[0].numpy(), sparse.values().numpy())


def _numbered(model: ModelConfig, words: NDArray[Any], weights: NDArray[Any]) -> TokenVectors:
    if len(words) and words.max() >= _MOST_NUMBERED:
        raise UsageError(f"{model.name}: its vocabulary has more than {_MOST_NUMBERED:,} words")
    return np.column_stack([words, weights]).astype(np.float32)


def _load_m3(model: ModelConfig, files: ModelFiles, head: Path, prompts: Prompts) -> EncodeTokens:
    """Load BGE-M3 with one of its heads, as its authors' FlagEmbedding computes them."""
    torch = needed_package(model, "torch", extra=_EXTRA)
    transformers = needed_package(model, "transformers", extra=_EXTRA)
    try:
        with without_bar(model):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                files.name, revision=files.commit
            )
            network = transformers.AutoModel.from_pretrained(files.name, revision=files.commit)
        linear = torch.load(head, map_location="cpu", weights_only=True)
        weight, bias = linear["weight"].float(), linear["bias"].float()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise unloadable(model, files.name, error) from None
    network.eval()
    special = set(tokenizer.all_special_ids)
    longest = min(int(tokenizer.model_max_length), 8192)

    def encode(texts: Sequence[str], role: Role) -> list[TokenVectors]:
        prompt = prompts.query if role == "query" else prompts.document
        encoded: list[TokenVectors] = []
        for first in range(0, len(texts), model.batch_size):
            batch = [prompt + text for text in texts[first : first + model.batch_size]]
            tokens = tokenizer(
                batch, padding=True, truncation=True, max_length=longest, return_tensors="pt"
            )
            with torch.no_grad():
                states = network(**tokens).last_hidden_state.float()
                heads = states @ weight.T + bias
            for ids, mask, head_states in zip(
                tokens["input_ids"], tokens["attention_mask"], heads, strict=True
            ):
                n_tokens = int(mask.sum())
                if model.provider == "splade":
                    encoded.append(_lexical(model, ids[:n_tokens], head_states[:n_tokens], special))
                else:  # the first token stands for the whole text, which is the dense head's
                    vectors = torch.nn.functional.normalize(head_states[1:n_tokens], dim=-1)
                    encoded.append(np.ascontiguousarray(vectors.numpy(), np.float32))
        return encoded

    return encode


def _lexical(model: ModelConfig, ids: Any, states: Any, special: set[int]) -> TokenVectors:
    """Return the largest positive weight of each token that is none of the model's marks."""
    weights: dict[int, float] = {}
    for token, weight in zip(ids.tolist(), states[:, 0].tolist(), strict=True):
        if token not in special and weight > weights.get(token, 0.0):
            weights[token] = weight
    words = np.array(sorted(weights), np.int64)
    return _numbered(model, words, np.array([weights[word] for word in words.tolist()]))
