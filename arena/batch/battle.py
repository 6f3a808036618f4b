"""`arena battle --batch`: collect what batch jobs brought, submit what is left, come back later.

It asks about the same battles as a live run, and the same log, budget, gate and resume serve both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from arena.batch.batch_run import BatchRun
from arena.batch.collect import collect, open_jobs, wait
from arena.batch.jobs import Poll
from arena.batch.judge_results import Collected
from arena.batch.submit import SubmitOptions, submit
from arena.errors import IncompleteError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.pending import planned
from arena.experiment.plan import Turn
from arena.experiment.stale_battles import planned_ids
from arena.experiment.stopping import StoppingMonitor, StoppingRule, in_rounds
from arena.progress import Reporter
from arena.records import Battle, Matchup
from arena.signals import interruptible
from arena.store.batch_ledger import Job, read_ledgers
from arena.store.folder import Folder
from arena.store.id_index import IdSet
from arena.store.log_lines import failure_ids, read_battles
from arena.terminal import count

TRIES: Final = 3
"""Failures of a battle, live ones included, after which no job asks about it again."""
UNTRIED: Final = "batch_expired"
"""The reason of a failure that nobody has tried: the job ended before its turn."""
COMPLETION_TIME: Final = timedelta(hours=24)
"""Within this time a provider ends a job."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What one run is told of its jobs, beside its `BattleOptions`."""

    wait: bool = False  #: poll until all is judged, instead of coming back later
    poll: Poll = field(default_factory=Poll)
    give_up: str | None = None  #: a job to forget, such as one that its provider has lost
    max_tokens: int | None = None  #: in jobs under way at one time, for each judge; estimated


@dataclass(slots=True)
class BatchSummary:
    """How a run by batch jobs ended."""

    run: BatchRun
    options: BattleOptions
    n_planned: int = 0  #: battles of this shard, of all judges
    n_judged: int = 0  #: of them in the log
    n_new: int = 0  #: of them written by this run
    n_requests: int = 0  #: submitted by this run
    jobs: Sequence[Job] = ()  #: under way
    jobs_elsewhere: Mapping[str, int] = field(default_factory=dict)  #: option → open jobs
    waiting: Sequence[str] = ()  #: why jobs that could not be collected are still under way
    halted: str = ""  #: why requests were left out; empty if none were
    failures: Counter[str] = field(default_factory=Counter)  #: reason → battles, of this run
    decided: str = ""  #: what the stopping rule has to say, if there is one
    interrupted: bool = False

    def take(self, collected: Collected) -> None:
        """Add what a collection came to."""
        self.n_planned, self.n_judged = collected.n_planned, collected.n_judged
        self.n_new += collected.n_new
        self.failures += collected.failures
        self.waiting = collected.waiting

    @property
    def command(self) -> str:
        """Return the command line that goes on where this run ended."""
        return f"{self.options.command(self.run.experiment)} --batch"

    @property
    def _n_given_up(self) -> int:
        """Return how many battles have no verdict, and no job asks about them again."""
        is_partial = self.decided or self.options.limit is not None
        is_going_on = self.jobs or self.jobs_elsewhere or self.halted or self.interrupted
        return 0 if is_partial or is_going_on else self.n_planned - self.n_judged

    @property
    def _max_failures(self) -> float:
        return min(judge.max_failures for judge in self.run.experiment.config.judges)

    @property
    def _n_allowed(self) -> float:
        return self._max_failures * self.n_planned

    @property
    def _remedy(self) -> str:
        live = self.options.command(self.run.experiment)
        return f"jobs have asked {TRIES} times; ask live with: {live}"

    def lines(self) -> Iterator[str]:
        """Yield the summary as people read it."""
        if self.n_requests:
            yield f"{count(self.n_requests, 'request')} submitted"
        if self.decided:
            yield self.decided
        yield f"{self.n_new:,} battles written, {self.n_judged:,} of {self.n_planned:,} judged"
        if self.jobs:
            n_requests = sum(len(job.requests) for job in self.jobs)
            yield f"under way: {count(n_requests, 'request')} in {count(len(self.jobs), 'job')}"
            yield from (f"waiting for {reason}" for reason in self.waiting)
        for option, n_jobs in self.jobs_elsewhere.items():
            yield f"{count(n_jobs, 'job')} of another part of the plan: collect {option}"
        if 0 < self.n_planned == self.n_judged:  # a job of an earlier judge may still be open
            yield "all battles are judged"
        elif self.jobs:
            yield f"come back {_latest(self.jobs)}: {self.command}"
            if self.halted:
                yield self.halted
        elif self._n_given_up and self._n_given_up <= self._n_allowed:
            yield f"{count(self._n_given_up, 'battle')} without a verdict: {self._remedy}"

    def check(self) -> None:
        """Raise an error for what is missing once no job is under way.

        Raises:
            IncompleteError: the run was interrupted, its budget is spent, jobs cannot be
                collected, or more battles have no verdict than is allowed.
        """
        done = f"{self.n_judged:,} of {self.n_planned:,} battles"
        if self.interrupted:
            raise IncompleteError(f"stopped at {done}; go on with: {self.command}")
        if self.jobs:
            return
        if self.halted:
            raise IncompleteError(f"{done}; {self.halted}")
        if self._n_given_up > self._n_allowed:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.failures.most_common())
            listed = f" ({reasons})" if reasons else ""
            raise IncompleteError(
                f"{done}; the others have no verdict{listed}, more than max_failures = "
                f"{self._max_failures:g} allows; {self._remedy}"
            )


