"""Every model's run on every data set: kept on disk, made again only when something has changed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import orjson

from arena.config import RETRIEVAL_DEPTH, ModelConfig
from arena.data.beir import qrels_hash, queries_hash, sample_queries
from arena.data.corpus import corpus_hash
from arena.data.metrics import measure_run
from arena.data.passage_corpus import parent_of, qrels_by_parent, run_by_parent, searched_corpus
from arena.data.searchable_text import queries_in_corpus
from arena.data.trec import read_run, read_stats, write_run, write_stats
from arena.digest import digest
from arena.errors import DataError, IncompleteError
from arena.experiment.experiment import Experiment, ExperimentData
from arena.experiment.named_metrics import note_metrics, write_named
from arena.files import cache_folder, write_atomically
from arena.judging.prompt import shown_parts, shown_query
from arena.progress import Reporter
from arena.records import Dataset, Document, RetrievalStats, Run
from arena.retrieval.fuse import with_members
from arena.retrieval.partitioned import PartitionRanker
from arena.retrieval.rerank import with_base
from arena.retrieval.retrieve import cost_usd, retrieve
from arena.store.folder import Folder
from arena.store.per_query import measure_lists, write_lists
from arena.store.texts import ShownDocument, ShownQuery, shown_key, write_shown
from arena.version import __version__


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
        ranker: ranks corpora that are in partitions; this process does where absent.

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
        for spec in run_specs(experiment, dataset, data.queries[name]):
            wanted = replace(spec, ranker=ranker)
            bases = [made[model] for model in wanted.model.below]
            made[wanted.model.name] = _kept(wanted) or _retrieve(wanted, reporter, bases)
            for note in read_stats(wanted.stats_path).notes:
                reporter.log(f"note: {name}: {wanted.model.name}: {note}")
        runs += [made[model.name] for model in experiment.config.models]
    note_short(experiment, data, runs, reporter)
    note_metrics(experiment, data, runs, reporter)
    write_metrics(experiment, data, runs)
    return tuple(runs)


def stored_run(wanted: RunSpec) -> Run | None:
    """Return the run on disk, if it is what this configuration would retrieve."""
    path, dataset = wanted.path, wanted.dataset
    try:
        if read_stats(wanted.stats_path).key != wanted.key:
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


def _kept(wanted: RunSpec) -> Run | None:
    """Return the run on disk if it is valid, with its cost at the price in today's arena.toml."""
    run = stored_run(wanted)
    if run is not None:
        path = wanted.stats_path
        stats = read_stats(path)
        cost = cost_usd(wanted.model, stats.tokens)
        if cost != stats.cost_usd:
            write_stats(replace(stats, cost_usd=cost), path)
    return run


def _retrieve(wanted: RunSpec, reporter: Reporter, bases: Sequence[Run]) -> Run:
    run, stats = _ranked(wanted, reporter, _with_held_out(wanted, bases, reporter))
    n_queries = len(wanted.queries)
    below = {spec.model.name: read_stats(spec.stats_path) for spec in wanted.below}
    if wanted.model.fuse is not None:
        latency = wanted.model.latency
        stats = with_members(stats, below, latency=latency, n_queries=n_queries)
    for name in below if wanted.model.base is not None else ():
        stats = with_base(stats, below[name], base_model=name, n_queries=n_queries)
    write_run(run, wanted.path)
    write_stats(replace(stats, key=wanted.key), wanted.stats_path)
    return run


def _with_held_out(wanted: RunSpec, bases: Sequence[Run], reporter: Reporter) -> Sequence[Run]:
    """Return the runs below a model; where it tunes weights, with the held-out queries as well.

    These rankings are not stored: their vectors are cached, and the tuned run is kept.
    """
    if wanted.model.weights != "tuned":
        return bases
    return [
        replace(base, rankings={**_ranked_held_out(spec, reporter).rankings, **base.rankings})
        for base, spec in zip(bases, wanted.below, strict=True)
    ]


def _ranked_held_out(wanted: RunSpec, reporter: Reporter) -> Run:
    spec = replace(wanted, queries=held_out_queries(wanted))
    bases = [_ranked_held_out(below, reporter) for below in wanted.below]
    return _ranked(spec, reporter, bases)[0]


def held_out_queries(wanted: RunSpec) -> tuple[str, ...]:
    """Return the queries that weights are tuned on: graded ones outside the sample, at most 100.

    They are the last ones of the sample's permutation, so a larger sample meets them last.
    """
    dataset, sampled = wanted.dataset, frozenset(wanted.queries)
    seed = wanted.experiment.config.experiment.seed
    graded = [
        query_id
        for query_id in sample_queries(dataset, None, seed)
        if query_id not in sampled
        and any(grade > 0 for grade in dataset.qrels.get(query_id, {}).values())
    ]
    return tuple(graded[-_MOST_HELD_OUT:])


