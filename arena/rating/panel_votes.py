"""From verdicts to the battles that are rated: one judge's, or a panel's votes.

A matchup that several judges judged is one battle, not several. Its judges read the same two lists,
so counting each of them would only look like more evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arena.battles.coded_columns import MODEL_A, MODEL_B, TIE
from arena.battles.load import Battles
from arena.errors import UsageError
from arena.terminal import count, listing

_SUM_TOLERANCE = 0.01
"""How far a judge's probabilities may sum from 1: logs round them."""

_FIRST_SCORE = np.array([1.0, 0.0, 0.5])
"""What the model shown first scores, by winner code."""


@dataclass(frozen=True, slots=True)
class _Votes:
    """Which vote of the panel each verdict belongs to."""

    vote: NDArray[np.intp]  #: of each verdict, (n_verdicts,)
    last: NDArray[np.intp]  #: the row at which each vote is complete, (n_votes,)
    count: NDArray[np.intp]  #: of each vote by winner code, (n_votes, 3)

    @property
    def size(self) -> NDArray[np.intp]:
        """Return how many judges voted, (n_votes,)."""
        n_judges: NDArray[np.intp] = self.count.sum(axis=1)
        return n_judges


def only_judge(battles: Battles, judge: str) -> Battles:
    """Return the verdicts of one judge.

    Raises:
        UsageError: the log has none of this judge; names those that it has.
    """
    names = battles.present_judges
    if judge not in names:
        known = listing([name or "(not named)" for name in names])
        raise UsageError(f"no battle was judged by {judge!r}; the judges of the log: {known}")
    return battles.take(np.flatnonzero(battles.judge == battles.judges.index(judge)))


def combine(battles: Battles, rule: JudgeRule) -> Battles:
    """Return one battle per matchup: same query, same models, same order, by any judges.

    The first verdicts of all judges on a matchup are one vote, their second ones (repeats)
    another. The winner is who more than half of them named, else it is a tie. By ``mean``,
    probabilities are the mean over judges, and a verdict without any is certain of itself; by
    ``majority`` only a judge voting alone keeps them. A vote is in the log where its last
    verdict does. Battles without query_id cannot be matched, and stay as they are.
    """
    names = [judge or "(not named)" for judge in battles.present_judges]
    if len(names) < 2:
        return battles
    several = f"{len(battles):,} verdicts of {len(names)} judges ({listing(names)})"
    if rule == "each":
        note = f"{several} each count as a battle: intervals allow for it, W/L/T and Elo do not"
        return replace(battles, notes=(*battles.notes, note))
    votes = _votes(battles)
    winner = np.full(len(votes.last), TIE, np.int8)
    for code in (MODEL_A, MODEL_B):
        winner[2 * votes.count[:, code] > votes.size] = code
    combined = replace(
        battles.take(votes.last),
        winner=winner,
        probs=_mean_probs(battles, votes, mean=rule == "mean"),
        judges=(" + ".join(names),),
        placed=_any_placed(battles, votes),
        judge=np.zeros(len(winner), np.int32),
    )
    # Nobody is asked about identical lists: that one line stands for all judges is as it should.
    asked = np.ones(len(winner), np.bool_) if combined.identical is None else ~combined.identical
    partial = int(np.count_nonzero((votes.size < len(names)) & asked))
    notes = list(_panel_notes(votes, f"{several} make", rule))
    if partial and (votes.size > 1).any():
        notes.append(f"judged by some of the {len(names)} judges only: {count(partial, 'battle')}")
    return replace(combined.take(np.argsort(votes.last)), notes=(*battles.notes, *notes))


