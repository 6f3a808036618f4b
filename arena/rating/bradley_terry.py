"""Bradley-Terry and Davidson ratings with the first-position term estimated and removed.

P(first wins) = σ(θ_first − θ_second + γ); a tie is half a win for each, and so is any score
between 0 and 1 (a judge's probability). That makes it a quasi-likelihood, whose variance the
clustered sandwich gives and the inverse Hessian does not.
Bradley and Terry 1952, doi:10.1093/biomet/39.3-4.324.

In Davidson's model ties are an outcome of their own. One more parameter is how often battles
between equals are tied. The model takes wins, ties and losses only; a judge's probabilities belong
to `fit`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from arena.errors import UsageError
from arena.rating.comparisons import (
    Comparisons,
    Counts,
    Floats,
    Ints,
    connected_groups,
    count_battles,
    sums_by_code,
)
from arena.rating.fit import Fit, fit_rule
from arena.rating.likelihood import NO_MAXIMUM, Derivatives

ELO_PER_LOGIT = 400 / math.log(10)
"""173.7 Elo points; ratings one logit apart win 73% against 27%."""


@dataclass(frozen=True, slots=True)
class BradleyTerry:
    """The rule of Bradley and Terry over counted battles, an `OutcomeRule`."""

    battles: Floats  #: per ordered pair, (m, m)
    points: Floats  #: of the model shown first, (m, m)

    @property
    def tie_start(self) -> float | None:
        """Return None, because the model has no tie parameter."""
        return None

    def slopes(self, margin: Floats, eta: float) -> Derivatives:  # noqa: ARG002
        """Return the derivatives of Σ points·d − battles·ln(1 + eᵈ)."""
        expected = sigmoid(margin)
        return Derivatives(
            value=float(np.sum(self.points * margin - self.battles * np.logaddexp(0, margin))),
            margin=self.points - self.battles * expected,
            curvature=self.battles * expected * (1 - expected),
        )

    def row_scores(
        self,
        pair: Ints,
        score: Floats,
        margin: Floats,
        eta: float,  # noqa: ARG002
    ) -> tuple[Floats, None]:
        """Score minus expected score, and nothing for the tie parameter."""
        return score - sigmoid(margin).ravel()[pair], None


def fit(comparisons: Comparisons, *, position: bool = True, prior: float = 0.0) -> Fit:
    """Fit Bradley-Terry ratings and their query-clustered covariance.

    Args:
        comparisons: battles as codes; scores may be any number from 0 to 1.
        position: estimate the advantage of being shown first, and remove it from the ratings.
            Where the design cannot tell it from them, it is left out and
            ``position_fitted`` says so.
        prior: precision of a normal prior on each rating, in logits⁻²; above 0 it makes every
            rating finite, even without a win or a loss.

    Raises:
        DisconnectedError: without a prior, if wins and ties do not connect all models both ways.
        UsageError: battles that cannot be rated; the message says which.
    """
    counts = count_battles(comparisons)
    rule = BradleyTerry(counts.battles, counts.points)
    return fit_rule(comparisons, counts, rule, position=position, prior=prior)


def to_elo(theta: Floats, *, mean: float = 1500.0) -> Floats:
    """Return ratings in Elo points (scale 400, base 10) around ``mean``, from logits around 0."""
    elo: Floats = mean + ELO_PER_LOGIT * theta
    return elo


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e^−x), without overflow."""
    out: Floats = 0.5 * (1 + np.tanh(x / 2))
    return out


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """Counts of each outcome per ordered pair, first against second, (m, m)."""

    wins: Floats
    ties: Floats
    losses: Floats


