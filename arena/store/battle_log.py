"""The log of an experiment: append-only JSONL that a crash cannot corrupt.

``replies.jsonl`` is the record of what was paid for, written the moment a verdict arrives;
``battles.jsonl`` follows in plan order; ``failures.jsonl`` holds what could not be judged. Every
record is handed to the system at once, so killing the process loses none. It reaches the disk
within a second, so a power cut loses at most that (group commit: one fsync for up to 256 records).
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Container, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

import orjson

from arena.errors import LogError
from arena.records import Battle, Failure, Reply
from arena.store.folder import Folder
from arena.store.id_index import CompactIndex, IdSet
from arena.store.locked_file import LineFile, locked_log, sync_names
from arena.store.log_lines import ReplyPlace, parse_battles, parse_reply, reply_places, row
from arena.store.shards import WHOLE, Shard
from arena.store.superseded import move_stale_battles

GROUP: Final = 256
"""Records that are brought to the disk together, at most."""

INTERVAL_S: Final = 0.5
"""Longest wait for such a group; the fsync itself must fit into the rest of the second."""

_OFFSET_BITS: Final = 48


class BattleLog:
    """The log of one experiment, open for writing by this process alone; a context manager.

    Args:
        folder: the experiment's; created where it is missing.
        shard: the part of the plan to write; its files are beside those of the other shards.
        planned: ids of the battles of all shards that stay in the log; others are moved to
            superseded.jsonl. All stay where it is absent.
        seen: is called with each battle that is in the folder already, once, in log order.
        replied: is called with the place of each reply that is in the folder already.

    Raises:
        LogError: another process writes this log, or one that has battles to be moved, or the
            folder cannot be written.
        DataError: a log file is damaged; names file and line.
    """

    def __init__(
        self,
        folder: Path,
        *,
        shard: Shard = WHOLE,
        planned: Container[str] | None = None,
        seen: Callable[[Battle], None] | None = None,
        replied: Callable[[ReplyPlace], None] | None = None,
    ) -> None:
        self.battle_ids = IdSet()  #: of all battles in the folder, the other shards' included
        self.n_superseded = 0  #: battles that were moved to superseded.jsonl
        files = Folder(folder)
        log = files.log(shard)
        self._lock = ExitStack()
        self._lock.enter_context(locked_log(log.lock))
        self._files: dict[str, LineFile] = {}
        self._replies = ReplyIndex()
        try:
            if self._load_battles(files, planned, seen):
                # Shards start together: one that waits for another's lock must hold none.
                self._lock.close()
                self.n_superseded = move_stale_battles(folder, planned or ())
                self._lock.enter_context(locked_log(log.lock))
                self._load_battles(files, planned, seen)
            # In the order of flushing: no battle is on the disk before the reply it rests on.
            self._files["replies"] = LineFile(log.replies)
            self._files["battles"] = LineFile(log.battles)
            self._files["failures"] = LineFile(log.failures)
            sync_names(folder)
            for path in files.all_replies():
                self._replies.load(path, replied)
        except BaseException:
            self._release()
            raise
        self._appended = threading.Condition()
        self._flushing = threading.Lock()
        self._unsynced = 0
        self._closed = False
        self._broken: LogError | None = None
        self._syncer = threading.Thread(target=self._sync_regularly, daemon=True)
        self._syncer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def costs(self) -> Mapping[Path, Mapping[str, float]]:
        """Return file of replies → judge → US dollars, with what this process has written."""
        return self._replies.costs

    def reply_for(self, id: str) -> Reply | None:  # noqa: A002, the column's name
        """Return the last reply with a verdict that was paid for a battle, if there is one."""
        return self._replies.reply_for(id)

    def reply_to(self, request_key: str) -> Reply | None:
        """Return the last reply with a verdict to the same request, if any."""
        return self._replies.reply_to(request_key)

    def write_reply(self, reply: Reply) -> None:
        """Record what was paid for.

        Raises:
            LogError: it cannot be written; it is kept, and tried again with the next record.
        """
        offset, path = self._write("replies", reply), self._files["replies"].path
        self._replies.pay(path, reply.judge, reply.usage.cost_usd)
        if reply.winner:
            self._replies.add(path, offset, reply.id, reply.request)

    def write_battle(self, battle: Battle) -> None:
        """Record a judged battle, unless it is in the log already.

        Raises:
            LogError: as `write_reply`.
        """
        if self.battle_ids.add(battle.id):
            self._write("battles", battle)

    def write_failure(self, failure: Failure) -> None:
        """Record a matchup that could not be judged; a later run tries it again.

        Raises:
            LogError: as `write_reply`.
        """
        self._write("failures", failure)

    def flush(self) -> None:
        """Write everything so far to the disk.

        Raises:
            LogError: the disk does not take it.
        """
        with self._flushing:
            with self._appended:
                self._unsynced = 0
                for file in self._files.values():
                    file.write()
            # Without the lock on records, so that callers append while the disk works.
            for file in self._files.values():
                file.sync()

    def close(self) -> None:
        """Flush, and let other processes write the log; closing twice does no harm.

        Raises:
            LogError: the disk did not take everything.
        """
        if self._closed:
            return
        with self._appended:
            self._closed = True
            self._appended.notify_all()
        self._syncer.join()
        try:
            self.flush()
            if self._broken:
                raise self._broken
        finally:
            self._release()

    def _load_battles(
        self,
        files: Folder,
        planned: Container[str] | None,
        seen: Callable[[Battle], None] | None,
    ) -> bool:
        """Take in the planned battles that are not yet known; return whether there are others."""
        has_stale = False
        for path in files.all_battles():
            for battle in parse_battles(path):
                if planned is not None and battle.id not in planned:
                    has_stale = True
                elif self.battle_ids.add(battle.id) and seen:
                    seen(battle)
        return has_stale

    def _write(self, kind: str, record: Battle | Failure | Reply) -> int:
        line = orjson.dumps(row(record), option=orjson.OPT_APPEND_NEWLINE)
        with self._appended:
            if self._broken:
                raise self._broken
            offset = self._files[kind].append(line)
            self._unsynced += 1
            if self._unsynced in (1, GROUP):
                self._appended.notify_all()
        return offset

    def _sync_regularly(self) -> None:
        """Flush a group of records as soon as it is full, or its first one is old enough."""
        while True:
            with self._appended:
                self._appended.wait_for(lambda: self._unsynced or self._closed)
                self._appended.wait_for(lambda: self._unsynced >= GROUP or self._closed, INTERVAL_S)
                if self._closed:
                    return
            try:
                self.flush()
            except LogError as error:
                # The next record is refused: no caller may take this one for safe.
                self._broken = error
                return

    def _release(self) -> None:
        for file in self._files.values():
            file.close()
        self._lock.close()


class ReplyIndex:
    """Where in which file each verdict stands, by battle id and by request; no reply is held."""

    def __init__(self) -> None:
        self.costs: dict[Path, defaultdict[str, float]] = {}
        """File → judge → US dollars of all its replies, those without a verdict included."""
        self._paths: list[Path] = []
        self._places = CompactIndex()

    def load(self, path: Path, replied: Callable[[ReplyPlace], None] | None = None) -> None:
        """Add every reply of a file that has a verdict, and what each reply has cost.

        Raises:
            DataError: a line is no reply, or has no cost; names file and line.
        """
        costs = self.costs.setdefault(path, defaultdict(float))
        for reply in reply_places(path):
            costs[reply.judge] += reply.cost_usd
            if reply.has_verdict:
                self.add(path, reply.offset, reply.id, reply.request)
            if replied:
                replied(reply)

    def pay(self, path: Path, judge: str, usd: float) -> None:
        """Count what one more reply in a file that was loaded has cost."""
        self.costs[path][judge] += usd

    def add(self, path: Path, offset: int, name: str, request: str) -> None:
        """Add a reply that begins at an offset of a file."""
        if path not in self._paths:
            self._paths.append(path)
        place = self._paths.index(path) << _OFFSET_BITS | offset
        self._places.set(f"id {name}", place)
        self._places.set(f"request {request}", place)

    def reply_for(self, id: str) -> Reply | None:  # noqa: A002, the column's name
        """Return the last reply with a verdict that was paid for a battle, if any."""
        reply = self._last(f"id {id}")
        return reply if reply and reply.id == id else None

    def reply_to(self, request_key: str) -> Reply | None:
        """Return the last reply with a verdict to the same request, if any."""
        reply = self._last(f"request {request_key}")
        return reply if reply and reply.request == request_key else None

    def _last(self, key: str) -> Reply | None:
        """Read the last reply that was added under a key, or under one of the same hash."""
        packed = self._places.get(key)
        if packed is None:
            return None
        path = self._paths[packed >> _OFFSET_BITS]
        with path.open("rb") as file:
            file.seek(packed & ((1 << _OFFSET_BITS) - 1))
            return parse_reply(file.readline(), path, None)
