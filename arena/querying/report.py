"""What writing queries would take, and how it ended, in words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from arena.dry_run.speed import TimeLeft
from arena.errors import ArenaError, BudgetSpentError, FatalApiError, IncompleteError
from arena.querying.files import QRELS, QUERIES
from arena.querying.screening import Screened
from arena.querying.settings import GenerationOptions, QuerySetup, Sample
from arena.terminal import count, dollars


@dataclass(frozen=True, slots=True)
class GenerationEstimate:
    """What writing queries would take."""

    sample: Sample
    n_calls: int  #: of them not paid for yet
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  #: None without prices
    tokenizer: str  #: how tokens were counted
    time: TimeLeft  #: about how long it takes

    def lines(self) -> Iterator[str]:
        """Yield the lines of the estimate."""
        n_documents = len(self.sample.documents)
        yield f"documents    {n_documents:>12,}  drawn from {self.sample.n_corpus:,}"
        yield f"asked before {n_documents - self.n_calls:>12,}"
        yield f"calls        {self.n_calls:>12,}"
        yield f"tokens in    {self.input_tokens:>12,}  {self.tokenizer}"
        yield f"tokens out   {self.output_tokens:>12,}"
        price = "unknown" if self.cost_usd is None else dollars(self.cost_usd)
        yield f"price        {price:>12}" + (
            "" if self.cost_usd is not None else "  no prices given"
        )
        yield f"time         {self.time}"
        if remark := self.sample.remark():
            yield remark


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """How a run ended."""

    options: GenerationOptions
    setup: QuerySetup
    sample: Sample
    screened: Screened
    n_answered: int  #: documents with a reply, earlier runs' too
    n_empty: int  #: of them, where the model found nothing to ask for
    failures: Mapping[str, int]  #: reason → documents of this run without a readable reply
    cost_usd: float  #: of this run
    ended: ArenaError | None = None  #: what stopped it early

    @property
    def n_left(self) -> int:
        """Return the number of documents without a reply."""
        return len(self.sample.documents) - self.n_answered

    def lines(self) -> Iterator[str]:
        """Yield what was written, and what was not."""
        kept = len(self.screened.kept)
        n_documents = len({written.doc_id for written in self.screened.kept})
        if kept:
            yield f"{kept:,} queries for {n_documents:,} documents: {self.setup.out / QUERIES}"
            yield f"the document of each query is in {self.setup.out / QRELS}; others are unjudged"
            if unused := ", ".join(self._unused()):
                yield f"to use them, write in {self.options.config.name}: {unused}"
        else:
            yield "no query was written"
        if dropped := self.screened.dropped:
            yield "dropped: " + ", ".join(f"{n:,} {reason}" for reason, n in dropped.items())
        if self.n_empty:
            empty = count(self.n_empty, "document holds", "documents hold")
            yield f"{empty} nothing to ask for, says the model"
        if self.failures:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.failures.items())
            yield f"failed: {reasons}; the same command tries them again"
        yield f"cost {dollars(self.cost_usd)}" + (
            "" if self.setup.model.priced else ", without prices"
        )
        if remark := self.sample.remark():
            yield remark

    def _unused(self) -> Iterator[str]:
        """Yield what the data set in the arena.toml still needs."""
        for key, name in (("queries", QUERIES), ("qrels", QRELS)):
            path = self.setup.out / name
            if getattr(self.setup.dataset, key) != path:
                yield f'{key} = "{os.path.relpath(path, self.options.config.parent)}"'

    def check(self) -> None:
        """Raise an error if something is missing.

        Raises:
            IncompleteError: the run was stopped, or has more failures than allowed.
            FatalApiError: the endpoint refuses every request.
        """
        done = f"{self.n_answered:,} of {len(self.sample.documents):,} documents have a reply"
        resume = f"go on with: {self.options.command()}"
        if isinstance(self.ended, FatalApiError):
            detail = f"{self.ended.detail}; nothing paid for is lost; correct it, then {resume}"
            raise FatalApiError(self.ended.reason, detail)
        if isinstance(self.ended, BudgetSpentError):
            spent = f"{dollars(self.ended.spent_usd)} of {dollars(self.ended.max_usd)} spent"
            resume = f"go on with: {self.options.command(max_usd='MORE')}"
            raise IncompleteError(f"{done}; {spent}; {resume}")
        n_failed = sum(self.failures.values())
        if self.n_left > n_failed:
            raise IncompleteError(f"stopped: {done}; {resume}")
        if not self.screened.kept:
            raise IncompleteError(f"{done}, and no query could be used; {resume}")
        if n_failed > self.setup.model.max_failures * len(self.sample.documents):
            allowed = f"more than max_failures = {self.setup.model.max_failures:g} allows"
            raise IncompleteError(f"{done}: {n_failed:,} failed, {allowed}; {resume}")
