"""Davidson and Rao-Kupper."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from rated import battles, golden, pools, simulate

from arena.errors import UsageError
from arena.rating import bradley_terry
from arena.rating.comparisons import Comparisons
from arena.rating.likelihood import OutcomeRule, Parameters
from arena.rating.ties import Davidson, RaoKupper, _count, fit_davidson, fit_rao_kupper

BOTH = pytest.mark.parametrize("fit", [fit_davidson, fit_rao_kupper])
RULES = pytest.mark.parametrize("kind", [Davidson, RaoKupper])


def test_davidson_agrees_with_evalica_and_scipy():
    ratings = fit_davidson(golden(), position=False)

    assert ratings.tie == pytest.approx(6.921998, abs=1e-6)
    assert ratings.log_likelihood == pytest.approx(-11.005993, abs=1e-6)
    assert ratings.theta == pytest.approx(
        [-3.945718, -0.660335, -0.657883, 2.623030, 2.640906], abs=1e-6
    )


def test_rao_kupper_agrees_with_scipy():
    ratings = fit_rao_kupper(golden(), position=False)

    assert ratings.tie == pytest.approx(8.339384, abs=1e-6)
    assert ratings.log_likelihood == pytest.approx(-11.085703, abs=1e-6)
    assert ratings.theta == pytest.approx(
        [-2.112143, -0.333516, -0.351206, 1.458494, 1.338372], abs=1e-6
    )


@RULES
def test_slopes_are_the_derivatives_of_the_likelihood(kind):
    _counts, outcomes = _count(golden())
    rule: OutcomeRule = kind(outcomes)
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


@RULES
def test_slopes_of_single_battles_sum_to_those_of_the_counts(kind):
    comparisons = golden()
    counts, outcomes = _count(comparisons)
    margin = np.subtract.outer(np.arange(5.0), np.arange(5.0))[None] / 3 + 0.2

    slopes = kind(outcomes).slopes(margin, 0.7)
    rows, tie_rows = kind(outcomes).row_scores(counts.pair, comparisons.score, margin, 0.7)

    assert np.bincount(counts.pair, rows, 25).reshape(1, 5, 5) == pytest.approx(slopes.margin)
    assert tie_rows.sum() == pytest.approx(slopes.tie)


@BOTH
@settings(max_examples=25, deadline=None)
@given(comparisons=pools())
def test_flipped_winners_negate_ratings(fit, comparisons):
    before = fit(comparisons, prior=0.1) if decided(comparisons) else None
    if before is None:
        return

    after = fit(replace(comparisons, score=1 - comparisons.score), prior=0.1)

    assert after.theta == pytest.approx(-before.theta, abs=1e-6)
    assert after.tie == pytest.approx(before.tie, rel=1e-6)
    assert np.isfinite(before.covariance).all()


def decided(comparisons: Comparisons) -> bool:
    """Whether any battle has a winner."""
    return bool((comparisons.score != 0.5).any())


@BOTH
def test_known_strengths_and_ties_are_recovered(fit):
    rng = np.random.default_rng(0)
    theta, h = np.array([-0.8, 0.0, 0.8]), 0.5
    first = rng.integers(0, 3, 30_000)
    second = (first + rng.integers(1, 3, 30_000)) % 3
    noise = rng.logistic(size=30_000) + theta[first] - theta[second] + 0.2
    score = np.where(noise > h, 1.0, np.where(noise < -h, 0.0, 0.5))

    ratings = fit(Comparisons(first, second, score, np.arange(30_000), 3))

    assert np.argsort(ratings.theta).tolist() == [0, 1, 2]
    if fit is fit_rao_kupper:
        assert ratings.theta == pytest.approx(theta, abs=0.05)
        assert ratings.position == pytest.approx(0.2, abs=0.05)
        assert ratings.tie == pytest.approx(np.exp(h), abs=0.05)


@BOTH
def test_without_ties_it_is_bradley_terry(fit):
    comparisons = simulate(np.linspace(-1, 1, 4), 400, 40, np.random.default_rng(1))

    ratings = fit(comparisons)

    assert ratings.theta == pytest.approx(bradley_terry.fit(comparisons).theta)
    assert ratings.tie == (0.0 if fit is fit_davidson else 1.0)


@BOTH
def test_nothing_but_ties_is_an_error_that_says_so(fit):
    with pytest.raises(UsageError, match="every battle is a tie"):
        fit(battles("01T 10T", n_models=2))


@BOTH
def test_probabilities_are_refused(fit):
    comparisons = replace(battles("01T 10L", n_models=2), score=np.array([0.5, 0.7]))

    with pytest.raises(UsageError, match="wins, ties and losses"):
        fit(comparisons)


@BOTH
def test_a_model_that_never_loses_is_an_error_or_needs_a_prior(fit):
    comparisons = battles("01L 01T 10T 10R", n_models=2)

    with pytest.raises(UsageError, match="prior"):
        fit(comparisons)
    ratings = fit(comparisons, prior=0.5)

    assert ratings.theta[0] > 0
    assert np.isfinite(ratings.covariance).all()


def likelihoods(name: str, comparisons: Comparisons, x: np.ndarray) -> np.ndarray:
    """Log-likelihood of each battle: Davidson 1970, Rao and Kupper 1967; x is θ and η."""
    d, eta = x[comparisons.first] - x[comparisons.second], x[-1]
    if name == "davidson":
        log_z = np.log(np.exp(d / 2) + np.exp(-d / 2) + np.exp(eta))
        win, loss, tie = d / 2 - log_z, -d / 2 - log_z, eta - log_z
    else:
        win, loss = -np.log1p(np.exp(eta - d)), -np.log1p(np.exp(eta + d))
        tie = np.log(1 - np.exp(win) - np.exp(loss))
    return np.select([comparisons.score == 1, comparisons.score == 0], [win, loss], tie)


@pytest.mark.parametrize("name", ["davidson", "rao-kupper"])
def test_the_clustered_covariance_is_that_of_the_likelihoods_own_derivatives(name):
    comparisons = golden()
    ratings = {"davidson": fit_davidson, "rao-kupper": fit_rao_kupper}[name](
        comparisons, position=False
    )
    best = np.append(ratings.theta, np.log(ratings.tie))

    step = 1e-4 * np.eye(6)
    scores = np.array(
        [
            (likelihoods(name, comparisons, best + h) - likelihoods(name, comparisons, best - h))
            / 2e-4
            for h in step
        ]
    ).T
    by_query = np.add.reduceat(scores, np.arange(0, 16, 4))

    def total(x: np.ndarray) -> float:
        return float(likelihoods(name, comparisons, x).sum())

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
