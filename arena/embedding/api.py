"""Embed texts through any endpoint that has a preset."""

from __future__ import annotations

import logging
import re
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from typing import Any, Final, Self, TypeVar

import orjson

from arena.config.models import ModelConfig
from arena.embedding.embedder import Embedding, join_embeddings
from arena.embedding.prompts import role_prefixes
from arena.embedding.providers import find_endpoint, find_preset, request_fields, served_name
from arena.embedding.wire_formats import BadReplyError, EmbeddingReply, stack_vectors
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, ApiReply
from arena.endpoint.coroutines import as_done, new_runner
from arena.errors import ApiError
from arena.records import Role

_log = logging.getLogger(__name__)

T = TypeVar("T")

ROLES: Final[tuple[Role, Role]] = ("query", "document")

_TOO_MUCH = re.compile(r"HTTP 413|token|context|length|batch|too (long|large|many)", re.IGNORECASE)
"""A refusal that a smaller batch may avoid: endpoints limit texts and tokens per request."""


class ApiEmbedder:
    """An embeddings endpoint, used as ``with ApiEmbedder(model) as embedder:``.

    Connections stay open in between, so a query's latency holds no handshake but the first.

    Args:
        model: its provider has a preset.
        retry: attempts and waits.

    Raises:
        UsageError: the provider is no endpoint, or its address is unknown.
        FatalApiError: on entering, if base_url is none or the key's variable holds no key.
    """

    def __init__(self, model: ModelConfig, *, retry: Retry | None = None) -> None:
        self._model = model
        self._name = served_name(model)
        self._preset = preset = find_preset(model)
        self._api = Api(
            find_endpoint(model),
            retry=retry,
            on_event=lambda line: _log.warning("%s: %s", model.name, line),
        )
        self._runner = new_runner()
        self._encoding = preset.base64
        self._prefixes = dict(zip(ROLES, role_prefixes(model), strict=True))
        self._fields = {role: request_fields(model, role) for role in ROLES}
        # Where the API cannot shorten vectors, they are cached whole, and cut where they are used.
        self._asked = model.dimensions if preset.dimensions else None
        self._sized: dict[str, int] = {}
        if preset.dimensions and self._asked:
            self._sized = {preset.dimensions: self._asked}
        self._dimension = self._asked

    def __enter__(self) -> Self:
        try:
            self._run(self._api.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._run(self._api.__aexit__(*exception))
        self._runner.close()

    @property
    def settings(self) -> Mapping[str, object]:
        """Return the endpoint, the model and the texts and fields that each role adds."""
        return {
            "provider": self._model.provider,
            "base_url": self._api.identity,
            "model": self._name,
            "dimensions": self._asked,
            "query_prefix": self._prefixes["query"],
            "query_extra": self._fields["query"],
            "document_prefix": self._prefixes["document"],
            "document_extra": self._fields["document"],
        }

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        """Return one vector for each text, in order.

        Raises:
            ApiError: a request failed for good, or the vectors are not what was asked for.
        """
        done = sorted(self.embed_batches(texts, role), key=lambda batch: batch[0].start)
        return join_embeddings([embedding for _, embedding in done])

    def embed_batches(self, texts: Sequence[str], role: Role) -> Iterator[tuple[range, Embedding]]:
        """Embed several batches at a time; yield each as soon as it is done.

        After a failure arena sends no new request, but yields the results of requests under way.

        Raises:
            ApiError: the first failure, at the end.
        """
        size = min(self._model.batch_size, self._preset.max_batch or len(texts) or 1)
        spans = (
            range(first, min(first + size, len(texts))) for first in range(0, len(texts), size)
        )
        requests = ((span, self._embed(texts[span.start : span.stop], role)) for span in spans)
        yield from as_done(self._runner, requests, at_once=self._model.concurrency)

    async def _embed(self, texts: Sequence[str], role: Role) -> Embedding:
        """Embed one batch; split it in halves if the endpoint finds it too large."""
        try:
            return await self._request(texts, role)
        except ApiError as error:
            if error.reason != "bad_request" or not _TOO_MUCH.search(error.detail):
                raise
            if len(texts) == 1:
                detail = f"{error.detail}; {_begins(texts[0], role)}; {self._remedy(role)}"
                raise ApiError(error.reason, detail) from None
        half = len(texts) // 2
        return join_embeddings(
            [await self._embed(part, role) for part in (texts[:half], texts[half:])]
        )

    async def _request(self, texts: Sequence[str], role: Role) -> Embedding:
        try:
            answer, latency_ms = await self._answer(
                [self._prefixes[role] + text for text in texts], role
            )
            if answer.cut and not self._may_be_cut(role):
                raise answer.cut
            vectors = stack_vectors(answer.vectors, len(texts))
            self._check_dimension(vectors.shape[1])
        except BadReplyError as error:
            where = "" if error.place is None else f"; {_begins(texts[error.place], role)}"
            raise ApiError("garbage", f"{error}{where}") from None
        return Embedding(vectors, answer.tokens, latency_ms / 1000)

    async def _answer(self, texts: Sequence[str], role: Role) -> tuple[EmbeddingReply, float]:
        """Return the endpoint's answer, with at least one vector, and its latency."""
        encoding = self._encoding
        reply = await self._post(texts, role)
        answer = self._preset.wire_format.read(reply.body)
        if not any(answer.vectors) and encoding:
            # Some servers leave out what they cannot put into base64.
            reply = await self._ask(texts, {**self._sized, **self._fields[role]})
            answer = self._preset.wire_format.read(reply.body)
            if any(answer.vectors):
                self._encoding = {}
        if not any(answer.vectors):
            raise BadReplyError(
                f"the endpoint returns no vectors for the model {self._name!r}; check that it is "
                "one that embeds"
            )
        return answer, reply.latency_ms

    async def _post(self, texts: Sequence[str], role: Role) -> ApiReply:
        """Send the request; send it again in plain numbers if base64 is refused."""
        encoding = self._encoding
        fields = {**self._sized, **self._fields[role]}
        try:
            return await self._ask(texts, {**encoding, **fields})
        except ApiError as error:
            refused = any(name in error.words for name in encoding)
            if error.reason != "bad_request" or not refused:
                raise
        self._encoding = {}  # from now on: a server that knows no other form than numbers
        return await self._ask(texts, fields)

    async def _ask(self, texts: Sequence[str], fields: Mapping[str, Any]) -> ApiReply:
        path, body = self._preset.wire_format.ask(self._name, texts, fields)
        return await self._api.post(path, body, n_items=len(texts))

    def _may_be_cut(self, role: Role) -> bool:
        cut = self._preset.cut.items()
        return bool(cut) and cut <= self._fields[role].items()

    def _remedy(self, role: Role) -> str:
        """Return what to do about a text that is too long."""
        fields = [
            f"{name} = {orjson.dumps(how).decode()}" for name, how in self._preset.cut.items()
        ]
        if not fields:
            return "shorten it"
        return f"shorten it, or have it cut: {role}_extra = {{ {', '.join(fields)} }}"

    def _check_dimension(self, dimension: int) -> None:
        self._dimension = self._dimension or dimension
        if dimension != self._dimension:
            raise BadReplyError(
                f"vectors of {dimension} numbers where {self._dimension} are expected; "
                "check dimensions and model"
            )

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)


def _begins(text: str, role: Role) -> str:
    return f"the {role} begins {text[:60]!r}"
