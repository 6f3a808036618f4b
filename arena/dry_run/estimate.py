"""What a run will take, before anything is paid: battles, calls, tokens, dollars.

arena asks no endpoint. It renders and measures each different prompt that it would send, once. It
leaves out what the log or the cache of verdicts holds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from arena.data.searchable_text import passage
from arena.dry_run.calls_to_make import CallsToMake
from arena.dry_run.pilot import Pilot, pilot_of
from arena.dry_run.plans import (
    PlanEstimate,
    PlanTable,
    expected_elo,
    plan_table,
    present_option,
)
from arena.dry_run.search_forecast import JudgePrice, SearchForecast, forecast_search
from arena.dry_run.speed import TimeLeft, time_left
from arena.embedding.providers import HOSTED, PRESETS
from arena.experiment.experiment import Experiment, ExperimentData, PreparedExperiment
from arena.experiment.gate_controls import controls
from arena.experiment.judges import ConfiguredJudge
from arena.experiment.paid_replies import PaidReplies
from arena.experiment.pending import pending
from arena.experiment.run_specs import RunSpec, held_out_queries, run_specs
from arena.experiment.runs import stored_run
from arena.experiment.stopping import StoppingRule
from arena.judging.token_count import ESTIMATED
from arena.records import Run, ScoredDoc
from arena.store.batch_ledger import under_way
from arena.terminal import dollars


@dataclass(frozen=True, slots=True)
class JudgeEstimate:
    """What is left for one judge, and about what it takes."""

    judge: str
    kind: str
    n_battles: int  #: planned in all
    n_unplayed: int  #: of them not in the log
    n_free: int  #: of those, the ones that need no call of their own
    n_under_way: int  #: of those not in the log, the ones that batch jobs will judge
    n_calls: int  #: requests to its endpoint, each different one once
    n_controls: int  #: requests of the gate, beside them
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  #: of the calls; None if the config has no prices
    time: TimeLeft  #: about how long the calls take
    tokenizer: str = ESTIMATED.name  #: how tokens were counted

    def by_batch(self, share: float) -> JudgeEstimate:
        """Return the same work as batch jobs; controls are asked live, but hardly count.

        Args:
            share: of the usual price.
        """
        cost_usd = None if self.cost_usd is None else self.cost_usd * share
        why = f"at most, as batch jobs; they cost {share:.0%} of the configured prices"
        return replace(self, cost_usd=cost_usd, time=TimeLeft(24 * 3600, why))

    @property
    def usd_per_call(self) -> float | None:
        """Return what a call costs on average; None if the config has no prices."""
        if self.cost_usd is None:
            return None
        return self.cost_usd / max(self.n_calls + self.n_controls, 1)

    def lines(self) -> Iterator[str]:
        """Yield the estimate as people read it."""
        yield f"battles      {self.n_battles:>12,}"
        yield f"in the log   {self.n_battles - self.n_unplayed:>12,}"
        yield f"free         {self.n_free:>12,}  same lists, asked before, or judged by qrels"
        if self.n_under_way:
            yield f"under way    {self.n_under_way:>12,}  in batch jobs; not asked again"
        each = "documents, each read once" if self.kind == "pointwise" else "battles to ask about"
        yield f"judge calls  {self.n_calls:>12,}" + (f"  {each}" if self.n_calls else "")
        if self.n_controls:
            yield f"controls     {self.n_controls:>12,}  calls with an obvious answer, first"
        if self.n_calls:
            n_all = self.n_calls + self.n_controls
            yield f"tokens in    {self.input_tokens:>12,}  {self.tokenizer}"
            yield f"tokens out   {self.output_tokens:>12,}  {self.output_tokens // n_all} a reply"
            yield f"price        {_price(self.cost_usd)}"
            yield f"time         {self.time}"


@dataclass(frozen=True, slots=True)
class MissingRun:
    """A run that is not on disk yet."""

    dataset: str
    model: str
    tokens: int  #: of the texts to embed or to rerank, estimated; 0 for models that run here
    cost_usd: float | None  #: None if the config has no price
    calls: int = 0  #: queries that a rerank API is asked about


@dataclass(frozen=True, slots=True)
class RunEstimate:
    """What is left to do, and about what it takes."""

    judges: Sequence[JudgeEstimate]
    unretrieved: Sequence[MissingRun] = ()
    max_usd: float | None = None  #: the cap on what judges cost
    spent_usd: float = 0.0  #: of it, by earlier runs
    plans: PlanTable | None = None  #: other ways to spend calls, beside this one
    search: SearchForecast | None = None  #: what a run with a stopping rule takes

    @property
    def left_usd(self) -> float | None:
        """Return what may still be spent; None without a cap."""
        return None if self.max_usd is None else max(0.0, self.max_usd - self.spent_usd)

    @property
    def n_battles(self) -> int:
        """Return the number of battles in the plan."""
        return sum(judge.n_battles for judge in self.judges)

    @property
    def n_unplayed(self) -> int:
        """Return the number of battles in the plan that are not in the log."""
        return sum(judge.n_unplayed for judge in self.judges)

    @property
    def n_calls(self) -> int:
        """Return the number of requests to judges, without those of the gate."""
        return sum(judge.n_calls for judge in self.judges)

    @property
    def input_tokens(self) -> int:
        """Return the input tokens of all requests."""
        return sum(judge.input_tokens for judge in self.judges)

    @property
    def output_tokens(self) -> int:
        """Return the output tokens of all replies."""
        return sum(judge.output_tokens for judge in self.judges)

    @property
    def cost_usd(self) -> float | None:
        """Return the cost of all judges in US dollars; None if one of them has no prices."""
        costs = [judge.cost_usd for judge in self.judges]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None

    def lines(self) -> list[str]:
        """Return the estimate as people read it."""
        lines = []
        for judge in self.judges:
            if len(self.judges) > 1:
                lines.append(f"{judge.judge}:")
            lines += judge.lines()
        if len(self.judges) > 1:
            lines.append(f"all judges   {_price(self.cost_usd)}")
        if self.max_usd is not None:
            lines.append(self._cap(self.max_usd))
        for run in self.unretrieved:
            calls = f", {run.calls:,} calls" if run.calls else ""
            price = "price unknown" if run.cost_usd is None else dollars(run.cost_usd)
            cost = f", {run.tokens:,} tokens, {price}" if run.tokens else ""
            lines.append(f"to retrieve: {run.dataset} with {run.model}{calls}{cost}")
        if self.unretrieved:
            lines.append("random documents stand in for lists that are not retrieved yet")
        for more in (self.plans, self.search):
            lines += more.lines() if more else ()
        return lines

    def _cap(self, max_usd: float) -> str:
        left, cost = max(0.0, max_usd - self.spent_usd), self.cost_usd or 0.0
        spent = f"{dollars(self.spent_usd)} spent, " if self.spent_usd else ""
        if cost <= left:
            verdict = "enough"
        else:
            verdict = f"would stop the run at about {left / cost:.0%} of what is left to do"
        return f"max_usd      {dollars(max_usd):>12}  {spent}{verdict}"


def estimate_judges(
    prepared: PreparedExperiment,
    judges: Sequence[ConfiguredJudge],
    paid: PaidReplies,
    *,
    gate: bool = True,
) -> tuple[JudgeEstimate, ...]:
    """Return an estimate of each judge's work, made from the very prompts that it would read.

    Args:
        prepared: the experiment.
        judges: of the experiment, closed.
        paid: what was paid for before.
        gate: whether judges would be tested by controls first.
    """
    return tuple(_estimate(prepared, configured, paid, gate=gate) for configured in judges)


def _estimate(
    prepared: PreparedExperiment, configured: ConfiguredJudge, paid: PaidReplies, *, gate: bool
) -> JudgeEstimate:
    """Return the estimate of one judge: one walk over the plan, as a run would make it."""
    judge, config = configured.judge, configured.config
    bill = CallsToMake(configured, paid)
    n_unplayed = n_free = n_under_way = 0
    jobs = under_way(prepared.experiment.folder)
    for battle in pending(prepared.matchups, prepared.lists, [judge], paid, under_way=jobs):
        n_unplayed += 1
        if battle.state == "under_way":
            n_under_way += 1
        else:
            n_free += battle.state != "to_ask" or not bill.add(battle.judge_input)
    n_calls = len(bill.keys)
    # A judge with battles in the log was tested before them.
    if gate and config.gate and judge.is_llm and n_unplayed == prepared.n_matchups:
        for control in controls(prepared):
            bill.add(control)
            bill.add(replace(control, first=control.second, second=control.first))
    return JudgeEstimate(
        judge=judge.name,
        kind=config.kind,
        n_battles=prepared.n_matchups,
        n_unplayed=n_unplayed,
        n_free=n_free,
        n_under_way=n_under_way,
        n_calls=n_calls,
        n_controls=len(bill.keys) - n_calls,
        input_tokens=bill.input_tokens,
        output_tokens=bill.output_tokens,
        cost_usd=bill.cost_usd,
        tokenizer=bill.tokenizer.name,
        time=time_left(
            config,
            prepared.experiment.folder,
            len(bill.keys),
            bill.input_tokens + bill.output_tokens,
        ),
    )


def with_plans(
    prepared: PreparedExperiment,
    present: RunEstimate,
    paid: PaidReplies,
    *,
    rule: StoppingRule | None = None,
    share: float = 1.0,
) -> RunEstimate:
    """Return an estimate with other plans beside it, and what a run with a stopping rule takes.

    There are none where no LLM judges, or a log is judged again.

    Args:
        prepared: the experiment.
        present: the estimate of its own plan.
        paid: the log and the cache.
        rule: the stopping rule, if there is one.
        share: of the usual price, for batch jobs.
    """
    if not prepared.n_matchups:
        return present
    pilot = pilot_of(paid.battles, [model.name for model in prepared.config.models])
    llm = any(judge.kind != "qrels" for judge in prepared.config.judges)
    if llm and not prepared.own_judges and prepared.plays is None:
        present = replace(present, plans=_plans(prepared, present, paid, pilot, share))
    if rule is None:
        return present
    prices = [
        JudgePrice(
            reads_lists=judge.kind == "pairwise",
            is_llm=judge.kind != "qrels",
            usd_per_call=judge.usd_per_call,
            n_calls=judge.n_calls,
        )
        for judge in present.judges
    ]
    return replace(present, search=forecast_search(prepared, rule, prices, pilot, present.left_usd))


def _plans(
    prepared: PreparedExperiment,
    present: RunEstimate,
    paid: PaidReplies,
    pilot: Pilot | None,
    share: float,
) -> PlanTable | None:
    """Return the experiment's own plan beside others; None if there is nothing to choose."""
    option = present_option(prepared)
    present_plan = PlanEstimate(
        option,
        n_calls=present.n_calls,
        tokens=present.input_tokens + present.output_tokens,
        cost_usd=present.cost_usd,
        n_queries=sum(map(len, prepared.data.queries.values())),
        half_width_elo=expected_elo(prepared, option, pilot),
        is_present=True,
    )
    return plan_table(prepared, present_plan, paid, pilot, left_usd=present.left_usd, share=share)


