"""Battles of an earlier configuration leave the log, and are nowhere lost on the way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from arena.errors import LogError
from arena.records import Battle
from arena.store import superseded
from arena.store.battle_log import BattleLog
from arena.store.folder import Folder
from arena.store.log_lines import read_battles
from arena.store.shards import WHOLE, Shard
from arena.store.superseded import move_stale_battles

BATTLE = Battle("b", "d", "q", "m", "n", "tie", "j", "p", "judge")
PLANNED = {"new-0", "new-1", "new-2"}


def write(folder: Path, *names: str, shard: Shard = WHOLE) -> Path:
    """Write battles; returns their log."""
    with BattleLog(folder, shard=shard) as log:
        for name in names:
            log.write_battle(replace(BATTLE, id=name))
    return Folder(folder).log(shard).battles


def ids(path: Path) -> list[str]:
    """The ids of a log's battles, in its order."""
    return [battle.id for battle in read_battles(path)]


def test_what_is_not_planned_is_moved_and_the_rest_keeps_its_order(tmp_path: Path) -> None:
    log = write(tmp_path, "new-1", "old-0", "new-0", "old-1")

    assert move_stale_battles(tmp_path, PLANNED) == 2
    assert move_stale_battles(tmp_path, PLANNED) == 0
    assert ids(log) == ["new-1", "new-0"]
    assert ids(tmp_path / "superseded.jsonl") == ["old-0", "old-1"]


def test_a_line_is_moved_as_it_is_with_fields_of_a_later_version(tmp_path: Path) -> None:
    log = write(tmp_path, "old-0")
    line = log.read_bytes().replace(b"{", b'{"later":1,', 1)
    log.write_bytes(line)

    move_stale_battles(tmp_path, PLANNED)

    assert (tmp_path / "superseded.jsonl").read_bytes() == line


def test_a_crash_between_the_two_writes_loses_nothing_and_the_next_run_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashes(*_: object) -> None:
        raise KeyboardInterrupt

    log = write(tmp_path, "new-0", "old-0")
    with monkeypatch.context() as patch:
        patch.setattr(superseded, "write_atomically", crashes)
        with pytest.raises(KeyboardInterrupt):
            move_stale_battles(tmp_path, PLANNED)
    between = ids(log), ids(tmp_path / "superseded.jsonl")

    assert between == (["new-0", "old-0"], ["old-0"])
    assert move_stale_battles(tmp_path, PLANNED) == 1
    assert (ids(log), ids(tmp_path / "superseded.jsonl")) == (["new-0"], ["old-0"])


def test_torn_tails_on_both_sides_are_cut(tmp_path: Path) -> None:
    log = write(tmp_path, "new-0", "old-0")
    log.write_bytes(log.read_bytes() + b'{"id": "old-1", "da')
    (tmp_path / "superseded.jsonl").write_bytes(b'{"id": "old-')

    move_stale_battles(tmp_path, PLANNED)

    assert (ids(log), ids(tmp_path / "superseded.jsonl")) == (["new-0"], ["old-0"])
    assert log.read_bytes().count(b"new-0") == log.read_bytes().count(b"\n") == 1


def test_each_shard_keeps_its_own_log(tmp_path: Path) -> None:
    one = write(tmp_path, "new-0", "old-0", shard=Shard(1, 2))
    two = write(tmp_path, "old-1", "new-1", shard=Shard(2, 2))

    assert move_stale_battles(tmp_path, PLANNED) == 2
    assert (ids(one), ids(two)) == (["new-0"], ["new-1"])
    assert ids(tmp_path / "superseded.jsonl") == ["old-0", "old-1"]


def test_a_shard_under_way_is_left_alone_and_only_stale_battles_in_it_are_refused(
    tmp_path: Path,
) -> None:
    with BattleLog(tmp_path, shard=Shard(1, 2)) as under_way:
        under_way.write_battle(replace(BATTLE, id="new-0"))
        moved = move_stale_battles(tmp_path, PLANNED)
        under_way.write_battle(replace(BATTLE, id="old-0"))
        with pytest.raises(LogError, match="another arena is writing this log"):
            move_stale_battles(tmp_path, PLANNED)
        under_way.write_battle(replace(BATTLE, id="new-1"))

    assert moved == 0
    assert ids(tmp_path / "battles-1of2.jsonl") == ["new-0", "old-0", "new-1"]
