"""The metrics that arena.toml names: computed beside the runs, with notes on what they lack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arena.data.metrics import QueryMetrics, measure_queries
from arena.data.passage_corpus import n_wholes, qrels_by_parent, run_by_parent
from arena.experiment.experiment import Experiment, ExperimentData
from arena.metric_names import depth_of, parse_metric
from arena.progress import Reporter
from arena.records import Dataset, Run
from arena.store.folder import Folder
from arena.store.named_metrics import write_named_metrics


def write_named(experiment: Experiment, dataset: Dataset, runs: Sequence[Run]) -> None:
    """Write the metrics that arena.toml names, or remove those of an earlier arena.toml."""
    path = Folder(experiment.folder).named_metrics(dataset.name)
    names = experiment.config.experiment.metrics
    if names is None:
        path.unlink(missing_ok=True)
        return
    write_named_metrics({run.model: measure_named(run, dataset, names) for run in runs}, path)


def measure_named(run: Run, dataset: Dataset, names: Sequence[str]) -> QueryMetrics:
    """Compute metrics of a run on its data set; a passage counts as the document that it is from.

    Raises:
        UsageError: a name is unknown.
    """
    qrels = qrels_by_parent(dataset.qrels, dataset.corpus)
    return measure_queries(run_by_parent(run, dataset.corpus), qrels, names)


def note_metrics(
    experiment: Experiment, data: ExperimentData, runs: Sequence[Run], reporter: Reporter
) -> None:
    """Report which metrics of arena.toml cannot be what their names say."""
    for name, dataset in data.datasets.items():
        own = [run for run in runs if run.dataset == name]
        for note in _notes(dataset, own, experiment.config.experiment.metrics or ()):
            reporter.log(f"note: {note}")


def _notes(dataset: Dataset, runs: Sequence[Run], names: Sequence[str]) -> Iterator[str]:
    """Yield which metrics cannot be what their names say, because of the grades or short lists.

    Args:
        dataset: what the runs are about.
        runs: one a model.
        names: the metrics that arena.toml names.
    """
    if not names:
        return
    if not any(dataset.qrels.get(query_id) for run in runs for query_id in run.rankings):
        yield f"{dataset.name}: no query has a relevance grade, so there is no {names[0]}"
        return
    if left_out := runs and measure_named(runs[0], dataset, names).left_out:
        why = "takes whole grades, and some grades here have fractions"
        yield from (f"{dataset.name}: {name} {why}: left out" for name in left_out)
    runs, n_documents = [run_by_parent(r, dataset.corpus) for r in runs], n_wholes(dataset.corpus)
    depth = max((len(ranking) for run in runs for ranking in run.rankings.values()), default=0)
    metrics = {name: parse_metric(name) for name in names}
    whole = [name for name, metric in metrics.items() if depth_of(metric) is None]
    if whole and depth < n_documents:
        yield f"{dataset.name}: {', '.join(whole)}: of lists that are cut at {depth:,}"
    cut: dict[int, list[str]] = {}  # length of the longest list → models
    for run in runs:
        cut.setdefault(max(map(len, run.rankings.values()), default=0), []).append(run.model)
    for longest, models in sorted(cut.items()):
        short = [
            name
            for name, metric in metrics.items()
            if longest < min(depth_of(metric) or 0, n_documents)
        ]
        if short:
            held = f"lists of {', '.join(models)} are cut at {longest:,}"
            yield f"{dataset.name}: {', '.join(short)}: {held}, and no deeper document counts"
