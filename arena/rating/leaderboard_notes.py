"""Write the sentences on what a leaderboard rests on, and on what it cannot tell yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from arena.battles.load import Battles
from arena.rating.leaderboard_records import (
    Correction,
    Facts,
    Leaderboard,
    LeaderboardRow,
    MoreQueries,
    PositionAdvantage,
    RatingSettings,
)
from arena.rating.panel_votes import known_probs
from arena.terminal import count, listing, printable

_SHOWN = 3
"""Neighbours that do not separate, at the top of the table, that are spelt out."""

_USELESS = 0.1
"""Weight of the judge below which people's labels alone would do as well."""

_HOPELESS = 100
"""Times the queries so far beyond which two models are better called equal."""


def summary_lines(leaderboard: Leaderboard) -> Iterator[str]:
    """Yield how much was judged, by whom, the first place's advantage, and how much separates."""
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
    if leaderboard.correction is not None:
        yield from correction_lines(leaderboard.correction)
    if any(pair.p_better is not None for pair in leaderboard.pairs):
        separated = sum(pair.separated for pair in leaderboard.pairs)
        yield (
            f"{separated:,} of {count(len(leaderboard.pairs), 'pair')} of models "
            f"{'is' if separated == 1 else 'are'} separated, {100 * leaderboard.settings.level:g}% "
            "sure of all at once"
        )


def correction_lines(correction: Correction) -> Iterator[str]:
    """Yield what people's labels corrected, the judge's error, and the effect of more labels."""
    labels = f"{count(correction.labels, 'label')} of {correction.unit}s"
    who = count(correction.people, "person", "people")
    yield (
        f"by people: ratings corrected by {labels} by {who} on "
        f"{count(correction.queries, 'query', 'queries')}; ranks follow them, and their intervals "
        "cover what the judge is wrong about"
    )
    if correction.elo_per_dcg is not None:
        yield (
            f"grades became ratings at {correction.elo_per_dcg:,.0f} Elo for a difference of 1 in "
            "DCG (0 to 1)"
        )
    if correction.error_sd is not None:
        yield (
            f"the judge is off by {correction.error_sd:.0f} Elo (sd over models; 95% "
            f"{correction.error_lower:.0f} to {correction.error_upper:.0f}); on public data "
            "GPT-4-class graders were off by 0 to 21"
        )
    if correction.method == "shrink":
        yield (
            "shrink assumes that the judge's errors are alike for all models: a judge that favours "
            "some kind of model breaks this, and intervals are then too narrow"
        )
    if correction.method == "battles" and correction.judge_weight < _USELESS:
        yield "the judge's verdicts hardly help: the ratings rest on people's labels"
    if correction.queries < ENOUGH_QUERIES:
        yield (
            f"labels on {count(correction.queries, 'query', 'queries')} only: corrected intervals "
            f"are approximate; label {ENOUGH_QUERIES} queries or more"
        )
    elif correction.one_step:
        yield "too few labels for a full fit: one step from the judge's ratings; label more"
    yield _halving(correction)


def _halving(correction: Correction) -> str:
    if correction.labels_to_halve is None:
        return (
            "more labels cannot halve the corrected intervals: too much of them is from query to "
            "query; judge more queries"
        )
    return (
        f"about {_rounded(correction.labels_to_halve):,} labels in all would halve the corrected "
        "intervals"
    )


def with_half_width(advantage: PositionAdvantage) -> str:
    """Format an advantage with its half-width, such as +16 ±12."""
    half = (advantage.upper - advantage.lower) / 2
    return f"{round(advantage.elo):+d} ±{half:.0f}"


def separation_lines(leaderboard: Leaderboard) -> Iterator[str]:
    """Yield which models may be the best, and about what would separate the first neighbours."""
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
    """Round to two figures: the estimate has no more."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return int(round(number / step) * step)


def describe_changes(before: Leaderboard, after: Leaderboard) -> list[str]:
    """Return lines on who joined or left, and the largest change of a rating; none if none changed.

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


def _rated(row: LeaderboardRow) -> str:
    return "" if row.rating is None else f", rating {row.rating:.0f}"


def _rating(row: LeaderboardRow) -> str:
    return "none" if row.rating is None else f"{row.rating:.0f}"


def _within(was: LeaderboardRow, row: LeaderboardRow) -> str:
    if was.lower is None or was.upper is None or row.rating is None:
        return ""
    inside = was.lower <= row.rating <= was.upper
    return ", inside its interval" if inside else ", outside its interval"


ENOUGH_QUERIES = 20
"""Below it a clustered variance is itself so uncertain that intervals are approximate."""


