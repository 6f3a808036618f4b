"""Bradley-Terry: golden values, laws, and pools that cannot or can hardly be rated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rated import battles, golden, pools, simulate
from tables import each_row

from arena.errors import UsageError
from arena.rating.bradley_terry import fit, to_elo
from arena.rating.comparisons import Comparisons, DisconnectedError
from arena.rating.inference import from_sandwich, intervals

LAWS = settings(max_examples=40)


def test_ratings_agree_with_evalica_choix_and_statsmodels():
    expected = [-1.144278, -0.195821, -0.191750, 0.747585, 0.784265]

    ratings = fit(golden(), position=False)

    assert ratings.theta == pytest.approx(expected, abs=1e-6)


def test_elo_scale_agrees_with_arena_rank():
    expected = [801.218531, 965.982400, 966.689587, 1129.868734, 1136.240748]

    elo = to_elo(fit(golden(), position=False).theta, mean=1000)

    assert elo == pytest.approx(expected, abs=2e-3)


def test_the_share_of_single_verdicts_agrees_with_statsmodels_hc0():
    expected = [0.477883, 0.346547, 0.343154, 0.401611, 0.511459]

    within = fit(golden(), position=False).independent

    assert np.sqrt(np.diagonal(within)) == pytest.approx(expected, abs=2e-6)


def test_ratings_agree_with_evalica_on_a_larger_pool():
    evalica = pytest.importorskip("evalica")
    comparisons = simulate(np.linspace(-1, 1, 8), 800, 40, np.random.default_rng(1))
    score = comparisons.score.copy()
    score[::7] = 0.5
    comparisons = replace(comparisons, score=score)
    word = {1.0: evalica.Winner.X, 0.5: evalica.Winner.Draw, 0.0: evalica.Winner.Y}
    theirs = evalica.bradley_terry(
        comparisons.first.tolist(),
        comparisons.second.tolist(),
        [word[s] for s in score.tolist()],
        tolerance=1e-12,
        limit=10_000,
    ).scores.sort_index()
    expected = np.log(theirs.to_numpy())

    ratings = fit(comparisons, position=False)

    assert ratings.theta == pytest.approx(expected - expected.mean(), abs=1e-6)


def test_the_judges_first_position_advantage_is_found_and_removed():
    theta = np.array([-0.6, 0.0, 0.6])
    comparisons = simulate(theta, 40_000, 4000, np.random.default_rng(2), gamma=0.4)

    ratings = fit(comparisons)

    assert abs(ratings.position - 0.4 * 0.95) < 0.06  # query effects shrink it a little
    assert 0 < ratings.position_se < 0.03
    assert np.abs(ratings.theta - theta * 0.95).max() < 0.06


def test_home_and_away_ratings_do_not_feel_the_position_advantage():
    once = simulate(np.array([-0.5, 0.1, 0.4]), 300, 30, np.random.default_rng(3), gamma=2.0)
    away = replace(once, first=once.second, second=once.first)
    both = Comparisons(*(np.concatenate([getattr(once, f), getattr(away, f)]) for f in FIELDS), 3)

    ratings = fit(both)

    assert ratings.position_fitted
    assert fit(both, position=False).theta == pytest.approx([0, 0, 0], abs=0.4)
    assert np.isfinite(ratings.covariance).all()


FIELDS = ("first", "second", "score", "cluster")


@each_row(
    ("text", "n_models"),
    [("01L 01R 01L", 2), ("01L 01R 12L 12R", 3), ("01L 01R 02T 31T 32T", 4)],
)
def test_position_is_left_out_where_the_design_cannot_tell_it_from_ratings(text, n_models):
    comparisons = battles(text, n_models=n_models)

    ratings = fit(comparisons)

    assert not ratings.position_fitted
    assert (ratings.position, ratings.position_se) == (0, 0)
    assert ratings.theta == pytest.approx(fit(comparisons, position=False).theta)


def test_a_judge_that_always_takes_the_first_list_gives_finite_even_ratings():
    comparisons = battles("01L 10L 12L 21L 02L 20L " * 50, n_models=3, per_query=6)

    ratings = fit(comparisons)

    assert ratings.theta == pytest.approx([0, 0, 0], abs=1e-6)
    assert 4 < ratings.position < 20
    assert np.isfinite(ratings.covariance).all()


@LAWS
@given(pools(), st.randoms(use_true_random=False))
def test_renaming_models_renames_their_ratings(comparisons, random):
    names = np.array(random.sample(range(comparisons.n_models), comparisons.n_models))
    renamed = replace(comparisons, first=names[comparisons.first], second=names[comparisons.second])

    before, after = fit(comparisons), fit(renamed)

    assert after.theta[names] == pytest.approx(before.theta, abs=1e-7)
    assert after.covariance[np.ix_(names, names)] == pytest.approx(before.covariance, abs=1e-6)


@LAWS
@given(pools(), st.randoms(use_true_random=False))
def test_the_order_of_battles_does_not_matter(comparisons, random):
    order = np.array(random.sample(range(len(comparisons.first)), len(comparisons.first)))
    shuffled = Comparisons(*(getattr(comparisons, f)[order] for f in FIELDS), comparisons.n_models)

    before, after = fit(comparisons), fit(shuffled)

    assert after.theta == pytest.approx(before.theta, abs=1e-9)
    assert after.covariance == pytest.approx(before.covariance, abs=1e-8)


@LAWS
@given(pools())
def test_flipped_winners_negate_ratings_and_position(comparisons):
    before, after = fit(comparisons), fit(replace(comparisons, score=1 - comparisons.score))

    assert after.theta == pytest.approx(-before.theta, abs=1e-7)
    assert after.position == pytest.approx(-before.position, abs=1e-7)


@LAWS
@given(pools())
def test_doubling_all_battles_leaves_ratings_alone(comparisons):
    twice = Comparisons(
        *(np.tile(getattr(comparisons, f), 2) for f in FIELDS), comparisons.n_models
    )
    heavier = replace(comparisons, weight=np.full(len(comparisons.first), 2.0))

    before = fit(comparisons, position=False).theta

    assert fit(twice, position=False).theta == pytest.approx(before, abs=1e-8)
    assert fit(heavier, position=False).theta == pytest.approx(before, abs=1e-8)


@pytest.mark.parametrize("prior", [0, 0.3])
def test_only_the_ratios_of_weights_matter(prior):
    weight = np.random.default_rng(12).uniform(0.5, 2, 16)
    one, tiny = (
        fit(replace(golden(), weight=scale * weight), prior=prior) for scale in (1.0, 1e-9)
    )

    assert tiny.theta == pytest.approx(one.theta, abs=1e-9)
    assert tiny.position == pytest.approx(one.position, abs=1e-9)
    assert tiny.covariance == pytest.approx(one.covariance, abs=1e-9)


def test_weights_count_like_repeated_rows():
    comparisons = golden()
    repeats = np.arange(16) % 3 + 1
    rows = np.repeat(np.arange(16), repeats)
    repeated = Comparisons(*(getattr(comparisons, f)[rows] for f in FIELDS), 5)

    ratings = fit(replace(comparisons, weight=repeats.astype(float)), position=False)

    assert ratings.theta == pytest.approx(fit(repeated, position=False).theta, abs=1e-9)


def gradient(comparisons: Comparisons, theta: np.ndarray, gamma: float = 0.0) -> np.ndarray:
    """Of the likelihood, battle by battle: zero at the one best rating, as it is concave."""
    margin = theta[comparisons.first] - theta[comparisons.second] + gamma
    residual = comparisons.score - 1 / (1 + np.exp(-margin))
    out = np.zeros(comparisons.n_models)
    np.add.at(out, comparisons.first, residual)
    np.subtract.at(out, comparisons.second, residual)
    return np.append(out, residual.sum())


@LAWS
@given(pools())
def test_the_gradient_over_single_battles_is_zero_at_the_ratings(comparisons):
    theta = fit(comparisons, position=False).theta

    assert gradient(comparisons, theta)[:-1] == pytest.approx(0, abs=1e-7)
    assert theta.mean() == pytest.approx(0, abs=1e-12)


@LAWS
@given(pools())
def test_every_figure_is_finite_and_every_interval_has_a_width(comparisons):
    ratings = fit(comparisons)
    lower, upper = intervals(ratings)
    ranks = from_sandwich(ratings, level=0.95)

    assert np.isfinite(lower).all()
    assert np.isfinite(upper).all()
    assert (lower < upper).all()
    assert (ranks.rank_lower >= 1).all()
    assert (ranks.rank_lower <= ranks.rank_upper).all()
    assert (ranks.rank_upper <= comparisons.n_models).all()
    assert np.isfinite(ranks.p_better).all()


@LAWS
@given(pools(), st.lists(st.floats(0, 1), min_size=60, max_size=60))
def test_probabilities_count_like_shares_of_battles(comparisons, shares):
    n = len(comparisons.first)
    share = np.array(shares[:n] + [0.5] * max(n - len(shares), 0))
    share = np.clip(share, 0.01, 0.99)
    soft = replace(comparisons, score=share)
    hard = Comparisons(
        *(np.tile(getattr(comparisons, f), 2) for f in ("first", "second")),
        np.repeat([1.0, 0.0], n),
        np.tile(comparisons.cluster, 2),
        comparisons.n_models,
        np.concatenate([share, 1 - share]),
    )

    expected = fit(hard, position=False).theta
    assert fit(soft, position=False).theta == pytest.approx(expected, abs=1e-7)


@each_row("dtype", [np.int8, np.int32, np.uint16, np.uint64])
def test_the_encoding_of_codes_does_not_matter(dtype):
    comparisons = simulate(np.linspace(-1, 1, 30), 3000, 100, np.random.default_rng(4))
    encoded = replace(
        comparisons,
        first=comparisons.first.astype(dtype),
        second=comparisons.second.astype(dtype),
        cluster=comparisons.cluster.astype(dtype),
    )

    assert np.array_equal(fit(encoded).covariance, fit(comparisons).covariance)


def test_queries_in_blocks_give_the_same_covariance(monkeypatch):
    comparisons = simulate(np.linspace(-1, 1, 5), 2000, 300, np.random.default_rng(5))
    whole = fit(comparisons)
    monkeypatch.setattr("arena.rating.sandwich._BLOCK_CELLS", 5 * 17)

    blocks = fit(replace(comparisons, cluster=comparisons.cluster * 1000))

    assert blocks.n_clusters == whole.n_clusters
    assert blocks.covariance == pytest.approx(whole.covariance, abs=1e-12)


def test_a_model_that_wins_everything_is_an_error_that_names_it():
    comparisons = battles("01L 02L 10R 12L 21L 12T", n_models=3)

    with pytest.raises(DisconnectedError, match=r"0 \| 1, 2.*prior") as error:
        fit(comparisons)

    assert error.value.groups == ((0,), (1, 2))
    assert "bm25 | dense, hybrid" in str(error.value.named(["bm25", "dense", "hybrid"]))


@each_row(
    ("text", "n_models", "groups"),
    [
        ("01T 10L 23L 23R", 4, ((0, 1), (2, 3))),
        ("01L 10L", 3, ((0, 1), (2,))),
        ("01L", 2, ((0,), (1,))),
    ],
)
def test_pools_that_nothing_connects_are_named(text, n_models, groups):
    with pytest.raises(DisconnectedError) as error:
        fit(battles(text, n_models=n_models))

    assert error.value.groups == groups


def test_an_error_about_many_groups_stays_short():
    comparisons = replace(battles("01L", n_models=2), n_models=500)

    with pytest.raises(DisconnectedError, match="and 494 more") as error:
        fit(comparisons)

    assert len(str(error.value)) < 300


def test_a_prior_makes_any_pool_finite_and_keeps_its_doubt():
    comparisons = battles("01L 02L 03L 04L 05L 12T 34L", n_models=7)

    ratings = fit(comparisons, prior=1.0)

    lower, upper = intervals(ratings)
    assert ratings.theta.argmax() == 0
    assert ratings.theta[6] == pytest.approx(0, abs=0.2)
    assert np.isfinite(ratings.covariance).all()
    assert lower[0] < 0 < upper[0]
    assert upper[6] - lower[6] > upper[0] - lower[0]


def test_a_model_that_only_ties_is_average_among_its_equals():
    ratings = fit(battles("01T 10T 02T 20T 12T 21T", n_models=3, per_query=2))

    assert ratings.theta == pytest.approx([0, 0, 0])
    assert (ratings.standard_error > 0).all()


def test_a_model_with_one_tie_is_rated_and_very_unsure():
    text = "01L 10L 12L 21L 02L 20R " * 20 + "03T"
    ratings = fit(battles(text, n_models=4, per_query=6))

    ranks = from_sandwich(ratings, level=0.95)
    assert ratings.standard_error[3] > 1
    assert (ranks.rank_lower[3], ranks.rank_upper[3]) == (1, 4)


@each_row(
    ("change", "message"),
    [
        ({"first": np.array([0, 5])}, "first must be 0 to 1"),
        ({"second": np.array([-1, 0])}, "second must be"),
        ({"score": np.array([1, np.nan])}, "score must be 0 to 1"),
        ({"score": np.array([1, 1.5])}, "score must be 0 to 1"),
        ({"cluster": np.array([0, -1])}, "cluster must be"),
        ({"weight": np.array([1, -1.0])}, "weight must be positive"),
        ({"weight": np.array([1, np.inf])}, "weight must be positive"),
        ({"weight": np.array([1, np.nan])}, "weight must be positive"),
        ({"weight": np.array([0.0, 1.0])}, "leave out battles"),
        ({"second": np.array([1])}, "differ in length"),
        ({"second": np.array([1, 1])}, "against itself"),
    ],
)
def test_battles_that_mean_nothing_are_refused(change, message):
    comparisons = replace(battles("01L 10L", n_models=2), **change)

    with pytest.raises(UsageError, match=message):
        fit(comparisons)


def test_no_battles_are_an_error_and_not_a_table_of_nan():
    empty = Comparisons(*(np.array([], dtype=t) for t in (int, int, float, int)), 0)

    with pytest.raises(UsageError, match="no battles"):
        fit(empty)


def test_a_negative_prior_is_refused():
    with pytest.raises(UsageError, match="prior must be 0 or more, got -1"):
        fit(golden(), prior=-1)


def test_very_unequal_models_are_rated_without_overflow():
    comparisons = replace(battles("01L 01R", n_models=2), weight=np.array([1e9, 1.0]))

    ratings = fit(comparisons)

    assert ratings.theta[0] - ratings.theta[1] == pytest.approx(np.log(1e9), abs=1e-6)


@pytest.mark.shared
def test_the_published_log_is_rated_and_its_judge_favours_the_first_list(shared_data: Path):
    lines = (shared_data / "judgments/published.jsonl").read_bytes().splitlines()
    rows = [orjson.loads(line) for line in lines]
    sides = code([row[side] for side in ("model_a", "model_b") for row in rows])
    a, b = sides[: len(rows)], sides[len(rows) :]
    score = np.array([{"model_a": 1.0, "model_b": 0.0, "tie": 0.5}[row["winner"]] for row in rows])
    swapped = np.array([row["order_swapped"] for row in rows])
    comparisons = Comparisons(
        first=np.where(swapped, b, a),
        second=np.where(swapped, a, b),
        score=np.where(swapped, 1 - score, score),
        cluster=code([f"{row['dataset']} {row['query_id']}" for row in rows]),
        n_models=int(sides.max()) + 1,
    )

    ratings = fit(comparisons)

    slope = gradient(comparisons, ratings.theta, ratings.position)
    assert slope[:-1] == pytest.approx(0, abs=1e-6)
    assert slope[-1] == pytest.approx(0.01 * ratings.position, abs=1e-6)
    assert ratings.position > 0
    assert ratings.n_clusters == 40


def code(names: list[str]) -> np.ndarray:
    """Names as integers from 0."""
    return np.unique(names, return_inverse=True)[1]
