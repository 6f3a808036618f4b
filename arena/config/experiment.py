"""arena.toml: the file that describes an experiment.

arena collects all mistakes of a file and reports them together, each with its key. An unknown key
suggests the nearest known one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    Field,
    Strict,
    ValidationError,
    model_validator,
)

from arena.config.cluster import ClusterConfig
from arena.config.datasets import DatasetConfig
from arena.config.judges import JudgeConfig
from arena.config.models import Cutting, ModelConfig, swept
from arena.config.section import FileName, Section, Settings, problem_lines
from arena.config.usage import UsageConfig
from arena.errors import ConfigError
from arena.files import parse_toml, safe_filename
from arena.metric_names import depth_of, parse_metric
from arena.records import Orders

RETRIEVAL_DEPTH = 100
"""Minimum number of documents of a run, so that metrics and a later top_k need no new run."""

_BESIDE_RUNS: Final = frozenset({"metrics", "named_metrics", "per_query", "shown"})
"""File names in a data set's run folder that belong to all models."""


_OF_TWO_LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    "kind": ("pairwise",),
    "answer": ("letter",),
    "prompt": ("pairwise", "letter"),
}
"""What a judge says that reads two lists."""


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    known: dict[str, str] = {}
    for name in names:
        first = known.setdefault(str(parse_metric(name)), name)
        if first is not name:
            raise ValueError(f"{first} and {name} are the same metric; keep one")
    return tuple(name.strip() for name in names)


MetricNames = Annotated[
    tuple[str, ...],
    Strict(strict=False),
    Field(min_length=1, max_length=20),
    AfterValidator(_distinct),
]
"""Names of ir_measures, which differ from each other."""


class ExperimentConfig(Section):
    """``[experiment]``: the settings of the comparison."""

    name: FileName
    """The folder under runs/."""
    seed: Annotated[int, Field(ge=0)] = 42
    """The seed of the sampled queries and of the order of battles."""
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    """Number of documents of each list that the judge sees."""
    queries: Annotated[int, Field(ge=1)] | None = None
    """Queries per data set, sampled with the seed; default: all."""
    orders: Orders = "both"
    """``both``: home and away. ``balanced``: one order per query and pair, counterbalanced."""
    plan: Literal["all", "sparse", "grades"] | None = None
    """How calls to the judge are spent.

    ``all``: all pairs of models on each query. ``sparse``: `pairs_per_query` of them, drawn again
    for each query. ``grades``: the judge grades each document of the lists once (``kind =
    "pointwise"``), and all pairs follow. Default: ``sparse`` if there is a `pairs_per_query`, else
    ``all``.
    """
    pairs_per_query: Annotated[int, Field(ge=1)] | None = None
    """Pairs of models that each query plays; default of a sparse plan: as many as models."""
    metrics: MetricNames | None = None
    """Metrics by relevance grades, as ir_measures names them: ``nDCG@10``, ``RR(rel=2)@10``.
    Default: nDCG@5, nDCG@10, R@5, R@10 and Judged@10."""
    memory_mb: Annotated[int, Field(ge=64)] = 1024
    """The memory limit of a vector search in MB; results do not depend on it."""
    hardware: Annotated[str, Field(max_length=120)] | None = Field(
        default=None, validation_alias=AliasChoices("hardware", "place")
    )
    """Where latencies are measured, for people; default: this machine's processor. ``place`` is the
    key's old name."""

    @property
    def metric_depth(self) -> int:
        """Return how many documents of a ranking the metrics need; 0 if none is named."""
        metrics = map(parse_metric, self.metrics or ())
        return max((depth_of(metric) or 0 for metric in metrics), default=0)


