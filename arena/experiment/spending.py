"""What an experiment has cost so far, from its log; and what a run may still spend.

The replies are the record of everything paid for: verdicts, unreadable replies, controls and
grades alike. So a cap holds over all runs of an experiment, however often it was stopped.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from arena.config import UNPRICED, Config
from arena.errors import ConfigError, DataError
from arena.experiment.shards import WHOLE, Shard
from arena.judging.budget import Budget
from arena.log.battle_log import BattleLog, Reply
from arena.records import Usage

_ROUNDING_USD: Final = 1e-9
"""Sums of many small prices may differ by so much, added up in another order."""


def spent_usd(folder: Path, *, shard: Shard = WHOLE) -> Mapping[str, float]:
    """Judge → dollars, by the logs that are charged to a shard; by all of them for the whole.

    Shards that run at the same time, perhaps on machines that see nothing of each other, hold a
    common cap without talking: each may spend an equal part of it. So a shard is charged for its
    own replies, and for its part of what was paid before there were shards.

    A run that was killed has grades in no reply yet, so a judge costs at least what they did.
    """
    replies, grades = _logged(folder, "replies", shard), _logged(folder, "grades", shard)
    judges = replies.keys() | grades.keys()
    return {judge: max(replies.get(judge, 0.0), grades.get(judge, 0.0)) for judge in judges}


def _logged(folder: Path, kind: str, shard: Shard) -> Mapping[str, float]:
    """Judge → dollars, by all files of one kind."""
    total: defaultdict[str, float] = defaultdict(float)
    for path in sorted(folder.glob(f"{kind}*.jsonl")):
        share = _share(path, kind, shard)
        if share:
            for judge, cost_usd in _costs(path):
                total[judge] += cost_usd * share
    return total


@dataclass(frozen=True, slots=True)
class Books:
    """What a run may spend, and what it has spent."""

    whole: Budget  #: of all judges together
    own: Mapping[str, Budget]  #: judge → its part, within the whole
    folder: Path  #: of the log
    shard: Shard
    before: Mapping[str, float]  #: judge → dollars in the log when the run began

    @property
    def paid_usd(self) -> float:
        """By this run."""
        return self.whole.spent_usd - math.fsum(self.before.values())

    def settle(self, log: BattleLog) -> None:
        """Write down what was paid and led to no battle, such as controls.

        Raises:
            LogError: it cannot be written.
        """
        if self.paid_usd <= _ROUNDING_USD:
            return
        logged = _logged(self.folder, "replies", self.shard)
        for judge, budget in self.own.items():
            rest_usd = budget.spent_usd - logged.get(judge, 0.0)
            if rest_usd > _ROUNDING_USD:
                usage = Usage(cost_usd=rest_usd)
                log.write_reply(Reply("", "", "", None, None, usage, _now(), judge))


def open_books(
    config: Config, folder: Path, *, max_usd: float | None = None, shard: Shard = WHOLE
) -> Books:
    """Budgets as `open_budgets` makes them, with what the log holds at the beginning.

    Raises:
        ConfigError: as `open_budgets`.
    """
    whole, own = open_budgets(config, folder, max_usd=max_usd, shard=shard)
    return Books(whole, own, folder, shard, spent_usd(folder, shard=shard))


def open_budgets(
    config: Config, folder: Path, *, max_usd: float | None = None, shard: Shard = WHOLE
) -> tuple[Budget, Mapping[str, Budget]]:
    """What all judges together may spend, and within it each of them by its own ``max_usd``.

    Args:
        config: the experiment's.
        folder: where its log is.
        max_usd: a cap over all judges, from the command line.
        shard: the part of the plan that is played; it may spend its part of each cap.

    Raises:
        ConfigError: there is a cap, and a judge has no prices.
    """
    unpriced = [judge.log_name for judge in config.judges if not judge.priced]
    if max_usd is not None and unpriced:
        raise ConfigError("--max-usd", [f"judge {', '.join(unpriced)} needs {UNPRICED}"])
    spent = spent_usd(folder, shard=shard)
    own = {judge.log_name: judge.max_usd for judge in config.judges}
    capped = [cap for cap in own.values() if cap is not None]
    caps = [math.fsum(capped)] if len(capped) == len(own) else []
    caps += [] if max_usd is None else [max_usd]
    cap_usd = min(caps) / shard.count if caps else None
    whole = Budget(cap_usd, spent_usd=math.fsum(spent.values()))
    return whole, {
        judge: Budget(
            None if cap is None else cap / shard.count,
            spent_usd=spent.get(judge, 0.0),
            within=whole,
        )
        for judge, cap in own.items()
    }


def _share(path: Path, kind: str, shard: Shard) -> float:
    """How much of a log's cost is charged to a shard."""
    if shard.name is None or path.stem == f"{kind}-{shard.name}":
        return 1.0
    same_parts = path.stem.endswith(f"of{shard.count}")
    return 0.0 if same_parts else 1 / shard.count


def _costs(path: Path) -> Iterator[tuple[str, float]]:
    """Judge and dollars of each reply in a log."""
    try:
        lines = path.open("rb")
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    with lines:
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n") and not line.isspace():
                yield _cost(line, path, number)


def _cost(line: bytes, path: Path, number: int) -> tuple[str, float]:
    try:
        row = orjson.loads(line)
        judge, cost = row.get("judge", ""), float(row["cost_usd"])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError, AttributeError):
        judge, cost = "", math.nan
    if not (isinstance(judge, str) and 0 <= cost < math.inf):
        remedy = "mend the line: a cap counts what every reply has cost"
        raise DataError(path, number, "not a reply with its cost", remedy)
    return judge, cost


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
