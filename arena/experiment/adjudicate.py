"""Judge planned battles, many at once, and hand the outcomes on in plan order.

Verdicts arrive in any order. Each is written to the replies file the moment it is there, so
that nothing paid for is lost; battles are written in plan order, so that the log, and with it
the online Elo, is the same however fast the single replies were and wherever a run was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from arena.errors import UnjudgedError
from arena.experiment.experiment import Lists, PreparedExperiment
from arena.experiment.plan import same_lists
from arena.judging.judge import Judge
from arena.progress import Reporter
from arena.records import (
    Battle,
    Failure,
    JudgeInput,
    Matchup,
    Reply,
    Side,
    Source,
    Usage,
    Verdict,
    Winner,
)
from arena.store.battle_log import BattleLog
from arena.store.id_index import IdSet
from arena.store.shards import WHOLE, Shard
from arena.store.superseded import SUPERSEDED, set_aside

WINNERS: Final[Mapping[Side, Winner]] = {"first": "model_a", "second": "model_b", "tie": "tie"}
BattleResult = Battle | Failure


@dataclass(frozen=True, slots=True)
class Planned:
    """A matchup that is yet to be judged."""

    id: str
    matchup: Matchup


class BattleRunner:
    """Settles battles: by identity, by a reply already paid for, or by asking the judge."""

    def __init__(self, lists: Lists, judge: Judge, log: BattleLog) -> None:
        self._lists = lists
        self._judge = judge
        self._log = log
        self._asking: dict[str, asyncio.Future[Verdict]] = {}

    def unplayed(self, matchups: Iterable[Matchup]) -> Iterator[Planned]:
        """Yield, in plan order, the matchups whose battle is not in the log."""
        for matchup in matchups:
            name = self._lists.battle_id(matchup, self._judge.fingerprint)
            if name not in self._log.battle_ids:
                yield Planned(name, matchup)

    async def settle(self, planned: Planned) -> BattleResult:
        """Find the winner of one battle.

        Raises:
            FatalApiError: the endpoint refuses every request.
            LogError: a verdict cannot be written down.
        """
        exhibit = self._lists.exhibit(planned.matchup)
        if same_lists(exhibit):
            return self._battle(planned, Verdict("tie"), "identical")
        try:
            verdict, source = await self._verdict(planned.id, exhibit)
        except UnjudgedError as error:
            return self._failure(planned, error)
        return self._battle(planned, verdict, source)

    async def _verdict(self, name: str, exhibit: JudgeInput) -> tuple[Verdict, Source]:
        if self._judge.kind == "qrels":  # takes no time and costs nothing: no reply is kept
            return await self._judge.judge(exhibit), "judge"
        request = self._judge.request_key(exhibit)
        own = self._log.reply_for(name)
        if own and own.winner:
            free = self._judge.is_llm and own.usage == Usage()
            return _verdict(own, own.winner), _source(cost_nothing=free)
        shared = self._log.reply_to(request)
        if shared and shared.winner:
            return _verdict(shared, shared.winner), "cache"
        if request in self._asking:
            return await self._asking[request], "cache"
        verdict = await self._ask(name, request, exhibit)
        return verdict, _source(cost_nothing=verdict.cached)

    async def _ask(self, name: str, request: str, exhibit: JudgeInput) -> Verdict:
        """Ask the judge; whoever wants the same request meanwhile gets the same answer."""
        asking = self._asking[request] = asyncio.get_running_loop().create_future()
        asking.add_done_callback(_seen)
        try:
            verdict = await self._judge.judge(exhibit)
            self._log.write_reply(
                Reply(
                    id=name,
                    request=request,
                    reply=verdict.reply,
                    winner=verdict.winner,
                    probs=verdict.probs,
                    usage=verdict.usage,
                    at=_now(),
                    judge=self._judge.name,
                )
            )
        except BaseException as error:
            # First of all, lest those who share the request wait for ever.
            if isinstance(error, Exception):
                asking.set_exception(error)
            else:
                asking.cancel()
            if isinstance(error, UnjudgedError) and (error.reply or error.cost_usd):
                usage = Usage(cost_usd=error.cost_usd, estimated=error.estimated)
                self._log.write_reply(
                    Reply(name, request, error.reply, None, None, usage, _now(), self._judge.name)
                )
            raise
        else:
            asking.set_result(verdict)
            return verdict
        finally:
            del self._asking[request]

    def _battle(self, planned: Planned, verdict: Verdict, source: Source) -> Battle:
        # A shared verdict was paid for once, by the battle that it was asked for.
        usage = verdict.usage if source == "judge" else Usage()
        return Battle(
            id=planned.id,
            dataset=planned.matchup.dataset,
            query_id=planned.matchup.query_id,
            model_a=planned.matchup.model_a,
            model_b=planned.matchup.model_b,
            winner=WINNERS[verdict.winner],
            judge=self._judge.name,
            prompt=self._judge.prompt,
            source=source,
            probs=verdict.probs,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=usage.cost_usd,
            latency_ms=usage.latency_ms,
            estimated=usage.estimated,
            at=_now(),
            kind=self._judge.kind,
        )

    def _failure(self, planned: Planned, error: UnjudgedError) -> Failure:
        return Failure(
            id=planned.id,
            dataset=planned.matchup.dataset,
            query_id=planned.matchup.query_id,
            model_a=planned.matchup.model_a,
            model_b=planned.matchup.model_b,
            judge=self._judge.name,
            prompt=self._judge.prompt,
            reason=error.reason,
            detail=error.detail,
            cost_usd=error.cost_usd,
            at=_now(),
        )

    # Outcomes that wait behind a battle without one are not emitted: their replies are on disk,
    # and the run that resumes puts them where an undisturbed run would have.


def _verdict(reply: Reply, winner: Side) -> Verdict:
    return Verdict(winner, reply.probs, reply.reply, reply.usage)


def _source(*, cost_nothing: bool) -> Source:
    return "cache" if cost_nothing else "judge"


def _seen(asking: asyncio.Future[Verdict]) -> None:
    """Mark a shared failure as seen: often nobody else is waiting for it."""
    if not asking.cancelled():
        asking.exception()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def move_stale_battles(
    prepared: PreparedExperiment,
    fingerprints: Collection[str],
    reporter: Reporter,
    *,
    shard: Shard = WHOLE,
) -> int:
    """Take battles out of the log that this configuration would not play.

    A changed prompt, judge, corpus or list makes other battles of them, and rating both kinds
    together would mix two experiments. Their replies stay, so changing back costs nothing.

    Args:
        prepared: the experiment.
        fingerprints: of its judges.
        reporter: says how many were moved, and where.
        shard: the part of the plan to count.

    Returns:
        How many battles this part of the plan has.

    Raises:
        LogError: another process writes this experiment's log.
    """
    folder = prepared.experiment.folder
    has_log = any(folder.glob("battles*.jsonl"))
    if not has_log and shard.name is None:
        return prepared.n_matchups * len(fingerprints)
    planned, n_of_shard = IdSet(), 0
    for matchup in prepared.matchups:
        for fingerprint in fingerprints:
            name = prepared.lists.battle_id(matchup, fingerprint)
            planned.add(name)
            n_of_shard += shard.holds(name)
    if has_log and (n_aside := set_aside(folder, planned)):
        reporter.say(
            f"note: {n_aside:,} battles of an earlier configuration were moved to "
            f"{folder / SUPERSEDED}"
        )
    return n_of_shard
