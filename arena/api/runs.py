"""Runs for a notebook: out of a file, a dict or a table; what is known of one; and back again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arena.api.arguments import check_type, checked_keywords, path_of, whole_number, wrong_type
from arena.api.frames import Table, frame_in
from arena.api.own_model import ranking_of
from arena.config import ModelConfig
from arena.data.metrics import measure_run
from arena.data.passage_corpus import qrels_by_parent, run_by_parent
from arena.data.run_file import run_lines
from arena.errors import UsageError
from arena.experiment.named_metrics import measure_named
from arena.files import cache_folder
from arena.records import Dataset, RetrievalStats, Run, ScoredDoc
from arena.retrieval.job import RankingJob, Rankings
from arena.retrieval.retrieve import ranked_run
from arena.retrieval.retrieve import retrieve as retrieve_configured

if TYPE_CHECKING:
    import pandas as pd

_QUERY_IDS: Final = ("query_id", "qid", "query-id")
_DOC_IDS: Final = ("doc_id", "docno", "docid", "corpus-id")
"""What arena, PyTerrier, ranx and mteb call the columns of a run."""


@dataclass(frozen=True, slots=True, repr=False)
class ModelRun:
    """One model's rankings on one data set, with the data set and what retrieving took.

    Attributes:
        run: the rankings alone.
        data: the data set.
        stats: latency in milliseconds a query, tokens, US dollars and so on; None is not known.
        config: what made it; None where a function, a dict or a table did.
    """

    run: Run
    data: Dataset = field(compare=False)
    stats: RetrievalStats = field(default_factory=RetrievalStats, compare=False)
    config: ModelConfig | None = field(default=None, compare=False)

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

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each query and document: query_id, rank (from 1), doc_id, score."""
        import pandas as pd  # noqa: PLC0415

        rows = [
            (query_id, rank, doc.doc_id, doc.score)
            for query_id, ranking in self.rankings.items()
            for rank, doc in enumerate(ranking, start=1)
        ]
        return pd.DataFrame(rows, columns=["query_id", "rank", "doc_id", "score"])

    def __repr__(self) -> str:
        return f"ModelRun({self.model!r} on {self.dataset!r}: {len(self.rankings):,} queries)"


def read_run(
    source: str | Path | Mapping[Any, Any] | pd.DataFrame | Table,
    data: Dataset,
    *,
    name: str | None = None,
) -> ModelRun:
    """Read a run of another tool: a TREC run file, a dict, or a table.

    Where the run ranks at least half of the queries, the others matched nothing, and their
    rankings are empty. Otherwise it is about its own queries alone.

    Args:
        source: a file of ``query_id Q0 doc_id rank score tag`` lines; a dict of query_id → doc_id
            → score (or → doc_ids, best first); or a table with the columns query_id, doc_id and
            score.
        data: has the queries and documents of the run.
        name: of the model; the file's name without its ending if absent.

    Returns:
        The run, without latencies.

    Raises:
        DataError: a line of the file is malformed, or about an unknown query or document.
        UsageError: the dict or table is about an unknown query or document, or has no name.
    """
    check_type(data, Dataset, "data", "an arena.Dataset")
    if isinstance(source, str | Path):
        return _read_file(path_of(source, "read_run"), data, name)
    if not isinstance(source, Mapping):
        source = _by_query(frame_in(source, "read_run", "a path, a dict or a DataFrame"))
    if name is None:
        raise UsageError("read_run: a run that is no file needs a name; give name=")
    return _of_dict({str(query_id): ranking for query_id, ranking in source.items()}, data, name)


def _read_file(path: Path, data: Dataset, name: str | None) -> ModelRun:
    if not path.is_file():
        raise UsageError(f"read_run: {path}: no such file; expected a TREC run")
    ranked = {query_id for _, query_id, *_ in run_lines(path)}
    section = {"run": str(path), "name": name or path.stem}
    config = checked_keywords(ModelConfig, section, "read_run").anchored(Path.cwd())
    run, stats = retrieve_configured(config, data, _queries(ranked, data), cache=cache_folder())
    return ModelRun(run, data, stats)


def _of_dict(source: Mapping[str, Any], data: Dataset, name: str) -> ModelRun:
    called = checked_keywords(ModelConfig, {"provider": "bm25", "name": name}, "read_run").name
    if unknown := [query_id for query_id in source if query_id not in data.queries]:
        raise UsageError(f"read_run: unknown query {unknown[0]!r}; is the run about {data.name}?")
    if not source:
        raise UsageError("read_run: an empty run; expected query_id → doc_id → score")

    def rank(job: RankingJob) -> tuple[Rankings, RetrievalStats]:
        rankings = {}
        for query_id in job.queries:
            ranking = source.get(query_id, ())
            pairs = tuple(ranking.items()) if isinstance(ranking, Mapping) else ranking
            ranked = ranking_of(pairs, data, f"{called}: query {query_id!r}")
            rankings[query_id] = ranked[: job.depth]
        return rankings, RetrievalStats()

    run, stats = ranked_run(rank, called, data, _queries(source.keys(), data))
    return ModelRun(run, data, stats)


def _queries(ranked: Iterable[str], data: Dataset) -> list[str]:
    """Return the queries that a run is about."""
    known = set(ranked) & data.queries.keys()
    every = 2 * len(known) >= len(data.queries) or not known
    return [query_id for query_id in data.queries if every or query_id in known]


def _by_query(frame: pd.DataFrame) -> dict[Any, dict[Any, Any]]:
    """Return the rows of a table as query_id → doc_id → score.

    Raises:
        UsageError: a column is missing, or a document occurs twice.
    """
    columns = []
    for names in (_QUERY_IDS, _DOC_IDS, ("score",)):
        column = next((name for name in names if name in frame.columns), None)
        if column is None:
            listed = ", ".join(map(str, frame.columns))
            raise UsageError(f"read_run: no column {names[0]}; the table has {listed}")
        columns.append(frame[column].tolist())
    rankings: dict[Any, dict[Any, Any]] = {}
    for query_id, doc_id, score in zip(*columns, strict=True):
        ranking = rankings.setdefault(query_id, {})
        if doc_id in ranking:
            raise UsageError(f"read_run: query {query_id!r}: document {doc_id!r} occurs twice")
        ranking[doc_id] = score
    return rankings


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
