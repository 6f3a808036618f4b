"""Measure ties, failures, length bias, and cycles of three models."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from arena.auditing.agreement import by_side
from arena.auditing.audit_input import AuditInput
from arena.auditing.estimates import share, shares_by_code
from arena.auditing.position_bias import winner_of_lower
from arena.auditing.records import BY_QUERY_ID, AuditMetric, Subgroup, missing_metric, of_hundred
from arena.battles.coded_columns import MODEL_A, TIE
from arena.battles.load import Battles

_MUCH_LONGER = 1.5
"""From this ratio of words on, the difference in length is large."""


def tie_figures(evidence: AuditInput) -> list[AuditMetric]:
    """Count the ties that a judge gave, and those of identical lists, which no judge saw."""
    judged, log = evidence.judged, evidence.log
    ties = judged.winner == TIE
    estimate = share(ties, judged.query)
    ratio = 0.0 if estimate is None else estimate.value
    tie_share = AuditMetric(
        "tie_rate",
        "ties given by the judge",
        "share",
        estimate,
        "judged battles",
        f"{of_hundred(ratio)} judged battles end without a winner and separate nobody",
        shares_by_code(judged.dataset, judged.datasets, ties),
    )
    key, title = "identical_rate", "ties because the lists are identical"
    same = evidence.identical
    if same is None:
        return [
            tie_share,
            missing_metric(key, title, "the log does not say whether lists were identical"),
        ]
    alike = share(same, log.query)
    ratio = 0.0 if alike is None else alike.value
    meaning = f"in {of_hundred(ratio)} battles both models found the same; no judge was asked"
    parts = shares_by_code(log.dataset, log.datasets, same)
    return [tie_share, AuditMetric(key, title, "share", alike, "battles", meaning, parts)]


def failure_figure(evidence: AuditInput) -> AuditMetric:
    """Count the matchups without a verdict, by reason."""
    key, title = "failure_rate", "no readable verdict"
    if evidence.failures is None:
        return missing_metric(key, title, "a file of battles does not hold what failed")
    judged = evidence.judged
    codes = _cluster_codes(judged)
    clusters = [
        codes.setdefault((failure.dataset, failure.query_id), len(evidence.log) + len(codes))
        for failure in evidence.failures
    ]
    failed = np.repeat([False, True], [len(judged), len(clusters)])
    estimate = share(failed, np.concatenate([judged.query, np.array(clusters, np.intp)]))
    reasons = Counter(failure.reason for failure in evidence.failures)
    parts = tuple(Subgroup(reason, n / len(failed), n) for reason, n in reasons.most_common())
    meaning = f"{of_hundred(len(clusters) / len(failed))} matchups have no verdict; " + (
        "they are in no other figure" if clusters else "nothing is left out"
    )
    return AuditMetric(key, title, "share", estimate, "matchups", meaning, parts)


def length_figure(evidence: AuditInput) -> AuditMetric:
    """Return how often the list with more words wins."""
    key, title = "longer_preference", "the longer list wins"
    battles = evidence.judged
    words = by_side(evidence, battles, "words")
    if words is None:
        return missing_metric(key, title, "the lengths of the lists are not beside the log")
    first, second = words
    counts = (battles.winner != TIE) & (first != second) & ~np.isnan(first + second)
    longer = (first > second) == (battles.winner == MODEL_A)
    estimate = share(longer[counts], battles.query[counts])
    if estimate is None:
        return missing_metric(key, title, "no decided battle had lists of different length")
    least = np.maximum(np.minimum(first, second), 1)
    much = counts & (np.maximum(first, second) >= _MUCH_LONGER * least)
    parts = [
        Subgroup(name, float(longer[rows].mean()), int(rows.sum()))
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
    return AuditMetric(key, title, "share", estimate, "decided battles", meaning, tuple(parts))


def _cluster_codes(battles: Battles) -> dict[tuple[str, str], int]:
    """Return (data set, query_id) → query cluster."""
    if battles.query_id is None:
        return {}
    _, rows = np.unique(battles.query, return_index=True)
    return {
        (battles.datasets[dataset], battles.query_ids[query_id]): int(cluster)
        for dataset, query_id, cluster in zip(
            battles.dataset[rows], battles.query_id[rows], battles.query[rows], strict=True
        )
    }


Singles = NDArray[np.float32]
CHANCE = 0.25
"""Of the 8 outcomes of three battles 2 are cycles: n(n−1)(n−2)/24 of the n(n−1)(n−2)/6 triads
(Kendall and Babington Smith 1940, doi:10.1093/biomet/31.3-4.324)."""


def transitivity_figure(evidence: AuditInput) -> AuditMetric:
    """Return the share of triads that are cyclic; those with a tie are left out.

    Between two models stands the mean of all battles of one judge on one query, home and away.
    """
    triads = [
        (cycles, decided, query)
        for query, beats in _tournaments(evidence.judged)
        for cycles, decided in [_count(beats)]
        if decided
    ]
    key, title = "cyclic_triads", "three models go round in a circle"
    if not triads:
        because = f"no query has three models with a winner between each two{BY_QUERY_ID}"
        return missing_metric(key, title, because)
    cycles, decided, query = zip(*triads, strict=True)
    estimate = share(cycles, query, decided)
    value = sum(cycles) / sum(decided)
    meaning = (
        f"{of_hundred(value)} triads have A over B, B over C and C over A; chance alone gives "
        f"{100 * CHANCE:.0f}"
    )
    return AuditMetric(key, title, "share", estimate, "triads", meaning)


def _tournaments(battles: Battles) -> list[tuple[int, Singles]]:
    """Return (query, who beats whom as 0 and 1) per judge and query with three pairs or more."""
    m = len(battles.models)
    low = np.minimum(battles.model_a, battles.model_b).astype(np.int64)
    high = np.maximum(battles.model_a, battles.model_b)
    asked = battles.judge.astype(np.int64) * (int(battles.query.max()) + 1) + battles.query
    pairs, code = np.unique((asked * m + low) * m + high, return_inverse=True)
    lead = np.sign(np.bincount(code, winner_of_lower(battles).astype(np.float64)))
    query = np.zeros(len(pairs), np.intp)
    query[code] = battles.query
    _, starts = np.unique(pairs // (m * m), return_index=True)
    out = []
    for rows in np.split(np.arange(len(pairs)), starts[1:]):
        if len(rows) < 3:
            continue
        low_, high_ = pairs[rows] // m % m, pairs[rows] % m
        _, place = np.unique(np.concatenate([low_, high_]), return_inverse=True)
        i, j = np.split(place, 2)
        n = int(place.max()) + 1
        beats = np.zeros((n, n), np.float32)
        beats[i, j], beats[j, i] = lead[rows] > 0, lead[rows] < 0
        out.append((int(query[rows[0]]), beats))
    return out


def _count(beats: Singles) -> tuple[float, float]:
    """Return how many triads are cycles, and how many have a winner between each two."""
    met = beats + beats.T
    # Each cycle is found from each of its three corners, each triad from six ordered walks.
    return _closed_walks(beats) / 3, _closed_walks(met) / 6


def _closed_walks(graph: Singles) -> float:
    """Count the walks of three steps that end where they began: the trace of the cube."""
    # Entries of the square are whole numbers far below 2²⁴, so single precision is exact.
    return float(((graph @ graph) * graph.T).sum(dtype=np.float64))
