"""Shards: parts of a plan in processes that know nothing of each other, rated as one log."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from experiments import fair_judge, llm, play, write_experiment
from hypothesis import given
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, verdict
from programs import start_arena
from tables import each_row

from arena.errors import IncompleteError, UsageError
from arena.rating.rate_files import rate_files
from arena.store.shards import Shard, parse_shard

RUN = Path("runs") / "x"


def moody_judge(request: dict[str, Any], attempt: int) -> Answer:
    """Prefers the better list three times in four, and is of the same mood about the same lists."""
    shown = request["messages"][-1]["content"]
    mood = hashlib.sha256(shown.encode()).digest()[0]
    if mood % 4:
        return fair_judge(request, attempt)
    return verdict(("first", "second", "tie")[mood // 4 % 3])


def rated(*folders: Path) -> dict[str, tuple[Any, ...]]:
    """What of a leaderboard does not depend on the order of play."""
    leaderboard = rate_files(folders)
    return {row.model: (row.rating, row.record) for row in leaderboard.overall}


def test_two_shards_in_two_processes_are_rated_as_one_run(tmp_path: Path) -> None:
    with LoopbackServer(moody_judge) as server:
        whole = write_experiment(tmp_path / "whole", judge=llm(server.base_url))
        play(whole)
        n_calls = len(server.requests)
        # Retrieved before, so that the two do not do it at the same time for nothing.
        config = write_experiment(tmp_path / "parts", judge=llm(server.base_url))
        own = {"ARENA_CACHE": str(config.parent / "cache")}
        with (
            start_arena("battle", config, "--quiet", "--shard", "1/2", env=own) as one,
            start_arena("battle", config, "--quiet", "--shard", "2/2", env=own) as other,
        ):
            statuses = [one.wait(), other.wait()]

    folder = config.parent / RUN
    assert statuses == [0, 0]
    assert sorted(p.name for p in folder.glob("battles*.jsonl")) == [
        "battles-1of2.jsonl",
        "battles-2of2.jsonl",
    ]
    assert len(server.requests) == 2 * n_calls
    assert rated(folder) == rated(whole.parent / RUN)
    notes = rate_files([folder]).notes
    assert any("canonical order of several logs" in note for note in notes)


def test_logs_brought_together_from_two_machines_are_rated_as_one_run(tmp_path: Path) -> None:
    with LoopbackServer(moody_judge) as server:
        whole = write_experiment(tmp_path / "whole", judge=llm(server.base_url))
        play(whole)
        parts = []
        for number in (1, 2, 3):
            config = write_experiment(tmp_path / f"machine-{number}", judge=llm(server.base_url))
            play(config, shard=Shard(number, 3))
            parts.append(config.parent / RUN)

    there, back = rate_files(parts), rate_files(parts[::-1])

    assert there.overall == back.overall
    assert rated(*parts) == rated(whole.parent / RUN)


def test_a_shard_counts_and_resumes_by_itself(tmp_path: Path) -> None:
    config = write_experiment(tmp_path)
    first = play(config, shard=Shard(1, 2), limit=3)
    other = play(config, shard=Shard(2, 2))
    again = play(config, shard=Shard(1, 2))

    assert (first.n_judged, again.n_judged) == (3, again.n_planned)
    assert first.n_planned + other.n_planned == 36


def test_a_run_without_shards_finds_the_battles_of_all_of_them(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url))
        play(config, shard=Shard(1, 2))
        summary = play(config)

    assert summary.n_judged == 36 == len(server.requests)
    assert (tmp_path / RUN / "battles.jsonl").read_text() != ""


def test_what_ended_a_shard_says_how_to_go_on_with_it(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        judge = llm(server.base_url, "max_tokens = 20")
        summary = play(
            write_experiment(tmp_path, judge=judge), shard=Shard(1, 2), max_usd=0.003, gate=False
        )

    with pytest.raises(IncompleteError, match="--shard 1/2 --max-usd MORE --no-gate"):
        summary.check()


@given(st.integers(1, 50), st.text("0123456789abcdef", min_size=32, max_size=32))
def test_every_battle_belongs_to_exactly_one_shard(count: int, battle_id: str) -> None:
    owners = [i for i in range(1, count + 1) if Shard(i, count).holds(battle_id)]

    assert len(owners) == 1


@each_row("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", "1/99999", ""])
def test_a_part_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected i/n"):
        parse_shard(text)


def test_the_part_of_one_is_the_whole() -> None:
    assert parse_shard("1/1").name is None
    assert parse_shard("2/8").name == "2of8"
    assert parse_shard("2/8").option == " --shard 2/8"
