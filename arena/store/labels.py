"""labels.jsonl: what people say of documents and battles, and how likely each was to be asked.

The file is append-only. A line is a label, an undo of an earlier label, or a note that an item
which is labelled already was drawn again. A line holds the item's place in the order of its draw,
so the probability of every label follows from the file alone.

Items are drawn by bottom-k sampling with permanent random numbers. Each item has a uniform number u
and a size; the order is that of rank = u / size. Given the ranks of all others, one of the first k
items is among them with probability min(1, size · tau). Here tau is the rank of item k + 1.

Source: Cohen and Kaplan 2007, https://doi.org/10.1145/1281100.1281133 (rank conditioning);
Duffield, Lund and Thorup 2007, https://doi.org/10.1145/1314690.1314696 (priority sampling).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from arena.errors import DataError
from arena.store.folder import Folder
from arena.store.locked_file import LineFile, locked_log, sync_names
from arena.store.log_lines import finished_lines, parsed_line

_REMEDY: Final = "correct or delete the line; `arena label` asks a person about its item again"

LOCK_WAIT_S: Final = 10.0
"""Longest wait for another process that writes a label."""

Unit = Literal["document", "battle"]
Event = Literal["label", "undo", "pass"]

GRADES: Final = (0.0, 3.0)
"""The lowest and the highest grade of a document."""


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """What one question is about: a document for a query, or two models' lists for a query."""

    unit: Unit
    dataset: str
    query_id: str
    doc_id: str = ""  #: empty for battles
    models: tuple[str, ...] = ()  #: the two models of a battle, sorted; empty for documents


@dataclass(frozen=True, slots=True)
class Label:
    """What one person says of one item."""

    unit: Unit
    dataset: str
    query_id: str
    who: str  #: the person
    value: float | None
    """Of a document its grade, 0 to 3. Of a battle 1 for model_a, 0.5 for a tie, 0 for model_b.

    None if the person cannot tell, or skipped it.
    """
    doc_id: str | None = None  #: None for battles
    model_a: str | None = None  #: of a battle, the model whose list was shown first
    model_b: str | None = None
    reason: str = ""  #: why it was skipped, or what the person adds
    probability: float | None = None  #: that the item was asked about; None if unknown
    at: str = ""  #: UTC time, ISO 8601
    seconds: float | None = None  #: from showing the item to the answer, pauses left out

    @property
    def item(self) -> Item:
        """Return what the label is about."""
        return _item(self)


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One line of labels.jsonl."""

    event: Event
    unit: Unit
    dataset: str
    query_id: str
    doc_id: str | None = None
    model_a: str | None = None
    model_b: str | None = None
    who: str = ""  #: empty if an item is only passed over
    value: float | None = None
    reason: str = ""
    probability: float | None = None  #: as stated for a label made elsewhere; None if drawn here
    at: str = ""
    seconds: float | None = None
    draw: str | None = None  #: hash of the items and sizes of its draw; None if made elsewhere
    seed: int | None = None  #: of the random numbers of the draw
    size: float | None = None  #: of the item in the draw, above 0
    rank: float | None = None  #: the item's random number over its size
    next_rank: float | None = None  #: rank of the next item in the order; None for the last one

    @property
    def item(self) -> Item:
        """Return what the line is about."""
        return _item(self)


def read_labels(folder: Path) -> Sequence[Label]:
    """Read the labels of an experiment, the last one of each item and person, oldest first.

    Labels are of documents and lists, for any judge: a folder in which battles are judged
    again has those of its origin as well.

    Args:
        folder: the experiment's; without a labels.jsonl it has no labels.

    Raises:
        DataError: a line is no label; names file and line.
    """
    origin = Folder(folder).origin
    lines = [] if origin is None else read_label_lines(origin)
    return labels_of([*lines, *read_label_lines(folder)])


def read_label_lines(folder: Path) -> list[LabelLine]:
    """Read all lines of an experiment's labels, without an unfinished last one.

    Raises:
        DataError: a line is no label; names file and line.
    """
    path = Folder(folder).labels
    return list(_parsed_lines(path)) if path.exists() else []


def labels_of(lines: Iterable[LabelLine]) -> tuple[Label, ...]:
    """Return the labels that stand after all lines, with their probabilities.

    There may be several draws over the same random numbers, such as before and after a model was
    added. They ask about an item if any of them does, so its probability is the highest of theirs.
    """
    lines = list(lines)
    standing = standing_lines(lines)
    passed = [line for line in lines if line.event == "pass"]
    probability = _probabilities([*standing, *passed])
    return tuple(
        _label(line, probability[line.item] if line.draw else line.probability) for line in standing
    )


def standing_lines(lines: Iterable[LabelLine]) -> list[LabelLine]:
    """Return the last label of each item and person, unless it is undone, oldest first."""
    standing: dict[tuple[Item, str], LabelLine] = {}
    for line in lines:
        if line.event == "pass":
            continue
        standing.pop((line.item, line.who), None)
        if line.event == "label":
            standing[line.item, line.who] = line
    return list(standing.values())


@contextmanager
def label_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from writing labels or claims of this experiment for a moment.

    Raises:
        LogError: another process holds the lock for too long, or the folder cannot be written.
    """
    with locked_log(Folder(folder).labels_lock, wait_s=LOCK_WAIT_S):
        yield


