"""The commands' work: the only place where all stages meet."""

from __future__ import annotations

import asyncio
import gc
import shlex
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from arena.data.trec import read_stats
from arena.endpoint.client import run
from arena.endpoint.concurrency import work_off
from arena.errors import ArenaError, BudgetSpentError, FatalApiError, UnforeseenError
from arena.experiment.adjudicate import BattleResult, BattleRunner, Planned, move_stale_battles
from arena.experiment.estimate import (
    Estimate,
    estimate,
    open_paid_replies,
    stored_or_placeholder_runs,
)
from arena.experiment.experiment import (
    Experiment,
    ExperimentData,
    PreparedExperiment,
    load_data,
    load_prompts,
    open_experiment,
    prepare,
)
from arena.experiment.gate import check_judges
from arena.experiment.panel import ConfiguredJudge, JudgePanel, closed_panel, open_panel
from arena.experiment.runs import retrieve_all
from arena.experiment.spending import Budgets, open_budgets_and_log
from arena.experiment.stopping import StoppingMonitor, in_rounds
from arena.experiment.summary import BattleOptions, LiveStats, Summary
from arena.files import cache_folder
from arena.progress import Reporter, reporter
from arena.records import Battle
from arena.retrieval.table import Retrieved
from arena.signals import interruptible
from arena.store.batch_ledger import warn_of_jobs
from arena.store.battle_log import BattleLog
from arena.store.grades import GradeBook

WORKERS: Final = 1024
"""Battles under way at most; `arena.endpoint` finds how many calls at once the endpoint takes."""


