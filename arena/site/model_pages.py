"""What each model's own page says beside the overview."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arena.battles.coded_columns import MODEL_A, MODEL_B, TIE
from arena.battles.load import Battles
from arena.site.data_files import Lists
from arena.site.records import LatencyInfo, ModelPage, Opponent, QueryRecord, Site, TableRow

SHOWN: Final = 8
"""Queries that a page names as a model's best, and as its worst."""

STANDARD: Final = ("nDCG@5", "nDCG@10", "R@5", "R@10")
"""Metrics that each page shows, as arena.toml names them."""

Texts = Mapping[tuple[str, str], str]
"""(data set, query_id) → text."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """The queries that a model did best and worst on, the most extreme first."""

    best: Sequence[QueryRecord]  #: won more often than lost
    worst: Sequence[QueryRecord]  #: lost more often than won


def model_pages(
    site: Site,
    rated: Battles | None,
    lists: Lists,
    texts: Texts,
    latency: Mapping[str, Mapping[str, LatencyInfo]],
) -> Iterator[ModelPage]:
    """Return a page for each model, in the order of the overview.

    Args:
        site: the overview.
        rated: the battles as the leaderboard counts them; None if there are none.
        lists: what is known of the lists that were shown.
        texts: of queries, as far as they are known.
        latency: data set → model → what its search took.
    """
    extremes = {} if rated is None else extreme_queries(rated, lists, texts)
    rows = {row["model"]: row for row in site.overall}
    opponents = _opponents(site)
    for number, model in enumerate(site.models):
        extreme = extremes.get(model.name, Extremes([], []))
        by_dataset = {
            dataset: row
            for dataset, table in site.by_dataset.items()
            for row in table
            if row["model"] == model.name
        }
        yield ModelPage(
            model=model,
            row=rows.get(model.name),
            by_dataset=by_dataset,
            named_metrics=_named_metrics(by_dataset.values()),
            latency={
                name: runs[model.name] for name, runs in latency.items() if model.name in runs
            },
            opponents=opponents[number],
            best_queries=extreme.best,
            worst_queries=extreme.worst,
        )


def _named_metrics(rows: Iterable[TableRow]) -> list[str]:
    """Return the metrics of arena.toml that some row has, without those that all have."""
    tables = (row.get("metrics") for row in rows)
    names = dict.fromkeys(n for table in tables if isinstance(table, Mapping) for n in table)
    return [name for name in names if name not in STANDARD]


def extreme_queries(rated: Battles, lists: Lists, texts: Texts) -> dict[str, Extremes]:
    """Return model → the queries with its highest and lowest (wins − losses) / battles.

    Equal shares are told apart by the nDCG of the model's list. Battles without a query_id are
    left out.
    """
    named = _named(rated)
    if named is None:
        return {}
    counts = _counts(named)
    keys = _query_keys(named)
    by_model = {}
    for model, record in zip(named.models, counts, strict=True):
        ndcg = [_ndcg(lists, dataset, model, query_id) for dataset, query_id in keys]
        share = (record[:, 0] - record[:, 1]) / np.maximum(record.sum(axis=1), 1)
        order = np.lexsort(([value or 0.0 for value in ndcg], share))
        won, lost = order[share[order] > 0][::-1], order[share[order] < 0]
        best, worst = (
            [_query(keys[row], texts, record[row].tolist(), ndcg[row]) for row in rows.tolist()]
            for rows in (won[:SHOWN], lost[:SHOWN])
        )
        by_model[model] = Extremes(best, worst)
    return by_model


def _query(
    key: tuple[str, str], texts: Texts, record: Sequence[int], ndcg: float | None
) -> QueryRecord:
    wins, losses, ties = record
    return QueryRecord(*key, texts.get(key), wins, losses, ties, ndcg)


def _ndcg(lists: Lists, dataset: str, model: str, query_id: str) -> float | None:
    shown = lists.get((dataset, model), {}).get(query_id)
    return shown.ndcg if shown else None


def _named(battles: Battles) -> Battles | None:
    """Return the battles whose query is named; None if there are none."""
    if battles.query_id is None:
        return None
    known = np.array([name != "" for name in battles.query_ids])[battles.query_id]
    return battles.take(np.flatnonzero(known)) if known.any() else None


def _counts(battles: Battles) -> NDArray[np.int32]:
    """Return wins, losses and ties of each model on each query, (n_models, n_queries, 3)."""
    _, query = np.unique(battles.query, return_inverse=True)
    n_queries = int(query.max()) + 1
    counts = np.zeros((len(battles.models), n_queries, 3), np.int32)
    for model, won, lost in (
        (battles.model_a, MODEL_A, MODEL_B),
        (battles.model_b, MODEL_B, MODEL_A),
    ):
        for kind, code in enumerate((won, lost, TIE)):
            rows = battles.winner == code
            np.add.at(counts, (model[rows], query[rows], kind), 1)
    return counts


def _query_keys(battles: Battles) -> list[tuple[str, str]]:
    """Return (data set, query_id) of each query code that occurs, in the order of the codes."""
    _, first = np.unique(battles.query, return_index=True)
    ids = battles.query_id
    return [
        (
            battles.datasets[battles.dataset[row]],
            battles.query_ids[ids[row]] if ids is not None else "",
        )
        for row in first.tolist()
    ]


def _opponents(site: Site) -> list[list[Opponent]]:
    """Return the pairs of each model, in the order of the table, from its own side."""
    opponents: list[list[Opponent]] = [[] for _ in site.models]
    for a, b, wins, losses, ties, sure, separated in site.pairs:
        for side, opponent, won, lost, better in (
            (a, b, wins, losses, sure),
            (b, a, losses, wins, None if sure is None else 1 - sure),
        ):
            model = site.models[opponent]
            opponents[side].append(
                Opponent(model.name, model.file, won, lost, ties, better, separated == 1)
            )
    rank = {row["model"]: number for number, row in enumerate(site.overall)}
    return [sorted(pairs, key=lambda pair: rank[pair.name]) for pairs in opponents]
