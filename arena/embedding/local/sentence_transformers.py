"""Open any model of Sentence Transformers (arXiv:1908.10084), on the GPU if there is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from arena.config import ModelConfig
from arena.embedding.local.base import (
    Encode,
    Encoded,
    LocalModel,
    check_installed,
    needed_package,
    prompt_settings,
)
from arena.embedding.local.model_files import (
    ModelFiles,
    find_model,
    own_prompts,
    trained_short,
    unloadable,
)
from arena.embedding.prompts import Prompts
from arena.records import Role

_EXTRA: Final = "local"
_SPECIAL_TOKENS: Final = 8
"""More than any model puts around a text, so that a shorter one need not be counted."""


def open_sentence_transformers(model: ModelConfig) -> LocalModel:
    """Open a model by its folder, or by its name on the Hugging Face hub.

    The model's own files tell queries from documents: by prompts, and by routes if it has them.
    Code that comes with a model is not run.

    Raises:
        UsageError: the package is not installed, or there is no such model.
    """
    check_installed(model, "sentence_transformers", extra=_EXTRA)
    files = find_model(model, extra=_EXTRA)
    prompts = own_prompts(model, files.sentence_config)
    settings = {
        "model": files.short_name,
        "files": files.identity,
        # Their defaults (the precision of weights, what is cut) change with these numbers.
        "sentence-transformers": _major("sentence-transformers"),
        "transformers": _major("transformers"),
        **prompt_settings(prompts),
    }
    load = partial(_load, model, files, prompts)
    return LocalModel(settings, load, may_be_cut=trained_short(files.config))


def _load(model: ModelConfig, files: ModelFiles, prompts: Prompts) -> Encode:
    library = needed_package(model, "sentence_transformers", extra=_EXTRA)
    try:
        with without_bar(model):
            network = library.SentenceTransformer(files.name, revision=files.commit)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise unloadable(model, files.name, error) from None

    def encode(texts: Sequence[str], role: Role) -> Encoded:
        # Before version 5 there were no such methods, and no models with a route for each role.
        by_role = getattr(network, f"encode_{role}", network.encode)
        prompt = prompts.query if role == "query" else prompts.document
        vectors = by_role(
            list(texts), prompt=prompt, batch_size=model.batch_size, show_progress_bar=False
        )
        shape = (len(texts), -1) if texts else (0, 0)
        n_cut = _count_cut(network, [prompt + text for text in texts])
        return Encoded(np.asarray(vectors, np.float32).reshape(shape), n_cut)

    return encode


def _count_cut(network: Any, texts: Sequence[str]) -> int:
    """Return how many texts exceed the model's tokens; the library cuts them silently."""
    limit = network.max_seq_length
    if limit is None or not np.isfinite(limit):
        return 0
    # A token has a byte at least, so that most texts are known to be short enough.
    long = [text for text in texts if len(text.encode(errors="replace")) + _SPECIAL_TOKENS > limit]
    if not long or not callable(network.tokenizer):
        return 0
    ids = network.tokenizer(long, truncation=False, verbose=False)["input_ids"]
    return sum(len(tokens) > limit for tokens in ids)


@contextmanager
def without_bar(model: ModelConfig) -> Iterator[None]:
    """Load weights without the library's bar, which would overwrite arena's own."""
    bars = needed_package(model, "transformers.utils.logging", extra=_EXTRA)
    was_enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            bars.enable_progress_bar()


def _major(package: str) -> str:
    return version(package).partition(".")[0]
