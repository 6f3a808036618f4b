"""Compare two models of an experiment, or of battle logs from any tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from arena.auditing.estimates import share
from arena.auditing.records import Estimate
from arena.battles.load import Battles, load_aliases, load_battles
from arena.comparing.groups import Groups, Query, groups_of_texts, read_groups
from arena.rating.head_to_head import HeadToHead, QueryOutcome, head_to_head
from arena.rating.leaderboard_records import RatingSettings
from arena.rating.metric_differences import MetricDifference, pair_differences
from arena.rating.rate_files import experiment_facts
from arena.store.folder import Folder
from arena.store.manifest import read_manifest
from arena.store.texts import read_shown

LEAST_QUERIES: Final = 5
"""A group of fewer queries tells nothing, and is left out."""


@dataclass(frozen=True, slots=True)
class GroupResult:
    """How B did against A on one kind of query."""

    column: str  #: what queries are grouped by: dataset, length, script, or a column of a file
    group: str
    points: Estimate
    """B's share of the points, a tie counting half; its interval holds for all groups at once."""

    @property
    def verdict(self) -> str:
        """Return "B loses", "B wins" or "" by the interval."""
        lower, upper = self.points.lower, self.points.upper
        if lower is None or upper is None:
            return ""
        return "B loses" if upper < 0.5 else "B wins" if lower > 0.5 else ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models against each other, and where the difference comes from."""

    result: HeadToHead
    groups: tuple[GroupResult, ...]
    texts: Mapping[Query, str]  #: what the queries say, as far as that is known
    metrics: tuple[MetricDifference, ...] = ()
    """B - A by each metric that arena.toml names; the intervals hold for all of them at once."""
    changed: tuple[str, ...] = ()
    """Data sets that are not those of the baseline; then the difference may be theirs."""
    notes: tuple[str, ...] = ()


def compare(  # noqa: PLR0913  all but three are options
    a: str,
    b: str,
    paths: Sequence[Path],
    *,
    aliases: Path | None = None,
    groups: Path | None = None,
    baseline: Path | None = None,
    settings: RatingSettings | None = None,
) -> Comparison:
    """Compare model B with model A.

    Args:
        a: the model that is there.
        b: the model that may replace it.
        paths: experiment folders, or files of battles.
        aliases: a file of other spellings of models.
        groups: a file with a column query_id and columns to group queries by.
        baseline: the folder of an earlier experiment, whose data must be the same.
        settings: of the rating.

    Raises:
        DataError: a file cannot be read; names file and line.
        UsageError: a model is not in the log.
    """
    settings = settings or RatingSettings()
    battles = load_battles(paths, aliases=load_aliases(aliases) if aliases else None)
    result = head_to_head(battles, a, b, settings=settings)
    texts = query_texts(paths, battles)
    query_keys = [(outcome.dataset, outcome.query_id) for outcome in result.outcomes]
    columns: dict[str, Mapping[Query, str]] = {"dataset": {query: query[0] for query in query_keys}}
    columns |= groups_of_texts({query: texts[query] for query in query_keys if query in texts})
    notes: list[str] = []
    if groups is not None:
        read, notes = read_groups(groups, query_keys)
        columns |= read
    return Comparison(
        result,
        compare_groups(result.outcomes, columns, level=settings.level),
        texts,
        metrics=metric_differences(paths, a, b, level=settings.level),
        changed=() if baseline is None else changed_data(baseline, paths),
        notes=(*result.notes, *notes),
    )


def metric_differences(
    paths: Sequence[Path], a: str, b: str, *, level: float
) -> tuple[MetricDifference, ...]:
    """Return B - A by each metric that an experiment's arena.toml names; empty without any.

    Args:
        paths: experiment folders; other files know no metrics.
        a: the model that is there.
        b: the model that may replace it.
        level: of the intervals of all metrics together.

    Raises:
        DataError: a manifest or named_metrics.json cannot be read.
    """
    facts = experiment_facts([path for path in paths if Folder(path).is_experiment])
    values = {key: measured.values for key, measured in facts.measured.items()}
    return pair_differences(values, b, a, level=level)


def compare_groups(
    outcomes: Sequence[QueryOutcome], columns: Groups, *, level: float
) -> tuple[GroupResult, ...]:
    """Return B's share of the points on each kind of query, the worst first within a column.

    A column that puts all queries into one group says nothing and is left out. The level is
    shared out over all groups (Bonferroni), so that looking at many finds nothing by chance.
    """
    groups: list[tuple[str, str, list[QueryOutcome]]] = []
    for column, group_of in columns.items():
        members: dict[str, list[QueryOutcome]] = {}
        for outcome in outcomes:
            group = group_of.get((outcome.dataset, outcome.query_id))
            if group is not None:
                members.setdefault(group, []).append(outcome)
        if len(members) > 1:
            groups += [
                (column, group, held)
                for group, held in members.items()
                if len(held) >= LEAST_QUERIES
            ]
    each = 1 - (1 - level) / max(len(groups), 1)
    results = [
        GroupResult(column, group, estimate)
        for column, group, held in groups
        if (estimate := _share(held, each)) is not None
    ]
    order = list(columns)
    return tuple(sorted(results, key=lambda r: (order.index(r.column), r.points.value, r.group)))


def _share(held: Sequence[QueryOutcome], level: float) -> Estimate | None:
    """Return B's mean points over queries, each of which counts once."""
    points = np.array([outcome.points for outcome in held])
    estimate = share(points, np.arange(len(held)), level=level)
    n_battles = sum(outcome.n_battles for outcome in held)
    return None if estimate is None else replace(estimate, n=n_battles)


def query_texts(paths: Sequence[Path], battles: Battles) -> dict[Query, str]:
    """Return what the queries say, where an experiment's folder holds it."""
    texts: dict[Query, str] = {}
    for folder in paths:
        for dataset in battles.datasets:
            place = Folder(folder).shown(dataset)
            if place.is_file() and (shown := read_shown(place)) is not None:
                texts |= {(dataset, query.query_id): query.text for query in shown.queries}
    return texts


def changed_data(baseline: Path, paths: Sequence[Path]) -> tuple[str, ...]:
    """Return what differs between the data of a baseline and of the experiments now.

    Raises:
        DataError: a folder has no manifest that can be read.
    """
    before = read_manifest(baseline)["datasets"]
    now: dict[str, Mapping[str, object]] = {}
    for folder in paths:
        if Folder(folder).is_experiment:
            now |= read_manifest(folder)["datasets"]
    return tuple(_changes(before, now))


_PARTS: Final = (("corpus", "corpus_hash"), ("queries", "queries_hash"))


def _changes(
    before: Mapping[str, Mapping[str, object]], now: Mapping[str, Mapping[str, object]]
) -> Iterator[str]:
    for dataset in sorted(before.keys() | now.keys()):
        old, new = before.get(dataset), now.get(dataset)
        if old is None or new is None:
            yield f"{dataset}: only the {'baseline' if new is None else 'experiment'} has it"
            continue
        for part, key in _PARTS:
            if old.get(key) != new.get(key):
                yield f"{dataset}: its {part} changed since the baseline"
