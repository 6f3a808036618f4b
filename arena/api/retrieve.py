"""Retrieve in a notebook: by a provider, or by a function or an object of your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from arena.api.arguments import check_type, checked_keywords, path_of, whole_number
from arena.api.data import name_of
from arena.api.own_model import (
    Encode,
    Encoder,
    Returns,
    Search,
    encoders_of,
    name_of_model,
    rank_by_callable,
)
from arena.api.runs import ModelRun, queries_in, read_run, runs_in
from arena.api.user_loop import check_thread
from arena.config import RETRIEVAL_DEPTH, ModelConfig
from arena.data.passage_corpus import join_cuts, with_passages
from arena.data.query_sample import sample_queries
from arena.endpoint.coroutines import call_apart
from arena.errors import UsageError
from arena.files import cache_folder
from arena.progress import Reporter, reporter
from arena.records import Dataset
from arena.retrieval.retrieve import ranked_run
from arena.retrieval.retrieve import retrieve as retrieve_configured


def retrieve(  # noqa: PLR0913  all but two are options
    model: str | Mapping[str, Any] | ModelConfig | Encode | Search | Encoder,
    data: Dataset,
    queries: int | Sequence[str] | None = None,
    *,
    name: str | None = None,
    depth: int = RETRIEVAL_DEPTH,
    seed: int = 42,
    returns: Returns | None = None,
    encode_queries: Encode | None = None,
    base: ModelRun | Sequence[ModelRun] | None = None,
    cache: str | Path | None = None,
    progress: bool = False,
) -> ModelRun:
    """Rank the corpus for each query.

    A callable with one required argument is taken for an encoder (texts → vectors), and one with
    two or more for a search (query, k → doc_ids). ``returns`` says which it is, where that is
    not so. Both may be async.

    Args:
        model: a provider's name (``"bm25"``), a ``[[models]]`` section of an arena.toml as a dict
            or config, a callable, or an object with ``encode``, such as a SentenceTransformer.
        data: its corpus is searched.
        queries: this many, sampled with the seed as `compare` samples them, or these query_ids; all
            if absent.
        name: of the model; its own, the provider's or the callable's if absent.
        depth: documents kept of each ranking.
        seed: decides which queries are sampled.
        returns: what the callable returns: ``"vectors"`` or ``"doc_ids"``.
        encode_queries: encodes queries, where another function encodes them than documents.
        base: the run that a reranker reorders, or the runs that a fusion merges, in the order of
            ``fuse``. Tuned weights come from their queries that ``queries`` leaves out.
        cache: the folder of the vector cache; the usual one if absent. The vectors of a
            callable are not cached: arena cannot see when it changes.
        progress: show on stderr how far retrieval is.

    Returns:
        The rankings, best first, with latency, tokens and cost if they were measured.

    Raises:
        ApiError: an endpoint failed, or gave unusable vectors.
        ConfigError: a setting of the model is unknown or has a wrong value.
        UsageError: a query or document is unknown, or a callable returned something else.
    """
    check_type(data, Dataset, "data", "an arena.Dataset")
    check_thread("arena.retrieve")
    query_ids = _query_ids(data, queries, whole_number(seed, "seed", least=0))
    depth = whole_number(depth, "depth")
    telling = reporter(quiet=not progress)
    encoders = encoders_of(model)
    if callable(model) or encoders is not None:
        if base is not None:
            raise UsageError("base is for a reranker or a fusion; a callable ranks the corpus")
        section = {"provider": "bm25", "name": name or name_of_model(model)}
        called = _config(section, None).name
        function = cast("Callable[..., Any]", model)
        if encoders is not None:
            function, encode_queries = encoders[0], encode_queries or encoders[1]
        return _called(function, encode_queries, returns, called, data, query_ids, depth, telling)
    if returns is not None or encode_queries is not None:
        raise UsageError("retrieve: returns and encode_queries are about a callable")
    bases = _bases(base)
    config = _config(_section(model, bases), name)
    if config.below and not bases:
        needed = ", ".join(config.below)
        raise UsageError(f"base: {config.name} needs the runs of {needed}; give base=[run, ...]")
    if bases and not config.below:
        raise UsageError(f"base is for a reranker or a fusion; {config.name} ranks the corpus")
    if config.run is not None:
        read = read_run(config.run.replace("{dataset}", data.name), data, name=config.name)
        return replace(read, config=config)
    data = _with_passages(data, config, bases, telling)
    with telling.stage(f"{data.name}: {config.name}", _steps(data, query_ids)) as stage:
        run, stats = call_apart(
            lambda told: retrieve_configured(
                config,
                data,
                query_ids,
                depth=depth,
                cache=cache_folder() if cache is None else path_of(cache, "cache"),
                bases=[one.run for one in bases],
                progress=told,
            ),
            lambda done, _: stage.update(done),
        )
    return ModelRun(run, data, stats, config)


def _called(  # noqa: PLR0913, PLR0917  what a run is made of
    function: Callable[..., Any],
    encode_queries: Encode | None,
    returns: Returns | None,
    name: str,
    data: Dataset,
    query_ids: Sequence[str],
    depth: int,
    telling: Reporter,
) -> ModelRun:
    """Return the run of a callable of the user's."""
    rank = rank_by_callable(function, name, data, returns, encode_queries)
    with telling.stage(f"{data.name}: {name}", _steps(data, query_ids)) as stage:
        run, stats = ranked_run(
            rank, name, data, query_ids, depth=depth, progress=lambda done, _: stage.update(done)
        )
    return ModelRun(run, data, stats)


