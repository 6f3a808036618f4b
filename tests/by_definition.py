"""Intervals from the definitions in docs/method.md, battle by battle: slow, and nobody else's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

ELO = 400 / np.log(10)

Row = tuple[str, str, int, int, float]
"""Data set, query, first and second model, what the first scores."""


@dataclass(frozen=True)
class Figures:
    """Of one comparison of ratings, in logits."""

    plain: float  #: its variance by the sandwich, scores as they are, no correction
    variance: float
    df: float


def figures(rows: Sequence[Row], theta: np.ndarray, contrast: Sequence[float]) -> Figures:
    """What intervals of a comparison are made of, at known ratings and without a first place."""
    m, c = len(theta), np.asarray(contrast, dtype=float)
    sizes: dict[str, int] = defaultdict(int)
    for dataset, *_ in rows:
        sizes[dataset] += 1
    weights = [len(rows) / (len(sizes) * sizes[row[0]]) for row in rows]
    hessian, squares = np.zeros((2, m, m))
    scores: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(m))
    queries_of: Mapping[int, set[tuple[str, str]]] = defaultdict(set)
    for (dataset, query, first, second, score), w in zip(rows, weights, strict=True):
        x = np.zeros(m)
        x[first], x[second] = 1, -1
        p = 1 / (1 + np.exp(theta[second] - theta[first]))
        hessian += w * p * (1 - p) * np.outer(x, x)
        squares += w**2 * p * (1 - p) * np.outer(x, x)
        scores[dataset, query] += w * (score - p) * x
        queries_of[first].add((dataset, query))
        queries_of[second].add((dataset, query))
    to = np.linalg.pinv(hessian) @ c
    held: dict[tuple[str, str], float] = defaultdict(float)
    for (dataset, query, first, second, _), w in zip(rows, weights, strict=True):
        p = 1 / (1 + np.exp(theta[second] - theta[first]))
        held[dataset, query] += w**2 * p * (1 - p) * (to[first] - to[second]) ** 2
    variance, doubt, expected = 0.0, 0.0, 0.0
    for dataset in sizes:
        those = [key for key in scores if key[0] == dataset]
        g = np.array([scores[key] @ to for key in those])
        e = np.array([held[key] for key in those])
        k = max(e.sum() ** 2 / (e**2).sum(), 2)
        variance += k / (k - 1) * ((g - g.mean() * (len(those) > 1)) ** 2).sum()
        expected += e.sum()
        doubt += e.sum() ** 2 / (k - 1)
    root = np.diag([1 / np.sqrt(len(queries_of[model])) for model in range(m)])
    guard = to @ root @ squares @ root @ to
    plain = sum((g @ to) ** 2 for g in scores.values())
    return Figures(plain, variance + guard, expected**2 / doubt)


def metric(name: str, ranking: Sequence[str], grades: Mapping[str, float]) -> float:
    """Return a metric of one query as its authors write it, from ``name@cutoff`` and a threshold.

    ``nDCG`` has linear gains and ``expDCG`` those of Burges et al.; ``rel`` is in the name of the
    others: ``RR>=0.5@10``.
    """
    name, _, cutoff = name.partition("@")
    kind, _, threshold = name.partition(">=")
    n = int(cutoff)
    shown = ranking[:n]
    if kind in ("nDCG", "expDCG"):
        gain = {d: max(g, 0) if kind == "nDCG" else 2 ** max(g, 0) - 1 for d, g in grades.items()}
        best = sorted(gain.values(), reverse=True)[:n]
        found = [gain.get(doc_id, 0) for doc_id in shown]
        return _discounted(found) / _discounted(best)
    relevant = {doc_id for doc_id, grade in grades.items() if grade >= float(threshold or 1)}
    hits = [doc_id in relevant for doc_id in shown]
    n_found = sum(hits)
    precisions = [sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit]
    values = {
        "RR": next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0),
        "P": n_found / n,
        "Success": float(n_found > 0),
        "R": n_found / max(len(relevant), 1),
        "AP": sum(precisions) / max(len(relevant), 1),
    }
    return values[kind]


def _discounted(gains: Sequence[float]) -> float:
    return float(sum(gain / np.log2(rank + 1) for rank, gain in enumerate(gains, 1)))