def evidence_notes(battles: Battles, settings: RatingSettings) -> Iterator[str]:
    """Yield where queries are too few for what is claimed, and what a tie was taken for."""
    counts = _queries_by_dataset(battles)
    total = sum(counts.values())
    few = _listed({name: n for name, n in counts.items() if n < ENOUGH_QUERIES})
    if 2 <= total < ENOUGH_QUERIES:
        yield (
            f"only {total} queries: intervals are approximate, and what separates "
            f"rests on few questions; judge {ENOUGH_QUERIES} or more"
        )
    elif few and len(counts) > 1:
        yield f"fewer than {ENOUGH_QUERIES} queries, intervals there are approximate: {few}"
    if settings.method != "bt":
        yield f"ratings by {settings.method}: a tie is an outcome of its own, not half a win"


def thin_notes(rows: Sequence[LeaderboardRow], battles: Battles) -> Iterator[str]:
    """Yield where ratings rest on fewer queries than the log has: small data sets, late models."""
    effective = {row.model: row.effective_queries for row in rows}
    queries_of = {model: n for model, n in effective.items() if n is not None}
    total = battles.n_queries
    if not queries_of or total < ENOUGH_QUERIES:
        return
    typical = median(queries_of.values())
    if typical < ENOUGH_QUERIES:
        counts = _queries_by_dataset(battles)
        few = _listed({name: n for name, n in counts.items() if n < ENOUGH_QUERIES})
        why = (
            f": data sets weigh the same, and those with few queries decide: {few}"
            if few and len(counts) > 1
            else ""
        )
        yield (
            f"thin: ratings are as sure as {typical:.0f} queries make them, not {total:,}, and "
            f"intervals are as wide{why}"
        )
    thin = {m: n for m, n in queries_of.items() if n < min(ENOUGH_QUERIES, typical / 2)}
    if thin:
        yield f"thin: played on few queries, so that intervals are wide: {_listed(thin)}"


def opinion_notes(facts: Facts, *, people: bool) -> Iterator[str]:
    """Yield, for an LLM that no labels of people check, what its intervals do not cover."""
    if facts.llm_judges and not people:
        yield (
            "intervals are of the judge's opinion, not of people's: on public data, GPT-4-class "
            "graders were off by 0 to 21 Elo (sd over systems), weak or yes/no graders by 33 to "
            "65; `arena label` checks and corrects yours"
        )


def _queries_by_dataset(battles: Battles) -> dict[str, int]:
    # Each query belongs to one data set, so one pass finds how many each has.
    dataset_of = np.full(int(battles.query.max()) + 1, -1, np.int64)
    dataset_of[battles.query] = battles.dataset
    codes, n_queries = np.unique(dataset_of[dataset_of >= 0], return_counts=True)
    return {battles.datasets[c]: int(n) for c, n in zip(codes, n_queries, strict=True)}


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({number:.0f})" for name, number in numbers.items())


def soft_note(battles: Battles) -> str:
    """Return in how many battles probabilities are rated."""
    soft = int(np.count_nonzero(known_probs(battles)))
    return (
        f"ratings use the judge's probabilities in {soft:,} of {len(battles):,} battles "
        "(--no-soft for verdicts alone); W/L/T and Elo count verdicts"
    )


def coverage_notes(tables: Mapping[str, Sequence[LeaderboardRow]]) -> Iterator[str]:
    """Yield where some models' overall means are over other data sets than those of others."""
    yield from _coverage("Elo", {name: {r.model for r in rows} for name, rows in tables.items()})
    metrics = {n: {r.model for r in rows if r.metrics} for n, rows in tables.items()}
    yield from _coverage("nDCG and recall", metrics)
    latency = {n: {r.model for r in rows if r.latency} for n, rows in tables.items()}
    yield from _coverage("latency", latency)


def click_notes(facts: Facts, tables: Mapping[str, Sequence[LeaderboardRow]]) -> Iterator[str]:
    """Yield which data sets have metrics from clicks, and why those are weak."""
    measured = {name for name, rows in tables.items() if any(row.metrics for row in rows)}
    if names := sorted(facts.from_clicks & measured):
        yield (
            f"the metrics of {listing([printable(name) for name in names])} are from clicks: "
            "people click what is shown first, and nobody saw the rest"
        )


def _coverage(value: str, models_by_dataset: Mapping[str, set[str]]) -> Iterator[str]:
    having = {name: models for name, models in models_by_dataset.items() if models}
    everyone = set().union(*models_by_dataset.values())
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for model in sorted(everyone):
        missing = tuple(name for name, models in having.items() if model not in models)
        if missing:
            lacking[missing].append(model)
    if lacking:
        without = "; ".join(f"{', '.join(m)} not on {', '.join(d)}" for d, m in lacking.items())
        yield f"overall {value} averages different data sets for different models: {without}"
    if having and len(having) < len(models_by_dataset):
        yield f"overall {value}: only {', '.join(having)} of {len(models_by_dataset)} data sets"
