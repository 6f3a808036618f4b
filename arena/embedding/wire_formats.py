"""Write the requests and read the replies of embeddings APIs: OpenAI's format, and others.

Each function implements one documented API; `arena.embedding.providers` lists who uses which.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from arena.json_text import token_count
from arena.terminal import one_line

Fields = Mapping[str, Any]
"""What goes into a request beside the model and the texts."""


class BadReplyError(ValueError):
    """A reply that does not hold the vectors that were asked for.

    ``place`` tells of which text, counted from 0, where it is about one.
    """

    def __init__(self, what: str, place: int | None = None) -> None:
        self.place = place
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class EmbeddingReply:
    """What was read in a reply."""

    vectors: Sequence[object]  #: as they came, but in the texts' order
    tokens: int | None  #: billed; None if the reply does not say
    cut: BadReplyError | None = None  #: that a text was cut short unasked


@dataclass(frozen=True, slots=True)
class WireFormat:
    """The shape of an API's requests and replies."""

    ask: Callable[[str, Sequence[str], Fields], tuple[str, dict[str, Any]]]
    """Model, texts and fields to the path under base_url and the body."""
    read: Callable[[Mapping[str, Any]], EmbeddingReply]
    """The reply's body to vectors; a `BadReplyError` where it has none."""
    in_v1: bool = True
    """Whether its paths lie in ``/v1``, as base_url ends for OpenAI's own."""


def _ask_openai(model: str, texts: Sequence[str], fields: Fields) -> tuple[str, dict[str, Any]]:
    return "/embeddings", {"model": model, "input": list(texts), **fields}


def _read_openai(reply: Mapping[str, Any]) -> EmbeddingReply:
    items = _dicts(reply.get("data"))
    indexes = [item.get("index", index) for index, item in enumerate(items)]
    if sorted(map(str, indexes)) != sorted(map(str, range(len(items)))):
        raise BadReplyError(f"vectors indexed {indexes[:5]}… for texts 0 to {len(items) - 1}")
    vectors: list[object] = [None] * len(items)
    for index, item in zip(indexes, items, strict=True):
        vectors[int(index)] = item.get("embedding")
    return EmbeddingReply(vectors, _count(reply.get("usage"), "total_tokens", "prompt_tokens"))


def _ask_cohere(model: str, texts: Sequence[str], fields: Fields) -> tuple[str, dict[str, Any]]:
    body = {"model": model, "texts": list(texts), "embedding_types": ["float"]}
    return "/v2/embed", {**body, **fields}


def _read_cohere(reply: Mapping[str, Any]) -> EmbeddingReply:
    meta = reply.get("meta")
    said = str(_inside(meta, "warnings") or "")
    cut = BadReplyError(f"a text was cut short: {one_line(said)}") if "truncat" in said else None
    vectors = _list(_inside(reply.get("embeddings"), "float"))
    return EmbeddingReply(vectors, _count(_inside(meta, "billed_units"), "input_tokens"), cut)


def _ask_gemini(model: str, texts: Sequence[str], fields: Fields) -> tuple[str, dict[str, Any]]:
    name = "models/" + model.removeprefix("models/")
    requests = [{"model": name, "content": {"parts": [{"text": t}]}, **fields} for t in texts]
    return f"/{name}:batchEmbedContents", {"requests": requests}


def _read_gemini(reply: Mapping[str, Any]) -> EmbeddingReply:
    items = _dicts(reply.get("embeddings"))
    # Only Google's cloud platform says so as yet, in this place of the same reply.
    cut = [i for i, item in enumerate(items) if _inside(item.get("statistics"), "truncated")]
    return EmbeddingReply(
        [item.get("values") for item in items],
        _count(reply.get("usageMetadata"), "promptTokenCount"),
        BadReplyError(f"text {cut[0]} was cut short before it was embedded", cut[0])
        if cut
        else None,
    )


def _ask_ollama(model: str, texts: Sequence[str], fields: Fields) -> tuple[str, dict[str, Any]]:
    return "/api/embed", {"model": model, "input": list(texts), **fields}


def _read_ollama(reply: Mapping[str, Any]) -> EmbeddingReply:
    return EmbeddingReply(_list(reply.get("embeddings")), _count(reply, "prompt_eval_count"))


def _ask_tei(model: str, texts: Sequence[str], fields: Fields) -> tuple[str, dict[str, Any]]:  # noqa: ARG001
    return "/embed", {"inputs": list(texts), **fields}


def _read_tei(reply: Mapping[str, Any]) -> EmbeddingReply:
    return EmbeddingReply(_list(reply.get("data")), None)


OPENAI: Final = WireFormat(_ask_openai, _read_openai)
COHERE: Final = WireFormat(_ask_cohere, _read_cohere)
GEMINI: Final = WireFormat(_ask_gemini, _read_gemini)
OLLAMA: Final = WireFormat(_ask_ollama, _read_ollama, in_v1=False)
TEI: Final = WireFormat(_ask_tei, _read_tei, in_v1=False)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise BadReplyError("a reply without a list of vectors")
    return value


def _dicts(value: object) -> list[dict[str, Any]]:
    items = _list(value)
    dicts = [item for item in items if isinstance(item, dict)]
    if len(dicts) != len(items):
        raise BadReplyError("a reply without a list of vectors")
    return dicts


def _inside(value: object, name: str) -> Any:
    """Return a member of an object; None if it is no object, or has no such member."""
    return value.get(name) if isinstance(value, dict) else None


def _count(value: object, *names: str) -> int | None:
    """Return the first of these counts that an object has; None if it has none."""
    counts = (token_count(_inside(value, name)) for name in names)
    return next((count for count in counts if count is not None), None)


def stack_vectors(raw: Sequence[object], n_texts: int) -> NDArray[np.float32]:
    """Return the vectors as an array ``(n_texts, dim)``.

    Args:
        raw: vectors in the texts' order: lists of numbers, or little-endian float32 in base64.
        n_texts: how many there must be.

    Raises:
        BadReplyError: there are more or fewer vectors than texts, or they differ in length; or a
            vector is unreadable, holds NaN or an infinity, or is all zeros. It says which.
    """
    if len(raw) != n_texts:
        raise BadReplyError(f"{len(raw)} vectors for {n_texts} texts; try batch_size = 1")
    vectors = [_vector(item, place) for place, item in enumerate(raw)]
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        raise BadReplyError(f"vectors of different lengths, {min(lengths)} and {max(lengths)}")
    return np.stack(vectors)


def _vector(raw: object, index: int) -> NDArray[np.float32]:
    try:
        if isinstance(raw, str):
            vector = np.frombuffer(base64.b64decode(raw, validate=True), "<f4")
        else:
            with np.errstate(over="ignore"):
                vector = np.array(raw, np.float32)
    except (binascii.Error, OverflowError, TypeError, ValueError):
        raise BadReplyError(f"vector {index} is unreadable", index) from None
    if vector.ndim != 1 or not vector.size:
        raise BadReplyError(f"vector {index} is unreadable", index)
    if not np.isfinite(vector).all():
        raise BadReplyError(f"vector {index} holds NaN or an infinity", index)
    if not vector.any():
        raise BadReplyError(f"vector {index} is all zeros", index)
    return vector
