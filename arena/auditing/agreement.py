"""Compare verdicts with a second opinion: qrels, ranks, or other judges."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from arena.auditing.audit_input import QRELS, AuditInput
from arena.auditing.estimates import (
    Floats,
    alpha_sums,
    coefficient,
    cohen_kappa,
    kendall_tau,
    krippendorff_alpha,
    relative,
    share,
    spearman_rho,
    sums_by_cluster,
)
from arena.auditing.records import (
    BY_QUERY_ID,
    AuditMetric,
    Estimate,
    Subgroup,
    missing_metric,
    of_hundred,
)
from arena.battles.load import Battles
from arena.rating.leaderboard_records import Leaderboard

Signs = NDArray[np.int8]
"""+1, 0 or −1: one model, a tie, the other."""

Names = tuple[tuple[str, str], tuple[str, str]]
"""Key and title of the accuracy, key and title of kappa."""


def accuracy_and_kappa(  # noqa: PLR0913
    verdicts: Signs,
    truth: Signs,
    query: NDArray[np.int32],
    names: Names,
    right: str,
    *,
    weight: Floats | None = None,
) -> list[AuditMetric]:
    """Measure accuracy where both have a winner, and kappa over winners and ties.

    Args:
        verdicts: of the judge, (n,).
        truth: by the other, of the same battles, (n,).
        query: the cluster of each, (n,).
        names: of the two figures.
        right: which list it is that should have won.
        weight: of each battle, (n,); 1 if absent.
    """
    (accuracy_key, accuracy_title), (kappa_key, kappa_title) = names
    decided = (verdicts != 0) & (truth != 0)
    weights = np.ones(len(verdicts)) if weight is None else weight
    part = relative(weights[decided])
    accuracy = share((verdicts == truth)[decided] * part, query[decided], part)
    if accuracy is None:
        first = missing_metric(accuracy_key, accuracy_title, "no battle has a winner on both sides")
    else:
        meaning = f"{of_hundred(accuracy.value)} decided battles go to {right}; a coin gives 50"
        first = AuditMetric(
            accuracy_key, accuracy_title, "share", accuracy, "decided battles", meaning
        )
    cells = np.zeros((len(verdicts), 9))
    cells[np.arange(len(verdicts)), 3 * (verdicts + 1) + truth + 1] = weights
    kappa = coefficient(sums_by_cluster(cells, query), cohen_kappa, n=len(verdicts))
    if kappa is None:
        because = "all verdicts are the same"
        return [first, missing_metric(kappa_key, kappa_title, because, "coefficient")]
    meaning = "ties count as a verdict; 1: always the same; 0: no more often than by chance"
    return [first, AuditMetric(kappa_key, kappa_title, "coefficient", kappa, "battles", meaning)]


_SAME_NDCG = 1e-9

_QRELS: Names = (
    ("qrels_accuracy", "agrees with the relevance grades"),
    ("qrels_kappa", "agrees with them beyond chance (Cohen's kappa)"),
)

_RANKS: Names = (
    ("rank_tau", "ratings rank as nDCG@10 does (Kendall's tau)"),
    ("rank_rho", "the same by Spearman's rho"),
)

_NO_QRELS = "no relevance grades (qrels) are beside the log"


def qrels_figures(evidence: AuditInput) -> list[AuditMetric]:
    """Compare the winners with the sign of the difference in nDCG of the two lists shown."""
    battles = _not_by_qrels(evidence.judged)
    difference = ndcg_difference(evidence, battles)
    if difference is None:
        return [missing_metric(key, title, _NO_QRELS) for key, title in _QRELS]
    known = np.flatnonzero(~np.isnan(difference))
    if not known.size:
        because = "no battle's query has a relevant document in the qrels"
        return [missing_metric(key, title, because) for key, title in _QRELS]
    difference, battles = difference[known], battles.take(known)
    better, verdicts = np.sign(difference).astype(np.int8), first_won(battles)
    right = "the list with the higher nDCG"
    accuracy, kappa = accuracy_and_kappa(verdicts, better, battles.query, _QRELS, right)
    if battles.present_judges == (QRELS,):
        note = "by construction: this judge is the grades themselves, not an LLM"
        return [replace(accuracy, meaning=note), replace(kappa, meaning=note)]
    return [replace(accuracy, parts=_by_size(verdicts, better, np.abs(difference))), kappa]


def ndcg_difference(evidence: AuditInput, battles: Battles) -> NDArray[np.float64] | None:
    """Take the second list's nDCG from the first's, (n_battles,); NaN if unknown.

    Differences of rounding are 0. None if there are no grades at all.
    """
    ndcg = by_side(evidence, battles, "ndcg")
    if ndcg is None:
        return None
    difference = ndcg[0] - ndcg[1]
    return np.where(np.abs(difference) < _SAME_NDCG, 0.0, difference)


def first_won(battles: Battles) -> Signs:
    """Return +1 if the list shown first won, −1 if the other did, 0 for a tie."""
    return np.array([1, -1, 0], np.int8)[battles.winner]


def rank_figures(evidence: AuditInput, leaderboard: Leaderboard) -> list[AuditMetric]:
    """Return whether ratings rank the models as mean nDCG@10 does."""
    ndcg = _mean_ndcg(evidence)
    rows = [row for row in leaderboard.overall if row.model in ndcg]
    ratings = [row.elo if row.rating is None else row.rating for row in rows]
    values = [ndcg[row.model] for row in rows]
    because = ""
    if not ndcg:
        because = _NO_QRELS
    elif len(rows) < 3:
        because = f"a ranking needs 3 models with an nDCG@10, not {len(rows)}"
    elif len(set(ratings)) < 2 or len(set(values)) < 2:
        because = "all models are equally good"
    if because:
        return [missing_metric(key, title, because, "coefficient") for key, title in _RANKS]
    meanings = (
        "1: the same order of models; 0: unrelated; −1: the opposite order",
        "as tau, but a model that is many ranks off weighs more",
    )
    sides = np.array(ratings), np.array(values)
    correlations = float(kendall_tau(sides[0][None], sides[1][None])[0]), spearman_rho(*sides)
    return [
        AuditMetric(
            *names,
            "coefficient",
            Estimate(correlation, None, None, len(rows), leaderboard.queries),
            "models",
            meaning,
        )
        for names, correlation, meaning in zip(_RANKS, correlations, meanings, strict=True)
    ]


def _by_size(
    verdicts: Signs, truth: Signs, difference: NDArray[np.float64]
) -> tuple[Subgroup, ...]:
    """Measure accuracy where lists differ more than the median, and where they differ less."""
    decided = (verdicts != 0) & (truth != 0)
    if not decided.any():
        return ()
    middle = float(np.median(difference[decided]))
    parts = (
        (f"nDCG differs by more than {middle:.2f}", decided & (difference > middle)),
        ("by less", decided & (difference <= middle)),
    )
    return tuple(
        Subgroup(name, float((verdicts == truth)[rows].mean()), int(rows.sum()))
        for name, rows in parts
        if rows.any()
    )


def _not_by_qrels(battles: Battles) -> Battles:
    """Return the battles of judges other than the relevance grades, if there are any."""
    by_qrels = np.array([judge == QRELS for judge in battles.judges])[battles.judge]
    return battles if by_qrels.all() else battles.take(np.flatnonzero(~by_qrels))


def _mean_ndcg(evidence: AuditInput) -> dict[str, float]:
    """Return model → nDCG@10, the mean over the data sets that have it for some model."""
    datasets = {dataset for dataset, _ in evidence.ndcg_at_10}
    by_model: dict[str, list[float]] = defaultdict(list)
    for (_, model), value in evidence.ndcg_at_10.items():
        by_model[model].append(value)
    # A mean over fewer data sets than others' would compare data sets, not models.
    return {m: sum(v) / len(v) for m, v in by_model.items() if len(v) == len(datasets)}


def by_side(
    evidence: AuditInput, battles: Battles, figure: Literal["ndcg", "words"]
) -> tuple[Floats, Floats] | None:
    """Return a figure of the list shown first and of the other, (n_battles,) each; NaN if unknown.

    None if nothing is known of any list, or battles do not name their queries.
    """
    if not evidence.lists or battles.query_id is None:
        return None
    m = len(battles.models)
    column_of = {query_id: code for code, query_id in enumerate(battles.query_ids)}
    table = np.full((len(battles.datasets) * m, len(column_of)), np.nan)
    for (dataset, model), shown in evidence.lists.items():
        if dataset not in battles.datasets or model not in battles.models:
            continue  # no battle of it yet
        row = battles.datasets.index(dataset) * m + battles.models.index(model)
        for query_id, shown_list in shown.items():
            value = shown_list.ndcg if figure == "ndcg" else shown_list.words
            if value is not None and query_id in column_of:
                table[row, column_of[query_id]] = value
    if np.isnan(table).all():
        return None
    first, second = (
        table[battles.dataset.astype(np.intp) * m + side, battles.query_id]
        for side in (battles.model_a, battles.model_b)
    )
    return first, second


_ALPHA = "panel_alpha", "judges agree beyond chance (Krippendorff's alpha)"
_SHARE = "panel_agreement", "two judges of the panel agree"


def panel_figures(evidence: AuditInput) -> list[AuditMetric]:
    """Measure agreement on the same query and models in the same order, by first verdicts."""
    battles = evidence.judged
    m, n_judges = len(battles.models), np.unique(battles.judge).size
    if n_judges < 2:
        because = "there is one judge"
        return [missing_metric(*_ALPHA, because, "coefficient"), missing_metric(*_SHARE, because)]
    pair = battles.model_a.astype(np.int64) * m + battles.model_b
    _, unit = np.unique(battles.query * np.int64(m * m) + pair, return_inverse=True)
    _, rows = np.unique(unit * len(battles.judges) + battles.judge, return_index=True)
    counts = np.zeros((int(unit.max()) + 1, 3))
    np.add.at(counts, (unit[rows], battles.winner[rows]), 1)
    query = np.zeros(len(counts), np.intp)
    query[unit] = battles.query
    judges = counts.sum(axis=1)
    agreement = share((counts * (counts - 1) / 2).sum(axis=1), query, judges * (judges - 1) / 2)
    if agreement is None:
        because = f"no two judges judged the same battle{BY_QUERY_ID}"
        return [missing_metric(*_ALPHA, because, "coefficient"), missing_metric(*_SHARE, because)]
    return [
        _alpha(counts[judges >= 2], query[judges >= 2]),
        AuditMetric(
            *_SHARE,
            "share",
            agreement,
            "pairs of verdicts",
            f"in {of_hundred(agreement.value)} cases two judges of a battle say the same",
        ),
    ]


def _alpha(counts: np.ndarray, query: np.ndarray) -> AuditMetric:
    sums = sums_by_cluster(alpha_sums(counts), query)
    estimate = coefficient(sums, krippendorff_alpha, n=len(counts))
    if estimate is None:
        return missing_metric(*_ALPHA, "all verdicts are the same", "coefficient")
    meaning = "1: one mind; 0: as if by chance; from 0.8 on good, below 0.67 doubtful"
    return AuditMetric(*_ALPHA, "coefficient", estimate, "battles", meaning)
