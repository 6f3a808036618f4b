"""Draw a stratified sample of the queries of a log: as many of the head as of the tail.

The queries are cut at the thirds of the traffic: the few that make up the first third of all
searches are the head, the many of the last third the tail. Each part gives equally many queries, if
it has them. Within a part each query is drawn with the same probability. arena stores it, so that
results can be weighted back to the traffic or to the queries (Horvitz and Thompson 1952,
doi:10.1080/01621459.1952.10483446).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Final

from arena.digest import digest
from arena.querying.log_counts import Counted

PARTS: Final = ("head", "torso", "tail")


@dataclass(frozen=True, slots=True)
class Part:
    """One stratum of a log."""

    name: str  #: of `PARTS`
    n_queries: int
    n_searches: int
    n_drawn: int

    @property
    def probability(self) -> float:
        """Return the probability with which a query of it is drawn."""
        return self.n_drawn / self.n_queries


@dataclass(frozen=True, slots=True)
class Drawn:
    """A query of the sample."""

    key: str  #: its normal form
    n_searches: int  #: of it in the log
    part: Part

    def weight(self, n_all: int) -> float:
        """Return the share of all searches of the log that it stands for.

        Over samples the weights add up to 1 on average. A mean over the traffic is the sum of each
        query's value times its weight, divided by the sum of the weights.

        Args:
            n_all: searches in the log.
        """
        return self.n_searches / self.part.probability / n_all


def parts_of(totals: Iterable[Counted], n_drawn: int) -> dict[int, Part]:
    """Return count of searches → the part that queries of this count belong to.

    Queries of one count belong to one part: the one in which the middle of their traffic lies.

    Args:
        totals: all queries, the most frequent first.
        n_drawn: queries that are wanted of all parts together.
    """
    sizes = [
        (n, sum(1 for _ in same)) for n, same in groupby(totals, lambda total: total.n_searches)
    ]
    traffic = sum(n * size for n, size in sizes)
    before = 0
    names: dict[int, str] = {}
    held: dict[str, tuple[int, int]] = {}
    for n, size in sizes:
        names[n] = PARTS[min(2, int(3 * Fraction(2 * before + n * size, 2 * traffic)))]
        before += n * size
        queries, searches = held.get(names[n], (0, 0))
        held[names[n]] = queries + size, searches + n * size
    drawn = split_evenly({name: queries for name, (queries, _) in held.items()}, n_drawn)
    parts = {name: Part(name, *sums, drawn[name]) for name, sums in held.items()}
    return {n: parts[name] for n, name in names.items()}


def split_evenly(sizes: Mapping[str, int], n_drawn: int) -> dict[str, int]:
    """Split a number evenly over parts, none of which gives more than it has.

    A remainder goes to the largest parts. A larger number takes no less of any part.
    """
    left = min(n_drawn, sum(sizes.values()))
    drawn: dict[str, int] = {}
    for name in sorted(sizes, key=lambda name: (sizes[name], name)):
        drawn[name] = min(sizes[name], left // (len(sizes) - len(drawn)))
        left -= drawn[name]
    return drawn


def draw(
    totals: Callable[[], Iterator[Counted]], n_drawn: int, seed: int
) -> tuple[tuple[Drawn, ...], tuple[Part, ...]]:
    """Draw queries by the seed, the most frequent first, and return the parts of the log.

    A query's place in the draw depends on the seed and its words alone, so a log that grows changes
    little of a sample.

    Args:
        totals: gives all queries, the most frequent first, each time that it is called.
        n_drawn: queries that are wanted.
        seed: of the draw.
    """
    part_of = parts_of(totals(), n_drawn)
    parts = {part.name: part for part in part_of.values()}
    lots: dict[str, list[tuple[int, int, str]]] = {name: [] for name in parts}  # heaps of the worst
    for key, n_searches in totals():
        part = part_of[n_searches]
        lot = -int.from_bytes(digest("log", str(seed), key, size=8), "big")
        heap = lots[part.name]
        if len(heap) < part.n_drawn:
            heapq.heappush(heap, (lot, n_searches, key))
        elif heap and lot > heap[0][0]:
            heapq.heapreplace(heap, (lot, n_searches, key))
    drawn = [Drawn(key, n, parts[name]) for name, heap in lots.items() for _, n, key in heap]
    drawn.sort(key=lambda each: (-each.n_searches, each.key))
    return tuple(drawn), tuple(parts[name] for name in PARTS if name in parts)
