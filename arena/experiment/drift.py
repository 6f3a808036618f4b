"""Judge a fixed set of old battles once more, to see whether the judge has changed since.

The first check judges each of them twice, one after the other: how far these two differ is the
judge's own noise. Each check has a log of its own, and asks the endpoint even where a cache has the
reply. `arena.auditing.drift` compares the logs.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import orjson

from arena.config import Config, JudgeConfig, read_tree
from arena.data.json_files import read_kept
from arena.digest import digest
from arena.endpoint.client import run
from arena.errors import IncompleteError, UsageError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import (
    Experiment,
    Origin,
    PreparedExperiment,
    load_data,
    load_prompts,
    only_shown,
    open_experiment,
    prepare,
)
from arena.experiment.identical_lists import same_lists
from arena.experiment.judges import closed_judges
from arena.experiment.live import play_prepared
from arena.experiment.pending import planned
from arena.experiment.rejudge import LoggedBattles
from arena.experiment.runs import retrieve_all
from arena.experiment.spending import open_budgets, spent_usd
from arena.experiment.summary import Summary
from arena.files import write_atomically
from arena.progress import Reporter
from arena.records import Matchup
from arena.store.folder import Folder
from arena.store.log_lines import logged_ids

Matchups = frozenset[Matchup]


def check_drift(path: Path, reporter: Reporter, options: BattleOptions) -> Summary:
    """Judge the fixed set of old battles once more; twice if there is no baseline yet.

    The caps of the arena.toml and of the options hold for each check by itself, the two times of
    the baseline together.

    Raises:
        UsageError: there is no log, or its judge is not the one of the arena.toml.
        IncompleteError: the budget is spent between the two times of the baseline.
        FatalApiError, LogError: as `arena.experiment.live.battle`.
    """
    whole, matchups = prepare_drift(path, options, reporter)
    files = Folder(whole.experiment.folder)
    _keep(files, matchups)
    number = next_number(whole, matchups)
    options = replace(options, gate=False)  # the judge has passed it, or was let through
    summary = run(play_prepared(prepare_check(whole, matchups, number), reporter, options))
    is_over = summary.capped is None and not summary.interrupted
    if number > 1 or not is_over:
        return summary
    paid = spent_usd(files.drift_check(1))
    second = prepare_check(whole, matchups, 2)
    config, left_usd = _less(second.config, paid), None
    if options.max_usd is not None:
        left_usd = options.max_usd - sum(paid.values())
    if config is None or (left_usd is not None and left_usd <= 0):
        again = options.command(whole.experiment)
        raise IncompleteError(f"the cap is spent after half of the baseline; go on with: {again}")
    second = replace(second, experiment=replace(second.experiment, config=config))
    return run(play_prepared(second, reporter, replace(options, max_usd=left_usd)))


def prepare_drift(
    path: Path, options: BattleOptions, reporter: Reporter
) -> tuple[PreparedExperiment, Matchups]:
    """Return the experiment with its judges that are models, and the fixed set of matchups.

    Raises:
        UsageError: there is no log, no judge is a model, or the log is another judge's.
    """
    experiment = open_experiment(path)
    files = Folder(experiment.folder)
    if not files.is_experiment:
        raise UsageError(
            f"{experiment.folder}: no battle to judge again; run `arena battle "
            f"{shlex.quote(str(experiment.source))}` first"
        )
    open_budgets(experiment.config, experiment.folder, max_usd=options.max_usd)  # needs prices
    data, prompts = load_data(experiment.config, reporter), load_prompts(experiment)
    runs = retrieve_all(experiment, data, reporter)
    models = tuple(judge for judge in experiment.config.judges if judge.kind != "qrels")
    if not models:
        raise UsageError("no judge is a model: relevance grades do not drift")
    config = experiment.config.model_copy(update={"judges": models})
    whole = only_shown(prepare(replace(experiment, config=config), data, runs, prompts))
    logged = LoggedBattles(experiment.folder, whole.lists)
    own = {configured.judge.fingerprint for configured in closed_judges(whole)}
    if not own <= set(logged.fingerprints):
        raise UsageError(
            f"{experiment.source}: its judge, prompt or settings are not those of the log; only "
            "the same judge can drift"
        )
    n_wanted = options.drift or 0
    if files.drift_matchups.is_file():
        matchups = _kept(files.drift_matchups)
        if len(matchups) != n_wanted:
            reporter.log(f"note: the fixed set has {len(matchups):,} battles, as in its baseline")
    else:
        matchups = draw_matchups(whole, logged, n_wanted)
    return whole, frozenset(filter(logged.count, matchups))


def draw_matchups(prepared: PreparedExperiment, logged: LoggedBattles, n_wanted: int) -> Matchups:
    """Draw this many matchups of the log with the seed, over as many queries as there are.

    Every query gives one before any gives a second. Identical lists are left out: no judge is
    asked about them.

    Raises:
        UsageError: the log has none.
    """
    seed = str(prepared.config.experiment.seed)
    of_query: defaultdict[tuple[str, str], list[tuple[bytes, Matchup]]] = defaultdict(list)
    for matchup in prepared.matchups:
        if logged.count(matchup) and not same_lists(prepared.lists.judge_input(matchup)):
            names = (matchup.dataset, matchup.query_id, matchup.model_a, matchup.model_b)
            of_query[names[:2]].append((digest("drift", seed, *names), matchup))
    ranked = [
        (place, drawn, matchup)
        for found in of_query.values()
        for place, (drawn, matchup) in enumerate(sorted(found, key=lambda each: each[0]))
    ]
    if not ranked:
        raise UsageError(
            "the log has no battle of the present lists that a judge was asked about; run "
            "`arena battle` first"
        )
    ranked.sort(key=lambda each: each[:2])
    return frozenset(matchup for _, _, matchup in ranked[:n_wanted])


def _keep(files: Folder, matchups: Matchups) -> None:
    if not files.drift_matchups.is_file():
        rows = sorted((m.dataset, m.query_id, m.model_a, m.model_b) for m in matchups)
        write_atomically(files.drift_matchups, [orjson.dumps(rows, option=orjson.OPT_INDENT_2)])


def _kept(path: Path) -> Matchups:
    remedy = f"remove {path.parent} to start again"
    rows = read_kept(list[list[str]], path, "matchups", remedy)
    return frozenset(Matchup(*row) for row in rows if len(row) == 4)


def prepare_check(whole: PreparedExperiment, matchups: Matchups, number: int) -> PreparedExperiment:
    """Return the experiment of one check."""
    base = whole.experiment
    origin = Origin(base, base.source, read_tree(base.source), bypasses_cache=True)
    folder = Folder(base.folder).drift_check(number)
    experiment = Experiment(base.config, base.source, folder, origin)
    return replace(whole, experiment=experiment, plays=matchups.__contains__)


def next_number(whole: PreparedExperiment, matchups: Matchups) -> int:
    """Return the number of the check to play: the last one if it is not over, else a new one."""
    folders = Folder(whole.experiment.folder).drift_checks()
    if not folders:
        return 1
    last = int(folders[-1].name)
    files = Folder(folders[-1])
    judged = logged_ids(files.all_battles(), files.all_failures())
    prepared = prepare_check(whole, matchups, last)
    judges = [configured.judge for configured in closed_judges(prepared)]
    names = (name for name, _, _ in planned(prepared.matchups, prepared.lists, judges))
    return last + 1 if all(name in judged for name in names) else last


def _less(config: Config, paid: Mapping[str, float]) -> Config | None:
    """Return the config with what its caps leave; None if one of them leaves nothing."""
    judges: list[JudgeConfig] = []
    for judge in config.judges:
        left_usd = judge.max_usd
        if left_usd is not None:
            left_usd -= paid.get(judge.log_name, 0.0)
            if left_usd <= 0:
                return None
        judges.append(judge.model_copy(update={"max_usd": left_usd}))
    return config.model_copy(update={"judges": tuple(judges)})
