"""Bradley-Terry with ties as an outcome of their own: Davidson, Rao-Kupper.

Both add one parameter for how often battles between equals are tied. They take wins, ties and
losses only; a judge's probabilities belong to `arena.rating.bradley_terry`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from arena.errors import UsageError
from arena.rating import bradley_terry
from arena.rating.bradley_terry import sigmoid
from arena.rating.comparisons import Comparisons, Counts, Floats, Ints, count, tally
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
        """A third of the battles between equals are ties, ν = 1."""
        return 0.0

    def slopes(self, margin: Floats, eta: float) -> Derivatives:
        """Of Σ (W − L)d/2 + Tη − N ln Z, Z = e^(d/2) + e^(−d/2) + ν."""
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


@dataclass(frozen=True, slots=True)
class RaoKupper:
    """P(win) = σ(d − h), P(loss) = σ(−d − h), the rest are ties; η = h > 0."""

    outcomes: _Outcomes

    @property
    def tie_start(self) -> float | None:
        """A third of the battles between equals are ties, h = ln 2."""
        return math.log(2)

    def slopes(self, margin: Floats, eta: float) -> Derivatives:
        """Of Σ (W + T) ln σ(d − h) + (L + T) ln σ(−d − h) + T ln(e^(2h) − 1)."""
        if eta <= 0:
            return Derivatives(value=-math.inf, margin=margin, curvature=margin)
        ties = self.outcomes.ties
        not_lost, not_won = self.outcomes.wins + ties, self.outcomes.losses + ties
        win, loss = sigmoid(margin - eta), sigmoid(-margin - eta)
        up, down = not_lost * (1 - win), not_won * (1 - loss)
        n_ties, tilt = float(ties.sum()), 1 / -math.expm1(-2 * eta)
        value = not_lost * np.logaddexp(0, eta - margin) + not_won * np.logaddexp(0, eta + margin)
        return Derivatives(
            value=n_ties * (2 * eta - math.log(tilt)) - float(np.sum(value)),
            margin=up - down,
            curvature=up * win + down * loss,
            tie=2 * n_ties * tilt - float(np.sum(up + down)),
            tie_margin=down * loss - up * win,
            tie_tie=float(np.sum(up * win + down * loss)) + 4 * n_ties * tilt * (tilt - 1),
        )

    def row_scores(
        self, pair: Ints, score: Floats, margin: Floats, eta: float
    ) -> tuple[Floats, Floats]:
        """By outcome: 1 − p_w, p_l − p_w or p_l − 1; and the same with both signs lowered."""
        not_win = 1 - sigmoid(margin - eta).ravel()[pair]
        not_loss = 1 - sigmoid(-margin - eta).ravel()[pair]
        not_lost, not_won = score > 0, score < 1
        tie = not_lost & not_won
        up, down = not_lost * not_win, not_won * not_loss
        return up - down, tie * (2 / -math.expm1(-2 * eta)) - up - down


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


def fit_rao_kupper(comparisons: Comparisons, *, position: bool = True, prior: float = 0.0) -> Fit:
    """Fit Rao and Kupper's model (1967, doi:10.1080/01621459.1967.10482901); ``tie`` is e^h.

    Arguments and errors are those of `fit_davidson`.
    """
    counts, outcomes = _count(comparisons)
    if not outcomes.ties.any():
        plain = bradley_terry.fit(comparisons, position=position, prior=prior)
        return replace(plain, tie=1.0)
    return estimate(comparisons, counts, RaoKupper(outcomes), position=position, prior=prior)


def _count(comparisons: Comparisons) -> tuple[Counts, _Outcomes]:
    counts = count(comparisons)
    score, weight = comparisons.score, counts.weight
    tied = score == 0.5
    if not (tied | (score == 0) | (score == 1)).all():
        raise UsageError("tie models need wins, ties and losses; rate probabilities without one")
    shape = counts.battles.shape
    rows = None if weight is None else weight[tied]
    ties = tally(counts.pair[tied], rows, counts.battles.size).reshape(shape)
    wins = counts.points - ties / 2
    losses = counts.battles - counts.points - ties / 2
    if wins.sum() + losses.sum() <= 0:
        raise UsageError("every battle is a tie, so a tie model has nothing to fit; drop it")
    return counts, _Outcomes(wins, ties, losses)


def _exp(x: Floats) -> Floats:
    out: Floats = np.exp(x)
    return out