async def battle_by_batch(
    run: BatchRun, options: BattleOptions, batch: BatchOptions, reporter: Reporter
) -> BatchSummary:
    """Collect, submit, and where the options say so wait and go on until nothing is left.

    Raises:
        ConfigError: there is a cap on the cost, and a judge has no prices.
        GateError: a judge failed its controls.
        ApiError: a provider did not take a job; the next run goes on from there.
        LogError: another process writes this experiment's log.
    """
    summary = BatchSummary(run, options)
    played = _Played(options.until) if options.until else None
    give_up, has_waited = batch.give_up, False
    with interruptible(reporter) as stop:
        # Collect before submitting: what a job has brought is not asked for again. Its true cost
        # leaves more room under the cap than the most that it might have cost.
        while True:
            is_stuck = False
            if give_up or open_jobs(run):
                # Free battles of later rounds must wait for their round.
                limit = 0 if options.until else options.limit
                collected = await collect(
                    run,
                    reporter,
                    give_up=give_up,
                    matchups=_asked_first(run, played) if played else None,
                    limit=limit,
                    on_battle=_counter(played),
                )
                give_up = None
                summary.take(collected)
                # Jobs that ended without results would end without results again and again.
                is_stuck = has_waited and not collected.n_jobs
            if stop.is_set():
                break
            await _submit(summary, batch, reporter, played)
            if not summary.jobs or not batch.wait or is_stuck:
                break
            await wait(run, batch.poll, reporter, stop=stop)
            has_waited = True
    summary.jobs = open_jobs(run)
    summary.jobs_elsewhere = _jobs_elsewhere(run)
    summary.interrupted = stop.is_set() and summary.n_judged < summary.n_planned
    return summary


async def _submit(
    summary: BatchSummary, batch: BatchOptions, reporter: Reporter, played: _Played | None
) -> None:
    """Submit what is left, or the next round of it; judge what needs no job if none is under way.

    With a stopping rule, rounds that need no job are played one after the other until it is
    reached.
    """
    run, options = summary.run, summary.options
    summary.jobs = ()
    for matchups in _rounds(run, played):
        submitted = await submit(
            run,
            SubmitOptions(
                max_usd=options.max_usd,
                max_tokens=batch.max_tokens,
                gate=options.gate,
                limit=options.limit,
                matchups=matchups,
                left_out=_failed_often(run),
            ),
            reporter,
        )
        summary.n_requests += submitted.n_requests
        summary.n_planned, summary.n_judged = submitted.n_planned, submitted.n_judged
        summary.halted = submitted.halted
        summary.jobs = open_jobs(run)
        if summary.jobs:
            return
        summary.take(
            await collect(
                run, reporter, matchups=matchups, limit=options.limit, on_battle=_counter(played)
            )
        )
        if submitted.halted:
            return
    if played:
        summary.decided = str(played.monitor)
        if not summary.n_planned:  # nothing was left to collect or to submit
            summary.n_planned, summary.n_judged = played.n_planned, len(played.ids)


def _jobs_elsewhere(run: BatchRun) -> Mapping[str, int]:
    """Return how many jobs of other shards, or of the whole plan, are open, by their option."""
    n_jobs = {
        f"with --shard {suffix.strip('-').replace('of', '/')}"
        if suffix
        else "without --shard": sum(job.is_open for job in jobs.values())
        for suffix, jobs in sorted(read_ledgers(run.experiment.folder).items())
        if suffix != run.shard.suffix
    }
    return {option: n for option, n in n_jobs.items() if n}


