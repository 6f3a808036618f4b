"""The command ``arena compare``: two models, head to head."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from arena.commands.options import ALIASES, AS_JSON, MAX_USD, QUIET, Amount
from arena.errors import UsageError
from arena.terminal import printable_json

WORSE, UNDECIDED = 1, 3


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH..."
)
@AS_JSON
@click.option(
    "--fail-if",
    type=click.Choice(["worse"]),
    help="Exit with 1 if B is surely worse than A, and with 3 if that is undecided.",
)
@click.option(
    "--tolerance",
    metavar="ELO",
    type=Amount(min=0),
    default=0.0,
    show_default=True,
    help="B may be worse by this many Elo points.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of an earlier experiment; its corpus and queries must be the same.",
)
@click.option(
    "--groups",
    type=click.Path(path_type=Path, dir_okay=False),
    help="CSV or JSONL file with query_id and columns to group queries by.",
)
@ALIASES
@click.option("--judge", metavar="NAME", help="Use the verdicts of this judge alone.")
@click.option(
    "--level",
    type=Amount(0.5, 1, min_open=True, max_open=True),
    default=0.95,
    show_default=True,
    help="Of intervals, and of the decision of --fail-if.",
)
@MAX_USD
@QUIET
def compare(  # noqa: PLR0913  one parameter per option
    a: str,
    b: str,
    paths: Sequence[Path],
    *,
    as_json: bool,
    fail_if: str | None,
    tolerance: float,
    baseline: Path | None,
    groups: Path | None,
    aliases: Path | None,
    judge: str | None,
    level: float,
    max_usd: float | None,
    quiet: bool,
) -> None:
    """Compare model B with model A: rating difference, and where B loses.

    Each PATH is an experiment or a file of battles, as for `arena rate`. Other models in it help
    to rate both. A is the model that you have, B the one that may replace it.

    With an arena.toml as PATH, A and B are TREC run files: its judges compare them on its data
    set, and the log is kept beside it.

    \b
    Example:
      arena compare bge-m3 bge-m3-int8 runs/handbook
      arena compare main branch runs/gate --fail-if worse --tolerance 20
      arena compare old.trec new.trec arena.toml --max-usd 2
      arena compare bm25 minilm runs/handbook --groups data/handbook/queries.jsonl
    """
    from arena.api.compare_run_files import judge_run_files  # noqa: PLC0415
    from arena.comparing import report  # noqa: PLC0415
    from arena.comparing.compare import compare as compare_models  # noqa: PLC0415
    from arena.rating.leaderboard_records import RatingSettings  # noqa: PLC0415
    from arena.store.folder import Folder  # noqa: PLC0415

    if baseline is not None and not Folder(baseline).is_experiment:
        raise UsageError(f"--baseline {baseline}: no manifest.json; give an experiment's folder")
    if len(paths) == 1 and paths[0].suffix == ".toml":
        a, b, folder = judge_run_files(
            Path(a), Path(b), paths[0], max_usd=max_usd, progress=not quiet
        )
        paths = [folder]
    comparison = compare_models(
        a,
        b,
        paths,
        aliases=aliases,
        groups=groups,
        baseline=baseline,
        settings=RatingSettings(judge=judge, level=level),
    )
    if as_json:
        click.echo(printable_json(report.to_json(comparison, tolerance=tolerance)))
    else:
        report.print_comparison(comparison, tolerance=tolerance)
    if fail_if is not None:
        change = report.change_of(comparison, tolerance)
        sys.exit({"worse": WORSE, "not worse": 0}.get(change, UNDECIDED))
