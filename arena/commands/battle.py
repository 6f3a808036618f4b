"""`arena battle` and `arena demo`: retrieve, plan, judge, log and rate."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena.commands import init, rate
from arena.commands.options import (
    CONFIG,
    MAX_USD,
    NO_GATE,
    POLL,
    QUIET,
    REPORT,
    Amount,
    echo_lines,
)
from arena.errors import UsageError
from arena.progress import Reporter, reporter
from arena.terminal import printable_json

if TYPE_CHECKING:
    from arena.batch.battle import BatchOptions
    from arena.experiment.battle_options import BattleOptions
    from arena.experiment.rejudge import Rejudging
    from arena.experiment.stopping import StoppingRule
    from arena.experiment.summary import Summary
    from arena.rating.leaderboard_records import Leaderboard


@click.command()
@CONFIG
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the estimated calls, tokens and cost, and those of other plans; make no requests. "
    "With --until: a range for such a run.",
)
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print JSON.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Judge at most this many battles in this run."
)
@MAX_USD
@click.option(
    "--shard",
    metavar="I/N",
    help="Judge one of N fixed parts of the plan, into a log of its own.",
)
@click.option(
    "--until",
    type=click.Choice(["separated", "best"]),
    help="Add queries in rounds of ten; stop when every adjacent pair of models differs "
    "significantly, or when the best model is known. With best, models that are surely not the "
    "best play no more.",
)
@click.option(
    "--within",
    metavar="ELO",
    type=Amount(min=0, min_open=True),
    help="With --until best: stop at a model that is surely within ELO points of the best.",
)
@click.option(
    "--until-width",
    metavar="ELO",
    type=Amount(min=0, min_open=True),
    help="Add queries in rounds of ten; stop when every rating is known to ± this many points.",
)
@click.option(
    "--judge-with",
    metavar="CONFIG|MODEL",
    help="Judge the battles of the log again: with the judges of another arena.toml, or with "
    "another model and the same prompt. The log goes to runs/NAME/rejudged/.",
)
@click.option(
    "--judge-prices",
    metavar="IN OUT",
    nargs=2,
    type=Amount(min=0),
    help="With --judge-with MODEL: its US dollars per million input and output tokens.",
)
@click.option(
    "--queries",
    type=click.IntRange(min=1),
    help="With --judge-with: judge the battles of this many queries per data set.  [default: all]",
)
@click.option(
    "--drift",
    metavar="N",
    type=click.IntRange(min=1),
    help="Test whether the judge has changed: judge N old battles once more, the first time twice. "
    "Exit with 1 if it has. Needs the log of an earlier run.",
)
@click.option(
    "--cluster",
    metavar="WHERE",
    help="Judge on a Dask cluster: local:N for N processes here, or a scheduler's address such as "
    "tcp://host:8786. An empty text takes [cluster] of the arena.toml.",
)
@NO_GATE
@click.option(
    "--batch",
    is_flag=True,
    help="Judge by the provider's batch jobs: half the price, within 24 hours. Run the same "
    "command again to collect and go on.",
)
@click.option("--wait", "waits", is_flag=True, help="With --batch: poll until all is judged.")
@POLL
@click.option(
    "--give-up",
    metavar="JOB",
    help="With --batch: forget a job that the provider no longer knows.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    help="With --batch: prompt tokens in jobs under way at most, for each judge.",
)
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
    within: float | None,
    judge_with: str | None,
    judge_prices: tuple[float, float] | None,
    queries: int | None,
    drift: int | None,
    cluster: str | None,
    dry_run: bool,
    as_json: bool,
    no_gate: bool,
    batch: bool,
    waits: bool,
    poll_s: float | None,
    give_up: str | None,
    max_tokens: int | None,
    report: bool,
    quiet: bool,
) -> None:
    """Retrieve, plan, judge, log and rate; resumes by itself.

    What is in the log is never judged again, so run the same command to go on after a stop.
    Shards may run at the same time, on one machine or several; `arena rate` reads all their logs.
    With --batch the same battles go into files that the provider works off within a day.

    \b
    Example:
      arena battle --dry-run
      arena battle --dry-run --until best --within 20
      arena battle --dry-run --json
      arena battle handbook/arena.toml --limit 100
      arena battle handbook/arena.toml --max-usd 5
      arena battle handbook/arena.toml --shard 2/8
      arena battle handbook/arena.toml --until separated
      arena battle handbook/arena.toml --until best --within 20
      arena battle handbook/arena.toml --batch
      arena battle handbook/arena.toml --judge-with cheap.toml --queries 50
      arena battle handbook/arena.toml --drift 100 --max-usd 1
      arena battle handbook/arena.toml --cluster local:4
      arena battle handbook/arena.toml --report
    """
    from arena.experiment.battle_options import BattleOptions  # noqa: PLC0415
    from arena.store.shards import WHOLE, parse_shard  # noqa: PLC0415

    if not batch and (waits or poll_s is not None or give_up or max_tokens is not None):
        raise UsageError("--wait, --poll, --give-up and --max-tokens are for --batch; add it")
    if as_json and not dry_run:
        raise UsageError("--json is for --dry-run; `arena rate --json` prints the leaderboard")
    options = BattleOptions(
        limit=limit,
        max_usd=max_usd,
        shard=parse_shard(shard) if shard else WHOLE,
        gate=not no_gate,
        until=_stopping_rule(until, until_width, within),
        rejudging=_rejudging(judge_with, judge_prices, queries),
        drift=drift,
        cluster=cluster,
    )
    _check_rounds(options)
    _check_cluster(options, batch=batch)
    if drift is not None:
        _check_alone(options, batch=batch, report=report)
    elif dry_run:
        _check_whole_plan(options, report=report)
    if dry_run:
        _dry_run(config, options, reporter(quiet=quiet), batch=batch, as_json=as_json)
    elif drift is not None:
        _check_drift(config, options, reporter(quiet=quiet))
    elif batch:
        from arena.batch.battle import BatchOptions  # noqa: PLC0415
        from arena.batch.jobs import poll_from  # noqa: PLC0415

        jobs = BatchOptions(waits, poll_from(poll_s), give_up, max_tokens)
        _battle(config, reporter(quiet=quiet), options, jobs, report=report)
    else:
        _battle(config, reporter(quiet=quiet), options, report=report)


def _is_part(options: BattleOptions) -> bool:
    """Return whether a run has --limit or --shard."""
    return options.limit is not None or options.shard.name is not None


def _check_rounds(options: BattleOptions) -> None:
    if options.until and _is_part(options):
        raise UsageError("--until looks at whole rounds: no --limit or --shard with it")


def _check_alone(options: BattleOptions, *, batch: bool, report: bool) -> None:
    """Check that --drift has no option of another kind of run."""
    if batch or report or options.until or options.rejudging or _is_part(options):
        raise UsageError(
            "--drift judges its own battles live; of the other options it takes --max-usd, "
            "--dry-run and --quiet"
        )


def _check_whole_plan(options: BattleOptions, *, report: bool) -> None:
    if report:
        raise UsageError("--dry-run plays nothing that --report could show; give one of them")
    if _is_part(options):
        raise UsageError("--dry-run estimates the whole plan; give it without --limit and --shard")


def _check_drift(config: Path, options: BattleOptions, progress: Reporter) -> None:
    """Judge old battles once more, and print whether the judge has changed."""
    from arena.auditing import drift  # noqa: PLC0415
    from arena.experiment.drift import check_drift  # noqa: PLC0415

    summary = check_drift(config, progress, options)
    summary.check()
    checks = drift.drift(summary.experiment.retrieved.folder)
    drift.print_checks(checks)
    if drift.to_json(checks)["drift"]:
        sys.exit(1)


def _dry_run(
    config: Path, options: BattleOptions, progress: Reporter, *, batch: bool, as_json: bool
) -> None:
    """Print what a run would take: live, by batch jobs, or to check for drift."""
    from arena.batch.jobs import BATCH_DISCOUNT  # noqa: PLC0415
    from arena.dry_run.battle import dry_run, dry_run_drift  # noqa: PLC0415
    from arena.dry_run.estimate_json import to_json  # noqa: PLC0415

    if options.drift is not None:
        estimate = dry_run_drift(config, progress, options)
    else:
        share = BATCH_DISCOUNT if batch else None
        estimate = dry_run(config, options, progress, batch_share=share)
    if as_json:
        click.echo(printable_json(to_json(estimate)))
    else:
        echo_lines(estimate.lines())


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
    from arena.experiment.battle_options import BattleOptions  # noqa: PLC0415

    config = folder / "arena.toml"
    folder.mkdir(parents=True, exist_ok=True)
    config.write_text(demo_config(init.template_text("demo"), os.environ, judge_model), "utf-8")
    progress = reporter(quiet=quiet)
    _battle(config, progress, BattleOptions(max_usd=max_usd), report=report)
    if not report:
        called = "arena" if shutil.which("arena") else shlex.quote(sys.argv[0])
        runs = shlex.quote(str(folder / "runs" / "demo"))
        progress.log(f"next: {called} report {runs} --open")


def _stopping_rule(
    until: str | None, width_elo: float | None, within_elo: float | None
) -> StoppingRule | None:
    from arena.experiment.stopping import StoppingRule  # noqa: PLC0415

    if until and width_elo is not None:
        raise UsageError(f"--until {until} or --until-width ELO, not both")
    if within_elo is not None and until != "best":
        raise UsageError("--within is for --until best; add it")
    if until == "best":
        return StoppingRule(best=True, within_elo=within_elo or 0.0)
    return StoppingRule(width_elo) if until or width_elo is not None else None


def _rejudging(
    judge_with: str | None, prices: tuple[float, float] | None, queries: int | None
) -> Rejudging | None:
    from arena.experiment.rejudge import Rejudging  # noqa: PLC0415

    if judge_with is None:
        if prices or queries is not None:
            raise UsageError("--judge-prices and --queries are for --judge-with; add it")
        return None
    return Rejudging(judge_with, queries, prices)


def _battle(
    config: Path,
    progress: Reporter,
    options: BattleOptions,
    jobs: BatchOptions | None = None,
    *,
    report: bool = False,
) -> None:
    """Judge, then rate what is in the log, even where the run was cut short."""
    from arena.experiment.rejudge import open_asked  # noqa: PLC0415

    experiment = open_asked(config, options.rejudging)
    folder = experiment.folder
    if report:
        from arena.site.watch import keep_current  # noqa: PLC0415

        with keep_current(folder, progress.log):
            _judge_and_rate(config, progress, options, folder, jobs)
    else:
        _judge_and_rate(config, progress, options, folder, jobs)
    if experiment.origin:
        first, second = (shlex.quote(str(each)) for each in (experiment.retrieved.folder, folder))
        progress.log(f"compare the judges with: arena audit --between {first} {second}")


def _judge_and_rate(
    config: Path,
    progress: Reporter,
    options: BattleOptions,
    folder: Path,
    jobs: BatchOptions | None,
) -> None:
    from arena.experiment import live  # noqa: PLC0415
    from arena.rating.rate_files import last_leaderboard  # noqa: PLC0415

    before = last_leaderboard(folder)  # now: a site that is kept up to date rates the log too
    if jobs is None:
        if options.cluster is None:
            summary = live.battle(config, progress, options)
        else:
            summary = _on_cluster(config, progress, options)
        _rate(folder, progress, before, n_judged=summary.n_judged)
        summary.check()
        return
    from arena.batch.batch_run import open_batch_run  # noqa: PLC0415
    from arena.batch.battle import battle_by_batch  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    batch_run = open_batch_run(config, progress, shard=options.shard, rejudging=options.rejudging)
    by_batch = run(battle_by_batch(batch_run, options, jobs, progress))
    _rate(folder, progress, before, n_judged=by_batch.n_judged if by_batch.n_new else 0)
    echo_lines(by_batch.lines())
    by_batch.check()


def _check_cluster(options: BattleOptions, *, batch: bool) -> None:
    others = (options.limit, options.shard.name, options.until, options.rejudging, options.drift)
    if options.cluster is not None and (batch or any(other is not None for other in others)):
        raise UsageError(
            "--cluster plays the whole plan live; with --limit, --shard, --until, --batch, "
            "--judge-with or --drift run `arena retrieve --cluster` first, then this command "
            "without --cluster"
        )


def _on_cluster(config: Path, progress: Reporter, options: BattleOptions) -> Summary:
    from arena.cluster.connect import open_cluster  # noqa: PLC0415
    from arena.cluster.judge import battle_on_cluster  # noqa: PLC0415
    from arena.experiment.experiment import open_experiment  # noqa: PLC0415

    section = open_experiment(config).config.cluster
    with open_cluster(options.cluster or None, section, progress) as cluster:
        return battle_on_cluster(config, progress, options, cluster)


def _rate(folder: Path, progress: Reporter, before: Leaderboard | None, *, n_judged: int) -> None:
    """Rate the log, show the leaderboard, and say what has changed since the last one."""
    from arena.rating.leaderboard_notes import describe_changes  # noqa: PLC0415
    from arena.rating.rate_files import rate_files  # noqa: PLC0415

    if not n_judged:
        return
    leaderboard = rate_files([folder])
    with rate.written(leaderboard, folder):
        rate.show(leaderboard, as_json=False)
        for line in describe_changes(before, leaderboard) if before else ():
            progress.log(f"since the last run: {line}")
    progress.log(f"log, runs and leaderboard: {folder}")
