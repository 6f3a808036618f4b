"""What was paid for before: the log of an experiment, and the replies of all experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

from arena.battles.coded_log import judge_kinds
from arena.battles.load import assemble
from arena.battles.own_log import read_own_log
from arena.judging.reply_cache import VerdictCache
from arena.records import Reply
from arena.store.battle_log import ReplyIndex
from arena.store.folder import Folder
from arena.store.id_index import IdSet


class PaidReplies:
    """What the log of an experiment and a cache of verdicts hold; read without locking the log.

    Args:
        folder: the experiment's; it may be missing.
        cache: replies paid for by any experiment; None if there are none.
    """

    def __init__(self, folder: Path, cache: VerdictCache | None) -> None:
        self.battle_ids = IdSet()  #: of the battles in the log
        self._replies = ReplyIndex()
        self._cache = cache
        read, kinds = map(read_own_log, Folder(folder).all_battles()), judge_kinds(folder)
        tables = [replace(table, kinds=kinds) for table in read if table]
        for battle_id in chain.from_iterable(table.ids for table in tables):
            self.battle_ids.add(battle_id)
        self.battles = assemble(tables, {}, [])[0] if tables else None  #: all in the log
        for path in Folder(folder).all_replies():
            self._replies.load(path)

    @property
    def costs(self) -> Mapping[Path, Mapping[str, float]]:
        """Return file of replies → judge → US dollars."""
        return self._replies.costs

    def reply_for(self, id: str) -> Reply | None:  # noqa: A002, the column's name
        """Return the last reply with a verdict that was paid for a battle, if any."""
        return self._replies.reply_for(id)

    def reply_to(self, request_key: str) -> Reply | None:
        """Return the last reply with a verdict to the same request, if any."""
        return self._replies.reply_to(request_key)

    def called(self, key: str) -> bool:
        """Return whether a single call has a reply in the cache."""
        return self._cache is not None and self._cache.get(key) is not None


@contextmanager
def open_paid_replies(folder: Path, cache: Path) -> Iterator[PaidReplies]:
    """Yield what an experiment has paid for; a cache that does not exist is not made.

    Raises:
        DataError: a log or the cache is damaged.
    """
    with ExitStack() as stack:
        there = (cache / "verdicts.sqlite").exists()
        yield PaidReplies(folder, stack.enter_context(VerdictCache(cache)) if there else None)
