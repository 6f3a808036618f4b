"""`arena battle` and `arena demo`: retrieve, plan, judge, log and rate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena.commands import init, rate
from arena.commands.options import CONFIG, MAX_USD, QUIET, REPORT, Amount, echo_lines
from arena.errors import UsageError
from arena.progress import Reporter, reporter

if TYPE_CHECKING:
    from arena.experiment.stopping import StoppingRule
    from arena.experiment.summary import BattleOptions


@click.command()
@CONFIG
@click.option("--dry-run", is_flag=True, help="Say what it would take, and call nothing.")
@click.option("--limit", type=click.IntRange(min=1), help="Judge at most so many battles now.")
@MAX_USD
@click.option(
    "--shard",
    metavar="I/N",
    help="Play one of N fixed parts of the plan, into a log of its own.",
)
@click.option(
    "--until",
    type=click.Choice(["separated"]),
    help="Play in rounds, and stop once each model is surely better than the next.",
)
@click.option(
    "--until-width",
    metavar="ELO",
    type=Amount(min=0, min_open=True),
    help="Play in rounds, and stop once every rating is known to so many points.",
)
@click.option("--no-gate", is_flag=True, help="Believe a judge that was not tested, or failed.")
@REPORT
@QUIET
def battle(  # noqa: PLR0913  one parameter per option
    config: Path,
    *,
    limit: int | None,
    max_usd: float | None,
    shard: str | None,
    until: str | None,
    until_width: float | None,
    dry_run: bool,
    no_gate: bool,
    report: bool,
    quiet: bool,
) -> None:
    """Retrieve, plan, judge, log and rate; resumes by itself.

    What is in the log is never judged again, so run the same command to go on after a stop.
    Shards may run at the same time, on one machine or several; `arena rate` reads all their logs.

    \b
    Example:
      arena battle --dry-run
      arena battle handbook/arena.toml --limit 100
      arena battle handbook/arena.toml --max-usd 5
      arena battle handbook/arena.toml --shard 2/8
      arena battle handbook/arena.toml --until separated
      arena battle handbook/arena.toml --report
    """
    from arena.experiment import live as pipeline  # noqa: PLC0415
    from arena.experiment.summary import BattleOptions  # noqa: PLC0415
    from arena.store.shards import WHOLE, parse_shard  # noqa: PLC0415

    part = parse_shard(shard) if shard else WHOLE
    goal = _goal(until, until_width)
    if goal and (dry_run or limit is not None or shard is not None):
        raise UsageError("--until looks at whole rounds: no --dry-run, --limit or --shard with it")
    options = BattleOptions(limit=limit, max_usd=max_usd, shard=part, gate=not no_gate, until=goal)
    if not dry_run:
        _battle(config, reporter(quiet=quiet), options, report=report)
    elif report:
        raise UsageError("--dry-run plays nothing that --report could show; give one of them")
    elif limit is not None or shard is not None:
        raise UsageError("--dry-run estimates the whole plan; give it without --limit and --shard")
    else:
        echo_lines(pipeline.dry_run(config, options, reporter(quiet=quiet)).lines())


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("arena-demo"),
    show_default=True,
    help="Where the demo's arena.toml and runs go.",
)
@click.option(
    "--judge-model",
    envvar="ARENA_JUDGE_MODEL",
    show_envvar=True,
    help="The LLM judge, where OPENAI_API_KEY or OPENAI_BASE_URL is set.  [default: gpt-4.1-mini]",
)
@MAX_USD
@REPORT
@QUIET
def demo(
    folder: Path, judge_model: str | None, max_usd: float | None, *, report: bool, quiet: bool
) -> None:
    """Run the whole job on the built-in data set, offline.

    Five local models answer a hundred questions about Python's standard library. They are judged
    by known relevance grades, not by an LLM, unless OPENAI_API_KEY or OPENAI_BASE_URL is set:
    then an LLM judges ten of the questions.

    \b
    Example:
      arena demo --report
      OPENAI_BASE_URL=http://localhost:8000/v1 arena demo --judge-model qwen3-8b
    """
    from arena.commands.demo import demo_config  # noqa: PLC0415
    from arena.experiment.summary import BattleOptions  # noqa: PLC0415

    config = folder / "arena.toml"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(demo_config(init.template_text("demo"), os.environ, judge_model), "utf-8")
    _battle(config, reporter(quiet=quiet), BattleOptions(max_usd=max_usd), report=report)


def _goal(until: str | None, width_elo: float | None) -> StoppingRule | None:
    from arena.experiment.stopping import StoppingRule  # noqa: PLC0415

    if until and width_elo is not None:
        raise UsageError("--until separated or --until-width ELO, not both")
    return StoppingRule(width_elo) if until or width_elo is not None else None


def _battle(
    config: Path, progress: Reporter, options: BattleOptions, *, report: bool = False
) -> None:
    """Play, then rate what is in the log, even where the run was cut short."""
    from arena.experiment.experiment import open_experiment  # noqa: PLC0415

    folder = open_experiment(config).folder
    if not report:
        _play_and_rate(config, progress, options, folder)
        return
    from arena.site.watch import reported  # noqa: PLC0415

    with reported(folder, progress.say):
        _play_and_rate(config, progress, options, folder)


def _play_and_rate(config: Path, progress: Reporter, options: BattleOptions, folder: Path) -> None:
    from arena.experiment import live as pipeline  # noqa: PLC0415
    from arena.experiment.rate_files import last_leaderboard, rate_files  # noqa: PLC0415
    from arena.rating.leaderboard_notes import describe_moves  # noqa: PLC0415

    before = last_leaderboard(folder)  # now: a site that is kept up to date rates the log too
    summary = pipeline.battle(config, progress, options)
    if summary.n_judged:
        leaderboard = rate_files([folder])
        with rate.written(leaderboard, folder):
            rate.show(leaderboard, as_json=False)
            for line in describe_moves(before, leaderboard) if before else ():
                progress.say(f"since the last run: {line}")
        progress.say(f"log, runs and leaderboard: {folder}")
    summary.check()
