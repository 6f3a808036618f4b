from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import each_row

from arena.battles.load import Battles
from arena.errors import UsageError
from arena.rating.elo import (
    Elo,
    EloSettings,
    _enough,
    _n_played,
    elo_order_samples,
    elo_ratings,
    records_of,
)
from arena.records import Record, Winner

WINNERS = get_args(Winner)

GOLDEN = "01T 02R 02T 04T 10L 12T 12T 13T 24T 30L 31L 32L 34T 34T 40L 43L"
GOLDEN_ROWS = [
    (int(a), int(b), {"L": "model_a", "R": "model_b", "T": "tie"}[w]) for a, b, w in GOLDEN.split()
]

rows = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from(WINNERS)).filter(
        lambda row: row[0] != row[1]
    ),
    min_size=1,
    max_size=60,
)


def coded(rows, n_models=5) -> Battles:
    a, b, winner = zip(*rows, strict=True)
    zeros = np.zeros(len(rows), np.int32)
    return Battles(
        models=tuple(f"m{i}" for i in range(n_models)),
        datasets=("d",),
        judges=("",),
        model_a=np.array(a, np.int32),
        model_b=np.array(b, np.int32),
        winner=np.array([WINNERS.index(w) for w in winner], np.int8),
        dataset=zeros,
        query=np.arange(len(rows), dtype=np.int32) // 4,
        judge=zeros,
    )


def order_samples(battles, settings=None, *, n_permutations=100, seed=0):
    """Those of a single data set."""
    return elo_order_samples([battles], settings, n_permutations=n_permutations, seeds=[seed])[0]


def played(rows, settings=None) -> Elo:
    elo = Elo(settings)
    for a, b, winner in rows:
        elo.update(f"m{a}", f"m{b}", winner)
    return elo


@pytest.mark.parametrize(
    ("k_factor", "expected"),
    [
        (32, [942.345088, 998.619540, 998.701040, 1025.305291, 1035.029041]),
        (4, [992.103082, 999.977171, 999.977307, 1003.886197, 1004.056242]),
    ],
)
def test_ratings_are_the_golden_ones(k_factor, expected):
    settings = EloSettings(start=1000, k_factor=k_factor)

    assert elo_ratings(coded(GOLDEN_ROWS), settings) == pytest.approx(expected, abs=5e-7)


def test_records_are_the_golden_ones():
    expected = [
        Record(0, 4, 3),
        Record(1, 1, 4),
        Record(1, 1, 4),
        Record(3, 1, 3),
        Record(2, 0, 4),
    ]

    assert records_of(coded(GOLDEN_ROWS)) == expected
    assert [played(GOLDEN_ROWS).records[f"m{i}"] for i in range(5)] == expected


@given(rows)
@settings(max_examples=40)
def test_replay_agrees_with_evalica(rows):
    import evalica

    results = {
        "model_a": evalica.Winner.X,
        "model_b": evalica.Winner.Y,
        "tie": evalica.Winner.Draw,
    }
    xs, ys, ws = zip(*((f"m{a}", f"m{b}", results[w]) for a, b, w in rows), strict=True)
    oracle = evalica.elo(xs, ys, ws, initial=1500, k=32, scale=400, base=10).scores

    assert dict(played(rows).ratings) == pytest.approx(oracle.to_dict())


@given(rows)
@settings(max_examples=60)
def test_replaying_a_log_gives_the_live_ratings_to_the_last_bit(rows):
    live = played(rows)

    replayed = elo_ratings(coded(rows))

    assert [live.ratings.get(f"m{i}") for i in range(5)] == [
        None if math.isnan(rating) else rating for rating in replayed
    ]


@given(rows)
@settings(max_examples=60)
def test_what_one_model_gains_another_loses(rows):
    ratings = played(rows).ratings

    assert sum(ratings.values()) == pytest.approx(1500 * len(ratings))


@given(rows)
@settings(max_examples=60)
def test_wins_total_losses_and_each_tie_is_of_two(rows):
    records = records_of(coded(rows))

    assert sum(r.wins for r in records) == sum(r.losses for r in records)
    assert sum(r.battles for r in records) == 2 * len(rows)
    assert sum(r.ties for r in records) == 2 * sum(w == "tie" for *_, w in rows)


@given(rows, st.permutations(range(5)))
@settings(max_examples=40)
def test_renaming_models_changes_nothing(rows, names):
    renamed = [(names[a], names[b], winner) for a, b, winner in rows]

    np.testing.assert_array_equal(elo_ratings(coded(renamed))[names], elo_ratings(coded(rows)))
    samples, others = (order_samples(coded(r), n_permutations=3, seed=1) for r in (renamed, rows))
    np.testing.assert_array_equal(samples[:, names], others)


@each_row(("ours", "theirs", "gain"), [(1400, 1000, 2.9), (1000, 1400, 29.1), (1500, 1500, 16.0)])
def test_unequal_ratings_move_by_the_right_amount(ours, theirs, gain):
    elo = Elo()
    elo._ratings |= {"a": float(ours), "b": float(theirs)}

    elo.update("a", "b", "model_a")

    assert elo.ratings["a"] - ours == pytest.approx(gain, abs=0.05)
    assert theirs - elo.ratings["b"] == pytest.approx(gain, abs=0.05)


