"""What a leaderboard rests on and what it cannot tell yet, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from arena.rating.leaderboard_records import Leaderboard, MoreQueries, PositionAdvantage
from arena.rating.terminal import count, listing, printable

_SHOWN = 3
"""Neighbours that do not separate, at the top of the table, that are spelt out."""

_HOPELESS = 100
"""Times the queries so far beyond which two models are better called equal."""


def summary_lines(leaderboard: Leaderboard) -> Iterator[str]:
    """How much was judged, by whom, what the first place is worth, and how much separates."""
    counts = [
        count(leaderboard.battles, "battle"),
        count(leaderboard.ties, "tie"),
        count(leaderboard.failures, "failure"),
        count(leaderboard.queries, "query", "queries"),
        count(len(leaderboard.datasets), "data set"),
    ]
    yield ", ".join(counts)
    names = [printable(judge) or "not named in the log" for judge in leaderboard.judges]
    # The built-in judge compares relevance grades; nobody should take it for a language model.
    labelled = ["qrels, not an LLM" if name == "qrels" else name for name in names]
    yield f"judge{'s' if len(names) > 1 else ''}: {listing(labelled)}"
    advantage = leaderboard.position_advantage
    if advantage is not None:
        yield (
            f"shown first is worth {with_half_width(advantage)} Elo to a list; "
            "ratings are corrected for it"
        )
    if any(pair.p_better is not None for pair in leaderboard.pairs):
        separated = sum(pair.separated for pair in leaderboard.pairs)
        yield (
            f"{separated:,} of {count(len(leaderboard.pairs), 'pair')} of models "
            f"{'is' if separated == 1 else 'are'} separated, {100 * leaderboard.settings.level:g}% "
            "sure of all at once"
        )


def with_half_width(advantage: PositionAdvantage) -> str:
    """Such as +16 ±12."""
    half = (advantage.upper - advantage.lower) / 2
    return f"{round(advantage.elo):+d} ±{half:.0f}"


def separation_lines(leaderboard: Leaderboard) -> Iterator[str]:
    """Who else may be the best, and about what it would take to separate the first neighbours."""
    tied = leaderboard.tied_with_first
    if len(tied) > 1:
        yield f"* ranks include 1: cannot be told from the best yet ({count(len(tied), 'model')})"
    most = _HOPELESS * leaderboard.queries
    within = [more for more in leaderboard.more_queries if more.queries <= most]
    beyond = [more for more in leaderboard.more_queries if more.queries > most]
    for more in within[:_SHOWN]:
        yield _separation(more)
    if len(within) > _SHOWN:
        yield f"{count(len(within) - _SHOWN, 'further pair')} of neighbours: see --json"
    if within:
        yield _share(sum(more.query_share for more in within) / len(within))
    if beyond:
        named = [f"{printable(more.a)} and {printable(more.b)}" for more in beyond[:_SHOWN]]
        others = len(beyond) - len(named)
        yield (
            f"too close to separate with {_HOPELESS} times the queries so far: {', '.join(named)}"
            + (f" and {count(others, 'further pair')}" if others else "")
        )


def _separation(more: MoreQueries) -> str:
    cost = f"${more.cost_usd:,.2f}" if more.cost_usd else count(_rounded(more.battles), "battle")
    queries = count(_rounded(more.queries), "more query", "more queries")
    a, b = printable(more.a), printable(more.b)
    return f"{a} vs {b}: about {queries} ({cost}) would separate them"


def _share(query_share: float) -> str:
    if query_share >= 0.5:
        return (
            f"{query_share:.0%} of what is uncertain between neighbours is from query to query: "
            "more battles on the same queries would not reduce it"
        )
    return (
        f"{1 - query_share:.0%} of what is uncertain between neighbours is from verdict to "
        "verdict: more battles on the same queries would reduce it too"
    )


def _rounded(number: int) -> int:
    """To two figures: the estimate is no better than that."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return int(round(number / step) * step)
