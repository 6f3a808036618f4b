"""What batch jobs brought back: into the log, as if the judge had said it just now.

First every reply is written down, then the battles in plan order; last the job is marked as
collected. A run that is stopped in between writes, when it is repeated, what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from arena.batch.jobs import Poll, State, fetch, follow, is_overdue, state
from arena.batch.ledger import Job, Ledger, now, read_jobs, utc
from arena.batch.results import Results
from arena.endpoint.files import FileApi
from arena.errors import ApiError, DataError, FatalApiError, UsageError
from arena.experiment.batch_desk import Desk, Postal
from arena.experiment.batch_settle import (
    Collected,
    Delivery,
    Refused,
    settle,
    write_replies,
)
from arena.experiment.manifest import known_gates, write_manifest
from arena.experiment.others import set_aside_others
from arena.experiment.spending import open_books
from arena.log.battle_log import BattleLog, Reply
from arena.progress import Reporter
from arena.records import Usage, Verdict


async def wait(desk: Desk, poll: Poll, reporter: Reporter) -> None:
    """Wait until every job has ended; nothing is locked meanwhile.

    Raises:
        FatalApiError: a provider refuses everything.
    """
    jobs = [job for job in read_jobs(desk.experiment.folder).values() if job.is_open]
    for fingerprint, postal in desk.judges.items():
        ours = [job for job in jobs if job.fingerprint == fingerprint and job.batch_id]
        async with FileApi(postal.endpoint) as api:
            await follow(ours, api, poll, reporter.say)


async def collect(desk: Desk, reporter: Reporter, *, give_up: str | None = None) -> Collected:
    """Write into the log what every job that has ended brought back.

    Args:
        desk: the experiment.
        reporter: shows what was odd about a job.
        give_up: the name of a job to forget; its battles are free to be submitted again.

    Raises:
        FatalApiError: a provider refuses everything.
        LogError: another process writes this experiment's log.
        UsageError: no job has the name to give up.
    """
    folder = desk.experiment.folder
    set_aside_others(desk.prepared, desk.judges, reporter)
    _write_manifest(desk)
    with BattleLog(folder) as log, Ledger(folder) as ledger:
        open_books(desk.experiment.config, folder).settle(log)
        if give_up is not None:
            _give_up(ledger, log, give_up)
        done = Collected(desk.experiment)
        ended = await _fetch_ended(desk, ledger, done, reporter)
        refused: dict[str, Refused] = {}
        for job, found, results in ended:
            ours = {name: results.answers[name] for name in job.requests if name in results.answers}
            delivery = Delivery(job.judge, job.requests, ours, job.at, found.at or job.at)
            write_replies(log, folder, delivery)
            refused |= delivery.refused
        await settle(desk, log, refused, done)
        log.flush()
        for job, found, results in ended:
            if waits_for := _missing(job, found, results):
                done.waiting.append(f"{job.name} ({waits_for}; or --give-up {job.name})")
                continue
            if found.status == "completed":  # what is missing of others is free
                _book_missing(log, job, len(job.requests.keys() - results.answers.keys()))
                log.flush()
            refusal = {"refusal": results.refusal} if results.refusal else {}
            ledger.step(job, ended=found.status, **refusal)
            ledger.path(job).unlink(missing_ok=True)
    return done


async def _fetch_ended(
    desk: Desk, ledger: Ledger, done: Collected, reporter: Reporter
) -> list[tuple[Job, State, Results]]:
    """The jobs that have ended, with their results; the others are noted as waited for."""
    ended: list[tuple[Job, State, Results]] = []
    jobs: dict[str, list[Job]] = {}
    for job in ledger.open_jobs:
        if job.fingerprint not in desk.judges:
            done.waiting.append(f"{job.name}, made for another {job.judge}: set it back")
        elif job.batch_id is None:
            done.waiting.append(f"{job.name}, half submitted: arena batch submit")
        else:
            jobs.setdefault(job.fingerprint, []).append(job)
    for fingerprint, of_judge in jobs.items():
        postal = desk.judges[fingerprint]
        async with FileApi(postal.endpoint) as api:
            for job in of_judge:
                try:
                    found = await state(job, api)
                    if not found.is_ended:
                        done.waiting.append(f"{job.name} ({found})")
                        continue
                    results = await fetch(job, found.files, api, postal.judge.verdict_from)
                except FatalApiError:
                    raise
                except ApiError as error:
                    done.waiting.append(f"{job.name} ({error}; or --give-up {job.name})")
                else:
                    _tell(job, found, results, reporter)
                    ended.append((job, found, results))
    return ended


async def import_files(desk: Desk, paths: Sequence[Path], reporter: Reporter) -> Collected:
    """Write into the log what a model of one's own answered to exported files.

    Replies cost what the config says, without the discount of a provider's batch job.

    Raises:
        DataError: a file cannot be read, or holds no results for this plan.
        LogError: another process writes this experiment's log.
    """
    folder = desk.experiment.folder
    done = Collected(desk.experiment)
    files = [_read_file(path) for path in paths]
    # The same files are the same delivery, so that to import them twice changes nothing.
    at = utc(max(path.stat().st_mtime for path in paths))
    set_aside_others(desk.prepared, desk.judges, reporter)
    _write_manifest(desk)
    refused: dict[str, Refused] = {}
    known: set[str] = set()
    strays: set[str] = set()
    with BattleLog(folder) as log:
        open_books(desk.experiment.config, folder).settle(log)
        for postal in desk.judges.values():
            results = Results()
            for raw in files:
                results.take(raw, postal.judge.verdict_from, discount=1.0)
            requests = _planned_requests(desk, postal, log, results.answers)
            ours = {name: results.answers[name] for name in requests}
            delivery = Delivery(postal.config.log_name, requests, ours, at, at)
            write_replies(log, folder, delivery)
            refused |= delivery.refused
            known |= ours.keys()
            strays |= results.answers.keys()
        await settle(desk, log, refused, done)
    if unknown := strays - known:
        reporter.say(
            f"note: {len(unknown):,} results are for battles that are judged already or not "
            f"planned, such as {min(unknown)}"
        )
    return done


def _write_manifest(desk: Desk) -> None:
    """Record what the experiment is made of now, and what is known of its judges' controls."""
    known = known_gates(desk.experiment.folder)
    unasked = {"skipped": "judged by files of requests"}
    gates = {seat.judge.name: known.get(seat.judge.fingerprint, unasked) for seat in desk.seats}
    write_manifest(desk.prepared, desk.seats, gates)


