"""Call the rerank APIs, each as its documentation describes it.

- Cohere: https://docs.cohere.com/reference/rerank
- Jina: https://docs.jina.ai
- Voyage: https://docs.voyageai.com/reference/reranker-api
- Text Embeddings Inference: https://huggingface.github.io/text-embeddings-inference/
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final, Protocol, Self

from arena.config import ModelConfig
from arena.data.run_file import MAX_SCORE
from arena.embedding.local.base import check_installed, needed_package
from arena.embedding.local.model_files import find_model, unloadable
from arena.embedding.local.sentence_transformers import without_bar
from arena.embedding.providers import find_endpoint, served_name
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, ApiReply
from arena.endpoint.coroutines import as_done, new_runner
from arena.errors import ApiError, UsageError
from arena.json_text import token_count
from arena.terminal import one_line

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Form:
    """What a request and a reply of one API look like."""

    path: str
    results: str  #: the reply's list of scores
    score: str = "relevance_score"  #: the field of each of them
    documents: str = "documents"  #: the request's field of passages
    wanted: str | None = None  #: the field that says how many scores are wanted: all
    always: Mapping[str, object] = field(default_factory=dict)  #: fields of every request
    most: int | None = None  #: passages in a request, where that is no matter of price
    one_model: bool = False  #: the server has but one, and is not told which
    listwise: bool = False  #: a passage's score depends on those beside it


_FORMS: Final[Mapping[str, _Form]] = {
    "cohere": _Form("/v2/rerank", "results", wanted="top_n"),
    "jina": _Form(
        "/rerank",
        "results",
        wanted="top_n",
        always={"return_documents": False},
        listwise=True,  # jina-reranker-v3 reads all of them at once: arXiv:2509.25085
    ),
    "voyage": _Form("/rerank", "data", wanted="top_k", always={"truncation": False}),
    "tei": _Form(
        "/rerank",
        "data",
        score="score",
        documents="texts",
        always={"truncate": False},
        most=32,  # --max-client-batch-size, unless the server is started with another one
        one_model=True,
    ),
}


class ApiReranker:
    """A rerank API, used as ``with ApiReranker(model) as reranker:``.

    A hosted API gets all of a query's passages in one request, since that is what it bills, or
    looks at. Where an API can refuse a passage that is too long, it is told to: the score of half
    a passage is worse than an error, and nothing would show it.

    Args:
        model: its ``rerank`` says which API.
        retry: attempts and waits.

    Raises:
        FatalApiError: on entering, if base_url is none or the key's variable holds no key.
    """

    def __init__(self, model: ModelConfig, *, retry: Retry | None = None) -> None:
        self._model = model
        self._form = _FORMS[str(model.rerank)]
        # Whoever reranks embeds too, at the same address and with the same key.
        embedder = model.model_copy(update={"provider": model.rerank})
        self._api = Api(
            find_endpoint(embedder),
            retry=retry,
            on_event=lambda line: _log.warning("%s: %s", model.name, line),
        )
        self._runner = new_runner()

    def __enter__(self) -> Self:
        try:
            self._runner.run(self._api.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._runner.run(self._api.__aexit__(*exception))
        self._runner.close()

    @property
    def settings(self) -> Mapping[str, object]:
        """Return the endpoint, the model, and the fields of each request."""
        return {
            "rerank": self._model.rerank,
            "base_url": self._api.identity,
            "model": served_name(self._model),
            "extra": self._model.query_extra,
        }

    @property
    def listwise(self) -> bool:
        """Return whether a passage's score depends on the passages beside it."""
        return self._form.listwise

    def score(self, requests: Sequence[Candidates], *, alone: bool) -> Iterator[tuple[int, Scores]]:
        """Yield each request's place and its scores as soon as they arrive.

        After a failure nothing new is asked, but what is already on its way is still yielded.

        Raises:
            ApiError: the first failure, at the end.
        """
        pending = ((number, self._score(request)) for number, request in enumerate(requests))
        at_once = 1 if alone else self._model.concurrency
        yield from as_done(self._runner, pending, at_once=at_once)

    async def _score(self, candidates: Candidates) -> Scores:
        """Score one query's passages, in as many requests at once as needed."""
        passages = candidates.passages
        size = min(self._model.batch_size, self._form.most) if self._form.most else len(passages)
        parts = [passages[first : first + size] for first in range(0, len(passages), size)]
        replies = await asyncio.gather(*[self._ask(candidates.query, part) for part in parts])
        scores: list[float] = []
        for part, reply in zip(parts, replies, strict=True):
            try:
                results = reply.body.get(self._form.results)
                scores += read_scores(results, len(part), self._form.score)
            except ValueError as error:
                raise ApiError("garbage", str(error)) from None
        tokens = [_tokens(reply.body) for reply in replies]
        known = [count for count in tokens if count is not None]
        return Scores(
            tuple(scores),
            sum(known) if len(known) == len(tokens) else None,
            max(reply.latency_ms for reply in replies),
        )

    async def _ask(self, query: str, passages: Sequence[str]) -> ApiReply:
        form = self._form
        body: dict[str, Any] = {"query": query, form.documents: list(passages), **form.always}
        if not form.one_model:
            body["model"] = served_name(self._model)
        if form.wanted:
            body[form.wanted] = len(passages)
        return await self._api.post(form.path, body | self._model.query_extra)


