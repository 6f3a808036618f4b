from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from dataclasses import replace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replies import read_replies
from tables import each_row

from arena.errors import DataError, LogError
from arena.rating.rate_files import rate_files
from arena.records import Battle, Failure, Probs, Reply, Usage
from arena.store.battle_log import BattleLog
from arena.store.id_index import CompactIndex, IdSet
from arena.store.locked_file import LineFile
from arena.store.log_lines import read_battles, read_failures
from arena.store.shards import Shard

BATTLE = Battle(
    id="b1",
    dataset="d",
    query_id="q",
    model_a="m",
    model_b="n",
    winner="tie",
    judge="j",
    prompt="p",
    source="judge",
)
FAILURE = Failure("b1", "d", "q", "m", "n", "j", "p", reason="refusal", detail="no")
REPLY = Reply("b1", "r1", "text", "first")
WINNERS = ("model_a", "model_b", "tie")

texts = st.text(st.characters(codec="utf-8"), max_size=20)
floats = st.floats(0, 1e9)
counts = st.integers(0, 2**50)
probs = st.none() | st.builds(Probs, floats, floats, floats)
usages = st.builds(Usage, counts, counts, counts, floats, floats)
battles = st.builds(
    Battle,
    id=texts,
    dataset=texts,
    query_id=texts,
    model_a=texts,
    model_b=texts,
    winner=st.sampled_from(WINNERS),
    judge=texts,
    prompt=texts,
    source=st.sampled_from(["judge", "identical", "cache"]),
    probs=probs,
    input_tokens=counts,
    output_tokens=counts,
    cost_usd=floats,
    latency_ms=floats,
    at=texts,
)
failures = st.builds(
    Failure, texts, texts, texts, texts, texts, texts, texts, texts, texts, floats, texts
)
replies = st.builds(
    Reply, texts, texts, texts, st.sampled_from(["first", "second", "tie", None]), probs, usages
)
a_few = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(
    st.lists(battles, max_size=4, unique_by=lambda battle: battle.id),
    st.lists(failures, max_size=3, unique_by=lambda failure: failure.id),
    st.lists(replies, max_size=3, unique_by=repr),
)
@a_few
def test_every_record_comes_back_as_it_was(tmp_path_factory, fought, failed, paid):
    folder = tmp_path_factory.mktemp("log")
    with BattleLog(folder) as log:
        for battle in fought:
            log.write_battle(battle)
        for failure in failed:
            log.write_failure(failure)
        for reply in paid:
            log.write_reply(reply)

    assert list(read_battles(folder / "battles.jsonl")) == fought
    assert list(read_failures(folder / "failures.jsonl")) == failed
    assert list(read_replies(folder / "replies.jsonl")) == paid


def test_the_lines_have_the_documented_fields(tmp_path):
    with BattleLog(tmp_path) as log:
        log.write_reply(replace(REPLY, probs=Probs(0.5, 0.25, 0.25), usage=Usage(1, 2, 3, 4.0)))
        log.write_battle(BATTLE)

    reply = orjson.loads((tmp_path / "replies.jsonl").read_bytes())
    battle = orjson.loads((tmp_path / "battles.jsonl").read_bytes())
    assert " ".join(battle) == (
        "id dataset query_id model_a model_b winner judge prompt source "
        "input_tokens output_tokens cost_usd latency_ms at"
    )
    assert " ".join(reply) == (
        "id request reply winner probs at judge "
        "input_tokens output_tokens cached_tokens cost_usd latency_ms"
    )
    assert reply["probs"] == {"first": 0.5, "second": 0.25, "tie": 0.25}


def test_a_log_knows_its_battles_and_replies_when_it_is_opened_again(tmp_path):
    with BattleLog(tmp_path) as log:
        log.write_battle(BATTLE)
        log.write_reply(REPLY)

        assert log.reply_for("b1") == REPLY
    with BattleLog(tmp_path) as log:
        assert "b1" in log.battle_ids
        assert "b2" not in log.battle_ids
        assert log.reply_for("b1") == log.reply_to("r1") == REPLY
        assert log.reply_for("r1") is None
        assert log.reply_to("b1") is None


