"""Student's t on arrays: by series if the degrees of freedom are many, else by scipy."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from arena.rating.comparisons import Floats


def student_cdf(t: Floats, df: Floats) -> Floats:
    """Return P(T ≤ t) of Student's t, of arrays that broadcast together."""
    if (df >= _MANY_DF).all():
        return _expanded_cdf(t, df)
    from scipy.special import stdtr  # noqa: PLC0415 - a fifth of a second to import

    out: Floats = stdtr(df, t)
    return out


def student_quantile(tail: float, df: Floats) -> Floats:
    """Return how far out t leaves ``tail``, between 0 and ½, beyond it; one for each ``df``."""
    if (df >= _MANY_DF).all():
        return _expanded_quantile(tail, df)
    from scipy.special import stdtrit  # noqa: PLC0415 - a fifth of a second to import

    reach: Floats = -stdtrit(df, tail)
    return reach


_MANY_DF: Final = 500
"""From here on the series are as good as scipy, to nine digits, and need no import."""

_FAR: Final = 40.0
"""So far out nothing is left of a t with many degrees of freedom."""


def _expanded_cdf(t: Floats, df: Floats) -> Floats:
    """Return P(T ≤ t) in powers of 1/df (Fisher 1925, Metron 5)."""
    t = np.asarray(np.clip(t, -_FAR, _FAR), np.float64)
    terms = (
        (t**2 + 1) / 4,
        (3 * t**6 - 7 * t**4 - 5 * t**2 - 3) / 96,
        (t**10 - 11 * t**8 + 14 * t**6 + 6 * t**4 - 3 * t**2 - 15) / 384,
    )
    series = sum(term / df ** (power + 1) for power, term in enumerate(terms))
    normal = np.vectorize(NormalDist().cdf, otypes=[float])(t)
    density = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    below: Floats = np.clip(normal - density * t * series, 0.0, 1.0)
    return below


def _expanded_quantile(tail: float, df: Floats) -> Floats:
    """Return the same in powers of 1/df (Abramowitz and Stegun 1964, 26.7.5)."""
    z = -NormalDist().inv_cdf(tail)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    reach: Floats = np.polyval(terms[::-1], 1 / df)
    return reach
