"""``[[models]]`` of an arena.toml: anything that ranks a corpus for a query."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AliasChoices, Field, Strict, field_validator, model_validator

from arena.config.languages import language_name
from arena.config.misplaced_keys import secret_field
from arena.config.section import BaseUrl, Day, File, Name, Section, Usd, VariableName

HostedProvider = Literal[
    "openai",
    "azure",
    "gemini",
    "voyage",
    "cohere",
    "jina",
    "mistral",
    "deepinfra",
    "together",
    "fireworks",
    "nvidia",
]

ServerProvider = Literal["ollama", "vllm", "tei", "llamacpp", "lmstudio"]

LocalProvider = Literal[
    "sentence-transformers",
    "model2vec",
    "onnx",
    "splade",
    "colbert",
    "bm25",
    "wordllama",
    "minilm",
    "lsa",
]

Provider = Literal[HostedProvider, ServerProvider, LocalProvider]
"""Sources of vectors or rankings: hosted APIs, your own servers, and local models."""

Reranker = Literal["cohere", "jina", "voyage", "tei", "cross-encoder"]
"""Rerankers: APIs, or a local cross-encoder."""

Precision = Literal["float32", "float16", "int8", "binary"]
"""The number formats of an index: 4, 2, 1 and 1/8 bytes per dimension."""

Splitter = Literal["sentences", "markdown", "words"]
"""Where passages are cut: at sentences and lines, at headings too, or after this many words."""

Words = Annotated[int, Field(ge=20, le=5000)]
"""Number of words of a passage."""

Weight = Annotated[float, Field(ge=0, le=1_000_000)]
"""The weight of a merged model, relative to the others."""

_OF_FILES: Final = ("sentence-transformers", "model2vec", "onnx", "splade", "colbert")
_OF_TOKENS: Final = ("splade", "colbert")
_WAYS: Final = ("provider", "run", "command", "rerank", "fuse")
_OF_VECTORS: Final = frozenset({"dimensions", "precision"})
_OF_TEXTS: Final = frozenset({"query_prefix", "document_prefix"})
_OF_FUSIONS: Final = frozenset({"fuse_by", "fuse_depth", "rrf_k", "weights", "latency"})
_MOST_TUNED: Final = 4
"""Members whose weights can be tuned: with more, the grid of weights becomes too large."""
_OF_CUTTINGS: Final = frozenset({"overlap", "splitter", "titles", "returns"})
_OF_ENDPOINTS: Final = frozenset({"base_url", "api_key_env", "query_extra", "document_extra"})


def known_price(name: str, sections: Sequence[Mapping[str, Any]]) -> float | None:
    """Return US dollars for a million tokens of a model; None if the price is unknown.

    It is what the model's section states. What runs in arena itself costs 0. A cross-encoder costs
    as much as the model whose run it reorders, and a fusion as much as its members together. A
    server of your own may be rented, and what a program or a run file took is not known: there
    only a stated price counts.

    Args:
        name: of the model.
        sections: all ``[[models]]`` of the arena.toml, as they were read.
    """
    of_model = next((section for section in sections if section.get("name") == name), {})
    if (stated := of_model.get("price_per_1m_tokens")) is not None:
        return float(stated)
    if of_model.get("provider") in get_args(LocalProvider):
        return 0.0
    others = [section for section in sections if section is not of_model]
    if of_model.get("rerank") == "cross-encoder":
        return known_price(of_model.get("base", of_model.get("over", "")), others)
    if members := of_model.get("fuse"):
        prices = [known_price(member, others) for member in members]
        return None if None in prices else math.fsum(filter(None, prices))
    return None


@dataclass(frozen=True, slots=True)
class Cutting:
    """How a model's documents are cut into passages."""

    words: int  #: the most of a passage
    overlap: int = 0  #: words that a passage repeats of the one before it, at most
    splitter: Splitter | None = None  #: None: by the kind of the document
    titles: bool = True  #: whether a document's title precedes each of its passages

    @property
    def name(self) -> str:
        """Return the settings in a word, which is part of the ids of passages: ``w200o20``."""
        overlap = f"o{self.overlap}" if self.overlap else ""
        splitter = f"-{self.splitter}" if self.splitter else ""
        return f"w{self.words}{overlap}{splitter}{'' if self.titles else '-untitled'}"