def read_scores(results: object, n_passages: int, name: str) -> list[float]:
    """Return the scores in a rerank reply, in the order of the passages.

    Args:
        results: the reply's list, of objects with an ``index`` and a score, in any order.
        n_passages: as many are expected.
        name: of the score's field.

    Raises:
        ValueError: a score is missing, given twice, or no finite number; it says which.
    """
    if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
        raise ValueError("a reply without a list of scores")
    scores: dict[int, float] = {}
    for item in results:
        index, score = item.get("index"), item.get(name)
        if type(index) is not int or not 0 <= index < n_passages:
            shown = one_line(repr(index))
            raise ValueError(f"a score for passage {shown} of {n_passages}, counted from 0")
        if index in scores:
            raise ValueError(f"two scores for passage {index}")
        if type(score) not in (int, float) or not abs(score) <= MAX_SCORE:
            raise ValueError(f"the {name} of passage {index} is {one_line(repr(score))}")
        scores[index] = float(score)
    if missing := [index for index in range(n_passages) if index not in scores]:
        raise ValueError(
            f"no score for {len(missing)} of {n_passages} passages, {missing[0]} first"
        )
    return [scores[index] for index in range(n_passages)]


def _tokens(reply: Mapping[str, Any]) -> int | None:
    """Return the billed tokens of a reply; Cohere bills searches and reports no tokens."""
    usage = reply.get("usage")
    return token_count(usage.get("total_tokens")) if isinstance(usage, dict) else None


_EXTRA: Final = "local"


class CrossEncoderReranker:
    """A model that reads a query and a passage together, and gives one score.

    The library cuts a pair that is longer than the model can read. Weights are loaded when the
    first pair is scored, so a run whose scores are all cached does without.

    Args:
        model: its ``model`` is a folder, or a name on the Hugging Face hub.

    Raises:
        UsageError: the package is not installed, or there is no such model.
    """

    listwise = False

    def __init__(self, model: ModelConfig) -> None:
        check_installed(model, "sentence_transformers", extra=_EXTRA)
        self._model = model
        self._files = find_model(model, extra=_EXTRA)
        self._network: Any = None

    @property
    def settings(self) -> Mapping[str, object]:
        """Return the model, its files, and the library that reads them."""
        return {
            "rerank": "cross-encoder",
            "model": self._files.short_name,
            "files": self._files.identity,
            "sentence-transformers": version("sentence-transformers").partition(".")[0],
        }

    def score(
        self,
        requests: Sequence[Candidates],
        *,
        alone: bool,  # noqa: ARG002  one machine scores one query at a time anyway
    ) -> Iterator[tuple[int, Scores]]:
        """Yield each request's place and its scores.

        Raises:
            ApiError: a score is no finite number.
            UsageError: the model cannot be loaded, or gives a pair more than one number.
        """
        if requests and self._network is None:
            self._network = self._load()
        for number, request in enumerate(requests):
            began = time.perf_counter()
            scores = self._network.predict(
                [(request.query, passage) for passage in request.passages],
                batch_size=self._model.batch_size,
                show_progress_bar=False,
            )
            latency_ms = (time.perf_counter() - began) * 1000
            found = tuple(map(float, scores))
            if not all(abs(score) <= MAX_SCORE for score in found):
                raise ApiError("garbage", "a score is NaN or infinite")
            yield number, Scores(found, None, latency_ms)

    def _load(self) -> Any:
        library = needed_package(self._model, "sentence_transformers", extra=_EXTRA)
        name = self._files.name
        try:
            with without_bar(self._model):
                network = library.CrossEncoder(name, revision=self._files.commit)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise unloadable(self._model, name, error) from None
        if network.num_labels != 1:
            what = f"{name} gives {network.num_labels} numbers for a query and a passage"
            raise UsageError(f"{self._model.name}: {what}; a reranker gives one")
        return network


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is to be scored for one query."""

    query: str
    passages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a query's passages, and what they took."""

    scores: tuple[float, ...]  #: one for each passage, in order; higher is better
    tokens: int | None  #: billed, as the endpoint reports them; None if it does not
    latency_ms: float  #: of the successful requests alone, retries and waits excluded


class Reranker(Protocol):
    """Anything that says how well passages answer a query."""

    @property
    def settings(self) -> Mapping[str, object]:
        """Return everything that could change a score, as JSON values: the cache's address."""
        ...

    @property
    def listwise(self) -> bool:
        """Return whether a passage's score depends on the passages beside it."""
        ...

    def score(self, requests: Sequence[Candidates], *, alone: bool) -> Iterator[tuple[int, Scores]]:
        """Yield each request's place and its scores as soon as they arrive.

        Args:
            requests: none without passages.
            alone: one at a time, so that each latency is that of a lone request.

        Raises:
            ApiError: the reranker failed, or gave unusable scores; after all that did succeed.
        """
        ...
