"""Plans side by side: what they cost, and whether intervals get as wide as they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy
from click.testing import CliRunner
from experiments import fair_grader, fair_judge, llm, play, write_experiment
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import LoopbackServer
from tables import each_row
from test_until import write
from together import STATISTICS

from arena.cli import main
from arena.dry_run.battle import dry_run
from arena.dry_run.plans import PlanEstimate, PlanOption, PlanTable
from arena.experiment.battle_options import BattleOptions
from arena.experiment.plan import plan_matchups
from arena.rating.bradley_terry import fit
from arena.rating.comparisons import Comparisons
from arena.rating.expected_width import Design, Spread, expected_half_widths, spread_of
from arena.rating.inference import intervals
from arena.rating.rate_files import rate_files

pytestmark = STATISTICS

N_MODELS = 8
THETA = np.linspace(-0.6, 0.6, N_MODELS)


def design(n_queries: int, *, pairs: int | None = None, orders: str = "balanced") -> Design:
    """The battles of a plan over one data set."""
    names = [f"m{i}" for i in range(N_MODELS)]
    queries = {"d": [f"q{i}" for i in range(n_queries)]}
    plan = plan_matchups(names, queries, orders=orders, pairs_per_query=pairs)  # type: ignore[arg-type]
    rows = [(int(m.model_a[1:]), int(m.model_b[1:]), int(m.query_id[1:])) for m in plan]
    first, second, query = np.array(rows).T
    return Design(first, second, query, np.zeros(n_queries, int), N_MODELS, np.array([n_queries]))


def judged(plan: Design, rng: np.random.Generator, *, sd: float = 0.9) -> Comparisons:
    """The battles with verdicts: models differ from query to query, and so do verdicts."""
    strength = THETA + rng.normal(0, sd, (len(plan.stratum), N_MODELS))
    margin = strength[plan.query, plan.first] - strength[plan.query, plan.second]
    score = (rng.random(len(margin)) < 1 / (1 + np.exp(-margin))).astype(float)
    return Comparisons(plan.first, plan.second, score, plan.query, N_MODELS)


@given(
    n_queries=st.integers(5, 200),
    between=st.floats(0, 2),
    within=st.floats(0.05, 1.5),
)
@settings(max_examples=20)
def test_all_pairs_of_equal_models_have_the_width_of_the_formula(
    n_queries: int, between: float, within: float
) -> None:
    halves = expected_half_widths(design(n_queries), Spread(between, within, 0.0))

    variance = (between + 4 * within / N_MODELS) * (1 - 1 / N_MODELS) / n_queries
    guard = 4 / N_MODELS * (1 - 1 / N_MODELS) / n_queries**2
    expected = scipy.stats.t.ppf(0.975, n_queries - 1) * np.sqrt(variance + guard)
    assert halves == pytest.approx(np.full(N_MODELS, expected), rel=1e-6)


def test_a_second_order_adds_what_it_does_not_share_with_the_first() -> None:
    one, two = design(40), design(40, orders="both")

    shared = Spread(0.5, 0.5, 0.5)
    alone = Spread(0.5, 0.5, 0.0)
    half = [
        expected_half_widths(plan, spread)[0] for plan in (one, two) for spread in (shared, alone)
    ]

    assert half[0] == half[1], "in one order there is no second verdict"
    assert half[2] == pytest.approx(half[0], rel=0.01), "nor a new one, if both are the same"
    assert half[3] < 0.95 * half[1]


def test_a_sample_of_the_queries_stands_for_all_of_them() -> None:
    whole = design(400, pairs=8)
    rows = whole.query < 100
    sample = Design(
        whole.first[rows],
        whole.second[rows],
        whole.query[rows],
        whole.stratum[:100],
        N_MODELS,
        np.array([400]),
    )
    spread = Spread(0.8, 0.5, 0.2)

    halves = [expected_half_widths(plan, spread).mean() for plan in (whole, sample)]

    assert halves[1] == pytest.approx(halves[0], rel=0.02)


def test_models_that_never_meet_have_no_width() -> None:
    apart = Design(
        np.array([0, 2]), np.array([1, 3]), np.array([0, 0]), np.zeros(1, int), 4, np.array([1])
    )

    assert np.isinf(expected_half_widths(apart, Spread(1, 1, 0))).all()


@pytest.mark.parametrize(
    ("pilot", "plan"),
    [
        ({}, {"pairs": 8}),
        ({"pairs": 8}, {}),
        ({"pairs": 12}, {"pairs": 16}),
        ({"orders": "both"}, {"orders": "both"}),
    ],
)
def test_intervals_become_as_wide_as_a_pilot_says(pilot: dict, plan: dict) -> None:
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        log = judged(design(60, **pilot), rng)
        spread = spread_of(log)
        assert spread
        expected = expected_half_widths(design(120, **plan), spread, fit(log, prior=1.0).theta)
        lower, upper = intervals(fit(judged(design(120, **plan), rng), prior=0.01))
        ratios.append(np.median(expected) / np.median((upper - lower) / 2))

    assert 0.92 < np.mean(ratios) < 1.08
    assert max(ratios) < 1.25
    assert min(ratios) > 0.75


def test_a_log_of_few_queries_tells_nothing() -> None:
    rng = np.random.default_rng(0)

    assert spread_of(judged(design(9), rng)) is None
    assert spread_of(judged(design(10), rng)) is not None


def test_what_differs_between_data_sets_is_no_difference_between_queries() -> None:
    rng = np.random.default_rng(1)
    one, other = judged(design(100), rng, sd=0.0), judged(design(100), rng, sd=0.0)
    both = Comparisons(
        np.concatenate([one.first, N_MODELS - 1 - other.first]),
        np.concatenate([one.second, N_MODELS - 1 - other.second]),
        np.concatenate([one.score, other.score]),
        np.concatenate([one.cluster, other.cluster + 100]),
        N_MODELS,
        stratum=np.repeat([0, 1], len(one.first)),
    )

    spread = spread_of(both)

    assert spread
    assert spread.between < 0.08
    assert spread.within == pytest.approx(1.0, abs=0.08)


def rows_of(shown: str) -> dict[str, tuple[int, int, str, str]]:
    pattern = r"^([* ]) (\S.*?) +([\d,]+) +([\d,]+) +(\S+) +(±\d+ Elo|over 400 Elo|–)$"
    return {
        found[2]: (
            int(found[3].replace(",", "")),
            int(found[4].replace(",", "")),
            found[5],
            found[6],
        )
        for found in re.finditer(pattern, shown, re.MULTILINE)
    }


FIVE = {
    "a": ["good", "fair", "poor", "other"],
    "b": ["fair", "good", "other", "poor"],
    "c": ["fair", "poor", "good", "other"],
    "d": ["poor", "good", "fair", "other"],
    "e": ["poor", "other", "fair", "good"],
}


def test_a_dry_run_shows_plans_side_by_side_with_the_calls_that_each_would_make(
    tmp_path: Path,
) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(
            tmp_path, judge=llm(server.base_url), rankings=FIVE, settings="top_k = 4"
        )
        play(config, limit=1)

        shown = CliRunner().invoke(main, ["battle", "--dry-run", str(config)])
        n_before = len(server.requests)
        config = write_experiment(
            tmp_path,
            judge=llm(server.base_url),
            rankings=FIVE,
            settings='top_k = 4\npairs_per_query = 5\norders = "balanced"',
        )
        play(config)
        n_sparse = len(server.requests) - n_before

    assert shown.exit_code == 0, shown.output
    rows = rows_of(shown.output)
    assert list(rows) == [
        "all pairs, both orders",
        "all pairs, one order",
        "5 pairs a query, one order",
        "grades, top 4",
        "grades, top 3",
    ]
    assert rows["all pairs, both orders"][0] == 6 * 20 - 1
    assert rows["5 pairs a query, one order"][0] in (n_sparse, n_sparse - 1)
    assert rows["grades, top 4"][0] == 6 * 4
    assert rows["grades, top 3"][0] == 6 * 4, "the third rank of some model has the fourth kind"
    assert "* all pairs, both orders" in shown.output
    assert "public logs of LLM judges" in shown.output
    assert shown.output.count("advice: ") == 1
    assert 'plan = "grades", top_k = ' in shown.output


def test_the_grades_of_a_plan_are_the_calls_that_it_makes(tmp_path: Path) -> None:
    with LoopbackServer(fair_judge) as server:
        config = write_experiment(tmp_path, judge=llm(server.base_url), rankings=FIVE)
        play(config, limit=1)
        table = dry_run(config).plans
    with LoopbackServer(fair_grader) as server:
        settings_ = 'plan = "grades"\ntop_k = 3'
        config = write_experiment(
            tmp_path / "graded", judge=llm(server.base_url), rankings=FIVE, settings=settings_
        )
        play(config)

    assert table
    (graded,) = [each for each in table.plans if str(each.option) == "grades, top 3"]
    assert graded.n_calls == len(server.requests)


def test_the_log_is_the_pilot_of_plans_whose_judge_reads_the_same(tmp_path: Path) -> None:
    config = write(tmp_path, {"good": 0.7, "fair": 0.5, "poor": 0.3})
    before = config.read_text()
    llm_judge = llm("http://127.0.0.1:9/v1", 'kind = "pointwise"')
    config.write_text(before.replace('kind = "qrels"', llm_judge))
    guessed = dry_run(config).plans
    config.write_text(before)
    play(config)
    leaderboard = rate_files([tmp_path / "runs" / "x"])
    config.write_text(before.replace('kind = "qrels"', llm_judge))
    known = dry_run(config).plans

    assert guessed
    assert known
    assert guessed.pilot is None
    assert known.pilot
    assert (known.pilot.reads, known.pilot.n_queries) == ("documents", 60)
    assert "by the 60 queries in the log." in "\n".join(known.lines())
    widths = [(row.upper or 0) - (row.lower or 0) for row in leaderboard.overall]
    assert known.plans[0].half_width_elo == pytest.approx(np.median(widths) / 2, rel=0.1)
    others = [
        (one.half_width_elo, other.half_width_elo)
        for one, other in zip(guessed.plans, known.plans, strict=True)
        if one.option.plan != "grades"
    ]
    assert all(one == other for one, other in others), "the log has no verdict on two lists"


def test_a_panel_of_both_kinds_keeps_its_pointwise_judge_in_plans_of_lists(tmp_path: Path) -> None:
    both = llm("http://127.0.0.1:9/v1") + '[[judges]]\nname = "grader"\nkind = "pointwise"\n'
    both += llm("http://127.0.0.1:9/v1")
    config = write_experiment(tmp_path, judge=both, rankings=FIVE)
    config.write_text(config.read_text().replace("[judge]", "[[judges]]", 1))

    found = dry_run(config)

    assert found.plans
    calls = {str(each.option): each.n_calls for each in found.plans.plans}
    pairwise, grader = (judge.n_calls for judge in found.judges)
    assert calls["all pairs, both orders"] == pairwise + grader
    assert calls["all pairs, one order"] == pairwise / 2 + grader


def test_by_batch_all_plans_cost_half(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1"), rankings=FIVE)

    live, batch = dry_run(config).plans, dry_run(config, batch_share=0.5).plans

    assert live
    assert batch
    for one, other in zip(live.plans, batch.plans, strict=True):
        assert other.cost_usd == pytest.approx((one.cost_usd or 0) / 2)


def test_a_judge_by_known_grades_has_no_plans_to_choose_from(tmp_path: Path) -> None:
    assert dry_run(write_experiment(tmp_path)).plans is None


def table(left_usd: float | None, *plans: tuple[str, float, float]) -> PlanTable:
    options = {
        "all": PlanOption("all", "both", 5),
        "sparse": PlanOption("sparse", "balanced", 5, 13),
        "grades": PlanOption("grades", "both", 3),
    }
    return PlanTable(
        [
            PlanEstimate(options[name], 100, 1000, cost, 100, half, is_present=place == 0)
            for place, (name, cost, half) in enumerate(plans)
        ],
        n_datasets=2,
        n_available=400,
        n_models=13,
        left_usd=left_usd,
        pilot=None,
    )


@each_row(
    ("left_usd", "plans", "said"),
    [
        (
            None,
            (("all", 10.0, 30.0), ("sparse", 1.0, 40.0), ("grades", 2.0, 32.0)),
            'plan = "grades", top_k = 3 is expected to reach ±32 Elo at 20% of the cost',
        ),
        (
            None,
            (("all", 10.0, 1700.0), ("grades", 2.0, 900.0)),
            "100 queries tell little by any plan",
        ),
        (None, (("all", 0.0, 30.0), ("grades", 2.0, 32.0)), "your plan has nothing left to pay"),
        (None, (("grades", 2.0, 32.0), ("all", 10.0, 30.0)), "no plan here is as exact as yours"),
        (
            1.0,
            (("all", 10.0, 30.0), ("sparse", 1.0, 40.0), ("grades", 2.0, 32.0)),
            'take plan = "sparse", pairs_per_query = 13, orders = "balanced", queries = 50: about',
        ),
        (
            4.0,
            (("all", 10.0, 30.0), ("grades", 0.5, 32.0)),
            'take plan = "grades", top_k = 3, queries = 200: about ±16 Elo.',
        ),
    ],
)
def test_the_advice_is_the_cheapest_plan_that_is_as_exact_or_what_the_money_buys(
    left_usd: float | None, plans: tuple, said: str
) -> None:
    assert said in table(left_usd, *plans).advice


def test_the_cap_of_a_run_is_what_is_left(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1"), rankings=FIVE)
    whole = dry_run(config).cost_usd or 0.0

    capped = dry_run(config, BattleOptions(max_usd=whole / 3)).plans

    assert capped
    assert capped.left_usd == pytest.approx(whole / 3)
    assert capped.advice.startswith("with the $")


def test_a_template_for_another_kind_of_judge_does_not_stop_the_dry_run(tmp_path: Path) -> None:
    config = write_experiment(tmp_path, judge=llm("http://127.0.0.1:9/v1"), rankings=FIVE)
    whole = dry_run(config).plans
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "pointwise.md").write_text("# System\n\nbegun, and not ended\n")

    left = dry_run(config).plans

    assert whole
    assert left
    assert left.plans == [each for each in whole.plans if each.option.plan != "grades"]
