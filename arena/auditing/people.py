"""Compare the judge's verdicts on battles with people's, and people's with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arena.auditing.agreement import Names, Signs, accuracy_and_kappa, first_won
from arena.auditing.audit_input import AuditInput
from arena.auditing.estimates import (
    Floats,
    ac1_sums,
    alpha_sums,
    clustered_mean,
    coefficient,
    gwet_ac1,
    krippendorff_alpha,
    relative,
    share,
    sums_by_cluster,
)
from arena.auditing.records import AuditMetric, missing_metric, of_hundred
from arena.battles.coded_columns import MODEL_A, TIE
from arena.battles.coded_log import NO_DATASET
from arena.battles.load import Battles
from arena.errors import UsageError
from arena.rating.people.peoples_labels import datasets_of
from arena.store.labels import Item, Label

_PEOPLE: Names = (
    ("people_accuracy", "agrees with people"),
    ("people_kappa", "agrees with them beyond chance (Cohen's kappa)"),
)
_AC1 = "people_ac1", "agrees with them beyond chance (Gwet's AC1)"
_SAME = "people_agreement", "two people agree on a battle"
_ALPHA = "people_alpha", "people agree beyond chance (Krippendorff's alpha)"
_AMONG_AC1 = "people_among_ac1", "people agree beyond chance (Gwet's AC1)"
_AS_PERSON = "judge_as_person", "agrees with a person more than another person does"


_PLACES: Mapping[float | None, int] = {1.0: 0, 0.5: 1, 0.0: 2}
"""The value of a label → its place in counts of first, tie and second."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """The judged battles that people labelled, n of them; sides are those that the judge saw."""

    battles: Battles
    judge: Signs  #: +1 if the list shown first won, 0 for a tie, −1, (n,)
    majority: Signs  #: what more than half of the people say, else 0, (n,)
    answers: Floats  #: how many people say first, tie and second, (n, 3)
    weight: Floats  #: 1 / probability of being asked, 1 if unknown; mean 1, (n,)

    @property
    def people(self) -> Floats:
        """Return the mean of people's scores of the list shown first, (n,)."""
        score: Floats = self.answers @ [1.0, 0.5, 0.0] / self.answers.sum(axis=1)
        return score


def people_figures(evidence: AuditInput, rows: LabelledRows | None) -> list[AuditMetric]:
    """Return how well winners agree with people's labels of the same query and models.

    Several labels of one matchup count as what more than half of them say, else as a tie. arena
    counts verdicts and labels by the place at which lists were shown. So the spelling of models,
    and which of two comes first in the alphabet, changes no figure.

    Args:
        evidence: what there is.
        rows: from `labelled_rows`.
    """
    if rows is None:
        because = _why_none(evidence)
        return [missing_metric(key, title, because) for key, title in _PEOPLE]
    query, right = rows.battles.query, "the list that people prefer"
    figures = accuracy_and_kappa(
        rows.judge, rows.majority, query, _PEOPLE, right, weight=rows.weight
    )
    pairs = np.eye(3)[1 - rows.judge] + np.eye(3)[1 - rows.majority]
    sums = sums_by_cluster(ac1_sums(pairs, rows.weight), query)
    estimate = coefficient(sums, gwet_ac1, n=len(rows.battles))
    meaning = "as kappa, but it stays high where nearly all verdicts are the same"
    return [*figures, AuditMetric(*_AC1, "coefficient", estimate, "battles", meaning)]


def among_figures(rows: LabelledRows | None) -> list[AuditMetric]:
    """Return how well people agree with each other, and the judge with them, on shared battles."""
    titles = _SAME, _ALPHA, _AMONG_AC1, _AS_PERSON
    counts = np.zeros((0, 3)) if rows is None else rows.answers
    shared = np.flatnonzero(counts.sum(axis=1) >= 2)
    if rows is None or not shared.size:
        because = "no battle was labelled by two people"
        return [missing_metric(*names, because) for names in titles]
    by_people = np.zeros((len(shared), 3))
    by_people[:] = counts[shared]
    said = np.eye(3)[1 - rows.judge[shared]]
    # Both orders of a pair are one item to people.
    weight = relative(rows.weight[shared] / _repeats(rows.battles.take(shared)))
    return shared_figures(by_people, said, rows.battles.query[shared], weight, titles, of="battles")


def shared_figures(  # noqa: PLR0913
    counts: Floats,
    verdicts: Floats,
    query: np.ndarray,
    weight: Floats,
    titles: Sequence[tuple[str, str]],
    *,
    of: str,
) -> list[AuditMetric]:
    """Return the agreement of people on items that several of them labelled, and the judge's.

    Args:
        counts: how many people gave each answer, (n, c).
        verdicts: 1 at the judge's answer, (n, c).
        query: of each item, (n,).
        weight: of each item, mean 1, (n,).
        titles: key and title of agreement, alpha, AC1 and of the judge's agreement less people's.
        of: what the items are.
    """
    same, alpha, ac1, as_person = titles
    raters = counts.sum(axis=1)
    pairs = (counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))
    by_judge = (counts * verdicts).sum(axis=1) / raters
    agreement = share(pairs * weight, query, weight)
    difference = clustered_mean(by_judge - pairs, query, weight)
    if agreement is None or difference is None:
        raise ValueError("there are items, so there are shares")
    alphas = sums_by_cluster(alpha_sums(counts) * weight[:, None], query)
    ac1s = sums_by_cluster(ac1_sums(counts, weight), query)
    n = len(counts)
    meaning = f"{of_hundred(agreement.value)} pairs of people say the same; no judge can do more"
    figures = [AuditMetric(*same, "share", agreement, of, meaning)]
    for names, sums, statistic, reading in (
        (alpha, alphas, krippendorff_alpha, "1: one mind; 0: as if by chance"),
        (ac1, ac1s, gwet_ac1, "as alpha, but it stays high where nearly all answers are the same"),
    ):
        estimate = coefficient(sums, statistic, n=n)
        because = "all answers are the same"
        figures.append(
            missing_metric(*names, because, "coefficient")
            if estimate is None
            else AuditMetric(*names, "coefficient", estimate, of, reading)
        )
    judge, person = np.average([by_judge, pairs], axis=1, weights=weight).tolist()
    meaning = (
        f"of the same {of}, the judge agrees with a person on {of_hundred(judge)}, and another "
        f"person on {of_hundred(person)}; {_as_much(difference.lower, difference.upper)}"
    )
    return [*figures, AuditMetric(*as_person, "difference", difference, of, meaning)]


