"""Compute the audit: all figures that a log, and the files beside it, give about its judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arena.auditing.agreement import panel_figures, qrels_figures, rank_figures
from arena.auditing.audit_input import QRELS, AuditInput, frame_evidence, read_evidence, with_labels
from arena.auditing.bias import failure_figure, length_figure, tie_figures, transitivity_figure
from arena.auditing.people import among_figures, labelled_rows, people_figures
from arena.auditing.people_bias import BattleBias, bias_figures, grade_bias, length_bias_figure
from arena.auditing.people_grades import error_figure, grade_figures, graded_labels
from arena.auditing.position_bias import repeat_figure, swap_figures
from arena.auditing.records import Audit, AuditMetric
from arena.auditing.reliability import trust
from arena.battles.load import load_aliases
from arena.rating.leaderboard import build_leaderboard
from arena.rating.leaderboard_records import Leaderboard, RatingSettings
from arena.rating.people.correction import REFUSED

if TYPE_CHECKING:
    import pandas as pd


def audit(
    battles: pd.DataFrame | Path | str,
    *,
    labels: pd.DataFrame | Path | str | None = None,
    aliases: Mapping[str, str] | Path | str | None = None,
) -> Audit:
    """Measure how reliable the judge of some battles is.

    Args:
        battles: an experiment's folder, a file of battles (JSONL, CSV, TSV, Parquet), or a
            DataFrame, with the columns that `rate` reads; query_id is needed for most figures.
        labels: a DataFrame of labels with their probabilities, as
            `arena.rating.people.peoples_labels` reads it; or a file of people's verdicts with the
            columns query_id, model_a, model_b, winner and, where the log has several data sets,
            dataset; the order of the models is free.
        aliases: other spelling → model, or a TOML file of such lines; for battles and labels.

    Raises:
        DataError: a file cannot be read as what it should be; names file and line.
        UsageError: no battle was judged, or no label is about a battle.
    """
    names = load_aliases(Path(aliases)) if isinstance(aliases, Path | str) else aliases or {}
    people = Path(labels) if isinstance(labels, Path | str) else None
    if isinstance(battles, Path | str):
        evidence = read_evidence(Path(battles), aliases=names, labels=people)
    else:
        evidence = frame_evidence(battles, aliases=names, labels=people)
    if labels is not None and not isinstance(labels, Path | str):
        evidence = with_labels(evidence, labels)
    return build_audit(evidence)


def _labels(evidence: AuditInput) -> list[AuditMetric]:
    """Return what people's labels tell; without any, only that there are none."""
    rows = labelled_rows(evidence)
    figures = people_figures(evidence, rows)
    if not evidence.labels and evidence.people is None:
        return figures
    by_grades = grade_bias(evidence)
    bias = BattleBias(rows) if rows is not None else by_grades
    return [
        *figures,
        *among_figures(rows),
        *bias_figures(bias, evidence),
        length_bias_figure(rows, evidence),
        *grade_figures(graded_labels(evidence), evidence),
        _error(evidence),
    ]


def _by_grades(evidence: AuditInput, leaderboard: Leaderboard) -> list[AuditMetric]:
    """Return how far the judge agrees with the grades; clicks of users decide nothing of it."""
    figures = [*qrels_figures(evidence), *rank_figures(evidence, leaderboard)]
    if not evidence.from_clicks:
        return figures
    return [
        replace(figure, title=f"{figure.title}, from clicks", decides=False) for figure in figures
    ]


def _error(evidence: AuditInput) -> AuditMetric:
    """Return the judge's systematic error, as `arena rate` measures it."""
    if evidence.known is None:
        return error_figure(None, "no label has a known probability of being asked")
    settings = RatingSettings(n_permutations=0)
    board = build_leaderboard(evidence.log, settings=settings, people=evidence.known)
    refusals = (note for note in board.notes if note.startswith(REFUSED))
    return error_figure(board.correction, next(refusals, "").removeprefix(REFUSED))


def build_audit(evidence: AuditInput) -> Audit:
    """Return all figures, and what they come to."""
    log = evidence.log
    # The same fit as `arena rate` makes, so that both state one position advantage.
    leaderboard = build_leaderboard(log, settings=RatingSettings(n_permutations=0))
    figures = (
        *swap_figures(evidence, leaderboard),
        repeat_figure(evidence),
        transitivity_figure(evidence),
        *_by_grades(evidence, leaderboard),
        *_labels(evidence),
        *panel_figures(evidence),
        length_figure(evidence),
        *tie_figures(evidence),
        failure_figure(evidence),
    )
    judges = log.present_judges
    return Audit(
        trust=trust(figures, by_construction=set(judges) == {QRELS}),
        judges=judges,
        battles=len(log),
        queries=log.n_queries,
        datasets=tuple(log.datasets[code] for code in np.unique(log.dataset)),
        figures=figures,
        notes=(*log.notes, *(evidence.known.notes if evidence.known else ())),
    )
