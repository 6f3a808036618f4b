"""People's labels of an experiment, with the lists and the judge's grades that they are about."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import orjson

from arena.battles.coded_log import NO_DATASET
from arena.battles.load import Battles
from arena.data.run_file import run_lines
from arena.errors import DataError, UsageError
from arena.rating.people.label_estimates import PeoplesLabels, SampledLabel
from arena.store.folder import Folder
from arena.store.labels import GRADES, Item, Label, read_labels
from arena.store.log_lines import battle_lines
from arena.store.manifest import read_manifest

if TYPE_CHECKING:
    import pandas as pd

_TOP_K = 10
"""Of experiments whose manifest does not say; the default of arena.toml."""


def peoples_labels(
    folders: Sequence[Path], *, aliases: Mapping[str, str], judge: str | None = None
) -> PeoplesLabels | None:
    """Read the labels of experiments; None if there are none.

    Args:
        folders: of experiments.
        aliases: other spelling → model.
        judge: take the grades of this judge alone.

    Raises:
        DataError: a file is not what it should be; names file and line.
    """
    labels = {folder: read_labels(folder) for folder in folders}
    everyone = [label for folder_labels in labels.values() for label in folder_labels]
    if not everyone:
        return None
    battles, documents = answers(everyone)
    lists: dict[str, dict[str, dict[str, list[str]]]] = defaultdict(dict)
    gains: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    top_k = 0
    for folder, folder_labels in labels.items():
        if not any(label.unit == "document" for label in folder_labels):
            continue
        config = read_manifest(folder)["config"]
        top_k = max(top_k, int(config.get("experiment", {}).get("top_k", _TOP_K)))
        for dataset, model, rankings in _lists(folder, config):
            lists[dataset][aliases.get(model, model)] = rankings
        for key, gain in _gains(folder, judge):
            gains[key].append(gain)
    return PeoplesLabels(
        people=len({label.who for label in everyone if label.value is not None}),
        battles=_aliased(battles, aliases),
        documents=documents,
        lists=lists,
        gains={key: fmean(values) for key, values in gains.items()},
        top_k=top_k,
        notes=(
            *_notes(everyone),
            *(
                note
                for folder, folder_labels in labels.items()
                for note in _growth_notes(folder, folder_labels)
            ),
        ),
    )


def frame_labels(frame: pd.DataFrame, *, aliases: Mapping[str, str]) -> PeoplesLabels:
    """Take people's verdicts on battles from a data frame.

    Args:
        frame: query_id, model_a, model_b, winner (model_a, model_b, tie, or nothing for "cannot
            tell"), probability of being asked and, if they are known, dataset and who.
        aliases: other spelling → model.

    Raises:
        UsageError: a column is missing, or a value is none of these.
    """
    labels = labels_in_frame(frame)
    return PeoplesLabels(
        people=len({label.who for label in labels if label.value is not None}),
        battles=_aliased(answers(labels)[0], aliases),
        notes=tuple(_notes(labels)),
    )


def labels_in_frame(frame: pd.DataFrame) -> list[Label]:
    """Read the rows of a data frame as `frame_labels` does, one label each.

    Raises:
        UsageError: a column is missing, or a value is none of these.
    """
    needed = ("query_id", "model_a", "model_b", "winner", "probability")
    if missing := [name for name in needed if name not in frame.columns]:
        raise UsageError(f"labels: no column {', '.join(missing)}; expected {', '.join(needed)}")
    labels = []
    for number, row in enumerate(frame.to_dict("records")):
        winner, chance = row["winner"], row["probability"]
        if isinstance(winner, str) and winner not in _WINNERS:
            raise UsageError(
                f"labels: row {number}: winner is {winner!r}; expected model_a, model_b or tie"
            )
        has_chance = chance is not None and not math.isnan(chance)
        if has_chance and not 0 < chance <= 1:
            raise UsageError(
                f"labels: row {number}: probability is {chance}; expected above 0 and at most 1"
            )
        labels.append(
            Label(
                unit="battle",
                dataset=str(row.get("dataset") or NO_DATASET),
                query_id=str(row["query_id"]),
                who=str(row.get("who") or ""),
                value=_WINNERS[winner] if isinstance(winner, str) else None,
                model_a=str(row["model_a"]),
                model_b=str(row["model_b"]),
                probability=float(chance) if has_chance else None,
            )
        )
    return labels


def with_datasets(labels: pd.DataFrame, battles: Battles) -> pd.DataFrame:
    """Return labels with the data set of the battles on their query, if they name none.

    Raises:
        UsageError: two data sets of the battles have the query of a label.
    """
    if "dataset" in labels.columns or "query_id" not in labels.columns:
        return labels
    query_ids = labels["query_id"].astype(str)
    return labels.assign(dataset=query_ids.map(datasets_of(battles, set(query_ids))).fillna(""))


def datasets_of(battles: Battles, query_ids: AbstractSet[str]) -> dict[str, str]:
    """Return query_id → the data set that labels without one refer to.

    Raises:
        UsageError: two data sets of the battles have one of the queries.
    """
    if battles.query_id is None:
        return {}
    pairs = np.unique(np.stack([battles.dataset, battles.query_id], axis=1), axis=0).tolist()
    home: dict[str, str] = {}
    for dataset, query_id in sorted((battles.datasets[d], battles.query_ids[q]) for d, q in pairs):
        if query_id in query_ids and home.setdefault(query_id, dataset) != dataset:
            raise UsageError(
                f"query_id {query_id!r} is in {home[query_id]} and in {dataset}, and the labels "
                "do not say which they mean; add a column dataset"
            )
    return home


_WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}

BattleLabels = dict[tuple[str, str, str, str], SampledLabel]
Documents = dict[tuple[str, str, str], SampledLabel]


def answers(labels: Sequence[Label]) -> tuple[BattleLabels, Documents]:
    """Return the answers of known probability: of several people on one item their mean.

    Who cannot tell, or skips, does not answer. Missing answers count as missing at random within a
    data set and kind of item. Probabilities are multiplied by the share of answers there, weighted
    by the items that each stands for.
    """
    by_item: dict[Item, list[Label]] = defaultdict(list)
    for label in labels:
        by_item[label.item].append(label)
    probability = {item: _probability(own) for item, own in by_item.items()}
    values = {item: [v for label in own if (v := _value(label)) is not None]
              for item, own in by_item.items()}  # fmt: skip
    chances: defaultdict[tuple[str, str], float] = defaultdict(float)
    answered: defaultdict[tuple[str, str], float] = defaultdict(float)
    for item, chance in probability.items():
        if chance is not None:
            chances[item.unit, item.dataset] += 1 / chance
            answered[item.unit, item.dataset] += 1 / chance if values[item] else 0.0
    battles: BattleLabels = {}
    documents: Documents = {}
    for item, chance in probability.items():
        if chance is None or not values[item]:
            continue
        rate = answered[item.unit, item.dataset] / chances[item.unit, item.dataset]
        answer = SampledLabel(fmean(values[item]), 1 / (chance * rate))
        if item.unit == "battle":
            battles[item.dataset, item.query_id, item.models[0], item.models[1]] = answer
        else:
            documents[item.dataset, item.query_id, item.doc_id] = answer
    return battles, documents


def _value(label: Label) -> float | None:
    """Return a label on the scale of a `SampledLabel`."""
    if label.value is None:
        return None
    if label.unit == "document":
        return label.value / GRADES[1]
    return label.value if label.model_a == label.item.models[0] else 1 - label.value


def _probability(labels: Sequence[Label]) -> float | None:
    known = [label.probability for label in labels if label.probability is not None]
    return max(known) if known else None


def _aliased(battles: BattleLabels, aliases: Mapping[str, str]) -> BattleLabels:
    renamed: BattleLabels = {}
    for (dataset, query_id, one, two), answer in battles.items():
        first, second = aliases.get(one, one), aliases.get(two, two)
        if first > second:
            first, second = second, first
            answer = SampledLabel(1 - answer.value, answer.inverse)  # noqa: PLW2901
        renamed[dataset, query_id, first, second] = answer
    return renamed


def _lists(
    folder: Path, config: Mapping[str, object]
) -> Iterator[tuple[str, str, dict[str, list[str]]]]:
    """Yield data set, model and its rankings of each run in the folder."""
    datasets, models = config.get("datasets", ()), config.get("models", ())
    for dataset in datasets if isinstance(datasets, list) else ():
        for model in models if isinstance(models, list) else ():
            path = Folder(folder).run(dataset["name"], model["name"])
            if not path.is_file():
                continue
            rankings: dict[str, list[str]] = defaultdict(list)
            for line in run_lines(path):
                rankings[line.query_id].append(line.doc_id)
            yield dataset["name"], model["name"], dict(rankings)


def _gains(folder: Path, judge: str | None) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield what a pointwise judge thinks of each document."""
    for path in Folder(folder).all_grades():
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):  # a run is writing it, or was killed while it did
                    continue
                by, key, gain = _gain(line, path, number)
                if judge is None or by == judge:
                    yield key, gain


