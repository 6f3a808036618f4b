"""An experiment whose judges are asked by batch jobs: what is still to be asked, and asking it.

The plan, the budget and the log are those of `arena battle`; only the way to the judge is
another. So an experiment may be judged partly live and partly by batch jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from arena.batch.chunks import Limits, Request, cut, request_line, sha256, write_chunk
from arena.batch.jobs import BATCH_DISCOUNT, State, start, state
from arena.batch.ledger import LEDGER, Job, Ledger, now, read_jobs
from arena.config import JudgeConfig
from arena.endpoint.address import Endpoint
from arena.endpoint.files import FileApi
from arena.errors import BudgetSpentError, IncompleteError, UsageError
from arena.experiment.manifest import known_gates, write_manifest
from arena.experiment.material import Experiment, load_material, open_experiment, retrieve_all
from arena.experiment.panel import Seat, closed_panel
from arena.experiment.plan import same_lists
from arena.experiment.prepare import Prepared, load_prompts, prepare
from arena.experiment.spending import open_budgets
from arena.judging.budget import Budget
from arena.judging.judge import RequestJudge
from arena.log.battle_log import BattleLog
from arena.log.compact import IdSet
from arena.log.superseded import SUPERSEDED, set_aside
from arena.progress import Reporter, dollars

BYTES_PER_TOKEN: Final = 3
"""On the safe side: English has about four."""


@dataclass(frozen=True, slots=True)
class Postal:
    """A judge of the experiment that can be asked by post."""

    config: JudgeConfig
    judge: RequestJudge

    @property
    def endpoint(self) -> Endpoint:
        """Where its requests go."""
        return endpoint_of(self.config)


@dataclass(frozen=True, slots=True)
class Desk:
    """An experiment, ready to be judged by post."""

    prepared: Prepared
    judges: Mapping[str, Postal]  #: by the fingerprint of the judge
    seats: tuple[Seat, ...]  #: the same judges, as the manifest names them

    @property
    def experiment(self) -> Experiment:
        """The arena.toml and its folder."""
        return self.prepared.experiment


@dataclass(frozen=True, slots=True)
class Order:
    """How much to submit, and in what portions."""

    max_usd: float | None = None  #: all judges and all runs together, work under way included
    max_tokens: int | None = None  #: in jobs under way at one time, for each judge; estimated
    limits: Limits = field(default_factory=Limits)  #: of one file


@dataclass(slots=True)
class Submitted:
    """What a submission came to."""

    experiment: Experiment
    n_requests: int = 0
    n_jobs: int = 0
    at_most_usd: float = 0.0
    halted: str = ""  #: why something was left out; empty where nothing was

    def check(self) -> None:
        """Complain of what was left out.

        Raises:
            IncompleteError: the budget or the limit on enqueued tokens was reached.
        """
        if self.halted:
            raise IncompleteError(self.halted)


def open_desk(path: Path, reporter: Reporter) -> Desk:
    """Load an experiment, retrieve what is missing, and seat its judges.

    Raises:
        UsageError: the config or a data file has a mistake, or a judge cannot be asked by file.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_experiment(path)
    prompts = load_prompts(experiment)
    material = load_material(experiment.config)
    for note in material.notes:
        reporter.say(f"note: {note}")
    runs = retrieve_all(experiment, material, reporter)
    prepared = prepare(experiment, material, runs, prompts)
    judges = {}
    seats = closed_panel(prepared)
    for seat in seats:
        if not isinstance(seat.judge, RequestJudge):
            raise UsageError(
                f'judge {seat.judge.name}: kind = "{seat.config.kind}" is not asked one request '
                "a battle, so batch jobs cannot carry it; use `arena battle`"
            )
        judges[seat.judge.fingerprint] = Postal(seat.config, seat.judge)
    return Desk(prepared, judges, seats)


def begin(desk: Desk, reporter: Reporter) -> None:
    """Leave in the log what this configuration plays, and record what the experiment is made of.

    Raises:
        LogError: another process writes this experiment's log.
    """
    folder, lists = desk.experiment.folder, desk.prepared.lists
    if any(folder.glob("battles*.jsonl")):
        planned = IdSet()
        for matchup in desk.prepared.matchups:
            for fingerprint in desk.judges:
                planned.add(lists.battle_id(matchup, fingerprint))
        if n_aside := set_aside(folder, planned):
            reporter.say(
                f"note: {n_aside:,} battles of an earlier configuration were moved to "
                f"{folder / SUPERSEDED}"
            )
    known = known_gates(folder)
    unasked = {"skipped": "batch jobs put no controls to a judge"}
    gates = {seat.judge.name: known.get(seat.judge.fingerprint, unasked) for seat in desk.seats}
    write_manifest(desk.prepared, desk.seats, gates)