def append_labels(folder: Path, lines: Sequence[LabelLine]) -> None:
    """Write lines to the disk, all of them before this returns.

    Call it under `label_lock`, because an unfinished last line is cut off first.

    Raises:
        LogError: they cannot be written.
    """
    path = Folder(folder).labels
    is_new = not path.exists()
    file = LineFile(path)
    try:
        file.append(b"".join(orjson.dumps(_row(line)) + b"\n" for line in lines))
        file.sync()
    finally:
        file.close()
    if is_new:
        sync_names(folder)


def _probabilities(lines: Sequence[LabelLine]) -> dict[Item, float]:
    """Return item → the highest probability with which a draw asks about it."""
    tau: dict[str, float] = {}
    for line in lines:
        if line.draw is not None:
            next_rank = math.inf if line.next_rank is None else line.next_rank
            tau[line.draw] = max(tau.get(line.draw, 0.0), next_rank)
    highest: dict[Item, float] = {}
    for line in lines:
        if line.draw is not None and line.size is not None:
            of_draw = min(1.0, line.size * tau[line.draw])
            highest[line.item] = max(highest.get(line.item, 0.0), of_draw)
    return highest


def _label(line: LabelLine, probability: float | None) -> Label:
    values = {field.name: getattr(line, field.name) for field in fields(Label)}
    return Label(**values | {"probability": probability})


def _item(line: Label | LabelLine) -> Item:
    if line.unit == "document":
        return Item("document", line.dataset, line.query_id, doc_id=line.doc_id or "")
    models = tuple(sorted((line.model_a or "", line.model_b or "")))
    return Item("battle", line.dataset, line.query_id, models=models)


def _row(line: LabelLine) -> dict[str, Any]:
    """Return a line as a JSON object; None or empty fields are left out, except a label's value."""
    values = {field.name: getattr(line, field.name) for field in fields(line)}
    return {
        name: value
        for name, value in values.items()
        if value not in (None, "") or (name == "value" and line.event == "label")
    }


def _parsed_lines(path: Path) -> Iterator[LabelLine]:
    for number, _, raw in finished_lines(path):
        line = parsed_line(LabelLine, raw, path, number, remedy=_REMEDY)
        if problem := _problem(line):
            raise DataError(path, number, f"not a label: {problem}", _REMEDY)
        yield line


def _problem(line: LabelLine) -> str:
    """Return what is wrong with a line; empty if nothing is."""
    is_document = line.unit == "document"
    value, stated = line.value, line.probability
    problems = (
        (is_document and not line.doc_id, "a document without a doc_id"),
        (
            not is_document and not (line.model_a and line.model_b),
            "a battle without model_a and model_b",
        ),
        (line.event != "pass" and not line.who, 'no "who"'),
        (
            value is not None and not is_value(line.unit, value),
            f"value {value}; expected {'0 to 3' if is_document else '1, 0.5 or 0'}",
        ),
        (
            stated is not None and not 0 < stated <= 1,
            f"probability {stated}; expected above 0 and at most 1",
        ),
        (
            line.draw is not None and not (line.size and line.size > 0 and line.rank is not None),
            "a drawn item without size and rank",
        ),
    )
    return next((problem for is_wrong, problem in problems if is_wrong), "")


def is_value(unit: Unit, value: float) -> bool:
    """Return whether a value is one that a label of this unit may have."""
    lowest, highest = GRADES
    return lowest <= value <= highest if unit == "document" else value in (0.0, 0.5, 1.0)
