"""Retrieve, plan, judge live and log: the only place where all stages meet."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from gc import freeze, get_freeze_count, unfreeze
from itertools import islice
from pathlib import Path
from typing import Final

from arena.data.run_file import read_stats
from arena.endpoint.client import run
from arena.endpoint.coroutines import work_off
from arena.errors import ArenaError, BudgetSpentError, FatalApiError, UnforeseenError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.battle_runner import BattleResult, BattleRunner
from arena.experiment.experiment import (
    Experiment,
    ExperimentData,
    PreparedExperiment,
    load_data,
    load_prompts,
    open_experiment,
)
from arena.experiment.gate_controls import check_judges
from arena.experiment.judges import ConfiguredJudge, open_judges
from arena.experiment.live_stats import LiveStats
from arena.experiment.pending import Pending, pending
from arena.experiment.plan import turns
from arena.experiment.rejudge import open_asked, prepare_battles
from arena.experiment.runs import retrieve_all
from arena.experiment.spending import Budgets, open_budgets
from arena.experiment.stale_battles import open_log
from arena.experiment.stopping import StoppingMonitor, in_rounds
from arena.experiment.summary import Summary
from arena.progress import Reporter
from arena.records import Battle
from arena.retrieval.partitioned import PartitionRanker
from arena.retrieval.table import Retrieved
from arena.signals import interruptible
from arena.store.batch_ledger import under_way
from arena.store.battle_log import BattleLog
from arena.store.folder import Folder
from arena.store.grades import GradeBook

WORKERS: Final = 1024
"""Battles under way at most; `arena.endpoint` finds how many calls at once the endpoint takes."""


def retrieve(
    path: Path, reporter: Reporter, ranker: PartitionRanker | None = None
) -> list[Retrieved]:
    """Embed and retrieve only; returns where the runs are, and what they took.

    Args:
        path: the arena.toml, or its folder.
        reporter: told how far it is.
        ranker: ranks corpora that are in partitions; this process does if absent.

    Raises:
        UsageError: the config or a data file has a mistake.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_experiment(path)
    data = load_noted_data(experiment, reporter)
    runs = retrieve_all(experiment, data, reporter, ranker)
    files = Folder(experiment.folder)
    return [
        Retrieved(
            run.dataset,
            run.model,
            files.run(run.dataset, run.model),
            read_stats(files.run_stats(run.dataset, run.model)),
        )
        for run in runs
    ]


def battle(path: Path, reporter: Reporter, options: BattleOptions | None = None) -> Summary:
    """Judge every planned battle that is not in the log yet, or as many as the options allow.

    Ctrl-C finishes what is under way; a second one leaves at once, and loses no verdict either.

    Raises:
        UsageError, ApiError: as `retrieve`.
        FatalApiError: a judge's endpoint refuses every request.
        GateError: a judge failed its controls.
        LogError: the log is locked by another process, or cannot be written.
    """
    options = options or BattleOptions()
    experiment = open_asked(path, options.rejudging)
    with with_remedy(experiment, options):
        return run(play_prepared(open_prepared(experiment, reporter, options), reporter, options))


def open_prepared(
    experiment: Experiment,
    reporter: Reporter,
    options: BattleOptions,
    ranker: PartitionRanker | None = None,
) -> PreparedExperiment:
    """Load an experiment's data, and retrieve what is missing.

    Args:
        experiment: what battles are about.
        reporter: told how far it is.
        options: of the run.
        ranker: as of `retrieve`.

    Raises:
        UsageError, ApiError: as `retrieve`.
    """
    prompts = load_prompts(experiment)  # a missing template is found before an hour of embedding
    # So are missing prices.
    open_budgets(experiment.config, experiment.folder, max_usd=options.max_usd)
    return prepare_battles(
        experiment, load_noted_data(experiment, reporter), prompts, reporter, ranker
    )


@contextmanager
def with_remedy(experiment: Experiment, options: BattleOptions) -> Iterator[None]:
    """Add the command that goes on to the error of an endpoint that refuses every request."""
    try:
        yield
    except FatalApiError as error:
        source = shlex.quote(str(experiment.source))
        again = (
            f"nothing judged is lost; `arena check {source}` tries every model and judge; "
            f"once repaired, go on with: {options.command(experiment)}"
        )
        raise FatalApiError(error.reason, f"{error.detail}; {again}") from None
    except (ArenaError, OSError):
        raise
    except Exception as error:
        raise UnforeseenError(error) from error


