"""What `arena queries` is asked for: which corpus, which model, which prompt, and where to."""

from __future__ import annotations

import heapq
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from arena.config import UNPRICED, Config, DatasetConfig, JudgeConfig, load_config
from arena.config.section import problem_lines
from arena.digest import digest
from arena.errors import ConfigError, UsageError
from arena.files import safe_filename
from arena.judging.prompt import QUERIES_PLACEHOLDERS, Prompt, load_prompt, words_up_to
from arena.querying.files import QUERIES
from arena.records import Document

LEAST_WORDS: Final = 10
"""A shorter document gives a model too little to ask for."""

_PRICES: Final = {
    "price_per_1m_input_tokens",
    "price_per_1m_output_tokens",
    "price_per_1m_cached_tokens",
    "max_usd",
}

_ENDPOINT: Final = {"base_url", "api_key_env", "rpm", "tpm"}


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """What the command line says."""

    config: Path  #: an arena.toml; one that is not there matters only where it is needed
    dataset: str | None = None  #: of the arena.toml; its only one if absent
    documents: Path | None = None  #: a folder of documents, in place of a data set
    beir: Path | None = None  #: a BEIR folder, in place of a data set
    out: Path | None = None
    prompt: str = "queries"
    model: Mapping[str, Any] = field(default_factory=dict)  #: settings of `JudgeConfig`, if given
    per_document: int = 1
    n_documents: int = 200
    seed: int = 42
    max_usd: float | None = None

    def command(self, *, max_usd: str | None = None) -> str:
        """Return the command line that continues this run."""
        cap = max_usd or (None if self.max_usd is None else f"{self.max_usd:g}")
        options = {
            "--dataset": self.dataset,
            "--documents": self.documents,
            "--path": self.beir,
            "--out": self.out,
            "--prompt": None if self.prompt == "queries" else self.prompt,
            "--per-document": None if self.per_document == 1 else self.per_document,
            "--n": None if self.n_documents == 200 else self.n_documents,
            "--seed": None if self.seed == 42 else self.seed,
            "--model": self.model.get("model"),
            "--base-url": self.model.get("base_url"),
            "--api-key-env": self.model.get("api_key_env"),
            "--price-in": self.model.get("price_per_1m_input_tokens"),
            "--price-out": self.model.get("price_per_1m_output_tokens"),
            "--max-usd": cap,
        }
        words = [
            word for key, value in options.items() if value is not None for word in (key, value)
        ]
        config = [] if self.config == Path("arena.toml") else [self.config]
        return shlex.join(map(str, ["arena", "queries", *config, *words]))


@dataclass(frozen=True, slots=True)
class QuerySetup:
    """The same with everything found."""

    dataset: DatasetConfig
    model: JudgeConfig  #: who writes; of a judge only the endpoint, its settings and prices count
    prompt: Prompt
    out: Path
    max_usd: float | None


@dataclass(frozen=True, slots=True)
class Sample:
    """The documents that queries are written for."""

    documents: tuple[Document, ...]  #: in the order of their draw
    n_corpus: int
    n_short: int  #: of the corpus, too short to ask for anything
    n_wanted: int

    def remark(self) -> str | None:
        """Return a note if there are fewer documents than wanted."""
        if len(self.documents) == self.n_wanted:
            return None
        short = (
            f", and {self.n_short:,} have fewer than {LEAST_WORDS} words" if self.n_short else ""
        )
        return (
            f"note: {len(self.documents):,} documents are used, not {self.n_wanted:,}: "
            f"the corpus has {self.n_corpus:,}{short}"
        )


def open_setup(options: GenerationOptions) -> QuerySetup:
    """Find the corpus, the model, the prompt and the folder.

    Raises:
        ConfigError: the arena.toml or the prompt has mistakes, or a cap cannot be counted.
        UsageError: something is not said, or said twice.
    """
    has_source = options.documents is not None or options.beir is not None
    config = None if has_source and not options.config.is_file() else load_config(options.config)
    folder = options.config.parent
    model = _model(options, config)
    max_usd = options.max_usd if options.max_usd is not None else model.max_usd
    if max_usd is not None and not model.priced:
        raise ConfigError("--max-usd", [f"{model.model} needs {UNPRICED}"])
    prompt = load_prompt(options.prompt, folder=folder)
    if prompt.placeholders != QUERIES_PLACEHOLDERS:
        needs = ", ".join(f"{{{{{word}}}}}" for word in QUERIES_PLACEHOLDERS)
        raise ConfigError(options.prompt, [f"a prompt for queries needs {needs}"])
    dataset = _own_dataset(options, folder) if has_source else _dataset(options, config)
    return QuerySetup(dataset, model, prompt, options.out or _out(dataset, folder), max_usd)