class Config(Settings):
    """A whole arena.toml."""

    experiment: ExperimentConfig
    datasets: Annotated[tuple[DatasetConfig, ...], Strict(strict=False)]
    models: Annotated[tuple[ModelConfig, ...], Strict(strict=False)]
    judge: JudgeConfig | None = None
    """The only judge; None for a panel."""
    judges: Annotated[tuple[JudgeConfig, ...], Strict(strict=False)] = ()
    """The judges of each battle: the one of ``[judge]``, or a panel of ``[[judges]]``."""
    usage: UsageConfig | None = None
    """How much the search is used; None: no dollars a month."""
    cluster: ClusterConfig | None = None
    """Where the work is done with ``--cluster``; None: on this machine."""

    @model_validator(mode="after")
    def _enough_to_compare(self) -> Self:
        if not self.datasets:
            raise ValueError("datasets: none given; add a [[datasets]] section")
        if len(self.models) < 2:
            raise ValueError("models: a battle needs two; add a [[models]] section")
        return self

    @model_validator(mode="after")
    def _one_judge_or_a_panel(self) -> Self:
        if self.judge is None and not self.judges:
            raise ValueError("judge: missing; add a [judge] section, or [[judges]] for a panel")
        if self.judge is None:
            return self
        if self.judges:
            raise ValueError("judge: there are [[judges]] too; give [judge] for one, not both")
        return self.model_copy(update={"judges": (self.judge,)})

    @model_validator(mode="after")
    def _plan_fits(self) -> Self:
        settings, n_models = self.experiment, len(self.models)
        n_pairs, per_query = n_models * (n_models - 1) // 2, settings.pairs_per_query
        if settings.plan == "grades":
            return self._by_grades()
        if settings.plan == "all" and per_query is not None:
            raise ValueError(
                f'experiment.pairs_per_query = {per_query}: plan = "all" plays all {n_pairs:,} '
                'pairs; remove one of them, or set plan = "sparse"'
            )
        if per_query is not None and per_query > n_pairs:
            raise ValueError(
                f"experiment.pairs_per_query = {per_query}: {n_models} models have {n_pairs:,} "
                "pairs; lower it, or remove it to play all"
            )
        if settings.plan != "sparse" or per_query is not None:
            return self
        drawn = settings.model_copy(update={"pairs_per_query": min(n_models, n_pairs)})
        return self.model_copy(update={"experiment": drawn})

    def _by_grades(self) -> Self:
        """Return this with pointwise judges, as ``plan = "grades"`` means.

        Raises:
            ValueError: a setting contradicts it.
        """
        if self.experiment.pairs_per_query is not None:
            raise ValueError(
                f"experiment.pairs_per_query = {self.experiment.pairs_per_query}: all pairs follow "
                'from grades without a call; remove it, or set plan = "sparse"'
            )
        for judge in self.judges:
            for key, words in _OF_TWO_LISTS.items():
                value = getattr(judge, key)
                told = key in judge.model_fields_set and value in words
                if judge.kind == "pairwise" and told:
                    raise ValueError(
                        f'judge.{key} = "{value}": this judge reads two lists; plan = "grades" '
                        'needs kind = "pointwise"; change one of them'
                    )
        judges = tuple(
            judge.model_copy(update={"kind": "pointwise"}) if judge.kind == "pairwise" else judge
            for judge in self.judges
        )
        return self.model_copy(update={"judges": judges, "judge": self.judge and judges[0]})

    @model_validator(mode="after")
    def _models_below_are_here(self) -> Self:
        models = {model.name: model for model in self.models}
        for model in self.models:
            verb = "reranks" if model.fuse is None else "fuses"
            for name in model.below:
                if name not in models:
                    raise ValueError(
                        f'models: "{model.name}" {verb} "{name}", which is no model here'
                    )
            if (way := _way_back(model, models)) is not None:
                raise ValueError(f'models: "{model.name}" {verb} itself, by way of "{way}"')
        return self

    @model_validator(mode="after")
    def _tuned_fusions_are_free(self) -> Self:
        models = {model.name: model for model in self.models}
        for model in self.models:
            if model.weights != "tuned":
                continue
            for member in _all_below(model, models):
                if member.rerank is not None or member.weights == "tuned":
                    why = "would rerank held-out queries" if member.rerank else "is tuned itself"
                    raise ValueError(
                        f'models: "{model.name}": weights = "tuned" is not possible, because '
                        f'"{member.name}" {why}; give weights'
                    )
        return self

    @model_validator(mode="after")
    def _fusions_are_of_the_same_passages(self) -> Self:
        for model in self.models:
            ways = {name: self.searched(name) for name in model.below}
            if model.fuse is not None and len(set(ways.values())) > 1:
                words = " and ".join(
                    f'"{name}" {way.name if way else "whole documents"}'
                    for name, way in ways.items()
                )
                raise ValueError(
                    f'models: "{model.name}" fuses what is cut differently: {words}; give them the '
                    'same passage_words, or returns = "document"'
                )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for kind, names in (
            ("datasets", [dataset.name for dataset in self.datasets]),
            ("models", [model.name for model in self.models]),
            ("judges", [judge.log_name for judge in self.judges]),
        ):
            # Names that differ only in characters that a file name cannot have would share their
            # files.
            counts = Counter(safe_filename(name).casefold() for name in names)
            twice = [name for name in names if counts[safe_filename(name).casefold()] > 1]
            if twice:
                shared = " and ".join(map(repr, twice))
                raise ValueError(f"{kind}: {shared} share one name; give one another name")
        for model in self.models:
            if safe_filename(model.name).casefold() in _BESIDE_RUNS:
                raise ValueError(f'models: "{model.name}" is what a file beside the runs is called')
        return self

    def searched(self, name: str) -> Cutting | None:
        """Return how the documents are cut that a model's rankings hold; None if they are whole."""
        model = next(model for model in self.models if model.name == name)
        if model.below:
            return self.searched(model.below[0])
        return model.cutting if model.returns == "passage" else None


