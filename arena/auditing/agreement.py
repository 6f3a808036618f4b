"""Verdicts against a second opinion, whoever holds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arena.auditing.coefficients import cohen_kappa
from arena.auditing.estimates import coefficient, share, sums_by_cluster
from arena.auditing.records import Figure
from arena.auditing.words import missing, of_hundred

Signs = NDArray[np.int8]
"""+1, 0 or −1: one model, a tie, the other."""

Names = tuple[tuple[str, str], tuple[str, str]]
"""Key and title of the accuracy, key and title of kappa."""


def agreement_figures(
    said: Signs,
    truth: Signs,
    query: NDArray[np.int32],
    names: Names,
    right: str,
) -> list[Figure]:
    """Accuracy where both have a winner, and kappa over winners and ties.

    Args:
        said: by the judge, (n,).
        truth: by the other, of the same battles, (n,).
        query: the cluster of each, (n,).
        names: of the two figures.
        right: which list it is that should have won.
    """
    (accuracy_key, accuracy_title), (kappa_key, kappa_title) = names
    decided = (said != 0) & (truth != 0)
    accuracy = share((said == truth)[decided], query[decided])
    if accuracy is None:
        first = missing(accuracy_key, accuracy_title, "no battle has a winner on both sides")
    else:
        meaning = f"{of_hundred(accuracy.value)} decided battles go to {right}; a coin gives 50"
        first = Figure(accuracy_key, accuracy_title, "share", accuracy, "decided battles", meaning)
    cells = np.zeros((len(said), 9))
    cells[np.arange(len(said)), 3 * (said + 1) + truth + 1] = 1
    kappa = coefficient(sums_by_cluster(cells, query), cohen_kappa, n=len(said))
    if kappa is None:
        because = "all verdicts are the same"
        return [first, missing(kappa_key, kappa_title, because, "coefficient")]
    meaning = "ties count as a verdict; 1: always the same; 0: no more often than by chance"
    return [first, Figure(kappa_key, kappa_title, "coefficient", kappa, "battles", meaning)]
