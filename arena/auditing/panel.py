"""Whether the judges of a panel agree with each other."""

from __future__ import annotations

import numpy as np

from arena.auditing.coefficients import alpha_sums, krippendorff_alpha
from arena.auditing.estimates import coefficient, share, sums_by_cluster
from arena.auditing.evidence import Evidence
from arena.auditing.records import Figure
from arena.auditing.words import BY_QUERY_ID, missing, of_hundred

_ALPHA = "panel_alpha", "judges agree beyond chance (Krippendorff's alpha)"
_SHARE = "panel_agreement", "two judges of the panel agree"


def panel_figures(evidence: Evidence) -> list[Figure]:
    """Agreement on the same query and models in the same order; a judge's first verdict counts."""
    battles = evidence.judged
    m, n_judges = len(battles.models), np.unique(battles.judge).size
    if n_judges < 2:
        because = "there is one judge"
        return [missing(*_ALPHA, because, "coefficient"), missing(*_SHARE, because)]
    pair = battles.model_a.astype(np.int64) * m + battles.model_b
    _, unit = np.unique(battles.query * np.int64(m * m) + pair, return_inverse=True)
    _, rows = np.unique(unit * len(battles.judges) + battles.judge, return_index=True)
    counts = np.zeros((int(unit.max()) + 1, 3))
    np.add.at(counts, (unit[rows], battles.winner[rows]), 1)
    query = np.zeros(len(counts), np.intp)
    query[unit] = battles.query
    judges = counts.sum(axis=1)
    agreement = share((counts * (counts - 1) / 2).sum(axis=1), query, judges * (judges - 1) / 2)
    if agreement is None:
        because = f"no two judges judged the same battle{BY_QUERY_ID}"
        return [missing(*_ALPHA, because, "coefficient"), missing(*_SHARE, because)]
    return [
        _alpha(counts[judges >= 2], query[judges >= 2]),
        Figure(
            *_SHARE,
            "share",
            agreement,
            "pairs of verdicts",
            f"in {of_hundred(agreement.value)} cases two judges of a battle say the same",
        ),
    ]


def _alpha(counts: np.ndarray, query: np.ndarray) -> Figure:
    sums = sums_by_cluster(alpha_sums(counts), query)
    estimate = coefficient(sums, krippendorff_alpha, n=len(counts))
    if estimate is None:
        return missing(*_ALPHA, "all verdicts are the same", "coefficient")
    meaning = "1: one mind; 0: as if by chance; from 0.8 on good, below 0.67 doubtful"
    return Figure(*_ALPHA, "coefficient", estimate, "battles", meaning)
