"""Battles that an experiment's present configuration would not play."""

from __future__ import annotations

from collections.abc import Container
from contextlib import closing
from pathlib import Path

from arena.files import write_atomically
from arena.store.folder import Folder, LogFiles
from arena.store.locked_file import LineFile, locked_log, sync_names
from arena.store.log_lines import battle_lines


def move_stale_battles(folder: Path, planned: Container[str]) -> int:
    """Move battles that are not planned out of the log, into superseded.jsonl beside it.

    They are written there before they leave the log: a crash in between leaves them in both,
    and the next run moves them again. Lines are moved as they are, one at a time.

    Args:
        folder: the experiment's.
        planned: ids of the battles that stay, in any shard.

    Returns:
        How many were moved.

    Raises:
        LogError: another process writes a log that they are in, or superseded.jsonl cannot be
            written.
        WriteError: the log cannot be written again; it is as it was.
        DataError: a line of the log is damaged.
    """
    files = Folder(folder)
    # Most runs find nothing stale, and wait for nobody: shards are started together.
    return sum(_move(files, log, planned) for log in files.logs() if _has_stale(log, planned))


def _has_stale(log: LogFiles, planned: Container[str]) -> bool:
    return any(name not in planned for name, _ in battle_lines(log.battles))


def _move(files: Folder, log: LogFiles, planned: Container[str]) -> int:
    n_moved, battles = 0, log.battles
    with locked_log(log.lock):
        with locked_log(files.superseded_lock), closing(LineFile(files.superseded)) as superseded:
            for name, line in battle_lines(battles):
                if name not in planned:
                    superseded.append(line)
                    n_moved += 1
            superseded.sync()
            sync_names(files.path)  # the file may be new, and its lines leave the log now
        write_atomically(battles, (line for name, line in battle_lines(battles) if name in planned))
    return n_moved
