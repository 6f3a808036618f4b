"""Ties, failures, and the preference for longer lists."""

from __future__ import annotations

from collections import Counter

import numpy as np

from arena.auditing.estimates import share
from arena.auditing.evidence import Evidence
from arena.auditing.lookup import by_side
from arena.auditing.parts import shares
from arena.auditing.records import Figure, Part
from arena.auditing.words import missing, of_hundred
from arena.rating.battles import MODEL_A, TIE, Battles

_MUCH_LONGER = 1.5
"""From this ratio of words on, the difference in length is large."""


def tie_figures(evidence: Evidence) -> list[Figure]:
    """Ties that a judge gave; and those of identical lists, which nobody was asked about."""
    judged, log = evidence.judged, evidence.log
    ties = judged.winner == TIE
    estimate = share(ties, judged.query)
    ratio = 0.0 if estimate is None else estimate.value
    given = Figure(
        "tie_rate",
        "ties given by the judge",
        "share",
        estimate,
        "judged battles",
        f"{of_hundred(ratio)} judged battles end without a winner and separate nobody",
        shares(judged.dataset, judged.datasets, ties),
    )
    key, title = "identical_rate", "ties because the lists are identical"
    same = evidence.identical
    if same is None:
        return [given, missing(key, title, "the log does not say whether lists were identical")]
    alike = share(same, log.query)
    ratio = 0.0 if alike is None else alike.value
    meaning = f"in {of_hundred(ratio)} battles both models found the same; no judge was asked"
    parts = shares(log.dataset, log.datasets, same)
    return [given, Figure(key, title, "share", alike, "battles", meaning, parts)]


def failure_figure(evidence: Evidence) -> Figure:
    """Matchups that have no verdict, by reason."""
    key, title = "failure_rate", "no readable verdict"
    if evidence.failures is None:
        return missing(key, title, "a file of battles does not hold what failed")
    judged = evidence.judged
    codes = _cluster_codes(judged)
    clusters = [
        codes.setdefault((failure.dataset, failure.query_id), len(evidence.log) + len(codes))
        for failure in evidence.failures
    ]
    failed = np.repeat([False, True], [len(judged), len(clusters)])
    estimate = share(failed, np.concatenate([judged.query, np.array(clusters, np.intp)]))
    reasons = Counter(failure.reason for failure in evidence.failures)
    parts = tuple(Part(reason, n / len(failed), n) for reason, n in reasons.most_common())
    meaning = f"{of_hundred(len(clusters) / len(failed))} matchups have no verdict; " + (
        "they are in no other figure" if clusters else "nothing is left out"
    )
    return Figure(key, title, "share", estimate, "matchups", meaning, parts)


def length_figure(evidence: Evidence) -> Figure:
    """How often the list with more words wins."""
    key, title = "longer_preference", "the longer list wins"
    battles = evidence.judged
    words = by_side(evidence, battles, "words")
    if words is None:
        return missing(key, title, "the lengths of the lists are not beside the log")
    first, second = words
    counts = (battles.winner != TIE) & (first != second) & ~np.isnan(first + second)
    longer = (first > second) == (battles.winner == MODEL_A)
    estimate = share(longer[counts], battles.query[counts])
    if estimate is None:
        return missing(key, title, "no decided battle had lists of different length")
    least = np.maximum(np.minimum(first, second), 1)
    much = counts & (np.maximum(first, second) >= _MUCH_LONGER * least)
    parts = [
        Part(name, float(longer[rows].mean()), int(rows.sum()))
        for name, rows in (
            (f"at least {_MUCH_LONGER:g} times as long", much),
            ("less than that", counts & ~much),
        )
        if rows.any()
    ]
    meaning = (
        f"{of_hundred(estimate.value)} decided battles go to the list with more words; far from "
        "50, length may be judged instead of content, or good documents be long"
    )
    return Figure(key, title, "share", estimate, "decided battles", meaning, tuple(parts))


def _cluster_codes(battles: Battles) -> dict[tuple[str, str], int]:
    """(data set, query_id) → query cluster."""
    if battles.query_id is None:
        return {}
    _, rows = np.unique(battles.query, return_index=True)
    return {
        (battles.datasets[dataset], battles.query_ids[query_id]): int(cluster)
        for dataset, query_id, cluster in zip(
            battles.dataset[rows], battles.query_id[rows], battles.query[rows], strict=True
        )
    }
