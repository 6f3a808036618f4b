"""The runs that an experiment asks for: where each is kept, and what it depends on."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

import arena
from arena.config import RETRIEVAL_DEPTH, ModelConfig
from arena.data.beir import corpus_hash, queries_hash
from arena.data.passages import queries_in_corpus
from arena.digest import digest
from arena.experiment.material import Experiment
from arena.records import Dataset

_UNRANKING: Final = {
    "price_per_1m_tokens",
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

_SCRIPT_BYTES: Final = 2**20
"""A file that a command names is taken for a program up to this size, and else for its data."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model's run on one data set."""

    experiment: Experiment
    model: ModelConfig
    dataset: Dataset
    queries: Sequence[str]  #: the sampled query_ids

    @property
    def path(self) -> Path:
        """The TREC file; its stats are beside it, as JSON."""
        return self.experiment.retrieval(self.dataset.name, self.model.name)

    @property
    def base(self) -> Wanted | None:
        """The run that this one reorders, if it does."""
        models = {model.name: model for model in self.experiment.config.models}
        if self.model.over is None:
            return None
        return Wanted(self.experiment, models[self.model.over], self.dataset, self.queries)

    @property
    def n_reranked(self) -> int:
        """How many documents of a ranking others rerank at most; 0 where none does."""
        models = self.experiment.config.models
        return max((m.rerank_depth for m in models if m.over == self.model.name), default=0)

    @property
    def depth(self) -> int:
        """How many documents of a ranking are kept."""
        return max(self.experiment.config.experiment.top_k, RETRIEVAL_DEPTH, self.n_reranked)

    @property
    def key(self) -> str:
        """Hash of everything that the run depends on, as far as it can be seen."""
        settings = self.model.model_dump(mode="json", exclude=_UNRANKING)
        if self.base is not None:
            settings["base"] = self.base.key
        if self.model.provider == "openai" and self.model.base_url is None:
            settings["base_url"] = os.environ.get("OPENAI_BASE_URL") or None
        return digest(
            arena.__version__,
            orjson.dumps(settings, option=orjson.OPT_SORT_KEYS),
            str(self.depth),
            *self._contents(),
            corpus_hash(self.dataset.corpus),
            queries_hash(self.dataset, self.queries),
            *sorted(queries_in_corpus(self.dataset, self.queries)),
        ).hex()

    def _contents(self) -> list[bytes]:
        """Hashes of the run file, of the scripts that a command names, or of a model's folder."""
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
    """Which files lie in a folder, by size and time: weights are too large to be read each time."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [(file, file.stat()) for file in files if file.is_file()]
    return digest(*(f"{file} {state.st_size} {state.st_mtime_ns}" for file, state in states))


def wanted_runs(experiment: Experiment, dataset: Dataset, queries: Sequence[str]) -> list[Wanted]:
    """Every model's run on a data set, those that others rerank before those that rerank them."""
    over: Mapping[str, str | None] = {m.name: m.over for m in experiment.config.models}

    def n_below(model: str | None) -> int:
        return 0 if model is None else 1 + n_below(over[model])

    models = sorted(experiment.config.models, key=lambda model: n_below(model.over))
    return [Wanted(experiment, model, dataset, queries) for model in models]
