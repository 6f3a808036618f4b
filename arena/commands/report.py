"""The command ``arena report``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from arena.commands.options import echo_path
from arena.terminal import printable


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the site goes.  [default: report in the experiment's folder]",
)
@click.option("--watch", is_flag=True, help="Build it again whenever the log grows, until Ctrl-C.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(path: Path, out: Path | None, *, watch: bool, show: bool) -> None:
    """Write a static site: the leaderboard, and the battles behind it.

    PATH is an experiment, a battle log, or any CSV, JSONL or Parquet file with the columns
    model_a, model_b and winner. The site needs no server and no network: open it from the disk,
    or put the folder on any web host. An experiment half done gives a site that says so.

    \b
    Example:
      arena report runs/handbook --open
      arena report runs/handbook --watch
      arena report battles.csv --out public
    """
    # Before numpy, as for `arena rate`.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from arena.site.build import build_site  # noqa: PLC0415

    first = build_site(path, out, say=_say)
    echo_path(first)
    if show and click.launch(first.resolve().as_uri()) != 0:
        _say("note: no browser opens here; open the file above in one")
    if watch:
        import threading  # noqa: PLC0415

        from arena.site.watch import watch as keep_up  # noqa: PLC0415

        _say("watching; Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            keep_up(path, out, stop=threading.Event(), say=_say)


def _say(line: str) -> None:
    click.echo(printable(line), err=True)
