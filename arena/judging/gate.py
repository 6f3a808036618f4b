"""Test each judge before its verdicts count, and before arena pays for many.

A few control matchups have an obvious answer: documents that answer a query against documents that
answer another one, in both orders. A judge that prefers the first list, or cannot tell the two
apart, would rank models by chance. No number of battles would show this in the ratings.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Any, Final

from arena.config import JudgeConfig
from arena.digest import digest
from arena.errors import GateError, UnjudgedError
from arena.judging.judge import Judge
from arena.records import Dataset, Document, JudgeInput, Run, Verdict

LEAST_ACCURACY: Final = 0.8
"""Share of the controls' verdicts that must be right; a coin gets a half or less."""
MOST_FLIPS: Final = 0.5
"""Share of controls whose verdict may flip when their lists are swapped."""
_OF_THE_JUDGE: Final = ("contradiction", "two_verdicts", "unreadable")
"""Reasons that another judge, or another kind of judge, would not have."""


@dataclass(frozen=True, slots=True)
class GateReport:
    """What a judge did with the controls."""

    n_controls: int
    n_calls: int  #: verdicts asked for: each control twice
    n_unread: int  #: of them without a readable verdict, which count as wrong
    accuracy: float | None  #: share of right verdicts; None without controls
    flip_rate: float | None  #: share of controls with opposite winners in the two orders
    first_rate: float | None  #: share of verdicts with a winner that went to the first list
    cost_usd: float
    reasons: Mapping[str, int]  #: reason → verdicts that could not be read
    said: str = ""  #: the words of a failure, if no verdict could be read, all for one reason

    @property
    def passed(self) -> bool:
        """Return whether the judge is good enough; true without controls."""
        accuracy = 1.0 if self.accuracy is None else self.accuracy
        return accuracy >= LEAST_ACCURACY and (self.flip_rate or 0.0) <= MOST_FLIPS

    def lines(self) -> list[str]:
        """Return the figures in plain sentences, or why there are none."""
        if self.said:
            (reason,) = self.reasons
            return [f"no control got a verdict, all {self.n_calls} for one reason: {reason}"]
        if self.accuracy is None:
            need = "two queries with different best documents, by qrels or by most models"
            return [f"the judge was not tested: controls need {need}; add queries"]
        right = f"{self.accuracy:.0%} of {self.n_calls} verdicts were right"
        controls = f"on {self.n_controls} controls with an obvious answer"
        lines = [f"{right} {controls} ({LEAST_ACCURACY:.0%} needed)"]
        if self.flip_rate is not None:
            lines.append(
                f"{self.flip_rate:.0%} flipped when the lists were swapped "
                f"(at most {MOST_FLIPS:.0%} allowed)"
            )
        if self.first_rate is not None:
            lines.append(f"the first list won {self.first_rate:.0%} of those with a winner")
        if self.n_unread:
            reasons = ", ".join(f"{n} {reason}" for reason, n in self.reasons.items())
            lines.append(f"{self.n_unread} could not be read ({reasons})")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return the report for manifest.json."""
        return {**asdict(self), "passed": self.passed}


def control_inputs(  # noqa: PLR0913, the data, and how much of it
    datasets: Mapping[str, Dataset],
    queries: Mapping[str, Sequence[str]],
    runs: Sequence[Run],
    *,
    top_k: int,
    n: int = 8,
    seed: int = 42,
) -> list[JudgeInput]:
    """Return matchups whose first list obviously wins; `run_gate` shows them in both orders.

    The first list holds the query's relevant documents, best first. Where the query has no qrels,
    it holds the top documents that most models agree on. The second list holds another query's,
    none of which any model shows for this one. Both lists are equally long.

    Args:
        datasets: by name.
        queries: dataset → the sampled query_ids.
        runs: what the models retrieved.
        top_k: documents in a list, at most.
        n: controls, at most; data sets take turns.
        seed: draws the queries.

    Returns:
        Fewer than ``n``, or none, where there are not enough queries to set against each other.
    """
    by_dataset = [
        _controls(dataset, queries[name], [run for run in runs if run.dataset == name], top_k, seed)
        for name, dataset in sorted(datasets.items())
        if name in queries
    ]
    turns = chain.from_iterable(zip_longest(*by_dataset))
    return list(islice((control for control in turns if control is not None), n))


async def run_gate(judge: Judge, controls: Sequence[JudgeInput]) -> GateReport:
    """Ask a judge about controls, in both orders.

    Raises:
        FatalApiError: the endpoint will answer no request.
        BudgetSpentError: not even this could be paid for.
    """
    swapped = [replace(c, first=c.second, second=c.first) for c in controls]
    shown = [control for pair in zip(controls, swapped, strict=True) for control in pair]
    # All are waited for, so that nothing is paid for after an error has ended the gate.
    outcomes = await asyncio.gather(*map(judge.judge, shown), return_exceptions=True)
    answers = [_answer(outcome) for outcome in outcomes]
    home, away = answers[::2], answers[1::2]
    winners = [answer.winner for answer in answers if isinstance(answer, Verdict)]
    failures = [answer for answer in answers if isinstance(answer, UnjudgedError)]
    right = [_is(answer, "first") for answer in home] + [_is(answer, "second") for answer in away]
    flips = [
        one.winner == other.winner != "tie"
        for one, other in zip(home, away, strict=True)
        if isinstance(one, Verdict) and isinstance(other, Verdict)
    ]
    decided = [winner == "first" for winner in winners if winner != "tie"]
    return GateReport(
        n_controls=len(controls),
        n_calls=len(answers),
        n_unread=len(failures),
        accuracy=_share(right),
        flip_rate=_share(flips),
        first_rate=_share(decided),
        cost_usd=math.fsum(
            answer.usage.cost_usd if isinstance(answer, Verdict) else answer.cost_usd
            for answer in answers
        ),
        reasons=dict(Counter(failure.reason for failure in failures)),
        said=_said_of_all(failures) if failures and len(failures) == len(answers) else "",
    )


def check_gate(report: GateReport, config: JudgeConfig) -> None:
    """Refuse a judge that failed.

    Raises:
        GateError: with the figures, what to try, and how to go on regardless.
    """
    if report.passed:
        return
    if report.said:
        # Another kind of judge at the same server would do no better.
        (reason,) = report.reasons
        remedy = "`arena check` asks it once more; gate = false or --no-gate goes on regardless"
        raise GateError(config.log_name, f"{reason}: {report.said}", remedy, answered=False)
    tries = ["another model"]
    if config.kind != "pointwise":
        tries.insert(0, 'kind = "pointwise", which small models do better')
    elif config.scale == "graded":
        tries.insert(0, 'scale = "binary"')
    raise GateError(
        config.log_name,
        "; ".join(report.lines()),
        f"try {', or '.join(tries)}; gate = false or --no-gate goes on regardless",
    )


def _answer(outcome: Verdict | BaseException) -> Verdict | UnjudgedError:
    """Return a verdict or why there is none; raise what stops the run."""
    if isinstance(outcome, Verdict | UnjudgedError):
        return outcome
    raise outcome


def _said_of_all(failures: Sequence[UnjudgedError]) -> str:
    """Return the words of one failure, if all have the same reason."""
    alike = len({failure.reason for failure in failures}) == 1
    # A reply that makes no sense says something about the judge, and about no server.
    return failures[0].detail if alike and failures[0].reason not in _OF_THE_JUDGE else ""


def _is(answer: Verdict | UnjudgedError, side: str) -> bool:
    return isinstance(answer, Verdict) and answer.winner == side


def _share(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _controls(
    dataset: Dataset, query_ids: Sequence[str], runs: Sequence[Run], top_k: int, seed: int
) -> Iterator[JudgeInput]:
    """Yield every usable control of a data set, in an order drawn by the seed."""
    drawn = sorted(query_ids, key=lambda name: digest("control", str(seed), dataset.name, name))
    answers = {
        name: found for name in drawn if (found := known_answers(dataset, name, runs, top_k))
    }
    for name, good in answers.items():
        near = set(dataset.qrels.get(name, {})) | set(good)
        for run in runs:
            near.update(scored.doc_id for scored in run.rankings.get(name, ())[:top_k])
        shown = {_shown(dataset.corpus[doc_id]) for doc_id in good}
        for other, bad in answers.items():
            alike = any(_shown(dataset.corpus[doc_id]) in shown for doc_id in bad)
            if other != name and not alike and near.isdisjoint(bad):
                length = min(len(good), len(bad))
                yield JudgeInput(
                    dataset=dataset.name,
                    query=dataset.queries[name],
                    first=tuple(dataset.corpus[doc_id] for doc_id in good[:length]),
                    second=tuple(dataset.corpus[doc_id] for doc_id in bad[:length]),
                )
                break


def known_answers(
    dataset: Dataset, query_id: str, runs: Sequence[Run], top_k: int
) -> tuple[str, ...]:
    """Return the documents that answer a query, best first, as far as anybody knows.

    They are the relevant ones or, without grades, those that most models show.
    """
    grades = dataset.qrels.get(query_id, {})
    known = [doc_id for doc_id, grade in grades.items() if grade > 0 and doc_id in dataset.corpus]
    if known:
        return tuple(sorted(known, key=lambda doc_id: -grades[doc_id])[:top_k])
    places: dict[str, list[int]] = {}
    for run in runs:
        for rank, scored in enumerate(run.rankings.get(query_id, ())[:top_k]):
            places.setdefault(scored.doc_id, []).append(rank)
    agreed = [doc_id for doc_id, ranks in places.items() if len(ranks) > len(runs) / 2]
    return tuple(
        sorted(agreed, key=lambda doc_id: (-len(places[doc_id]), sum(places[doc_id]), doc_id))
    )


def _shown(document: Document) -> tuple[str, str]:
    return document.title, document.text