def test_the_last_readable_reply_counts(tmp_path):
    unreadable = Reply("b1", "r1", "??", None, at="later")
    with BattleLog(tmp_path) as log:
        log.write_reply(unreadable)
        assert log.reply_for("b1") is None
        log.write_reply(REPLY)
        log.write_reply(unreadable)

        assert log.reply_for("b1") == log.reply_to("r1") == REPLY
    with BattleLog(tmp_path) as log:
        assert log.reply_for("b1") == log.reply_to("r1") == REPLY


def test_a_battle_is_written_once(tmp_path):
    for _ in range(2):
        with BattleLog(tmp_path) as log:
            log.write_battle(BATTLE)
            log.write_battle(BATTLE)

    assert (tmp_path / "battles.jsonl").read_bytes().count(b"\n") == 1


def test_of_a_battles_failures_the_last_is_read(tmp_path):
    with BattleLog(tmp_path) as log:
        log.write_failure(FAILURE)
        log.write_failure(replace(FAILURE, reason="timeout"))

    assert [failure.reason for failure in read_failures(tmp_path / "failures.jsonl")] == ["timeout"]


READERS = {"battles": read_battles, "failures": read_failures, "replies": read_replies}


@each_row("kind", READERS)
@each_row("tail", [b'{"id": "b2", "data', b"x" * 200_000, b'{"id": "b2"}', b"\0"])
def test_a_torn_tail_is_skipped_by_readers_and_cut_by_the_next_writer(tmp_path, kind, tail):
    write_one_of_each(tmp_path, "b1")
    path = tmp_path / f"{kind}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)

    (record,) = READERS[kind](path)
    write_one_of_each(tmp_path, "b2")

    assert record.id == "b1"
    assert path.read_bytes() == whole + whole.replace(b"b1", b"b2")


def write_one_of_each(folder, name):
    with BattleLog(folder) as log:
        log.write_reply(replace(REPLY, id=name))
        log.write_battle(replace(BATTLE, id=name))
        log.write_failure(replace(FAILURE, id=name))


def test_a_file_that_is_nothing_but_a_torn_line_is_emptied(tmp_path):
    (tmp_path / "battles.jsonl").write_bytes(b'{"id": "b')

    with BattleLog(tmp_path) as log:
        assert len(log.battle_ids) == 0
    assert (tmp_path / "battles.jsonl").read_bytes() == b""


def test_merged_logs_hold_each_battle_once(tmp_path):
    with BattleLog(tmp_path) as log:
        log.write_battle(BATTLE)
    path = tmp_path / "battles.jsonl"
    path.write_bytes(path.read_bytes() * 2 + b"\n")

    assert list(read_battles(path)) == [BATTLE]


@each_row(
    "damage",
    [
        b"{broken",
        b"[]",
        b"null",
        b'{"id": "b0"}',
        b'{"id": 7}',
        orjson.dumps({**orjson.loads(orjson.dumps(BATTLE)), "winner": None}),
        orjson.dumps({**orjson.loads(orjson.dumps(BATTLE)), "winner": "BOTH"}),
        orjson.dumps({**orjson.loads(orjson.dumps(BATTLE)), "cost_usd": "1"}),
        b'{"id": "\xff"}',
    ],
)
def test_a_damaged_line_is_an_error_that_names_file_and_line(tmp_path, damage):
    path = tmp_path / "battles.jsonl"
    good = orjson.dumps(BATTLE) + b"\n"
    path.write_bytes(good + damage + b"\n" + good.replace(b"b1", b"b3"))

    with pytest.raises(DataError, match=r"battles\.jsonl:2: .*delete the damaged line"):
        list(read_battles(path))


def test_a_damaged_log_is_not_written_to_and_not_kept_locked(tmp_path):
    (tmp_path / "replies.jsonl").write_bytes(b"{broken\n")

    with pytest.raises(DataError, match=r"replies\.jsonl:1"):
        BattleLog(tmp_path)
    (tmp_path / "replies.jsonl").unlink()
    BattleLog(tmp_path).close()


def test_a_missing_file_is_an_error_of_one_line(tmp_path):
    with pytest.raises(DataError, match=r"battles\.jsonl: cannot be read: No such file"):
        list(read_battles(tmp_path / "battles.jsonl"))


