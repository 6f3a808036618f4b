"""Online Elo, its spread over battle orders, and wins, losses and ties.

Elo is constant-step stochastic gradient ascent on the Bradley-Terry likelihood, so it never
settles. The order of a log alone moves a K = 32 rating by tens of points. That is what
`elo_order_samples` measures; `arena.rating.bradley_terry` gives ratings without an order.

Source: A. Elo, *The Rating of Chessplayers, Past and Present* (1978); on the order of battles,
M. Boubdir et al., "Elo Uncovered" (arXiv:2311.17295).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from arena.battles.coded_columns import MODEL_A, MODEL_B, TIE
from arena.battles.load import Battles
from arena.battles.row_blocks import blocks, count_codes
from arena.errors import UsageError
from arena.records import Record, Winner

SCALE = 400.0
"""Rating points that make one model ten times as likely to win as to lose."""

_LOGITS_PER_POINT = math.log(10) / SCALE
"""10^(d/400) = e^(d·this): the exponential takes a quarter less time than the power."""

_SCORES = (1.0, 0.0, 0.5)
"""Model_a's score by winner code."""

_CODES: Mapping[str, int] = {"model_a": MODEL_A, "model_b": MODEL_B, "tie": TIE}

_MEMORIES = 5.0
"""After this many times the battles that Elo remembers, e⁻⁵ of the start is left. That is less than
a hundredth of a percent of its variance."""

_LEAST_CURVATURE = 0.1
"""p(1 − p) of a battle won nine times in ten: more lopsided ones are remembered longer."""

_MOST_BATTLES_PER_MODEL = 1000
"""The most that a permutation replays, however rarely one of the models plays."""

_MOST_CODES = 32_000_000
"""Battles of all orders held at once: 128 MB."""

_LISTED = 1 << 16
"""Battles that are in plain lists at once."""

