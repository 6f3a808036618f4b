"""Runs for a notebook: by a provider, by a function of your own, or out of a file."""

from __future__ import annotations

import inspect
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from arena.api.arguments import check_type, checked_keywords, path_of, whole_number, wrong_type
from arena.config import RETRIEVAL_DEPTH, ModelConfig
from arena.data.beir import sample_queries
from arena.data.metrics import measure_run
from arena.data.passage_corpus import join_cuts, qrels_by_parent, run_by_parent, with_passages
from arena.data.run_file import run_lines
from arena.embedding.embedder import Embedding
from arena.endpoint.coroutines import call_apart
from arena.errors import UsageError
from arena.experiment.named_metrics import measure_named
from arena.files import cache_folder
from arena.progress import Reporter, reporter
from arena.records import Dataset, RetrievalStats, Role, Run, ScoredDoc
from arena.retrieval.dense import rank_by_vectors
from arena.retrieval.job import RankingJob, Rankings
from arena.retrieval.retrieve import ranked_run
from arena.retrieval.retrieve import retrieve as retrieve_configured

Encode = Callable[[list[str]], Any]
"""Texts → one vector for each: an array, a list of lists, or a tensor."""

Search = Callable[[str, int], Iterable[Any]]
"""A query's text and a number k → at most k doc_ids, or (doc_id, score) pairs, best first."""

Returns = Literal["vectors", "doc_ids"]

_TEXTS_PER_CALL: Final = 1024


@dataclass(frozen=True, slots=True, repr=False)
class ModelRun:
    """One model's rankings on one data set, with the data set and what retrieving took."""

    run: Run
    data: Dataset = field(compare=False)
    stats: RetrievalStats = field(default_factory=RetrievalStats, compare=False)
    config: ModelConfig | None = field(default=None, compare=False)
    """What made it; None where a function or a file did."""

    @property
    def model(self) -> str:
        """Return the model's name in battles and leaderboards."""
        return self.run.model

    @property
    def dataset(self) -> str:
        """Return the data set's name."""
        return self.run.dataset

    @property
    def rankings(self) -> Mapping[str, tuple[ScoredDoc, ...]]:
        """Return query_id → ranking, best first."""
        return self.run.rankings

    @property
    def metrics(self) -> Mapping[str, float]:
        """Return means over the queries with relevance grades, by name; empty if there are none."""
        corpus = self.data.corpus
        qrels = qrels_by_parent(self.data.qrels, corpus)
        found = measure_run(run_by_parent(self.run, corpus), qrels)
        names = () if found is None else [name for name in found.__slots__ if "_at_" in name]
        return {name.replace("_at_", "@"): getattr(found, name) for name in names}

    def measure(self, *metrics: str) -> dict[str, float]:
        """Return the means of metrics by their names in ir_measures, such as ``"RR(rel=2)@10"``.

        Each is over the queries with a grade above 0. A metric that takes whole grades is left
        out where grades have fractions. No metric sees more of a ranking than the run holds.

        Raises:
            UsageError: a metric is unknown; the message names near ones.
        """
        for name in metrics:
            check_type(name, str, "metrics", "a name of ir_measures, such as nDCG@10")
        by_query = measure_named(self.run, self.data, metrics)
        means = {name: by_query.mean(name) for name in metrics}
        return {name: mean for name, mean in means.items() if mean is not None}

    def __repr__(self) -> str:
        return f"ModelRun({self.model!r} on {self.dataset!r}: {len(self.rankings):,} queries)"


