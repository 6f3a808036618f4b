"""What batch jobs brought back: into the log, as if the judge had said it just now.

First every reply is written down, then the battles in plan order; last the job is marked as
collected. A run that is stopped in between writes, when it is repeated, what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from arena.batch.jobs import Poll, State, fetch, follow, is_overdue, state
from arena.batch.results import Answer, Results
from arena.batch.submit import BatchRun, Postal
from arena.endpoint.file_api import FileApi
from arena.errors import (
    ApiError,
    DataError,
    FatalApiError,
    IncompleteError,
    UnjudgedError,
    UsageError,
)
from arena.experiment.battle_runner import BattleRunner
from arena.experiment.experiment import Experiment
from arena.experiment.manifest_writer import write_manifest
from arena.experiment.pending import pending
from arena.experiment.spending import open_budgets_and_log
from arena.experiment.stale_battles import move_stale_battles
from arena.judging.chat import Messages
from arena.judging.judge import Judge
from arena.progress import Reporter
from arena.records import Battle, JudgeInput, Reply, Usage, Verdict
from arena.store.batch_ledger import Job, Ledger, now, read_jobs, utc
from arena.store.battle_log import BattleLog
from arena.store.folder import Folder
from arena.store.log_lines import read_failures, read_replies
from arena.store.manifest import known_gates


async def wait(desk: BatchRun, poll: Poll, reporter: Reporter) -> None:
    """Wait until every job has ended; nothing is locked meanwhile.

    Raises:
        FatalApiError: a provider refuses everything.
    """
    jobs = [job for job in read_jobs(desk.experiment.folder).values() if job.is_open]
    for fingerprint, postal in desk.judges.items():
        ours = [job for job in jobs if job.fingerprint == fingerprint and job.batch_id]
        async with FileApi(postal.endpoint) as api:
            await follow(ours, api, poll, reporter.say)


async def collect(desk: BatchRun, reporter: Reporter, *, give_up: str | None = None) -> Collected:
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
    move_stale_battles(desk.prepared, [seat.judge for seat in desk.seats], reporter)
    _write_manifest(desk)
    with BattleLog(folder) as log, Ledger(folder) as ledger:
        open_budgets_and_log(desk.experiment.config, folder).settle(log)
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
    desk: BatchRun, ledger: Ledger, done: Collected, reporter: Reporter
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


async def import_files(desk: BatchRun, paths: Sequence[Path], reporter: Reporter) -> Collected:
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
    move_stale_battles(desk.prepared, [seat.judge for seat in desk.seats], reporter)
    _write_manifest(desk)
    refused: dict[str, Refused] = {}
    known: set[str] = set()
    strays: set[str] = set()
    with BattleLog(folder) as log:
        open_budgets_and_log(desk.experiment.config, folder).settle(log)
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


def _write_manifest(desk: BatchRun) -> None:
    """Record what the experiment is made of now, and what is known of its judges' controls."""
    known = known_gates(desk.experiment.folder)
    unasked = {"skipped": "judged by files of requests"}
    gates = {seat.judge.name: known.get(seat.judge.fingerprint, unasked) for seat in desk.seats}
    write_manifest(desk.prepared, desk.seats, gates)


def _planned_requests(
    desk: BatchRun, postal: Postal, log: BattleLog, names: Iterable[str]
) -> dict[str, str]:
    """Battle id → key of its request, for those names that are planned and not judged."""
    wanted, lists = set(names), desk.prepared.lists
    found = {}
    for matchup in desk.prepared.matchups:
        name = lists.battle_id(matchup, postal.judge.fingerprint)
        if name in wanted and name not in log.battle_ids:
            found[name] = postal.judge.request_key(lists.judge_input(matchup))
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


@dataclass(slots=True)
class Collected:
    """What a collection came to."""

    experiment: Experiment
    n_planned: int = 0
    n_judged: int = 0  #: in the log, of all judges
    n_new: int = 0  #: of them written now
    failures: Counter[str] = field(default_factory=Counter)  #: reason → battles, of this run
    waiting: list[str] = field(default_factory=list)  #: jobs that cannot be collected yet, and why

    def check(self) -> None:
        """Complain of what is missing.

        Raises:
            IncompleteError: jobs are under way, or battles have no verdict.
        """
        source = self.experiment.source
        done = f"{self.n_judged:,} of {self.n_planned:,} battles"
        if self.waiting:
            again = f"go on with: arena batch collect {source}"
            raise IncompleteError(f"{done}; still waiting for {'; '.join(self.waiting)}; {again}")
        if self.n_judged < self.n_planned:
            failed = ", ".join(f"{n:,} {reason}" for reason, n in self.failures.most_common())
            again = f"ask again with: arena batch submit {source}"
            raise IncompleteError(f"{done}{f' ({failed})' if failed else ''}; {again}")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request has no verdict."""

    error: UnjudgedError
    since: str  #: when it was asked; a failure recorded since then is this one
    id: str  #: the battle that paid for it


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came back of one job, or of one exported file."""

    judge: str  #: the judge's name
    requests: Mapping[str, str]  #: battle id → key of its request
    answers: Mapping[str, Answer]  #: battle id → what came back; for those requests alone
    asked_at: str  #: UTC time, ISO 8601
    answered_at: str

    @property
    def refused(self) -> dict[str, Refused]:
        """Key of a request → why it has no verdict."""
        return {
            self.requests[name]: Refused(answer, self.asked_at, name)
            for name, answer in self.answers.items()
            if isinstance(answer, UnjudgedError)
        }


