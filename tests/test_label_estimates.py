"""Estimates that use people's labels, against golden values and against their definitions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.rating.people.document_grades import (
    GradedDocuments,
    document_weights,
    estimate_grades,
    grade_rectifiers,
    implied_gains,
)
from arena.rating.people.label_estimates import meat, shrink
from arena.rating.people.prediction_powered import (
    LabelledBattles,
    judge_ratings,
    prediction_powered,
    shrunk_battles,
)

PEOPLE = "WWWLTW LWWWLT WTWLWW LWLWWL WLWTWL TWWLLW WLTWWW LWWWTL"
JUDGE = "WWWLTW WWWTLT WTWWWW LWWWWL WLWTWW TWWLWW WTTWWW LLWWTW"
"""Eight queries, four models, all pairs in order; a letter a battle, of the first model."""


def golden_battles() -> LabelledBattles:
    """Every other battle is labelled, with probability ½."""
    score = {"W": 1.0, "T": 0.5, "L": 0.0}
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    people, judge = (
        np.array([score[letter] for row in text.split() for letter in row])
        for text in (PEOPLE, JUDGE)
    )
    query = np.repeat(np.arange(8), 6)
    return LabelledBattles(
        first=np.array([i for i, _ in pairs] * 8),
        second=np.array([j for _, j in pairs] * 8),
        query=query,
        judge=judge,
        people=people,
        inverse=np.where((np.arange(48) + query) % 2 == 0, 2.0, 0.0),
        n_models=4,
    )


def golden_documents(*, sampled: bool = True) -> GradedDocuments:
    """Three models, four queries with three documents each, lists of two."""
    lists = {
        "one": {f"q{q}": ["a", "b"] for q in range(4)},
        "two": {f"q{q}": ["c", "a"] for q in range(4)},
        "three": {f"q{q}": ["b", "c"] for q in range(4)},
    }
    weights = document_weights(lists, [f"q{q}" for q in range(4)], top_k=2)
    place = {"a": 0, "b": 1, "c": 2}
    order = [3 * q + place[d] for q, d in zip(weights.query, weights.doc_ids, strict=True)]
    judge = np.array([3, 1, 0, 2, 2, 1, 3, 0, 1, 2, 3, 0]) / 3
    people = np.array([3, 0, 0, 2, 1, 1, 2, 0, 2, 2, 2, 0]) / 3
    inverse = np.where(np.arange(12) % 2 == 0, 2.0, 0.0) if sampled else np.ones(12)
    return GradedDocuments(weights, judge[order], people[order], inverse[order])


@each_row(
    ("judge_weight", "theta", "se"),
    [
        (0.0, [2.481943, -0.000805, -1.42125, -1.059888], [0.772254, 0.476975, 0.800008, 0.449027]),
        (1.0, [1.288412, 0.358982, -0.702488, -0.944906], [0.296523, 0.348092, 0.715302, 0.367917]),
        (
            None,
            [1.576302, 0.265855, -0.901435, -0.940722],
            [0.298385, 0.341742, 0.675777, 0.332515],
        ),
    ],
)
def test_prediction_powered_ratings_are_the_golden_ones(judge_weight, theta, se):
    found = prediction_powered(golden_battles(), judge_weight=judge_weight, small_sample=False)

    assert found.theta == pytest.approx(theta, abs=1e-6)
    assert np.sqrt(np.diagonal(found.covariance)) == pytest.approx(se, abs=1e-6)
    assert found.judge_weight == pytest.approx(0.638717 if judge_weight is None else judge_weight)
    assert not found.one_step
    assert found.df == 7


def test_one_newton_step_is_the_golden_one():
    found = prediction_powered(golden_battles(), one_step=True, small_sample=False)

    assert found.theta == pytest.approx([1.353248, 0.238393, -0.81103, -0.780611], abs=1e-6)
    assert np.sqrt(np.diagonal(found.covariance)) == pytest.approx(
        [0.165101, 0.274415, 0.650419, 0.523371], abs=1e-6
    )
    assert found.one_step


def test_ratings_by_all_labels_and_by_the_judge_alone_are_the_golden_ones():
    battles = golden_battles()
    everything = replace(battles, inverse=np.ones(48))

    people = prediction_powered(everything)

    assert people.theta == pytest.approx([0.601644, 0.129389, -0.197429, -0.533604], abs=1e-6)
    assert judge_ratings(battles) == pytest.approx(
        [0.907687, 0.236377, 0.093681, -1.237744], abs=1e-6
    )
    assert people.label_part == pytest.approx(np.zeros((4, 4)))


def test_shrunk_ratings_are_the_golden_ones():
    found, error = shrunk_battles(golden_battles())

    assert found.theta == pytest.approx([0.93123, 0.346213, -0.068359, -1.209084], abs=1e-6)
    assert np.sqrt(np.diagonal(found.covariance)) == pytest.approx(
        [0.325595, 0.39342, 0.419485, 0.370263], abs=1e-6
    )
    assert error.sd == pytest.approx(0.341237, abs=1e-6)
    assert error.lower < error.sd < error.upper


@pytest.mark.parametrize(
    ("sampled", "mean", "se"),
    [
        (True, [0.10853, 0.035074, -0.143603], [0.118818, 0.088188, 0.064381]),
        (False, [0.139907, 0.02676, -0.166667], [0.07033, 0.083914, 0.06352]),
    ],
)
def test_mean_dcg_from_grades_of_documents_is_the_golden_one(sampled, mean, se):
    found = estimate_grades(golden_documents(sampled=sampled))

    assert found.mean == pytest.approx(mean, abs=1e-6)
    assert np.sqrt(np.diagonal(found.covariance)) == pytest.approx(se, abs=1e-6)
    if sampled:
        assert (found.intercept, found.slope) == pytest.approx((0.138889, 0.625), abs=1e-6)


def test_shrunk_mean_dcg_is_the_golden_one():
    documents = golden_documents()
    judge_dcg = documents.weights.by_query(documents.judge)
    n = len(judge_dcg)

    theta, covariance, error = shrink(
        judge_dcg.mean(axis=0),
        meat(judge_dcg) / n**2,
        grade_rectifiers(documents) / n,
        greatest=0.3,
    )

    assert theta == pytest.approx([0.111684, 0.064642, -0.176326], abs=1e-6)
    assert np.sqrt(np.diagonal(covariance)) == pytest.approx(
        [0.092176, 0.09501, 0.108895], abs=1e-6
    )
    assert error.sd == pytest.approx(0.186082, abs=1e-6)


@each_row("judge_weight", [0.0, 0.4, 1.0])
def test_the_weighted_root_and_its_covariance_are_those_of_the_definition(judge_weight):
    """Against a general root finder, a loop over battles, and numpy's pseudo-inverse."""
    rng = np.random.default_rng(3)
    battles = replace(
        golden_battles(),
        weight=rng.uniform(0.5, 2, 48),
        stratum=np.array([0, 0, 0, 1, 1, 1, 1, 1]),
    )
    r, lam = battles.inverse, judge_weight

    def scores(theta):
        total = np.zeros((8, 4))
        for b in range(48):
            i, j = battles.first[b], battles.second[b]
            p = 1 / (1 + np.exp(theta[j] - theta[i]))
            value = r[b] * (battles.people[b] - p) + lam * (1 - r[b]) * (battles.judge[b] - p)
            total[battles.query[b], i] += battles.weight[b] * value
            total[battles.query[b], j] -= battles.weight[b] * value
        return total

    def gradient(theta):
        total = scores(theta).sum(axis=0)
        total[0] = theta.sum()
        return total

    solved = scipy.optimize.root(gradient, np.zeros(4), tol=1e-13).x
    hessian = np.zeros((4, 4))
    for b in range(48):
        x = np.eye(4)[battles.first[b]] - np.eye(4)[battles.second[b]]
        p = 1 / (1 + np.exp(-x @ solved))
        w = r[b] + lam * (1 - r[b])
        hessian += battles.weight[b] * w * p * (1 - p) * np.outer(x, x)
    bread = np.linalg.pinv(hessian)
    spread = sum(len(part) * np.cov(part.T) for part in (scores(solved)[:3], scores(solved)[3:]))

    found = prediction_powered(battles, judge_weight=judge_weight, small_sample=False)

    assert found.theta == pytest.approx(solved, abs=1e-8)
    assert found.covariance == pytest.approx(bread @ spread @ bread, abs=1e-8)


