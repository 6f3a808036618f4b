"""`arena retrieve`: embed and retrieve only, and what it took."""

from __future__ import annotations

from pathlib import Path

import click

from arena.commands.options import CONFIG, QUIET
from arena.progress import reporter
from arena.terminal import printable_json


@click.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@QUIET
def retrieve(config: Path, *, as_json: bool, quiet: bool) -> None:
    """Embed and retrieve only: write each model's run as a TREC file.

    Prints what each run took, as it was measured: dimension, bytes a vector, size of the index,
    documents embedded a second, latency of a query (median, 90th and 99th percentile, and of how
    many), tokens and their price. What is cached is not embedded again; its tokens count.

    \b
    Example:
      arena retrieve handbook/arena.toml
      arena retrieve --json | jq '.[].documents_per_s'
    """
    from arena.experiment import live as pipeline  # noqa: PLC0415
    from arena.retrieval import table as retrieval_table  # noqa: PLC0415
    from arena.terminal import screen  # noqa: PLC0415

    runs = pipeline.retrieve(config, reporter(quiet=quiet))
    if as_json:
        tree = retrieval_table.to_json(runs)
        click.echo(printable_json(tree))
    else:
        on = screen()
        table = retrieval_table.render(runs, width=on.width, colour=on.colour, encoding=on.encoding)
        click.echo(table)
