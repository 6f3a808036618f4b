"""Write queries for a corpus with a language model, for people who have none.

Each reply is on disk as it arrives, and nothing is asked twice: a run that was stopped, capped or
killed goes on where it was. The document that a query was written for is its only relevant one as
far as anybody knows: all others are unjudged, which is not irrelevant.
"""

from __future__ import annotations

from typing import Any, Final

import arena
from arena.data.load import load_corpus
from arena.endpoint.client import Api, run
from arena.errors import UsageError
from arena.experiment.estimate import TOKENS_PER_MESSAGE
from arena.experiment.panel import endpoint_of
from arena.experiment.speed import time_left
from arena.experiment.tokens import find_tokenizer
from arena.judging.budget import Budget
from arena.progress import Reporter
from arena.querying.asking import Asking, messages_for, now, open_chat
from arena.querying.desk import (
    LEAST_WORDS,
    Desk,
    Order,
    Sample,
    open_desk,
    sample_documents,
)
from arena.querying.files import Answers, check_replaceable, read_answers, write_queries
from arena.querying.report import Estimate, Result
from arena.querying.text import screen

TOKENS_PER_QUERY: Final = 25
"""Of a reply, with its share of the JSON around it."""


def estimate_queries(order: Order, reporter: Reporter) -> Estimate:
    """What `write_queries_for` would take; asks no endpoint anything.

    Raises:
        UsageError: something is not said, or a file has a mistake.
    """
    desk = open_desk(order)
    sample = _sample(desk, order, reporter)
    known, _ = read_answers(desk.out)
    chat = open_chat(desk, order, Api(endpoint_of(desk.model)))
    asked = [messages_for(desk, order, document) for document in sample.documents]
    left = [messages for messages in asked if chat.key(messages) not in known]
    tokenizer = find_tokenizer(desk.model.model)
    n_in = sum(
        tokenizer.count(message["content"]) + TOKENS_PER_MESSAGE
        for messages in left
        for message in messages
    )
    n_out = len(left) * order.per_document * TOKENS_PER_QUERY
    prices = desk.model.price_per_1m_input_tokens, desk.model.price_per_1m_output_tokens
    known_prices = prices[0] is not None and prices[1] is not None
    cost = (n_in * (prices[0] or 0.0) + n_out * (prices[1] or 0.0)) / 1e6
    return Estimate(
        sample,
        len(left),
        n_in,
        n_out,
        cost if known_prices else None,
        tokenizer.name,
        time_left(desk.model, None, len(left), n_in + n_out),
    )


def write_queries_for(order: Order, reporter: Reporter) -> Result:
    """Ask about every document that has no reply yet, then write the queries that are fit for use.

    Ctrl-C finishes what is under way; a second one leaves at once, and loses no reply either.

    Raises:
        UsageError: something is not said, a file has a mistake, or would be overwritten.
        FatalApiError: the endpoint's key or address is missing.
        LogError, WriteError: the folder cannot be written.
    """
    desk = open_desk(order)
    check_replaceable(desk.out, desk.dataset.name)
    sample = _sample(desk, order, reporter)
    with Answers(desk.out) as answers:
        budget = Budget(desk.max_usd, spent_usd=answers.spent_usd)
        answers.pay_from(budget)
        asking = Asking(desk, order, answers, budget, reporter.say)
        run(asking.all(sample.documents, reporter))
        result = _result(order, desk, sample, asking)
        if result.screened.kept:
            write_queries(desk.out, result.screened, _manifest(result, asking))
    return result


def _sample(desk: Desk, order: Order, reporter: Reporter) -> Sample:
    dataset = load_corpus(desk.dataset, reporter)
    for note in dataset.notes:
        reporter.say(f"note: {note}")
    sample = sample_documents(dataset.corpus, order.n_documents, order.seed)
    if not sample.documents:
        raise UsageError(
            f"{desk.dataset.name}: none of its {sample.n_corpus:,} documents has {LEAST_WORDS} "
            "words, too little to ask for anything"
        )
    return sample


def _result(order: Order, desk: Desk, sample: Sample, asking: Asking) -> Result:
    known = asking.answers.known
    replies = [
        (document, known[key].queries or ())
        for document in sample.documents
        if (key := asking.chat.key(asking.messages(document))) in known
    ]
    return Result(
        order,
        desk,
        sample,
        screen(replies, per_document=order.per_document),
        n_answered=len(replies),
        n_empty=sum(not queries for _, queries in replies),
        failures=dict(asking.failures),
        cost_usd=asking.budget.spent_usd - asking.paid_before_usd,
        ended=asking.ended,
    )


def _manifest(result: Result, asking: Asking) -> dict[str, Any]:
    order, desk = result.order, result.desk
    return {
        "arena": arena.__version__,
        "dataset": desk.dataset.name,
        "model": desk.model.model,
        "base_url": asking.api.identity,
        "temperature": desk.model.temperature,
        "prompt": {"name": desk.prompt.name, "hash": desk.prompt.hash},
        "document_words": desk.model.document_words,
        "seed": order.seed,
        "per_document": order.per_document,
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
