"""Each file of a log is read once when a run starts, however many stages use it."""

from __future__ import annotations

import asyncio
import io
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from batch_server import BatchServer
from experiments import QUIET, fair_grader, fair_judge, llm, play, write_experiment
from loopback import LoopbackServer

from arena.batch.batch_run import open_batch_run
from arena.batch.battle import BatchOptions, battle_by_batch
from arena.batch.collect import collect
from arena.batch.jobs import Poll
from arena.batch.submit import SubmitOptions, submit
from arena.dry_run.battle import dry_run
from arena.experiment import stopping
from arena.experiment.battle_options import BattleOptions
from arena.experiment.stopping import StoppingRule

RANKINGS = {"strong": ["good", "fair"], "weak": ["poor", "other"]}
LOGS = ("battles", "replies", "failures", "grades")
ONCE = {"battles.jsonl": 1, "replies.jsonl": 1}


@contextmanager
def reads() -> Iterator[Counter[str]]:
    """Yield file of a log → how often it was opened only to be read, within the block."""
    counted: Counter[str] = Counter()

    def note(file: object, *, only_to_read: bool) -> None:
        name = Path(file).name if isinstance(file, str | Path) else ""
        if only_to_read and "jsonl" in name and name.startswith(LOGS):
            counted[name] += 1

    def open_file(file: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        note(file, only_to_read=not set(mode) & set("wax+"))
        return io_open(file, mode, *rest, **options)

    def open_descriptor(path: Any, flags: int, *rest: Any, **options: Any) -> int:
        note(path, only_to_read=flags & os.O_ACCMODE == os.O_RDONLY)
        return os_open(path, flags, *rest, **options)

    io_open, os_open = io.open, os.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.open", open_file)
        patch.setattr(io, "open", open_file)
        patch.setattr(os, "open", open_descriptor)
        yield counted


def test_a_live_run_and_a_dry_run_read_each_file_of_the_log_once(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url, "max_usd = 6"))
        play(config, limit=3)
        with reads() as live:
            play(config, limit=0)
        with reads() as dry:
            dry_run(config)

    assert live == ONCE
    assert dry == ONCE | {"replies.jsonl": 2}  # the second time only its end: how fast replies came


def test_a_pointwise_judge_has_its_grades_read_once_too(tmp_path: Path) -> None:
    with LoopbackServer(fair_grader) as server:
        settings = 'kind = "pointwise"\nscale = "graded"\nmax_usd = 6'
        config = write_experiment(tmp_path, judge=llm(server.base_url, settings))
        play(config, gate=False)
        with reads() as live:
            play(config)

    assert live == ONCE | {"grades.jsonl": 1}


def test_a_log_is_read_again_only_where_battles_of_an_earlier_configuration_turn_up(
    tmp_path: Path,
) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), settings="top_k = 2")
        play(config)
        config.write_text(config.read_text().replace("top_k = 2", "top_k = 1"))
        with reads() as changed:
            play(config)
        with reads() as settled:
            play(config)

    assert changed["replies.jsonl"] == 1
    assert changed["battles.jsonl"] > 1
    assert settled == ONCE


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Path]:
    """The arena.toml of an experiment that batch jobs judge at once."""
    with BatchServer(fair_judge) as server:
        yield write_experiment(tmp_path, judge=llm(server.base_url), rankings=RANKINGS)


def test_a_submission_and_a_collection_read_each_file_of_the_log_once(jobs: Path) -> None:
    asyncio.run(submit(open_batch_run(jobs, QUIET), SubmitOptions(limit=2), QUIET))
    asyncio.run(collect(open_batch_run(jobs, QUIET), QUIET))

    with reads() as submitted:
        asyncio.run(submit(open_batch_run(jobs, QUIET), SubmitOptions(), QUIET))
    with reads() as collected:
        asyncio.run(collect(open_batch_run(jobs, QUIET), QUIET)).check()

    assert (submitted, collected) == (ONCE, ONCE)


def test_a_stopping_rule_reads_the_log_once_more_than_its_rounds_open_it(
    jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "ROUND", 1)
    options = BattleOptions(until=StoppingRule(width_elo=1.0))
    batch = BatchOptions(wait=True, poll=Poll(shortest_s=0.01, longest_s=0.01))

    with reads() as counted:
        done = asyncio.run(battle_by_batch(open_batch_run(jobs, QUIET), options, batch, QUIET))

    assert "not decided after 6 queries, 12 battles" in done.decided
    assert counted["replies.jsonl"] >= 6
    assert counted["battles.jsonl"] <= counted["replies.jsonl"] + 1
