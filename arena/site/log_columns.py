"""The log as columns: the battles as ratings and audit see them, and what each verdict took."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from arena.data.rows import unreadable
from arena.rating.battle_columns import MODEL_A, MODEL_B, TIE
from arena.rating.battle_table import OWN
from arena.rating.battles import Battles, load_battles
from arena.records import Battle
from arena.store.folder import Folder
from arena.store.id_index import CompactIndex, IdSet
from arena.store.log_lines import parse_battles, read_failures, verdict_places

SOURCES = ("judge", "identical", "cache")
"""What the codes of a source mean."""

NO_REPLY = -1

_NAMES = (
    "id",
    "dataset",
    "query_id",
    "model_a",
    "model_b",
    "winner",
    "judge",
    "prompt",
    "source",
    "at",
)
_NUMBERS = ("input_tokens", "output_tokens", "cost_usd", "latency_ms")
_WINNERS = {"model_a": MODEL_A, "model_b": MODEL_B, "tie": TIE}
_OFFSET_BITS = 48


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """What a log of our own says of each battle beside its outcome; arrays are (n_battles,)."""

    source: NDArray[np.int8]  #: codes into `SOURCES`
    prompt: NDArray[np.int32]  #: codes into ``prompts``
    prompts: tuple[str, ...]  #: hashes of templates; "" for judges without one
    input_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]
    latency_ms: NDArray[np.float64]
    last_at: str  #: time of the last verdict, ISO 8601
    replies: tuple[Path, ...]  #: the files of what judges wrote
    reply: NDArray[np.int64]  #: where: file and offset in one number; `NO_REPLY` where nowhere

    def reply_place(self, row: int) -> tuple[Path, int]:
        """Return file and offset of the judge's reply in a battle that has one."""
        place = int(self.reply[row])
        return self.replies[place >> _OFFSET_BITS], place & ((1 << _OFFSET_BITS) - 1)


@dataclass(frozen=True, slots=True)
class Log:
    """All battles in the order of the ratings: log order, and of several logs by battle id."""

    battles: Battles
    details: Details | None  #: None for a log of another make


def read_log(path: Path) -> Log | None:
    """Read an experiment's log, or any file of battles; None where no battle was judged yet.

    Raises:
        DataError: a file is not what it should be; names file and line.
    """
    files = log_files(path)
    if not files:
        return None
    if not all(map(_is_ours, files)):
        return Log(load_battles([path]), None)
    replies = Folder(path).all_replies() if path.is_dir() else []
    return _own_log(files, replies)


def log_files(path: Path) -> list[Path]:
    """Return the files of a folder that hold battles; or the file itself."""
    if not path.is_dir():
        return [path]
    return [file for file in Folder(path).all_battles() if _begun(file)]


def count_failures(folder: Path) -> int:
    """Return how many matchups have no verdict where no battle has one either."""
    files = Folder(folder).all_failures() if folder.is_dir() else ()
    return len({failure.id for file in files for failure in read_failures(file)})


def _begun(file: Path) -> bool:
    """Return whether a log has at least one whole line."""
    try:
        with file.open("rb") as lines:
            return lines.readline().endswith(b"\n")
    except OSError as error:
        raise unreadable(file, None, error) from None


def _is_ours(file: Path) -> bool:
    if file.suffix != ".jsonl":
        return False
    with file.open("rb") as lines:
        try:
            return OWN.issubset(orjson.loads(lines.readline()))
        except (orjson.JSONDecodeError, TypeError):
            return False


def _own_log(files: Sequence[Path], replies: Sequence[Path]) -> Log:
    names: dict[str, list[str]] = {name: [] for name in _NAMES}
    numbers = {name: array("d") for name in _NUMBERS}
    for battle in _battles(files):
        for name, words in names.items():
            words.append(sys.intern(getattr(battle, name)))
        for name, column in numbers.items():
            column.append(getattr(battle, name))
    # As the ratings have it: no order of play joins the logs of shards, so theirs is that of ids.
    rows = range(len(names["id"]))
    order = np.array(sorted(rows, key=names["id"].__getitem__) if len(files) > 1 else rows, np.intp)
    models = _coded(names["model_a"] + names["model_b"])
    coded = {name: _coded(names[name]) for name in ("dataset", "query_id", "judge", "prompt")}
    datasets, dataset = coded["dataset"]
    query_ids, query_id = coded["query_id"]
    _, query = np.unique(dataset.astype(np.int64) * len(query_ids) + query_id, return_inverse=True)
    source = np.array([SOURCES.index(word) for word in names["source"]], np.int8)
    battles = Battles(
        models=models[0],
        datasets=datasets,
        judges=coded["judge"][0],
        model_a=models[1][: len(order)],
        model_b=models[1][len(order) :],
        winner=np.array([_WINNERS[word] for word in names["winner"]], np.int8),
        dataset=dataset,
        query=query.astype(np.int32),
        judge=coded["judge"][1],
        query_ids=query_ids,
        query_id=query_id,
        identical=source == SOURCES.index("identical"),
    )
    details = Details(
        source=source[order],
        prompt=coded["prompt"][1][order],
        prompts=coded["prompt"][0],
        last_at=max(names["at"]),
        replies=tuple(replies),
        reply=_replies(replies, [names["id"][row] for row in order.tolist()]),
        **{name: np.array(column)[order] for name, column in numbers.items()},
    )
    return Log(battles.take(order), details)


def _battles(files: Sequence[Path]) -> Iterator[Battle]:
    """Return the battles of all logs, each id once."""
    seen = IdSet()
    return (battle for file in files for battle in parse_battles(file) if seen.add(battle.id))


def _coded(words: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the distinct words in alphabetical order, and the code of each."""
    distinct = tuple(sorted(set(words)))
    place = {word: code for code, word in enumerate(distinct)}
    return distinct, np.fromiter(map(place.__getitem__, words), np.int32, len(words))


def _replies(files: Sequence[Path], ids: Sequence[str]) -> NDArray[np.int64]:
    """Return where the last reply with a verdict of each battle is."""
    places = np.full(len(ids), NO_REPLY, np.int64)
    row_of = CompactIndex()
    for row, name in enumerate(ids):
        row_of.set(name, row)
    for number, file in enumerate(files):
        for offset, name in verdict_places(file):
            if (found := row_of.get(name)) is not None:
                places[found] = number << _OFFSET_BITS | offset
    return places