class _Played:
    """The battles of the log, each counted once; rounds and their end follow from them.

    Args:
        rule: what is to be decided.
    """

    def __init__(self, rule: StoppingRule) -> None:
        self.ids = IdSet()
        self.n_planned = 0  #: battles of the plan, once the log is read without a collection
        self.monitor = StoppingMonitor(rule)
        self._n_looks = 0
        self._is_decided = False
        self._playing: list[Callable[[str], bool]] = []  #: in each round that was begun

    def playing(self, number: int, *, begins: bool = False) -> Callable[[str], bool]:
        """Return whether a model plays in a round: as when it began, or as far as is known now.

        Args:
            number: of the round, from 0.
            begins: remember it: a sparse plan of fewer models draws other pairs.
        """
        if number < len(self._playing):
            return self._playing[number]
        plays = self.monitor.players()
        if begins:
            self._playing.append(plays)
        return plays

    def look(self, n_over: int, round_: Sequence[Turn]) -> bool:
        """Check the ratings once at the end of each round; return whether that decided it.

        Args:
            n_over: rounds that are over, with this one.
            round_: its queries.
        """
        if n_over > self._n_looks and not self._is_decided:
            self._n_looks = n_over
            self._is_decided = self.monitor.decided(round_)
        return self._is_decided

    def count(self, battle: Battle) -> None:
        """Take in a battle of the log, unless it is known."""
        if self.ids.add(battle.id):
            self.monitor.count(battle)

    def read(self, run: BatchRun) -> None:
        """Take in the log of a run, without battles of an earlier configuration."""
        judges = [configured.judge for configured in run.judges]
        battle_ids, self.n_planned = planned_ids(run.prepared, judges)
        for path in Folder(run.experiment.folder).all_battles():
            for battle in read_battles(path):
                if battle.id in battle_ids:
                    self.count(battle)


def _counter(played: _Played | None) -> Callable[[Battle], None] | None:
    return played.count if played else None


def _rounds(run: BatchRun, played: _Played | None) -> Iterator[Sequence[Matchup] | None]:
    """Yield the rounds that are not all in the log, until the stopping rule is reached.

    Without a stopping rule there is one round, the whole plan.
    """
    if played is None:
        yield None
        return
    if not played.ids:  # no collection has read the log
        played.read(run)
    prepared = run.prepared
    judges = [configured.judge for configured in run.judges]
    before, number = None, 0
    for number, round_ in enumerate(in_rounds(prepared.data.queries)):
        if before is not None and played.look(number, before):
            return
        before = round_
        playing = list(prepared.matchups_of(round_, played.playing(number, begins=True)))
        if not all(name in played.ids for name, _, _ in planned(playing, prepared.lists, judges)):
            yield playing
    if before is not None:
        played.look(number + 1, before)


def _asked_first(run: BatchRun, played: _Played) -> Sequence[Matchup] | None:
    """Return what jobs were asked about, then what they may have been; None for the plan itself.

    A sparse plan draws the pairs of a round among the models that still play in it.
    """
    prepared = run.prepared
    if not prepared.is_sparse:
        return None
    next(_rounds(run, played), None)  # who played in each round so far
    rounds = enumerate(in_rounds(prepared.data.queries))
    asked = [m for n, round_ in rounds for m in prepared.matchups_of(round_, played.playing(n))]
    return list(dict.fromkeys([*asked, *prepared.all_matchups]))


def _failed_often(run: BatchRun) -> frozenset[str]:
    """Return the battles that no job asks about again."""
    tries: Counter[str] = Counter()
    for path in Folder(run.experiment.folder).all_failures():
        tries.update(name for name, reason in failure_ids(path) if reason != UNTRIED)
    return frozenset(name for name, n_tries in tries.items() if n_tries >= TRIES)


def _latest(jobs: Sequence[Job]) -> str:
    """Return when the last of the jobs has ended, as people read it."""
    try:
        created = max(datetime.fromisoformat(job.at) for job in jobs)
    except (ValueError, TypeError):
        return "later"
    return f"by {(created + COMPLETION_TIME).astimezone(UTC):%Y-%m-%d %H:%M} UTC at the latest"
