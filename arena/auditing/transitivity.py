"""Cyclic triads: A beats B, B beats C, and C beats A on the same query."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arena.auditing.estimates import share
from arena.auditing.evidence import Evidence
from arena.auditing.order import winner_of_lower
from arena.auditing.records import Figure
from arena.auditing.words import BY_QUERY_ID, missing, of_hundred
from arena.rating.battles import Battles

Singles = NDArray[np.float32]

CHANCE = 0.25
"""Of the 8 outcomes of three battles 2 are cycles: n(n−1)(n−2)/24 of the n(n−1)(n−2)/6 triads
(Kendall and Babington Smith 1940, doi:10.1093/biomet/31.3-4.324)."""


def transitivity_figure(evidence: Evidence) -> Figure:
    """The share of triads that go round in a circle; those with a tie are left out.

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
        return missing(key, title, because)
    cycles, decided, query = zip(*triads, strict=True)
    estimate = share(cycles, query, decided)
    value = sum(cycles) / sum(decided)
    meaning = (
        f"{of_hundred(value)} triads have A over B, B over C and C over A; chance alone gives "
        f"{100 * CHANCE:.0f}"
    )
    return Figure(key, title, "share", estimate, "triads", meaning)


def _tournaments(battles: Battles) -> list[tuple[int, Singles]]:
    """(query, who beats whom as 0 and 1) of each judge and query with three pairs or more."""
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
    """How many triads are cycles, and how many have a winner between each two."""
    met = beats + beats.T
    # Each cycle is found from each of its three corners, each triad from six ordered walks.
    return _closed_walks(beats) / 3, _closed_walks(met) / 6


def _closed_walks(graph: Singles) -> float:
    """Walks of three steps that end where they began: the trace of the cube."""
    # Entries of the square are whole numbers far below 2²⁴, so single precision is exact.
    return float(((graph @ graph) * graph.T).sum(dtype=np.float64))
