"""Verdicts against what relevance grades and people say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from arena.auditing.coefficients import cohen_kappa
from arena.auditing.estimates import coefficient, share, sums_by_cluster
from arena.auditing.evidence import QRELS, Evidence
from arena.auditing.lookup import by_side
from arena.auditing.order import winner_of_lower
from arena.auditing.records import Estimate, Figure, Part
from arena.auditing.words import missing, of_hundred
from arena.errors import UsageError
from arena.rating.battles import Battles
from arena.rating.leaderboard import Leaderboard

Signs = NDArray[np.int8]
"""+1, 0 or −1: the first model, a tie, the second."""

_SAME_NDCG = 1e-9
_QRELS = (
    ("qrels_accuracy", "agrees with the relevance grades"),
    ("qrels_kappa", "agrees with them beyond chance (Cohen's kappa)"),
)
_PEOPLE = (
    ("people_accuracy", "agrees with people"),
    ("people_kappa", "agrees with them beyond chance (Cohen's kappa)"),
)


def qrels_figures(evidence: Evidence) -> list[Figure]:
    """Winners against the sign of the difference in nDCG of the two lists shown."""
    battles = _not_by_qrels(evidence.judged)
    ndcg = by_side(evidence, battles, "ndcg")
    if ndcg is None:
        because = "no relevance grades (qrels) are beside the log"
        return [missing(key, title, because) for key, title in _QRELS]
    difference = ndcg[0] - ndcg[1]
    known = np.flatnonzero(~np.isnan(difference))
    if not known.size:
        because = "no battle's query has a relevant document in the qrels"
        return [missing(key, title, because) for key, title in _QRELS]
    difference, battles = difference[known], battles.take(known)
    better = np.where(np.abs(difference) < _SAME_NDCG, 0, np.sign(difference)).astype(np.int8)
    said = _first_won(battles)
    right = "the list with the higher nDCG"
    accuracy, kappa = _agreement(said, better, battles.query, _QRELS, right)
    if {battles.judges[code] for code in np.unique(battles.judge)} == {QRELS}:
        note = "by construction: this judge is the grades themselves, not an LLM"
        return [replace(accuracy, meaning=note), replace(kappa, meaning=note)]
    return [replace(accuracy, parts=_by_size(said, better, np.abs(difference))), kappa]


def people_figures(evidence: Evidence) -> list[Figure]:
    """Winners against people's labels of the same query and models, in either order.

    Several labels of one matchup count as their majority; an even split is a tie.

    Raises:
        UsageError: there are labels, and none is about a battle of the log.
    """
    if evidence.people is None:
        because = "no labels of people were given (--labels)"
        return [missing(key, title, because) for key, title in _PEOPLE]
    battles, people = evidence.judged, evidence.people
    with_dataset = people.datasets != ("all",)
    labels = _majority(people, with_dataset=with_dataset)
    lower = np.minimum(battles.model_a, battles.model_b)
    upper = np.maximum(battles.model_a, battles.model_b)
    rows, said_by_people = [], []
    for row, (asked, low, high) in enumerate(
        zip(_asked(battles, with_dataset=with_dataset), lower, upper, strict=True)
    ):
        label = labels.get((asked, battles.models[low], battles.models[high]))
        if label is not None:
            rows.append(row)
            said_by_people.append(label)
    if not rows:
        raise UsageError(
            f"none of the {len(people):,} labels is about a battle of this log; labels and "
            "battles must name models, queries and data sets alike"
        )
    matched = battles.take(np.array(rows, np.intp))
    said = winner_of_lower(matched)
    truth = np.array(said_by_people, np.int8)
    return _agreement(said, truth, matched.query, _PEOPLE, "the list that people prefer")


def rank_figures(evidence: Evidence, leaderboard: Leaderboard) -> list[Figure]:
    """Whether ratings rank the models as mean nDCG@10 does."""
    from scipy import stats  # noqa: PLC0415

    kinds = (
        ("rank_tau", "ratings rank as nDCG@10 does (Kendall's tau)", stats.kendalltau),
        ("rank_rho", "the same by Spearman's rho", stats.spearmanr),
    )
    ndcg = _mean_ndcg(evidence)
    rows = [row for row in leaderboard.overall if row.model in ndcg]
    ratings = [row.elo if row.rating is None else row.rating for row in rows]
    values = [ndcg[row.model] for row in rows]
    if not ndcg:
        because = "no relevance grades (qrels) are beside the log"
    elif len(rows) < 3:
        because = f"{len(rows)} models have an nDCG@10; a ranking needs 3"
    elif len(set(ratings)) < 2 or len(set(values)) < 2:
        because = "all models are equally good"
    else:
        because = ""
    if because:
        return [missing(key, title, because, "coefficient") for key, title, _ in kinds]
    meaning = "1: the same order of models; 0: unrelated; −1: the opposite order"
    return [
        Figure(
            key,
            title,
            "coefficient",
            Estimate(
                float(correlation(ratings, values).statistic),
                None,
                None,
                len(rows),
                leaderboard.queries,
            ),
            "models",
            meaning,
        )
        for key, title, correlation in kinds
    ]


def _agreement(
    said: Signs,
    truth: Signs,
    query: NDArray[np.int32],
    names: Sequence[tuple[str, str]],
    right: str,
) -> list[Figure]:
    """Accuracy where both have a winner, and kappa over winners and ties."""
    (accuracy_key, accuracy_title), (kappa_key, kappa_title) = names
    decided = (said != 0) & (truth != 0)
    accuracy = share((said == truth)[decided], query[decided])
    if accuracy is None:
        first = missing(accuracy_key, accuracy_title, "no battle has a winner on both sides")
    else:
        meaning = f"{of_hundred(accuracy.value)} decided battles go to {right}; a coin gives 50"
        first = Figure(accuracy_key, accuracy_title, "share", accuracy, "decided battles", meaning)
    cells = np.zeros((len(said), 9))
    cells[np.arange(len(said)), 3 * (said + 1) + truth + 1] = 1
    kappa = coefficient(sums_by_cluster(cells, query), cohen_kappa, n=len(said))
    if kappa is None:
        because = "all verdicts are the same"
        return [first, missing(kappa_key, kappa_title, because, "coefficient")]
    meaning = "ties count as a verdict; 1: always the same; 0: no more often than by chance"
    return [first, Figure(kappa_key, kappa_title, "coefficient", kappa, "battles", meaning)]


def _by_size(said: Signs, truth: Signs, difference: NDArray[np.float64]) -> tuple[Part, ...]:
    """Accuracy where lists differ more than usual, and where they differ less."""
    decided = (said != 0) & (truth != 0)
    if not decided.any():
        return ()
    middle = float(np.median(difference[decided]))
    parts = (
        (f"nDCG differs by more than {middle:.2f}", decided & (difference > middle)),
        ("by less", decided & (difference <= middle)),
    )
    return tuple(
        Part(name, float((said == truth)[rows].mean()), int(rows.sum()))
        for name, rows in parts
        if rows.any()
    )


def _first_won(battles: Battles) -> Signs:
    """+1 where the list shown first won, −1 where the other did, 0 for a tie."""
    return np.array([1, -1, 0], np.int8)[battles.winner]


def _not_by_qrels(battles: Battles) -> Battles:
    """The battles of judges that are no grades, where there are any."""
    by_qrels = np.array([judge == QRELS for judge in battles.judges])[battles.judge]
    return battles if by_qrels.all() else battles.take(np.flatnonzero(~by_qrels))


def _asked(battles: Battles, *, with_dataset: bool) -> list[tuple[str, str]]:
    """Each battle's (data set, query_id); the data set is empty where labels have none."""
    if battles.query_id is None:
        return [("", "")] * len(battles)
    return [
        (battles.datasets[dataset] if with_dataset else "", battles.query_ids[query_id])
        for dataset, query_id in zip(battles.dataset, battles.query_id, strict=True)
    ]


