"""How figures are put into words."""

from __future__ import annotations

from arena.auditing.records import Figure, Unit

BY_QUERY_ID = " (matched by query_id)"


def of_hundred(share: float) -> str:
    """A share as people read it best: ``24 of 100``; small ones not rounded to none."""
    percent = 100 * share
    if 0 < percent < 1:
        return "fewer than 1 of 100"
    if 99 < percent < 100:
        return "more than 99 of 100"
    return f"{percent:.0f} of 100"


def missing(key: str, title: str, because: str, unit: Unit = "share") -> Figure:
    """The figure that cannot be had, and why."""
    return Figure(key, title, unit, None, "", because)
