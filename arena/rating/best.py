"""Which model may be the best, asked again and again while battles come in.

Successive elimination (Even-Dar, Mannor and Mansour 2006, *JMLR* 7, 1079-1105): a model that is
surely worse than another one is dropped and plays no more. m − 1 one-sided comparisons share the
level, not m(m−1)/2: to lose the best model, its own bound against some rival has to fail. The
bounds hold at all moments at once (`arena.rating.inference.sequence_width`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.rating.comparisons import Floats
from arena.rating.fit import Fit
from arena.rating.inference import sequence_width

PRIOR: Final = 1.0
"""Precision of the prior of the ratings that a look goes by, in logits⁻².

A model that lost every battle has no finite rating without one, and could never be dropped. From
twenty queries on it shrinks a lead by a few percent, and so drops nobody too early.
"""


def may_be_best(
    fit: Fit, among: NDArray[np.bool_], *, n_at_start: int, level: float = 0.95
) -> NDArray[np.bool_]:
    """Return which of some models no other one of them surely beats, (m,).

    With probability ``level`` the best model is among them at every look, if each look starts
    from what the one before it returned.

    Args:
        fit: the ratings of all models, from all battles so far, with `PRIOR`.
        among: the models that may be the best by the looks so far, (m,).
        n_at_start: how many models there were before the first look, at least 2.
        level: probability that the best model is never dropped.
    """
    bound = _bound(fit, n_at_start=n_at_start, level=level)
    lead = fit.theta[:, None] - fit.theta[None, :]
    beats = (lead > bound) & among[:, None] & among[None, :]
    kept: NDArray[np.bool_] = among & ~beats.any(axis=0)
    return kept


def shortfall(
    fit: Fit, among: NDArray[np.bool_], *, n_at_start: int, level: float = 0.95
) -> tuple[int, float]:
    """Return the leader of some models, and how far below the best it can be at most, in logits.

    0 where it is alone; infinite before the first look. The arguments are those of `may_be_best`.
    """
    leader = int(np.argmax(np.where(among, fit.theta, -np.inf)))
    others = among.copy()
    others[leader] = False
    if not others.any():
        return leader, 0.0
    bound = _bound(fit, n_at_start=n_at_start, level=level)
    most = fit.theta - fit.theta[leader] + bound[:, leader]
    return leader, max(float(most[others].max()), 0.0)


def _bound(fit: Fit, *, n_at_start: int, level: float) -> Floats:
    """Return how much of each rating difference may be chance, at all looks, logits, (m, m)."""
    queries = fit.difference_df + 1
    each = 1 - 2 * (1 - level) / (n_at_start - 1)
    se = fit.difference_se.copy()
    np.fill_diagonal(se, np.inf)
    bound: Floats = sequence_width(queries, level=each) * se
    return bound
