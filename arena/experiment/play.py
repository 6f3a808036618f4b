"""Judge planned battles, many at once, and hand the outcomes on in plan order.

Verdicts arrive in any order. Each is written to the replies file the moment it is there, so
that nothing paid for is lost; battles are written in plan order, so that the log, and with it
the online Elo, is the same however fast the single replies were and wherever a run was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from arena.endpoint.in_flight import work_off
from arena.errors import UnjudgedError
from arena.experiment.plan import battle_id, exhibit_digest, same_lists
from arena.judging.judge import Judge
from arena.log.battle_log import BattleLog, Reply
from arena.records import (
    Battle,
    Dataset,
    Document,
    Exhibit,
    Failure,
    Matchup,
    Run,
    Side,
    Source,
    Usage,
    Verdict,
    Winner,
)

WINDOW: Final = 20_000
"""Outcomes that may wait for one slow battle before they are written without it."""

WINNERS: Final[Mapping[Side, Winner]] = {"first": "model_a", "second": "model_b", "tie": "tie"}

Outcome = Battle | Failure


class Lists:
    """The top_k documents that each model shows for each query."""

    def __init__(self, datasets: Mapping[str, Dataset], runs: Iterable[Run], *, top_k: int) -> None:
        self._datasets = datasets
        self._runs = {(run.dataset, run.model): run for run in runs}
        self._top_k = top_k
        self._digests: dict[tuple[str, str, str], bytes] = {}

    def exhibit(self, matchup: Matchup) -> Exhibit:
        """What a judge is shown of a matchup."""
        return Exhibit(
            dataset=matchup.dataset,
            query=self._datasets[matchup.dataset].queries[matchup.query_id],
            first=self._documents(matchup, matchup.model_a),
            second=self._documents(matchup, matchup.model_b),
        )

    def battle_id(self, matchup: Matchup, fingerprint: str) -> str:
        """The battle's id under a judge with this fingerprint."""
        query = self._datasets[matchup.dataset].queries[matchup.query_id]
        digests = self._digest(matchup, matchup.model_a), self._digest(matchup, matchup.model_b)
        return battle_id(matchup, query.text, digests, fingerprint)

    def _documents(self, matchup: Matchup, model: str) -> tuple[Document, ...]:
        ranking = self._runs[matchup.dataset, model].rankings.get(matchup.query_id, ())
        corpus = self._datasets[matchup.dataset].corpus
        return tuple(corpus[scored.doc_id] for scored in ranking[: self._top_k])

    def _digest(self, matchup: Matchup, model: str) -> bytes:
        key = (matchup.dataset, matchup.query_id, model)
        if key not in self._digests:
            self._digests[key] = exhibit_digest(self._documents(matchup, model))
        return self._digests[key]


@dataclass(frozen=True, slots=True)
class Planned:
    """A matchup that is yet to be judged."""

    id: str
    matchup: Matchup


class InOrder:
    """Pass outcomes on in the order of their positions, whatever order they come in."""

    def __init__(self, emit: Callable[[Outcome], None], *, window: int = WINDOW) -> None:
        self._emit = emit
        self._window = window
        self._waiting: dict[int, Outcome] = {}
        self._next = 0

    def put(self, position: int, outcome: Outcome) -> None:
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

    async def settle(self, planned: Planned) -> Outcome:
        """Find the winner of one battle.

        Raises:
            FatalApiError, LogError, BudgetSpentError: no further battle can be settled.
        """


class Referee:
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

    async def settle(self, planned: Planned) -> Outcome:
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

    async def _verdict(self, name: str, exhibit: Exhibit) -> tuple[Verdict, Source]:
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

    async def _ask(self, name: str, request: str, exhibit: Exhibit) -> Verdict:
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


async def play(
    planned: Iterable[Planned],
    referee: Settles,
    *,
    workers: int,
    emit: Callable[[Outcome], None],
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
