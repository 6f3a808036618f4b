"""Two judges of the same battles: would the second one have said the same?

Ratings are fitted to each judge's verdicts on the battles that both judged, so that they differ by
the judges alone. Both saw the same queries, so every interval of a difference is paired by query.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from arena.auditing.agreement import first_won
from arena.auditing.between_figures import Verdicts, agreement_figures
from arena.auditing.between_ratings import (
    Moved,
    PairCounts,
    model_order_figures,
    moved_models,
    pair_counts,
    rate_both,
)
from arena.auditing.records import AuditMetric, Estimate
from arena.auditing.reliability import ENOUGH_QUERIES
from arena.battles.load import Battles, from_frame, load_aliases, load_battles
from arena.errors import UsageError
from arena.rating.leaderboard import as_rated
from arena.rating.leaderboard_records import RatingSettings
from arena.terminal import count, dollars

if TYPE_CHECKING:
    import pandas as pd

Conclusion = Literal["same", "different", "undecided"]

CONFIRMED: Final = 0.8
"""Share of sure pairs that the second judge must confirm to say the same."""

LEAST_TAU: Final = 0.5
"""Kendall's tau that the two rankings must surely have to say the same."""

SEES_NOTHING: Final = 0.25
"""Share of the first judge's differences below which the second sees next to nothing of them."""


@dataclass(frozen=True, slots=True)
class Between:
    """Two judges on the same battles."""

    judges: tuple[str, str]
    conclusion: Conclusion  #: whether the second judge says the same of the models
    reason: str  #: one sentence
    battles: int  #: that both judged, without identical lists
    queries: int
    figures: tuple[AuditMetric, ...]
    models: tuple[Moved, ...]  #: those that differ most first
    table: tuple[tuple[int, ...], ...]
    """Battles: a row for each verdict of the first judge (first, second, tie), a column for each of
    the second."""
    notes: tuple[str, ...] = ()

    def figure(self, key: str) -> AuditMetric:
        """Return the figure with this key; a KeyError if there is no such figure."""
        return {figure.key: figure for figure in self.figures}[key]


def between(
    first: pd.DataFrame | Path | str,
    second: pd.DataFrame | Path | str,
    *,
    aliases: Mapping[str, str] | Path | str | None = None,
) -> Between:
    """Compare two judges on the battles that both have judged.

    Args:
        first: an experiment's folder, a file of battles, or a DataFrame, as for `audit`.
        second: the same of the judge that may replace the first.
        aliases: other spelling → model, or a TOML file of such lines.

    Raises:
        DataError: a file cannot be read as battles; names file and line.
        UsageError: no battle was judged by both, or one of the logs names no queries.
    """
    names = load_aliases(Path(aliases)) if isinstance(aliases, Path | str) else aliases or {}
    a, b = (
        load_battles([Path(log)], aliases=names)
        if isinstance(log, Path | str)
        else from_frame(log, aliases=names)
        for log in (first, second)
    )
    return build_between(a, b)


def build_between(first: Battles, second: Battles) -> Between:
    """Compare the judges of two logs; raises what `between` raises."""
    settings = RatingSettings()
    logs = as_rated(first, settings), as_rated(second, settings)
    of_first, of_second = _matched(*logs)
    asked_rows = np.flatnonzero(~(_identical(of_first) | _identical(of_second)))
    if not asked_rows.size:
        raise UsageError("no judge was asked about any common battle: all lists are identical")
    both = rate_both(of_first, of_second)
    pairs = pair_counts(of_first.models, *both)
    verdicts, n_queries = (
        _verdicts(of_first.take(asked_rows), of_second.take(asked_rows)),
        of_first.n_queries,
    )
    figures = (
        *model_order_figures(*both, pairs),
        *agreement_figures(verdicts),
    )
    conclusion, reason = _conclusion(pairs, figures, n_queries)
    return Between(
        judges=(_name(first), _name(second)),
        conclusion=conclusion,
        reason=reason,
        battles=len(asked_rows),
        queries=int(np.unique(verdicts.query).size),
        figures=figures,
        models=moved_models(of_first.models, *both),
        table=verdicts.table,
        notes=tuple(_notes(logs, (of_first, of_second))),
    )


def _name(log: Battles) -> str:
    return " + ".join(judge or "(not named)" for judge in log.present_judges)


def _identical(battles: Battles) -> NDArray[np.bool_]:
    nowhere = np.zeros(len(battles), np.bool_)
    return nowhere if battles.identical is None else battles.identical


def _keys(log: Battles) -> Iterator[tuple[str, str, str, str]]:
    """Return data set, query, model_a and model_b of each battle.

    Raises:
        UsageError: the log names no queries.
    """
    if log.query_id is None or not any(log.query_ids):
        raise UsageError("a log without query_id cannot be matched with another; add it")
    return zip(
        map(log.datasets.__getitem__, log.dataset.tolist()),
        map(log.query_ids.__getitem__, log.query_id.tolist()),
        map(log.models.__getitem__, log.model_a.tolist()),
        map(log.models.__getitem__, log.model_b.tolist()),
        strict=True,
    )


