"""One experiment: an arena.toml, its data, and its folder under runs/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

from arena.config import Config, DatasetConfig, load_config
from arena.data.corpus_part import facts_of, part_of
from arena.data.load import load_corpus, load_dataset
from arena.data.passage_corpus import with_passages
from arena.data.query_sample import sample_queries
from arena.errors import UsageError
from arena.experiment.plan import Turn, count_matchups, turn_matchups, turns
from arena.experiment.shown_lists import Lists
from arena.judging.gate import known_answers
from arena.judging.judge import Judge
from arena.judging.open import prompt_name
from arena.judging.prompt import Prompt, load_prompt
from arena.progress import Reporter
from arena.progress import reporter as new_reporter
from arena.records import Dataset, Matchup, Run
from arena.retrieval.fuse import refuse_untunable
from arena.store.folder import Folder

_WHOLE_FILE: Final = 10_000_000
"""Words of a passage that no file exceeds, so that a file is put together of few passages."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """What one arena.toml asks for, and where its results are."""

    config: Config
    source: Path  #: the arena.toml
    folder: Path  #: runs/<name> beside it
    origin: Origin | None = None  #: the experiment whose battles are judged again, if any are

    @property
    def retrieved(self) -> Experiment:
        """Return the experiment that the runs belong to: the origin's, if there is one."""
        return self.origin.experiment if self.origin else self

    @property
    def judges_from(self) -> Path:
        """Return the file that configures the judges."""
        return self.origin.judges_from if self.origin else self.source


@dataclass(frozen=True, slots=True)
class Origin:
    """The experiment whose battles are judged again, and how."""

    experiment: Experiment
    judges_from: Path  #: the file that configures the judges
    tree: Mapping[str, Any]  #: the arena.toml that would judge so, parsed
    queries: int | None = None  #: judge the battles of this many queries per data set; None: all
    bypasses_cache: bool = False  #: ask the judge again, even if a cache has the reply


@dataclass(frozen=True, slots=True)
class ExperimentData:
    """What battles are made of."""

    datasets: Mapping[str, Dataset]
    queries: Mapping[str, tuple[str, ...]]  #: dataset → its sampled query_ids
    notes: tuple[str, ...]  #: what a reader of the results should know


def open_experiment(path: Path) -> Experiment:
    """Open the experiment that an arena.toml, or the folder that holds one, describes.

    Raises:
        ConfigError: the file is missing or has mistakes.
        UsageError: the folder holds results, not what they were made from; or a file is where
            the results would go.
    """
    source = path / "arena.toml" if path.is_dir() else path
    if Folder(source.parent).is_experiment:
        raise UsageError(
            f"{path}: holds an experiment's results; give the arena.toml that they were made from"
        )
    config = load_config(source)
    folder = source.parent / "runs" / config.experiment.name
    for needed in (folder.parent, folder):
        if needed.exists() and not needed.is_dir():
            raise UsageError(f"{needed}: is a file, but arena writes a folder there; move it away")
    return Experiment(config, source, folder)


def load_data(config: Config, reporter: Reporter | None = None) -> ExperimentData:
    """Load the data sets and sample their queries.

    The qrels judge has nothing to say of a query without relevant documents: such queries are
    left out before sampling, and counted in the notes.

    Args:
        config: names the data sets.
        reporter: told how far the loading is, where that takes long.

    Raises:
        DataError: a data set cannot be read, naming file and line.
        UsageError: the qrels judge is asked for, and a data set has no qrels; or weights are to be
            tuned, and too few graded queries are outside the sample.
    """
    datasets = {
        dataset.name: _with_passages(load_dataset(dataset, reporter), dataset, config, reporter)
        for dataset in config.datasets
    }
    queries: dict[str, tuple[str, ...]] = {}
    notes = []
    for name, dataset in datasets.items():
        notes += [f"{name}: {note}" for note in dataset.notes]
        queries[name], left_out = sampled_queries(dataset, config)
        if left_out:
            notes.append(f"{name}: {left_out} queries have no relevant document and were left out")
        for model in config.models:
            refuse_untunable(model, dataset, queries[name])
    return ExperimentData(datasets, queries, tuple(notes))


def sampled_queries(dataset: Dataset, config: Config) -> tuple[tuple[str, ...], int]:
    """Return the queries of an experiment, and how many its qrels judge could not judge.

    Raises:
        UsageError: the qrels judge is asked for, and the data set has no qrels.
    """
    by_qrels = any(judge.kind == "qrels" for judge in config.judges)
    eligible = _with_qrels(dataset) if by_qrels else dataset
    settings = config.experiment
    sampled = sample_queries(eligible, settings.queries, settings.seed)
    return sampled, len(dataset.queries) - len(eligible.queries)


def _with_passages(
    dataset: Dataset, section: DatasetConfig, config: Config, reporter: Reporter | None
) -> Dataset:
    """Return a data set with the passages that models of the experiment search."""
    cuttings = [model.cutting for model in config.models if model.cutting is not None]
    if not cuttings:
        return dataset
    files = None
    if section.documents is not None:
        whole = section.model_copy(update={"passage_words": _WHOLE_FILE})
        files = load_corpus(whole, reporter)
    telling = reporter or new_reporter(quiet=True)
    return dataset.with_corpus(with_passages(dataset, cuttings, telling, files=files))


