"""Define the command `arena check`, which tries every part of an arena.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from arena.commands.options import AS_JSON, CONFIG, QUIET, Amount
from arena.progress import reporter
from arena.terminal import printable_json


@click.command()
@CONFIG
@click.option("--no-data", is_flag=True, help="Load no data set, and skip run files and commands.")
@click.option(
    "--timeout",
    "timeout_s",
    type=Amount(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Longest wait for each model and judge, in seconds.",
)
@AS_JSON
@QUIET
def check(config: Path, *, no_data: bool, timeout_s: float, as_json: bool, quiet: bool) -> None:
    """Try every data set, model and judge with one small request each.

    All requests run at the same time. Embedders get a query and three short texts, rerankers two
    documents, and judges a matchup with an obvious answer. arena caches nothing and plays no
    battle. The latencies are rough, because all requests compete; `arena retrieve` measures them.
    The exit status is 1 if anything fails.

    \b
    Example:
      arena check
      arena check handbook/arena.toml --no-data --json
    """
    from arena.checking import check as checks  # noqa: PLC0415
    from arena.checking import table as check_table  # noqa: PLC0415
    from arena.terminal import stdout_console  # noqa: PLC0415

    try:
        report = checks.check(config, reporter(quiet=quiet), data=not no_data, timeout_s=timeout_s)
    except KeyboardInterrupt:
        click.echo("error: stopped; the requests sent so far may cost a little", err=True)
        _leave(1)
    if as_json:
        click.echo(printable_json(check_table.to_json(report)))
    else:
        on = stdout_console()
        table = check_table.render_report(
            report, width=on.width, colour=on.colour, encoding=on.encoding
        )
        click.echo(table)
    status = 0 if report.ok else 1
    if report.hangs:
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> None:
    """Exit at once: a hanging thread in foreign code would block a normal exit."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