def _as_much(lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return "one query cannot tell more"
    if upper < 0:
        return "the judge agrees with people less than people with each other"
    if lower > 0:
        return "the judge agrees with people more than people with each other"
    return "no difference shows: the judge agrees with people as people do with each other"


def labelled_rows(evidence: AuditInput) -> LabelledRows | None:
    """Match people's labels with the battles; None if no label is about one.

    Raises:
        UsageError: no label in the given file is about a battle of the log, or its data set is not
            clear.
    """
    battles = evidence.judged
    labels: Sequence[Label] = evidence.labels
    if evidence.people is not None:
        labels = list(_of_file(evidence.people, battles))
    answers: dict[Item, list[Label]] = defaultdict(list)
    for label in labels:
        if label.unit == "battle" and label.value in _PLACES:
            answers[label.item].append(label)
    items = _items(battles) if answers else []
    rows = np.array([row for row, item in enumerate(items) if item in answers], np.intp)
    if not rows.size:
        if evidence.people is not None:
            raise UsageError(
                f"none of the {len(evidence.people):,} labels is about a battle of this log; "
                "labels and battles must name models, queries and data sets alike"
            )
        return None
    matched = battles.take(rows)
    counts, weight = np.zeros((len(rows), 3)), np.ones(len(rows))
    for number, (row, model_a) in enumerate(zip(rows.tolist(), matched.model_a, strict=True)):
        own = answers[items[row]]
        for label in own:
            first = label.model_a == battles.models[model_a]
            counts[number, _PLACES[label.value] if first else 2 - _PLACES[label.value]] += 1
        weight[number] = standing_for(own)
    most = 2 * counts > counts.sum(axis=1, keepdims=True)
    majority = most[:, 0].astype(np.int8) - most[:, 2].astype(np.int8)
    return LabelledRows(matched, first_won(matched), majority, counts, relative(weight))


def standing_for(labels: Sequence[Label]) -> float:
    """Return how many items one that was labelled stands for; 1 if its draw is unknown."""
    known = [label.probability for label in labels if label.probability is not None]
    return 1 / max(known) if known else 1.0


def _why_none(evidence: AuditInput) -> str:
    if not evidence.labels:
        return "no labels of people were given (--labels)"
    if any(label.unit == "battle" for label in evidence.labels):
        return "no label of a battle is about a battle of this log"
    return "people labelled no battles (arena label --unit battle)"


def _repeats(battles: Battles) -> Floats:
    """Return how many of the battles are of the same query and models, (n,)."""
    m = len(battles.models)
    low = np.minimum(battles.model_a, battles.model_b).astype(np.int64)
    high = np.maximum(battles.model_a, battles.model_b)
    _, unit, n = np.unique(
        (battles.query * np.int64(m) + low) * m + high, return_inverse=True, return_counts=True
    )
    return np.asarray(n[unit], dtype=np.float64)


def _items(battles: Battles) -> list[Item]:
    """Return what each battle is about."""
    if battles.query_id is None:
        return []
    models = np.array(battles.models, dtype=object)
    lower = models[np.minimum(battles.model_a, battles.model_b)].tolist()
    upper = models[np.maximum(battles.model_a, battles.model_b)].tolist()
    return [
        Item("battle", battles.datasets[d], battles.query_ids[q], models=(low, high))
        for d, q, low, high in zip(
            battles.dataset.tolist(), battles.query_id.tolist(), lower, upper, strict=True
        )
    ]


def _of_file(people: Battles, battles: Battles) -> Iterator[Label]:
    """Yield a label for each line of a file of verdicts; each line is another person's."""
    if people.query_id is None:
        return
    home = None
    if people.datasets == (NO_DATASET,):
        home = datasets_of(battles, {people.query_ids[code] for code in np.unique(people.query_id)})
    for row in range(len(people)):
        query_id = people.query_ids[people.query_id[row]]
        dataset = people.datasets[people.dataset[row]]
        if home is not None:
            dataset = home.get(query_id, "")
        if not query_id:
            continue  # it is about no battle
        winner = people.winner[row]
        yield Label(
            unit="battle",
            dataset=dataset,
            query_id=query_id,
            who=str(row),
            value=0.5 if winner == TIE else float(winner == MODEL_A),
            model_a=people.models[people.model_a[row]],
            model_b=people.models[people.model_b[row]],
        )
