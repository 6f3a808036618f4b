"""An experiment that is judged by batch jobs: its plan, its judges, its part of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from arena.experiment.experiment import (
    Experiment,
    PreparedExperiment,
    load_data,
    load_prompts,
)
from arena.experiment.judges import ConfiguredJudge, closed_judges
from arena.experiment.manifest_writer import write_manifest
from arena.experiment.rejudge import Rejudging, open_asked, prepare_battles
from arena.experiment.stale_battles import open_log
from arena.judging.judge import RequestJudge
from arena.progress import Reporter
from arena.records import Battle
from arena.store.battle_log import BattleLog
from arena.store.log_lines import ReplyPlace
from arena.store.manifest import known_gates
from arena.store.shards import WHOLE, Shard


@dataclass(frozen=True, slots=True)
class BatchRun:
    """An experiment, ready to be judged by batch job."""

    prepared: PreparedExperiment
    judges: tuple[ConfiguredJudge, ...]  #: closed; those that are no LLM judge without a job
    shard: Shard = WHOLE  #: the part of the plan that is judged

    @property
    def experiment(self) -> Experiment:
        """Return the arena.toml and its folder."""
        return self.prepared.experiment

    @property
    def by_fingerprint(self) -> Mapping[str, ConfiguredJudge]:
        """Return the judges for which arena creates jobs."""
        return {
            configured.judge.fingerprint: configured
            for configured in self.judges
            if isinstance(configured.judge, RequestJudge)
        }

    def open_log(
        self,
        reporter: Reporter,
        *,
        seen: Callable[[Battle], None] | None = None,
        replied: Callable[[ReplyPlace], None] | None = None,
    ) -> tuple[BattleLog, int]:
        """Open the log, without stale battles; return it and how many battles are planned.

        Args:
            reporter: as for `arena.experiment.stale_battles.open_log`.
            seen: as for `BattleLog`.
            replied: as for `BattleLog`.

        Raises:
            LogError: another process writes this experiment's log.
        """
        judges = [configured.judge for configured in self.judges]
        return open_log(
            self.prepared, judges, reporter, shard=self.shard, seen=seen, replied=replied
        )

    def write_manifest(self) -> None:
        """Write what is run, and that judges whose controls are not known were not tested."""
        known = known_gates(self.experiment.folder)
        untested = {"skipped": "judged by files of requests"}
        judges = [configured.judge for configured in self.judges]
        gates = {judge.name: known.get(judge.fingerprint, untested) for judge in judges}
        write_manifest(self.prepared, self.judges, gates)


def open_batch_run(
    path: Path, reporter: Reporter, *, shard: Shard = WHOLE, rejudging: Rejudging | None = None
) -> BatchRun:
    """Load an experiment, retrieve what is missing, and set up its judges.

    Args:
        path: the arena.toml.
        reporter: told of progress.
        shard: the part of the plan that is judged.
        rejudging: by whom the battles of the log are judged again, if they are.

    Raises:
        UsageError: the config or a data file has a mistake.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_asked(path, rejudging)
    prompts = load_prompts(experiment)  # a missing template is found before an hour of embedding
    data = load_data(experiment.retrieved.config, reporter)
    for note in data.notes:
        reporter.log(f"note: {note}")
    prepared = prepare_battles(experiment, data, prompts, reporter)
    return BatchRun(prepared, closed_judges(prepared), shard)
