"""Bradley-Terry with ties as an outcome of their own, by Davidson.

One more parameter is how often battles between equals are tied. The model takes wins, ties and
losses only; a judge's probabilities belong to `arena.rating.bradley_terry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from arena.errors import UsageError
from arena.rating import bradley_terry
from arena.rating.comparisons import Comparisons, Counts, Floats, Ints, count, sums_by_code
from arena.rating.fit import Fit, estimate
from arena.rating.likelihood import Derivatives


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

    Arguments and errors are those of `arena.rating.bradley_terry.fit`; besides, scores other
    than 0, 0.5 and 1, and battles that are all ties, raise UsageError.
    """
    counts, outcomes = _count(comparisons)
    if not outcomes.ties.any():
        plain = bradley_terry.fit(comparisons, position=position, prior=prior)
        return replace(plain, tie=0.0)
    return estimate(comparisons, counts, Davidson(outcomes), position=position, prior=prior)


def _count(comparisons: Comparisons) -> tuple[Counts, _Outcomes]:
    counts = count(comparisons)
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
