"""The commands' work: the only place where all stages meet."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final

from arena.config import Config
from arena.endpoint.client import Api, Endpoint, run
from arena.errors import FatalApiError, IncompleteError
from arena.experiment.estimate import Estimate, estimate, stored_or_stand_in
from arena.experiment.manifest import write_manifest
from arena.experiment.material import (
    Experiment,
    Material,
    load_material,
    open_experiment,
    retrieve_all,
)
from arena.experiment.plan import count_matchups, plan_matchups
from arena.experiment.play import Lists, Referee, play
from arena.experiment.tally import Tally
from arena.judging.judge import Judge, llm_judge, qrels_judge
from arena.judging.prompt import Prompt, load_prompt
from arena.log.battle_log import BattleLog, read_battles
from arena.log.superseded import set_aside
from arena.progress import Reporter
from arena.records import Matchup, Run

WORKERS: Final = 1024
"""Battles under way at most; `arena.endpoint` finds how many calls at once the endpoint takes."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An experiment with its data and runs, ready for battle."""

    experiment: Experiment
    material: Material
    lists: Lists
    prompt: Prompt | None  #: None for a judge that is no LLM

    @property
    def config(self) -> Config:
        """The experiment's arena.toml."""
        return self.experiment.config

    @property
    def matchups(self) -> Iterator[Matchup]:
        """The whole plan, lazily."""
        return plan_matchups(
            [model.name for model in self.config.models],
            self.material.queries,
            orders=self.config.experiment.orders,
            seed=self.config.experiment.seed,
        )

    @property
    def n_matchups(self) -> int:
        """How many matchups the plan has."""
        return count_matchups(
            len(self.config.models), self.material.queries, orders=self.config.experiment.orders
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """How a battle run ended."""

    experiment: Experiment
    n_planned: int
    n_judged: int  #: in the log, this run's and earlier ones'
    failures: Mapping[str, int]  #: reason → battles of this run without a verdict
    cost_usd: float  #: of this run
    ratings: Mapping[str, float]  #: model → the online Elo that was shown live
    interrupted: bool

    def check(self) -> None:
        """Complain of what is missing.

        Raises:
            IncompleteError: the run was interrupted, or has more failures than allowed.
        """
        resume = f"arena battle {self.experiment.source}"
        if self.interrupted:
            raise IncompleteError(
                f"stopped at {self.n_judged:,} of {self.n_planned:,} battles; go on with: {resume}"
            )
        n_failed = sum(self.failures.values())
        allowed = self.experiment.config.judges[0].max_failures
        if n_failed > allowed * (n_failed + self.n_judged):
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.failures.items())
            raise IncompleteError(
                f"{n_failed:,} battles have no verdict ({reasons}), more than max_failures = "
                f"{allowed:g} allows; they are in {self.experiment.folder / 'failures.jsonl'}, "
                f"try them again with: {resume}"
            )


