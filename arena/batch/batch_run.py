"""An experiment that is judged by batch jobs: its plan, its judges, its part of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arena.experiment.experiment import (
    Experiment,
    PreparedExperiment,
    load_data,
    load_prompts,
    open_experiment,
    prepare,
)
from arena.experiment.judges import ConfiguredJudge, closed_judges
from arena.experiment.manifest_writer import write_manifest
from arena.experiment.runs import retrieve_all
from arena.experiment.stale_battles import move_stale_battles
from arena.judging.judge import RequestJudge
from arena.progress import Reporter
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
        """The arena.toml and its folder."""
        return self.prepared.experiment

    @property
    def by_fingerprint(self) -> Mapping[str, ConfiguredJudge]:
        """The judges that jobs are made for."""
        return {
            configured.judge.fingerprint: configured
            for configured in self.judges
            if isinstance(configured.judge, RequestJudge)
        }

    def begin(self, reporter: Reporter) -> int:
        """Move stale battles away and write the manifest; return how many battles are planned.

        Raises:
            LogError: another process writes this experiment's log.
        """
        judges = [configured.judge for configured in self.judges]
        n_planned = move_stale_battles(self.prepared, judges, reporter, shard=self.shard)
        known = known_gates(self.experiment.folder)
        untested = {"skipped": "judged by files of requests"}
        gates = {judge.name: known.get(judge.fingerprint, untested) for judge in judges}
        write_manifest(self.prepared, self.judges, gates)
        return n_planned


def open_batch_run(path: Path, reporter: Reporter, *, shard: Shard = WHOLE) -> BatchRun:
    """Load an experiment, retrieve what is missing, and set up its judges.

    Raises:
        UsageError: the config or a data file has a mistake.
        ApiError: an embedding endpoint failed.
    """
    experiment = open_experiment(path)
    prompts = load_prompts(experiment)  # a missing template is found before an hour of embedding
    data = load_data(experiment.config, reporter)
    for note in data.notes:
        reporter.say(f"note: {note}")
    runs = retrieve_all(experiment, data, reporter)
    prepared = prepare(experiment, data, runs, prompts)
    return BatchRun(prepared, closed_judges(prepared), shard)
