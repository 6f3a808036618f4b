"""Two judges' verdicts on the same battles: agreement, changed winners, ties, and first places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.auditing.agreement import Signs
from arena.auditing.estimates import (
    ac1_sums,
    clustered_mean,
    coefficient,
    cohen_kappa,
    gwet_ac1,
    share,
    sums_by_cluster,
)
from arena.auditing.records import AuditMetric, Subgroup, missing_metric, of_hundred


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What both judges say of each battle that was put to both, (n,) each."""

    first: Signs  #: by the first judge: +1 the list shown first won, −1 the other, 0 a tie
    second: Signs
    query: NDArray[np.int32]
    placed: NDArray[np.bool_]  #: whether both were shown one list before the other

    @property
    def table(self) -> tuple[tuple[int, ...], ...]:
        """Return battles by verdict: a row for each of the first judge's (first, second, tie)."""
        code = np.array([2, 0, 1])  # of 0, +1 and −1
        cells = 3 * code[self.first] + code[self.second]
        rows = np.bincount(cells, minlength=9).reshape(3, 3).tolist()
        return tuple(map(tuple, rows))


def agreement_figures(verdicts: Verdicts) -> Iterator[AuditMetric]:
    """Yield how often both judges say the same, and what the second one says instead."""
    first, second, query = verdicts.first, verdicts.second, verdicts.query
    same = share(first == second, query)
    if same is None:
        yield missing_metric(
            "agreement", "both say the same", "no judge was asked about these battles"
        )
        return
    meaning = f"{of_hundred(same.value)} battles have the same verdict by both"
    yield AuditMetric("agreement", "both say the same", "share", same, "battles", meaning)
    yield from _beyond_chance(verdicts)
    yield _other_winner(verdicts)
    yield _ties_become(verdicts)
    yield _become_ties(verdicts)
    yield _first_place(verdicts)


def _beyond_chance(verdicts: Verdicts) -> Iterator[AuditMetric]:
    first, second, n = verdicts.first, verdicts.second, len(verdicts.first)
    cells = np.eye(9)[3 * (first.astype(np.intp) + 1) + second + 1]
    counts = np.eye(3)[first.astype(np.intp) + 1] + np.eye(3)[second.astype(np.intp) + 1]
    kappa = coefficient(sums_by_cluster(cells, verdicts.query), cohen_kappa, n=n)
    ac1 = coefficient(sums_by_cluster(ac1_sums(counts), verdicts.query), gwet_ac1, n=n)
    named = (
        ("kappa", "the same beyond chance (Cohen's kappa)", kappa, "all verdicts are the same"),
        ("ac1", "the same for skewed verdicts (Gwet's AC1)", ac1, "all verdicts are the same"),
    )
    for key, title, estimate, because in named:
        if estimate is None:
            yield missing_metric(key, title, because, "coefficient")
        else:
            meaning = "1: always the same; 0: no more often than by chance"
            yield AuditMetric(key, title, "coefficient", estimate, "battles", meaning)


def _other_winner(verdicts: Verdicts) -> AuditMetric:
    """Return how often the winner changes, by the place of the list that had won."""
    key, title = "other_winner", "the other list wins"
    both = (verdicts.first != 0) & (verdicts.second != 0)
    changed = verdicts.first * verdicts.second == -1
    estimate = share(changed[both], verdicts.query[both])
    if estimate is None:
        return missing_metric(key, title, "no battle has a winner by both judges")
    parts = tuple(
        Subgroup(
            f"where the list shown {place} had won", float(changed[rows].mean()), int(rows.sum())
        )
        for place, sign in (("first", 1), ("second", -1))
        if (rows := both & verdicts.placed & (verdicts.first == sign)).any()
    )
    meaning = f"{of_hundred(estimate.value)} winners change; a coin changes 50"
    return AuditMetric(key, title, "share", estimate, "decided by both", meaning, parts)


def _ties_become(verdicts: Verdicts) -> AuditMetric:
    key, title = "tie_gets_winner", "a tie gets a winner"
    ties = verdicts.first == 0
    estimate = share(verdicts.second[ties] != 0, verdicts.query[ties])
    if estimate is None:
        return missing_metric(key, title, "the first judge gives no tie")
    words = (("the list shown first wins", 1), ("the list shown second wins", -1))
    parts = tuple(
        Subgroup(word, float((verdicts.second[ties] == sign).mean()), int(ties.sum()))
        for word, sign in words
    )
    meaning = f"{of_hundred(estimate.value)} ties of the first judge have a winner by the second"
    return AuditMetric(key, title, "share", estimate, "ties of the first", meaning, parts)


def _become_ties(verdicts: Verdicts) -> AuditMetric:
    key, title = "winner_gets_tie", "a winner becomes a tie"
    won = verdicts.first != 0
    estimate = share(verdicts.second[won] == 0, verdicts.query[won])
    if estimate is None:
        return missing_metric(key, title, "the first judge gives only ties")
    meaning = f"{of_hundred(estimate.value)} winners of the first judge are ties by the second"
    return AuditMetric(key, title, "share", estimate, "winners of the first", meaning)


def _first_place(verdicts: Verdicts) -> AuditMetric:
    """Return how much more the list shown first scores by the second judge."""
    key, title = "first_place", "the list shown first scores more by the second judge"
    rows = verdicts.placed
    gain = (verdicts.second[rows] - verdicts.first[rows]) / 2
    estimate = clustered_mean(gain, verdicts.query[rows])
    if estimate is None:
        because = "no list is shown first to a judge of single documents, or by grades"
        return missing_metric(key, title, because, "difference")
    meaning = "points of 100 battles, a tie counting half; 0: both favour the first place alike"
    return AuditMetric(key, title, "difference", estimate, "battles", meaning)
