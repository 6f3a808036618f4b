"""Davidson's model."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
import scipy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rated import SCORE, battles, golden, pools, simulate

from arena.errors import UsageError
from arena.rating import bradley_terry
from arena.rating.bradley_terry import Davidson, _count, fit_davidson
from arena.rating.comparisons import Comparisons, connected_groups, count_battles
from arena.rating.likelihood import Parameters

PAIRS = list(itertools.permutations(range(3), 2))


def test_davidson_agrees_with_evalica_and_scipy():
    ratings = fit_davidson(golden(), position=False)

    assert ratings.tie == pytest.approx(6.921998, abs=1e-6)
    assert ratings.log_likelihood == pytest.approx(-11.005993, abs=1e-6)
    assert ratings.theta == pytest.approx(
        [-3.945718, -0.660335, -0.657883, 2.623030, 2.640906], abs=1e-6
    )


def test_slopes_are_the_derivatives_of_the_likelihood():
    _counts, outcomes = _count(golden())
    rule = Davidson(outcomes)
    layout = Parameters(5, position=True, tie=True, prior=0)
    beta = np.array([-1.0, -0.2, 0.1, 0.4, 0.7, 0.3, 0.9])

    def value(x: np.ndarray) -> float:
        return rule.slopes(layout.margins(x), x[-1]).value

    def gradient(x: np.ndarray) -> np.ndarray:
        return layout.gradient(rule.slopes(layout.margins(x), x[-1]))

    steps = 1e-5 * np.eye(7)
    slope = [(value(beta + step) - value(beta - step)) / 2e-5 for step in steps]
    bend = [(gradient(beta - step) - gradient(beta + step)) / 2e-5 for step in steps]

    assert gradient(beta) == pytest.approx(slope, abs=1e-6)
    assert layout.hessian(rule.slopes(layout.margins(beta), beta[-1])) == pytest.approx(
        np.array(bend), abs=1e-6
    )


def test_slopes_of_single_battles_sum_to_those_of_the_counts():
    comparisons = golden()
    counts, outcomes = _count(comparisons)
    margin = np.subtract.outer(np.arange(5.0), np.arange(5.0))[None] / 3 + 0.2

    slopes = Davidson(outcomes).slopes(margin, 0.7)
    rows, tie_rows = Davidson(outcomes).row_scores(counts.pair, comparisons.score, margin, 0.7)

    assert np.bincount(counts.pair, rows, 25).reshape(1, 5, 5) == pytest.approx(slopes.margin)
    assert tie_rows.sum() == pytest.approx(slopes.tie)


@settings(max_examples=25)
@given(comparisons=pools())
def test_flipped_winners_negate_ratings(comparisons):
    before = fit_davidson(comparisons, prior=0.1) if decided(comparisons) else None
    if before is None:
        return

    after = fit_davidson(replace(comparisons, score=1 - comparisons.score), prior=0.1)

    assert after.theta == pytest.approx(-before.theta, abs=1e-6)
    assert after.tie == pytest.approx(before.tie, rel=1e-6)
    assert np.isfinite(before.covariance).all()


RESULTS = st.lists(st.sampled_from([f"{a}{b}{w}" for a, b in PAIRS for w in SCORE]), min_size=3)


@settings(max_examples=60)
@example(results=["01T", "01T", "10L"], order=random.Random(0))
@given(results=RESULTS, order=st.randoms(use_true_random=False))
def test_ratings_are_finite_exactly_where_no_direction_makes_every_outcome_likelier(results, order):
    n_models = 1 + max(int(max(each[:2])) for each in results)
    played = battles(" ".join(results), n_models=n_models)
    if len(connected_groups(count_battles(played))) > 1 or {0.5} >= set(played.score.tolist()):
        return
    # Along (2t, η + 1): a win needs t_i - t_j >= 1, a tie |t_i - t_j| <= 1.
    behind = np.eye(n_models)[played.second] - np.eye(n_models)[played.first]
    won, tied, lost = (behind[played.score == score] for score in (1, 0.5, 0))
    limits = [-1] * len(won) + [1] * 2 * len(tied) + [-1] * len(lost)
    rows = np.concatenate([won, tied, -tied, -lost])
    is_endless = (
        0.5 in played.score
        and not scipy.optimize.linprog(np.zeros(n_models), rows, limits, bounds=(None, None)).status
    )

    shuffled = battles(" ".join(order.sample(results, len(results))), n_models=n_models)
    if is_endless:
        with pytest.raises(UsageError, match="no finite ratings: the outcomes"):
            fit_davidson(shuffled)
    else:
        assert np.isfinite(fit_davidson(shuffled).theta).all()


def decided(comparisons: Comparisons) -> bool:
    """Whether any battle has a winner."""
    return bool((comparisons.score != 0.5).any())


def test_known_strengths_and_ties_are_recovered():
    rng = np.random.default_rng(0)
    theta, nu = np.array([-0.8, 0.0, 0.8]), 0.5
    first = rng.integers(0, 3, 30_000)
    second = (first + rng.integers(1, 3, 30_000)) % 3
    margin = theta[first] - theta[second] + 0.2
    odds = np.stack([np.exp(margin / 2), np.full(30_000, nu), np.exp(-margin / 2)])
    drawn = rng.random(30_000) > np.cumsum(odds / odds.sum(axis=0), axis=0)
    score = 1 - drawn.sum(axis=0) / 2

    ratings = fit_davidson(Comparisons(first, second, score, np.arange(30_000), 3))

    assert ratings.theta == pytest.approx(theta, abs=0.05)
    assert ratings.position == pytest.approx(0.2, abs=0.05)
    assert ratings.tie == pytest.approx(nu, abs=0.05)


def test_without_ties_it_is_bradley_terry():
    comparisons = simulate(np.linspace(-1, 1, 4), 400, 40, np.random.default_rng(1))

    ratings = fit_davidson(comparisons)

    assert ratings.theta == pytest.approx(bradley_terry.fit(comparisons).theta)
    assert ratings.tie == 0


def test_nothing_but_ties_is_an_error_that_says_so():
    with pytest.raises(UsageError, match="every battle is a tie"):
        fit_davidson(battles("01T 10T", n_models=2))


def test_probabilities_are_refused():
    comparisons = replace(battles("01T 10L", n_models=2), score=np.array([0.5, 0.7]))

    with pytest.raises(UsageError, match="wins, ties and losses"):
        fit_davidson(comparisons)


def test_a_model_that_never_loses_is_an_error_or_needs_a_prior():
    comparisons = battles("01L 01T 10T 10R", n_models=2)

    with pytest.raises(UsageError, match="prior"):
        fit_davidson(comparisons)
    ratings = fit_davidson(comparisons, prior=0.5)

    assert ratings.theta[0] > 0
    assert np.isfinite(ratings.covariance).all()


def likelihoods(comparisons: Comparisons, x: np.ndarray) -> np.ndarray:
    """Log-likelihood of each battle: Davidson 1970; x is θ and η."""
    d, eta = x[comparisons.first] - x[comparisons.second], x[-1]
    log_z = np.log(np.exp(d / 2) + np.exp(-d / 2) + np.exp(eta))
    win, loss, tie = d / 2 - log_z, -d / 2 - log_z, eta - log_z
    return np.select([comparisons.score == 1, comparisons.score == 0], [win, loss], tie)


def test_the_clustered_covariance_is_that_of_the_likelihoods_own_derivatives():
    comparisons = golden()
    ratings = fit_davidson(comparisons, position=False)
    best = np.append(ratings.theta, np.log(ratings.tie))

    step = 1e-4 * np.eye(6)
    scores = np.array(
        [
            (likelihoods(comparisons, best + h) - likelihoods(comparisons, best - h)) / 2e-4
            for h in step
        ]
    ).T
    by_query = np.add.reduceat(scores, np.arange(0, 16, 4))

    def total(x: np.ndarray) -> float:
        return float(likelihoods(comparisons, x).sum())

    hessian = [
        [
            total(best + g + h) - total(best + g - h) - total(best - g + h) + total(best - g - h)
            for g in step
        ]
        for h in step
    ]
    bread = np.linalg.pinv(np.array(hessian) / -4e-8, rcond=1e-6)
    expected = (bread @ by_query.T @ by_query @ bread)[:5, :5]
    centre = np.eye(5) - 1 / 5

    found = ratings.covariance - ratings.guard
    assert found == pytest.approx(centre @ expected @ centre, rel=2e-3, abs=1e-4)
