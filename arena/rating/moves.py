"""How a leaderboard changed since the run before: who joined, and how far the others moved."""

from __future__ import annotations

from arena.rating.leaderboard_records import Leaderboard, Row


def describe_moves(before: Leaderboard, after: Leaderboard) -> list[str]:
    """Lines that say who joined or left, and the largest move of a rating; none if none moved.

    A move is set against the interval that the rating had: within it, nothing new was learnt.
    """
    old = {row.model: row for row in before.overall}
    new = {row.model: row for row in after.overall}
    lines = [
        f"{row.model} joined at rank {row.rank} of {len(new)}{_rated(row)}"
        for row in after.overall
        if row.model not in old
    ]
    lines += [f"{model} is no longer among the models" for model in old if model not in new]
    moved = [
        (abs(row.rating - was.rating), row, was)
        for row in after.overall
        if (was := old.get(row.model)) and row.rating is not None and was.rating is not None
    ]
    if moved and max(move for move, _, _ in moved) >= 0.5:
        move, row, was = max(moved, key=lambda found: found[0])
        lines.append(
            f"ratings moved by {move:.0f} points at most: {row.model}, {_rating(was)} to "
            f"{_rating(row)}{_within(was, row)}"
        )
    elif lines and moved:
        lines.append("no other rating moved")
    return lines


def _rated(row: Row) -> str:
    return "" if row.rating is None else f", rating {row.rating:.0f}"


def _rating(row: Row) -> str:
    return "none" if row.rating is None else f"{row.rating:.0f}"


def _within(was: Row, row: Row) -> str:
    if was.lower is None or was.upper is None or row.rating is None:
        return ""
    inside = was.lower <= row.rating <= was.upper
    return ", inside its interval" if inside else ", outside its interval"
