"""What a power cut leaves: a file has what it had when the disk was last told to keep it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from arena.errors import LogError, WriteError
from arena.files import write_atomically
from arena.records import Battle
from arena.store.batch_ledger import Job, Ledger
from arena.store.battle_log import BattleLog
from arena.store.locked_file import LineFile
from arena.store.superseded import move_stale_battles
from arena.vectors import vector_files
from arena.vectors.vector_files import Growing

BATTLE = Battle("b", "d", "q", "m", "n", "tie", "j", "p", "judge")

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the system does not tell which file is open"
)


@dataclass
class Disk:
    """Watches every fsync and rename, and knows what would be left if the power went now."""

    kept: dict[int, bytes] = field(default_factory=dict)  #: inode → content when last synced
    names: dict[Path, set[str]] = field(default_factory=dict)  #: folder → names when last synced
    before_rename: Callable[[Path, Path], None] = lambda source, target: None

    def fsync(self, number: int) -> None:
        place = Path(f"/proc/self/fd/{number}").readlink()
        if place.is_dir():
            self.names[place] = {path.name for path in place.iterdir()}
        else:
            self.kept[os.fstat(number).st_ino] = place.read_bytes()

    def left(self, path: Path) -> bytes:
        """What is surely in a file."""
        return self.kept.get(path.stat().st_ino, b"")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, fsync, rename = Disk(), os.fsync, os.replace

    def watched_fsync(number: int) -> None:
        fsync(number)
        disk.fsync(number)

    def watched_rename(source: Path, target: Path) -> None:
        disk.before_rename(Path(source), Path(target))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_rename)
    return disk


def test_a_file_takes_the_place_of_another_only_once_it_is_on_the_disk(
    tmp_path: Path, disk: Disk
) -> None:
    seen = []
    disk.before_rename = lambda source, _: seen.append((disk.left(source), source.read_bytes()))

    write_atomically(tmp_path / "x", [b"one ", b"two"])

    assert seen == [(b"one two", b"one two")]


def test_a_file_that_cannot_be_written_is_as_it_was_and_leaves_nothing_beside_it(
    tmp_path: Path,
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise OSError(28, "No space left on device")

    write_atomically(tmp_path / "x", [b"old"])
    with pytest.raises(WriteError, match="No space left on device"):
        write_atomically(tmp_path / "x", chunks())

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_battles_leave_the_log_only_once_they_are_on_the_disk_elsewhere(
    tmp_path: Path, disk: Disk
) -> None:
    with BattleLog(tmp_path) as log:
        for name in ("old-0", "new-0", "old-1"):
            log.write_battle(replace(BATTLE, id=name))
    aside = tmp_path / "superseded.jsonl"
    seen = []

    def look(source: Path, target: Path) -> None:
        names = disk.names.get(tmp_path, set())
        seen.append((target.name, disk.left(aside).count(b'"old-'), aside.name in names))

    disk.before_rename = look

    assert move_stale_battles(tmp_path, {"new-0"}) == 2
    assert seen == [("battles.jsonl", 2, True)]


def test_what_the_disk_did_not_take_is_brought_to_it_again(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LineFile(tmp_path / "lines")
    file.append(b"line\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "I/O error")))
        with pytest.raises(LogError, match="cannot be written: I/O error"):
            file.sync()
    assert disk.left(tmp_path / "lines") == b""

    file.sync()
    file.close()

    assert disk.left(tmp_path / "lines") == b"line\n"


def test_each_step_of_a_batch_job_is_on_the_disk_before_the_next(
    tmp_path: Path, disk: Disk
) -> None:
    job = Job("0001", "hash", "fingerprint", "judge", {"battle": "key"}, 10, 0.5, "2026-01-01")
    path = tmp_path / "batches.jsonl"

    with Ledger(tmp_path) as ledger:
        ledger.add(job)
        assert disk.left(path) == path.read_bytes() != b""
        ledger.step(job, file_id="file")
        assert disk.left(path) == path.read_bytes()

    assert disk.left(path).count(b"\n") == 2


def test_a_log_that_is_closed_is_on_the_disk(tmp_path: Path, disk: Disk) -> None:
    with BattleLog(tmp_path) as log:
        for number in range(300):
            log.write_battle(replace(BATTLE, id=f"b{number}"))

    path = tmp_path / "battles.jsonl"
    assert disk.left(path) == path.read_bytes()
    assert disk.left(path).count(b"\n") == 300


def test_vectors_are_on_the_disk_when_their_files_are_closed(tmp_path: Path, disk: Disk) -> None:
    paths = tmp_path / "vectors", tmp_path / "keys"

    with Growing(*paths) as growing:
        growing.append(np.arange(3.0).tobytes(), b"key")
        growing.append(np.arange(3.0).tobytes(), b"kex")

    assert [disk.left(path) for path in paths] == [path.read_bytes() for path in paths]
    assert disk.left(paths[1]) == b"keykex"


def test_vectors_are_brought_to_the_disk_meanwhile(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_files, "_SYNC_S", -1.0)  # a second is over at every append
    path = tmp_path / "vectors"

    with Growing(path) as growing:
        growing.append(b"one")
        assert growing._sync is not None
        growing._sync.result(timeout=30)

        assert disk.left(path) == b"one"


def test_what_a_killed_process_left_unfinished_goes_with_the_next_writing(tmp_path: Path) -> None:
    old, other, young = (tmp_path / name for name in ("x.41.tmp", "notes.41.tmp", "x.42.tmp"))
    for path in (old, other, young):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))

    write_atomically(tmp_path / "x", [b"whole"])

    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.41.tmp", "x", "x.42.tmp"]