def _majority(
    people: Battles, *, with_dataset: bool
) -> dict[tuple[tuple[str, str], str, str], int]:
    """((data set, query_id), lower model, upper model) → +1, 0 or −1 for the lower model."""
    votes: dict[tuple[tuple[str, str], str, str], int] = defaultdict(int)
    lower = np.minimum(people.model_a, people.model_b)
    upper = np.maximum(people.model_a, people.model_b)
    for asked, low, high, vote in zip(
        _asked(people, with_dataset=with_dataset),
        lower,
        upper,
        winner_of_lower(people),
        strict=True,
    ):
        if asked[1]:
            votes[asked, people.models[low], people.models[high]] += int(vote)
    return {key: int(np.sign(total)) for key, total in votes.items()}


def _mean_ndcg(evidence: Evidence) -> dict[str, float]:
    """Model → nDCG@10, the mean over the data sets that have it for some model."""
    datasets = {dataset for dataset, _ in evidence.ndcg_at_10}
    found: dict[str, list[float]] = defaultdict(list)
    for (_, model), value in evidence.ndcg_at_10.items():
        found[model].append(value)
    # A mean over fewer data sets than others' would compare data sets, not models.
    return {m: sum(v) / len(v) for m, v in found.items() if len(v) == len(datasets)}
