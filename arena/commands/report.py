"""Define the command `arena report`, which writes the site."""

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
    help="Write the site into this folder.  [default: report in the experiment's folder]",
)
@click.option(
    "--watch", is_flag=True, help="Build the site again when the log grows, until Ctrl-C."
)
@click.option("--open", "show", is_flag=True, help="Open the site in the browser.")
def report(path: Path, out: Path | None, *, watch: bool, show: bool) -> None:
    """Write a static site: the leaderboard and its battles.

    PATH is an experiment, a battle log, or any CSV, JSON, JSONL or Parquet file with the columns
    model_a, model_b and winner. The site needs no server and no network: open it from the disk,
    or copy the folder to any web host. The site of an unfinished experiment states its progress.

    \b
    Example:
      arena report runs/handbook --open
      arena report runs/handbook --watch
      arena report battles.csv --out public
    """
    # numpy reads this variable when it is imported, as in `arena rate`.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from arena.site.build import build_site  # noqa: PLC0415

    first = build_site(path, out, log=_log)
    echo_path(first)
    if show and click.launch(first.resolve().as_uri()) != 0:
        _log("note: arena cannot open a browser; open the file above yourself")
    if watch:
        import threading  # noqa: PLC0415

        from arena.site.watch import watch as keep_up  # noqa: PLC0415

        _log("watching the log; stop with Ctrl-C")
        with contextlib.suppress(KeyboardInterrupt):
            keep_up(path, out, stop=threading.Event(), log=_log)


def _log(line: str) -> None:
    click.echo(printable(line), err=True)
