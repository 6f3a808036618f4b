"""arena.toml: the one file that describes an experiment.

Every mistake of a file is found before anything is reported, and reported together, each with
the key it belongs to; an unknown key suggests the nearest known one.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from arena.config_problems import problem_lines
from arena.errors import ConfigError
from arena.records import Orders

Provider = Literal["openai", "bm25", "wordllama", "minilm", "lsa"]
Name = Annotated[str, Field(pattern=r"^[\w][\w.+@:/ -]*$", max_length=120)]
"""A name that people read; it may hold a slash (``BAAI/bge-m3``), never a control character."""

RETRIEVAL_DEPTH = 100
"""How many documents a run keeps at least, so that metrics and later top_k need no new run."""


UNPRICED = (
    "price_per_1m_input_tokens and price_per_1m_output_tokens: what is not counted cannot be capped"
)
"""What a cap on the cost needs, and why."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExperimentConfig(_Section):
    """``[experiment]``: what is compared, and how much of it."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$", max_length=80)]
    """The folder under runs/."""
    seed: Annotated[int, Field(ge=0)] = 42
    """Decides which queries are sampled and in which order battles are played."""
    top_k: Annotated[int, Field(ge=1, le=100)] = 5
    """Documents of each list that the judge sees."""
    queries: Annotated[int, Field(ge=1)] | None = None
    """Queries per dataset, sampled with the seed; all of them if absent."""
    orders: Orders = "both"
    """``both``: home and away. ``balanced``: one order per query and pair, counterbalanced."""


class DatasetConfig(_Section):
    """``[[datasets]]``: a BEIR folder, or the built-in one."""

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]*$", max_length=80)]
    path: Path | None = None
    """Folder with corpus.jsonl, queries.jsonl and, if there are any, qrels/test.tsv."""
    builtin: Literal["python"] | None = None
    """``python``: the docstrings of the running Python's standard library."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.builtin is None):
            raise ValueError('needs exactly one of path = "folder" and builtin = "python"')
        return self


class ModelConfig(_Section):
    """``[[models]]``: anything that ranks a corpus for a query."""

    name: Name
    provider: Provider | None = None
    """``openai`` is any OpenAI-compatible /v1/embeddings endpoint; the others run locally."""
    run: str | None = None
    """A TREC run file made elsewhere, with ``{dataset}`` in its path, instead of a provider."""
    base_url: str | None = None
    """The endpoint, ``https://host/v1``; the provider's own where absent."""
    api_key_env: str | None = None
    """The environment variable that holds the key; never the key itself."""
    model: str | None = None
    """What the endpoint calls the model; its ``name`` where absent."""
    query_prefix: str = ""
    document_prefix: str = ""
    query_extra: dict[str, Any] = {}
    """Fields added to the request for queries, such as ``input_type = "query"``."""
    document_extra: dict[str, Any] = {}
    """Fields added to the request for documents."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Shortened vectors, for models that allow it."""
    batch_size: Annotated[int, Field(ge=1, le=2048)] = 64
    """Texts per request."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Requests in flight while documents are embedded."""
    price_per_1m_tokens: Annotated[float, Field(ge=0)] | None = None
    """US dollars."""
    license: str | None = None
    release_date: date | None = None

    @model_validator(mode="after")
    def _one_way_to_rank(self) -> Self:
        if (self.provider is None) == (self.run is None):
            raise ValueError('needs exactly one of provider = "..." and run = "file.trec"')
        return self