def retrieve(path: Path, reporter: Reporter) -> list[Path]:
    """Embed and retrieve only; returns where the runs are.

    Raises:
        UsageError: the config or a data file has a mistake.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_experiment(path)
    material = _load(experiment, reporter)
    runs = retrieve_all(experiment, material, reporter)
    return [experiment.retrieval(run.dataset, run.model) for run in runs]


def battle(path: Path, reporter: Reporter, *, limit: int | None = None) -> Summary:
    """Judge every planned battle that is not in the log yet, or ``limit`` of them.

    Ctrl-C finishes what is under way; a second one leaves at once, and loses no verdict either.

    Raises:
        UsageError, ApiError: as `retrieve`.
        FatalApiError: the judge's endpoint refuses every request.
        LogError: the log is locked by another process, or cannot be written.
    """
    experiment = open_experiment(path)
    prompt = _prompt(experiment)  # a missing template is found before an hour of embedding
    material = _load(experiment, reporter)
    runs = retrieve_all(experiment, material, reporter)
    prepared = _prepared(experiment, material, runs, prompt)
    try:
        return run(_battle(prepared, reporter, limit))
    except FatalApiError as error:
        again = f"nothing judged is lost; once mended, go on with: arena battle {path}"
        raise FatalApiError(error.reason, f"{error.detail}; {again}") from None


def dry_run(path: Path) -> Estimate:
    """What `battle` would take; asks no endpoint anything.

    Raises:
        UsageError: the config or a data file has a mistake.
    """
    experiment = open_experiment(path)
    prompt = _prompt(experiment)
    material = load_material(experiment.config)
    runs, unretrieved = stored_or_stand_in(experiment, material)
    prepared = _prepared(experiment, material, runs, prompt)
    judge = _judge(prepared, Api(_endpoint(prepared)))
    logs = sorted(experiment.folder.glob("battles*.jsonl"))
    judged = {battle.id for log in logs for battle in read_battles(log)}
    unplayed = [
        matchup
        for matchup in prepared.matchups
        if prepared.lists.battle_id(matchup, judge.fingerprint) not in judged
    ]
    found = estimate(
        prepared.n_matchups, unplayed, prepared.lists, experiment.config.judges[0], prompt
    )
    return replace(found, unretrieved=unretrieved)


async def _battle(prepared: Prepared, reporter: Reporter, limit: int | None) -> Summary:
    folder = prepared.experiment.folder
    async with _open_judge(prepared) as judge:
        _set_aside_other_battles(prepared, judge, reporter)
        write_manifest(prepared.experiment, prepared.material, judge, prepared.prompt)
        with BattleLog(folder) as log:
            tally = Tally(log, folder)
            referee = Referee(prepared.lists, judge, log)
            left = prepared.n_matchups - tally.n_judged
            total = tally.n_judged + (left if limit is None else min(left, limit))
            with reporter.stage("battles", total) as stage, _interruptible(reporter) as stop:
                tally.show(stage)
                await play(
                    islice(referee.unplayed(prepared.matchups), limit),
                    referee,
                    workers=WORKERS if judge.is_llm else 1,
                    emit=tally.take,
                    stop=stop,
                )
                tally.finish()
    return Summary(
        experiment=prepared.experiment,
        n_planned=prepared.n_matchups,
        n_judged=tally.n_judged,
        failures=tally.failures,
        cost_usd=tally.cost_usd,
        ratings=tally.ratings,
        interrupted=stop.is_set(),
    )


def _set_aside_other_battles(prepared: Prepared, judge: Judge, reporter: Reporter) -> None:
    """Take battles out of the log that this configuration would not play.

    A changed prompt, judge, corpus or list makes other battles of them, and rating both kinds
    together would mix two experiments. Their replies stay, so changing back costs nothing.
    """
    folder = prepared.experiment.folder
    if not any(folder.glob("battles*.jsonl")):
        return
    planned = {
        prepared.lists.battle_id(matchup, judge.fingerprint) for matchup in prepared.matchups
    }
    if n_aside := set_aside(folder, planned):
        reporter.say(
            f"note: {n_aside:,} battles of an earlier configuration were moved to "
            f"{folder / 'superseded.jsonl'}"
        )


@contextmanager
def _interruptible(reporter: Reporter) -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set; the second signal cancels what is under way."""
    stop = asyncio.Event()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupt() -> None:
        if stop.is_set() and task:
            task.cancel()
        else:
            reporter.say("stopping: finishing the calls under way; again to leave at once")
            stop.set()

    handled = []
    # Not on every platform, and not in a thread: the default handlers stay there.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
            handled.append(number)
    try:
        yield stop
    except asyncio.CancelledError:
        # Every verdict that had arrived is in the replies file, and will be read from there.
        if not stop.is_set():
            raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _open_judge(prepared: Prepared) -> AsyncIterator[Judge]:
    api = Api(_endpoint(prepared))
    if prepared.prompt is None:
        yield _judge(prepared, api)
    else:
        async with api:
            yield _judge(prepared, api)


def _judge(prepared: Prepared, api: Api) -> Judge:
    if prepared.prompt is None:
        qrels = {name: dataset.qrels for name, dataset in prepared.material.datasets.items()}
        return qrels_judge(qrels, prepared.config.experiment.top_k)
    return llm_judge(prepared.config.judges[0], prepared.prompt, api)


def _endpoint(prepared: Prepared) -> Endpoint:
    judge = prepared.config.judges[0]
    return Endpoint(judge.base_url, judge.api_key_env, judge.timeout_s, judge.concurrency)


def _prompt(experiment: Experiment) -> Prompt | None:
    judge = experiment.config.judges[0]
    if judge.kind == "qrels":
        return None
    return load_prompt(judge.prompt, folder=experiment.source.parent)


def _load(experiment: Experiment, reporter: Reporter) -> Material:
    material = load_material(experiment.config)
    for note in material.notes:
        reporter.say(f"note: {note}")
    return material


def _prepared(
    experiment: Experiment, material: Material, runs: Sequence[Run], prompt: Prompt | None
) -> Prepared:
    lists = Lists(material.datasets, runs, top_k=experiment.config.experiment.top_k)
    return Prepared(experiment, material, lists, prompt)