def test_the_weight_of_the_judge_has_the_least_variance():
    battles = golden_battles()
    best = prediction_powered(battles, one_step=True, small_sample=False)

    def total(judge_weight):
        found = prediction_powered(
            battles, judge_weight=judge_weight, one_step=True, small_sample=False
        )
        return np.trace(found.covariance)

    assert all(
        np.trace(best.covariance) <= total(best.judge_weight + step) + 1e-12
        for step in (-0.3, -0.01, 0.01, 0.3)
    )


def test_few_labels_without_a_finite_solution_still_give_ratings():
    battles = golden_battles()
    one_sided = replace(battles, inverse=np.where(np.arange(48) == 0, 48.0, 0.0))

    found = prediction_powered(one_sided, judge_weight=0.0)

    assert found.one_step
    assert np.isfinite(found.theta).all()
    assert np.isfinite(found.covariance).all()
    assert found.df == 1


@pytest.mark.parametrize(("judge_weight", "steps"), [(0.2, True), (0.8, False)])
def test_only_a_judge_that_carries_the_fit_decides_where_people_alone_do_not(judge_weight, steps):
    battles = golden_battles()
    one_sided = replace(battles, inverse=np.where(np.arange(48) < 3, 16.0, 0.0))

    found = prediction_powered(one_sided, judge_weight=judge_weight)
    full = prediction_powered(battles, judge_weight=judge_weight)

    assert prediction_powered(one_sided, judge_weight=0.0).one_step
    assert found.one_step is steps
    assert not full.one_step