def test_unknown_fields_of_a_later_version_are_no_damage(tmp_path):
    path = tmp_path / "battles.jsonl"
    path.write_bytes(orjson.dumps({**orjson.loads(orjson.dumps(BATTLE)), "new": 1}) + b"\n")

    assert list(read_battles(path)) == [BATTLE]


def test_one_writer_holds_the_log(tmp_path):
    with BattleLog(tmp_path), pytest.raises(LogError, match="another arena is writing this log"):
        BattleLog(tmp_path)

    BattleLog(tmp_path).close()


def test_shards_are_written_side_by_side_and_know_each_others_battles(tmp_path):
    with (
        BattleLog(tmp_path, shard=Shard(1, 2)) as one,
        BattleLog(tmp_path, shard=Shard(2, 2)) as two,
    ):
        one.write_battle(BATTLE)
        one.write_reply(REPLY)
        two.write_reply(replace(REPLY, id="b2", request="r2"))
    with BattleLog(tmp_path, shard=Shard(2, 2)) as two:
        assert "b1" in two.battle_ids
        assert two.reply_for("b1") == REPLY
        assert two.reply_for("b2") == replace(REPLY, id="b2", request="r2")

    assert sorted(path.name for path in tmp_path.glob("battles*")) == [
        "battles-1of2.jsonl",
        "battles-2of2.jsonl",
    ]


def test_opening_hands_on_each_battle_of_all_shards_once(tmp_path):
    for shard, names in {Shard(1, 2): "ab", Shard(2, 2): "cd"}.items():
        with BattleLog(tmp_path, shard=shard) as log:
            for name in names:
                log.write_battle(replace(BATTLE, id=name))
    twice = tmp_path / "battles-2of2.jsonl"
    twice.write_bytes(twice.read_bytes() + (tmp_path / "battles-1of2.jsonl").read_bytes())
    found: list[Battle] = []

    BattleLog(tmp_path, seen=found.append).close()

    assert [battle.id for battle in found] == ["a", "b", "c", "d"]


def test_the_logs_of_shards_make_one_log_when_they_are_put_together(tmp_path):
    rng = random.Random(5)
    fought = [
        replace(BATTLE, id=f"b{n}", query_id=f"q{n % 7}", winner=rng.choice(WINNERS), at=str(n))
        for n in range(60)
    ]
    for number, shard in enumerate([Shard(1, 2), Shard(2, 2)]):
        with BattleLog(tmp_path, shard=shard) as log:
            for battle in fought[number::2] + fought[:3]:  # some battles in both
                log.write_battle(battle)
    shards = sorted(tmp_path.glob("battles-*.jsonl"))
    together = tmp_path / "together.jsonl"
    together.write_bytes(b"".join(path.read_bytes() for path in shards))

    as_one, as_two = (rate_files(paths) for paths in ([together], shards))

    assert Counter(read_battles(together)) == Counter(fought)
    assert as_one.battles == as_two.battles == 60
    assert [row.rating for row in as_one.overall] == [row.rating for row in as_two.overall]


