"""Ask a chat model with the fields that its server takes, within the budget, and never pay twice.

What every judge that is a language model shares. A reply is kept by the content of its request,
so the same question, in another pair or another experiment, is answered from the cache.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, Protocol, TypeVar

from arena.config import JudgeConfig
from arena.digest import digest
from arena.endpoint.client import Api
from arena.errors import ApiError, FatalApiError, UnjudgedError
from arena.judging.budget import Budget
from arena.judging.call_cost import Meter, reported_tokens
from arena.judging.capabilities import (
    SHORT,
    ResponseFormat,
    ServerCapabilities,
    capabilities_from,
)
from arena.judging.chat_reply import REASONING, ChatReply, chat_reply
from arena.judging.endpoint_facts import Learned
from arena.judging.refused_calls import QUESTION, Doubt
from arena.judging.reply_cache import VerdictCache
from arena.judging.server_truncation import Ceiling
from arena.judging.single_flight import SingleFlight
from arena.records import Usage
from arena.terminal import one_line

T = TypeVar("T")
Messages = Sequence[Mapping[str, str]]

_CAPABILITIES: Final = "dialect"
"""The subject under which `Learned` keeps what the endpoint takes; a word of files on disk."""
_KEPT_WITHIN_S: Final = 0.5
"""Longest wait of a reply for others that go into the cache with it."""


class Delivered(Protocol):
    """Replies that were asked for elsewhere, such as by a batch job."""

    def take(self, key: str) -> ChatReply:
        """Return the reply to a call, by its `Chat.key`; only the first time with its cost.

        Raises:
            UnjudgedError: there is none, or none that can be read.
        """


class Chat:
    """A chat model as a judge asks it.

    Args:
        config: the model, its settings and its prices.
        api: the endpoint; opened and closed by the caller.
        form: what the judge is to write.
        budget: what it may cost; no limit if absent.
        cache: replies paid for before; none if absent.
        learned: what earlier runs found out about the endpoint; nothing if absent.
        delivered: replies that came by batch job; the endpoint is asked if absent.
    """

    def __init__(  # noqa: PLR0913, what a judge shares with others, each named
        self,
        config: JudgeConfig,
        api: Api,
        form: ResponseFormat,
        *,
        budget: Budget | None = None,
        cache: VerdictCache | None = None,
        learned: Learned | None = None,
        delivered: Delivered | None = None,
    ) -> None:
        self._delivered = delivered
        self._config = config
        self._api = api
        self._form = form
        self._cache = cache
        self._keyed: tuple[Messages | None, str] = (None, "")
        self._calls: SingleFlight[tuple[Any, ChatReply]] = SingleFlight()
        # A limit on the length changes what a judge writes only where it is to write something.
        room = None if form.labels else config.max_tokens
        settings = (config.model, api.identity, config.temperature, room, form.schema, form.labels)
        self.fingerprint = digest(json.dumps(settings, sort_keys=True)).hex()
        """Hash of every setting of the model and its endpoint that could change a reply."""
        self._learned = learned or Learned()
        self._meter = Meter(config, budget or Budget(), self._learned, self.fingerprint, api.log)
        #: what the endpoint takes, as far as it is known
        self.capabilities = capabilities_from(self._learned.facts(self.fingerprint, _CAPABILITIES))
        self._doubt = Doubt(self._ask_shortest)
        self._ceiling = Ceiling()

    def key(self, messages: Messages) -> str:
        """Return a key that is the same for two requests only if they are the same."""
        if messages is not self._keyed[0]:  # asked for before and after a look into the log
            contents = (message["content"] for message in messages)
            self._keyed = messages, digest(self.fingerprint, *contents).hex()
        return self._keyed[1]

    def request(self, messages: Messages) -> dict[str, Any]:
        """Return the body of the request, with the fields that the endpoint takes."""
        return self._request(messages, self.capabilities)

    def learn(self, refusal: str) -> bool:
        """Drop from later requests the fields that a refusal names; return False without any."""
        known = self.capabilities
        self._use(known.after(refusal, self._form))
        return self.capabilities != known

    def reply(
        self, body: Mapping[str, Any], latency_ms: float, read: Callable[[ChatReply], Any]
    ) -> ChatReply:
        """Return the reply in a response body, if ``read`` can read it.

        Raises:
            UnjudgedError: it cannot, or the body holds no message.
        """
        usage = self._meter.usage(body, self._limit())
        reply = chat_reply(body, replace(usage, latency_ms=latency_ms))
        self.readable(reply, read)
        return reply

    def batch_usd(self, n_bytes: int) -> float:
        """Return what a request of this many bytes may cost in a batch job, at the usual price."""
        return self._meter.batch_usd(n_bytes, self._limit())

    async def ask(self, messages: Messages, read: Callable[[ChatReply], T]) -> tuple[T, ChatReply]:
        """Ask, or return the answer to the same question; simultaneous calls share it.

        Args:
            messages: the question.
            read: what the judge makes of a reply; only what it can read is kept.

        Raises:
            UnjudgedError: no reply, or none that can be read.
            FatalApiError: the endpoint will answer no request.
            BudgetSpentError: the call could cost more than is left.
        """
        key = self.key(messages)
        if key in self._calls:
            return await self._shared(key)
        if found := self._kept(key, read):
            return found
        return await self._calls.run(key, self._ask_now(key, messages, read))

    async def _ask_now(
        self, key: str, messages: Messages, read: Callable[[ChatReply], T]
    ) -> tuple[T, ChatReply]:
        """Take the reply that was delivered, or ask the endpoint; keep what can be read."""
        if self._delivered is not None:
            reply = self._delivered.take(key)
        else:
            reply = await self._paid(messages)
        value = self.readable(reply, read)
        # What a job brought of whole battles is in the log of its experiment alone.
        if self._cache and (self._delivered is None or self._form.labels):
            # Only once the caller's own log has it. A run that is killed in between must find what
            # it paid for there, with its price, and not as free in the cache. A single document's
            # grade is in no log yet, so it is written at once.
            loop, later = asyncio.get_running_loop(), self._form.schema is not None
            loop.call_soon(functools.partial(self._cache.put, key, reply, later=later))
            if later:
                loop.call_later(_KEPT_WITHIN_S, self._cache.flush)
        return value, reply

    async def _shared(self, key: str) -> tuple[Any, ChatReply]:
        """Return the answer to a question that another battle asks, and pays for."""
        try:
            value, reply = await self._calls.result(key)
        except UnjudgedError as error:
            raise UnjudgedError(error.reason, error.detail, reply=error.reply) from None
        return value, replace(reply, usage=Usage(), cached=True)

    def readable(self, reply: ChatReply, read: Callable[[ChatReply], T]) -> T:
        """Return the result of ``read`` on a reply.

        Raises:
            UnjudgedError: nothing; with the reply, its cost, and the best reason there is.
        """
        try:
            _check_ended(reply)
            return read(reply)
        except UnjudgedError as error:
            reason, detail = error.reason, error.detail
            if reply.cut and reason != "two_verdicts":
                limit = self._limit() or "the endpoint's own limit"
                detail = f"the reply ended at max_tokens = {limit} before a verdict"
                detail += "; raise it" if limit == self._config.max_tokens else ""
                reason = "truncated"
            usage = reply.usage
            raise UnjudgedError(
                reason,
                detail,
                reply=reply.text,
                cost_usd=usage.cost_usd,
                estimated=usage.estimated,
            ) from None

    def _kept(self, key: str, read: Callable[[ChatReply], T]) -> tuple[T, ChatReply] | None:
        reply = self._cache.get(key) if self._cache else None
        if reply is None:
            return None
        reply = replace(reply, usage=Usage(), cached=True)
        try:
            return self.readable(reply, read), reply
        except UnjudgedError:
            return None  # an older reader took it for an answer: ask again

    async def _paid(self, messages: Messages) -> ChatReply:
        """Return the endpoint's reply, and what all attempts at it cost."""
        try:
            reply = await self._negotiated(messages)
        except UnjudgedError as error:
            if isinstance(error.__cause__, ApiError):
                await self._doubt.refused(error.__cause__)
            raise
        self._doubt.answered()
        return reply

    async def _negotiated(self, messages: Messages) -> ChatReply:
        """Return the endpoint's reply, to a request with the fields that it takes.

        Each round has fewer fields than the last one, or more room for a reply of one word. So
        the rounds come to an end.
        """
        spent, capabilities = Usage(), self.capabilities
        while True:
            payer = self._meter.payer(self._limit(capabilities))
            try:
                answer = await self._api.post(
                    "/chat/completions", self._request(messages, capabilities), payer=payer
                )
            except FatalApiError:
                raise
            except ApiError as error:
                spent += payer.usage
                if tried := self._without(capabilities, error):
                    capabilities = tried
                    continue
                raise UnjudgedError(
                    error.reason,
                    error.detail,
                    cost_usd=spent.cost_usd,
                    estimated=spent.estimated,
                ) from error
            if capabilities is not self.capabilities:
                self._use(self.capabilities.joined(capabilities))
            spent = replace(spent + payer.usage, latency_ms=answer.latency_ms)
            reply = chat_reply(answer.body, spent)
            if self._form.labels and capabilities.short and reply.cut:
                # A model that thinks first, or whose words are many tokens, needs more room.
                capabilities = replace(self.capabilities, short=False)
                self._use(capabilities)
                continue
            self._check_read(messages, answer.body, reply)
            return reply

    def _request(self, messages: Messages, capabilities: ServerCapabilities) -> dict[str, Any]:
        fields = capabilities.fields(
            self._form, temperature=self._config.temperature, max_tokens=self._config.max_tokens
        )
        return {"model": self._config.model, "messages": messages, **fields}

    def _without(
        self, capabilities: ServerCapabilities, refusal: ApiError
    ) -> ServerCapabilities | None:
        """Return the capabilities for another try after a refusal; None if that would not help."""
        if refusal.reason != "bad_request":
            return None
        # Many requests are refused at once for the same cause: others may know it by now.
        known = capabilities.joined(self.capabilities)
        tried = known if known != capabilities else capabilities.after(refusal.words, self._form)
        return tried if tried != capabilities else None

    async def _ask_shortest(self) -> None:
        """Ask next to nothing; an `ApiError` says that nothing else will be answered either."""
        messages = [{"role": "user", "content": QUESTION}]
        length = self.capabilities.length
        body: dict[str, Any] = {"model": self._config.model, "messages": messages}
        if length:
            body[length] = self._config.max_tokens
        payer = self._meter.payer(self._config.max_tokens if length else None)
        await self._api.post("/chat/completions", body, payer=payer)

    def _check_read(self, messages: Messages, body: Mapping[str, Any], reply: ChatReply) -> None:
        """Make sure that the server has read the whole prompt, as far as its count tells.

        Raises:
            UnjudgedError: ``prompt_cut``.
        """
        n_input, _, n_cached = reported_tokens(body)
        text = "\n".join(message["content"] for message in messages)
        # Some do not count what they found in a cache.
        if said := self._ceiling.cut(text, (n_input or 0) + n_cached):
            raise UnjudgedError(
                "prompt_cut",
                said,
                reply=reply.text,
                cost_usd=reply.usage.cost_usd,
                estimated=reply.usage.estimated,
            )

    def _use(self, capabilities: ServerCapabilities) -> None:
        """Use these capabilities from now on, in later runs too."""
        if capabilities != self.capabilities:
            self.capabilities = capabilities
            self._learned.change(self.fingerprint, _CAPABILITIES, lambda _: asdict(capabilities))

    def _limit(self, capabilities: ServerCapabilities | None = None) -> int | None:
        """Return the limit on a reply's tokens, as sent; None if the endpoint takes none."""
        taken = capabilities or self.capabilities
        if taken.length is None:
            return None
        return SHORT if self._form.labels and taken.short else self._config.max_tokens


def _check_ended(reply: ChatReply) -> None:
    """Make sure that a reply came to its own end, or to its limit, and says something.

    Raises:
        UnjudgedError: ``refusal``, ``server``, ``empty`` or ``only_reasoning``.
    """
    if reply.declined:
        raise UnjudgedError("refusal", f"the judge refused: {one_line(reply.declined)}")
    if reply.withheld:
        raise UnjudgedError("refusal", "the endpoint's content filter withheld the reply")
    if reply.finish.casefold() == "error":
        raise UnjudgedError("server", "the endpoint broke off the reply with an error")
    if reply.unsaid and not reply.text.strip():
        thought = reply.unsaid in REASONING
        remedy = "raise max_tokens, or let the server think less" if thought else "ask for text"
        detail = f"the reply has no text, only {reply.unsaid}, which is no answer; {remedy}"
        raise UnjudgedError("only_reasoning" if thought else "empty", detail)
