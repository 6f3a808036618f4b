"""Which model may be the best: whom the elimination rule drops, and when."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons
from arena.rating.fit import Fit
from arena.rating.sequential_tests import SEARCH_PRIOR, may_be_best, shortfall


def played(strengths: list[float], n_queries: int, seed: int) -> Fit:
    """Home and away battles of all pairs on each query, each decided by chance."""
    n, rng = len(strengths), np.random.default_rng(seed)
    pairs = np.array([*combinations(range(n), 2)])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    first, second = np.tile(pairs[:, 0], n_queries), np.tile(pairs[:, 1], n_queries)
    query = np.repeat(np.arange(n_queries), len(pairs))
    theta = np.array(strengths)
    score = (rng.random(len(first)) < 1 / (1 + np.exp(theta[second] - theta[first]))).astype(float)
    return fit(Comparisons(first, second, score, query, n), position=False, prior=SEARCH_PRIOR)


def everyone(fitted: Fit) -> np.ndarray:
    return np.ones(len(fitted.theta), dtype=bool)


def test_a_model_that_is_far_behind_is_dropped_and_close_ones_stay() -> None:
    fitted = played([1.0, 0.95, -1.0], n_queries=60, seed=1)

    assert may_be_best(fitted, everyone(fitted), n_at_start=3).tolist() == [True, True, False]


def test_nobody_is_dropped_before_there_are_twenty_queries() -> None:
    fitted = played([3.0, 0.0, -3.0], n_queries=19, seed=1)

    assert may_be_best(fitted, everyone(fitted), n_at_start=3).all()
    assert shortfall(fitted, everyone(fitted), n_at_start=3)[1] == math.inf


def test_a_model_without_any_win_is_dropped_too() -> None:
    fitted = played([0.0, 0.0, -30.0], n_queries=40, seed=2)

    assert may_be_best(fitted, everyone(fitted), n_at_start=3).tolist() == [True, True, False]


def test_the_bound_is_that_of_the_confidence_sequence_at_twice_alpha_over_m_minus_one() -> None:
    fitted = played([0.2, 0.1, 0.0, -0.1], n_queries=100, seed=3)
    leader, most = shortfall(fitted, everyone(fitted), n_at_start=4)

    alpha = 2 * 0.05 / 3
    rho_squared = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / 50
    grown = 100 * rho_squared + 1
    z = math.sqrt(2 * grown / (grown - 1) * math.log(math.sqrt(grown) / alpha))
    expected = max(
        fitted.theta[i] - fitted.theta[leader] + z * fitted.difference_se[i, leader]
        for i in range(4)
        if i != leader
    )
    assert leader == int(np.argmax(fitted.theta))
    assert most == pytest.approx(expected, rel=0.01)


def test_a_leader_that_is_alone_is_no_further_from_the_best() -> None:
    fitted = played([2.0, 0.0], n_queries=60, seed=4)
    kept = may_be_best(fitted, everyone(fitted), n_at_start=2)

    assert kept.tolist() == [True, False]
    assert shortfall(fitted, kept, n_at_start=2) == (0, 0.0)


@settings(max_examples=30)
@given(
    st.lists(st.floats(-2, 2), min_size=2, max_size=6),
    st.integers(20, 60),
    st.integers(0, 1000),
    st.data(),
)
def test_the_leader_stays_and_who_was_dropped_never_comes_back(strengths, n_queries, seed, data):
    fitted = played(strengths, n_queries, seed)
    n = len(strengths)
    among = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any)))

    kept = may_be_best(fitted, among, n_at_start=n)

    leader, most = shortfall(fitted, kept, n_at_start=n)
    assert kept[leader]
    assert not (kept & ~among).any()
    assert fitted.theta[leader] == fitted.theta[among].max()
    assert most >= 0
