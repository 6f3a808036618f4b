"""What a reader of ratings should know of the battles behind them, one line each."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from arena.rating.battle_columns import Mask, read_swapped
from arena.rating.battle_table import BattleTable

if TYPE_CHECKING:
    from arena.rating.battles import Battles


def loading_notes(
    tables: Sequence[BattleTable], aliases: Mapping[str, str], repeated: Mask, same: Mask
) -> Iterator[str]:
    """Which rows were turned round, taken on trust, or left out."""
    turned = sum(int(read_swapped(table).sum()) for table in tables)
    if turned:
        yield f"{turned:,} battles showed model_b first (swapped) and were turned round"
    if any(not t.ids and {"order_swapped", "swapped"}.isdisjoint(t.columns) for t in tables):
        yield "the log does not say whose list was shown first: taken to be model_a's"
    if repeated.any():
        yield f"{repeated.sum():,} lines repeat the id of an earlier battle and were not counted"
    if same.any():
        yield f"{same.sum():,} battles of a model against itself are left out of the ratings"
    spellings = {
        value.strip()
        for table in tables
        for side in ("model_a", "model_b")
        for value in table.columns[side].distinct
        if isinstance(value, str)
    }
    unused = sorted(set(aliases) - spellings)
    if unused:
        yield f"aliases that occur in no battle: {', '.join(unused)}"


def battle_notes(battles: Battles, known: Mask) -> Iterator[str]:
    """What is odd about the battles; ``known`` is where their query_id is."""
    alike = defaultdict(list)
    for model in battles.models:
        alike[re.sub(r"[\W_]+", "", model.casefold()) or model].append(model)
    for names in alike.values():
        if len(names) > 1:
            yield f"spellings of one model? {', '.join(names)}; an alias file joins them"
    if not known.all():
        yield (
            f"{np.count_nonzero(~known):,} battles have no query_id and count as a query each: "
            "intervals are too narrow if queries were used more than once"
        )
    m = len(battles.models)
    first, second = battles.model_a[known].astype(np.int64), battles.model_b[known]
    ordered = (battles.query[known] * np.int64(m) + first) * m + second
    by_judge = ordered * len(battles.judges) + battles.judge[known]
    # Asked for counts, numpy sorts, which is ten times faster than the hashes it takes otherwise.
    by_judge, n_each = np.unique(by_judge, return_counts=True)
    ordered, _ = np.unique(by_judge // len(battles.judges), return_counts=True)
    again = int((n_each - 1).sum())
    if again:
        yield f"{again:,} battles repeat an earlier one (same query, models and order) and count"
    query, first, second = ordered // m // m, ordered // m % m, ordered % m
    low, high = np.minimum(first, second), np.maximum(first, second)
    _, orders = np.unique((query * m + low) * m + high, return_counts=True)
    one = int((orders == 1).sum())
    if one:
        yield (
            f"of {orders.size:,} pairings of two models on a query, {orders.size - one:,} "
            f"were judged in both orders and {one:,} in one"
        )
