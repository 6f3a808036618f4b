"""Export requests for an engine such as ``vllm run-batch``, and import what it wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from arena.batch.batch_run import BatchRun
from arena.batch.delivered_replies import Deliveries, Delivery
from arena.batch.judge_results import Booked, Collected, Settlement, settle_killed_run
from arena.batch.requests import Limits, Request, cut_into_files, write_chunk
from arena.batch.results import Results
from arena.batch.submit import SubmitOptions, Unasked, recall
from arena.errors import DataError, UsageError
from arena.files import cache_folder
from arena.judging.chat_reply import ChatReply
from arena.judging.judge import RequestJudge
from arena.judging.reply_cache import VerdictCache
from arena.progress import Reporter
from arena.records import utc
from arena.store.batch_ledger import Ledger
from arena.store.battle_log import BattleLog


def export(run: BatchRun, folder: Path, limits: Limits) -> list[Path]:
    """Write the files of requests for every battle that is not in the log, and send nothing.

    Raises:
        LogError: another process writes this experiment's log.
        UsageError: the folder has such files already, or no judge is an LLM.
    """
    if not run.by_fingerprint:
        raise UsageError("no judge of this experiment is an LLM; use `arena battle`")
    written: list[Path] = []
    with (
        BattleLog(run.experiment.folder) as log,
        Ledger(run.experiment.folder) as ledger,
        VerdictCache(cache_folder()) as cache,
    ):
        for chunk in cut_requests(run, Unasked(run, log, cache, SubmitOptions()), ledger, limits):
            path = folder / f"requests-{len(written) + 1:04}.jsonl"
            if path.exists():
                raise UsageError(f"{path}: exists already; give another folder")
            write_chunk(chunk, path)
            written.append(path)
    return written


def cut_requests(
    run: BatchRun, unasked: Unasked, ledger: Ledger, limits: Limits
) -> Iterator[list[Request]]:
    """Yield the requests of each judge, cut into files; no file holds those of two judges."""
    for configured in run.by_fingerprint.values():
        if isinstance(configured.judge, RequestJudge):
            recall(configured.judge, ledger.jobs.values())
            yield from cut_into_files(unasked.requests(configured), limits)


async def import_files(run: BatchRun, paths: Sequence[Path], reporter: Reporter) -> Collected:
    """Write into the log what your own model answered to exported files.

    Replies cost what the config says, without the discount of a provider's batch job.

    Raises:
        DataError: a file cannot be read, or holds no results.
        LogError: another process writes this experiment's log.
    """
    files = [_read_file(path) for path in paths]
    # The same files are the same delivery, so that to import them twice changes nothing.
    at = utc(max(path.stat().st_mtime for path in paths))
    deliveries = {
        configured.config.log_name: _deliveries(configured.judge, files, at)
        for configured in run.by_fingerprint.values()
        if isinstance(configured.judge, RequestJudge)
    }
    command = f"arena batch export NEW_FOLDER {run.experiment.source}"
    done = Collected(run.experiment, command=command)
    booked = Booked(run.experiment.folder)
    log, done.n_planned = run.open_log(reporter, seen=done.count, replied=booked.count)
    with log:
        run.write_manifest()
        settle_killed_run(run, log)
        with Settlement(run, log, deliveries, booked) as settlement:
            await settlement.judge(done)
            settlement.book_the_rest(known_only=True)
    custom_ids = {delivery.id for of_judge in deliveries.values() for delivery in of_judge}
    known = {d.id for of_judge in deliveries.values() for d in of_judge.calls().values()}
    if unknown := custom_ids - known:
        reporter.log(
            f"note: {len(unknown):,} results are for battles that are judged already or not "
            f"planned, such as {min(unknown)}"
        )
    return done


def _deliveries(judge: RequestJudge, files: Sequence[bytes], at: str) -> Deliveries:
    results, deliveries = Results(), Deliveries()
    for raw in files:
        results.take(raw, judge.reply_from, discount=1.0)
    for custom_id, answer in results.answers.items():
        deliveries.add(Delivery(custom_id, "", answer, at, at))
    return deliveries


def _read_file(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(path, None, f"cannot be read: {error.strerror}") from None
    results = Results()
    results.take(raw, lambda _body, _latency: ChatReply(""), discount=1.0)
    if not results.answers:
        remedy = "give the file that `vllm run-batch -o` or a provider's batch job wrote"
        raise DataError(path, None, "holds no results", remedy)
    return raw