def corpus_and_folder(options: GenerationOptions) -> tuple[DatasetConfig | None, Path]:
    """Return the data set that queries are for, None if none is named, and the folder for them.

    Raises:
        ConfigError: the arena.toml has mistakes.
        UsageError: it has several data sets, or not the one that is named.
    """
    folder = options.config.parent
    if options.documents is not None or options.beir is not None:
        dataset = _own_dataset(options, folder)
    elif not options.config.exists() and options.config == Path("arena.toml"):
        return None, options.out or folder / "queries"
    else:
        dataset = _dataset(options, load_config(options.config))
    return dataset, options.out or _out(dataset, folder)


def sample_documents(corpus: Mapping[str, Document], n_documents: int, seed: int) -> Sample:
    """Draw documents by the seed; a larger sample begins with every smaller one.

    Those that are too short are left out, and so are texts that were drawn before.
    """
    n_short = 0

    def places() -> Iterator[tuple[bytes, str]]:
        nonlocal n_short
        for doc_id, document in corpus.items():
            if words_up_to(document.text, most=LEAST_WORDS) < LEAST_WORDS:
                n_short += 1
            else:
                yield digest("sample", str(seed), doc_id, size=8), doc_id

    # Twice as many as are wanted, for some may turn out to be the same text.
    drawn = [corpus[doc_id] for _, doc_id in heapq.nsmallest(2 * n_documents, places())]
    distinct = {(document.title, document.text): document for document in reversed(drawn)}
    kept = [d for d in drawn if distinct[d.title, d.text] is d][:n_documents]
    return Sample(tuple(kept), len(corpus), n_short, n_documents)


def _model(options: GenerationOptions, config: Config | None) -> JudgeConfig:
    """Return the first judge that is a language model, with the settings of the command line."""
    section = dict(options.model)
    judges = config.judges if config else ()
    judge = next((judge for judge in judges if judge.kind != "qrels"), None)
    if judge is None and "model" not in section:
        raise UsageError("no language model is named that could write queries; give --model")
    if judge is not None:
        # Another model has other prices, and another endpoint has limits and a key of its own.
        forgotten = _PRICES if section.keys() & {"model", "base_url"} else set()
        forgotten |= _ENDPOINT if "base_url" in section else set()
        kept = judge.model_dump(exclude_unset=True, exclude=forgotten)
        section = {**kept, "kind": "pairwise", "answer": "json", **section}
    try:
        return JudgeConfig(**section)
    except ValidationError as error:
        raise ConfigError("arena queries", problem_lines(error, section, lambda _: ())) from None


def _own_dataset(options: GenerationOptions, folder: Path) -> DatasetConfig:
    if options.dataset is not None or (options.documents is not None and options.beir is not None):
        raise UsageError("one of --dataset, --documents and --path, not two of them")
    source = options.documents or options.beir or Path()
    name = safe_filename(source.resolve().name).lstrip(".+@-") or "documents"
    if options.documents is None:
        return DatasetConfig(name=name, path=source)
    out = options.out or folder / "queries"
    return DatasetConfig(name=name, documents=source, queries=out / QUERIES)


def _dataset(options: GenerationOptions, config: Config | None) -> DatasetConfig:
    datasets = {dataset.name: dataset for dataset in config.datasets} if config else {}
    if options.dataset is None and len(datasets) == 1:
        return next(iter(datasets.values()))
    names = ", ".join(datasets)
    if options.dataset is None:
        raise UsageError(f"{options.config}: has several data sets; give --dataset: {names}")
    if options.dataset not in datasets:
        raise UsageError(f"{options.config}: no data set {options.dataset!r}; known: {names}")
    return datasets[options.dataset]


def _out(dataset: DatasetConfig, folder: Path) -> Path:
    """Return the folder where the arena.toml looks for the queries of this corpus."""
    if dataset.queries is not None and dataset.queries.name == QUERIES:
        return dataset.queries.parent
    return folder / "queries"
