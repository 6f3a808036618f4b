"""Define the command `arena audit`, which measures how reliable the judge is."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from arena.commands.options import ALIASES, AS_JSON
from arena.errors import UsageError
from arena.terminal import printable_json

DIFFERENT, UNDECIDED = 1, 3


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option(
    "--between",
    nargs=2,
    metavar="A B",
    type=click.Path(path_type=Path),
    help="Compare the judges of two logs of the same battles: may B's judge replace A's?",
)
@click.option(
    "--fail-if",
    type=click.Choice(["different"]),
    help="With --between: exit with 1 if the judges rank models differently, and with 3 if that "
    "is undecided.",
)
@click.option(
    "--drift",
    is_flag=True,
    help="Print whether the judge has changed, from the checks of `arena battle --drift`.",
)
@AS_JSON
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Compare the judge with people's verdicts in a file with query_id, model_a, model_b, "
    "winner and optionally dataset; default: the labels of `arena label` in the experiment.",
)
@ALIASES
def audit(  # noqa: PLR0913  one parameter per option
    path: Path | None,
    between: tuple[Path, Path] | None,
    fail_if: str | None,
    labels: Path | None,
    aliases: Path | None,
    *,
    drift: bool,
    as_json: bool,
) -> None:
    """Measure how reliable the judge is.

    PATH is an experiment, a battle log, or any CSV, JSON, JSONL or Parquet file with the
    columns model_a, model_b, winner and query_id. An experiment's folder gives the most metrics,
    because it contains failures, relevance grades and the lengths of lists.

    \b
    Example:
      arena audit runs/handbook
      arena audit battles.csv --labels people.csv --json
      arena audit --between runs/handbook runs/handbook/rejudged/cheap --fail-if different
      arena audit runs/handbook --drift
    """
    if between:
        if path is not None or labels is not None or drift:
            raise UsageError(
                "--between compares two logs; give it without PATH, --labels and --drift"
            )
        conclusion = _between(*between, aliases, as_json=as_json)
        if fail_if is not None:
            sys.exit({"different": DIFFERENT, "same": 0}.get(conclusion, UNDECIDED))
        return
    if fail_if is not None:
        raise UsageError("--fail-if is for --between A B; add it")
    if path is None:
        raise UsageError("give an experiment or a battle log, or two with --between A B")
    if drift:
        _drift(path, as_json=as_json)
        return
    from arena.auditing import report  # noqa: PLC0415
    from arena.auditing.audit import audit as audit_judge  # noqa: PLC0415

    audited = audit_judge(path, labels=labels, aliases=aliases)
    if as_json:
        click.echo(printable_json(report.to_json(audited)))
    else:
        report.print_audit(audited)


def _between(first: Path, second: Path, aliases: Path | None, *, as_json: bool) -> str:
    """Print the comparison of two judges, and return its conclusion."""
    from arena.auditing import between_report  # noqa: PLC0415
    from arena.auditing.between import between  # noqa: PLC0415

    found = between(first, second, aliases=aliases)
    if as_json:
        click.echo(printable_json(between_report.to_json(found)))
    else:
        between_report.print_between(found)
    return found.conclusion


def _drift(path: Path, *, as_json: bool) -> None:
    from arena.auditing import drift  # noqa: PLC0415

    checks = drift.drift(path)
    if as_json:
        click.echo(printable_json(drift.to_json(checks)))
    else:
        drift.print_checks(checks)
