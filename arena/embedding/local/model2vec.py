"""Open static models of Model2Vec: a table of token vectors and their mean, without a network."""

from __future__ import annotations

from typing import Final

import numpy as np

from arena.config import ModelConfig
from arena.embedding.local.base import (
    Encode,
    Encoded,
    LocalModel,
    check_installed,
    needed_package,
    prompt_settings,
    with_prompts,
)
from arena.embedding.local.model_files import ModelFiles, find_model, own_prompts, unloadable
from arena.embedding.prompts import Prompts

_EXTRA: Final = "model2vec"


def open_model2vec(model: ModelConfig) -> LocalModel:
    """Open a model by its folder, or by its Hugging Face name (``minishlab/potion-...``).

    Its vectors may be cut: the tables are principal components in order of their variance
    (https://github.com/MinishLab/model2vec).

    Raises:
        UsageError: the package is not installed, or there is no such model.
    """
    check_installed(model, "model2vec", extra=_EXTRA)
    files = find_model(model, extra=_EXTRA)
    prompts = own_prompts(model, files.sentence_config)
    settings = {"model": files.short_name, "files": files.identity, **prompt_settings(prompts)}
    return LocalModel(settings, lambda: _load(model, files, prompts), may_be_cut=True)


def _load(model: ModelConfig, files: ModelFiles, prompts: Prompts) -> Encode:
    library = needed_package(model, "model2vec", extra=_EXTRA)
    try:
        table = library.StaticModel.from_pretrained(files.name, force_download=False)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise unloadable(model, files.name, error) from None

    def encode(texts: list[str]) -> Encoded:
        if not texts:
            return Encoded(np.empty((0, table.dim), np.float32))
        vectors = np.asarray(table.encode(texts), np.float32)
        return Encoded(vectors, sum(map(_is_cut, texts)))

    def _is_cut(text: str) -> bool:
        limit = table.max_length
        if limit is None or len(text) <= limit:
            return False  # a token has a letter at least
        # The library cuts by letters first, at the average length of this many tokens.
        if len(text) > limit * table.median_token_length:
            return True
        return bool(table.tokenizer.encode(text, add_special_tokens=False).overflowing)

    return with_prompts(prompts, encode)
