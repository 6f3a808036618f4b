"""Stopping early: a look after every round must not find what is not there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rated import simulate

from arena.rating.bradley_terry import fit
from arena.rating.inference import intervals
from arena.rating.sequential_tests import (
    FIRST_LOOK,
    all_separated,
    sequence_half_widths,
    sequence_width,
)


def test_the_sequence_is_about_1_6_times_as_wide_as_an_interval_where_it_is_tightest() -> None:
    assert sequence_width(50) / 1.96 == pytest.approx(1.56, abs=0.03)


def test_the_width_is_that_of_the_published_formula() -> None:
    t, alpha, rho = (
        80,
        0.05,
        math.sqrt((-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 50),
    )

    published = math.sqrt(
        2 * (t * rho**2 + 1) / (t**2 * rho**2) * math.log(math.sqrt(t * rho**2 + 1) / alpha)
    )

    assert sequence_width(t) / math.sqrt(t) == pytest.approx(published)


@given(n_queries=st.integers(FIRST_LOOK, 5000), level=st.floats(0.5, 0.999))
def test_the_sequence_narrows_with_queries_and_never_below_an_interval(
    n_queries: int, level: float
) -> None:
    width = sequence_width(n_queries, level=level)

    assert width / math.sqrt(n_queries) > sequence_width(2 * n_queries, level=level) / math.sqrt(
        2 * n_queries
    )
    assert width > sequence_width(n_queries, level=level * 0.9) > 0


def test_nothing_is_concluded_from_a_handful_of_queries() -> None:
    rng = np.random.default_rng(1)
    clear = fit(simulate(np.array([3.0, 0.0]), 400, FIRST_LOOK - 1, rng))

    assert math.isinf(sequence_width(FIRST_LOOK - 1))
    assert not all_separated(clear)


def test_clearly_different_models_separate_and_equal_ones_do_not() -> None:
    rng = np.random.default_rng(2)
    clear = fit(simulate(np.array([1.5, 0.0, -1.5]), 4000, 100, rng))
    equal = fit(simulate(np.array([1.5, 0.0, 0.0]), 4000, 100, rng))

    assert all_separated(clear)
    assert not all_separated(equal)


def test_widths_hold_for_all_models_at_all_moments_and_so_exceed_the_interval() -> None:
    fitted = fit(simulate(np.zeros(4), 2000, 60, np.random.default_rng(3)))
    lower, upper = intervals(fitted)

    assert np.all(sequence_half_widths(fitted) > (upper - lower) / 2)


def test_looking_after_every_round_seldom_finds_a_difference_that_is_not_there() -> None:
    rng = np.random.default_rng(4)
    false_stops = 0
    for _ in range(60):
        battles = simulate(np.zeros(2), 1200, 120, rng)
        looks = range(FIRST_LOOK, 121, 10)
        false_stops += any(all_separated(fit(_first(battles, seen))) for seen in looks)

    assert false_stops <= 6


def _first(battles, n_queries: int):
    rows = battles.cluster < n_queries
    return type(battles)(
        battles.first[rows],
        battles.second[rows],
        battles.score[rows],
        battles.cluster[rows],
        battles.n_models,
    )


def test_half_widths_share_the_level_out_over_all_models() -> None:
    fitted = fit(simulate(np.zeros(4), 4000, 60, np.random.default_rng(5)))

    alpha = 0.05 / 4
    rho_squared = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / 50
    grown = (np.diagonal(fitted.contrasts.df)[:4] + 1) * rho_squared + 1
    width = np.sqrt(2 * grown / (grown - 1) * np.log(np.sqrt(grown) / alpha))
    assert sequence_half_widths(fitted) == pytest.approx(width * fitted.standard_error)