_BLOCK = 128
"""Battles that are looked up at once: what they take stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class EloSettings:
    """How ratings move; the defaults are those of published leaderboards."""

    start: float = 1500.0  #: rating of a model before its first battle
    k_factor: float = 32.0  #: most points that one battle can move

    def __post_init__(self) -> None:
        """Refuse what would overflow or freeze.

        Raises:
            UsageError: a k_factor outside (0, 1000], or a start that is not a number.
        """
        for name in ("k_factor", "start"):
            given = getattr(self, name)
            if isinstance(given, bool) or not isinstance(given, Real):
                raise UsageError(f"Elo: {name} is {given!r}; expected a number")
        if not 0 < self.k_factor <= 1000:
            raise UsageError(f"Elo: k_factor is {self.k_factor}; expected above 0, at most 1000")
        if not abs(self.start) < 1e6:
            raise UsageError(f"Elo: start is {self.start}; expected a number such as 1500")


class Elo:
    """Ratings and records of one data set, updated battle by battle.

    >>> elo = Elo()
    >>> elo.update("bm25", "bge-m3", "model_b")
    >>> dict(elo.ratings)
    {'bm25': 1484.0, 'bge-m3': 1516.0}
    """

    def __init__(self, settings: EloSettings | None = None) -> None:
        self._settings = settings or EloSettings()
        self._ratings: dict[str, float] = {}
        self._counts: dict[str, list[int]] = {}

    @property
    def ratings(self) -> Mapping[str, float]:
        """Return model → rating, in the order of first appearance; a live view."""
        return MappingProxyType(self._ratings)

    @property
    def records(self) -> Mapping[str, Record]:
        """Return model → wins, losses and ties."""
        return {model: Record(*counts) for model, counts in self._counts.items()}

    def update(self, model_a: str, model_b: str, winner: Winner) -> None:
        """Play one battle.

        Raises:
            UsageError: a model against itself, or an unknown winner.
        """
        if model_a == model_b:
            raise UsageError(f"Elo: {model_a!r} against itself; a battle needs two models")
        code = _CODES.get(winner)
        if code is None:
            raise UsageError(f"Elo: winner is {winner!r}; expected model_a, model_b or tie")
        for model in (model_a, model_b):
            self._ratings.setdefault(model, self._settings.start)
            self._counts.setdefault(model, [0, 0, 0])
        # Win, loss, tie have the codes 0, 1, 2 as model_a sees them; model_b sees the first two
        # the other way round.
        self._counts[model_a][code] += 1
        self._counts[model_b][(1, 0, 2)[code]] += 1
        ours, theirs = self._ratings[model_a], self._ratings[model_b]
        change = _change(ours, theirs, _SCORES[code], self._settings.k_factor)
        self._ratings[model_a] = ours + change
        self._ratings[model_b] = theirs - change


def elo_ratings(battles: Battles, settings: EloSettings | None = None) -> NDArray[np.float64]:
    """Play the battles, in their order, as one sequence.

    Args:
        battles: usually those of one data set, ``battles.only(dataset)``.
        settings: start and K.

    Returns:
        (n_models,) ratings, to the last bit what `Elo` gives; NaN for a model without battles.
    """
    settings = settings or EloSettings()
    ratings = [settings.start] * len(battles.models)
    _play(ratings, battles, settings.k_factor)
    return np.where(_n_played(battles) > 0, ratings, np.nan)


def elo_order_samples(
    datasets: Iterable[Battles],
    settings: EloSettings | None = None,
    *,
    n_permutations: int = 100,
    seeds: Sequence[int | Sequence[int]],
) -> NDArray[np.float64]:
    """Return ratings after the same battles in other orders, each data set by itself.

    Each battle of a model shrinks what came before it by about K·p(1 − p)/174. Of a long log each
    permutation therefore replays only as many battles as it takes to forget the start. They are
    drawn without replacement. The start is where another such draw ended. With random orders the
    standard deviation is about √(K·s/2), s = 400/ln 10, however long the log.

    Args:
        datasets: the battles of each data set, all with the same models; one is held at a time.
        settings: start and K.
        n_permutations: how many orders to draw for each data set.
        seeds: one for each data set.

    Returns:
        (n_datasets, n_permutations, n_models) ratings; NaN for a model without battles.
    """
    settings = settings or EloSettings()
    drawn, counts = list[_Orders](), list[NDArray[np.intp]]()
    for battles, seed in zip(datasets, seeds, strict=True):
        drawn.append(_Orders.of(battles, seed, settings))
        counts.append(_n_played(battles))
    played = np.stack(counts)
    samples = np.empty((len(drawn), n_permutations, played.shape[1]))
    # Longest first, so that the lanes that still play are always the first ones.
    longest = sorted(range(len(drawn)), key=lambda code: -drawn[code].n_battles)
    size = max(_MOST_CODES // sum(orders.n_battles for orders in drawn), 1)
    for start in range(0, n_permutations, size):
        n = min(size, n_permutations - start)
        ratings = np.repeat([drawn[code].start for code in longest], n, axis=0)
        _play_lanes(ratings, [drawn[code].take(n) for code in longest], settings.k_factor)
        samples[longest, start : start + n] = ratings.reshape(len(drawn), n, -1)
    return np.where(played[:, None] > 0, samples, np.nan)


@dataclass(frozen=True, slots=True)
class _Orders:
    """Random orders of the battles of one data set, drawn one after the other."""

    codes: NDArray[np.signedinteger[Any]]  #: of each battle: (model_a · m + model_b) · 3 + winner
    n_battles: int  #: that an order holds
    start: Sequence[float]  #: the ratings before its first battle, (n_models,)
    rng: np.random.Generator

    @classmethod
    def of(cls, battles: Battles, seed: int | Sequence[int], settings: EloSettings) -> _Orders:
        """Draw what an order starts from, where it does not hold all battles."""
        m, rng = len(battles.models), np.random.default_rng(seed)
        codes = _cells(battles, slice(None), np.min_scalar_type(-3 * m * m))
        n_battles = min(len(battles), _enough(_n_played(battles), settings.k_factor))
        start = [settings.start] * m
        if n_battles < len(battles):
            drawn = rng.choice(len(battles), n_battles, replace=False)
            _play(start, battles, settings.k_factor, drawn)
        return cls(codes, n_battles, start, rng)

    def take(self, n: int) -> NDArray[np.signedinteger[Any]]:
        """Draw the next ``n`` orders, as codes, (n, n_battles)."""
        total = len(self.codes)
        draws = (self.rng.choice(total, self.n_battles, replace=False) for _ in range(n))
        return np.stack([self.codes[draw] for draw in draws])


def records_of(battles: Battles) -> Sequence[Record]:
    """Return wins, losses and ties of each model, in the order of ``battles.models``."""
    won, tied = count_wins(battles)
    columns = (won.sum(axis=1), won.sum(axis=0), tied.sum(axis=1))
    return [Record(*counts) for counts in zip(*(c.tolist() for c in columns), strict=True)]


def count_wins(battles: Battles) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the wins of row against column, and the ties between them, (m, m) each."""
    m = len(battles.models)
    shown = np.zeros((m, m, 3), np.intp)
    for block in blocks(len(battles)):
        shown += np.bincount(_cells(battles, block), minlength=shown.size).reshape(shown.shape)
    tied = shown[:, :, TIE]
    return shown[:, :, MODEL_A] + shown[:, :, MODEL_B].T, tied + tied.T


