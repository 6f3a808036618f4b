"""Embed on this machine with models that are loaded at their first use."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final

from arena.config import ModelConfig
from arena.data.corpus import corpus_hash
from arena.embedding.embedder import Embedding
from arena.embedding.local.base import Encode, Encoded, LocalModel, prompt_settings, with_prompts
from arena.embedding.local.bundled import open_minilm, open_wordllama
from arena.embedding.local.lsa import LSA_DIMENSIONS, fit_lsa
from arena.embedding.local.model2vec import open_model2vec
from arena.embedding.local.onnx import open_onnx
from arena.embedding.local.sentence_transformers import open_sentence_transformers
from arena.embedding.prompts import Prompts
from arena.errors import UsageError
from arena.records import Document, Role

_log = logging.getLogger(__name__)

_OPEN: Final[Mapping[str | None, Callable[[ModelConfig], LocalModel]]] = {
    "sentence-transformers": open_sentence_transformers,
    "model2vec": open_model2vec,
    "onnx": open_onnx,
    "wordllama": open_wordllama,
    "minilm": open_minilm,
}


def local_embedder(model: ModelConfig, corpus: Mapping[str, Document]) -> LocalEmbedder:
    """Return the embedder of a local model.

    Its weights are read, or ``lsa`` is fitted, when there is a text to embed. If the cache has
    every text, they never are. Its reported times exclude the loading.

    Args:
        model: its provider decides which.
        corpus: what ``lsa`` is fitted on.

    Raises:
        DataError: a file of the model is not what it should be.
        UsageError: a package or the model is missing.
    """
    if model.provider == "lsa":
        return LocalEmbedder(model, _open_lsa(model, corpus))
    if model.provider not in _OPEN:
        raise UsageError(f"{model.name}: provider {model.provider} does not embed locally")
    local = _OPEN[model.provider](model)
    if model.dimensions is not None and not local.may_be_cut:
        _log.warning(
            "%s: does not say that it was trained to be cut to %d dimensions: it may lose much",
            model.name,
            model.dimensions,
        )
    return LocalEmbedder(model, local)


class LocalEmbedder:
    """A local model as an `arena.embedding.embedder.Embedder`; its vectors are whole."""

    def __init__(self, model: ModelConfig, local: LocalModel) -> None:
        self._name = model.name
        self._load = local.load
        self.n_cut: Counter[Role] = Counter()
        self.settings: Mapping[str, object] = {"provider": model.provider, **local.settings}

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        """Return one vector for each text, in order; the first call loads the model.

        Raises:
            UsageError: the model cannot be loaded.
        """
        encode = self._encode
        started = time.perf_counter()
        encoded = encode(texts, role)
        seconds = time.perf_counter() - started
        self.n_cut[role] += encoded.n_cut
        return Embedding(encoded.vectors, tokens=None, seconds=seconds)

    def close(self) -> None:
        """Report how many texts were longer than the model reads."""
        for role, n_cut in self.n_cut.items():
            if n_cut:
                noun = "queries" if role == "query" else "documents"
                _log.warning(
                    "%s: %s %s were longer than the model reads, and were embedded without their "
                    "ends",
                    self._name,
                    f"{n_cut:,}",
                    noun,
                )

    @cached_property
    def _encode(self) -> Encode:
        return self._load()


def _open_lsa(model: ModelConfig, corpus: Mapping[str, Document]) -> LocalModel:
    """Open latent semantic analysis, fitted on the corpus: see `arena.embedding.local.lsa`."""
    dimensions = model.dimensions or LSA_DIMENSIONS
    prompts = Prompts(model.query_prefix or "", model.document_prefix or "")

    def load() -> Encode:
        # In order of doc_id, so that a corpus in another order gives the same vectors to the bit.
        texts = [f"{document.title} {document.text}" for _, document in sorted(corpus.items())]
        space = fit_lsa(texts, dimensions)
        if space is None:
            raise UsageError(
                f"{model.name}: lsa is fitted on the corpus, and this corpus has no words"
            )
        return with_prompts(prompts, lambda given: Encoded(space.encode(given)))

    settings = {"dimensions": dimensions, "corpus": corpus_hash(corpus)}
    return LocalModel({**settings, **prompt_settings(prompts)}, load)
