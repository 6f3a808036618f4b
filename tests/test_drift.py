"""`arena battle --drift`: old battles judged once more, to see whether the judge has changed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from experiments import fair_judge, llm, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import Answer, LoopbackServer, verdict
from replies import read_replies
from test_between import contrary

from arena.auditing.drift import SIGNIFICANCE, check_verdicts, fall_p_value
from arena.cli import main
from arena.store.log_lines import read_battles

N = 20


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(fair_judge) as running:
        yield running


@pytest.fixture
def config(tmp_path: Path, server: LoopbackServer) -> Path:
    """An experiment whose battles are judged."""
    config = write_experiment(tmp_path, judge=llm(server.base_url))
    assert arena("battle", config, "-q").exit_code == 0
    server.requests.clear()
    return config


def arena(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def drift(config: Path, *options: object) -> Result:
    return arena("battle", config, "--drift", N, "-q", *options)


def fixed_set(config: Path, number: int) -> set[str]:
    log = config.parent / f"runs/x/drift/{number}/battles.jsonl"
    return {battle.id for battle in read_battles(log)}


def test_a_baseline_asks_twice_whatever_the_cache_holds_and_a_check_once(config, server):
    first = drift(config)
    n_first = len(server.requests)
    later = drift(config)

    assert first.exit_code == later.exit_code == 0, first.output + later.output
    assert (n_first, len(server.requests)) == (2 * N, 3 * N)
    assert fixed_set(config, 1) == fixed_set(config, 2) == fixed_set(config, 3)
    original = {battle.id for battle in read_battles(config.parent / "runs/x/battles.jsonl")}
    assert fixed_set(config, 1) < original
    assert "judge-1, the log: no drift found" in first.stdout
    assert "judge-1, check 2: no drift found" in later.stdout
    assert "100.0% the same when repeated at once" in later.stdout


def test_a_judge_that_has_changed_is_found_and_the_command_fails(config, server):
    drift(config)
    server.answer = contrary
    changed = drift(config)
    told = arena("audit", config.parent / "runs/x", "--drift", "--json")

    assert changed.exit_code == 1
    assert "judge-1, check 2: DRIFT" in changed.stdout
    held = json.loads(told.stdout)
    assert held["drift"] is True
    assert [check["drift"] for check in held["checks"]] == [False, True]
    assert held["checks"][1]["p_value"] == pytest.approx(3.0**-6)  # of six queries, each one way
    assert told.exit_code == 0


def test_a_judge_that_changed_before_the_baseline_is_found_against_the_log(config, server):
    server.answer = contrary
    done = drift(config)

    assert done.exit_code == 1
    assert "judge-1, the log: DRIFT" in done.stdout


def test_a_judge_that_always_was_unsure_has_not_changed(config, server):
    draw = random.Random(1)

    def unsure(request: dict[str, Any], attempt: int) -> Answer:
        return verdict(draw.choice(["first", "second", "tie"]))

    server.answer = unsure
    drift(config)
    done = [drift(config) for _ in range(3)]

    assert [each.stdout.count("check 4: no drift found") for each in done] == [0, 0, 1]
    assert [each.exit_code for each in done] == [0, 0, 0]


def test_a_dry_run_tells_the_cost_and_asks_nothing(config, server):
    first = drift(config, "--dry-run")
    assert server.requests == []
    drift(config)
    server.requests.clear()
    later = drift(config, "--dry-run")

    assert server.requests == []
    assert first.stdout.count("judge calls            20") == 2
    assert later.stdout.count("judge calls            20") == 1
    assert "judge-1, first time:" in first.stdout
    assert "all judges   " in first.stdout


def test_a_cap_holds_for_both_times_of_the_baseline_and_the_same_command_goes_on(config, server):
    cap = 0.0025
    stopped = drift(config, "--max-usd", cap)
    n_asked = len(server.requests)
    logs = [config.parent / f"runs/x/drift/{n}/replies.jsonl" for n in (1, 2)]
    spent = sum(r.usage.cost_usd for log in logs if log.exists() for r in read_replies(log))
    done = drift(config, "--max-usd", 1)

    assert stopped.exit_code == 1
    assert f"arena battle {config} --drift {N} --max-usd MORE" in stopped.output
    assert 0 < n_asked < 2 * N
    assert spent <= cap * 1.2  # one call at most may exceed it
    assert done.exit_code == 0
    assert len(server.requests) == 2 * N


def test_a_judge_of_other_settings_is_not_the_one_that_may_have_drifted(config):
    drift(config)
    config.write_text(config.read_text().replace("[judge]\n", "[judge]\ndocument_words = 50\n"))
    done = drift(config)

    assert done.exit_code == 2
    assert "are not those of the log; only the same judge can drift" in done.output


@pytest.mark.parametrize("option", [("--batch",), ("--limit", 3), ("--judge-with", "m")])
def test_options_that_do_not_go_with_drift_are_one_line(config, option):
    done = drift(config, *option)

    assert done.exit_code == 2
    assert "--drift judges its own battles live" in done.output
    assert done.output.count("\n") == 1


def test_without_a_baseline_the_audit_names_the_command_that_makes_one(config):
    done = arena("audit", config.parent / "runs/x", "--drift")

    assert done.exit_code == 2
    assert "`arena battle --drift 100` makes it" in done.output


def test_grades_do_not_drift(tmp_path):
    config = write_experiment(tmp_path)
    arena("battle", config, "-q")
    done = drift(config)

    assert done.exit_code == 2
    assert "relevance grades do not drift" in done.output


verdicts = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=50)
@given(verdicts)
def test_the_p_value_is_the_share_of_all_choices_of_the_new_time(rows):
    times, query = np.array(rows, np.int8)[:, :3].T, np.array([row[3] for row in rows], np.intp)

    def fall(new: tuple[int, ...]) -> float:
        total = 0
        for column, each in zip(times.T, query.tolist(), strict=True):
            late = column[new[each]]
            a, b = (v for place, v in enumerate(column) if place != new[each])
            total += int(late != a) + int(late != b) - 2 * int(a != b)
        return total

    observed = fall((2, 2, 2, 2))
    choices = [fall(new) for new in product(range(3), repeat=4)]
    expected = sum(each >= observed for each in choices) / len(choices)

    assert fall_p_value(*times, query) == pytest.approx(expected)


def test_equal_times_raise_a_false_alarm_in_at_most_five_of_a_hundred_cases():
    rng, n_alarms, n_rounds = np.random.default_rng(3), 0, 400
    query = np.arange(60) % 20
    for _ in range(n_rounds):
        noise = rng.uniform(0, 0.4, 60)
        usual = rng.integers(0, 3, 60)
        bad_days = rng.random((3, 20)) < 0.2  # on which all verdicts of a query may differ
        codes = [
            np.where(
                rng.random(60) < np.where(bad[query], 0.8, noise), rng.integers(0, 3, 60), usual
            ).astype(np.int8)
            for bad in bad_days
        ]
        n_alarms += check_verdicts((1, "", ""), codes, query, SIGNIFICANCE).is_drift

    assert n_alarms <= 29  # 5% are 20; 30 or more have a chance of 2% if the rate is 5%