def _planned_requests(
    desk: Desk, postal: Postal, log: BattleLog, names: Iterable[str]
) -> dict[str, str]:
    """Battle id → key of its request, for those names that are planned and not judged."""
    wanted, lists = set(names), desk.prepared.lists
    found = {}
    for matchup in desk.prepared.matchups:
        name = lists.battle_id(matchup, postal.judge.fingerprint)
        if name in wanted and name not in log.battle_ids:
            found[name] = postal.judge.request_key(lists.exhibit(matchup))
    return found


def _read_file(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    results = Results()
    results.take(raw, lambda _body, _latency: Verdict("tie"), discount=1.0)
    if not results.answers:
        remedy = "give the file that `vllm run-batch -o` or a provider's batch job wrote"
        raise DataError(path, None, "holds no results", remedy)
    return raw


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


def _missing(job: Job, found: State, results: Results) -> str:
    """Why a job that has ended is to be asked for its results again; empty where it is not."""
    if results.troubles:
        return "; ".join(results.troubles)
    n_ours = len(job.requests.keys() & results.answers.keys())
    if n_ours >= found.n_results or is_overdue(job):
        return ""
    return f"{found}, but its files hold only {n_ours:,} of {found.n_results:,} results yet"


def _book_missing(log: BattleLog, job: Job, n_missing: int) -> None:
    """Count requests that were perhaps answered, and whose results are lost, as the most."""
    cost_usd = job.cost_usd * n_missing / max(1, len(job.requests))
    if cost_usd:
        usage = Usage(cost_usd=cost_usd, estimated=True)
        log.write_reply(Reply("", "", "", None, None, usage, now(), job.judge))


def _tell(job: Job, found: State, results: Results, reporter: Reporter) -> None:
    """Say how a job ended, and what was odd about its files."""
    reporter.say(f"{job.name} {found}")
    unknown = results.answers.keys() - job.requests.keys()
    missing = job.requests.keys() - results.answers.keys()
    waits = _missing(job, found, results)
    for n, what in (
        (len(unknown), "results are for requests that were not in it, and are ignored"),
        (results.n_repeated, "results came twice; the first verdict counts"),
        (results.n_damaged, "lines are no results"),
        (results.n_estimated, "results do not tell what they cost; the most they may is booked"),
        (0 if waits else len(missing), "requests have no result; they can be submitted again"),
    ):
        if n:
            reporter.say(f"note: {job.name}: {n:,} {what}")
