"""Intervals, rank sets and the bootstrap hold what they promise."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
import scipy
from rated import battles, golden, simulate
from tables import each_row

from arena.errors import UsageError
from arena.rating.bootstrap import bootstrap
from arena.rating.bradley_terry import fit, fit_davidson
from arena.rating.comparisons import Comparisons
from arena.rating.fit import Fit
from arena.rating.inference import (
    Certainty,
    from_draws,
    from_sandwich,
    intervals,
    position_interval,
)
from arena.rating.sandwich import Contrasts, of_matrix
from arena.rating.student import student_cdf, student_quantile


def known(theta: list[float], se: float, *, n_clusters: int = 100_000) -> Fit:
    """Ratings with independent errors of one size."""
    covariance = np.eye(len(theta)) * se**2
    variance = of_matrix(covariance)
    return Fit(
        theta=np.array(theta),
        covariance=covariance,
        contrasts=Contrasts(variance, np.full_like(variance, n_clusters - 1), variance),
        position=0.0,
        position_fitted=False,
        n_clusters=n_clusters,
        n_battles=n_clusters,
        prior=0.0,
        log_likelihood=0.0,
    )


@each_row(("df", "quantile"), [(1, 12.706205), (3, 3.182446), (9, 2.262157), (49, 2.009575)])
def test_students_quantiles_agree_with_tables(df, quantile):
    lower, upper = intervals(known([0.0], 1.0, n_clusters=df + 1))

    assert upper[0] == pytest.approx(quantile, abs=2e-5)
    assert lower[0] == pytest.approx(-quantile, abs=2e-5)


@each_row("df", [500.0, 777.5, 1e5])
def test_the_series_for_many_degrees_of_freedom_agree_with_scipy(df):
    t, tails = np.linspace(-50, 50, 2001), [0.4, 0.025, 1e-4, 1e-7]
    freedom = np.full(2001, df)

    quantiles = [student_quantile(tail, np.array([df]))[0] for tail in tails]

    np.testing.assert_allclose(
        student_cdf(t, freedom), scipy.special.stdtr(df, t), rtol=0, atol=1e-10
    )
    np.testing.assert_allclose(quantiles, -scipy.special.stdtrit(df, tails), rtol=1e-10)


def test_intervals_with_many_queries_are_normal():
    lower, upper = intervals(known([0.0], 2.0))

    assert [lower[0], upper[0]] == pytest.approx([-3.92, 3.92], abs=1e-3)


def test_intervals_with_few_queries_are_wider():
    lower, upper = intervals(known([0.0], 1.0, n_clusters=4), level=0.95)

    assert [lower[0], upper[0]] == pytest.approx([-3.182446, 3.182446], abs=1e-4)


def test_the_interval_of_the_position_advantage_holds_it():
    rng = np.random.default_rng(13)
    ratings = fit(simulate(np.zeros(3), 6000, 600, rng, gamma=0.5))

    lower, upper = position_interval(ratings)

    assert lower < ratings.position < upper
    assert upper - lower == pytest.approx(2 * 1.964 * ratings.position_se, rel=1e-3)


def test_there_is_no_interval_of_a_position_advantage_that_was_not_fitted():
    assert position_interval(fit(golden(), position=False)) == (0, 0)


@each_row("level", [0, 1, 95])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(UsageError, match="between 0 and 1"):
        intervals(known([0.0], 1.0), level=level)
    with pytest.raises(UsageError, match="between 0 and 1"):
        from_sandwich(known([0.0, 1.0], 1.0), level=level)


def test_win_probability_is_the_chance_that_the_difference_is_positive():
    certainty = sure(known([0.0, 1.0], 1.0)).p_better

    expected = NormalDist().cdf(1 / np.sqrt(2))
    assert certainty[1, 0] == pytest.approx(expected, abs=1e-4)
    assert certainty + certainty.T == pytest.approx(np.ones((2, 2)))
    assert np.diagonal(certainty) == pytest.approx([0.5, 0.5])


def test_two_models_need_no_correction_for_many_comparisons():
    assert sure(known([0.0, 1.0], 1.0)).tail == pytest.approx(0.025)


@pytest.mark.parametrize(("gap", "parted"), [(3.05, False), (3.35, True)])
def test_few_queries_part_by_students_t(gap, parted):
    # Nine degrees of freedom leave 2.5% beyond 2.262 standard errors, which are √2 here.
    certainty = sure(known([0.0, gap], 1.0, n_clusters=10))

    assert certainty.better[1, 0] == parted


def test_rank_sets_part_only_what_surely_differs():
    certainty = sure(known([3.0, 0.1, 0.0, -3.0], 0.3))

    assert certainty.rank_lower.tolist() == [1, 2, 2, 4]
    assert certainty.rank_upper.tolist() == [1, 3, 3, 4]


@each_row("gaps", [(4.1, 3.9), (4.1, 3.2), (3.2, 3.1)])
def test_the_level_is_shared_out_over_the_pairs_that_are_left(gaps):
    # Models 0 and 1 are `gaps` standard errors of a difference from the others, which are alike.
    theta = np.array([0.0, gaps[0] - gaps[1], *[gaps[0]] * 3]) * np.sqrt(2)

    certainty = sure(known(theta.tolist(), 1.0))

    assert certainty.better.tolist() == by_holm(theta / np.sqrt(2)).tolist()
    left = 10 - certainty.better.sum()
    assert certainty.tail == pytest.approx(0.025 / left)


def test_the_pairs_share_the_level_of_the_intervals_of_differences():
    certainty = sure(known([0.0, 1.0, 1.5, 40.0], 1.0))

    one_of_six = NormalDist().inv_cdf(1 - 0.025 / 6) * np.sqrt(2)
    apart = ~np.eye(4, dtype=bool)
    assert certainty.reach[apart] == pytest.approx(np.full(12, one_of_six), abs=1e-3)


@pytest.mark.parametrize("n_clusters", [12, 100_000])
def test_the_interval_of_a_difference_that_is_not_sure_contains_0(n_clusters):
    rng, n_ahead = np.random.default_rng(7), 0
    for _ in range(100):
        theta = rng.normal(0, 3, 6)
        certainty = sure(known(theta.tolist(), 1.0, n_clusters=n_clusters))

        ahead = theta[:, None] - theta[None, :] > certainty.reach
        assert not (ahead & ~certainty.better).any()
        n_ahead += int(ahead.sum())

    assert n_ahead > 100


@pytest.mark.parametrize("step", [0.0, 1.2])
def test_the_intervals_of_all_differences_hold_at_once(step):
    rng, missed = np.random.default_rng(77), 0
    theta = step * np.arange(5)
    truth = theta[:, None] - theta[None, :]
    for _ in range(1000):
        drawn = theta + rng.normal(0, 0.3, 5)
        certainty = sure(known(drawn.tolist(), 0.3))
        missed += bool((abs(drawn[:, None] - drawn - truth) > certainty.reach + 1e-9).any())

    assert 20 <= missed <= 65  # at most 50 expected, and 2.2 standard errors more


@pytest.mark.parametrize("gap", [2.8, 3.6])
def test_normal_draws_that_spread_too_little_say_what_students_t_says(gap):
    ratings = known([0.0, gap], 1.0, n_clusters=10)
    short = replace(
        ratings, contrasts=replace(ratings.contrasts, drawn=ratings.contrasts.drawn / 2)
    )
    normal = np.random.default_rng(0).standard_normal((100_000, 2))

    drawn = from_draws(short, ratings.theta + normal / np.sqrt(2), level=0.95)
    exact = sure(ratings)

    assert drawn.lower == pytest.approx(exact.lower, abs=0.03)
    assert drawn.upper == pytest.approx(exact.upper, abs=0.03)
    assert drawn.p_better == pytest.approx(exact.p_better, abs=0.003)
    assert np.array_equal(drawn.better, exact.better)
    assert exact.better[1, 0] == (gap > 3.2)


def test_not_one_of_few_draws_is_no_certainty():
    ratings = known([0.0, 9.0], 1.0)
    draws = ratings.theta + np.random.default_rng(0).standard_normal((100, 2)) / 10

    assert 0.99 < from_draws(ratings, draws, level=0.95).p_better[1, 0] < 0.9999


def by_holm(t: np.ndarray) -> np.ndarray:
    """Who is better than whom, by the words of the procedure."""
    better = np.zeros((len(t), len(t)), bool)
    left = sorted(combinations(range(len(t)), 2), key=lambda pair: -abs(t[pair[0]] - t[pair[1]]))
    while left:
        i, j = left[0]
        if NormalDist().cdf(-abs(t[i] - t[j])) > 0.025 / len(left):
            break
        better[(i, j) if t[i] > t[j] else (j, i)] = True
        left = left[1:]
    return better


def sure(ratings: Fit) -> Certainty:
    return from_sandwich(ratings, level=0.95)


def test_clustered_intervals_cover_and_independent_ones_do_not():
    theta = np.linspace(-1, 1, 6)
    target = limit(theta)
    rng = np.random.default_rng(7)
    held: dict[str, list[float]] = {"clustered": [], "independent": []}
    for _ in range(150):
        comparisons = simulate(theta, 3000, 60, rng)
        alone = replace(comparisons, cluster=np.arange(3000))
        for name, data in (("clustered", comparisons), ("independent", alone)):
            lower, upper = intervals(fit(data))
            held[name].append(np.mean((lower <= target) & (target <= upper)))

    assert 0.92 < np.mean(held["clustered"]) < 0.98
    assert np.mean(held["independent"]) < 0.88


def test_rank_sets_hold_all_true_ranks_at_once():
    theta = np.array([-0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45])
    rank = 7 - np.arange(7)
    rng = np.random.default_rng(8)
    held = []
    for _ in range(80):
        now = sure(fit(simulate(theta, 4000, 40, rng)))
        held.append(np.all((now.rank_lower <= rank) & (rank <= now.rank_upper)))

    assert np.mean(held) >= 0.93


def limit(theta: np.ndarray) -> np.ndarray:
    """The ratings of infinitely many battles on infinitely many queries of ``simulate``."""
    first, second = np.triu_indices(len(theta), 1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    margin = (theta[first] - theta[second])[:, None] + np.sqrt(2) * 0.6 * nodes
    share = (1 / (1 + np.exp(-margin))) @ weights / weights.sum()
    pairs = Comparisons(first, second, share, np.arange(len(first)), len(theta))
    return fit(pairs, position=False).theta


@pytest.mark.parametrize("position", [True, False])
def test_the_bootstrap_agrees_with_the_sandwich(position):
    comparisons = simulate(np.linspace(-1, 1, 8), 8000, 400, np.random.default_rng(9), gamma=0.3)
    ratings = fit(comparisons, position=position)

    draws = bootstrap(comparisons, ratings, n=2000, seed=1)

    assert draws.shape == (2000, 8)
    assert draws.mean(axis=1) == pytest.approx(0, abs=1e-9)
    assert draws.mean(axis=0) == pytest.approx(ratings.theta, abs=0.01)
    assert (draws.std(axis=0) / ratings.standard_error).mean() == pytest.approx(1, abs=0.05)


def test_a_draw_is_the_fit_of_battles_weighted_by_query():
    comparisons = simulate(np.linspace(-1, 1, 4), 500, 50, np.random.default_rng(10))
    weight = np.random.default_rng(5).standard_exponential((1, 50), dtype=np.float32)[0]
    ratings = replace(fit(comparisons), guard=None)
    weighted = replace(comparisons, weight=weight[comparisons.cluster].astype(np.float64))

    draw = bootstrap(comparisons, ratings, n=1, seed=5)[0]

    assert draw == pytest.approx(fit(weighted).theta, abs=2e-4)


def test_many_queries_are_pooled_without_changing_the_spread():
    comparisons = simulate(np.linspace(-1, 1, 5), 20_000, 5000, np.random.default_rng(11))
    ratings = fit(comparisons)

    draws = bootstrap(comparisons, ratings, seed=0)

    assert (draws.std(axis=0) / ratings.standard_error).mean() == pytest.approx(1, abs=0.07)


def test_query_codes_of_any_size_are_bootstrapped():
    comparisons = replace(golden(), cluster=golden().cluster * 10**15)

    draws = bootstrap(comparisons, fit(comparisons), n=20, seed=0)

    assert draws == pytest.approx(bootstrap(golden(), fit(golden()), n=20, seed=0))


def test_few_battles_are_bootstrapped_without_a_missing_pair():
    draws = bootstrap(golden(), fit(golden()), n=500, seed=2)

    assert np.isfinite(draws).all()


def test_a_prior_is_part_of_the_bootstrap():
    comparisons = battles("01L 02L 12T", n_models=3)

    draws = bootstrap(comparisons, fit(comparisons, prior=1.0), n=500, seed=3)

    assert np.isfinite(draws).all()
    assert draws.std(axis=0).min() > 0.2


def test_the_bootstrap_repeats_with_its_seed():
    ratings = fit(golden())

    draws = [bootstrap(golden(), ratings, n=50, seed=seed) for seed in (1, 1, 2)]

    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


def test_the_bootstrap_refuses_tie_models():
    with pytest.raises(UsageError, match="sandwich"):
        bootstrap(golden(), fit_davidson(golden(), position=False), seed=0)


def test_the_bootstrap_needs_a_draw():
    with pytest.raises(UsageError, match="at least 1 draw, got 0"):
        bootstrap(golden(), fit(golden()), n=0, seed=0)


def test_draws_spread_as_their_own_theory_says_where_queries_are_few():
    comparisons = simulate(np.zeros(4), 60_000, 6, np.random.default_rng(14))
    ratings = fit(comparisons, position=False)

    draws = bootstrap(comparisons, ratings, n=20_000, seed=0)

    # Normalised Exp(1) weights of Q queries spread by Q/(Q+1): 6/7 here, and 1 if left out.
    drawn = np.diagonal(ratings.contrasts.drawn)[:4]
    assert draws.var(axis=0) / drawn == pytest.approx(np.ones(4), abs=0.07)
    assert np.mean(draws.var(axis=0) / drawn) == pytest.approx(1, abs=0.05)


def test_a_late_model_rests_on_its_few_queries_among_thousands_that_are_pooled():
    rng = np.random.default_rng(15)
    pairs = [(q, a, b) for q in range(2500) for a, b in ((0, 1), (1, 0), (1, 2), (2, 0))]
    pairs += [(q, a, 3) for q in range(700, 706) for a in range(3)]
    query, first, second = np.array(pairs).T
    score = rng.integers(0, 2, len(query)).astype(np.float64)

    effective = fit(Comparisons(first, second, score, query, 4)).effective_queries

    assert effective[3] == pytest.approx(6, abs=0.2)
    assert effective[:3].min() > 600


def test_draws_of_a_model_with_a_single_tie_are_as_unsure_as_its_interval():
    text = "01L 10L 12L 21L 02L 20R " * 20 + "03T"
    comparisons = battles(text, n_models=4, per_query=6)
    ratings = fit(comparisons)

    drawn = from_draws(ratings, bootstrap(comparisons, ratings, seed=0), level=0.95)

    lower, upper = intervals(ratings)
    assert drawn.upper[3] - drawn.lower[3] > 0.8 * (upper[3] - lower[3])
