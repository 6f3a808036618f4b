"""The dry runs of `arena battle`: of a plan, live or by batch jobs, and of a drift check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from arena.dry_run.estimate import (
    JudgeEstimate,
    RunEstimate,
    estimate_judges,
    stored_or_placeholder_runs,
    with_plans,
)
from arena.experiment.battle_options import BattleOptions
from arena.experiment.drift import next_number, prepare_check, prepare_drift
from arena.experiment.experiment import load_prompts, prepare
from arena.experiment.judges import closed_judges
from arena.experiment.live import load_noted_data
from arena.experiment.paid_replies import open_paid_replies
from arena.experiment.rejudge import open_asked, with_logged_battles
from arena.experiment.spending import open_budgets
from arena.files import cache_folder
from arena.progress import Reporter, reporter


def dry_run(
    path: Path,
    options: BattleOptions | None = None,
    progress: Reporter | None = None,
    *,
    batch_share: float | None = None,
) -> RunEstimate:
    """Return what `battle` would take; no endpoint is asked anything.

    Args:
        path: the arena.toml.
        options: of the run.
        progress: where progress is shown; nowhere if absent.
        batch_share: what share of the usual price a batch job costs; None for a live run.

    Raises:
        UsageError: the config or a data file has a mistake.
    """
    options, progress = options or BattleOptions(), progress or reporter(quiet=True)
    experiment = open_asked(path, options.rejudging)
    prompts = load_prompts(experiment)
    budgets = open_budgets(experiment.config, experiment.folder, max_usd=options.max_usd)
    data = load_noted_data(experiment, progress)
    runs, unretrieved = stored_or_placeholder_runs(experiment.retrieved, data)
    prepared = with_logged_battles(prepare(experiment, data, runs, prompts), progress)
    with open_paid_replies(experiment.folder, cache_folder()) as paid:
        budgets.charge(paid.costs)
        judges = estimate_judges(prepared, closed_judges(prepared), paid, gate=options.gate)
        if batch_share is not None:
            judges = tuple(judge.by_batch(batch_share) for judge in judges)
        found = RunEstimate(judges, unretrieved, budgets.whole.max_usd, budgets.whole.spent_usd)
        return with_plans(prepared, found, paid, rule=options.until, share=batch_share or 1.0)


def dry_run_drift(path: Path, reporter: Reporter, options: BattleOptions) -> RunEstimate:
    """Return what `arena.experiment.drift.check_drift` would take; no judge is asked anything.

    Raises:
        UsageError: as `arena.experiment.drift.check_drift`.
    """
    whole, matchups = prepare_drift(path, options, reporter)
    number = next_number(whole, matchups)
    judges: list[JudgeEstimate] = []
    for time in (number,) if number > 1 else (1, 2):
        prepared = prepare_check(whole, matchups, time)
        with open_paid_replies(prepared.experiment.folder, prepared.experiment.folder) as paid:
            found = estimate_judges(prepared, closed_judges(prepared), paid, gate=False)
        words = {1: "first time", 2: "second time"} if number == 1 else {}
        judges += [replace(each, judge=f"{each.judge}, {words.get(time, time)}") for each in found]
    budgets = open_budgets(whole.config, whole.experiment.folder, max_usd=options.max_usd)
    return RunEstimate(judges, max_usd=budgets.whole.max_usd)
