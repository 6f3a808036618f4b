"""Define the command `arena retrieve`, which embeds and retrieves only."""

from __future__ import annotations

from pathlib import Path

import click

from arena.commands.options import AS_JSON, CONFIG, QUIET
from arena.progress import reporter
from arena.terminal import printable_json


@click.command()
@CONFIG
@AS_JSON
@QUIET
def retrieve(config: Path, *, as_json: bool, quiet: bool) -> None:
    """Embed and retrieve only, and write each model's run as a TREC file.

    The table shows what arena measured for each run: dimension, bytes per vector, index size,
    embedded documents per second, tokens and cost. Latencies are those of single queries: median,
    90th and 99th percentile, and their number. arena embeds no cached text again, but counts its
    tokens.

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
