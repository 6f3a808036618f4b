"""Play battles between runs in a notebook, with the plan, log and ids of `arena battle`."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ValidationError

from arena.api.arguments import check_type, path_of, real_number, whole_number
from arena.api.data import name_of
from arena.api.judges import JudgeLike, OwnJudge, judges_of, section_of
from arena.api.runs import ModelRun, queries_in, runs_in
from arena.api.user_loop import check_thread
from arena.config import (
    Config,
    DatasetConfig,
    ExperimentConfig,
    JudgeConfig,
    ModelConfig,
)
from arena.config.section import problem_lines
from arena.config.toml_text import toml_keys
from arena.data.corpus import corpus_hash
from arena.data.dataset_hashes import queries_hash
from arena.data.passage_corpus import join_cuts
from arena.data.query_sample import sample_queries
from arena.data.run_file import write_run, write_stats
from arena.endpoint.coroutines import run_apart
from arena.errors import ConfigError, IncompleteError, UsageError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import Experiment, ExperimentData, PreparedExperiment, prepare
from arena.experiment.live import play_prepared
from arena.experiment.named_metrics import note_metrics
from arena.experiment.runs import note_short, write_metrics
from arena.experiment.spending import open_budgets
from arena.experiment.summary import Summary
from arena.files import write_atomically
from arena.judging.open import prompt_name
from arena.judging.prompt import Prompt, load_prompt
from arena.progress import Reporter, reporter
from arena.records import Battle, Dataset, Probs, Run
from arena.store.folder import Folder, run_template
from arena.store.locked_file import locked_log
from arena.store.log_lines import read_battles, read_failures
from arena.store.shards import WHOLE

if TYPE_CHECKING:
    import pandas as pd


_FIRST_LINE: Final = "# Written by arena.compare: what was compared, not a file to be played again."


class ArenaWarning(UserWarning):
    """A warning about the battles: failures, a spent budget, or battles that leave the log."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """The settings of a comparison."""

    queries: int | None
    query_ids: tuple[str, ...] | None  #: those that the caller names
    seed: int
    top_k: int
    orders: Literal["both", "balanced"]
    pairs_per_query: int | None
    metrics: Sequence[str] | None


def compare(  # noqa: PLR0913  all but two are options
    runs: Iterable[ModelRun],
    judge: JudgeLike | Sequence[JudgeLike],
    *,
    queries: int | Sequence[str] | None = None,
    seed: int = 42,
    top_k: int = 5,
    orders: Literal["both", "balanced"] = "both",
    pairs_per_query: int | None = None,
    metrics: Sequence[str] | None = None,
    log: str | Path | None = None,
    limit: int | None = None,
    max_usd: float | None = None,
    gate: bool = True,
    progress: bool = False,
) -> pd.DataFrame:
    """Compare the lists of all runs pair by pair by a judge, and return one row per battle.

    The plan, the battle ids and the log are those of `arena battle`. It works inside a running
    event loop, such as a notebook's. The first Ctrl-C finishes the battles under way, the second
    leaves at once; with a log, the same call goes on from there.

    Args:
        runs: of `retrieve` and `read_run`: every model on every data set.
        judge: a function ``(query, first, second)`` → ``"first"``, ``"second"`` or ``"tie"``,
            sync or async; `llm_judge`, `qrels_judge`, `function_judge`; a dict as in ``[judge]``;
            an object like `Judge`; or a list of them for a panel.
        queries: this many per data set, sampled with the seed, or these query_ids; all that the
            runs have if absent.
        seed: decides which queries are sampled and in which order battles are played.
        top_k: documents of each list that the judge sees.
        orders: ``both`` plays each pair home and away; ``balanced`` in one order per query.
        pairs_per_query: pairs of models that each query plays, drawn again for each; all if
            absent.
        metrics: names of ir_measures, such as ``"RR@10"``, which a log keeps with differences.
        log: an experiment's folder, which `rate`, `audit`, `report` and the commands read. What
            is in it is not judged again. It has the battles of the last call alone. Nothing is
            kept if absent.
        limit: judge at most this many battles now.
        max_usd: the most that all judges may cost, with all that is in the log.
        gate: whether LLM judges must pass their controls first.
        progress: show on stderr how far the battles are.

    Returns:
        One row for each battle in plan order, with the columns of battles.jsonl. Battles without
        a verdict are no rows: an `ArenaWarning` counts them, with the reason.

    Raises:
        UsageError: the runs cannot be compared, or a judge is none.
        IncompleteError: no battle got a verdict.
        FatalApiError, GateError: as a judge's endpoint, or its controls, have it.
        LogError: the log is locked by another process, or cannot be written.
        KeyboardInterrupt: after Ctrl-C.
    """
    check_thread("arena.compare")
    limit = None if limit is None else whole_number(limit, "limit")
    max_usd = None if max_usd is None else real_number(max_usd, "max_usd")
    check_type(gate, bool, "gate", "True or False")
    options = BattleOptions(limit=limit, max_usd=max_usd, gate=gate)
    runs = runs_in(runs, "runs")
    plan = _plan(queries, seed, top_k, orders, pairs_per_query, metrics)
    judges = judges_of(judge, logged=log is not None)
    with ExitStack() as stack:
        if log is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arena-")))
        else:
            folder = path_of(log, "log")
        _check_folder(folder)
        prepared = _prepared(runs, judges, plan, folder)
        open_budgets(prepared.config, folder, max_usd=max_usd)  # needs prices
        telling = reporter(quiet=not progress)
        with locked_log(Folder(folder).log(WHOLE).lock):  # whoever plays it needs its own inputs
            _write_inputs(prepared, runs, telling)
        summary = _play(prepared, telling, options)
        battles = _logged(folder)
        _tell(summary, folder, has_log=log is not None)
    return _frame(battles, n_failures=sum(sum(f.values()) for f in summary.failures.values()))


def _plan(  # noqa: PLR0913, PLR0917  the options of `compare`
    queries: int | Sequence[str] | None,
    seed: int,
    top_k: int,
    orders: Literal["both", "balanced"],
    pairs_per_query: int | None,
    metrics: Sequence[str] | None,
) -> _Plan:
    """Return the settings of a comparison.

    Raises:
        UsageError: a number is none, or out of range.
    """
    chosen = None if queries is None else queries_in(queries)
    return _Plan(
        chosen if isinstance(chosen, int) else None,
        chosen if isinstance(chosen, tuple) else None,
        whole_number(seed, "seed", least=0),
        whole_number(top_k, "top_k"),
        orders,
        None if pairs_per_query is None else whole_number(pairs_per_query, "pairs_per_query"),
        metrics,
    )


def _check_folder(folder: Path) -> None:
    """Check that results may go into a folder, and that it has no arena.toml of the user.

    Raises:
        UsageError: there is one, or a file where the folder would be.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"log: {folder} is a file; give a folder for the results")
    own = Folder(folder).config
    if not own.exists() or Folder(folder).is_experiment:
        return
    if not own.read_bytes().startswith(_FIRST_LINE.encode()):
        raise UsageError(f"log: {own} is a file of yours; give a folder for the results alone")