def test_a_folder_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "replies.jsonl").mkdir(parents=True)

    for folder in (tmp_path / "file", tmp_path / "taken"):
        with pytest.raises(LogError, match="cannot be written: ") as caught:
            BattleLog(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_an_error_of_one_line(tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(LogError, match="cannot be written: Permission denied"):
        BattleLog(tmp_path)


def test_a_full_disk_stops_the_log_and_loses_nothing_once_there_is_room(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = BattleLog(tmp_path)
    log.write_reply(REPLY)
    log.flush()
    size = (tmp_path / "replies.jsonl").stat().st_size
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
        with pytest.raises(LogError, match=r"replies\.jsonl: cannot be written: File too large"):
            log.write_reply(replace(REPLY, id="b2"))
        with pytest.raises(LogError):
            log.flush()
        assert list(read_replies(tmp_path / "replies.jsonl")) == [REPLY]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.close()

    assert [reply.id for reply in read_replies(tmp_path / "replies.jsonl")] == ["b1", "b2"]


def test_a_record_reaches_the_disk_within_a_second_without_another_one(tmp_path, monkeypatch):
    synced: list[float] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(time.monotonic()), fsync(fd)))

    with BattleLog(tmp_path) as log:
        written = time.monotonic()
        log.write_reply(REPLY)
        while not synced and time.monotonic() - written < 3:
            time.sleep(0.02)

    assert synced[0] - written < 1


def test_records_are_brought_to_the_disk_in_groups(tmp_path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    with BattleLog(tmp_path) as log:
        for number in range(2000):
            log.write_reply(replace(REPLY, id=f"b{number}"))

    assert 1 <= len(synced) <= 2000 / 256 + 3


def test_replies_reach_the_disk_before_the_battles_that_rest_on_them(tmp_path, monkeypatch):
    order: list[str] = []
    sync = LineFile.sync
    monkeypatch.setattr(LineFile, "sync", lambda file: (order.append(file.path.stem), sync(file)))

    with BattleLog(tmp_path) as log:
        log.write_battle(BATTLE)
        log.write_reply(REPLY)

    assert order[:2] == ["replies", "battles"]


WRITER = """
    import sys
    from pathlib import Path
    from arena.records import Reply
    from arena.store.battle_log import BattleLog

    with BattleLog(Path(sys.argv[1])) as log:
        for number in range(len(log.battle_ids), 10**9):
            log.write_reply(Reply(f"b{number}", f"r{number}", "x" * 300, "first"))
            print(number, flush=True)
"""


def test_killing_the_writer_loses_no_acknowledged_record_and_leaves_no_lock_behind(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)]
    for locked in (False, True):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            for _ in range(50):
                writer.stdout.readline()
            if locked:
                with pytest.raises(LogError, match="another arena is writing this log; wait until"):
                    BattleLog(tmp_path)
            writer.send_signal(signal.SIGKILL)
            acknowledged = [line for line in writer.stdout if line.endswith("\n")]

        kept = {reply.id for reply in read_replies(tmp_path / "replies.jsonl")}
        assert f"b{acknowledged[-1].strip() if acknowledged else 49}" in kept

    BattleLog(tmp_path).close()


def test_a_sync_that_failed_is_not_forgotten_when_the_log_is_closed(tmp_path, monkeypatch):
    def fails_in_the_background(number):
        if threading.current_thread() is not threading.main_thread():
            failed.set()
            raise OSError(errno.EIO, "Input/output error")

    failed = threading.Event()
    monkeypatch.setattr(os, "fsync", fails_in_the_background)
    log = BattleLog(tmp_path)
    log.write_reply(REPLY)
    failed.wait(5)

    with pytest.raises(LogError, match=r"replies\.jsonl: cannot be written: Input/output error"):
        log.close()
    BattleLog(tmp_path).close()


def test_closing_twice_does_no_harm(tmp_path):
    log = BattleLog(tmp_path)
    log.write_reply(REPLY)
    log.close()
    log.close()

    assert list(read_replies(tmp_path / "replies.jsonl")) == [REPLY]


def test_the_index_finds_what_a_dict_finds() -> None:
    index, plain = CompactIndex(), {}
    # Enough to be sorted in several times, most of them set again later.
    for number in range(100_000):
        text = f"name {number * 7919 % 70_000}"
        index.set(text, number << 40)
        plain[text] = number << 40

    assert all(index.get(text) == number for text, number in plain.items())
    assert all(index.get(f"other {number}") is None for number in range(1000))


def test_a_set_of_ids_grows_without_losing_anything():
    names = IdSet()
    fresh = [names.add(f"name {number}") for number in range(70_000)]

    assert all(fresh)
    assert len(names) == 70_000
    assert not names.add("name 17")
    assert all(f"name {number}" in names for number in range(70_000))
    assert not any(f"name {number}" in names for number in range(70_000, 71_000))


@each_row("cost_usd", [float("nan"), float("inf"), -1.0, "much"])
def test_a_cost_that_could_not_be_read_again_is_never_written(tmp_path, cost_usd):
    with BattleLog(tmp_path) as log, pytest.raises(ValueError, match="a cost of"):
        log.write_reply(Reply("id", "key", "", None, usage=Usage(cost_usd=cost_usd)))

    assert (tmp_path / "replies.jsonl").read_bytes() == b""
