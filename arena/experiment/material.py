"""One experiment: an arena.toml, its data, and its folder under runs/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

import arena
from arena.config import (
    RETRIEVAL_DEPTH,
    Config,
    DatasetConfig,
    ModelConfig,
    load_config,
    safe_filename,
)
from arena.data.beir import corpus_hash, load_beir, queries_hash, sample_queries
from arena.data.builtin import python_docs
from arena.data.metrics import measure_run
from arena.data.per_query import measure_lists, write_lists
from arena.data.trec import read_run, read_stats, write_run, write_stats
from arena.digest import digest
from arena.errors import DataError, UsageError
from arena.files import write_atomically
from arena.progress import Reporter
from arena.records import Dataset, Run
from arena.retrieval.retrieve import retrieve
from arena.retrieval.vectors import cache_folder

_UNRANKING = {
    "price_per_1m_tokens",
    "license",
    "release_date",
    "batch_size",
    "concurrency",
    "api_key_env",
}
"""Settings of a model that leave its rankings as they are."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one arena.toml asks for, and where its results are."""

    config: Config
    source: Path  #: the arena.toml
    folder: Path  #: runs/<name> beside it

    def retrieval(self, dataset: str, model: str) -> Path:
        """Where a model's run on a dataset is kept, as a TREC file."""
        names = safe_filename(dataset), f"{safe_filename(model)}.trec"
        return self.folder.joinpath("retrieval", *names)


@dataclass(frozen=True, slots=True)
class Material:
    """What battles are made of."""

    datasets: Mapping[str, Dataset]
    queries: Mapping[str, tuple[str, ...]]  #: dataset → its sampled query_ids
    notes: tuple[str, ...]  #: what a reader of the results should know


def open_experiment(path: Path) -> Experiment:
    """Open the experiment that an arena.toml, or the folder that holds one, describes.

    Raises:
        ConfigError: the file is missing or has mistakes.
        UsageError: the folder holds results, not what they were made from.
    """
    source = path / "arena.toml" if path.is_dir() else path
    if source.with_name("manifest.json").exists():
        raise UsageError(
            f"{path}: holds an experiment's results; give the arena.toml that they were made from"
        )
    config = load_config(source)
    return Experiment(config, source, source.parent / "runs" / config.experiment.name)


def load_material(config: Config) -> Material:
    """Load the data sets and sample their queries.

    The qrels judge has nothing to say of a query without relevant documents: such queries are
    left out before sampling, and counted in the notes.

    Raises:
        DataError: a data set cannot be read, naming file and line.
        UsageError: the qrels judge is asked for, and a data set has no qrels.
    """
    datasets = {dataset.name: _load(dataset) for dataset in config.datasets}
    queries: dict[str, tuple[str, ...]] = {}
    notes = []
    for name, dataset in datasets.items():
        notes += [f"{name}: {note}" for note in dataset.notes]
        by_qrels = any(judge.kind == "qrels" for judge in config.judges)
        eligible = _with_qrels(dataset) if by_qrels else dataset
        if left_out := len(dataset.queries) - len(eligible.queries):
            notes.append(f"{name}: {left_out} queries have no relevant document and were left out")
        settings = config.experiment
        queries[name] = sample_queries(eligible, settings.queries, settings.seed)
    return Material(datasets, queries, tuple(notes))


def retrieve_all(experiment: Experiment, material: Material, reporter: Reporter) -> tuple[Run, ...]:
    """Every model's run on every dataset: read where it is still valid, else made."""
    runs = []
    for name, dataset in material.datasets.items():
        for model in experiment.config.models:
            queries = material.queries[name]
            run = stored_run(experiment, model, dataset, queries)
            runs.append(run or _retrieve(experiment, model, dataset, queries, reporter))
    _write_metrics(experiment, material, runs)
    return tuple(runs)


def stored_run(
    experiment: Experiment, model: ModelConfig, dataset: Dataset, queries: Sequence[str]
) -> Run | None:
    """The run on disk, if it is what this configuration would retrieve."""
    path = experiment.retrieval(dataset.name, model.name)
    try:
        if read_stats(path.with_suffix(".json")).key != _key(model, dataset, queries):
            return None
        return read_run(path, dataset=dataset, model=model.name, query_ids=queries, complete=False)
    except DataError:
        return None  # missing or damaged: it is made again, from cached vectors


def _load(config: DatasetConfig) -> Dataset:
    if config.path is None:
        return replace(python_docs(), name=config.name)
    return load_beir(config.path, config.name)


def _with_qrels(dataset: Dataset) -> Dataset:
    relevant = {query for query, grades in dataset.qrels.items() if max(grades.values()) > 0}
    if not relevant:
        raise UsageError(f"{dataset.name}: has no qrels to judge by; use an LLM judge")
    queries = {name: query for name, query in dataset.queries.items() if name in relevant}
    return replace(dataset, queries=queries)


def _retrieve(
    experiment: Experiment,
    model: ModelConfig,
    dataset: Dataset,
    queries: Sequence[str],
    reporter: Reporter,
) -> Run:
    title = f"{dataset.name}: {model.name}"
    with reporter.stage(title, len(dataset.corpus) + len(queries)) as stage:
        run, stats = retrieve(
            model,
            dataset,
            queries,
            depth=max(experiment.config.experiment.top_k, RETRIEVAL_DEPTH),
            cache=cache_folder(),
            progress=lambda done, _total: stage.update(done),
        )
        stage.update(len(dataset.corpus) + len(queries))
    path = experiment.retrieval(dataset.name, model.name)
    write_run(run, path)
    write_stats(replace(stats, key=_key(model, dataset, queries)), path.with_suffix(".json"))
    return run


def _key(model: ModelConfig, dataset: Dataset, queries: Sequence[str]) -> str:
    """Hash of everything that a run depends on."""
    settings = model.model_dump(mode="json", exclude=_UNRANKING)
    if model.run is not None:
        path = Path(model.run.replace("{dataset}", dataset.name))
        settings["content"] = digest(path.read_bytes()).hex() if path.is_file() else ""
    return digest(
        arena.__version__,
        orjson.dumps(settings, option=orjson.OPT_SORT_KEYS),
        corpus_hash(dataset.corpus),
        queries_hash(dataset, queries),
    ).hex()


def _write_metrics(experiment: Experiment, material: Material, runs: Sequence[Run]) -> None:
    """Beside the runs of each dataset, what its qrels say of them, and of the lists shown."""
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
