"""Write the notes on battles as they were read: what was left out, and what looks odd."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.battles.coded_columns import Mask
from arena.battles.coded_log import CodedLog
from arena.battles.join import Joined
from arena.battles.row_blocks import blocks

_SMALL: Final = 1 << 16
"""Counts of no more codes than this are an array that costs nothing."""


def loading_notes(
    logs: Sequence[CodedLog], aliases: Mapping[str, str], joined: Joined
) -> Iterator[str]:
    """Yield the notes of the logs, and which rows were swapped back, taken on trust, or left out.

    Args:
        logs: all that were read; their battles are not looked at.
        aliases: spelling → model.
        joined: the battles.
    """
    for log in logs:
        yield from log.notes
    if n_swapped := sum(log.n_swapped for log in logs):
        yield f"{n_swapped:,} battles showed model_b first (swapped); arena swapped them back"
    if not all(log.tells_order for log in logs):
        yield "the log does not say whose list was shown first: taken to be model_a's"
    if joined.n_repeated:
        yield f"{joined.n_repeated:,} lines repeat the id of an earlier battle and were not counted"
    if joined.n_same:
        yield f"{joined.n_same:,} battles of a model against itself are left out of the ratings"
    if unused := sorted(set(aliases).difference(*(log.spellings for log in logs))):
        yield f"aliases that occur in no battle: {', '.join(unused)}"


def battle_notes(joined: Joined) -> Iterator[str]:
    """Yield what is odd about the battles, and how they are ordered."""
    alike = defaultdict(list)
    for model in joined.words["model"]:
        alike[re.sub(r"[\W_]+", "", model.casefold()) or model].append(model)
    for names in alike.values():
        if len(names) > 1:
            yield f"spellings of one model? {', '.join(names)}; an alias file joins them"
    has_query = np.array([word != "" for word in joined.words["query_id"]])
    if not has_query.all():
        n_unknown = np.count_nonzero(~has_query[joined.columns["query_id"]])
        yield (
            f"{n_unknown:,} battles have no query_id and count as a query each: "
            "intervals are too narrow if queries were used more than once"
        )
    n_repeats, n_pairings, n_one_order = _repeats(joined, has_query)
    if n_repeats:
        same = "(same query, models and order)"
        yield f"{n_repeats:,} battles repeat an earlier one {same} and count"
    if n_one_order:
        yield (
            f"of {n_pairings:,} pairings of two models on a query, {n_pairings - n_one_order:,} "
            f"were judged in both orders and {n_one_order:,} in one"
        )
    if joined.is_by_id:
        yield "Elo in canonical order of several logs, by battle id"


def _repeats(joined: Joined, has_query: Mask) -> tuple[int, int, int]:
    """Return how many battles repeat one, how many pairings there are, and in one order alone.

    Args:
        joined: any battles.
        has_query: of each query_id, whether it is one; battles without are left out.
    """
    columns, words = joined.columns, joined.words
    m, n_judges = len(words["model"]), len(words["judge"])
    shape = (int(columns["query"].max(initial=0)) + 1, m, m, n_judges)
    by_judge = columns["query"].astype(np.int64)
    for size, name in ((m, "model_a"), (m, "model_b"), (n_judges, "judge")):
        by_judge *= size
        by_judge += columns[name]
    if not has_query.all():
        by_judge = by_judge[has_query[columns["query_id"]]]
    n_battles = len(by_judge)
    if math.prod(shape) <= max(2 * n_battles, _SMALL):
        seen = np.zeros(shape, np.bool_)
        seen.reshape(-1)[by_judge] = True
        n_different = int(np.count_nonzero(seen))
        ordered: Mask = np.any(seen, axis=3)
        n_ordered = int(np.count_nonzero(ordered))
        both = int(np.count_nonzero(ordered & ordered.swapaxes(1, 2))) // 2
        return n_battles - n_different, n_ordered - both, n_ordered - 2 * both
    different = _different(by_judge)
    del by_judge
    n_different = len(different)
    different //= n_judges
    pair = _different(different)
    del different
    n_pairs = len(pair)
    for block in blocks(n_pairs):
        query, first, second = pair[block] // m // m, pair[block] // m % m, pair[block] % m
        pair[block] = (query * m + np.minimum(first, second)) * m + np.maximum(first, second)
    n_pairings = len(_different(pair))
    return n_battles - n_different, n_pairings, 2 * n_pairings - n_pairs


def _different(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the codes that occur, in order; what is given is in order afterwards, too."""
    codes.sort()
    is_new = np.ones(len(codes), np.bool_)
    np.not_equal(codes[1:], codes[:-1], out=is_new[1:])
    return codes if is_new.all() else codes[is_new]
