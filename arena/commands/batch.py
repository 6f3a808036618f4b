"""The commands `arena batch ...`: files of requests for an offline engine such as vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena.commands.options import CONFIG, NO_GATE, POLL, QUIET, Amount, echo_lines, echo_path
from arena.progress import reporter
from arena.terminal import dollars

if TYPE_CHECKING:
    from arena.batch.judge_results import Collected

REQUESTS = click.option(
    "--max-requests",
    type=click.IntRange(1, 50_000),
    default=50_000,
    show_default=True,
    help="Requests in one file at most.",
)


@click.group()
def batch() -> None:
    """Judge by files of requests, on a model of your own.

    `arena battle --batch` uses the batch jobs of a provider.

    \b
    Example:
      arena batch export requests
      vllm run-batch -i requests/requests-0001.jsonl -o results.jsonl --model MODEL
      arena batch import results.jsonl
    """


@batch.command(hidden=True)
@CONFIG
@click.option(
    "--max-usd",
    type=Amount(min=0, min_open=True),
    help="The most that all judges and runs may cost, jobs under way included.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    help="Prompt tokens under way at one time, where the provider has such a limit.",
)
@REQUESTS
@NO_GATE
@QUIET
def submit(  # noqa: PLR0913  one parameter per option
    config: Path,
    max_usd: float | None,
    max_tokens: int | None,
    max_requests: int,
    *,
    no_gate: bool,
    quiet: bool,
) -> None:
    """Upload requests for all battles that are not judged or asked for yet.

    A judge that has judged nothing yet is first asked a few controls, live.

    \b
    Example:
      arena batch submit handbook/arena.toml --max-usd 5
    """
    from arena.batch import submit as work  # noqa: PLC0415
    from arena.batch.batch_run import open_batch_run  # noqa: PLC0415
    from arena.batch.requests import Limits  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    _note_of_successor("submit")
    progress = reporter(quiet=quiet)
    limits = Limits(requests=max_requests, tokens=max_tokens)
    order = work.SubmitOptions(
        max_usd=max_usd, max_tokens=max_tokens, limits=limits, gate=not no_gate
    )
    done = run(work.submit(open_batch_run(config, progress), order, progress))
    cost = f", {dollars(done.at_most_usd)} at most" if done.at_most_usd else ""
    echo_lines([f"{done.n_requests:,} requests submitted in {done.n_jobs} jobs{cost}"])
    done.check()


@batch.command(hidden=True)
@CONFIG
def status(config: Path) -> None:
    """Show how far the jobs are that are not collected.

    \b
    Example:
      arena batch status handbook/arena.toml
    """
    from arena.batch import submit as work  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    _note_of_successor("status")
    found = run(work.statuses(config))
    jobs = [f"{job.name}  {job.batch_id or '-'}  {state}" for job, state in found]
    echo_lines(jobs or ["no jobs are under way"])


@batch.command(hidden=True)
@CONFIG
@click.option("--wait", "waits", is_flag=True, help="Wait until all jobs have ended.")
@POLL
@click.option("--give-up", metavar="JOB", help="Forget a job that the provider no longer knows.")
@QUIET
def collect(
    config: Path, poll_s: float | None, give_up: str | None, *, waits: bool, quiet: bool
) -> None:
    """Write what ended jobs brought back into the log, and rate.

    What failed, expired or is missing is in failures.jsonl or free to be submitted again.

    \b
    Example:
      arena batch collect handbook/arena.toml --wait
    """
    from arena.batch import collect as work  # noqa: PLC0415
    from arena.batch.batch_run import open_batch_run  # noqa: PLC0415
    from arena.batch.jobs import poll_from  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    _note_of_successor("collect")
    progress = reporter(quiet=quiet)
    batch_run = open_batch_run(config, progress)
    if waits:
        run(work.wait(batch_run, poll_from(poll_s), progress))
    _finish(run(work.collect(batch_run, progress, give_up=give_up)))


@batch.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@CONFIG
@REQUESTS
@QUIET
def export(folder: Path, config: Path, max_requests: int, *, quiet: bool) -> None:
    """Write files of requests into FOLDER, and send nothing.

    The files are those that `arena battle --batch` would upload, and what vLLM reads.

    \b
    Example:
      arena batch export requests handbook/arena.toml
      vllm run-batch -i requests/requests-0001.jsonl -o results.jsonl --model MODEL
    """
    from arena.batch import offline  # noqa: PLC0415
    from arena.batch.batch_run import open_batch_run  # noqa: PLC0415
    from arena.batch.requests import Limits  # noqa: PLC0415

    batch_run = open_batch_run(config, reporter(quiet=quiet))
    for path in offline.export(batch_run, folder, Limits(requests=max_requests)):
        echo_path(path)


@batch.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("arena.toml"),
    show_default=True,
    help="The experiment that the requests were exported from.",
)
@QUIET
def import_(files: Sequence[Path], config: Path, *, quiet: bool) -> None:
    """Write the results of exported requests into the log, and rate.

    \b
    Example:
      arena batch import results.jsonl --config handbook/arena.toml
    """
    from arena.batch import offline  # noqa: PLC0415
    from arena.batch.batch_run import open_batch_run  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    progress = reporter(quiet=quiet)
    batch_run = open_batch_run(config, progress)
    _finish(run(offline.import_files(batch_run, files, progress)))


def _note_of_successor(command: str) -> None:
    click.echo(
        f"note: `arena batch {command}` is now `arena battle --batch`, and goes with the next "
        "release",
        err=True,
    )


def _finish(collected: Collected) -> None:
    """Rate what is in the log, then complain of what is not."""
    from arena.commands.rate import show, written  # noqa: PLC0415
    from arena.rating.rate_files import rate_files  # noqa: PLC0415

    folder = collected.experiment.folder
    if collected.n_judged:
        leaderboard = rate_files([folder])
        with written(leaderboard, folder):
            show(leaderboard, as_json=False)
    judged = f"{collected.n_judged:,} of {collected.n_planned:,} judged"
    echo_lines([f"{collected.n_new:,} battles written, {judged}"])
    collected.check()
