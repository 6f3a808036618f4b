"""Judge the battles of a log again: the same lists, in the same positions, by another judge.

A rejudged experiment is an experiment of its own, in ``rejudged/<name>`` of the first one's folder.
It shares data, plan and runs with the first, so resume, caps, gate, shards and batch jobs serve it
as they serve any other.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from arena.config import parse_config, read_tree
from arena.errors import ConfigError, UsageError
from arena.experiment.experiment import (
    Experiment,
    ExperimentData,
    Origin,
    PreparedExperiment,
    only_shown,
    open_experiment,
    prepare,
)
from arena.experiment.judges import closed_judges
from arena.experiment.runs import retrieve_all, write_metrics
from arena.experiment.shown_lists import Lists
from arena.files import write_atomically
from arena.judging.prompt import Prompt
from arena.progress import Reporter
from arena.records import Matchup
from arena.retrieval.partitioned import PartitionRanker
from arena.store.folder import Folder
from arena.store.log_lines import logged_ids
from arena.store.manifest import read_manifest

_OF_ONE_MODEL: Final = (
    "name",
    "price_per_1m_input_tokens",
    "price_per_1m_output_tokens",
    "price_per_1m_cached_tokens",
)
"""Keys of a judge that another model does not take over."""


_OF_A_PLAN: Final = ("plan", "pairs_per_query")
"""Keys of an experiment that may say how its own judges read."""


@dataclass(frozen=True, slots=True)
class Rejudging:
    """Which judge judges again, and how much."""

    judge_with: str  #: an arena.toml whose judges are taken, or the name of a model
    queries: int | None = None  #: the battles of this many queries per data set; None: all
    prices: tuple[float, float] | None = None
    """US dollars per million input and output tokens of the model."""

    @property
    def option(self) -> str:
        """Return the options of a command line for it, with a space before."""
        option = f" --judge-with {shlex.quote(self.judge_with)}"
        if self.prices:
            option += " --judge-prices {:g} {:g}".format(*self.prices)
        return option + (f" --queries {self.queries}" if self.queries else "")


def open_asked(path: Path, rejudging: Rejudging | None) -> Experiment:
    """Open the experiment of an arena.toml, or the one that judges its battles again.

    Raises:
        ConfigError, UsageError: as `open_experiment` and `open_rejudged`.
    """
    experiment = open_experiment(path)
    return open_rejudged(experiment, rejudging) if rejudging else experiment


def open_rejudged(base: Experiment, rejudging: Rejudging) -> Experiment:
    """Return the experiment that judges the battles of another one again.

    Raises:
        ConfigError: the judges of the file, or the model, cannot be used.
        UsageError: the first experiment has judged nothing yet.
    """
    if not Folder(base.folder).is_experiment:
        raise UsageError(
            f"{base.folder}: no battle to judge again; run `arena battle "
            f"{shlex.quote(str(base.source))}` first"
        )
    tree = read_tree(base.source)
    sections = {key: value for key, value in tree.items() if key not in ("judge", "judges")}
    path = Path(rejudging.judge_with)
    if path.is_dir() or path.suffix == ".toml":
        path = path / "arena.toml" if path.is_dir() else path
        if rejudging.prices:
            raise UsageError("--judge-prices is for a model's name; a file has its own prices")
        judges, named, source = _judge_sections(path), path.stem, path
        sections["experiment"] = _with_plan_of(path, sections["experiment"])
    else:
        judges = {"judge": _with_model(tree, rejudging)}
        named, source = rejudging.judge_with, base.source
    config = parse_config(sections | judges, path)
    if named == "arena":
        named = "+".join(judge.log_name for judge in config.judges)
    return Experiment(
        base.config.model_copy(update={"judge": config.judge, "judges": config.judges}),
        base.source,
        Folder(base.folder).rejudged(named),
        Origin(base, source, sections | judges, rejudging.queries),
    )


def _judge_sections(path: Path) -> dict[str, Any]:
    """Return the judges of an arena.toml; its other sections may be missing."""
    tree = read_tree(path)
    judges: dict[str, Any] = {key: tree[key] for key in ("judge", "judges") if key in tree}
    if not judges:
        raise ConfigError(path, ["judge: missing; add a [judge] section, or [[judges]]"])
    return judges


def _with_plan_of(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an experiment with the plan that other judges are written for."""
    plan = read_tree(path).get("experiment", {}).get("plan")
    kept = {key: value for key, value in settings.items() if key not in _OF_A_PLAN}
    return kept | ({"plan": plan} if plan == "grades" else {})


def _with_model(tree: Mapping[str, Any], rejudging: Rejudging) -> dict[str, Any]:
    """Return the section of the first judge that is a model, for another model."""
    sections = [tree["judge"]] if "judge" in tree else tree["judges"]
    section: dict[str, Any] = next((one for one in sections if one.get("kind") != "qrels"), {})
    section = {key: value for key, value in section.items() if key not in _OF_ONE_MODEL}
    section["model"] = rejudging.judge_with
    if rejudging.prices:
        given, written = rejudging.prices
        section |= {"price_per_1m_input_tokens": given, "price_per_1m_output_tokens": written}
    elif "max_usd" in section:
        raise UsageError(
            f"--judge-with {rejudging.judge_with}: max_usd = {section['max_usd']} needs the prices "
            "of this model; add --judge-prices INPUT OUTPUT, dollars per million tokens"
        )
    return section