def retrieve(  # noqa: PLR0913  all but two are options
    model: str | Mapping[str, Any] | ModelConfig | Encode | Search,
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
    not so.

    Args:
        model: a provider's name (``"bm25"``), a ``[[models]]`` section of an arena.toml as a dict
            or config, or a callable.
        data: its corpus is searched.
        queries: so many, sampled with the seed as `compare` samples them, or these query_ids; all
            where absent.
        name: of the model; its own, the provider's or the callable's where absent.
        depth: documents kept of each ranking.
        seed: decides which queries are sampled.
        returns: what the callable returns: ``"vectors"`` or ``"doc_ids"``.
        encode_queries: encodes queries, where another function encodes them than documents.
        base: the run that a reranker reorders, or the runs that a fusion merges, in the order of
            ``fuse``. Tuned weights come from their queries that ``queries`` leaves out.
        cache: the folder of the vector cache; the usual one where absent. The vectors of a
            callable are not cached: arena cannot see when it changes.
        progress: show on stderr how far retrieval is.

    Raises:
        ApiError: an endpoint failed, or gave unusable vectors.
        ConfigError: a setting of the model is unknown or has a wrong value.
        UsageError: a query or document is unknown, or a callable returned something else.
    """
    check_type(data, Dataset, "data", "an arena.Dataset")
    query_ids = _query_ids(data, queries, whole_number(seed, "seed", least=0))
    depth = whole_number(depth, "depth")
    if callable(model):
        if base is not None:
            raise UsageError("base is for a reranker or a fusion; a callable ranks the corpus")
        rank = _rank_by_callable(model, name, data, returns, encode_queries)
        called = _config({"provider": "bm25", "name": name or _name_of(model)}, None).name
        return _called(rank, called, data, query_ids, depth, reporter(quiet=not progress))
    if returns is not None or encode_queries is not None:
        raise UsageError("retrieve: returns and encode_queries are about a callable")
    bases = _bases(base)
    config = _config(_section(model, bases), name)
    if bases and not config.below:
        raise UsageError(f"base is for a reranker or a fusion; {config.name} ranks the corpus")
    if config.run is not None:
        read = read_run(config.run.replace("{dataset}", data.name), data, name=config.name)
        return replace(read, config=config)
    telling = reporter(quiet=not progress)
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
    rank: Callable[[RankingJob], tuple[Rankings, RetrievalStats]],
    name: str,
    data: Dataset,
    query_ids: Sequence[str],
    depth: int,
    telling: Reporter,
) -> ModelRun:
    """Return the run of a callable."""
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


def read_run(path: str | Path, data: Dataset, *, name: str | None = None) -> ModelRun:
    """Read a TREC run file: ``query_id Q0 doc_id rank score tag`` lines.

    Where the file has lines about at least half of the queries, the others matched nothing, and
    their rankings are empty. Otherwise the run is about the queries of the file alone.

    Args:
        path: the file.
        data: has the queries and documents of the file.
        name: of the model; the file's name without its ending where absent.

    Raises:
        DataError: a line is malformed, or about an unknown query or document.
    """
    path = path_of(path, "read_run")
    check_type(data, Dataset, "data", "an arena.Dataset")
    found = {query_id for _, query_id, *_ in run_lines(path)} & data.queries.keys()
    every = 2 * len(found) >= len(data.queries) or not found
    query_ids = [query_id for query_id in data.queries if every or query_id in found]
    config = _config({"run": str(path)}, name or path.stem)
    run, stats = retrieve_configured(config, data, query_ids, cache=cache_folder())
    return ModelRun(run, data, stats)


class _FunctionEmbedder:
    """A function of the user's as an embedder; what it returns is checked, not trusted."""

    settings: Mapping[str, object] = {}

    def __init__(self, name: str, encode: Encode, encode_queries: Encode | None) -> None:
        self._name = name
        self._encode: dict[Role, Encode] = {"document": encode, "query": encode_queries or encode}

    def embed(self, texts: Sequence[str], role: Role) -> Embedding:
        began = time.perf_counter()
        parts = [
            _vectors(self._encode[role](batch), len(batch), self._name)
            for start in range(0, len(texts), _TEXTS_PER_CALL)
            if (batch := [texts[i] for i in range(start, min(start + _TEXTS_PER_CALL, len(texts)))])
        ]
        if len({part.shape[1] for part in parts}) > 1:
            raise UsageError(f"{self._name}: vectors of one call have another length than others")
        vectors = np.concatenate(parts) if parts else np.empty((0, 0), np.float32)
        return Embedding(vectors, None, time.perf_counter() - began)


def _rank_by_callable(
    function: Callable[..., Any],
    name: str | None,
    data: Dataset,
    returns: Returns | None,
    encode_queries: Encode | None,
) -> Callable[[RankingJob], tuple[Rankings, RetrievalStats]]:
    called = name or _name_of(function)
    if returns not in (None, "vectors", "doc_ids"):
        raise UsageError(f'returns is {returns!r}; expected "vectors" or "doc_ids"')
    if (returns or _returned_by(function)) == "doc_ids":
        if encode_queries is not None:
            raise UsageError(f"{called}: encode_queries is for a callable that returns vectors")
        return lambda job: _rank_by_search(job, cast("Search", function), called, data)

    def rank(job: RankingJob) -> tuple[Rankings, RetrievalStats]:
        with tempfile.TemporaryDirectory() as folder:
            embedder = _FunctionEmbedder(called, function, encode_queries)
            return rank_by_vectors(job, embedder, cache=Path(folder))

    return rank


def _returned_by(function: Callable[..., Any]) -> Returns:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "vectors"  # written in C, say: it tells nothing of its arguments
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return "doc_ids" if len(required) > 1 else "vectors"


def _rank_by_search(
    job: RankingJob, search: Search, name: str, data: Dataset
) -> tuple[Rankings, RetrievalStats]:
    rankings: Rankings = {}
    latency_ms = []
    for number, (query_id, text) in enumerate(job.queries.items(), start=1):
        began = time.perf_counter()
        found = search(text, job.depth)
        latency_ms.append((time.perf_counter() - began) * 1000)
        rankings[query_id] = _ranking(found, data, f"{name}: query {query_id!r}")[: job.depth]
        job.searched(number)
    return rankings, RetrievalStats(tuple(latency_ms))


def _ranking(answer: Any, data: Dataset, where: str) -> list[tuple[str, float]]:
    expected = "expected doc_ids, or (doc_id, score) pairs, best first"
    if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
        raise UsageError(f"{where}: got {type(answer).__name__}; {expected}")
    ranking: dict[str, float] = {}
    for rank, entry in enumerate(answer, start=1):
        doc_id, score = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, 1 / rank)
        doc_id = str(doc_id)
        if doc_id not in data.corpus:
            raise UsageError(f"{where}: unknown document {doc_id[:80]!r}; {expected}")
        if doc_id in ranking:
            raise UsageError(f"{where}: document {doc_id!r} occurs twice")
        try:
            ranking[doc_id] = float(score)
        except (TypeError, ValueError):
            raise UsageError(f"{where}: score {score!r:.80}; {expected}") from None
        if not np.isfinite(ranking[doc_id]):
            raise UsageError(f"{where}: the score of document {doc_id!r} is {score!r}")
    return sorted(ranking.items(), key=lambda pair: -pair[1])


