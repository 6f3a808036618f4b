"""From battles to what is known of their two lists."""

from __future__ import annotations

from typing import Literal

import numpy as np

from arena.auditing.estimates import Floats
from arena.auditing.evidence import Evidence
from arena.rating.battles import Battles


def by_side(
    evidence: Evidence, battles: Battles, what: Literal["ndcg", "words"]
) -> tuple[Floats, Floats] | None:
    """A figure of the list shown first and of the other, (n_battles,) each; NaN where unknown.

    None where nothing is known of any list, or battles do not name their queries.
    """
    if not evidence.lists or battles.query_id is None:
        return None
    m = len(battles.models)
    place = {query_id: code for code, query_id in enumerate(battles.query_ids)}
    table = np.full((len(battles.datasets) * m, len(place)), np.nan)
    for (dataset, model), shown in evidence.lists.items():
        if model not in battles.models:
            continue
        row = battles.datasets.index(dataset) * m + battles.models.index(model)
        for query_id, one in shown.items():
            value = one.ndcg if what == "ndcg" else one.words
            if value is not None and query_id in place:
                table[row, place[query_id]] = value
    if np.isnan(table).all():
        return None
    first, second = (
        table[battles.dataset * m + side, battles.query_id]
        for side in (battles.model_a, battles.model_b)
    )
    return first, second