def _with_qrels(dataset: Dataset) -> Dataset:
    relevant = {query for query, grades in dataset.qrels.items() if max(grades.values()) > 0}
    if not relevant:
        raise UsageError(f"{dataset.name}: has no qrels to judge by; use an LLM judge")
    queries = {name: query for name, query in dataset.queries.items() if name in relevant}
    return replace(dataset, queries=queries)


@dataclass(frozen=True, slots=True)
class PreparedExperiment:
    """An experiment, ready for battle."""

    experiment: Experiment
    data: ExperimentData
    runs: Sequence[Run]
    lists: Lists
    prompts: Mapping[str, Prompt | None]  #: judge → its template; None for one that is no LLM
    own_judges: Mapping[str, Judge] = field(default_factory=dict)
    """Judges that no arena.toml describes, such as functions of the user's, by name."""
    plays: Callable[[Matchup], bool] | None = None
    """Whether a matchup of the plan is judged; every one is if absent."""

    @property
    def config(self) -> Config:
        """Return the experiment's arena.toml."""
        return self.experiment.config

    @property
    def matchups(self) -> Iterator[Matchup]:
        """Yield the whole plan, lazily; every judge plays it."""
        return self.matchups_of(turns(self.data.queries))

    @property
    def n_matchups(self) -> int:
        """Return how many matchups the plan has."""
        if self.plays is not None:
            return sum(1 for _ in self.matchups)
        settings = self.config.experiment
        return count_matchups(
            len(self.config.models),
            self.data.queries,
            orders=settings.orders,
            pairs_per_query=settings.pairs_per_query,
        )

    @property
    def is_sparse(self) -> bool:
        """Return whether a query plays only a part of the pairs."""
        n_pairs = len(self.config.models) * (len(self.config.models) - 1) // 2
        return self._drawn is not None and self._drawn < n_pairs

    @property
    def all_matchups(self) -> Iterator[Matchup]:
        """Yield all pairs on all queries: the battles that may be in the log under any plan.

        A sparse plan draws other pairs once a model joins or leaves. Which pairs it draws does not
        depend on verdicts, so those of an earlier draw are as good, and stay.
        """
        return self._of(turns(self.data.queries), self._models, None)

    def matchups_of(
        self, turns: Iterable[Turn], plays: Callable[[str], bool] | None = None
    ) -> Iterator[Matchup]:
        """Yield the plan of some queries.

        Args:
            turns: the queries.
            plays: whether a model still plays; all do if absent. A sparse plan draws its pairs
                among those that do.
        """
        models = [name for name in self._models if plays is None or plays(name)]
        return self._of(turns, models, self._drawn)

    @property
    def _drawn(self) -> int | None:
        """Return how many pairs a query plays; None for all of them, or all that may be judged."""
        return self.config.experiment.pairs_per_query if self.plays is None else None

    @property
    def _models(self) -> list[str]:
        return [model.name for model in self.config.models]

    def _of(
        self, turns: Iterable[Turn], models: Sequence[str], pairs_per_query: int | None
    ) -> Iterator[Matchup]:
        """Yield the matchups of some queries among these models, without those not played."""
        settings = self.config.experiment
        for turn in turns:
            matchups = turn_matchups(
                turn,
                models,
                orders=settings.orders,
                seed=settings.seed,
                pairs_per_query=pairs_per_query,
            )
            yield from matchups if self.plays is None else filter(self.plays, matchups)


def prepare(
    experiment: Experiment,
    data: ExperimentData,
    runs: Sequence[Run],
    prompts: Mapping[str, Prompt | None],
) -> PreparedExperiment:
    """Put together what battles need."""
    lists = Lists(data.datasets, runs, top_k=experiment.config.experiment.top_k)
    return PreparedExperiment(experiment, data, runs, lists, prompts)


def only_shown(prepared: PreparedExperiment) -> PreparedExperiment:
    """Return the experiment with no more documents than judges are shown.

    Those are the first documents of each list, and of the controls of the gate. The rest of the
    corpora, and of the runs, is free once nobody else holds it.
    """
    data, top_k = prepared.data, prepared.config.experiment.top_k
    runs = [
        replace(run, rankings={query: places[:top_k] for query, places in run.rankings.items()})
        for run in prepared.runs
    ]
    of_files = {section.name for section in prepared.config.datasets if section.documents}
    datasets = {}
    for name, dataset in data.datasets.items():
        runs_of_dataset = [run for run in runs if run.dataset == name]
        listed = (
            place.doc_id
            for run in runs_of_dataset
            for places in run.rankings.values()
            for place in places
        )
        controls = (
            doc_id
            for query_id in data.queries[name]
            for doc_id in known_answers(dataset, query_id, runs_of_dataset, top_k)
        )
        shown = (dataset.corpus[doc_id] for doc_id in dict.fromkeys(chain(listed, controls)))
        facts = facts_of(dataset.corpus, of_files=name in of_files)
        datasets[name] = dataset.with_corpus(part_of(shown, facts))
    lists = Lists(datasets, runs, top_k=top_k)
    return replace(prepared, data=replace(data, datasets=datasets), runs=runs, lists=lists)


def load_prompts(experiment: Experiment) -> dict[str, Prompt | None]:
    """Return each judge's template, by the judge's name.

    Raises:
        ConfigError: a template is missing, or not as it should be.
    """
    folder = experiment.judges_from.parent
    return {
        judge.log_name: None
        if judge.kind == "qrels"
        else load_prompt(prompt_name(judge), folder=folder)
        for judge in experiment.config.judges
    }
