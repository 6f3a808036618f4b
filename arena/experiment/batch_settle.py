"""What came back of requests sent by post: into the log, as if the judge had said it just now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from arena.batch.results import Answer
from arena.errors import IncompleteError, UnjudgedError
from arena.experiment.batch_desk import Desk
from arena.experiment.material import Experiment
from arena.experiment.play import Referee
from arena.judging.chat import Messages
from arena.judging.judge import Judge
from arena.log.battle_log import BattleLog, Reply, read_failures, read_replies
from arena.records import Battle, Exhibit, Usage, Verdict


@dataclass(slots=True)
class Collected:
    """What a collection came to."""

    experiment: Experiment
    n_planned: int = 0
    n_judged: int = 0  #: in the log, of all judges
    n_new: int = 0  #: of them written now
    failures: Counter[str] = field(default_factory=Counter)  #: reason → battles, of this run
    waiting: list[str] = field(default_factory=list)  #: jobs that cannot be collected yet, and why

    def check(self) -> None:
        """Complain of what is missing.

        Raises:
            IncompleteError: jobs are under way, or battles have no verdict.
        """
        source = self.experiment.source
        done = f"{self.n_judged:,} of {self.n_planned:,} battles"
        if self.waiting:
            again = f"go on with: arena batch collect {source}"
            raise IncompleteError(f"{done}; still waiting for {'; '.join(self.waiting)}; {again}")
        if self.n_judged < self.n_planned:
            failed = ", ".join(f"{n:,} {reason}" for reason, n in self.failures.most_common())
            again = f"ask again with: arena batch submit {source}"
            raise IncompleteError(f"{done}{f' ({failed})' if failed else ''}; {again}")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request has no verdict."""

    error: UnjudgedError
    since: str  #: when it was asked; a failure recorded since then is this one
    id: str  #: the battle that paid for it


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came back of one job, or of one exported file."""

    judge: str  #: the judge's name
    requests: Mapping[str, str]  #: battle id → key of its request
    answers: Mapping[str, Answer]  #: battle id → what came back; for those requests alone
    asked_at: str  #: UTC time, ISO 8601
    answered_at: str

    @property
    def refused(self) -> dict[str, Refused]:
        """Key of a request → why it has no verdict."""
        return {
            self.requests[name]: Refused(answer, self.asked_at, name)
            for name, answer in self.answers.items()
            if isinstance(answer, UnjudgedError)
        }


async def settle(
    desk: Desk, log: BattleLog, refused: Mapping[str, Refused], done: Collected
) -> None:
    """Write every battle that needs no further request, and every failure, in plan order."""
    failed_at = _failed_at(desk.experiment.folder) if refused else {}
    for postal in desk.judges.values():
        referee = Referee(desk.prepared.lists, Answered(postal.judge, refused), log)
        done.n_planned += desk.prepared.n_matchups
        n_open = 0
        for planned in referee.unplayed(desk.prepared.matchups):
            try:
                outcome = await referee.settle(planned)
            except _UnansweredError:
                n_open += 1
                continue
            if isinstance(outcome, Battle):
                log.write_battle(outcome)
                done.n_new += 1
                continue
            n_open += 1
            done.failures[outcome.reason] += 1
            exhibit = desk.prepared.lists.exhibit(planned.matchup)
            cause = refused[postal.judge.request_key(exhibit)]
            if failed_at.get(outcome.id, "") < cause.since:
                own = cause.id == outcome.id
                log.write_failure(replace(outcome, cost_usd=cause.error.cost_usd if own else 0.0))
        done.n_judged += desk.prepared.n_matchups - n_open


def write_replies(log: BattleLog, folder: Path, delivery: Delivery) -> None:
    """Write down what was paid for, unless a run that was stopped has done so."""
    at, answers = delivery.answered_at, delivery.answers
    written = _unreadable(folder, at) if delivery.refused else frozenset()
    for name, answer in answers.items():
        if isinstance(answer, Verdict):
            before = log.reply_for(name)
            if before and before.at == at and before.reply == answer.reply:
                continue
            reply, winner, probs, usage = answer.reply, answer.winner, answer.probs, answer.usage
        else:
            if name in written or not (answer.reply or answer.cost_usd):
                continue
            usage = Usage(cost_usd=answer.cost_usd, estimated=answer.estimated)
            reply, winner, probs = answer.reply, None, None
        log.write_reply(
            Reply(
                id=name,
                request=delivery.requests[name],
                reply=reply,
                winner=winner,
                probs=probs,
                usage=usage,
                at=at,
                judge=delivery.judge,
            )
        )
    log.flush()


def _unreadable(folder: Path, at: str) -> frozenset[str]:
    """Battles with a reply of that moment that could not be read."""
    return frozenset(
        reply.id
        for path in sorted(folder.glob("replies*.jsonl"))
        for reply in read_replies(path)
        if reply.winner is None and reply.at == at
    )


def _failed_at(folder: Path) -> dict[str, str]:
    """Battle id → when its last failure was recorded."""
    return {
        failure.id: failure.at
        for path in sorted(folder.glob("failures*.jsonl"))
        for failure in read_failures(path)
    }


class Answered:
    """A judge that has been asked by post: what it did not answer stays open."""

    def __init__(self, judge: Judge, refused: Mapping[str, Refused]) -> None:
        self.name = judge.name
        self.prompt = judge.prompt
        self.fingerprint = judge.fingerprint
        self.is_llm = judge.is_llm
        self.kind = judge.kind
        self._judge = judge
        self._refused = refused

    def request_key(self, exhibit: Exhibit) -> str:
        """As the judge itself."""
        return self._judge.request_key(exhibit)

    def calls(self, exhibit: Exhibit) -> Mapping[str, Messages]:
        """As the judge itself."""
        return self._judge.calls(exhibit)

    async def judge(self, exhibit: Exhibit) -> Verdict:
        """Fail as the request did.

        Raises:
            UnjudgedError: with the reason that came back; the reply is in the log already.
            _UnansweredError: nothing came back; for `settle` alone.
        """
        refused = self._refused.get(self.request_key(exhibit))
        if refused is None:
            raise _UnansweredError
        raise UnjudgedError(refused.error.reason, refused.error.detail)


class _UnansweredError(Exception):
    """A request that no job has answered yet; never shown."""
