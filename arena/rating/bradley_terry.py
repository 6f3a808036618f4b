"""Bradley-Terry ratings with the first-position term estimated and removed.

P(first wins) = σ(θ_first − θ_second + γ); a tie is half a win for each, and so is any score
between 0 and 1 (a judge's probability). That makes it a quasi-likelihood, whose variance the
clustered sandwich gives and the inverse Hessian does not.
Bradley and Terry 1952, doi:10.1093/biomet/39.3-4.324.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from arena.rating.comparisons import Comparisons, DisconnectedError, Floats, Ints, count
from arena.rating.fit import Fit, estimate
from arena.rating.likelihood import Derivatives

__all__ = ["BradleyTerry", "Comparisons", "DisconnectedError", "Fit", "fit", "to_elo"]

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
            rating finite, whatever the battles.

    Raises:
        DisconnectedError: without a prior, if wins and ties do not connect all models both ways.
        UsageError: battles that cannot be rated; the message says which.
    """
    counts = count(comparisons)
    rule = BradleyTerry(counts.battles, counts.points)
    return estimate(comparisons, counts, rule, position=position, prior=prior)


def to_elo(theta: Floats, *, mean: float = 1500.0) -> Floats:
    """Return ratings in Elo points (scale 400, base 10) around ``mean``, from logits around 0."""
    elo: Floats = mean + ELO_PER_LOGIT * theta
    return elo


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + e^−x), without overflow."""
    out: Floats = 0.5 * (1 + np.tanh(x / 2))
    return out
