"""Student's t with any degrees of freedom from 1 on, for whole arrays of them at once.

With φ = arctan(t/√df) the density is proportional to cos^(df−1) φ on [−π/2, π/2], which Gauss's
rule integrates to eight digits; scipy has the same, and takes longer to import than all of
`arena rate` on a small log.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numpy as np
from numpy.polynomial import Chebyshev

from arena.rating.counts import Floats

_MAX_DF: Final = 10_000.0
"""Above this Student's t and the normal differ by less than the figures that are shown."""

_NODES: Final = 48
_FAR: Final = 40.0
"""So far out nothing is left of a t with more than thirty degrees of freedom."""

_FEW: Final = 4.0
_STEPS: Final = 60
_DEGREE: Final = 30


def student_cdf(t: Floats, df: Floats) -> Floats:
    """P(T ≤ t), of arrays that broadcast together."""
    t, df = np.broadcast_arrays(t, np.clip(df, 1.0, _MAX_DF))
    reach = np.where(df > 30, np.minimum(np.abs(t), _FAR), np.abs(t))
    half = _mass(np.arctan(reach / np.sqrt(df)), df)
    out: Floats = np.clip(0.5 + np.sign(t) * half, 0.0, 1.0)
    return out


def student_quantile(tail: float, df: Floats) -> Floats:
    """How far out t leaves ``tail``, between 0 and ½, beyond it; one for each ``df``."""
    # Its logarithm is smooth in 1/df: solved at a few degrees of freedom, it is known at all.
    series = Chebyshev.interpolate(
        lambda inverse: np.log(_solved(tail, 1 / inverse)), _DEGREE, domain=[1 / _MAX_DF, 1.0]
    )
    reach: Floats = np.exp(series(1 / np.clip(df, 1.0, _MAX_DF)))
    return reach


def _solved(tail: float, df: Floats) -> Floats:
    left = np.full_like(df, np.pi / 2)
    # The logarithm of the tail is concave in that of the angle that is left, and nearly linear.
    for _ in range(_STEPS):
        beyond = _beyond(left, df)
        slope = left * np.sin(left) ** (df - 1) / (_whole(df) * beyond)
        step = np.maximum(np.log(tail / beyond), -2.0) / slope  # else a long tail overshoots
        left *= np.exp(step)
        if np.abs(step).max() < 1e-12:
            break
    reach: Floats = np.sqrt(df) / np.tan(left)
    return reach


def _mass(phi: Floats, df: Floats) -> Floats:
    """P(0 ≤ arctan(T/√df) ≤ φ)."""
    nodes, weights = _gauss()
    out = np.zeros_like(phi)
    for node, weight in zip(nodes, weights, strict=True):
        out += weight * np.cos(phi * node) ** (df - 1)
    mass: Floats = phi * out / _whole(df)
    return mass


def _beyond(left: Floats, df: Floats) -> Floats:
    """P(arctan(T/√df) ≥ π/2 − left); good to its own size where the difference from ½ is not."""
    nodes, weights = _gauss()
    few = np.minimum(df, _FEW)
    out = np.zeros_like(left)
    for node, weight in zip(nodes, weights, strict=True):
        # With u = left·v^(1/df) what is integrated over v is smooth, also where df is near 1.
        out += weight * np.sinc(left * node ** (1 / few) / np.pi) ** (few - 1)
    small = left**few * out / (few * _whole(few))
    beyond: Floats = np.where(df <= few, small, 0.5 - _mass(np.pi / 2 - left, df))
    return beyond


def _whole(df: Floats) -> Floats:
    """∫ cos^(df−1) over [−π/2, π/2]."""
    degrees, back = np.unique(df, return_inverse=True)
    log = [math.lgamma(d / 2) - math.lgamma((d + 1) / 2) for d in degrees.tolist()]
    whole: Floats = (math.sqrt(math.pi) * np.exp(log))[back].reshape(df.shape)
    return whole


@cache
def _gauss() -> tuple[list[float], list[float]]:
    """Nodes and weights of Gauss's rule on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