def _ranked(
    wanted: RunSpec, reporter: Reporter, bases: Sequence[Run]
) -> tuple[Run, RetrievalStats]:
    model, dataset, queries = wanted.model, wanted.dataset, wanted.queries
    settings = wanted.experiment.config.experiment
    n_steps = len(wanted.corpus) + len(queries)
    with reporter.stage(f"{dataset.name}: {model.name}", n_steps) as stage:
        run, stats = retrieve(
            model,
            dataset,
            queries,
            depth=wanted.depth,
            cache=cache_folder(),
            bases=bases,
            ranker=wanted.ranker,
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
    of_wholes = qrels_by_parent(dataset.qrels, dataset.corpus)
    for query_id in dict.fromkeys(query_id for run in runs for query_id in run.rankings):
        lists = {
            run.model: tuple(place.doc_id for place in run.rankings[query_id][:top_k])
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


_UNRANKING: Final = {
    "price_per_1m_tokens",
    "price_per_1k_queries",
    "price_per_hour",
    "price_per_month",
    "license",
    "release_date",
    "batch_size",
    "concurrency",
    "api_key_env",
    "timeout_s",
    "maker",
    "about",
}
"""Settings of a model that leave its rankings as they are."""

_OF_FUSIONS: Final = ("fuse", "fuse_by", "fuse_depth", "rrf_k", "weights", "latency")
"""Settings that only fusions have; without them older runs on disk keep their keys."""

_OF_CUTTINGS: Final = ("passage_words", "overlap", "splitter", "titles", "returns")
"""Settings of models that cut documents; without them older runs on disk keep their keys."""

_MOST_HELD_OUT: Final = 100
"""Queries that weights are tuned on, at most."""

_SCRIPT_BYTES: Final = 2**20
"""A file that a command names is taken for a program up to this size, and else for its data."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One model's run on one data set."""

    experiment: Experiment
    model: ModelConfig
    dataset: Dataset
    queries: Sequence[str]  #: the sampled query_ids
    ranker: PartitionRanker | None = field(default=None, compare=False)
    """Ranks a corpus that is in partitions, with the same result; None for this process."""

    @property
    def path(self) -> Path:
        """Return where it is kept, as a TREC file."""
        return Folder(self.experiment.folder).run(self.dataset.name, self.model.name)

    @property
    def stats_path(self) -> Path:
        """Return where it stands what it took."""
        return Folder(self.experiment.folder).run_stats(self.dataset.name, self.model.name)

    @property
    def below(self) -> tuple[RunSpec, ...]:
        """Return the runs that this one is made of: what it reranks or fuses."""
        models = {model.name: model for model in self.experiment.config.models}
        return tuple(replace(self, model=models[name]) for name in self.model.below)

    @property
    def corpus(self) -> Mapping[str, Document]:
        """Return what the model searches: documents as they are, or the passages of its cutting."""
        return searched_corpus(self.dataset.corpus, self.model.cutting)

    @property
    def n_used(self) -> int:
        """Return how many documents of a ranking other models use at most; 0 where none does."""
        return max(
            (
                model.rerank_depth if model.fuse is None else model.fuse_depth
                for model in self.experiment.config.models
                if self.model.name in model.below
            ),
            default=0,
        )

    @property
    def depth(self) -> int:
        """Return how many documents of a ranking are kept."""
        settings = self.experiment.config.experiment
        return max(settings.top_k, RETRIEVAL_DEPTH, settings.metric_depth, self.n_used)

    @property
    def key(self) -> str:
        """Return a hash of everything that the run depends on, as far as arena can see it."""
        unused = {
            *(() if self.model.fuse is not None else _OF_FUSIONS),
            *(() if self.model.cutting is not None else _OF_CUTTINGS),
        }
        settings = self.model.model_dump(mode="json", exclude={*_UNRANKING, *unused})
        settings["over"] = settings.pop("base")  # the key that runs on disk were hashed with
        if self.model.base is not None:
            settings["base"] = self.below[0].key
        if self.model.fuse is not None:
            settings["members"] = [member.key for member in self.below]
        if self.model.weights == "tuned":
            settings["held_out"] = self._held_out_key()
        if self.model.provider == "openai" and self.model.base_url is None:
            settings["base_url"] = os.environ.get("OPENAI_BASE_URL") or None
        return digest(
            __version__,
            orjson.dumps(settings, option=orjson.OPT_SORT_KEYS),
            str(self.depth),
            *self._contents(),
            corpus_hash(self.corpus),
            queries_hash(self.dataset, self.queries),
            *sorted(queries_in_corpus(self.dataset, self.queries)),
        ).hex()

    def _held_out_key(self) -> str:
        """Return a hash of the queries that weights are tuned on, and of their grades."""
        query_ids = held_out_queries(self)
        qrels = {query_id: self.dataset.qrels[query_id] for query_id in query_ids}
        return queries_hash(self.dataset, query_ids) + qrels_hash(qrels)

    def _contents(self) -> list[bytes]:
        """Return hashes of the run file, of a command's scripts, or of a model's folder."""
        model = self.model
        if model.has_files:
            return [_state(Path(model.model or model.name).expanduser())]
        if model.run is not None:
            paths = [Path(model.run.replace("{dataset}", self.dataset.name))]
        else:
            folder = model.folder or Path()
            found = [folder / word for word in shlex.split(model.command or "")]
            paths = [path for path in found if _is_script(path)]
        return [digest(path.read_bytes()) for path in paths if path.is_file()]


def _is_script(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _SCRIPT_BYTES
    except OSError:
        return False  # no file's name, but a long option, or a whole program after -c


def _state(path: Path) -> bytes:
    """Hash names, sizes and times of a folder's files: weights are too large to read."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(file, file.stat()) for file in files if file.is_file()]
    return digest(*(f"{file} {state.st_size} {state.st_mtime_ns}" for file, state in states))


def run_specs(experiment: Experiment, dataset: Dataset, queries: Sequence[str]) -> list[RunSpec]:
    """Return every model's run on a data set, each after the runs that it is made of."""
    below = {model.name: model.below for model in experiment.config.models}

    def height(model: str) -> int:
        return max((1 + height(name) for name in below[model]), default=0)

    models = sorted(experiment.config.models, key=lambda model: height(model.name))
    return [RunSpec(experiment, model, dataset, queries) for model in models]