def _play(prepared: PreparedExperiment, telling: Reporter, options: BattleOptions) -> Summary:
    """Judge the rest in a separate thread, because the caller's may run an event loop."""
    stop = asyncio.Event()

    @contextmanager
    def stopping(_: Reporter) -> Iterator[asyncio.Event]:
        yield stop

    battles = play_prepared(prepared, telling, options, stopping=stopping)
    return run_apart(battles, on_interrupt=stop.set)


def _prepared(
    runs: list[ModelRun], judges: Sequence[JudgeConfig | OwnJudge], plan: _Plan, folder: Path
) -> PreparedExperiment:
    datasets = _datasets(runs)
    models = list(dict.fromkeys(run.model for run in runs))
    _check_complete(runs, datasets, models)
    for query_id in plan.query_ids or ():
        if all(query_id not in data.queries for data in datasets.values()):
            raise UsageError(f"queries: {query_id!r} is no query of {', '.join(datasets)}")
    sampled = {name: _sampled(name, runs, data, judges, plan) for name, data in datasets.items()}
    config = _config(runs, models, judges, plan, folder)
    experiment = Experiment(config, Folder(folder).config, folder)
    notes = tuple(f"{name}: {note}" for name, data in datasets.items() for note in data.notes)
    prompts: dict[str, Prompt | None] = {
        section.log_name: None
        if section.kind == "qrels" or isinstance(judge, OwnJudge)
        else load_prompt(prompt_name(section), folder=Path.cwd())
        for section, judge in zip(config.judges, judges, strict=True)
    }
    own = {judge.name: judge for judge in judges if isinstance(judge, OwnJudge)}
    kept = [_only(run.run, sampled[run.dataset]) for run in runs]
    data = ExperimentData(datasets, sampled, notes)
    return replace(prepare(experiment, data, kept, prompts), own_judges=own)