def _with_passages(
    data: Dataset, config: ModelConfig, bases: Sequence[ModelRun], telling: Reporter
) -> Dataset:
    """Return the data set with the passages that a model and the runs below it find."""
    corpus = data.corpus
    for base in bases:
        corpus = join_cuts(corpus, base.data.corpus)
    if config.cutting is not None:
        corpus = with_passages(data.with_corpus(corpus), [config.cutting], telling)
    if corpus is data.corpus:
        return data
    return data.with_corpus(corpus)


def _query_ids(data: Dataset, queries: int | Sequence[str] | None, seed: int) -> Sequence[str]:
    if not data.queries:
        raise UsageError(f"{data.name}: has no queries")
    if queries is None:
        return list(data.queries)
    chosen = queries_in(queries)
    if isinstance(chosen, int):
        return sample_queries(data, chosen, seed)
    if unknown := [query_id for query_id in chosen if query_id not in data.queries]:
        raise UsageError(f"{data.name}: unknown query {unknown[0]!r}")
    return chosen


def _section(model: object, bases: Sequence[ModelRun]) -> dict[str, Any]:
    if isinstance(model, ModelConfig):
        return model.model_dump(exclude_unset=True)
    if isinstance(model, str):
        return {"provider": model}
    if not isinstance(model, Mapping):
        raise UsageError(
            f"retrieve: a model of type {type(model).__name__}; expected a provider's name, a dict "
            "as in [[models]] of an arena.toml, a callable, or an object with encode"
        )
    if "rerank" in model and model.keys().isdisjoint(("base", "over")) and not bases:
        raise UsageError("base: a reranker reorders a run; give base=run")
    if len(bases) != 1 or "rerank" not in model or "over" in model:
        return dict(model)
    return {"base": bases[0].model, **model}


def _bases(base: ModelRun | Sequence[ModelRun] | None) -> Sequence[ModelRun]:
    if base is None:
        return ()
    return runs_in((base,) if isinstance(base, ModelRun) else base, "base")


def _config(section: Mapping[str, Any], name: str | None) -> ModelConfig:
    model = section.get("model")
    if isinstance(model, str | Path) and str(model)[:1] in ("/", ".", "~"):
        model = name_of(str(model))  # a folder; its path is no name
    called = name or section.get("name") or model or section.get("provider")
    called = called or section.get("rerank") or " + ".join(section.get("fuse", ()))
    named = {**section, "name": called}
    return checked_keywords(ModelConfig, named, "retrieve").anchored(Path.cwd())


def _steps(data: Dataset, query_ids: Sequence[str]) -> int:
    return len(data.corpus) + len(query_ids)