async def submit(desk: Desk, order: Order, reporter: Reporter) -> Submitted:
    """Ask, by batch jobs, for every battle that is neither in the log nor asked for already.

    Jobs that an earlier run was stopped in the middle of are finished first.

    Raises:
        ConfigError: there is a cap on the cost, and a judge has no prices.
        ApiError: the provider did not take a job; the next run goes on from there.
        LogError: another process writes this experiment's log.
    """
    experiment = desk.experiment
    done = Submitted(experiment)
    begin(desk, reporter)
    with BattleLog(experiment.folder) as log, Ledger(experiment.folder) as ledger:
        _, budgets = open_budgets(experiment.config, experiment.folder, max_usd=order.max_usd)
        for postal in desk.judges.values():
            async with FileApi(postal.endpoint) as api:
                await _finish_halves(postal, ledger, api, experiment, reporter)
                learn_refusals(postal, ledger.jobs.values())
                with ExitStack() as held:
                    purse = _Purse(budgets[postal.config.log_name], held, order, ledger, done)
                    wanted = purse.affordable(_unasked(desk, postal, log, ledger), postal)
                    for chunk in cut(wanted, order.limits):
                        job = record_chunk(ledger, chunk, postal)
                        await start(ledger, job, api, experiment=experiment.config.experiment.name)
                        done.n_requests += len(chunk)
                        done.n_jobs += 1
                        done.at_most_usd += job.cost_usd
                        reporter.say(f"submitted {job.name}: {len(chunk):,} requests")
    return done


async def statuses(path: Path) -> list[tuple[Job, State | None]]:
    """Every job that is not collected, with what its provider says of it, oldest first.

    The state is None for jobs that are not created yet.

    Raises:
        ConfigError: the arena.toml has a mistake, or no longer has a job's judge.
        ApiError: a provider does not answer.
    """
    experiment = open_experiment(path)
    configs = {config.log_name: config for config in experiment.config.judges}
    found: list[tuple[Job, State | None]] = []
    for job in read_jobs(experiment.folder).values():
        if job.is_open and job.batch_id is None:
            found.append((job, None))
        elif job.is_open:
            if job.judge not in configs:
                raise UsageError(
                    f"job {job.name} is for judge {job.judge}, which {experiment.source} no "
                    "longer has; put it back to see the job"
                )
            async with FileApi(endpoint_of(configs[job.judge])) as api:
                found.append((job, await state(job, api)))
    return found


def export(desk: Desk, folder: Path, limits: Limits) -> list[Path]:
    """Write the input files for every battle that is not in the log, and send nothing.

    Raises:
        LogError: another process writes this experiment's log.
        UsageError: the folder has such files already.
    """
    written: list[Path] = []
    with BattleLog(desk.experiment.folder) as log, Ledger(desk.experiment.folder) as ledger:
        for postal in desk.judges.values():
            learn_refusals(postal, ledger.jobs.values())
            for chunk in cut(_unasked(desk, postal, log, ledger), limits):
                path = folder / f"requests-{len(written) + 1:04}.jsonl"
                if path.exists():
                    raise UsageError(f"{path}: exists already; give another folder")
                write_chunk(chunk, path)
                written.append(path)
    return written


def record_chunk(ledger: Ledger, chunk: list[Request], postal: Postal) -> Job:
    """Write a chunk's file, then record it: from now on its battles are asked for."""
    content = sha256(chunk)
    job = Job(
        name=ledger.name(content),
        sha256=content,
        fingerprint=postal.judge.fingerprint,
        judge=postal.config.log_name,
        requests={request.id: request.key for request in chunk},
        tokens=sum(request.tokens for request in chunk),
        cost_usd=sum(request.cost_usd for request in chunk),
        at=now(),
    )
    write_chunk(chunk, ledger.path(job))
    ledger.add(job)
    return job


