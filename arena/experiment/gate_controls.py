"""The controls that every judge passes before its first battle, and what is recorded of them."""

from __future__ import annotations

from collections.abc import Sequence

from arena.errors import GateError
from arena.experiment.battle_options import BattleOptions
from arena.experiment.experiment import PreparedExperiment
from arena.experiment.judges import ConfiguredJudge
from arena.experiment.manifest_writer import write_manifest
from arena.experiment.pending import planned
from arena.judging.gate import check_gate, control_inputs, run_gate
from arena.progress import Reporter
from arena.records import JudgeInput
from arena.store.battle_log import BattleLog
from arena.store.manifest import Gate, known_gates


async def check_judges(
    prepared: PreparedExperiment,
    judges: Sequence[ConfiguredJudge],
    log: BattleLog,
    options: BattleOptions,
    reporter: Reporter,
) -> None:
    """Test each judge that has judged nothing yet, and write the manifest with the results.

    Raises:
        GateError: a judge failed; the first of them, once all are in the manifest.
        FatalApiError, BudgetSpentError: as a judge raises them.
    """
    gates: dict[str, Gate] = {}
    refused: list[GateError] = []
    for configured in judges:
        judge = configured.judge
        known = known_gates(prepared.experiment.folder).get(judge.fingerprint)
        if why := _skipped(prepared, configured, log, options, known):
            gates[judge.name] = {**(known or {}), "skipped": why}
            continue
        report = await run_gate(judge, controls(prepared))
        gates[judge.name] = report.as_dict()
        reporter.log(f"gate: {judge.name}: {'; '.join(report.lines())}")
        try:
            check_gate(report, configured.config)
        except GateError as error:
            refused.append(error)
    # Before the error: a judge that failed is in the manifest, and is tested again by the next run.
    write_manifest(prepared, judges, gates)
    if refused:
        raise refused[0]


def controls(prepared: PreparedExperiment) -> list[JudgeInput]:
    """Return the matchups with an obvious answer, each to be shown in both orders."""
    settings = prepared.config.experiment
    return control_inputs(
        prepared.data.datasets,
        prepared.data.queries,
        prepared.runs,
        top_k=settings.top_k,
        seed=settings.seed,
    )


def _skipped(
    prepared: PreparedExperiment,
    configured: ConfiguredJudge,
    log: BattleLog,
    options: BattleOptions,
    earlier: Gate | None,
) -> str:
    """Return why a judge is not tested; empty if it is to be."""
    judge = configured.judge
    if not judge.is_llm:
        return "no LLM"
    if not configured.config.gate:
        return "gate = false"
    if not options.gate:
        return "--no-gate"
    if earlier and earlier.get("passed"):
        return "passed before"
    if len(log.battle_ids) and any(
        battle_id in log.battle_ids
        for battle_id, _, _ in planned(prepared.all_matchups, prepared.lists, [judge])
    ):
        return "its battles are in the log"
    return ""