def prepare_battles(
    experiment: Experiment,
    data: ExperimentData,
    prompts: Mapping[str, Prompt | None],
    reporter: Reporter,
    ranker: PartitionRanker | None = None,
) -> PreparedExperiment:
    """Retrieve what is missing, and return an experiment that is ready for battle.

    Args:
        experiment: its origin's runs and battles are taken where it has one.
        data: of the experiment, or of its origin.
        prompts: judge → its template.
        reporter: told of progress, and of battles that cannot be judged again.
        ranker: ranks corpora that are in partitions; this process does if absent.

    Raises:
        UsageError: as `with_logged_battles`, or a model cannot be loaded.
        ApiError: an embedding endpoint failed.
    """
    runs = retrieve_all(experiment.retrieved, data, reporter, ranker)
    whole = prepare(experiment, data, runs, prompts)
    prepared = only_shown(whole)
    if experiment.origin is None:
        return prepared
    prepared = with_logged_battles(prepared, reporter)
    share_runs(whole)
    return prepared


def with_logged_battles(prepared: PreparedExperiment, reporter: Reporter) -> PreparedExperiment:
    """Return a rejudged experiment that plays the battles of its origin's log, and no others.

    Battles whose query or lists are no longer those of the log are left out, and counted. With a
    number of queries, those come first that a smaller sample of the arena.toml would have. Battles
    already in the log stay there.

    Raises:
        UsageError: no battle of the log can be judged again, or only by the judge that it has.
    """
    origin = prepared.experiment.origin
    if origin is None:
        return prepared
    logged, lists = LoggedBattles(origin.experiment.folder, prepared.lists), prepared.lists
    own_prints = [configured.judge.fingerprint for configured in closed_judges(prepared)]
    if set(own_prints) <= set(logged.fingerprints):
        names = ", ".join(judge.log_name for judge in prepared.config.judges)
        raise UsageError(
            f"{names}: has judged these battles, with the same prompt and settings; "
            "`arena battle --drift` tests whether it would still do so"
        )
    n_found = sum(map(logged.count, prepared.all_matchups))
    if not n_found:
        raise UsageError(
            f"{origin.experiment.folder}: no battle of the log has the lists that "
            f"{origin.experiment.source} gives now; run `arena battle` first"
        )
    if n_left_out := logged.n_battles - n_found:
        reporter.log(
            f"note: {n_left_out:,} of {logged.n_battles:,} battles are not judged again: "
            "their query or lists have changed since"
        )
    sampled = _sampled(prepared, origin)
    own = logged_ids(Folder(prepared.experiment.folder).all_battles())

    def plays(matchup: Matchup) -> bool:
        if not logged.count(matchup):
            return False
        return (matchup.dataset, matchup.query_id) in sampled or any(
            lists.battle_id(matchup, fingerprint) in own for fingerprint in own_prints
        )

    note = f"the battles of {prepared.config.experiment.name!r}, judged again by another judge"
    data = replace(prepared.data, notes=(*prepared.data.notes, note))
    return replace(prepared, plays=plays, data=data)


class LoggedBattles:
    """The battles of an experiment's log, to be looked up by matchup.

    Args:
        folder: the experiment's.
        lists: the lists that are shown now.
    """

    def __init__(self, folder: Path, lists: Lists) -> None:
        judges = read_manifest(folder)["judges"]
        self.fingerprints = [str(judge["fingerprint"]) for judge in judges]
        self._ids = logged_ids(Folder(folder).all_battles())
        self._lists = lists

    @property
    def n_battles(self) -> int:
        """Return how many battles the log has."""
        return len(self._ids)

    def count(self, matchup: Matchup) -> int:
        """Return how many judges have judged a matchup, of these very lists."""
        names = (self._lists.battle_id(matchup, each) for each in self.fingerprints)
        return sum(name in self._ids for name in names)


def _sampled(prepared: PreparedExperiment, origin: Origin) -> set[tuple[str, str]]:
    """Return the queries whose battles are judged; a judge by qrels knows only some of them."""
    by_qrels = any(judge.kind == "qrels" for judge in prepared.config.judges)
    sampled = set()
    for name, query_ids in prepared.data.queries.items():
        qrels = prepared.data.datasets[name].qrels
        known = [q for q in query_ids if not by_qrels or max(qrels.get(q, {"": 0}).values()) > 0]
        sampled |= {(name, query_id) for query_id in known[: origin.queries]}
    if not sampled:
        raise UsageError("no query has qrels to judge by; judge with an LLM")
    return sampled


def share_runs(prepared: PreparedExperiment) -> None:
    """Copy the runs of the origin into the folder of a rejudged experiment, with their metrics."""
    experiment = prepared.experiment
    source, target = Folder(experiment.retrieved.folder), Folder(experiment.folder)
    for run in prepared.runs:
        for file in (Folder.run, Folder.run_stats):
            content = file(source, run.dataset, run.model).read_bytes()
            write_atomically(file(target, run.dataset, run.model), [content], sync=False)
    write_metrics(experiment, prepared.data, prepared.runs)
