"""Collect the input of an audit: the verdicts, and the files beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arena.battles.load import Battles, from_frame, load_battles
from arena.data.json_files import read_kept
from arena.errors import UsageError
from arena.rating.people.label_estimates import PeoplesLabels
from arena.rating.people.peoples_labels import (
    frame_labels,
    labels_in_frame,
    peoples_labels,
    with_datasets,
)
from arena.records import Failure
from arena.store.folder import Folder
from arena.store.labels import Label, read_labels
from arena.store.log_lines import battle_lines, read_failures
from arena.store.manifest import clicked_datasets, read_manifest
from arena.store.per_query import ShownList, read_lists

if TYPE_CHECKING:
    import pandas as pd

QRELS = "qrels"
"""The name of the judge that compares relevance grades."""


@dataclass(frozen=True, slots=True)
class AuditInput:
    """A log and what lies beside it; None or empty if that is not known."""

    log: Battles  #: all battles
    judged: Battles  #: those that a judge decided
    identical: NDArray[np.bool_] | None = None
    """Where lists were identical, a tie without a judge, (n_log,); None if a log does not tell."""
    failures: tuple[Failure, ...] | None = None  #: matchups still without a battle
    lists: Mapping[tuple[str, str], Mapping[str, ShownList]] = field(default_factory=dict)
    """(data set, model) → query_id → the list that the judge was shown."""
    ndcg_at_10: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """(data set, model) → mean over queries."""
    from_clicks: bool = False  #: whether grades of some data set are clicks of users
    people: Battles | None = None  #: verdicts of people in a file of their own
    labels: tuple[Label, ...] = ()  #: what people say of the log's battles and documents
    known: PeoplesLabels | None = None
    """The labels of known probability, with lists and the judge's grades of documents."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The experiment's arena.toml where labels need it, under the models' own names."""
    aliases: Mapping[str, str] = field(default_factory=dict)  #: other spelling → model


@dataclass(frozen=True, slots=True)
class _Ndcg:
    """What an audit takes of a model's metrics."""

    ndcg_at_10: float


def read_evidence(
    path: Path,
    *,
    aliases: Mapping[str, str],
    labels: Path | None,
    battles: Battles | None = None,
) -> AuditInput:
    """Read an experiment's folder, or a file of battles, and people's labels.

    Args:
        path: the folder or the file.
        aliases: other spelling → model.
        labels: a file of people's verdicts.
        battles: those of the path, if they are read already.

    Raises:
        DataError: a file is not what it should be; names file and line.
        UsageError: the folder holds no log, or the labels name no queries.
    """
    battles = battles or load_battles([path], aliases=aliases)
    same = battles.identical
    judged = battles if same is None else battles.take(np.flatnonzero(~same))
    if not len(judged):
        raise UsageError(f"{path}: no judge decided any of these battles: all lists are identical")
    labelled = labels is None and Folder(path).is_experiment
    labels_read = read_labels(path) if labelled else ()
    return AuditInput(
        log=battles,
        judged=judged,
        identical=same,
        failures=_failures(path),
        lists=_lists(path, battles.datasets, aliases),
        ndcg_at_10=_ndcg_at_10(path, battles.datasets, aliases),
        from_clicks=Folder(path).is_experiment and bool(clicked_datasets(read_manifest(path))),
        people=None if labels is None else _people(labels, aliases),
        labels=tuple(_aliased(label, aliases) for label in labels_read),
        known=peoples_labels([path], aliases=aliases) if labels_read else None,
        config=read_manifest(path)["config"] if labels_read else {},
        aliases=aliases,
    )


def frame_evidence(
    frame: pd.DataFrame, *, aliases: Mapping[str, str], labels: Path | None
) -> AuditInput:
    """Take battles from a data frame, and people's labels from a file."""
    battles = from_frame(frame, aliases=aliases)
    people = None if labels is None else _people(labels, aliases)
    return AuditInput(battles, battles, people=people, aliases=aliases)


def with_labels(evidence: AuditInput, frame: pd.DataFrame) -> AuditInput:
    """Take people's labels from a data frame, instead of those that evidence has.

    An audit needs no probabilities of being asked; only corrections do.
    """
    if "probability" not in frame.columns:
        frame = frame.assign(probability=None)
    frame = with_datasets(frame, evidence.log)
    labels = tuple(_aliased(label, evidence.aliases) for label in labels_in_frame(frame))
    known = frame_labels(frame, aliases=evidence.aliases)
    return replace(evidence, labels=labels, people=None, known=known if known.battles else None)


def _aliased(label: Label, aliases: Mapping[str, str]) -> Label:
    a, b = label.model_a, label.model_b
    if a is None or b is None:
        return label
    return replace(label, model_a=aliases.get(a, a), model_b=aliases.get(b, b))


def _people(path: Path, aliases: Mapping[str, str]) -> Battles:
    people = load_battles([path], aliases=aliases)
    if people.query_id is None or not any(people.query_ids):
        raise UsageError(f"{path}: labels without a query_id belong to no battle; add the column")
    return people


def _failures(path: Path) -> tuple[Failure, ...] | None:
    """Return the matchups of an experiment that still have no battle; None for a bare file."""
    if not path.is_dir():
        return None
    folder = Folder(path)
    failures = {f.id: f for file in folder.all_failures() for f in read_failures(file)}
    logs = folder.all_battles() if failures else []
    judged = {battle_id for log in logs for battle_id, _ in battle_lines(log)}
    return tuple(failure for failure in failures.values() if failure.id not in judged)


def _lists(
    folder: Path, datasets: Sequence[str], aliases: Mapping[str, str]
) -> dict[tuple[str, str], dict[str, ShownList]]:
    if not folder.is_dir():
        return {}
    return {
        (dataset, aliases.get(model, model)): shown
        for dataset in datasets
        for model, shown in read_lists(Folder(folder).per_query(dataset)).items()
    }


def _ndcg_at_10(
    folder: Path, datasets: Sequence[str], aliases: Mapping[str, str]
) -> dict[tuple[str, str], float]:
    paths = {dataset: Folder(folder).metrics(dataset) for dataset in datasets}
    return {
        (dataset, aliases.get(model, model)): metrics.ndcg_at_10
        for dataset, path in paths.items()
        if path.exists()
        for model, metrics in read_kept(dict[str, _Ndcg], path, "metrics").items()
    }
