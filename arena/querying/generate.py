"""Write queries for a corpus with a language model, for people who have none.

Each reply is on disk as it arrives, and nothing is asked twice: a run that was stopped, capped or
killed goes on where it was. The document that a query was written for is its only relevant one as
far as anybody knows: all others are unjudged, which is not irrelevant.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from arena.data.load import load_corpus
from arena.dry_run.speed import time_left
from arena.endpoint.client import Api, run
from arena.endpoint.coroutines import work_off
from arena.errors import ArenaError, BudgetSpentError, FatalApiError, UnjudgedError, UsageError
from arena.judging.budget import Budget
from arena.judging.capabilities import ResponseFormat
from arena.judging.chat import Chat, Messages
from arena.judging.chat_reply import ChatReply
from arena.judging.endpoint_facts import Learned
from arena.judging.open import endpoint_of
from arena.judging.prompt import render_for_queries
from arena.judging.token_count import TOKENS_PER_MESSAGE, find_tokenizer
from arena.progress import Reporter
from arena.querying.files import (
    LEARNED,
    Answers,
    DocumentReply,
    check_replaceable,
    read_answers,
    write_queries,
)
from arena.querying.report import GenerationEstimate, GenerationResult
from arena.querying.screening import queries_of_reply, reply_schema, screen
from arena.querying.settings import (
    LEAST_WORDS,
    GenerationOptions,
    QuerySetup,
    Sample,
    open_setup,
    sample_documents,
)
from arena.records import Document, now
from arena.signals import interruptible
from arena.terminal import dollars
from arena.version import __version__

TOKENS_PER_QUERY: Final = 25
"""Of a reply, with its share of the JSON around it."""


def estimate_queries(options: GenerationOptions, reporter: Reporter) -> GenerationEstimate:
    """Estimate what `write_queries_for` needs; send no requests.

    Raises:
        UsageError: something is not said, or a file has a mistake.
    """
    setup = open_setup(options)
    sample = _sample(setup, options, reporter)
    known, _ = read_answers(setup.out)
    chat = open_chat(setup, options, Api(endpoint_of(setup.model)))
    asked = [messages_for(setup, options, document) for document in sample.documents]
    left = [messages for messages in asked if chat.key(messages) not in known]
    tokenizer = find_tokenizer(setup.model.model)
    n_in = sum(
        tokenizer.count(message["content"]) + TOKENS_PER_MESSAGE
        for messages in left
        for message in messages
    )
    n_out = len(left) * options.per_document * TOKENS_PER_QUERY
    prices = setup.model.price_per_1m_input_tokens, setup.model.price_per_1m_output_tokens
    known_prices = prices[0] is not None and prices[1] is not None
    cost = (n_in * (prices[0] or 0.0) + n_out * (prices[1] or 0.0)) / 1e6
    return GenerationEstimate(
        sample,
        len(left),
        n_in,
        n_out,
        cost if known_prices else None,
        tokenizer.name,
        time_left(setup.model, None, len(left), n_in + n_out),
    )


def write_queries_for(options: GenerationOptions, reporter: Reporter) -> GenerationResult:
    """Ask about every document that has no reply yet, then write the queries that are fit for use.

    Ctrl-C finishes what is under way; a second one leaves at once, and loses no reply either.

    Raises:
        UsageError: something is not said, a file has a mistake, or would be overwritten.
        FatalApiError: the endpoint's key or address is missing.
        LogError, WriteError: the folder cannot be written.
    """
    setup = open_setup(options)
    check_replaceable(setup.out, setup.dataset.name)
    sample = _sample(setup, options, reporter)
    with Answers(setup.out) as answers:
        budget = Budget(setup.max_usd, spent_usd=answers.spent_usd)
        answers.pay_from(budget)
        asking = Asking(setup, options, answers, budget, reporter.log)
        run(asking.all(sample.documents, reporter))
        result = _result(options, setup, sample, asking)
        if result.screened.kept:
            write_queries(setup.out, result.screened, _manifest(result, asking))
    return result


def _sample(setup: QuerySetup, options: GenerationOptions, reporter: Reporter) -> Sample:
    dataset = load_corpus(setup.dataset, reporter)
    for note in dataset.notes:
        reporter.log(f"note: {note}")
    sample = sample_documents(dataset.corpus, options.n_documents, options.seed)
    if not sample.documents:
        raise UsageError(
            f"{setup.dataset.name}: none of its {sample.n_corpus:,} documents has {LEAST_WORDS} "
            "words, too little to ask for anything"
        )
    return sample


def _result(
    options: GenerationOptions, setup: QuerySetup, sample: Sample, asking: Asking
) -> GenerationResult:
    known = asking.answers.known
    replies = [
        (document, known[key].queries or ())
        for document in sample.documents
        if (key := asking.chat.key(asking.messages(document))) in known
    ]
    return GenerationResult(
        options,
        setup,
        sample,
        screen(replies, per_document=options.per_document),
        n_answered=len(replies),
        n_empty=sum(not queries for _, queries in replies),
        failures=dict(asking.failures),
        cost_usd=asking.budget.spent_usd - asking.paid_before_usd,
        ended=asking.ended,
    )


def _manifest(result: GenerationResult, asking: Asking) -> dict[str, Any]:
    options, setup = result.options, result.setup
    return {
        "arena": __version__,
        "dataset": setup.dataset.name,
        "model": setup.model.model,
        "base_url": asking.api.identity,
        "temperature": setup.model.temperature,
        "prompt": {"name": setup.prompt.name, "hash": setup.prompt.hash},
        "document_words": setup.model.document_words,
        "seed": options.seed,
        "per_document": options.per_document,
        "documents": {
            "corpus": result.sample.n_corpus,
            "too_short": result.sample.n_short,
            "drawn": len(result.sample.documents),
            "answered": result.n_answered,
            "nothing_to_ask": result.n_empty,
        },
        "queries": len(result.screened.kept),
        "dropped": dict(result.screened.dropped),
        "cost_usd": asking.budget.spent_usd,
        "qrels": "grade 1 is the document a query was written for; others are unjudged",
        "at": now(),
    }


WORKERS: Final = 1024
"""Calls under way at most; `arena.endpoint` finds how many at once the endpoint takes."""


def messages_for(setup: QuerySetup, options: GenerationOptions, document: Document) -> Messages:
    """Return the messages that ask the model about a document."""
    return render_for_queries(
        setup.prompt,
        document,
        number=options.per_document,
        document_words=setup.model.document_words,
    )


def open_chat(
    setup: QuerySetup, options: GenerationOptions, api: Api, budget: Budget | None = None
) -> Chat:
    """Open the model, with the form of its reply."""
    form = ResponseFormat(schema=reply_schema(options.per_document), name="queries")
    return Chat(setup.model, api, form, budget=budget, learned=Learned(setup.out / LEARNED))


class Asking:
    """One run: who is asked, and what came of it."""

    def __init__(
        self,
        setup: QuerySetup,
        options: GenerationOptions,
        answers: Answers,
        budget: Budget,
        log: Callable[[str], None],
    ) -> None:
        self.answers = answers
        self.budget = budget
        self.api = Api(endpoint_of(setup.model), on_event=log)
        self.chat = open_chat(setup, options, self.api, budget)
        self.failures: Counter[str] = Counter()
        self.ended: ArenaError | None = None
        self.paid_before_usd = budget.spent_usd
        self.messages = partial(messages_for, setup, options)

    async def all(self, documents: Sequence[Document], reporter: Reporter) -> None:
        """Ask about every document that has no reply yet."""
        unanswered = [
            d for d in documents if self.chat.key(self.messages(d)) not in self.answers.known
        ]
        if not unanswered:
            return
        n_before = len(documents) - len(unanswered)
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
                    workers = min(WORKERS, len(unanswered))
                    await work_off(unanswered, settle, workers=workers, stop=stop)
            finally:
                halting.cancel()

    async def _halt(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.api.halt()

    async def _settle(self, document: Document) -> bool:
        """Ask about one document and write the reply; return False if no more may be asked."""
        messages = self.messages(document)
        answer = DocumentReply(document.doc_id, self.chat.key(messages), queries=None)
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
    return queries_of_reply(reply.text, cut=reply.cut)
