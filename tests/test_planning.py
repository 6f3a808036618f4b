"""How many more queries, and intervals from the bootstrap: predictions that come true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy
from rated import battles, simulate
from together import STATISTICS

import arena
from arena.rating.bootstrap import bootstrap
from arena.rating.bradley_terry import fit
from arena.rating.inference import from_draws, from_sandwich, queries_to_separate, query_shares
from arena.rating.leaderboard_records import RatingSettings

pytestmark = STATISTICS

THETA = np.array([-0.5, 0.15, 0.4])
NEIGHBOURS = (2, 1)


def needed_by(ratings, now):
    return queries_to_separate(ratings, [NEIGHBOURS], tail=now.tail)[0]


def sure(comparisons):
    return from_sandwich(fit(comparisons), level=0.95)


def test_the_predicted_number_of_queries_separates_in_most_simulations():
    pilots, rng = np.random.default_rng(1), np.random.default_rng(11)
    separated, predictions = [], []
    for _ in range(50):
        pilot = fit(simulate(THETA, 40 * 20, 40, pilots))
        now = from_sandwich(pilot, level=0.95)
        if now.better[NEIGHBOURS] or pilot.theta[2] <= pilot.theta[1]:
            continue
        needed = int(needed_by(pilot, now))
        predictions.append(needed)
        played = simulate(THETA, min(needed, 2000) * 20, min(needed, 2000), rng)
        separated.append(sure(played).better[NEIGHBOURS])

    assert len(separated) > 25
    assert np.mean(separated) > 0.65  # 0.8 if the pilots' differences were the true ones
    assert 150 < np.median(predictions) < 350


def test_the_prediction_holds_where_the_difference_is_known():
    rng = np.random.default_rng(2)
    known = fit(simulate(THETA, 4000 * 20, 4000, rng))

    needed = int(needed_by(known, from_sandwich(known, level=0.95)))

    played = [sure(simulate(THETA, needed * 20, needed, rng)) for _ in range(60)]
    assert 0.65 < np.mean([now.better[NEIGHBOURS] for now in played]) < 0.95


def test_equal_ratings_need_infinitely_many_queries():
    ratings = replace(fit(battles("01T 10T 12T 21T 02T 20T", n_models=3)), theta=np.zeros(3))

    assert queries_to_separate(ratings, [(0, 1)], tail=0.01).tolist() == [np.inf]


@pytest.mark.parametrize(("sd", "low", "high"), [(0.6, 0.45, 0.7), (0.0, 0.0, 0.15)])
def test_the_variance_is_split_between_queries_and_verdicts(sd, low, high):
    rng = np.random.default_rng(4)
    comparisons = simulate(THETA, 20_000, 1000, rng)
    if sd == 0:  # the same battles, with queries that say nothing
        comparisons = replace(comparisons, cluster=rng.permutation(comparisons.cluster))

    share = query_shares(fit(comparisons))[NEIGHBOURS]

    assert low <= share <= high


def test_more_battles_a_query_leave_only_what_queries_differ_by():
    rng = np.random.default_rng(5)

    few, many = (query_shares(fit(simulate(THETA, 300 * n, 300, rng)))[2, 0] for n in (6, 100))

    assert few < 0.45
    assert many > 0.75


def test_bootstrap_and_sandwich_say_much_the_same():
    comparisons = simulate(np.linspace(-1, 1, 5), 6000, 300, np.random.default_rng(6))
    ratings = fit(comparisons)

    one = from_sandwich(ratings, level=0.9)
    other = from_draws(ratings, bootstrap(comparisons, ratings, n=2000, seed=0), level=0.9)

    assert other.lower == pytest.approx(one.lower, abs=0.03)
    assert other.upper == pytest.approx(one.upper, abs=0.03)
    assert other.p_better == pytest.approx(one.p_better, abs=0.03)
    assert other.tail == one.tail
    assert np.array_equal(other.better, one.better)
    assert other.p_better + other.p_better.T == pytest.approx(np.ones((5, 5)))


def test_bootstrap_intervals_of_few_queries_are_as_much_wider_as_students():
    comparisons = simulate(np.linspace(-1, 1, 4), 3000, 8, np.random.default_rng(7))
    ratings = fit(comparisons)

    one = from_sandwich(ratings, level=0.8)
    other = from_draws(ratings, bootstrap(comparisons, ratings, n=4000, seed=0), level=0.8)

    assert (other.upper - other.lower).mean() == pytest.approx(
        (one.upper - one.lower).mean(), rel=0.15
    )


def test_rank_sets_of_the_bootstrap_part_what_surely_differs():
    comparisons = simulate(np.array([-1.5, 0.0, 0.02, 1.5]), 8000, 400, np.random.default_rng(8))
    ratings = fit(comparisons)

    now = from_draws(ratings, bootstrap(comparisons, ratings, n=500, seed=0), level=0.95)

    assert now.rank_lower.tolist() == [4, 2, 2, 1]
    assert now.rank_upper.tolist() == [4, 3, 3, 1]


def test_the_prediction_solves_its_own_formula_with_the_degrees_of_freedom_to_come():
    ratings = fit(simulate(np.linspace(-1, 1, 6), 2000, 20, np.random.default_rng(9)))
    tail = from_sandwich(ratings, level=0.95).tail
    gap = abs(ratings.theta[2] - ratings.theta[3])
    se = ratings.difference_se[2, 3]

    needed = queries_to_separate(ratings, [(2, 3)], tail=tail)[0]

    growth = needed / 20
    df = (ratings.difference_df[2, 3] + 1) * growth - 1
    far = scipy.stats.t.ppf(1 - tail, df) + scipy.stats.norm.ppf(0.8)
    assert needed > 40
    assert gap * np.sqrt(growth) == pytest.approx(far * se, rel=1e-6)


@pytest.mark.parametrize("gap", [1e-300, 1e-12])
def test_a_difference_that_is_rounding_is_none(gap):
    ratings = replace(fit(battles("01T 10T 12T 21T 02T 20T", n_models=3)))
    ratings = replace(ratings, theta=np.array([0.0, gap, -gap]))

    assert queries_to_separate(ratings, [(0, 1)], tail=0.01).tolist() == [np.inf]


@pytest.mark.parametrize("method", ["davidson", "bt"])
def test_a_log_of_nearly_nothing_but_ties_is_planned_for(method):
    rows = [("a", "b", "tie", f"q{i}") for i in range(400)]
    rows += [("b", "c", "tie", f"q{i}") for i in range(400)]
    rows += [("a", "c", "model_a", "q0"), ("a", "c", "model_b", "q1"), ("a", "c", "tie", "q2")]
    frame = pd.DataFrame(rows, columns=["model_a", "model_b", "winner", "query_id"])
    settings = RatingSettings(method=method, n_permutations=0)

    board = arena.rate(frame, settings=settings)

    assert all(np.isfinite(more.queries) for more in board.more_queries)