def _vectors(answer: Any, n_texts: int, name: str) -> NDArray[np.float32]:
    """Return the vectors that an encoder returned, as (n_texts, dimension)."""
    expected = f"expected an array of {n_texts} vectors, one for each text"
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise UsageError(f"{name}: is async; give a function that returns its vectors")
    if isinstance(answer, list | tuple) and answer and isinstance(answer[0], str):
        remedy = 'give returns="doc_ids" for a search: (query, k) → doc_ids'
        raise UsageError(f"{name}: returned texts; {expected}, or {remedy}")
    try:
        if isinstance(answer, list | tuple):
            vectors = np.array([_array(vector) for vector in answer], dtype=np.float32)
        else:
            vectors = np.asarray(_array(answer), dtype=np.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{name}: cannot be read as vectors ({error}); {expected}") from None
    if vectors.ndim != 2 or len(vectors) != n_texts or not vectors.shape[1]:
        shape = " × ".join(map(str, vectors.shape)) or "a single number"
        raise UsageError(f"{name}: returned {shape}; {expected}")
    return vectors


def _array(tensor: Any) -> Any:
    """Convert a tensor to what numpy reads: off its graph and device, in single precision."""
    if hasattr(tensor, "detach") and hasattr(tensor, "cpu"):
        return tensor.detach().cpu().float().numpy()
    return tensor


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


def queries_in(queries: int | Iterable[str]) -> int | tuple[str, ...]:
    """Return the number of queries that a caller asks for, or their query_ids.

    Raises:
        UsageError: it is neither, or there are none.
    """
    expected = "a whole number or a list of query_ids"
    if isinstance(queries, str | bool):
        raise wrong_type(queries, "queries", expected)
    if not isinstance(queries, Iterable):
        if not hasattr(queries, "__index__"):
            raise wrong_type(queries, "queries", expected)
        return whole_number(queries, "queries")
    query_ids = tuple(dict.fromkeys(str(query_id) for query_id in queries))
    if not query_ids:
        raise UsageError(f"queries: an empty list; expected {expected}")
    return query_ids


def runs_in(runs: object, argument: str) -> list[ModelRun]:
    """Return the runs that a caller gives.

    Raises:
        UsageError: something is no run.
    """
    expected = "a list of what arena.retrieve and arena.read_run return"
    if not isinstance(runs, Iterable):
        raise wrong_type(runs, argument, expected)
    checked_runs = []
    for run in runs:
        if not isinstance(run, ModelRun):
            raise UsageError(f"{argument}: got {type(run).__name__}; expected {expected}")
        checked_runs.append(run)
    return checked_runs


def _section(
    model: str | Mapping[str, Any] | ModelConfig | Callable[..., Any], bases: Sequence[ModelRun]
) -> dict[str, Any]:
    if isinstance(model, ModelConfig):
        return model.model_dump(exclude_unset=True)
    if isinstance(model, str):
        return {"provider": model}
    if not isinstance(model, Mapping):
        raise UsageError(
            f"retrieve: a model of type {type(model).__name__}; expected a provider's name, a dict "
            "as in [[models]] of an arena.toml, or a callable"
        )
    if len(bases) != 1 or "rerank" not in model or "over" in model:
        return dict(model)
    return {"base": bases[0].model, **model}


def _bases(base: ModelRun | Sequence[ModelRun] | None) -> Sequence[ModelRun]:
    if base is None:
        return ()
    return runs_in((base,) if isinstance(base, ModelRun) else base, "base")


def _config(section: Mapping[str, Any], name: str | None) -> ModelConfig:
    called = name or section.get("name") or section.get("model") or section.get("provider")
    called = called or section.get("rerank") or " + ".join(section.get("fuse", ()))
    named = {**section, "name": called}
    return checked_keywords(ModelConfig, named, "retrieve").anchored(Path.cwd())


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    return "model" if name == "<lambda>" else name.strip("_") or "model"


def _steps(data: Dataset, query_ids: Sequence[str]) -> int:
    return len(data.corpus) + len(query_ids)