def _datasets(runs: Sequence[ModelRun]) -> dict[str, Dataset]:
    """Return the data sets of the runs, by name.

    Raises:
        UsageError: two data sets share a name.
    """
    datasets: dict[str, Dataset] = {}
    for run in runs:
        data = run.data
        first_seen = datasets.setdefault(run.dataset, data)
        if first_seen is not data and _hashes(first_seen) != _hashes(data):
            raise UsageError(
                f"runs: two different data sets are called {run.dataset!r}; give one another name"
            )
        if (corpus := join_cuts(first_seen.corpus, data.corpus)) is not first_seen.corpus:
            datasets[run.dataset] = first_seen.with_corpus(corpus)
    return datasets


def _hashes(data: Dataset) -> tuple[str, str]:
    return corpus_hash(data.corpus), queries_hash(data, list(data.queries))


def _check_complete(
    runs: Sequence[ModelRun], datasets: Mapping[str, Dataset], models: Sequence[str]
) -> None:
    played = [(run.dataset, run.model) for run in runs]
    for dataset, model in played:
        if played.count((dataset, model)) > 1:
            raise UsageError(
                f"runs: two are called {model!r} on {dataset!r}; give one of them another name="
            )
    if len(models) < 2:
        given = f"only {models[0]!r}" if models else "none"
        raise UsageError(f"runs: {given}; a battle needs two models")
    for dataset in datasets:
        for model in models:
            if (dataset, model) not in played:
                raise UsageError(f"runs: {model!r} has no run on {dataset!r}; retrieve it first")


def _sampled(
    name: str,
    runs: Sequence[ModelRun],
    data: Dataset,
    judges: Sequence[JudgeConfig | OwnJudge],
    plan: _Plan,
) -> tuple[str, ...]:
    """Return the query_ids of one data set to play.

    Raises:
        UsageError: a run has no ranking for one of them, or no document for any.
    """
    runs_of_dataset = [run for run in runs if run.dataset == name]
    ranked = set().union(*(run.rankings for run in runs_of_dataset))
    if unknown := sorted(ranked - data.queries.keys()):
        raise UsageError(f"runs: {unknown[0]!r} is no query of {name!r}")
    wanted = ranked if plan.query_ids is None else set(plan.query_ids)
    eligible = {query_id: q for query_id, q in data.queries.items() if query_id in wanted}
    if any(isinstance(judge, JudgeConfig) and judge.kind == "qrels" for judge in judges):
        eligible = {
            query_id: query
            for query_id, query in eligible.items()
            if any(grade > 0 for grade in data.qrels.get(query_id, {}).values())
        }
        if not eligible:
            raise UsageError(f"{name}: has no relevance grades to judge by; use another judge")
    if not eligible:
        raise UsageError(f"{name}: the runs have no query in common with the data set")
    # A sample is a prefix of one permutation, so runs over a sample give the same battles.
    plain = Dataset(data.name, data.corpus, eligible, data.qrels)
    sampled = sample_queries(plain, plan.queries, plan.seed)
    for run in runs_of_dataset:
        if missing := [query_id for query_id in sampled if query_id not in run.rankings]:
            raise UsageError(
                f"{run.model}: has no ranking on {name!r} for {len(missing)} of {len(sampled)} "
                f"queries, {missing[0]!r} first; retrieve all runs for the same queries"
            )
        if sampled and not any(run.rankings[query_id] for query_id in sampled):
            raise UsageError(f"{run.model}: found no document on {name!r} for any query")
    return sampled


def _only(run: Run, query_ids: Sequence[str]) -> Run:
    return replace(run, rankings={query_id: run.rankings[query_id] for query_id in query_ids})


def _config(
    runs: Sequence[ModelRun],
    models: Sequence[str],
    judges: Sequence[JudgeConfig | OwnJudge],
    plan: _Plan,
    folder: Path,
) -> Config:
    """Return the configuration of these runs; its mistakes are mistakes of the arguments."""
    tree = {
        "experiment": {
            "name": name_of(str(folder)),
            "seed": plan.seed,
            "top_k": plan.top_k,
            "orders": plan.orders,
            **({} if plan.queries is None else {"queries": plan.queries}),
            **({} if plan.pairs_per_query is None else {"pairs_per_query": plan.pairs_per_query}),
            **({} if plan.metrics is None else {"metrics": plan.metrics}),
        },
        "datasets": tuple(_dataset_section(run.dataset) for run in _first_of_each(runs)),
        "models": tuple(_model_section(name, runs, models) for name in models),
        "judges": tuple(section_of(judge) for judge in judges),
    }
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        lines = problem_lines(error, tree, lambda _: tuple(ExperimentConfig.model_fields))
        raise ConfigError("compare", [line.removeprefix("experiment.") for line in lines]) from None