@dataclass(frozen=True, slots=True)
class _JudgingSession:
    """What is open while battles are judged."""

    judges: Sequence[ConfiguredJudge]
    n_planned: int  #: battles of this shard, of all judges
    budgets: Budgets
    stats: LiveStats
    monitor: StoppingMonitor | None  #: of the stopping rule, if there is one
    log: BattleLog
    stop: asyncio.Event  #: set by a signal, or by what makes going on useless

    def record(self, result: BattleResult) -> None:
        """Write a battle or a failure into the log, and count it."""
        if isinstance(result, Battle):
            self.log.write_battle(result)
            if self.monitor:
                self.monitor.count(result)
        else:
            self.log.write_failure(result)
        self.stats.take(result)


Stopping = Callable[[Reporter], AbstractContextManager[asyncio.Event]]
"""Opens an event that is set when the run is to stop, as `interruptible` does."""


async def play_prepared(
    prepared: PreparedExperiment,
    reporter: Reporter,
    options: BattleOptions,
    *,
    stopping: Stopping = interruptible,
) -> Summary:
    """Judge what is left of a prepared experiment; raises what `battle` raises."""
    capped = None
    async with _session(prepared, reporter, options, stopping) as session:
        try:
            await check_judges(prepared, session.judges, session.log, options, reporter)
            await _play(prepared, session, reporter, options)
        except BudgetSpentError as error:
            capped = error
        except FatalApiError as error:
            if error.reason != "halted":
                raise
    stats = session.stats
    return Summary(
        experiment=prepared.experiment,
        options=options,
        n_planned=session.n_planned,
        judged=stats.judged,
        failures=stats.failures,
        cost_usd=session.budgets.paid_usd,
        estimated_usd=session.budgets.whole.cap.estimated_usd,
        ratings=stats.ratings,
        interrupted=session.stop.is_set() and stats.n_judged < session.n_planned,
        capped=capped,
        n_superseded=session.log.n_superseded,
    )


@asynccontextmanager
async def _session(
    prepared: PreparedExperiment, reporter: Reporter, options: BattleOptions, stopping: Stopping
) -> AsyncIterator[_JudgingSession]:
    """Open judges and log; however it ends, all that was paid for is in the log."""
    folder, shard = prepared.experiment.folder, options.shard
    budgets = open_budgets(prepared.config, folder, max_usd=options.max_usd, shard=shard)
    stats = LiveStats(budgets.whole, shard=shard)
    monitor = StoppingMonitor(options.until) if options.until else None
    async with AsyncExitStack() as stack:
        grades = stack.enter_context(GradeBook(folder, shard))
        judges = await stack.enter_async_context(
            open_judges(prepared, budgets=budgets.own, on_grade=grades.write, log=reporter.log)
        )
        log, n_planned = open_log(
            prepared,
            [configured.judge for configured in judges],
            reporter,
            shard=shard,
            seen=partial(_count, stats, monitor),
        )
        stack.enter_context(log)
        # The log is locked and read by now, so what it has cost is counted before the first call.
        budgets.begin(log)
        # On the way out no more calls are sent. Then what was paid and led to no battle is written,
        # and the log is closed.
        stack.callback(budgets.settle, log)
        stop = stack.enter_context(stopping(reporter))
        stack.callback(asyncio.create_task(_halt(stop, judges)).cancel)
        yield _JudgingSession(judges, n_planned, budgets, stats, monitor, log, stop)


async def _play(
    prepared: PreparedExperiment,
    session: _JudgingSession,
    reporter: Reporter,
    options: BattleOptions,
) -> None:
    """Judge what is left, or as much of it as the options allow."""
    stats, monitor, stop = session.stats, session.monitor, session.stop
    judges = [configured.judge for configured in session.judges]
    runner = BattleRunner(session.log)
    n_left = min(session.n_planned - stats.n_judged, options.limit or session.n_planned)
    jobs = _Jobs(under_way(prepared.experiment.folder))
    queries = prepared.data.queries
    rounds = in_rounds(queries) if monitor else iter([list(turns(queries))])
    with stats.shown(reporter, stats.n_judged + n_left), _settled_objects_uncollected():
        # A round's matchups depend on the models that the rounds before have left in play. So
        # each is planned only once the one before is judged and logged.
        for round_ in rounds:
            battles = pending(
                prepared.matchups_of(round_, monitor.players() if monitor else None),
                prepared.lists,
                judges,
                session.log,
                shard=options.shard,
                asked=runner.asked,
                under_way=jobs.requests,
            )
            await play(
                islice(jobs.left_out(battles), 0 if stop.is_set() else options.limit),
                runner,
                workers=_workers(session.judges),
                emit=session.record,
                stop=stop,
            )
            if stop.is_set() or (monitor and monitor.decided(round_)):
                break
    if jobs.n_waiting:
        reporter.log(
            f"note: {jobs.n_waiting:,} battles wait for batch jobs that are under way; collect "
            f"them with: arena battle --batch {shlex.quote(str(prepared.experiment.source))}"
        )
    if monitor and not stop.is_set():
        reporter.log(str(monitor))