def test_ratings_are_never_cut_to_whole_numbers():
    rng = np.random.default_rng(0)
    pairs = [rng.choice(5, 2, replace=False) for _ in range(10_000)]

    ratings = elo_ratings(coded([(a, b, WINNERS[rng.integers(3)]) for a, b in pairs]))

    assert ratings.mean() == pytest.approx(1500)
    assert not np.any(ratings == np.round(ratings))


def test_known_strengths_are_recovered():
    rng = np.random.default_rng(3)
    strength = np.array([1300.0, 1400.0, 1500.0, 1600.0, 1700.0])
    pairs = [rng.choice(5, 2, replace=False) for _ in range(20_000)]
    wins = [rng.random() < 1 / (1 + 10 ** ((strength[b] - strength[a]) / 400)) for a, b in pairs]
    battles = coded(
        [(a, b, "model_a" if w else "model_b") for (a, b), w in zip(pairs, wins, strict=True)]
    )

    samples = order_samples(battles, n_permutations=30)

    assert samples.mean(axis=0) == pytest.approx(strength, abs=25)
    # √(K·s/2) = 52.7 for K = 32: the order of the log alone moves ratings by as much.
    assert 30 < samples.std(axis=0).mean() < 60


@pytest.mark.parametrize("k_factor", [8, 32])
def test_a_long_log_has_the_spread_of_its_full_permutations(monkeypatch, k_factor):
    rng = np.random.default_rng(5)
    # Model 4 plays a tenth as often as the others, and loses nine times in ten.
    weights = np.array([1, 1, 1, 1, 0.1]) / 4.1
    # The two first of an exponential race are two draws without replacement.
    pairs = np.argsort(rng.exponential(size=(12_000, 5)) / weights)[:, :2].tolist()
    won = [rng.random() < (0.9 if b == 4 else 0.1 if a == 4 else 0.6) for a, b in pairs]
    battles = coded(
        [(a, b, "model_a" if w else "model_b") for (a, b), w in zip(pairs, won, strict=True)]
    )
    settings = EloSettings(k_factor=k_factor)

    short = order_samples(battles, settings)
    monkeypatch.setattr("arena.rating.elo._enough", lambda *_: 10**9)
    full = order_samples(battles, settings)

    assert short.mean(axis=0) == pytest.approx(full.mean(axis=0), abs=25)
    assert short.std(axis=0) == pytest.approx(full.std(axis=0), rel=0.35)
    assert short.std(axis=0).mean() == pytest.approx(full.std(axis=0).mean(), rel=0.15)


def test_a_long_log_is_not_replayed_whole_for_its_spread():
    rng = np.random.default_rng(5)
    first = rng.integers(0, 20, 100_000)
    battles = coded(list(zip(first, (first + 1) % 20, ["tie"] * 100_000, strict=True)), 20)

    assert 2_500 < _enough(_n_played(battles), 32) < 3_000
    assert _enough(_n_played(battles), 1) == 20_000


@given(st.lists(rows, min_size=1, max_size=3), st.sampled_from([1, 100, 10**6]))
@settings(max_examples=40)
def test_each_sample_is_what_elo_gives_battle_by_battle_in_the_order_drawn(logs, most_codes):
    n_permutations, enough, seeds = 5, 20, [(3, place) for place in range(len(logs))]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("arena.rating.elo._enough", lambda *_: enough)
        patched.setattr("arena.rating.elo._MOST_CODES", most_codes)
        patched.setattr("arena.rating.elo._BLOCK", 7)
        datasets = [coded(log) for log in logs]
        samples = elo_order_samples(datasets, n_permutations=n_permutations, seeds=seeds)

    for log, seed, found in zip(logs, seeds, samples, strict=True):
        rng = np.random.default_rng(seed)
        start = dict.fromkeys([f"m{i}" for i in range(5)], 1500.0)
        if len(log) > enough:
            start |= replayed(log, start, rng.choice(len(log), enough, replace=False))
        for sample in found:
            order = rng.choice(len(log), min(len(log), enough), replace=False)
            for model, rating in replayed(log, start, order).items():
                assert sample[int(model[1])] == pytest.approx(rating, abs=1e-9)


def replayed(log, start, order):
    elo = Elo()
    for a, b, winner in (log[place] for place in order):
        for model in (f"m{a}", f"m{b}"):
            elo._ratings.setdefault(model, start[model])
        elo.update(f"m{a}", f"m{b}", winner)
    return elo.ratings


def test_the_spread_is_the_same_for_the_same_seed():
    battles = coded(GOLDEN_ROWS)

    first, again = (order_samples(battles, seed=7) for _ in range(2))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, order_samples(battles, seed=8))


def test_a_model_without_battles_has_no_rating():
    battles = coded([(0, 1, "tie")], n_models=3)

    assert math.isnan(elo_ratings(battles)[2])
    assert np.isnan(order_samples(battles)[:, 2]).all()


@each_row(
    ("battle", "message"),
    [
        (("a", "a", "tie"), "against itself"),
        (("a", "b", "TIE"), "winner is 'TIE'"),
        (("a", "b", ""), "winner is ''"),
    ],
)
def test_what_is_no_battle_is_refused_and_leaves_no_trace(battle, message):
    elo = Elo()

    with pytest.raises(UsageError, match=message):
        elo.update(*battle)

    assert not elo.ratings


@each_row("wrong", [{"k_factor": 0}, {"k_factor": math.nan}, {"start": math.inf}])
def test_settings_that_would_freeze_or_overflow_are_refused(wrong):
    with pytest.raises(UsageError, match="Elo: "):
        EloSettings(**wrong)
