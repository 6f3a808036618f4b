"""Maximum likelihood for paired outcomes: Newton's method on counts.

A rating model is an `OutcomeRule`: how likely a win, a tie and a loss are at a margin d = θ_first −
θ_second + γ. It may have one tie parameter. Everything else (the position term γ, priors, step
halving) is the same for all of them and lives here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from arena.errors import UsageError
from arena.rating.comparisons import Floats, Ints

POSITION_PRECISION = 0.01
"""A normal prior on γ with sd 10 (1,700 Elo): keeps γ finite if the first list always wins."""

_MAX_ITERATIONS = 100

NO_MAXIMUM: Final = (
    "no finite ratings: the outcomes can be explained ever better by ratings ever further "
    "apart; play more battles, give a prior, or use Bradley-Terry without a tie parameter"
)


@dataclass(frozen=True, slots=True)
class Derivatives:
    """A log-likelihood and its derivatives at one point; cells are those of `Counts`."""

    value: float  #: the log-likelihood
    margin: Floats  #: ∂ℓ/∂d of each cell
    curvature: Floats  #: −∂²ℓ/∂d² of each cell
    tie: float = 0.0  #: ∂ℓ/∂η
    tie_margin: Floats | float = 0.0  #: −∂²ℓ/∂d∂η of each cell
    tie_tie: float = 0.0  #: −∂²ℓ/∂η²


class OutcomeRule(Protocol):
    """The likelihood of counted battles, given margins and the tie parameter η."""

    @property
    def tie_start(self) -> float | None:
        """Return where the search for η starts; None for a rule without one."""

    def slopes(self, margin: Floats, eta: float) -> Derivatives:
        """Return the log-likelihood of the battles and its derivatives."""

    def row_scores(
        self, pair: Ints, score: Floats, margin: Floats, eta: float
    ) -> tuple[Floats, Floats | None]:
        """Return ∂ℓ/∂d and ∂ℓ/∂η of each single battle, unweighted, (n,); None without η."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Which parameters there are: θ (m), then γ if fitted, then η if the rule has one."""

    n_models: int
    position: bool
    tie: bool
    prior: float
    n_layers: int = 1  #: of the counts, as `arena.rating.comparisons.Counts` has them

    @property
    def size(self) -> int:
        """Return number of parameters."""
        return self.n_models + self.position + self.tie

    def margins(self, beta: Floats) -> Floats:
        """Return each cell's margin θ_first − θ_second + γ, without γ in the second layer."""
        theta = beta[: self.n_models]
        margin: Floats = np.repeat((theta[:, None] - theta[None, :])[None], self.n_layers, axis=0)
        if self.position:
            margin[0] += beta[self.n_models]
        return margin

    def eta(self, beta: Floats) -> float:
        """Return the tie parameter; 0 if there is none."""
        return float(beta[-1]) if self.tie else 0.0

    def slopes(self, rule: OutcomeRule, beta: Floats) -> Derivatives:
        """Return the log-likelihood and its derivatives at ``beta``."""
        return rule.slopes(self.margins(beta), self.eta(beta))

    @property
    def precision(self) -> Floats:
        """Return the diagonal that the priors add to the Hessian, (size,)."""
        diagonal = np.zeros(self.size)
        diagonal[: self.n_models] = self.prior
        if self.position:
            diagonal[self.n_models] = POSITION_PRECISION
        return diagonal

    def gradient(self, slopes: Derivatives) -> Floats:
        """Return the gradient of the log-likelihood without priors, (size,)."""
        parts = [self.along(slopes.margin)]
        if self.tie:
            parts.append(np.array([slopes.tie]))
        return np.concatenate(parts)

    def along(self, cells: Floats) -> Floats:
        """Return Σ value · x over cells, x the direction of the cell's margin in (θ, γ)."""
        both = cells.sum(axis=0)
        parts = [both.sum(axis=1) - both.sum(axis=0)]
        if self.position:
            parts.append(np.array([cells[0].sum()]))
        return np.concatenate(parts)

    def information(self, cells: Floats) -> Floats:
        """Return Σ value · x xᵀ over cells, of θ and γ alone; other axes may precede the cells'."""
        m, both = self.n_models, cells.sum(axis=-3)
        out = np.zeros((*both.shape[:-2], m + self.position, m + self.position))
        out[..., :m, :m] = -(both + both.swapaxes(-1, -2))
        out[..., np.arange(m), np.arange(m)] += both.sum(axis=-1) + both.sum(axis=-2)
        if self.position:
            first = cells[..., 0, :, :]
            lean = first.sum(axis=-1) - first.sum(axis=-2)
            out[..., :m, m] = out[..., m, :m] = lean
            out[..., m, m] = first.sum(axis=(-1, -2))
        return out

    def hessian(self, slopes: Derivatives) -> Floats:
        """Return the Hessian of the negative log-likelihood without priors, (size, size)."""
        out = np.zeros((self.size, self.size))
        s = self.n_models + self.position
        out[:s, :s] = self.information(slopes.curvature)
        if self.tie:
            out[:s, -1] = out[-1, :s] = self.along(
                np.broadcast_to(slopes.tie_margin, slopes.curvature.shape)
            )
            out[-1, -1] = slopes.tie_tie
        return out


def maximise(
    rule: OutcomeRule, layout: Parameters, *, centre: Floats | float = 0.0
) -> tuple[Floats, Derivatives]:
    """Maximise by Newton's method with step halving from θ = 0; return parameters and derivatives.

    ``centre`` is the mean of the priors, (size,) or 0.

    Raises:
        UsageError: the likelihood has no finite maximum.
    """
    precision = layout.precision
    beta = np.zeros(layout.size)
    if rule.tie_start is not None:
        beta[-1] = rule.tie_start
    slopes = layout.slopes(rule, beta)
    for _ in range(_MAX_ITERATIONS):
        gradient = layout.gradient(slopes) - precision * (beta - centre)
        step = np.linalg.solve(regularized(layout.hessian(slopes), layout), gradient)
        value = slopes.value - precision @ (beta - centre) ** 2 / 2
        for _halving in range(40):
            trial = beta + step
            slopes = layout.slopes(rule, trial)
            if slopes.value - precision @ (trial - centre) ** 2 / 2 >= value - 1e-12 * abs(value):
                break
            step /= 2
        beta = trial
        gain, length = gradient @ step, np.abs(step).max()
        if length < 1e-10 or (length < 1e-4 and gain < 1e-20 * (1 + abs(value))):
            return beta, slopes
        if np.abs(beta).max() > 100:
            break
    raise UsageError(NO_MAXIMUM)


def regularized(hessian: Floats, layout: Parameters) -> Floats:
    """Add the priors, and what fixes the mean of θ, to a Hessian that is blind to it."""
    m = layout.n_models
    out = hessian + np.diag(layout.precision)
    out[:m, :m] += np.trace(hessian[:m, :m]) / m**2
    out[np.diag_indices(len(out))] += 1e-13 * np.trace(out)
    return out
