"""What a search for the best model will take, said before it is played."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from experiments import fair_grader, llm, play, write_experiment
from loopback import LoopbackServer, verdict
from test_plans import FIVE
from test_until import write

from arena.cli import main
from arena.dry_run.battle import dry_run
from arena.dry_run.estimate import stored_or_placeholder_runs
from arena.dry_run.search_forecast import JudgePrice, QueryCosts
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import load_data, load_prompts, open_experiment, prepare
from arena.experiment.stopping import StoppingRule
from arena.rating.bradley_terry import ELO_PER_LOGIT, fit
from arena.rating.comparisons import Comparisons
from arena.rating.expected_width import Spread
from arena.rating.forecast import KnownRatings, Mask, SearchRules, simulate_searches
from arena.rating.sequential_tests import SEARCH_PRIOR, all_separated, may_be_best

M = 6
ROUND = 10


def prior(sd_elo: float) -> KnownRatings:
    nothing = np.zeros((M, M))
    return KnownRatings(np.zeros(M), np.eye(M) * (sd_elo / ELO_PER_LOGIT) ** 2, nothing, nothing, 0)


def pairs_that_play(alive: Mask) -> tuple[float, float]:
    n = float(alive.sum() * (alive.sum() - 1) / 2)
    return n, 0.01 * n


def rules(n_queries: int = 100, **more: Any) -> SearchRules:
    return SearchRules(Spread(0.8, 1.0, 0.0), 1, None, ROUND, n_queries, **more)


def real_run(rng: np.random.Generator, sd_elo: float, rule: StoppingRule) -> float:
    """The battles of a run by real battles and fits, with the spread of `rules`."""
    theta = rng.normal(0, sd_elo / ELO_PER_LOGIT, M)
    alive, parts, calls = np.ones(M, np.bool_), [], 0.0
    for start in range(0, 100, ROUND):
        pairs = np.array(list(combinations(np.flatnonzero(alive), 2)))
        calls += ROUND * len(pairs)
        query = np.repeat(np.arange(start, start + ROUND), len(pairs))
        first, second = np.tile(pairs, (ROUND, 1)).T
        strength = theta + rng.normal(0, 0.8**0.5, (ROUND, M))
        margin = strength[query - start, first] - strength[query - start, second]
        score = (rng.random(len(margin)) < 1 / (1 + np.exp(-margin))).astype(float)
        parts.append((first, second, score, query))
        columns = (np.concatenate(column) for column in zip(*parts, strict=True))
        battles = Comparisons(*columns, M)
        if rule.best:
            fitted = fit(battles, position=False, prior=SEARCH_PRIOR)
            alive = may_be_best(fitted, alive, n_at_start=M)
        ends = alive.sum() == 1 if rule.best else rule.reached(fit(battles, position=False))
        if ends:
            break
    return calls


@pytest.mark.parametrize("sd_elo", [60, 250])
def test_forecasts_end_where_real_searches_do(sd_elo: float) -> None:
    rule = StoppingRule(best=True)
    real = [real_run(np.random.default_rng(seed), sd_elo, rule) for seed in range(40)]

    forecast = simulate_searches(prior(sd_elo), rules(), pairs_that_play, seed=1, n=100)

    calls = [each.calls for each in forecast]
    assert np.mean(calls) == pytest.approx(np.mean(real), rel=0.12)
    inside = np.mean([np.quantile(calls, 0.1) <= n <= np.quantile(calls, 0.9) for n in real])
    assert inside > 0.7


def test_forecasts_of_a_width_end_a_round_or_less_after_real_runs() -> None:
    """Their ratings are not drawn nearer to each other by what differs from query to query."""
    rule = StoppingRule(width_elo=80)
    real = [real_run(np.random.default_rng(seed), 90, rule) for seed in range(8)]

    forecast = simulate_searches(
        prior(90), rules(reached=rule.reached), pairs_that_play, seed=1, n=30
    )

    later = np.mean([each.calls for each in forecast]) - np.mean(real)
    assert 0 <= later <= ROUND * M * (M - 1) / 2


def test_the_best_is_dropped_in_few_forecasts_and_models_that_differ_more_end_a_search_sooner() -> (
    None
):
    close, apart = (
        simulate_searches(prior(sd), rules(), pairs_that_play, seed=3, n=40) for sd in (30, 300)
    )

    def mean_calls(outcomes: list) -> float:
        return float(np.mean([each.calls for each in outcomes]))

    assert mean_calls(apart) < mean_calls(close)
    assert np.mean([each.decided for each in apart]) > np.mean([each.decided for each in close])
    assert all(each.n_left >= 1 for each in [*close, *apart])


def test_forecasts_are_seeded_and_money_or_a_margin_ends_them_sooner() -> None:
    def run(seed: int = 5, margin: float = 0.0, max_usd: float | None = None) -> list:
        return simulate_searches(
            prior(80), rules(within=margin), pairs_that_play, seed=seed, max_usd=max_usd, n=30
        )

    whole = run()
    assert whole == run()
    assert whole != run(seed=6)
    assert max(each.cost_usd for each in run(max_usd=4.0)) <= 4.0
    near = run(margin=60 / ELO_PER_LOGIT)
    assert sum(each.decided for each in near) > sum(each.decided for each in whole)
    assert sum(each.calls for each in near) < sum(each.calls for each in whole)


def test_a_part_of_the_pairs_costs_less_and_leaves_more_models() -> None:
    half = SearchRules(Spread(0.8, 1.0, 0.0), 1, 6, ROUND, 100)

    def costs(alive: Mask) -> tuple[float, float]:
        n = min(pairs_that_play(alive)[0], 6.0)
        return n, n

    few = simulate_searches(prior(100), half, costs, seed=1, n=40)
    all_ = simulate_searches(prior(100), rules(), pairs_that_play, seed=1, n=40)

    assert np.mean([each.calls for each in few]) < np.mean([each.calls for each in all_])
    assert np.mean([each.n_left for each in few]) > np.mean([each.n_left for each in all_])


def shown(config: Path, *options: str) -> str:
    ended = CliRunner().invoke(main, ["battle", "--dry-run", str(config), *options])
    assert ended.exit_code == 0, ended.output
    return ended.output


def test_a_dry_run_of_a_search_names_its_assumptions_and_stays_within_the_plan(
    tmp_path: Path,
) -> None:
    config = write(tmp_path, {"good": 0.7, "fair": 0.5, "poor": 0.3})
    judge = llm("http://127.0.0.1:9/v1")
    config.write_text(config.read_text().replace('kind = "qrels"', judge))

    said = shown(config, "--until", "best", "--within", "20")

    assert "--until best --within 20, from now on (10th to 90th percentile of 100" in said
    assert "if ratings spread by 60 Elo (sd), as those of embedding models" in said
    assert "if ratings spread by 120 Elo (sd)" in said
    whole = dry_run(config).n_calls
    for low, high in re.findall(r": ([\d,]+)(?: to ([\d,]+))? calls, \$", said):
        assert int(low.replace(",", "")) <= int((high or low).replace(",", "")) <= whole * 1.02
    assert said == shown(config, "--until", "best", "--within", "20")


def test_a_log_is_the_pilot_of_a_search(tmp_path: Path) -> None:
    config = write(tmp_path, {"good": 0.9, "fair": 0.6, "poor": 0.1}, n_queries=100)
    play(config, limit=40 * 6)
    rule = StoppingRule(best=True)

    found = dry_run(config, BattleOptions(until=rule)).search

    assert found
    (forecast,) = found.forecasts
    assert forecast.assumption == "by the 40 queries in the log"
    assert max(each.calls for each in forecast.outcomes) == 0, "qrels take no calls"
    decided = [each.decided for each in forecast.outcomes]
    play(config, until=rule)
    assert np.mean(decided) > 0.5
    assert (tmp_path / "runs/x/battles.jsonl").read_text().count("\n") < 100 * 6


@pytest.mark.parametrize("cached", [False, True])
def test_a_search_on_queries_with_a_part_of_their_pairs_forecasts_the_others(
    tmp_path: Path, *, cached: bool
) -> None:
    config = write(tmp_path, dict.fromkeys("abcd", 0.5), n_queries=20)
    with (tmp_path / "data" / "corpus.jsonl").open("a") as corpus:
        for model in "abcd":  # each finds other documents, so no two battles are one request
            rows = [(f"{model}-q{i:03}", f"q{i:03}") for i in range(20)]
            corpus.writelines(f'{{"_id": "{doc}", "text": "{doc}"}}\n' for doc, _ in rows)
            lines = "".join(f"{query} Q0 {doc} 1 1.0 {model}\n" for doc, query in rows)
            (tmp_path / f"{model}.trec").write_text(lines)
    with LoopbackServer(lambda request, attempt: verdict("tie")) as server:
        whole = config.read_text().replace('kind = "qrels"', llm(server.base_url))
        sparse = whole.replace("[experiment]", "[experiment]\npairs_per_query = 4")
        config.write_text(whole if cached else sparse)
        play(config)
        if cached:  # the log of the sparse plan, and all other replies in the cache
            (tmp_path / "runs" / "x" / "battles.jsonl").unlink()
            (tmp_path / "runs" / "x" / "replies.jsonl").unlink()
            config.write_text(sparse)
            play(config)
        config.write_text(whole)

        estimate = dry_run(config, BattleOptions(until=StoppingRule(best=True)))
        n_before = len(server.requests)
        play(config, until=StoppingRule(best=True))

    assert estimate.search
    (forecast,) = estimate.search.forecasts
    calls = [each.calls for each in forecast.outcomes]
    assert forecast.assumption == "by the 20 queries in the log"
    assert estimate.n_calls == len(server.requests) - n_before == (0 if cached else 20 * 4)
    assert max(calls) == pytest.approx(estimate.n_calls, rel=0.1)


def test_documents_that_only_dropped_models_found_cost_nothing_more(tmp_path: Path) -> None:
    with LoopbackServer(fair_grader) as server:
        judge = llm(server.base_url, 'kind = "pointwise"')
        config = write_experiment(tmp_path, judge=judge, rankings=FIVE, settings="top_k = 2")
        play(config, limit=1)
    experiment = open_experiment(config)
    data = load_data(experiment.config)
    runs, _ = stored_or_placeholder_runs(experiment, data)
    prepared = prepare(experiment, data, runs, load_prompts(experiment))
    documents = QueryCosts(prepared, [JudgePrice(False, True, 0.5)])
    lists = QueryCosts(prepared, [JudgePrice(True, True, 0.5), JudgePrice(True, False, 0.0)])

    every, first_two = np.ones(5, np.bool_), np.array([True, True, False, False, False])
    assert documents(every) == (4.0, 2.0)
    assert documents(first_two) == (2.0, 1.0)
    assert lists(every) == (20.0, 10.0)
    assert lists(first_two) == (2.0, 1.0)


@pytest.mark.parametrize("options", [["--until", "separated"], ["--until-width", "40"]])
def test_other_rules_have_a_forecast_too(tmp_path: Path, options: list[str]) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1"))

    said = shown(config, *options)

    assert f"{' '.join(options)}, from now on (10th to 90th percentile" in said
    assert "if ratings spread by 120 Elo (sd)" in said
    assert "may be best" not in said


def test_models_that_no_battle_connects_are_not_separated() -> None:
    """Of six models three have battles: enough to separate these, and none with the others."""
    laplacian = np.zeros((M, M))
    laplacian[:3, :3] = 3 * np.eye(3) - 1
    theta = np.array([2.0, 1.0, 0.0, -1.0, -2.0, -3.0])
    known = KnownRatings(theta, 0.01 * np.eye(M), 100 * laplacian, 100 * laplacian, 400)
    first = SearchRules(Spread(0.8, 1.0, 0.0), 1, None, ROUND, 0, reached=all_separated)

    (none_played,) = simulate_searches(known, first, pairs_that_play, seed=1, n=1)
    (one_round,) = simulate_searches(
        known, replace(first, n_queries=400), pairs_that_play, seed=1, n=1
    )

    assert not none_played.decided
    assert one_round.decided
