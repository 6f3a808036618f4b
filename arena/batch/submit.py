"""Submit batch jobs: what is still to be asked, in files that a provider takes, each job once.

The plan, the budget and the log are those of a live run; only the way to the judge is another. So
an experiment may be judged partly live and partly by batch jobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from arena.batch.batch_run import BatchRun
from arena.batch.jobs import BATCH_DISCOUNT, start, state
from arena.batch.requests import (
    Limits,
    Request,
    calls_of,
    cut_into_files,
    request_line,
    sha256,
    write_chunk,
)
from arena.config import JudgeConfig
from arena.endpoint.file_api import FileApi
from arena.errors import ApiError, BudgetSpentError, FatalApiError, IncompleteError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import Experiment, open_experiment
from arena.experiment.gate_controls import check_judges
from arena.experiment.judges import ConfiguredJudge, open_judges
from arena.experiment.pending import pending
from arena.experiment.spending import Budgets, open_budgets
from arena.files import cache_folder
from arena.judging.capabilities import ServerCapabilities
from arena.judging.judge import RequestJudge
from arena.judging.open import endpoint_of
from arena.judging.reply_cache import VerdictCache
from arena.progress import Reporter
from arena.records import Battle, Matchup, now
from arena.store.batch_ledger import Job, Ledger, names_of, read_jobs, under_way
from arena.store.battle_log import BattleLog
from arena.store.shards import WHOLE, Shard
from arena.terminal import dollars

BYTES_PER_TOKEN: Final = 3
"""On the safe side: English has about four."""


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """How much to submit, and in what portions."""

    max_usd: float | None = None  #: all judges and all runs together, work under way included
    max_tokens: int | None = None  #: in jobs under way at one time, for each judge; estimated
    limits: Limits = field(default_factory=Limits)  #: of one file
    gate: bool = True  #: whether judges must pass their controls first, live
    limit: int | None = None  #: battles to ask about now, at most
    matchups: Sequence[Matchup] | None = None  #: the part of the plan; all of it if absent
    left_out: Container[str] = frozenset()  #: ids of battles that are not to be asked about


@dataclass(slots=True)
class Submitted:
    """What a submission came to."""

    experiment: Experiment
    n_requests: int = 0
    n_jobs: int = 0
    at_most_usd: float = 0.0
    halted: str = ""  #: why something was left out; empty if nothing was
    n_planned: int = 0  #: battles of this shard, of all judges
    n_judged: int = 0  #: of them in the log
    shard: Shard = WHOLE  #: the part of the plan that counts

    def count(self, battle: Battle) -> None:
        """Count a battle of the log, if it belongs to this shard."""
        self.n_judged += self.shard.holds(battle.id)

    def check(self) -> None:
        """Raise an error for what was left out.

        Raises:
            IncompleteError: the budget or the limit on enqueued tokens was reached.
        """
        if self.halted:
            raise IncompleteError(self.halted)


async def submit(run: BatchRun, options: SubmitOptions, reporter: Reporter) -> Submitted:
    """Ask, by batch jobs, for every battle that is neither in the log nor asked for already.

    Jobs that an earlier run was stopped in the middle of are finished first.

    Raises:
        ConfigError: there is a cap on the cost, and a judge has no prices.
        GateError: a judge failed its controls.
        ApiError: the provider did not take a job; the next run goes on from there.
        LogError: another process writes this experiment's log.
    """
    experiment, shard = run.experiment, run.shard
    folder = experiment.folder
    done = Submitted(experiment, shard=shard)
    with ExitStack() as stack:
        log, done.n_planned = run.open_log(reporter, seen=done.count)
        stack.enter_context(log)
        ledger = stack.enter_context(Ledger(folder, shard))
        cache = stack.enter_context(VerdictCache(cache_folder()))
        budgets = open_budgets(experiment.config, folder, max_usd=options.max_usd, shard=shard)
        budgets.begin(log)
        stack.callback(budgets.settle, log)
        gate = BattleOptions(gate=options.gate)
        async with open_judges(
            run.prepared, budgets=budgets.own, on_grade=lambda _grade: None, log=reporter.log
        ) as judges:
            await check_judges(run.prepared, judges, log, gate, reporter)
        room = _Room(budgets, options, done, ledger.open_jobs)
        unasked = Unasked(run, log, cache, options)
        # The judges that were asked: they know by now what their endpoint takes.
        for configured in judges:
            if isinstance(configured.judge, RequestJudge):
                await _submit_for(configured, unasked, room, ledger, reporter)
    return done


async def _submit_for(
    configured: ConfiguredJudge, unasked: Unasked, room: _Room, ledger: Ledger, reporter: Reporter
) -> None:
    """Finish the jobs of one judge that were begun, then submit what is left for it."""
    judge = request_judge(configured)
    name = unasked.run.experiment.config.experiment.name
    done, limits = room.done, room.options.limits
    begun = [
        job
        for job in ledger.open_jobs
        if job.batch_id is None and job.fingerprint == judge.fingerprint
    ]
    async with FileApi(endpoint_of(configured.config)) as api:
        # First, so that no request of theirs is asked for a second time below.
        for job in begun:
            started = await start(ledger, job, api, experiment=name)
            if not started:  # its requests are free again
                unasked.forget(job)
            end = "submitted" if started else "given up, for its file is gone:"
            reporter.log(f"{end} {job.name}, begun earlier")
        recall(judge, ledger.jobs.values())
        affordable = room.affordable(unasked.requests(configured), configured)
        for chunk in cut_into_files(affordable, limits):
            job = record_chunk(ledger, chunk, configured)
            await start(ledger, job, api, experiment=name)
            done.n_requests += len(chunk)
            done.n_jobs += 1
            done.at_most_usd += job.cost_usd
            reporter.log(f"submitted {job.name}: {len(chunk):,} requests")


async def statuses(path: Path) -> list[tuple[Job, str]]:
    """Return every job that is not collected, with what its provider says of it, oldest first.

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
        return "half submitted; go on with: arena battle --batch"
    if config is None:
        return f"for judge {job.judge}, which arena.toml no longer has"
    async with FileApi(endpoint_of(config)) as api:
        try:
            return str(await state(job, api))
        except FatalApiError:
            raise
        except ApiError as error:
            return str(error)