def retrieve(path: Path, reporter: Reporter) -> list[Retrieved]:
    """Embed and retrieve only; returns where the runs are, and what they took.

    Raises:
        UsageError: the config or a data file has a mistake.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_experiment(path)
    material = _load(experiment, reporter)
    runs = retrieve_all(experiment, material, reporter)
    paths = [experiment.retrieval(run.dataset, run.model) for run in runs]
    return [
        Retrieved(run.dataset, run.model, path, read_stats(path.with_suffix(".json")))
        for run, path in zip(runs, paths, strict=True)
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
    experiment = open_experiment(path)
    prompts = load_prompts(experiment)  # a missing template is found before an hour of embedding
    open_budgets_and_log(experiment.config, experiment.folder, max_usd=options.max_usd)
    warn_of_jobs(experiment.folder, reporter)
    material = _load(experiment, reporter)
    try:
        runs = retrieve_all(experiment, material, reporter)
        return run(play_prepared(prepare(experiment, material, runs, prompts), reporter, options))
    except FatalApiError as error:
        source = shlex.quote(str(experiment.source))
        again = (
            f"nothing judged is lost; `arena check {source}` tries every model and judge; "
            f"once mended, go on with: {options.command(experiment)}"
        )
        raise FatalApiError(error.reason, f"{error.detail}; {again}") from None
    except (ArenaError, OSError):
        raise
    except Exception as error:
        raise UnforeseenError(error) from error


@dataclass(frozen=True, slots=True)
class _Session:
    """What is open while battles are judged."""

    seats: Sequence[ConfiguredJudge]
    n_planned: int  #: battles of this shard, of all judges
    books: Budgets
    tally: LiveStats
    race: StoppingMonitor | None  #: towards what is to be decided, if anything is
    log: BattleLog
    stop: asyncio.Event  #: set by a signal, or by what makes going on useless


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
            await check_judges(prepared, session.seats, session.log, options, reporter)
            await _play(prepared, session, reporter, options)
        except BudgetSpentError as error:
            capped = error
        except FatalApiError as error:
            if error.reason != "halted":
                raise
    tally = session.tally
    return Summary(
        experiment=prepared.experiment,
        options=options,
        n_planned=session.n_planned,
        judged=tally.judged,
        failures=tally.failures,
        cost_usd=session.books.paid_usd,
        estimated_usd=session.books.whole.cap.estimated_usd,
        ratings=tally.ratings,
        interrupted=session.stop.is_set() and tally.n_judged < session.n_planned,
        capped=capped,
    )


@asynccontextmanager
async def _session(
    prepared: PreparedExperiment, reporter: Reporter, options: BattleOptions, stopping: Stopping
) -> AsyncIterator[_Session]:
    """Open judges and log; at the end, whatever it is, all that was paid for is in the log."""
    folder, shard = prepared.experiment.folder, options.shard
    books = open_budgets_and_log(prepared.config, folder, max_usd=options.max_usd, shard=shard)
    tally = LiveStats(books.whole, shard=shard)
    race = StoppingMonitor(options.until) if options.until else None
    async with AsyncExitStack() as stack:
        grades = stack.enter_context(GradeBook(folder, shard))
        seats = await stack.enter_async_context(
            open_panel(prepared, budgets=books.own, on_grade=grades.write, say=reporter.say)
        )
        judges = [seat.judge.fingerprint for seat in seats]
        n_planned = move_stale_battles(prepared, judges, reporter, shard=shard)
        seen = partial(_count, tally, race)
        log = stack.enter_context(BattleLog(folder, shard=shard.name, seen=seen))
        books.begin()
        stack.callback(books.settle, log)
        stop = stack.enter_context(stopping(reporter))
        stack.callback(asyncio.create_task(_halt(stop, seats)).cancel)
        yield _Session(seats, n_planned, books, tally, race, log, stop)


async def _play(
    prepared: PreparedExperiment, session: _Session, reporter: Reporter, options: BattleOptions
) -> None:
    """Judge what is left, or as much of it as the options allow."""
    tally, race = session.tally, session.race
    referees = [BattleRunner(prepared.lists, seat.judge, session.log) for seat in session.seats]
    panel = JudgePanel(referees, shard=options.shard)
    left = min(session.n_planned - tally.n_judged, options.limit or session.n_planned)
    n_datasets = len(prepared.material.datasets)
    rounds = in_rounds(prepared.matchups, n_datasets) if race else iter([prepared.matchups])
    with tally.shown(reporter, tally.n_judged + left), _settled_objects_uncollected():
        for matchups in rounds:
            await play(
                islice(panel.unplayed(matchups), 0 if session.stop.is_set() else options.limit),
                panel,
                workers=_workers(session.seats),
                emit=partial(_record, session),
                stop=session.stop,
            )
            if session.stop.is_set() or (race and race.decided()):
                break
    if race and not session.stop.is_set():
        reporter.say(str(race))


@contextmanager
def _settled_objects_uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking what is loaded already, for as long as this lasts.

    Corpus, runs and modules stay to the end of a run; to walk them again and again takes a tenth
    of the time of a quick call.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _workers(seats: Sequence[ConfiguredJudge]) -> int:
    """Battles under way at most: a judge that is no LLM has as many as its section states, or 1."""
    if any(seat.judge.is_llm for seat in seats):
        return WORKERS
    stated = [seat.config.concurrency for seat in seats]
    return max((count for count in stated if isinstance(count, int)), default=1)


async def _halt(stop: asyncio.Event, seats: Sequence[ConfiguredJudge]) -> None:
    """Once a run is to stop, send nothing that waits to be sent: only what is on the wire."""
    await stop.wait()
    for seat in seats:
        seat.api.halt()


def _record(session: _Session, outcome: BattleResult) -> None:
    if isinstance(outcome, Battle):
        session.log.write_battle(outcome)
        if session.race:
            session.race.count(outcome)
    else:
        session.log.write_failure(outcome)
    session.tally.take(outcome)


def _count(tally: LiveStats, race: StoppingMonitor | None, battle: Battle) -> None:
    tally.count(battle)
    if race:
        race.count(battle)


def dry_run(
    path: Path, options: BattleOptions | None = None, progress: Reporter | None = None
) -> Estimate:
    """What `battle` would take; asks no endpoint anything.

    Raises:
        UsageError: the config or a data file has a mistake.
    """
    options = options or BattleOptions()
    experiment = open_experiment(path)
    prompts = load_prompts(experiment)
    books = open_budgets_and_log(experiment.config, experiment.folder, max_usd=options.max_usd)
    material = _load(experiment, progress or reporter(quiet=True))
    runs, unretrieved = stored_or_placeholder_runs(experiment, material)
    prepared = prepare(experiment, material, runs, prompts)
    with open_paid_replies(experiment.folder, cache_folder()) as known:
        judges = estimate(prepared, closed_panel(prepared), known, gate=options.gate)
    return Estimate(judges, unretrieved, books.whole.max_usd, books.whole.spent_usd)


def _load(experiment: Experiment, reporter: Reporter) -> ExperimentData:
    material = load_data(experiment.config, reporter)
    for note in material.notes:
        reporter.say(f"note: {note}")
    return material


WINDOW: Final = 20_000
"""Outcomes that may wait for one slow battle before they are written without it."""


class InOrder:
    """Pass outcomes on in the order of their positions, whatever order they come in."""

    def __init__(self, emit: Callable[[BattleResult], None], *, window: int = WINDOW) -> None:
        self._emit = emit
        self._window = window
        self._waiting: dict[int, BattleResult] = {}
        self._next = 0

    def put(self, position: int, outcome: BattleResult) -> None:
        """Take the outcome of one position; each position comes once."""
        if position < self._next:
            self._emit(outcome)  # a straggler that the others no longer waited for
            return
        self._waiting[position] = outcome
        if len(self._waiting) > self._window:
            self._next = min(self._waiting)
        while self._next in self._waiting:
            self._emit(self._waiting.pop(self._next))
            self._next += 1


class Settles(Protocol):
    """Whoever finds the winners of planned battles."""

    async def settle(self, planned: Planned) -> BattleResult:
        """Find the winner of one battle.

        Raises:
            FatalApiError, LogError, BudgetSpentError: no further battle can be settled.
        """


async def play(
    planned: Iterable[Planned],
    referee: Settles,
    *,
    workers: int,
    emit: Callable[[BattleResult], None],
    stop: asyncio.Event,
) -> None:
    """Settle everything that is planned; ``emit`` gets each outcome, in plan order.

    Once ``stop`` is set no battle is begun any more, and those under way are finished.

    Raises:
        FatalApiError: the endpoint refuses every request; what was under way is finished first.
        BudgetSpentError: as well.
        LogError: the log cannot be written any more.
        UnforeseenError: as well, for any other error.
    """
    in_order = InOrder(emit)

    async def settle(placed: tuple[int, Planned]) -> None:
        position, battle = placed
        in_order.put(position, await referee.settle(battle))

    await work_off(enumerate(planned), settle, workers=workers, stop=stop)
