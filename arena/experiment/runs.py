"""Every model's run on every data set: kept on disk, made again only when something has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import orjson

from arena.data.metrics import measure_run
from arena.data.per_query import measure_lists, write_lists
from arena.data.trec import read_run, read_stats, write_run, write_stats
from arena.errors import DataError, IncompleteError
from arena.experiment.material import Experiment, Material
from arena.experiment.shown_texts import keep_shown
from arena.experiment.wanted import Wanted, wanted_runs
from arena.files import cache_folder, write_atomically
from arena.progress import Reporter
from arena.records import Run
from arena.retrieval.rerank import with_base
from arena.retrieval.retrieve import cost_usd, retrieve


def retrieve_all(experiment: Experiment, material: Material, reporter: Reporter) -> tuple[Run, ...]:
    """Every model's run on every dataset: read where it is still valid, else made.

    Raises:
        ApiError: an endpoint failed.
        CommandError: a program failed.
        DataError: a run file does not fit the data set.
        IncompleteError: it was interrupted.
        UsageError: a model cannot be loaded or started.
    """
    try:
        return _retrieve_all(experiment, material, reporter)
    except KeyboardInterrupt:
        kept = "what is embedded and scored is kept, and the same command goes on from there"
        raise IncompleteError(f"stopped: {kept}") from None


def _retrieve_all(
    experiment: Experiment, material: Material, reporter: Reporter
) -> tuple[Run, ...]:
    runs: list[Run] = []
    for name, dataset in material.datasets.items():
        made: dict[str, Run] = {}
        for wanted in wanted_runs(experiment, dataset, material.queries[name]):
            over = made.get(wanted.model.over or "")
            made[wanted.model.name] = _kept(wanted) or _retrieve(wanted, reporter, over=over)
            for note in read_stats(wanted.path.with_suffix(".json")).notes:
                reporter.say(f"note: {name}: {wanted.model.name}: {note}")
        runs += [made[model.name] for model in experiment.config.models]
    note_short(experiment, material, runs, reporter)
    write_metrics(experiment, material, runs)
    return tuple(runs)


def stored_run(wanted: Wanted) -> Run | None:
    """The run on disk, if it is what this configuration would retrieve."""
    path, dataset = wanted.path, wanted.dataset
    try:
        if read_stats(path.with_suffix(".json")).key != wanted.key:
            return None
        return read_run(
            path,
            dataset=dataset,
            model=wanted.model.name,
            query_ids=wanted.queries,
            complete=False,
        )
    except DataError:
        return None  # missing or damaged: it is made again, from what is cached


def _kept(wanted: Wanted) -> Run | None:
    """The run on disk where it is valid; its cost is that at the price of today's arena.toml."""
    run = stored_run(wanted)
    if run is not None:
        path = wanted.path.with_suffix(".json")
        stats = read_stats(path)
        cost = cost_usd(wanted.model, stats.tokens)
        if cost != stats.cost_usd:
            write_stats(replace(stats, cost_usd=cost), path)
    return run


def _retrieve(wanted: Wanted, reporter: Reporter, *, over: Run | None) -> Run:
    model, dataset, queries = wanted.model, wanted.dataset, wanted.queries
    settings = wanted.experiment.config.experiment
    n_steps = len(dataset.corpus) + len(queries)
    with reporter.stage(f"{dataset.name}: {model.name}", n_steps) as stage:
        run, stats = retrieve(
            model,
            dataset,
            queries,
            depth=wanted.depth,
            cache=cache_folder(),
            over=over,
            memory_mb=settings.memory_mb,
            place=settings.place,
            progress=lambda done, _total: stage.update(done),
        )
        stage.update(n_steps)
    if wanted.base is not None:
        below = read_stats(wanted.base.path.with_suffix(".json"))
        stats = with_base(stats, below, over=wanted.base.model.name, n_queries=len(queries))
    write_run(run, wanted.path)
    write_stats(replace(stats, key=wanted.key), wanted.path.with_suffix(".json"))
    return run


def note_short(
    experiment: Experiment, material: Material, runs: Sequence[Run], reporter: Reporter
) -> None:
    """Say which lists a judge will see shorter than others."""
    for run in runs:
        top_k = min(experiment.config.experiment.top_k, len(material.datasets[run.dataset].corpus))
        lengths = [len(ranking) for ranking in run.rankings.values()]
        n_short, n_empty = sum(length < top_k for length in lengths), lengths.count(0)
        if n_short:
            few = f"fewer than {top_k} documents for {n_short} of {len(lengths)} queries"
            none = f", none at all for {n_empty}" if n_empty else ""
            reporter.say(f"note: {run.dataset}: {run.model} ranks {few}{none}")


def write_metrics(experiment: Experiment, material: Material, runs: Sequence[Run]) -> None:
    """Beside the runs of each dataset, what its qrels say of them, and what judges are shown."""
    top_k = experiment.config.experiment.top_k
    document_words = max(judge.document_words for judge in experiment.config.judges)
    for name, dataset in material.datasets.items():
        measured = {
            run.model: measure_run(run, dataset.qrels) for run in runs if run.dataset == name
        }
        table = {model: asdict(metrics) for model, metrics in measured.items() if metrics}
        path = experiment.retrieval(name, "").with_name("metrics.json")
        write_atomically(path, [orjson.dumps(table, option=orjson.OPT_INDENT_2), b"\n"])
        lists = {
            run.model: measure_lists(run, dataset, top_k=top_k, document_words=document_words)
            for run in runs
            if run.dataset == name
        }
        write_lists(lists, path.with_name("per_query.json"))
        keep_shown(
            path.with_name("shown.jsonl"),
            dataset,
            [run for run in runs if run.dataset == name],
            top_k=top_k,
            document_words=document_words,
        )