def test_a_judge_that_guesses_gets_no_weight_by_chance():
    battles = golden_battles()
    guesses = np.random.default_rng(0).permutation(battles.judge)
    guessing = replace(battles, judge=guesses)

    by_chance = prediction_powered(guessing, small_sample=False)

    assert by_chance.judge_weight > 0.1
    assert prediction_powered(guessing).judge_weight == 0
    assert prediction_powered(battles).judge_weight == pytest.approx(0.638717)


def test_a_judge_that_agrees_with_people_leaves_nothing_to_correct():
    battles = golden_battles()
    agreeing = replace(battles, people=battles.judge)

    found = prediction_powered(agreeing)
    shrunk, error = shrunk_battles(agreeing)

    assert found.judge_weight == 1
    assert found.theta == pytest.approx(judge_ratings(battles), abs=1e-9)
    assert shrunk.theta == pytest.approx(judge_ratings(battles), abs=1e-9)
    assert error.sd < 3 / 173.7  # Elo; the grid has steps of one


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_battles_and_the_names_of_models_change_no_rating(seed):
    rng = np.random.default_rng(seed)
    battles = golden_battles()
    rows, names = rng.permutation(48), rng.permutation(4)
    flipped = rng.random(48) < 0.5
    shuffled = LabelledBattles(
        first=names[np.where(flipped, battles.second, battles.first)][rows],
        second=names[np.where(flipped, battles.first, battles.second)][rows],
        query=battles.query[rows],
        judge=np.where(flipped, 1 - battles.judge, battles.judge)[rows],
        people=np.where(flipped, 1 - battles.people, battles.people)[rows],
        inverse=battles.inverse[rows],
        n_models=4,
    )

    before, after = prediction_powered(battles), prediction_powered(shuffled)

    assert after.theta[names] == pytest.approx(before.theta, abs=1e-8)
    assert after.covariance[np.ix_(names, names)] == pytest.approx(before.covariance, abs=1e-8)


def test_the_estimate_from_grades_does_not_lean_on_the_judges_scale():
    documents = golden_documents()
    other = replace(documents, judge=7 - 3 * documents.judge)

    before, after = estimate_grades(documents), estimate_grades(other)

    assert after.mean == pytest.approx(before.mean, abs=1e-9)
    assert after.covariance == pytest.approx(before.covariance, abs=1e-9)


def test_documents_of_winning_lists_have_the_higher_implied_gain():
    weights = document_weights(
        {"good": {"q": ["a", "b"]}, "bad": {"q": ["c", "b"]}}, ["q"], top_k=2
    )

    gains = dict(zip(weights.doc_ids, implied_gains(weights, np.array([[0.5, -0.5]])), strict=True))

    assert gains["a"] > gains["b"] == 0 > gains["c"]
