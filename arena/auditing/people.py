"""Verdicts against people's labels."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from arena.auditing.agreement import Names, agreement_figures
from arena.auditing.evidence import Evidence
from arena.auditing.grades import first_won
from arena.auditing.order import winner_of_lower
from arena.auditing.records import Figure
from arena.auditing.words import missing
from arena.errors import UsageError
from arena.rating.battles import NO_DATASET, Battles

_Matchup = tuple[tuple[str, str], str, str]
"""(data set, query_id), lower model, upper model."""

_PEOPLE: Names = (
    ("people_accuracy", "agrees with people"),
    ("people_kappa", "agrees with them beyond chance (Cohen's kappa)"),
)


def people_figures(evidence: Evidence) -> list[Figure]:
    """Winners against people's labels of the same query and models, in either order.

    Several labels of one matchup count as what more than half of them say, else as a tie. Verdicts
    and labels are counted by the place at which lists were shown: how models are spelt, and so
    which of two comes first in the alphabet, changes no figure.

    Raises:
        UsageError: no label is about a battle of the log, or it is not clear of which data set.
    """
    if evidence.people is None:
        because = "no labels of people were given (--labels)"
        return [missing(key, title, because) for key, title in _PEOPLE]
    battles, people = evidence.judged, evidence.people
    with_dataset = people.datasets != (NO_DATASET,)
    if not with_dataset:
        _refuse_ambiguous(battles, people)
    labels = _majority(people, with_dataset=with_dataset)
    found = [
        (row, label)
        for row, (matchup, _) in enumerate(_matchups(battles, with_dataset=with_dataset))
        if (label := labels.get(matchup)) is not None
    ]
    if not found:
        raise UsageError(
            f"none of the {len(people):,} labels is about a battle of this log; labels and "
            "battles must name models, queries and data sets alike"
        )
    rows, of_lower = np.array(found, np.intp).T
    matched = battles.take(rows)
    truth = np.where(matched.model_a < matched.model_b, of_lower, -of_lower).astype(np.int8)
    right = "the list that people prefer"
    return agreement_figures(first_won(matched), truth, matched.query, _PEOPLE, right)


def _majority(people: Battles, *, with_dataset: bool) -> dict[_Matchup, int]:
    """+1, 0 or −1 for the lower model: what more than half of the labels say, else 0."""
    votes: dict[_Matchup, Counter[int]] = defaultdict(Counter)
    for matchup, vote in _matchups(people, with_dataset=with_dataset):
        if matchup[0][1]:  # without a query_id it is about no battle
            votes[matchup][vote] += 1
    return {
        matchup: next((sign for sign in (1, -1) if 2 * count[sign] > count.total()), 0)
        for matchup, count in votes.items()
    }


def _matchups(battles: Battles, *, with_dataset: bool) -> list[tuple[_Matchup, int]]:
    """What each battle was about, models by their codes' order, and who won: +1, 0, −1."""
    models = np.array(battles.models, dtype=object)
    lower = models[np.minimum(battles.model_a, battles.model_b)]
    upper = models[np.maximum(battles.model_a, battles.model_b)]
    about = zip(_asked(battles, with_dataset=with_dataset), lower, upper, strict=True)
    return list(zip(about, winner_of_lower(battles).tolist(), strict=True))


def _asked(battles: Battles, *, with_dataset: bool) -> list[tuple[str, str]]:
    """Each battle's (data set, query_id); the data set is empty where labels have none."""
    if battles.query_id is None:
        return [("", "")] * len(battles)
    return [
        (battles.datasets[dataset] if with_dataset else "", battles.query_ids[query_id])
        for dataset, query_id in zip(battles.dataset, battles.query_id, strict=True)
    ]


def _refuse_ambiguous(battles: Battles, people: Battles) -> None:
    """Labels without a data set, about a query_id that two data sets of the log have."""
    labelled = {query_id for _, query_id in _asked(people, with_dataset=False)}
    home: dict[str, str] = {}
    for dataset, query_id in sorted(set(_asked(battles, with_dataset=True))):
        if query_id in labelled and home.setdefault(query_id, dataset) != dataset:
            raise UsageError(
                f"query_id {query_id!r} is in {home[query_id]} and in {dataset}, and the labels "
                "do not say which they mean; add a column dataset"
            )