def _matched(first: Battles, second: Battles) -> tuple[Battles, Battles]:
    """Return the battles that both logs have, row by row, the second under the first's codes.

    The same are those of one query and two models in one order; a log's first verdict counts.
    """
    codes: dict[tuple[str, str, str, str], int] = {}
    keyed = []
    for log in (first, second):
        numbers = np.array([codes.setdefault(key, len(codes)) for key in _keys(log)], np.intp)
        keyed.append(np.unique(numbers, return_index=True))
    (numbers, rows), (second_numbers, second_rows) = keyed
    _, in_first, in_second = np.intersect1d(
        numbers, second_numbers, assume_unique=True, return_indices=True
    )
    if not in_first.size:
        raise UsageError(
            "the logs have no battle in common: the same data set, query and models, in one order"
        )
    order = np.argsort(rows[in_first])
    matched, rejudged = (
        first.take(rows[in_first][order]),
        second.take(second_rows[in_second][order]),
    )
    models = sorted(
        {matched.models[code] for code in np.unique([matched.model_a, matched.model_b])}
    )
    code_of = np.array([models.index(m) if m in models else -1 for m in matched.models], np.int32)
    matched = replace(
        matched,
        models=tuple(models),
        model_a=code_of[matched.model_a],
        model_b=code_of[matched.model_b],
    )
    return matched, replace(
        matched,
        winner=rejudged.winner,
        probs=rejudged.probs,
        placed=rejudged.placed,
        identical=rejudged.identical,
        cost_usd=rejudged.cost_usd,
    )


def _verdicts(first: Battles, second: Battles) -> Verdicts:
    placed = np.ones(len(first), np.bool_)
    for battles in (first, second):
        placed = placed if battles.placed is None else placed & battles.placed
    return Verdicts(first_won(first), first_won(second), first.query, placed)


def _conclusion(
    pairs: PairCounts, figures: tuple[AuditMetric, ...], n_queries: int
) -> tuple[Conclusion, str]:
    """Return whether the second judge says the same, and why.

    What the first judge is sure of decides: pairs that it does not separate may stand either way.
    """
    slope, tau = (_estimate(figures, key) for key in ("slope", "rank_tau"))
    if n_queries < ENOUGH_QUERIES:
        few = f"only {count(n_queries, 'query', 'queries')} were judged by both"
        return "undecided", f"{few}; judge more"
    if pairs.contradicted:
        better, worse = pairs.contradicted[0]
        n_more = len(pairs.contradicted) - 1
        more = f", and {count(n_more, 'more pair')} likewise" if n_more else ""
        return "different", (
            f"the first judge is sure that {better} is better than {worse}, the second judge is "
            f"sure of the opposite{more}; do not use the second in the first's place"
        )
    if slope is not None and slope.upper is not None and slope.upper < SEES_NOTHING:
        return "different", (
            f"the second judge sees at most {slope.upper:.0%} of the differences that the first "
            "sees between models; do not use it in the first's place"
        )
    if not pairs.separated:
        return "undecided", (
            "the first judge surely separates no two models on these battles, so there is nothing "
            "to confirm; judge more queries"
        )
    sure = count(pairs.separated, "pair")
    confirmed = f"of {sure} of models that the first judge surely separates, the second surely "
    confirmed += f"confirms {pairs.confirmed:,}"
    is_like = tau is not None and tau.lower is not None and tau.lower >= LEAST_TAU
    if is_like and not pairs.other_way and pairs.confirmed >= CONFIRMED * pairs.separated:
        return "same", f"{confirmed} and reverses none; it can be used in the first's place"
    if pairs.other_way:
        confirmed += f", and {count(pairs.other_way, 'sure pair')} may be the other way round"
    return "undecided", f"{confirmed}; judge more queries with both"


def _estimate(figures: tuple[AuditMetric, ...], key: str) -> Estimate | None:
    return next((figure.estimate for figure in figures if figure.key == key), None)


def _notes(logs: tuple[Battles, Battles], both: tuple[Battles, Battles]) -> list[str]:
    notes = []
    n_common = len(both[0])
    for word, log in zip(("first", "second"), logs, strict=True):
        if n_alone := len(log) - n_common:
            notes.append(
                f"{n_alone:,} of {len(log):,} battles of the {word} log are not in the other, or "
                "repeat one, and are left out"
            )
    spent = [log.cost_usd for log in both if log.cost_usd is not None]
    costs = [float(usd[~np.isnan(usd)].mean()) for usd in spent if not np.isnan(usd).all()]
    if len(costs) == len(both) and any(costs):
        first, second = (dollars(1000 * cost) for cost in costs)
        notes.append(f"1,000 battles cost {first} by the first judge, {second} by the second")
    return notes
