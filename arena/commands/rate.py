"""Define the command `arena rate`, which computes a leaderboard from battles."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from arena.commands.options import ALIASES, AS_JSON, QUIET, Amount, Quantity
from arena.errors import WriteError
from arena.progress import Reporter, reporter
from arena.terminal import printable, printable_json

if TYPE_CHECKING:
    from arena.battles.load import Battles
    from arena.config.cluster import ClusterConfig
    from arena.rating.leaderboard_records import Leaderboard
    from arena.rating.leaderboard_table import Shown
    from arena.rating.people.label_estimates import Correct


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@AS_JSON
@ALIASES
@click.option(
    "--rank-by",
    type=click.Choice(["rating", "elo"]),
    default="rating",
    show_default=True,
    help="Rank by Bradley-Terry rating, or by online Elo in log order.",
)
@click.option(
    "--method",
    type=click.Choice(["bt", "davidson"]),
    default="bt",
    show_default=True,
    help="Use Bradley-Terry with a tie as half a win, or a model with a parameter for ties.",
)
@click.option(
    "--prior",
    type=Amount(min=0),
    default=0.0,
    show_default=True,
    help="Add a prior of this weight, which keeps ratings finite if a model won or lost all.",
)
@click.option(
    "--position/--no-position",
    default=True,
    show_default=True,
    help="Estimate the advantage of the list shown first, and remove it.",
)
@click.option(
    "--soft/--no-soft",
    default=True,
    show_default=True,
    help="Rate by the judge's probabilities if the log has them.",
)
@click.option(
    "--level",
    type=Amount(0, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Confidence level of intervals and rank intervals.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    help="Compute intervals from N Bayesian bootstrap draws over queries, 100 to 100,000.  "
    "[default: sandwich]",
)
@click.option(
    "--judges",
    type=click.Choice(["majority", "mean", "each"]),
    default="majority",
    show_default=True,
    help="Combine a panel's verdicts on a matchup into one battle, or count each.",
)
@click.option(
    "--correct",
    type=click.Choice(["auto", "battles", "documents", "shrink", "none"]),
    default="auto",
    show_default=True,
    help="Correct ratings by people's labels in the experiment's folder.",
)
@click.option("--judge", metavar="NAME", help="Rate only the verdicts of this judge.")
@click.option("--by-dataset", is_flag=True, help="Show a full table for each data set.")
@click.option("--matrix", is_flag=True, help="Show every pair of models.")
@click.option("--cost", is_flag=True, help="Show dollars a month, and which model to take.")
@click.option(
    "--documents",
    type=Quantity(),
    help="Compute the cost for this many documents.  [default: that of [usage]]",
)
@click.option(
    "--queries-per-month",
    type=Quantity(),
    help="Compute the cost for this many queries a month.  [default: that of [usage]]",
)
@click.option(
    "--reindex-per-year",
    type=Quantity(),
    help="Embed all documents again this many times a year.  [default: that of [usage], or 1]",
)
@click.option(
    "--price-per-gb-month",
    type=Quantity(),
    help="US dollars a month for a GB of vectors.  [default: that of [usage], or 0.33]",
)
@click.option(
    "--price-per-hour",
    type=Quantity(),
    help="US dollars for an hour of your own models' machine.  [default: that of [usage]]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write leaderboard.csv and .json here.  "
    "[default: the experiment's folder, unless it is read-only]",
)
@click.option(
    "--cluster",
    metavar="WHERE",
    help="Read the logs on a Dask cluster: local:N for N processes here, or a scheduler's address "
    "such as tcp://host:8786. An empty text takes [cluster] of an experiment.",
)
@QUIET
def rate(  # noqa: PLR0913  one parameter per option
    paths: Sequence[Path],
    aliases: Path | None,
    output: Path | None,
    *,
    soft: bool,
    as_json: bool,
    by_dataset: bool,
    matrix: bool,
    correct: Correct,
    cost: bool,
    cluster: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Compute a leaderboard from battles.

    Each PATH is an experiment, a battle log, or any CSV, JSON, JSONL or Parquet file. A file needs
    the columns model_a, model_b and winner (model_a, model_b or tie), or those of other tools.

    \b
    Example:
      arena rate runs/handbook
      arena rate battles.csv --aliases spellings.toml --json
      arena rate runs/handbook --matrix --bootstrap 1000
      arena rate runs/handbook --documents 1M --queries-per-month 200k
      arena rate runs/handbook --cluster local:4
    """
    # numpy reads this variable when it is imported. More threads do not help on such small
    # matrices, and without them several processes can read a large log.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from arena.rating.leaderboard_records import RatingSettings  # noqa: PLC0415
    from arena.rating.leaderboard_table import Shown  # noqa: PLC0415
    from arena.rating.rate_files import rate_files  # noqa: PLC0415

    load = {key: options.pop(key) for key in USAGE}
    usage = {key: value for key, value in load.items() if value is not None}
    cost = cost or bool(usage)
    settings = RatingSettings(soft="auto" if soft else "never", **options)
    battles = None
    if cluster is not None:
        battles = _on_cluster(paths, aliases, reporter(quiet=quiet), cluster)
    leaderboard = rate_files(
        paths,
        aliases=aliases,
        settings=settings,
        correct=correct,
        usage=usage if cost else None,
        battles=battles,
    )
    folder = output or (paths[0] if len(paths) == 1 and paths[0].is_dir() else None)
    with written(leaderboard, folder, asked_for=output is not None):
        shown = Shown(by_dataset=by_dataset, matrix=matrix, cost=cost)
        show(leaderboard, as_json=as_json, shown=shown)


