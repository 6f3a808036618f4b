"""Judge one battle: by identical lists, by a reply already paid for, or by asking the judge.

Verdicts arrive in any order. Each is written to the replies file the moment it is there, so that
nothing paid for is lost. The caller writes battles in plan order. So the log and the online Elo are
the same, however fast single replies were.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

from arena.errors import UnjudgedError
from arena.experiment.pending import Pending
from arena.judging.single_flight import SingleFlight
from arena.records import Battle, Failure, Reply, Side, Source, Usage, Verdict, Winner, now
from arena.store.battle_log import BattleLog

WINNERS: Final[Mapping[Side, Winner]] = {"first": "model_a", "second": "model_b", "tie": "tie"}
BattleResult = Battle | Failure


class BattleRunner:
    """Judges battles; one that shares its request with a battle under way waits for its verdict.

    Args:
        log: where replies are written.
    """

    def __init__(self, log: BattleLog) -> None:
        self._log = log
        self._calls: SingleFlight[Verdict] = SingleFlight()

    @property
    def asked(self) -> Container[str]:
        """Return the keys of the requests that are not answered yet."""
        return self._calls

    async def run(
        self, pending: Pending, *, replied_at: str | None = None, is_logged: bool = False
    ) -> BattleResult:
        """Return the battle with its winner, or why it has none.

        Args:
            pending: the battle.
            replied_at: when the judge has replied, in UTC; now if absent.
            is_logged: whether the log has its reply already, which no verdict could be read in.

        Raises:
            FatalApiError: the endpoint refuses every request.
            BudgetSpentError: the next call could cost more than is left.
            LogError: a verdict cannot be written down.
        """
        if pending.state == "identical":
            return _battle(pending, Verdict("tie"), "identical")
        try:
            verdict, source = await self._verdict(pending, replied_at, is_logged=is_logged)
        except UnjudgedError as error:
            return _failure(pending, error)
        return _battle(pending, verdict, source)

    async def _verdict(
        self, pending: Pending, replied_at: str | None, *, is_logged: bool
    ) -> tuple[Verdict, Source]:
        """Return the verdict on a battle, and whether this battle pays for it."""
        # What is paid for comes first, then a request that is on its way, and the judge last: the
        # same question is never asked twice, by this run or by an earlier one.
        reply = pending.reply
        if reply and reply.winner:
            verdict = Verdict(reply.winner, reply.probs, reply.reply, reply.usage)
            # A shared verdict was paid for once, by the battle that it was asked for.
            free = pending.judge.is_llm and reply.usage == Usage()
            return verdict, "cache" if free or pending.state == "shared" else "judge"
        if not pending.request:
            return await pending.judge.judge(pending.judge_input), "judge"
        if pending.request in self._calls:
            return await self._calls.result(pending.request), "cache"
        call = self._ask(pending, replied_at, is_logged=is_logged)
        verdict = await self._calls.run(pending.request, call)
        return verdict, "cache" if verdict.cached else "judge"

    async def _ask(self, pending: Pending, replied_at: str | None, *, is_logged: bool) -> Verdict:
        """Ask the judge, and write down what it replied before any battle rests on it."""
        try:
            verdict = await pending.judge.judge(pending.judge_input)
        except UnjudgedError as error:
            if (error.reply or error.cost_usd) and not is_logged:
                self._log.write_reply(_unread_reply(pending, error, replied_at or now()))
            raise
        self._log.write_reply(_reply(pending, verdict, replied_at or now()))
        return verdict


def _reply(pending: Pending, verdict: Verdict, at: str) -> Reply:
    return _record(pending, at, verdict.reply, verdict.usage, verdict)


def _unread_reply(pending: Pending, error: UnjudgedError, at: str) -> Reply:
    """Return the record of a reply without a verdict, which was paid for, too."""
    usage = Usage(cost_usd=error.cost_usd, estimated=error.estimated)
    return _record(pending, at, error.reply, usage)


def _record(
    pending: Pending, at: str, reply: str, usage: Usage, verdict: Verdict | None = None
) -> Reply:
    return Reply(
        id=pending.id,
        request=pending.request,
        reply=reply,
        winner=verdict.winner if verdict else None,
        probs=verdict.probs if verdict else None,
        usage=usage,
        at=at,
        judge=pending.judge.name,
    )


def _battle(pending: Pending, verdict: Verdict, source: Source) -> Battle:
    usage = verdict.usage if source == "judge" else Usage()
    return Battle(
        **_about(pending),
        winner=WINNERS[verdict.winner],
        source=source,
        probs=verdict.probs,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=usage.cost_usd,
        latency_ms=usage.latency_ms,
        estimated=usage.estimated,
        kind=pending.judge.kind,
    )


def _failure(pending: Pending, error: UnjudgedError) -> Failure:
    return Failure(
        **_about(pending), reason=error.reason, detail=error.detail, cost_usd=error.cost_usd
    )


def _about(pending: Pending) -> dict[str, Any]:
    """Return the fields that a battle and a failure share."""
    matchup, judge = pending.matchup, pending.judge
    return {
        "id": pending.id,
        "dataset": matchup.dataset,
        "query_id": matchup.query_id,
        "model_a": matchup.model_a,
        "model_b": matchup.model_b,
        "judge": judge.name,
        "prompt": judge.prompt,
        "at": now(),
    }
