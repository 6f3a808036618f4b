"""Ask a language model for the queries of many documents, and write down each reply at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

from arena.endpoint.client import Api
from arena.endpoint.in_flight import work_off
from arena.errors import ArenaError, BudgetSpentError, FatalApiError, UnjudgedError
from arena.experiment.interrupt import interruptible
from arena.experiment.panel import endpoint_of
from arena.judging.budget import Budget
from arena.judging.chat import Chat, Messages
from arena.judging.dialect import Form
from arena.judging.learned import Learned
from arena.judging.prompt import render_for_queries
from arena.judging.reply import ChatReply
from arena.progress import Reporter, dollars
from arena.querying.desk import Desk, Order
from arena.querying.files import LEARNED, Answer, Answers
from arena.querying.text import read_queries, reply_schema
from arena.records import Document

WORKERS: Final = 1024
"""Calls under way at most; `arena.endpoint` finds how many at once the endpoint takes."""


def messages_for(desk: Desk, order: Order, document: Document) -> Messages:
    """What the model is asked about a document."""
    return render_for_queries(
        desk.prompt,
        document,
        number=order.per_document,
        document_words=desk.model.document_words,
    )


def open_chat(desk: Desk, order: Order, api: Api, budget: Budget | None = None) -> Chat:
    """The model, told what form its reply is to have."""
    form = Form(schema=reply_schema(order.per_document), name="queries")
    return Chat(desk.model, api, form, budget=budget, learned=Learned(desk.out / LEARNED))


class Asking:
    """One run: who is asked, and what came of it."""

    def __init__(
        self,
        desk: Desk,
        order: Order,
        answers: Answers,
        budget: Budget,
        say: Callable[[str], None],
    ) -> None:
        self.answers = answers
        self.budget = budget
        self.api = Api(endpoint_of(desk.model), on_event=say)
        self.chat = open_chat(desk, order, self.api, budget)
        self.failures: Counter[str] = Counter()
        self.ended: ArenaError | None = None
        self.paid_before_usd = budget.spent_usd
        self.messages = partial(messages_for, desk, order)

    async def all(self, documents: Sequence[Document], reporter: Reporter) -> None:
        """Ask about every document that has no reply yet."""
        todo = [d for d in documents if self.chat.key(self.messages(d)) not in self.answers.known]
        if not todo:
            return
        n_before = len(documents) - len(todo)
        with interruptible(reporter) as stop, reporter.stage("queries", len(documents)) as stage:
            halting = asyncio.create_task(self._halt(stop))
            n_done = n_before

            async def settle(document: Document) -> None:
                nonlocal n_done
                if not await self._settle(document):
                    stop.set()
                    return
                n_done += 1
                stage.update(n_done, dollars(self.budget.spent_usd))

            try:
                async with self.api:
                    stage.update(n_before)
                    workers = min(WORKERS, len(todo))
                    await work_off(todo, settle, workers=workers, stop=stop)
            finally:
                halting.cancel()

    async def _halt(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.api.halt()

    async def _settle(self, document: Document) -> bool:
        """Ask about one document and write down what came; False if nothing more is to be asked."""
        messages = self.messages(document)
        answer = Answer(document.doc_id, self.chat.key(messages), queries=None)
        try:
            queries, reply = await self.chat.ask(messages, _read)
        except UnjudgedError as error:
            self.failures[error.reason] += 1
            answer = replace(
                answer,
                reply=error.reply,
                reason=error.reason,
                cost_usd=error.cost_usd,
                estimated=error.estimated,
            )
        except (FatalApiError, BudgetSpentError) as error:
            if not (isinstance(error, FatalApiError) and error.reason == "halted"):
                self.ended = self.ended or error
            return False
        else:
            usage = reply.usage
            answer = replace(
                answer,
                queries=queries,
                reply=reply.text,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cost_usd=usage.cost_usd,
                estimated=usage.estimated,
            )
        self.answers.add(replace(answer, at=now()))
        return True


def _read(reply: ChatReply) -> tuple[str, ...]:
    return read_queries(reply.text, cut=reply.cut)


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