def _cells(
    battles: Battles, part: slice, kind: npt.DTypeLike = np.intp
) -> NDArray[np.signedinteger[Any]]:
    """Return (model_a · m + model_b) · 3 + winner of each battle of a part."""
    cells = battles.model_a[part].astype(kind)
    cells *= len(battles.models)
    cells += battles.model_b[part]
    cells *= 3
    cells += battles.winner[part]
    return cells


def _change(ours: float, theirs: float, score: float, k_factor: float) -> float:
    """Return what model_a gains and model_b loses: K(S − E), E = 1/(1 + 10^((R_b − R_a)/400))."""
    return k_factor * (score - 1.0 / (1.0 + math.exp((theirs - ours) * _LOGITS_PER_POINT)))


def _play(
    ratings: list[float],
    battles: Battles,
    k_factor: float,
    order: NDArray[np.intp] | None = None,
) -> None:
    """Update ratings, indexed by model code, in place; in the order of the log if none is given."""
    # Plain lists and `_change` written out: a million battles take a fifth of a second.
    scores_of, exp = np.array(_SCORES), math.exp
    n_battles = len(battles) if order is None else len(order)
    for start in range(0, n_battles, _LISTED):
        block = slice(start, start + _LISTED)
        part = block if order is None else order[block]
        sides = (battles.model_a[part].tolist(), battles.model_b[part].tolist())
        for a, b, score in zip(*sides, scores_of[battles.winner[part]].tolist(), strict=True):
            ours, theirs = ratings[a], ratings[b]
            change = k_factor * (score - 1.0 / (1.0 + exp((theirs - ours) * _LOGITS_PER_POINT)))
            ratings[a] = ours + change
            ratings[b] = theirs - change


def _play_lanes(
    ratings: NDArray[np.float64], orders: Sequence[NDArray[np.int32]], k_factor: float
) -> None:
    """Play one battle of every lane at a time, and update the ratings in place.

    Args:
        ratings: (n_lanes, n_models), a lane for each row of the orders.
        orders: of each data set (n, n_battles) codes, as `_Orders` has them; longest first.
        k_factor: K.
    """
    m, per_dataset = ratings.shape[1], len(orders[0])
    # In halves of logits E is (1 − tanh(u_b − u_a)) / 2, which is the fastest form of it.
    unit = _LOGITS_PER_POINT / 2
    flat = ratings.ravel() * unit
    gains = k_factor * unit * (np.array(_SCORES) - 0.5)
    for begin, end in pairwise(sorted({0, *(order.shape[1] for order in orders)})):
        playing = [order for order in orders if order.shape[1] >= end]
        lane_starts = np.arange(len(playing) * per_dataset) * m
        for at in range(begin, end, _BLOCK):
            codes = np.concatenate([order[:, at : min(at + _BLOCK, end)] for order in playing]).T
            pair, winner = np.divmod(codes, 3)
            places = np.empty((2, *codes.shape), np.intp)
            np.divmod(pair, m, out=tuple(places))
            places += lane_starts
            _play_block(flat, places, gains[winner], k_factor * unit / 2)
    ratings[:] = flat.reshape(ratings.shape) / unit


def _play_block(
    flat: NDArray[np.float64],
    places: NDArray[np.intp],
    gains: NDArray[np.float64],
    half_k: float,
) -> None:
    """Update ratings in half logits.

    Args:
        flat: ratings of all lanes, one lane after the other.
        places: where those of both sides are, (2, n_battles, n_lanes).
        gains: K(S − ½) of model_a, (n_battles, n_lanes).
        half_k: K/2.
    """
    both, gain = np.empty(places.shape[::2]), np.empty(places.shape[2])
    first, second = both
    for places_of, fixed in zip(places.swapaxes(0, 1), gains, strict=True):
        flat.take(places_of, out=both, mode="clip")  # the other modes copy `out`
        np.subtract(second, first, out=gain)
        np.tanh(gain, out=gain)
        gain *= half_k
        gain += fixed
        first += gain
        second -= gain
        flat[places_of] = both


def _enough(played: NDArray[np.intp], k_factor: float) -> int:
    """Return how many battles it takes until the model that plays least has forgotten its start."""
    present = played[played > 0]
    share = float(present.min() / (present.sum() / 2))  # the part of the battles that it is in
    memory = SCALE / math.log(10) / (k_factor * _LEAST_CURVATURE)
    return math.ceil(min(_MEMORIES * memory / share, _MOST_BATTLES_PER_MODEL * present.size))


def _n_played(battles: Battles) -> NDArray[np.intp]:
    """Return how many battles each model played, (n_models,)."""
    m = len(battles.models)
    return count_codes(battles.model_a, m) + count_codes(battles.model_b, m)