def record_chunk(ledger: Ledger, chunk: list[Request], configured: ConfiguredJudge) -> Job:
    """Write a chunk's file, then record it: from now on its battles are asked for."""
    judge, content = request_judge(configured), sha256(chunk)
    job = Job(
        name=ledger.name(content),
        sha256=content,
        fingerprint=judge.fingerprint,
        judge=configured.config.log_name,
        requests={request.id: request.key for request in chunk},
        tokens=sum(request.tokens for request in chunk),
        cost_usd=sum(request.cost_usd for request in chunk),
        at=now(),
        dialect=asdict(judge.chat.capabilities),
    )
    write_chunk(chunk, ledger.path(job))  # first, so that every job in the ledger has its file
    ledger.add(job)
    return job


class _Room:
    """What may still be submitted: money, and tokens under way."""

    def __init__(
        self, budgets: Budgets, options: SubmitOptions, done: Submitted, jobs: Iterable[Job]
    ) -> None:
        self.options = options
        self.done = done
        self._budgets = budgets
        self._tokens: Counter[str] = Counter()  #: judge → tokens under way
        for job in jobs:
            self._tokens[job.judge] += job.tokens

    def affordable(
        self, requests: Iterator[Request], configured: ConfiguredJudge
    ) -> Iterator[Request]:
        """Yield the requests, as far as the budget and the limit on enqueued tokens go."""
        if self.done.halted:
            return
        judge, limit = configured.config.log_name, self.options.max_tokens
        try:
            for request in requests:
                self._tokens[judge] += request.tokens
                if limit is not None and self._tokens[judge] > limit:
                    self.done.halted = (
                        f"{limit:,} tokens are under way; the rest is submitted once they are "
                        "collected"
                    )
                    return
                self._budgets.own[judge].commit(request.cost_usd)
                yield request
        except BudgetSpentError as error:
            self.done.halted = (
                f"not all was submitted: {dollars(error.spent_usd)} of {dollars(error.max_usd)} "
                "are spent, or may be by what is under way; collect, or raise max_usd, then run "
                "the same command again"
            )


