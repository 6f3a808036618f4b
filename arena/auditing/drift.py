"""Has the judge changed behind its name? Old battles, judged again, against its own repetitions.

A judge that is asked twice does not always say the same. So the first check asks about a fixed set
of battles twice, and a later one asks once more. Drift is a third answer that agrees less with
these two than they agree with each other, by more than chance explains.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from arena.auditing.estimates import clustered_mean, share
from arena.auditing.records import Estimate
from arena.errors import UsageError
from arena.rating.leaderboard_table import DEFAULT_WIDTH
from arena.records import Battle
from arena.store.folder import Folder
from arena.store.log_lines import read_battles
from arena.terminal import count, plain_console, printable, stdout_console

Codes = NDArray[np.int8]
SIGNIFICANCE: Final = 0.05
"""Probability of a false alarm, over all checks together and all judges."""


@dataclass(frozen=True, slots=True)
class DriftCheck:
    """One judge at one time, against its baseline."""

    number: int  #: 1: the log against the baseline; from 2 on the later checks
    what: str  #: what was compared with the baseline
    judge: str
    battles: int  #: with a verdict each time
    queries: int
    repeats: Estimate  #: share of battles with the same verdict both times at the baseline
    agreement: Estimate  #: share of verdicts that are those of the baseline
    fall: Estimate  #: the first less the second, with its interval paired by query
    p_value: float  #: of so large a fall if nothing had changed
    limit: float  #: the p-value from which on this is drift

    @property
    def is_drift(self) -> bool:
        """Return whether the judge has changed, by more than its own noise explains."""
        return self.p_value <= self.limit


def fall_p_value(first: Codes, second: Codes, new: Codes, query: NDArray[np.intp]) -> float:
    """Return the probability of so large a fall in agreement if all three times were alike.

    If nothing has changed, any of the three times may be called the new one, on each query
    separately. Verdicts on one query may depend on each other. The distribution over all these
    choices is exact (a permutation test, Pitman 1937, doi:10.2307/2984124), so the probability
    holds for any number of queries.

    Args:
        first: verdicts at the baseline, (n,).
        second: the same battles once more, (n,).
        new: the same battles later, (n,).
        query: of each battle, codes from 0, (n,).
    """
    apart = [first != second, first != new, second != new]
    n_queries = int(query.max(initial=-1)) + 1
    between = np.array([np.bincount(query, each, n_queries) for each in apart]).round().astype(int)
    # Twice the fall, summed over a query's battles, if each of the three times were the new one.
    falls = between.sum(axis=0) - 3 * between  # of the time that takes no part in each distance
    observed = int(falls[0].sum())
    reach = int(np.abs(falls).max(axis=0, initial=0).sum())
    chance = np.zeros(2 * reach + 1)
    chance[reach] = 1.0
    for query_falls in falls.T.tolist():
        if any(query_falls):
            chance = np.mean([np.roll(chance, fall) for fall in query_falls], axis=0)
    return float(min(chance[reach + observed :].sum(), 1.0))


def drift(path: Path | str) -> tuple[DriftCheck, ...]:
    """Return every check of an experiment's judges against their baseline, the oldest first.

    Args:
        path: the experiment's folder, after `arena battle --drift`.

    Raises:
        UsageError: there is no baseline yet, or none of these battles was judged each time.
        DataError: a log is damaged; names file and line.
    """
    files = Folder(Path(path))
    folders = files.drift_checks()
    if len(folders) < 2:
        raise UsageError(f"{path}: no baseline of its judges; `arena battle --drift 100` makes it")
    first, second, *later = (_verdicts(Folder(folder).all_battles()) for folder in folders)
    baseline_ids = first.keys() & second.keys()
    times = {"the log": _verdicts(files.all_battles(), baseline_ids)}
    times |= {f"check {number}": each for number, each in enumerate(later, start=2)}
    judges = sorted({battle.judge for battle in first.values()})
    checks = []
    for number, (label, new) in enumerate(times.items(), start=1):
        # Σ 1/(k(k+1)) = 1, so that all checks that will ever be share the level.
        limit = SIGNIFICANCE / (number * (number + 1) * len(judges))
        for judge in judges:
            ids = [
                name
                for name in first
                if name in baseline_ids & new.keys() and first[name].judge == judge
            ]
            if ids:
                logs = (first, second, new)
                checks.append(_check((number, label, judge), ids, logs, limit))
    if not checks:
        raise UsageError(
            f"{path}: no battle of the baseline has these lists and this judge now; remove "
            f"{folders[0].parent} to start again"
        )
    return tuple(checks)


def _verdicts(paths: Iterable[Path], wanted: Iterable[str] | None = None) -> dict[str, Battle]:
    """Return battle id → battle, of those that a judge was asked about."""
    only = None if wanted is None else frozenset(wanted)
    return {
        battle.id: battle
        for path in paths
        for battle in read_battles(path)
        if battle.source != "identical" and (only is None or battle.id in only)
    }


def _check(
    about: tuple[int, str, str],
    ids: Sequence[str],
    logs: tuple[Mapping[str, Battle], Mapping[str, Battle], Mapping[str, Battle]],
    limit: float,
) -> DriftCheck:
    words = ("model_a", "model_b", "tie")
    codes = [np.array([words.index(log[name].winner) for name in ids], np.int8) for log in logs]
    asked = [(logs[0][name].dataset, logs[0][name].query_id) for name in ids]
    place = {query: code for code, query in enumerate(dict.fromkeys(asked))}
    query = np.array([place[each] for each in asked], np.intp)
    return check_verdicts(about, codes, query, limit)


def check_verdicts(
    about: tuple[int, str, str], codes: Sequence[Codes], query: NDArray[np.intp], limit: float
) -> DriftCheck:
    """Return the check of one judge.

    Args:
        about: number, what is compared with the baseline, and the judge's name.
        codes: verdicts the first time, the second time and later, (n,) each.
        query: of each battle, codes from 0, (n,).
        limit: the p-value from which on it is drift.
    """
    first, second, new = codes
    repeated = (first == second).astype(np.float64)
    later = ((first == new).astype(np.float64) + (second == new)) / 2
    repeats, agreement, fall = (
        share(repeated, query),
        share(later, query),
        clustered_mean(repeated - later, query),
    )
    if repeats is None or agreement is None or fall is None:
        raise UsageError("a check of a judge needs battles that were judged each time")
    return DriftCheck(
        *about,
        battles=len(first),
        queries=int(query.max()) + 1,
        repeats=repeats,
        agreement=agreement,
        fall=fall,
        p_value=fall_p_value(first, second, new, query),
        limit=limit,
    )


def to_json(checks: Sequence[DriftCheck]) -> dict[str, Any]:
    """Return the checks as ``arena audit --drift --json`` prints them."""
    latest = [check for check in checks if check.number == checks[-1].number]
    return {
        "drift": any(check.is_drift for check in latest),
        "checks": [{**asdict(check), "drift": check.is_drift} for check in checks],
    }


def print_checks(checks: Sequence[DriftCheck]) -> None:
    """Print to stdout what each check says, the newest last."""
    on = stdout_console()
    console = plain_console(on.width or DEFAULT_WIDTH, colour=on.colour)
    with console.capture() as capture:
        for check in checks:
            for line in sentences(check):
                console.print(printable(line), markup=False, highlight=False)
    sys.stdout.write(capture.get())


def sentences(check: DriftCheck) -> tuple[str, str]:
    """Return the finding of a check, and what it rests on."""
    head = f"{check.judge}, {check.what}"
    if check.is_drift:
        finding = f"{head}: DRIFT: it agrees with its baseline less than with itself"
    else:
        most = (
            "" if check.fall.upper is None else f"; a fall above {check.fall.upper:.0%} is unlikely"
        )
        finding = f"{head}: no drift found{most}"
    return finding, (
        f"  {count(check.battles, 'battle')} on {count(check.queries, 'query', 'queries')}: "
        f"{check.repeats.value:.1%} the same when repeated at once, {check.agreement.value:.1%} "
        f"the same as the baseline; p = {check.p_value:.2g} (drift: {check.limit:.2g} or less)"
    )
