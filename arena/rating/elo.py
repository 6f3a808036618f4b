"""Online Elo, its spread over battle orders, and wins, losses and ties.

Elo is constant-step stochastic gradient ascent on the Bradley-Terry likelihood: it never
settles, so the order of a log alone moves a K = 32 rating by tens of points. That is what
`elo_order_samples` measures; `arena.rating.bradley_terry` gives ratings without an order.

Source: A. Elo, *The Rating of Chessplayers, Past and Present* (1978); on the order of battles,
M. Boubdir et al., "Elo Uncovered" (arXiv:2311.17295).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from arena.errors import UsageError
from arena.rating.battle_columns import MODEL_A, MODEL_B, TIE
from arena.rating.battles import Battles
from arena.records import Record, Winner

SCALE = 400.0
"""Rating points that make one model ten times as likely to win as to lose."""

_LOGITS_PER_POINT = math.log(10) / SCALE
"""10^(d/400) = e^(d·this): the exponential takes a quarter less time than the power."""

_SCORES = (1.0, 0.0, 0.5)
"""Model_a's score by winner code."""

_CODES: Mapping[str, int] = {"model_a": MODEL_A, "model_b": MODEL_B, "tie": TIE}

_AS_LOGGED = slice(None)

_MEMORIES = 5.0
"""After so many times the battles that Elo remembers, e⁻⁵ of where it started is left, and less
than a hundredth of a percent of its variance."""

_LEAST_CURVATURE = 0.1
"""p(1 − p) of a battle won nine times in ten: more lopsided ones are remembered longer."""

_MOST_BATTLES_PER_MODEL = 1000
"""The most that a permutation replays, however rarely one of the models plays."""


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
        self._tallies: dict[str, list[int]] = {}

    @property
    def ratings(self) -> Mapping[str, float]:
        """Model → rating, in the order of first appearance; a live view."""
        return MappingProxyType(self._ratings)

    @property
    def records(self) -> Mapping[str, Record]:
        """Model → wins, losses and ties."""
        return {model: Record(*tally) for model, tally in self._tallies.items()}

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
            self._tallies.setdefault(model, [0, 0, 0])
        # Win, loss, tie have the codes 0, 1, 2 as model_a sees them; model_b sees the first two
        # the other way round.
        self._tallies[model_a][code] += 1
        self._tallies[model_b][(1, 0, 2)[code]] += 1
        ours, theirs = self._ratings[model_a], self._ratings[model_b]
        change = _change(ours, theirs, _SCORES[code], self._settings.k_factor)
        self._ratings[model_a] = ours + change
        self._ratings[model_b] = theirs - change


def elo_ratings(battles: Battles, settings: EloSettings | None = None) -> NDArray[np.float64]:
    """Replay the battles, in their order, as one sequence.

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
    battles: Battles,
    settings: EloSettings | None = None,
    *,
    n_permutations: int = 100,
    seed: int | Sequence[int] = 0,
) -> NDArray[np.float64]:
    """Ratings after the same battles in other orders.

    Each battle of a model shrinks what came before it by about K·p(1 − p)/174. Of a long log each
    permutation therefore replays only as many battles, drawn without replacement, as it takes to
    forget where it starts, which is where another such draw ended. With random orders the standard
    deviation is about √(K·s/2), s = 400/ln 10, however long the log.

    Returns:
        (n_permutations, n_models); NaN for a model without battles.
    """
    settings = settings or EloSettings()
    rng = np.random.default_rng(seed)
    played = _n_played(battles)
    enough = _enough(played, settings.k_factor)
    start = [settings.start] * len(battles.models)

    def draw() -> NDArray[np.intp]:
        return rng.choice(len(battles), min(len(battles), enough), replace=False)

    if len(battles) > enough:
        _play(start, battles, settings.k_factor, draw())
    samples = np.empty((n_permutations, len(battles.models)))
    for sample in samples:
        ratings = start.copy()
        _play(ratings, battles, settings.k_factor, draw())
        sample[:] = ratings
    return np.where(played > 0, samples, np.nan)


def tally(battles: Battles) -> Sequence[Record]:
    """Wins, losses and ties of each model, in the order of ``battles.models``."""
    m = len(battles.models)
    first, second, winner = battles.model_a, battles.model_b, battles.winner

    def count(*sides: NDArray[np.int32]) -> list[int]:
        counts: list[int] = np.bincount(np.concatenate(sides), minlength=m).tolist()
        return counts

    wins = count(first[winner == MODEL_A], second[winner == MODEL_B])
    losses = count(second[winner == MODEL_A], first[winner == MODEL_B])
    ties = count(first[winner == TIE], second[winner == TIE])
    return [Record(*counts) for counts in zip(wins, losses, ties, strict=True)]


def _change(ours: float, theirs: float, score: float, k_factor: float) -> float:
    """What model_a gains and model_b loses: R += K(S − E), E = 1/(1 + 10^((R_b − R_a)/400))."""
    return k_factor * (score - 1.0 / (1.0 + math.exp((theirs - ours) * _LOGITS_PER_POINT)))


def _play(
    ratings: list[float],
    battles: Battles,
    k_factor: float,
    order: NDArray[np.intp] | slice = _AS_LOGGED,
) -> None:
    """Update ratings, indexed by model code, in place."""
    # Plain lists and `_change` written out: a million battles take a fifth of a second.
    sides = (battles.model_a[order].tolist(), battles.model_b[order].tolist())
    scores, exp = np.array(_SCORES)[battles.winner[order]].tolist(), math.exp
    for a, b, score in zip(*sides, scores, strict=True):
        ours, theirs = ratings[a], ratings[b]
        change = k_factor * (score - 1.0 / (1.0 + exp((theirs - ours) * _LOGITS_PER_POINT)))
        ratings[a] = ours + change
        ratings[b] = theirs - change


def _enough(played: NDArray[np.intp], k_factor: float) -> int:
    """How many battles it takes until the model that plays least has forgotten its start."""
    present = played[played > 0]
    share = float(present.min() / (present.sum() / 2))  # the part of the battles that it is in
    memory = SCALE / math.log(10) / (k_factor * _LEAST_CURVATURE)
    return math.ceil(min(_MEMORIES * memory / share, _MOST_BATTLES_PER_MODEL * present.size))


def _n_played(battles: Battles) -> NDArray[np.intp]:
    """How many battles each model played, (n_models,)."""
    m = len(battles.models)
    return np.bincount(battles.model_a, minlength=m) + np.bincount(battles.model_b, minlength=m)