@dataclass(frozen=True, slots=True)
class Davidson:
    """P(win) : P(tie) : P(loss) = e^(d/2) : ν : e^(−d/2), with η = ln ν."""

    outcomes: _Outcomes

    @property
    def tie_start(self) -> float | None:
        """Return the start ν = 1: a third of the battles between equals are ties."""
        return 0.0

    def slopes(self, margin: Floats, eta: float) -> Derivatives:
        """Return the derivatives of Σ (W − L)d/2 + Tη − N ln Z, Z = e^(d/2) + e^(−d/2) + ν."""
        wins, ties, losses = self.outcomes.wins, self.outcomes.ties, self.outcomes.losses
        battles = wins + ties + losses
        log_z = np.logaddexp(np.logaddexp(margin / 2, -margin / 2), eta)
        win, loss, tie = _exp(margin / 2 - log_z), _exp(-margin / 2 - log_z), _exp(eta - log_z)
        lead = win - loss
        return Derivatives(
            value=float(np.sum((wins - losses) * margin / 2 + ties * eta - battles * log_z)),
            margin=(wins - losses - battles * lead) / 2,
            curvature=battles / 4 * (win + loss - lead**2),
            tie=float(np.sum(ties - battles * tie)),
            tie_margin=-battles / 2 * tie * lead,
            tie_tie=float(np.sum(battles * tie * (1 - tie))),
        )

    def row_scores(
        self, pair: Ints, score: Floats, margin: Floats, eta: float
    ) -> tuple[Floats, Floats]:
        """Score minus expected score; tie minus expected tie."""
        log_z = np.logaddexp(np.logaddexp(margin / 2, -margin / 2), eta)
        tie = _exp(eta - log_z)
        expected = _exp(margin / 2 - log_z) + tie / 2
        return score - expected.ravel()[pair], (score == 0.5) - tie.ravel()[pair]


def fit_davidson(comparisons: Comparisons, *, position: bool = True, prior: float = 0.0) -> Fit:
    """Fit Davidson's model (1970, doi:10.1080/01621459.1970.10481082); ``tie`` is ν.

    Arguments and errors are those of `fit`; besides, scores other
    than 0, 0.5 and 1, and battles that are all ties, raise UsageError.
    """
    counts, outcomes = _count(comparisons)
    if not outcomes.ties.any():
        plain = fit(comparisons, position=position, prior=prior)
        return replace(plain, tie=0.0)
    if prior == 0 and len(connected_groups(counts)) == 1 and not _is_finite(outcomes):
        raise UsageError(NO_MAXIMUM)
    return fit_rule(comparisons, counts, Davidson(outcomes), position=position, prior=prior)


_ROUNDING: Final = 1e-9
"""A sum of weights below it is that of no battle."""


def _is_finite(outcomes: _Outcomes) -> bool:
    """Return whether Davidson's likelihood has a maximum, where wins and ties connect all models.

    It has none if there are t with t_i − t_j ≥ 1 if i beat j, and |t_i − t_j| ≤ 1 if they
    tied: along (2t, η + 1) no outcome becomes less likely. Such t are shortest distances, which
    exist unless a cycle is negative: unless wins outnumber ties along some cycle of models.
    """
    from scipy.sparse import csgraph, csr_array  # noqa: PLC0415 - a quarter of a second to import

    won = (outcomes.wins + outcomes.losses.swapaxes(-1, -2)).sum(axis=0) > _ROUNDING
    tied = outcomes.ties.sum(axis=0) > _ROUNDING
    if (won & won.T).any():
        return True  # two models that beat each other are such a cycle
    steps = csr_array(np.where(won, -1.0, np.where(tied | tied.T, 1.0, 0.0)))
    try:
        csgraph.bellman_ford(steps, indices=0)
    except csgraph.NegativeCycleError:
        return True
    return False


def _count(comparisons: Comparisons) -> tuple[Counts, _Outcomes]:
    counts = count_battles(comparisons)
    score, weight = comparisons.score, counts.weight
    tied = score == 0.5
    if not (tied | (score == 0) | (score == 1)).all():
        raise UsageError("tie models need wins, ties and losses; rate probabilities without one")
    shape = counts.battles.shape
    rows = None if weight is None else weight[tied]
    ties = sums_by_code(counts.pair[tied], rows, counts.battles.size).reshape(shape)
    wins = counts.points - ties / 2
    losses = counts.battles - counts.points - ties / 2
    if wins.sum() + losses.sum() <= 0:
        raise UsageError("every battle is a tie, so a tie model has nothing to fit; drop it")
    return counts, _Outcomes(wins, ties, losses)


def _exp(x: Floats) -> Floats:
    out: Floats = np.exp(x)
    return out
