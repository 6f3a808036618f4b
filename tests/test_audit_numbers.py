"""The coefficients and intervals of the audit, against independent sources."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tables import each_row
from together import STATISTICS

from arena.auditing.estimates import (
    ac1_sums,
    alpha_sums,
    clustered_mean,
    coefficient,
    cohen_kappa,
    gwet_ac1,
    krippendorff_alpha,
    share,
    sums_by_cluster,
)

pytestmark = STATISTICS

RATERS = ("*****34121133*3", "1*21334 3*******".replace(" ", ""), "**21344*21133*4")
"""The example in the documentation of the package krippendorff; * is no verdict."""


def alpha(counts):
    return float(krippendorff_alpha(alpha_sums(np.array(counts)).sum(axis=0, keepdims=True))[0])


def kappa(table):
    return float(cohen_kappa(np.array(table, dtype=float).reshape(1, -1))[0])


def test_alpha_is_that_of_the_package_krippendorff():
    counts = [[sum(r[unit] == c for r in RATERS) for c in "1234"] for unit in range(15)]

    assert alpha(counts) == pytest.approx(0.691358024691358, abs=1e-12)


@each_row(
    ("counts", "expected"),
    [
        ([[2, 0], [0, 2], [1, 1]], 4 / 9),
        ([[1, 1], [1, 1]], -0.5),
        ([[3, 0, 0], [0, 3, 0], [0, 0, 3], [1, 0, 0]], 1.0),
    ],
)
def test_alpha_of_few_verdicts_is_as_counted_by_hand(counts, expected):
    assert alpha(counts) == pytest.approx(expected, abs=1e-12)


@each_row("counts", [[[2, 0], [3, 0]], [[1, 0], [0, 1]], [[0, 0]]])
def test_alpha_of_one_word_or_of_lonely_verdicts_is_not_a_number(counts):
    assert math.isnan(alpha(counts))


@each_row(
    ("table", "expected"),
    [
        ([[20, 5], [10, 15]], 0.4),
        ([[45, 15], [25, 15]], 0.1304347826),
        ([[25, 35], [5, 35]], 0.2592592593),
        ([[5, 0, 0], [0, 3, 0], [0, 0, 2]], 1.0),
        ([[0, 5], [5, 0]], -1.0),
    ],
)
def test_kappa_is_that_of_the_textbooks(table, expected):
    assert kappa(table) == pytest.approx(expected, abs=1e-9)


def test_kappa_is_not_a_number_where_both_only_ever_say_one_word():
    assert math.isnan(kappa([[7, 0], [0, 0]]))
    assert math.isnan(kappa([[0, 0], [0, 0]]))


def test_a_share_of_single_observations_has_wilsons_interval():
    hits = np.repeat([1, 0], [9, 21])

    estimate = share(hits, np.arange(30))

    from scipy.stats import t as student

    p, n, quantile = 0.3, 29, student.ppf(0.975, 29)  # Q/(Q−1) costs one of the 30
    for end in (estimate.lower, estimate.upper):
        assert abs(p - end) == pytest.approx(quantile * math.sqrt(end * (1 - end) / n))
    assert (estimate.value, estimate.n, estimate.n_queries) == (0.3, 30, 30)


def test_the_same_verdict_many_times_on_a_query_counts_little_more_than_once():
    once = share([1, 0, 1, 1, 0, 1], range(6))

    tenfold = share(np.repeat([1, 0, 1, 1, 0, 1], 10), np.repeat(range(6), 10))

    assert tenfold.n == 60
    assert (tenfold.lower, tenfold.upper) == pytest.approx((once.lower, once.upper))


@pytest.mark.parametrize("hit", [0, 1])
def test_a_share_of_nothing_or_everything_still_has_an_interval(hit):
    estimate = share(np.full(40, hit), np.repeat(range(8), 5))

    assert 0 <= estimate.lower < estimate.upper <= 1
    assert estimate.value == hit


def test_one_query_has_a_share_and_no_interval():
    estimate = share([1, 0], [3, 3])

    assert (estimate.value, estimate.lower, estimate.upper) == (0.5, None, None)


def test_no_observation_is_no_share():
    assert share([], []) is None
    assert share([0.0], [1], [0.0]) is None


def test_the_clustered_interval_of_a_share_covers_the_truth():
    rng = np.random.default_rng(4)
    cluster = np.repeat(np.arange(25), 12)
    covered = 0
    for _ in range(400):
        leaning = rng.beta(1.4, 2.6, 25)  # mean 0.35, unlike from query to query
        estimate = share(rng.random(300) < leaning[cluster], cluster)
        covered += estimate.lower <= 0.35 <= estimate.upper

    assert 0.92 <= covered / 400 <= 0.98


def test_the_interval_of_a_coefficient_comes_from_resampling_queries():
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(30), 4)
    truth = rng.integers(0, 2, 120)
    said = np.where(rng.random(120) < 0.8, truth, 1 - truth)
    cells = np.eye(4)[2 * said + truth]

    estimate = coefficient(sums_by_cluster(cells, cluster), cohen_kappa, n=120)

    assert estimate.value == pytest.approx(kappa(cells.sum(axis=0)))
    assert estimate.lower < estimate.value < estimate.upper
    # About ±1.96 standard errors of κ for independent pairs: √(p(1−p)/n) / (1−p_e) ≈ 0.073.
    assert (estimate.upper - estimate.lower) / 2 == pytest.approx(0.143, rel=0.35)


def ac1(counts):
    return float(gwet_ac1(ac1_sums(np.array(counts)).sum(axis=0, keepdims=True))[0])


FOUR_RATERS = [
    *("11-1", "2232", "3333", "3333", "2222", "1234"),
    *("4444", "1121", "2222", "-555", "--11", "--3-"),
]
"""The data set cac.raw4raters of the R package irrCAC; - is no verdict."""


def test_ac1_of_four_raters_is_that_of_the_package_irrcac():
    counts = [[unit.count(c) for c in "12345"] for unit in FOUR_RATERS]

    assert ac1(counts) == pytest.approx(0.77544, abs=5e-6)
    assert alpha(counts) == pytest.approx(0.74342, abs=5e-6)


def test_ac1_stays_high_where_kappa_falls_to_0():
    """Gwet 2008, table 1: 118 of 125 subjects are positive to both raters, 0 negative to both."""
    counts = np.repeat([[2, 0], [1, 1]], [118, 7], axis=0)

    assert ac1(counts) == pytest.approx(0.9408, abs=5e-5)
    assert kappa([[118, 5], [2, 0]]) == pytest.approx(-0.0234, abs=5e-5)


def test_a_weight_of_2_counts_an_item_twice():
    counts = np.array([[2, 0, 0], [1, 1, 0], [0, 0, 2]])

    weighed = gwet_ac1(ac1_sums(counts, [1, 2, 1]).sum(axis=0, keepdims=True))

    assert weighed[0] == pytest.approx(ac1(counts[[0, 1, 1, 2]]))


def test_the_clustered_interval_of_a_mean_covers_the_truth():
    rng = np.random.default_rng(5)
    cluster = np.repeat(np.arange(20), 6)
    covered = 0
    for _ in range(400):
        values = np.clip(rng.normal(0.1, 0.2, 20)[cluster] + rng.normal(0, 0.2, 120), -1, 1)
        estimate = clustered_mean(values, cluster, rng.choice([1.0, 4.0], 120))
        covered += estimate.lower <= 0.1 <= estimate.upper

    assert 0.92 <= covered / 400 <= 0.98
