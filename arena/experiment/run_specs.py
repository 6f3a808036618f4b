"""What each run is made of, and the key that tells when any of it changes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import orjson

from arena.config import RETRIEVAL_DEPTH, ModelConfig
from arena.data.corpus import corpus_hash
from arena.data.dataset_hashes import qrels_hash, queries_hash
from arena.data.passage_corpus import searched_corpus
from arena.data.query_sample import sample_queries
from arena.data.searchable_text import queries_in_corpus
from arena.digest import digest
from arena.experiment.experiment import Experiment
from arena.records import Dataset, Document
from arena.retrieval.partitioned import PartitionRanker
from arena.store.folder import Folder
from arena.version import __version__

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
        """Return how many documents of a ranking other models use at most; 0 if none does."""
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


def held_out_queries(spec: RunSpec) -> tuple[str, ...]:
    """Return the queries that weights are tuned on: graded ones outside the sample, at most 100.

    They are the last ones of the sample's permutation, so a larger sample meets them last.
    """
    dataset, sampled = spec.dataset, frozenset(spec.queries)
    seed = spec.experiment.config.experiment.seed
    graded = [
        query_id
        for query_id in sample_queries(dataset, None, seed)
        if query_id not in sampled
        and any(grade > 0 for grade in dataset.qrels.get(query_id, {}).values())
    ]
    return tuple(graded[-_MOST_HELD_OUT:])