def _price(amount: float | None) -> str:
    if amount is None:
        return f"{'unknown':>12}  the config has no price"
    return f"{dollars(amount):>12}"


def stored_or_placeholder_runs(
    experiment: Experiment, data: ExperimentData
) -> tuple[list[Run], list[MissingRun]]:
    """Return every run: from the disk, or made up of random documents where it is not there."""
    runs: list[Run] = []
    unretrieved = []
    for name, dataset in data.datasets.items():
        by_model: dict[str, Run] = {}
        for spec in run_specs(experiment, dataset, data.queries[name]):
            model = spec.model
            run = stored_run(spec)
            if run is None:
                unretrieved.append(_missing_run(spec, by_model.get(model.base or "")))
                unretrieved += _held_out_runs(spec)
                run = _placeholder_run(spec)
            by_model[model.name] = run
        runs += [by_model[model.name] for model in experiment.config.models]
    return runs, unretrieved


def _missing_run(spec: RunSpec, base: Run | None) -> MissingRun:
    """Return what a run would take; 0 if the model is neither embedded nor reranked by an API."""
    model = spec.model
    if (model.rerank or model.provider) not in PRESETS:
        return MissingRun(spec.dataset.name, model.name, 0, 0.0)
    tokens = _to_embed(spec) if base is None else _to_rerank(spec, base)
    n_calls = 0 if base is None else len(spec.queries)
    return _priced(spec, tokens, calls=n_calls)


