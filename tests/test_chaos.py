"""Whole battle runs against an endpoint that fails in every way at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chaos import ChaosServer, Faults
from replies import read_replies

from arena.config import JudgeConfig
from arena.endpoint.address_and_key import Endpoint
from arena.endpoint.attempts import Retry
from arena.endpoint.client import Api, run
from arena.endpoint.outage import OutagePolicy
from arena.errors import FatalApiError
from arena.experiment.battle_runner import BattleResult, BattleRunner
from arena.experiment.live import play
from arena.experiment.pending import pending
from arena.experiment.plan import plan_matchups
from arena.experiment.shown_lists import Lists
from arena.judging.pairwise import llm_judge
from arena.judging.prompt import load_prompt
from arena.records import Battle, Dataset, Document, Query, Run, ScoredDoc
from arena.store.battle_log import BattleLog
from arena.store.log_lines import read_battles, read_failures

MODELS = [f"model-{i}" for i in range(6)]
QUERIES = [f"q{i}" for i in range(20)]
N_BATTLES = 6 * 5 * 20
HASTY = Retry(
    base_s=0.005,
    longest_s=0.05,
    storm_s=0.05,
    outage=OutagePolicy(pause_s=0.03, longest_pause_s=0.2, quiet_s=0.05, longest_quiet_s=0.05),
)


def lists() -> Lists:
    """Every model has one document of its own for every query."""
    corpus = {
        f"{q}-{m}": Document(f"{q}-{m}", f"what {m} found for {q}") for q in QUERIES for m in MODELS
    }
    dataset = Dataset("d", corpus, {q: Query(q, f"what is {q}?") for q in QUERIES}, {})
    runs = [Run("d", m, {q: (ScoredDoc(f"{q}-{m}", 1.0),) for q in QUERIES}) for m in MODELS]
    return Lists({"d": dataset}, runs, top_k=1)


def battle(folder: Path, server: ChaosServer, **endpoint: Any) -> list[str]:
    """Play what is left to play; returns what was said meanwhile."""
    said: list[str] = []

    async def story() -> None:
        where = Endpoint(server.base_url, **endpoint)
        async with Api(where, retry=HASTY, on_event=said.append) as api:
            judge = llm_judge(JudgeConfig(model="m"), load_prompt("pairwise"), api)
            with BattleLog(folder) as log:
                runner = BattleRunner(log)

                def emit(outcome: BattleResult) -> None:
                    if isinstance(outcome, Battle):
                        log.write_battle(outcome)
                    else:
                        log.write_failure(outcome)

                plan = plan_matchups(MODELS, {"d": QUERIES})
                battles = pending(plan, lists(), [judge], log, asked=runner.asked)
                await play(battles, runner, workers=256, emit=emit, stop=asyncio.Event())

    run(story())
    return said


def logged(folder: Path) -> tuple[Counter[str], dict[str, str]]:
    """How often each battle is in the log, and the reason of each failure."""
    battles = Counter(battle.id for battle in read_battles(folder / "battles.jsonl"))
    failures = {f.id: f.reason for f in read_failures(folder / "failures.jsonl")}
    return battles, failures


SEARCH = 100
"""Requests that may be refused before the limit is found."""


def test_in_any_chaos_every_battle_ends_judged_or_failed_with_a_reason_and_none_twice(tmp_path):
    faults = Faults(
        delay_s=0.01,
        rate_limited=0.03,
        server_error=0.03,
        dropped=0.02,
        garbage=0.01,
        truncated=0.01,
        stalled=0.01,
        retry_after_s=0.02,
        outage=(200, 0.8),  # long enough for a dozen refusals on a busy machine
    )
    with ChaosServer(faults) as server:
        said = battle(tmp_path, server, timeout_s=0.5)

        assert server.sent["outage"] > 0
        # One probe, of what was answered before, ended each outage.
        recovered = sum("works again" in line for line in said)
        assert sum(server.judged.values()) <= N_BATTLES + recovered
        assert set(server.judged.values()) <= {1, 2}

    battles, failures = logged(tmp_path)
    lines = (tmp_path / "battles.jsonl").read_text().count("\n")
    assert len(battles.keys() | failures.keys()) == N_BATTLES
    assert lines == len(battles) >= 0.99 * N_BATTLES
    assert not battles.keys() & failures.keys()
    assert all(failures.values())
    assert "is down" in said[0]
    assert "works again" in said[-1]


def test_under_a_rate_limit_alone_few_requests_are_sent_in_vain(tmp_path):
    with ChaosServer(Faults(delay_s=0.02, cap=250, retry_after_s=0.5)) as server:
        battle(tmp_path, server)

        assert server.sent["good"] == N_BATTLES
        # Finding the limit takes some refusals once, in a run of two seconds or of a night.
        assert server.sent.total() <= 1.15 * N_BATTLES + SEARCH

    battles, failures = logged(tmp_path)
    assert len(battles) == N_BATTLES
    assert not failures


def test_quota_spent_midway_stops_at_once_and_nothing_is_paid_for_twice(tmp_path):
    with ChaosServer(Faults(quota=250)) as server:
        with pytest.raises(FatalApiError, match="out of credit") as caught:
            battle(tmp_path, server, concurrency=32)
        refused = server.sent["quota"]
        paid = list(read_replies(tmp_path / "replies.jsonl"))
        server.faults = replace(server.faults, quota=None)
        battle(tmp_path, server, concurrency=32)

        assert set(server.judged.values()) == {1}
        assert server.sent["good"] == N_BATTLES

    battles, failures = logged(tmp_path)
    assert caught.value.reason == "quota"
    assert "\n" not in str(caught.value)
    assert refused <= 32
    assert len(paid) == 250
    assert len(battles) == N_BATTLES
    assert not failures


def test_requests_that_an_endpoint_cannot_digest_do_not_make_it_look_down_for_good(tmp_path):
    # Most of what is left in the end: more failures in a row than an outage needs.
    poisoned = tuple(f"what is {q}?".encode() for q in QUERIES[-1:])
    with ChaosServer(Faults(poisoned=poisoned)) as server:
        battle(tmp_path, server, concurrency=64)

    battles, failures = logged(tmp_path)
    assert len(failures) == len(poisoned) * 30
    assert len(battles) + len(failures) == N_BATTLES
    assert set(failures.values()) == {"server"}
