"""Which items people are asked about, in which order, drawn at random with known probabilities.

Each item has a permanent random number u, a hash of the seed and the item. The order is that of
rank = u / size, so larger items come earlier. `arena.store.labels` says how a label's probability
follows from the ranks. A model or a query that is added later changes sizes, and no random number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from arena.digest import digest
from arena.store.labels import Item

_BITS: Final = 53
"""Random bits that a float between 0 and 1 has room for."""

_DIGITS: Final = 9
"""Digits of a size that count, so that rounding errors of a machine make no other draw."""


@dataclass(frozen=True, slots=True)
class DrawnPlace:
    """Where an item is in the order of a draw."""

    item: Item
    size: float  #: above 0
    rank: float  #: its random number over its size
    next_rank: float | None  #: of the next item in the order; None for the last one


@dataclass(frozen=True)
class Draw:
    """All items that may be asked about, in the order in which they are."""

    seed: int
    name: str  #: hash of the seed, the items and their sizes
    order: tuple[DrawnPlace, ...]

    @cached_property
    def position(self) -> Mapping[Item, int]:
        """Return item → its position in the order, from 0."""
        return {place.item: position for position, place in enumerate(self.order)}


def draw_items(sizes: Mapping[Item, float], *, seed: int) -> Draw:
    """Return the order in which items are asked about.

    Args:
        sizes: of each item; an item of size 0 is never asked about.
        seed: of the random numbers.
    """
    rounded = ((item, float(f"{size:.{_DIGITS}g}")) for item, size in sizes.items() if size > 0)
    ranked = sorted((uniform(seed, item) / size, item, size) for item, size in rounded)
    next_ranks = [*(rank for rank, _, _ in ranked[1:]), None]
    order = tuple(
        DrawnPlace(item, size, rank, next_rank)
        for (rank, item, size), next_rank in zip(ranked, next_ranks, strict=True)
    )
    fields = (f"{p.rank!r} {p.size!r} {p.item!r}" for p in order)
    return Draw(seed, digest(str(seed), *fields, size=8).hex(), order)


def uniform(seed: int, item: Item, purpose: str = "draw") -> float:
    """Return an item's random number, above 0 and below 1; another purpose has another number."""
    fields = (item.unit, item.dataset, item.query_id, item.doc_id, *item.models)
    number = int.from_bytes(digest(purpose, str(seed), *fields, size=8), "big")
    return float(((number >> (64 - _BITS)) + 0.5) / 2**_BITS)


def battle_sizes(pairs: Iterable[Item]) -> dict[Item, float]:
    """Return the size of each battle: 1 / (battles of its query), so queries are alike.

    Args:
        pairs: the battles that a judge decided; each once.
    """
    items = list(dict.fromkeys(pairs))
    n_of_query: dict[tuple[str, str], int] = {}
    for item in items:
        query = item.dataset, item.query_id
        n_of_query[query] = n_of_query.get(query, 0) + 1
    return {item: 1 / n_of_query[item.dataset, item.query_id] for item in items}