class JudgeConfig(_Section):
    """``[judge]``: who says which of two lists answers a query better."""

    name: Name | None = None
    """What the log calls this judge; the model's name where absent."""
    kind: Literal["pairwise", "pointwise", "qrels"] = "pairwise"
    """``pairwise``: an LLM reads both lists. ``pointwise``: it reads each distinct query and
    document once, and battles are derived. ``qrels``: compares DCG by known grades; no LLM."""
    answer: Literal["json", "letter"] = "json"
    """``json``: an analysis, then the verdict. ``letter``: one token, with its probabilities."""
    scale: Literal["binary", "graded"] = "graded"
    """Of a pointwise judge: P(relevant), or a grade from 0 to 3."""
    tie_margin: Annotated[float, Field(ge=0, le=1)] | None = None
    """How close two sides may be to tie, as a share of the greatest difference; the judge's own
    default where absent. For pointwise judges and letters."""
    gate: bool = True
    """Control matchups with an obvious answer before the first paid battle."""
    model: str | None = None
    """What the endpoint calls the judge model."""
    base_url: str | None = None
    api_key_env: str | None = None
    """The environment variable with the key: OPENAI_API_KEY, unless a base_url is given."""
    prompt: str = "pairwise"
    """``prompts/<name>.md``, or a path to a template."""
    document_words: Annotated[int, Field(ge=10)] = 300
    """Each document is cut to so many words, on a word boundary."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, Field(ge=16)] = 1024
    """Room for the analysis and the verdict."""
    price_per_1m_input_tokens: Annotated[float, Field(ge=0)] | None = None
    price_per_1m_output_tokens: Annotated[float, Field(ge=0)] | None = None
    price_per_1m_cached_tokens: Annotated[float, Field(ge=0)] | None = None
    """US dollars; cached prompt tokens cost as input tokens where absent."""
    max_usd: Annotated[float, Field(gt=0)] | None = None
    """The most that this judge may cost, all runs of the experiment together, in US dollars."""
    rpm: Annotated[int, Field(ge=1)] | None = None
    tpm: Annotated[int, Field(ge=1)] | None = None
    """Requests and tokens a minute, where the endpoint's limits are known."""
    max_failures: Annotated[float, Field(ge=0, le=1)] = 0.10
    """Share of battles without a verdict above which the command fails."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 90.0
    """Longest wait for one reply."""
    concurrency: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = "auto"
    """Requests in flight; ``auto`` finds the endpoint's own limit."""

    @model_validator(mode="after")
    def _llm_has_a_model(self) -> Self:
        if self.kind != "qrels" and not self.model:
            raise ValueError('needs model = "...", or kind = "qrels"')
        if self.kind == "qrels" and self.name not in (None, "qrels"):
            raise ValueError(f'the qrels judge is called "qrels", not "{self.name}"')
        return self

    @model_validator(mode="after")
    def _cap_can_be_held(self) -> Self:
        if self.max_usd is not None and not self.priced:
            raise ValueError(f"max_usd = {self.max_usd:g} needs {UNPRICED}")
        return self

    @property
    def log_name(self) -> str:
        """What the log calls this judge."""
        return self.kind if self.kind == "qrels" else self.name or self.model or ""

    @property
    def priced(self) -> bool:
        """Whether what it costs can be counted; a judge that is no LLM costs nothing."""
        prices = (self.price_per_1m_input_tokens, self.price_per_1m_output_tokens)
        return self.kind == "qrels" or None not in prices


class Config(_Section):
    """A whole arena.toml."""

    experiment: ExperimentConfig
    datasets: tuple[DatasetConfig, ...]
    models: tuple[ModelConfig, ...]
    judge: JudgeConfig | None = None
    """The only judge; None where there is a panel."""
    judges: tuple[JudgeConfig, ...] = ()
    """Everyone who judges each battle: the one of ``[judge]``, or a panel of ``[[judges]]``."""

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
    def _names_are_unique(self) -> Self:
        for what, names in (
            ("datasets", [dataset.name for dataset in self.datasets]),
            ("models", [model.name for model in self.models]),
            ("judges", [judge.log_name for judge in self.judges]),
        ):
            # Two names that differ only in what a file name cannot hold would share their files.
            counts = Counter(safe_filename(name).casefold() for name in names)
            twice = [name for name in names if counts[safe_filename(name).casefold()] > 1]
            if twice:
                raise ValueError(f"{what}: {' and '.join(map(repr, twice))} share one name")
        return self


def load_config(path: Path) -> Config:
    """Read an arena.toml; relative paths in it are relative to its own folder.

    Raises:
        ConfigError: the file is missing, is not TOML, or has mistakes (all of them together).
    """
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(path, ["no such file; `arena init` writes one to start from"]) from None
    except IsADirectoryError:
        raise ConfigError(path, ["is a folder; give the arena.toml inside it"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(path, [f"not valid TOML: {error}"]) from None
    return parse_config(tree, path)


def parse_config(tree: dict[str, Any], path: Path) -> Config:
    """Check a parsed arena.toml; ``path`` anchors relative paths and names errors.

    Raises:
        ConfigError: naming every mistake.
    """
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(path, problem_lines(error, tree, _known_keys)) from None
    return _anchored(config, path.parent)


def safe_filename(name: str) -> str:
    """A model's or dataset's name as a file name: slashes and the like become underscores."""
    return re.sub(r"[^\w.+@-]", "_", name)


def _anchored(config: Config, folder: Path) -> Config:
    datasets = tuple(
        d if d.path is None else d.model_copy(update={"path": folder / d.path.expanduser()})
        for d in config.datasets
    )
    models = tuple(
        m if m.run is None else m.model_copy(update={"run": str(folder / Path(m.run).expanduser())})
        for m in config.models
    )
    return config.model_copy(update={"datasets": datasets, "models": models})


def _known_keys(location: Sequence[int | str]) -> Sequence[str]:
    section = _SECTIONS.get(location[0], Config) if location else Config
    return tuple(section.model_fields)


_SECTIONS: Final[Mapping[int | str, type[BaseModel]]] = {
    "experiment": ExperimentConfig,
    "datasets": DatasetConfig,
    "models": ModelConfig,
    "judge": JudgeConfig,
    "judges": JudgeConfig,
}
