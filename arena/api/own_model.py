"""Rank by a function or an object of the user's: an encoder, or a search of its own."""

from __future__ import annotations

import inspect
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from arena.api.user_loop import waited_for
from arena.embedding.embedder import Embedding
from arena.errors import UsageError
from arena.records import Dataset, RetrievalStats, Role
from arena.retrieval.dense import rank_by_vectors
from arena.retrieval.job import RankingJob, Rankings

Encode = Callable[[list[str]], Any]
"""Texts → one vector for each: an array, a list of lists, or a tensor; or an awaitable of that."""

Search = Callable[[str, int], Any]
"""A query's text and a number k → at most k doc_ids, or (doc_id, score) pairs, best first; or an
awaitable of that."""

Returns = Literal["vectors", "doc_ids"]

_TEXTS_PER_CALL: Final = 1024


class Encoder(Protocol):
    """An object that encodes texts, such as a SentenceTransformer."""

    @property
    def encode(self) -> Callable[..., Any]:
        """Return the function of texts to vectors."""


def encoders_of(model: object) -> tuple[Encode, Encode] | None:
    """Return what encodes documents and queries, of an object such as a SentenceTransformer.

    Its ``encode_document`` and ``encode_query`` come first, because they know the prompts of a
    model; then ``encode``. None if it has none of these.
    """
    if isinstance(model, str | type):
        return None
    encode = getattr(model, "encode", None)
    documents = getattr(model, "encode_document", encode)
    queries = getattr(model, "encode_query", encode)
    return (documents, queries) if callable(documents) and callable(queries) else None


def is_async(function: object) -> bool:
    """Return whether calls of a function, or of an object, return a coroutine."""
    called = getattr(function, "__call__", None)  # noqa: B004 - of an object that is called
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def name_of_model(function: object) -> str:
    """Return the name of a model that the user does not name."""
    name = getattr(function, "__name__", type(function).__name__)
    return "model" if name == "<lambda>" else name.strip("_") or "model"


class _FunctionEmbedder:
    """A function of the user's as an embedder; what it returns is checked, not trusted."""

    settings: Mapping[str, object] = {}

    def __init__(self, name: str, encode: Encode, encode_queries: Encode | None) -> None:
        self._name = name
        self._encode: dict[Role, Encode] = {"document": encode, "query": encode_queries or encode}

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        began = time.perf_counter()
        parts = [
            _vectors(waited_for(self._encode[role](batch)), len(batch), self._name)
            for start in range(0, len(texts), _TEXTS_PER_CALL)
            if (batch := [texts[i] for i in range(start, min(start + _TEXTS_PER_CALL, len(texts)))])
        ]
        if len({part.shape[1] for part in parts}) > 1:
            raise UsageError(f"{self._name}: vectors of one call have another length than others")
        vectors = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
        return Embedding(vectors, None, time.perf_counter() - began)


def rank_by_callable(
    function: Callable[..., Any],
    called: str,
    data: Dataset,
    returns: Returns | None,
    encode_queries: Encode | None,
) -> Callable[[RankingJob], tuple[Rankings, RetrievalStats]]:
    """Return what ranks by a function of the user's.

    Args:
        function: texts → vectors, or query, k → doc_ids.
        called: the model's name, for errors.
        data: its corpus is searched.
        returns: what the function returns; by its arguments if absent.
        encode_queries: encodes queries, where another function encodes them than documents.

    Raises:
        UsageError: the options do not fit the function.
    """
    if returns not in (None, "vectors", "doc_ids"):
        raise UsageError(f'returns is {returns!r}; expected "vectors" or "doc_ids"')
    if (returns or returned_by(function)) == "doc_ids":
        if encode_queries is not None:
            raise UsageError(f"{called}: encode_queries is for a callable that returns vectors")
        return lambda job: _rank_by_search(job, cast("Search", function), called, data)

    def rank(job: RankingJob) -> tuple[Rankings, RetrievalStats]:
        with tempfile.TemporaryDirectory() as folder:
            embedder = _FunctionEmbedder(called, function, encode_queries)
            return rank_by_vectors(job, embedder, cache=Path(folder))

    return rank