def swept(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return an arena.toml with a model for each number where ``passage_words`` is a list.

    A list that holds anything else stays, and is a mistake.

    Args:
        tree: the parsed file.
    """
    sections = tree.get("models")
    if not isinstance(sections, list):
        return dict(tree)
    return {**tree, "models": [model for section in sections for model in _of_each_size(section)]}


def _of_each_size(section: Any) -> list[Any]:
    words = section.get("passage_words") if isinstance(section, dict) else None
    sizes = words if isinstance(words, list) and all(type(size) is int for size in words) else []
    if not sizes or len(set(sizes)) < len(sizes):
        return [section]
    return [
        {**section, "name": f"{section.get('name')} {size} words", "passage_words": size}
        for size in sizes
    ]


class ModelConfig(Section):
    """``[[models]]``: anything that ranks a corpus for a query."""

    name: Name
    provider: Provider | None = None
    """``arena providers`` lists them; ``openai`` with a base_url is any compatible endpoint."""
    run: str | None = None
    """A TREC run file of another tool, with ``{dataset}`` in its path, instead of a provider."""
    command: str | None = None
    """A search program: it reads queries as JSON lines on stdin and writes ranked ids to stdout."""
    folder: File | None = None
    """The working folder of ``command``; default: the arena.toml's folder."""
    rerank: Reranker | None = None
    """The reranker of the run of the model that ``base`` names."""
    base: Name | None = Field(default=None, validation_alias=AliasChoices("base", "over"))
    """The model whose run is reranked, by its name in this file; ``over`` is the key's old name."""
    rerank_depth: Annotated[int, Field(ge=1, le=1000)] = 100
    """Number of documents of each ranking to rerank; arena drops the rest."""
    fuse: Annotated[tuple[Name, ...], Strict(strict=False)] | None = None
    """The models whose runs are merged into one, by their names in this file."""
    fuse_by: Literal["rrf", "scores"] = "rrf"
    """``rrf``: reciprocal ranks. ``scores``: scores on a scale from 0 to 1 in each ranking."""
    fuse_depth: Annotated[int, Field(ge=1, le=1000)] = 100
    """Number of documents of each merged ranking that count."""
    rrf_k: Annotated[int, Field(ge=1, le=10_000)] = 60
    """The constant of ``rrf``: a document at rank r gets 1 / (rrf_k + r)."""
    weights: Annotated[tuple[Weight, ...], Strict(strict=False)] | Literal["tuned"] | None = None
    """One for each model of ``fuse``; ``tuned``: those that do best on held-out queries; default:
    equal."""
    latency: Literal["slowest", "sum"] = "slowest"
    """Latency of merged models: the slowest, as if they ran side by side, or their sum."""
    base_url: BaseUrl | None = None
    """The endpoint, ``https://host/v1``; default: the provider's own."""
    api_key_env: VariableName | None = None
    model: str | None = None
    """The provider's name of the model, or a local model's folder; default: ``name``.
    """
    query_prefix: str | None = None
    """The prefix of each query; default: the one of the model's training, if known."""
    document_prefix: str | None = None
    """The prefix of each document; default: the one of the model's training, if known."""
    query_extra: dict[str, Any] = Field(default_factory=dict)
    """Additional fields of requests for queries, and of a reranker's requests.
    """
    document_extra: dict[str, Any] = Field(default_factory=dict)
    """Additional fields of requests for documents."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """The length of shortened vectors, for models that allow it."""
    precision: Precision = "float32"
    """The number format of the index; arena makes it from the model's cached vectors.
    """
    passage_words: Words | None = None
    """The most words of a passage: this model searches documents that are cut so; default: they are
    searched as they are. A list makes a model of each number."""
    overlap: Annotated[int, Field(ge=0, le=2500)] = 0
    """Words that a passage repeats of the one before it, at most."""
    splitter: Splitter | None = None
    """Where passages are cut; default: ``markdown`` for files with headings, else ``sentences``."""
    titles: bool = True
    """Whether a document's title precedes each of its passages."""
    returns: Literal["passage", "document"] = "passage"
    """What is ranked and shown: passages, or the whole documents of the best passages."""
    language: str | None = None
    """The language of ``bm25`` stems, by name or ISO code; default: no stemming."""
    batch_size: Annotated[int, Field(ge=1, le=2048)] = 64
    """Texts per request."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 8
    """Number of requests in flight while documents are embedded."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 90.0
    """Maximum wait for one reply, and for one ranking of a command, in seconds."""
    price_per_1m_tokens: Usd | None = None
    """US dollars; default: 0 for local models, else unknown."""
    price_per_1k_queries: Usd | None = None
    """US dollars for a thousand queries, for a reranker or a search that is billed by the query."""
    price_per_hour: Usd | None = None
    """US dollars for an hour of the machine on which the model runs; default: that of ``[usage]``.
    """
    price_per_month: Usd | None = None
    """Fixed US dollars a month, for a machine that always runs, or a subscription."""
    license: str | None = None
    release_date: Day | None = None
    maker: str | None = None
    """The model's maker, for people; the provider may be another company."""
    about: Annotated[str, Field(max_length=2000)] | None = None
    """A sentence or two for people."""

    @field_validator("language")
    @classmethod
    def _language_is_known(cls, language: str | None) -> str | None:
        return None if language is None else language_name(language)

    @field_validator("passage_words", mode="before")
    @classmethod
    def _a_list_is_a_sweep(cls, words: Any) -> Any:
        if isinstance(words, list):
            raise ValueError("should be a number, or a list of different whole numbers")  # noqa: TRY004
        return words

    @field_validator("query_extra", "document_extra")
    @classmethod
    def _no_secret_is_kept(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if name := secret_field(fields):
            raise ValueError(
                f"holds a secret, {name}, which arena would store beside the results; "
                "put it into a variable, and name that in api_key_env"
            )
        return fields

    @model_validator(mode="after")
    def _one_way_to_rank(self) -> Self:
        if sum(getattr(self, way) is not None for way in _WAYS) != 1:
            raise ValueError(
                'needs exactly one of provider = "...", run = "file.trec", command = "program", '
                'rerank = "..." and fuse = ["...", "..."]'
            )
        if (self.rerank is None) != (self.base is None):
            raise ValueError('rerank and base belong together: rerank = "cohere", base = "bm25"')
        if self.base == self.name:
            raise ValueError(f'base = "{self.base}" is this model itself; name another one')
        return self

    @model_validator(mode="after")
    def _fusion_is_of_several(self) -> Self:
        if self.fuse is None:
            return self
        if len(set(self.fuse)) != len(self.fuse) or len(self.fuse) < 2:
            raise ValueError(f"fuse = {list(self.fuse)}; name two or more different models")
        if self.name in self.fuse:
            raise ValueError(f'fuse names this model itself, "{self.name}"; name others')
        if self.fuse_by == "scores" and "rrf_k" in self.model_fields_set:
            raise ValueError('rrf_k is for fuse_by = "rrf"')
        if self.weights == "tuned":
            if len(self.fuse) > _MOST_TUNED:
                raise ValueError(f'weights = "tuned" is for at most {_MOST_TUNED} models')
        elif self.weights is not None:
            if len(self.weights) != len(self.fuse):
                raise ValueError(
                    f"weights has {len(self.weights)} numbers for the {len(self.fuse)} models of "
                    "fuse; give one for each"
                )
            if not any(self.weights):
                raise ValueError("weights are all 0; at least one must be more")
        return self

    @model_validator(mode="after")
    def _passages_can_be_cut(self) -> Self:
        if self.passage_words is None:
            return self
        if self.provider is None:
            raise ValueError("passage_words is for models with a provider, which search documents")
        if 2 * self.overlap > self.passage_words:
            raise ValueError(
                f"overlap = {self.overlap} is more than half of passage_words = "
                f"{self.passage_words}; give less"
            )
        return self

    @model_validator(mode="after")
    def _command_names_a_program(self) -> Self:
        if self.command is None:
            if self.folder is not None:
                raise ValueError("folder is where a command runs; there is no command")
            return self
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise ValueError(f"command = {self.command!r}: {error}") from None
        if not words:
            raise ValueError('command is empty; expected command = "./search --json"')
        return self

    @model_validator(mode="after")
    def _options_belong_to_their_kind(self) -> Self:
        if self.language is not None and self.provider != "bm25":
            raise ValueError('language is for provider = "bm25", the only one that needs it')
        keys = self.model_dump(exclude_defaults=True).keys()
        embeds = self.provider not in (None, "bm25")
        vectors = embeds and self.provider not in _OF_TOKENS
        remote = {*get_args(HostedProvider), *get_args(ServerProvider), *get_args(Reranker)}
        remote.discard("cross-encoder")
        for names, allowed, whose in (
            (_OF_VECTORS, vectors, "that make vectors"),
            (_OF_TEXTS, embeds or self.rerank is not None, "that embed or rerank"),
            (_OF_CUTTINGS, self.passage_words is not None, "with passage_words"),
            (_OF_FUSIONS, self.fuse is not None, "that fuse others"),
            (_OF_ENDPOINTS, {self.provider, self.rerank} & remote, "behind an API"),
        ):
            if names & keys and not allowed:
                raise ValueError(f"{min(names & keys)} is for models {whose}")
        return self

    @property
    def cutting(self) -> Cutting | None:
        """Return how this model's documents are cut; None if they stay as they are."""
        if self.passage_words is None:
            return None
        return Cutting(self.passage_words, self.overlap, self.splitter, self.titles)

    @property
    def below(self) -> tuple[str, ...]:
        """Return the names of the models whose runs this one is made of."""
        return self.fuse or (() if self.base is None else (self.base,))

    @property
    def has_files(self) -> bool:
        """Return whether ``model`` may be a folder, or a file in one."""
        return self.provider in _OF_FILES or self.rerank == "cross-encoder"

    def anchored(self, folder: Path) -> ModelConfig:
        """Return the section with relative paths resolved against the arena.toml's folder."""
        if self.run is not None:
            return self.model_copy(update={"run": str(folder / Path(self.run).expanduser())})
        if self.command is not None:
            return self.model_copy(update={"folder": folder / (self.folder or Path()).expanduser()})
        if self.has_files and self.model is not None:
            path = folder / Path(self.model).expanduser()
            if path.exists():  # else it is a name on the hub
                return self.model_copy(update={"model": str(path)})
        return self
