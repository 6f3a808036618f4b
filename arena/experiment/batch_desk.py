"""An experiment whose judges are asked by post, and the requests that are still to be sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arena.batch.chunks import Request, request_line
from arena.batch.jobs import BATCH_DISCOUNT
from arena.batch.ledger import Job, Ledger
from arena.config import JudgeConfig
from arena.endpoint.address import Endpoint
from arena.errors import UsageError
from arena.experiment.material import Experiment, load_material, open_experiment
from arena.experiment.panel import Seat, closed_panel, endpoint_of
from arena.experiment.plan import same_lists
from arena.experiment.prepare import Prepared, load_prompts, prepare
from arena.experiment.runs import retrieve_all
from arena.judging.dialect import Dialect
from arena.judging.judge import RequestJudge
from arena.log.battle_log import BattleLog
from arena.progress import Reporter

BYTES_PER_TOKEN: Final = 3
"""On the safe side: English has about four."""


@dataclass(frozen=True, slots=True)
class Postal:
    """A judge of the experiment that can be asked by post."""

    config: JudgeConfig
    judge: RequestJudge

    @property
    def endpoint(self) -> Endpoint:
        """Where its requests go."""
        return endpoint_of(self.config)


@dataclass(frozen=True, slots=True)
class Desk:
    """An experiment, ready to be judged by post."""

    prepared: Prepared
    judges: Mapping[str, Postal]  #: by the fingerprint of the judge
    seats: tuple[Seat, ...]  #: the same judges, as the manifest names them

    @property
    def experiment(self) -> Experiment:
        """The arena.toml and its folder."""
        return self.prepared.experiment


def open_desk(path: Path, reporter: Reporter) -> Desk:
    """Load an experiment, retrieve what is missing, and seat its judges.

    Raises:
        UsageError: the config or a data file has a mistake, or a judge cannot be asked by file.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_experiment(path)
    for config in experiment.config.judges:
        if config.kind != "pairwise":  # found before an hour of embedding
            raise _unpostable(config)
    prompts = load_prompts(experiment)
    material = load_material(experiment.config, reporter)
    for note in material.notes:
        reporter.say(f"note: {note}")
    runs = retrieve_all(experiment, material, reporter)
    prepared = prepare(experiment, material, runs, prompts)
    seats = closed_panel(prepared)
    judges = {seat.judge.fingerprint: by_post(seat) for seat in seats}
    return Desk(prepared, judges, seats)


def by_post(seat: Seat) -> Postal:
    """The judge of a seat, as one that can be asked by post.

    Raises:
        UsageError: it cannot.
    """
    if not isinstance(seat.judge, RequestJudge):
        raise _unpostable(seat.config)
    return Postal(seat.config, seat.judge)


def unasked(desk: Desk, postal: Postal, log: BattleLog, ledger: Ledger) -> Iterator[Request]:
    """A request for each battle that needs one, in plan order; wholly equal ones once."""
    waiting = [job for job in ledger.open_jobs if job.fingerprint == postal.judge.fingerprint]
    asked = {key for job in waiting for key in job.requests.values()}
    lists = desk.prepared.lists
    for matchup in desk.prepared.matchups:
        name = lists.battle_id(matchup, postal.judge.fingerprint)
        if name in log.battle_ids or any(name in job.requests for job in waiting):
            continue
        exhibit = lists.exhibit(matchup)
        if same_lists(exhibit):
            continue
        key = postal.judge.request_key(exhibit)
        paid = (log.reply_for(name), log.reply_to(key))
        if key in asked or any(reply and reply.winner for reply in paid):
            continue
        asked.add(key)
        body = postal.judge.request(exhibit)
        tokens = _tokens(body)
        line = request_line(name, body)
        cost_usd = postal.judge.by_post_usd(len(line)) * BATCH_DISCOUNT
        yield Request(name, key, line, tokens, cost_usd)


def recall(postal: Postal, jobs: Iterable[Job]) -> None:
    """Word requests as those of the last job, but for what a provider refused of them.

    A judge that an earlier call has taught better begins with what it knows.
    """
    ours = [job for job in jobs if job.fingerprint == postal.judge.fingerprint]
    begun = postal.judge.dialect
    refused: dict[Dialect, Dialect] = {}
    for job in ours:
        if job.refusal:
            postal.judge.dialect = spoken = Dialect(**job.dialect)
            if postal.judge.learn(job.refusal):
                refused[spoken] = postal.judge.dialect
    known = Dialect(**ours[-1].dialect) if ours and begun == Dialect() else begun
    while known in refused:
        known = refused[known]
    postal.judge.dialect = known


def _unpostable(config: JudgeConfig) -> UsageError:
    return UsageError(
        f'judge {config.log_name}: kind = "{config.kind}" is not asked one request a battle, so '
        "batch jobs cannot carry it; use `arena battle`"
    )


def _tokens(body: Mapping[str, Any]) -> int:
    n_bytes = sum(len(message["content"].encode("utf-8")) for message in body["messages"])
    return -(-n_bytes // BYTES_PER_TOKEN)