class _Jobs:
    """The batch jobs under way: a live run does not ask for what they will bring."""

    def __init__(self, requests: set[str]) -> None:
        self.requests = requests
        self.n_waiting = 0  #: battles that were left out

    def left_out(self, battles: Iterable[Pending]) -> Iterator[Pending]:
        """Yield the battles that no job will judge."""
        for battle in battles:
            if battle.state == "under_way":
                self.n_waiting += 1
            else:
                yield battle


@contextmanager
def _settled_objects_uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking what is loaded already, for as long as this lasts.

    Corpus, runs and modules stay to the end of a run. To walk them again and again takes a tenth of
    the time of a quick call. A program that keeps objects of its own from the collector goes on to
    do so. Nothing is collected before: that takes longer than to play a small shard, and what is
    garbage already waits for the end.
    """
    if get_freeze_count():
        yield
        return
    freeze()
    try:
        yield
    finally:
        unfreeze()


def _workers(judges: Sequence[ConfiguredJudge]) -> int:
    """Return how many battles are under way at most.

    A judge that is no LLM has as many as its section states, or one.
    """
    if any(configured.judge.is_llm for configured in judges):
        return WORKERS
    stated = [configured.config.concurrency for configured in judges]
    return max((count for count in stated if isinstance(count, int)), default=1)


async def _halt(stop: asyncio.Event, judges: Sequence[ConfiguredJudge]) -> None:
    """Wait for the order to stop, then drop all requests that are not sent yet."""
    await stop.wait()
    for configured in judges:
        configured.api.halt()


def _count(stats: LiveStats, monitor: StoppingMonitor | None, battle: Battle) -> None:
    """Count a battle that is in the log from an earlier run."""
    stats.count(battle)
    if monitor:
        monitor.count(battle)


def load_noted_data(experiment: Experiment, reporter: Reporter) -> ExperimentData:
    """Return the data sets of an experiment, and log what is to be noted of them."""
    data = load_data(experiment.retrieved.config, reporter)
    for note in data.notes:
        reporter.log(f"note: {note}")
    return data


MOST_WAITING: Final = 20_000
"""Results that may wait for one slow battle before they are written without it."""


class InOrder:
    """Pass results on in the order of their positions, in any order of arrival.

    A result that waits behind a battle without one is not in the log when the run is killed. Its
    reply is on disk, so the run that resumes writes it in the same place.
    """

    def __init__(self, emit: Callable[[BattleResult], None], *, window: int = MOST_WAITING) -> None:
        self._emit = emit
        self._window = window
        self._waiting: dict[int, BattleResult] = {}
        self._next = 0

    def put(self, position: int, result: BattleResult) -> None:
        """Take the result of one position; each position comes once."""
        if position < self._next:
            self._emit(result)  # a straggler that the others no longer waited for
            return
        self._waiting[position] = result
        # Memory is bounded: past the window one slow call holds up all others no longer.
        if len(self._waiting) > self._window:
            self._next = min(self._waiting)
        while self._next in self._waiting:
            self._emit(self._waiting.pop(self._next))
            self._next += 1


async def play(
    battles: Iterable[Pending],
    runner: BattleRunner,
    *,
    workers: int,
    emit: Callable[[BattleResult], None],
    stop: asyncio.Event,
) -> None:
    """Judge everything that is pending; ``emit`` gets each result, in plan order.

    Once ``stop`` is set no battle is begun any more, and those under way are finished.

    Raises:
        FatalApiError: the endpoint refuses every request; what was under way is finished first.
        BudgetSpentError: as well.
        LogError: the log cannot be written any more.
        UnforeseenError: as well, for any other error.
    """
    # Positions follow the plan, not the arrival of replies: the log is the same at any speed.
    in_order = InOrder(emit)

    async def judge(numbered: tuple[int, Pending]) -> None:
        position, battle = numbered
        in_order.put(position, await runner.run(battle))

    await work_off(enumerate(battles), judge, workers=workers, stop=stop)
