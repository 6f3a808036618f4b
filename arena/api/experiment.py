"""Run an arena.toml from a program, and write the site of what it left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from arena.api.arguments import check_type, path_of, whole_number, wrong_type
from arena.experiment import live as pipeline
from arena.experiment.battle_options import BattleOptions
from arena.experiment.plan import plan_matchups
from arena.experiment.summary import Summary
from arena.progress import Reporter, reporter
from arena.records import Matchup, Orders
from arena.site.build import build_site


def battle(
    path: str | Path, progress: Reporter | None = None, options: BattleOptions | None = None
) -> Summary:
    """Run an arena.toml as `arena battle` does; the same call resumes.

    Args:
        path: the arena.toml, or the folder that holds one.
        progress: where progress is shown, such as ``arena.reporter()``; nowhere if absent.
        options: what one run is told beside its arena.toml.

    Returns:
        How the run ended: ``n_judged`` of ``n_planned``, failures, cost in US dollars.

    Raises:
        UsageError: the config or a data file has a mistake.
        ApiError: an endpoint failed.
        GateError: a judge failed its controls.
        LogError: the log is locked by another process, or cannot be written.
    """
    if options is not None:
        check_type(options, BattleOptions, "options", "an arena.BattleOptions")
    return pipeline.battle(path_of(path, "path"), progress or reporter(quiet=True), options)


def plan(
    models: Sequence[str],
    queries: Mapping[str, Sequence[str]],
    *,
    orders: Orders = "both",
    seed: int = 42,
    pairs_per_query: int | None = None,
) -> Iterator[Matchup]:
    """Yield the matchups that `compare` and `battle` judge, lazily and in their order.

    Args:
        models: names, in any order.
        queries: name of a data set → its sampled query_ids, in sampling order.
        orders: ``both`` plays each pair home and away; ``balanced`` in one order per query.
        seed: shuffles the order of models within a query.
        pairs_per_query: pairs of models that each query plays, drawn again for each; all if
            absent.

    Raises:
        UsageError: an argument is of a wrong type.
    """
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise wrong_type(models, "models", "a list of names")
    check_type(queries, Mapping, "queries", "a dict: data set → query_ids")
    if pairs_per_query is not None:
        pairs_per_query = whole_number(pairs_per_query, "pairs_per_query")
    return plan_matchups(models, queries, orders=orders, seed=seed, pairs_per_query=pairs_per_query)


def report(
    path: str | Path,
    out: str | Path | None = None,
    *,
    log: Callable[[str], None] | None = None,
) -> Path:
    """Write the site of an experiment, or of a file of battles; return its first page.

    A site that already shows just this is left alone. Files are replaced one by one, each whole,
    so that somebody may be looking at it meanwhile.

    Args:
        path: a folder under runs/, or any file that `rate` reads.
        out: where to; ``report`` in the folder, or beside the file, if absent.
        log: told what was done, a line at a time.

    Raises:
        UsageError: the path holds no battles and no experiment, or ``out`` holds other files.
        DataError: a file is not what it should be; names file and line.
        WriteError: the site cannot be written.
    """
    folder = None if out is None else path_of(out, "out")
    return build_site(path_of(path, "path"), folder, log=log or (lambda _: None))
