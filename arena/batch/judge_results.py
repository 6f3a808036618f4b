"""Judge the battles whose replies arrived, by job or file, and record all other costs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from arena.batch.batch_run import BatchRun
from arena.batch.delivered_replies import Deliveries, Delivery
from arena.batch.requests import calls_of
from arena.errors import IncompleteError, UnjudgedError
from arena.experiment.battle_runner import BattleRunner
from arena.experiment.experiment import Experiment
from arena.experiment.judges import ConfiguredJudge, JudgeResources, closed_judges
from arena.experiment.pending import Pending, pending
from arena.experiment.spending import open_budgets
from arena.files import cache_folder
from arena.judging.judge import RequestJudge
from arena.judging.reply_cache import VerdictCache
from arena.records import Battle, Matchup, Reply, Usage, now
from arena.store.battle_log import BattleLog
from arena.store.folder import Folder
from arena.store.grades import GradeBook
from arena.store.id_index import IdSet
from arena.store.log_lines import ReplyPlace, read_failures
from arena.store.shards import WHOLE, Shard


@dataclass(slots=True)
class Collected:
    """What a collection came to."""

    experiment: Experiment
    shard: Shard = WHOLE  #: the part of the plan that counts
    n_planned: int = 0  #: battles of all judges
    n_judged: int = 0  #: of them in the log
    n_new: int = 0  #: of them written now
    failures: Counter[str] = field(default_factory=Counter)  #: reason → battles, of this run
    n_jobs: int = 0  #: jobs that are collected now, and answered something
    waiting: list[str] = field(default_factory=list)  #: jobs that cannot be collected yet, and why
    on_battle: Callable[[Battle], None] | None = None  #: told of every battle of the log
    command: str = ""  #: asks again what has no verdict; `arena battle --batch` if empty

    def count(self, battle: Battle) -> None:
        """Count a battle of the log, if it belongs to this shard."""
        self.n_judged += self.shard.holds(battle.id)
        if self.on_battle:
            self.on_battle(battle)

    def check(self) -> None:
        """Raise an error for what is missing.

        Raises:
            IncompleteError: jobs are under way, or battles have no verdict.
        """
        done = f"{self.n_judged:,} of {self.n_planned:,} battles"
        command = self.command or f"arena battle --batch {self.experiment.source}"
        if self.waiting:
            waits = "; ".join(self.waiting)
            raise IncompleteError(f"{done}; still waiting for {waits}; go on with: {command}")
        if self.n_judged < self.n_planned:
            failed = ", ".join(f"{n:,} {reason}" for reason, n in self.failures.most_common())
            listed = f" ({failed})" if failed else ""
            raise IncompleteError(f"{done}{listed}; ask again with: {command}")


def settle_killed_run(run: BatchRun, log: BattleLog) -> None:
    """Write into the log what a run that was killed may have spent, beside what it has logged.

    Raises:
        LogError: it cannot be written.
    """
    budgets = open_budgets(run.experiment.config, run.experiment.folder, shard=run.shard)
    budgets.charge(log.costs)
    budgets.settle(log)


class Settlement:
    """The judges of a run, answered from what was delivered; a context manager.

    Args:
        run: the experiment.
        log: where battles, replies and failures are written.
        deliveries: judge → its answers.
        booked: what the log had of them when it was opened.
    """

    def __init__(
        self,
        run: BatchRun,
        log: BattleLog,
        deliveries: Mapping[str, Deliveries],
        booked: Booked,
    ) -> None:
        names = [configured.config.log_name for configured in run.judges]
        self._run = run
        self._log = log
        self._deliveries = {name: deliveries.get(name, Deliveries()) for name in names}
        self._stack = ExitStack()
        self._cache = self._stack.enter_context(VerdictCache(cache_folder()))
        grades = self._stack.enter_context(GradeBook(run.experiment.folder, run.shard))
        resources = JudgeResources(
            cache=self._cache, on_grade=grades.write, delivered=self._deliveries
        )
        self._judges = closed_judges(run.prepared, resources)
        self._booked = booked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    async def judge(
        self,
        collected: Collected,
        *,
        matchups: Sequence[Matchup] | None = None,
        limit: int | None = None,
    ) -> None:
        """Judge every battle that needs no further request, in plan order.

        Args:
            collected: what the collection came to; is filled.
            matchups: the part of the plan to judge; all of it if absent.
            limit: battles to judge at most that need no answer that was delivered.
        """
        for configured in self._judges:
            await self._judge(configured, collected, matchups, limit)
        await asyncio.sleep(0)  # replies go into the cache right after their battle

    async def _judge(
        self,
        configured: ConfiguredJudge,
        collected: Collected,
        matchups: Sequence[Matchup] | None,
        limit: int | None,
    ) -> None:
        runner = BattleRunner(self._log)
        prepared, name = self._run.prepared, configured.config.log_name
        battles = pending(
            prepared.matchups if matchups is None else matchups,
            prepared.lists,
            [configured.judge],
            self._log,
            shard=self._run.shard,
        )
        n_free = 0
        for battle in battles:
            is_at_hand, deliveries = self._at_hand(battle, name)
            n_free += is_at_hand and not deliveries
            if not is_at_hand or (not deliveries and limit is not None and n_free > limit):
                continue
            result = await runner.run(
                battle,
                replied_at=max((d.answered_at for d in deliveries), default=None),
                is_logged=self._booked.has_unread(battle, deliveries),
            )
            if isinstance(result, Battle):
                self._log.write_battle(result)
                collected.n_new += 1
                collected.count(result)
                continue
            collected.failures[result.reason] += 1
            refused = [d for d in deliveries if isinstance(d.answer, UnjudgedError)]
            if not self._booked.has_failure(battle, refused):
                self._log.write_failure(result)

    def _at_hand(self, battle: Pending, name: str) -> tuple[bool, list[Delivery]]:
        """Return whether a battle needs no further request, and what was delivered for it."""
        if battle.state != "to_ask":
            return True, []
        calls = calls_of(battle)
        deliveries = [self._deliveries[name].find(call) for call in calls]
        is_at_hand = all(
            delivery or self._cache.get(call.key)
            for call, delivery in zip(calls, deliveries, strict=True)
        )
        return is_at_hand, [delivery for delivery in deliveries if delivery]

    def book_the_rest(self, *, known_only: bool = False) -> None:
        """Write down what was delivered and led to no battle; nothing of it is paid for again.

        Args:
            known_only: leave out what belongs to no battle of the plan that is not judged.
        """
        for configured in self._judges:
            judge = configured.judge
            deliveries = self._deliveries[configured.config.log_name]
            known = {id(delivery) for delivery in deliveries.calls().values()}
            for delivery in deliveries:
                if delivery.is_booked or (known_only and id(delivery) not in known):
                    continue
                if isinstance(judge, RequestJudge) and not self._booked.has(delivery):
                    self._book(judge, delivery)

    def _book(self, judge: RequestJudge, delivery: Delivery) -> None:
        answer, is_grade = delivery.answer, judge.kind == "pointwise"
        verdict = None
        if isinstance(answer, UnjudgedError):
            if not (answer.reply or answer.cost_usd):
                return
            text = answer.reply
            usage = Usage(cost_usd=answer.cost_usd, estimated=answer.estimated)
        else:
            if is_grade and self._cache.get(delivery.request):
                return  # a battle took it in an earlier run, which was stopped
            text, usage, verdict = answer.text, answer.usage, judge.verdict_of(answer)
        self._log.write_reply(
            Reply(
                # A document belongs to many battles, so its reply belongs to none.
                id="" if is_grade else delivery.id,
                request=delivery.request,
                reply=text,
                winner=verdict.winner if verdict else None,
                probs=verdict.probs if verdict else None,
                usage=usage,
                at=delivery.answered_at,
                judge=judge.name,
            )
        )
        if is_grade and not isinstance(answer, UnjudgedError):
            self._cache.put(delivery.request, answer)


class Booked:
    """What the log already holds of the answers: an earlier run may have been stopped half way.

    Args:
        folder: the experiment's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._replies = IdSet()  # names and times together

    def count(self, place: ReplyPlace) -> None:
        """Take in a reply that is in the log."""
        name = f"{place.id or place.request} {place.at}"
        self._replies.add(f"reply {name}")
        if not place.has_verdict:
            self._replies.add(f"unread {name}")

    @cached_property
    def _failed_at(self) -> Mapping[str, str]:
        """Return battle → when it failed last; read only where an answer leads to a failure."""
        paths = Folder(self._folder).all_failures()
        return {failure.id: failure.at for path in paths for failure in read_failures(path)}

    def has(self, delivery: Delivery) -> bool:
        """Return whether the log has the cost of an answer."""
        return f"reply {delivery.id} {delivery.answered_at}" in self._replies

    def has_unread(self, battle: Pending, deliveries: list[Delivery]) -> bool:
        """Return whether an earlier run has logged what could not be read of a battle."""
        return any(
            isinstance(delivery.answer, UnjudgedError)
            and f"unread {battle.id} {delivery.answered_at}" in self._replies
            for delivery in deliveries
        )

    def has_failure(self, battle: Pending, refused: list[Delivery]) -> bool:
        """Return whether the log has the failure that these answers led to."""
        asked_at = max((delivery.asked_at for delivery in refused), default=now())
        return self._failed_at.get(battle.id, "") >= asked_at
