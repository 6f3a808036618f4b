"""Measure what swapping the lists does to a verdict, and whether a repeat gives it again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arena.auditing.audit_input import AuditInput
from arena.auditing.estimates import parts_by, share
from arena.auditing.records import (
    BY_QUERY_ID,
    FLIP_RATE,
    AuditMetric,
    Estimate,
    missing_metric,
    of_hundred,
)
from arena.battles.coded_columns import MODEL_A, TIE
from arena.battles.load import Battles
from arena.rating.leaderboard_records import Leaderboard

Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_FAIR = 0.2
"""Up to this share of battles without a counterpart, the first place is nobody's privilege."""


@dataclass(frozen=True, slots=True)
class Swapped:
    """Home and away: pairs of battles of one judge that differ in the order alone."""

    battles: Battles
    home: Ints  #: rows of the first of each pair, (n_pairs,)
    away: Ints  #: rows of the second, (n_pairs,)
    flip: Bools  #: the other model won, (n_pairs,)
    tie_change: Bools  #: a tie in one order, a winner in the other, (n_pairs,)


def swapped(battles: Battles) -> Swapped:
    """Match battles in both orders; the first repeat of one with the first of the other."""
    group, forward = _matchup(battles)
    code = group * len(battles) + _occurrence(group * 2 + forward)
    forwards, back = np.flatnonzero(forward), np.flatnonzero(~forward)
    _, i, j = np.intersect1d(code[forwards], code[back], assume_unique=True, return_indices=True)
    won = winner_of_lower(battles)
    home, away = won[forwards[i]], won[back[j]]
    flip, tie_change = home * away == -1, (home == 0) != (away == 0)
    return Swapped(battles, forwards[i], back[j], flip, tie_change)


def swap_figures(evidence: AuditInput, leaderboard: Leaderboard) -> list[AuditMetric]:
    """Return the flip rate, changes to or from a tie, consistency, and the first list's gain."""
    pairs = swapped(evidence.judged)
    return [
        _swap_figure(
            FLIP_RATE,
            "verdict flips when the lists are swapped",
            pairs,
            pairs.flip,
            "pairs flip: the other model wins when the lists are swapped; a coin gives 50",
        ),
        _swap_figure(
            "tie_change",
            "tie in one order, winner in the other",
            pairs,
            pairs.tie_change,
            "pairs have a winner in one order only",
        ),
        _swap_figure(
            "consistency",
            "same verdict in both orders",
            pairs,
            ~(pairs.flip | pairs.tie_change),
            "pairs keep their verdict whichever list comes first",
        ),
        _first_preference(evidence.judged),
        _position_elo(leaderboard),
    ]


def repeat_figure(evidence: AuditInput) -> AuditMetric:
    """Return how often the same question gets the same verdict again."""
    battles = evidence.judged
    group, forward = _matchup(battles)
    _, code = np.unique(group * 2 + forward, return_inverse=True)
    counts = np.zeros((len(battles), 3))
    np.add.at(counts, (code, battles.winner), 1)
    asked = counts.sum(axis=1)
    cluster = np.zeros(len(battles), np.intp)
    cluster[code] = battles.query
    pairs = asked * (asked - 1) / 2
    agreeing = (counts * (counts - 1) / 2).sum(axis=1)
    estimate = share(agreeing, cluster, pairs)
    key, title = "repeat_consistency", "same verdict when asked again"
    if estimate is None:
        return missing_metric(
            key, title, f"no battle was judged twice in the same order{BY_QUERY_ID}"
        )
    meaning = f"{of_hundred(estimate.value)} repeats get the verdict that they got before"
    return AuditMetric(key, title, "share", estimate, "repeats", meaning)


def winner_of_lower(battles: Battles) -> NDArray[np.int8]:
    """Return +1 if the model with the lower code won, -1 if the other did, 0 for a tie."""
    forward = battles.model_a < battles.model_b
    won = np.where((battles.winner == MODEL_A) == forward, 1, -1)
    return np.where(battles.winner == TIE, 0, won).astype(np.int8)


