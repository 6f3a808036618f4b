"""What a reader of a leaderboard should know before believing it, one line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from arena.rating.battles import Battles
from arena.rating.leaderboard_records import RatingSettings, Row
from arena.rating.votes import known_probs

ENOUGH_QUERIES = 20
"""Below it a clustered variance is itself so uncertain that intervals are approximate."""


def evidence_notes(battles: Battles, settings: RatingSettings) -> Iterator[str]:
    """Where queries are too few for what is claimed, and what a tie was taken for."""
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


def thin_notes(rows: Sequence[Row], battles: Battles) -> Iterator[str]:
    """Where ratings rest on fewer queries than the log holds: small data sets, late models."""
    effective = {row.model: row.effective_queries for row in rows}
    known = {model: n for model, n in effective.items() if n is not None}
    total = battles.n_queries
    if not known or total < ENOUGH_QUERIES:
        return
    typical = median(known.values())
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
    thin = {m: n for m, n in known.items() if n < min(ENOUGH_QUERIES, typical / 2)}
    if thin:
        yield f"thin: played on few queries, so that intervals are wide: {_listed(thin)}"


def _queries_by_dataset(battles: Battles) -> dict[str, int]:
    # Each query belongs to one data set, so one pass finds how many each has.
    dataset_of = np.full(int(battles.query.max()) + 1, -1, np.int64)
    dataset_of[battles.query] = battles.dataset
    codes, n_queries = np.unique(dataset_of[dataset_of >= 0], return_counts=True)
    return {battles.datasets[c]: int(n) for c, n in zip(codes, n_queries, strict=True)}


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({number:.0f})" for name, number in numbers.items())


def soft_note(battles: Battles) -> str:
    """In how many battles probabilities are rated."""
    soft = int(np.count_nonzero(known_probs(battles)))
    return (
        f"ratings use the judge's probabilities in {soft:,} of {len(battles):,} battles "
        "(--no-soft for verdicts alone); W/L/T and Elo count verdicts"
    )


def coverage_notes(tables: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Where the overall means of some models are over other data sets than those of others."""
    yield from _coverage("Elo", {name: {r.model for r in rows} for name, rows in tables.items()})
    metrics = {n: {r.model for r in rows if r.metrics} for n, rows in tables.items()}
    yield from _coverage("nDCG and recall", metrics)
    latency = {n: {r.model for r in rows if r.latency} for n, rows in tables.items()}
    yield from _coverage("latency", latency)


def _coverage(what: str, models_by_dataset: Mapping[str, set[str]]) -> Iterator[str]:
    having = {name: models for name, models in models_by_dataset.items() if models}
    everyone = set().union(*models_by_dataset.values())
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for model in sorted(everyone):
        missing = tuple(name for name, models in having.items() if model not in models)
        if missing:
            lacking[missing].append(model)
    if lacking:
        without = "; ".join(f"{', '.join(m)} not on {', '.join(d)}" for d, m in lacking.items())
        yield f"overall {what} averages different data sets for different models: {without}"
    if having and len(having) < len(models_by_dataset):
        yield f"overall {what}: only {', '.join(having)} of {len(models_by_dataset)} data sets"