def returned_by(function: Callable[..., Any]) -> Returns:
    """Return what a function returns, by the number of its required arguments."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "vectors"  # written in C, say: it tells nothing of its arguments
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return "doc_ids" if len(required) > 1 else "vectors"


def _rank_by_search(
    job: RankingJob, search: Search, name: str, data: Dataset
) -> tuple[Rankings, RetrievalStats]:
    rankings: Rankings = {}
    latency_ms = []
    for number, (query_id, text) in enumerate(job.queries.items(), start=1):
        began = time.perf_counter()
        answer = waited_for(search(text, job.depth))
        latency_ms.append((time.perf_counter() - began) * 1000)
        rankings[query_id] = ranking_of(answer, data, f"{name}: query {query_id!r}")[: job.depth]
        job.searched(number)
    return rankings, RetrievalStats(tuple(latency_ms))


def ranking_of(answer: Any, data: Dataset, where: str) -> list[tuple[str, float]]:
    """Return a ranking that a user's code gives, best first.

    Args:
        answer: doc_ids, a dict of doc_id → score, or (doc_id, score) pairs.
        data: has the documents.
        where: what errors name.

    Raises:
        UsageError: it is none of these, or about an unknown document.
    """
    expected = "expected doc_ids, or (doc_id, score) pairs, best first"
    if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        raise UsageError(f"{where}: got {type(answer).__name__}; {expected}")
    entries = answer.items() if isinstance(answer, Mapping) else answer
    ranking: dict[str, float] = {}
    for rank, entry in enumerate(entries, start=1):
        is_pair = isinstance(entry, tuple | list) and len(entry) == 2
        doc_id, score = entry if is_pair else (entry, 1 / rank)
        doc_id = str(doc_id)
        if doc_id not in data.corpus:
            raise UsageError(f"{where}: unknown document {doc_id[:80]!r}; {expected}")
        if doc_id in ranking:
            raise UsageError(f"{where}: document {doc_id!r} occurs twice")
        try:
            ranking[doc_id] = float(score)
        except (TypeError, ValueError):
            raise UsageError(f"{where}: score {score!r:.80}; {expected}") from None
        if not np.isfinite(ranking[doc_id]):
            raise UsageError(f"{where}: the score of document {doc_id!r} is {score!r}")
    return sorted(ranking.items(), key=lambda pair: -pair[1])


def _vectors(answer: Any, n_texts: int, name: str) -> NDArray[np.float32]:
    """Return the vectors that an encoder returned, as (n_texts, dimension)."""
    expected = f"expected an array of {n_texts} vectors, one for each text"
    if isinstance(answer, list | tuple) and answer and isinstance(answer[0], str):
        remedy = 'give returns="doc_ids" for a search: (query, k) → doc_ids'
        raise UsageError(f"{name}: returned texts; {expected}, or {remedy}")
    try:
        if isinstance(answer, list | tuple):
            vectors = np.array([_array(vector) for vector in answer], dtype=np.float32)
        else:
            vectors = np.asarray(_array(answer), dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name}: cannot be read as vectors ({error}); {expected}") from None
    if vectors.ndim != 2 or len(vectors) != n_texts or not vectors.shape[1]:
        shape = " × ".join(map(str, vectors.shape)) or "a single number"
        raise UsageError(f"{name}: returned {shape}; {expected}")
    return vectors


def _array(tensor: Any) -> Any:
    """Convert a tensor to what numpy reads: off its graph and device, in single precision."""
    if hasattr(tensor, "detach") and hasattr(tensor, "cpu"):
        return tensor.detach().cpu().float().numpy()
    return tensor
