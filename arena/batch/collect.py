"""Collect the results of batch jobs, and judge the battles whose replies are there.

Replies reach the judge call by call, and battles the log in plan order; last the job is marked as
collected. A run that is stopped in between asks for the same results again, and writes what is
missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from arena.batch.batch_run import BatchRun
from arena.batch.delivered_replies import Deliveries, Delivery
from arena.batch.jobs import JobState, Poll, fetch_results, follow, is_overdue, state
from arena.batch.judge_results import Booked, Collected, Settlement, settle_killed_run
from arena.batch.results import Results
from arena.endpoint.file_api import FileApi
from arena.errors import ApiError, FatalApiError, UsageError
from arena.judging.judge import RequestJudge
from arena.judging.open import endpoint_of
from arena.progress import Reporter
from arena.records import Battle, Matchup, Reply, Usage, now
from arena.store.batch_ledger import Job, Ledger, read_ledgers
from arena.store.battle_log import BattleLog


@dataclass(frozen=True, slots=True)
class _Ended:
    """A job that has ended, and what it brought."""

    job: Job
    state: JobState
    results: Results


async def wait(
    run: BatchRun, poll: Poll, reporter: Reporter, *, stop: asyncio.Event | None = None
) -> None:
    """Wait until every job has ended; nothing is locked meanwhile.

    Args:
        run: the experiment.
        poll: how often to ask.
        reporter: shows how far the jobs are.
        stop: ends the waiting early once it is set.

    Raises:
        FatalApiError: a provider refuses everything.
    """
    jobs = open_jobs(run)
    for fingerprint, configured in run.by_fingerprint.items():
        of_judge = [job for job in jobs if job.fingerprint == fingerprint and job.batch_id]
        async with FileApi(endpoint_of(configured.config)) as api:
            await follow(of_judge, api, poll, reporter.log, stop or asyncio.Event())


def open_jobs(run: BatchRun) -> list[Job]:
    """Return the jobs of this run's part of the plan that are not collected, oldest first."""
    jobs = read_ledgers(run.experiment.folder).get(run.shard.suffix, {})
    return [job for job in jobs.values() if job.is_open]


async def collect(  # noqa: PLR0913, what to judge, and who is told
    run: BatchRun,
    reporter: Reporter,
    *,
    give_up: str | None = None,
    matchups: Sequence[Matchup] | None = None,
    limit: int | None = None,
    on_battle: Callable[[Battle], None] | None = None,
) -> Collected:
    """Write into the log what every job that has ended brought back.

    Args:
        run: the experiment.
        reporter: shows what was odd about a job.
        give_up: the name of a job to forget; its battles are free to be submitted again.
        matchups: the part of the plan to judge; all of it if absent.
        limit: battles to judge at most that need no answer of a job, such as identical lists.
        on_battle: is called with each battle of the log, old or new.

    Raises:
        FatalApiError: a provider refuses everything.
        LogError: another process writes this experiment's log.
        UsageError: no job has the name to give up.
    """
    folder, shard = run.experiment.folder, run.shard
    done, booked = Collected(run.experiment, shard, on_battle=on_battle), Booked(folder)
    log, done.n_planned = run.open_log(reporter, seen=done.count, replied=booked.count)
    with log, Ledger(folder, shard) as ledger:
        run.write_manifest()
        settle_killed_run(run, log)
        if give_up is not None:
            _give_up(ledger, log, give_up)
        ended = await _fetch_ended(run, ledger, done, reporter)
        with Settlement(run, log, _deliveries(ended), booked) as settlement:
            await settlement.judge(done, matchups=matchups, limit=limit)
            settlement.book_the_rest()
        # A job counts as collected only once its verdicts are on the disk. After a kill in between
        # the next run fetches it again, and finds them in the log.
        log.flush()
        for ended_job in ended:
            _finish(ended_job, ledger, log, done)
    return done


async def _fetch_ended(
    run: BatchRun, ledger: Ledger, collected: Collected, reporter: Reporter
) -> list[_Ended]:
    """Return the jobs that have ended, with their results; note the others as waited for."""
    ended: list[_Ended] = []
    jobs: dict[str, list[Job]] = {}
    judges = run.by_fingerprint
    for job in ledger.open_jobs:
        if job.fingerprint not in judges:
            collected.waiting.append(
                f"{job.name}: its judge {job.judge} has changed, or is not in arena.toml: "
                f"set it back, or --give-up {job.name}"
            )
        elif job.batch_id is None:
            collected.waiting.append(f"{job.name}, half submitted")
        else:
            jobs.setdefault(job.fingerprint, []).append(job)
    for fingerprint, of_judge in jobs.items():
        configured = judges[fingerprint]
        judge = configured.judge
        assert isinstance(judge, RequestJudge)  # noqa: S101, as in `by_fingerprint`
        async with FileApi(endpoint_of(configured.config)) as api:
            for job in of_judge:
                if ended_job := await _fetch(job, api, judge, collected):
                    _tell(job, ended_job.state, ended_job.results, reporter)
                    ended.append(ended_job)
    return ended


