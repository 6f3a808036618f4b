"""An experiment whose judges are asked by batch jobs: what is still to be asked, and asking it.

The plan, the budget and the log are those of `arena battle`; only the way to the judge is
another. So an experiment may be judged partly live and partly by batch jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from arena.batch.jobs import BATCH_DISCOUNT, start, state
from arena.batch.requests import Limits, Request, cut, request_line, sha256, write_chunk
from arena.config import JudgeConfig
from arena.endpoint.address import Endpoint
from arena.endpoint.file_api import FileApi
from arena.errors import ApiError, BudgetSpentError, FatalApiError, IncompleteError, UsageError
from arena.experiment.experiment import (
    Experiment,
    PreparedExperiment,
    load_data,
    load_prompts,
    open_experiment,
    prepare,
)
from arena.experiment.gate import check_judges
from arena.experiment.judges import ConfiguredJudge, closed_judges, open_judges
from arena.experiment.runs import retrieve_all
from arena.experiment.shown_lists import same_lists
from arena.experiment.spending import Budgets, open_budgets_and_log
from arena.experiment.stale_battles import move_stale_battles
from arena.experiment.summary import BattleOptions
from arena.judging.capabilities import ServerCapabilities
from arena.judging.judge import RequestJudge
from arena.judging.open import endpoint_of
from arena.progress import Reporter
from arena.store.batch_ledger import Job, Ledger, now, read_jobs
from arena.store.battle_log import BattleLog
from arena.terminal import dollars


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """How much to submit, and in what portions."""

    max_usd: float | None = None  #: all judges and all runs together, work under way included
    max_tokens: int | None = None  #: in jobs under way at one time, for each judge; estimated
    limits: Limits = field(default_factory=Limits)  #: of one file
    gate: bool = True  #: whether judges must pass their controls first, live


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


async def submit(desk: BatchRun, order: SubmitOptions, reporter: Reporter) -> Submitted:
    """Ask, by batch jobs, for every battle that is neither in the log nor asked for already.

    Jobs that an earlier run was stopped in the middle of are finished first.

    Raises:
        ConfigError: there is a cap on the cost, and a judge has no prices.
        GateError: a judge failed its controls.
        ApiError: the provider did not take a job; the next run goes on from there.
        LogError: another process writes this experiment's log.
    """
    experiment = desk.experiment
    done = Submitted(experiment)
    move_stale_battles(desk.prepared, [seat.judge for seat in desk.seats], reporter)
    with ExitStack() as stack:
        log = stack.enter_context(BattleLog(experiment.folder))
        ledger = stack.enter_context(Ledger(experiment.folder))
        books = open_budgets_and_log(experiment.config, experiment.folder, max_usd=order.max_usd)
        books.begin()
        stack.callback(books.settle, log)
        async with open_judges(
            desk.prepared, budgets=books.own, on_grade=lambda _grade: None, log=reporter.say
        ) as seats:
            await check_judges(desk.prepared, seats, log, BattleOptions(gate=order.gate), reporter)
        purse = _Purse(books, order, done, ledger.open_jobs)
        # The judges that were asked: they know by now what their endpoint takes.
        for postal in map(by_post, seats):
            async with FileApi(postal.endpoint) as api:
                await _finish_halves(postal, ledger, api, experiment, reporter)
                recall(postal, ledger.jobs.values())
                wanted = purse.affordable(unasked(desk, postal, log, ledger), postal)
                for chunk in cut(wanted, order.limits):
                    job = record_chunk(ledger, chunk, postal)
                    await start(ledger, job, api, experiment=experiment.config.experiment.name)
                    done.n_requests += len(chunk)
                    done.n_jobs += 1
                    done.at_most_usd += job.cost_usd
                    reporter.say(f"submitted {job.name}: {len(chunk):,} requests")
    return done


async def statuses(path: Path) -> list[tuple[Job, str]]:
    """Every job that is not collected, with what its provider says of it, oldest first.

    Raises:
        ConfigError: the arena.toml has a mistake.
        FatalApiError: a provider refuses everything.
    """
    experiment = open_experiment(path)
    configs = {config.log_name: config for config in experiment.config.judges}
    return [
        (job, await _status(job, configs.get(job.judge)))
        for job in read_jobs(experiment.folder).values()
        if job.is_open
    ]


async def _status(job: Job, config: JudgeConfig | None) -> str:
    if job.batch_id is None:
        return "half submitted; go on with: arena batch submit"
    if config is None:
        return f"for judge {job.judge}, which arena.toml no longer has"
    async with FileApi(endpoint_of(config)) as api:
        try:
            return str(await state(job, api))
        except FatalApiError:
            raise
        except ApiError as error:
            return str(error)


def export(desk: BatchRun, folder: Path, limits: Limits) -> list[Path]:
    """Write the input files for every battle that is not in the log, and send nothing.

    Raises:
        LogError: another process writes this experiment's log.
        UsageError: the folder has such files already.
    """
    written: list[Path] = []
    with BattleLog(desk.experiment.folder) as log, Ledger(desk.experiment.folder) as ledger:
        for postal in desk.judges.values():
            recall(postal, ledger.jobs.values())
            for chunk in cut(unasked(desk, postal, log, ledger), limits):
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
        dialect=asdict(postal.judge.dialect),
    )
    write_chunk(chunk, ledger.path(job))
    ledger.add(job)
    return job


class _Purse:
    """What may still be submitted: money, and tokens under way."""

    def __init__(
        self, books: Budgets, order: SubmitOptions, done: Submitted, jobs: Iterable[Job]
    ) -> None:
        self._books = books
        self._max_tokens = order.max_tokens
        self._done = done
        self._tokens: Counter[str] = Counter()  #: judge → tokens under way
        for job in jobs:
            self._tokens[job.judge] += job.tokens

    def affordable(self, requests: Iterator[Request], postal: Postal) -> Iterator[Request]:
        """The requests, as far as the budget and the limit on enqueued tokens go."""
        if self._done.halted:
            return
        judge, limit = postal.config.log_name, self._max_tokens
        try:
            for request in requests:
                self._tokens[judge] += request.tokens
                if limit is not None and self._tokens[judge] > limit:
                    self._done.halted = (
                        f"{limit:,} tokens are under way; submit the rest once they are collected"
                    )
                    return
                self._books.own[judge].commit(request.cost_usd)
                yield request
        except BudgetSpentError as error:
            self._halt(error)

    def _halt(self, error: BudgetSpentError) -> None:
        self._done.halted = (
            f"not all was submitted: {dollars(error.spent_usd)} of {dollars(error.max_usd)} are "
            "spent, or may be by what is under way; collect, or raise max_usd, then submit again"
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
class BatchRun:
    """An experiment, ready to be judged by post."""

    prepared: PreparedExperiment
    judges: Mapping[str, Postal]  #: by the fingerprint of the judge
    seats: tuple[ConfiguredJudge, ...]  #: the same judges, as the manifest names them

    @property
    def experiment(self) -> Experiment:
        """The arena.toml and its folder."""
        return self.prepared.experiment


def open_batch_run(path: Path, reporter: Reporter) -> BatchRun:
    """Load an experiment, retrieve what is missing, and seat its judges.

    Raises:
        UsageError: the config or a data file has a mistake, or a judge cannot be asked by file.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_experiment(path)
    for config in experiment.config.judges:
        if config.kind != "pairwise":  # found before an hour of embedding
            raise _unpostable(config)
    prompts = load_prompts(experiment)
    material = load_data(experiment.config, reporter)
    for note in material.notes:
        reporter.say(f"note: {note}")
    runs = retrieve_all(experiment, material, reporter)
    prepared = prepare(experiment, material, runs, prompts)
    seats = closed_judges(prepared)
    judges = {seat.judge.fingerprint: by_post(seat) for seat in seats}
    return BatchRun(prepared, judges, seats)


