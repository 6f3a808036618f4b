"""Agreement beyond chance: Cohen's kappa and Krippendorff's alpha for categories.

Ten lines each, for want of a library that fits: krippendorff is under the GPL, which a package
under the Apache licence cannot import; irrCAC pins an old scipy; scikit-learn and statsmodels
would bring a hundred megabytes for one formula. Tests hold these to the values that those
libraries give. Both take sums over queries, so that they can be resampled by query in one pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arena.auditing.estimates import Floats


def cohen_kappa(tables: Floats) -> Floats:
    """κ = (p_o − p_e) / (1 − p_e) of square tables, (draws, c·c) → (draws,).

    p_o is the share on the diagonal, p_e what it would be if the raters' verdicts were
    independent (Cohen 1960, doi:10.1177/001316446002000104). NaN where both raters only ever say
    one and the same word.
    """
    c = round(np.sqrt(tables.shape[1]))
    total = tables.sum(axis=1)
    p = tables.reshape(-1, c, c) / np.where(total > 0, total, np.nan)[:, None, None]
    observed = np.einsum("dii->d", p)
    expected = (p.sum(axis=1) * p.sum(axis=2)).sum(axis=1)
    return _beyond_chance(1 - observed, 1 - expected)


def krippendorff_alpha(sums: Floats) -> Floats:
    """α = 1 − D_o / D_e of nominal verdicts, (draws, 1 + c) of `alpha_sums` → (draws,).

    D_e is the disagreement of two verdicts drawn from all verdicts on all units, without
    replacement (Hayes and Krippendorff 2007, doi:10.1080/19312450709336664). NaN where all
    verdicts are the same word.
    """
    disagreement, counts = sums[:, 0], sums[:, 1:]
    n = counts.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (n**2 - (counts**2).sum(axis=1)) / (n - 1)
    return _beyond_chance(disagreement, expected)


def alpha_sums(counts: NDArray[np.int64] | Floats) -> Floats:
    """Per unit: its disagreeing ordered pairs over (verdicts − 1), then its verdicts by word.

    Args:
        counts: how many raters gave a unit each word, (n_units, c). Units with fewer than two
            verdicts say nothing of agreement and are rows of 0.
    """
    counts = np.asarray(counts, dtype=np.float64)
    m = counts.sum(axis=1, keepdims=True)
    paired = np.where(m >= 2, counts, 0)
    disagreeing = (paired.sum(axis=1) ** 2 - (paired**2).sum(axis=1)) / np.maximum(m[:, 0] - 1, 1)
    return np.column_stack([disagreeing, paired])


def _beyond_chance(observed: Floats, expected: Floats) -> Floats:
    possible = expected > 1e-12
    out: Floats = np.where(possible, 1 - observed / np.where(possible, expected, 1), np.nan)
    return out
