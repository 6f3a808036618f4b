"""What an experiment has paid for already: battles, replies to whole requests, and single calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from arena.judging.cache import VerdictCache
from arena.judging.judge import Judge
from arena.log.compact import IdSet
from arena.log.lines import battle_lines, verdict_places
from arena.records import Exhibit


class Known:
    """Reads the log of an experiment, without locking it, and a cache of verdicts.

    Args:
        folder: the experiment's; it may be missing.
        cache: replies paid for by any experiment; None where there are none.
    """

    def __init__(self, folder: Path, cache: VerdictCache | None) -> None:
        self.battle_ids = IdSet()  #: of the battles in the log
        self._requests = IdSet()
        self._cache = cache
        for path in sorted(folder.glob("battles*.jsonl")):
            for name, _ in battle_lines(path):
                self.battle_ids.add(name)
        for path in sorted(folder.glob("replies*.jsonl")):
            for _, _, request in verdict_places(path):
                self._requests.add(request)

    def answered(self, judge: Judge, exhibit: Exhibit) -> bool:
        """Whether a battle's whole request has a reply in the log."""
        return bool(len(self._requests)) and judge.request_key(exhibit) in self._requests

    def called(self, key: str) -> bool:
        """Whether a single call has a reply in the cache."""
        return self._cache is not None and self._cache.get(key) is not None


@contextmanager
def open_known(folder: Path, cache: Path) -> Iterator[Known]:
    """What is known of an experiment; a cache that does not exist is not made.

    Raises:
        DataError: a log or the cache is damaged.
    """
    with ExitStack() as stack:
        there = (cache / "verdicts.sqlite").exists()
        yield Known(folder, stack.enter_context(VerdictCache(cache)) if there else None)