def by_post(seat: ConfiguredJudge) -> Postal:
    """The judge of a seat, as one that can be asked by post.

    Raises:
        UsageError: it cannot.
    """
    if not isinstance(seat.judge, RequestJudge):
        raise _unpostable(seat.config)
    return Postal(seat.config, seat.judge)


def unasked(desk: BatchRun, postal: Postal, log: BattleLog, ledger: Ledger) -> Iterator[Request]:
    """A request for each battle that needs one, in plan order; wholly equal ones once."""
    waiting = [job for job in ledger.open_jobs if job.fingerprint == postal.judge.fingerprint]
    asked = {key for job in waiting for key in job.requests.values()}
    lists = desk.prepared.lists
    for matchup in desk.prepared.matchups:
        name = lists.battle_id(matchup, postal.judge.fingerprint)
        if name in log.battle_ids or any(name in job.requests for job in waiting):
            continue
        exhibit = lists.judge_input(matchup)
        if same_lists(exhibit):
            continue
        key = postal.judge.request_key(exhibit)
        paid = (log.reply_for(name), log.reply_to(key))
        if key in asked or any(reply and reply.winner for reply in paid):
            continue
        asked.add(key)
        body = postal.judge.request(exhibit)
        tokens = _tokens(body)
        line = request_line(name, body)
        cost_usd = postal.judge.by_post_usd(len(line)) * BATCH_DISCOUNT
        yield Request(name, key, line, tokens, cost_usd)


def recall(postal: Postal, jobs: Iterable[Job]) -> None:
    """Word requests as those of the last job, but for what a provider refused of them.

    A judge that an earlier call has taught better begins with what it knows.
    """
    ours = [job for job in jobs if job.fingerprint == postal.judge.fingerprint]
    begun = postal.judge.dialect
    refused: dict[ServerCapabilities, ServerCapabilities] = {}
    for job in ours:
        if job.refusal:
            postal.judge.dialect = spoken = ServerCapabilities(**job.dialect)
            if postal.judge.learn(job.refusal):
                refused[spoken] = postal.judge.dialect
    known = (
        ServerCapabilities(**ours[-1].dialect) if ours and begun == ServerCapabilities() else begun
    )
    while known in refused:
        known = refused[known]
    postal.judge.dialect = known


def _unpostable(config: JudgeConfig) -> UsageError:
    return UsageError(
        f'judge {config.log_name}: kind = "{config.kind}" is not asked one request a battle, so '
        "batch jobs cannot carry it; use `arena battle`"
    )


def _tokens(body: Mapping[str, Any]) -> int:
    n_bytes = sum(len(message["content"].encode("utf-8")) for message in body["messages"])
    return -(-n_bytes // BYTES_PER_TOKEN)