async def _fetch(
    job: Job, api: FileApi, judge: RequestJudge, collected: Collected
) -> _Ended | None:
    """Return a job with its results; None, and a note, if it has not ended or does not answer.

    Raises:
        FatalApiError: the provider refuses everything.
    """
    try:
        job_state = await state(job, api)
        if not job_state.is_ended:
            collected.waiting.append(f"{job.name} ({job_state})")
            return None
        return _Ended(
            job, job_state, await fetch_results(job, job_state.files, api, judge.reply_from)
        )
    except FatalApiError:
        raise
    except ApiError as error:
        # One job that cannot be fetched now holds up none of the others.
        collected.waiting.append(f"{job.name} ({error}; or --give-up {job.name})")
        return None


def _deliveries(ended: list[_Ended]) -> Mapping[str, Deliveries]:
    """Return the answers of all jobs, by judge."""
    deliveries: dict[str, Deliveries] = {}
    for ended_job in ended:
        job, answers = ended_job.job, ended_job.results.answers
        of_judge = deliveries.setdefault(job.judge, Deliveries())
        for custom_id, request in job.requests.items():
            if answer := answers.get(custom_id):
                of_judge.add(
                    Delivery(custom_id, request, answer, job.at, ended_job.state.at or job.at)
                )
    return deliveries


def _finish(ended_job: _Ended, ledger: Ledger, log: BattleLog, collected: Collected) -> None:
    """Mark a job as collected, unless some of its results are still to come."""
    job, results = ended_job.job, ended_job.results
    if waits_for := _missing(job, ended_job.state, results):
        collected.waiting.append(f"{job.name} ({waits_for}; or --give-up {job.name})")
        return
    if ended_job.state.status == "completed":  # what is missing of others is free
        _book_missing(log, job, len(job.requests.keys() - results.answers.keys()))
        log.flush()
    refusal = {"refusal": results.refusal} if results.refusal else {}
    ledger.step(job, ended=ended_job.state.status, **refusal)
    collected.n_jobs += bool(results.answers)
    ledger.path(job).unlink(missing_ok=True)


def _give_up(ledger: Ledger, log: BattleLog, name: str) -> None:
    """Forget a job; what it has not brought back may have been billed, and counts as the most."""
    job = ledger.jobs.get(name)
    if job is None or not job.is_open:
        names = ", ".join(job.name for job in ledger.open_jobs) or "none"
        raise UsageError(f"no job {name!r} is open; open are: {names}")
    n_missing = sum(log.reply_for(battle_id) is None for battle_id in job.requests)
    if job.batch_id:
        _book_missing(log, job, n_missing)
        log.flush()
    ledger.step(job, ended="abandoned")
    ledger.path(job).unlink(missing_ok=True)


def _missing(job: Job, job_state: JobState, results: Results) -> str:
    """Return why a job that has ended is to be asked for its results again; empty if it is not."""
    if results.troubles:
        return "; ".join(results.troubles)
    n_ours = len(job.requests.keys() & results.answers.keys())
    if n_ours >= job_state.n_results or is_overdue(job):
        return ""
    return f"{job_state}, but its files hold only {n_ours:,} of {job_state.n_results:,} results yet"


def _book_missing(log: BattleLog, job: Job, n_missing: int) -> None:
    """Count requests that were perhaps answered, and whose results are lost, as the most."""
    cost_usd = job.cost_usd * n_missing / max(1, len(job.requests))
    if cost_usd:
        usage = Usage(cost_usd=cost_usd, estimated=True)
        log.write_reply(Reply("", "", "", None, None, usage, now(), job.judge))


def _tell(job: Job, job_state: JobState, results: Results, reporter: Reporter) -> None:
    """Report how a job ended, and what was odd about its files."""
    reporter.log(f"{job.name} {job_state}")
    if "token_limit" in job_state.problem:
        reporter.log(f"note: {job.name}: --max-tokens limits the tokens in jobs under way")
    unknown = results.answers.keys() - job.requests.keys()
    missing = job.requests.keys() - results.answers.keys()
    waits = _missing(job, job_state, results)
    for n, note in (
        (len(unknown), "results are for requests that were not in it, and are ignored"),
        (results.n_repeated, "results came twice; the first verdict counts"),
        (results.n_damaged, "lines are no results"),
        (results.n_estimated, "results do not tell what they cost; the most they may is booked"),
        (0 if waits else len(missing), "requests have no result; they can be submitted again"),
    ):
        if n:
            reporter.log(f"note: {job.name}: {n:,} {note}")
