"""The judges of an experiment, opened together and playing one plan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from arena.config import JudgeConfig
from arena.endpoint.client import Api
from arena.errors import UsageError
from arena.experiment.adjudicate import BattleResult, BattleRunner, Planned
from arena.experiment.experiment import PreparedExperiment
from arena.files import cache_folder
from arena.judging.budget import Budget
from arena.judging.judge import Judge
from arena.judging.learned import LEARNED, Learned
from arena.judging.open import endpoint_of, open_judge
from arena.judging.prompt import Prompt
from arena.judging.qrels import qrels_judge
from arena.judging.reply_cache import VerdictCache
from arena.records import Grade, Matchup
from arena.store.shards import WHOLE, Shard


@dataclass(frozen=True, slots=True)
class ConfiguredJudge:
    """One judge of an experiment."""

    config: JudgeConfig
    prompt: Prompt | None  #: None for a judge that is no LLM
    judge: Judge
    api: Api  #: its endpoint; never used by a judge that is no LLM


class JudgePanel:
    """The referees of several judges as one; a single judge is a panel of one.

    Judges take turns matchup by matchup, so that a run cut short has heard all of them about
    the same battles.
    """

    def __init__(self, referees: Sequence[BattleRunner], *, shard: Shard = WHOLE) -> None:
        self._referees = referees
        self._shard = shard
        self._asked: dict[str, BattleRunner] = {}  #: battle id → whose it is, while it is under way

    def unplayed(self, matchups: Iterable[Matchup]) -> Iterator[Planned]:
        """Yield, in plan order, what of the shard is not in the log, once for each judge."""
        for matchup in matchups:
            for referee in self._referees:
                for planned in referee.unplayed((matchup,)):
                    if self._shard.holds(planned.id):
                        self._asked[planned.id] = referee
                        yield planned

    async def settle(self, planned: Planned) -> BattleResult:
        """Find the winner of one battle, by the judge that it was planned for.

        Raises:
            FatalApiError, LogError, BudgetSpentError: as `Referee.settle`.
        """
        return await self._asked.pop(planned.id).settle(planned)


@dataclass(frozen=True, slots=True)
class Purse:
    """What judges draw on, and where they leave what they find out."""

    budgets: Mapping[str, Budget] = field(default_factory=dict)  #: judge → what it may spend
    cache: VerdictCache | None = None  #: replies paid for before, by any experiment
    on_grade: Callable[[Grade], None] | None = None  #: told of each document's grade
    learned: Learned | None = None  #: what earlier runs found out about endpoints


@asynccontextmanager
async def open_panel(
    prepared: PreparedExperiment,
    *,
    budgets: Mapping[str, Budget],
    on_grade: Callable[[Grade], None],
    say: Callable[[str], None],
) -> AsyncIterator[tuple[ConfiguredJudge, ...]]:
    """Open every judge's endpoint, and the cache of verdicts that experiments share.

    Args:
        prepared: the experiment.
        budgets: judge → what it may spend.
        on_grade: told of each document's grade by a pointwise judge.
        say: told when an endpoint is down, and when it is back.

    Raises:
        FatalApiError: an endpoint's key or address is missing.
        UsageError: two judges differ in nothing but their names.
        DataError: the cache cannot be opened.
    """
    async with AsyncExitStack() as stack:
        cache = stack.enter_context(VerdictCache(cache_folder()))
        learned = Learned(prepared.experiment.folder / LEARNED)
        purse = Purse(budgets, cache, on_grade, learned)
        seats = []
        for config in prepared.config.judges:
            api = Api(endpoint_of(config), on_event=say)
            if config.kind != "qrels" and config.log_name not in prepared.own_judges:
                await stack.enter_async_context(api)
            seats.append(_seat(prepared, config, api, purse))
        yield _different(seats)


def closed_panel(prepared: PreparedExperiment) -> tuple[ConfiguredJudge, ...]:
    """The judges by name and fingerprint alone: they are not to be asked anything.

    Raises:
        UsageError: two judges differ in nothing but their names.
    """
    return _different(
        [
            _seat(prepared, config, Api(endpoint_of(config)), Purse())
            for config in prepared.config.judges
        ]
    )


def _different(seats: Sequence[ConfiguredJudge]) -> tuple[ConfiguredJudge, ...]:
    """The seats, if no two of them would share their battles.

    Raises:
        UsageError: two judges differ in nothing but their names.
    """
    by_fingerprint: dict[str, str] = {}
    for seat in seats:
        name, fingerprint = seat.judge.name, seat.judge.fingerprint
        other = by_fingerprint.setdefault(fingerprint, name)
        if other != name:
            raise UsageError(
                f"judges {other} and {name} differ in nothing but their names: "
                "give one of them another model, prompt or setting, or leave it out"
            )
    return tuple(seats)


def _seat(
    prepared: PreparedExperiment, config: JudgeConfig, api: Api, purse: Purse
) -> ConfiguredJudge:
    if own := prepared.own_judges.get(config.log_name):
        return ConfiguredJudge(config, None, own, api)
    top_k = prepared.config.experiment.top_k
    prompt = prepared.prompts[config.log_name]
    if prompt is None:
        qrels = {name: dataset.qrels for name, dataset in prepared.material.datasets.items()}
        return ConfiguredJudge(config, None, qrels_judge(qrels, top_k), api)
    judge = open_judge(
        config,
        api,
        prompt=prompt,
        top_k=top_k,
        budget=purse.budgets.get(config.log_name),
        cache=purse.cache,
        learned=purse.learned,
        on_grade=purse.on_grade,
    )
    return ConfiguredJudge(config, prompt, judge, api)