USAGE: Final = (
    *("documents", "queries_per_month", "reindex_per_year"),
    *("price_per_gb_month", "price_per_hour"),
)
"""Options that replace settings of ``[usage]``."""


def _on_cluster(
    paths: Sequence[Path], aliases: Path | None, progress: Reporter, setting: str
) -> Battles:
    """Read the battles on the workers of a cluster."""
    from arena.battles.load import load_aliases, load_battles  # noqa: PLC0415
    from arena.cluster.connect import open_cluster  # noqa: PLC0415
    from arena.cluster.read_logs import ClusterLogReader  # noqa: PLC0415

    names = load_aliases(aliases) if aliases else {}
    with open_cluster(setting or None, _section(paths), progress) as cluster:
        return load_battles(paths, aliases=names, read_logs=ClusterLogReader(cluster, progress))


def _section(paths: Sequence[Path]) -> ClusterConfig | None:
    """Return ``[cluster]`` of the first experiment that has one."""
    from arena.config.cluster import ClusterConfig  # noqa: PLC0415
    from arena.config.section import checked_section  # noqa: PLC0415
    from arena.store.folder import Folder  # noqa: PLC0415
    from arena.store.manifest import read_manifest  # noqa: PLC0415

    for path in paths:
        if Folder(path).is_experiment and "cluster" in (config := read_manifest(path)["config"]):
            return checked_section(ClusterConfig, config["cluster"], f"{path}: [cluster]")
    return None


@contextmanager
def written(
    leaderboard: Leaderboard, folder: Path | None, *, asked_for: bool = True
) -> Iterator[None]:
    """Write a leaderboard, but let the block show it first if the write fails.

    Args:
        leaderboard: what to write.
        folder: where to; None writes nothing.
        asked_for: whether it is an error if the folder is read-only. It is only a note where
            somebody rates another's experiment.

    Raises:
        WriteError: the folder cannot be written, or the disk is full.
    """
    from arena.rating.rate_files import write_leaderboard  # noqa: PLC0415

    failure: WriteError | None = None
    try:
        if folder is not None:
            write_leaderboard(leaderboard, folder)
    except WriteError as error:
        failure = error
    yield
    if failure is None:
        return
    if asked_for or not failure.is_forbidden:
        raise failure
    click.echo(f"note: {printable(failure.reason)}; --output FOLDER writes elsewhere", err=True)


def show(leaderboard: Leaderboard, *, as_json: bool, shown: Shown | None = None) -> None:
    """Print a leaderboard: a table for people, or JSON for programs."""
    from arena.rating.leaderboard_files import to_json  # noqa: PLC0415
    from arena.rating.leaderboard_table import print_leaderboard  # noqa: PLC0415

    if as_json:
        click.echo(printable_json(to_json(leaderboard)))
    else:
        print_leaderboard(leaderboard, shown=shown)