class Unasked:
    """The requests that are needed, and neither answered nor under way.

    Args:
        run: the experiment.
        log: where verdicts and replies are.
        cache: replies paid for before, by any experiment.
        options: how much to ask for.
    """

    def __init__(
        self, run: BatchRun, log: BattleLog, cache: VerdictCache, options: SubmitOptions
    ) -> None:
        self.run = run
        self._log = log
        self._cache = cache
        self._options = options
        # Jobs of all shards count: what any of them brings is in this folder's logs.
        self._taken = under_way(run.experiment.folder)
        self._order = list(run.by_fingerprint)

    def forget(self, job: Job) -> None:
        """Release the requests of a job that was given up."""
        self._taken -= names_of([job])

    def requests(self, configured: ConfiguredJudge) -> Iterator[Request]:
        """Yield what one judge is to be asked, in plan order; requests wholly the same once."""
        judge, prepared = request_judge(configured), self.run.prepared
        matchups = self._options.matchups
        battles = pending(
            prepared.matchups if matchups is None else matchups,
            prepared.lists,
            [judge],
            self._log,
            shard=self.run.shard,
            asked=self._taken,
        )
        n_left = self._share_of_limit(judge)
        for battle in battles:
            if battle.state != "to_ask" or battle.id in self._options.left_out:
                continue
            calls = [
                call
                for call in calls_of(battle)
                if self._taken.isdisjoint((call.id, call.request)) and not self._cache.get(call.key)
            ]
            if not calls:
                continue
            if n_left is not None:
                if not n_left:
                    return
                n_left -= 1
            for call in calls:
                self._taken.add(call.request)
                body = judge.chat.request(call.messages)
                line = request_line(call.id, body)
                cost_usd = judge.chat.batch_usd(len(line)) * BATCH_DISCOUNT
                yield Request(call.id, call.request, line, _tokens(body), cost_usd)

    def _share_of_limit(self, judge: RequestJudge) -> int | None:
        """Return how many battles one judge is asked about: judges take turns, as in a live run."""
        if self._options.limit is None:
            return None
        n_judges = len(self._order)
        return (
            self._options.limit + n_judges - 1 - self._order.index(judge.fingerprint)
        ) // n_judges


def request_judge(configured: ConfiguredJudge) -> RequestJudge:
    """Return the judge, as one whose requests a job may carry."""
    assert isinstance(configured.judge, RequestJudge)  # noqa: S101, callers leave out others
    return configured.judge


def recall(judge: RequestJudge, jobs: Iterable[Job]) -> None:
    """Write requests as those of the last job, without the fields that a provider refused.

    A judge that an earlier call has taught better begins with what it knows.
    """
    own_jobs = [job for job in jobs if job.fingerprint == judge.fingerprint]
    begun = judge.chat.capabilities
    refused: dict[ServerCapabilities, ServerCapabilities] = {}
    for job in own_jobs:
        if job.refusal:
            judge.chat.capabilities = used = ServerCapabilities(**job.dialect)
            if judge.chat.learn(job.refusal):
                refused[used] = judge.chat.capabilities
    is_new = begun == ServerCapabilities()
    known = ServerCapabilities(**own_jobs[-1].dialect) if own_jobs and is_new else begun
    while known in refused:
        known = refused[known]
    judge.chat.capabilities = known


def _tokens(body: Mapping[str, Any]) -> int:
    n_bytes = sum(len(message["content"].encode("utf-8")) for message in body["messages"])
    return -(-n_bytes // BYTES_PER_TOKEN)