def load_config(path: Path) -> Config:
    """Read an arena.toml and resolve its relative paths against its folder.

    Raises:
        ConfigError: the file is missing, is not TOML, or has mistakes (all of them together).
    """
    path = Path(path)
    return parse_config(read_tree(path), path)


def read_tree(path: Path) -> dict[str, Any]:
    """Parse an arena.toml, or a part of one, without checking its keys.

    Raises:
        ConfigError: the file is missing, or is not TOML.
    """
    try:
        return parse_toml(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(path, ["no such file; `arena init` writes one to start from"]) from None
    except IsADirectoryError:
        raise ConfigError(path, ["is a folder; give the arena.toml inside it"]) from None
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigError(path, [f"not valid TOML: {error}"]) from None


def parse_config(tree: dict[str, Any], path: Path) -> Config:
    """Check a parsed arena.toml; ``path`` anchors relative paths and names errors.

    Raises:
        ConfigError: naming every mistake.
    """
    tree = swept(tree)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(path, problem_lines(error, tree, _known_keys, _sections())) from None
    return _anchored(config, path.parent)


def _anchored(config: Config, folder: Path) -> Config:
    return config.model_copy(
        update={
            "datasets": tuple(dataset.anchored(folder) for dataset in config.datasets),
            "models": tuple(model.anchored(folder) for model in config.models),
        }
    )


def _all_below(model: ModelConfig, models: Mapping[str, ModelConfig]) -> list[ModelConfig]:
    """Return the models that a model's run is made of, each once; itself where it is in a circle.

    Names that are no model are left out.
    """
    below: dict[str, ModelConfig] = {}
    waiting = list(model.below)
    while waiting:
        name = waiting.pop()
        if name in models and name not in below:
            below[name] = models[name]
            waiting += models[name].below
    return list(below.values())


def _way_back(model: ModelConfig, models: Mapping[str, ModelConfig]) -> str | None:
    """Return the model directly below by way of which a model is made of itself, if it is."""
    for name in model.below:
        if name in models and model in _all_below(models[name], models):
            return name
    return None


def _known_keys(location: Sequence[int | str]) -> Sequence[str]:
    section = _SECTIONS.get(location[0], Config) if location else Config
    return tuple(section.model_fields)


def _sections() -> dict[str, Sequence[str]]:
    """Return the heading of each section with its keys; the two of judges are one."""
    listed = {"datasets", "models"}
    return {
        f"[[{name}]]" if name in listed else f"[{name}]": tuple(section.model_fields)
        for name, section in _SECTIONS.items()
        if name != "judges"
    }


_SECTIONS: Final[Mapping[int | str, type[BaseModel]]] = {
    "experiment": ExperimentConfig,
    "datasets": DatasetConfig,
    "models": ModelConfig,
    "judge": JudgeConfig,
    "judges": JudgeConfig,
    "usage": UsageConfig,
    "cluster": ClusterConfig,
}
