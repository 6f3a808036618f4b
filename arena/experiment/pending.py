"""Walk over the plan: yield the battles that are not in the log, and what each of them needs.

Every stage that goes through the plan uses it: live judging, batch jobs, the dry run, the gate and
the search for stale battles. It is lazy, so a plan of a million battles is never in memory.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, Protocol

from arena.experiment.identical_lists import same_lists
from arena.experiment.shown_lists import Lists
from arena.judging.judge import Judge
from arena.records import JudgeInput, Matchup, Reply
from arena.store.shards import WHOLE, Shard

State = Literal["identical", "paid", "shared", "under_way", "to_ask"]
"""What a battle needs that is not in the log:

- ``identical``: nothing, as both lists are the same: a tie.
- ``paid``: nothing, as the log has a reply to it.
- ``shared``: no request of its own, as the same one is answered, or asked by an earlier battle.
- ``under_way``: to wait for a batch job.
- ``to_ask``: the judge.
"""


class LogView(Protocol):
    """What the walk looks up in a log."""

    @property
    def battle_ids(self) -> Container[str]:
        """Return the ids of all battles in the log."""

    def reply_for(self, id: str) -> Reply | None:  # noqa: A002, the column's name
        """Return the last reply with a verdict that was paid for a battle, if any."""

    def reply_to(self, request_key: str) -> Reply | None:
        """Return the last reply with a verdict to the same request, if any."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A battle that is planned and not in the log."""

    id: str
    matchup: Matchup
    judge: Judge
    judge_input: JudgeInput  #: what the judge is shown
    request: str  #: the same for requests that are wholly the same; empty if none is needed
    state: State
    reply: Reply | None = None  #: the reply with a verdict that the log has to its request


def planned(
    matchups: Iterable[Matchup], lists: Lists, judges: Sequence[Judge], *, shard: Shard = WHOLE
) -> Iterator[tuple[str, Matchup, Judge]]:
    """Yield the id, the matchup and the judge of every battle of a shard, in plan order.

    Judges take turns matchup by matchup, so that a run cut short has heard all of them about the
    same battles.
    """
    for matchup in matchups:
        for judge in judges:
            battle_id = lists.battle_id(matchup, judge.fingerprint)
            if shard.holds(battle_id):
                yield battle_id, matchup, judge


def pending(  # noqa: PLR0913, the plan, the log, and what is known beside it
    matchups: Iterable[Matchup],
    lists: Lists,
    judges: Sequence[Judge],
    log: LogView,
    *,
    shard: Shard = WHOLE,
    asked: Container[str] = frozenset(),
    under_way: AbstractSet[str] = frozenset(),
) -> Iterator[Pending]:
    """Yield the battles that are not in the log, in plan order, and what each of them needs.

    A battle is looked up only when it is taken. So a caller that judges each battle before it takes
    the next finds what the earlier ones left in the log and in ``asked``.

    Args:
        matchups: the plan, or a part of it.
        lists: the documents that each model shows.
        judges: each of them judges every matchup.
        log: where verdicts and replies are.
        shard: the part of the plan that counts.
        asked: keys of requests that this run has asked and that are not answered yet.
        under_way: ids and keys of requests, and keys of calls, that batch jobs will bring.
    """
    for battle_id, matchup, judge in planned(matchups, lists, judges, shard=shard):
        if battle_id in log.battle_ids:
            continue
        judge_input = lists.judge_input(matchup)
        state: State = "to_ask"
        request, reply = "", None
        if same_lists(judge_input):
            state = "identical"
        elif judge.kind != "qrels":  # which takes no time and costs nothing: no reply is kept
            request = judge.request_key(judge_input)
            if reply := log.reply_for(battle_id):
                state = "paid"
            elif (reply := log.reply_to(request)) or request in asked:
                state = "shared"
            elif under_way and not under_way.isdisjoint(
                _names(battle_id, request, judge, judge_input)
            ):
                state = "under_way"
        yield Pending(battle_id, matchup, judge, judge_input, request, state, reply)


def _names(battle_id: str, request: str, judge: Judge, judge_input: JudgeInput) -> tuple[str, ...]:
    """Return what a batch job may know a battle by: id, request, or calls about documents."""
    # A pairwise judge has the one call that its request stands for.
    calls = judge.calls(judge_input) if judge.kind == "pointwise" else ()
    return battle_id, request, *calls
