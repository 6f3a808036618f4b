"""Shards: fixed parts of an experiment's plan, for several processes or machines.

Which part a battle belongs to depends on its id alone, so shards share nothing, never meet, and
each resumes by itself. Every shard has a log of its own; `arena rate` reads them together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from arena.errors import UsageError

MOST_SHARDS = 10_000
"""Parts of a plan, at most."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal parts of a plan."""

    number: int = 1  #: from 1
    count: int = 1  #: of all parts; 1 is no sharding

    @property
    def name(self) -> str | None:
        """Return the name of its log files, ``2of8``; None for the whole plan."""
        return f"{self.number}of{self.count}" if self.count > 1 else None

    @property
    def suffix(self) -> str:
        """Return what the names of its log files end in, ``-2of8``; empty for the whole plan."""
        return f"-{self.name}" if self.name else ""

    @property
    def option(self) -> str:
        """Return the option of a command line for it, with a space before; or nothing."""
        return f" --shard {self.number}/{self.count}" if self.count > 1 else ""

    def holds(self, battle_id: str) -> bool:
        """Return whether a battle belongs to this part; by its id, so parts are about equal."""
        return self.count == 1 or int(battle_id[:16], 16) % self.count == self.number - 1


WHOLE = Shard()
"""The whole plan."""


def parse_shard(text: str) -> Shard:
    """Read ``2/8``: the second of eight.

    Raises:
        UsageError: it is not of this form, or there is no such part.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found:
        number, count = int(found[1]), int(found[2])
        if 1 <= number <= count <= MOST_SHARDS:
            return Shard(number, count)
    raise UsageError(f"--shard {text}: expected i/n with 1 ≤ i ≤ n ≤ {MOST_SHARDS:,}, such as 2/8")