def warn_of_jobs(folder: Path, reporter: Reporter) -> None:
    """Say that battles are under way in batch jobs, before they are judged live as well."""
    waiting = [job for job in read_jobs(folder).values() if job.is_open]
    if waiting:
        n_requests = sum(len(job.requests) for job in waiting)
        reporter.say(
            f"warning: {n_requests:,} requests are under way in {len(waiting)} batch jobs "
            f"({folder / LEDGER}) and will be paid for twice; `arena batch collect` first"
        )


def endpoint_of(config: JudgeConfig) -> Endpoint:
    """Where a judge is asked."""
    return Endpoint(config.base_url, config.api_key_env, config.timeout_s, config.concurrency)


def learn_refusals(postal: Postal, jobs: Iterable[Job]) -> None:
    """Leave out of requests what the provider refused in earlier jobs, once for each refusal."""
    for refusal in dict.fromkeys(
        job.refusal for job in jobs if job.fingerprint == postal.judge.fingerprint and job.refusal
    ):
        postal.judge.learn(refusal)


@dataclass(slots=True)
class _Purse:
    """What may still be submitted: money, and tokens under way."""

    budget: Budget
    held: ExitStack
    order: Order
    ledger: Ledger
    done: Submitted

    def affordable(self, requests: Iterator[Request], postal: Postal) -> Iterator[Request]:
        """The requests, as far as the budget and the limit on enqueued tokens go."""
        tokens = 0
        try:
            for job in self.ledger.open_jobs:
                if job.judge == postal.config.log_name:
                    self.held.enter_context(self.budget.reserve(job.cost_usd))
                    tokens += job.tokens
            for request in requests:
                tokens += request.tokens
                limit = self.order.max_tokens
                if limit is not None and tokens > limit:
                    self.done.halted = (
                        f"{limit:,} tokens are under way; submit the rest once they are collected"
                    )
                    return
                self.held.enter_context(self.budget.reserve(request.cost_usd))
                yield request
        except BudgetSpentError as error:
            self.done.halted = (
                f"not all was submitted: {dollars(error.spent_usd)} of "
                f"{dollars(error.max_usd)} are spent, or may be by what is under way; "
                "collect, or raise max_usd, then submit again"
            )


async def _finish_halves(
    postal: Postal, ledger: Ledger, api: FileApi, experiment: Experiment, reporter: Reporter
) -> None:
    """Bring jobs to an end that an earlier run had begun to submit."""
    for job in ledger.open_jobs:
        if job.batch_id is None and job.fingerprint == postal.judge.fingerprint:
            name = experiment.config.experiment.name
            started = await start(ledger, job, api, experiment=name)
            done = "submitted" if started else "given up, for its file is gone:"
            reporter.say(f"{done} {job.name}, begun earlier")


def _unasked(desk: Desk, postal: Postal, log: BattleLog, ledger: Ledger) -> Iterator[Request]:
    """A request for each battle that needs one, in plan order; wholly equal ones once."""
    waiting = [job for job in ledger.open_jobs if job.fingerprint == postal.judge.fingerprint]
    asked = {key for job in waiting for key in job.requests.values()}
    lists = desk.prepared.lists
    for matchup in desk.prepared.matchups:
        name = lists.battle_id(matchup, postal.judge.fingerprint)
        if name in log.battle_ids or any(name in job.requests for job in waiting):
            continue
        exhibit = lists.exhibit(matchup)
        if same_lists(exhibit):
            continue
        key = postal.judge.request_key(exhibit)
        paid = (log.reply_for(name), log.reply_to(key))
        if key in asked or any(reply and reply.winner for reply in paid):
            continue
        asked.add(key)
        body = postal.judge.request(exhibit)
        tokens = _tokens(body)
        cost_usd = _at_most_usd(body, tokens, postal.config)
        yield Request(name, key, request_line(name, body), tokens, cost_usd)


def _tokens(body: Mapping[str, Any]) -> int:
    n_bytes = sum(len(message["content"].encode("utf-8")) for message in body["messages"])
    return -(-n_bytes // BYTES_PER_TOKEN)


def _at_most_usd(body: Mapping[str, Any], tokens: int, config: JudgeConfig) -> float:
    """What a request costs if the judge writes as much as it may."""
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or config.max_tokens
    price_in, price_out = config.price_per_1m_input_tokens, config.price_per_1m_output_tokens
    full_usd = (tokens * (price_in or 0.0) + limit * (price_out or 0.0)) / 1e6
    return full_usd * BATCH_DISCOUNT