def _matchup(battles: Battles) -> tuple[Ints, Bools]:
    """Return codes of judge, query and the unordered pair; and whether the lower model is first."""
    m = len(battles.models)
    low = np.minimum(battles.model_a, battles.model_b).astype(np.int64)
    high = np.maximum(battles.model_a, battles.model_b)
    asked = battles.judge.astype(np.int64) * (int(battles.query.max()) + 1) + battles.query
    _, group = np.unique((asked * m + low) * m + high, return_inverse=True)
    return group.astype(np.intp), battles.model_a < battles.model_b


def _occurrence(code: Ints) -> Ints:
    """Return how many rows before this one have the same code, (n,)."""
    order = np.argsort(code, kind="stable")
    _, start, counts = np.unique(code[order], return_index=True, return_counts=True)
    out = np.empty(len(code), np.intp)
    out[order] = np.arange(len(code)) - np.repeat(start, counts)
    return out


def _swap_figure(key: str, title: str, pairs: Swapped, hits: Bools, meaning: str) -> AuditMetric:
    battles = pairs.battles
    estimate = share(hits, battles.query[pairs.home])
    if estimate is None:
        return missing_metric(key, title, f"no pair was judged in both orders{BY_QUERY_ID}")
    return AuditMetric(
        key,
        title,
        "share",
        estimate,
        "home-and-away pairs",
        f"{of_hundred(estimate.value)} {meaning}",
        parts_by(battles.take(pairs.home), hits) if key == FLIP_RATE else (),
    )


def _first_preference(battles: Battles) -> AuditMetric:
    decided = battles.take(np.flatnonzero(battles.winner != TIE))
    first = decided.winner == MODEL_A
    estimate = share(first, decided.query)
    key, title = "first_preference", "the list shown first wins"
    if estimate is None:
        return missing_metric(key, title, "every verdict is a tie")
    meaning = f"{of_hundred(estimate.value)} decided battles go to the list shown first; 50 is fair"
    fair = _one_sided(battles) <= _FAIR
    if not fair:
        meaning += " only where models take turns, and here they do not: the better may come first"
    parts = parts_by(decided, first)
    return AuditMetric(
        key, title, "share", estimate, "decided battles", meaning, parts, decides=fair
    )


def _one_sided(battles: Battles) -> float:
    """Return the share of battles without a battle of the same models in the other order."""
    m = len(battles.models)
    _, pair = np.unique(
        np.minimum(battles.model_a, battles.model_b).astype(np.int64) * m
        + np.maximum(battles.model_a, battles.model_b),
        return_inverse=True,
    )
    surplus = np.bincount(pair, np.where(battles.model_a < battles.model_b, 1.0, -1.0))
    return float(np.abs(surplus).sum() / len(battles))


def _position_elo(leaderboard: Leaderboard) -> AuditMetric:
    key, title = "position_elo", "being shown first is worth"
    advantage = leaderboard.position_advantage
    if advantage is None:
        return missing_metric(key, title, _why_no_advantage(leaderboard), "elo")
    estimate = Estimate(
        advantage.elo, advantage.lower, advantage.upper, leaderboard.battles, leaderboard.queries
    )
    to = "first" if advantage.elo >= 0 else "second"
    meaning = (
        f"as if the list shown {to} were of a model {abs(advantage.elo):.0f} Elo better; "
        "`arena rate` removes this from the ratings"
    )
    return AuditMetric(key, title, "elo", estimate, "battles", meaning)


def _why_no_advantage(leaderboard: Leaderboard) -> str:
    if any(row.rating is None for row in leaderboard.overall):
        return "models that won or lost everything leave no finite ratings to tell it from"
    if leaderboard.queries < 2:
        return "one query shows no variance"
    return "the log cannot tell it from the models' strengths: nobody changed places"
