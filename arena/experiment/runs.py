"""Every model's run on every data set: kept on disk, made again only when something has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from arena.data.metrics import measure_run
from arena.data.passage_corpus import parent_of, qrels_by_parent, run_by_parent
from arena.data.run_file import read_run, read_stats, write_run, write_stats
from arena.digest import digest
from arena.errors import DataError, IncompleteError
from arena.experiment.experiment import Experiment, ExperimentData
from arena.experiment.named_metrics import note_metrics, write_named
from arena.experiment.run_specs import RunSpec, held_out_queries, run_specs
from arena.files import cache_folder, write_atomically
from arena.judging.prompt import shown_parts, shown_query
from arena.progress import Reporter
from arena.records import Dataset, RetrievalStats, Run
from arena.retrieval.fuse import with_members
from arena.retrieval.partitioned import PartitionRanker
from arena.retrieval.rerank import with_base
from arena.retrieval.retrieve import cost_usd, retrieve
from arena.store.folder import Folder
from arena.store.per_query import measure_lists, write_lists
from arena.store.texts import ShownDocument, ShownQuery, shown_key, write_shown


def retrieve_all(
    experiment: Experiment,
    data: ExperimentData,
    reporter: Reporter,
    ranker: PartitionRanker | None = None,
) -> tuple[Run, ...]:
    """Return every model's run on every dataset: read where it is still valid, else made.

    Args:
        experiment: names the models.
        data: its data sets and queries.
        reporter: told how far it is.
        ranker: ranks corpora that are in partitions; this process does if absent.

    Raises:
        ApiError: an endpoint failed.
        CommandError: a program failed.
        DataError: a run file does not fit the data set.
        IncompleteError: it was interrupted.
        UsageError: a model cannot be loaded or started.
    """
    try:
        return _retrieve_all(experiment, data, reporter, ranker)
    except KeyboardInterrupt:
        kept = "what is embedded and scored is kept, and the same command goes on from there"
        raise IncompleteError(f"stopped: {kept}") from None


def _retrieve_all(
    experiment: Experiment,
    data: ExperimentData,
    reporter: Reporter,
    ranker: PartitionRanker | None,
) -> tuple[Run, ...]:
    runs: list[Run] = []
    for name, dataset in data.datasets.items():
        made: dict[str, Run] = {}
        # A fusion or reranker comes after the models below it, so their runs are there.
        for spec_here in run_specs(experiment, dataset, data.queries[name]):
            spec = replace(spec_here, ranker=ranker)
            bases = [made[model] for model in spec.model.below]
            made[spec.model.name] = _stored_at_price(spec) or _retrieve(spec, reporter, bases)
            for note in read_stats(spec.stats_path).notes:
                reporter.log(f"note: {name}: {spec.model.name}: {note}")
        runs += [made[model.name] for model in experiment.config.models]
    note_short(experiment, data, runs, reporter)
    note_metrics(experiment, data, runs, reporter)
    write_metrics(experiment, data, runs)
    return tuple(runs)


def stored_run(spec: RunSpec) -> Run | None:
    """Return the run on disk, if it is what this configuration would retrieve."""
    path, dataset = spec.path, spec.dataset
    try:
        if read_stats(spec.stats_path).key != spec.key:
            return None
        return read_run(
            path,
            dataset=dataset,
            model=spec.model.name,
            query_ids=spec.queries,
            complete=False,
        )
    except DataError:
        return None  # missing or damaged: it is made again, from what is cached


def _stored_at_price(spec: RunSpec) -> Run | None:
    """Return the run on disk if it is valid, with its cost at the price in today's arena.toml."""
    run = stored_run(spec)
    if run is not None:
        path = spec.stats_path
        stats = read_stats(path)
        cost = cost_usd(spec.model, stats.tokens)
        if cost != stats.cost_usd:
            write_stats(replace(stats, cost_usd=cost), path)
    return run


def _retrieve(spec: RunSpec, reporter: Reporter, bases: Sequence[Run]) -> Run:
    """Make a run and write it, with its latency and cost; those below it are paid for as well."""
    run, stats = _ranked(spec, reporter, _with_held_out(spec, bases, reporter))
    n_queries = len(spec.queries)
    below = {lower.model.name: read_stats(lower.stats_path) for lower in spec.below}
    if spec.model.fuse is not None:
        latency = spec.model.latency
        stats = with_members(stats, below, latency=latency, n_queries=n_queries)
    for name in below if spec.model.base is not None else ():
        stats = with_base(stats, below[name], base_model=name, n_queries=n_queries)
    write_run(run, spec.path)
    # The key is in the statistics, and comes last: after a kill the run counts as not made.
    write_stats(replace(stats, key=spec.key), spec.stats_path)
    return run


def _with_held_out(tuned: RunSpec, bases: Sequence[Run], reporter: Reporter) -> Sequence[Run]:
    """Return the runs below a model; where it tunes weights, with the held-out queries as well.

    These rankings are not stored: their vectors are cached, and the tuned run is kept.
    """
    if tuned.model.weights != "tuned":
        return bases
    return [
        replace(base, rankings={**_ranked_held_out(spec, reporter).rankings, **base.rankings})
        for base, spec in zip(bases, tuned.below, strict=True)
    ]


def _ranked_held_out(tuned: RunSpec, reporter: Reporter) -> Run:
    held_out = replace(tuned, queries=held_out_queries(tuned))
    bases = [_ranked_held_out(below, reporter) for below in tuned.below]
    return _ranked(held_out, reporter, bases)[0]


