"""Open the embedder of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from arena.config import ModelConfig
from arena.embedding.api import ApiEmbedder
from arena.embedding.embedder import Embedder
from arena.embedding.providers import PRESETS
from arena.endpoint.attempts import Retry
from arena.records import Document


@contextmanager
def open_embedder(
    model: ModelConfig, corpus: Mapping[str, Document], *, retry: Retry | None = None
) -> Iterator[Embedder]:
    """Open the embedder of a model whose provider makes vectors.

    Args:
        model: its provider decides which.
        corpus: for the embedders that are fitted on it.
        retry: how patient an endpoint is asked; as ever if absent.

    Raises:
        ApiError: the endpoint's address or key is missing.
        UsageError: a local model cannot be loaded.
    """
    if model.provider in PRESETS:
        with ApiEmbedder(model, retry=retry) as embedder:
            yield embedder
    else:
        from arena.embedding.local.embedder import local_embedder  # noqa: PLC0415

        with closing(local_embedder(model, corpus)) as local:
            yield local
