"""The commands `arena batch ...`: judge by a provider's batch jobs, or by files of requests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arena.commands.options import CONFIG, QUIET, Amount, echo_lines, echo_path
from arena.progress import reporter
from arena.terminal import dollars

if TYPE_CHECKING:
    from arena.batch.collect import Collected

REQUESTS = click.option(
    "--max-requests",
    type=click.IntRange(1, 50_000),
    default=50_000,
    show_default=True,
    help="Requests in one file at most.",
)
POLL = click.option(
    "--poll",
    "poll_s",
    type=Amount(min=0.01),
    default=30.0,
    show_default=True,
    help="Seconds between two looks at first; ten times as long in the end.",
)


@click.group()
def batch() -> None:
    """Judge by a provider's batch jobs: half the price, within a day.

    Battles that are in the log or in a job already are never submitted again, so every command
    may be repeated after a stop.

    \b
    Example:
      arena batch submit            upload what is to be judged
      arena batch collect --wait    write the verdicts into the log, and rate
      arena batch export requests   the same files for `vllm run-batch`; import reads its results
    """


@batch.command()
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
@click.option("--no-gate", is_flag=True, help="Believe a judge that was not tested, or failed.")
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
    from arena.batch.requests import Limits  # noqa: PLC0415
    from arena.batch.submit import open_batch_run  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    progress = reporter(quiet=quiet)
    limits = Limits(requests=max_requests, tokens=max_tokens)
    order = work.SubmitOptions(
        max_usd=max_usd, max_tokens=max_tokens, limits=limits, gate=not no_gate
    )
    done = run(work.submit(open_batch_run(config, progress), order, progress))
    cost = f", {dollars(done.at_most_usd)} at most" if done.at_most_usd else ""
    echo_lines([f"{done.n_requests:,} requests submitted in {done.n_jobs} jobs{cost}"])
    done.check()


@batch.command()
@CONFIG
def status(config: Path) -> None:
    """Show how far the jobs are that are not collected.

    \b
    Example:
      arena batch status handbook/arena.toml
    """
    from arena.batch import submit as work  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    found = run(work.statuses(config))
    jobs = [f"{job.name}  {job.batch_id or '-'}  {state}" for job, state in found]
    echo_lines(jobs or ["no jobs are under way"])


@batch.command()
@CONFIG
@click.option("--wait", "waits", is_flag=True, help="Wait until all jobs have ended.")
@POLL
@click.option("--give-up", metavar="JOB", help="Forget a job that the provider no longer knows.")
@QUIET
def collect(config: Path, poll_s: float, give_up: str | None, *, waits: bool, quiet: bool) -> None:
    """Write what ended jobs brought back into the log, and rate.

    What failed, expired or is missing is in failures.jsonl or free to be submitted again.

    \b
    Example:
      arena batch collect handbook/arena.toml --wait
    """
    from arena.batch import collect as batch_results  # noqa: PLC0415
    from arena.batch.jobs import Poll  # noqa: PLC0415
    from arena.batch.submit import open_batch_run  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    progress = reporter(quiet=quiet)
    desk = open_batch_run(config, progress)
    if waits:
        run(batch_results.wait(desk, Poll(poll_s, 10 * poll_s), progress))
    _finish(run(batch_results.collect(desk, progress, give_up=give_up)))


@batch.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@CONFIG
@REQUESTS
@QUIET
def export(folder: Path, config: Path, max_requests: int, *, quiet: bool) -> None:
    """Write files of requests into FOLDER, and send nothing.

    The files are those that submit would upload, and what vLLM reads.

    \b
    Example:
      arena batch export requests handbook/arena.toml
      vllm run-batch -i requests/requests-0001.jsonl -o results.jsonl --model MODEL
    """
    from arena.batch import submit as work  # noqa: PLC0415
    from arena.batch.requests import Limits  # noqa: PLC0415
    from arena.batch.submit import open_batch_run  # noqa: PLC0415

    desk = open_batch_run(config, reporter(quiet=quiet))
    for path in work.export(desk, folder, Limits(requests=max_requests)):
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
    from arena.batch import collect as batch_results  # noqa: PLC0415
    from arena.batch.submit import open_batch_run  # noqa: PLC0415
    from arena.endpoint.client import run  # noqa: PLC0415

    progress = reporter(quiet=quiet)
    desk = open_batch_run(config, progress)
    _finish(run(batch_results.import_files(desk, files, progress)))


def _finish(done: Collected) -> None:
    """Rate what is in the log, then complain of what is not."""
    from arena.commands.rate import show, written  # noqa: PLC0415
    from arena.experiment.rate_files import rate_files  # noqa: PLC0415

    folder = done.experiment.folder
    if done.n_judged:
        leaderboard = rate_files([folder])
        with written(leaderboard, folder):
            show(leaderboard, as_json=False)
    echo_lines([f"{done.n_new:,} battles written, {done.n_judged:,} of {done.n_planned:,} judged"])
    done.check()