def first_scores(battles: Battles) -> NDArray[np.float64]:
    """Return the score of the model shown first: P(first) + P(tie)/2 if known, else 1, ½ or 0.

    Raises:
        UsageError: probabilities that do not sum to 1.
    """
    score = _FIRST_SCORE[battles.winner]
    if battles.probs is None:
        return score
    has_probs = known_probs(battles)
    probs = battles.probs[has_probs]
    wrong = (np.abs(probs.sum(axis=1) - 1) > _SUM_TOLERANCE) | (probs < 0).any(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(has_probs)[np.argmax(wrong)])
        first, second, tie = probs[int(np.argmax(wrong))].tolist()
        raise UsageError(
            f"{_battle_words(battles, row)}: probabilities first {first:g}, second {second:g}, "
            f"tie {tie:g} do not sum to 1; correct the log, or rate verdicts alone (--no-soft)"
        )
    score[has_probs] = (probs[:, 0] + probs[:, 2] / 2) / probs.sum(axis=1)
    return score


def _battle_words(battles: Battles, row: int) -> str:
    """Return which battle a row is, in the words of the log."""
    pair = f"{battles.models[battles.model_a[row]]} vs {battles.models[battles.model_b[row]]}"
    query_id = "" if battles.query_id is None else battles.query_ids[battles.query_id[row]]
    return f"{pair}, query {query_id!r}" if query_id else pair


def known_probs(battles: Battles) -> NDArray[np.bool_]:
    """Return which battles have probabilities, (n_battles,)."""
    if battles.probs is None:
        return np.zeros(len(battles), np.bool_)
    known: NDArray[np.bool_] = np.logical_not(np.isnan(battles.probs).any(axis=1))
    return known


def _votes(battles: Battles) -> _Votes:
    """Return which battles vote together, and how.

    A matchup is a query with two models in one order. The first verdicts of all judges on it are
    one vote, their second ones another, as if the panel had met again.
    """
    m, n_judges = len(battles.models), len(battles.judges)
    matchup = battles.query.astype(np.int64) * m + battles.model_a
    matchup = np.unique(matchup * m + battles.model_b, return_inverse=True)[1]
    by_judge = matchup * n_judges + battles.judge
    order = np.argsort(by_judge, kind="stable")
    ordered = by_judge[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    repeat = np.empty(len(order), np.int64)
    repeat[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    _, vote = np.unique(matchup * (repeat.max() + 1) + repeat, return_inverse=True)
    n_votes = int(vote.max()) + 1
    last = np.zeros(n_votes, np.intp)
    np.maximum.at(last, vote, np.arange(len(vote)))
    count = np.bincount(vote * 3 + battles.winner, minlength=3 * n_votes).reshape(n_votes, 3)
    return _Votes(vote, last, count)


def _mean_probs(battles: Battles, votes: _Votes, *, mean: bool) -> NDArray[np.float64] | None:
    alone = votes.size == 1
    given = None if battles.probs is None else battles.probs[votes.last]
    if not mean:
        return None if given is None else np.where(alone[:, None], given, np.nan)
    certain = np.eye(3)[battles.winner]
    if battles.probs is not None:
        certain = np.where(known_probs(battles)[:, None], battles.probs, certain)
    sums = [np.bincount(votes.vote, weights=column) for column in certain.T]
    return np.stack(sums, axis=1) / votes.size[:, None]


def _any_placed(battles: Battles, votes: _Votes) -> NDArray[np.bool_] | None:
    """Return whether any judge of a vote saw one list first."""
    if battles.placed is None:
        return None
    return np.bincount(votes.vote, weights=battles.placed) > 0


def _panel_notes(votes: _Votes, subject: str, rule: JudgeRule) -> Iterator[str]:
    if (votes.size == 1).all():
        yield f"{subject} as many battles: no two judges judged the same matchup"
        return
    how = "majority" if rule == "majority" else "mean probability"
    yield f"{subject} {len(votes.last):,} battles by {how} (--judges)"
    split = int(np.count_nonzero(2 * votes.count.max(axis=1) <= votes.size))
    if split:
        yield f"no majority, so a tie: {count(split, 'battle')}"


JudgeRule = Literal["majority", "mean", "each"]
