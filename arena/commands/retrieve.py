"""Define the command `arena retrieve`, which embeds and retrieves only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena.commands.options import AS_JSON, CONFIG, QUIET
from arena.progress import Reporter, reporter
from arena.terminal import printable_json

if TYPE_CHECKING:
    from arena.retrieval.table import Retrieved


@click.command()
@CONFIG
@click.option(
    "--cluster",
    metavar="WHERE",
    help="Rank corpora that are in partitions on a Dask cluster: local:N for N processes here, or "
    "a scheduler's address such as tcp://host:8786. An empty text takes [cluster] of the "
    "arena.toml.",
)
@AS_JSON
@QUIET
def retrieve(config: Path, *, cluster: str | None, as_json: bool, quiet: bool) -> None:
    """Embed and retrieve only, and write each model's run as a TREC file.

    The table shows what arena measured for each run: dimension, bytes per vector, index size,
    embedded documents per second, tokens and cost. Latencies are those of single queries: median,
    90th and 99th percentile, and their number. arena embeds no cached text again, but counts its
    tokens.

    \b
    Example:
      arena retrieve handbook/arena.toml
      arena retrieve --json | jq '.[].documents_per_s'
      arena retrieve --cluster tcp://scheduler:8786
    """
    from arena.experiment import live as pipeline  # noqa: PLC0415
    from arena.retrieval import table as retrieval_table  # noqa: PLC0415
    from arena.terminal import stdout_console  # noqa: PLC0415

    progress = reporter(quiet=quiet)
    if cluster is None:
        runs = pipeline.retrieve(config, progress)
    else:
        runs = _on_cluster(config, progress, cluster)
    if as_json:
        tree = retrieval_table.to_json(runs)
        click.echo(printable_json(tree))
    else:
        on = stdout_console()
        table = retrieval_table.render_table(
            runs, width=on.width, colour=on.colour, encoding=on.encoding
        )
        click.echo(table)


def _on_cluster(config: Path, progress: Reporter, setting: str) -> list[Retrieved]:
    from arena.cluster.connect import open_cluster  # noqa: PLC0415
    from arena.cluster.retrieve import ClusterRanker  # noqa: PLC0415
    from arena.experiment.experiment import open_experiment  # noqa: PLC0415
    from arena.experiment.live import retrieve  # noqa: PLC0415

    section = open_experiment(config).config.cluster
    with open_cluster(setting or None, section, progress) as cluster:
        return retrieve(config, progress, ClusterRanker(cluster))