def _ranked(spec: RunSpec, reporter: Reporter, bases: Sequence[Run]) -> tuple[Run, RetrievalStats]:
    """Retrieve one run, with a stage of its own in the progress."""
    model, dataset, queries = spec.model, spec.dataset, spec.queries
    settings = spec.experiment.config.experiment
    n_steps = len(spec.corpus) + len(queries)
    with reporter.stage(f"{dataset.name}: {model.name}", n_steps) as stage:
        run, stats = retrieve(
            model,
            dataset,
            queries,
            depth=spec.depth,
            cache=cache_folder(),
            bases=bases,
            ranker=spec.ranker,
            memory_mb=settings.memory_mb,
            place=settings.hardware,
            progress=lambda done, _total: stage.update(done),
        )
        stage.update(n_steps)
    return run, stats


def note_short(
    experiment: Experiment, data: ExperimentData, runs: Sequence[Run], reporter: Reporter
) -> None:
    """Report which lists a judge will see shorter than others."""
    for run in runs:
        top_k = min(experiment.config.experiment.top_k, len(data.datasets[run.dataset].corpus))
        lengths = [len(ranking) for ranking in run.rankings.values()]
        n_short, n_empty = sum(length < top_k for length in lengths), lengths.count(0)
        if n_short:
            few = f"fewer than {top_k} documents for {n_short} of {len(lengths)} queries"
            none = f", none at all for {n_empty}" if n_empty else ""
            reporter.log(f"note: {run.dataset}: {run.model} ranks {few}{none}")


def write_metrics(experiment: Experiment, data: ExperimentData, runs: Sequence[Run]) -> None:
    """Write metrics by qrels, and the texts that judges see, beside each data set's runs."""
    files = Folder(experiment.folder)
    top_k = experiment.config.experiment.top_k
    document_words = max(judge.document_words for judge in experiment.config.judges)
    for name, dataset in data.datasets.items():
        qrels = qrels_by_parent(dataset.qrels, dataset.corpus)
        measured = {
            run.model: measure_run(run_by_parent(run, dataset.corpus), qrels)
            for run in runs
            if run.dataset == name
        }
        table = {model: asdict(metrics) for model, metrics in measured.items() if metrics}
        raw = orjson.dumps(table, option=orjson.OPT_INDENT_2)
        write_atomically(files.metrics(name), [raw, b"\n"])
        write_named(experiment, dataset, [run for run in runs if run.dataset == name])
        lists = {
            run.model: measure_lists(run, dataset, top_k=top_k, document_words=document_words)
            for run in runs
            if run.dataset == name
        }
        write_lists(lists, files.per_query(name))
        keep_shown(
            files.shown(name),
            dataset,
            [run for run in runs if run.dataset == name],
            top_k=top_k,
            document_words=document_words,
        )


_FORMAT = "1"
"""Part of the key: raise it when the same runs would be written otherwise."""


def keep_shown(
    path: Path, dataset: Dataset, runs: Sequence[Run], *, top_k: int, document_words: int
) -> None:
    """Write the queries of some runs, their grades, and the documents of all lists.

    A file that already holds just that is left alone.

    Args:
        path: the shown.jsonl.
        dataset: what the runs are about.
        runs: one a model, over the same queries.
        top_k: documents of each list that a judge sees.
        document_words: to how many words each title and text is cut.
    """
    queries = tuple(_queries(dataset, runs, top_k))
    key = _key(dataset, queries, document_words)
    if shown_key(path) != key:
        write_shown(path, key, _items(dataset, queries, document_words))


def _queries(dataset: Dataset, runs: Sequence[Run], top_k: int) -> Iterator[ShownQuery]:
    """Yield each query with its lists, and the grades that its documents have or inherit."""
    of_wholes = qrels_by_parent(dataset.qrels, dataset.corpus)
    for query_id in dict.fromkeys(query_id for run in runs for query_id in run.rankings):
        lists = {
            run.model: tuple(scored.doc_id for scored in run.rankings[query_id][:top_k])
            for run in runs
            if query_id in run.rankings
        }
        grades, relevant = of_wholes.get(query_id, {}), dict(dataset.qrels.get(query_id, {}))
        for doc_id in (doc_id for doc_ids in lists.values() for doc_id in doc_ids):
            if (grade := grades.get(parent_of(dataset.corpus, doc_id))) is not None:
                relevant.setdefault(doc_id, grade)
        yield ShownQuery(
            query_id=query_id,
            text=shown_query(dataset.queries[query_id]),
            relevant=relevant,
            lists=lists,
        )


def _items(
    dataset: Dataset, queries: Sequence[ShownQuery], document_words: int
) -> Iterator[ShownDocument | ShownQuery]:
    written: set[str] = set()
    for query in queries:
        for doc_id in _shown_in(query):
            if doc_id not in written:
                written.add(doc_id)
                yield ShownDocument(doc_id, *shown_parts(dataset.corpus[doc_id], document_words))
        yield query


def _key(dataset: Dataset, queries: Sequence[ShownQuery], document_words: int) -> str:
    """Hash of the texts before they are cut, which takes no time beside the cutting."""
    doc_ids = dict.fromkeys(doc_id for query in queries for doc_id in _shown_in(query))
    documents = (dataset.corpus[doc_id] for doc_id in doc_ids)
    texts = (digest(document.title, document.text) for document in documents)
    return digest(_FORMAT, str(document_words), *map(orjson.dumps, queries), *texts).hex()


def _shown_in(query: ShownQuery) -> Iterator[str]:
    return (doc_id for doc_ids in query.lists.values() for doc_id in doc_ids)