def _gain(line: bytes, path: Path, number: int) -> tuple[object, tuple[str, str, str], float]:
    """Return the judge, the data set, query and document, and the gain of a line of grades."""
    try:
        row = orjson.loads(line)
        key = row["dataset"], row["query_id"], row["doc_id"]
        return row.get("judge"), key, float(row["gain"])
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError):
        remedy = "delete the line; the grade itself is in the cache"
        raise DataError(path, number, "not a grade", remedy) from None


def _growth_notes(folder: Path, labels: Sequence[Label]) -> Iterator[str]:
    """Count the queries that were first judged after the last label; no draw could contain them."""
    last = max((label.at for label in labels if label.probability is not None), default="")
    if not last:
        return
    first: dict[tuple[str, str], str] = {}
    for path in Folder(folder).all_battles():
        for _, line in battle_lines(path):
            row = orjson.loads(line)
            key, at = (str(row.get("dataset")), str(row.get("query_id"))), str(row.get("at") or "")
            first[key] = min(first.get(key, at), at)
    asked = {(label.dataset, label.query_id) for label in labels}
    late = sum(at > last and key not in asked for key, at in first.items())
    if late:
        yield (
            f"{late:,} of {len(first):,} queries were first judged after the last label, so nobody "
            "could be asked about them; the labelled queries stand for them: label again"
        )


def _notes(labels: Sequence[Label]) -> Iterator[str]:
    unknown = sum(label.probability is None for label in labels)
    if unknown:
        yield (
            f"{unknown:,} labels without a known probability of being asked are used by the audit "
            "alone"
        )
    silent = sum(label.value is None for label in labels if label.probability is not None)
    if silent:
        yield (
            f"{silent:,} of {len(labels):,} labels are skipped or cannot tell: taken to be missing "
            "at random within a data set"
        )
