"""Battles that several rating tests share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from arena.rating.comparisons import Comparisons

GOLDEN_BATTLES = "01T 02R 02T 04T 10L 12T 12T 13T 24T 30L 31L 32L 34T 34T 40L 43L"
"""Left, right, winner; query = row // 4."""

SCORE = {"L": 1.0, "T": 0.5, "R": 0.0}


def battles(text: str, *, n_models: int, per_query: int = 1) -> Comparisons:
    """Battles written ``01L`` (first, second, winner), some rows to a query."""
    rows = text.split()
    return Comparisons(
        first=np.array([int(row[0]) for row in rows], dtype=np.intp),
        second=np.array([int(row[1]) for row in rows], dtype=np.intp),
        score=np.array([SCORE[row[2]] for row in rows], dtype=np.float64),
        cluster=np.arange(len(rows)) // per_query,
        n_models=n_models,
    )


def golden() -> Comparisons:
    """The sixteen battles whose ratings independent programs have computed."""
    return battles(GOLDEN_BATTLES, n_models=5, per_query=4)


def simulate(
    theta: np.ndarray, n_battles: int, n_queries: int, rng: np.random.Generator, *, gamma: float = 0
) -> Comparisons:
    """Random battles; models do better or worse on a query together, with a logit sd of 0.6."""
    m = len(theta)
    first = rng.integers(0, m, n_battles)
    second = (first + rng.integers(1, m, n_battles)) % m
    query = rng.integers(0, n_queries, n_battles)
    on_query = theta + rng.normal(0, 0.6, (n_queries, m))
    margin = on_query[query, first] - on_query[query, second] + gamma
    won = rng.random(n_battles) < 1 / (1 + np.exp(-margin))
    return Comparisons(first, second, won.astype(np.float64), query, m)


@st.composite
def pools(draw: st.DrawFn) -> Comparisons:
    """Small pools that ties in a chain, in both orders, connect."""
    m = draw(st.integers(2, 6))
    chain = [(i, i + 1, 0.5) for i in range(m - 1)] + [(i + 1, i, 0.5) for i in range(m - 1)]
    model = st.integers(0, m - 1)
    pair = st.tuples(model, model).filter(lambda two: two[0] != two[1])
    more = draw(st.lists(st.tuples(pair, st.sampled_from([0.0, 0.5, 1.0])), max_size=30))
    rows = chain + [(first, second, score) for (first, second), score in more]
    first, second, score = (np.array(column) for column in zip(*rows, strict=True))
    query = draw(st.lists(st.integers(0, 5), min_size=len(rows), max_size=len(rows)))
    return Comparisons(first, second, score.astype(np.float64), np.array(query), m)
