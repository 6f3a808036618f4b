"""What an experiment has cost so far, from its log; and what a run may still spend.

The replies are the record of everything paid for: verdicts, unreadable replies, controls and
grades alike. So a cap holds over all runs of an experiment, however often it was stopped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from arena.config import UNPRICED, Config
from arena.errors import ConfigError, DataError
from arena.experiment.shards import WHOLE, Shard


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be spent, and what has been; US dollars."""

    max_usd: float | None  #: None: as much as it takes
    spent_usd: float

    @property
    def left_usd(self) -> float | None:
        """What may still be spent; None: as much as it takes."""
        return None if self.max_usd is None else max(0.0, self.max_usd - self.spent_usd)


def spent_usd(folder: Path, *, shard: Shard = WHOLE) -> Mapping[str, float]:
    """Judge → dollars, by the logs that are charged to a shard; by all of them for the whole.

    Shards that run at the same time, perhaps on machines that see nothing of each other, hold a
    common cap without talking: each may spend an equal part of it. So a shard is charged for its
    own replies, and for its part of what was paid before there were shards.
    """
    total: defaultdict[str, float] = defaultdict(float)
    for path in sorted(folder.glob("replies*.jsonl")):
        share = _share(path, shard)
        if share:
            for judge, cost_usd in _costs(path):
                total[judge] += cost_usd * share
    return total


def allowances(
    config: Config, folder: Path, *, max_usd: float | None = None, shard: Shard = WHOLE
) -> tuple[Allowance, Mapping[str, Allowance]]:
    """What all judges together may spend, and each judge by its own ``max_usd``.

    Args:
        config: the experiment's.
        folder: where its log is.
        max_usd: a cap over all judges, from the command line.
        shard: the part of the plan that is played; it may spend its part of each cap.

    Raises:
        ConfigError: there is a cap, and a judge has no prices.
    """
    if max_usd is not None:
        unpriced = [judge.log_name for judge in config.judges if not judge.priced]
        if unpriced:
            raise ConfigError("--max-usd", [f"judge {', '.join(unpriced)} needs {UNPRICED}"])
    spent = spent_usd(folder, shard=shard)
    each = {
        judge.log_name: Allowance(_part(judge.max_usd, shard), spent.get(judge.log_name, 0.0))
        for judge in config.judges
    }
    return Allowance(_part(max_usd, shard), sum(spent.values())), each


def _part(max_usd: float | None, shard: Shard) -> float | None:
    return None if max_usd is None else max_usd / shard.count


def _share(replies: Path, shard: Shard) -> float:
    """How much of a log's cost is charged to a shard."""
    if shard.name is None or replies.stem == f"replies-{shard.name}":
        return 1.0
    same_parts = replies.stem.endswith(f"of{shard.count}")
    return 0.0 if same_parts else 1 / shard.count


def _costs(path: Path) -> Iterator[tuple[str, float]]:
    """Judge and dollars of each reply in a log."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n") and not line.isspace():
                try:
                    row = orjson.loads(line)
                    yield row["judge"], row["cost_usd"]
                except (orjson.JSONDecodeError, LookupError, TypeError):
                    remedy = "mend the line: a cap counts what every reply has cost"
                    raise DataError(path, number, "not a reply with its cost", remedy) from None