def _first_of_each(runs: Sequence[ModelRun]) -> list[ModelRun]:
    return list({run.dataset: run for run in reversed(runs)}.values())[::-1]


def _dataset_section(name: str) -> DatasetConfig:
    """Return the section of a data set in memory, which arena never loads."""
    return DatasetConfig(name=name, path=Path())


def _model_section(name: str, runs: Sequence[ModelRun], models: Sequence[str]) -> ModelConfig:
    """Return the section of a model: what made its run, or the file of its run in this folder."""
    made = next(run.config for run in runs if run.model == name)
    if made is not None and all(name in models for name in made.below):
        return made
    return ModelConfig(name=name, run=run_template(name))


def _write_inputs(
    prepared: PreparedExperiment, runs: Sequence[ModelRun], telling: Reporter
) -> None:
    """Write the inputs beside the log: the runs, their stats, and an arena.toml."""
    experiment = prepared.experiment
    files = Folder(experiment.folder)
    stats = {(run.dataset, run.model): run.stats for run in runs}
    for run in prepared.runs:
        write_run(run, files.run(run.dataset, run.model))
        write_stats(stats[run.dataset, run.model], files.run_stats(run.dataset, run.model))
    note_short(experiment, prepared.data, prepared.runs, telling)
    note_metrics(experiment, prepared.data, prepared.runs, telling)
    write_metrics(experiment, prepared.data, prepared.runs)
    write_atomically(experiment.source, [_toml(prepared).encode()])


def _toml(prepared: PreparedExperiment) -> str:
    """Return an arena.toml of the comparison."""
    config = prepared.config
    lines = [_FIRST_LINE]
    lines += ["[experiment]", *toml_keys(config.experiment.model_dump(exclude_unset=True))]
    for dataset in config.datasets:
        lines += ["", "[[datasets]]", *toml_keys({"name": dataset.name})]
    for model in config.models:
        lines += ["", "[[models]]", *toml_keys(model.model_dump(exclude_unset=True))]
    for judge in config.judges:
        told: dict[str, Any] = judge.model_dump(exclude_unset=True)
        if judge.log_name in prepared.own_judges:
            told = {"name": judge.log_name, "kind": "function"}
        lines += ["", "[[judges]]", *toml_keys(told)]
    return "\n".join(lines) + "\n"


def _logged(folder: Path) -> list[Battle]:
    return [battle for path in Folder(folder).all_battles() for battle in read_battles(path)]


def _tell(summary: Summary, folder: Path, *, has_log: bool) -> None:
    """Report what is missing.

    Raises:
        IncompleteError: no battle has a verdict.
        KeyboardInterrupt: the run was interrupted.
    """
    done = f"{summary.n_judged:,} of {summary.n_planned:,} battles"
    next_step = (
        "call compare again with the same log to go on" if has_log else "give log= to keep them"
    )
    if summary.n_superseded:
        moved = f"{summary.n_superseded:,} battles of other runs, queries or judges left the log"
        kept = f"they are in {Folder(folder).superseded}, and a call with those takes them back"
        warnings.warn(f"{moved}; {kept}", ArenaWarning, stacklevel=3)
    if summary.capped:
        if not summary.n_judged:
            raise IncompleteError(f"{done}: {summary.capped}")
        warnings.warn(f"{done}: {summary.capped}; {next_step}", ArenaWarning, stacklevel=3)
    elif summary.interrupted:
        raise KeyboardInterrupt(f"stopped at {done}; {next_step}")
    reasons: dict[str, int] = {}
    for counts in summary.failures.values():
        for reason, count in counts.items():
            reasons[reason] = reasons.get(reason, 0) + count
    if not reasons:
        return
    listed = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.items())
    failed = f"{sum(reasons.values()):,} battles have no verdict ({listed})"
    first = next(
        (f.detail for path in Folder(folder).all_failures() for f in read_failures(path)),
        "",
    )
    if not summary.n_judged:
        raise IncompleteError(f"{failed}, and none has one; the first: {first}")
    warnings.warn(f"{failed}; the first: {first}", ArenaWarning, stacklevel=3)


def _frame(battles: Sequence[Battle], *, n_failures: int) -> pd.DataFrame:
    """Return one row per battle; `rate` reads the failures from the frame's attrs."""
    import pandas as pd  # noqa: PLC0415

    names = Battle.__slots__
    rows = [
        [
            asdict(value) if isinstance(value := getattr(battle, name), Probs) else value
            for name in names
        ]
        for battle in battles
    ]
    frame = pd.DataFrame(rows, columns=list(names))
    frame.attrs["arena"] = {"battles": len(frame), "failures": n_failures}
    return frame