async def settle(
    desk: BatchRun, log: BattleLog, refused: Mapping[str, Refused], done: Collected
) -> None:
    """Write every battle that needs no further request, and every failure, in plan order."""
    failed_at = _failed_at(desk.experiment.folder) if refused else {}
    for postal in desk.judges.values():
        runner = BattleRunner(log)
        answered = Answered(postal.judge, refused)
        prepared = desk.prepared
        done.n_planned += desk.prepared.n_matchups
        n_open = 0
        for battle in pending(prepared.matchups, prepared.lists, [answered], log):
            try:
                outcome = await runner.run(battle)
            except _UnansweredError:
                n_open += 1
                continue
            if isinstance(outcome, Battle):
                log.write_battle(outcome)
                done.n_new += 1
                continue
            n_open += 1
            done.failures[outcome.reason] += 1
            cause = refused[battle.request]
            if failed_at.get(outcome.id, "") < cause.since:
                own = cause.id == outcome.id
                log.write_failure(replace(outcome, cost_usd=cause.error.cost_usd if own else 0.0))
        done.n_judged += desk.prepared.n_matchups - n_open


def write_replies(log: BattleLog, folder: Path, delivery: Delivery) -> None:
    """Write down what was paid for, unless a run that was stopped has done so."""
    at, answers = delivery.answered_at, delivery.answers
    written = _unreadable(folder, at) if delivery.refused else frozenset()
    for name, answer in answers.items():
        if isinstance(answer, Verdict):
            before = log.reply_for(name)
            if before and before.at == at and before.reply == answer.reply:
                continue
            reply, winner, probs, usage = answer.reply, answer.winner, answer.probs, answer.usage
        else:
            if name in written or not (answer.reply or answer.cost_usd):
                continue
            usage = Usage(cost_usd=answer.cost_usd, estimated=answer.estimated)
            reply, winner, probs = answer.reply, None, None
        log.write_reply(
            Reply(
                id=name,
                request=delivery.requests[name],
                reply=reply,
                winner=winner,
                probs=probs,
                usage=usage,
                at=at,
                judge=delivery.judge,
            )
        )
    log.flush()


def _unreadable(folder: Path, at: str) -> frozenset[str]:
    """Battles with a reply of that moment that could not be read."""
    return frozenset(
        reply.id
        for path in Folder(folder).all_replies()
        for reply in read_replies(path)
        if reply.winner is None and reply.at == at
    )


def _failed_at(folder: Path) -> dict[str, str]:
    """Battle id → when its last failure was recorded."""
    return {
        failure.id: failure.at
        for path in Folder(folder).all_failures()
        for failure in read_failures(path)
    }


class Answered:
    """A judge that has been asked by post: what it did not answer stays open."""

    def __init__(self, judge: Judge, refused: Mapping[str, Refused]) -> None:
        self.name = judge.name
        self.prompt = judge.prompt
        self.fingerprint = judge.fingerprint
        self.is_llm = judge.is_llm
        self.kind = judge.kind
        self._judge = judge
        self._refused = refused

    def request_key(self, exhibit: JudgeInput) -> str:
        """As the judge itself."""
        return self._judge.request_key(exhibit)

    def calls(self, exhibit: JudgeInput) -> Mapping[str, Messages]:
        """As the judge itself."""
        return self._judge.calls(exhibit)

    async def judge(self, exhibit: JudgeInput) -> Verdict:
        """Fail as the request did.

        Raises:
            UnjudgedError: with the reason that came back; the reply is in the log already.
            _UnansweredError: nothing came back; for `settle` alone.
        """
        refused = self._refused.get(self.request_key(exhibit))
        if refused is None:
            raise _UnansweredError
        raise UnjudgedError(refused.error.reason, refused.error.detail)


class _UnansweredError(Exception):
    """A request that no job has answered yet; never shown."""