def _held_out_runs(tuned: RunSpec) -> list[MissingRun]:
    """Return what the queries take that weights are tuned on; nothing if none are tuned."""
    if tuned.model.weights != "tuned":
        return []
    below = {spec.model.name: spec for spec in tuned.below}
    below |= {lower.model.name: lower for spec in tuned.below for lower in spec.below}
    held_out = held_out_queries(tuned)
    return [
        _priced(spec, _of_queries(replace(spec, queries=held_out)))
        for spec in below.values()
        if spec.model.provider in PRESETS
    ]


def _priced(spec: RunSpec, tokens: int, *, calls: int = 0) -> MissingRun:
    model = spec.model
    price = model.price_per_1m_tokens
    if price is None and (model.rerank or model.provider) not in HOSTED:
        price = 0.0  # your own server
    if model.rerank == "cohere":
        price = None  # it bills searches, not tokens
    cost = None if price is None else tokens * price / 1e6
    return MissingRun(spec.dataset.name, model.name, tokens, cost, calls=calls)


def _of_queries(spec: RunSpec) -> int:
    return sum(ESTIMATED.count(spec.dataset.queries[name].text) for name in spec.queries)


def _to_embed(spec: RunSpec) -> int:
    """Estimate the tokens of the corpus and of the queries."""
    return _of_queries(spec) + sum(ESTIMATED.count(passage(d)) for d in spec.corpus.values())


def _to_rerank(spec: RunSpec, base: Run) -> int:
    """Estimate the tokens of the passages, and of the query once for each, as APIs bill them."""
    dataset = spec.dataset
    n_tokens = 0
    for name in spec.queries:
        ranking = base.rankings[name][: spec.model.rerank_depth]
        n_tokens += len(ranking) * ESTIMATED.count(dataset.queries[name].text)
        n_tokens += sum(ESTIMATED.count(passage(dataset.corpus[d.doc_id])) for d in ranking)
    return n_tokens


def _placeholder_run(spec: RunSpec) -> Run:
    draw = random.Random(spec.model.name)  # noqa: S311
    doc_ids = list(spec.corpus)
    depth = max(spec.experiment.config.experiment.top_k, spec.n_used)
    rankings = {
        query_id: tuple(
            ScoredDoc(doc_id, 0.0) for doc_id in draw.sample(doc_ids, min(depth, len(doc_ids)))
        )
        for query_id in spec.queries
    }
    return Run(spec.dataset.name, spec.model.name, rankings)
